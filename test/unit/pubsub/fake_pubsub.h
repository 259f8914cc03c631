/* fake_pubsub.h - a Pub/Sub service on the wire for the tests of the client: it remembers what it was told, counts
 * leases on the program's clock, and fails on demand. Streams carry only what a test delivers, so that each test
 * decides the order of events. */
#ifndef ST_TEST_FAKE_PUBSUB_H
#define ST_TEST_FAKE_PUBSUB_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <time.h>

#include "../google/grpc_test_server.h"
#include "base/clock.h"
#include "base/log.h"
#include "pubsub.pb-c.h"
#include "pubsub/pubsub.h"

enum { FAKE_MAX_MESSAGES = 4096, FAKE_MAX_STREAMS = 64, FAKE_WAIT_S = 30 };

struct fake_message {
    char ack_id[32];
    int64_t deadline_ms;   /* clock_mono_ms */
    int64_t least_left_ms; /* of its renewals */
    int extensions, last_extension_s;
    int acks, nacks, late; /* late: acks and extensions after the end of the lease */
};

struct fake_stream {
    struct test_call *call;
    char client_id[40];
    int64_t max_messages, version;
    int deadline_s, pings;
    bool over;
};

/* How a method is to fail: `status` for the next `times` calls (-1: for ever); silent ones never answer. */
struct fake_fault {
    int status, times;
    bool silent;
    int calls; /* counted, failed ones included */
};

struct fake {
    struct test_server *server;
    struct google_credentials *none;
    struct pubsub_client *client;
    pthread_mutex_t mutex;      /* guards everything below */
    pthread_mutex_t send_mutex; /* one send at a time per stream */
    struct fake_message messages[FAKE_MAX_MESSAGES];
    int message_count;
    struct fake_stream streams[FAKE_MAX_STREAMS];
    int stream_count;
    bool mute; /* pings are not answered */
    int largest_modack;
    char routing[256];
    struct fake_fault streaming, modack, ack, publish, pull, other;
    /* pull */
    int waiting, sent_more;
    bool pulled_at_once;
    /* publish */
    int published, requests;
    size_t largest_request_bytes;
    int largest_request_messages;
    /* admin */
    Google__Pubsub__V1__Subscription *subscription;
    bool topic_exists;
    int created;
};

static inline void fake_lock(struct fake *f)
{
    pthread_mutex_lock(&f->mutex);
}

static inline void fake_unlock(struct fake *f)
{
    pthread_mutex_unlock(&f->mutex);
}

/* A number of the fake's, read from a test. */
static inline int fake_read(struct fake *f, const int *number)
{
    fake_lock(f);
    int value = *number;
    fake_unlock(f);
    return value;
}

