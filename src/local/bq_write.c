/* bq_write.c - the unary methods of the Storage Write API, and the threads that serve AppendRows.
 *
 * BatchCommit puts the rows of all its streams into one engine batch, so they become visible together or not at all.
 * It and FlushRows run one at a time, which is what keeps a stream from being committed twice. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "bq_append.h"
#include "bq_wire.h"
#include "bq_write_internal.h"

enum {
    MAX_CREATE_REQUEST_BYTES = 8192, /* bounds the nesting of the TableSchema inside, which is unpacked recursively */
    MAX_UNARY_REQUEST_BYTES = 16 << 20,
    MAX_COMMIT_STREAMS = 10000,
    WATCH_INTERVAL_REAL_MS = 200,
};

#define SERVICE "/google.cloud.bigquery.storage.v1.BigQueryWrite/"
#define STORAGE_ERROR_URL "type.googleapis.com/google.cloud.bigquery.storage.v1.StorageError"

/* ---- Errors ----------------------------------------------------------------------------------------------------- */

bool write_fail(struct write_error *ret, int status, int code, const char *entity, const char *fmt, ...)
{
    va_list args;
    ret->status = status;
    ret->code = code;
    ret->fatal = false;
    snprintf(ret->entity, sizeof ret->entity, "%s", entity);
    va_start(args, fmt);
    vsnprintf(ret->message, sizeof ret->message, fmt, args);
    va_end(args);
    return false;
}

bool write_fail_engine(struct write_error *ret, const char *entity, const struct error *err)
{
    bool missing = strcmp(err->code, "notFound") == 0;
    if (missing)
        write_fail(ret, RPC_NOT_FOUND, BQS_CODE(TABLE_NOT_FOUND), entity,
                   "Requested entity was not found. Entity: %.900s", entity);
    else if (err->status >= 400 && err->status < 500)
        write_fail(ret, RPC_INVALID_ARGUMENT, 0, entity, "%s", err->message);
    else
        write_fail(ret, RPC_INTERNAL, 0, entity, "%s", err->message);
    ret->fatal = true;
    return false;
}

void write_pack_storage_error(const struct write_error *failure, struct buf *ret)
{
    BQS(StorageError) error;
    google__cloud__bigquery__storage__v1__storage_error__init(&error);
    if (failure->code == 0)
        return;
    char *entity = xstrdup(failure->entity), *message = xstrdup(failure->message);
    error.code = (BQS(StorageError__StorageErrorCode))failure->code;
    error.entity = entity;
    error.error_message = message;
    size_t len = protobuf_c_message_get_packed_size(&error.base);
    buf_reserve(ret, len);
    protobuf_c_message_pack(&error.base, (uint8_t *)ret->ptr);
    ret->len = len;
    free(entity);
    free(message);
}

void write_finish(struct rpc_call *call, const struct write_error *failure)
{
    struct buf packed = BUF_INIT;
    write_pack_storage_error(failure, &packed);
    struct rpc_detail detail = {STORAGE_ERROR_URL, buf_slice(&packed)};
    rpc_call_finish_details(call, (enum rpc_status)failure->status, failure->message, &detail, packed.len > 0);
    buf_release(&packed);
}

/* ---- Shared ----------------------------------------------------------------------------------------------------- */

bool write_is_default_stream(struct slice name, struct table_name *ret)
{
    static const struct slice suffixes[] = {{"/streams/_default", 17}, {"/_default", 9}};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        struct slice suffix = suffixes[i];
        if (name.len > suffix.len && memcmp(name.ptr + name.len - suffix.len, suffix.ptr, suffix.len) == 0)
            return table_name_parse(slice_of(name.ptr, name.len - suffix.len), ret);
    }
    return false;
}

bool *write_default_flags(const struct engine_schema *schema, struct slice names)
{
    size_t count;
    const struct engine_field *columns = engine_schema_fields(schema, &count);
    bool *flags = xcalloc(count + 1, sizeof *flags);
    while (names.len > 0) {
        struct slice name = slice_cut(&names, '\n');
        for (size_t i = 0; i < count; i++)
            flags[i] |= slice_eq_str(name, columns[i].name);
    }
    return flags;
}

