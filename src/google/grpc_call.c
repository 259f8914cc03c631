/* grpc_call.c - the parts that unary calls and streams have in common: metadata, status, message buffers.
 *
 * The bearer token is put into the metadata by hand, so nothing in the C core would stop it from leaving in clear text:
 * it is asked for on TLS links only. A server's status text is foreign: it is bounded, and should it echo the token,
 * the token is taken out. */
#include <grpc/byte_buffer_reader.h>
#include <stdlib.h>

#include "grpc_internal.h"

static grpc_metadata header(const char *key, grpc_slice value)
{
    grpc_metadata md = {.key = grpc_slice_from_static_string(key), .value = value};
    return md;
}

static grpc_slice bearer(const struct secret *token)
{
    struct slice value = secret_reveal(token);
    grpc_slice text = grpc_slice_malloc(sizeof "Bearer " - 1 + value.len);
    memcpy(GRPC_SLICE_START_PTR(text), "Bearer ", sizeof "Bearer " - 1);
    memcpy(GRPC_SLICE_START_PTR(text) + sizeof "Bearer " - 1, value.ptr, value.len);
    return text;
}

static bool legal_value(struct slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < ' ' || value.ptr[i] > '~')
            return false;
    }
    return true;
}

bool call_head_init(struct call_head *head, struct grpc_link *link, const char *routing, struct cancel *cancel,
                    struct error *err)
{
    *head = (struct call_head){.count = 0};
    if (routing && !legal_value(slice_str(routing)))
        return error_set(err, ERROR_PERMANENT, "grpc_routing",
                         "cannot call with the resource \"%s\": it is not plain ASCII", routing);
    if (link->creds && !google_credentials_is_none(link->creds) && !link->plaintext) {
        if (!google_credentials_token(link->creds, cancel, &head->token, err))
            return false;
        if (!secret_is_empty(head->token) && !legal_value(secret_reveal(head->token))) {
            call_head_release(head);
            return error_set(err, ERROR_PERMANENT, "credentials_token",
                             "cannot use the access token: it is not plain ASCII");
        }
    }
    if (routing)
        head->metadata[head->count++] = header("x-goog-request-params", grpc_slice_from_copied_string(routing));
    if (!secret_is_empty(head->token)) {
        BUG_ON(link->plaintext);
        head->metadata[head->count++] = header("authorization", bearer(head->token));
    }
    return true;
}

void call_head_release(struct call_head *head)
{
    for (size_t i = 0; i < head->count; i++)
        grpc_slice_unref(head->metadata[i].value);
    head->count = 0;
    secret_unref(head->token);
    head->token = NULL;
}

void call_end_init(struct call_end *end)
{
    *end = (struct call_end){.status = GRPC_STATUS_OK, .details = grpc_empty_slice()};
    grpc_metadata_array_init(&end->trailing);
}

grpc_op call_end_op(struct call_end *end)
{
    grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    op.data.recv_status_on_client.trailing_metadata = &end->trailing;
    op.data.recv_status_on_client.status = &end->status;
    op.data.recv_status_on_client.status_details = &end->details;
    op.data.recv_status_on_client.error_string = &end->error_string;
    return op;
}

/* Copies `text` with each occurrence of the secret replaced and control characters made blanks. */
static void append_foreign(struct buf *out, struct slice text, struct slice secret)
{
    for (size_t i = 0; i < text.len; i++) {
        if (secret.len > 0 && text.len - i >= secret.len && memcmp(text.ptr + i, secret.ptr, secret.len) == 0) {
            buf_append_str(out, "[secret]");
            i += secret.len - 1;
            continue;
        }
        unsigned char c = (unsigned char)text.ptr[i];
        buf_append_char(out, c < ' ' || c == 0x7F ? ' ' : (char)c);
    }
}

void call_end_error(const struct call_end *end, const char *method, const struct secret *token, struct error *err)
{
    struct buf text = BUF_INIT;
    struct slice raw = slice_of(GRPC_SLICE_START_PTR(end->details), GRPC_SLICE_LENGTH(end->details));
    enum { MAX_STATUS_TEXT_BYTES = 4096 };
    if (raw.len > MAX_STATUS_TEXT_BYTES)
        raw.len = MAX_STATUS_TEXT_BYTES;
    append_foreign(&text, raw, token ? secret_reveal(token) : SLICE_NULL);
    grpc_status_error(err, (int)end->status, slice_is_utf8(buf_slice(&text)) ? buf_cstr(&text) : "(text is not UTF-8)",
                      method);
    if (err)
        secret_blot(err->message, token);
    buf_release(&text);
}

void call_end_details(const struct call_end *end, struct buf *ret)
{
    buf_clear(ret);
    for (size_t i = 0; i < end->trailing.count; i++) {
        const grpc_metadata *md = &end->trailing.metadata[i];
        if (grpc_slice_str_cmp(md->key, "grpc-status-details-bin") != 0)
            continue;
        buf_append(ret, GRPC_SLICE_START_PTR(md->value), GRPC_SLICE_LENGTH(md->value));
        return;
    }
}

void call_end_release(struct call_end *end)
{
    union {
        const char *text;
        void *owned;
    } error_string = {end->error_string};
    grpc_metadata_array_destroy(&end->trailing);
    grpc_slice_unref(end->details);
    gpr_free(error_string.owned);
    end->details = grpc_empty_slice();
    end->error_string = NULL;
}

grpc_byte_buffer *byte_buffer_of(struct slice head, struct slice body)
{
    grpc_slice parts[2];
    size_t count = 0;
    if (head.len > 0 || body.len == 0)
        parts[count++] = grpc_slice_from_copied_buffer(head.ptr ? head.ptr : "", head.len);
    if (body.len > 0)
        parts[count++] = grpc_slice_from_copied_buffer(body.ptr, body.len);
    grpc_byte_buffer *bytes = grpc_raw_byte_buffer_create(parts, count);
    for (size_t i = 0; i < count; i++)
        grpc_slice_unref(parts[i]);
    return bytes;
}

grpc_byte_buffer *byte_buffer_of_message(const ProtobufCMessage *message)
{
    grpc_slice packed = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(packed));
    grpc_byte_buffer *bytes = grpc_raw_byte_buffer_create(&packed, 1);
    grpc_slice_unref(packed);
    return bytes;
}

bool byte_buffer_read(grpc_byte_buffer *bytes, struct buf *ret)
{
    grpc_byte_buffer_reader reader;
    grpc_slice piece;
    buf_clear(ret);
    if (!grpc_byte_buffer_reader_init(&reader, bytes))
        return false;
    buf_reserve(ret, grpc_byte_buffer_length(bytes));
    while (grpc_byte_buffer_reader_next(&reader, &piece)) {
        buf_append(ret, GRPC_SLICE_START_PTR(piece), GRPC_SLICE_LENGTH(piece));
        grpc_slice_unref(piece);
    }
    grpc_byte_buffer_reader_destroy(&reader);
    return true;
}

gpr_timespec grpc_deadline_after(int64_t timeout_ms)
{
    if (timeout_ms < 0)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));
}
