#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#include "../../../src/record/page_scan.h"
#include "base/buf.h"
#include "record/page.h"

struct seen {
    struct buf records; /* each with a newline behind it */
    int64_t stop_at;    /* 0 = never */
    int64_t count;
};

static bool collect(void *user, struct slice record)
{
    struct seen *seen = user;
    buf_append_slice(&seen->records, record);
    buf_append_char(&seen->records, '\n');
    return ++seen->count != seen->stop_at;
}

/* What came of a body, as one text: outcome, envelope, records. */
static void describe(struct buf *out, struct slice body, size_t first, size_t step)
{
    struct seen seen = {BUF_INIT, 0, 0};
    struct page *page = page_new(collect, &seen);
    struct error err = ERROR_INIT;
    bool good = true;
    for (size_t at = 0, len = first; good && at < body.len; at += len, len = step) {
        if (len > body.len - at)
            len = body.len - at;
        char *piece = xmalloc(len); /* a block of its own: reading past it is found by the sanitizer */
        memcpy(piece, body.ptr + at, len);
        good = page_feed(page, slice_of(piece, len), &err);
        free(piece);
    }
    good = good && page_finish(page, &err);
    const struct page_envelope *e = page_envelope(page);
    buf_printf(out, "%s %s\n%lld %lld %lld %d '%s' %d %lld\n%s", good ? "good" : err.code, good ? "" : err.message,
               (long long)e->page, (long long)e->page_size, (long long)e->total_count, e->has_more, e->continue_from,
               e->data_seen, (long long)e->records, buf_cstr(&seen.records));
    page_free(page);
    buf_release(&seen.records);
}

static const char *const bodies[] = {
    "{\"page\":1,\"pageSize\":50,\"hasMore\":true,\"totalCount\":null,\"data\":[{\"id\":1},{\"id\":2,\"a\":[{\"b\":\"]}"
    "\\\\\"}]}]}",
    " { \"data\" : [ ] , \"hasMore\" : false , \"totalCount\" : 0 } ",
    "{\"data\":[1,null,\"a,]b\\\"\",true, {\"x\":{}} ,[[]]],\"page\":3}",
    "{\"hasMore\":false,\"continueFrom\":\"abc\\u0041\\/\\\\\",\"data\":[]}",
    "{\"new\":{\"data\":[1,2],\"s\":\"}\"},\"other\":[[[\"]\"]]],\"text\":\"a\\\"b\",\"n\":-1.5e3,\"data\":[{}],\"z\":"
    "null}",
    "{\"d\\u0061ta\":[{\"id\":7}]}",
    "{\"data\":[{\"s\":\"\\\\\\\\\\\"{[\\\\\"},{\"t\":\"..............................................................."
    ".\\\"}]\"}]}",
    "{\"data\":[{\"id\":1}",
    "{\"data\":[{\"id\":1}]}x",
    "{\"data\":[{\"id\":1},]}",
    "{\"data\":{}}",
    "{\"page\":\"1\",\"data\":[]}",
    "<html>503</html>",
    "{}",
    "{\"data\":[],\"data\":[]}",
};

static void pieces_do_not_matter(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct slice body = slice_str(bodies[i]);
        struct buf whole = BUF_INIT;
        describe(&whole, body, body.len, body.len);
        for (size_t cut = 1; cut <= body.len; cut++) {
            struct buf two = BUF_INIT, many = BUF_INIT;
            describe(&two, body, cut, body.len);
            describe(&many, body, cut, cut);
            assert_string_equal(buf_cstr(&two), buf_cstr(&whole));
            assert_string_equal(buf_cstr(&many), buf_cstr(&whole));
            buf_release(&two);
            buf_release(&many);
        }
        buf_release(&whole);
    }
}

