#include "copy/scan.h"

#include "copy/verdict.h"

#include <stdatomic.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum scan_mode {
    SCAN_CSV,        /* the escape is the quote: whether quotes are open is the parity of the quotes before */
    SCAN_CSV_ESCAPE, /* another escape: it is not, and blocks with quotes are walked byte by byte */
    SCAN_TEXT
};

struct needles {
    unsigned char delimiter, special; /* csv: the quote; text: the backslash */
};

/* One bit a byte. */
struct masks {
    uint64_t delimiter, special, newline, carriage;
    uint64_t odd; /* zero bytes and bytes above 127 */
};

struct marks {
    uint64_t delimiter, end; /* outside quotes */
    uint64_t line;           /* line ends anywhere */
    uint64_t odd;            /* what must be looked at again */
};

/* What one block hands to the next. */
struct scan_state {
    uint64_t inside;   /* csv: all ones inside quotes */
    uint64_t carriage; /* 1 after a carriage return outside quotes */
    uint64_t escaped;  /* text: 1 after a backslash */
    uint64_t odd;      /* of this block: text: a dot after a backslash */
    struct walk walk;  /* csv with another escape */
};

/* The row that is being read. */
struct cursor {
    uint32_t row_start, field_start;
    uint32_t field; /* number of the field at field_start; counted up to the last key field only */
    size_t key;     /* key fields found */
    bool odd;
    uint64_t delimiters, row_delimiters; /* before this block; before the row */
    uint64_t line;                       /* before this block */
    struct copy_slice *keys;             /* of this row */
};

static struct needles scan_needles(const struct copy_format *format)
{
    return (struct needles){(unsigned char)format->delimiter,
                            format->kind == MOSAIC_TEXT ? '\\' : (unsigned char)format->quote};
}

static uint64_t scan_plain_escape(const struct copy_format *format, const unsigned char *bytes, size_t count,
                                  struct walk *walk)
{
    uint64_t plain = 0;
    for (size_t i = 0; i < count; i++)
        plain |= (uint64_t)walk_byte(walk, format, bytes[i]) << i;
    return plain;
}

static uint64_t scan_plain_text(const unsigned char *bytes, size_t count, uint64_t backslashes,
                                struct scan_state *state)
{
    uint64_t escaped = state->escaped, left = backslashes & ~escaped;
    state->escaped = 0;
    while (left) {
        unsigned bit = (unsigned)__builtin_ctzll(left);
        if (bit == 63) {
            state->escaped = 1;
            break;
        }
        escaped |= 2ULL << bit;
        left &= ~(3ULL << bit);
    }
    for (uint64_t each = escaped; each; each &= each - 1) {
        unsigned bit = (unsigned)__builtin_ctzll(each);
        if (bit < count && bytes[bit] == '.')
            state->odd |= 1ULL << bit;
    }
    return ~escaped;
}

/*
 * The row ends while key fields are looked for: its last field, up to `extra` bytes before `end`, may be one, and the
 * others are missing.
 */
static void cursor_last_field(struct cursor *at, const struct copy_splitter *splitter, uint32_t end, uint32_t extra)
{
    if (at->field == splitter->key_fields[at->key])
        at->keys[splitter->key_slots[at->key++]] =
            (struct copy_slice){at->field_start, end - at->field_start < extra ? at->field_start : end - extra};
    for (; at->key < splitter->key_count; at->key++)
        at->keys[splitter->key_slots[at->key]] = (struct copy_slice){UINT32_MAX, UINT32_MAX};
}

/* Where rows end in \r\n: this one ends in a \n without a \r, or (text) with one that a backslash makes part of the
 * field. */
static bool is_lone_newline(const struct copy_format *format, const unsigned char *text, size_t size)
{
    if (size < 2 || text[size - 2] != '\r')
        return true;
    size_t backslashes = 0;
    while (format->kind == MOSAIC_TEXT && backslashes < size - 2 && text[size - 3 - backslashes] == '\\')
        backslashes++;
    return backslashes % 2 == 1;
}

/* Says what is wrong with a row that looks unusual, if anything is. True if it is the end marker. */
static __attribute__((noinline)) bool scan_look_again(struct copy_splitter *splitter, const unsigned char *bytes,
                                                      struct copy_row *row, bool odd)
{
    const unsigned char *text = bytes + row->start;
    bool broken_end = row->newline == 2 && odd && is_lone_newline(&splitter->format, text, row->size);
    if (broken_end)
        row->newline = 1;
    size_t size = row->size - row->newline;
    if (size == 2 && text[0] == '\\' && text[1] == '.' && !broken_end)
        return true;
    if (size > splitter->format.row_limit) /* first: of a longer one that is still to come nothing else is known */
        row->bad = COPY_BAD_LONG;
    else if (odd)
        row->bad = verdict_row(splitter, text, size);
    if (!row->bad && broken_end)
        row->bad = COPY_BAD_NEWLINE;
    if (!row->bad && splitter->fields && row->fields != splitter->fields)
        row->bad = row->fields < splitter->fields ? COPY_BAD_FEW : COPY_BAD_MANY;
    return false;
}

/* ---- any machine ------------------------------------------------------------------------------------ */

static inline void masks_portable(const unsigned char *bytes, const struct needles *needles, struct masks *masks)
{
    *masks = (struct masks){0};
    for (int i = 0; i < 64; i++) {
        unsigned char byte = bytes[i];
        masks->delimiter |= (uint64_t)(byte == needles->delimiter) << i;
        masks->special |= (uint64_t)(byte == needles->special) << i;
        masks->newline |= (uint64_t)(byte == '\n') << i;
        masks->carriage |= (uint64_t)(byte == '\r') << i;
        masks->odd |= (uint64_t)(byte == 0 || byte >= 0x80) << i;
    }
}

