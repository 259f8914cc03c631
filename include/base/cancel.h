/* cancel.h - a request to stop, seen by all who share it.
 *
 * Thread-safe. Set once, never unset. A parent's cancellation reaches its children. */
#ifndef ST_BASE_CANCEL_H
#define ST_BASE_CANCEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct cancel;

struct cancel *cancel_new(struct cancel *parent); /* parent may be NULL; it must outlive the child */
void cancel_free(struct cancel *cancel);
/* The reason is copied (first one wins): "shutdown", "lease lost". */
void cancel_set(struct cancel *cancel, const char *reason);
bool cancel_is_set(const struct cancel *cancel); /* NULL: false */
/* Fills err with class CANCELLED and the reason, and returns false, when set; else true. */
bool cancel_check(const struct cancel *cancel, struct error *err) MUST_CHECK;
/* Sleeps on the program's clock; false when cancelled before the time was over. NULL cancel just sleeps. */
bool cancel_sleep_ms(struct cancel *cancel, int64_t ms);
/* Called (in the cancelling thread) when set; at once when it is set already. Returns a handle for cancel_remove_hook,
 * which returns only when the hook is not running. Used to abort blocking calls (gRPC, curl). */
uint64_t cancel_add_hook(struct cancel *cancel, void (*hook)(void *user), void *user);
void cancel_remove_hook(struct cancel *cancel, uint64_t handle);

#endif
