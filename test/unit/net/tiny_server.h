/* tiny_server.h - an HTTP/1.1 server for tests: the handler writes what it likes on the socket, correct or not.
 *
 * One thread per connection, keep-alive, request heads up to 16 KiB, bodies with Content-Length up to 64 KiB. */
#ifndef ST_TEST_TINY_SERVER_H
#define ST_TEST_TINY_SERVER_H

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"

enum { TINY_MAX_CONNECTIONS = 256, TINY_MAX_REQUEST = 80 * 1024 };

struct tiny_request {
    int fd;
    char method[16];
    char target[4096]; /* path and query as sent */
    const char *head;  /* all header lines */
    struct slice body;
};

/* False closes the connection. Called on the connection's thread. */
typedef bool tiny_handler_fn(void *user, const struct tiny_request *request);

struct tiny_server {
    int fd;
    int port;
    tiny_handler_fn *handler;
    void *user;
    pthread_t acceptor;
    pthread_mutex_t mutex;
    pthread_cond_t closed;
    int fds[TINY_MAX_CONNECTIONS]; /* of live connections; -1 = free */
    int open;
};

struct tiny_connection {
    struct tiny_server *server;
    int fd, slot;
};

static inline bool tiny_write(int fd, const void *ptr, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = send(fd, (const char *)ptr + done, len - done, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

/* A whole, correct reply. `headers`: further lines, each with "\r\n", or "". */
static inline bool tiny_reply(int fd, int status, const char *headers, struct slice body)
{
    struct buf out = BUF_INIT;
    buf_printf(&out, "HTTP/1.1 %d Whatever\r\nContent-Length: %zu\r\n%s\r\n", status, body.len, headers);
    buf_append_slice(&out, body);
    bool ok = tiny_write(fd, out.ptr, out.len);
    buf_release(&out);
    return ok;
}

/* Value of a header (copied into out, "" when absent). */
static inline const char *tiny_header(const struct tiny_request *request, const char *name, char *out, size_t size)
{
    size_t len = strlen(name);
    out[0] = '\0';
    for (const char *line = request->head; line && *line;
         line = strstr(line, "\r\n") ? strstr(line, "\r\n") + 2 : NULL) {
        if (strncasecmp(line, name, len) != 0 || line[len] != ':')
            continue;
        const char *value = line + len + 1 + strspn(line + len + 1, " ");
        snprintf(out, size, "%.*s", (int)strcspn(value, "\r\n"), value);
        break;
    }
    return out;
}

/* Reads one request; false at the end of the connection. */
static inline bool tiny_read(int fd, char *data, size_t *have, struct tiny_request *request, size_t *ret_used)
{
    for (;;) {
        data[*have] = '\0';
        char *end = strstr(data, "\r\n\r\n"), length_text[32];
        if (end) {
            *request = (struct tiny_request){.fd = fd, .head = strstr(data, "\r\n") + 2};
            if (sscanf(data, "%15s %4095s", request->method, request->target) != 2)
                return false;
            size_t head_len = (size_t)(end + 4 - data);
            size_t length = strtoul(tiny_header(request, "Content-Length", length_text, sizeof length_text), NULL, 10);
            if (*have >= head_len + length) {
                request->body = slice_of(data + head_len, length);
                *ret_used = head_len + length;
                return true;
            }
        }
        ssize_t n = *have < TINY_MAX_REQUEST ? recv(fd, data + *have, TINY_MAX_REQUEST - *have, 0) : 0;
        if (n <= 0)
            return false;
        *have += (size_t)n;
    }
}

static inline void *tiny_connection_main(void *user)
{
    struct tiny_connection connection = *(struct tiny_connection *)user;
    struct tiny_server *server = connection.server;
    struct tiny_request *request = xcalloc(1, sizeof *request);
    char *data = xmalloc(TINY_MAX_REQUEST + 1);
    size_t have = 0, used = 0;
    free(user);
    while (tiny_read(connection.fd, data, &have, request, &used)) {
        bool go_on = server->handler(server->user, request);
        memmove(data, data + used, have - used);
        have -= used;
        if (!go_on)
            break;
    }
    pthread_mutex_lock(&server->mutex);
    close(connection.fd);
    server->fds[connection.slot] = -1;
    server->open--;
    free(data);
    free(request);
    pthread_cond_signal(&server->closed);
    pthread_mutex_unlock(&server->mutex);
    return NULL;
}

static inline void *tiny_accept_main(void *user)
{
    struct tiny_server *server = user;
    for (;;) {
        int fd = accept(server->fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        struct tiny_connection *connection = xcalloc(1, sizeof *connection);
        pthread_t thread;
        int slot = 0;
        pthread_mutex_lock(&server->mutex);
        while (slot < TINY_MAX_CONNECTIONS && server->fds[slot] >= 0)
            slot++;
        BUG_ON(slot == TINY_MAX_CONNECTIONS);
        *connection = (struct tiny_connection){server, fd, slot};
        server->fds[slot] = fd;
        server->open++;
        pthread_mutex_unlock(&server->mutex);
        BUG_ON(pthread_create(&thread, NULL, tiny_connection_main, connection) != 0);
        pthread_detach(thread);
    }
}

static inline struct tiny_server *tiny_server_start(tiny_handler_fn *handler, void *user)
{
    struct tiny_server *server = xcalloc(1, sizeof *server);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    server->handler = handler;
    server->user = user;
    pthread_mutex_init(&server->mutex, NULL);
    pthread_cond_init(&server->closed, NULL);
    for (int i = 0; i < TINY_MAX_CONNECTIONS; i++)
        server->fds[i] = -1;
    server->fd = socket(AF_INET, SOCK_STREAM, 0);
    BUG_ON(bind(server->fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(server->fd, 128) != 0);
    BUG_ON(getsockname(server->fd, (struct sockaddr *)&address, &len) != 0);
    server->port = ntohs(address.sin_port);
    BUG_ON(pthread_create(&server->acceptor, NULL, tiny_accept_main, server) != 0);
    return server;
}

static inline void tiny_server_stop(struct tiny_server *server)
{
    shutdown(server->fd, SHUT_RDWR);
    pthread_join(server->acceptor, NULL);
    close(server->fd);
    pthread_mutex_lock(&server->mutex);
    for (int i = 0; i < TINY_MAX_CONNECTIONS; i++)
        if (server->fds[i] >= 0)
            shutdown(server->fds[i], SHUT_RDWR);
    while (server->open > 0)
        pthread_cond_wait(&server->closed, &server->mutex);
    pthread_mutex_unlock(&server->mutex);
    pthread_cond_destroy(&server->closed);
    pthread_mutex_destroy(&server->mutex);
    free(server);
}

#endif
