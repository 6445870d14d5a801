/* The csv and text splitter against examples, and against a splitter that reads one byte after the other. */
#include "copy/splitter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { ROWS_MOST = 700, KEYS_MOST = 2, TEXT_MOST = 640 };

static uint64_t random_state;

static uint32_t random_below(uint32_t limit)
{
    random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(random_state >> 33) % limit;
}

static void seed_random(void)
{
    const char *given = getenv("SEED");
    random_state = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("SEED=%llu\n", (unsigned long long)random_state);
}

/* One row as text, whoever found it. */
struct found {
    char text[TEXT_MOST];
    size_t size;
    uint32_t fields;
    enum copy_bad bad;
    uint64_t line;
    char keys[KEYS_MOST][TEXT_MOST];
};

struct outcome {
    struct found *rows;
    size_t count;
    enum copy_result result;
};

static struct outcome new_outcome(void)
{
    struct outcome outcome = {.rows = calloc(ROWS_MOST, sizeof(struct found)), .result = COPY_MORE};
    assert_non_null(outcome.rows);
    return outcome;
}

static void copy_bytes(char *to, const char *from, size_t size)
{
    assert_true(size < TEXT_MOST);
    if (size)
        memcpy(to, from, size);
    to[size] = '\0';
}

/* ---- the reference: what copyfromparse.c says, one byte after the other -------------------------------- */

struct reference {
    const struct copy_format *format;
    const char *input;
    size_t size, at, line;
    char style; /* 0 unknown, 'n', 'c' for \r, 'b' for both */
    bool quoted, escape_before;
};

static bool reference_line_end(struct reference *r, bool *bad)
{
    char c = r->input[r->at];
    char following = r->at + 1 < r->size ? r->input[r->at + 1] : 0;
    if (r->quoted || (c != '\n' && c != '\r'))
        return false;
    char style = c == '\n' ? 'n' : following == '\n' ? 'b' : 'c';
    if (!r->style)
        r->style = style;
    if (style == r->style || (c == '\r' && r->style == 'c'))
        return true;
    *bad = true;
    return c == '\n' && r->style == 'b'; /* ours, not PostgreSQL's: a \n still ends the row, so that one can go on */
}

/* A byte of a row; true if it is a delimiter. */
static bool reference_byte(struct reference *r, struct found *row, bool *marker)
{
    const struct copy_format *format = r->format;
    char c = r->input[r->at];
    row->text[row->size++] = c;
    if (c == '\0')
        row->bad = COPY_BAD_ZERO;
    r->at++;
    if (format->kind == MOSAIC_TEXT) {
        if (c == '\\' && r->at < r->size) {
            if (r->input[r->at] == '.')
                *marker = true;
            if (r->input[r->at] == '\0')
                row->bad = COPY_BAD_ZERO;
            row->text[row->size++] = r->input[r->at++];
        } else if (c == '\\') {
            row->bad = COPY_BAD_BACKSLASH;
        }
        return c == format->delimiter;
    }
    char escape = format->escape == format->quote ? '\0' : format->escape;
    if (escape && r->quoted && c == escape)
        r->escape_before = !r->escape_before;
    if (c == format->quote && !r->escape_before)
        r->quoted = !r->quoted;
    if (c != escape)
        r->escape_before = false;
    return c == format->delimiter && !r->quoted;
}

static void reference_key(const size_t *key_fields, size_t key_count, struct found *row, size_t start)
{
    for (size_t k = 0; k < key_count; k++)
        if (key_fields[k] == row->fields)
            copy_bytes(row->keys[k], row->text + start, row->size - start);
}