/* Waits in real time until the expression holds; evaluated with the lock held. */
#define FAKE_AWAIT(f, expression)                                                                                      \
    do {                                                                                                               \
        bool reached_ = false;                                                                                         \
        for (time_t end_ = time(NULL) + FAKE_WAIT_S; !reached_ && time(NULL) < end_;) {                                \
            fake_lock(f);                                                                                              \
            reached_ = (expression);                                                                                   \
            fake_unlock(f);                                                                                            \
            if (!reached_)                                                                                             \
                nanosleep(&(struct timespec){0, 2000000}, NULL);                                                       \
        }                                                                                                              \
        if (!reached_)                                                                                                 \
            fail_msg("not reached in %d s: %s", FAKE_WAIT_S, #expression);                                             \
    } while (0)

/* ---- The service ---- */

/* Counts the call and plays the fault; true when the call is over with that. */
static inline bool fake_fails(struct fake *f, struct fake_fault *fault, struct test_call *call)
{
    fake_lock(f);
    int status = fault->times != 0 ? fault->status : 0;
    bool silent = fault->silent;
    fault->calls++;
    if (fault->times > 0)
        fault->times--;
    fake_unlock(f);
    if (silent)
        test_call_await_cancel(call);
    else if (status)
        test_call_finish(call, status, "as the test wishes", SLICE_NULL);
    return silent || status;
}

static inline struct fake_message *fake_find(struct fake *f, const char *ack_id)
{
    for (int i = 0; i < f->message_count; i++) {
        if (strcmp(f->messages[i].ack_id, ack_id) == 0)
            return &f->messages[i];
    }
    return NULL;
}

static inline void fake_extend(struct fake_message *m, int seconds)
{
    int64_t left_ms = m->deadline_ms - clock_mono_ms();
    if (left_ms < 0) {
        m->late++;
    } else if (seconds == 0) {
        m->nacks++;
    } else {
        if (m->extensions++ > 0 && left_ms < m->least_left_ms)
            m->least_left_ms = left_ms;
        m->last_extension_s = seconds;
        m->deadline_ms = clock_mono_ms() + (int64_t)seconds * 1000;
    }
}

static inline void fake_empty_reply(struct test_call *call)
{
    test_call_send(call, SLICE_NULL);
}

static inline void fake_modack(struct fake *f, struct test_call *call, struct slice bytes)
{
    if (fake_fails(f, &f->modack, call))
        return;
    Google__Pubsub__V1__ModifyAckDeadlineRequest *r =
        google__pubsub__v1__modify_ack_deadline_request__unpack(NULL, bytes.len, (const uint8_t *)bytes.ptr);
    fake_lock(f);
    for (size_t i = 0; i < r->n_ack_ids; i++)
        fake_extend(fake_find(f, r->ack_ids[i]), r->ack_deadline_seconds);
    if ((int)r->n_ack_ids > f->largest_modack)
        f->largest_modack = (int)r->n_ack_ids;
    fake_unlock(f);
    protobuf_c_message_free_unpacked(&r->base, NULL);
    fake_empty_reply(call);
}

static inline void fake_ack(struct fake *f, struct test_call *call, struct slice bytes)
{
    if (fake_fails(f, &f->ack, call))
        return;
    Google__Pubsub__V1__AcknowledgeRequest *r =
        google__pubsub__v1__acknowledge_request__unpack(NULL, bytes.len, (const uint8_t *)bytes.ptr);
    fake_lock(f);
    for (size_t i = 0; i < r->n_ack_ids; i++) {
        struct fake_message *m = fake_find(f, r->ack_ids[i]);
        if (clock_mono_ms() <= m->deadline_ms)
            m->acks++;
        else
            m->late++;
    }
    fake_unlock(f);
    protobuf_c_message_free_unpacked(&r->base, NULL);
    fake_empty_reply(call);
}

static inline void fake_publish(struct fake *f, struct test_call *call, struct slice bytes)
{
    if (fake_fails(f, &f->publish, call))
        return;
    Google__Pubsub__V1__PublishRequest *r =
        google__pubsub__v1__publish_request__unpack(NULL, bytes.len, (const uint8_t *)bytes.ptr);
    Google__Pubsub__V1__PublishResponse reply;
    google__pubsub__v1__publish_response__init(&reply);
    reply.message_ids = xcalloc(r->n_messages, sizeof(char *));
    fake_lock(f);
    f->requests++;
    if (bytes.len > f->largest_request_bytes)
        f->largest_request_bytes = bytes.len;
    if ((int)r->n_messages > f->largest_request_messages)
        f->largest_request_messages = (int)r->n_messages;
    for (size_t i = 0; i < r->n_messages; i++)
        reply.message_ids[reply.n_message_ids++] = xasprintf("%d", f->published++);
    fake_unlock(f);
    test_call_send_message(call, &reply.base);
    for (size_t i = 0; i < reply.n_message_ids; i++)
        free(reply.message_ids[i]);
    free(reply.message_ids);
    protobuf_c_message_free_unpacked(&r->base, NULL);
}

static inline void fake_read_first(struct fake_stream *s, struct slice bytes)
{
    Google__Pubsub__V1__StreamingPullRequest *r =
        google__pubsub__v1__streaming_pull_request__unpack(NULL, bytes.len, (const uint8_t *)bytes.ptr);
    snprintf(s->client_id, sizeof s->client_id, "%s", r->client_id);
    s->max_messages = r->max_outstanding_messages;
    s->version = r->protocol_version;
    s->deadline_s = r->stream_ack_deadline_seconds;
    protobuf_c_message_free_unpacked(&r->base, NULL);
}

static inline void fake_pong(struct fake *f, struct test_call *call)
{
    static const char properties[] = {0x22, 0x00}; /* subscription_properties {} */
    pthread_mutex_lock(&f->send_mutex);
    if (!call->finished)
        test_call_send(call, slice_of(properties, sizeof properties));
    pthread_mutex_unlock(&f->send_mutex);
}

static inline void fake_streaming_pull(struct fake *f, struct test_call *call, struct slice first)
{
    struct buf bytes = BUF_INIT;
    if (fake_fails(f, &f->streaming, call))
        return;
    fake_lock(f);
    struct fake_stream *s = &f->streams[f->stream_count];
    *s = (struct fake_stream){.call = call};
    fake_read_first(s, first);
    f->stream_count++;
    fake_unlock(f);
    while (test_call_recv(call, &bytes)) {
        fake_lock(f);
        bool mute = f->mute;
        s->pings++;
        fake_unlock(f);
        if (!mute)
            fake_pong(f, call);
    }
    pthread_mutex_lock(&f->send_mutex);
    if (!call->finished)
        test_call_finish(call, GRPC_STATUS_OK, "", SLICE_NULL);
    pthread_mutex_unlock(&f->send_mutex);
    fake_lock(f);
    s->over = true;
    fake_unlock(f);
    buf_release(&bytes);
}

/* New messages as they go over the wire: ids m0, m1, ..., ack ids a0, a1, ... */
struct fake_batch {
    size_t count;
    Google__Pubsub__V1__ReceivedMessage *received, **list;
    Google__Pubsub__V1__PubsubMessage *messages;
    Google__Pubsub__V1__PubsubMessage__AttributesEntry attribute, *attributes;
    Google__Protobuf__Timestamp time;
};

static inline void fake_batch_add(struct fake *f, struct fake_batch *batch, int deadline_s)
{
    static uint8_t data[] = {'h', 'e', 0, 'l', 'o'};
    struct fake_message *m = &f->messages[f->message_count];
    size_t i = batch->count++;
    *m = (struct fake_message){.least_left_ms = INT64_MAX};
    snprintf(m->ack_id, sizeof m->ack_id, "a%d", f->message_count);
    google__pubsub__v1__received_message__init(&batch->received[i]);
    google__pubsub__v1__pubsub_message__init(&batch->messages[i]);
    batch->messages[i].message_id = xasprintf("m%d", f->message_count++);
    batch->messages[i].data = (ProtobufCBinaryData){sizeof data, data};
    batch->messages[i].n_attributes = 1;
    batch->messages[i].attributes = &batch->attributes;
    batch->messages[i].publish_time = &batch->time;
    batch->received[i].ack_id = m->ack_id;
    batch->received[i].message = &batch->messages[i];
    batch->received[i].delivery_attempt = 3;
    batch->list[i] = &batch->received[i];
    m->deadline_ms = clock_mono_ms() + deadline_s * INT64_C(1000);
}

/* With the lock held. */
static inline void fake_batch_make(struct fake *f, struct fake_batch *batch, int count, int deadline_s)
{
    *batch = (struct fake_batch){.attributes = &batch->attribute};
    batch->received = xcalloc((size_t)count + 1, sizeof *batch->received);
    batch->messages = xcalloc((size_t)count + 1, sizeof *batch->messages);
    batch->list = xcalloc((size_t)count + 1, sizeof(Google__Pubsub__V1__ReceivedMessage *));
    google__pubsub__v1__pubsub_message__attributes_entry__init(&batch->attribute);
    batch->attribute.key = (char *)(uintptr_t) "entity";
    batch->attribute.value = (char *)(uintptr_t) "jobs";
    google__protobuf__timestamp__init(&batch->time);
    batch->time.seconds = 1761040800;
    batch->time.nanos = 123456789;
    for (int i = 0; i < count; i++)
        fake_batch_add(f, batch, deadline_s);
}

static inline void fake_batch_release(struct fake_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        free(batch->messages[i].message_id);
    free(batch->received);
    free(batch->messages);
    free(batch->list);
}

/* A Pull answers with new messages, as many as are asked for and wait, and sent_more beyond what was asked for. */
static inline void fake_pull(struct fake *f, struct test_call *call, struct slice bytes)
{
    if (fake_fails(f, &f->pull, call))
        return;
    Google__Pubsub__V1__PullRequest *r =
        google__pubsub__v1__pull_request__unpack(NULL, bytes.len, (const uint8_t *)bytes.ptr);
    Google__Pubsub__V1__PullResponse response;
    google__pubsub__v1__pull_response__init(&response);
    struct fake_batch batch;
    fake_lock(f);
    int count = r->max_messages < f->waiting ? r->max_messages : f->waiting;
    f->waiting -= count;
    f->pulled_at_once = r->return_immediately;
    fake_batch_make(f, &batch, count + f->sent_more, 10);
    fake_unlock(f);
    response.n_received_messages = batch.count;
    response.received_messages = batch.list;
    test_call_send_message(call, &response.base);
    fake_batch_release(&batch);
    protobuf_c_message_free_unpacked(&r->base, NULL);
}

static inline void fake_get_topic(struct fake *f, struct test_call *call)
{
    fake_lock(f);
    bool exists = f->topic_exists;
    fake_unlock(f);
    if (exists)
        fake_empty_reply(call);
    else
        test_call_finish(call, GRPC_STATUS_NOT_FOUND, "no such topic", SLICE_NULL);
}

static inline void fake_get_subscription(struct fake *f, struct test_call *call)
{
    fake_lock(f);
    if (f->subscription)
        test_call_send_message(call, &f->subscription->base);
    else
        test_call_finish(call, GRPC_STATUS_NOT_FOUND, "no such subscription", SLICE_NULL);
    fake_unlock(f);
}

static inline void fake_create(struct fake *f, struct test_call *call, struct slice bytes)
{
    fake_lock(f);
    f->created++;
    if (test_call_is(call, "/google.pubsub.v1.Publisher/CreateTopic"))
        f->topic_exists = true;
    else
        f->subscription = google__pubsub__v1__subscription__unpack(NULL, bytes.len, (const uint8_t *)bytes.ptr);
    fake_unlock(f);
    test_call_send(call, bytes);
}

static inline void fake_handle(void *user, struct test_call *call)
{
    struct fake *f = user;
    struct buf request = BUF_INIT, routing = BUF_INIT;
    if (!test_call_recv(call, &request))
        goto out;
    test_call_header(call, "x-goog-request-params", &routing);
    fake_lock(f);
    snprintf(f->routing, sizeof f->routing, "%s", buf_cstr(&routing));
    fake_unlock(f);
    if (test_call_is(call, "/google.pubsub.v1.Subscriber/StreamingPull"))
        fake_streaming_pull(f, call, buf_slice(&request));
    else if (test_call_is(call, "/google.pubsub.v1.Subscriber/ModifyAckDeadline"))
        fake_modack(f, call, buf_slice(&request));
    else if (test_call_is(call, "/google.pubsub.v1.Subscriber/Acknowledge"))
        fake_ack(f, call, buf_slice(&request));
    else if (test_call_is(call, "/google.pubsub.v1.Subscriber/Pull"))
        fake_pull(f, call, buf_slice(&request));
    else if (test_call_is(call, "/google.pubsub.v1.Publisher/Publish"))
        fake_publish(f, call, buf_slice(&request));
    else if (fake_fails(f, &f->other, call))
        ;
    else if (test_call_is(call, "/google.pubsub.v1.Publisher/GetTopic"))
        fake_get_topic(f, call);
    else if (test_call_is(call, "/google.pubsub.v1.Subscriber/GetSubscription"))
        fake_get_subscription(f, call);
    else
        fake_create(f, call, buf_slice(&request));
out:
    buf_release(&request);
    buf_release(&routing);
}

/* ---- For tests ---- */

static inline struct fake *fake_new(void)
{
    struct fake *f = xcalloc(1, sizeof *f);
    struct error err = ERROR_INIT;
    char target[32];
    pthread_mutex_init(&f->mutex, NULL);
    pthread_mutex_init(&f->send_mutex, NULL);
    log_set_level(LOG_LEVEL_FATAL);
    f->server = test_server_start(fake_handle, f);
    f->none = google_credentials_none();
    f->client = pubsub_client_new("p", test_server_target(f->server, target), f->none, &err);
    if (!f->client)
        BUG("%s", err.message);
    return f;
}

static inline void fake_free(struct fake *f)
{
    pubsub_client_free(f->client);
    test_server_stop(f->server);
    google_credentials_free(f->none);
    if (f->subscription)
        protobuf_c_message_free_unpacked(&f->subscription->base, NULL);
    free(f);
}

static inline void fake_set_fault(struct fake *f, struct fake_fault *fault, int status, int times)
{
    fake_lock(f);
    fault->status = status;
    fault->times = times;
    fake_unlock(f);
}

/* The newest stream that is open; waits for it. */
static inline struct test_call *fake_open_stream(struct fake *f)
{
    FAKE_AWAIT(f, f->stream_count > 0 && !f->streams[f->stream_count - 1].over);
    fake_lock(f);
    struct test_call *call = f->streams[f->stream_count - 1].call;
    fake_unlock(f);
    return call;
}

/* Delivers `count` new messages in one response on the newest stream. */
static inline void fake_deliver(struct fake *f, int count)
{
    struct test_call *call = fake_open_stream(f);
    Google__Pubsub__V1__StreamingPullResponse response;
    google__pubsub__v1__streaming_pull_response__init(&response);
    struct fake_batch batch;
    fake_lock(f);
    fake_batch_make(f, &batch, count, f->streams[f->stream_count - 1].deadline_s);
    fake_unlock(f);
    response.n_received_messages = batch.count;
    response.received_messages = batch.list;
    pthread_mutex_lock(&f->send_mutex);
    test_call_send_message(call, &response.base);
    pthread_mutex_unlock(&f->send_mutex);
    fake_batch_release(&batch);
}

static inline void fake_end_stream(struct fake *f, int status)
{
    struct test_call *call = fake_open_stream(f);
    pthread_mutex_lock(&f->send_mutex);
    test_call_finish(call, status, "as the test wishes", SLICE_NULL);
    pthread_mutex_unlock(&f->send_mutex);
}

/* ---- A receiver that keeps what it gets ---- */

struct inbox {
    struct fake *fake; /* its lock guards the inbox */
    struct pubsub_delivery *deliveries[FAKE_MAX_MESSAGES];
    int count;
};

static inline void inbox_put(void *user, struct pubsub_delivery *delivery)
{
    struct inbox *inbox = user;
    fake_lock(inbox->fake);
    inbox->deliveries[inbox->count++] = delivery;
    fake_unlock(inbox->fake);
}

/* The n-th delivery (from 0); waits for it. */
static inline struct pubsub_delivery *inbox_get(struct inbox *inbox, int n)
{
    FAKE_AWAIT(inbox->fake, inbox->count > n);
    fake_lock(inbox->fake);
    struct pubsub_delivery *delivery = inbox->deliveries[n];
    fake_unlock(inbox->fake);
    return delivery;
}

#endif
