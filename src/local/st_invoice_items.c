/* st_invoice_items.c - the items of a generated invoice: three ledger accounts each, amounts as text. */
#include "st_invoice_items.h"

struct item {
    int64_t id, location_id, sku_id, membership_type_id, order, created_on, modified_on, service_date, created_by_id,
        technician_id;
    int64_t equipment_id, estimate_item_id, group_root;
    int8_t inventory, taxable, chargeable, display, add_on;
    struct st_text description, location, type, sku_name, display_name, group_name, inventory_status;
    struct st_decimal quantity, cost, total_cost, price, total, member_price, sold_hours;
    struct st_named business_unit;
};

static void put_null(struct st_out *out, const void *base)
{
    (void)base;
    ST_RAW(out, "null");
}

static void put_income(struct st_out *out, const void *base)
{
    (void)base;
    ST_RAW(out, "{\"id\":2301,\"name\":\"Service "
                "Income\",\"number\":\"4000\",\"type\":\"Income\",\"detailType\":\"Service/Fee\"}");
}

static void put_cost_account(struct st_out *out, const void *base)
{
    const struct item *item = base;
    if (item->inventory)
        ST_RAW(out, "{\"id\":2302,\"name\":\"Cost of Goods\",\"number\":\"5000\",\"type\":\"Cost Of "
                    "Goods\",\"detailType\":null}");
    else
        ST_RAW(out, "null");
}

static void put_asset(struct st_out *out, const void *base)
{
    const struct item *item = base;
    if (item->inventory)
        ST_RAW(out,
               "{\"id\":2303,\"name\":\"Inventory\",\"number\":null,\"type\":\"Asset\",\"detailType\":\"Inventory\"}");
    else
        ST_RAW(out, "null");
}

static void put_group(struct st_out *out, const void *base)
{
    const struct item *item = base;
    if (item->group_root == ST_NULL) {
        ST_RAW(out, "null");
        return;
    }
    ST_RAW(out, "{\"rootId\":");
    st_put_number(out, item->group_root);
    ST_RAW(out, ",\"name\":");
    st_put_text(out, &item->group_name);
    *out->p++ = '}';
}

static const struct st_field FIELDS[] = {
    ST_FIELD("id", st_put_int, struct item, id),
    ST_FIELD("description", st_put_text, struct item, description),
    ST_FIELD("quantity", st_put_money, struct item, quantity),
    ST_FIELD("cost", st_put_money, struct item, cost),
    ST_FIELD("totalCost", st_put_money, struct item, total_cost),
    {ST_LIT("\"budgetCodeId\":"), put_null, 0},
    ST_FIELD("inventoryLocationId", st_put_int, struct item, location_id),
    ST_FIELD("inventoryLocation", st_put_text, struct item, location),
    ST_FIELD("price", st_put_money, struct item, price),
    ST_FIELD("type", st_put_text, struct item, type),
    ST_FIELD("skuName", st_put_text, struct item, sku_name),
    ST_FIELD("skuId", st_put_int, struct item, sku_id),
    ST_FIELD("total", st_put_money, struct item, total),
    ST_FIELD("inventory", st_put_bool, struct item, inventory),
    ST_FIELD("taxable", st_put_bool, struct item, taxable),
    ST_FIELD("isChargeable", st_put_bool, struct item, chargeable),
    {ST_LIT("\"generalLedgerAccount\":"), put_income, 0},
    {ST_LIT("\"costOfSaleAccount\":"), put_cost_account, 0},
    {ST_LIT("\"assetAccount\":"), put_asset, 0},
    ST_FIELD("membershipTypeId", st_put_int, struct item, membership_type_id),
    {ST_LIT("\"itemGroup\":"), put_group, 0},
    ST_FIELD("displayName", st_put_text, struct item, display_name),
    ST_FIELD("soldHours", st_put_decimal, struct item, sold_hours),
    ST_FIELD("createdOn", st_put_time, struct item, created_on),
    ST_FIELD("modifiedOn", st_put_time, struct item, modified_on),
    ST_FIELD("serviceDate", st_put_time, struct item, service_date),
    ST_FIELD("order", st_put_int, struct item, order),
    ST_FIELD("businessUnit", st_put_named, struct item, business_unit),
    ST_FIELD("createdById", st_put_int, struct item, created_by_id),
    ST_FIELD("displayInAmount", st_put_bool, struct item, display),
    {ST_LIT("\"importId\":"), put_null, 0},
    {ST_LIT("\"exportId\":"), put_null, 0},
    ST_FIELD("inventoryStatus", st_put_text, struct item, inventory_status),
    ST_FIELD("addOn", st_put_bool, struct item, add_on),
    ST_FIELD("memberPrice", st_put_money, struct item, member_price),
    ST_FIELD("technicianId", st_put_int, struct item, technician_id),
    ST_FIELD("installedEquipmentId", st_put_int, struct item, equipment_id),
    ST_FIELD("estimateItemId", st_put_int, struct item, estimate_item_id),
};