static BQS(TableFieldSchema) * field_schema(struct arena *arena, const struct engine_field *column)
{
#define TYPE(name) GOOGLE__CLOUD__BIGQUERY__STORAGE__V1__TABLE_FIELD_SCHEMA__TYPE__##name
    static const BQS(TableFieldSchema__Type)
        types[] = {[ENGINE_STRING] = TYPE(STRING),       [ENGINE_BYTES] = TYPE(BYTES), [ENGINE_INT64] = TYPE(INT64),
                   [ENGINE_FLOAT64] = TYPE(DOUBLE),      [ENGINE_BOOL] = TYPE(BOOL),   [ENGINE_NUMERIC] = TYPE(NUMERIC),
                   [ENGINE_TIMESTAMP] = TYPE(TIMESTAMP), [ENGINE_DATE] = TYPE(DATE),   [ENGINE_TIME] = TYPE(TIME),
                   [ENGINE_DATETIME] = TYPE(DATETIME),   [ENGINE_JSON] = TYPE(JSON),   [ENGINE_STRUCT] = TYPE(STRUCT)};
#undef TYPE
    BQS(TableFieldSchema) *field = arena_alloc(arena, sizeof *field);
    google__cloud__bigquery__storage__v1__table_field_schema__init(field);
    field->name = arena_strdup(arena, slice_str(column->name));
    field->type = types[column->type];
    field->mode = (BQS(TableFieldSchema__Mode))(column->mode + 1);
    if (column->description)
        field->description = arena_strdup(arena, slice_str(column->description));
    if (column->default_expression)
        field->default_value_expression = arena_strdup(arena, slice_str(column->default_expression));
    field->max_length = column->max_length;
    field->precision = column->precision;
    field->scale = column->scale;
    field->n_fields = column->field_count;
    field->fields = arena_alloc(arena, (column->field_count + 1) * sizeof(void *));
    for (size_t i = 0; i < column->field_count; i++)
        field->fields[i] = field_schema(arena, &column->fields[i]);
    return field;
}

BQS(TableSchema) * write_table_schema(struct arena *arena, const struct engine_schema *schema)
{
    BQS(TableSchema) *table = arena_alloc(arena, sizeof *table);
    google__cloud__bigquery__storage__v1__table_schema__init(table);
    const struct engine_field *columns = engine_schema_fields(schema, &table->n_fields);
    table->fields = arena_alloc(arena, (table->n_fields + 1) * sizeof(void *));
    for (size_t i = 0; i < table->n_fields; i++)
        table->fields[i] = field_schema(arena, &columns[i]);
    return table;
}

static void set_timestamp(Google__Protobuf__Timestamp *timestamp, int64_t us)
{
    google__protobuf__timestamp__init(timestamp);
    timestamp->seconds = us / 1000000;
    timestamp->nanos = (int32_t)(us % 1000000 * 1000);
}

/* The request as a message (free with protobuf_c_message_free_unpacked); NULL: the call was failed. */
static ProtobufCMessage *unpack(struct rpc_call *call, const ProtobufCMessageDescriptor *type,
                                struct rpc_message *request, size_t max_bytes)
{
    struct slice bytes = rpc_message_bytes(request);
    ProtobufCMessage *message = NULL;
    if (bytes.len <= max_bytes)
        message = protobuf_c_message_unpack(type, NULL, bytes.len, (const uint8_t *)bytes.ptr);
    if (!message)
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "Invalid request: it is too large or not well-formed");
    return message;
}

static bool invalid_name(struct write_error *ret, const char *name)
{
    return write_fail(ret, RPC_INVALID_ARGUMENT, 0, name, "Invalid stream name. Entity: %.900s", name);
}

static struct write_stream *find_stream(struct bq_write *write, const char *name, struct write_error *ret)
{
    struct write_stream *stream = write_streams_find(write->streams, slice_str(name));
    const char *id = strstr(name, "/streams/");
    struct table_name table;
    if (stream)
        return stream;
    if (!id || !table_name_parse(slice_of(name, (size_t)(id - name)), &table))
        invalid_name(ret, name);
    else
        write_fail(ret, RPC_NOT_FOUND, BQS_CODE(STREAM_NOT_FOUND), name,
                   "Requested entity was not found. Entity: %.900s", name);
    return NULL;
}

