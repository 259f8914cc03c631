/* bq_stream.c - streams as log files.
 *
 * A file is a row of blocks: kind, length of the body, rows, body (host byte order: the folder belongs to one machine).
 * Blocks are appended in one write; an incomplete last one, left by a crash, is cut off when the folder is opened. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/uuid.h"
#include "bq_stream.h"

enum { STREAM_BUCKETS = 4096, MAX_BLOCK_BYTES = 64 << 20 };

enum block_kind {
    BLOCK_HEADER = 1, /* body: table path NUL name; number: type; time */
    BLOCK_DESCRIPTOR,
    BLOCK_DEFAULTS,
    BLOCK_ROWS, /* number: rows in it */
    BLOCK_END,  /* number: end offset */
    BLOCK_FINALIZED,
    BLOCK_FLUSHED,   /* number: visible rows */
    BLOCK_COMMITTED, /* number: microseconds */
};

struct block {
    uint32_t kind;
    uint32_t len;
    int64_t number;
    int64_t time_us;
};

struct write_streams {
    char *folder;
    pthread_mutex_t mutex; /* all below */
    struct write_stream *buckets[STREAM_BUCKETS];
    size_t count;
};

/* ---- Names ------------------------------------------------------------------------------------------------------ */

static bool take_part(struct slice *rest, const char *keyword, char *out, size_t size)
{
    if (!slice_eq_str(slice_cut(rest, '/'), keyword))
        return false;
    struct slice value = slice_cut(rest, '/');
    if (value.len == 0 || value.len >= size || memchr(value.ptr, '\0', value.len))
        return false;
    memcpy(out, value.ptr, value.len);
    out[value.len] = '\0';
    return true;
}

bool table_name_parse(struct slice path, struct table_name *ret)
{
    struct slice rest = path;
    return take_part(&rest, "projects", ret->project, sizeof ret->project) &&
           take_part(&rest, "datasets", ret->dataset, sizeof ret->dataset) &&
           take_part(&rest, "tables", ret->table, sizeof ret->table) && rest.len == 0 && path.ptr[path.len - 1] != '/';
}

static size_t bucket_of(struct slice name)
{
    uint64_t hash = 1469598103934665603ULL;
    for (size_t i = 0; i < name.len; i++)
        hash = (hash ^ (unsigned char)name.ptr[i]) * 1099511628211ULL;
    return (size_t)(hash % STREAM_BUCKETS);
}

struct write_stream *write_streams_find(struct write_streams *streams, struct slice name)
{
    pthread_mutex_lock(&streams->mutex);
    struct write_stream *stream = streams->buckets[bucket_of(name)];
    while (stream && !slice_eq_str(name, stream->name))
        stream = stream->bucket_next;
    pthread_mutex_unlock(&streams->mutex);
    return stream;
}

static void add_stream(struct write_streams *streams, struct write_stream *stream)
{
    pthread_mutex_lock(&streams->mutex);
    struct write_stream **bucket = &streams->buckets[bucket_of(slice_str(stream->name))];
    stream->bucket_next = *bucket;
    *bucket = stream;
    streams->count++;
    pthread_mutex_unlock(&streams->mutex);
}

static void stream_free(struct write_stream *stream)
{
    if (!stream)
        return;
    pthread_mutex_destroy(&stream->mutex);
    buf_release(&stream->descriptor);
    buf_release(&stream->defaults);
    free(stream->name);
    free(stream->path);
    free(stream);
}

/* ---- Writing ---------------------------------------------------------------------------------------------------- */

static void put_block(struct buf *out, enum block_kind kind, int64_t number, int64_t time_us, struct slice body)
{
    struct block block = {(uint32_t)kind, (uint32_t)body.len, number, time_us};
    buf_append(out, &block, sizeof block);
    buf_append_slice(out, body);
}

static bool write_all(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes = slice_of(bytes.ptr + n, bytes.len - (size_t)n);
    }
    return true;
}

