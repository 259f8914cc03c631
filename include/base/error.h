/* error.h - what a failing function tells its caller.
 *
 * A struct error lives on the caller's stack, has a fixed size and never allocates. Functions
 * that can fail return bool (or a pointer, or a count) and fill it; on success they leave it
 * untouched. Whoever returns an error does not log it; whoever settles it logs it once.
 *
 * Wording: lower case, what was tried, the value in quotes, the reason. "could not ..." if a retry
 * may help, "cannot ..." if it never will. No secret ever goes into a message. */
#ifndef ST_BASE_ERROR_H
#define ST_BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))

/* What may help. Verdicts (design 8) are decided from this. */
enum error_class {
    ERROR_NONE = 0,
    ERROR_RETRY,     /* transient: network, 5xx, lost stream; the same call may succeed later */
    ERROR_THROTTLED, /* refused for load; wait_ms says how long, 0 = the caller's own backoff */
    ERROR_PERMANENT, /* the same call will fail again: bad input, denied, missing */
    ERROR_CANCELLED, /* the caller asked to stop (shutdown, lease lost) */
    ERROR_AWAY, /* the other side is known to be away and asked for nothing until it is back: waiting costs no try */
};

/* What the failed call may have done at the other side. EFFECT_MAYBE asks for a check before a retry. */
enum error_effect {
    EFFECT_NONE = 0, /* nothing happened */
    EFFECT_MAYBE,    /* may have happened: reply lost after the request was sent */
    EFFECT_DONE,     /* happened */
};

enum { ERROR_CODE_SIZE = 48, ERROR_MESSAGE_SIZE = 640 };

struct error {
    enum error_class class;
    enum error_effect effect;
    int64_t wait_ms;            /* ERROR_THROTTLED: how long the other side asks to wait; else 0 */
    int status;                 /* HTTP status or gRPC code the error came from; 0 = none */
    char code[ERROR_CODE_SIZE]; /* short stable token: "http_503", "invalidQuery", "config_value" */
    char message[ERROR_MESSAGE_SIZE];
};

#define ERROR_INIT ((struct error){ERROR_NONE, EFFECT_NONE, 0, 0, "", ""})

/* Fills *err (which may be NULL) and returns false, so that a caller can `return error_set(...)`.
 * A message that is too long is cut at a UTF-8 boundary. */
bool error_set(struct error *err, enum error_class class, const char *code, const char *fmt, ...) PRINTF_LIKE(4, 5);
bool error_setv(struct error *err, enum error_class class, const char *code, const char *fmt, va_list args)
    PRINTF_LIKE(4, 0);

/* Shorthand for errno failures: "<what>: <strerror>", class PERMANENT, code "errno_<n>". */
bool error_errno(struct error *err, int errnum, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts "prefix: " before the message; class, code and effect stay. Returns false. */
bool error_prefix(struct error *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Lower-case name of the class, for logs and dead letters. Never NULL. */
const char *error_class_name(enum error_class class);

/* True when the same call may succeed later (RETRY or THROTTLED). */
bool error_may_retry(const struct error *err);

/* A broken invariant of ours or no memory: prints one line to stderr and aborts. Never for foreign data. */
_Noreturn void die_bug(const char *file, int line, const char *fmt, ...) PRINTF_LIKE(3, 4);
#define BUG(...) die_bug(__FILE__, __LINE__, __VA_ARGS__)
#define BUG_ON(cond)                                                                                                   \
    do {                                                                                                               \
        if (cond)                                                                                                      \
            BUG("%s", #cond);                                                                                          \
    } while (0)

#endif
