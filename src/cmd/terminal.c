#include "terminal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"

enum { QUIET_REAL_MS = 5000, EXIT_INTERRUPTED = 130, LAST_WORD_SIZE = 400 };

/* A command that is over soon needs no lines. */
static bool is_due(struct progress_line *line, const char *text)
{
    int64_t now_ms = clock_mono_ms();
    if (line->told_ms == 0)
        line->told_ms = now_ms;
    return clock_real_ms(now_ms - line->told_ms) >= QUIET_REAL_MS && (!line->told || strcmp(line->told, text) != 0);
}

void progress_show(struct progress_line *line, const char *fmt, ...)
{
    struct buf text = BUF_INIT;
    va_list args;
    va_start(args, fmt);
    buf_vprintf(&text, fmt, args);
    va_end(args);
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r\x1b[2K%s", buf_cstr(&text));
        fflush(stderr);
        line->painted = true;
    } else if (is_due(line, buf_cstr(&text))) {
        fprintf(stderr, "%s\n", buf_cstr(&text));
        free(line->told);
        line->told = buf_detach(&text);
        line->told_ms = clock_mono_ms();
    }
    buf_release(&text);
}

void progress_end(struct progress_line *line)
{
    if (line->painted)
        fputs("\r\x1b[2K", stderr);
    free(line->told);
    *line = (struct progress_line){0};
}

const char *reason_text(char out[REASON_SIZE], const char *text)
{
    size_t len = 0;
    for (; *text && len + 1 < REASON_SIZE; text++)
        out[len++] = (unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7F ? ' ' : *text;
    out[len] = '\0';
    return out;
}

bool terminal_can_ask(void)
{
    return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

bool terminal_ask(const char *fmt, ...)
{
    char answer[16] = "";
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fflush(stderr);
    if (!fgets(answer, sizeof answer, stdin))
        return false;
    struct slice word = slice_trim(slice_str(answer));
    return slice_eq_nocase(word, SLICE_LIT("y")) || slice_eq_nocase(word, SLICE_LIT("yes"));
}

static char last_word[LAST_WORD_SIZE];

static void on_interrupt(int number)
{
    (void)number;
    ssize_t ignored = write(STDERR_FILENO, last_word, strlen(last_word));
    (void)ignored;
    _exit(EXIT_INTERRUPTED);
}

void terminal_at_interrupt(const char *fmt, ...)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    char text[LAST_WORD_SIZE - 2];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    snprintf(last_word, sizeof last_word, "\n%s\n", text);
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}
