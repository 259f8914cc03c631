/* local_stack.c - see local_stack.h. A server that cannot start takes those before it down again. */
#include "local/local_stack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bq_server.h"
#include "faults.h"
#include "local_admin.h"
#include "pubsub_server.h"
#include "st_server.h"

struct local_stack {
    const struct local_options *options; /* borrowed */
    int folder_fd;                       /* holds the lock on the data folder; -1: none */
    struct faults *faults;
    struct pubsub_server *pubsub;
    struct local_admin *pubsub_admin;
    struct bq_server *bigquery;
    struct st_server *servicetitan;
};

static bool start_pubsub(struct local_stack *stack, struct error *err)
{
    const struct pubsub_server_options options = {.port = (uint16_t)stack->options->pubsub_port,
                                                  .faults = stack->faults};
    stack->pubsub = pubsub_server_start(&options, err);
    if (stack->pubsub)
        stack->pubsub_admin = local_admin_start(stack->pubsub, stack->faults, err);
    return (stack->pubsub && stack->pubsub_admin) || error_prefix(err, "Pub/Sub");
}

static bool start_bigquery(struct local_stack *stack, struct error *err)
{
    const struct local_options *o = stack->options;
    char *folder = xasprintf("%s/bigquery", o->data);
    const struct bq_server_options options = {
        .folder = folder,
        .location = o->location,
        .rest_port = (uint16_t)o->bigquery_port,
        .grpc_port = (uint16_t)o->bigquery_storage_port,
        .dml_duration_ms = o->dml_duration_ms,
        .faults = stack->faults,
    };
    stack->bigquery = bq_server_start(&options, err);
    free(folder);
    return stack->bigquery || error_prefix(err, "BigQuery");
}

static bool start_servicetitan(struct local_stack *stack, struct error *err)
{
    const struct local_options *o = stack->options;
    struct st_server_tenant tenants[LOCAL_MAX_TENANTS];
    char *folder = xasprintf("%s/servicetitan", o->data);
    for (size_t i = 0; i < o->tenant_count; i++)
        tenants[i] = (struct st_server_tenant){.tenant = o->tenants[i]};
    const struct st_server_options options = {
        .port = (uint16_t)o->servicetitan_port,
        .seed = (uint64_t)o->seed,
        .jobs = o->jobs,
        .tenants = o->tenant_count ? tenants : NULL,
        .tenant_count = o->tenant_count,
        .data_dir = folder,
        .fixtures = o->fixtures,
        .base_time_us = o->base_time_s * 1000000,
        .history_years = o->history_years,
        .rate_per_second = (double)o->rate,
        .latency_ms = o->latency_ms,
        .visibility_lag_ms = o->lag_ms,
        .faults = stack->faults,
    };
    bool ok = mkdir(folder, 0755) == 0 || errno == EEXIST || error_errno(err, errno, "could not make \"%s\"", folder);
    if (ok)
        stack->servicetitan = st_server_start(&options, err);
    free(folder);
    return stack->servicetitan || error_prefix(err, "ServiceTitan");
}

/* One st-local per folder: two would write one journal of edits. The lock ends with the process. */
static bool take_folder(struct local_stack *stack, struct error *err)
{
    const char *path = stack->options->data;
    if (!path || (!stack->options->bigquery && !stack->options->servicetitan))
        return true;
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return error_errno(err, errno, "could not make the data folder \"%s\"", path);
    stack->folder_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (stack->folder_fd < 0)
        return error_errno(err, errno, "could not open the data folder \"%s\"", path);
    if (flock(stack->folder_fd, LOCK_EX | LOCK_NB) == 0)
        return true;
    if (errno != EWOULDBLOCK)
        return error_errno(err, errno, "could not lock the data folder \"%s\"", path);
    return error_set(err, ERROR_PERMANENT, "in_use",
                     "the data folder \"%s\" is in use by another st-local: stop that one, or take another folder",
                     path);
}

/* The ports of an earlier start: who waits for the file must not find them. */
static bool forget_settings(const struct local_options *o, struct error *err)
{
    return !o->env_file || unlink(o->env_file) == 0 || errno == ENOENT ||
           error_errno(err, errno, "could not remove the old settings \"%s\"", o->env_file);
}

struct local_stack *local_stack_start(const struct local_options *options, struct error *err)
{
    struct local_stack *stack = xcalloc(1, sizeof *stack);
    stack->options = options;
    stack->folder_fd = -1;
    stack->faults = faults_new();
    bool ok = take_folder(stack, err) && forget_settings(options, err) &&
              (!options->pubsub || start_pubsub(stack, err)) && (!options->bigquery || start_bigquery(stack, err)) &&
              (!options->servicetitan || start_servicetitan(stack, err));
    if (ok)
        return stack;
    local_stack_stop(stack);
    return NULL;
}

void local_stack_stop(struct local_stack *stack)
{
    if (!stack)
        return;
    faults_stop(stack->faults); /* what it holds up must end before the servers can */
    st_server_stop(stack->servicetitan);
    bq_server_stop(stack->bigquery);
    local_admin_stop(stack->pubsub_admin);
    pubsub_server_stop(stack->pubsub);
    faults_free(stack->faults);
    if (stack->folder_fd >= 0)
        close(stack->folder_fd);
    free(stack);
}

/* ---- What the programs need to know ---- */

static void export_access(const struct local_stack *stack, struct buf *out)
{
    struct st_server_access access;
    unsigned port = st_server_port(stack->servicetitan);
    buf_printf(out, "export ST_API_URL=http://127.0.0.1:%u\nexport ST_AUTH_URL=http://127.0.0.1:%u/connect/token\n",
               port, port);
    buf_printf(out, "export ST_LOCAL_ADMIN_URL=http://127.0.0.1:%u\n", port);
    if (st_server_access(stack->servicetitan, 0, &access))
        buf_printf(
            out, "export ST_TENANT_ID=%lld\nexport ST_CLIENT_ID=%s\nexport ST_CLIENT_SECRET=%s\nexport ST_APP_KEY=%s\n",
            (long long)access.tenant, access.client_id, access.client_secret, access.app_key);
    for (size_t i = 1; st_server_access(stack->servicetitan, i, &access); i++) {
        long long tenant = (long long)access.tenant;
        buf_printf(out, "export ST_CLIENT_ID_%lld=%s\nexport ST_CLIENT_SECRET_%lld=%s\nexport ST_APP_KEY_%lld=%s\n",
                   tenant, access.client_id, tenant, access.client_secret, tenant, access.app_key);
    }
}

void local_stack_exports(const struct local_stack *stack, struct buf *out)
{
    const struct local_options *o = stack->options;
    if (stack->pubsub) {
        buf_printf(out, "export PUBSUB_EMULATOR_HOST=127.0.0.1:%u\n", pubsub_server_port(stack->pubsub));
        buf_printf(out, "export PUBSUB_PROJECT_ID=%s\n", o->project);
        buf_printf(out, "export ST_LOCAL_PUBSUB_ADMIN_URL=http://127.0.0.1:%u\n",
                   local_admin_port(stack->pubsub_admin));
    }
    if (stack->bigquery) {
        buf_printf(out, "export BIGQUERY_EMULATOR_HOST=http://127.0.0.1:%u\n", bq_server_rest_port(stack->bigquery));
        buf_printf(out, "export BIGQUERY_STORAGE_EMULATOR_HOST=127.0.0.1:%u\n", bq_server_grpc_port(stack->bigquery));
        buf_printf(out, "export BQ_PROJECT_ID=%s\n", o->project);
    }
    if (stack->servicetitan)
        export_access(stack, out);
}
