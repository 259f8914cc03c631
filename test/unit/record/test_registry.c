#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "record/registry.h"
#include "base/buf.h"

#define COLUMN(members) "{\"description\":\"d\"," members "}"
#define ID COLUMN("\"name\":\"id\",\"type\":\"INT64\",\"mode\":\"REQUIRED\"")
#define TIMES                                                                                                          \
    COLUMN("\"name\":\"createdOn\",\"type\":\"TIMESTAMP\"")                                                            \
    "," COLUMN("\"name\":\"modifiedOn\",\"type\":"                                                                     \
               "\"TIMESTAMP\"")
#define N COLUMN("\"name\":\"n\",\"type\":\"INT64\"")
#define HEAD                                                                                                           \
    "\"description\":\"d\",\"path\":\"a/tenant/{tenant}/"                                                              \
    "x\",\"maxPageSize\":100,\"primaryKey\":\"id\",\"stageTable\":\"stage_x\","
#define TABLE "\"targetTable\":\"raw_x\","
#define LAYOUT "\"partitionField\":\"modifiedOn\",\"clusterFields\":[\"n\"],"
#define ENTITY(members) "{\"entities\":{\"x\":{" members "}}}"
#define WITH_COLUMNS(list) ENTITY(HEAD TABLE LAYOUT "\"columns\":[" list "]")
#define WITH_COLUMN(members) WITH_COLUMNS(ID "," TIMES "," N "," COLUMN(members))

static struct registry *load_text(const char *text, struct error *err)
{
    FILE *file = fopen("r.json", "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    return registry_load("r.json", err);
}

struct refusal {
    const char *text, *message;
};

static void assert_refused(const struct refusal *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct error err = ERROR_INIT;
        assert_null(load_text(cases[i].text, &err));
        assert_string_equal(err.message, cases[i].message);
        assert_int_equal(err.class, ERROR_PERMANENT);
    }
}