static void reference_run(const struct copy_format *format, const char *input, size_t size, size_t fields,
                          const size_t *key_fields, size_t key_count, struct outcome *outcome)
{
    struct reference r = {.format = format, .input = input, .size = size};
    outcome->result = COPY_END;
    while (r.at < r.size) {
        struct found *row = &outcome->rows[outcome->count];
        size_t field_start = 0;
        bool ended = false, mixed = false, marker = false;
        *row = (struct found){.line = r.line + 1};
        r.quoted = r.escape_before = false;
        for (size_t k = 0; k < key_count; k++)
            snprintf(row->keys[k], sizeof row->keys[k], "missing");
        while (r.at < r.size && !(ended = reference_line_end(&r, &mixed))) {
            if (!reference_byte(&r, row, &marker))
                continue;
            row->size--;
            reference_key(key_fields, key_count, row, field_start);
            row->size++;
            row->fields++;
            field_start = row->size;
        }
        reference_key(key_fields, key_count, row, field_start);
        row->fields++;
        for (size_t i = 0; i < row->size; i++)
            r.line += row->text[i] == (r.style == 'c' ? '\r' : '\n');
        if (ended) {
            r.at += r.style == 'b' && r.input[r.at] == '\r' ? 2 : 1;
            r.line++;
        }
        if (row->size == 2 && memcmp(row->text, "\\.", 2) == 0 && !mixed && ended) {
            outcome->result = r.at < r.size ? COPY_BROKEN : COPY_END;
            return;
        }
        if (row->bad == COPY_BAD_BACKSLASH && (mixed || marker))
            row->bad = COPY_BAD_NONE;
        if (!row->bad && mixed)
            row->bad = COPY_BAD_NEWLINE;
        else if (!row->bad && marker)
            row->bad = COPY_BAD_MARKER;
        else if (!row->bad && r.quoted)
            row->bad = COPY_BAD_QUOTE;
        else if (!row->bad && row->size == 2 && memcmp(row->text, "\\.", 2) == 0)
            row->bad = COPY_BAD_MARKER;
        else if (!row->bad && fields && row->fields != fields)
            row->bad = row->fields < fields ? COPY_BAD_FEW : COPY_BAD_MANY;
        outcome->count++;
    }
}

/* ---- the splitter, fed in pieces ---------------------------------------------------------------------- */

static void take_rows(const struct copy_rows *rows, size_t key_count, const char *bytes, struct outcome *outcome)
{
    for (size_t i = 0; i < rows->count; i++) {
        const struct copy_row *row = &rows->rows[i];
        struct found *found = &outcome->rows[outcome->count++];
        *found = (struct found){
            .size = row->size - row->newline, .fields = row->fields, .bad = (enum copy_bad)row->bad, .line = row->line};
        copy_bytes(found->text, bytes + row->start, found->size);
        for (size_t k = 0; k < key_count; k++) {
            struct copy_slice slice = rows->keys[i * key_count + k];
            if (slice.start == UINT32_MAX)
                snprintf(found->keys[k], sizeof found->keys[k], "missing");
            else
                copy_bytes(found->keys[k], bytes + slice.start, slice.end - slice.start);
        }
    }
}

/* Splits the input given `piece` bytes more each time (each piece in memory of its own size, so that ASan sees a read
 * behind it). */
static void splitter_run(struct copy_splitter *splitter, const char *input, size_t size, size_t piece, size_t capacity,
                         struct outcome *outcome)
{
    struct copy_row rows_memory[64];
    struct copy_slice keys_memory[64 * KEYS_MOST];
    struct copy_rows rows = {.rows = rows_memory, .keys = keys_memory, .capacity = capacity};
    size_t from = 0, to = 0;
    while (outcome->result == COPY_MORE || outcome->result == COPY_FULL) {
        size_t consumed;
        if (outcome->result == COPY_MORE)
            to = size - to > piece ? to + piece : size;
        char *bytes = malloc(to - from + (to == from));
        assert_non_null(bytes);
        if (to > from)
            memcpy(bytes, input + from, to - from);
        outcome->result = copy_split(splitter, bytes, to - from, to == size, &rows, &consumed);
        assert_true(consumed <= to - from);
        take_rows(&rows, splitter->key_count, bytes, outcome);
        free(bytes);
        from += consumed;
    }
    if (outcome->result == COPY_END && from < size) { /* behind the end marker */
        size_t consumed;
        outcome->result = copy_split(splitter, input + from, size - from, true, &rows, &consumed);
    }
}

/* Of several things that are wrong with one row, any may be named. */
static enum copy_bad bad_class(enum copy_bad bad)
{
    bool one_of_several = bad == COPY_BAD_ZERO || bad == COPY_BAD_NEWLINE || bad == COPY_BAD_MARKER ||
                          bad == COPY_BAD_QUOTE || bad == COPY_BAD_BACKSLASH;
    return one_of_several ? COPY_BAD_ZERO : bad;
}

