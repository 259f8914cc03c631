/* http_exchange.h - one request and its reply, as http_server.c keeps it; private to net.
 *
 * Made when the request line is known, filled by MHD's thread until the body is whole, then owned by one handler
 * thread, then given back to MHD's thread, which sends the reply. Nobody but MHD's thread touches the connection. */
#ifndef ST_NET_HTTP_EXCHANGE_H
#define ST_NET_HTTP_EXCHANGE_H

#include <microhttpd.h>

#include "base/arena.h"
#include "http_watch.h"
#include "net/http_server.h"

struct http_pair {
    const char *name;
    const char *value;
    struct http_pair *next;
};

struct http_pairs {
    struct http_pair *first;
    struct http_pair **end;
};

enum http_reply_kind { HTTP_REPLY_NONE, HTTP_REPLY_BODY, HTTP_REPLY_CUT, HTTP_REPLY_ABORT };

/* Who owns the exchange. */
enum http_exchange_state {
    HTTP_READING,   /* MHD's thread; -> QUEUED, or freed when the peer goes away */
    HTTP_QUEUED,    /* the queue of http_server.c; -> RUNNING, REPLIED (abandoned) */
    HTTP_RUNNING,   /* a handler thread; -> REPLIED, ABANDONED */
    HTTP_REPLIED,   /* MHD's thread, which frees it */
    HTTP_ABANDONED, /* a handler thread whose connection is gone; it frees it */
};

struct http_exchange {
    struct http_server *server;
    struct MHD_Connection *connection;
    struct http_peer *peer;
    struct cancel *cancel; /* made when a handler asks for it */
    struct http_exchange *queue_next;
    struct http_exchange *prev, *next; /* active list: QUEUED and RUNNING */
    enum http_exchange_state state;    /* under the server's mutex once QUEUED */

    struct arena *arena; /* all text below */
    const char *method;
    const char *target;
    const char *raw_path;
    const char *path; /* NULL: the URL is not well-formed */
    struct http_pairs query;
    struct http_pairs headers;
    size_t header_bytes;
    struct buf body;
    bool too_large;
    size_t dropped_bytes; /* of a body that is too large */
    bool peer_is_loopback;

    struct {
        enum http_reply_kind kind;
        int status;
        const char *content_type;
        struct buf body;
        size_t cut_bytes;
        struct http_pairs headers;
    } reply;
};

/* uri: as on the request line, with the query. */
struct http_exchange *http_exchange_new(struct http_server *server, const char *uri);
void http_exchange_free(struct http_exchange *x);
void http_pairs_add(struct http_exchange *x, struct http_pairs *pairs, const char *name, const char *value);
/* Takes method, headers and peer from the connection. */
void http_exchange_take_request(struct http_exchange *x, struct MHD_Connection *connection, const char *method);
/* Hands the reply to MHD; MHD_NO closes the connection. */
enum MHD_Result http_exchange_send(struct http_exchange *x, struct MHD_Connection *connection);

#endif
