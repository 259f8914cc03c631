/* st_company.c - counts, ids and links of a generated company, and the things that several entities repeat. See
 * st_company.h. */
#include "st_company.h"

#include <strings.h>

#include "base/error.h"
#include "st_words.h"

enum {
    ID_STRIDE = 7, /* ids have gaps, but keep the order of creation */
    BUSINESS_UNITS = 8,
    JOB_TYPES = 24,
    EMPLOYEES = 220,
    DUPLICATE_PAYROLL_PERMILLE = 12,
};

const struct st_model *const st_models[ST_ENTITIES] = {
    &st_jobs_model,    &st_invoices_model,  &st_estimates_model, &st_payments_model,
    &st_payroll_model, &st_customers_model, &st_locations_model, &st_campaigns_model,
};

/* How records are dealt: how long after creation they were last modified, and what else a count must know. */
static const struct st_class ALWAYS_ACTIVE[ST_CLASSES] = {
    {ST_UNMODIFIED, 12, false, false}, {2, 21, false, false},      {48, 11, false, false},
    {9 * 24, 9, false, false},         {35 * 24, 5, false, false}, {120 * 24, 4, false, false},
    {400 * 24, 2, false, false},
};
static const struct st_class SOME_INACTIVE[ST_CLASSES] = {
    {ST_UNMODIFIED, 12, false, false}, {2, 20, false, false},           {48, 10, false, false},
    {9 * 24, 9, false, false},         {35 * 24, 5, false, false},      {120 * 24, 3, false, false},
    {400 * 24, 2, false, false},       {ST_UNMODIFIED, 0, false, true}, {30 * 24, 2, true, false},
    {300 * 24, 1, true, false},
};
static const struct st_class SOME_UNDATED[ST_CLASSES] = {
    {ST_UNMODIFIED, 12, false, false}, {2, 20, false, false},           {48, 10, false, false},
    {9 * 24, 8, false, false},         {35 * 24, 5, false, false},      {120 * 24, 3, false, false},
    {400 * 24, 2, false, false},       {ST_UNMODIFIED, 1, false, true}, {30 * 24, 2, true, false},
    {300 * 24, 1, true, false},
};
enum { CLASS_MERGED = 8 }; /* of the inactive ones, where the entity has mergedToId */

static const struct st_class *const CLASSES_OF[ST_ENTITIES] = {
    ALWAYS_ACTIVE, SOME_UNDATED,  SOME_INACTIVE, SOME_INACTIVE,
    ALWAYS_ACTIVE, SOME_INACTIVE, SOME_INACTIVE, SOME_INACTIVE,
};

/* ---- Set-up ------------------------------------------------------------------------------------------------------ */

static int64_t percent_of(int64_t jobs, int percent)
{
    return (jobs * percent + 99) / 100;
}

static void set_counts(int64_t count[ST_ENTITIES], int64_t jobs)
{
    static const int percent[ST_ENTITIES] = {100, 95, 70, 80, 180, 45, 55, 0};
    for (int e = 0; e < ST_ENTITIES; e++)
        count[e] = percent_of(jobs, percent[e]);
    count[ST_CAMPAIGNS] = 60 + jobs / 2000;
}

void st_company_init(struct st_company *company, const struct st_company_options *options)
{
    *company = (struct st_company){
        .tenant = options->tenant,
        .seed = st_mix(options->seed, (uint64_t)options->tenant),
        .null_payroll_percent = options->null_payroll_percent,
        .history_end = st_timeline_end(options->timeline),
    };
    set_counts(company->count, options->jobs);
    for (int e = 0; e < ST_ENTITIES; e++) {
        company->first_id[e] = 40000000 + e * 3000000000LL + (int64_t)(company->seed % 1000000);
        const struct st_series_options series = {
            .timeline = options->timeline,
            .classes = CLASSES_OF[e],
            .seed = st_mix(company->seed, (uint64_t)e + 1),
            .count = company->count[e],
            .duplicate_permille = e == ST_PAYROLL && options->null_payroll_percent > 0 ? DUPLICATE_PAYROLL_PERMILLE : 0,
            .tie_percent = options->tie_percent,
            .tie_run = options->tie_run,
        };
        st_series_init(&company->series[e], &series);
    }
}

bool st_entity_by_name(const char *name, enum st_entity *ret)
{
    for (int e = 0; e < ST_ENTITIES; e++)
        if (strcasecmp(name, st_models[e]->name) == 0) {
            *ret = (enum st_entity)e;
            return true;
        }
    return false;
}

/* ---- Versions and ids -------------------------------------------------------------------------------------------- */

