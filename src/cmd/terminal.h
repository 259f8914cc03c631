/* terminal.h - what commands show while they work: a line that is painted over, a question, a last word at Ctrl-C. All of that goes to
 * standard error, so that standard output holds results only. */
#ifndef ST_CMD_TERMINAL_H
#define ST_CMD_TERMINAL_H

#include "base/buf.h"

struct progress_line { /* zero-initialised */
    bool painted;
    int64_t told_ms; /* not on a terminal: when the last line came, or when it began */
    char *told;      /* the last line */
};
/* On a terminal the line takes the place of the one before. Elsewhere it is a line of its own every few seconds, when it is new. */
void progress_show(struct progress_line *line, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Takes the line away from a terminal. */
void progress_end(struct progress_line *line);

/* The beginning of a text that may quote foreign bytes, on one line and without what steers a terminal. Returns it. */
enum { REASON_SIZE = 100 };
const char *reason_text(char out[REASON_SIZE], const char *text);

/* True when standard input and standard error are a terminal. */
bool terminal_can_ask(void);
/* "Publish 60 messages? [y/N] ": true for y or yes. */
bool terminal_ask(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* From now on Ctrl-C prints the text (copied, one line) and ends the program with 130. */
void terminal_at_interrupt(const char *fmt, ...) PRINTF_LIKE(1, 2);

#endif
