/* log.h - structured log: one JSON object per line on stderr (or the file set), in one write each.
 *
 *   log_info(&run->log, LOG_MSG("Ingestion completed"), LOG_INT("recordsFetched", n), LOG_INT("durationMs", ms));
 *
 * A line has timestamp, severity, context, message, the context's ids, then the fields. Field names are camelCase.
 * Warnings say what happens next ("..., retrying in 4000ms"). Secrets have no field kind. Thread-safe.
 *
 * Layers below a run know nothing of it, but their lines belong to it: each thread has a scope, the context of what it is working on, and
 * ids that a line's own context lacks come from there. Threads that help inherit it by hand (log_scope, log_scope_set). */
#ifndef ST_BASE_LOG_H
#define ST_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR, LOG_LEVEL_FATAL };

/* Who speaks. Borrowed strings that must live as long as the context; NULL ones are left out. */
struct log_context {
    const char *context; /* "v2-ingestor:ingestor:jobs" */
    const char *run_id;  /* runId */
    const char *task_id; /* taskId */
    const char *entity;  /* entityType */
    const char *mode;    /* mode */
    int64_t tenant;      /* tenantId; 0 = left out */
};

/* The calling thread's scope; NULL: none. Job labels are made from it too, so that one id runs through all. */
const struct log_context *log_scope(void);
/* Sets it (borrowed; NULL: none) and returns what it was: whoever sets it puts that back. */
const struct log_context *log_scope_set(const struct log_context *scope);

enum log_kind { LOG_KIND_MESSAGE, LOG_KIND_STRING, LOG_KIND_INT, LOG_KIND_BOOL, LOG_KIND_TIME_US, LOG_KIND_ERROR };

struct log_field {
    const char *name;
    enum log_kind kind;
    const char *string;      /* LOG_KIND_MESSAGE, LOG_KIND_STRING (NULL = JSON null) */
    int64_t number;          /* INT, BOOL, TIME_US */
    const struct error *err; /* LOG_KIND_ERROR: written as error, errorClass, errorCode */
};

#define LOG_MSG(text) ((struct log_field){"message", LOG_KIND_MESSAGE, (text), 0, NULL})
#define LOG_STR(name, text) ((struct log_field){(name), LOG_KIND_STRING, (text), 0, NULL})
#define LOG_INT(name, value) ((struct log_field){(name), LOG_KIND_INT, NULL, (int64_t)(value), NULL})
#define LOG_BOOL(name, value) ((struct log_field){(name), LOG_KIND_BOOL, NULL, (value) ? 1 : 0, NULL})
#define LOG_TIME(name, us) ((struct log_field){(name), LOG_KIND_TIME_US, NULL, (us), NULL})
#define LOG_ERR(e) ((struct log_field){"error", LOG_KIND_ERROR, NULL, 0, (e)})

void log_write(enum log_level level, const struct log_context *ctx, const struct log_field *fields, size_t count);
#define log_at(level, ctx, ...)                                                                                        \
    do {                                                                                                               \
        if (log_enabled(level)) {                                                                                      \
            const struct log_field log_fields_[] = {__VA_ARGS__};                                                      \
            log_write((level), (ctx), log_fields_, sizeof log_fields_ / sizeof log_fields_[0]);                        \
        }                                                                                                              \
    } while (0)
#define log_debug(ctx, ...) log_at(LOG_LEVEL_DEBUG, ctx, __VA_ARGS__)
#define log_info(ctx, ...) log_at(LOG_LEVEL_INFO, ctx, __VA_ARGS__)
#define log_warn(ctx, ...) log_at(LOG_LEVEL_WARN, ctx, __VA_ARGS__)
#define log_error(ctx, ...) log_at(LOG_LEVEL_ERROR, ctx, __VA_ARGS__)
#define log_fatal(ctx, ...) log_at(LOG_LEVEL_FATAL, ctx, __VA_ARGS__)

/* A place that may have much to say. Static, zero-initialised. */
enum { LOG_LIMIT_PER_SECOND = 10 };
struct log_limit {
    _Atomic int64_t second, written, left_out;
};
/* True when one more line may be written now (LOG_LIMIT_PER_SECOND of real time); *ret_left_out lines of the place were not, since
 * the last one that was. */
bool log_limit_pass(struct log_limit *limit, int64_t *ret_left_out);
/* The one line about a call that failed and is made again, in the brief's form: WARN "API request failed, retrying in 4000ms", with status
 * (HTTP status or gRPC code, when a reply came), attempt (1 = the first retry) and the error. Limited by the place's `limit`. */
void log_retry(const struct log_context *ctx, struct log_limit *limit, int64_t wait_ms, int attempt,
               const struct error *err);

bool log_enabled(enum log_level level);
void log_set_level(enum log_level level);                    /* default INFO */
bool log_level_parse(const char *text, enum log_level *ret); /* debug info warn error fatal, any case */
void log_set_fd(int fd);                                     /* default 2 */
const char *log_level_name(enum log_level level);            /* "WARN" */
uint64_t log_count(enum log_level level);                    /* lines written so far, for metrics and tests */
uint64_t log_left_out(void);                                 /* lines that limits kept back so far */

#endif
