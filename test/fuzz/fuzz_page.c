/* fuzz_page.c - the page splitter against arbitrary bodies, cut at arbitrary places.
 *
 * The first byte of the input chooses the pieces, the rest is the body. What a page makes of a body must not depend on
 * the pieces, and a body that is accepted must be an object with a data list in json-c's eyes too, with the same
 * records. Two differences are allowed: json-c takes other spellings of literals, which the splitter refuses, and the
 * splitter only balances brackets where it hands text out or skips it, so a record that json-c refuses may be handed
 * out (the encoder refuses it). Built with -fsanitize=fuzzer it fuzzes; with -DFUZZ_REPLAY it runs the files that it is
 * given. */
#include <stdio.h>
#include <stdlib.h>

#include <json-c/json.h>

#include "base/buf.h"
#include "fuzz_replay.h"
#include "record/page.h"

struct seen {
    struct buf records;
};

static bool collect(void *user, struct slice record)
{
    struct seen *seen = user;
    buf_append_slice(&seen->records, record);
    buf_append_char(&seen->records, '\n');
    return true;
}

/* Outcome, envelope and records as one text; *ret_good when the page was accepted. */
static void split(struct buf *out, struct slice body, size_t step, bool *ret_good)
{
    struct seen seen = {BUF_INIT};
    struct page *page = page_new(collect, &seen);
    struct error err = ERROR_INIT;
    bool good = true;
    for (size_t at = 0; good && at < body.len; at += step) {
        size_t len = step < body.len - at ? step : body.len - at;
        char *piece = xmalloc(len);
        memcpy(piece, body.ptr + at, len);
        good = page_feed(page, slice_of(piece, len), &err);
        free(piece);
    }
    good = good && page_finish(page, &err);
    const struct page_envelope *e = page_envelope(page);
    buf_printf(out, "%d %s %lld %lld %lld %d ", good, err.message, (long long)e->page, (long long)e->page_size,
               (long long)e->total_count, e->has_more);
    buf_append_json_string(out, slice_str(e->continue_from));
    buf_printf(out, " %d %lld\n", e->data_seen, (long long)e->records);
    buf_append_slice(out, buf_slice(&seen.records));
    *ret_good = good;
    page_free(page);
    buf_release(&seen.records);
}

static struct json_object *parse(struct slice text)
{
    struct json_tokener *tokener = json_tokener_new_ex(2 * PAGE_MAX_DEPTH + 4);
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    struct json_object *object = json_tokener_parse_ex(tokener, text.ptr, (int)text.len);
    if (json_tokener_get_error(tokener) != json_tokener_success) {
        json_object_put(object);
        object = NULL;
    }
    json_tokener_free(tokener);
    return object;
}

static void compare(struct slice body, struct slice found)
{
    struct json_object *object = parse(body), *data = NULL;
    if (!object)
        return; /* some record or skipped member is malformed */
    if (!json_object_object_get_ex(object, "data", &data) || !json_object_is_type(data, json_type_array))
        BUG("accepted, but json-c sees no data");
    struct slice rest = found, head = slice_cut(&rest, '\n');
    const char *last = memrchr(head.ptr, ' ', head.len);
    long long records = strtoll(last, NULL, 10);
    if (records != (long long)json_object_array_length(data))
        BUG("%lld records, json-c sees %zu", records, json_object_array_length(data));
    json_object_put(object);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    if (size < 1)
        return 0;
    struct slice body = slice_of(input + 1, size - 1);
    struct buf whole = BUF_INIT, pieces = BUF_INIT;
    bool good = false, again = false;
    split(&whole, body, body.len + 1, &good);
    split(&pieces, body, 1 + (size_t)input[0] % 97, &again);
    if (good != again || !slice_eq(buf_slice(&whole), buf_slice(&pieces)))
        BUG("pieces of %d bytes change the page:\n%s\n%s", 1 + input[0] % 97, buf_cstr(&whole), buf_cstr(&pieces));
    if (good)
        compare(body, buf_slice(&whole));
    buf_release(&whole);
    buf_release(&pieces);
    return 0;
}
