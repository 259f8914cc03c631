/* st_people.c - what generated customers and locations say. A location's address is its own; a customer's is that of
 * its first location. */
#include "st_company.h"
#include "st_words.h"

struct person { /* a customer or a location */
    int64_t id, customer_id, created_on, created_by_id, modified_on, merged_to_id, payment_term_id, zone_id,
        tax_zone_id;
    int8_t active, tax_exempt, do_not_mail, do_not_service, national_account;
    struct st_text name, type;
    struct st_address address;
    struct st_decimal balance, credit_limit, credit_limit_balance;
    uint64_t extras;
};

static void put_tags(struct st_out *out, const void *extras)
{
    static const struct slice FORMS[] = {ST_LIT("[]"), ST_LIT("[]"), ST_LIT("[3011]"),
                                         ST_LIT("[3011,3040,9007199254740993]")};
    uint64_t draw = *(const uint64_t *)extras;
    st_raw(out, (draw >> 8 & 511) == 0 ? SLICE_LIT("[3011,null]") : FORMS[draw & 3]);
}

static void put_custom_fields(struct st_out *out, const void *extras)
{
    static const struct slice FORMS[] = {
        ST_LIT("[]"),
        ST_LIT("[{\"typeId\":901,\"name\":\"Membership #\",\"value\":\"0012\\/A\"}]"),
        ST_LIT("[{\"typeId\":901,\"name\":\"Membership "
               "#\",\"value\":null},{\"typeId\":902,\"name\":null,\"value\":\"\"}]"),
        ST_LIT("[]"),
        ST_LIT("[{\"typeId\":903,\"name\":\"Straße \\ud83d\\ude00\",\"value\":\"línea 1\\nlínea 2\"}]"),
        ST_LIT("[]"),
        ST_LIT("[]"),
        ST_LIT("[{\"typeId\":904,\"name\":\"Referred by\",\"value\":\"<b>Bob</b> & \\\"Al\\\"\"}]"),
    };
    uint64_t draw = *(const uint64_t *)extras >> 20;
    st_raw(out, (draw & 1023) == 0 ? SLICE_LIT("[null]") : FORMS[draw & 7]);
}

static void put_external_data(struct st_out *out, const void *extras)
{
    static const struct slice FORMS[] = {ST_LIT("null"), ST_LIT("[]"),
                                         ST_LIT("[{\"key\":\"qbo\",\"value\":\"C-00417\"}]"), ST_LIT("null")};
    st_raw(out, FORMS[*(const uint64_t *)extras >> 40 & 3]);
}

static int64_t some_cents(struct st_random *r, uint32_t percent, uint32_t most)
{
    return st_random_percent(r, percent) ? st_random_below(r, most) : 0;
}

/* ---- Customers --------------------------------------------------------------------------------------------------- */

static const struct st_field CUSTOMER_FIELDS[] = {
    ST_FIELD("id", st_put_int, struct person, id),
    ST_FIELD("active", st_put_bool, struct person, active),
    ST_FIELD("name", st_put_text, struct person, name),
    ST_FIELD("type", st_put_text, struct person, type),
    ST_FIELD("address", st_put_address, struct person, address),
    ST_FIELD("customFields", put_custom_fields, struct person, extras),
    ST_FIELD("balance", st_put_decimal, struct person, balance),
    ST_FIELD("taxExempt", st_put_bool, struct person, tax_exempt),
    ST_FIELD("tagTypeIds", put_tags, struct person, extras),
    ST_FIELD("doNotMail", st_put_bool, struct person, do_not_mail),
    ST_FIELD("doNotService", st_put_bool, struct person, do_not_service),
    ST_FIELD("nationalAccount", st_put_bool, struct person, national_account),
    ST_FIELD("createdOn", st_put_time, struct person, created_on),
    ST_FIELD("createdById", st_put_int, struct person, created_by_id),
    ST_FIELD("modifiedOn", st_put_time, struct person, modified_on),
    ST_FIELD("mergedToId", st_put_int, struct person, merged_to_id),
    ST_FIELD("paymentTermId", st_put_int, struct person, payment_term_id),
    ST_FIELD("creditLimit", st_put_decimal, struct person, credit_limit),
    ST_FIELD("creditLimitBalance", st_put_decimal, struct person, credit_limit_balance),
    ST_FIELD("externalData", put_external_data, struct person, extras),
};

static void derive_common(struct person *p, const struct st_company *company, enum st_entity entity,
                          const struct st_version *v)
{
    p->id = st_company_id(company, entity, v->index);
    p->created_on = v->created;
    p->modified_on = v->modified;
    p->active = v->active;
    p->merged_to_id = v->merged_to >= 0 ? st_company_id(company, entity, v->merged_to) : ST_NULL;
}

