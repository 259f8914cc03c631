/* st_journal.c - see st_journal.h.
 *
 * One line: tenant entity count kinds(bits) seed now lag same_instant index. A line that a crash cut short was not
 * answered yet, and is cut off. */
#include "st_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct st_journal {
    pthread_mutex_t lock; /* one batch at a time, so that the file has their order */
    int fd;               /* -1: nothing is kept */
};

static unsigned kind_bits(const struct st_edit_batch *batch)
{
    unsigned bits = 0;
    for (int kind = 0; kind < ST_EDIT_KINDS; kind++)
        bits |= (unsigned)batch->kinds[kind] << kind;
    return bits;
}

static bool parse_line(struct st_server *server, const char *line, struct st_site **site, enum st_entity *entity,
                       struct st_edit_batch *batch)
{
    long long tenant, count, now, lag, index;
    unsigned long long seed;
    unsigned kinds, same;
    char name[32];
    if (sscanf(line, "%lld %31s %lld %u %llu %lld %lld %u %lld", &tenant, name, &count, &kinds, &seed, &now, &lag,
               &same, &index) != 9)
        return false;
    *batch = (struct st_edit_batch){
        .count = count, .seed = seed, .now = now, .lag = lag, .same_instant = same, .index = index};
    for (int kind = 0; kind < ST_EDIT_KINDS; kind++)
        batch->kinds[kind] = kinds >> kind & 1;
    *site = st_server_site(server, tenant);
    return *site && st_entity_by_name(name, entity);
}

static bool replay(struct st_server *server, FILE *file, const char *path, off_t *good, struct error *err)
{
    char line[256];
    *good = 0;
    while (fgets(line, sizeof line, file) && strchr(line, '\n')) {
        struct st_site *site;
        enum st_entity entity;
        struct st_edit_batch batch;
        struct st_edit_result result;
        if (!parse_line(server, line, &site, &entity, &batch))
            return error_set(err, ERROR_PERMANENT, "data",
                             "cannot replay \"%s\": bad line, or one of a tenant that is not served, at byte %lld",
                             path, (long long)*good);
        if (!st_overlay_apply(&site->overlays[entity], &batch, &result, err))
            return false;
        *good = ftello(file);
    }
    return true;
}

static bool open_file(struct st_server *server, struct st_journal *journal, const char *path, struct error *err)
{
    off_t good = 0;
    FILE *file = fopen(path, "r");
    bool ok = file == NULL || replay(server, file, path, &good, err);
    if (file)
        fclose(file);
    if (!ok)
        return false;
    journal->fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (journal->fd < 0 || ftruncate(journal->fd, good) != 0 || lseek(journal->fd, good, SEEK_SET) != good)
        return error_set(err, ERROR_PERMANENT, "data", "cannot write \"%s\": %s", path, strerror(errno));
    return true;
}

struct st_journal *st_journal_open(struct st_server *server, const char *dir, struct error *err)
{
    struct st_journal *journal = xcalloc(1, sizeof *journal);
    pthread_mutex_init(&journal->lock, NULL);
    journal->fd = -1;
    if (dir == NULL)
        return journal;
    char *path = xasprintf("%s/servicetitan-edits.log", dir);
    bool ok = open_file(server, journal, path, err);
    free(path);
    if (ok)
        return journal;
    st_journal_close(journal);
    return NULL;
}

void st_journal_close(struct st_journal *journal)
{
    if (journal == NULL)
        return;
    if (journal->fd >= 0)
        close(journal->fd);
    pthread_mutex_destroy(&journal->lock);
    free(journal);
}

static bool append(struct st_journal *journal, const struct st_site *site, enum st_entity entity,
                   const struct st_edit_batch *batch, struct error *err)
{
    char line[256];
    int len =
        snprintf(line, sizeof line, "%lld %s %lld %u %llu %lld %lld %d %lld\n", (long long)site->company.tenant,
                 st_models[entity]->name, (long long)batch->count, kind_bits(batch), (unsigned long long)batch->seed,
                 (long long)batch->now, (long long)batch->lag, batch->same_instant, (long long)batch->index);
    if (write(journal->fd, line, (size_t)len) == len)
        return true;
    return error_set(err, ERROR_PERMANENT, "data", "could not write the journal of edits: %s", strerror(errno));
}

bool st_journal_apply(struct st_journal *journal, struct st_site *site, enum st_entity entity,
                      const struct st_edit_batch *batch, struct st_edit_result *ret, struct error *err)
{
    pthread_mutex_lock(&journal->lock);
    bool ok = st_overlay_apply(&site->overlays[entity], batch, ret, err) &&
              (journal->fd < 0 || append(journal, site, entity, batch, err));
    pthread_mutex_unlock(&journal->lock);
    return ok;
}
