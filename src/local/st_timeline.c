/* st_timeline.c - the weight of each hour of history, and the instant at which a given part of it has passed.
 *
 * Hours are weighed by hand-set tables: a service company books on weekdays between 7 and 18 o'clock of its own time
 * zone (here UTC-8 without daylight saving), grows over the years, and is busiest in summer. */
#include "st_time.h"

#include <stdlib.h>

#include "base/buf.h"

enum {
    WEIGHT_UNIT = 65536, /* keeps the weight of an hour below 2^28, also after twenty years of growth, so that it times
                            the ticks of an hour fits 63 bits */
    GROWTH_PER_WEEK = 4, /* of 1000 */
    LOCAL_OFFSET_HOURS = 8,
    GUIDE_BITS = 14,
};

struct st_timeline {
    int64_t start, end;
    int hours;
    uint64_t total;
    int guide_shift;
    uint32_t guide[(1 << GUIDE_BITS) + 1]; /* hour to start the search from, by the upper bits of the weight */
    uint64_t before[];                     /* weight of all earlier hours; hours + 1 */
};

static const uint8_t HOUR_OF_DAY[24] = {1,  1,  1,  1,  1,  2,  8,  30, 46, 50, 48, 44,
                                        36, 42, 44, 40, 34, 24, 12, 8,  5,  3,  2,  1};
static const uint8_t DAY_OF_WEEK[7] = {12, 100, 96, 92, 94, 90, 34}; /* Sunday first, percent */
static const uint8_t MONTH[12] = {90, 84, 82, 86, 96, 118, 124, 120, 100, 92, 88, 94};

static uint64_t hour_weight(int64_t start, int hour)
{
    int64_t unix_hour = start / ST_TICKS_PER_HOUR + hour - LOCAL_OFFSET_HOURS;
    int64_t day = unix_hour / 24;
    uint64_t weight = HOUR_OF_DAY[unix_hour % 24];
    weight *= DAY_OF_WEEK[(day + 4) % 7];
    weight *= MONTH[(day % 365) * 12 / 365];
    weight *= (uint64_t)(1000 + GROWTH_PER_WEEK * (hour / 168));
    return weight / 1000000 * WEIGHT_UNIT + WEIGHT_UNIT;
}

static void build_guide(struct st_timeline *timeline)
{
    while ((timeline->total >> timeline->guide_shift) >= (1u << GUIDE_BITS))
        timeline->guide_shift++;
    uint32_t hour = 0;
    for (uint64_t i = 0; i <= (1u << GUIDE_BITS); i++) {
        while (hour + 1 < (uint32_t)timeline->hours && timeline->before[hour + 1] <= i << timeline->guide_shift)
            hour++;
        timeline->guide[i] = hour;
    }
}

/* Five years are 261 weeks. */
static int hours_of(int64_t years)
{
    return (int)((years * 1461 + 27) / 28) * 168;
}

struct st_timeline *st_timeline_new(int64_t end_ticks, int64_t years)
{
    int hours = hours_of(years);
    struct st_timeline *timeline = xcalloc(1, sizeof *timeline + ((size_t)hours + 1) * sizeof timeline->before[0]);
    timeline->hours = hours;
    timeline->end = end_ticks - end_ticks % ST_TICKS_PER_SECOND;
    timeline->start = timeline->end - hours * ST_TICKS_PER_HOUR;
    for (int hour = 0; hour < hours; hour++)
        timeline->before[hour + 1] = timeline->before[hour] + hour_weight(timeline->start, hour);
    timeline->total = timeline->before[hours];
    build_guide(timeline);
    return timeline;
}

void st_timeline_free(struct st_timeline *timeline)
{
    free(timeline);
}

int64_t st_timeline_start(const struct st_timeline *timeline)
{
    return timeline->start;
}

int64_t st_timeline_end(const struct st_timeline *timeline)
{
    return timeline->end;
}

int64_t st_timeline_hours(const struct st_timeline *timeline)
{
    return timeline->hours;
}

uint64_t st_timeline_weight(const struct st_timeline *timeline)
{
    return timeline->total;
}

int64_t st_timeline_at(const struct st_timeline *timeline, uint64_t weight)
{
    if (weight >= timeline->total)
        return timeline->end;
    uint32_t hour = timeline->guide[weight >> timeline->guide_shift];
    while (timeline->before[hour + 1] <= weight)
        hour++;
    uint64_t width = timeline->before[hour + 1] - timeline->before[hour];
    uint64_t passed = (weight - timeline->before[hour]) * (uint64_t)ST_TICKS_PER_HOUR / width;
    return timeline->start + hour * ST_TICKS_PER_HOUR + (int64_t)passed;
}
