#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/timestamp.h"

/* Cuts a text that did not fit at a UTF-8 boundary, so that log lines stay valid. */
static void cut_at_character(char *text, size_t size)
{
    size_t len = strlen(text);
    if (len + 1 < size)
        return;
    while (len > 0 && ((unsigned char)text[len - 1] & 0xC0) == 0x80)
        len--;
    if (len > 0 && (unsigned char)text[len - 1] >= 0xC0)
        len--;
    text[len] = '\0';
}

bool error_setv(struct error *err, enum error_class class, const char *code, const char *fmt, va_list args)
{
    if (!err)
        return false;
    *err = ERROR_INIT;
    err->class = class;
    snprintf(err->code, sizeof err->code, "%s", code);
    vsnprintf(err->message, sizeof err->message, fmt, args);
    cut_at_character(err->message, sizeof err->message);
    return false;
}

bool error_set(struct error *err, enum error_class class, const char *code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    error_setv(err, class, code, fmt, args);
    va_end(args);
    return false;
}

bool error_errno(struct error *err, int errnum, const char *fmt, ...)
{
    char what[ERROR_MESSAGE_SIZE], code[ERROR_CODE_SIZE], reason[128];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    snprintf(code, sizeof code, "errno_%d", errnum);
    return error_set(err, ERROR_PERMANENT, code, "%s: %s", what, strerror_r(errnum, reason, sizeof reason));
}

bool error_prefix(struct error *err, const char *fmt, ...)
{
    char prefix[ERROR_MESSAGE_SIZE], old[ERROR_MESSAGE_SIZE];
    va_list args;
    if (!err)
        return false;
    va_start(args, fmt);
    vsnprintf(prefix, sizeof prefix, fmt, args);
    va_end(args);
    memcpy(old, err->message, sizeof old);
    int needed = snprintf(err->message, sizeof err->message, "%s: %s", prefix, old);
    if (needed >= (int)sizeof err->message)
        cut_at_character(err->message, sizeof err->message);
    return false;
}

const char *error_class_name(enum error_class class)
{
    static const char *const names[] = {
        [ERROR_NONE] = "none",           [ERROR_RETRY] = "retry",         [ERROR_THROTTLED] = "throttled",
        [ERROR_PERMANENT] = "permanent", [ERROR_CANCELLED] = "cancelled", [ERROR_AWAY] = "away",
    };
    return (size_t) class < sizeof names / sizeof names[0] ? names[class] : "unknown";
}

bool error_may_retry(const struct error *err)
{
    return err->class == ERROR_RETRY || err->class == ERROR_THROTTLED;
}

/* What JSON would escape, and what may be no UTF-8, becomes a blank: no escape, so no bound is missed. */
static void make_plain(char *text)
{
    for (; *text; text++)
        if (*text == '\\' || *text == '"' || (unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7F)
            *text = ' ';
}

/* A log line like all others, but made without the logger: memory may be what is missing. */
static void write_last_line(const char *file, int line, char *text)
{
    char stamp[TIMESTAMP_TEXT_SIZE], out[1024];
    make_plain(text);
    int len =
        snprintf(out, sizeof out,
                 "{\"timestamp\":\"%s\",\"severity\":\"FATAL\",\"context\":\"v2-ingestor:bug\",\"message\":\"internal "
                 "error: %s\",\"place\":\"%.200s:%d\"}\n",
                 timestamp_text(stamp, clock_wall_us(), 3), text, file, line);
    if (write(STDERR_FILENO, out, (size_t)len < sizeof out ? (size_t)len : sizeof out - 1) < 0)
        return; /* nobody is left to be told */
}

_Noreturn void die_bug(const char *file, int line, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    write_last_line(file, line, text);
    abort();
}
