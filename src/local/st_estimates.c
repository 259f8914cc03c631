/* st_estimates.c - what a generated estimate says: money as numbers, items that are most of its bytes. */
#include "st_company.h"
#include "st_words.h"

struct estimate {
    const struct st_company *company;
    int64_t id, job_id, project_id, location_id, customer_id, job_number, created_on, modified_on, sold_on, sold_by;
    int64_t business_unit_id, budget_code_id;
    int8_t active, recommended, change_order;
    uint32_t status;
    struct st_text name, review_status, summary, business_unit, proposal_tag;
    struct st_decimal subtotal, tax;
    struct st_lines lines;
    uint64_t extras;
};

struct item {
    int64_t id, sku_id, sku_modified, created_on, modified_on, membership_type_id, group_root_id, invoice_item_id,
        budget_code_id;
    int64_t account_id;
    struct st_text sku_name, sku_display, sku_type, account_name, description, group_name, account;
    struct st_decimal sold_hours, qty, unit_rate, total, unit_cost, total_cost;
    int8_t chargeable;
};

enum { OPEN, SOLD, DISMISSED };

static void put_status(struct st_out *out, const void *base)
{
    static const struct slice FORMS[] = {ST_LIT("{\"value\":0,\"name\":\"Open\"}"),
                                         ST_LIT("{\"value\":1,\"name\":\"Sold\"}"),
                                         ST_LIT("{\"value\":2,\"name\":\"Dismissed\"}")};
    st_raw(out, FORMS[((const struct estimate *)base)->status]);
}

/* ---- Items ------------------------------------------------------------------------------------------------------- */

static const struct st_field SKU_FIELDS[] = {
    ST_FIELD("id", st_put_int, struct item, sku_id),
    ST_FIELD("name", st_put_text, struct item, sku_name),
    ST_FIELD("displayName", st_put_text, struct item, sku_display),
    ST_FIELD("type", st_put_text, struct item, sku_type),
    ST_FIELD("soldHours", st_put_decimal, struct item, sold_hours),
    ST_FIELD("generalLedgerAccountId", st_put_int, struct item, account_id),
    ST_FIELD("generalLedgerAccountName", st_put_text, struct item, account_name),
    ST_FIELD("modifiedOn", st_put_time, struct item, sku_modified),
};

static void put_sku(struct st_out *out, const void *item)
{
    st_put_fields(out, SKU_FIELDS, ST_COUNT(SKU_FIELDS), item);
}

static const struct st_field ITEM_FIELDS[] = {
    ST_FIELD("id", st_put_int, struct item, id),
    {ST_LIT("\"sku\":"), put_sku, 0},
    ST_FIELD("skuAccount", st_put_text, struct item, account),
    ST_FIELD("description", st_put_text, struct item, description),
    ST_FIELD("membershipTypeId", st_put_int, struct item, membership_type_id),
    ST_FIELD("qty", st_put_decimal, struct item, qty),
    ST_FIELD("unitRate", st_put_decimal, struct item, unit_rate),
    ST_FIELD("total", st_put_decimal, struct item, total),
    ST_FIELD("unitCost", st_put_decimal, struct item, unit_cost),
    ST_FIELD("totalCost", st_put_decimal, struct item, total_cost),
    ST_FIELD("itemGroupName", st_put_text, struct item, group_name),
    ST_FIELD("itemGroupRootId", st_put_int, struct item, group_root_id),
    ST_FIELD("createdOn", st_put_time, struct item, created_on),
    ST_FIELD("modifiedOn", st_put_time, struct item, modified_on),
    ST_FIELD("chargeable", st_put_bool, struct item, chargeable),
    ST_FIELD("invoiceItemId", st_put_int, struct item, invoice_item_id),
    ST_FIELD("budgetCodeId", st_put_int, struct item, budget_code_id),
};

