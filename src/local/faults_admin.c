/* faults_admin.c - see faults_admin.h. */
#include "faults_admin.h"

#include <stdlib.h>

#include "faults_rule.h"
#include "grpc_server.h"
#include "local_json.h"

enum { MAX_WAIT_REAL_MS = 300000 };

struct admin {
    struct faults *faults;
    struct http_exchange *x;
    struct json_object *body; /* NULL for GET and DELETE */
    struct buf out;
    struct error err;
    const char *type;
};

static const char HELP[] =
    "The fault bench of st-local. The same routes are on all its HTTP ports; bodies are JSON.\n\n"
    "POST   /_admin/faults     a rule, or {\"faults\":[rules]} -> {\"ids\":[...]}\n"
    "GET    /_admin/faults     "
    "{\"faults\":[armed],\"firedCount\":n,\"fired\":[{\"id\",\"kind\",\"method\",\"number\"}]}\n"
    "DELETE /_admin/faults     disarms all\n"
    "GET    /_admin/requests   "
    "{\"total\",\"effects\",\"methods\":{name:{\"seen\",\"effects\",\"failed\",\"responses\"}}};\n"
    "                          ?since=n adds \"log\": the requests after number n\n"
    "DELETE /_admin/requests   the next request is number 1\n"
    "POST   /_admin/hold       {\"number\":k} or {\"method\":pattern,\"nth\":k}, \"where\":\"before\"|\"after\" its "
    "effect\n"
    "GET    /_admin/hold       {\"armed\",\"arrived\",\"where\",\"number\",\"method\"}; ?timeoutMs=n waits for it\n"
    "DELETE /_admin/hold       lets the request go on; ?cut=true cuts it\n"
    "POST   /_admin/hazards    {name:value} of the switches below; GET shows them, DELETE sets them back\n"
    "POST   /_admin/streams    {\"method\":pattern,\"act\":\"close\"|\"silence\",\"code\":\"UNAVAILABLE\"} -> "
    "{\"streams\":n}\n\n"
    "A rule:\n"
    "  method   pattern of methods: \"bigquery.*,!bigquery.jobs.get\"; default \"*\"\n"
    "  path     part of what it is about: an HTTP path, a topic, a table, a statement\n"
    "  on       request (default; each message of a client in a stream is one), response (message of a server in a\n"
    "           stream), point (pubsub.delivery, bigquery.job.run, bigquery.job.end)\n"
    "  only     any (default), effects: requests that change the server's state\n"
    "  kind     see below\n"
    "  skip     so many that match pass first (0); count: then so many are struck (1)\n"
    "  delayMs  wait before it, with every kind\n"
    "Kinds:\n"
    "  status      \"status\":503 or \"code\":\"UNAVAILABLE\", \"reason\", \"message\", \"retryAfter\", "
    "\"body\":json|html|empty|\n"
    "              garbage; \"after\":true: the effect happens all the same; \"inBand\":true on write.AppendRows: one\n"
    "              request is refused, the connection goes on\n"
    "  delay       \"delayMs\"; \"after\":true: the effect comes in time, the answer late\n"
    "  cut_before  the connection ends, nothing happened\n"
    "  cut_after   it happened, and the connection ends without the answer\n"
    "  silence     no answer, connection open; a stream says nothing any more (\"after\":true: after the effect)\n"
    "  duplicate   a request arrives twice, a response is sent twice, on pubsub.delivery: the message is delivered "
    "again\n"
    "              after \"delayMs\", leased, acked or not\n"
    "  ignore      answered as if it had worked, by an empty message, but nothing happens\n"
    "  reset_attempts  on pubsub.delivery: the message counts as never delivered before\n"
    "  garbage     an answer that cannot be read; HTTP: \"body\"\n"
    "  truncate    \"bytes\" of the answer (0: half); cut_body is the same\n"
    "  wrong_total \"delta\", extra_field, ignore_filter, page_cap \"rows\", duplicate_rows \"rows\", expire_token: "
    "lists of\n"
    "              ServiceTitan\n"
    "On bigquery.job.run: delay makes the job take that long, silence makes it run until it is cancelled.\n"
    "Switches:\n"
    "  youngTableMs         the write service says NOT_FOUND of tables younger than this (0)\n"
    "  jobsHiddenLooks      so many jobs.get answer 404 after a jobs.insert or a 409 (0)\n"
    "  jobsForgottenMs      jobs older than this are gone (0: never)\n"
    "  forgottenIdsAreFree  1: their ids can be taken again, 0: 409 (1)\n"
    "  appendIdleMs         an AppendRows connection without traffic is closed after (600000)\n"
    "All times but timeoutMs run on the scaled clock.\n";

static bool refuse(struct admin *admin, const char *what, const char *value)
{
    return error_set(&admin->err, ERROR_PERMANENT, "admin", "cannot take \"%s\" \"%.50s\"", what, value);
}

static bool query_number(struct admin *admin, const char *name, int64_t fallback, int64_t *ret)
{
    const char *text = http_exchange_query(admin->x, name);
    *ret = fallback;
    return !text || (slice_to_int64(slice_str(text), ret) && *ret >= 0) || refuse(admin, name, text);
}

/* ---- Routes ----------------------------------------------------------------------------------------------------- */

static bool get_help(struct admin *admin)
{
    admin->type = "text/plain; charset=utf-8";
    buf_append_str(&admin->out, HELP);
    return true;
}

static bool add_rule(struct admin *admin, struct json_object *rule)
{
    int64_t id;
    if (!faults_add(admin->faults, rule, &id, &admin->err))
        return false;
    buf_printf(&admin->out, "%s%lld", admin->out.len > 0 ? "," : "", (long long)id);
    return true;
}