static int64_t survivor_of(const struct st_company *company, enum st_entity entity, int64_t index)
{
    const struct st_series *series = &company->series[entity];
    int64_t survivor = index / 2;
    while (survivor > 0 && series->classes[st_series_class(series, survivor)].inactive)
        survivor--;
    return survivor;
}

void st_company_version(const struct st_company *company, enum st_entity entity, int64_t index, struct st_version *ret)
{
    const struct st_series *series = &company->series[entity];
    int class = st_series_class(series, index);
    bool merges = entity == ST_CUSTOMERS || entity == ST_LOCATIONS;
    *ret = (struct st_version){
        .index = index,
        .created = st_series_created(series, index),
        .modified = st_series_modified(series, index),
        .merged_to = merges && class == CLASS_MERGED && index > 1 ? survivor_of(company, entity, index) : -1,
        .active = !series->classes[class].inactive,
    };
}

int64_t st_company_id(const struct st_company *company, enum st_entity entity, int64_t index)
{
    int64_t gap = (int64_t)(st_mix(company->seed + (uint64_t)entity, (uint64_t)index) % ID_STRIDE);
    return company->first_id[entity] + index * ID_STRIDE + gap;
}

bool st_company_index(const struct st_company *company, enum st_entity entity, int64_t id, int64_t limit, int64_t *ret)
{
    if (id < company->first_id[entity])
        return false;
    int64_t index = (id - company->first_id[entity]) / ID_STRIDE;
    if (index >= limit || st_company_id(company, entity, index) != id)
        return false;
    *ret = index;
    return true;
}

struct st_random st_record_random(const struct st_company *company, enum st_entity entity, int64_t index,
                                  uint32_t revision)
{
    uint64_t seed = st_mix(company->seed ^ ((uint64_t)entity + 1) << 40, (uint64_t)index);
    return (struct st_random){revision ? st_mix(seed, revision) : seed};
}

/* ---- Links ------------------------------------------------------------------------------------------------------- */

int64_t st_link(int64_t index, int64_t count, int64_t target_count)
{
    if (index >= count) /* made by an edit: refers to a young record */
        return target_count - 1 - (index - count) % (target_count < 100 ? target_count : 100);
    return index * target_count / count;
}

struct st_span st_link_back(int64_t target, int64_t count, int64_t target_count)
{
    if (target >= target_count)
        return (struct st_span){0, 0};
    return (struct st_span){(target * count + target_count - 1) / target_count,
                            ((target + 1) * count + target_count - 1) / target_count};
}

int64_t st_job_location(const struct st_company *company, int64_t job)
{
    int64_t newest = st_link(job, company->count[ST_JOBS], company->count[ST_LOCATIONS]);
    uint64_t hash = st_mix(company->seed + 77, (uint64_t)job);
    if (hash % 100 < 55)
        return newest;
    return (int64_t)((hash >> 8) % (uint64_t)(newest + 1));
}

int64_t st_location_customer(const struct st_company *company, int64_t location)
{
    return st_link(location, company->count[ST_LOCATIONS], company->count[ST_CUSTOMERS]);
}

int64_t st_job_customer(const struct st_company *company, int64_t job)
{
    return st_location_customer(company, st_job_location(company, job));
}

int64_t st_job_campaign(const struct st_company *company, int64_t job)
{
    uint64_t hash = st_mix(company->seed + 78, (uint64_t)job);
    uint64_t count = (uint64_t)company->count[ST_CAMPAIGNS];
    uint64_t a = hash % count, b = (hash >> 32) % count;
    return (int64_t)(a < b ? a : b); /* a few campaigns bring most jobs */
}

/* ---- Shared facts ------------------------------------------------------------------------------------------------ */

int64_t st_employee(const struct st_company *company, uint64_t number)
{
    return company->first_id[0] % 1000000 + 900000 + (int64_t)(number % EMPLOYEES) * 11;
}

int64_t st_job_number(const struct st_company *company, int64_t job)
{
    (void)company;
    return 100000 + job;
}

int64_t st_invoice_number(const struct st_company *company, int64_t invoice)
{
    (void)company;
    return 500000 + invoice;
}

void st_business_unit(const struct st_company *company, int64_t job, struct st_named *ret)
{
    uint64_t unit = st_mix(company->seed + 79, (uint64_t)job) % BUSINESS_UNITS;
    *ret = (struct st_named){company->first_id[0] % 1000000 + 500 + (int64_t)unit,
                             st_text1(st_trades.words[unit % st_trades.count])};
}

void st_job_type(const struct st_company *company, int64_t job, struct st_named *ret)
{
    uint64_t type = st_mix(company->seed + 80, (uint64_t)job) % JOB_TYPES;
    *ret = (struct st_named){company->first_id[0] % 1000000 + 700 + (int64_t)type,
                             st_text1(st_job_types.words[type % st_job_types.count])};
}

