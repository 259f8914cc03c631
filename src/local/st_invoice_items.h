/* st_invoice_items.h - a generated invoice, between the parts that write it. Private to st_invoices.c and
 * st_invoice_items.c. */
#ifndef ST_LOCAL_ST_INVOICE_ITEMS_H
#define ST_LOCAL_ST_INVOICE_ITEMS_H

#include "st_company.h"

struct st_invoice {
    const struct st_company *company;
    int64_t id, number, invoice_date, due_date, tax_zone_id, batch_id, batch_number, deposited_on, created_on,
        modified_on;
    int64_t adjustment_to_id, job_id, job_number, project_id, employee_modified_on, membership_id, paid_on;
    int64_t budget_code_id, material_sku_id;
    int8_t active;
    struct st_text sync_status, term_name, created_by, job_type, commission_date, sent_status, review_status, summary,
        import_id, export_id, configuration;
    struct st_named invoice_type, customer, location, business_unit, employee, assigned_to;
    struct st_address customer_address, location_address;
    struct st_decimal subtotal, sales_tax, total, balance, discount;
    struct st_lines lines;
    uint64_t extras;
};

void st_put_invoice_items(struct st_out *out,
                          const void *invoice); /* array, sometimes null, sometimes with a null member */

#endif
