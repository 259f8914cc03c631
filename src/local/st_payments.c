/* st_payments.c - what a generated payment says: money as text, applied to one invoice, rarely to two or none. */
#include "st_company.h"
#include "st_words.h"

struct payment {
    const struct st_company *company;
    int64_t id, date, created_on, modified_on, type_id, check_number, refunded_id;
    int64_t invoice, applied_on;
    int applications; /* -1: null */
    int64_t applied_cents;
    int8_t active;
    struct st_text sync_status, reference, type, memo, created_by, auth_code;
    struct st_decimal total, unapplied;
    struct st_named customer, business_unit, deposit;
    int64_t batch_id, batch_number;
    uint64_t extras;
};

static const struct slice TYPES[] = {ST_LIT("Credit Card"), ST_LIT("Check"), ST_LIT("Cash"), ST_LIT("ACH"),
                                     ST_LIT("Financing \\u2014 60 mo.")};
static const struct slice SYNC[] = {ST_LIT("Pending"), ST_LIT("Posted"), ST_LIT("Exported")};

static void put_application(struct st_out *out, const struct payment *p, int n)
{
    struct st_decimal amount = st_cents(p->applied_cents);
    int64_t invoice = p->invoice - n;
    int64_t id = p->id * 2 + n;
    ST_RAW(out, "{\"appliedAmount\":");
    st_put_money(out, &amount);
    ST_RAW(out, ",\"appliedBy\":");
    st_put_text(out, &p->created_by);
    ST_RAW(out, ",\"appliedId\":");
    st_put_number(out, id);
    ST_RAW(out, ",\"appliedOn\":");
    st_put_time(out, &p->applied_on);
    ST_RAW(out, ",\"appliedTo\":");
    st_put_number(out, st_company_id(p->company, ST_INVOICES, invoice));
    ST_RAW(out, ",\"appliedToReferenceNumber\":\"");
    st_put_number(out, st_invoice_number(p->company, invoice));
    ST_RAW(out, "\"}");
}

static void put_applied_to(struct st_out *out, const void *base)
{
    const struct payment *p = base;
    if (p->applications < 0) {
        ST_RAW(out, "null");
        return;
    }
    *out->p++ = '[';
    for (int n = 0; n < p->applications; n++) {
        if (n)
            *out->p++ = ',';
        put_application(out, p, n);
    }
    *out->p++ = ']';
}

static void put_batch(struct st_out *out, const void *base)
{
    const struct payment *p = base;
    if (p->batch_id == ST_NULL) {
        ST_RAW(out, "null");
        return;
    }
    ST_RAW(out, "{\"id\":");
    st_put_number(out, p->batch_id);
    ST_RAW(out, ",\"number\":");
    st_put_digits(out, &p->batch_number);
    ST_RAW(out, ",\"name\":\"Deposits \\\"A\\\"\"}");
}

static void put_account(struct st_out *out, const void *extras)
{
    st_raw(out, *(const uint64_t *)extras & 7
                    ? SLICE_LIT("{\"id\":2201,\"name\":\"Undeposited Funds\",\"number\":\"1499\",\"type\":"
                                "\"Asset\",\"detailType\":\"Other Current Asset\"}")
                    : SLICE_LIT("null"));
}

static void put_custom_fields(struct st_out *out, const void *extras)
{
    static const struct slice FORMS[] = {ST_LIT("[]"), ST_LIT("[{\"name\":\"Lockbox\",\"value\":\"7\"}]"),
                                         ST_LIT("null"), ST_LIT("[]")};
    uint64_t draw = *(const uint64_t *)extras >> 8;
    st_raw(out, (draw & 1023) == 0 ? SLICE_LIT("[{\"name\":\"Lockbox\",\"value\":\"7\"},null]") : FORMS[draw & 3]);
}

static const struct st_field FIELDS[] = {
    ST_FIELD("id", st_put_int, struct payment, id),
    ST_FIELD("syncStatus", st_put_text, struct payment, sync_status),
    ST_FIELD("referenceNumber", st_put_text, struct payment, reference),
    ST_FIELD("date", st_put_time, struct payment, date),
    ST_FIELD("type", st_put_text, struct payment, type),
    ST_FIELD("typeId", st_put_digits, struct payment, type_id),
    ST_FIELD("total", st_put_money, struct payment, total),
    ST_FIELD("unappliedAmount", st_put_money, struct payment, unapplied),
    ST_FIELD("memo", st_put_text, struct payment, memo),
    ST_FIELD("customer", st_put_named, struct payment, customer),
    {ST_LIT("\"batch\":"), put_batch, 0},
    ST_FIELD("createdBy", st_put_text, struct payment, created_by),
    ST_FIELD("generalLedgerAccount", put_account, struct payment, extras),
    ST_FIELD("businessUnit", st_put_named, struct payment, business_unit),
    {ST_LIT("\"appliedTo\":"), put_applied_to, 0},
    ST_FIELD("customFields", put_custom_fields, struct payment, extras),
    ST_FIELD("authCode", st_put_text, struct payment, auth_code),
    ST_FIELD("checkNumber", st_put_digits, struct payment, check_number),
    ST_FIELD("active", st_put_bool, struct payment, active),
    ST_FIELD("deposit", st_put_named, struct payment, deposit),
    ST_FIELD("refundedPaymentId", st_put_int, struct payment, refunded_id),
    ST_FIELD("createdOn", st_put_time, struct payment, created_on),
    ST_FIELD("modifiedOn", st_put_time, struct payment, modified_on),
};