static void expect_same(const struct outcome *wanted, const struct outcome *got, size_t key_count, const char *input,
                        size_t size)
{
    bool same = wanted->result == got->result && wanted->count == got->count;
    for (size_t i = 0; same && i < got->count; i++) {
        const struct found *a = &wanted->rows[i], *b = &got->rows[i];
        same = bad_class(a->bad) == bad_class(b->bad) && a->line == b->line && a->size == b->size &&
               memcmp(a->text, b->text, a->size) == 0;
        bool structure = a->bad == COPY_BAD_NONE || a->bad == COPY_BAD_FEW || a->bad == COPY_BAD_MANY;
        if (same && structure)
            same = a->fields == b->fields;
        for (size_t k = 0; same && structure && k < key_count; k++)
            same = strcmp(a->keys[k], b->keys[k]) == 0;
        if (!same)
            printf("row %zu: wanted bad %d line %d fields %u <%s>, got bad %d line %d fields %u <%s>\n", i, a->bad,
                   (int)a->line, a->fields, a->text, b->bad, (int)b->line, b->fields, b->text);
    }
    if (!same) {
        printf("wanted %zu rows, result %d; got %zu rows, result %d; input %zu:", wanted->count, wanted->result,
               got->count, got->result, size);
        for (size_t i = 0; i < size; i++)
            printf(input[i] >= ' ' ? "%c" : "\\x%02x", input[i]);
        printf("\n");
    }
    assert_true(same);
}

static size_t random_input(const struct copy_format *format, char *input, size_t most)
{
    const char text_pieces[] = "\n\n\t\t\\..abc\r";
    const char csv_pieces[] = "\n\n,,\"\"abc\\.\r'";
    const char *pieces = format->kind == MOSAIC_TEXT ? text_pieces : csv_pieces;
    uint32_t kinds = (uint32_t)strlen(pieces);
    uint32_t style = random_below(4), calm = random_below(3) ? 60 : 0;
    size_t size = 0, wanted = random_below((uint32_t)most - 1);
    while (size < wanted) {
        char c = random_below(100) < calm ? (char)('a' + random_below(26)) : pieces[random_below(kinds)];
        if (c == '\r' && random_below(8))
            c = 'x';
        if (c == '\n' && style == 1)
            c = '\r';
        if (c == '\n' && style == 2)
            input[size++] = '\r';
        if (size < wanted)
            input[size++] = random_below(500) ? c : '\0';
    }
    return size < wanted ? size : wanted;
}

static const char *const methods[] = {"avx2", "sse2", "portable"};

static void same_as_reference(struct copy_format format, size_t rounds)
{
    mosaic_error error;
    assert_int_equal(copy_format_check(&format, &error), MOSAIC_OK);
    for (size_t round = 0; round < rounds; round++) {
        char input[600];
        size_t size = random_input(&format, input, round % 4 ? 150 : sizeof input);
        size_t fields = random_below(5), key_count = fields ? 1 + random_below(2) : 0;
        size_t key_fields[2] = {random_below(5) % (fields ? fields : 1), 0};
        key_fields[1] = (key_fields[0] + 1) % (fields ? fields : 1);
        if (key_count == 2 && key_fields[0] == key_fields[1])
            key_count = 1;
        struct outcome wanted = new_outcome();
        reference_run(&format, input, size, fields, key_fields, key_count, &wanted);
        for (size_t method = 0; method < 3; method++) {
            if (!copy_scan_choose(methods[method]))
                continue;
            struct copy_splitter splitter = {.format = format};
            struct outcome got = new_outcome();
            copy_splitter_columns(&splitter, fields, key_fields, key_count);
            size_t piece = round % 3 == 0 ? 1 : 1 + random_below((uint32_t)sizeof input);
            splitter_run(&splitter, input, size, piece, 1 + random_below(64), &got);
            expect_same(&wanted, &got, key_count, input, size);
            free(got.rows);
        }
        free(wanted.rows);
    }
    copy_scan_choose(NULL);
}

static void csv_like_reference(void **state)
{
    (void)state;
    same_as_reference((struct copy_format){.kind = MOSAIC_CSV}, 3000);
}