/* Bit i is the parity of bits 0 to i. */
static inline uint64_t prefix_portable(uint64_t bits)
{
    for (int shift = 1; shift < 64; shift *= 2)
        bits ^= bits << shift;
    return bits;
}

#define SCAN(name) name##_portable
#define SCAN_TARGET
#include "copy/scan_body.h"
#undef SCAN
#undef SCAN_TARGET

#if defined(__x86_64__)

/* ---- SSE2: every x86-64 ----------------------------------------------------------------------------- */

static inline uint64_t equal_sse2(const __m128i part[4], unsigned char needle)
{
    __m128i wanted = _mm_set1_epi8((char)needle);
    uint64_t bits = 0;
    for (int i = 0; i < 4; i++)
        bits |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(part[i], wanted)) << (16 * i);
    return bits;
}

static inline void masks_sse2(const unsigned char *bytes, const struct needles *needles, struct masks *masks)
{
    __m128i part[4];
    uint64_t high = 0;
    for (int i = 0; i < 4; i++) {
        part[i] = _mm_loadu_si128((const __m128i *)(const void *)(bytes + 16 * i));
        high |= (uint64_t)(unsigned)_mm_movemask_epi8(part[i]) << (16 * i);
    }
    masks->delimiter = equal_sse2(part, needles->delimiter);
    masks->special = equal_sse2(part, needles->special);
    masks->newline = equal_sse2(part, '\n');
    masks->carriage = equal_sse2(part, '\r');
    masks->odd = high | equal_sse2(part, 0);
}

static inline uint64_t prefix_sse2(uint64_t bits)
{
    return prefix_portable(bits);
}

#define SCAN(name) name##_sse2
#define SCAN_TARGET
#include "copy/scan_body.h"
#undef SCAN
#undef SCAN_TARGET

/* ---- AVX2 ------------------------------------------------------------------------------------------- */

#define SCAN_TARGET __attribute__((target("avx2,pclmul,popcnt,bmi,bmi2")))

SCAN_TARGET static inline __attribute__((always_inline)) uint64_t equal_avx2(__m256i low, __m256i high,
                                                                             unsigned char needle)
{
    __m256i wanted = _mm256_set1_epi8((char)needle);
    uint64_t first = (unsigned)_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, wanted));
    uint64_t second = (unsigned)_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, wanted));
    return first | second << 32;
}

SCAN_TARGET static inline __attribute__((always_inline)) void
masks_avx2(const unsigned char *bytes, const struct needles *needles, struct masks *masks)
{
    __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)bytes);
    __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(bytes + 32));
    masks->delimiter = equal_avx2(low, high, needles->delimiter);
    masks->special = equal_avx2(low, high, needles->special);
    masks->newline = equal_avx2(low, high, '\n');
    masks->carriage = equal_avx2(low, high, '\r');
    masks->odd = (uint64_t)(unsigned)_mm256_movemask_epi8(low) | (uint64_t)(unsigned)_mm256_movemask_epi8(high) << 32;
    masks->odd |= equal_avx2(low, high, 0);
}

/* A carry-less product with all ones is the prefix xor. */
SCAN_TARGET static inline __attribute__((always_inline)) uint64_t prefix_avx2(uint64_t bits)
{
    __m128i product = _mm_clmulepi64_si128(_mm_set_epi64x(0, (long long)bits), _mm_set1_epi8((char)0xFF), 0);
    return (uint64_t)_mm_cvtsi128_si64(product);
}

#define SCAN(name) name##_avx2
#include "copy/scan_body.h"
#undef SCAN
#undef SCAN_TARGET

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("popcnt") &&
           __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}
#endif

/* ---- choice ----------------------------------------------------------------------------------------- */

static bool has_always(void)
{
    return true;
}

static const struct method {
    const char *name;
    bool (*usable)(void);
    scan_function functions[3]; /* by scan_mode */
} methods[] = {
#if defined(__x86_64__)
    {"avx2", has_avx2, {scan_csv_avx2, scan_csv_escape_avx2, scan_text_avx2}},
    {"sse2", has_always, {scan_csv_sse2, scan_csv_escape_sse2, scan_text_sse2}},
#endif
    {"portable", has_always, {scan_csv_portable, scan_csv_escape_portable, scan_text_portable}},
};

enum { METHOD_COUNT = sizeof methods / sizeof methods[0] };

/* Tests only; a plain pointer to constant data, so a race could only read an older choice. */
static _Atomic(const struct method *) chosen;

static const struct method *best_method(void)
{
    const struct method *method = atomic_load_explicit(&chosen, memory_order_relaxed);
    for (size_t i = 0; !method; i++)
        method = methods[i].usable() ? &methods[i] : NULL;
    return method;
}

bool copy_scan_choose(const char *name)
{
    const struct method *found = NULL;
    for (size_t i = 0; name && i < METHOD_COUNT; i++)
        if (strcmp(methods[i].name, name) == 0 && methods[i].usable())
            found = &methods[i];
    if (name && !found)
        return false;
    atomic_store_explicit(&chosen, found, memory_order_relaxed);
    return true;
}

const char *copy_scan_name(void)
{
    return best_method()->name;
}

scan_function scan_choose(const struct copy_format *format)
{
    enum scan_mode mode = format->kind == MOSAIC_TEXT       ? SCAN_TEXT
                          : format->escape == format->quote ? SCAN_CSV
                                                            : SCAN_CSV_ESCAPE;
    return best_method()->functions[mode];
}
