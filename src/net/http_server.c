/* http_server.c - HTTP/1.1 over libmicrohttpd: one polling thread, a bounded pool of handler threads.
 *
 * MHD's thread reads a request, suspends its connection and queues the exchange; a handler thread runs the handler and
 * resumes the connection; MHD's thread then sends the reply. A connection has one request at a time, so the queue is
 * never longer than max_connections.
 *
 * Bodies: of one that is over the limit, DRAIN_BYTES more are read and thrown away, so that a client which sends
 * before it listens gets its 413; a longer one gets it at once (clients that wait for "100 Continue" see it), or is cut
 * off when it never said its length.
 *
 * Stop: no new connections, requests under way may finish until the grace is over, then their connections are cut.
 * Handlers cannot be killed: http_server_stop returns when the last one has. MHD aborts the process when it is stopped
 * with a suspended connection, so all of them are resumed before. The grace is real time, like all socket time-outs. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "http_exchange.h"

enum {
    DEFAULT_CONNECTIONS = 1024,
    DEFAULT_THREADS = 16,
    DEFAULT_BODY_BYTES = 1 << 20,
    DEFAULT_IDLE_S = 30,
    DRAIN_BYTES = 1 << 20,
    CONNECTION_MEMORY_BYTES = 64 * 1024, /* request line and headers; more gets 431 or 414 from MHD */
};

struct http_server {
    struct MHD_Daemon *daemon;
    http_handler_fn *handler;
    void *user;
    size_t max_body_bytes;
    uint16_t port;
    pthread_t *threads;
    size_t thread_count;

    pthread_mutex_t mutex; /* all below */
    pthread_cond_t work;   /* queue_first or stopping */
    pthread_cond_t idle;   /* in_flight fell to 0 */
    struct http_exchange *queue_first, **queue_end;
    struct http_exchange *active; /* QUEUED and RUNNING */
    size_t in_flight;             /* exchanges that MHD has not completed */
    bool stopping;
};

/* ---- Handler threads -------------------------------------------------------------------------------------------- */

static void unlink_active(struct http_server *server, struct http_exchange *x)
{
    if (x->prev)
        x->prev->next = x->next;
    else
        server->active = x->next;
    if (x->next)
        x->next->prev = x->prev;
}

static void enqueue(struct http_server *server, struct http_exchange *x)
{
    pthread_mutex_lock(&server->mutex);
    x->state = HTTP_QUEUED;
    x->next = server->active;
    if (x->next)
        x->next->prev = x;
    server->active = x;
    *server->queue_end = x;
    server->queue_end = &x->queue_next;
    pthread_cond_signal(&server->work);
    pthread_mutex_unlock(&server->mutex);
}

/* NULL: the server stops. */
static struct http_exchange *dequeue(struct http_server *server)
{
    pthread_mutex_lock(&server->mutex);
    while (!server->queue_first && !server->stopping)
        pthread_cond_wait(&server->work, &server->mutex);
    struct http_exchange *x = server->queue_first;
    if (x) {
        server->queue_first = x->queue_next;
        if (!server->queue_first)
            server->queue_end = &server->queue_first;
        x->state = HTTP_RUNNING;
    }
    pthread_mutex_unlock(&server->mutex);
    return x;
}

static void finish(struct http_server *server, struct http_exchange *x)
{
    pthread_mutex_lock(&server->mutex);
    bool abandoned = x->state == HTTP_ABANDONED;
    if (!abandoned) {
        unlink_active(server, x);
        x->state = HTTP_REPLIED;
        MHD_resume_connection(x->connection);
    }
    pthread_mutex_unlock(&server->mutex);
    if (abandoned)
        http_exchange_free(x);
}

static void *run_handlers(void *user)
{
    struct http_server *server = user;
    struct http_exchange *x;
    while ((x = dequeue(server))) {
        server->handler(server->user, x);
        if (x->reply.kind == HTTP_REPLY_NONE)
            http_exchange_reply(x, 500, "text/plain", SLICE_LIT("no answer\n"));
        finish(server, x);
    }
    return NULL;
}

