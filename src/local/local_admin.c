/* local_admin.c - see local_admin.h. */
#include "local_admin.h"

#include <stdlib.h>

#include "faults_admin.h"
#include "local_json.h"

enum { STOP_GRACE_MS = 1000, HANDLER_THREADS = 4 /* some may wait for a held request */, MAX_BODY_BYTES = 12 << 20 };

struct local_admin {
    struct pubsub_server *pubsub;
    struct faults *faults;
    struct http_server *http;
};

static void show(struct local_admin *admin, struct http_exchange *x)
{
    struct buf body = BUF_INIT;
    pubsub_server_stats(admin->pubsub, &body);
    http_exchange_reply_buf(x, 200, "application/json", &body);
    buf_release(&body);
}

static void close_streams(struct local_admin *admin, struct http_exchange *x)
{
    struct buf body = BUF_INIT;
    buf_printf(&body, "{\"closed\":%d}",
               pubsub_server_close_streams(admin->pubsub, http_exchange_query(x, "subscription")));
    http_exchange_reply_buf(x, 200, "application/json", &body);
    buf_release(&body);
}

/* The body is what a gRPC client would send: so a message of any bytes can be published by tools that speak HTTP only. */
static void publish(struct local_admin *admin, struct http_exchange *x)
{
    struct error err = ERROR_INIT;
    struct buf body = BUF_INIT;
    buf_append_str(&body, "{\"messageIds\":[");
    if (pubsub_server_publish(admin->pubsub, http_exchange_body(x), &body, &err)) {
        buf_append_str(&body, "]}");
        http_exchange_reply_buf(x, 200, "application/json", &body);
    } else {
        local_reply_error(x, 400, err.message);
    }
    buf_release(&body);
}

/* The other way round: everything that a subscription holds, to the byte. */
static void messages(struct local_admin *admin, struct http_exchange *x)
{
    struct buf body = BUF_INIT;
    const char *subscription = http_exchange_query(x, "subscription");
    pubsub_server_messages(admin->pubsub, subscription ? subscription : "", &body);
    http_exchange_reply_buf(x, 200, "application/x-protobuf", &body);
    buf_release(&body);
}

static void ack_deadline(struct local_admin *admin, struct http_exchange *x)
{
    struct error err = ERROR_INIT;
    const char *subscription = http_exchange_query(x, "subscription"), *text = http_exchange_query(x, "seconds");
    int64_t seconds = 0;
    if (!text || !slice_to_int64(slice_str(text), &seconds) || seconds < 0 || seconds > INT32_MAX)
        local_reply_error(x, 400, "seconds=N is needed");
    else if (!pubsub_server_set_ack_deadline(admin->pubsub, subscription ? subscription : "", (int)seconds, &err))
        local_reply_error(x, 400, err.message);
    else
        http_exchange_reply(x, 200, "application/json", SLICE_LIT("{}"));
}

static const struct {
    const char *method, *path;
    void (*serve)(struct local_admin *admin, struct http_exchange *x);
} routes[] = {
    {"GET", "/_local/pubsub", show},
    {"POST", "/_local/pubsub/close-streams", close_streams},
    {"POST", "/_local/pubsub/publish", publish},
    {"GET", "/_local/pubsub/messages", messages},
    {"POST", "/_local/pubsub/ack-deadline", ack_deadline},
};

static void handle(void *user, struct http_exchange *x)
{
    struct local_admin *admin = user;
    if (faults_admin_serve(admin->faults, x))
        return;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (strcmp(routes[i].method, http_exchange_method(x)) == 0 &&
            strcmp(routes[i].path, http_exchange_path(x)) == 0) {
            routes[i].serve(admin, x);
            return;
        }
    }
    local_reply_error(x, 404, "no such route");
}

struct local_admin *local_admin_start(struct pubsub_server *pubsub, struct faults *faults, struct error *err)
{
    struct local_admin *admin = xcalloc(1, sizeof *admin);
    const struct http_server_options options = {.handler = handle,
                                                .user = admin,
                                                .handler_threads = HANDLER_THREADS,
                                                .max_connections = 32,
                                                .max_body_bytes = MAX_BODY_BYTES};
    admin->pubsub = pubsub;
    admin->faults = faults;
    admin->http = http_server_start(&options, err);
    if (admin->http)
        return admin;
    free(admin);
    return NULL;
}

void local_admin_stop(struct local_admin *admin)
{
    if (!admin)
        return;
    http_server_stop(admin->http, STOP_GRACE_MS);
    free(admin);
}

uint16_t local_admin_port(const struct local_admin *admin)
{
    return http_server_port(admin->http);
}
