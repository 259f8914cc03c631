/* st_jobs.c - what a generated job says. Its total is its invoice's subtotal as generated. */
#include "st_company.h"
#include "st_words.h"

struct job {
    const struct st_company *company;
    int64_t index, id, number, project_id, customer_id, location_id, completed_on, business_unit_id, job_type_id,
        campaign_id;
    int64_t appointment_count, first_appointment_id, last_appointment_id, recall_for_id, warranty_id;
    int64_t lead_job_id, lead_employee_id, created_on, created_by_id, modified_on;
    int64_t lead_call_id, partner_lead_call_id, booking_id, sold_by_id, invoice_id, membership_id,
        created_from_estimate_id;
    int8_t no_charge, notifications_enabled;
    struct st_text status, priority, customer_po, summary;
    struct st_decimal total;
    uint64_t extras; /* randomness of the arrays */
};

enum { YOUNG_DAYS = 14 }; /* younger jobs of generated history are still under way */

static const struct slice STATUS[] = {ST_LIT("Scheduled"), ST_LIT("Dispatched"), ST_LIT("InProgress"),
                                      ST_LIT("Hold"),      ST_LIT("Completed"),  ST_LIT("Canceled")};
static const struct slice PRIORITY[] = {ST_LIT("Normal"), ST_LIT("Low"), ST_LIT("High"), ST_LIT("Urgent")};
enum { COMPLETED = 4, CANCELED = 5 };

static uint32_t draw_status(struct st_random *r, const struct job *job, const struct st_version *v)
{
    bool young = v->created > job->company->history_end - YOUNG_DAYS * ST_TICKS_PER_DAY;
    if (young && v->revision < 2)
        return st_random_below(r, 4);
    return st_random_percent(r, 88) ? COMPLETED : CANCELED;
}

static int64_t optional(struct st_random *r, uint32_t percent, int64_t first)
{
    uint64_t draw = st_random_next(r);
    return draw % 100 < percent ? first + (int64_t)(draw >> 40) : ST_NULL;
}

static void derive_links(struct job *job, const struct st_version *v)
{
    const struct st_company *c = job->company;
    int64_t location = st_job_location(c, v->index);
    struct st_named unit, type;
    st_business_unit(c, v->index, &unit);
    st_job_type(c, v->index, &type);
    job->location_id = st_company_id(c, ST_LOCATIONS, location);
    job->customer_id = st_company_id(c, ST_CUSTOMERS, st_location_customer(c, location));
    job->campaign_id = st_company_id(c, ST_CAMPAIGNS, st_job_campaign(c, v->index));
    job->business_unit_id = unit.id;
    job->job_type_id = type.id;
    struct st_span invoices = st_link_back(v->index, c->count[ST_INVOICES], c->count[ST_JOBS]);
    job->invoice_id = invoices.from < invoices.to ? st_company_id(c, ST_INVOICES, invoices.from) : 0;
    if (invoices.from < invoices.to) {
        struct st_lines lines;
        st_invoice_lines(c, invoices.from, v->revision, &lines);
        job->total = st_cents(lines.subtotal_cents);
    } else {
        job->total = v->revision ? st_cents((int64_t)(v->revision * 1999u)) : st_cents(0);
    }
}

static void derive_stable(struct job *job, const struct st_version *v, struct st_random *r)
{
    const struct st_company *c = job->company;
    job->project_id = optional(r, 12, 9000000);
    job->appointment_count = st_random_percent(r, 10) ? 2 : st_random_percent(r, 5) ? 3 : 1;
    job->first_appointment_id = 2 * job->id + 1;
    job->last_appointment_id = job->first_appointment_id + 2 * (job->appointment_count - 1);
    job->recall_for_id = v->index > 100 && st_random_percent(r, 2) ? st_company_id(c, ST_JOBS, v->index - 97) : ST_NULL;
    job->warranty_id = v->index > 100 && st_random_percent(r, 1) ? st_company_id(c, ST_JOBS, v->index - 61) : ST_NULL;
    bool lead = v->index > 10 && st_random_percent(r, 6);
    job->lead_job_id = lead ? st_company_id(c, ST_JOBS, v->index - 9) : ST_NULL;
    job->lead_employee_id = lead && st_random_percent(r, 70) ? st_employee(c, st_random_next(r)) : ST_NULL;
    job->created_by_id = st_employee(c, st_random_next(r));
    job->lead_call_id = optional(r, 45, 70000000);
    job->partner_lead_call_id = optional(r, 1, 71000000);
    job->booking_id = optional(r, 8, 72000000);
    job->membership_id = optional(r, 20, 73000000);
    job->created_from_estimate_id = optional(r, 2, 74000000);
    job->extras = st_random_next(r);
}

