/* option.h - one table of designated rows: name, type, default, range, text. Loading, checking, --help, the sample file and the
 * README's table all come from it.
 *
 * Values come from, later ones over earlier ones: the row's default, the JSON file, the .env file, the environment. A bad value's
 * error names the option, the value, where it came from and what is allowed. Secrets are never shown and never read from the JSON file. */
#ifndef ST_BASE_OPTION_H
#define ST_BASE_OPTION_H

#include "base/buf.h"
#include "base/json.h"
#include "base/secret.h"

enum option_type {
    OPTION_STRING,    /* const char * */
    OPTION_INT,       /* int64_t, within min..max */
    OPTION_CHOICE,    /* const char *, one of choices ("a|b|c") */
    OPTION_URL,       /* const char *, https anywhere or http on loopback */
    OPTION_HOST_PORT, /* const char *, "host:port" */
    OPTION_NAME,      /* const char *, letters, digits, '_', '-' and '.', 1..255 */
    OPTION_BOOL,      /* bool */
    OPTION_SECRET,    /* struct secret * */
};

struct option_row {
    const char *env;       /* "LOOKBACK_DAYS"; NULL: from the JSON file only */
    const char *json_path; /* "sync.lookbackDays"; NULL: from the environment only */
    enum option_type type;
    size_t offset;        /* of the value in the settings struct */
    const char *fallback; /* default as text; NULL: empty */
    int64_t min, max;     /* OPTION_INT */
    const char *choices;  /* OPTION_CHOICE */
    unsigned needed_by;   /* bits of the commands that cannot do without it */
    const char *section;  /* heading in help, sample file and README */
    const char *text;     /* what it does, one sentence */
};

struct option_set { /* values and the memory behind them */
    const struct option_row *rows;
    size_t count;
    void *values;        /* the settings struct */
    struct buf *owned;   /* one text per row; freed by option_set_release */
    const char **origin; /* where each value came from: "default", a file's path, "environment" */
    bool *given;         /* false: the default */
};

void option_set_init(struct option_set *set, const struct option_row *rows, size_t count, void *values);
void option_set_release(struct option_set *set);
/* Each step overrides the ones before it. */
bool option_set_defaults(struct option_set *set, struct error *err) MUST_CHECK;
/* Members of `root` named by json_path; `path` names the file in errors. Unknown members are not its business. */
bool option_set_json(struct option_set *set, struct json_object *root, const char *path, struct error *err) MUST_CHECK;
/* NAME=value lines, '#' comments, optional quotes and "export ". Names that no row has are left alone. A missing file is fine when optional. */
bool option_set_env_file(struct option_set *set, const char *path, bool optional, struct error *err) MUST_CHECK;
bool option_set_environment(struct option_set *set, struct error *err) MUST_CHECK;
/* Every option that the command needs has a value; else the error names all that are missing. */
bool option_set_check(const struct option_set *set, unsigned command, struct error *err) MUST_CHECK;

/* What OPTION_URL allows, for addresses that stand elsewhere (a tenant's own). */
bool option_is_url(struct slice text);

/* A further variable of the .env file or the environment (for secrets whose names are in the config). NULL when unset. The caller owns it. */
struct secret *option_secret_named(const char *name, const char *env_file);

void option_help(struct buf *out, const struct option_row *rows, size_t count);       /* for --help */
void option_sample_env(struct buf *out, const struct option_row *rows, size_t count); /* .env.example */
void option_markdown(struct buf *out, const struct option_row *rows, size_t count);   /* README table */
/* "NAME  value  (origin)"; secrets as "set" or "not set". */
void option_show(struct buf *out, const struct option_set *set);

#endif
