/* http_server.c - HTTP/1.1 over libmicrohttpd: one polling thread, bounded lanes of handler threads.
 *
 * MHD's thread reads a request, suspends its connection and queues the exchange in its lane; a handler thread runs the
 * handler and resumes the connection; MHD's thread then sends the reply. A connection has one request at a time, so the
 * queues are never longer than max_connections. A lane starts with one thread and gets further ones when requests wait.
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
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "http_exchange.h"
#include "http_watch.h"

enum {
    DEFAULT_CONNECTIONS = 1024,
    DEFAULT_THREADS = 16,
    DEFAULT_BODY_BYTES = 1 << 20,
    DEFAULT_IDLE_S = 30,
    DRAIN_BYTES = 1 << 20,
    CONNECTION_MEMORY_BYTES = 64 * 1024, /* request line and headers; more gets 431 or 414 from MHD */
};

struct lane { /* all but `server` under its mutex */
    struct http_server *server;
    pthread_cond_t work; /* queue_first or stopping */
    pthread_t *threads;
    size_t thread_count, max_threads, idle, waiting; /* waiting: length of the queue */
    struct http_exchange *queue_first, **queue_end;
};

struct http_server {
    struct MHD_Daemon *daemon;
    struct http_watch *watch;
    http_handler_fn *handler;
    http_lane_fn *lane_of;
    http_refuse_fn *refuse;
    void *user;
    size_t max_body_bytes, max_target_bytes, max_header_bytes;
    uint16_t port;
    size_t lane_count;

    pthread_mutex_t mutex; /* all below */
    pthread_cond_t idle;   /* in_flight fell to 0 */
    struct lane lanes[HTTP_MAX_LANES];
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

static void *run_handlers(void *user);

/* Under the mutex. Where no thread can be had, those that are there take the request later. */
static bool add_thread(struct lane *lane, struct error *err)
{
    int failed = pthread_create(&lane->threads[lane->thread_count], NULL, run_handlers, lane);
    if (failed)
        return error_errno(err, failed, "could not start a handler thread");
    lane->thread_count++;
    return true;
}

static void enqueue(struct http_server *server, struct http_exchange *x)
{
    size_t number = server->lane_of ? server->lane_of(server->user, x) : 0;
    BUG_ON(number >= server->lane_count);
    struct lane *lane = &server->lanes[number];
    pthread_mutex_lock(&server->mutex);
    x->state = HTTP_QUEUED;
    x->next = server->active;
    if (x->next)
        x->next->prev = x;
    server->active = x;
    *lane->queue_end = x;
    lane->queue_end = &x->queue_next;
    if (++lane->waiting > lane->idle && lane->thread_count < lane->max_threads)
        (void)!add_thread(lane, NULL);
    pthread_cond_signal(&lane->work);
    pthread_mutex_unlock(&server->mutex);
}

/* NULL: the server stops. */
static struct http_exchange *dequeue(struct lane *lane)
{
    struct http_server *server = lane->server;
    pthread_mutex_lock(&server->mutex);
    lane->idle++;
    while (!lane->queue_first && !server->stopping)
        pthread_cond_wait(&lane->work, &server->mutex);
    lane->idle--;
    struct http_exchange *x = lane->queue_first;
    if (x) {
        lane->queue_first = x->queue_next;
        if (!lane->queue_first)
            lane->queue_end = &lane->queue_first;
        lane->waiting--;
        x->state = HTTP_RUNNING;
    }
    pthread_mutex_unlock(&server->mutex);
    return x;
}

static void finish(struct http_server *server, struct http_exchange *x)
{
    http_peer_unwatch(x->peer);
    http_peer_replying(x->peer);
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
    struct lane *lane = user;
    struct http_server *server = lane->server;
    struct http_exchange *x;
    while ((x = dequeue(lane))) {
        server->handler(server->user, x);
        if (x->reply.kind == HTTP_REPLY_NONE)
            http_exchange_reply(x, 500, "text/plain", SLICE_LIT("no answer\n"));
        finish(server, x);
    }
    return NULL;
}

/* ---- MHD's thread ----------------------------------------------------------------------------------------------- */

/* A client that vanished without a word is noticed, too: while a handler waits for minutes nothing is sent to it. */
static void keep_alive(int fd)
{
    static const struct {
        int level, name, value;
    } set[] = {
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, 30},
        {IPPROTO_TCP, TCP_KEEPINTVL, 10},
        {IPPROTO_TCP, TCP_KEEPCNT, 3},
    };
    for (size_t i = 0; i < sizeof set / sizeof set[0]; i++)
        (void)setsockopt(fd, set[i].level, set[i].name, &set[i].value, sizeof set[i].value);
}

static void on_connection(void *user, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_server *server = user;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (code == MHD_CONNECTION_NOTIFY_STARTED && info) {
        keep_alive(info->connect_fd);
        *context = http_peer_new(server->watch, info->connect_fd);
    } else if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        http_peer_closed(*context);
    }
}

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
    http_peer_idle(x->peer);
    pthread_mutex_lock(&server->mutex);
    bool handler_has_it = x->state == HTTP_ABANDONED;
    if (--server->in_flight == 0)
        pthread_cond_broadcast(&server->idle);
    pthread_mutex_unlock(&server->mutex);
    if (!handler_has_it)
        http_exchange_free(x);
}

static enum MHD_Result refuse(struct http_server *server, struct http_exchange *x, struct MHD_Connection *connection,
                              int status, const char *why)
{
    x->state = HTTP_REPLIED;
    if (server->refuse) {
        server->refuse(server->user, x, status, why);
    } else {
        char text[128];
        int len = snprintf(text, sizeof text, "%s\n", why);
        http_exchange_reply(x, status, "text/plain", slice_of(text, (size_t)len));
    }
    return http_exchange_send(x, connection);
}

