/* One line per event, built in a local buffer and written with one write(2), so that lines of several threads and
 * processes never mix. The form is the brief's: timestamp, severity, context, message, then ids and fields. */
#include "base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/timestamp.h"

static const char *const level_names[] = {"DEBUG", "INFO", "WARN", "ERROR", "FATAL"};
enum { LEVELS = sizeof level_names / sizeof level_names[0] };

static atomic_int threshold = LOG_LEVEL_INFO;
static atomic_int out_fd = STDERR_FILENO;
static atomic_ullong counts[LEVELS], left_out_total;
static _Thread_local const struct log_context *scope;

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load(&threshold);
}

void log_set_level(enum log_level level)
{
    atomic_store(&threshold, (int)level);
}

bool log_level_parse(const char *text, enum log_level *ret)
{
    for (int i = 0; i < LEVELS; i++) {
        if (strcasecmp(text, level_names[i]) == 0) {
            *ret = (enum log_level)i;
            return true;
        }
    }
    return false;
}

void log_set_fd(int fd)
{
    atomic_store(&out_fd, fd);
}

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

uint64_t log_count(enum log_level level)
{
    return atomic_load(&counts[level]);
}

uint64_t log_left_out(void)
{
    return atomic_load(&left_out_total);
}

const struct log_context *log_scope(void)
{
    return scope;
}

const struct log_context *log_scope_set(const struct log_context *next)
{
    const struct log_context *before = scope;
    scope = next;
    return before;
}

static void put_name(struct buf *line, const char *name)
{
    buf_append_char(line, ',');
    buf_append_json_string(line, slice_str(name));
    buf_append_char(line, ':');
}

/* The escape of what JSON allows in a text, but many readers of lines take for a line's end: with it a foreign text could
 * forge a line. NULL: it is nothing of that kind. */
static const char *line_break(struct slice rest, size_t *ret_len)
{
    static const struct {
        const char *bytes;
        const char *escape;
    } breaks[] = {{"\xC2\x85", "\\u0085"}, {"\xE2\x80\xA8", "\\u2028"}, {"\xE2\x80\xA9", "\\u2029"}};
    for (size_t i = 0; i < sizeof breaks / sizeof breaks[0]; i++) {
        if (slice_starts_with(rest, slice_str(breaks[i].bytes))) {
            *ret_len = strlen(breaks[i].bytes);
            return breaks[i].escape;
        }
    }
    return NULL;
}

static void put_text(struct buf *line, const char *text)
{
    struct buf json = BUF_INIT;
    buf_append_json_string(&json, slice_str(text));
    struct slice rest = buf_slice(&json);
    while (rest.len > 0) {
        size_t len = 1;
        const char *escape = (unsigned char)rest.ptr[0] < 0x80 ? NULL : line_break(rest, &len);
        if (escape)
            buf_append_str(line, escape);
        else
            buf_append_char(line, rest.ptr[0]);
        rest = slice_of(rest.ptr + len, rest.len - len);
    }
    buf_release(&json);
}

static void put_string(struct buf *line, const char *name, const char *value)
{
    put_name(line, name);
    if (value)
        put_text(line, value);
    else
        buf_append_str(line, "null");
}

static void put_if(struct buf *line, const char *name, const char *value)
{
    if (value && value[0])
        put_string(line, name, value);
}

static void put_error(struct buf *line, const struct error *err)
{
    put_string(line, "error", err->message);
    put_string(line, "errorClass", error_class_name(err->class));
    put_if(line, "errorCode", err->code);
}

static void put_field(struct buf *line, const struct log_field *field)
{
    char text[TIMESTAMP_TEXT_SIZE];
    switch (field->kind) {
    case LOG_KIND_MESSAGE: /* stands at its own place already */
        break;
    case LOG_KIND_STRING:
        put_string(line, field->name, field->string);
        break;
    case LOG_KIND_INT:
        put_name(line, field->name);
        buf_printf(line, "%lld", (long long)field->number);
        break;
    case LOG_KIND_BOOL:
        put_name(line, field->name);
        buf_append_str(line, field->number ? "true" : "false");
        break;
    case LOG_KIND_TIME_US:
        put_string(line, field->name, timestamp_text(text, field->number, 3));
        break;
    case LOG_KIND_ERROR:
        put_error(line, field->err);
        break;
    }
}

