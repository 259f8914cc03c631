/* page.c - see page.h: a state machine over the bytes of a response body.
 *
 * Elements of `data` that lie whole in one piece are handed out where they lie; one that is cut by the end of a piece
 * is gathered in `held`. Texts and plain values of the envelope are gathered too, they are small. Members that nobody
 * asked for are skipped by their brackets. A splitter belongs to one thread. */
#include "record/page.h"

#include <stdlib.h>

#include "page_scan.h"
#include "tokenizer.h"

enum { PAGE_MAX_TEXT = 16 * 1024 }; /* names, plain values and continueFrom as written, escapes and all */

enum step {
    STEP_START,         /* '{' */
    STEP_FIRST_NAME,    /* '"' or '}' */
    STEP_NAME,          /* '"' */
    STEP_COLON,         /* ':' */
    STEP_VALUE,         /* any value of a member */
    STEP_NEXT,          /* ',' or '}' */
    STEP_FIRST_ELEMENT, /* a value or ']' */
    STEP_ELEMENT,       /* a value */
    STEP_NEXT_ELEMENT,  /* ',' or ']' */
    STEP_END,           /* white space only */
};

/* What is being taken, across pieces. */
enum token { NO_TOKEN, TOKEN_OF_TEXT, TOKEN_OF_BRACKETS, TOKEN_OF_PLAIN };

enum member { MEMBER_PAGE, MEMBER_PAGE_SIZE, MEMBER_TOTAL, MEMBER_MORE, MEMBER_CONTINUE, MEMBER_DATA, MEMBER_UNKNOWN };

static const char *const member_names[] = {
    [MEMBER_PAGE] = "page",    [MEMBER_PAGE_SIZE] = "pageSize",    [MEMBER_TOTAL] = "totalCount",
    [MEMBER_MORE] = "hasMore", [MEMBER_CONTINUE] = "continueFrom", [MEMBER_DATA] = "data",
};

struct page {
    page_record_fn *on_record;
    void *user;
    struct page_envelope envelope;
    enum step step;
    enum token token;
    enum member member; /* whose value is read */
    struct page_scan scan;
    struct buf held;  /* what earlier pieces had of the token */
    int64_t token_at; /* where the token began in the body */
    int64_t offset;   /* of the current piece in the body */
    bool stopped;
    bool failed;
};

struct page *page_new(page_record_fn *on_record, void *user)
{
    struct page *page = xcalloc(1, sizeof *page);
    page->on_record = on_record;
    page->user = user;
    page_reset(page);
    return page;
}

void page_free(struct page *page)
{
    if (!page)
        return;
    buf_release(&page->held);
    free(page);
}

void page_reset(struct page *page)
{
    page->envelope = (struct page_envelope){.page = -1, .page_size = -1, .total_count = -1, .has_more = -1};
    page->step = STEP_START;
    page->token = NO_TOKEN;
    page->offset = 0;
    page->stopped = page->failed = false;
    buf_clear(&page->held);
}

bool page_stopped(const struct page *page)
{
    return page->stopped;
}

const struct page_envelope *page_envelope(const struct page *page)
{
    return &page->envelope;
}

static bool refuse(struct page *page, struct error *err, int64_t offset, const char *reason)
{
    page->failed = true;
    return error_set(err, ERROR_PERMANENT, "page_syntax", "cannot read the page: %s at byte %lld", reason,
                     (long long)offset);
}

/* ---- Values of the envelope -------------------------------------------------------------------------------------- */

static bool take_name(struct page *page, struct slice token)
{
    struct buf name = BUF_INIT;
    page->member = MEMBER_UNKNOWN;
    text_unescape(&name, slice_of(token.ptr + 1, token.len - 2));
    for (enum member m = MEMBER_PAGE; m < MEMBER_UNKNOWN; m++) {
        if (slice_eq_str(buf_slice(&name), member_names[m]))
            page->member = m;
    }
    buf_release(&name);
    page->step = STEP_COLON;
    return true;
}

static const char *take_number(struct slice token, int64_t *ret)
{
    if (slice_eq_str(token, "null"))
        *ret = -1;
    else if (!slice_to_int64(token, ret) || *ret < 0)
        return "a count of the envelope is not a number";
    return NULL;
}

static const char *take_more(struct slice token, int *ret)
{
    if (slice_eq_str(token, "true"))
        *ret = 1;
    else if (slice_eq_str(token, "false"))
        *ret = 0;
    else if (slice_eq_str(token, "null"))
        *ret = -1;
    else
        return "'hasMore' is not true or false";
    return NULL;
}