static void derive_item(const struct estimate *e, int n, struct item *item)
{
    const struct st_line *line = &e->lines.line[n];
    const struct st_sku *sku = st_sku(line->sku);
    bool grouped = e->extras >> n & 1;
    *item = (struct item){
        .id = e->id * 8 + n,
        .sku_id = st_sku_id(line->sku),
        .sku_modified = e->company->history_end - 400 * ST_TICKS_PER_DAY - (int64_t)line->sku * 1234567890,
        .created_on = e->created_on,
        .modified_on = e->modified_on,
        .membership_type_id = ST_NULL,
        .group_root_id = grouped ? 4400 + (int64_t)line->sku : ST_NULL,
        .invoice_item_id = e->status == SOLD ? e->id * 8 + n + 7 : ST_NULL,
        .budget_code_id = ST_NULL,
        .account_id = 2300 + (int64_t)line->sku,
        .sku_name = st_text1(sku->name),
        .sku_display = st_text1(sku->display),
        .sku_type = st_text1(sku->type),
        .account_name = st_text1(SLICE_LIT("Income \\u2013 Service")),
        .description = st_text1(sku->description),
        .group_name = st_text1(grouped ? SLICE_LIT("Option \\\"A\\\"") : SLICE_LIT("")),
        .account = st_text1(SLICE_LIT("4000 Service Income")),
        .sold_hours = {(int64_t)line->sku * 25, 2, 0, false},
        .qty = {line->quantity_hundredths, 2, 8, false},
        .unit_rate = {line->price_cents, 2, 8, false},
        .total = st_cents(line->total_cents),
        .unit_cost = {line->cost_cents, 2, 8, false},
        .total_cost = {line->total_cost_cents, 2, 2, false},
        .chargeable = (int8_t)(e->extras >> (n + 8) & 3) - 1 ? 1 : -1,
    };
}

static void put_items(struct st_out *out, const void *base)
{
    const struct estimate *e = base;
    if ((e->extras >> 20 & 127) == 0) {
        ST_RAW(out, "null");
        return;
    }
    *out->p++ = '[';
    for (int n = 0; n < e->lines.count; n++) {
        struct item item;
        derive_item(e, n, &item);
        if (n)
            *out->p++ = ',';
        st_put_fields(out, ITEM_FIELDS, ST_COUNT(ITEM_FIELDS), &item);
    }
    if ((e->extras >> 30 & 1023) == 0)
        ST_RAW(out, ",null");
    *out->p++ = ']';
}

static void put_links(struct st_out *out, const void *extras)
{
    static const struct slice FORMS[] = {
        ST_LIT("[]"), ST_LIT("null"),
        ST_LIT("[{\"name\":\"Brochure\",\"url\":\"https:\\/\\/example.com\\/a?b=1&c=%20\"}]"), ST_LIT("[]")};
    st_raw(out, FORMS[*(const uint64_t *)extras >> 40 & 3]);
}

static const struct st_field FIELDS[] = {
    ST_FIELD("id", st_put_int, struct estimate, id),
    ST_FIELD("jobId", st_put_int, struct estimate, job_id),
    ST_FIELD("projectId", st_put_int, struct estimate, project_id),
    ST_FIELD("locationId", st_put_int, struct estimate, location_id),
    ST_FIELD("customerId", st_put_int, struct estimate, customer_id),
    ST_FIELD("name", st_put_text, struct estimate, name),
    ST_FIELD("jobNumber", st_put_digits, struct estimate, job_number),
    {ST_LIT("\"status\":"), put_status, 0},
    ST_FIELD("reviewStatus", st_put_text, struct estimate, review_status),
    ST_FIELD("summary", st_put_text, struct estimate, summary),
    ST_FIELD("createdOn", st_put_time, struct estimate, created_on),
    ST_FIELD("modifiedOn", st_put_time, struct estimate, modified_on),
    ST_FIELD("soldOn", st_put_time, struct estimate, sold_on),
    ST_FIELD("soldBy", st_put_int, struct estimate, sold_by),
    ST_FIELD("active", st_put_bool, struct estimate, active),
    {ST_LIT("\"items\":"), put_items, 0},
    ST_FIELD("externalLinks", put_links, struct estimate, extras),
    ST_FIELD("subtotal", st_put_decimal, struct estimate, subtotal),
    ST_FIELD("tax", st_put_decimal, struct estimate, tax),
    ST_FIELD("businessUnitId", st_put_int, struct estimate, business_unit_id),
    ST_FIELD("businessUnitName", st_put_text, struct estimate, business_unit),
    ST_FIELD("isRecommended", st_put_bool, struct estimate, recommended),
    ST_FIELD("budgetCodeId", st_put_int, struct estimate, budget_code_id),
    ST_FIELD("isChangeOrder", st_put_bool, struct estimate, change_order),
    ST_FIELD("proposalTagName", st_put_text, struct estimate, proposal_tag),
};

