/* verdict.h - what a run ends in, and so what becomes of its message (design 8). Only this module settles messages. */
#ifndef ST_WORKER_VERDICT_H
#define ST_WORKER_VERDICT_H

#include "message.h"
#include "run.h"

enum verdict { VERDICT_DONE, VERDICT_DEFER, VERDICT_RETRY, VERDICT_REJECT };

enum { VERDICT_LAST_ATTEMPT = 29 /* Pub/Sub's own forwarding comes at 30 */ };

const char *verdict_name(enum verdict verdict);
/* From the error's class; a message that was delivered VERDICT_LAST_ATTEMPT times is rejected instead of tried again.
 */
enum verdict verdict_of(bool ok, const struct error *err, int delivery_attempt);
/* Ack, nack, or dead letter then ack. A dead letter that could not be published is nacked. Frees the delivery, but for
 * DEFER: then the message is only told about, and stays the caller's. Says it in one line, and returns what it came to.
 */
enum verdict verdict_settle(const struct run_env *env, struct message *message, enum verdict verdict,
                            const struct error *why, const char *run_id);

/* Gives a list of messages back that nobody has begun, in few calls, each with its line; `why` is no reason to reject.
 * Frees them. Returns how many. */
int64_t verdict_give_back(struct message *list, const struct error *why);

#endif
