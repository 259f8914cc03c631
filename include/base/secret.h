/* secret.h - a value that cannot be printed.
 *
 * The type is opaque and has no textual form: loggers, errors and printf cannot take it. The bytes
 * are wiped when it is freed. Only code that puts the value on the wire calls secret_reveal. */
#ifndef ST_BASE_SECRET_H
#define ST_BASE_SECRET_H

#include "base/slice.h"

struct secret;

struct secret *secret_new(struct slice value);                     /* copies */
struct secret *secret_ref(struct secret *secret);                  /* thread-safe reference count; NULL is fine */
void secret_unref(struct secret *secret);                          /* wipes with the last reference; NULL is fine */
bool secret_is_empty(const struct secret *secret);                 /* true for NULL */
bool secret_equal(const struct secret *a, const struct secret *b); /* NULL equals an empty one */
/* The bytes, for the wire only, valid as long as the caller's reference. NUL-terminated. */
struct slice secret_reveal(const struct secret *secret);
/* Puts '*' over the secret and over larger parts of it in a text of foreign origin, as it is, percent-encoded or in base64.
 * True when there was anything. */
bool secret_blot(char *text, const struct secret *secret);

#endif