/* ---- CreateWriteStream and GetWriteStream ----------------------------------------------------------------------- */

/* A table just made is unknown here for a while, although tables.get knows it. */
static bool is_known_here(struct bq_write *write, const struct engine_schema *schema)
{
    int64_t least_ms = faults_hazard(write->faults, HAZARD_YOUNG_TABLE_MS);
    return least_ms == 0 || clock_wall_us() / 1000 - engine_schema_created_ms(schema) >= least_ms;
}

struct engine_schema *write_open_table(struct bq_write *write, const struct table_name *table, const char *entity,
                                       struct write_error *ret)
{
    struct error err = ERROR_INIT;
    struct engine_schema *schema =
        engine_schema_open(write->engine, table->project, table->dataset, table->table, &err);
    if (schema && is_known_here(write, schema))
        return schema;
    if (schema)
        error_set(&err, ERROR_PERMANENT, "notFound", "the table is too young");
    engine_schema_free(schema);
    write_fail_engine(ret, entity, &err);
    return NULL;
}

static bool check_create(const BQS(CreateWriteStreamRequest) * request, struct table_name *table,
                         struct write_error *ret)
{
    int type = request->write_stream ? (int)request->write_stream->type : 0;
    if (!table_name_parse(slice_str(request->parent), table))
        return write_fail(ret, RPC_INVALID_ARGUMENT, 0, request->parent, "Invalid table name. Entity: %.900s",
                          request->parent);
    if (type < STREAM_COMMITTED || type > STREAM_BUFFERED)
        return write_fail(ret, RPC_INVALID_ARGUMENT, BQS_CODE(INVALID_STREAM_TYPE), request->parent,
                          "Invalid stream type: it must be COMMITTED, PENDING or BUFFERED. Entity: %.900s",
                          request->parent);
    return true;
}

static void reply_stream(struct rpc_call *call, const struct write_stream *stream, const struct engine_schema *schema,
                         int64_t commit_us, bool created, const char *location)
{
    BQS(WriteStream) reply;
    google__cloud__bigquery__storage__v1__write_stream__init(&reply);
    Google__Protobuf__Timestamp create_time, commit_time;
    struct arena *arena = arena_new(0);
    reply.name = stream->name;
    reply.type = (BQS(WriteStream__Type))stream->type;
    set_timestamp(&create_time, stream->create_us);
    set_timestamp(&commit_time, commit_us);
    reply.create_time = &create_time;
    reply.commit_time = commit_us ? &commit_time : NULL;
    if (schema)
        reply.table_schema = write_table_schema(arena, schema);
    if (!created) {
        reply.location = arena_strdup(arena, slice_str(location));
        for (char *p = reply.location; *p; p++)
            *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
    }
    rpc_call_reply(call, &reply.base);
    arena_free(arena);
}

static void create_write_stream(void *service, struct rpc_call *call, struct rpc_message *message)
{
    struct bq_write *write = service;
    struct write_error failure;
    struct error err = ERROR_INIT;
    struct table_name table;
    ProtobufCMessage *unpacked =
        unpack(call, &google__cloud__bigquery__storage__v1__create_write_stream_request__descriptor, message,
               MAX_CREATE_REQUEST_BYTES);
    const BQS(CreateWriteStreamRequest) *request = (const void *)unpacked;
    struct engine_schema *schema = NULL;
    struct write_stream *stream = NULL;
    if (!request)
        return;
    if (check_create(request, &table, &failure))
        schema = write_open_table(write, &table, request->parent, &failure);
    if (schema) {
        stream = write_streams_create(write->streams, request->parent, &table,
                                      (enum write_stream_type)request->write_stream->type, &err);
        if (!stream)
            write_fail(&failure, err.class == ERROR_THROTTLED ? RPC_RESOURCE_EXHAUSTED : RPC_INTERNAL, 0,
                       request->parent, "%s", err.message);
    }
    if (stream)
        reply_stream(call, stream, schema, stream->type == STREAM_COMMITTED ? stream->create_us : 0, true, "");
    else
        write_finish(call, &failure);
    engine_schema_free(schema);
    protobuf_c_message_free_unpacked(unpacked, NULL);
}

