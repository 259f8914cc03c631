/* http_exchange.c - what a handler sees of a request, and what it answers.
 *
 * Everything is copied out of MHD when the request starts, so that a handler thread never reads the connection.
 * Paths and queries are decoded here from the raw URI: a NUL byte in either makes the URL malformed, because C
 * strings could not carry it. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <strings.h>

#include "http_exchange.h"
#include "net/url.h"

/* ---- Request ---------------------------------------------------------------------------------------------------- */

void http_pairs_add(struct http_exchange *x, struct http_pairs *pairs, const char *name, const char *value)
{
    struct http_pair *pair = arena_zalloc(x->arena, sizeof *pair);
    pair->name = name;
    pair->value = value;
    if (!pairs->end)
        pairs->end = &pairs->first;
    *pairs->end = pair;
    pairs->end = &pair->next;
}

/* Into the arena; NULL when the text is not well-formed. */
static const char *decode(struct arena *arena, struct slice s, bool plus_is_space)
{
    char *out = arena_alloc(arena, s.len + 1);
    return url_decode(s, plus_is_space, out, s.len + 1) ? out : NULL;
}

static bool parse_query(struct http_exchange *x, struct slice query)
{
    while (query.len > 0) {
        struct slice value = slice_cut(&query, '&');
        if (value.len == 0)
            continue;
        struct slice name = slice_cut(&value, '=');
        const char *name_text = decode(x->arena, name, true);
        const char *value_text = decode(x->arena, value, true);
        if (!name_text || !value_text)
            return false;
        http_pairs_add(x, &x->query, name_text, value_text);
    }
    return true;
}

struct http_exchange *http_exchange_new(struct http_server *server, const char *uri)
{
    struct http_exchange *x = xcalloc(1, sizeof *x);
    x->server = server;
    x->arena = arena_new(4096);
    x->target = arena_strdup(x->arena, slice_str(uri));
    struct slice query = slice_str(uri);
    struct slice path = slice_cut(&query, '?');
    x->raw_path = arena_strdup(x->arena, path);
    x->path = decode(x->arena, path, false);
    if (!parse_query(x, query))
        x->path = NULL;
    return x;
}

void http_exchange_free(struct http_exchange *x)
{
    if (!x)
        return;
    buf_release(&x->body);
    buf_release(&x->reply.body);
    if (x->cancel)
        cancel_free(x->cancel);
    http_peer_unref(x->peer);
    arena_free(x->arena);
    free(x);
}

static enum MHD_Result take_header(void *user, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct http_exchange *x = user;
    (void)kind;
    value = value ? value : "";
    x->header_bytes += strlen(name) + strlen(value);
    http_pairs_add(x, &x->headers, arena_strdup(x->arena, slice_str(name)), arena_strdup(x->arena, slice_str(value)));
    return MHD_YES;
}

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return ntohl(in.sin_addr.s_addr) >> 24 == 127;
    }
    if (address->sa_family != AF_INET6)
        return false;
    struct sockaddr_in6 in6;
    memcpy(&in6, address, sizeof in6);
    bool mapped = IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr) && in6.sin6_addr.s6_addr[12] == 127;
    return mapped || IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
}

void http_exchange_take_request(struct http_exchange *x, struct MHD_Connection *connection, const char *method)
{
    x->connection = connection;
    x->method = arena_strdup(x->arena, slice_str(method));
    MHD_get_connection_values(connection, MHD_HEADER_KIND, take_header, x);
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    x->peer_is_loopback = info && info->client_addr && is_loopback(info->client_addr);
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    x->peer = http_peer_ref(info ? info->socket_context : NULL);
}

const char *http_exchange_target(const struct http_exchange *x)
{
    return x->target;
}

const char *http_exchange_method(const struct http_exchange *x)
{
    return x->method;
}

const char *http_exchange_path(const struct http_exchange *x)
{
    return x->path;
}

const char *http_exchange_raw_path(const struct http_exchange *x)
{
    return x->raw_path;
}

const char *http_exchange_query(const struct http_exchange *x, const char *name)
{
    for (const struct http_pair *pair = x->query.first; pair; pair = pair->next)
        if (strcmp(pair->name, name) == 0)
            return pair->value;
    return NULL;
}

