/* backoff.h - how long to wait before the next try: 1, 2, 4, 8, 16 s, +-25 % jitter (the brief). */
#ifndef ST_NET_BACKOFF_H
#define ST_NET_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

struct backoff_policy {
    int64_t first_ms;   /* 1000 */
    int64_t max_ms;     /* 16000 */
    int jitter_percent; /* 25 */
    int max_retries;    /* 5: at most this many tries after the first */
};
#define BACKOFF_DEFAULT ((struct backoff_policy){1000, 16000, 25, 5})

struct backoff {
    struct backoff_policy policy;
    int retries;
};

void backoff_init(struct backoff *b, struct backoff_policy policy);
/* Milliseconds to wait before the next try, at least `floor_ms` (what the server asked for); -1 when the tries are used up. */
int64_t backoff_next_ms(struct backoff *b, int64_t floor_ms);
void backoff_reset(struct backoff *b); /* after a success */

#endif
