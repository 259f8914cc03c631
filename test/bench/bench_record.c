/* bench_record.c - the record path alone: pages of jobs into row bytes, and the same bytes through the splitter and the
 * tokenizer only.
 *
 * usage: bench_record [REGISTRY [PAGES]]. Pages are made in memory, about 1.1 KB per record, and fed in pieces of 16
 * KiB as they come from the network. CPU time of this process; one line per stage: MB/s, rows per CPU-second, and how
 * that compares with the tokenizer. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "record/encoder.h"
#include "record/page.h"
#include "../../src/record/tokenizer.h"

enum { BENCH_RECORDS = 5000, BENCH_PIECE_BYTES = 16 * 1024, BENCH_DEFAULT_PAGES = 40, BENCH_ROUNDS = 5 };

static uint64_t random_state = 42;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static long long number(long long below)
{
    return (long long)(next_random() % (uint64_t)below);
}

static void put_job(struct buf *out, int i)
{
    static const char *const statuses[] = {"Scheduled", "Dispatched", "InProgress", "Hold", "Completed", "Canceled"};
    buf_printf(out, "{\"id\":%d,\"jobNumber\":\"%d\",\"projectId\":null,\"customerId\":%lld,\"locationId\":%lld,",
               70000000 + i, 70000000 + i, 5000000 + number(900000), 6000000 + number(900000));
    buf_printf(
        out, "\"jobStatus\":\"%s\",\"completedOn\":\"2025-%02lld-%02lldT17:%02lld:08.%lldZ\",\"businessUnitId\":%lld,",
        statuses[number(6)], 1 + number(12), 1 + number(28), number(60), 1 + number(9999999), 100 + number(40));
    buf_printf(out, "\"jobTypeId\":%lld,\"priority\":\"Normal\",\"campaignId\":%lld,\"appointmentCount\":%lld,",
               number(400), number(900), 1 + number(4));
    buf_printf(out, "\"firstAppointmentId\":%lld,\"lastAppointmentId\":%lld,\"recallForId\":null,\"warrantyId\":null,",
               80000000 + number(90000), 80000000 + number(90000));
    buf_printf(out, "\"jobGeneratedLeadSource\":{\"jobId\":%lld,\"employeeId\":null},\"noCharge\":false,",
               number(900000));
    buf_printf(out,
               "\"notificationsEnabled\":true,\"createdOn\":\"2025-01-%02lldT08:15:30.%07lldZ\",\"createdById\":%lld,",
               1 + number(28), number(9999999), number(5000));
    buf_printf(out,
               "\"modifiedOn\":\"2025-06-%02lldT19:44:01.%07lldZ\",\"tagTypeIds\":[%lld,%lld],\"leadCallId\":%lld,",
               1 + number(28), number(9999999), number(900), number(900), number(9000000));
    buf_printf(
        out, "\"partnerLeadCallId\":null,\"bookingId\":null,\"soldById\":%lld,\"customerPo\":null,\"invoiceId\":%lld,",
        number(900), 90000000 + number(900000));
    buf_printf(out, "\"membershipId\":null,\"total\":%lld.%02lld,\"createdFromEstimateId\":null,\"estimateIds\":[],",
               number(20000), number(100));
    buf_printf(
        out,
        "\"summary\":\"Replaced the condenser fan motor and checked the charge.<br/>Unit %lld runs, \\\"no noise\\\"; "
        "the customer asked about a maintenance plan \\u2013 call back on Monday.\",",
        number(100000));
    buf_printf(out,
               "\"customFields\":[{\"typeId\":%lld,\"name\":\"Gate code\",\"value\":\"%lld\"}],\"externalData\":[]}",
               number(90), number(9999));
}

static void make_page(struct buf *out)
{
    buf_append_str(out, "{\"page\":1,\"pageSize\":5000,\"hasMore\":true,\"totalCount\":null,\"data\":[");
    for (int i = 0; i < BENCH_RECORDS; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        put_job(out, i);
    }
    buf_append_str(out, "]}");
}

struct stage {
    const char *name;
    page_record_fn *on_record;
};

struct state {
    struct record_encoder *encoder;
    struct buf rows;
    int64_t records;
    size_t row_bytes;
};

static bool count_only(void *user, struct slice record)
{
    struct state *state = user;
    (void)record;
    state->records++;
    return true;
}

static bool tokenize(void *user, struct slice record)
{
    struct state *state = user;
    struct cursor cursor;
    cursor_init(&cursor, record);
    state->records += token_skip(&cursor);
    return true;
}

static bool encode(void *user, struct slice record)
{
    enum { FLUSH_BYTES = 1 << 20 };
    struct state *state = user;
    struct row_info info;
    if (state->rows.len > FLUSH_BYTES)
        buf_clear(&state->rows);
    size_t before = state->rows.len;
    if (record_encode(state->encoder, record, &state->rows, &info) != ROW_ENCODED) {
        fprintf(stderr, "refused: %s\n", info.reason);
        exit(1);
    }
    state->row_bytes += state->rows.len - before;
    state->records++;
    return true;
}

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void feed_whole(struct page *page, struct slice body)
{
    struct error err = ERROR_INIT;
    page_reset(page);
    for (size_t at = 0; at < body.len; at += BENCH_PIECE_BYTES) {
        size_t len = body.len - at < BENCH_PIECE_BYTES ? body.len - at : BENCH_PIECE_BYTES;
        if (!page_feed(page, slice_of(body.ptr + at, len), &err))
            break;
    }
    if (err.class != ERROR_NONE || !page_finish(page, &err)) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
}

/* The best of some rounds: the machine may be busy with other things. */
static double run_stage(const struct stage *stage, struct state *state, struct slice body, int pages)
{
    struct page *page = page_new(stage->on_record, state);
    double best = 1e9;
    for (int round = 0; round < BENCH_ROUNDS; round++) {
        state->records = 0;
        state->row_bytes = 0;
        double start = cpu_seconds();
        for (int i = 0; i < pages; i++)
            feed_whole(page, body);
        double seconds = cpu_seconds() - start;
        best = seconds < best ? seconds : best;
    }
    page_free(page);
    return best;
}

