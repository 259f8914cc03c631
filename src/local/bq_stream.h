/* bq_stream.h - write streams that applications create: names, states, offsets, and rows that are not visible yet.
 *
 * Each stream is a log file in <folder>/streams: what was acknowledged is in it, so streams survive kill -9. Rows of
 * PENDING and BUFFERED streams wait there in serialized form; of COMMITTED ones only the end offset is kept (rows go to
 * the table at once; a crash between the two makes the client's retry write its last rows again).
 *
 * Streams live until write_streams_close. Fields under `mutex`, which callers lock around a check and its action. */
#ifndef ST_LOCAL_BQ_STREAM_H
#define ST_LOCAL_BQ_STREAM_H

#include <pthread.h>

#include "base/buf.h"
#include "base/error.h"

enum write_stream_type { STREAM_COMMITTED = 1, STREAM_PENDING, STREAM_BUFFERED }; /* as WriteStream.Type */
enum { WRITE_STREAMS_MAX = 100000, WRITE_STREAM_NAME_SIZE = 4096 };

struct table_name {
    char project[256], dataset[1100], table[1100];
};

struct write_stream {
    struct write_stream *bucket_next;
    char *name; /* full */
    char *path; /* of the log */
    struct table_name table;
    enum write_stream_type type;
    int64_t create_us;

    pthread_mutex_t mutex; /* all below */
    int64_t rows;          /* end offset */
    int64_t flushed;       /* BUFFERED: rows that are visible */
    int64_t commit_us;     /* 0 = not committed */
    bool finalized;
    bool has_rows_blocks;  /* then descriptor and defaults are known */
    struct buf descriptor; /* of the newest rows block */
    struct buf defaults;   /* names of the columns that get their DEFAULT, each followed by '\n' */
    bool in_commit;        /* used by one BatchCommit at a time, under its lock */
};

struct write_streams;

struct write_streams *write_streams_open(const char *folder, struct error *err) MUST_CHECK;
void write_streams_close(struct write_streams *streams); /* NULL is fine */
/* table_path: "projects/P/datasets/D/tables/T". Borrowed. */
struct write_stream *write_streams_create(struct write_streams *streams, const char *table_path,
                                          const struct table_name *table, enum write_stream_type type,
                                          struct error *err) MUST_CHECK;
struct write_stream *write_streams_find(struct write_streams *streams, struct slice name); /* NULL = none */

/* All with the mutex held. False with an error of the disk: nothing was changed then. */
bool write_stream_spool(struct write_stream *stream, struct slice descriptor, struct slice defaults, struct slice rows,
                        int64_t row_count, struct error *err) MUST_CHECK;
bool write_stream_set_end(struct write_stream *stream, int64_t rows, struct error *err) MUST_CHECK;
bool write_stream_set_finalized(struct write_stream *stream, struct error *err) MUST_CHECK;
bool write_stream_set_flushed(struct write_stream *stream, int64_t rows, struct error *err) MUST_CHECK;
bool write_stream_set_committed(struct write_stream *stream, int64_t us, struct error *err) MUST_CHECK;

/* Gives the rows blocks (ProtoRows bytes) of a spooled stream in order, each with its first row's offset and its
 * descriptor. The callback returns false (with err) to end it. */
typedef bool write_stream_block_fn(void *user, struct slice descriptor, struct slice rows, int64_t first_row,
                                   struct error *err);
bool write_stream_replay(struct write_stream *stream, write_stream_block_fn *fn, void *user,
                         struct error *err) MUST_CHECK;

/* "projects/P/datasets/D/tables/T", whole slice; false when it is none. */
bool table_name_parse(struct slice path, struct table_name *ret);

#endif
