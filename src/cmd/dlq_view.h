/* dlq_view.h - dead letters on standard output, for people or as JSON. `which`: indexes of the session's letters. */
#ifndef ST_CMD_DLQ_VIEW_H
#define ST_CMD_DLQ_VIEW_H

#include "operate/dlq.h"

void dlq_print_letters(const struct dlq *dlq, const size_t *which, size_t count, bool json); /* a row each */
void dlq_print_letter(const struct dlq_letter *letter, bool json);                           /* everything it says */
/* How many of a kind, the largest first. */
void dlq_print_stats(const struct dlq *dlq, const size_t *which, size_t count, bool json);

#endif
