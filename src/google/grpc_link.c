/* grpc_link.c - a channel of the gRPC C core: where to, how protected, within which limits.
 *
 * Each link is a TCP connection of its own (local subchannel pool), because several AppendRows connections to one host
 * must not share one. Plaintext goes to loopback only, and a token never goes over it. Keepalive finds dead peers on
 * real networks; Google's front ends tolerate one ping a minute. On loopback it is off (a stopped process in a test is
 * not a dead peer) and so is the HTTP proxy of the environment. Reconnects back off on real time, shortly, since
 * callers have a backoff of their own. */
#include <arpa/inet.h>
#include <grpc/grpc_security.h>
#include <grpc/support/log.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/log.h"
#include "grpc_internal.h"

enum {
    LINK_MAX_RECEIVE_BYTES = 64 << 20,
    LINK_MAX_METADATA_BYTES = 4 << 20, /* exactly-once failures come as a map in the trailers */
    LINK_KEEPALIVE_MS = 60000,
    LINK_KEEPALIVE_TIMEOUT_MS = 20000,
    LINK_FIRST_RECONNECT_MS = 200,
    LINK_MAX_RECONNECT_MS = 5000,
    LINK_MAX_RECONNECT_LOOPBACK_MS = 400,
};

static pthread_mutex_t global_mutex = PTHREAD_MUTEX_INITIALIZER;
static bool global_ready;

/* The core's own words, which would go to stderr in a form of their own. What matters of them comes back as the error of
 * a call, so none of them is an ERROR of ours. GRPC_VERBOSITY (default: error) says how much it tells. */
static void take_core_log(gpr_log_func_args *args)
{
    static const struct log_context context = {.context = "v2-ingestor:grpc"};
    static struct log_limit limit;
    enum log_level level = args->severity == GPR_LOG_SEVERITY_ERROR ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG;
    int64_t left_out;
    if (!log_enabled(level) || !log_limit_pass(&limit, &left_out))
        return;
    log_at(level, &context, LOG_MSG("gRPC core"), LOG_STR("detail", args->message), LOG_STR("file", args->file),
           LOG_INT("line", args->line), LOG_INT("leftOut", left_out));
}

void grpc_global_init(void)
{
    pthread_mutex_lock(&global_mutex);
    if (!global_ready) {
        gpr_set_log_function(take_core_log);
        grpc_init();
    }
    global_ready = true;
    pthread_mutex_unlock(&global_mutex);
}

void grpc_global_release(void)
{
    pthread_mutex_lock(&global_mutex);
    if (global_ready)
        grpc_shutdown();
    global_ready = false;
    pthread_mutex_unlock(&global_mutex);
}

/* The host of "host:port" or "[v6]:port"; empty when there is no port behind it. */
static struct slice target_host(const char *target)
{
    const char *colon = strrchr(target, ':');
    if (!colon || colon == target || !colon[1])
        return SLICE_NULL;
    struct slice host = slice_of(target, (size_t)(colon - target));
    if (host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
        return slice_of(host.ptr + 1, host.len - 2);
    return memchr(host.ptr, ':', host.len) ? SLICE_NULL : host;
}

static bool host_is_loopback(struct slice host)
{
    char text[64];
    struct in_addr v4;
    if (slice_eq_str(host, "localhost") || slice_eq_str(host, "::1"))
        return true;
    if (host.len == 0 || host.len >= sizeof text)
        return false;
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    return inet_pton(AF_INET, text, &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127;
}

static grpc_arg int_arg(const char *key, int value)
{
    grpc_arg arg = {.type = GRPC_ARG_INTEGER};
    memcpy(&arg.key, &key, sizeof key); /* the C core's struct has no const; it never writes to keys */
    arg.value.integer = value;
    return arg;
}

static grpc_arg text_arg(const char *key, const char *value)
{
    grpc_arg arg = {.type = GRPC_ARG_STRING};
    memcpy(&arg.key, &key, sizeof key);
    memcpy(&arg.value.string, &value, sizeof value);
    return arg;
}

static grpc_channel *open_channel(const char *target, bool plaintext, bool loopback)
{
    grpc_arg args[] = {
        text_arg(GRPC_ARG_PRIMARY_USER_AGENT_STRING, "st-ingestor"),
        int_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
        int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, LINK_MAX_RECEIVE_BYTES),
        int_arg(GRPC_ARG_MAX_METADATA_SIZE, LINK_MAX_METADATA_BYTES),
        int_arg(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, LINK_FIRST_RECONNECT_MS),
        int_arg(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, loopback ? LINK_MAX_RECONNECT_LOOPBACK_MS : LINK_MAX_RECONNECT_MS),
        /* A connection that was refused is tried again only after its name was looked up again: by default half a minute. */
        int_arg(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS,
                loopback ? LINK_MAX_RECONNECT_LOOPBACK_MS : LINK_MAX_RECONNECT_MS),
        int_arg(GRPC_ARG_ENABLE_RETRIES, 0), /* callers decide; a resent append or publish is theirs to know */
        loopback ? int_arg(GRPC_ARG_ENABLE_HTTP_PROXY, 0) : int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, LINK_KEEPALIVE_MS),
        int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, LINK_KEEPALIVE_TIMEOUT_MS),
    };
    const grpc_channel_args all = {sizeof args / sizeof args[0], args};
    grpc_channel_credentials *tls =
        plaintext ? grpc_insecure_credentials_create() : grpc_ssl_credentials_create(NULL, NULL, NULL, NULL);
    if (!tls)
        return NULL;
    grpc_channel *channel = grpc_channel_create(target, tls, &all);
    grpc_channel_credentials_release(tls);
    return channel;
}

struct grpc_link *grpc_link_new(const char *target, bool plaintext, struct google_credentials *creds, struct error *err)
{
    struct slice host = target_host(target);
    bool loopback = host_is_loopback(host);
    if (host.len == 0) {
        error_set(err, ERROR_PERMANENT, "grpc_target", "cannot connect to \"%s\": it is not of the form host:port",
                  target);
        return NULL;
    }
    if (plaintext && !loopback) {
        error_set(
            err, ERROR_PERMANENT, "grpc_plaintext",
            "cannot connect to \"%s\" without TLS: only 127.0.0.0/8, ::1 and localhost may be reached in plaintext",
            target);
        return NULL;
    }
    grpc_global_init();
    grpc_channel *channel = open_channel(target, plaintext, loopback);
    if (!channel) {
        error_set(err, ERROR_PERMANENT, "grpc_tls", "cannot connect to \"%s\": no usable TLS root certificates",
                  target);
        return NULL;
    }
    struct grpc_link *link = xcalloc(1, sizeof *link);
    link->channel = channel;
    link->target = xstrdup(target);
    link->plaintext = plaintext;
    link->creds = creds;
    return link;
}

void grpc_link_free(struct grpc_link *link)
{
    if (!link)
        return;
    grpc_channel_destroy(link->channel);
    free(link->target);
    free(link);
}