static void derive_money(struct payment *p, struct st_random *r, uint32_t revision)
{
    struct st_lines lines;
    st_invoice_lines(p->company, p->invoice, 0, &lines);
    int64_t total = lines.subtotal_cents + lines.tax_cents + (int64_t)revision * 100;
    uint32_t form = st_random_below(r, 50);
    p->applications = form == 0 ? -1 : form < 3 ? 0 : form < 5 && p->invoice > 0 ? 2 : 1;
    p->applied_cents = p->applications == 2 ? total / 2 : total;
    int64_t unapplied = total - (p->applications > 0 ? p->applied_cents * p->applications : 0);
    p->total = st_cents(total);
    p->unapplied = st_cents(unapplied);
    p->total.zeros = form == 7 ? 2 : 0;
}

static void derive_links(struct payment *p, const struct st_version *v)
{
    const struct st_company *c = p->company;
    p->invoice = st_link(v->index, c->count[ST_PAYMENTS], c->count[ST_INVOICES]);
    int64_t job = st_link(p->invoice, c->count[ST_INVOICES], c->count[ST_JOBS]);
    int64_t customer = st_job_customer(c, job);
    p->customer = (struct st_named){st_company_id(c, ST_CUSTOMERS, customer), st_customer_name(c, customer)};
    st_business_unit(c, job, &p->business_unit);
}

static void write_payment(struct st_out *out, const struct st_company *company, const struct st_version *v)
{
    struct st_random r = st_record_random(company, ST_PAYMENTS, v->index, 0);
    struct st_random changing = st_record_random(company, ST_PAYMENTS, v->index, v->revision + 1);
    struct payment p = {.company = company, .created_on = v->created, .modified_on = v->modified, .active = v->active};
    p.id = st_company_id(company, ST_PAYMENTS, v->index);
    p.date = v->created - v->created % ST_TICKS_PER_DAY;
    p.applied_on = v->created;
    derive_links(&p, v);
    uint32_t type = st_random_below(&r, ST_COUNT(TYPES));
    p.type = st_text1(TYPES[type]);
    p.type_id = 9007199254740993 + (int64_t)type; /* 2^53 + 1: a double would lose it */
    p.created_by = st_person_name(company, (int64_t)(st_random_next(&r) % 200));
    p.auth_code = type == 0 ? st_text1(SLICE_LIT("00A1B2")) : ST_NO_TEXT;
    p.check_number = type == 1 ? (int64_t)(1000 + st_random_below(&r, 9000)) : ST_NULL;
    p.reference = st_random_percent(&r, 30) ? st_text1(SLICE_LIT("ref \\/ 0017")) : ST_NO_TEXT;
    p.memo = st_random_percent(&r, 40) ? st_text1(st_word(&st_memos, &r)) : ST_NO_TEXT;
    p.refunded_id =
        v->index > 50 && st_random_percent(&r, 1) ? st_company_id(company, ST_PAYMENTS, v->index - 31) : ST_NULL;
    bool deposited = st_random_percent(&changing, 80);
    p.sync_status = st_text1(SYNC[deposited ? 1 + st_random_below(&changing, 2) : 0]);
    p.batch_number = 1000 + v->index / 40;
    p.batch_id = deposited ? 880000 + v->index / 40 : ST_NULL;
    p.deposit = (struct st_named){deposited ? 990000 + v->index / 40 : ST_NULL, st_text1(SLICE_LIT("Bank deposit"))};
    p.extras = st_random_next(&changing);
    derive_money(&p, &changing, v->revision);
    st_put_fields(out, FIELDS, ST_COUNT(FIELDS), &p);
}

const struct st_model st_payments_model = {
    .name = "payments",
    .module = "accounting",
    .resource = "payments",
    .active_filter = ST_ACTIVE_STATE,
    .has_export = true,
    .has_active = true,
    .fields = FIELDS,
    .field_count = ST_COUNT(FIELDS),
    .write = write_payment,
};