static const char *const body_too_large = "the request body is too large";

static enum MHD_Result start_body(struct http_server *server, struct http_exchange *x,
                                  struct MHD_Connection *connection)
{
    int64_t announced = 0;
    if (server->max_target_bytes && strlen(x->target) > server->max_target_bytes)
        return refuse(server, x, connection, 414, "the URL is too long");
    if (server->max_header_bytes && x->header_bytes > server->max_header_bytes)
        return refuse(server, x, connection, 431, "the request's headers are too large");
    const char *length = http_exchange_header(x, "Content-Length");
    if (length && slice_to_int64(slice_str(length), &announced) &&
        (uint64_t)announced > server->max_body_bytes + DRAIN_BYTES)
        return refuse(server, x, connection, 413, body_too_large);
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
        return refuse(server, x, connection, 413, body_too_large);
    if (!x->path)
        return refuse(server, x, connection, 400, "the URL is not well-formed");
    http_peer_busy(x->peer);
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
    size_t memory = options->connection_memory_bytes ? options->connection_memory_bytes : CONNECTION_MEMORY_BYTES;
    unsigned per_address = (unsigned)options->max_connections_per_address;
    struct sockaddr *bound = (struct sockaddr *)&address;
    errno = 0;
    server->daemon =
        MHD_start_daemon(flags, options->port, NULL, NULL, on_request, server, MHD_OPTION_SOCK_ADDR, bound,
                         MHD_OPTION_CONNECTION_LIMIT, connections, MHD_OPTION_CONNECTION_TIMEOUT, idle_s,
                         MHD_OPTION_CONNECTION_MEMORY_LIMIT, memory, MHD_OPTION_PER_IP_CONNECTION_LIMIT, per_address,
                         MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_URI_LOG_CALLBACK,
                         begin_request, server, MHD_OPTION_NOTIFY_COMPLETED, end_request, server, MHD_OPTION_END);
    if (!server->daemon)
        return error_errno(err, errno ? errno : EADDRINUSE, "could not listen on port %u", options->port);
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT);
    server->port = info ? info->port : options->port;
    return true;
}

/* One thread per lane; further ones come with the requests. */
static bool start_lanes(struct http_server *server, const struct http_server_options *options, struct error *err)
{
    size_t threads[HTTP_MAX_LANES] = {options->handler_threads ? options->handler_threads : DEFAULT_THREADS};
    memcpy(threads + 1, options->further_lanes, sizeof options->further_lanes);
    while (server->lane_count < HTTP_MAX_LANES && threads[server->lane_count] > 0) {
        struct lane *lane = &server->lanes[server->lane_count];
        lane->server = server;
        lane->max_threads = threads[server->lane_count++];
        lane->threads = xcalloc(lane->max_threads, sizeof *lane->threads);
        lane->queue_end = &lane->queue_first;
        pthread_cond_init(&lane->work, NULL);
        if (!add_thread(lane, err))
            return false;
    }
    return true;
}

static struct http_server *new_server(const struct http_server_options *options)
{
    struct http_server *server = xcalloc(1, sizeof *server);
    server->handler = options->handler;
    server->lane_of = options->lane_of;
    server->refuse = options->refuse;
    server->user = options->user;
    server->max_body_bytes = options->max_body_bytes ? options->max_body_bytes : DEFAULT_BODY_BYTES;
    server->max_target_bytes = options->max_target_bytes;
    server->max_header_bytes = options->max_header_bytes;
    pthread_mutex_init(&server->mutex, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&server->idle, &attr);
    pthread_condattr_destroy(&attr);
    return server;
}

struct http_server *http_server_start(const struct http_server_options *options, struct error *err)
{
    struct http_server *server = new_server(options);
    /* Signals belong to the program's own threads. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    server->watch = http_watch_new(options->first_request_s, options->next_request_s);
    bool ok = server->watch ? start_lanes(server, options, err) && start_daemon(server, options, err)
                            : error_errno(err, EAGAIN, "could not start a thread");
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
    for (size_t i = 0; i < server->lane_count; i++) {
        server->lanes[i].queue_first = NULL;
        server->lanes[i].queue_end = &server->lanes[i].queue_first;
        server->lanes[i].waiting = 0;
        pthread_cond_broadcast(&server->lanes[i].work);
    }
    for (struct http_exchange *x = server->active, *next; x; x = next) {
        next = x->next;
        bool running = x->state == HTTP_RUNNING;
        x->state = running ? HTTP_ABANDONED : HTTP_REPLIED;
        if (!running)
            http_exchange_abort(x);
        MHD_resume_connection(x->connection);
    }
    server->active = NULL;
    pthread_mutex_unlock(&server->mutex);
}

static void release_lanes(struct http_server *server)
{
    for (size_t i = 0; i < server->lane_count; i++) {
        struct lane *lane = &server->lanes[i];
        for (size_t k = 0; k < lane->thread_count; k++)
            pthread_join(lane->threads[k], NULL);
        pthread_cond_destroy(&lane->work);
        free(lane->threads);
    }
}

void http_server_stop(struct http_server *server, int64_t grace_ms)
{
    if (!server)
        return;
    if (server->daemon) {
        MHD_socket listener = MHD_quiesce_daemon(server->daemon);
        if (listener != MHD_INVALID_SOCKET)
            close(listener);
        http_watch_cancel_all(server->watch);
        wait_until_idle(server, grace_ms);
    }
    abandon_active(server);
    if (server->daemon)
        MHD_stop_daemon(server->daemon);
    release_lanes(server);
    http_watch_free(server->watch);
    pthread_cond_destroy(&server->idle);
    pthread_mutex_destroy(&server->mutex);
    free(server);
}