static void derive_changing(struct job *job, const struct st_version *v, struct st_random *r)
{
    uint32_t status = draw_status(r, job, v);
    bool done = status == COMPLETED || (status == CANCELED && st_random_percent(r, 30));
    int64_t open = v->modified - v->created;
    int64_t took = open > 0 ? (int64_t)(st_random_next(r) % (uint64_t)open) : 0;
    job->completed_on = done ? v->created + took - (v->created + took) % 10000 : ST_NO_TIME;
    if (job->completed_on != ST_NO_TIME && job->completed_on < v->created)
        job->completed_on = v->created;
    job->status = st_text1(STATUS[status]);
    uint32_t urgency = st_random_below(r, 16);
    job->priority = st_text1(PRIORITY[urgency < 13 ? 0 : urgency - 12]);
    job->no_charge = st_random_percent(r, 4);
    job->notifications_enabled = st_random_percent(r, 85);
    job->sold_by_id = st_random_percent(r, 35) ? st_employee(job->company, st_random_next(r)) : ST_NULL;
    uint32_t po = st_random_below(r, 50);
    job->customer_po = po == 0 ? ST_NO_TEXT : st_text1(po < 4 ? SLICE_LIT("PO \\\"77-B\\\"") : SLICE_LIT(""));
    job->summary = st_random_percent(r, 5) ? ST_NO_TEXT : st_summary(r);
    uint32_t form = st_random_below(r, 40);
    if (form == 0)
        job->total = ST_NO_DECIMAL;
    else if (form < 5)
        job->total.zeros = 8;
}

/* ---- Arrays and objects ------------------------------------------------------------------------------------------ */

static void put_lead_source(struct st_out *out, const void *base)
{
    const struct job *job = base;
    if (job->lead_job_id == ST_NULL) {
        ST_RAW(out, "null");
        return;
    }
    ST_RAW(out, "{\"jobId\":");
    st_put_int(out, &job->lead_job_id);
    ST_RAW(out, ",\"employeeId\":");
    st_put_int(out, &job->lead_employee_id);
    *out->p++ = '}';
}

static void put_tags(struct st_out *out, const void *extras)
{
    uint64_t draw = *(const uint64_t *)extras;
    int count = (int)(draw & 3);
    *out->p++ = '[';
    for (int i = 0; i < count; i++) {
        if (i)
            *out->p++ = ',';
        if (i == 1 && (draw >> 8 & 127) == 0)
            ST_RAW(out, "null"); /* seen in real arrays */
        else
            st_put_number(out, 3000 + (int64_t)(draw >> (12 + 6 * i) & 63));
    }
    *out->p++ = ']';
}

static void put_estimates(struct st_out *out, const void *base)
{
    const struct job *job = base;
    const struct st_company *c = job->company;
    struct st_span span = st_link_back(job->index, c->count[ST_ESTIMATES], c->count[ST_JOBS]);
    *out->p++ = '[';
    for (int64_t i = span.from; i < span.to; i++) {
        if (i > span.from)
            *out->p++ = ',';
        st_put_number(out, st_company_id(c, ST_ESTIMATES, i));
    }
    *out->p++ = ']';
}

static void put_custom_fields(struct st_out *out, const void *extras)
{
    static const struct slice FORMS[] = {
        ST_LIT("[]"),
        ST_LIT("[]"),
        ST_LIT("[{\"typeId\":811,\"name\":\"System Age\",\"value\":\"17\"}]"),
        ST_LIT("[{\"typeId\":811,\"name\":\"System Age\",\"value\":null},{\"typeId\":812,\"name\":\"Gate \\/ Alarm "
               "Code\",\"value\":\"#4321*\"}]"),
        ST_LIT("[{\"typeId\":815,\"name\":\"Señalización\",\"value\":\"sí \\u2713\"}]"),
        ST_LIT("[]"),
        ST_LIT("[{\"typeId\":812,\"name\":\"Gate \\/ Alarm Code\",\"value\":\"\"}]"),
        ST_LIT("[]"),
    };
    uint64_t draw = *(const uint64_t *)extras >> 40;
    st_raw(out, (draw & 1023) == 0 ? SLICE_LIT("[null]") : FORMS[draw & 7]);
}