static void a_wrong_registry_is_refused_with_the_place(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {"[]", "r.json: must be an object"},
        {"", "r.json is empty"},
        {"{\n\"entities\":{\"x\":{},\n\"x\":{}}}", "r.json: line 2: the member stands there twice"},
        {"{}", "r.json: entities: missing"},
        {"{\"entity\":{}}", "r.json: entity: unknown member"},
        {"{\"entities\":{}}", "r.json: entities: must have 1 to 64 entities, not 0"},
        {"{\"entities\":{\"x\":7}}", "r.json: entities.x: must be an object"},
        {"{\"entities\":{\"X y\":{}}}", "r.json: entities.X y: 'X y' must be small letters, digits and underscores"},
        {"{\"entities\":{\"all\":{}}}", "r.json: entities.all: 'all' means every entity and cannot name one"},
        {ENTITY("\"colums\":[]"), "r.json: entities.x.colums: unknown member"},
        {ENTITY(""), "r.json: entities.x.description: missing"},
        {ENTITY("\"description\":\"\""), "r.json: entities.x.description: must be a text that is not empty"},
        {ENTITY("\"description\":\"d\",\"path\":\"a/tenant/x\""),
         "r.json: entities.x.path: 'a/tenant/x' must have one segment '{tenant}'"},
        {ENTITY("\"description\":\"d\",\"path\":\"a/{tenant}/{tenant}/x\""),
         "r.json: entities.x.path: 'a/{tenant}/{tenant}/x' must have one segment '{tenant}'"},
        {ENTITY("\"description\":\"d\",\"path\":\"/a/{tenant}/x\""),
         "r.json: entities.x.path: '/a/{tenant}/x' must be plain segments without a slash at either end"},
        {ENTITY("\"description\":\"d\",\"path\":\"a/{tenant}/x?a=1\""),
         "r.json: entities.x.path: 'a/{tenant}/x?a=1' must be plain segments without a slash at either end"},
        {ENTITY("\"description\":\"d\",\"path\":\"a/{tenant}/x\",\"exportPath\":\"a\""),
         "r.json: entities.x.exportPath: 'a' must have one segment '{tenant}'"},
        {ENTITY("\"description\":\"d\",\"path\":\"a/{tenant}/x\",\"activeFilter\":{\"param\":\"a\"}"),
         "r.json: entities.x.activeFilter.value: missing"},
        {ENTITY("\"description\":\"d\",\"path\":\"a/{tenant}/x\""), "r.json: entities.x.maxPageSize: missing"},
        {ENTITY("\"description\":\"d\",\"path\":\"a/{tenant}/x\",\"maxPageSize\":5001"),
         "r.json: entities.x.maxPageSize: must be a number from 1 to 5000"},
        {ENTITY("\"description\":\"d\",\"path\":\"a/{tenant}/x\",\"maxPageSize\":1,\"surrogateKey\":1"),
         "r.json: entities.x.surrogateKey: must be true or false"},
        {ENTITY(HEAD "\"targetTable\":\"raw-x\""),
         "r.json: entities.x.targetTable: 'raw-x' must be letters, digits and underscores"},
        {ENTITY(HEAD TABLE LAYOUT "\"feedOnly\":[]"), "r.json: entities.x.columns: missing"},
        {WITH_COLUMNS(""), "r.json: entities.x.columns: must have 1 to 256 columns, not 0"},
        {WITH_COLUMNS("{\"name\":\"id\"}"), "r.json: entities.x.columns[0].type: missing"},
        {WITH_COLUMN("\"name\":\"a\",\"type\":\"INTEGER\""),
         "r.json: entities.x.columns[4].type: 'INTEGER' is not one of STRING, INT64, FLOAT64, BOOL, NUMERIC, "
         "TIMESTAMP, DATE, JSON, STRUCT"},
        {WITH_COLUMN("\"name\":\"a\",\"type\":\"INT64\",\"mode\":\"MAYBE\""),
         "r.json: entities.x.columns[4].mode: 'MAYBE' is not one of NULLABLE, REQUIRED, REPEATED"},
        {WITH_COLUMN("\"name\":\"N\",\"type\":\"INT64\""),
         "r.json: entities.x.columns[4].name: 'N' is there already (upper and lower case are the same)"},
        {WITH_COLUMN("\"name\":\"_extra\",\"type\":\"INT64\""),
         "r.json: entities.x.columns[4].name: '_extra' begins with an underscore, as bookkeeping columns do"},
        {WITH_COLUMN("\"name\":\"_Partition_x\",\"type\":\"INT64\""),
         "r.json: entities.x.columns[4].name: '_Partition_x' begins with '_PARTITION', which BigQuery reserves"},
        {WITH_COLUMN("\"name\":\"a.b\",\"type\":\"INT64\""),
         "r.json: entities.x.columns[4].name: 'a.b' must be letters, digits and underscores, a letter first"},
        {WITH_COLUMN("\"name\":\"a\",\"type\":\"INT64\",\"source\":\"b[x]\""),
         "r.json: entities.x.columns[4].source: 'b[x]' is not a path like 'a', 'a.b' or 'a[0].b'"},
        {WITH_COLUMN("\"name\":\"a\",\"type\":\"INT64\",\"source\":\"b..c\""),
         "r.json: entities.x.columns[4].source: 'b..c' is not a path like 'a', 'a.b' or 'a[0].b'"},
        {WITH_COLUMN("\"name\":\"a\",\"type\":\"INT64\",\"enum\":[\"A\"]"),
         "r.json: entities.x.columns[4].enum: only a STRING has listed values"},
        {WITH_COLUMN("\"name\":\"a\",\"type\":\"STRING\",\"enum\":[\"A\",\"A\"]"),
         "r.json: entities.x.columns[4].enum: 'A' stands there twice"},
        {WITH_COLUMN("\"name\":\"a\",\"type\":\"STRING\",\"fields\":[]"),
         "r.json: entities.x.columns[4].fields: only a STRUCT has fields"},
        {WITH_COLUMN("\"name\":\"a\",\"type\":\"STRUCT\""), "r.json: entities.x.columns[4].fields: missing"},
        {WITH_COLUMN("\"name\":\"a\",\"type\":\"STRUCT\",\"fields\":[" ID "]"),
         "r.json: entities.x.columns[4].fields[0].mode: a field of a STRUCT cannot be REQUIRED: the API's word is not "
         "dependable"},
        {WITH_COLUMN("\"name\":\"a\",\"type\":\"STRUCT\",\"fields\":[" N
                     "]},{\"description\":\"d\",\"name\":\"b\",\"type\":\"STRUCT\",\"source\":\"a\",\"fields\":[" N
                     "]"),
         "r.json: entities.x.columns[5].source: 'a' feeds the STRUCT 'a' already"},
        {WITH_COLUMN("\"name\":\"a\",\"type\":\"INT64\",\"mode\":\"REQUIRED\""),
         "r.json: entities.x.columns: 'a' is REQUIRED: only the key can be, the API's word is not dependable"},
        {WITH_COLUMNS(TIMES "," N), "r.json: entities.x.primaryKey: there is no column 'id'"},
        {WITH_COLUMNS(COLUMN("\"name\":\"id\",\"type\":\"STRING\",\"mode\":\"REQUIRED\"") "," TIMES "," N),
         "r.json: entities.x.primaryKey: the column 'id' must be INT64, REQUIRED and of that source"},
        {WITH_COLUMNS(ID "," N),
         "r.json: entities.x.columns: a NULLABLE TIMESTAMP column 'createdOn' of that source is needed"},
        {WITH_COLUMNS(ID "," TIMES), "r.json: entities.x.clusterFields: there is no column 'n'"},
        {WITH_COLUMNS(ID "," TIMES "," COLUMN("\"name\":\"n\",\"type\":\"FLOAT64\"")),
         "r.json: entities.x.clusterFields: 'n' is of a type that BigQuery cannot cluster by"},
        {ENTITY(HEAD TABLE "\"partitionField\":\"n\",\"clusterFields\":[\"n\"],\"columns\":[" ID "," TIMES "," N "]"),
         "r.json: entities.x.partitionField: 'n' must be a TIMESTAMP or DATE, not REPEATED"},
        {ENTITY(HEAD TABLE
                "\"partitionField\":\"modifiedOn\",\"clusterFields\":[\"a\",\"b\",\"c\",\"d\",\"e\"],\"columns\":[" ID
                "," TIMES "," N "]"),
         "r.json: entities.x.clusterFields: must have 1 to 4 members, not 5"},
        {ENTITY(HEAD TABLE LAYOUT "\"feedOnly\":[\"n\"],\"columns\":[" ID "," TIMES "," N "]"),
         "r.json: entities.x.feedOnly: 'n' is the source of the column 'n'"},
        {"{\"entities\":{\"x\":{" HEAD "\"targetTable\":\"stage_x\"," LAYOUT "\"columns\":[" ID "," TIMES "," N "]}}}",
         "r.json: entities.x.stageTable: 'stage_x' is the target table too"},
        {"{\"entities\":{\"x\":{" HEAD TABLE LAYOUT "\"columns\":[" ID "," TIMES "," N "]},\"y\":{" HEAD TABLE LAYOUT
         "\"columns\":[" ID "," TIMES "," N "]}}}",
         "r.json: entities.y.targetTable: 'raw_x' is the table of 'x'"},
    };
    assert_refused(cases, sizeof cases / sizeof cases[0]);
}