int main(int argc, char **argv)
{
    static const struct stage stages[] = {
        {"split", count_only},
        {"split and tokenize", tokenize},
        {"split and encode", encode},
    };
    const char *path = argc > 1 ? argv[1] : "config/schema_registry.json";
    int64_t wanted = BENCH_DEFAULT_PAGES;
    if (argc > 2 && (!slice_to_int64(slice_str(argv[2]), &wanted) || wanted < 1 || wanted > 1000000)) {
        fprintf(stderr, "the number of pages is \"%s\": 1 to 1000000 is allowed\n", argv[2]);
        return 2;
    }
    int pages = (int)wanted;
    struct error err = ERROR_INIT;
    struct registry *registry = registry_load(path, &err);
    if (!registry) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    struct row_context context = {1, "00000000-0000-4000-8000-000000000000", 1, 0, false};
    struct state state = {.encoder = record_encoder_new(registry_find(registry, "jobs"), &context)};
    struct buf body = BUF_INIT;
    make_page(&body);
    double bytes = (double)body.len * pages, tokenizer = 0;
    printf("%d pages of %d jobs, %.0f bytes each\n", pages, BENCH_RECORDS, (double)body.len / BENCH_RECORDS);
    for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++) {
        double seconds = run_stage(&stages[i], &state, buf_slice(&body), pages);
        tokenizer = i == 1 ? seconds : tokenizer;
        printf("%-20s %7.0f MB/s %10.0f rows per CPU-second", stages[i].name, bytes / seconds / 1e6,
               (double)state.records / seconds);
        if (i == 2)
            printf("  %.2f x the tokenizer's time, %.0f bytes per row", seconds / tokenizer,
                   (double)state.row_bytes / (double)state.records);
        printf("\n");
    }
    record_encoder_free(state.encoder);
    registry_free(registry);
    buf_release(&body);
    buf_release(&state.rows);
    return 0;
}
