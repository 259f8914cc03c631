#include "operate/table.h"

#include <stdlib.h>

#include "base/timestamp.h"

enum { CELL_MAX_CHARS = 60, LAST_CELL_MAX_CHARS = 240 }; /* nothing stands behind the last column */

static bool is_type(const struct bq_result *r, size_t column, const char *type)
{
    return strcmp(r->types[column], type) == 0;
}

static bool is_time(const char *text, int64_t *ret_us)
{
    return slice_to_int64(slice_str(text), ret_us) && *ret_us >= TIMESTAMP_MIN_US && *ret_us <= TIMESTAMP_MAX_US;
}

/* One line, and nothing that steers a terminal: error messages may quote foreign bytes. */
void table_printable(struct buf *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text, next = (unsigned char)text[1];
        if (c == 0xC2 && next >= 0x80 && next < 0xA0) { /* a C1 control in UTF-8 */
            buf_append_char(out, ' ');
            text++;
        } else {
            buf_append_char(out, c < 0x20 || c == 0x7F ? ' ' : (char)c);
        }
    }
}

/* The cell as people read it; times come as microseconds. */
static void cell_text(struct buf *out, const struct bq_result *r, size_t row, size_t column)
{
    const char *text = r->cells[row][column];
    int64_t us;
    buf_clear(out);
    if (!text)
        buf_append_char(out, '-');
    else if (is_type(r, column, "TIMESTAMP") && is_time(text, &us))
        timestamp_format(out, us, 0);
    else
        table_printable(out, text);
}

static size_t characters(struct slice s)
{
    size_t count = 0;
    for (size_t i = 0; i < s.len; i++)
        count += ((unsigned char)s.ptr[i] & 0xC0) != 0x80;
    return count;
}

static size_t column_width(const struct bq_result *r, size_t column, struct buf *scratch)
{
    size_t width = strlen(r->columns[column]);
    for (size_t row = 0; row < r->row_count; row++) {
        cell_text(scratch, r, row, column);
        size_t n = characters(buf_slice(scratch));
        if (n > width)
            width = n;
    }
    size_t max = column + 1 == r->column_count ? LAST_CELL_MAX_CHARS : CELL_MAX_CHARS;
    return width < max ? width : max;
}

/* The first `width` characters of s. */
static struct slice cut_to(struct slice s, size_t width)
{
    size_t count = 0, i = 0;
    while (i < s.len) {
        bool starts = ((unsigned char)s.ptr[i] & 0xC0) != 0x80;
        if (starts && count++ == width)
            break;
        i++;
    }
    return slice_of(s.ptr, i);
}

static void put_cell(struct buf *out, struct slice text, size_t width, bool right, bool last)
{
    bool cut = characters(text) > width;
    text = cut_to(text, cut ? width - 1 : width);
    size_t pad = width - characters(text) - cut;
    if (right)
        buf_printf(out, "%*s", (int)pad, "");
    buf_append_slice(out, text);
    if (cut)
        buf_append_str(out, "…"); /* a message cut in a number reads as another number */
    if (!right && !last)
        buf_printf(out, "%*s", (int)pad, "");
    buf_append_str(out, last ? "\n" : "  ");
}

void table_print(struct buf *out, const struct bq_result *r)
{
    struct buf text = BUF_INIT;
    size_t *widths = xcalloc(r->column_count, sizeof *widths);
    for (size_t c = 0; c < r->column_count; c++) {
        widths[c] = column_width(r, c, &text);
        put_cell(out, slice_str(r->columns[c]), widths[c], is_type(r, c, "INTEGER"), c + 1 == r->column_count);
    }
    for (size_t row = 0; row < r->row_count; row++) {
        for (size_t c = 0; c < r->column_count; c++) {
            cell_text(&text, r, row, c);
            put_cell(out, buf_slice(&text), widths[c], is_type(r, c, "INTEGER"), c + 1 == r->column_count);
        }
    }
    free(widths);
    buf_release(&text);
}

static bool is_bool(const struct bq_result *r, size_t column, const char *text)
{
    return is_type(r, column, "BOOLEAN") && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0);
}

static void put_json_cell(struct buf *out, const struct bq_result *r, size_t row, size_t column)
{
    const char *text = r->cells[row][column];
    char stamp[TIMESTAMP_TEXT_SIZE];
    int64_t number;
    if (!text)
        buf_append_str(out, "null");
    else if (is_type(r, column, "TIMESTAMP") && is_time(text, &number))
        buf_append_json_string(out, slice_str(timestamp_text(stamp, number, 3)));
    else if ((is_type(r, column, "INTEGER") && slice_to_int64(slice_str(text), &number)) || is_bool(r, column, text))
        buf_append_str(out, text);
    else
        buf_append_json_string(out, slice_str(text));
}

void table_json_row(struct buf *out, const struct bq_result *r, size_t row)
{
    buf_append_char(out, '{');
    for (size_t c = 0; c < r->column_count; c++) {
        if (c)
            buf_append_char(out, ',');
        buf_append_json_string(out, slice_str(r->columns[c]));
        buf_append_char(out, ':');
        put_json_cell(out, r, row, c);
    }
    buf_append_char(out, '}');
}

void table_json(struct buf *out, const struct bq_result *r)
{
    buf_append_char(out, '[');
    for (size_t row = 0; row < r->row_count; row++) {
        buf_append_str(out, row ? ",\n " : "\n ");
        table_json_row(out, r, row);
    }
    buf_append_str(out, "\n]\n");
}

void table_begin(struct bq_result *ret, const struct table_column *columns, size_t count)
{
    *ret = (struct bq_result){.column_count = count};
    ret->columns = xcalloc(count, sizeof *ret->columns);
    ret->types = xcalloc(count, sizeof *ret->types);
    for (size_t i = 0; i < count; i++) {
        ret->columns[i] = xstrdup(columns[i].name);
        ret->types[i] = xstrdup(columns[i].type);
    }
}

void table_add_row(struct bq_result *table, const char *const *cells)
{
    table->cells = xrealloc(table->cells, (table->row_count + 1) * sizeof *table->cells);
    char **row = xcalloc(table->column_count, sizeof *row);
    for (size_t i = 0; i < table->column_count; i++)
        row[i] = cells[i] ? xstrdup(cells[i]) : NULL;
    table->cells[table->row_count++] = row;
}
