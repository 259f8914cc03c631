/* st_query.c - see st_query.h.
 *
 * A documented filter that the simulator cannot apply gets 501 rather than unfiltered data: a silent difference from
 * the real service would be worse than none. What the service does not know, it ignores (200 and the whole list), and
 * so does this. */
#include "st_query.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/timestamp.h"

struct reading {
    struct st_call *call;
    struct st_query *query;
    bool export;
    bool failed;
};

typedef void param_fn(struct reading *reading, const char *name, const char *value);

static void fail(struct reading *reading, int status, const char *title, const char *name, const char *problem)
{
    if (!reading->failed)
        st_reply_problem(reading->call, status, title, name, problem);
    reading->failed = true;
}

static void refuse(struct reading *reading, const char *name, const char *value)
{
    char problem[256];
    char field[64];
    snprintf(problem, sizeof problem, "The value '%.120s' is not valid for %s.", value, name);
    snprintf(field, sizeof field, "%s", name);
    field[0] = (char)toupper((unsigned char)field[0]);
    fail(reading, 400, "One or more validation errors occurred.", field, problem);
}

bool st_parse_ticks(const char *text, int64_t *ret)
{
    int64_t us;
    bool exact;
    if (!timestamp_parse(slice_str(text), &us, &exact))
        return false;
    int64_t ticks = us * 10;
    const char *point = strchr(text, '.');
    if (!exact && point) {
        size_t digits = strspn(point + 1, "0123456789");
        ticks += digits >= 7 ? point[7] - '0' : 0;
        for (size_t i = 8; i <= digits; i++)
            if (point[i] != '0') {
                ticks++;
                break;
            }
    }
    *ret = ticks;
    return true;
}

/* ---- One function per kind of parameter -------------------------------------------------------------------------- */

static void read_bound(struct reading *reading, const char *name, const char *value, int64_t *bound)
{
    if (!st_parse_ticks(value, bound))
        refuse(reading, name, value);
}

static void read_created_from(struct reading *reading, const char *name, const char *value)
{
    read_bound(reading, name, value, &reading->query->filter.created.from);
}

static void read_created_to(struct reading *reading, const char *name, const char *value)
{
    read_bound(reading, name, value, &reading->query->filter.created.to);
}

static void read_modified_from(struct reading *reading, const char *name, const char *value)
{
    read_bound(reading, name, value, &reading->query->filter.modified.from);
}

static void read_modified_to(struct reading *reading, const char *name, const char *value)
{
    read_bound(reading, name, value, &reading->query->filter.modified.to);
}

static void read_modified_upto(struct reading *reading, const char *name, const char *value)
{
    read_bound(reading, name, value, &reading->query->filter.modified.to);
    reading->query->filter.modified.to++;
}

static bool read_number(struct reading *reading, const char *name, const char *value, int64_t *ret)
{
    if (slice_to_int64(slice_str(value), ret))
        return true;
    refuse(reading, name, value);
    return false;
}

static void read_page(struct reading *reading, const char *name, const char *value)
{
    int64_t *page = &reading->query->page;
    if (!read_number(reading, name, value, page))
        return;
    if (*page < 0)
        refuse(reading, name, value);
    if (*page == 0)
        *page = 1; /* tolerated */
}

static void read_page_size(struct reading *reading, const char *name, const char *value)
{
    int64_t *size = &reading->query->page_size;
    if (!read_number(reading, name, value, size))
        return;
    if (*size > ST_MAX_PAGE_SIZE && reading->call->settings.clamp_page_size)
        *size = ST_MAX_PAGE_SIZE;
    if (*size < 1 || *size > ST_MAX_PAGE_SIZE)
        refuse(reading, name, value);
}

static void read_include_total(struct reading *reading, const char *name, const char *value)
{
    (void)name;
    reading->query->include_total = strcasecmp(value, "true") == 0;
}

static void read_include_recent(struct reading *reading, const char *name, const char *value)
{
    (void)name;
    reading->query->include_recent = strcasecmp(value, "true") == 0;
}

static void read_from(struct reading *reading, const char *name, const char *value)
{
    (void)name;
    reading->query->from = value;
}

