/* appender.h - one table's appender: what its callers (write.c) and its two threads (append_stream.c) share. */
#ifndef ST_BIGQUERY_PRIVATE_APPENDER_H
#define ST_BIGQUERY_PRIVATE_APPENDER_H

#include <pthread.h>

#include "append_error.h"
#include "batch.h"

enum { APPENDER_MAX_LOST_RANGES = 64 };

struct lost_range {
    uint64_t first, last;
    struct error err;
};

struct bq_writer {
    char *project;
    int64_t patience_ms;
    struct grpc_link *link;
    struct google_credentials *creds; /* borrowed */
    struct cancel *stop;              /* the writer goes away: nobody waits for a token any more */
    pthread_mutex_t mutex;
    struct bq_appender *appenders; /* under mutex; only grows */
};

struct bq_appender {
    struct bq_appender *next;
    struct bq_writer *writer;
    char *stream_name; /* "projects/P/datasets/D/tables/T/streams/_default" */
    char *routing;
    char *table; /* its short name, for metrics and logs */
    struct buf descriptor;

    pthread_mutex_t mutex; /* everything below */
    /* One condition per kind of waiter: with a common one every change would wake all readers of a run. */
    pthread_cond_t work;    /* the sender: a request is ready or asked for, the connection broke, stopping */
    pthread_cond_t sent;    /* the receiver: a send has returned */
    pthread_cond_t room;    /* adders: bytes under way became fewer, or a cancel */
    pthread_cond_t settled; /* waiters: rows were settled or lost, a row error was told, or a cancel */
    pthread_t sender;
    bool started, stopping;
    struct batch *first, *last;           /* unsettled requests by ticket; the open one is the last */
    struct batch *sent_first, *sent_last; /* awaiting answers, by time of sending */
    uint64_t next_ticket;
    uint64_t flush_to; /* somebody waits for this ticket */
    size_t outstanding_bytes;
    struct lost_range lost[APPENDER_MAX_LOST_RANGES];
    size_t lost_count;
    const void *telling; /* the user whose row-error callback runs now */

    struct grpc_stream *stream;          /* the sender's; NULL: not connected */
    struct grpc_stream *receiver_stream; /* the same, constant while the receiver runs */
    pthread_t receiver;
    bool broken;
    bool first_request;
    struct error end; /* why it broke */
    enum append_action end_action;
    int failures; /* in a row, without an acknowledged request */
    int64_t failing_since_ms, not_before_ms;
};

/* Lets settled requests leave at the front. With the mutex held. */
void appender_settle(struct bq_appender *a);
/* Gives up everything that is not settled; their waiters get the error, and later rows begin anew. With the mutex held.
 */
void appender_lose_all(struct bq_appender *a, const struct error *err);
/* The sender's thread; started with the first row, ends when `stopping`. */
void *appender_sender_main(void *appender);

#endif