static void csv_with_escape_like_reference(void **state)
{
    (void)state;
    same_as_reference((struct copy_format){.kind = MOSAIC_CSV, .escape = '\\'}, 2000);
    same_as_reference((struct copy_format){.kind = MOSAIC_CSV, .escape = '\'', .delimiter = 'a'}, 1000);
}

static void text_like_reference(void **state)
{
    (void)state;
    same_as_reference((struct copy_format){.kind = MOSAIC_TEXT}, 3000);
}

/* ---- examples ------------------------------------------------------------------------------------------ */

static struct outcome split(struct copy_format format, const char *input, size_t size, size_t fields, size_t piece)
{
    mosaic_error error;
    struct outcome outcome = new_outcome();
    assert_int_equal(copy_format_check(&format, &error), MOSAIC_OK);
    struct copy_splitter splitter = {.format = format};
    copy_splitter_columns(&splitter, fields, (const size_t[]){0}, fields ? 1 : 0);
    splitter_run(&splitter, input, size, piece, 8, &outcome);
    return outcome;
}

static void expect_bad(struct copy_format format, const char *input, size_t size, size_t row, enum copy_bad bad,
                       uint64_t line)
{
    for (size_t piece = 1; piece <= size; piece++) {
        struct outcome outcome = split(format, input, size, 2, piece);
        assert_true(outcome.count > row);
        assert_int_equal(outcome.rows[row].bad, bad);
        assert_int_equal(outcome.rows[row].line, line);
        free(outcome.rows);
    }
}

#define BAD(format, input, row, reason, line) expect_bad(format, input, sizeof(input) - 1, row, reason, line)

static void rows_of_csv(void **state)
{
    (void)state;
    const char input[] = "1,a\n2,\"x,\ny\"\n3,b\"\"\"\n\"\"4\"\n5,mid\"dle\nof\"it";
    const char *texts[] = {"1,a", "2,\"x,\ny\"", "3,b\"\"\"\n\"\"4\"", "5,mid\"dle\nof\"it"};
    const uint64_t lines[] = {1, 2, 4, 6};
    for (size_t piece = 1; piece < sizeof input; piece++) {
        struct outcome got = split((struct copy_format){.kind = MOSAIC_CSV}, input, sizeof input - 1, 2, piece);
        assert_int_equal(got.result, COPY_END);
        assert_int_equal(got.count, 4);
        for (size_t i = 0; i < 4; i++) {
            assert_string_equal(got.rows[i].text, texts[i]);
            assert_int_equal(got.rows[i].line, lines[i]);
        }
        assert_string_equal(got.rows[1].keys[0], "2");
        free(got.rows);
    }
}

static void bad_rows(void **state)
{
    (void)state;
    const struct copy_format csv = {.kind = MOSAIC_CSV}, text = {.kind = MOSAIC_TEXT};
    BAD(csv, "1,a\n2\n3,c\n", 1, COPY_BAD_FEW, 2);
    BAD(csv, "1,a\n2,b,c\n", 1, COPY_BAD_MANY, 2);
    BAD(csv, "1,a\n\n", 1, COPY_BAD_FEW, 2);
    BAD(csv, "1,a\n2,b\0c\n3,c\n", 1, COPY_BAD_ZERO, 2);
    BAD(csv, "1,a\n2,b\r\n3,c\n", 1, COPY_BAD_NEWLINE, 2);
    BAD(csv, "1,a\r\n2,b\n3,c\r\n", 1, COPY_BAD_NEWLINE, 2);
    BAD(csv, "1,a\r2,b\n3,c\r", 1, COPY_BAD_NEWLINE, 2);
    BAD(csv, "1,a\n2,\xff\n", 1, COPY_BAD_ENCODING, 2);
    BAD(csv, "1,a\n2,\xed\xa0\x80\n", 1, COPY_BAD_ENCODING, 2);
    BAD(csv, "1,a\n\"2,b\n3,c\n", 1, COPY_BAD_QUOTE, 2);
    BAD(csv, "1,a\n\\.", 1, COPY_BAD_MARKER, 2);
    BAD(text, "1\ta\n2\tb\\.\n", 1, COPY_BAD_MARKER, 2);
    BAD(text, "1\ta\n2\tb\\", 1, COPY_BAD_BACKSLASH, 2);
    BAD(text, "1\ta\r\n2\tb\\\r\n", 1, COPY_BAD_NEWLINE, 2);
}