/* `_default` exists with its table: a COMMITTED stream without times. */
static bool get_default_stream(struct bq_write *write, struct rpc_call *call, char *name,
                               const struct table_name *table, bool full, struct write_error *ret)
{
    struct engine_schema *schema = write_open_table(write, table, name, ret);
    struct write_stream stream = {.name = name, .type = STREAM_COMMITTED};
    if (!schema)
        return false;
    BQS(WriteStream) reply;
    google__cloud__bigquery__storage__v1__write_stream__init(&reply);
    struct arena *arena = arena_new(0);
    char location[] = "us";
    reply.name = stream.name;
    reply.type = (BQS(WriteStream__Type))STREAM_COMMITTED;
    reply.location = slice_eq_nocase(slice_str(engine_location(write->engine)), SLICE_LIT("US"))
                         ? location
                         : arena_strdup(arena, slice_str(engine_location(write->engine)));
    if (full)
        reply.table_schema = write_table_schema(arena, schema);
    rpc_call_reply(call, &reply.base);
    arena_free(arena);
    engine_schema_free(schema);
    return true;
}

static bool get_stream(struct bq_write *write, struct rpc_call *call, const BQS(GetWriteStreamRequest) * request,
                       struct write_error *ret)
{
    struct table_name table;
    bool full = request->view == GOOGLE__CLOUD__BIGQUERY__STORAGE__V1__WRITE_STREAM_VIEW__FULL;
    if (write_is_default_stream(slice_str(request->name), &table))
        return get_default_stream(write, call, request->name, &table, full, ret);
    struct write_stream *stream = find_stream(write, request->name, ret);
    struct engine_schema *schema = NULL;
    if (!stream || (full && !(schema = write_open_table(write, &stream->table, request->name, ret))))
        return false;
    pthread_mutex_lock(&stream->mutex);
    int64_t commit_us = stream->type == STREAM_COMMITTED ? stream->create_us : stream->commit_us;
    pthread_mutex_unlock(&stream->mutex);
    reply_stream(call, stream, schema, commit_us, false, engine_location(write->engine));
    engine_schema_free(schema);
    return true;
}

static void get_write_stream(void *service, struct rpc_call *call, struct rpc_message *message)
{
    struct write_error failure;
    ProtobufCMessage *request =
        unpack(call, &google__cloud__bigquery__storage__v1__get_write_stream_request__descriptor, message,
               MAX_CREATE_REQUEST_BYTES);
    if (!request)
        return;
    if (!get_stream(service, call, (const void *)request, &failure))
        write_finish(call, &failure);
    protobuf_c_message_free_unpacked(request, NULL);
}

/* ---- FinalizeWriteStream ---------------------------------------------------------------------------------------- */

static bool finalize(struct bq_write *write, const char *name, int64_t *ret_rows, struct write_error *ret)
{
    struct write_stream *stream = find_stream(write, name, ret);
    struct error err = ERROR_INIT;
    if (!stream)
        return false;
    pthread_mutex_lock(&stream->mutex);
    bool ok = write_stream_set_finalized(stream, &err);
    *ret_rows = stream->rows;
    pthread_mutex_unlock(&stream->mutex);
    return ok || write_fail_engine(ret, name, &err);
}

static void finalize_write_stream(void *service, struct rpc_call *call, struct rpc_message *message)
{
    struct write_error failure;
    BQS(FinalizeWriteStreamResponse) reply;
    google__cloud__bigquery__storage__v1__finalize_write_stream_response__init(&reply);
    ProtobufCMessage *unpacked =
        unpack(call, &google__cloud__bigquery__storage__v1__finalize_write_stream_request__descriptor, message,
               MAX_CREATE_REQUEST_BYTES);
    const BQS(FinalizeWriteStreamRequest) *request = (const void *)unpacked;
    if (!request)
        return;
    if (finalize(service, request->name, &reply.row_count, &failure))
        rpc_call_reply(call, &reply.base);
    else
        write_finish(call, &failure);
    protobuf_c_message_free_unpacked(unpacked, NULL);
}

