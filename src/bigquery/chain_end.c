/* chain_end.c - a change that has ended: what its job says of it, for whoever waited, and its record.
 *
 * Everything is read from the job, because the one who waits for its end may be another worker than the one who
 * inserted it. */
#include "chain.h"

#include <stdlib.h>

static void read_runs(struct change_end *ended)
{
    struct json_object *params = json_at(ended->job.resource, "configuration.query.queryParameters");
    size_t count = json_object_is_type(params, json_type_array) ? json_object_array_length(params) : 0;
    for (size_t i = 0; i < count; i++) {
        struct json_object *param = json_object_array_get_idx(params, i);
        struct json_object *values = json_at(param, "parameterValue.arrayValues");
        if (strcmp(json_text_at(param, "name", ""), "runs") != 0 || !json_object_is_type(values, json_type_array))
            continue;
        size_t runs = json_object_array_length(values);
        free(ended->runs);
        ended->runs = xcalloc(runs + 1, sizeof *ended->runs);
        for (ended->run_count = 0; ended->run_count < runs; ended->run_count++)
            ended->runs[ended->run_count] =
                xstrdup(json_text_at(json_object_array_get_idx(values, ended->run_count), "value", ""));
    }
}

void change_end_read(struct change_end *ended)
{
    read_runs(ended);
    ended->partial = json_text_at(ended->job.resource, "configuration.labels.st_part", "")[0] != '\0';
}

void change_end_release(struct change_end *ended)
{
    for (size_t i = 0; i < ended->run_count; i++)
        free(ended->runs[i]);
    free(ended->runs);
    bq_job_release(&ended->job);
}

bool change_end_record(struct warehouse *w, const char *target, const struct change_end *ended, struct cancel *cancel,
                       struct error *err)
{
    const struct bq_job *job = &ended->job;
    struct event_change event = {.target = target,
                                 .job_id = ended->job_id,
                                 .number = ended->number,
                                 .state = job->failed ? "failed" : "success",
                                 .started_us = job->start_us,
                                 .ended_us = job->end_us,
                                 .error_code = job->failed ? job->job_error.code : NULL,
                                 .error_message = job->failed ? job->job_error.message : NULL,
                                 .rows_inserted = job->inserted_rows,
                                 .rows_updated = job->updated_rows,
                                 .rows_deleted = job->deleted_rows,
                                 .bytes_billed = job->bytes_billed,
                                 .run_ids = (const char *const *)ended->runs,
                                 .run_count = ended->run_count};
    if (ended->partial && !job->failed) /* its run is not merged yet */
        event.run_count = 0;
    return events_change(w->events, &event, cancel, err);
}

int64_t change_end_rows(const struct change_end *ended)
{
    const struct bq_job *job = &ended->job;
    return job->affected_rows >= 0 ? job->affected_rows : job->inserted_rows + job->updated_rows + job->deleted_rows;
}
