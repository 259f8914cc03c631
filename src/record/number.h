/* number.h - decimal texts to column values, exactly, by their digits.
 *
 * Grammar: an optional '-', digits (leading zeros allowed), an optional fraction, an optional exponent. JSON numbers
 * are a part of it, and so is the money that the accounting API writes as text. Work is linear in the text, memory
 * constant; any thread. */
#ifndef ST_RECORD_NUMBER_H
#define ST_RECORD_NUMBER_H

#include "base/slice.h"

enum number_fit {
    NUMBER_EXACT,
    NUMBER_ROUNDED,      /* more than nine decimals: half to even */
    NUMBER_OUT_OF_RANGE, /* beyond +-(10^29 - 10^-9) */
    NUMBER_MALFORMED,
};

enum { NUMERIC_TEXT_SIZE = 48, NUMERIC_WHOLE_DIGITS = 29, NUMERIC_DECIMALS = 9 };

/* Integer values in any spelling (12, 12.0, 1.2e1, 012). False: not an integer, or outside int64. */
bool number_to_int64(struct slice text, int64_t *ret);
/* The shortest plain spelling ("12.5", "-0.000000001", "0"), NUL-terminated. */
enum number_fit number_to_numeric(struct slice text, char out[NUMERIC_TEXT_SIZE], size_t *ret_len);
/* The nearest double. False: malformed, or beyond the range of doubles. */
bool number_to_double(struct slice text, double *ret);
/* Can a JSON value of BigQuery (int64, uint64 or double) hold it without loss? True only when that is certain. */
bool number_fits_json(struct slice text);

#endif
