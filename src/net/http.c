/* http.c - one request at a time over libcurl; see net/http.h for the promises.
 *
 * A client is one easy handle inside a multi handle of its own: the multi handle keeps the connections, and
 * curl_multi_wakeup is the one call that another thread may make, so that a cancellation ends a transfer at once and
 * not at the next timer.
 *
 * Odd facts of libcurl that this file lives with:
 *  - A kept-alive connection that the server has closed meanwhile is replaced and the request sent again, whatever its
 * method, as long as no byte of a reply came. Callers give their POSTs an identity (job ids) or can bear a second one
 * (tokens).
 *  - CURLINFO_REQUEST_SIZE stays 0 until bytes of the request were written: that tells EFFECT_NONE from EFFECT_MAYBE.
 *  - "localhost" is resolved to loopback by libcurl itself, so it is as good as 127.0.0.1.
 * Only HTTP/1.1 is spoken: one request per connection makes a cut body and a lost reply unmistakable. */
#include "net/http.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/clock.h"
#include "base/timestamp.h"

enum {
    CONNECT_TIMEOUT_MS = 10 * 1000,
    TOTAL_TIMEOUT_MS = 120 * 1000,
    LEAST_TIMEOUT_REAL_MS = 5 * 1000,
    MAX_COLLECTED_BYTES = 16 * 1024 * 1024,
    MAX_KEPT_CONNECTIONS = 4,
    RECEIVE_BUFFER_BYTES = 64 * 1024,
    POLL_MS = 1000, /* only a fallback: a cancellation wakes the poll */
    MAX_RETRY_AFTER_S = 24 * 3600,
    MAX_HOST = 256,
    HEADER_TEXT_SIZE = 64,
};

struct http_client {
    CURL *easy;
    CURLM *multi;
    char reason[CURL_ERROR_SIZE];
};

/* One http_perform under way. */
struct transfer {
    struct http_client *client;
    const struct http_request *request;
    struct http_response *response;
    size_t max_body_bytes; /* 0 = unbounded */
    bool too_large;
    char retry_after[HEADER_TEXT_SIZE];
    struct curl_slist *headers;
};

/* ---- URLs -------------------------------------------------------------------------------------------------------- */

