/* duckdb.h - our own prototypes of the part of DuckDB's C API that the local BigQuery server uses.
 *
 * The package that DuckDB comes in has no header. The only ABI subtlety is duckdb_result: 48 bytes that are passed
 * BY VALUE to duckdb_fetch_chunk; everything else is opaque pointers and integers (idx_t = uint64_t). Names and
 * meanings are DuckDB's; version 1.5.6, which test/deps/duckdb.sh pins. */
#ifndef ST_LOCAL_DUCKDB_H
#define ST_LOCAL_DUCKDB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t idx_t;
typedef enum { DuckDBSuccess = 0, DuckDBError = 1 } duckdb_state;

typedef enum {
    DUCKDB_TYPE_INVALID = 0,
    DUCKDB_TYPE_BOOLEAN = 1,
    DUCKDB_TYPE_TINYINT = 2,
    DUCKDB_TYPE_SMALLINT = 3,
    DUCKDB_TYPE_INTEGER = 4,
    DUCKDB_TYPE_BIGINT = 5,
    DUCKDB_TYPE_UTINYINT = 6,
    DUCKDB_TYPE_USMALLINT = 7,
    DUCKDB_TYPE_UINTEGER = 8,
    DUCKDB_TYPE_UBIGINT = 9,
    DUCKDB_TYPE_FLOAT = 10,
    DUCKDB_TYPE_DOUBLE = 11,
    DUCKDB_TYPE_TIMESTAMP = 12,
    DUCKDB_TYPE_DATE = 13,
    DUCKDB_TYPE_TIME = 14,
    DUCKDB_TYPE_INTERVAL = 15,
    DUCKDB_TYPE_HUGEINT = 16,
    DUCKDB_TYPE_VARCHAR = 17,
    DUCKDB_TYPE_BLOB = 18,
    DUCKDB_TYPE_DECIMAL = 19,
    DUCKDB_TYPE_ENUM = 23,
    DUCKDB_TYPE_LIST = 24,
    DUCKDB_TYPE_STRUCT = 25,
    DUCKDB_TYPE_UUID = 27,
    DUCKDB_TYPE_TIMESTAMP_TZ = 31,
    DUCKDB_TYPE_UHUGEINT = 32,
    DUCKDB_TYPE_ANY = 34,
    DUCKDB_TYPE_SQLNULL = 36,
} duckdb_type;

typedef struct {
    uint64_t lower;
    int64_t upper;
} duckdb_hugeint;

typedef struct {
    int32_t months, days;
    int64_t micros;
} duckdb_interval;

typedef struct {
    uint64_t offset, length;
} duckdb_list_entry;

/* Text up to 12 bytes stands inside. */
typedef struct {
    union {
        struct {
            uint32_t length;
            char prefix[4];
            char *ptr;
        } pointer;
        struct {
            uint32_t length;
            char inlined[12];
        } inlined;
    } value;
} duckdb_string_t;

typedef struct {
    idx_t deprecated_column_count, deprecated_row_count, deprecated_rows_changed;
    void *deprecated_columns;
    char *deprecated_error_message;
    void *internal_data;
} duckdb_result;

typedef struct duckdb_database_s *duckdb_database;
typedef struct duckdb_connection_s *duckdb_connection;
typedef struct duckdb_config_s *duckdb_config;
typedef struct duckdb_prepared_s *duckdb_prepared_statement;
typedef struct duckdb_extracted_s *duckdb_extracted_statements;
typedef struct duckdb_pending_s *duckdb_pending_result;
typedef struct duckdb_chunk_s *duckdb_data_chunk;
typedef struct duckdb_vector_s *duckdb_vector;
typedef struct duckdb_ltype_s *duckdb_logical_type;
typedef struct duckdb_appender_s *duckdb_appender;
typedef struct duckdb_sfunc_s *duckdb_scalar_function;
typedef struct duckdb_sfset_s *duckdb_scalar_function_set;
typedef struct duckdb_finfo_s *duckdb_function_info;

duckdb_state duckdb_create_config(duckdb_config *ret);
duckdb_state duckdb_set_config(duckdb_config config, const char *name, const char *option);
void duckdb_destroy_config(duckdb_config *config);
duckdb_state duckdb_open_ext(const char *path, duckdb_database *ret, duckdb_config config, char **ret_error);
void duckdb_close(duckdb_database *database);
duckdb_state duckdb_connect(duckdb_database database, duckdb_connection *ret);
void duckdb_disconnect(duckdb_connection *connection);
void duckdb_interrupt(duckdb_connection connection);
void duckdb_free(void *ptr);

duckdb_state duckdb_query(duckdb_connection connection, const char *query, duckdb_result *ret);
void duckdb_destroy_result(duckdb_result *result);
const char *duckdb_result_error(duckdb_result *result);
const char *duckdb_column_name(duckdb_result *result, idx_t col);
idx_t duckdb_column_count(duckdb_result *result);
idx_t duckdb_rows_changed(duckdb_result *result);
duckdb_logical_type duckdb_column_logical_type(duckdb_result *result, idx_t col);
duckdb_data_chunk duckdb_fetch_chunk(duckdb_result result);

