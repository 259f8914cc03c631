/* subscriber_internal.h - a subscriber's state, shared by its threads: subscriber.c (handing out, settling) and
 * stream.c (receiving). */
#ifndef ST_PUBSUB_SUBSCRIBER_INTERNAL_H
#define ST_PUBSUB_SUBSCRIBER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/uuid.h"
#include "delivery.h"

struct pubsub_subscriber {
    struct pubsub_client *client;
    struct pubsub_subscriber_options options; /* max_outstanding_messages: guarded by mutex */
    char *subscription;                       /* full name */
    char client_id[UUID_TEXT_SIZE];           /* one for all streams of this subscriber: the server moves state along */
    struct grpc_link *stream_link;
    struct lease_keeper *keeper;
    struct cancel *stop;
    pthread_t stream_thread, handout_thread;
    atomic_llong unanswered_ms; /* when the oldest ping that nothing was heard after was sent; 0 = none */
    pthread_mutex_t mutex;
    struct { /* guarded by mutex */
        pthread_cond_t changed;
        bool stopping;
        bool joined;
        struct grpc_stream *stream; /* NULL between streams */
        bool stream_over;           /* the pinging thread is to end */
        bool resized;               /* the stream was ended for another max_outstanding_messages */
        struct delivery *queue, **queue_end;
        int64_t queued, queued_bytes;
        int64_t outstanding; /* handed out and not settled */
        bool confirmed;      /* the stream has answered */
        int64_t activity_ms;
        bool failed;
        struct error failure;
        struct pubsub_stats stats;
    } shared;
};

void *subscriber_stream_main(void *subscriber);
/* Takes over what arrived: leases are kept, messages queued for handing out; what goes beyond the bound is given back.
 */
void subscriber_accept(struct pubsub_subscriber *sub, struct delivery *list, int64_t received_ms);

#endif