static void derive_credit(struct person *p, struct st_random *r)
{
    p->balance = st_cents(some_cents(r, 20, 400000));
    p->balance.zeros = st_random_percent(r, 10) ? 8 : 0;
    if (st_random_percent(r, 3))
        p->balance.units = -p->balance.units;
    bool limited = st_random_percent(r, 10);
    p->credit_limit = limited ? (struct st_decimal){5000 + st_random_below(r, 20) * 500, 0, 0, false} : ST_NO_DECIMAL;
    p->credit_limit_balance = limited ? (struct st_decimal){st_random_below(r, 500000000), 4, 6, false} : ST_NO_DECIMAL;
}

static void write_customer(struct st_out *out, const struct st_company *company, const struct st_version *v)
{
    struct st_random r = st_record_random(company, ST_CUSTOMERS, v->index, 0);
    struct person p = {.active = 1};
    derive_common(&p, company, ST_CUSTOMERS, v);
    struct st_span locations = st_link_back(v->index, company->count[ST_LOCATIONS], company->count[ST_CUSTOMERS]);
    st_location_address(company, locations.from < locations.to ? locations.from : v->index, &p.address);
    p.name = st_customer_name(company, v->index);
    uint32_t type = st_random_below(&r, 100);
    p.type = type == 0 ? ST_NO_TEXT : st_text1(type < 15 ? SLICE_LIT("Commercial") : SLICE_LIT("Residential"));
    p.tax_exempt = st_random_percent(&r, 3);
    p.created_by_id = st_employee(company, st_random_next(&r));
    p.payment_term_id = st_random_percent(&r, 20) ? 60 + st_random_below(&r, 5) : ST_NULL;
    p.extras = st_random_next(&r);
    struct st_random changing = st_record_random(company, ST_CUSTOMERS, v->index, v->revision + 1);
    p.do_not_mail = st_random_percent(&changing, 9);
    p.do_not_service = st_random_percent(&changing, 1);
    p.national_account = st_random_percent(&changing, 2);
    derive_credit(&p, &changing);
    st_put_fields(out, CUSTOMER_FIELDS, ST_COUNT(CUSTOMER_FIELDS), &p);
}

const struct st_model st_customers_model = {
    .name = "customers",
    .module = "crm",
    .resource = "customers",
    .active_filter = ST_ACTIVE_FLAG,
    .has_export = true,
    .has_active = true,
    .fields = CUSTOMER_FIELDS,
    .field_count = ST_COUNT(CUSTOMER_FIELDS),
    .write = write_customer,
};

/* ---- Locations --------------------------------------------------------------------------------------------------- */

static const struct st_field LOCATION_FIELDS[] = {
    ST_FIELD("id", st_put_int, struct person, id),
    ST_FIELD("customerId", st_put_int, struct person, customer_id),
    ST_FIELD("active", st_put_bool, struct person, active),
    ST_FIELD("name", st_put_text, struct person, name),
    ST_FIELD("address", st_put_address, struct person, address),
    ST_FIELD("customFields", put_custom_fields, struct person, extras),
    ST_FIELD("createdOn", st_put_time, struct person, created_on),
    ST_FIELD("createdById", st_put_int, struct person, created_by_id),
    ST_FIELD("modifiedOn", st_put_time, struct person, modified_on),
    ST_FIELD("mergedToId", st_put_int, struct person, merged_to_id),
    ST_FIELD("zoneId", st_put_int, struct person, zone_id),
    ST_FIELD("taxExempt", st_put_bool, struct person, tax_exempt),
    ST_FIELD("tagTypeIds", put_tags, struct person, extras),
    ST_FIELD("externalData", put_external_data, struct person, extras),
    ST_FIELD("taxZoneId", st_put_int, struct person, tax_zone_id),
};

static void write_location(struct st_out *out, const struct st_company *company, const struct st_version *v)
{
    struct st_random r = st_record_random(company, ST_LOCATIONS, v->index, 0);
    struct person p = {.active = 1};
    derive_common(&p, company, ST_LOCATIONS, v);
    int64_t customer = st_location_customer(company, v->index);
    st_location_address(company, v->index, &p.address);
    p.customer_id = st_company_id(company, ST_CUSTOMERS, customer);
    p.name = st_customer_name(company, customer);
    p.created_by_id = st_employee(company, st_random_next(&r));
    p.extras = st_random_next(&r);
    struct st_random changing = st_record_random(company, ST_LOCATIONS, v->index, v->revision + 1);
    p.zone_id = st_random_percent(&changing, 60) ? 410 + st_random_below(&changing, 9) : ST_NULL;
    p.tax_zone_id = st_random_percent(&changing, 40) ? 430 + st_random_below(&changing, 4) : ST_NULL;
    p.tax_exempt = st_random_percent(&changing, 3);
    st_put_fields(out, LOCATION_FIELDS, ST_COUNT(LOCATION_FIELDS), &p);
}

const struct st_model st_locations_model = {
    .name = "locations",
    .module = "crm",
    .resource = "locations",
    .active_filter = ST_ACTIVE_FLAG,
    .has_export = true,
    .has_active = true,
    .fields = LOCATION_FIELDS,
    .field_count = ST_COUNT(LOCATION_FIELDS),
    .write = write_location,
};