/* ---- Rows from logs into tables --------------------------------------------------------------------------------- */

struct replay {
    struct engine_schema *schema;
    struct engine_rows *rows;
    struct proto_plan *plan;
    struct buf descriptor;
    int64_t from, to; /* of the stream's rows */
};

static bool replay_block(void *user, struct slice descriptor, struct slice rows, int64_t first_row, struct error *err)
{
    struct replay *replay = user;
    if (!replay->plan || !slice_eq(descriptor, buf_slice(&replay->descriptor))) {
        proto_plan_free(replay->plan);
        replay->plan = proto_plan_new(descriptor, replay->schema, err);
        buf_clear(&replay->descriptor);
        buf_append_slice(&replay->descriptor, descriptor);
        if (!replay->plan)
            return false;
    }
    struct wire w = wire_of(rows);
    struct slice row;
    for (int64_t i = first_row; append_rows_next(&w, &row); i++)
        if (i >= replay->from && i < replay->to)
            proto_plan_put_row(replay->plan, row, replay->rows);
    return true;
}

/* Rows [from, to) of a stream into a batch. */
static bool replay_stream(struct write_stream *stream, int64_t from, int64_t to, struct engine_schema *schema,
                          struct engine_rows *rows, struct error *err)
{
    struct replay replay = {.schema = schema, .rows = rows, .from = from, .to = to};
    bool ok = from >= to || write_stream_replay(stream, replay_block, &replay, err);
    proto_plan_free(replay.plan);
    buf_release(&replay.descriptor);
    return ok;
}

/* ---- FlushRows -------------------------------------------------------------------------------------------------- */

static bool flush_locked(struct bq_write *write, struct write_stream *stream, int64_t offset, struct write_error *ret)
{
    struct error err = ERROR_INIT;
    if (offset < 0 || offset >= stream->rows)
        return write_fail(ret, RPC_OUT_OF_RANGE, BQS_CODE(OFFSET_OUT_OF_RANGE), stream->name,
                          "Offset %lld is beyond the end of the stream Entity: %s", (long long)offset, stream->name);
    if (offset < stream->flushed)
        return true;
    struct engine_schema *schema = write_open_table(write, &stream->table, stream->name, ret);
    if (!schema)
        return false;
    bool *flags = write_default_flags(schema, buf_slice(&stream->defaults));
    struct engine_rows *rows = engine_rows_new(write->engine, schema, flags, &err);
    bool ok = rows && replay_stream(stream, stream->flushed, offset + 1, schema, rows, &err) &&
              engine_rows_commit(rows, &err) && write_stream_set_flushed(stream, offset + 1, &err);
    engine_rows_free(rows);
    free(flags);
    engine_schema_free(schema);
    return ok || write_fail_engine(ret, stream->name, &err);
}

static bool flush_stream(struct bq_write *write, const BQS(FlushRowsRequest) * request, struct write_error *ret)
{
    struct write_stream *stream = find_stream(write, request->write_stream, ret);
    if (!stream)
        return false;
    if (stream->type != STREAM_BUFFERED)
        return write_fail(ret, RPC_INVALID_ARGUMENT, BQS_CODE(INVALID_STREAM_TYPE), stream->name,
                          "FlushRows is for BUFFERED streams only. Entity: %s", stream->name);
    if (!request->offset)
        return write_fail(ret, RPC_INVALID_ARGUMENT, 0, stream->name, "The offset must be set. Entity: %s",
                          stream->name);
    pthread_mutex_lock(&write->commit_mutex);
    pthread_mutex_lock(&stream->mutex);
    bool ok = flush_locked(write, stream, request->offset->value, ret);
    pthread_mutex_unlock(&stream->mutex);
    pthread_mutex_unlock(&write->commit_mutex);
    return ok;
}

