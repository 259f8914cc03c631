/* test_errors.c - what BigQuery's reasons, statuses and storage errors mean: every documented one, in tables. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

#include "../../../src/bigquery/append_error.h"
#include "../../../src/bigquery/errors.h"
#include "bigquery/client.h"
#include "bigquery_storage.pb-c.h"

struct rest_case {
    const char *reason;
    int status;
    enum error_class class;
    enum error_effect effect;
    bool blames_rows;
};

static const struct rest_case rest_cases[] = {
    {"backendError", 500, ERROR_RETRY, EFFECT_MAYBE, false},
    {"backendError", 502, ERROR_RETRY, EFFECT_MAYBE, false},
    {"backendError", 503, ERROR_RETRY, EFFECT_MAYBE, false},
    {"backendError", 504, ERROR_RETRY, EFFECT_MAYBE, false},
    {"internalError", 500, ERROR_RETRY, EFFECT_MAYBE, false},
    {"badGateway", 502, ERROR_RETRY, EFFECT_MAYBE, false},
    {"rateLimitExceeded", 403, ERROR_THROTTLED, EFFECT_NONE, false},
    {"quotaExceeded", 403, ERROR_THROTTLED, EFFECT_NONE, false},
    {"jobRateLimitExceeded", 400, ERROR_THROTTLED, EFFECT_NONE, false},
    {"jobBackendError", 400, ERROR_RETRY, EFFECT_NONE, false},
    {"jobInternalError", 400, ERROR_RETRY, EFFECT_NONE, false},
    {"tableUnavailable", 400, ERROR_RETRY, EFFECT_NONE, false},
    {"timeout", 400, ERROR_RETRY, EFFECT_NONE, false},
    {"bytesBilledLimitExceeded", 500, ERROR_PERMANENT, EFFECT_NONE, true},
    {"resourcesExceeded", 400, ERROR_PERMANENT, EFFECT_NONE, true},
    {"billingTierLimitExceeded", 400, ERROR_PERMANENT, EFFECT_NONE, true},
    {"badRequest", 400, ERROR_PERMANENT, EFFECT_NONE, false},
    {"invalid", 400, ERROR_PERMANENT, EFFECT_NONE, true},
    {"invalidQuery", 400, ERROR_PERMANENT, EFFECT_NONE, true},
    {"invalidUser", 400, ERROR_PERMANENT, EFFECT_NONE, false},
    {"resourceInUse", 400, ERROR_PERMANENT, EFFECT_NONE, false},
    {"accessDenied", 403, ERROR_PERMANENT, EFFECT_NONE, false},
    {"billingNotEnabled", 403, ERROR_PERMANENT, EFFECT_NONE, false},
    {"blocked", 403, ERROR_PERMANENT, EFFECT_NONE, false},
    {"responseTooLarge", 403, ERROR_PERMANENT, EFFECT_NONE, true},
    {"notFound", 404, ERROR_PERMANENT, EFFECT_NONE, false},
    {"duplicate", 409, ERROR_PERMANENT, EFFECT_NONE, false},
    {"stopped", 200, ERROR_RETRY, EFFECT_NONE, false},
    {"notImplemented", 501, ERROR_PERMANENT, EFFECT_NONE, false},
    {"conditionNotMet", 412, ERROR_PERMANENT, EFFECT_NONE, false},
};

static void each_reason_has_its_class(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rest_cases / sizeof rest_cases[0]; i++) {
        const struct rest_case *c = &rest_cases[i];
        struct error err = ERROR_INIT;
        char *body =
            xasprintf("{\"error\":{\"code\":%d,\"message\":\"M\",\"errors\":[{\"message\":\"M\",\"domain\":\"global\","
                      "\"reason\":\"%s\"}]}}",
                      c->status, c->reason);
        assert_false(bq_error(&err, c->status, slice_str(body), "do it"));
        if (err.class != c->class || err.effect != c->effect)
            fail_msg("%s/%d: class %d effect %d, not %d %d", c->reason, c->status, err.class, err.effect, c->class,
                     c->effect);
        assert_string_equal(err.code, c->reason);
        assert_int_equal(err.status, c->status);
        assert_int_equal(bq_reason_blames_rows(err.code), c->blames_rows);
        free(body);
    }
}

static void statuses_decide_without_a_reason(void **state)
{
    static const struct {
        int status;
        const char *body;
        enum error_class class;
    } cases[] = {
        {500, "", ERROR_RETRY},
        {502, "<html>", ERROR_RETRY},
        {503, "{}", ERROR_RETRY},
        {504, "{\"error\":", ERROR_RETRY},
        {408, "", ERROR_RETRY},
        {429, "", ERROR_THROTTLED},
        {400, "", ERROR_PERMANENT},
        {401, "{}", ERROR_PERMANENT},
        {403, "x", ERROR_PERMANENT},
        {404, "", ERROR_PERMANENT},
        {501, "", ERROR_PERMANENT},
        {418, "[]", ERROR_PERMANENT},
        {500, "{\"error\":{\"errors\":[],\"message\":\"M\"}}", ERROR_RETRY},
        {403, "{\"error\":{\"errors\":[{\"reason\":\"brandNew\"}],\"message\":\"M\"}}", ERROR_PERMANENT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        bq_error(&err, cases[i].status, slice_str(cases[i].body), "do it");
        if (err.class != cases[i].class)
            fail_msg("%d %s: class %d, not %d", cases[i].status, cases[i].body, err.class, cases[i].class);
    }
}

static void texts_overrule_reasons(void **state)
{
    static const struct {
        const char *reason, *message;
        enum error_class class;
    } cases[] = {
        {"resourcesExceeded",
         "Resources exceeded during query execution: Too many DML statements outstanding against table P:D.T, limit is "
         "20.",
         ERROR_THROTTLED},
        {"invalidQuery", "Could not serialize access to table P:D.T due to concurrent update", ERROR_RETRY},
        {"rateLimitExceeded", "Exceeded rate limits: too many table update operations for this table", ERROR_THROTTLED},
        {"invalidQuery", "UPDATE/MERGE must match at most one source row for each target row", ERROR_PERMANENT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        struct json_object *result = json_object_new_object();
        json_object_object_add(result, "reason", json_object_new_string(cases[i].reason));
        json_object_object_add(result, "message", json_object_new_string(cases[i].message));
        assert_false(bq_job_error(&err, result, "run job"));
        if (err.class != cases[i].class)
            fail_msg("%s: class %d, not %d", cases[i].message, err.class, cases[i].class);
        assert_int_equal(err.effect, EFFECT_NONE);
        assert_non_null(strstr(err.message, cases[i].message));
        json_object_put(result);
    }
}

static void append_failures_have_their_action(void **state)
{
    static const struct {
        int code, storage;
        enum append_action action;
    } cases[] = {
        {0, 0, APPEND_RETRY},  {1, 0, APPEND_RETRY},  {2, 0, APPEND_RETRY}, {3, 0, APPEND_FAIL},
        {3, 7, APPEND_YOUNG},  {4, 0, APPEND_RETRY},  {5, 0, APPEND_YOUNG}, {5, 1, APPEND_YOUNG},
        {5, 3, APPEND_YOUNG},  {6, 8, APPEND_FAIL},   {7, 0, APPEND_FAIL},  {8, 0, APPEND_THROTTLED},
        {9, 0, APPEND_RETRY},  {10, 0, APPEND_RETRY}, {11, 9, APPEND_FAIL}, {12, 0, APPEND_FAIL},
        {13, 0, APPEND_RETRY}, {14, 0, APPEND_RETRY}, {15, 0, APPEND_FAIL}, {16, 0, APPEND_REFRESH},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (append_action(cases[i].code, cases[i].storage) != cases[i].action)
            fail_msg("code %d storage %d: action %d, not %d", cases[i].code, cases[i].storage,
                     append_action(cases[i].code, cases[i].storage), cases[i].action);
}

static void storage_codes_are_read_from_details(void **state)
{
    (void)state;
    Google__Cloud__Bigquery__Storage__V1__StorageError detail;
    uint8_t detail_bytes[64], status_bytes[256];
    char type[] = "type.googleapis.com/google.cloud.bigquery.storage.v1.StorageError";
    google__cloud__bigquery__storage__v1__storage_error__init(&detail);
    detail.code = GOOGLE__CLOUD__BIGQUERY__STORAGE__V1__STORAGE_ERROR__STORAGE_ERROR_CODE__SCHEMA_MISMATCH_EXTRA_FIELDS;
    Google__Protobuf__Any any, *details[] = {&any};
    google__protobuf__any__init(&any);
    any.type_url = type;
    any.value.data = detail_bytes;
    any.value.len = google__cloud__bigquery__storage__v1__storage_error__pack(&detail, detail_bytes);
    Google__Rpc__Status status;
    google__rpc__status__init(&status);
    status.details = details;
    status.n_details = 1;
    size_t len = google__rpc__status__pack(&status, status_bytes);
    assert_int_equal(append_storage_code(slice_of(status_bytes, len)), 7);
    assert_int_equal(append_storage_code(SLICE_NULL), 0);
    assert_int_equal(append_storage_code(SLICE_LIT("\xff\xff\xff")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_reason_has_its_class),
        cmocka_unit_test(statuses_decide_without_a_reason),
        cmocka_unit_test(texts_overrule_reasons),
        cmocka_unit_test(append_failures_have_their_action),
        cmocka_unit_test(storage_codes_are_read_from_details),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
