/* Settings from their files: which source wins, what is refused and how, tenants and entities. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "dispatch/settings.h"

#define JOBS "\"entities\":{\"jobs\":{}}"

static void clear_environment(void)
{
    for (size_t i = 0; i < settings_row_count(); i++)
        if (settings_rows[i].env)
            unsetenv(settings_rows[i].env);
    unsetenv("T1_ID");
    unsetenv("T1_SECRET");
    unsetenv("T1_KEY");
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* The registry is the real one; config and .env are this test's own. */
static bool load(struct settings *s, const char *config, const char *env, unsigned command, struct error *err)
{
    char registry[512];
    const char *root = getenv("ST_ROOT");
    snprintf(registry, sizeof registry, "%s/config/schema_registry.json", root ? root : ".");
    write_file("config.json", config);
    write_file("env", env);
    const struct settings_files files = {"config.json", registry, "env"};
    return settings_load(s, &files, command, err);
}

static void must_load(struct settings *s, const char *config, const char *env, unsigned command)
{
    struct error err = ERROR_INIT;
    if (!load(s, config, env, command, &err))
        fail_msg("%s: %s", config, err.message);
}

static void the_environment_stands_over_env_file_over_config_over_default(void **state)
{
    (void)state;
    struct settings s;
    clear_environment();
    setenv("MAX_RETRIES", "2", 1);
    setenv("BQ_LOCATION", "", 1); /* empty is unset */
    must_load(&s,
              "{" JOBS
              ",\"sync\":{\"lookbackDays\":3,\"concurrency\":4,\"maxRetries\":9},\"bigquery\":{\"location\":\"EU\"}}",
              "WORKER_CONCURRENCY=5\nMAX_RETRIES=7\nLOOKBACK_DAYS=\nBQ_DATASET_RAW='raw_x'\n", 0);
    assert_int_equal(s.overlap_s, 300);        /* default */
    assert_int_equal(s.lookback_days, 3);      /* config; the empty line in .env says nothing */
    assert_int_equal(s.worker_concurrency, 5); /* .env */
    assert_int_equal(s.max_retries, 2);        /* environment */
    assert_string_equal(s.bq_location, "EU");
    assert_string_equal(s.bq_dataset_raw, "raw_x");
    settings_release(&s);
    clear_environment();
}