static void flush_rows(void *service, struct rpc_call *call, struct rpc_message *message)
{
    struct write_error failure;
    BQS(FlushRowsResponse) reply;
    google__cloud__bigquery__storage__v1__flush_rows_response__init(&reply);
    ProtobufCMessage *unpacked = unpack(call, &google__cloud__bigquery__storage__v1__flush_rows_request__descriptor,
                                        message, MAX_CREATE_REQUEST_BYTES);
    const BQS(FlushRowsRequest) *request = (const void *)unpacked;
    if (!request)
        return;
    if (flush_stream(service, request, &failure)) {
        reply.offset = request->offset->value;
        rpc_call_reply(call, &reply.base);
    } else {
        write_finish(call, &failure);
    }
    protobuf_c_message_free_unpacked(unpacked, NULL);
}

/* ---- BatchCommitWriteStreams ------------------------------------------------------------------------------------ */

struct commit {
    struct bq_write *write;
    const BQS(BatchCommitWriteStreamsRequest) * request;
    struct table_name table;
    struct write_stream **streams; /* those that are good */
    size_t count;
    BQS(StorageError) * *errors; /* those that are not */
    size_t error_count;
    struct arena *arena;
};

static void add_stream_error(struct commit *commit, int code, const char *name, const char *text)
{
    BQS(StorageError) *error = arena_alloc(commit->arena, sizeof *error);
    google__cloud__bigquery__storage__v1__storage_error__init(error);
    char *message = xasprintf("%s Entity: %s", text, name);
    error->code = (BQS(StorageError__StorageErrorCode))code;
    error->entity = arena_strdup(commit->arena, slice_str(name));
    error->error_message = arena_strdup(commit->arena, slice_str(message));
    commit->errors[commit->error_count++] = error;
    free(message);
}

static bool same_table(const struct table_name *a, const struct table_name *b)
{
    return strcmp(a->project, b->project) == 0 && strcmp(a->dataset, b->dataset) == 0 &&
           strcmp(a->table, b->table) == 0;
}

static void gather_stream(struct commit *commit, const char *name)
{
    struct write_stream *stream = write_streams_find(commit->write->streams, slice_str(name));
    if (!stream || !same_table(&stream->table, &commit->table)) {
        add_stream_error(commit, BQS_CODE(STREAM_NOT_FOUND), name, "The stream was not found in this table.");
        return;
    }
    pthread_mutex_lock(&stream->mutex);
    bool finalized = stream->finalized, committed = stream->commit_us != 0;
    pthread_mutex_unlock(&stream->mutex);
    if (stream->type != STREAM_PENDING)
        add_stream_error(commit, BQS_CODE(INVALID_STREAM_TYPE), name, "Only PENDING streams can be committed.");
    else if (committed)
        add_stream_error(commit, BQS_CODE(STREAM_ALREADY_COMMITTED), name, "The stream is already committed.");
    else if (!finalized)
        add_stream_error(commit, BQS_CODE(INVALID_STREAM_STATE), name, "The stream is not finalized.");
    else if (stream->in_commit)
        add_stream_error(commit, BQS_CODE(INVALID_STREAM_STATE), name, "The stream is named twice.");
    else {
        stream->in_commit = true;
        commit->streams[commit->count++] = stream;
    }
}

/* The DEFAULT columns of the streams with rows: they must agree, because one batch has one set. */
static bool common_defaults(const struct commit *commit, struct slice *ret, struct error *err)
{
    bool any = false;
    *ret = SLICE_LIT("");
    for (size_t i = 0; i < commit->count; i++) {
        const struct write_stream *stream = commit->streams[i];
        if (stream->rows == 0)
            continue;
        if (any && !slice_eq(*ret, buf_slice(&stream->defaults))) {
            error_set(err, ERROR_PERMANENT, "invalid",
                      "The local server cannot commit streams with different missing value interpretations together");
            err->status = 400;
            return false;
        }
        any = true;
        *ret = buf_slice(&stream->defaults);
    }
    return true;
}

