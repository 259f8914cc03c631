/* http_watch.h - clients that are too slow or gone; private to net.
 *
 * MHD's own time-out starts again with every byte, and nobody looks at a connection whose request is with a handler. So one thread looks
 * at all connections a few times a second: it cuts those whose request does not become whole in time, or never will because the client has
 * ended its sending (MHD overlooks an end that comes while it is busy with the request before), and it cancels what a handler does for a
 * client that has gone or whose time is over. All times are real: they belong to sockets. */
#ifndef ST_NET_HTTP_WATCH_H
#define ST_NET_HTTP_WATCH_H

#include "base/cancel.h"

struct http_watch;
struct http_peer; /* one connection */

/* Time for a connection's first request to become whole, and for each later one (waiting for it included); 0 = none. NULL: no thread. */
struct http_watch *http_watch_new(int first_request_s, int next_request_s);
void http_watch_free(struct http_watch *watch); /* all connections closed, no handler running */
/* Cancels what is watched, and at once what is watched later. */
void http_watch_cancel_all(struct http_watch *watch);

struct http_peer *http_peer_new(struct http_watch *watch, int fd); /* one reference: the connection's */
struct http_peer *http_peer_ref(struct http_peer *peer);           /* NULL is fine, here and below */
void http_peer_unref(struct http_peer *peer);
void http_peer_closed(struct http_peer *peer);   /* before the socket is closed */
void http_peer_busy(struct http_peer *peer);     /* a handler has the request: no time is up */
void http_peer_replying(struct http_peer *peer); /* the handler has answered: the time for the reply begins */
void http_peer_idle(struct http_peer *peer);     /* the reply is out: the time for the next request begins */
/* Sets `cancel` when the server stops, limit_ms (0 = none) is over or, with heed_hangup, the client goes away; until http_peer_unwatch. */
void http_peer_watch(struct http_peer *peer, struct cancel *cancel, int64_t limit_ms, bool heed_hangup);
void http_peer_unwatch(struct http_peer *peer);

#endif
