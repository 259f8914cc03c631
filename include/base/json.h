/* json.h - json-c with the strictness and the errors that config and replies need.
 *
 * Not for records: json-c builds a tree and saturates big integers (record/tokenizer.h is for those).
 * Paths are dotted member names: "statistics.query.totalBytesBilled". */
#ifndef ST_BASE_JSON_H
#define ST_BASE_JSON_H

#include <json-c/json.h>

#include "base/error.h"
#include "base/slice.h"

enum { JSON_MAX_DEPTH = 64 };

/* Strict parse of a whole text (UTF-8 checked, nothing behind it). The caller owns the result (json_object_put).
 * NULL and err (PERMANENT, "json") with line and column on failure. `what` names the text in the message. */
struct json_object *json_parse(struct slice text, const char *what, struct error *err) MUST_CHECK;
struct json_object *json_load_file(const char *path, size_t max_bytes, struct error *err) MUST_CHECK;

/* Borrowed member at a path, or NULL when absent or null. */
struct json_object *json_at(struct json_object *obj, const char *path);
/* Text of a string (or number) member; `fallback` when absent. Valid as long as obj. */
const char *json_text_at(struct json_object *obj, const char *path, const char *fallback);
/* int64 from a number or a decimal string (as Google writes 64-bit numbers). */
int64_t json_int_at(struct json_object *obj, const char *path, int64_t fallback);
bool json_bool_at(struct json_object *obj, const char *path, bool fallback);

#endif