/* Everything of all streams in one engine commit. Finalized streams do not change, so their mutexes are not needed. */
static bool commit_rows(struct commit *commit, struct engine_schema *schema, struct error *err)
{
    struct slice defaults;
    if (!common_defaults(commit, &defaults, err))
        return false;
    bool *flags = write_default_flags(schema, defaults);
    struct engine_rows *rows = engine_rows_new(commit->write->engine, schema, flags, err);
    bool ok = rows != NULL;
    for (size_t i = 0; ok && i < commit->count; i++)
        ok = replay_stream(commit->streams[i], 0, commit->streams[i]->rows, schema, rows, err);
    ok = ok && (engine_rows_count(rows) == 0 || engine_rows_commit(rows, err));
    engine_rows_free(rows);
    free(flags);
    return ok;
}

static bool commit_streams(struct commit *commit, int64_t *ret_commit_us, struct write_error *ret)
{
    struct error err = ERROR_INIT;
    struct engine_schema *schema = write_open_table(commit->write, &commit->table, commit->request->parent, ret);
    if (!schema)
        return false;
    bool ok = commit_rows(commit, schema, &err);
    *ret_commit_us = clock_wall_us();
    for (size_t i = 0; ok && i < commit->count; i++) {
        pthread_mutex_lock(&commit->streams[i]->mutex);
        ok = write_stream_set_committed(commit->streams[i], *ret_commit_us, &err);
        pthread_mutex_unlock(&commit->streams[i]->mutex);
    }
    engine_schema_free(schema);
    return ok || write_fail_engine(ret, commit->request->parent, &err);
}

static void reply_commit(struct rpc_call *call, const struct commit *commit, int64_t commit_us)
{
    BQS(BatchCommitWriteStreamsResponse) reply;
    google__cloud__bigquery__storage__v1__batch_commit_write_streams_response__init(&reply);
    Google__Protobuf__Timestamp commit_time;
    set_timestamp(&commit_time, commit_us);
    if (commit->error_count == 0)
        reply.commit_time = &commit_time;
    reply.stream_errors = commit->errors;
    reply.n_stream_errors = commit->error_count;
    rpc_call_reply(call, &reply.base);
}

static bool check_commit(struct commit *commit, struct write_error *ret)
{
    const BQS(BatchCommitWriteStreamsRequest) *request = commit->request;
    if (!table_name_parse(slice_str(request->parent), &commit->table))
        return write_fail(ret, RPC_INVALID_ARGUMENT, 0, request->parent, "Invalid table name. Entity: %.900s",
                          request->parent);
    if (request->n_write_streams == 0 || request->n_write_streams > MAX_COMMIT_STREAMS)
        return write_fail(ret, RPC_INVALID_ARGUMENT, 0, request->parent, "A commit names 1 to %d streams",
                          MAX_COMMIT_STREAMS);
    return true;
}

static bool run_commit(struct commit *commit, int64_t *ret_commit_us, struct write_error *ret)
{
    const BQS(BatchCommitWriteStreamsRequest) *request = commit->request;
    bool ok = true;
    pthread_mutex_lock(&commit->write->commit_mutex);
    for (size_t i = 0; i < request->n_write_streams; i++)
        gather_stream(commit, request->write_streams[i]);
    if (commit->error_count == 0)
        ok = commit_streams(commit, ret_commit_us, ret);
    for (size_t i = 0; i < commit->count; i++)
        commit->streams[i]->in_commit = false;
    pthread_mutex_unlock(&commit->write->commit_mutex);
    return ok;
}

static void batch_commit(void *service, struct rpc_call *call, struct rpc_message *message)
{
    struct write_error failure;
    int64_t commit_us = 0;
    ProtobufCMessage *request =
        unpack(call, &google__cloud__bigquery__storage__v1__batch_commit_write_streams_request__descriptor, message,
               MAX_UNARY_REQUEST_BYTES);
    if (!request)
        return;
    struct commit commit = {.write = service, .request = (const void *)request, .arena = arena_new(0)};
    size_t slots = commit.request->n_write_streams + 1;
    commit.streams = xcalloc(slots, sizeof *commit.streams);
    commit.errors = xcalloc(slots, sizeof *commit.errors);
    if (check_commit(&commit, &failure) && run_commit(&commit, &commit_us, &failure))
        reply_commit(call, &commit, commit_us);
    else
        write_finish(call, &failure);
    free(commit.streams);
    free(commit.errors);
    arena_free(commit.arena);
    protobuf_c_message_free_unpacked(request, NULL);
}

