/* lease.h - keeps the leases of messages that are being worked on, for as long as it takes, on a thread of its own. */
#ifndef ST_PUBSUB_LEASE_H
#define ST_PUBSUB_LEASE_H

#include "pubsub_internal.h"

struct lease_keeper;

/* Part of a delivery. The receiver and the keeper hold a reference each. */
struct lease {
    const char *ack_id; /* these three and `release` are immutable while the lease is shared */
    const char *message_id;
    struct cancel *cancel; /* set ("lease lost") by the keeper */
    void (*release)(struct lease *lease);
    struct { /* guarded by the keeper's mutex */
        struct lease *prev, *next;
        int refs;
        bool tracked; /* in the keeper's list */
        bool lost;
        int failures;
        int64_t expires_ms; /* clock_mono_ms; what the server may think is never earlier */
        int64_t due_ms;     /* when to extend next */
    } kept;
};

struct lease_counts {
    int64_t lost, extensions;
};

/* `subscription` is the full name; extension_s 10..600. */
struct lease_keeper *lease_keeper_new(struct pubsub_client *client, const char *subscription, int extension_s);
void lease_keeper_free(struct lease_keeper *keeper); /* nothing may be tracked any more */
/* Takes leases that came in at received_ms with initial_s to live; they are extended at once. Each then has two
 * references. */
void lease_keeper_add(struct lease_keeper *keeper, struct lease *const *leases, size_t count, int64_t received_ms,
                      int initial_s);
/* Extends it no more. False when it was lost; *ret_expires_ms is until when it holds. */
bool lease_keeper_remove(struct lease_keeper *keeper, struct lease *lease, int64_t *ret_expires_ms);
void lease_unref(struct lease_keeper *keeper, struct lease *lease); /* the last one calls lease->release */
struct lease_counts lease_keeper_counts(struct lease_keeper *keeper);

/* ModifyAckDeadline for up to LEASE_MAX_IDS ids; seconds 0 gives the messages back. */
enum { LEASE_MAX_IDS = 2500, LEASE_MAX_REQUEST_BYTES = 512 * 1024 };
bool lease_modify(struct pubsub_client *client, const char *subscription, const char *const *ack_ids, size_t count,
                  int seconds, int64_t timeout_ms, int64_t until_ms, struct cancel *cancel,
                  struct error *err) MUST_CHECK;

#endif