/* All or nothing, as long as the disk takes back a partial write. */
static bool append_blocks(struct write_stream *stream, struct buf *blocks, struct error *err)
{
    int fd = open(stream->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    off_t before = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;
    bool ok = before >= 0 && write_all(fd, buf_slice(blocks));
    if (!ok)
        error_errno(err, errno, "could not write the log of a stream \"%s\"", stream->path);
    if (!ok && before >= 0 && ftruncate(fd, before) != 0)
        error_errno(err, errno, "could not repair the log of a stream \"%s\"", stream->path);
    if (fd >= 0)
        close(fd);
    buf_release(blocks);
    return ok;
}

static void set_text(struct buf *to, struct slice text)
{
    buf_clear(to);
    buf_append_slice(to, text);
}

bool write_stream_spool(struct write_stream *stream, struct slice descriptor, struct slice defaults, struct slice rows,
                        int64_t row_count, struct error *err)
{
    struct buf blocks = BUF_INIT;
    bool first = !stream->has_rows_blocks;
    bool new_descriptor = first || !slice_eq(descriptor, buf_slice(&stream->descriptor));
    bool new_defaults = first || !slice_eq(defaults, buf_slice(&stream->defaults));
    if (new_descriptor)
        put_block(&blocks, BLOCK_DESCRIPTOR, 0, 0, descriptor);
    if (new_defaults)
        put_block(&blocks, BLOCK_DEFAULTS, 0, 0, defaults);
    put_block(&blocks, BLOCK_ROWS, row_count, 0, rows);
    if (!append_blocks(stream, &blocks, err))
        return false;
    if (new_descriptor)
        set_text(&stream->descriptor, descriptor);
    if (new_defaults)
        set_text(&stream->defaults, defaults);
    stream->has_rows_blocks = true;
    stream->rows += row_count;
    return true;
}

static bool append_note(struct write_stream *stream, enum block_kind kind, int64_t number, struct error *err)
{
    struct buf blocks = BUF_INIT;
    put_block(&blocks, kind, number, 0, SLICE_NULL);
    return append_blocks(stream, &blocks, err);
}

bool write_stream_set_end(struct write_stream *stream, int64_t rows, struct error *err)
{
    stream->rows = rows; /* the rows are in the table, whatever happens to the note */
    return append_note(stream, BLOCK_END, rows, err);
}

bool write_stream_set_finalized(struct write_stream *stream, struct error *err)
{
    if (!stream->finalized && !append_note(stream, BLOCK_FINALIZED, 0, err))
        return false;
    stream->finalized = true;
    return true;
}

bool write_stream_set_flushed(struct write_stream *stream, int64_t rows, struct error *err)
{
    stream->flushed = rows;
    return append_note(stream, BLOCK_FLUSHED, rows, err);
}

static void put_header(struct buf *out, const struct write_stream *stream)
{
    struct buf body = BUF_INIT;
    buf_printf(&body, "projects/%s/datasets/%s/tables/%s", stream->table.project, stream->table.dataset,
               stream->table.table);
    buf_append(&body, "", 1);
    buf_append_str(&body, stream->name);
    put_block(out, BLOCK_HEADER, stream->type, stream->create_us, buf_slice(&body));
    buf_release(&body);
}

/* The rows are in the table: a short log takes the place of the long one. */
bool write_stream_set_committed(struct write_stream *stream, int64_t us, struct error *err)
{
    struct buf blocks = BUF_INIT;
    char *temporary = xasprintf("%s.new", stream->path);
    stream->commit_us = us;
    put_header(&blocks, stream);
    put_block(&blocks, BLOCK_END, stream->rows, 0, SLICE_NULL);
    put_block(&blocks, BLOCK_FINALIZED, 0, 0, SLICE_NULL);
    put_block(&blocks, BLOCK_COMMITTED, us, 0, SLICE_NULL);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write_all(fd, buf_slice(&blocks)) && rename(temporary, stream->path) == 0;
    if (!ok)
        error_errno(err, errno, "could not write the log of a stream \"%s\"", stream->path);
    if (fd >= 0)
        close(fd);
    buf_release(&blocks);
    free(temporary);
    return ok;
}

static struct write_stream *stream_new(const char *path, const char *name, const struct table_name *table,
                                       enum write_stream_type type, int64_t create_us)
{
    struct write_stream *stream = xcalloc(1, sizeof *stream);
    stream->name = xstrdup(name);
    stream->path = xstrdup(path);
    stream->table = *table;
    stream->type = type;
    stream->create_us = create_us;
    pthread_mutex_init(&stream->mutex, NULL);
    return stream;
}

struct write_stream *write_streams_create(struct write_streams *streams, const char *table_path,
                                          const struct table_name *table, enum write_stream_type type,
                                          struct error *err)
{
    char id[UUID_TEXT_SIZE];
    struct buf blocks = BUF_INIT;
    if (streams->count >= WRITE_STREAMS_MAX) {
        error_set(err, ERROR_THROTTLED, "quota", "Exceeded quota: this server keeps %d write streams",
                  WRITE_STREAMS_MAX);
        return NULL;
    }
    uuid_generate(id);
    char *name = xasprintf("%s/streams/%s", table_path, id);
    char *path = xasprintf("%s/%s", streams->folder, id);
    struct write_stream *stream = stream_new(path, name, table, type, clock_wall_us());
    put_header(&blocks, stream);
    if (append_blocks(stream, &blocks, err)) {
        add_stream(streams, stream);
    } else {
        stream_free(stream);
        stream = NULL;
    }
    free(name);
    free(path);
    return stream;
}

/* ---- Reading ---------------------------------------------------------------------------------------------------- */

/* False at the end (or at an incomplete block: *ret_torn). */
static bool read_block(FILE *file, struct block *block, struct buf *body, bool *ret_torn)
{
    size_t got = fread(block, 1, sizeof *block, file);
    *ret_torn = got > 0;
    if (got < sizeof *block || block->len > MAX_BLOCK_BYTES)
        return false;
    buf_clear(body);
    buf_reserve(body, block->len);
    body->len = fread(body->ptr, 1, block->len, file);
    body->ptr[body->len] = '\0';
    *ret_torn = body->len < block->len;
    return !*ret_torn;
}

bool write_stream_replay(struct write_stream *stream, write_stream_block_fn *fn, void *user, struct error *err)
{
    struct buf descriptor = BUF_INIT, body = BUF_INIT;
    struct block block;
    int64_t first_row = 0;
    bool ok = true, torn = false;
    FILE *file = fopen(stream->path, "rbe");
    if (!file)
        return error_errno(err, errno, "could not read the log of a stream \"%s\"", stream->path);
    while (ok && read_block(file, &block, &body, &torn)) {
        if (block.kind == BLOCK_DESCRIPTOR)
            set_text(&descriptor, buf_slice(&body));
        if (block.kind != BLOCK_ROWS)
            continue;
        ok = fn(user, buf_slice(&descriptor), buf_slice(&body), first_row, err);
        first_row += block.number;
    }
    fclose(file);
    buf_release(&descriptor);
    buf_release(&body);
    return ok;
}

static struct write_stream *load_header(const char *path, const struct block *block, struct buf *body)
{
    struct table_name table;
    size_t table_len = strlen(buf_cstr(body));
    bool ok = block->kind == BLOCK_HEADER && table_len + 1 < body->len && block->number >= STREAM_COMMITTED &&
              block->number <= STREAM_BUFFERED && table_name_parse(slice_str(body->ptr), &table);
    if (!ok)
        return NULL;
    return stream_new(path, body->ptr + table_len + 1, &table, (enum write_stream_type)block->number, block->time_us);
}

static void load_block(struct write_stream *stream, const struct block *block, const struct buf *body)
{
    if (block->kind == BLOCK_DESCRIPTOR) {
        set_text(&stream->descriptor, buf_slice(body));
    } else if (block->kind == BLOCK_DEFAULTS) {
        set_text(&stream->defaults, buf_slice(body));
    } else if (block->kind == BLOCK_ROWS) {
        stream->rows += block->number;
        stream->has_rows_blocks = true;
    } else if (block->kind == BLOCK_END) {
        stream->rows = block->number;
    } else if (block->kind == BLOCK_FINALIZED) {
        stream->finalized = true;
    } else if (block->kind == BLOCK_FLUSHED) {
        stream->flushed = block->number;
    } else if (block->kind == BLOCK_COMMITTED) {
        stream->commit_us = block->number;
    }
}

/* NULL: not a stream (a crash before its header was whole). */
static struct write_stream *load_stream(const char *path)
{
    struct buf body = BUF_INIT;
    struct block block;
    bool torn = false;
    off_t whole = 0;
    FILE *file = fopen(path, "rbe");
    struct write_stream *stream = NULL;
    if (file && read_block(file, &block, &body, &torn))
        stream = load_header(path, &block, &body);
    if (stream) {
        whole = ftello(file);
        while (read_block(file, &block, &body, &torn)) {
            load_block(stream, &block, &body);
            whole = ftello(file);
        }
    }
    if (file)
        fclose(file);
    buf_release(&body);
    if (stream && torn && truncate(path, whole) != 0) {
        stream_free(stream);
        stream = NULL;
    }
    return stream;
}

static void load_all(struct write_streams *streams, DIR *folder)
{
    const struct dirent *entry;
    while ((entry = readdir(folder))) {
        if (entry->d_name[0] == '.')
            continue;
        char *path = xasprintf("%s/%s", streams->folder, entry->d_name);
        bool left_over = strlen(entry->d_name) > 4 && strcmp(entry->d_name + strlen(entry->d_name) - 4, ".new") == 0;
        struct write_stream *stream = left_over ? NULL : load_stream(path);
        if (stream)
            add_stream(streams, stream);
        else
            unlink(path);
        free(path);
    }
}

struct write_streams *write_streams_open(const char *folder, struct error *err)
{
    struct write_streams *streams = xcalloc(1, sizeof *streams);
    pthread_mutex_init(&streams->mutex, NULL);
    streams->folder = xasprintf("%s/streams", folder);
    if (mkdir(streams->folder, 0700) != 0 && errno != EEXIST) {
        error_errno(err, errno, "cannot make the folder \"%s\"", streams->folder);
        write_streams_close(streams);
        return NULL;
    }
    DIR *dir = opendir(streams->folder);
    if (!dir) {
        error_errno(err, errno, "cannot read the folder \"%s\"", streams->folder);
        write_streams_close(streams);
        return NULL;
    }
    load_all(streams, dir);
    closedir(dir);
    return streams;
}

void write_streams_close(struct write_streams *streams)
{
    if (!streams)
        return;
    for (size_t i = 0; i < STREAM_BUCKETS; i++) {
        for (struct write_stream *stream = streams->buckets[i], *next; stream; stream = next) {
            next = stream->bucket_next;
            stream_free(stream);
        }
    }
    pthread_mutex_destroy(&streams->mutex);
    free(streams->folder);
    free(streams);
}