static void a_feed_that_is_not_there_is_refused(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {ENTITY(HEAD TABLE LAYOUT "\"feed\":\"both\",\"columns\":[" ID "," TIMES "," N "]"),
         "r.json: entities.x.feed: 'both' must be 'list' or 'export'"},
        {ENTITY(HEAD TABLE LAYOUT "\"feed\":\"export\",\"columns\":[" ID "," TIMES "," N "]"),
         "r.json: entities.x.feed: there is no exportPath to read"},
        {ENTITY(HEAD TABLE LAYOUT "\"tombstone\":\"active\",\"columns\":[" ID "," TIMES "," N "]"),
         "r.json: entities.x.tombstone: 'active' must be among the members of feedOnly"},
        {ENTITY(HEAD TABLE LAYOUT "\"feedOnly\":[\"active\"],\"tombstone\":\"active\",\"columns\":[" ID "," TIMES "," N
                                  "]"),
         "r.json: entities.x.tombstone: there is no exportPath to read"},
    };
    assert_refused(cases, sizeof cases / sizeof cases[0]);
}

static struct registry *load_project(void)
{
    const char *root = getenv("ST_ROOT");
    struct error err = ERROR_INIT;
    char *path = xasprintf("%s/config/schema_registry.json", root ? root : ".");
    struct registry *registry = registry_load(path, &err);
    free(path);
    assert_string_equal(err.message, "");
    return registry;
}

