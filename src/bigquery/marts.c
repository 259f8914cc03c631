/* marts.c - the analysts' views. Their texts are the files of sql/mart/, taken into the program when it is built, so that
 * a view and the program that makes it are always of one version.
 *
 * A file is what `st-ingestor query` and envsubst take, too: a comment, then one query in which ${BQ_...} stand for names. The
 * comment becomes the description of the view. */
#include "marts.h"

#include "tables.h"

static const struct column tenant_settings_columns[] = {
    {.name = "tenant_id", .type = COLUMN_INT64, .mode = COLUMN_REQUIRED, .description = "ServiceTitan tenant"},
    {.name = "time_zone",
     .type = COLUMN_STRING,
     .description = "Time zone of the business, a name of the tz database such as America/New_York; UTC when missing"},
};

const struct table_schema table_tenant_settings = {
    .name = "tenant_settings",
    .description = "What the views of this dataset must be told about each tenant; written by hand, empty at first",
    .columns = tenant_settings_columns,
    .column_count = sizeof tenant_settings_columns / sizeof tenant_settings_columns[0],
};

size_t mart_table_count(void)
{
    return 1;
}

const struct table_schema *mart_table(size_t index)
{
    return index < mart_table_count() ? &table_tenant_settings : NULL;
}

/* The assembler finds the file from the folder in which `make` runs. */
#define MART_TEXT(ident)                                                                                               \
    __asm__(".pushsection .rodata\nmart_text_" #ident ":\n.incbin \"sql/mart/" #ident                                  \
            ".sql\"\n.byte 0\n.popsection\n");                                                                         \
    extern const char mart_text_##ident[]

MART_TEXT(tenant_time_zones);
MART_TEXT(customer_survivors);
MART_TEXT(location_survivors);
MART_TEXT(jobs);
MART_TEXT(invoices);
MART_TEXT(invoice_items);
MART_TEXT(estimate_items);
MART_TEXT(payment_applications);
MART_TEXT(daily_revenue);
MART_TEXT(receivables_by_age);
MART_TEXT(estimate_conversion);
MART_TEXT(gross_pay_by_job);
MART_TEXT(campaign_return);
MART_TEXT(customer_lifetime_value);

static const struct mart_view views[] = {
    {"tenant_time_zones", mart_text_tenant_time_zones},
    {"customer_survivors", mart_text_customer_survivors},
    {"location_survivors", mart_text_location_survivors},
    {"jobs", mart_text_jobs},
    {"invoices", mart_text_invoices},
    {"invoice_items", mart_text_invoice_items},
    {"estimate_items", mart_text_estimate_items},
    {"payment_applications", mart_text_payment_applications},
    {"daily_revenue", mart_text_daily_revenue},
    {"receivables_by_age", mart_text_receivables_by_age},
    {"estimate_conversion", mart_text_estimate_conversion},
    {"gross_pay_by_job", mart_text_gross_pay_by_job},
    {"campaign_return", mart_text_campaign_return},
    {"customer_lifetime_value", mart_text_customer_lifetime_value},
};

size_t mart_view_count(void)
{
    return sizeof views / sizeof views[0];
}

const struct mart_view *mart_view_at(size_t index)
{
    return index < mart_view_count() ? &views[index] : NULL;
}

/* The head: all lines that begin with "--". */
static size_t head_length(const char *text)
{
    size_t len = 0;
    while (strncmp(text + len, "--", 2) == 0) {
        const char *end = strchr(text + len, '\n');
        BUG_ON(!end);
        len = (size_t)(end - text) + 1;
    }
    return len;
}

/* ---- What a view reads ------------------------------------------------------------------------------------------- */

static bool entity_is_there(const struct registry *registry, struct slice name)
{
    for (size_t i = 0; i < registry_count(registry); i++) {
        const struct entity *entity = registry_at(registry, i);
        if (slice_eq_str(name, entity->name))
            return entity->enabled;
    }
    return false;
}

/* Views stand behind those that they read, so this ends. */
static bool view_is_there(const struct registry *registry, const struct mart_view *reader, struct slice name)
{
    if (slice_eq_str(name, table_tenant_settings.name))
        return true;
    for (const struct mart_view *view = views; view < reader; view++)
        if (slice_eq_str(name, view->name))
            return mart_view_is_possible(registry, view);
    BUG_ON(true);
}

/* Names behind each `hole` of the query: "${BQ_DATASET_STAGE}." -> "jobs". */
static bool all_are_there(const struct registry *registry, const struct mart_view *view, const char *hole,
                          bool entities)
{
    const char *at = view->text + head_length(view->text);
    while ((at = strstr(at, hole))) {
        at += strlen(hole);
        struct slice name = slice_of(at, strcspn(at, "`"));
        if (!(entities ? entity_is_there(registry, name) : view_is_there(registry, view, name)))
            return false;
    }
    return true;
}

bool mart_view_is_possible(const struct registry *registry, const struct mart_view *view)
{
    return all_are_there(registry, view, "${BQ_DATASET_STAGE}.", true) &&
           all_are_there(registry, view, "${BQ_DATASET_MART}.", false);
}

/* By the order of dependence, as view_is_there. */
size_t mart_view_level(const struct mart_view *view)
{
    static const char hole[] = "${BQ_DATASET_MART}.";
    size_t level = 1;
    for (const char *at = strstr(view->text, hole); at; at = strstr(at, hole)) {
        at += strlen(hole);
        struct slice name = slice_of(at, strcspn(at, "`"));
        for (const struct mart_view *other = views; other < view; other++)
            if (slice_eq_str(name, other->name) && mart_view_level(other) >= level)
                level = mart_view_level(other) + 1;
    }
    return level;
}

/* ---- Texts ------------------------------------------------------------------------------------------------------- */

void mart_view_description(struct buf *out, const struct mart_view *view)
{
    static const char last[] = "-- Cost: "; /* what follows is for those who run the file */
    const char *end = view->text + head_length(view->text);
    for (const char *line = view->text; line < end; line = strchr(line, '\n') + 1) {
        if (strncmp(line, last, strlen(last)) == 0)
            break;
        size_t len = strcspn(line, "\n"), skip = len > 2 ? 3 : 2; /* "-- " */
        if (out->len > 0)
            buf_append_char(out, '\n');
        buf_append(out, line + skip, len - skip);
    }
}

void mart_view_query(struct buf *out, const struct warehouse_names *names, const struct mart_view *view)
{
    const struct {
        const char *hole, *name;
    } holes[] = {
        {"${BQ_PROJECT_ID}.", names->project}, /* its point goes with it */
        {"${BQ_DATASET_STAGE}", names->stage},
        {"${BQ_DATASET_MART}", names->mart},
    };
    const char *at = view->text + head_length(view->text), *next;
    while ((next = strstr(at, "${"))) {
        size_t i = 0;
        buf_append(out, at, (size_t)(next - at));
        while (strncmp(next, holes[i].hole, strlen(holes[i].hole)) != 0)
            BUG_ON(++i == sizeof holes / sizeof holes[0]);
        if (holes[i].name)
            buf_printf(out, "%s%s", holes[i].name, i == 0 ? "." : "");
        at = next + strlen(holes[i].hole);
    }
    struct slice rest = slice_trim(slice_str(at));
    if (rest.len > 0 && rest.ptr[rest.len - 1] == ';')
        rest.len--;
    buf_append_slice(out, rest);
}
