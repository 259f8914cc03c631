/* grpc_internal.h - what unary calls and streams share: the channel, the head of a call, its end, and message buffers.
 */
#ifndef ST_GOOGLE_GRPC_INTERNAL_H
#define ST_GOOGLE_GRPC_INTERNAL_H

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>

#include "google/grpc.h"

struct grpc_link {
    grpc_channel *channel;
    char *target;
    bool plaintext;
    struct google_credentials *creds; /* borrowed */
};

/* Initial metadata of one call: user agent is the channel's, here are the routing header and the bearer token. */
struct call_head {
    grpc_metadata metadata[2];
    size_t count;
    struct secret *token; /* NULL on plaintext links */
};

bool call_head_init(struct call_head *head, struct grpc_link *link, const char *routing, struct cancel *cancel,
                    struct error *err) MUST_CHECK;
void call_head_release(struct call_head *head);

/* How a call ended, as GRPC_OP_RECV_STATUS_ON_CLIENT fills it. */
struct call_end {
    grpc_metadata_array trailing;
    grpc_status_code status;
    grpc_slice details;
    const char *error_string;
};

void call_end_init(struct call_end *end);
grpc_op call_end_op(struct call_end *end);
/* Turns a status that is not OK into an error; the server's text is cleared of the token that was sent, should it echo
 * it. */
void call_end_error(const struct call_end *end, const char *method, const struct secret *token, struct error *err);
/* Value of grpc-status-details-bin, empty when absent. */
void call_end_details(const struct call_end *end, struct buf *ret);
void call_end_release(struct call_end *end);

/* One ready-to-send buffer of up to two ranges, copied. */
grpc_byte_buffer *byte_buffer_of(struct slice head, struct slice body);
/* Packs into one slice without a second copy. */
grpc_byte_buffer *byte_buffer_of_message(const ProtobufCMessage *message);
/* Flattens a received buffer; false when it cannot be read (a broken compression). */
bool byte_buffer_read(grpc_byte_buffer *bytes, struct buf *ret);

gpr_timespec grpc_deadline_after(int64_t timeout_ms); /* real time; < 0 = never */

#endif
