/* test_bq_write.c - the local Storage Write API, asked by a gRPC client on the real wire. */
#include "bq_fixture.h"
#include "bigquery_storage.pb-c.h"

#define BQS(name) Google__Cloud__Bigquery__Storage__V1__##name
#define SERVICE "/google.cloud.bigquery.storage.v1.BigQueryWrite/"
#define TABLE "projects/p/datasets/d/tables/t"
#define RESPONSE_CASE(name) GOOGLE__CLOUD__BIGQUERY__STORAGE__V1__APPEND_ROWS_RESPONSE__RESPONSE_##name
#define DESCRIPTOR(type) &google__cloud__bigquery__storage__v1__##type##__descriptor

enum { INT64 = 3, STRING = 9, WAIT_MS = 30000 };

static int set_up(void **state)
{
    struct bq_fixture *f = xcalloc(1, sizeof *f);
    f->http = http_client_new();
    bq_fixture_open(f);
    json_object_put(bq_call(f, "POST", "projects/p/datasets", "{\"datasetReference\":{\"datasetId\":\"d\"}}"));
    bq_run(f, "CREATE TABLE d.t (id INT64 NOT NULL, s STRING(5), def INT64 DEFAULT 7)");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct bq_fixture *f = *state;
    bq_fixture_close(f);
    http_client_free(f->http);
    free(f);
    return system("rm -rf data");
}

/* ---- Requests --------------------------------------------------------------------------------------------------- */

/* Message Row {id = 1, s = 2} and, when asked for, a field that the table lacks at first. */
static void put_descriptor(struct buf *out, bool extra)
{
    pb_text(out, 1, "Row");
    pb_field(out, "id", 1, 1, INT64, NULL);
    pb_field(out, "S", 2, 1, STRING, NULL); /* names match without case */
    if (extra)
        pb_field(out, "extra", 3, 1, INT64, NULL);
}

enum writer { WRITER_NONE, WRITER_PLAIN, WRITER_EXTRA };

struct append {
    const char *stream; /* NULL: left out */
    enum writer writer;
    int64_t offset; /* -1: none */
    int64_t first_id;
    int count;
    const char *text; /* of every row; NULL: missing */
    int default_missing;
};

static void put_append(struct buf *out, const struct append *a)
{
    struct buf descriptor = BUF_INIT, schema = BUF_INIT, rows = BUF_INIT, data = BUF_INIT, offset = BUF_INIT;
    for (int i = 0; i < a->count; i++) {
        struct buf row = BUF_INIT;
        pb_int(&row, 1, a->first_id + i);
        if (a->text)
            pb_text(&row, 2, a->text);
        pb_bytes(&rows, 1, buf_slice(&row));
        buf_release(&row);
    }
    if (a->writer != WRITER_NONE) {
        put_descriptor(&descriptor, a->writer == WRITER_EXTRA);
        pb_bytes(&schema, 1, buf_slice(&descriptor));
        pb_bytes(&data, 1, buf_slice(&schema));
    }
    pb_bytes(&data, 2, buf_slice(&rows));
    if (a->stream)
        pb_text(out, 1, a->stream);
    if (a->offset >= 0) {
        pb_int(&offset, 1, a->offset);
        pb_bytes(out, 2, buf_slice(&offset));
    }
    pb_bytes(out, 4, buf_slice(&data));
    if (a->default_missing)
        pb_int(out, 8, a->default_missing);
    buf_release(&descriptor);
    buf_release(&schema);
    buf_release(&rows);
    buf_release(&data);
    buf_release(&offset);
}

static struct grpc_stream *open_append(struct bq_fixture *f, const char *stream)
{
    struct error err = ERROR_INIT;
    char *routing = xasprintf("write_stream=%s", stream);
    struct grpc_stream *s = grpc_stream_open(f->link, SERVICE "AppendRows", routing, &err);
    assert_non_null(s);
    free(routing);
    return s;
}