static const char *take_continue(struct slice token, char *out, size_t size)
{
    struct buf text = BUF_INIT;
    const char *problem = NULL;
    out[0] = '\0';
    if (slice_eq_str(token, "null"))
        return NULL;
    if (token.ptr[0] != '"')
        return "'continueFrom' is not a text";
    bool sound = text_unescape(&text, slice_of(token.ptr + 1, token.len - 2));
    if (!sound || text.len >= size)
        problem = sound ? "'continueFrom' is too long" : "'continueFrom' is not a sound text";
    else if (text.len > 0)
        memcpy(out, text.ptr, text.len + 1);
    buf_release(&text);
    return problem;
}

static const char *take_member(struct page *page, struct slice token)
{
    struct page_envelope *envelope = &page->envelope;
    switch (page->member) {
    case MEMBER_PAGE:
        return take_number(token, &envelope->page);
    case MEMBER_PAGE_SIZE:
        return take_number(token, &envelope->page_size);
    case MEMBER_TOTAL:
        return take_number(token, &envelope->total_count);
    case MEMBER_MORE:
        return take_more(token, &envelope->has_more);
    case MEMBER_CONTINUE:
        return take_continue(token, envelope->continue_from, sizeof envelope->continue_from);
    case MEMBER_DATA:
        return "'data' is not a list";
    case MEMBER_UNKNOWN:
        break;
    }
    return NULL;
}

/* Small tokens are checked here; objects and arrays by whoever uses them. */
static const char *check_token(struct slice token)
{
    struct cursor cursor;
    cursor_init(&cursor, token);
    if (!token_skip(&cursor))
        return cursor.problem;
    return cursor.at == cursor.end ? NULL : "a value was expected";
}

static bool in_data(const struct page *page)
{
    return page->step == STEP_FIRST_ELEMENT || page->step == STEP_ELEMENT;
}

/* Values of members that nobody asked for are not held, so they can be of any size. */
static bool is_skipped(const struct page *page)
{
    return page->step == STEP_VALUE && page->member == MEMBER_UNKNOWN && page->token != TOKEN_OF_PLAIN;
}

/* A whole token: a name, a value of the envelope or an element of data. */
static bool take_token(struct page *page, struct slice token, int64_t offset, struct error *err)
{
    enum token kind = page->token;
    const char *problem = kind == TOKEN_OF_BRACKETS || is_skipped(page) ? NULL : check_token(token);
    page->token = NO_TOKEN;
    if (problem)
        return refuse(page, err, offset, problem);
    if (page->step == STEP_NAME || page->step == STEP_FIRST_NAME)
        return take_name(page, token);
    if (in_data(page)) {
        page->step = STEP_NEXT_ELEMENT;
        page->envelope.records++;
        page->stopped = !page->on_record(page->user, token);
        return true;
    }
    page->step = STEP_NEXT;
    problem = take_member(page, token);
    return problem ? refuse(page, err, offset, problem) : true;
}

/* ---- Tokens, across pieces --------------------------------------------------------------------------------------- */

static bool is_plain(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '+' ||
           c == '.';
}

static const char *text_token_end(struct page_scan *scan, const char *at, const char *end, bool *ret_whole)
{
    while (at < end && !*ret_whole) {
        char c = *at++;
        if (scan->escaped)
            scan->escaped = false;
        else if (c == '\\')
            scan->escaped = true;
        else if (c == '"')
            *ret_whole = scan->in_text;
        scan->in_text = true; /* the first quote opens */
    }
    return at;
}

/* Moves over as much of the token as the piece holds. */
static const char *token_end(struct page *page, const char *at, const char *end, bool *ret_whole, const char **problem)
{
    enum page_scan_result result;
    *ret_whole = false;
    switch (page->token) {
    case TOKEN_OF_BRACKETS:
        at = page_scan(&page->scan, at, end, &result);
        *ret_whole = result == SCAN_END;
        *problem = result == SCAN_TOO_DEEP ? "a value is nested too deeply" : NULL;
        return at;
    case TOKEN_OF_TEXT:
        return text_token_end(&page->scan, at, end, ret_whole);
    case TOKEN_OF_PLAIN:
        while (at < end && is_plain(*at))
            at++;
        *ret_whole = at < end;
        return at;
    case NO_TOKEN:
        break;
    }
    return at;
}