static bool host_is_loopback(const char *host)
{
    struct in_addr v4;
    if (strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0)
        return true;
    return inet_pton(AF_INET, host, &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127;
}

static bool url_part(CURLU *url, CURLUPart part, char *ret, size_t size)
{
    char *text = NULL;
    bool ok = curl_url_get(url, part, &text, 0) == CURLUE_OK && strlen(text) < size;
    if (ok)
        memcpy(ret, text, strlen(text) + 1);
    curl_free(text);
    return ok;
}

static const char *refusal_of(CURLU *url)
{
    char scheme[16], host[MAX_HOST], user[MAX_HOST];
    if (!url_part(url, CURLUPART_SCHEME, scheme, sizeof scheme) || !url_part(url, CURLUPART_HOST, host, sizeof host))
        return "not an absolute URL with a host";
    if (url_part(url, CURLUPART_USER, user, sizeof user) || url_part(url, CURLUPART_PASSWORD, user, sizeof user))
        return "user names and passwords do not belong into a URL";
    if (strcmp(scheme, "https") == 0)
        return NULL;
    if (strcmp(scheme, "http") != 0)
        return "only https (and http to loopback) is spoken";
    return host_is_loopback(host) ? NULL : "plaintext http is allowed to loopback hosts only; use https";
}

const char *http_url_refusal(const char *text)
{
    if (!text || !*text)
        return "empty URL";
    CURLU *url = curl_url();
    if (!url)
        BUG("no memory");
    const char *refusal =
        curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK ? refusal_of(url) : "not a URL";
    curl_url_cleanup(url);
    return refusal;
}

bool http_url_is_loopback(const char *text)
{
    char host[MAX_HOST];
    CURLU *url = curl_url();
    if (!url)
        BUG("no memory");
    bool loopback = text && curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
                    url_part(url, CURLUPART_HOST, host, sizeof host) && host_is_loopback(host);
    curl_url_cleanup(url);
    return loopback;
}

/* True for http:// to the metadata server's name or a link-local address, which has no TLS by definition. */
static bool url_is_link_local(const char *text)
{
    char scheme[16], host[MAX_HOST];
    struct in_addr v4;
    CURLU *url = curl_url();
    if (!url)
        BUG("no memory");
    bool readable = text && curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
                    url_part(url, CURLUPART_SCHEME, scheme, sizeof scheme) &&
                    url_part(url, CURLUPART_HOST, host, sizeof host);
    curl_url_cleanup(url);
    if (!readable || strcmp(scheme, "http") != 0)
        return false;
    return strcmp(host, "metadata.google.internal") == 0 ||
           (inet_pton(AF_INET, host, &v4) == 1 && (ntohl(v4.s_addr) >> 16) == 0xA9FE);
}

static const char *request_refusal(const struct http_request *request)
{
    const char *refusal = http_url_refusal(request->url);
    return refusal && request->allow_link_local && url_is_link_local(request->url) ? NULL : refusal;
}

/* The URL as it may stand in an error: without user and query, cut when long. */
static const char *url_for_error(const char *url, char *out, size_t size)
{
    size_t len = strcspn(url, "?#");
    const char *at = memchr(url, '@', len);
    size_t skip = at ? (size_t)(at + 1 - url) : 0;
    snprintf(out, size, "%.*s", (int)(len - skip < size - 1 ? len - skip : size - 1), url + skip);
    return out;
}

/* ---- What arrives ------------------------------------------------------------------------------------------------ */

static void copy_text(char *out, size_t size, struct slice text)
{
    size_t len = text.len < size - 1 ? text.len : size - 1;
    memcpy(out, text.ptr, len);
    out[len] = '\0';
}

static size_t on_header(char *ptr, size_t size, size_t count, void *user)
{
    struct transfer *transfer = user;
    struct http_response *response = transfer->response;
    struct slice value = slice_of(ptr, size * count);
    if (slice_starts_with(value, SLICE_LIT("HTTP/"))) { /* after a 1xx the headers begin anew */
        transfer->retry_after[0] = '\0';
        response->server_time_us = 0;
        response->content_type[0] = '\0';
        return size * count;
    }
    struct slice name = slice_trim(slice_cut(&value, ':'));
    value = slice_trim(value);
    if (slice_eq_nocase(name, SLICE_LIT("retry-after")))
        copy_text(transfer->retry_after, sizeof transfer->retry_after, value);
    else if (slice_eq_nocase(name, SLICE_LIT("content-type")))
        copy_text(response->content_type, sizeof response->content_type, value);
    else if (slice_eq_nocase(name, SLICE_LIT("date")) && !timestamp_parse_http_date(value, &response->server_time_us))
        response->server_time_us = 0;
    return size * count;
}

static int status_of(struct http_client *client)
{
    long status = 0;
    curl_easy_getinfo(client->easy, CURLINFO_RESPONSE_CODE, &status);
    return (int)status;
}

static size_t on_piece(char *ptr, size_t size, size_t count, void *user)
{
    struct transfer *transfer = user;
    struct http_response *response = transfer->response;
    struct slice piece = slice_of(ptr, size * count);
    response->body_bytes += (int64_t)piece.len;
    if (transfer->max_body_bytes && (uint64_t)response->body_bytes > transfer->max_body_bytes) {
        transfer->too_large = true;
        return CURL_WRITEFUNC_ERROR;
    }
    if (!transfer->request->on_body) {
        buf_append_slice(&response->body, piece);
        return piece.len;
    }
    if (transfer->request->on_body(transfer->request->user, status_of(transfer->client), piece))
        return piece.len;
    response->stopped = true;
    return CURL_WRITEFUNC_ERROR;
}

/* A date counts from the server's own clock when the reply tells it. */
static int64_t retry_after_ms(const char *text, int64_t server_time_us)
{
    int64_t seconds, date_us;
    struct slice value = slice_str(text);
    if (value.len == 0)
        return -1;
    if (!slice_to_int64(value, &seconds)) {
        if (!timestamp_parse_http_date(value, &date_us))
            return -1;
        seconds = (date_us - (server_time_us ? server_time_us : clock_wall_us())) / 1000000;
    }
    if (seconds < 0)
        seconds = 0;
    return (seconds > MAX_RETRY_AFTER_S ? MAX_RETRY_AFTER_S : seconds) * 1000;
}

/* ---- What is sent ------------------------------------------------------------------------------------------------ */

static bool header_is_clean(const struct http_header *header)
{
    size_t name_len = header->name ? strlen(header->name) : 0;
    if (name_len == 0 || strpbrk(header->name, "\r\n: "))
        return false;
    for (size_t i = 0; i < header->value.len; i++)
        if (header->value.ptr[i] == '\r' || header->value.ptr[i] == '\n' || header->value.ptr[i] == '\0')
            return false;
    return true;
}

static void append_header(struct transfer *transfer, const char *line)
{
    struct curl_slist *longer = curl_slist_append(transfer->headers, line);
    if (!longer)
        BUG("no memory");
    transfer->headers = longer;
}

static void wipe(char *text)
{
    explicit_bzero(text, strlen(text));
}

static bool build_headers(struct transfer *transfer, struct error *err)
{
    const struct http_request *request = transfer->request;
    bool has_type = false;
    if (request->header_count > HTTP_MAX_HEADERS)
        BUG("%zu headers", request->header_count);
    for (size_t i = 0; i < request->header_count; i++) {
        const struct http_header *header = &request->headers[i];
        if (!header_is_clean(header))
            return error_set(err, ERROR_PERMANENT, "http_header",
                             "cannot send the header \"%s\": its value has a line break",
                             header->name ? header->name : "");
        /* "Name;" is how libcurl is told to send a header without a value. */
        char *line = header->value.len ? xasprintf("%s: %.*s", header->name, SLICE_ARG(header->value))
                                       : xasprintf("%s;", header->name);
        append_header(transfer, line);
        wipe(line);
        free(line);
        has_type = has_type || strcasecmp(header->name, "Content-Type") == 0;
    }
    append_header(transfer, "Expect:");
    if (!has_type)
        append_header(transfer, "Content-Type:"); /* none rather than libcurl's guess of a form */
    return true;
}

static void free_headers(struct transfer *transfer)
{
    for (struct curl_slist *item = transfer->headers; item; item = item->next)
        wipe(item->data);
    curl_slist_free_all(transfer->headers);
    transfer->headers = NULL;
}

static void set_method(CURL *easy, const struct http_request *request)
{
    bool is_post = strcmp(request->method, "POST") == 0;
    if (request->body.ptr || is_post) {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body.ptr ? request->body.ptr : "");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
    }
    if (!is_post && strcmp(request->method, "GET") != 0)
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
}