static void put_external_data(struct st_out *out, const void *extras)
{
    static const struct slice FORMS[] = {
        ST_LIT("null"), ST_LIT("null"), ST_LIT("[]"),
        ST_LIT("[{\"key\":\"crm\",\"value\":\"{\\\"lead\\\":\\\"A-17\\\"}\"},{\"key\":\"src\",\"value\":\"web\"}]")};
    st_raw(out, FORMS[*(const uint64_t *)extras >> 56 & 3]);
}

static const struct st_field FIELDS[] = {
    ST_FIELD("id", st_put_int, struct job, id),
    ST_FIELD("jobNumber", st_put_digits, struct job, number),
    ST_FIELD("projectId", st_put_int, struct job, project_id),
    ST_FIELD("customerId", st_put_int, struct job, customer_id),
    ST_FIELD("locationId", st_put_int, struct job, location_id),
    ST_FIELD("jobStatus", st_put_text, struct job, status),
    ST_FIELD("completedOn", st_put_time, struct job, completed_on),
    ST_FIELD("businessUnitId", st_put_int, struct job, business_unit_id),
    ST_FIELD("jobTypeId", st_put_int, struct job, job_type_id),
    ST_FIELD("priority", st_put_text, struct job, priority),
    ST_FIELD("campaignId", st_put_int, struct job, campaign_id),
    ST_FIELD("appointmentCount", st_put_int, struct job, appointment_count),
    ST_FIELD("firstAppointmentId", st_put_int, struct job, first_appointment_id),
    ST_FIELD("lastAppointmentId", st_put_int, struct job, last_appointment_id),
    ST_FIELD("recallForId", st_put_int, struct job, recall_for_id),
    ST_FIELD("warrantyId", st_put_int, struct job, warranty_id),
    {ST_LIT("\"jobGeneratedLeadSource\":"), put_lead_source, 0},
    ST_FIELD("noCharge", st_put_bool, struct job, no_charge),
    ST_FIELD("notificationsEnabled", st_put_bool, struct job, notifications_enabled),
    ST_FIELD("createdOn", st_put_time, struct job, created_on),
    ST_FIELD("createdById", st_put_int, struct job, created_by_id),
    ST_FIELD("modifiedOn", st_put_time, struct job, modified_on),
    ST_FIELD("tagTypeIds", put_tags, struct job, extras),
    ST_FIELD("leadCallId", st_put_int, struct job, lead_call_id),
    ST_FIELD("partnerLeadCallId", st_put_int, struct job, partner_lead_call_id),
    ST_FIELD("bookingId", st_put_int, struct job, booking_id),
    ST_FIELD("soldById", st_put_int, struct job, sold_by_id),
    ST_FIELD("customerPo", st_put_text, struct job, customer_po),
    ST_FIELD("invoiceId", st_put_int, struct job, invoice_id),
    ST_FIELD("membershipId", st_put_int, struct job, membership_id),
    ST_FIELD("total", st_put_decimal, struct job, total),
    ST_FIELD("createdFromEstimateId", st_put_int, struct job, created_from_estimate_id),
    {ST_LIT("\"estimateIds\":"), put_estimates, 0},
    ST_FIELD("summary", st_put_text, struct job, summary),
    ST_FIELD("customFields", put_custom_fields, struct job, extras),
    ST_FIELD("externalData", put_external_data, struct job, extras),
};

static void write_job(struct st_out *out, const struct st_company *company, const struct st_version *v)
{
    struct st_random stable = st_record_random(company, ST_JOBS, v->index, 0);
    struct st_random changing = st_record_random(company, ST_JOBS, v->index, v->revision + 1);
    struct job job = {.company = company, .index = v->index};
    job.id = st_company_id(company, ST_JOBS, v->index);
    job.number = st_job_number(company, v->index);
    job.created_on = v->created;
    job.modified_on = v->modified;
    derive_links(&job, v);
    derive_stable(&job, v, &stable);
    derive_changing(&job, v, &changing);
    st_put_fields(out, FIELDS, ST_COUNT(FIELDS), &job);
}

const struct st_model st_jobs_model = {
    .name = "jobs",
    .module = "jpm",
    .resource = "jobs",
    .active_filter = ST_ACTIVE_NONE,
    .has_export = true,
    .export_active = true,
    .fields = FIELDS,
    .field_count = ST_COUNT(FIELDS),
    .write = write_job,
};
