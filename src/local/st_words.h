/* st_words.h - the vocabulary of generated companies, already JSON-escaped: names, streets, towns, goods, sentences.
 *
 * Ordinary English first, with what real data holds in between: accents, CJK, emoji, quotes, backslashes, HTML, tabs,
 * line ends, escaped and literal non-ASCII characters. */
#ifndef ST_LOCAL_ST_WORDS_H
#define ST_LOCAL_ST_WORDS_H

#include "st_company.h"

struct st_words {
    const struct slice *words;
    uint32_t count;
};
struct st_town {
    struct slice city, state, zip;
    int32_t latitude_e4, longitude_e4;
};

extern const struct st_words st_first_names, st_last_names, st_companies, st_streets, st_units, st_complaints,
    st_findings, st_memos, st_trades, st_job_types, st_campaign_names, st_media;
extern const struct st_town st_towns[];
extern const uint32_t st_town_count;
extern const struct st_sku st_skus[];
extern const uint32_t st_sku_count;

static inline struct slice st_word(const struct st_words *words, struct st_random *r)
{
    return words->words[st_random_below(r, words->count)];
}

/* A complaint and one or two findings. Draws are made one after the other: the order of arguments is up to the
 * compiler. */
static inline struct st_text st_summary(struct st_random *r)
{
    struct slice complaint = st_word(&st_complaints, r);
    struct slice first = st_word(&st_findings, r);
    struct slice second = st_word(&st_findings, r);
    return (struct st_text){{complaint, first, {" ", 1}, second}};
}

#endif