static void reads_what_it_should(void **state)
{
    (void)state;
    static const struct {
        const char *body, *expected;
    } cases[] = {
        {"{\"page\":1,\"pageSize\":50,\"hasMore\":true,\"totalCount\":null,\"data\":[{\"id\":1},{\"b\":\"]}\"}]}",
         "good \n1 50 -1 1 '' 1 2\n{\"id\":1}\n{\"b\":\"]}\"}\n"},
        {" { \"data\" : [ ] , \"hasMore\" : false , \"totalCount\" : 12 } ", "good \n-1 -1 12 0 '' 1 0\n"},
        {"{\"continueFrom\":\"a\\u0041\",\"data\":[1,null]}", "good \n-1 -1 -1 -1 'aA' 1 2\n1\nnull\n"},
        {"{\"x\":{\"data\":[1]},\"d\\u0061ta\":[2]}", "good \n-1 -1 -1 -1 '' 1 1\n2\n"},
        {"", "page_cut could not read the whole page: the body ends after 0 bytes, 0 records\n-1 -1 -1 -1 '' 0 0\n"},
        {"{\"data\":[{\"id\":1},{\"i", "page_cut could not read the whole page: the body ends after 21 bytes, 1 "
                                       "records\n-1 -1 -1 -1 '' 1 1\n{\"id\":1}\n"},
        {"{}", "page_syntax cannot read the page: it has no 'data'\n-1 -1 -1 -1 '' 0 0\n"},
        {"<html>", "page_syntax cannot read the page: a JSON object was expected at byte 0\n-1 -1 -1 -1 '' 0 0\n"},
        {"{\"data\":null}", "page_syntax cannot read the page: 'data' is not a list at byte 8\n-1 -1 -1 -1 '' 0 0\n"},
        {"{\"data\":[],\"page\":-2}",
         "page_syntax cannot read the page: a count of the envelope is not a number at byte 18\n-1 -1 -1 -1 '' 1 0\n"},
        {"{\"data\":[]} {", "page_syntax cannot read the page: text behind the page at byte 12\n-1 -1 -1 -1 '' 1 0\n"},
        {"{\"data\":[tru]}", "page_syntax cannot read the page: unknown word at byte 9\n-1 -1 -1 -1 '' 1 0\n"},
        {"{\"data\" []}", "page_syntax cannot read the page: ':' was expected at byte 8\n-1 -1 -1 -1 '' 0 0\n"},
        {"{data:[]}", "page_syntax cannot read the page: a name was expected at byte 1\n-1 -1 -1 -1 '' 0 0\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf found = BUF_INIT;
        struct slice body = slice_str(cases[i].body);
        describe(&found, body, body.len, body.len);
        const char *expected = cases[i].expected;
        if (strstr(buf_cstr(&found), "page_syntax") == buf_cstr(&found)) { /* a refused count may be half taken */
            assert_int_equal(strncmp(buf_cstr(&found), expected, strcspn(expected, "\n")), 0);
        } else {
            assert_string_equal(buf_cstr(&found), expected);
        }
        buf_release(&found);
    }
}

static void stops_when_told(void **state)
{
    (void)state;
    struct seen seen = {BUF_INIT, 2, 0};
    struct error err = ERROR_INIT;
    struct page *page = page_new(collect, &seen);
    assert_true(page_feed(page, SLICE_LIT("{\"data\":[1,2,3,4"), &err));
    assert_true(page_stopped(page));
    assert_string_equal(buf_cstr(&seen.records), "1\n2\n");
    assert_true(page_feed(page, SLICE_LIT("garbage"), &err));
    page_reset(page);
    assert_false(page_stopped(page));
    assert_true(page_feed(page, SLICE_LIT("{\"data\":[5]}"), &err));
    assert_true(page_finish(page, &err));
    page_free(page);
    buf_release(&seen.records);
}

/* Feeds `unit` until the page refuses; returns how many bytes it took. */
static size_t feed_until_refused(const char *start, struct slice unit, size_t limit, struct error *err)
{
    struct seen seen = {BUF_INIT, 0, 0};
    struct page *page = page_new(collect, &seen);
    assert_true(page_feed(page, slice_str(start), err));
    size_t fed = 0;
    while (fed < limit && page_feed(page, unit, err))
        fed += unit.len;
    page_free(page);
    buf_release(&seen.records);
    return fed;
}

static void everything_has_a_bound(void **state)
{
    (void)state;
    enum { UNIT = 64 * 1024, LIMIT = 4 * PAGE_MAX_RECORD_BYTES };
    char *text = xmalloc(UNIT), *open = xmalloc(UNIT);
    struct error err = ERROR_INIT;
    memset(text, 'x', UNIT);
    memset(open, '[', UNIT);
    size_t fed = feed_until_refused("{\"data\":[{\"a\":\"", slice_of(text, UNIT), LIMIT, &err);
    assert_true(fed <= PAGE_MAX_RECORD_BYTES && fed + UNIT >= PAGE_MAX_RECORD_BYTES);
    assert_string_equal(err.code, "page_syntax");
    assert_true(feed_until_refused("{\"continueFrom\":\"", slice_of(text, UNIT), LIMIT, &err) < UNIT);
    assert_true(feed_until_refused("{\"", slice_of(text, UNIT), LIMIT, &err) < UNIT);
    assert_int_equal(feed_until_refused("{\"data\":[", slice_of(open, PAGE_MAX_DEPTH), PAGE_MAX_DEPTH, &err),
                     PAGE_MAX_DEPTH);
    assert_int_equal(feed_until_refused("{\"data\":[", slice_of(open, PAGE_MAX_DEPTH + 1), LIMIT, &err), 0);
    assert_int_equal(feed_until_refused("{\"unknown\":\"", slice_of(text, UNIT), LIMIT, &err), LIMIT);
    free(text);
    free(open);
}

/* Both scanners agree on texts made of nothing but trouble. */
static void fast_scan_equals_plain_scan(void **state)
{
    (void)state;
    static const char alphabet[] = "\"\\{}[]a\xc3\xa9 ";
    char text[300];
    srand(7);
    for (int round = 0; round < 20000; round++) {
        size_t len = 1 + (size_t)rand() % sizeof text;
        int harmless = rand() % 4;
        for (size_t i = 0; i < len; i++)
            text[i] = harmless && rand() % 8 ? '.' : alphabet[(size_t)rand() % (sizeof alphabet - 1)];
        struct page_scan a = {rand() % 70, rand() % 2 == 0, rand() % 2 == 0}, b = a;
        enum page_scan_result x, y;
        const char *p = page_scan(&a, text, text + len, &x), *q = page_scan_plain(&b, text, text + len, &y);
        assert_ptr_equal(p, q);
        assert_int_equal(x, y);
        assert_int_equal(a.depth, b.depth);
        assert_int_equal(a.in_text, b.in_text);
        assert_int_equal(a.escaped, b.escaped);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_it_should),
        cmocka_unit_test(pieces_do_not_matter),
        cmocka_unit_test(stops_when_told),
        cmocka_unit_test(everything_has_a_bound),
        cmocka_unit_test(fast_scan_equals_plain_scan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
