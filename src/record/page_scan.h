/* page_scan.h - finds the end of a JSON object or array that arrives in pieces, by quotes and brackets only.
 *
 * It counts brackets of both kinds alike and does not look at anything else: whoever gets the text checks it. 64 bytes
 * at a time where SSE2 is there; page_scan_plain is the same byte by byte, for the ends of pieces, other machines, and
 * the test that compares both. */
#ifndef ST_RECORD_PAGE_SCAN_H
#define ST_RECORD_PAGE_SCAN_H

#include "base/slice.h"

struct page_scan {
    int depth; /* brackets open; the first one is taken by the scan itself */
    bool in_text;
    bool escaped; /* the last byte was a backslash that escapes the next */
};

enum page_scan_result { SCAN_MORE, SCAN_END, SCAN_TOO_DEEP };

/* Scans from `at`; returns the place behind the last byte that was taken. SCAN_END: behind the bracket that closes the
 * first one. */
const char *page_scan(struct page_scan *scan, const char *at, const char *end, enum page_scan_result *ret);
const char *page_scan_plain(struct page_scan *scan, const char *at, const char *end, enum page_scan_result *ret);

#endif
