/* st_payroll.c - what a generated gross pay item says.
 *
 * A settable share has "id": null. Some neighbours are exact duplicates: all of such an item is derived from the
 * original's index, until an edit gives it a version of its own; an edit never gives an id to an item without one. jobId is 0 where there is none. */
#include "st_company.h"
#include "st_words.h"

struct pay_item {
    int64_t id, employee_id, payroll_id, date, activity_code_id, started_on, ended_on, source_entity_id, job_id,
        job_number;
    int64_t project_id, invoice_id, invoice_number, invoice_item_id, customer_id, location_id, labor_type_id,
        budget_code_id;
    int64_t created_on, modified_on;
    int8_t prevailing_wage;
    struct st_text employee_type, business_unit, employee_payroll_id, activity, activity_code, payout_business_unit,
        item_type, time_type;
    struct st_text job_type, project_number, customer_name, location_name, location_zip, zone, tax_zone,
        labor_type_code, memo;
    struct st_address address;
    struct st_decimal amount, amount_adjustment, hours;
};

static const struct slice ITEM_TYPES[] = {ST_LIT("TimesheetTime"), ST_LIT("InvoiceRelatedBonus"), ST_LIT("CustomBonus"),
                                          ST_LIT("Salary"), ST_LIT("Reimbursement")};
static const struct slice TIME_TYPES[] = {ST_LIT("Regular"), ST_LIT("Overtime"), ST_LIT("DoubleOvertime"),
                                          ST_LIT("PaidTimeOff")};
static const struct slice ACTIVITIES[] = {ST_LIT("Working"), ST_LIT("Driving"), ST_LIT("Performance Pay"),
                                          ST_LIT("Direct Adjustment"), ST_LIT("Meal \\/ Break")};
static const struct slice ZIPS[] = {ST_LIT("95814"), ST_LIT("95661-2201"), ST_LIT("N/A"), ST_LIT("\\u2014"),
                                    ST_LIT("02108")};
enum { TIMESHEET = 0, SALARY = 3 };

static void put_address_line(struct st_out *out, const void *address)
{
    const struct st_address *a = address;
    if (a->street.ptr == NULL) {
        ST_RAW(out, "null");
        return;
    }
    *out->p++ = '"';
    st_put_number(out, a->number);
    st_raw(out, a->street);
    ST_RAW(out, ", ");
    st_raw(out, a->city);
    *out->p++ = '"';
}

static const struct st_field FIELDS[] = {
    ST_FIELD("id", st_put_int, struct pay_item, id),
    ST_FIELD("employeeId", st_put_int, struct pay_item, employee_id),
    ST_FIELD("employeeType", st_put_text, struct pay_item, employee_type),
    ST_FIELD("businessUnitName", st_put_text, struct pay_item, business_unit),
    ST_FIELD("payrollId", st_put_int, struct pay_item, payroll_id),
    ST_FIELD("employeePayrollId", st_put_text, struct pay_item, employee_payroll_id),
    ST_FIELD("date", st_put_time, struct pay_item, date),
    ST_FIELD("activity", st_put_text, struct pay_item, activity),
    ST_FIELD("activityCodeId", st_put_int, struct pay_item, activity_code_id),
    ST_FIELD("activityCode", st_put_text, struct pay_item, activity_code),
    ST_FIELD("amount", st_put_decimal, struct pay_item, amount),
    ST_FIELD("amountAdjustment", st_put_decimal, struct pay_item, amount_adjustment),
    ST_FIELD("payoutBusinessUnitName", st_put_text, struct pay_item, payout_business_unit),
    ST_FIELD("grossPayItemType", st_put_text, struct pay_item, item_type),
    ST_FIELD("startedOn", st_put_time, struct pay_item, started_on),
    ST_FIELD("endedOn", st_put_time, struct pay_item, ended_on),
    ST_FIELD("paidDurationHours", st_put_decimal, struct pay_item, hours),
    ST_FIELD("paidTimeType", st_put_text, struct pay_item, time_type),
    ST_FIELD("sourceEntityId", st_put_int, struct pay_item, source_entity_id),
    ST_FIELD("jobId", st_put_int, struct pay_item, job_id),
    ST_FIELD("jobNumber", st_put_digits, struct pay_item, job_number),
    ST_FIELD("jobTypeName", st_put_text, struct pay_item, job_type),
    ST_FIELD("projectNumber", st_put_text, struct pay_item, project_number),
    ST_FIELD("projectId", st_put_int, struct pay_item, project_id),
    ST_FIELD("invoiceId", st_put_int, struct pay_item, invoice_id),
    ST_FIELD("invoiceNumber", st_put_digits, struct pay_item, invoice_number),
    ST_FIELD("invoiceItemId", st_put_int, struct pay_item, invoice_item_id),
    ST_FIELD("customerId", st_put_int, struct pay_item, customer_id),
    ST_FIELD("customerName", st_put_text, struct pay_item, customer_name),
    ST_FIELD("locationId", st_put_int, struct pay_item, location_id),
    ST_FIELD("locationName", st_put_text, struct pay_item, location_name),
    ST_FIELD("locationAddress", put_address_line, struct pay_item, address),
    ST_FIELD("locationZip", st_put_text, struct pay_item, location_zip),
    ST_FIELD("zoneName", st_put_text, struct pay_item, zone),
    ST_FIELD("taxZoneName", st_put_text, struct pay_item, tax_zone),
    ST_FIELD("laborTypeId", st_put_int, struct pay_item, labor_type_id),
    ST_FIELD("laborTypeCode", st_put_text, struct pay_item, labor_type_code),
    ST_FIELD("budgetCodeId", st_put_int, struct pay_item, budget_code_id),
    ST_FIELD("isPrevailingWageJob", st_put_bool, struct pay_item, prevailing_wage),
    ST_FIELD("memo", st_put_text, struct pay_item, memo),
    ST_FIELD("createdOn", st_put_time, struct pay_item, created_on),
    ST_FIELD("modifiedOn", st_put_time, struct pay_item, modified_on),
};