static void send_append(struct grpc_stream *s, const struct append *a)
{
    struct buf message = BUF_INIT;
    struct error err = ERROR_INIT;
    put_append(&message, a);
    assert_true(grpc_stream_send(s, buf_slice(&message), SLICE_NULL, &err));
    buf_release(&message);
}

/* What a response says, in one line: "ok", "ok offset 3", "error 6 code 8: message", "rows 0:message". */
static char *receive(struct grpc_stream *s)
{
    struct buf bytes = BUF_INIT, text = BUF_INIT;
    struct error err = ERROR_INIT;
    enum grpc_recv got = grpc_stream_recv(s, WAIT_MS, &bytes, NULL, &err);
    if (got != GRPC_RECV_MESSAGE) {
        buf_printf(&text, "end %d: %s", err.status, err.message);
        buf_release(&bytes);
        return buf_detach(&text);
    }
    BQS(AppendRowsResponse) *r =
        google__cloud__bigquery__storage__v1__append_rows_response__unpack(NULL, bytes.len, (const uint8_t *)bytes.ptr);
    assert_non_null(r);
    bool stored = r->response_case == RESPONSE_CASE(APPEND_RESULT);
    if (stored)
        buf_append_str(&text, "ok");
    if (stored && r->append_result->offset)
        buf_printf(&text, " offset %lld", (long long)r->append_result->offset->value);
    if (r->response_case == RESPONSE_CASE(ERROR)) {
        int code = 0;
        if (r->error->n_details > 0) {
            BQS(StorageError) *e = google__cloud__bigquery__storage__v1__storage_error__unpack(
                NULL, r->error->details[0]->value.len, r->error->details[0]->value.data);
            assert_non_null(e);
            code = (int)e->code;
            google__cloud__bigquery__storage__v1__storage_error__free_unpacked(e, NULL);
        }
        buf_printf(&text, "error %d code %d: %s", r->error->code, code, r->error->message);
    }
    for (size_t i = 0; i < r->n_row_errors; i++)
        buf_printf(&text, " row %lld", (long long)r->row_errors[i]->index);
    if (r->updated_schema)
        buf_printf(&text, " schema %zu", r->updated_schema->n_fields);
    google__cloud__bigquery__storage__v1__append_rows_response__free_unpacked(r, NULL);
    buf_release(&bytes);
    return buf_detach(&text);
}

/* The response begins with `prefix` and contains `part`. */
static void expect(struct grpc_stream *s, const char *prefix, const char *part)
{
    char *text = receive(s);
    if (strncmp(text, prefix, strlen(prefix)) != 0 || !strstr(text, part))
        fail_msg("expected \"%s...%s\", got \"%s\"", prefix, part, text);
    free(text);
}

static void expect_exactly(struct grpc_stream *s, const char *expected)
{
    char *text = receive(s);
    assert_string_equal(text, expected);
    free(text);
}

/* ---- Unary calls ------------------------------------------------------------------------------------------------ */

static ProtobufCMessage *unary(struct bq_fixture *f, const char *method, const ProtobufCMessage *request,
                               const ProtobufCMessageDescriptor *reply, struct error *err)
{
    ProtobufCMessage *answer = NULL;
    char *path = xasprintf(SERVICE "%s", method);
    *err = ERROR_INIT;
    bool ok = grpc_unary(f->link, path, "parent=x", request, reply, WAIT_MS, NULL, &answer, err);
    free(path);
    assert_true(ok == (answer != NULL));
    return answer;
}