duckdb_state duckdb_prepare(duckdb_connection connection, const char *query, duckdb_prepared_statement *ret);
void duckdb_destroy_prepare(duckdb_prepared_statement *prepared);
const char *duckdb_prepare_error(duckdb_prepared_statement prepared);
duckdb_state duckdb_bind_varchar_length(duckdb_prepared_statement prepared, idx_t index, const char *val, idx_t length);
duckdb_state duckdb_bind_int64(duckdb_prepared_statement prepared, idx_t index, int64_t val);
duckdb_state duckdb_execute_prepared(duckdb_prepared_statement prepared, duckdb_result *ret);
idx_t duckdb_prepared_statement_column_count(duckdb_prepared_statement prepared);
const char *duckdb_prepared_statement_column_name(duckdb_prepared_statement prepared, idx_t col);
duckdb_logical_type duckdb_prepared_statement_column_logical_type(duckdb_prepared_statement prepared, idx_t col);

duckdb_logical_type duckdb_create_logical_type(duckdb_type type);
duckdb_logical_type duckdb_create_list_type(duckdb_logical_type child);
duckdb_logical_type duckdb_create_struct_type(duckdb_logical_type *types, const char **names, idx_t count);
duckdb_logical_type duckdb_create_decimal_type(uint8_t width, uint8_t scale);
void duckdb_destroy_logical_type(duckdb_logical_type *type);
duckdb_type duckdb_get_type_id(duckdb_logical_type type);
char *duckdb_logical_type_get_alias(duckdb_logical_type type); /* duckdb_free; NULL = none */
uint8_t duckdb_decimal_scale(duckdb_logical_type type);
duckdb_type duckdb_decimal_internal_type(duckdb_logical_type type);
duckdb_type duckdb_enum_internal_type(duckdb_logical_type type);
char *duckdb_enum_dictionary_value(duckdb_logical_type type, idx_t index); /* duckdb_free */
duckdb_logical_type duckdb_list_type_child_type(duckdb_logical_type type);
idx_t duckdb_struct_type_child_count(duckdb_logical_type type);
char *duckdb_struct_type_child_name(duckdb_logical_type type, idx_t index); /* duckdb_free */
duckdb_logical_type duckdb_struct_type_child_type(duckdb_logical_type type, idx_t index);

duckdb_data_chunk duckdb_create_data_chunk(duckdb_logical_type *types, idx_t count);
void duckdb_destroy_data_chunk(duckdb_data_chunk *chunk);
void duckdb_data_chunk_reset(duckdb_data_chunk chunk);
idx_t duckdb_data_chunk_get_size(duckdb_data_chunk chunk);
void duckdb_data_chunk_set_size(duckdb_data_chunk chunk, idx_t size);
idx_t duckdb_data_chunk_get_column_count(duckdb_data_chunk chunk);
duckdb_vector duckdb_data_chunk_get_vector(duckdb_data_chunk chunk, idx_t col);
idx_t duckdb_vector_size(void);
duckdb_logical_type duckdb_vector_get_column_type(duckdb_vector vector);
void *duckdb_vector_get_data(duckdb_vector vector);
uint64_t *duckdb_vector_get_validity(duckdb_vector vector);
void duckdb_vector_ensure_validity_writable(duckdb_vector vector);
void duckdb_vector_assign_string_element_len(duckdb_vector vector, idx_t index, const char *str, idx_t len);
void duckdb_unsafe_vector_assign_string_element_len(duckdb_vector vector, idx_t index, const char *str, idx_t len);
duckdb_vector duckdb_list_vector_get_child(duckdb_vector vector);
idx_t duckdb_list_vector_get_size(duckdb_vector vector);
duckdb_state duckdb_list_vector_set_size(duckdb_vector vector, idx_t size);
duckdb_state duckdb_list_vector_reserve(duckdb_vector vector, idx_t capacity);
duckdb_vector duckdb_struct_vector_get_child(duckdb_vector vector, idx_t index);

duckdb_state duckdb_appender_create_query(duckdb_connection connection, const char *query, idx_t column_count,
                                          duckdb_logical_type *types, const char *table_name, const char **column_names,
                                          duckdb_appender *ret);
const char *duckdb_appender_error(duckdb_appender appender);
duckdb_state duckdb_appender_flush(duckdb_appender appender);
duckdb_state duckdb_appender_clear(duckdb_appender appender);
duckdb_state duckdb_appender_destroy(duckdb_appender *appender);
duckdb_state duckdb_append_data_chunk(duckdb_appender appender, duckdb_data_chunk chunk);

typedef void (*duckdb_scalar_fn)(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output);
duckdb_scalar_function duckdb_create_scalar_function(void);
void duckdb_destroy_scalar_function(duckdb_scalar_function *function);
void duckdb_scalar_function_set_name(duckdb_scalar_function function, const char *name);
void duckdb_scalar_function_add_parameter(duckdb_scalar_function function, duckdb_logical_type type);
void duckdb_scalar_function_set_return_type(duckdb_scalar_function function, duckdb_logical_type type);
void duckdb_scalar_function_set_extra_info(duckdb_scalar_function function, void *info, void (*destroy)(void *));
void *duckdb_scalar_function_get_extra_info(duckdb_function_info info);
void duckdb_scalar_function_set_special_handling(duckdb_scalar_function function);
void duckdb_scalar_function_set_function(duckdb_scalar_function function, duckdb_scalar_fn fn);
void duckdb_scalar_function_set_error(duckdb_function_info info, const char *error);
duckdb_scalar_function_set duckdb_create_scalar_function_set(const char *name);
void duckdb_destroy_scalar_function_set(duckdb_scalar_function_set *set);
duckdb_state duckdb_add_scalar_function_to_set(duckdb_scalar_function_set set, duckdb_scalar_function function);
duckdb_state duckdb_register_scalar_function_set(duckdb_connection connection, duckdb_scalar_function_set set);

#endif