/* ---- MHD's thread ----------------------------------------------------------------------------------------------- */

static void *begin_request(void *user, const char *uri, struct MHD_Connection *connection)
{
    struct http_server *server = user;
    (void)connection;
    pthread_mutex_lock(&server->mutex);
    server->in_flight++;
    pthread_mutex_unlock(&server->mutex);
    return http_exchange_new(server, uri);
}

static void end_request(void *user, struct MHD_Connection *connection, void **context,
                        enum MHD_RequestTerminationCode code)
{
    struct http_server *server = user;
    struct http_exchange *x = *context;
    (void)connection, (void)code;
    if (!x)
        return;
    *context = NULL;
    pthread_mutex_lock(&server->mutex);
    bool handler_has_it = x->state == HTTP_ABANDONED;
    if (--server->in_flight == 0)
        pthread_cond_broadcast(&server->idle);
    pthread_mutex_unlock(&server->mutex);
    if (!handler_has_it)
        http_exchange_free(x);
}

static enum MHD_Result refuse(struct http_exchange *x, struct MHD_Connection *connection, int status, const char *text)
{
    x->state = HTTP_REPLIED;
    http_exchange_reply(x, status, "text/plain", slice_str(text));
    return http_exchange_send(x, connection);
}

static enum MHD_Result start_body(struct http_server *server, struct http_exchange *x,
                                  struct MHD_Connection *connection)
{
    int64_t announced = 0;
    const char *length = http_exchange_header(x, "Content-Length");
    if (length && slice_to_int64(slice_str(length), &announced) &&
        (uint64_t)announced > server->max_body_bytes + DRAIN_BYTES)
        return refuse(x, connection, 413, "the request body is too large\n");
    return MHD_YES;
}

static enum MHD_Result take_body(struct http_server *server, struct http_exchange *x, const char *data, size_t *size)
{
    if (!x->too_large && x->body.len + *size > server->max_body_bytes)
        x->too_large = true;
    if (x->too_large) {
        x->dropped_bytes += *size;
        if (x->dropped_bytes > DRAIN_BYTES)
            return MHD_NO;
        buf_release(&x->body);
    } else {
        buf_append(&x->body, data, *size);
    }
    *size = 0;
    return MHD_YES;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *data, size_t *size, void **context)
{
    struct http_server *server = user;
    struct http_exchange *x = *context;
    (void)url, (void)version;
    if (!x->connection) {
        http_exchange_take_request(x, connection, method);
        return start_body(server, x, connection);
    }
    pthread_mutex_lock(&server->mutex);
    enum http_exchange_state state = x->state;
    pthread_mutex_unlock(&server->mutex);
    if (state == HTTP_REPLIED)
        return http_exchange_send(x, connection);
    if (state != HTTP_READING)
        return MHD_NO;
    if (*size > 0)
        return take_body(server, x, data, size);
    if (x->too_large)
        return refuse(x, connection, 413, "the request body is too large\n");
    if (!x->path)
        return refuse(x, connection, 400, "the URL is not well-formed\n");
    MHD_suspend_connection(connection);
    enqueue(server, x);
    return MHD_YES;
}

/* ---- Life ------------------------------------------------------------------------------------------------------- */

static bool bind_address(const struct http_server_options *options, struct sockaddr_storage *ret, struct error *err)
{
    const char *text = options->bind_address ? options->bind_address : "127.0.0.1";
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(options->port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(options->port)};
    memset(ret, 0, sizeof *ret);
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        memcpy(ret, &in, sizeof in);
    else if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
        memcpy(ret, &in6, sizeof in6);
    else
        return error_set(err, ERROR_PERMANENT, "http_server", "cannot listen on \"%s\": not an IP address", text);
    return true;
}