static void derive_no_job(struct pay_item *p)
{
    p->job_id = 0;
    p->job_number = p->invoice_id = p->invoice_number = p->invoice_item_id = p->customer_id = p->location_id = ST_NULL;
}

static void derive_job(struct pay_item *p, const struct st_company *c, int64_t item, struct st_random *r)
{
    int64_t job = st_link(item, c->count[ST_PAYROLL], c->count[ST_JOBS]);
    int64_t location = st_job_location(c, job), customer = st_location_customer(c, location);
    struct st_named unit, type;
    st_business_unit(c, job, &unit);
    st_job_type(c, job, &type);
    p->business_unit = unit.name;
    p->job_type = type.name;
    p->job_id = st_company_id(c, ST_JOBS, job);
    p->job_number = st_job_number(c, job);
    p->customer_id = st_company_id(c, ST_CUSTOMERS, customer);
    p->location_id = st_company_id(c, ST_LOCATIONS, location);
    p->customer_name = p->location_name = st_customer_name(c, customer);
    st_location_address(c, location, &p->address);
    p->location_zip = st_text1(ZIPS[st_random_below(r, ST_COUNT(ZIPS))]);
    struct st_span invoices = st_link_back(job, c->count[ST_INVOICES], c->count[ST_JOBS]);
    bool billed = invoices.from < invoices.to;
    p->invoice_id = billed ? st_company_id(c, ST_INVOICES, invoices.from) : ST_NULL;
    p->invoice_number = billed ? st_invoice_number(c, invoices.from) : ST_NULL;
    p->invoice_item_id = billed && st_random_percent(r, 20) ? p->invoice_id * 8 + 1 : ST_NULL;
}

static void derive_time(struct pay_item *p, const struct st_version *v, uint32_t type, struct st_random *r)
{
    uint32_t minutes = 15 * (1 + st_random_below(r, 32));
    p->date = v->created - v->created % ST_TICKS_PER_DAY;
    bool timed = type == TIMESHEET;
    p->started_on = timed ? v->created - (int64_t)minutes * 60 * ST_TICKS_PER_SECOND : ST_NO_TIME;
    p->started_on -= timed ? p->started_on % ST_TICKS_PER_SECOND : 0;
    p->ended_on = timed ? p->started_on + (int64_t)minutes * 60 * ST_TICKS_PER_SECOND : ST_NO_TIME;
    p->hours = timed ? (struct st_decimal){(int64_t)minutes * 10000 / 60, 4, 0, false} : ST_NO_DECIMAL;
    p->time_type = timed ? st_text1(TIME_TYPES[st_random_percent(r, 85) ? 0 : st_random_below(r, 4)]) : ST_NO_TEXT;
}