static const char *message_of(const struct log_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (fields[i].kind == LOG_KIND_MESSAGE && fields[i].string)
            return fields[i].string;
    return "";
}

static void put_context(struct buf *line, const struct log_context *ctx)
{
    put_if(line, "runId", ctx->run_id);
    put_if(line, "taskId", ctx->task_id);
    put_if(line, "entityType", ctx->entity);
    put_if(line, "mode", ctx->mode);
    if (ctx->tenant) {
        put_name(line, "tenantId");
        buf_printf(line, "%lld", (long long)ctx->tenant);
    }
}

static void write_all(int fd, struct slice s)
{
    while (s.len > 0) {
        ssize_t n = write(fd, s.ptr, s.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* nobody is left to be told */
        s = slice_of(s.ptr + n, s.len - (size_t)n);
    }
}

static const char *first_of(const char *own, const char *inherited)
{
    return own && own[0] ? own : inherited;
}

/* The line's own ids, and those of the scope where it has none. */
static struct log_context context_of(const struct log_context *own)
{
    static const struct log_context nobody = {.context = NULL};
    const struct log_context *from = scope ? scope : &nobody;
    if (!own)
        own = &nobody;
    return (struct log_context){
        .context = first_of(own->context, first_of(from->context, "v2-ingestor")),
        .run_id = first_of(own->run_id, from->run_id),
        .task_id = first_of(own->task_id, from->task_id),
        .entity = first_of(own->entity, from->entity),
        .mode = first_of(own->mode, from->mode),
        .tenant = own->tenant ? own->tenant : from->tenant,
    };
}

void log_write(enum log_level level, const struct log_context *ctx, const struct log_field *fields, size_t count)
{
    char stamp[TIMESTAMP_TEXT_SIZE];
    struct buf line = BUF_INIT;
    if (!log_enabled(level))
        return;
    const struct log_context who = context_of(ctx);
    buf_printf(&line, "{\"timestamp\":\"%s\",\"severity\":\"%s\"", timestamp_text(stamp, clock_wall_us(), 3),
               level_names[level]);
    put_string(&line, "context", who.context);
    put_string(&line, "message", message_of(fields, count));
    put_context(&line, &who);
    for (size_t i = 0; i < count; i++)
        put_field(&line, &fields[i]);
    buf_append_str(&line, "}\n");
    atomic_fetch_add(&counts[level], 1);
    write_all(atomic_load(&out_fd), buf_slice(&line));
    buf_release(&line);
}

/* ---- Places that may have much to say ----------------------------------------------------------------------------- */

/* Two threads that meet at the turn of a second may write a line or two more: the bound is against floods. */
bool log_limit_pass(struct log_limit *limit, int64_t *ret_left_out)
{
    int64_t second = clock_real_ms(clock_mono_ms()) / 1000, seen = atomic_load(&limit->second);
    if (seen != second && atomic_compare_exchange_strong(&limit->second, &seen, second))
        atomic_store(&limit->written, 0);
    if (atomic_fetch_add(&limit->written, 1) < LOG_LIMIT_PER_SECOND) {
        *ret_left_out = atomic_exchange(&limit->left_out, 0);
        return true;
    }
    atomic_fetch_add(&limit->left_out, 1);
    atomic_fetch_add(&left_out_total, 1);
    return false;
}

void log_retry(const struct log_context *ctx, struct log_limit *limit, int64_t wait_ms, int attempt,
               const struct error *err)
{
    struct log_field fields[5];
    char message[64];
    size_t count = 0;
    int64_t left_out;
    if (!log_enabled(LOG_LEVEL_WARN) || !log_limit_pass(limit, &left_out))
        return;
    snprintf(message, sizeof message, "API request failed, retrying in %lldms", (long long)wait_ms);
    fields[count++] = LOG_MSG(message);
    if (err->status)
        fields[count++] = LOG_INT("status", err->status);
    fields[count++] = LOG_INT("attempt", attempt);
    fields[count++] = LOG_ERR(err);
    if (left_out)
        fields[count++] = LOG_INT("leftOut", left_out);
    log_write(LOG_LEVEL_WARN, ctx, fields, count);
}