static bool start_daemon(struct http_server *server, const struct http_server_options *options, struct error *err)
{
    struct sockaddr_storage address;
    if (!bind_address(options, &address, err))
        return false;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_ALLOW_SUSPEND_RESUME |
                     (address.ss_family == AF_INET6 ? MHD_USE_IPv6 : 0);
    unsigned connections = (unsigned)(options->max_connections ? options->max_connections : DEFAULT_CONNECTIONS);
    unsigned idle_s = (unsigned)(options->idle_timeout_s ? options->idle_timeout_s : DEFAULT_IDLE_S);
    struct sockaddr *bound = (struct sockaddr *)&address;
    errno = 0;
    server->daemon = MHD_start_daemon(flags, options->port, NULL, NULL, on_request, server, MHD_OPTION_SOCK_ADDR, bound,
                                      MHD_OPTION_CONNECTION_LIMIT, connections, MHD_OPTION_CONNECTION_TIMEOUT, idle_s,
                                      MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY_BYTES,
                                      MHD_OPTION_URI_LOG_CALLBACK, begin_request, server, MHD_OPTION_NOTIFY_COMPLETED,
                                      end_request, server, MHD_OPTION_END);
    if (!server->daemon)
        return error_errno(err, errno ? errno : EADDRINUSE, "could not listen on port %u", options->port);
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT);
    server->port = info ? info->port : options->port;
    return true;
}

static bool start_threads(struct http_server *server, size_t count, struct error *err)
{
    server->threads = xcalloc(count, sizeof *server->threads);
    for (size_t i = 0; i < count; i++) {
        int failed = pthread_create(&server->threads[i], NULL, run_handlers, server);
        if (failed)
            return error_errno(err, failed, "could not start a handler thread");
        server->thread_count++;
    }
    return true;
}

struct http_server *http_server_start(const struct http_server_options *options, struct error *err)
{
    struct http_server *server = xcalloc(1, sizeof *server);
    server->handler = options->handler;
    server->user = options->user;
    server->max_body_bytes = options->max_body_bytes ? options->max_body_bytes : DEFAULT_BODY_BYTES;
    server->queue_end = &server->queue_first;
    pthread_mutex_init(&server->mutex, NULL);
    pthread_cond_init(&server->work, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&server->idle, &attr);
    pthread_condattr_destroy(&attr);

    /* Signals belong to the program's own threads. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    bool ok = start_threads(server, options->handler_threads ? options->handler_threads : DEFAULT_THREADS, err) &&
              start_daemon(server, options, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!ok) {
        http_server_stop(server, 0);
        return NULL;
    }
    return server;
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->port;
}

static void wait_until_idle(struct http_server *server, int64_t grace_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + grace_ms % 1000 * 1000000;
    until.tv_sec += (time_t)(grace_ms / 1000 + ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    pthread_mutex_lock(&server->mutex);
    while (server->in_flight > 0 && pthread_cond_timedwait(&server->idle, &server->mutex, &until) == 0)
        ;
    pthread_mutex_unlock(&server->mutex);
}

/* The connections of all requests under way are cut; running handlers keep their exchange. */
static void abandon_active(struct http_server *server)
{
    pthread_mutex_lock(&server->mutex);
    server->stopping = true;
    server->queue_first = NULL;
    server->queue_end = &server->queue_first;
    for (struct http_exchange *x = server->active, *next; x; x = next) {
        next = x->next;
        bool running = x->state == HTTP_RUNNING;
        x->state = running ? HTTP_ABANDONED : HTTP_REPLIED;
        if (!running)
            http_exchange_abort(x);
        MHD_resume_connection(x->connection);
    }
    server->active = NULL;
    pthread_cond_broadcast(&server->work);
    pthread_mutex_unlock(&server->mutex);
}

void http_server_stop(struct http_server *server, int64_t grace_ms)
{
    if (!server)
        return;
    if (server->daemon) {
        MHD_socket listener = MHD_quiesce_daemon(server->daemon);
        if (listener != MHD_INVALID_SOCKET)
            close(listener);
        wait_until_idle(server, grace_ms);
    }
    abandon_active(server);
    if (server->daemon)
        MHD_stop_daemon(server->daemon);
    for (size_t i = 0; i < server->thread_count; i++)
        pthread_join(server->threads[i], NULL);
    pthread_cond_destroy(&server->idle);
    pthread_cond_destroy(&server->work);
    pthread_mutex_destroy(&server->mutex);
    free(server->threads);
    free(server);
}