static bool post_faults(struct admin *admin)
{
    static const char *const members[] = {"faults", NULL};
    struct json_object *list = json_at(admin->body, "faults");
    bool ok = true;
    if (!json_object_is_type(list, json_type_array))
        ok = add_rule(admin, admin->body);
    else if ((ok = fault_check_members(admin->body, members, &admin->err)))
        for (size_t i = 0; ok && i < json_object_array_length(list); i++)
            ok = add_rule(admin, json_object_array_get_idx(list, i));
    char *ids = buf_detach(&admin->out);
    buf_printf(&admin->out, "{\"ids\":[%s]}", ids);
    free(ids);
    return ok;
}

static bool get_faults(struct admin *admin)
{
    faults_json(admin->faults, &admin->out);
    return true;
}

static bool delete_faults(struct admin *admin)
{
    faults_clear(admin->faults);
    return get_faults(admin);
}

static bool get_requests(struct admin *admin)
{
    int64_t since;
    if (!query_number(admin, "since", -1, &since))
        return false;
    faults_requests_json(admin->faults, since, &admin->out);
    return true;
}

static bool delete_requests(struct admin *admin)
{
    faults_requests_reset(admin->faults);
    return get_requests(admin);
}

static bool get_hold(struct admin *admin)
{
    int64_t wait_ms;
    if (!query_number(admin, "timeoutMs", 0, &wait_ms))
        return false;
    faults_hold_json(admin->faults, wait_ms < MAX_WAIT_REAL_MS ? wait_ms : MAX_WAIT_REAL_MS, &admin->out);
    return true;
}

static bool post_hold(struct admin *admin)
{
    return faults_hold(admin->faults, admin->body, &admin->err) && get_hold(admin);
}

static bool delete_hold(struct admin *admin)
{
    const char *cut = http_exchange_query(admin->x, "cut");
    if (cut && strcmp(cut, "true") != 0 && strcmp(cut, "false") != 0)
        return refuse(admin, "cut", cut);
    faults_release(admin->faults, cut && strcmp(cut, "true") == 0);
    return get_hold(admin);
}

static bool get_hazards(struct admin *admin)
{
    faults_hazards_json(admin->faults, &admin->out);
    return true;
}

static bool post_hazards(struct admin *admin)
{
    return faults_set_hazards(admin->faults, admin->body, &admin->err) && get_hazards(admin);
}

static bool delete_hazards(struct admin *admin)
{
    faults_reset_hazards(admin->faults);
    return get_hazards(admin);
}

static bool post_streams(struct admin *admin)
{
    static const char *const members[] = {"method", "path", "act", "code", NULL};
    const char *act = json_text_at(admin->body, "act", "close");
    struct json_object *code = json_at(admin->body, "code");
    int grpc_code = RPC_UNAVAILABLE;
    bool silence = strcmp(act, "silence") == 0;
    if (!fault_check_members(admin->body, members, &admin->err))
        return false;
    if (!silence && strcmp(act, "close") != 0)
        return refuse(admin, "act", act);
    if (code && !fault_grpc_code(code, &grpc_code))
        return refuse(admin, "code", json_object_get_string(code));
    int count = faults_act_on_streams(admin->faults, json_text_at(admin->body, "method", "*"),
                                      json_text_at(admin->body, "path", NULL),
                                      silence ? FAULT_STREAMS_SILENCE : FAULT_STREAMS_CLOSE, grpc_code);
    buf_printf(&admin->out, "{\"streams\":%d}", count);
    return true;
}

static const struct route {
    const char *method, *path;
    bool (*serve)(struct admin *admin);
} ROUTES[] = {
    {"GET", "/_admin", get_help},
    {"POST", "/_admin/faults", post_faults},
    {"GET", "/_admin/faults", get_faults},
    {"DELETE", "/_admin/faults", delete_faults},
    {"GET", "/_admin/requests", get_requests},
    {"DELETE", "/_admin/requests", delete_requests},
    {"POST", "/_admin/hold", post_hold},
    {"GET", "/_admin/hold", get_hold},
    {"DELETE", "/_admin/hold", delete_hold},
    {"POST", "/_admin/hazards", post_hazards},
    {"GET", "/_admin/hazards", get_hazards},
    {"DELETE", "/_admin/hazards", delete_hazards},
    {"POST", "/_admin/streams", post_streams},
};

/* ---- Serving ---------------------------------------------------------------------------------------------------- */

static const struct route *find_route(struct http_exchange *x)
{
    for (size_t i = 0; i < sizeof ROUTES / sizeof ROUTES[0]; i++)
        if (strcmp(http_exchange_method(x), ROUTES[i].method) == 0 &&
            strcmp(http_exchange_path(x), ROUTES[i].path) == 0)
            return &ROUTES[i];
    return NULL;
}

static bool run(struct admin *admin, const struct route *route)
{
    if (strcmp(route->method, "POST") == 0 && !(admin->body = local_read_object(admin->x, &admin->err)))
        return false;
    return route->serve(admin);
}

bool faults_admin_serve(struct faults *faults, struct http_exchange *x)
{
    const struct route *route = faults ? find_route(x) : NULL;
    struct admin admin = {.faults = faults, .x = x, .out = BUF_INIT, .err = ERROR_INIT, .type = "application/json"};
    if (route == NULL)
        return false;
    if (!http_exchange_peer_is_loopback(x))
        local_reply_error(x, 403, "admin routes are for loopback only");
    else if (!run(&admin, route))
        local_reply_error(x, 400, admin.err.message);
    else
        http_exchange_reply_buf(x, 200, admin.type, &admin.out);
    json_object_put(admin.body);
    buf_release(&admin.out);
    return true;
}