static void good_unicode_is_not_bad(void **state)
{
    (void)state;
    struct outcome got = split((struct copy_format){.kind = MOSAIC_CSV}, "1,\xc3\xa4\n2,\xf0\x9f\x90\x98\n", 12, 2, 12);
    assert_int_equal(got.count, 2);
    assert_int_equal(got.rows[0].bad, COPY_BAD_NONE);
    assert_int_equal(got.rows[1].bad, COPY_BAD_NONE);
    free(got.rows);
}

static void unclosed_quote_says_where_it_opened(void **state)
{
    (void)state;
    struct copy_format format = {.kind = MOSAIC_CSV};
    assert_int_equal(copy_format_check(&format, NULL), MOSAIC_OK);
    struct copy_splitter splitter = {.format = format};
    struct copy_row row[4];
    struct copy_slice keys[4];
    struct copy_rows rows = {row, keys, 4, 0};
    const char input[] = "1,a\n2,\"b\nc\",\"d\ne\nf\n";
    size_t consumed;
    copy_splitter_columns(&splitter, 0, NULL, 0);
    assert_int_equal(copy_split(&splitter, input, sizeof input - 1, true, &rows, &consumed), COPY_END);
    assert_int_equal(rows.count, 2);
    assert_int_equal(row[1].bad, COPY_BAD_QUOTE);
    assert_int_equal(row[1].line, 2);
    assert_int_equal(row[1].bad_line, 3);
}

static void row_over_the_limit(void **state)
{
    (void)state;
    const struct copy_format format = {.kind = MOSAIC_CSV, .row_limit = 10};
    const char *inputs[] = {"1,a\n2,\"345678901\n2\n3\"\n3,c\n", "1,a\r\n2,\"345678901\r\n\r\n3\"\r\n3,c\r\n"};
    for (size_t i = 0; i < 2; i++)
        for (size_t piece = 1; piece <= strlen(inputs[i]); piece++) {
            struct outcome got = split(format, inputs[i], strlen(inputs[i]), 2, piece);
            assert_int_equal(got.result, COPY_END);
            assert_int_equal(got.count, 3);
            assert_int_equal(got.rows[1].bad, COPY_BAD_LONG);
            assert_int_equal(got.rows[1].line, 2);
            assert_int_equal(got.rows[2].bad, COPY_BAD_NONE);
            assert_string_equal(got.rows[2].text, "3,c");
            assert_int_equal(got.rows[2].line, 5);
            free(got.rows);
        }
}

static void end_marker(void **state)
{
    (void)state;
    for (int kind = MOSAIC_CSV; kind <= MOSAIC_TEXT; kind++) {
        const struct copy_format format = {.kind = (mosaic_format)kind, .delimiter = ';'};
        for (size_t piece = 1; piece < 16; piece++) {
            struct outcome got = split(format, "1;a\n\\.\n", 7, 2, piece);
            assert_int_equal(got.result, COPY_END);
            assert_int_equal(got.count, 1);
            free(got.rows);
            got = split(format, "1;a\n\\.\n2;b\n", 11, 2, piece);
            assert_int_equal(got.result, COPY_BROKEN);
            assert_int_equal(got.count, 1);
            free(got.rows);
        }
    }
}

static void nothing_at_all(void **state)
{
    (void)state;
    struct outcome got = split((struct copy_format){.kind = MOSAIC_CSV}, "", 0, 2, 1);
    assert_int_equal(got.result, COPY_END);
    assert_int_equal(got.count, 0);
    free(got.rows);
}

int main(void)
{
    seed_random();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_csv),
        cmocka_unit_test(bad_rows),
        cmocka_unit_test(good_unicode_is_not_bad),
        cmocka_unit_test(unclosed_quote_says_where_it_opened),
        cmocka_unit_test(row_over_the_limit),
        cmocka_unit_test(end_marker),
        cmocka_unit_test(nothing_at_all),
        cmocka_unit_test(csv_like_reference),
        cmocka_unit_test(csv_with_escape_like_reference),
        cmocka_unit_test(text_like_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