static void derive_pay(struct pay_item *p, struct st_random *r)
{
    int64_t refund = st_random_percent(r, 4) ? 900000 : 0;
    p->amount = (struct st_decimal){(int64_t)st_random_below(r, 900000) - refund, 4, 0, false};
    if (st_random_percent(r, 50))
        p->amount = st_cents(p->amount.units / 100);
    else
        p->amount.zeros = st_random_percent(r, 10) ? 6 : 0;
    p->amount_adjustment =
        st_random_percent(r, 85) ? ST_NO_DECIMAL : st_cents((int64_t)st_random_below(r, 9000) - 4500);
    p->memo = st_random_percent(r, 15) ? st_text1(st_word(&st_memos, r)) : ST_NO_TEXT;
}

static void derive_rest(struct pay_item *p, const struct st_company *c, const struct st_version *v, struct st_random *r)
{
    p->employee_id = st_employee(c, st_random_next(r));
    bool technician = st_random_percent(r, 88);
    p->employee_type = st_text1(technician ? SLICE_LIT("Technician") : SLICE_LIT("Employee"));
    p->payroll_id = 600000 + v->created / (14 * ST_TICKS_PER_DAY) * 1000 + p->employee_id % 220;
    p->employee_payroll_id = st_random_percent(r, 90) ? st_text1(SLICE_LIT("EMP-0042")) : ST_NO_TEXT;
    p->source_entity_id = st_random_percent(r, 80) ? 500000 + (int64_t)st_random_below(r, 5000) : ST_NULL;
    p->activity = st_text1(ACTIVITIES[st_random_below(r, ST_COUNT(ACTIVITIES))]);
    bool coded = st_random_percent(r, 30);
    p->activity_code_id = coded ? 71 : ST_NULL;
    p->activity_code = coded ? st_text1(SLICE_LIT("WRK")) : ST_NO_TEXT;
    p->payout_business_unit = st_random_percent(r, 40) ? st_text1(st_word(&st_trades, r)) : ST_NO_TEXT;
    bool project = st_random_percent(r, 5);
    p->project_id = project ? 9000000 + (int64_t)st_random_below(r, 5000) : ST_NULL;
    p->project_number = project ? st_text1(SLICE_LIT("P-2031")) : ST_NO_TEXT;
    p->zone = st_random_percent(r, 60) ? st_text1(SLICE_LIT("North \\u2191")) : ST_NO_TEXT;
    p->tax_zone = st_random_percent(r, 20) ? st_text1(SLICE_LIT("Sacramento County")) : ST_NO_TEXT;
    bool labor = st_random_percent(r, 25);
    p->labor_type_id = labor ? 17 : ST_NULL;
    p->labor_type_code = labor ? st_text1(SLICE_LIT("JRN")) : ST_NO_TEXT;
    p->budget_code_id = st_random_percent(r, 3) ? 88 : ST_NULL;
    p->prevailing_wage = st_random_percent(r, 3) ? 1 : st_random_percent(r, 10) ? -1 : 0;
}

static void write_pay_item(struct st_out *out, const struct st_company *company, const struct st_version *v)
{
    int64_t original = st_series_original(&company->series[ST_PAYROLL], v->index);
    int64_t item = v->revision ? v->index : original;
    struct st_random r = st_record_random(company, ST_PAYROLL, item, 0);
    struct st_random changing = st_record_random(company, ST_PAYROLL, item, v->revision + 1);
    struct pay_item p = {.created_on = v->created, .modified_on = v->modified};
    bool nameless = st_random_below(&r, 100) < (uint32_t)company->null_payroll_percent;
    p.id = nameless || original != v->index ? ST_NULL : st_company_id(company, ST_PAYROLL, item);
    if (st_series_original(&company->series[ST_PAYROLL], item + 1) == item)
        p.id = company->null_payroll_percent > 0 ? ST_NULL : p.id; /* an original with a duplicate */
    uint32_t type = st_random_percent(&r, 70) ? TIMESHEET : st_random_below(&r, ST_COUNT(ITEM_TYPES));
    p.item_type = st_text1(ITEM_TYPES[type]);
    derive_rest(&p, company, v, &r);
    if (type == SALARY || st_random_percent(&r, 8))
        derive_no_job(&p);
    else
        derive_job(&p, company, item, &r);
    derive_time(&p, v, type, &changing);
    derive_pay(&p, &changing);
    st_put_fields(out, FIELDS, ST_COUNT(FIELDS), &p);
}

const struct st_model st_payroll_model = {
    .name = "payroll",
    .module = "payroll",
    .resource = "gross-pay-items",
    .active_filter = ST_ACTIVE_NONE,
    .has_export = true,
    .export_active = true,
    .fields = FIELDS,
    .field_count = ST_COUNT(FIELDS),
    .write = write_pay_item,
};