/* ---- Life ------------------------------------------------------------------------------------------------------- */

static const struct rpc_method methods[] = {
    {.path = SERVICE "CreateWriteStream", .unary = create_write_stream, .effect = true},
    {.path = SERVICE "GetWriteStream", .unary = get_write_stream},
    {.path = SERVICE "FinalizeWriteStream", .unary = finalize_write_stream, .effect = true},
    {.path = SERVICE "BatchCommitWriteStreams", .unary = batch_commit, .effect = true},
    {.path = SERVICE "FlushRows", .unary = flush_rows, .effect = true},
    {.path = SERVICE "AppendRows", .stream = &append_handlers, .effect = true},
};

/* NULL: nothing waits and the service stops. */
static struct append_conn *next_connection(struct bq_write *write)
{
    pthread_mutex_lock(&write->mutex);
    while (!write->ready_first && !write->stopping)
        pthread_cond_wait(&write->work, &write->mutex);
    struct append_conn *conn = write->ready_first;
    if (conn) {
        write->ready_first = *append_ready_next(conn);
        if (!write->ready_first)
            write->ready_end = &write->ready_first;
    }
    pthread_mutex_unlock(&write->mutex);
    return conn;
}

static void *serve_connections(void *user)
{
    struct bq_write *write = user;
    struct append_conn *conn;
    while ((conn = next_connection(write))) {
        append_serve(conn);
        append_unref(conn);
    }
    return NULL;
}

/* The service closes connections without traffic; the bench can change after how long. */
static void *watch_connections(void *user)
{
    struct bq_write *write = user;
    pthread_mutex_lock(&write->mutex);
    while (!write->stopping) {
        int64_t idle_ms = faults_hazard(write->faults, HAZARD_APPEND_IDLE_MS);
        if (idle_ms > 0)
            append_close_idle(write, idle_ms);
        clock_cond_wait(&write->watch, &write->mutex,
                        clock_mono_ms() + (int64_t)(WATCH_INTERVAL_REAL_MS * clock_scale()));
    }
    pthread_mutex_unlock(&write->mutex);
    return NULL;
}

static bool start_threads(struct bq_write *write, struct error *err)
{
    int failed = pthread_create(&write->watcher, NULL, watch_connections, write);
    write->watched = failed == 0;
    for (size_t i = 0; !failed && i < WRITE_THREADS; i++) {
        failed = pthread_create(&write->threads[i], NULL, serve_connections, write);
        write->thread_count += failed == 0;
    }
    return !failed || error_errno(err, failed, "could not start a thread of the Storage Write server");
}

struct bq_write *bq_write_new(struct engine *engine, const char *folder, struct faults *faults, struct error *err)
{
    struct bq_write *write = xcalloc(1, sizeof *write);
    write->engine = engine;
    write->faults = faults;
    write->ready_end = &write->ready_first;
    pthread_mutex_init(&write->commit_mutex, NULL);
    pthread_mutex_init(&write->mutex, NULL);
    pthread_cond_init(&write->work, NULL);
    clock_cond_init(&write->watch);
    write->streams = write_streams_open(folder, err);
    if (write->streams && start_threads(write, err))
        return write;
    bq_write_free(write);
    return NULL;
}

void bq_write_register(struct bq_write *write, struct rpc_server *server)
{
    rpc_server_add(server, methods, sizeof methods / sizeof methods[0], write);
}

void bq_write_free(struct bq_write *write)
{
    if (!write)
        return;
    pthread_mutex_lock(&write->mutex);
    write->stopping = true;
    pthread_cond_broadcast(&write->work);
    pthread_cond_broadcast(&write->watch);
    pthread_mutex_unlock(&write->mutex);
    if (write->watched)
        pthread_join(write->watcher, NULL);
    for (size_t i = 0; i < write->thread_count; i++)
        pthread_join(write->threads[i], NULL);
    write_streams_close(write->streams);
    pthread_cond_destroy(&write->work);
    pthread_cond_destroy(&write->watch);
    pthread_mutex_destroy(&write->mutex);
    pthread_mutex_destroy(&write->commit_mutex);
    free(write);
}