static const struct {
    const char *name, *path, *export_path, *active_param, *active_value, *cluster[4];
    bool id_nullable, modified_nullable;
    size_t columns;
} the_entries[] = {
    {"jobs",
     "jpm/v2/tenant/{tenant}/jobs",
     "jpm/v2/tenant/{tenant}/export/jobs",
     NULL,
     NULL,
     {"businessUnitId", "jobStatus"},
     false,
     false,
     36},
    {"invoices",
     "accounting/v2/tenant/{tenant}/invoices",
     "accounting/v2/tenant/{tenant}/export/invoices",
     "activeState",
     "All",
     {"businessUnitId", "jobId", "status"},
     false,
     true,
     44 + 3},
    {"estimates",
     "sales/v2/tenant/{tenant}/estimates",
     "sales/v2/tenant/{tenant}/export/estimates",
     "active",
     "Any",
     {"businessUnitId", "jobId", "status"},
     false,
     false,
     25 + 1},
    {"payments",
     "accounting/v2/tenant/{tenant}/payments",
     "accounting/v2/tenant/{tenant}/export/payments",
     "activeState",
     "All",
     {"invoiceId", "paymentTypeId", "status"},
     false,
     false,
     23 + 3},
    {"payroll",
     "payroll/v2/tenant/{tenant}/gross-pay-items",
     "payroll/v2/tenant/{tenant}/export/gross-pay-items",
     NULL,
     NULL,
     {"employeeId", "paidDate"},
     true,
     false,
     42 + 1},
    {"customers",
     "crm/v2/tenant/{tenant}/customers",
     "crm/v2/tenant/{tenant}/export/customers",
     "active",
     "Any",
     {"type", "active"},
     false,
     false,
     20},
    {"locations",
     "crm/v2/tenant/{tenant}/locations",
     "crm/v2/tenant/{tenant}/export/locations",
     "active",
     "Any",
     {"customerId", "active"},
     false,
     false,
     15},
    {"campaigns",
     "marketing/v2/tenant/{tenant}/campaigns",
     NULL,
     "active",
     "Any",
     {"active", "categoryId"},
     false,
     false,
     13 + 1},
    {"appointments",
     "jpm/v2/tenant/{tenant}/appointments",
     "jpm/v2/tenant/{tenant}/export/appointments",
     "active",
     "Any",
     {"jobId", "status"},
     false,
     false,
     16},
    {"job_types", "jpm/v2/tenant/{tenant}/job-types", NULL, "active", "Any", {"active"}, false, false, 18},
    {"business_units",
     "settings/v2/tenant/{tenant}/business-units",
     "settings/v2/tenant/{tenant}/export/business-units",
     "active",
     "Any",
     {"active"},
     false,
     false,
     26},
    {"technicians",
     "settings/v2/tenant/{tenant}/technicians",
     "settings/v2/tenant/{tenant}/export/technicians",
     "active",
     "Any",
     {"businessUnitId", "active"},
     false,
     false,
     45},
};

static void the_entities(void **state)
{
    (void)state;
    struct registry *registry = load_project();
    assert_int_equal(registry_count(registry), sizeof the_entries / sizeof the_entries[0]);
    assert_null(registry_find(registry, "appointment"));
    assert_null(registry_at(registry, registry_count(registry)));
    for (size_t i = 0; i < sizeof the_entries / sizeof the_entries[0]; i++) {
        const struct entity *entity = registry_at(registry, i);
        assert_string_equal(entity->name, the_entries[i].name);
        assert_ptr_equal(registry_find(registry, the_entries[i].name), entity);
        assert_string_equal(entity->path, the_entries[i].path);
        assert_string_equal(entity->export_path ? entity->export_path : "-",
                            the_entries[i].export_path ? the_entries[i].export_path : "-");
        assert_string_equal(entity->active_param ? entity->active_param : "-",
                            the_entries[i].active_param ? the_entries[i].active_param : "-");
        assert_string_equal(entity->active_value ? entity->active_value : "-",
                            the_entries[i].active_value ? the_entries[i].active_value : "-");
        assert_int_equal(entity->max_page_size, 5000);
        assert_int_equal(entity->id_nullable, the_entries[i].id_nullable);
        assert_int_equal(entity->modified_nullable, the_entries[i].modified_nullable);
        assert_int_equal(entity->source_column_count, the_entries[i].columns);
        for (size_t c = 0; c < 4; c++)
            assert_string_equal(entity->target.cluster[c] ? entity->target.cluster[c] : "-",
                                the_entries[i].cluster[c] ? the_entries[i].cluster[c] : "-");
        assert_int_equal(entity->target.partition, PARTITION_DAY);
        assert_string_equal(entity->target.partition_column, "modifiedOn");
        assert_int_equal(entity->stage.partition, PARTITION_HOUR);
        assert_string_equal(entity->stage.partition_column, "_staged_at");
        assert_int_equal(entity->stage.partition_expiration_days, 7);
    }
    registry_free(registry);
}