static char *create_stream(struct bq_fixture *f, int type)
{
    char parent[] = TABLE;
    struct error err;
    BQS(CreateWriteStreamRequest) request;
    BQS(WriteStream) stream;
    google__cloud__bigquery__storage__v1__create_write_stream_request__init(&request);
    google__cloud__bigquery__storage__v1__write_stream__init(&stream);
    stream.type = (BQS(WriteStream__Type))type;
    request.parent = parent;
    request.write_stream = &stream;
    ProtobufCMessage *reply = unary(f, "CreateWriteStream", &request.base, DESCRIPTOR(write_stream), &err);
    assert_non_null(reply);
    const BQS(WriteStream) *made = (const void *)reply;
    assert_int_equal(made->type, type);
    assert_int_equal(made->table_schema->n_fields, 3);
    assert_true((made->commit_time != NULL) == (type == 1));
    char *name = xstrdup(made->name);
    protobuf_c_message_free_unpacked(reply, NULL);
    return name;
}

static int64_t finalize(struct bq_fixture *f, char *name)
{
    struct error err;
    BQS(FinalizeWriteStreamRequest) request;
    google__cloud__bigquery__storage__v1__finalize_write_stream_request__init(&request);
    request.name = name;
    ProtobufCMessage *reply =
        unary(f, "FinalizeWriteStream", &request.base, DESCRIPTOR(finalize_write_stream_response), &err);
    if (!reply)
        return -err.status;
    int64_t rows = ((const BQS(FinalizeWriteStreamResponse) *)(const void *)reply)->row_count;
    protobuf_c_message_free_unpacked(reply, NULL);
    return rows;
}

/* 0: committed; else the first StorageErrorCode. */
static int commit(struct bq_fixture *f, char **names, size_t count)
{
    char parent[] = TABLE;
    struct error err;
    BQS(BatchCommitWriteStreamsRequest) request;
    google__cloud__bigquery__storage__v1__batch_commit_write_streams_request__init(&request);
    request.parent = parent;
    request.write_streams = names;
    request.n_write_streams = count;
    ProtobufCMessage *message =
        unary(f, "BatchCommitWriteStreams", &request.base, DESCRIPTOR(batch_commit_write_streams_response), &err);
    if (!message)
        fail_msg("commit: %s", err.message);
    const BQS(BatchCommitWriteStreamsResponse) *reply = (const void *)message;
    assert_true((reply->commit_time != NULL) == (reply->n_stream_errors == 0));
    int code = reply->n_stream_errors ? (int)reply->stream_errors[0]->code : 0;
    protobuf_c_message_free_unpacked(message, NULL);
    return code;
}

/* The offset, or minus the gRPC status. */
static int64_t flush(struct bq_fixture *f, char *name, int64_t offset)
{
    struct error err;
    BQS(FlushRowsRequest) request;
    Google__Protobuf__Int64Value value;
    google__cloud__bigquery__storage__v1__flush_rows_request__init(&request);
    google__protobuf__int64_value__init(&value);
    value.value = offset;
    request.write_stream = name;
    request.offset = &value;
    ProtobufCMessage *reply = unary(f, "FlushRows", &request.base, DESCRIPTOR(flush_rows_response), &err);
    if (!reply)
        return -err.status;
    int64_t flushed = ((const BQS(FlushRowsResponse) *)(const void *)reply)->offset;
    protobuf_c_message_free_unpacked(reply, NULL);
    return flushed;
}

#define COUNT "SELECT COUNT(*) AS n FROM d.t"

/* ---- Tests ------------------------------------------------------------------------------------------------------ */

static void test_default_stream(void **state)
{
    static const char *const names[] = {TABLE "/streams/_default", TABLE "/_default"};
    struct bq_fixture *f = *state;
    for (size_t i = 0; i < 2; i++) {
        struct grpc_stream *s = open_append(f, names[i]);
        struct error err = ERROR_INIT;
        send_append(s, &(struct append){names[i], WRITER_PLAIN, -1, 1, 3, "abc", 0});
        expect_exactly(s, "ok");
        send_append(s, &(struct append){NULL, WRITER_NONE, -1, 4, 2, NULL, 0});
        expect_exactly(s, "ok");
        send_append(s, &(struct append){NULL, WRITER_NONE, 0, 9, 1, NULL, 0});
        expect(s, "error 3 code 0", "Offset cannot be set");
        assert_true(grpc_stream_half_close(s, &err));
        expect_exactly(s, "end 0: ");
        grpc_stream_free(s);
    }
    char *rows = bq_rows(f, "SELECT id, s, def FROM d.t WHERE id IN (3, 4) ORDER BY id LIMIT 3");
    assert_string_equal(rows, "[{\"f\":[{\"v\":\"3\"},{\"v\":\"abc\"},{\"v\":null}]},{\"f\":[{\"v\":\"3\"},{\"v\":"
                              "\"abc\"},{\"v\":null}]},{\"f\":[{\"v\":\"4\"},{\"v\":null},{\"v\":null}]}]");
    free(rows);
    assert_bq_value(f, COUNT, "10");
}