static void derive_amounts(struct item *item, const struct st_line *line)
{
    item->quantity = (struct st_decimal){line->quantity_hundredths, 2, 8, false};
    item->cost = (struct st_decimal){line->cost_cents, 2, 8, false};
    item->total_cost = (struct st_decimal){line->total_cost_cents, 2, 2, false};
    item->price = st_cents(line->price_cents);
    item->total = st_cents(line->total_cents);
    item->member_price = line->price_cents > 20000 ? st_cents(line->price_cents * 9 / 10) : ST_NO_DECIMAL;
    item->sold_hours = line->sku % 3 ? (struct st_decimal){(int64_t)line->sku * 25, 2, 0, false} : ST_NO_DECIMAL;
}

static void derive_item(const struct st_invoice *i, int n, struct item *item)
{
    const struct st_line *line = &i->lines.line[n];
    const struct st_sku *sku = st_sku(line->sku);
    uint64_t draw = i->extras >> (n * 5);
    *item = (struct item){
        .id = i->id * 8 + n,
        .order = n + 1,
        .sku_id = st_sku_id(line->sku),
        .membership_type_id = 0,
        .created_on = i->created_on,
        .modified_on = i->modified_on == ST_NO_TIME ? i->created_on : i->modified_on,
        .service_date = draw & 1 ? i->invoice_date : ST_NO_TIME,
        .created_by_id = draw & 2 ? i->employee.id : ST_NULL,
        .technician_id = draw & 4 ? i->employee.id : ST_NULL,
        .equipment_id = ST_NULL,
        .estimate_item_id = draw & 8 ? i->id * 8 + n + 3 : ST_NULL,
        .group_root = draw & 16 ? 4400 + (int64_t)line->sku : ST_NULL,
        .group_name = st_text1(SLICE_LIT("Kit \\u00ab1\\u00bb")),
        .inventory = sku->type.ptr[0] == 'M',
        .taxable = sku->type.ptr[0] != 'S',
        .chargeable = 1,
        .display = draw & 1 ? 1 : -1,
        .add_on = draw & 6 ? 0 : 1,
        .description = draw & 16 ? ST_NO_TEXT : st_text1(sku->description),
        .type = st_text1(sku->type),
        .sku_name = st_text1(sku->name),
        .display_name = st_text1(sku->display),
        .business_unit = i->business_unit,
    };
    item->location_id = item->inventory ? 21 : ST_NULL;
    item->location = item->inventory ? st_text1(SLICE_LIT("Truck 7 \\/ Shelf \\\"B\\\"")) : ST_NO_TEXT;
    item->inventory_status = item->inventory ? st_text1(SLICE_LIT("Used")) : ST_NO_TEXT;
    derive_amounts(item, line);
}

void st_put_invoice_items(struct st_out *out, const void *invoice)
{
    const struct st_invoice *i = invoice;
    if ((i->extras >> 40 & 63) == 0) {
        ST_RAW(out, "null");
        return;
    }
    *out->p++ = '[';
    for (int n = 0; n < i->lines.count; n++) {
        struct item item;
        derive_item(i, n, &item);
        if (n)
            *out->p++ = ',';
        st_put_fields(out, FIELDS, ST_COUNT(FIELDS), &item);
    }
    if ((i->extras >> 46 & 511) == 0)
        ST_RAW(out, ",null");
    *out->p++ = ']';
}
