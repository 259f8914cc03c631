/* local_json.c - see local_json.h. */
#include "local_json.h"

struct json_object *local_read_object(struct http_exchange *x, struct error *err)
{
    struct json_object *body = json_parse(http_exchange_body(x), "body", err);
    if (body == NULL || json_object_is_type(body, json_type_object))
        return body;
    json_object_put(body);
    error_set(err, ERROR_PERMANENT, "json", "cannot use the body: an object is needed");
    return NULL;
}

void local_reply_error(struct http_exchange *x, int status, const char *message)
{
    struct buf body = BUF_INIT;
    buf_append_str(&body, "{\"error\":");
    buf_append_json_string(&body, slice_str(message));
    buf_append_char(&body, '}');
    http_exchange_reply_buf(x, status, "application/json", &body);
    buf_release(&body);
}