static void test_default_values(void **state)
{
    struct bq_fixture *f = *state;
    struct grpc_stream *s = open_append(f, TABLE "/streams/_default");
    send_append(s, &(struct append){TABLE "/streams/_default", WRITER_PLAIN, -1, 1, 1, NULL, 2});
    expect_exactly(s, "ok");
    send_append(s, &(struct append){NULL, WRITER_NONE, -1, 2, 1, NULL, 0}); /* stays in force */
    expect_exactly(s, "ok");
    send_append(s, &(struct append){NULL, WRITER_NONE, -1, 3, 1, NULL, 1});
    expect_exactly(s, "ok");
    grpc_stream_free(s);
    assert_bq_value(f,
                    "SELECT STRING_AGG(CONCAT(CAST(id AS STRING), ':', IFNULL(CAST(def AS STRING), 'null')) ORDER BY "
                    "id) AS x FROM d.t",
                    "1:7,2:7,3:null");
}

static void test_offsets(void **state)
{
    struct bq_fixture *f = *state;
    char *name = create_stream(f, 1);
    struct grpc_stream *s = open_append(f, name);
    send_append(s, &(struct append){name, WRITER_PLAIN, 0, 1, 3, "a", 0});
    send_append(s, &(struct append){NULL, WRITER_NONE, 3, 4, 2, "a", 0});
    send_append(s, &(struct append){NULL, WRITER_NONE, 0, 1, 3, "a", 0});
    send_append(s, &(struct append){NULL, WRITER_NONE, 9, 1, 3, "a", 0});
    send_append(s, &(struct append){NULL, WRITER_NONE, -1, 6, 1, "a", 0});
    expect_exactly(s, "ok offset 0");
    expect_exactly(s, "ok offset 3");
    expect(s, "error 6 code 8: The offset is within stream, expected offset 5, received 0", "");
    expect(s, "error 11 code 9: The offset is beyond stream, expected offset 5, received 9", "");
    expect_exactly(s, "ok offset 5");
    assert_int_equal(finalize(f, name), 6);
    send_append(s, &(struct append){NULL, WRITER_NONE, 6, 6, 1, "a", 0});
    expect(s, "error 3 code 6", "Stream has been finalized");
    grpc_stream_free(s);
    assert_bq_value(f, COUNT, "6");

    bq_fixture_close(f); /* offsets survive */
    bq_fixture_open(f);
    char *second = create_stream(f, 1);
    s = open_append(f, second);
    send_append(s, &(struct append){second, WRITER_PLAIN, 0, 1, 3, "a", 0});
    expect_exactly(s, "ok offset 0");
    grpc_stream_free(s);
    bq_fixture_close(f);
    bq_fixture_open(f);
    s = open_append(f, second);
    send_append(s, &(struct append){second, WRITER_PLAIN, 0, 1, 3, "a", 0});
    expect(s, "error 6 code 8", "expected offset 3, received 0");
    grpc_stream_free(s);
    assert_int_equal(finalize(f, name), 6);
    free(name);
    free(second);
}

