#include "base/secret.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/buf.h"

struct secret {
    atomic_int refs;
    size_t len;
    char bytes[];
};

struct secret *secret_new(struct slice value)
{
    struct secret *secret = xmalloc(sizeof *secret + value.len + 1);
    atomic_init(&secret->refs, 1);
    secret->len = value.len;
    if (value.len > 0)
        memcpy(secret->bytes, value.ptr, value.len);
    secret->bytes[value.len] = '\0';
    return secret;
}

struct secret *secret_ref(struct secret *secret)
{
    if (secret)
        atomic_fetch_add(&secret->refs, 1);
    return secret;
}

void secret_unref(struct secret *secret)
{
    if (!secret || atomic_fetch_sub(&secret->refs, 1) != 1)
        return;
    explicit_bzero(secret->bytes, secret->len);
    free(secret);
}

bool secret_is_empty(const struct secret *secret)
{
    return !secret || secret->len == 0;
}

struct slice secret_reveal(const struct secret *secret)
{
    return secret ? slice_of(secret->bytes, secret->len) : slice_str("");
}

bool secret_equal(const struct secret *a, const struct secret *b)
{
    return slice_eq(secret_reveal(a), secret_reveal(b));
}
