/* st_invoices.c - what a generated invoice says: money and quantities as text, calendar days as midnight Z, modifiedOn
 * null for some. */
#include "st_invoice_items.h"
#include "st_words.h"

static const struct slice SYNC[] = {ST_LIT("Pending"), ST_LIT("Posted"), ST_LIT("Exported")};
static const struct slice SENT[] = {ST_LIT("NotSent"), ST_LIT("Sent"), ST_LIT("Opened")};
static const struct slice REVIEW[] = {ST_LIT("NeedsReview"),     ST_LIT("OnHold"),   ST_LIT("Reviewed"),
                                      ST_LIT("PendingApproval"), ST_LIT("Rejected"), ST_LIT("ReadyForBilling"),
                                      ST_LIT("Invoiced")};
static const struct slice CONFIGURATION[] = {
    ST_LIT("JobInvoice"),        ST_LIT("ProjectInvoice"),        ST_LIT("CounterSales"),
    ST_LIT("MembershipInvoice"), ST_LIT("InterestChargeInvoice"), ST_LIT("ARImportInvoice")};

/* ---- Nested objects ---------------------------------------------------------------------------------------------- */

static void put_postal_address(struct st_out *out, const void *address)
{
    const struct st_address *a = address;
    if (a->street.ptr == NULL)
        ST_RAW(out, "null");
    else
        st_put_fields(out, st_address_fields, ST_ADDRESS_POSTAL_FIELDS, a);
}

static void put_tax_code(struct st_out *out, const void *extras)
{
    static const struct slice FORMS[] = {
        ST_LIT("{\"id\":77,\"name\":\"Sacramento 7.75%\",\"taxRate\":0.0775000000000000000}"),
        ST_LIT("{\"id\":78,\"name\":null,\"taxRate\":0.00}"), ST_LIT("null"),
        ST_LIT("{\"id\":77,\"name\":\"Sacramento 7.75%\",\"taxRate\":0.0775}")};
    st_raw(out, FORMS[*(const uint64_t *)extras & 3]);
}

static void put_batch(struct st_out *out, const void *base)
{
    const struct st_invoice *i = base;
    if (i->batch_id == ST_NULL) {
        ST_RAW(out, "null");
        return;
    }
    ST_RAW(out, "{\"id\":");
    st_put_number(out, i->batch_id);
    ST_RAW(out, ",\"number\":");
    st_put_digits(out, &i->batch_number);
    ST_RAW(out, ",\"name\":\"Invoices #");
    st_put_number(out, i->batch_number);
    ST_RAW(out, "\"}");
}

static void put_job(struct st_out *out, const void *base)
{
    const struct st_invoice *i = base;
    if (i->job_id == ST_NULL) {
        ST_RAW(out, "null");
        return;
    }
    ST_RAW(out, "{\"id\":");
    st_put_number(out, i->job_id);
    ST_RAW(out, ",\"number\":");
    st_put_digits(out, &i->job_number);
    ST_RAW(out, ",\"type\":");
    st_put_text(out, &i->job_type);
    *out->p++ = '}';
}

static void put_royalty(struct st_out *out, const void *extras)
{
    static const struct slice FORMS[] = {ST_LIT("null"),
                                         ST_LIT("{\"status\":\"Pending\",\"date\":null,\"sentOn\":null,\"memo\":null}"),
                                         ST_LIT("{\"status\":\"Exported\",\"date\":\"2023-04-01T00:00:00Z\",\"sentOn\":"
                                                "\"2023-04-03T16:22:01.5170000Z\",\"memo\":\"ok\"}"),
                                         ST_LIT("null")};
    st_raw(out, FORMS[*(const uint64_t *)extras >> 4 & 3]);
}

static void put_employee(struct st_out *out, const void *base)
{
    const struct st_invoice *i = base;
    if (i->employee.id == ST_NULL) {
        ST_RAW(out, "null");
        return;
    }
    ST_RAW(out, "{\"id\":");
    st_put_number(out, i->employee.id);
    ST_RAW(out, ",\"name\":");
    st_put_text(out, &i->employee.name);
    ST_RAW(out, ",\"modifiedOn\":");
    st_put_time(out, &i->employee_modified_on);
    *out->p++ = '}';
}

static void put_custom_fields(struct st_out *out, const void *extras)
{
    static const struct slice FORMS[] = {
        ST_LIT("null"), ST_LIT("[]"), ST_LIT("[{\"name\":\"PO \\\"ext\\\"\",\"value\":null}]"),
        ST_LIT("[{\"name\":\"Región\",\"value\":\"Noroeste \\u26a1\"},{\"name\":null,\"value\":\"1\"}]")};
    uint64_t draw = *(const uint64_t *)extras >> 8;
    st_raw(out, (draw & 1023) == 0 ? SLICE_LIT("[null,{\"name\":\"a\",\"value\":\"b\"}]") : FORMS[draw & 3]);
}

