/* st_company.h - a generated service company: how many records of each entity, their ids and links, and what each
 * record says.
 *
 * Everything is a function of (seed, index, revision): nothing is held. Counts, for J jobs (all rounded up):
 *   customers 0.45 J, locations 0.55 J, invoices 0.95 J, estimates 0.70 J, payments 0.80 J, gross pay items 1.80 J,
 * campaigns 60 + J/2000.
 *
 * Links go by proportion (record i of n lies at i/n of history), so that what is linked exists, is about as old, and
 * can be found both ways: an invoice's job, an estimate's job, a payment's invoice, a pay item's job, a location's
 * customer. A job is at a new location or at an earlier one. */
#ifndef ST_LOCAL_ST_COMPANY_H
#define ST_LOCAL_ST_COMPANY_H

#include "st_out.h"

enum st_entity {
    ST_JOBS,
    ST_INVOICES,
    ST_ESTIMATES,
    ST_PAYMENTS,
    ST_PAYROLL,
    ST_CUSTOMERS,
    ST_LOCATIONS,
    ST_CAMPAIGNS,
    ST_ENTITIES,
};

#define ST_MAX_JOBS 100000000LL

struct st_company {
    int64_t tenant;
    uint64_t seed;
    int64_t count[ST_ENTITIES]; /* generated records; edits may add more */
    int64_t first_id[ST_ENTITIES];
    struct st_series series[ST_ENTITIES];
    int null_payroll_percent;
    int64_t history_end; /* ticks */
};

struct st_company_options {
    const struct st_timeline *timeline;
    int64_t tenant;
    uint64_t seed;
    int64_t jobs;
    int null_payroll_percent, tie_percent, tie_run;
};
void st_company_init(struct st_company *company, const struct st_company_options *options);

/* One state of one record. */
struct st_version {
    int64_t index;
    int64_t created;   /* ticks */
    int64_t modified;  /* ticks; ST_NO_TIME = null */
    int64_t merged_to; /* index of the survivor, -1 */
    uint32_t revision; /* 0 as generated; edits count up and change what can change */
    bool active;
    bool deleted; /* only export feeds show it */
};
void st_company_version(const struct st_company *company, enum st_entity entity, int64_t index, struct st_version *ret);

int64_t st_company_id(const struct st_company *company, enum st_entity entity, int64_t index);
/* The index that has this id; false when none below `limit` does. */
bool st_company_index(const struct st_company *company, enum st_entity entity, int64_t id, int64_t limit, int64_t *ret);

/* Links, as indexes. */
int64_t st_link(int64_t index, int64_t count, int64_t target_count); /* by proportion */
struct st_span st_link_back(int64_t target, int64_t count,
                            int64_t target_count); /* the indexes that st_link sends to target */
int64_t st_job_location(const struct st_company *company, int64_t job);
int64_t st_job_customer(const struct st_company *company, int64_t job);
int64_t st_job_campaign(const struct st_company *company, int64_t job);
int64_t st_location_customer(const struct st_company *company, int64_t location);

/* Randomness of a record: the same for all revisions (salt 0), or for one. */
struct st_random st_record_random(const struct st_company *company, enum st_entity entity, int64_t index,
                                  uint32_t revision);

/* ---- Entities ---------------------------------------------------------------------------------------------------- */

enum st_active_filter {
    ST_ACTIVE_NONE,
    ST_ACTIVE_FLAG /* active=True|False|Any */,
    ST_ACTIVE_STATE /* activeState=ActiveOnly|… */
};

struct st_model {
    const char *name;     /* "payroll" */
    const char *module;   /* "payroll" */
    const char *resource; /* "gross-pay-items" */
    enum st_active_filter active_filter;
    bool has_export;
    bool export_active; /* the export feed adds "active" to the list model */
    bool has_active;    /* the model itself has it, so that a record can be inactive without being deleted */
    const struct st_field *fields;
    size_t field_count;
    /* Writes fields as an object, without what a fault adds. */
    void (*write)(struct st_out *out, const struct st_company *company, const struct st_version *version);
};
extern const struct st_model *const st_models[ST_ENTITIES];
extern const struct st_model st_jobs_model, st_invoices_model, st_estimates_model, st_payments_model, st_payroll_model,
    st_customers_model, st_locations_model, st_campaigns_model;
bool st_entity_by_name(const char *name, enum st_entity *ret);

/* ---- What several entities say about the same thing -------------------------------------------------------------- */

struct st_address {
    int64_t number;
    struct slice street, unit, city, state, zip, country; /* no pointer: null */
    struct st_decimal latitude, longitude;
};
void st_location_address(const struct st_company *company, int64_t location, struct st_address *ret);
extern const struct st_field st_address_fields[]; /* with latitude and longitude */
enum { ST_ADDRESS_POSTAL_FIELDS = 6, ST_ADDRESS_FIELDS = 8 };
void st_put_address(struct st_out *out, const void *address); /* all fields */

struct st_text st_customer_name(const struct st_company *company, int64_t customer);
struct st_text st_person_name(const struct st_company *company, int64_t number);
void st_business_unit(const struct st_company *company, int64_t job, struct st_named *ret);
void st_job_type(const struct st_company *company, int64_t job, struct st_named *ret);
int64_t st_job_number(const struct st_company *company, int64_t job);
int64_t st_invoice_number(const struct st_company *company, int64_t invoice);
int64_t st_employee(const struct st_company *company, uint64_t number); /* id of one of a few hundred employees */

/* Lines of an invoice and what they add up to, in cents. */
enum { ST_MAX_LINES = 6 };
struct st_line {
    int64_t quantity_hundredths;
    int64_t price_cents, cost_cents, total_cents, total_cost_cents;
    uint32_t sku;
};
struct st_lines {
    int count;
    struct st_line line[ST_MAX_LINES];
    int64_t subtotal_cents, tax_cents;
};
void st_invoice_lines(const struct st_company *company, int64_t invoice, uint32_t revision, struct st_lines *ret);
void st_draw_lines(struct st_random *r, int most, struct st_lines *ret);

struct st_sku {
    struct slice name, display, description, type;
    int32_t price_cents;
};
const struct st_sku *st_sku(uint32_t number);
int64_t st_sku_id(uint32_t number);

#endif