static void test_row_errors(void **state)
{
    struct bq_fixture *f = *state;
    char *name = create_stream(f, 1);
    struct grpc_stream *s = open_append(f, name);
    send_append(s, &(struct append){name, WRITER_PLAIN, 0, 1, 2, "ok", 0});
    send_append(s, &(struct append){NULL, WRITER_NONE, 2, 3, 2, "too long", 0});
    send_append(s, &(struct append){NULL, WRITER_NONE, 4, 5, 2, "ok", 0});
    send_append(s, &(struct append){NULL, WRITER_NONE, 2, 7, 2, "ok", 0});
    expect_exactly(s, "ok offset 0");
    expect(s, "error 3 code 0: Errors found while processing rows", " row 0 row 1");
    expect(s, "error 11 code 9", "expected offset 2, received 4");
    expect_exactly(s, "ok offset 2");
    grpc_stream_free(s);
    assert_bq_value(f, "SELECT STRING_AGG(CAST(id AS STRING) ORDER BY id) AS x FROM d.t", "1,2,7,8");
    free(name);
}

static void test_pending_streams(void **state)
{
    struct bq_fixture *f = *state;
    char *names[2] = {create_stream(f, 2), create_stream(f, 2)};
    for (int i = 0; i < 2; i++) {
        struct grpc_stream *s = open_append(f, names[i]);
        send_append(s, &(struct append){names[i], WRITER_PLAIN, 0, 10 * i, 2, "x", 0});
        expect_exactly(s, "ok offset 0");
        send_append(s, &(struct append){NULL, WRITER_NONE, 2, 10 * i + 2, 1, "too long", 0});
        expect(s, "error 3", " row 0");
        send_append(s, &(struct append){NULL, WRITER_NONE, 2, 10 * i + 2, 1, NULL, 0});
        expect_exactly(s, "ok offset 2");
        grpc_stream_free(s);
    }
    assert_int_equal(finalize(f, names[0]), 3);
    assert_int_equal(commit(f, names, 2), 5); /* the other is not finalized */
    assert_int_equal(finalize(f, names[1]), 3);
    assert_bq_value(f, COUNT, "0");
    bq_fixture_close(f);
    bq_fixture_open(f);
    char *twice[2] = {names[0], names[0]};
    assert_int_equal(commit(f, twice, 2), 5);
    assert_bq_value(f, COUNT, "0");
    assert_int_equal(commit(f, names, 2), 0);
    assert_bq_value(f, "SELECT STRING_AGG(CAST(id AS STRING) ORDER BY id) AS x FROM d.t", "0,1,2,10,11,12");
    assert_int_equal(commit(f, names, 1), 2);
    bq_fixture_close(f);
    bq_fixture_open(f);
    assert_int_equal(commit(f, names, 1), 2);
    char missing[] = TABLE "/streams/none", *none = missing;
    assert_int_equal(commit(f, &none, 1), 3);
    assert_bq_value(f, COUNT, "6");
    free(names[0]);
    free(names[1]);
}

static void test_buffered_streams(void **state)
{
    struct bq_fixture *f = *state;
    char *name = create_stream(f, 3);
    assert_int_equal(flush(f, name, 0), -11);
    struct grpc_stream *s = open_append(f, name);
    send_append(s, &(struct append){name, WRITER_PLAIN, 0, 0, 5, "x", 0});
    expect_exactly(s, "ok offset 0");
    assert_bq_value(f, COUNT, "0");
    assert_int_equal(flush(f, name, 1), 1);
    assert_bq_value(f, COUNT, "2");
    assert_int_equal(flush(f, name, 1), 1);
    assert_int_equal(flush(f, name, 4), 4);
    assert_bq_value(f, "SELECT STRING_AGG(CAST(id AS STRING) ORDER BY id) AS x FROM d.t", "0,1,2,3,4");
    assert_int_equal(flush(f, name, 5), -11);
    grpc_stream_free(s);
    free(name);
}