static void set_security(CURL *easy, const char *url)
{
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    if (http_url_is_loopback(url) || url_is_link_local(url))
        curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
}

static int64_t or_default(int64_t value, int64_t fallback)
{
    return value > 0 ? value : fallback;
}

static void set_options(struct transfer *transfer)
{
    CURL *easy = transfer->client->easy;
    const struct http_request *request = transfer->request;
    curl_easy_reset(easy); /* keeps connections, sessions and the DNS cache */
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->client->reason);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip");
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "st-ingestor");
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)RECEIVE_BUFFER_BYTES);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)or_default(request->connect_timeout_ms, CONNECT_TIMEOUT_MS));
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS,
                     (long)clock_network_ms(or_default(request->timeout_ms, TOTAL_TIMEOUT_MS), LEAST_TIMEOUT_REAL_MS));
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_piece);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    set_security(easy, request->url);
    set_method(easy, request);
}

/* ---- How it ended ------------------------------------------------------------------------------------------------ */

static const struct {
    CURLcode result;
    enum error_class class;
    const char *code;
} results[] = {
    {CURLE_COULDNT_RESOLVE_HOST, ERROR_RETRY, "http_dns"},
    {CURLE_COULDNT_RESOLVE_PROXY, ERROR_RETRY, "http_dns"},
    {CURLE_COULDNT_CONNECT, ERROR_RETRY, "http_connect"},
    {CURLE_OPERATION_TIMEDOUT, ERROR_RETRY, "http_timeout"},
    {CURLE_SSL_CONNECT_ERROR, ERROR_RETRY, "http_tls"},
    {CURLE_PEER_FAILED_VERIFICATION, ERROR_PERMANENT, "http_certificate"},
    {CURLE_SSL_CACERT_BADFILE, ERROR_PERMANENT, "http_certificate"},
    {CURLE_SSL_ISSUER_ERROR, ERROR_PERMANENT, "http_certificate"},
    {CURLE_SSL_CERTPROBLEM, ERROR_PERMANENT, "http_certificate"},
    {CURLE_PARTIAL_FILE, ERROR_RETRY, "http_cut"},
    {CURLE_GOT_NOTHING, ERROR_RETRY, "http_cut"},
    {CURLE_RECV_ERROR, ERROR_RETRY, "http_cut"},
    {CURLE_BAD_CONTENT_ENCODING, ERROR_RETRY, "http_cut"},
    {CURLE_URL_MALFORMAT, ERROR_PERMANENT, "http_url"},
    {CURLE_UNSUPPORTED_PROTOCOL, ERROR_PERMANENT, "http_url"},
};