static const struct st_field FIELDS[] = {
    ST_FIELD("id", st_put_int, struct st_invoice, id),
    ST_FIELD("syncStatus", st_put_text, struct st_invoice, sync_status),
    ST_FIELD("budgetCodeId", st_put_int, struct st_invoice, budget_code_id),
    ST_FIELD("referenceNumber", st_put_digits, struct st_invoice, number),
    ST_FIELD("invoiceDate", st_put_time, struct st_invoice, invoice_date),
    ST_FIELD("dueDate", st_put_time, struct st_invoice, due_date),
    ST_FIELD("subTotal", st_put_money, struct st_invoice, subtotal),
    ST_FIELD("salesTax", st_put_money, struct st_invoice, sales_tax),
    ST_FIELD("salesTaxCode", put_tax_code, struct st_invoice, extras),
    ST_FIELD("taxZoneId", st_put_int, struct st_invoice, tax_zone_id),
    ST_FIELD("total", st_put_money, struct st_invoice, total),
    ST_FIELD("balance", st_put_money, struct st_invoice, balance),
    ST_FIELD("invoiceType", st_put_named, struct st_invoice, invoice_type),
    ST_FIELD("customer", st_put_named, struct st_invoice, customer),
    ST_FIELD("customerAddress", put_postal_address, struct st_invoice, customer_address),
    ST_FIELD("location", st_put_named, struct st_invoice, location),
    ST_FIELD("locationAddress", put_postal_address, struct st_invoice, location_address),
    ST_FIELD("businessUnit", st_put_named, struct st_invoice, business_unit),
    ST_FIELD("termName", st_put_text, struct st_invoice, term_name),
    ST_FIELD("createdBy", st_put_text, struct st_invoice, created_by),
    {ST_LIT("\"batch\":"), put_batch, 0},
    ST_FIELD("depositedOn", st_put_time, struct st_invoice, deposited_on),
    ST_FIELD("createdOn", st_put_time, struct st_invoice, created_on),
    ST_FIELD("modifiedOn", st_put_time, struct st_invoice, modified_on),
    ST_FIELD("adjustmentToId", st_put_int, struct st_invoice, adjustment_to_id),
    {ST_LIT("\"job\":"), put_job, 0},
    ST_FIELD("projectId", st_put_int, struct st_invoice, project_id),
    ST_FIELD("royalty", put_royalty, struct st_invoice, extras),
    {ST_LIT("\"employeeInfo\":"), put_employee, 0},
    ST_FIELD("commissionEligibilityDate", st_put_text, struct st_invoice, commission_date),
    ST_FIELD("sentStatus", st_put_text, struct st_invoice, sent_status),
    ST_FIELD("reviewStatus", st_put_text, struct st_invoice, review_status),
    ST_FIELD("assignedTo", st_put_named, struct st_invoice, assigned_to),
    ST_FIELD("summary", st_put_text, struct st_invoice, summary),
    {ST_LIT("\"items\":"), st_put_invoice_items, 0},
    ST_FIELD("customFields", put_custom_fields, struct st_invoice, extras),
    ST_FIELD("active", st_put_bool, struct st_invoice, active),
    ST_FIELD("discountTotal", st_put_money, struct st_invoice, discount),
    ST_FIELD("importId", st_put_text, struct st_invoice, import_id),
    ST_FIELD("exportId", st_put_text, struct st_invoice, export_id),
    ST_FIELD("materialSkuId", st_put_int, struct st_invoice, material_sku_id),
    ST_FIELD("membershipId", st_put_int, struct st_invoice, membership_id),
    ST_FIELD("paidOn", st_put_time, struct st_invoice, paid_on),
    ST_FIELD("invoiceConfiguration", st_put_text, struct st_invoice, configuration),
};

/* ---- The invoice ------------------------------------------------------------------------------------------------- */

static void derive_links(struct st_invoice *i, const struct st_version *v)
{
    const struct st_company *c = i->company;
    int64_t job = st_link(v->index, c->count[ST_INVOICES], c->count[ST_JOBS]);
    int64_t location = st_job_location(c, job), customer = st_location_customer(c, location);
    struct st_named type;
    st_job_type(c, job, &type);
    st_business_unit(c, job, &i->business_unit);
    i->job_id = st_company_id(c, ST_JOBS, job);
    i->job_number = st_job_number(c, job);
    i->job_type = type.name;
    i->customer = (struct st_named){st_company_id(c, ST_CUSTOMERS, customer), st_customer_name(c, customer)};
    i->location = (struct st_named){st_company_id(c, ST_LOCATIONS, location), i->customer.name};
    st_location_address(c, location, &i->location_address);
    i->customer_address = i->location_address;
}