struct word {
    const char *text;
    int value;
};

static void read_word(struct reading *reading, const char *name, const char *value, const struct word words[3])
{
    for (int i = 0; i < 3; i++)
        if (strcasecmp(value, words[i].text) == 0) {
            reading->query->filter.active = (enum st_active)words[i].value;
            return;
        }
    refuse(reading, name, value);
}

static void read_active(struct reading *reading, const char *name, const char *value)
{
    static const struct word words[3] = {{"True", ST_ACTIVE_ONLY}, {"False", ST_INACTIVE_ONLY}, {"Any", ST_ANY}};
    if (st_models[reading->call->entity]->active_filter == ST_ACTIVE_FLAG)
        read_word(reading, name, value, words);
}

static void read_active_state(struct reading *reading, const char *name, const char *value)
{
    static const struct word words[3] = {
        {"ActiveOnly", ST_ACTIVE_ONLY}, {"InactiveOnly", ST_INACTIVE_ONLY}, {"All", ST_ANY}};
    if (st_models[reading->call->entity]->active_filter == ST_ACTIVE_STATE)
        read_word(reading, name, value, words);
}

static void read_ids(struct reading *reading, const char *name, const char *value)
{
    struct slice rest = slice_str(value);
    reading->query->id_count = 0;
    while (rest.len > 0) {
        struct slice id = slice_trim(slice_cut(&rest, ','));
        if (reading->query->id_count == ST_MAX_IDS) {
            fail(reading, 400, "One or more validation errors occurred.", "Ids",
                 "The field Ids must have at most 50 values.");
            return;
        }
        if (!slice_to_int64(id, &reading->query->ids[reading->query->id_count++]))
            refuse(reading, name, value);
    }
}

static void read_link(struct reading *reading, const char *name, const char *value, enum st_entity target)
{
    const struct st_company *company = &reading->call->site->company;
    struct st_filter *filter = &reading->query->filter;
    int64_t id;
    if (!read_number(reading, name, value, &id))
        return;
    filter->linked = true;
    filter->link_count = company->count[target];
    if (!st_company_index(company, target, id, company->count[target], &filter->link_target))
        filter->link_target = -1;
}

static void read_job(struct reading *reading, const char *name, const char *value)
{
    read_link(reading, name, value, ST_JOBS);
}

static void read_customer(struct reading *reading, const char *name, const char *value)
{
    read_link(reading, name, value, ST_CUSTOMERS);
}