static enum error_effect effect_of(CURL *easy)
{
    long sent_bytes = 0;
    curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &sent_bytes);
    return sent_bytes > 0 ? EFFECT_MAYBE : EFFECT_NONE;
}

static bool transport_error(const struct transfer *transfer, CURLcode result, struct error *err)
{
    enum error_class class = ERROR_RETRY;
    const char *code = "http_network", *reason = transfer->client->reason;
    char url[160];
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        if (results[i].result == result) {
            class = results[i].class;
            code = results[i].code;
        }
    }
    error_set(err, class, code, "%s %s \"%s\": %s", class == ERROR_PERMANENT ? "cannot" : "could not",
              transfer->request->method, url_for_error(transfer->request->url, url, sizeof url),
              reason[0] ? reason : curl_easy_strerror(result));
    if (err)
        err->effect = effect_of(transfer->client->easy);
    return false;
}

static bool too_large_error(const struct transfer *transfer, struct error *err)
{
    char url[160];
    error_set(err, ERROR_PERMANENT, "http_too_large", "cannot %s \"%s\": the reply is larger than %zu bytes",
              transfer->request->method, url_for_error(transfer->request->url, url, sizeof url),
              transfer->max_body_bytes);
    if (err) {
        err->effect = EFFECT_MAYBE;
        err->status = transfer->response->status;
    }
    return false;
}

static void wake(void *user)
{
    struct http_client *client = user;
    curl_multi_wakeup(client->multi);
}