static void derive_money(struct st_invoice *i, struct st_random *r)
{
    int64_t total = i->lines.subtotal_cents + i->lines.tax_cents;
    bool paid = st_random_percent(r, 80);
    i->subtotal = st_cents(i->lines.subtotal_cents);
    i->sales_tax = st_cents(i->lines.tax_cents);
    i->total = st_cents(total);
    i->balance = st_cents(paid ? 0 : total);
    i->balance.zeros = st_random_percent(r, 20) ? 2 : 0;
    i->discount = st_random_percent(r, 10) ? ST_NO_DECIMAL : st_cents(0);
    i->paid_on = paid ? i->invoice_date + 5 * ST_TICKS_PER_DAY : ST_NO_TIME;
    i->deposited_on = paid && st_random_percent(r, 60) ? i->invoice_date + 7 * ST_TICKS_PER_DAY : ST_NO_TIME;
}

static void derive_stable(struct st_invoice *i, const struct st_version *v, struct st_random *r)
{
    const struct st_company *c = i->company;
    i->invoice_date = st_random_percent(r, 2) ? v->created - v->created % ST_TICKS_PER_DAY + ST_TICKS_PER_DAY
                                              : v->created - v->created % ST_TICKS_PER_DAY;
    i->due_date = st_random_percent(r, 10) ? ST_NO_TIME : i->invoice_date + 30 * ST_TICKS_PER_DAY;
    i->tax_zone_id = st_random_percent(r, 40) ? 430 + (int64_t)st_random_below(r, 4) : ST_NULL;
    i->invoice_type = (struct st_named){st_random_percent(r, 30) ? 61 : ST_NULL, st_text1(SLICE_LIT("Standard"))};
    i->term_name = st_random_percent(r, 70) ? st_text1(SLICE_LIT("Due Upon Receipt")) : ST_NO_TEXT;
    i->created_by = st_person_name(c, (int64_t)(st_random_next(r) % 200));
    i->adjustment_to_id =
        v->index > 100 && st_random_percent(r, 1) ? st_company_id(c, ST_INVOICES, v->index - 77) : ST_NULL;
    i->project_id = st_random_percent(r, 10) ? 9000000 + (int64_t)st_random_below(r, 5000) : ST_NULL;
    int64_t employee = (int64_t)(st_random_next(r) % 200);
    i->employee = (struct st_named){st_random_percent(r, 85) ? st_employee(c, (uint64_t)employee) : ST_NULL,
                                    st_person_name(c, employee)};
    i->employee_modified_on = c->history_end - 90 * ST_TICKS_PER_DAY - employee * 987654321;
    i->assigned_to = st_random_percent(r, 50) ? i->employee : (struct st_named){.id = ST_NULL};
    i->commission_date = st_random_percent(r, 20) ? st_text1(SLICE_LIT("2024-02-29")) : ST_NO_TEXT;
    i->import_id = st_random_percent(r, 2) ? st_text1(SLICE_LIT("QB\\\\00017")) : ST_NO_TEXT;
    i->membership_id = st_random_percent(r, 15) ? 73000000 + (int64_t)st_random_below(r, 5000) : ST_NULL;
    i->configuration =
        st_text1(CONFIGURATION[st_random_percent(r, 90) ? 0 : st_random_below(r, ST_COUNT(CONFIGURATION))]);
}

static void derive_changing(struct st_invoice *i, const struct st_version *v, struct st_random *r)
{
    uint32_t sync = st_random_below(r, ST_COUNT(SYNC));
    i->sync_status = st_text1(SYNC[sync]);
    i->batch_number = 1000 + v->index / 40;
    i->batch_id = sync > 0 ? 770000 + v->index / 40 : ST_NULL;
    i->export_id = sync == 2 ? st_text1(SLICE_LIT("exp-0a1b")) : ST_NO_TEXT;
    i->sent_status = st_text1(SENT[st_random_below(r, ST_COUNT(SENT))]);
    i->review_status = st_text1(REVIEW[st_random_below(r, ST_COUNT(REVIEW))]);
    i->summary = st_random_percent(r, 80) ? st_summary(r) : ST_NO_TEXT;
    i->extras = st_random_next(r);
    derive_money(i, r);
}

static void write_invoice(struct st_out *out, const struct st_company *company, const struct st_version *v)
{
    struct st_random r = st_record_random(company, ST_INVOICES, v->index, ~0u);
    struct st_random changing = st_record_random(company, ST_INVOICES, v->index, ~v->revision - 1);
    struct st_invoice i = {
        .company = company, .created_on = v->created, .modified_on = v->modified, .active = v->active};
    i.id = st_company_id(company, ST_INVOICES, v->index);
    i.number = st_invoice_number(company, v->index);
    st_invoice_lines(company, v->index, v->revision, &i.lines);
    derive_links(&i, v);
    derive_stable(&i, v, &r);
    derive_changing(&i, v, &changing);
    st_put_fields(out, FIELDS, ST_COUNT(FIELDS), &i);
}

const struct st_model st_invoices_model = {
    .name = "invoices",
    .module = "accounting",
    .resource = "invoices",
    .active_filter = ST_ACTIVE_STATE,
    .has_export = true,
    .has_active = true,
    .fields = FIELDS,
    .field_count = ST_COUNT(FIELDS),
    .write = write_invoice,
};