static void read_sort(struct reading *reading, const char *name, const char *value)
{
    struct st_query *query = reading->query;
    const char *field = value[0] == '-' || value[0] == '+' ? value + 1 : value;
    bool by_index = strcasecmp(field, "Id") == 0 || strcasecmp(field, "CreatedOn") == 0;
    if (by_index || strcasecmp(field, "ModifiedOn") == 0) {
        query->sorted = true;
        query->descending = value[0] == '-';
        query->order = by_index ? ST_BY_INDEX : ST_BY_MODIFIED;
    } else if (strcasecmp(field, "Name") == 0 || strcasecmp(field, "Priority") == 0) {
        fail(reading, 501, "The simulator cannot sort by this field.", name, value);
    } /* any other field, and one with a space that was a raw '+', is ignored */
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

enum { ALL = 0xff, EXPORTS = 1 << ST_ENTITIES };
#define OF(entity) (1u << (entity))

static const struct param {
    const char *name;
    unsigned entities;
    param_fn *read;
} PARAMS[] = {
    {"page", ALL, read_page},
    {"pageSize", ALL, read_page_size},
    {"includeTotal", ALL, read_include_total},
    {"createdOnOrAfter", ALL, read_created_from},
    {"createdBefore", ALL, read_created_to},
    {"modifiedOnOrAfter", ALL, read_modified_from},
    {"modifiedBefore", ALL, read_modified_to},
    {"modifiedOnOrBefore", OF(ST_PAYROLL), read_modified_upto},
    {"active", ALL, read_active},
    {"activeState", ALL, read_active_state},
    {"ids", ALL & ~OF(ST_PAYROLL), read_ids},
    {"jobId", OF(ST_INVOICES) | OF(ST_ESTIMATES), read_job},
    {"customerId", OF(ST_LOCATIONS), read_customer},
    {"sort", ALL, read_sort},
    {"from", EXPORTS, read_from},
    {"includeRecentChanges", EXPORTS, read_include_recent},
};

/* Documented, not simulated. */
static const char *const REFUSED[ST_ENTITIES] = {
    " number projectId bookingId jobStatus appointmentStatus priority firstAppointmentStartsOnOrAfter "
    "firstAppointmentStartsBefore "
    "appointmentStartsOnOrAfter appointmentStartsBefore technicianId customerId locationId soldById jobTypeId "
    "campaignId "
    "businessUnitId invoiceId createdFromEstimateId estimateIds completedOnOrAfter completedBefore tagTypeIds "
    "externalDataApplicationGuid externalDataKey externalDataValues hasUnusedAppointments ",
    " statuses batchId batchNumber customField.Fields customField.Operator jobNumber businessUnitId customerId "
    "invoicedOnOrAfter "
    "invoicedOnBefore adjustmentToId number totalGreater totalLess balanceFilter.Balance balanceFilter.Comparer "
    "dueDateBefore "
    "dueDateOnOrAfter orderBy orderByDirection reviewStatuses assignedToIds invoiceConfigurations ",
    " projectId jobNumber totalGreater totalLess soldById soldByEmployeeId soldAfter soldBefore status orderBy "
    "orderByDirection "
    "locationId ",
    " appliedToInvoiceIds appliedToReferenceNumber batchId batchNumber businessUnitIds customerId customField.Fields "
    "customField.Operator depositIds paidOnAfter paidOnBefore statuses totalGreater totalLess transactionType ",
    " employeeType employeeId payrollIds dateOnOrAfter dateOnOrBefore ",
    " excludeAccountingChangesFromModifiedDateRange name street unit city state zip country latitude longitude phone "
    "externalDataApplicationGuid externalDataKey externalDataValues ",
    " name street unit city state zip country latitude longitude externalDataApplicationGuid externalDataKey "
    "externalDataValues ",
    " name campaignPhoneNumber ",
};

static bool listed(const char *words, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = words; len > 0 && (at = strcasestr(at, name)) != NULL; at++)
        if (at[-1] == ' ' && at[len] == ' ')
            return true;
    return false;
}

static void read_param(void *user, const char *name, const char *value)
{
    struct reading *reading = user;
    unsigned wanted = reading->export ? EXPORTS : OF(reading->call->entity);
    for (size_t i = 0; i < ST_COUNT(PARAMS); i++)
        if ((PARAMS[i].entities & wanted) && strcasecmp(PARAMS[i].name, name) == 0) {
            PARAMS[i].read(reading, name, value ? value : "");
            return;
        }
    if (!reading->export && listed(REFUSED[reading->call->entity], name))
        fail(reading, 501, "The simulator does not know this filter.", name, "documented, but not simulated");
}

static enum st_active default_active(const struct st_call *call)
{
    if (call->entity == ST_INVOICES)
        return call->settings.invoices_hide_inactive ? ST_ACTIVE_ONLY : ST_ANY;
    return st_models[call->entity]->active_filter == ST_ACTIVE_NONE ? ST_ANY : ST_ACTIVE_ONLY;
}

bool st_query_read(struct st_call *call, bool export, struct st_query *query)
{
    *query = (struct st_query){.filter = ST_FILTER_ALL,
                               .page = 1,
                               .page_size = ST_DEFAULT_PAGE_SIZE,
                               .descending = true, /* newest id first, unless asked otherwise */
                               .order = ST_BY_INDEX,
                               .id_count = -1};
    query->filter.with_deleted = export;
    query->filter.active = export ? ST_ANY : default_active(call);
    struct reading reading = {call, query, export, false};
    http_exchange_each_query(call->x, read_param, &reading);
    if (call->ticket.fault.kind == FAULT_IGNORE_FILTER) {
        query->filter.created = query->filter.modified = (struct st_span){ST_NO_TIME, ST_FOREVER};
    }
    return !reading.failed;
}
