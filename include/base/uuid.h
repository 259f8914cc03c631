/* uuid.h - random UUIDs (version 4), from the kernel's generator. */
#ifndef ST_BASE_UUID_H
#define ST_BASE_UUID_H

#include <stdint.h>

enum { UUID_TEXT_SIZE = 37 };

void uuid_generate(char out[UUID_TEXT_SIZE]); /* lower-case text, NUL-terminated */
uint64_t random_u64(void);                    /* for jitter and ids; thread-safe */

#endif
