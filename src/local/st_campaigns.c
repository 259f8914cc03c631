/* st_campaigns.c - what a generated campaign says. The first one is the default. */
#include "st_company.h"
#include "st_words.h"

struct campaign {
    int64_t id, number, created_on, modified_on;
    int8_t active, is_default;
    struct slice channel, business_unit, medium, source, other_medium, other_source;
    uint64_t extras;
};

static void put_name(struct st_out *out, const void *base)
{
    const struct campaign *c = base;
    *out->p++ = '"';
    st_raw(out, c->channel);
    ST_RAW(out, " \\u2013 #");
    st_put_number(out, c->number);
    *out->p++ = '"';
}

static void put_word(struct st_out *out, const void *slice)
{
    struct st_text text = st_text1(*(const struct slice *)slice);
    st_put_text(out, &text);
}

static void put_category(struct st_out *out, const void *extras)
{
    static const struct slice FORMS[] = {ST_LIT("{\"id\":51,\"name\":\"Digital\",\"active\":true}"),
                                         ST_LIT("{\"id\":52,\"name\":\"Print & Mail\",\"active\":true}"),
                                         ST_LIT("{\"id\":53,\"name\":\"Old \\\"2019\\\"\",\"active\":false}"),
                                         ST_LIT("null")};
    st_raw(out, FORMS[*(const uint64_t *)extras & 3]);
}

static void put_phones(struct st_out *out, const void *extras)
{
    static const struct slice FORMS[] = {ST_LIT("[]"),
                                         ST_LIT("[\"9165550142\"]"),
                                         ST_LIT("[\"(916) 555-0199\",\"+1 530 555 0100\"]"),
                                         ST_LIT("null"),
                                         ST_LIT("[\"9165550177\",null]"),
                                         ST_LIT("[]"),
                                         ST_LIT("[\"9165550143\"]"),
                                         ST_LIT("[\"9165550144\"]")};
    st_raw(out, FORMS[*(const uint64_t *)extras >> 8 & 7]);
}

static const struct st_field FIELDS[] = {
    ST_FIELD("id", st_put_int, struct campaign, id),
    {ST_LIT("\"name\":"), put_name, 0},
    ST_FIELD("modifiedOn", st_put_time, struct campaign, modified_on),
    ST_FIELD("createdOn", st_put_time, struct campaign, created_on),
    ST_FIELD("active", st_put_bool, struct campaign, active),
    ST_FIELD("isDefaultCampaign", st_put_bool, struct campaign, is_default),
    ST_FIELD("category", put_category, struct campaign, extras),
    ST_FIELD("source", put_word, struct campaign, source),
    ST_FIELD("otherSource", put_word, struct campaign, other_source),
    ST_FIELD("businessUnit", put_word, struct campaign, business_unit),
    ST_FIELD("medium", put_word, struct campaign, medium),
    ST_FIELD("otherMedium", put_word, struct campaign, other_medium),
    ST_FIELD("campaignPhoneNumbers", put_phones, struct campaign, extras),
};

static void write_campaign(struct st_out *out, const struct st_company *company, const struct st_version *v)
{
    struct st_random r = st_record_random(company, ST_CAMPAIGNS, v->index, 0);
    struct st_random changing = st_record_random(company, ST_CAMPAIGNS, v->index, v->revision + 1);
    struct campaign c = {
        .id = st_company_id(company, ST_CAMPAIGNS, v->index),
        .number = v->index + 1,
        .created_on = v->created,
        .modified_on = v->modified,
        .active = v->active,
    };
    bool unknown = st_random_percent(&r, 10);
    c.is_default = v->index == 0 ? 1 : unknown ? -1 : 0;
    c.channel = st_word(&st_campaign_names, &r);
    c.extras = st_random_next(&changing);
    c.business_unit = st_random_percent(&r, 50) ? st_word(&st_trades, &r) : SLICE_NULL;
    c.medium = st_random_percent(&changing, 60) ? st_word(&st_media, &changing) : SLICE_NULL;
    c.other_source = st_random_percent(&changing, 10) ? SLICE_LIT("Flyer \\u201cA\\u201d") : SLICE_NULL;
    c.other_medium = st_random_percent(&changing, 10) ? SLICE_LIT("Sidewalk") : SLICE_NULL;
    c.source = st_random_percent(&changing, 60) ? SLICE_LIT("Paid \\/ Search") : SLICE_NULL;
    st_put_fields(out, FIELDS, ST_COUNT(FIELDS), &c);
}

const struct st_model st_campaigns_model = {
    .name = "campaigns",
    .module = "marketing",
    .resource = "campaigns",
    .active_filter = ST_ACTIVE_FLAG,
    .has_active = true,
    .fields = FIELDS,
    .field_count = ST_COUNT(FIELDS),
    .write = write_campaign,
};