/* Runs the transfer to its end; false when the cancel token ended it. */
static bool drive(struct transfer *transfer, CURLcode *ret)
{
    struct http_client *client = transfer->client;
    struct cancel *cancel = transfer->request->cancel;
    bool ended = false;
    uint64_t hook = cancel ? cancel_add_hook(cancel, wake, client) : 0;
    if (curl_multi_add_handle(client->multi, client->easy) != CURLM_OK)
        BUG("no memory");
    while (!ended && !cancel_is_set(cancel)) {
        int running = 0, left = 0;
        curl_multi_perform(client->multi, &running);
        CURLMsg *msg = curl_multi_info_read(client->multi, &left);
        if (msg && msg->msg == CURLMSG_DONE) {
            *ret = msg->data.result;
            ended = true;
        } else {
            curl_multi_poll(client->multi, NULL, 0, POLL_MS, NULL);
        }
    }
    transfer->response->status = status_of(client);
    if (cancel)
        cancel_remove_hook(cancel, hook);
    return ended;
}

static bool settle(const struct transfer *transfer, bool ended, CURLcode result, struct error *err)
{
    if (!ended) {
        bool alive = cancel_check(transfer->request->cancel, err);
        if (!alive && err)
            err->effect = effect_of(transfer->client->easy);
        return alive;
    }
    if (transfer->too_large)
        return too_large_error(transfer, err);
    if (result == CURLE_OK || transfer->response->stopped)
        return true;
    return transport_error(transfer, result, err);
}

static void response_reset(struct http_response *response)
{
    struct buf body = response->body;
    buf_clear(&body);
    *response = HTTP_RESPONSE_INIT;
    response->body = body;
}

bool http_perform(struct http_client *client, const struct http_request *request, struct http_response *response,
                  struct error *err)
{
    struct transfer transfer = {.client = client, .request = request, .response = response};
    response_reset(response);
    const char *refusal = request_refusal(request);
    if (refusal) {
        char url[160];
        return error_set(err, ERROR_PERMANENT, "http_url", "cannot %s \"%s\": %s", request->method,
                         url_for_error(request->url ? request->url : "", url, sizeof url), refusal);
    }
    if (!cancel_check(request->cancel, err))
        return false;
    transfer.max_body_bytes = request->max_body_bytes ? request->max_body_bytes
                              : request->on_body      ? 0
                                                      : MAX_COLLECTED_BYTES;
    CURLcode result = CURLE_OK;
    bool ok = build_headers(&transfer, err);
    if (ok) {
        client->reason[0] = '\0';
        set_options(&transfer);
        response->sent_wall_us = clock_wall_us();
        int64_t started_ms = clock_mono_ms();
        bool ended = drive(&transfer, &result);
        response->elapsed_ms = clock_mono_ms() - started_ms;
        response->retry_after_ms = retry_after_ms(transfer.retry_after, response->server_time_us);
        ok = settle(&transfer, ended, result, err);
        curl_multi_remove_handle(client->multi, client->easy);
        curl_easy_reset(client->easy); /* it borrows the request's headers and body */
    }
    free_headers(&transfer);
    return ok;
}

void http_response_release(struct http_response *response)
{
    buf_release(&response->body);
    *response = HTTP_RESPONSE_INIT;
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

struct http_client *http_client_new(void)
{
    struct http_client *client = xcalloc(1, sizeof *client);
    client->easy = curl_easy_init();
    client->multi = curl_multi_init();
    if (!client->easy || !client->multi)
        BUG("libcurl gives no handle");
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long)MAX_KEPT_CONNECTIONS);
    return client;
}

void http_client_free(struct http_client *client)
{
    if (!client)
        return;
    curl_easy_cleanup(client->easy);
    curl_multi_cleanup(client->multi);
    free(client);
}

static pthread_mutex_t global_mutex = PTHREAD_MUTEX_INITIALIZER;
static bool global_ready;

void http_global_init(void)
{
    pthread_mutex_lock(&global_mutex);
    if (!global_ready && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        BUG("libcurl does not start");
    global_ready = true;
    pthread_mutex_unlock(&global_mutex);
}

void http_global_release(void)
{
    pthread_mutex_lock(&global_mutex);
    if (global_ready)
        curl_global_cleanup();
    global_ready = false;
    pthread_mutex_unlock(&global_mutex);
}