static void wrong_files_are_refused_with_the_place(void **state)
{
    (void)state;
    static const struct {
        const char *config, *says;
    } cases[] = {
        {"[1]", "config.json: the file must hold an object"},
        {"{}", "entities is missing"},
        {"{\"entities\":[]}", "entities must be an object"},
        {"{\"entities\":{\"leads\":{}}}", "entities.leads is not in the registry"},
        {"{\"entities\":{\"jobs\":true}}", "entities.jobs must be an object"},
        {"{\"entities\":{\"jobs\":{\"mode\":\"full\"}}}", "entities.jobs.mode is not a known option"},
        {"{\"entities\":{\"jobs\":{\"enabled\":\"false\"}}}", "neither true nor false"},
        {"{\"entities\":{\"jobs\":{\"syncMode\":\"backfill\"}}}", "neither \"incremental\" nor \"full\""},
        {"{\"entities\":{\"jobs\":{\"schedule\":\"hourly\"}}}", "five cron fields"},
        {"{\"entities\":{\"jobs\":{\"priority\":0}}}", "priority outside 1 to 100"},
        {"{\"entities\":{\"jobs\":{\"priority\":\"high\"}}}", "priority that is not a whole number"},
        {"{" JOBS ",\"sync\":{\"lookBackDays\":7}}", "sync.lookBackDays is not a known option"},
        {"{" JOBS ",\"sync\":5}", "sync must be an object"},
        {"{" JOBS ",\"sync\":[]}", "sync must be an object"},
        {"{" JOBS ",\"sync\":{\"lookbackDays\":{}}}", "must be one value"},
        {"{" JOBS ",\"sync\":{\"lookbackDays\":0}}", "LOOKBACK_DAYS is \"0\" (from config.json)"},
        {"{" JOBS ",\"bigquery\":{\"projectId\":\"a\\u0000b\"}}", "NUL"},
        {"{" JOBS ",\"servicetitan\":{\"apiUrl\":\"http://127.0.0.1:1@example.com\"}}", "https://"},
        {"{" JOBS ",\"tenants\":{}}", "tenants must be a list"},
        {"{" JOBS ",\"tenants\":[7]}", "tenants[0] must be an object"},
        {"{" JOBS ",\"tenants\":[{\"id\":0}]}", "tenants[0] has no id"},
        {"{" JOBS ",\"tenants\":[{\"id\":1},{\"id\":\"1\"}]}", "tenants[1] has an id that stands in the list already"},
        {"{" JOBS ",\"tenants\":[{\"id\":1,\"clientId\":\"x\"}]}", "tenants[0].clientId is not a known option"},
        {"{" JOBS ",\"tenants\":[{\"id\":1,\"rateLimitPerSecond\":61}]}", "from 1 to 60"},
        {"{" JOBS ",\"tenants\":[{\"id\":1,\"rateLimitPerSecond\":\"fast\"}]}", "from 1 to 60"},
        {"{" JOBS ",\"tenants\":[{\"id\":1,\"apiUrl\":\"http://example.com\"}]}", "tenants[0].apiUrl is neither"},
        {"{" JOBS ",\"tenants\":[{\"id\":1,\"clientSecretEnv\":\"cs1.hush\"}]}",
         "tenants[0].clientSecretEnv is not the name"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct settings s;
        struct error err = ERROR_INIT;
        clear_environment();
        bool ok = load(&s, cases[i].config, "", 0, &err);
        if (ok || !strstr(err.message, cases[i].says) || err.class != ERROR_PERMANENT)
            fail_msg("%s gives %d \"%s\"", cases[i].config, ok, err.message);
        assert_null(strstr(err.message, "hush"));
        settings_release(&s);
    }
}

static void files_that_were_named_must_be_there(void **state)
{
    (void)state;
    struct settings s;
    struct error err = ERROR_INIT;
    struct settings_files files = {.config = "nowhere.json"};
    assert_false(settings_load(&s, &files, 0, &err));
    assert_non_null(strstr(err.message, "nowhere.json"));
    settings_release(&s);
    write_file("config.json", "{" JOBS "}");
    files = (struct settings_files){.config = "config.json", .env = "nowhere.env"};
    err = ERROR_INIT;
    assert_false(settings_load(&s, &files, 0, &err));
    assert_non_null(strstr(err.message, "nowhere.env"));
    settings_release(&s);
}

static void one_tenant_needs_only_the_st_variables(void **state)
{
    (void)state;
    struct settings s;
    struct error err = ERROR_INIT;
    clear_environment();
    assert_false(load(&s, "{" JOBS "}", "", SETTINGS_SERVICETITAN, &err));
    assert_non_null(strstr(err.message, "ST_TENANT_ID"));
    settings_release(&s);
    must_load(&s, "{" JOBS "}", "", 0); /* a dispatcher may do without */
    assert_int_equal(s.tenant_count, 0);
    settings_release(&s);

    setenv("ST_TENANT_ID", "77", 1);
    setenv("ST_CLIENT_ID", "cid", 1);
    assert_false(load(&s, "{" JOBS "}", "ST_APP_KEY=k\n", SETTINGS_SERVICETITAN, &err));
    assert_non_null(strstr(err.message, "tenant 77: not set: ST_CLIENT_SECRET."));
    settings_release(&s);
    must_load(&s, "{" JOBS "}", "ST_APP_KEY=k\nST_CLIENT_SECRET=\"s=1\"\n", SETTINGS_SERVICETITAN);
    assert_int_equal(s.tenant_count, 1);
    assert_non_null(settings_tenant(&s, 77));
    assert_null(settings_tenant(&s, 78));
    assert_true(slice_eq_str(secret_reveal(s.tenants[0].client_secret), "s=1"));
    settings_release(&s);

    setenv("ST_TENANT_ID", "seven", 1);
    assert_false(load(&s, "{" JOBS "}", "", 0, &err));
    assert_non_null(strstr(err.message, "ST_TENANT_ID is \"seven\""));
    settings_release(&s);
    clear_environment();
}

static void tenants_of_the_list_name_their_variables(void **state)
{
    (void)state;
    static const char config[] =
        "{" JOBS
        ",\"tenants\":[{\"id\":5,\"name\":\"North\",\"clientIdEnv\":\"T1_ID\",\"clientSecretEnv\":\"T1_SECRET\","
        "\"appKeyEnv\":\"T1_KEY\",\"rateLimitPerSecond\":7,\"apiUrl\":\"https://"
        "a.example\"},{\"id\":6,\"clientIdEnv\":\"T1_ID\"}]}";
    struct settings s;
    struct error err = ERROR_INIT;
    clear_environment();
    setenv("ST_TENANT_ID", "9", 1); /* the list stands over it */
    setenv("T1_ID", "id\n", 1);     /* as mounted secrets end */
    must_load(&s, config, "T1_SECRET=old\nT1_SECRET=new\n", 0);
    assert_int_equal(s.tenant_count, 2);
    assert_null(settings_tenant(&s, 9));
    const struct tenant_settings *t = settings_tenant(&s, 5);
    assert_string_equal(t->name, "North");
    assert_string_equal(t->api_url, "https://a.example");
    assert_null(t->auth_url);
    assert_int_equal(t->rate_per_second, 7);
    assert_true(slice_eq_str(secret_reveal(t->client_id), "id"));
    assert_true(slice_eq_str(secret_reveal(t->client_secret), "new"));
    assert_null(t->app_key);
    assert_string_equal(t->missing, "T1_KEY");
    assert_string_equal(settings_tenant(&s, 6)->missing, "clientSecretEnv, appKeyEnv");
    settings_release(&s);
    assert_false(load(&s, config, "T1_SECRET=x\n", SETTINGS_SERVICETITAN, &err));
    assert_non_null(strstr(err.message, "tenant 5: not set: T1_KEY."));
    settings_release(&s);
    clear_environment();
}

static void entities_take_the_config_s_section(void **state)
{
    (void)state;
    struct settings s;
    clear_environment();
    must_load(&s,
              "{\"entities\":{\"payroll\":{\"enabled\":false,\"syncMode\":\"full\",\"schedule\":\"0 2 * * "
              "1-5\",\"priority\":9,"
              "\"description\":\"Pay\"},\"jobs\":{}}}",
              "", 0);
    const struct entity_settings *payroll = settings_entity(&s, "payroll"), *jobs = settings_entity(&s, "jobs");
    assert_int_equal(s.entity_count, registry_count(s.registry));
    assert_false(payroll->enabled);
    assert_string_equal(payroll->sync_mode, "full");
    assert_string_equal(payroll->schedule, "0 2 * * 1-5");
    assert_int_equal(payroll->priority, 9);
    assert_string_equal(payroll->description, "Pay");
    assert_true(jobs->enabled);
    assert_string_equal(jobs->sync_mode, "incremental");
    assert_string_equal(jobs->description, jobs->entity->description);
    assert_false(settings_entity(&s, "campaigns")->enabled); /* not in the section */
    assert_null(settings_entity(&s, "leads"));
    settings_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_environment_stands_over_env_file_over_config_over_default),
        cmocka_unit_test(wrong_files_are_refused_with_the_place),
        cmocka_unit_test(files_that_were_named_must_be_there),
        cmocka_unit_test(one_tenant_needs_only_the_st_variables),
        cmocka_unit_test(tenants_of_the_list_name_their_variables),
        cmocka_unit_test(entities_take_the_config_s_section),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