static bool continue_token(struct page *page, struct slice piece, const char **at, struct error *err)
{
    const char *from = *at, *problem = NULL;
    bool whole, record = in_data(page), skipped = is_skipped(page);
    const char *to = token_end(page, from, piece.ptr + piece.len, &whole, &problem);
    int64_t offset = page->token_at;
    size_t taken = (size_t)(to - from), limit = record ? PAGE_MAX_RECORD_BYTES : PAGE_MAX_TEXT;
    *at = to;
    if (problem)
        return refuse(page, err, offset, problem);
    if (!skipped && page->held.len + taken > limit)
        return refuse(page, err, offset, record ? "a record is too large" : "a value of the envelope is too large");
    if (whole && page->held.len == 0)
        return take_token(page, slice_of(from, taken), offset, err);
    if (!skipped)
        buf_append(&page->held, from, taken);
    if (!whole)
        return true;
    bool good = take_token(page, buf_slice(&page->held), offset, err);
    buf_clear(&page->held);
    return good;
}

/* ---- Structure --------------------------------------------------------------------------------------------------- */

static const char *begin_token(struct page *page, char c)
{
    page->scan = (struct page_scan){0, false, false};
    if (c == '"')
        page->token = TOKEN_OF_TEXT;
    else if (c == '{' || c == '[')
        page->token = TOKEN_OF_BRACKETS;
    else if (is_plain(c))
        page->token = TOKEN_OF_PLAIN;
    else
        return "a value was expected";
    return NULL;
}

/* The value of a member begins. */
static const char *begin_value(struct page *page, char c, bool *taken)
{
    if (page->member != MEMBER_DATA) {
        if (page->member != MEMBER_UNKNOWN && (c == '{' || c == '['))
            return "a member of the envelope has the wrong type";
        return begin_token(page, c);
    }
    if (c != '[')
        return "'data' is not a list";
    if (page->envelope.data_seen)
        return "'data' is there twice";
    page->envelope.data_seen = true;
    page->step = STEP_FIRST_ELEMENT;
    *taken = true;
    return NULL;
}

/* One byte that is not white space, between tokens. *taken: the byte is done with. */
static const char *step_over(struct page *page, char c, bool *taken)
{
    enum step step = page->step;
    *taken = true;
    switch (step) {
    case STEP_START:
        page->step = STEP_FIRST_NAME;
        return c == '{' ? NULL : "a JSON object was expected";
    case STEP_COLON:
        page->step = STEP_VALUE;
        return c == ':' ? NULL : "':' was expected";
    case STEP_NEXT:
        page->step = c == ',' ? STEP_NAME : STEP_END;
        return c == ',' || c == '}' ? NULL : "',' or '}' was expected";
    case STEP_NEXT_ELEMENT:
        page->step = c == ',' ? STEP_ELEMENT : STEP_NEXT;
        return c == ',' || c == ']' ? NULL : "',' or ']' was expected";
    case STEP_END:
        return "text behind the page";
    default:
        break;
    }
    if ((step == STEP_FIRST_NAME && c == '}') || (step == STEP_FIRST_ELEMENT && c == ']')) {
        page->step = c == '}' ? STEP_END : STEP_NEXT;
        return NULL;
    }
    *taken = false;
    if (step == STEP_VALUE)
        return begin_value(page, c, taken);
    if (c != '"' && (step == STEP_FIRST_NAME || step == STEP_NAME))
        return "a name was expected";
    return begin_token(page, c);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

bool page_feed(struct page *page, struct slice piece, struct error *err)
{
    const char *at = piece.ptr, *end = piece.ptr + piece.len;
    if (page->failed)
        return error_set(err, ERROR_PERMANENT, "page_syntax", "cannot go on with a page that was refused");
    while (at < end && !page->stopped) {
        if (page->token != NO_TOKEN) {
            if (!continue_token(page, piece, &at, err))
                return false;
            continue;
        }
        if (is_space(*at)) {
            at++;
            continue;
        }
        bool taken = false;
        page->token_at = page->offset + (at - piece.ptr);
        const char *problem = step_over(page, *at, &taken);
        if (problem)
            return refuse(page, err, page->token_at, problem);
        at += taken;
    }
    page->offset += (int64_t)piece.len;
    return true;
}

bool page_finish(struct page *page, struct error *err)
{
    if (page->failed)
        return error_set(err, ERROR_PERMANENT, "page_syntax", "cannot use a page that was refused");
    if (page->step != STEP_END)
        return error_set(err, ERROR_RETRY, "page_cut",
                         "could not read the whole page: the body ends after %lld bytes, %lld records",
                         (long long)page->offset, (long long)page->envelope.records);
    if (!page->envelope.data_seen)
        return error_set(err, ERROR_PERMANENT, "page_syntax", "cannot read the page: it has no 'data'");
    return true;
}
