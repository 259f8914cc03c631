/* fuzz_api_request.c - the API's request lines: arbitrary methods and targets.
 *
 * The input is "METHOD TARGET". What is accepted must name a route that takes the method, hold only values in range and only parameters that
 * the route takes, and be found again by the route look-up; what is refused must have a status, a code, a message and a list that is JSON. A
 * target that is accepted stays the same request when every byte of its name and values is escaped. Built with -fsanitize=fuzzer it fuzzes;
 * with -DFUZZ_REPLAY it runs the files that it is given. */
#include <stdio.h>
#include <stdlib.h>

#include <json-c/json.h>

#include "api_request.h"
#include "api_routes.h"
#include "base/buf.h"
#include "fuzz_replay.h"

static void check_accepted(const struct api_request *r, struct slice target)
{
    if (r->route != api_route_find(routes, ROUTES, target))
        BUG("parsed and looked-up routes differ");
    if (!(r->method & r->route->methods) || (r->given & ~r->route->params))
        BUG("method %u or parameters %u are not the route's", r->method, r->given);
    if (r->tenant < 0 || r->timeout_s < 1 || r->timeout_s > API_TIMEOUT_MAX_S)
        BUG("a value is out of range");
    if (!memchr(r->name, '\0', sizeof r->name) || (strchr(r->route->pattern, ':') == NULL) != (r->name[0] == '\0'))
        BUG("the name does not fit the route");
    if (!(r->given & API_MODE) && r->full)
        BUG("a full sync that nobody asked for");
}

static void check_refused(const struct api_refusal *refusal)
{
    char *list = xasprintf("[%s]", buf_cstr(&refusal->allowed));
    struct json_object *parsed = json_tokener_parse(list);
    if (!json_object_is_type(parsed, json_type_array))
        BUG("not a list: %s", list);
    if (refusal->status < 400 || refusal->status > 405 || !refusal->err.code[0] || !refusal->err.message[0])
        BUG("refused with status %d, code '%s'", refusal->status, refusal->err.code);
    if ((refusal->status == 405) != (refusal->methods != 0))
        BUG("methods belong to a 405");
    json_object_put(parsed);
    free(list);
}

/* The same request with its name and values escaped byte by byte. */
static void escape_all(struct buf *out, const struct api_request *r, struct slice target)
{
    struct slice query = target, path = slice_cut(&query, '?');
    size_t prefix = strcspn(r->route->pattern, ":");
    buf_append(out, path.ptr, prefix);
    for (const char *c = r->name; *c; c++)
        buf_printf(out, "%%%02X", (unsigned char)*c);
    buf_append_char(out, '?');
    buf_append_slice(out, query);
}

static void check_escaped(const char *method, const struct api_request *r, struct slice target)
{
    struct buf escaped = BUF_INIT;
    struct api_request again;
    struct api_refusal refusal;
    escape_all(&escaped, r, target);
    if (!api_request_parse(routes, ROUTES, method, buf_slice(&escaped), &again, &refusal))
        BUG("refused when escaped: %s", refusal.err.message);
    if (again.route != r->route || strcmp(again.name, r->name) != 0 || again.full != r->full ||
        again.tenant != r->tenant || again.timeout_s != r->timeout_s || again.wait != r->wait)
        BUG("escaping changes the request: %s", buf_cstr(&escaped));
    api_refusal_release(&refusal);
    buf_release(&escaped);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    struct slice target = slice_of(input, size), word = slice_cut(&target, ' ');
    struct api_request request;
    struct api_refusal refusal;
    if (memchr(input ? (const char *)input : "", '\0', size))
        return 0; /* the server hands over C text */
    char *method = xstrndup(word.ptr ? word.ptr : "", word.len);
    if (api_request_parse(routes, ROUTES, method, target, &request, &refusal)) {
        check_accepted(&request, target);
        check_escaped(method, &request, target);
    } else {
        check_refused(&refusal);
    }
    api_refusal_release(&refusal);
    free(method);
    return 0;
}