/* ---- The estimate ------------------------------------------------------------------------------------------------ */

static void derive_links(struct estimate *e, const struct st_version *v)
{
    const struct st_company *c = e->company;
    int64_t job = st_link(v->index, c->count[ST_ESTIMATES], c->count[ST_JOBS]);
    int64_t location = st_job_location(c, job);
    struct st_named unit;
    st_business_unit(c, job, &unit);
    e->job_id = st_company_id(c, ST_JOBS, job);
    e->job_number = st_job_number(c, job);
    e->location_id = st_company_id(c, ST_LOCATIONS, location);
    e->customer_id = st_company_id(c, ST_CUSTOMERS, st_location_customer(c, location));
    e->business_unit_id = unit.id;
    e->business_unit = unit.name;
}

static void derive_changing(struct estimate *e, const struct st_version *v, struct st_random *r)
{
    static const struct slice REVIEW[] = {ST_LIT("None"), ST_LIT("NeedsApproval"), ST_LIT("Approved"),
                                          ST_LIT("NotApproved")};
    uint32_t draw = st_random_below(r, 100);
    e->status = draw < 45 ? SOLD : draw < 75 ? OPEN : DISMISSED;
    e->review_status = st_text1(REVIEW[st_random_percent(r, 80) ? 0 : st_random_below(r, 4)]);
    e->sold_on = e->status == SOLD ? v->created + (v->modified - v->created) / 2 : ST_NO_TIME;
    e->sold_by = e->status == SOLD ? st_employee(e->company, st_random_next(r)) : ST_NULL;
    e->recommended = st_random_percent(r, 30);
    e->change_order = st_random_percent(r, 2);
    e->summary = st_random_percent(r, 70) ? st_summary(r) : ST_NO_TEXT;
    e->extras = st_random_next(r);
    st_draw_lines(r, 5, &e->lines);
    e->subtotal = st_cents(e->lines.subtotal_cents);
    e->tax = (struct st_decimal){e->lines.tax_cents * 100, 4, 0, false};
}

static void write_estimate(struct st_out *out, const struct st_company *company, const struct st_version *v)
{
    static const struct slice NAMES[] = {ST_LIT("Good"), ST_LIT("Better \\u2605"), ST_LIT("Best \\u2605\\u2605"),
                                         ST_LIT("Repair"), ST_LIT("Système complet")};
    struct st_random r = st_record_random(company, ST_ESTIMATES, v->index, 0);
    struct st_random changing = st_record_random(company, ST_ESTIMATES, v->index, v->revision + 1);
    struct estimate e = {.company = company, .created_on = v->created, .modified_on = v->modified, .active = v->active};
    e.id = st_company_id(company, ST_ESTIMATES, v->index);
    derive_links(&e, v);
    e.project_id = st_random_percent(&r, 10) ? 9000000 + (int64_t)st_random_below(&r, 5000) : ST_NULL;
    e.name = st_random_percent(&r, 3) ? ST_NO_TEXT : st_text1(NAMES[st_random_below(&r, ST_COUNT(NAMES))]);
    e.budget_code_id = st_random_percent(&r, 2) ? 88 : ST_NULL;
    e.proposal_tag = st_random_percent(&r, 10) ? st_text1(SLICE_LIT("Spring <2024>")) : ST_NO_TEXT;
    derive_changing(&e, v, &changing);
    st_put_fields(out, FIELDS, ST_COUNT(FIELDS), &e);
}

const struct st_model st_estimates_model = {
    .name = "estimates",
    .module = "sales",
    .resource = "estimates",
    .active_filter = ST_ACTIVE_FLAG,
    .has_export = true,
    .has_active = true,
    .fields = FIELDS,
    .field_count = ST_COUNT(FIELDS),
    .write = write_estimate,
};
