/* grpc_server_fault.h - where the fault bench (faults.h) meets the calls of the gRPC server: each request before its
 * handler, the end of a unary call and each response of a stream before they go. Private to grpc_server*.c.
 *
 * What a client sees of a cut is UNAVAILABLE, as its library reports a broken connection; the other calls of the
 * connection go on. Waiting happens on the pool's threads only: a unary answer that somebody waits for is kept in the
 * call, and an event takes it up. */
#ifndef ST_LOCAL_GRPC_SERVER_FAULT_H
#define ST_LOCAL_GRPC_SERVER_FAULT_H

#include "faults.h"
#include "grpc_server_internal.h"

/* "/google.pubsub.v1.Publisher/Publish" -> "pubsub.Publish". */
void rpc_fault_name(struct rpc_call *call);
/* Gives a request to its handler, unless the bench wants something else. On the pool; may block. */
void rpc_fault_deliver(struct rpc_call *call, struct rpc_message *message);
/* RPC_EVENT_ENDING: takes up the answer that was kept in the call. On the pool; may block. */
void rpc_fault_ending(struct rpc_call *call);
/* A response is about to go: true with the bytes to send instead (or not), false: it goes no further. Takes *bytes over
 * in that case. Where a request is held behind its effect, this blocks. */
bool rpc_fault_response(struct rpc_call *call, grpc_slice *bytes, bool *ret_twice);
void rpc_fault_forget(struct rpc_call *call); /* frees what the call keeps for the bench */
/* All streams that match: closed, or silent from now on. */
int rpc_fault_streams(void *server, const char *pattern, const char *path, enum fault_stream_act act, int grpc_code);

#endif