struct st_text st_person_name(const struct st_company *company, int64_t number)
{
    struct st_random r = {st_mix(company->seed + 81, (uint64_t)number)};
    struct slice first = st_word(&st_first_names, &r);
    return st_text3(first, SLICE_LIT(" "), st_word(&st_last_names, &r));
}

struct st_text st_customer_name(const struct st_company *company, int64_t customer)
{
    struct st_random r = {st_mix(company->seed + 82, (uint64_t)customer)};
    if (st_random_percent(&r, 12))
        return st_text1(st_word(&st_companies, &r));
    return st_person_name(company, customer * 3 + 1);
}

void st_location_address(const struct st_company *company, int64_t location, struct st_address *ret)
{
    struct st_random r = {st_mix(company->seed + 83, (uint64_t)location)};
    const struct st_town *town = &st_towns[st_random_below(&r, st_town_count)];
    bool canada = slice_eq_str(town->state, "QC");
    ret->number = 1 + st_random_below(&r, 19999);
    ret->street = st_word(&st_streets, &r);
    ret->unit = st_random_percent(&r, 15) ? st_word(&st_units, &r) : SLICE_NULL;
    ret->city = town->city;
    ret->state = town->state;
    ret->zip = town->zip;
    ret->country = canada ? SLICE_LIT("CAN") : SLICE_LIT("USA");
    if (st_random_percent(&r, 3))
        ret->country = SLICE_NULL;
    ret->latitude = (struct st_decimal){(int64_t)town->latitude_e4 * 100 + st_random_below(&r, 90000), 6, 0, false};
    ret->longitude = (struct st_decimal){(int64_t)town->longitude_e4 * 100 - st_random_below(&r, 90000), 6, 0, false};
    if (st_random_percent(&r, 8))
        ret->latitude = ret->longitude = ST_NO_DECIMAL;
}

static void put_street(struct st_out *out, const void *address)
{
    const struct st_address *a = address;
    *out->p++ = '"';
    st_put_number(out, a->number);
    st_raw(out, a->street);
    *out->p++ = '"';
}

static void put_word(struct st_out *out, const void *slice)
{
    const struct slice *s = slice;
    struct st_text text = st_text1(*s);
    st_put_text(out, &text);
}

const struct st_field st_address_fields[ST_ADDRESS_FIELDS] = {
    {ST_LIT("\"street\":"), put_street, 0},
    ST_FIELD("unit", put_word, struct st_address, unit),
    ST_FIELD("city", put_word, struct st_address, city),
    ST_FIELD("state", put_word, struct st_address, state),
    ST_FIELD("zip", put_word, struct st_address, zip),
    ST_FIELD("country", put_word, struct st_address, country),
    ST_FIELD("latitude", st_put_decimal, struct st_address, latitude),
    ST_FIELD("longitude", st_put_decimal, struct st_address, longitude),
};

void st_put_address(struct st_out *out, const void *address)
{
    st_put_fields(out, st_address_fields, ST_ADDRESS_FIELDS, address);
}

/* ---- Goods and money --------------------------------------------------------------------------------------------- */

const struct st_sku *st_sku(uint32_t number)
{
    return &st_skus[number % st_sku_count];
}

int64_t st_sku_id(uint32_t number)
{
    return 31000000 + number % st_sku_count * 17;
}

void st_draw_lines(struct st_random *r, int most, struct st_lines *ret)
{
    *ret = (struct st_lines){.count = 1 + (int)st_random_below(r, (uint32_t)most)};
    for (int i = 0; i < ret->count; i++) {
        struct st_line *line = &ret->line[i];
        line->sku = st_random_below(r, st_sku_count);
        int64_t list = st_skus[line->sku].price_cents;
        uint32_t part = st_random_below(r, 8);
        line->quantity_hundredths = part == 0 ? 50 + st_random_below(r, 400) : 100 + 100 * (part > 5);
        line->price_cents = list + st_random_below(r, 2000) - 500;
        line->cost_cents = list > 0 ? list * 2 / 5 : 0;
        line->total_cents = line->price_cents * line->quantity_hundredths / 100;
        line->total_cost_cents = line->cost_cents * line->quantity_hundredths / 100;
        ret->subtotal_cents += line->total_cents;
    }
    ret->tax_cents = ret->subtotal_cents > 0 ? ret->subtotal_cents * 775 / 10000 : 0;
}

void st_invoice_lines(const struct st_company *company, int64_t invoice, uint32_t revision, struct st_lines *ret)
{
    struct st_random r = st_record_random(company, ST_INVOICES, invoice, revision);
    st_draw_lines(&r, 4, ret);
}