static void test_schema_changes(void **state)
{
    struct bq_fixture *f = *state;
    struct grpc_stream *s = open_append(f, TABLE "/_default");
    send_append(s, &(struct append){TABLE "/_default", WRITER_EXTRA, -1, 1, 1, "x", 0});
    expect(s, "error 3 code 7", "extra");
    send_append(s, &(struct append){NULL, WRITER_PLAIN, -1, 1, 1, "x", 0});
    expect_exactly(s, "ok");
    bq_run(f, "ALTER TABLE d.t ADD COLUMN extra INT64");
    send_append(s, &(struct append){NULL, WRITER_NONE, -1, 2, 1, "x", 0});
    expect_exactly(s, "ok schema 4");
    send_append(s, &(struct append){NULL, WRITER_EXTRA, -1, 3, 1, "x", 0});
    expect_exactly(s, "ok");
    bq_run(f, "DROP TABLE d.t");
    send_append(s, &(struct append){NULL, WRITER_NONE, -1, 4, 1, "x", 0});
    expect(s, "end 5: ", "not found");
    grpc_stream_free(s);
}

static void test_bad_targets(void **state)
{
    static const struct {
        const char *stream, *end;
    } cases[] = {
        {TABLE "/streams/none", "end 5: "},
        {"projects/p/datasets/d/tables/none/_default", "end 5: "},
        {"nonsense", "end 3: "},
        {NULL, "end 3: "},
    };
    struct bq_fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct grpc_stream *s = open_append(f, "x");
        send_append(s, &(struct append){cases[i].stream, WRITER_PLAIN, -1, 1, 1, NULL, 0});
        expect(s, cases[i].end, "");
        grpc_stream_free(s);
    }
    char name[] = TABLE "/streams/_default";
    assert_int_equal(finalize(f, name), -5);
    struct grpc_stream *s = open_append(f, name);
    struct error err = ERROR_INIT;
    assert_true(grpc_stream_send(s, SLICE_LIT("\xff\xff\xff"), SLICE_NULL, &err));
    expect(s, "end 3: ", "not a well-formed");
    grpc_stream_free(s);
}

static void test_many_requests_keep_their_order(void **state)
{
    enum { REQUESTS = 200 };
    struct bq_fixture *f = *state;
    char *name = create_stream(f, 1);
    struct grpc_stream *s = open_append(f, name);
    for (int i = 0; i < REQUESTS; i++)
        send_append(s, &(struct append){name, i == 0 ? WRITER_PLAIN : WRITER_NONE, 10 * i, 10 * i, 10, "x", 0});
    for (int i = 0; i < REQUESTS; i++) {
        char expected[32];
        snprintf(expected, sizeof expected, "ok offset %d", 10 * i);
        expect_exactly(s, expected);
    }
    grpc_stream_free(s);
    assert_bq_value(f, "SELECT COUNT(DISTINCT id) AS n FROM d.t", "2000");
    free(name);
}

/* ---- Hazards of the service, on demand --------------------------------------------------------------------------- */

static void test_a_young_table_is_unknown(void **state)
{
    struct bq_fixture *f = *state;
    const struct append one = {TABLE "/streams/_default", WRITER_PLAIN, -1, 1, 1, "x", 0};
    bq_hazards(f, "{\"youngTableMs\":3600000}");
    struct grpc_stream *s = open_append(f, one.stream);
    send_append(s, &one);
    expect(s, "end 5: ", "Requested entity was not found. Entity: " TABLE);
    grpc_stream_free(s);
    json_object_put(bq_call(f, "GET", "projects/p/datasets/d/tables/t", NULL));
    assert_int_equal(f->status, 200); /* REST knows it at once */
    bq_hazards(f, "{\"youngTableMs\":1}");
    s = open_append(f, one.stream);
    send_append(s, &one);
    expect_exactly(s, "ok");
    grpc_stream_free(s);
}

static void wait_until_seen(struct bq_fixture *f, const char *text)
{
    struct buf out = BUF_INIT;
    do {
        buf_clear(&out);
        faults_requests_json(f->faults, -1, &out);
    } while (!strstr(buf_cstr(&out), text));
    buf_release(&out);
}