void http_exchange_each_query(const struct http_exchange *x,
                              void (*fn)(void *user, const char *name, const char *value), void *user)
{
    for (const struct http_pair *pair = x->query.first; pair; pair = pair->next)
        fn(user, pair->name, pair->value);
}

const char *http_exchange_header(const struct http_exchange *x, const char *name)
{
    for (const struct http_pair *pair = x->headers.first; pair; pair = pair->next)
        if (strcasecmp(pair->name, name) == 0)
            return pair->value;
    return NULL;
}

struct slice http_exchange_body(const struct http_exchange *x)
{
    return slice_of(buf_cstr(&x->body), x->body.len);
}

bool http_exchange_peer_is_loopback(const struct http_exchange *x)
{
    return x->peer_is_loopback;
}

struct cancel *http_exchange_cancel(struct http_exchange *x, int64_t limit_ms, bool heed_hangup)
{
    if (!x->cancel)
        x->cancel = cancel_new(NULL);
    http_peer_unwatch(x->peer);
    http_peer_watch(x->peer, x->cancel, limit_ms, heed_hangup);
    return x->cancel;
}

/* ---- Reply ------------------------------------------------------------------------------------------------------ */

void http_exchange_add_header(struct http_exchange *x, const char *name, const char *value)
{
    http_pairs_add(x, &x->reply.headers, arena_strdup(x->arena, slice_str(name)),
                   arena_strdup(x->arena, slice_str(value)));
}

static void begin_reply(struct http_exchange *x, enum http_reply_kind kind, int status, const char *content_type)
{
    if (x->reply.kind != HTTP_REPLY_NONE)
        BUG("a request was answered twice: %s %s", x->method, x->raw_path);
    x->reply.kind = kind;
    x->reply.status = status;
    x->reply.content_type = content_type ? arena_strdup(x->arena, slice_str(content_type)) : NULL;
}

void http_exchange_reply(struct http_exchange *x, int status, const char *content_type, struct slice body)
{
    begin_reply(x, HTTP_REPLY_BODY, status, content_type);
    buf_append_slice(&x->reply.body, body);
}

void http_exchange_reply_buf(struct http_exchange *x, int status, const char *content_type, struct buf *body)
{
    begin_reply(x, HTTP_REPLY_BODY, status, content_type);
    x->reply.body = *body;
    *body = BUF_INIT;
}

void http_exchange_reply_cut(struct http_exchange *x, int status, const char *content_type, struct slice body,
                             size_t bytes)
{
    begin_reply(x, HTTP_REPLY_CUT, status, content_type);
    buf_append_slice(&x->reply.body, body);
    x->reply.cut_bytes = bytes < body.len ? bytes : body.len;
}

void http_exchange_abort(struct http_exchange *x)
{
    begin_reply(x, HTTP_REPLY_ABORT, 0, NULL);
}

/* Gives out the first cut_bytes, then breaks the connection: MHD closes it without the rest. The exchange outlives
 * its response, because MHD completes a request after it has dropped the response's body. */
static ssize_t read_cut(void *user, uint64_t position, char *out, size_t max)
{
    const struct http_exchange *x = user;
    size_t left = position < x->reply.cut_bytes ? x->reply.cut_bytes - (size_t)position : 0;
    if (left == 0)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t n = left < max ? left : max;
    memcpy(out, x->reply.body.ptr + position, n);
    return (ssize_t)n;
}

static struct MHD_Response *make_response(struct http_exchange *x)
{
    size_t len = x->reply.body.len;
    if (x->reply.kind == HTTP_REPLY_CUT)
        return MHD_create_response_from_callback(len, 16384, read_cut, x, NULL);
    return MHD_create_response_from_buffer(len, buf_detach(&x->reply.body), MHD_RESPMEM_MUST_FREE);
}

enum MHD_Result http_exchange_send(struct http_exchange *x, struct MHD_Connection *connection)
{
    if (x->reply.kind == HTTP_REPLY_ABORT)
        return MHD_NO;
    struct MHD_Response *response = make_response(x);
    if (!response)
        return MHD_NO;
    if (x->reply.content_type)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, x->reply.content_type);
    for (const struct http_pair *pair = x->reply.headers.first; pair; pair = pair->next)
        MHD_add_response_header(response, pair->name, pair->value);
    enum MHD_Result result = MHD_queue_response(connection, (unsigned)x->reply.status, response);
    MHD_destroy_response(response);
    return result;
}
