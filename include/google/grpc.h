/* grpc.h - unary calls and bidirectional streams over the gRPC C core, blocking, for several threads.
 *
 * A channel is one TCP connection (local subchannel pool). Plaintext only to loopback; TLS with system roots elsewhere. The token of
 * the credentials and x-goog-request-params go with every call. Messages are protobuf-c or ready bytes. All time-outs are real time
 * (clock_real_ms turns a duration of the program's clock into it). */
#ifndef ST_GOOGLE_GRPC_H
#define ST_GOOGLE_GRPC_H

#include <protobuf-c/protobuf-c.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "google/credentials.h"

struct grpc_link; /* a channel */

/* target "host:port". plaintext is refused off loopback. creds is borrowed and must outlive the link. */
struct grpc_link *grpc_link_new(const char *target, bool plaintext, struct google_credentials *creds,
                                struct error *err) MUST_CHECK;
void grpc_link_free(struct grpc_link *link); /* all calls must be over */

/* One unary call. On success *ret is a message (protobuf_c_message_free_unpacked). The status code's class: table in google/grpc.c
 * (UNAVAILABLE, ABORTED, INTERNAL, UNKNOWN, DEADLINE_EXCEEDED -> RETRY/MAYBE; RESOURCE_EXHAUSTED -> THROTTLED; CANCELLED by us -> CANCELLED; others PERMANENT).
 * err->status is the gRPC code, err->code its name in lower case ("not_found"). */
bool grpc_unary(struct grpc_link *link, const char *method, const char *routing, const ProtobufCMessage *request,
                const ProtobufCMessageDescriptor *reply_type, int64_t timeout_ms, struct cancel *cancel,
                ProtobufCMessage **ret, struct error *err) MUST_CHECK;

struct grpc_stream; /* a bidirectional stream; one thread sends, one (other) thread receives; cancel from any */

struct grpc_stream *grpc_stream_open(struct grpc_link *link, const char *method, const char *routing,
                                     struct error *err) MUST_CHECK;
/* Sends one message made of up to two byte ranges, head then body, copied. Blocks for flow control. */
bool grpc_stream_send(struct grpc_stream *stream, struct slice head, struct slice body, struct error *err) MUST_CHECK;
bool grpc_stream_send_message(struct grpc_stream *stream, const ProtobufCMessage *message,
                              struct error *err) MUST_CHECK;
enum grpc_recv { GRPC_RECV_MESSAGE, GRPC_RECV_TIMEOUT, GRPC_RECV_END };
/* Next message into *ret (cleared first). END: the stream is over and err holds its status (class NONE for OK), with StorageError
 * and other details left raw in *ret_details when not NULL (grpc-status-details-bin bytes). timeout_ms < 0 waits for ever. */
enum grpc_recv grpc_stream_recv(struct grpc_stream *stream, int64_t timeout_ms, struct buf *ret,
                                struct buf *ret_details, struct error *err);
bool grpc_stream_half_close(struct grpc_stream *stream, struct error *err) MUST_CHECK; /* no more sends */
void grpc_stream_cancel(struct grpc_stream *stream);                                   /* thread-safe */
void grpc_stream_free(struct grpc_stream *stream);                                     /* cancels, waits for the end */

void grpc_global_init(void); /* idempotent; block signals first: it starts threads */
void grpc_global_release(void);

/* Class, code and effect of a gRPC status; pure. Returns false like error_set. */
bool grpc_status_error(struct error *err, int code, const char *message, const char *method);

#endif
