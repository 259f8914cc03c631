/* st_stream.c - edits that go on while the simulator is read: one thread, a batch every 20 real milliseconds. */
#include "st_admin.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"

enum { TICK_NS = 20 * 1000 * 1000 };

struct st_stream {
    struct st_server *server;
    pthread_t thread;
    pthread_mutex_t lock; /* all below */
    pthread_cond_t wake;
    struct st_stream_plan plan;
    int64_t since_us;
    int64_t done;    /* of each entity, since then */
    int64_t applied; /* in all */
    uint64_t batches;
    bool stopping;
};

bool st_edit_kinds_of(enum st_entity entity, const bool wanted[ST_EDIT_KINDS], bool ret[ST_EDIT_KINDS])
{
    bool any = false;
    for (int kind = 0; kind < ST_EDIT_KINDS; kind++) {
        bool flag = kind == ST_EDIT_DEACTIVATE || kind == ST_EDIT_REACTIVATE;
        bool merges = entity == ST_CUSTOMERS || entity == ST_LOCATIONS;
        ret[kind] = wanted[kind] && (!flag || st_models[entity]->has_active) && (kind != ST_EDIT_MERGE || merges);
        any = any || ret[kind];
    }
    return any;
}

static void edit_entity(struct st_stream *stream, enum st_entity entity, int64_t count)
{
    struct st_settings settings;
    st_server_settings(stream->server, &settings);
    struct st_edit_batch batch = {
        .count = count,
        .seed = st_mix(stream->plan.seed, ++stream->batches),
        .now = st_server_now(&settings),
        .lag = settings.visibility_lag_ms * 10000,
        .index = -1,
    };
    struct st_edit_result result;
    struct error err = ERROR_INIT;
    if (!st_edit_kinds_of(entity, stream->plan.kinds, batch.kinds))
        return;
    if (!st_journal_apply(stream->server->journal, stream->plan.site, entity, &batch, &result, &err)) {
        log_warn(NULL, LOG_MSG("Continuous edits ended"), LOG_ERR(&err));
        stream->plan.per_second = 0;
        return;
    }
    for (int kind = 0; kind < ST_EDIT_KINDS; kind++)
        stream->applied += result.applied[kind];
}

static void tick(struct st_stream *stream)
{
    if (stream->plan.per_second <= 0)
        return;
    double seconds = (double)(clock_mono_us() - stream->since_us) / 1e6;
    int64_t due = (int64_t)(seconds * stream->plan.per_second) - stream->done;
    if (due <= 0)
        return;
    if (due > ST_MAX_BATCH)
        due = ST_MAX_BATCH;
    stream->done += due;
    for (int e = 0; e < ST_ENTITIES; e++)
        if (stream->plan.entities[e])
            edit_entity(stream, (enum st_entity)e, due);
}

static void *run(void *user)
{
    struct st_stream *stream = user;
    pthread_mutex_lock(&stream->lock);
    while (!stream->stopping) {
        tick(stream);
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += TICK_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (stream->plan.per_second > 0)
            pthread_cond_timedwait(&stream->wake, &stream->lock, &until);
        else
            pthread_cond_wait(&stream->wake, &stream->lock);
    }
    pthread_mutex_unlock(&stream->lock);
    return NULL;
}

static struct st_stream *start(struct st_server *server)
{
    struct st_stream *stream = xcalloc(1, sizeof *stream);
    stream->server = server;
    pthread_mutex_init(&stream->lock, NULL);
    pthread_cond_init(&stream->wake, NULL);
    if (pthread_create(&stream->thread, NULL, run, stream) != 0)
        BUG("no thread for continuous edits");
    return stream;
}

static struct st_stream *stream_of(struct st_server *server, bool make)
{
    pthread_mutex_lock(&server->lock);
    if (server->stream == NULL && make)
        server->stream = start(server);
    struct st_stream *stream = server->stream;
    pthread_mutex_unlock(&server->lock);
    return stream;
}

void st_stream_run(struct st_server *server, const struct st_stream_plan *plan)
{
    struct st_stream *stream = stream_of(server, plan->per_second > 0);
    if (stream == NULL)
        return;
    pthread_mutex_lock(&stream->lock);
    stream->plan = *plan;
    stream->since_us = clock_mono_us();
    stream->done = 0;
    pthread_cond_signal(&stream->wake);
    pthread_mutex_unlock(&stream->lock);
}

void st_stream_json(struct st_server *server, struct buf *out)
{
    struct st_stream *stream = stream_of(server, false);
    double per_second = 0;
    int64_t applied = 0;
    if (stream) {
        pthread_mutex_lock(&stream->lock);
        per_second = stream->plan.per_second;
        applied = stream->applied;
        pthread_mutex_unlock(&stream->lock);
    }
    buf_printf(out, "{\"perSecond\":%lld,\"applied\":%lld}", (long long)per_second, (long long)applied);
}

void st_stream_stop(struct st_server *server)
{
    struct st_stream *stream = server->stream;
    if (stream == NULL)
        return;
    pthread_mutex_lock(&stream->lock);
    stream->stopping = true;
    pthread_cond_signal(&stream->wake);
    pthread_mutex_unlock(&stream->lock);
    pthread_join(stream->thread, NULL);
    pthread_cond_destroy(&stream->wake);
    pthread_mutex_destroy(&stream->lock);
    free(stream);
    server->stream = NULL;
}
