/* page_scan.c - see page_scan.h. The block scan turns 64 bytes into bit masks: which are quotes, which are inside texts
 * (a prefix XOR over the quotes), which are brackets outside of them. Most blocks hold no bracket that could end the
 * value, so two population counts settle them. */
#include "page_scan.h"

#include "record/page.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

const char *page_scan_plain(struct page_scan *scan, const char *at, const char *end, enum page_scan_result *ret)
{
    *ret = SCAN_MORE;
    while (at < end) {
        char c = *at++;
        if (scan->escaped) {
            scan->escaped = false;
        } else if (c == '\\') {
            scan->escaped = true;
        } else if (c == '"') {
            scan->in_text = !scan->in_text;
        } else if (!scan->in_text && (c == '{' || c == '[')) {
            if (++scan->depth > PAGE_MAX_DEPTH) {
                *ret = SCAN_TOO_DEEP;
                return at;
            }
        } else if (!scan->in_text && (c == '}' || c == ']') && --scan->depth <= 0) {
            *ret = SCAN_END;
            return at;
        }
    }
    return at;
}

#if defined(__SSE2__)

enum { BLOCK_BYTES = 64, LANE_BYTES = 16 };

struct block {
    uint64_t quotes, backslashes, opens, closes;
};

static struct block block_load(const char *at)
{
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\');
    const __m128i open = _mm_set1_epi8('{'), close = _mm_set1_epi8('}'), fold = _mm_set1_epi8(0x20);
    struct block block = {0, 0, 0, 0};
    for (int i = 0; i < BLOCK_BYTES / LANE_BYTES; i++) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(at + i * LANE_BYTES));
        __m128i folded = _mm_or_si128(bytes, fold); /* '[' and ']' become '{' and '}' */
        int shift = i * LANE_BYTES;
        block.quotes |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, quote)) << shift;
        block.backslashes |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, backslash)) << shift;
        block.opens |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(folded, open)) << shift;
        block.closes |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(folded, close)) << shift;
    }
    return block;
}

/* Bytes that a backslash escapes. *escaped: the byte before the block, then the last byte of the block, is such a
 * backslash. */
static uint64_t escaped_bytes(uint64_t backslashes, bool *escaped)
{
    uint64_t result = *escaped ? 1 : 0;
    backslashes &= ~result;
    *escaped = false;
    while (backslashes) {
        uint64_t bit = backslashes & -backslashes, next = bit << 1;
        *escaped = next == 0;
        result |= next;
        backslashes &= ~(bit | next);
    }
    return result;
}

/* Bit i of the result: an odd number of bits among 0..i. */
static uint64_t prefix_xor(uint64_t bits)
{
    for (int shift = 1; shift < BLOCK_BYTES; shift <<= 1)
        bits ^= bits << shift;
    return bits;
}

const char *page_scan(struct page_scan *scan, const char *at, const char *end, enum page_scan_result *ret)
{
    while (end - at >= BLOCK_BYTES) {
        struct block block = block_load(at);
        struct page_scan before = *scan;
        uint64_t escaped = scan->escaped || block.backslashes ? escaped_bytes(block.backslashes, &scan->escaped) : 0;
        uint64_t in_text = prefix_xor(block.quotes & ~escaped) ^ (scan->in_text ? UINT64_MAX : 0);
        uint64_t outside = ~(in_text | escaped);
        int opens = __builtin_popcountll(block.opens & outside), closes = __builtin_popcountll(block.closes & outside);
        if (closes >= scan->depth || scan->depth + opens > PAGE_MAX_DEPTH) {
            *scan = before; /* something may end here: look closely */
            const char *stop = page_scan_plain(scan, at, at + BLOCK_BYTES, ret);
            if (*ret != SCAN_MORE)
                return stop;
        } else {
            scan->in_text = in_text >> (BLOCK_BYTES - 1);
            scan->depth += opens - closes;
        }
        at += BLOCK_BYTES;
    }
    return page_scan_plain(scan, at, end, ret);
}

#else

const char *page_scan(struct page_scan *scan, const char *at, const char *end, enum page_scan_result *ret)
{
    return page_scan_plain(scan, at, end, ret);
}

#endif