/* The first answer is held, so that all others wait in the server: the refused one may not overtake its neighbour. */
static void test_one_request_is_refused_in_its_turn(void **state)
{
    enum { REQUESTS = 8, REFUSED = 6 };
    struct bq_fixture *f = *state;
    const char *name = TABLE "/streams/_default";
    struct error err = ERROR_INIT;
    struct json_object *hold =
        json_parse(SLICE_LIT("{\"method\":\"write.AppendRows\",\"where\":\"after\"}"), "hold", &err);
    struct grpc_stream *s = open_append(f, name);
    assert_true(faults_hold(f->faults, hold, &err));
    arm(f->faults,
        "{\"method\":\"write.AppendRows\",\"kind\":\"status\",\"code\":\"RESOURCE_EXHAUSTED\",\"inBand\":true,"
        "\"skip\":6,\"message\":\"Exceeds 'AppendRows throughput' quota\"}");
    for (int i = 0; i < REQUESTS; i++)
        send_append(s, &(struct append){name, i == 0 ? WRITER_PLAIN : WRITER_NONE, -1, i, 1, "x", 0});
    wait_until_seen(f, "\"write.AppendRows\":{\"seen\":8");
    faults_release(f->faults, false);
    for (int i = 0; i < REQUESTS; i++)
        expect_exactly(s, i == REFUSED ? "error 8 code 0: Exceeds 'AppendRows throughput' quota" : "ok");
    assert_bq_value(f, "SELECT STRING_AGG(CAST(id AS STRING) ORDER BY id) AS ids FROM d.t", "0,1,2,3,4,5,7");
    arm(f->faults, "{\"method\":\"write.AppendRows\",\"kind\":\"status\",\"code\":\"RESOURCE_EXHAUSTED\"}");
    send_append(s, &(struct append){name, WRITER_NONE, -1, 5, 1, "x", 0});
    expect(s, "end 8: ", "Quota exceeded");
    grpc_stream_free(s);
    json_object_put(hold);
}

static void test_a_reply_is_lost_behind_the_rows(void **state)
{
    struct bq_fixture *f = *state;
    const struct append one = {TABLE "/streams/_default", WRITER_PLAIN, -1, 1, 1, "x", 0};
    struct grpc_stream *s = open_append(f, one.stream);
    arm(f->faults, "{\"method\":\"write.AppendRows\",\"kind\":\"cut_after\"}");
    send_append(s, &one);
    expect(s, "end 14: ", "Socket closed");
    grpc_stream_free(s);
    assert_bq_value(f, "SELECT COUNT(*) AS n FROM d.t", "1");
}

static void test_a_connection_without_traffic_is_closed(void **state)
{
    struct bq_fixture *f = *state;
    const struct append one = {TABLE "/streams/_default", WRITER_PLAIN, -1, 1, 1, "x", 0};
    struct grpc_stream *s = open_append(f, one.stream);
    send_append(s, &one);
    expect_exactly(s, "ok");
    bq_hazards(f, "{\"appendIdleMs\":1}");
    expect(s, "end 10: ", "Closing the stream because it has been inactive for");
    grpc_stream_free(s);
}

int main(void)
{
    http_global_init();
    grpc_global_init();
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_default_stream),
        CASE(test_default_values),
        CASE(test_offsets),
        CASE(test_row_errors),
        CASE(test_pending_streams),
        CASE(test_buffered_streams),
        CASE(test_schema_changes),
        CASE(test_bad_targets),
        CASE(test_many_requests_keep_their_order),
        CASE(test_one_request_is_refused_in_its_turn),
        CASE(test_a_reply_is_lost_behind_the_rows),
        CASE(test_a_young_table_is_unknown),
        CASE(test_a_connection_without_traffic_is_closed),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    grpc_global_release();
    http_global_release();
    return failed;
}
