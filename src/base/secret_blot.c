/* secret_blot.c - foreign text that may hold one of our secrets, as a server's error does that repeats the request.
 *
 * The text may be cut anywhere, so a part of the secret counts, too; and the server may repeat what was sent as it was
 * sent: percent-encoded in a form, or in base64, where the letters depend on what stands before. */
#include <stdlib.h>

#include "base/buf.h"
#include "base/secret.h"

enum {
    PART_BYTES = 8,   /* so much of a secret may not be shown; shorter parts are ordinary words */
    SECRET_BYTES = 4, /* shorter secrets would blot out ordinary words */
};

static void mark_form(struct slice text, struct slice form, char *mask)
{
    size_t part = form.len < PART_BYTES ? form.len : PART_BYTES;
    if (form.len < SECRET_BYTES)
        return;
    for (size_t i = 0; i + part <= text.len; i++)
        if (memmem(form.ptr, form.len, text.ptr + i, part))
            memset(mask + i, 1, part);
}

static void mark_and_wipe(struct slice text, struct buf *form, char *mask)
{
    mark_form(text, buf_slice(form), mask);
    explicit_bzero(form->ptr, form->len);
    buf_clear(form);
}

static void append_percent(struct buf *out, struct slice bytes, bool lower)
{
    size_t from = out->len;
    buf_append_url_escaped(out, bytes);
    for (size_t i = from; lower && i + 2 < out->len; i++) {
        if (out->ptr[i] != '%')
            continue;
        for (size_t digit = i + 1; digit <= i + 2; digit++)
            if (out->ptr[digit] >= 'A' && out->ptr[digit] <= 'F')
                out->ptr[digit] = (char)(out->ptr[digit] + ('a' - 'A'));
    }
}

/* The letters that depend on the secret alone, when so many bytes (mod 3) stand before it. */
static void append_base64(struct buf *out, struct slice bytes, size_t before, bool url)
{
    static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t bits = 0;
    unsigned value = 0;
    for (size_t i = (3 - before) % 3; i < bytes.len; i++) {
        value = (value << 8 | (unsigned char)bytes.ptr[i]) & 0xFFFFFF;
        for (bits += 8; bits >= 6;) {
            bits -= 6;
            char letter = standard[value >> bits & 63];
            buf_append_char(out, url && letter == '+' ? '-' : url && letter == '/' ? '_' : letter);
        }
    }
}

bool secret_blot(char *text, const struct secret *secret)
{
    struct slice all = slice_str(text), bytes = secret_reveal(secret);
    struct buf form = BUF_INIT;
    bool found = false;
    if (secret_is_empty(secret) || all.len == 0)
        return false;
    char *mask = xcalloc(all.len, 1);
    mark_form(all, bytes, mask);
    for (int variant = 0; variant < 2; variant++) {
        append_percent(&form, bytes, variant == 1);
        mark_and_wipe(all, &form, mask);
        for (size_t before = 0; before < 3; before++) {
            append_base64(&form, bytes, before, variant == 1);
            mark_and_wipe(all, &form, mask);
        }
    }
    for (size_t i = 0; i < all.len; i++) {
        found = found || mask[i];
        if (mask[i])
            text[i] = '*';
    }
    free(mask);
    buf_release(&form);
    return found;
}