static void both_tables_end_with_their_bookkeeping(void **state)
{
    (void)state;
    static const char *const target[] = {"_tenant_id",  "_run_id", "_ingested_at", "_ingestion_source", "_row_hash",
                                         "_fetched_at", "_extra",  "_deleted_at",  "_group_date"};
    static const char *const stage[] = {"_tenant_id",  "_run_id", "_fetch_id", "_row_number", "_row_hash",
                                        "_fetched_at", "_extra",  "_deleted",  "_group_date", "_staged_at"};
    struct registry *registry = load_project();
    for (size_t i = 0; i < registry_count(registry); i++) {
        const struct entity *entity = registry_at(registry, i);
        size_t source = entity->source_column_count;
        assert_int_equal(entity->target.column_count, source + 9);
        assert_int_equal(entity->stage.column_count, source + 10);
        for (size_t c = 0; c < source; c++) {
            assert_string_equal(entity->target.columns[c].name, entity->stage.columns[c].name);
            assert_non_null(entity->target.columns[c].source);
            assert_non_null(entity->target.columns[c].description);
        }
        for (size_t c = 0; c < 9; c++) {
            assert_string_equal(entity->target.columns[source + c].name, target[c]);
            assert_null(entity->target.columns[source + c].source);
        }
        for (size_t c = 0; c < 10; c++)
            assert_string_equal(entity->stage.columns[source + c].name, stage[c]);
        assert_string_equal(entity->stage.columns[source + 9].default_sql, "CURRENT_TIMESTAMP()");
    }
    registry_free(registry);
}

static void columns_of_the_brief_have_their_sources(void **state)
{
    (void)state;
    static const struct {
        const char *entity, *column, *source;
        enum column_type type;
    } cases[] = {
        {"invoices", "businessUnitId", "businessUnit.id", COLUMN_INT64},
        {"invoices", "jobId", "job.id", COLUMN_INT64},
        {"invoices", "status", "syncStatus", COLUMN_STRING},
        {"invoices", "total", "total", COLUMN_NUMERIC},
        {"payments", "invoiceId", "appliedTo[0].appliedTo", COLUMN_INT64},
        {"payments", "paymentTypeId", "typeId", COLUMN_INT64},
        {"payments", "status", "syncStatus", COLUMN_STRING},
        {"payroll", "paidDate", "date", COLUMN_DATE},
        {"payroll", "date", "date", COLUMN_TIMESTAMP},
        {"payroll", "locationZip", "locationZip", COLUMN_STRING},
        {"estimates", "status", "status.name", COLUMN_STRING},
        {"estimates", "statusValue", "status.value", COLUMN_INT64},
        {"campaigns", "categoryId", "category.id", COLUMN_INT64},
        {"jobs", "total", "total", COLUMN_NUMERIC},
    };
    struct registry *registry = load_project();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct entity *entity = registry_find(registry, cases[i].entity);
        const struct column *column = column_find(entity->target.columns, entity->source_column_count, cases[i].column);
        assert_non_null(column);
        assert_string_equal(column->source, cases[i].source);
        assert_int_equal(column->type, cases[i].type);
    }
    registry_free(registry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_registry_is_refused_with_the_place),
        cmocka_unit_test(a_feed_that_is_not_there_is_refused),
        cmocka_unit_test(the_entities),
        cmocka_unit_test(both_tables_end_with_their_bookkeeping),
        cmocka_unit_test(columns_of_the_brief_have_their_sources),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
