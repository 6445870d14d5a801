#include "../random.h"
#include "base/memory.h"
#include "sql/scan.h"

#include <pg_query.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void expect(const char *text, const char *shape)
{
    struct scan scan = SCAN_INIT;
    assert_true(scan_text(&scan, text, strlen(text)));
    if (!shape) {
        assert_non_null(scan.cannot);
    } else {
        if (scan.cannot)
            print_error("%s: %s\n", text, scan.cannot);
        assert_null(scan.cannot);
        assert_int_equal(scan.shape_size, strlen(shape));
        assert_memory_equal(scan.shape, shape, scan.shape_size);
    }
    scan_free(&scan);
}

static void shapes(void **state)
{
    (void)state;
    expect("SELECT 42", "SELECT \1");
    expect("SELECT 42.0, .5, 5., 1e5, 1.5E-3", "SELECT \2, \2, \2, \2, \2");
    expect("SELECT 'a''b' , E'a\\'b', $$x'$$, $t$ $$ $t$", "SELECT \3 , \4, \5, \5");
    expect("SELECT b'01', X'1f', n'x'", "SELECT \6, \6, \7");
    expect("SELECT $1, a1, a$1, \"1'\", \xc3\xa4"
           "1",
           "SELECT $1, a1, a$1, \"1'\", \xc3\xa4"
           "1");
    expect("SELECT 1 -- 2 '\n, 3 /* 4 /* 5 */ ' */", "SELECT \1 -- 2 '\n, \1 /* 4 /* 5 */ ' */");
    expect("SELECT 1-2, 1*-2, 3/4", "SELECT \1-\1, \1*-\1, \1/\1");
    expect("SELECT a[1:2], 1..", "SELECT a[\1:\1], \1..");
    expect("SELECT -1--2", "SELECT -\1--2");
    expect("", "");
    expect("SELECT U&'x'", NULL);
    expect("SELECT 'a'\n'b'", NULL);
    expect("SELECT 'a' -- c\n  'b'", NULL);
    expect("SELECT 'a' 'b'", "SELECT \3 \3");
    expect("SELECT 1a", NULL);
    expect("SELECT 1e", NULL);
    expect("SELECT $1a", NULL);
    expect("SELECT 'a", NULL);
    expect("SELECT \"a", NULL);
    expect("SELECT /* a", NULL);
    expect("SELECT $a$ $b$", NULL);
    expect("SELECT \1", NULL);
    expect("SELECT 1...5", NULL);
}

static void costly_texts(void **state)
{
    (void)state;
    char text[4096];
    struct scan scan = SCAN_INIT;
    memset(text, '+', sizeof text);
    assert_true(scan_text(&scan, text, sizeof text) && scan.cannot_is_costly);
    for (size_t i = 0; i + 1 < sizeof text; i += 2)
        memcpy(text + i, "/*", 2);
    assert_true(scan_text(&scan, text, sizeof text) && scan.cannot_is_costly);
    memset(text, '(', sizeof text);
    assert_true(scan_text(&scan, text, sizeof text) && !scan.cannot);
    scan_free(&scan);
}

static void contents(void **state)
{
    (void)state;
    static const struct {
        const char *text, *content;
    } rows[] = {
        {"'a''b'", "a'b"},    {"''", ""},         {"E'a\\'b\\n\\\\''c'", "a'b\n\\'c"},
        {"$$a'b$$", "a'b"},   {"$x$a$x$", "a"},   {"E'\\x41'", NULL},
        {"E'\\u0041'", NULL}, {"E'\\101'", NULL}, {"b'01'", NULL},
        {"n'a'", NULL},       {"42", "42"},       {"4.20", "4.20"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct scan scan = SCAN_INIT;
        struct arena arena = ARENA_INIT;
        const char *data;
        size_t size;
        assert_true(scan_text(&scan, rows[i].text, strlen(rows[i].text)));
        assert_int_equal(scan.count, 1);
        bool read = scan_content(&scan.literals[0], rows[i].text, &arena, &data, &size);
        assert_int_equal(read, rows[i].content != NULL);
        if (read) {
            assert_int_equal(size, strlen(rows[i].content));
            assert_memory_equal(data, rows[i].content, size);
        }
        arena_free(&arena);
        scan_free(&scan);
    }
}

/* ---- PostgreSQL's own lexer, as the parser's library tells of it: a protobuf of tokens ---- */

enum { TOKEN_FCONST = 260, TOKEN_SCONST = 261, TOKEN_XCONST = 264, TOKEN_ICONST = 266 };

static uint64_t varint(const char **at)
{
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        unsigned char byte = (unsigned char)*(*at)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return value;
    }
}

static bool is_literal(uint64_t token)
{
    return (token >= TOKEN_FCONST && token <= TOKEN_XCONST) || token == TOKEN_ICONST;
}

static size_t lexer_literals(const char *text, struct scan_literal *literals, size_t most, bool *failed)
{
    PgQueryScanResult result = pg_query_scan(text);
    size_t count = 0;
    *failed = result.error != NULL;
    const char *at = result.pbuf.data, *end = at + (*failed ? 0 : result.pbuf.len);
    while (!*failed && at < end) {
        bool is_version = *at++ == (1 << 3 | 0);
        uint64_t size = varint(&at), fields[6] = {0};
        if (is_version)
            continue;
        for (const char *stop = at + size; at < stop;) {
            unsigned field = (unsigned char)*at++ >> 3;
            fields[field] = varint(&at);
        }
        if (is_literal(fields[4]) && count < most)
            literals[count++] = (struct scan_literal){(uint32_t)fields[1], (uint32_t)(fields[2] - fields[1]), 0};
    }
    pg_query_free_scan_result(result);
    return count;
}

static size_t random_text(struct random *random, char *text, size_t most)
{
    static const char *const pieces[] = {
        "SELECT ", "a",  "b1",  "_x",       "$1",  "$",  "$$",   "$a$",  "'",     "''",   "'x'", "E'", "e'\\'",
        "\\",      "b'", "x'0", "n'",       "U&'", "\"", "\"\"", "1",    "42",    "1.",   ".5",  "1e", "e5",
        "E-3",     "..", ".",   "-",        "--",  "/*", "*/",   "\n",   "\r",    " ",    "\t",  "+",  "*",
        "<",       "=",  "::",  ":=",       "=>",  "!",  "@",    "#",    "?",     "|",    "(",   ")",  "[",
        "]",       ",",  ";",   "\xc3\xa4", "and", "E",  "B",    "0x1F", "1_000", "null",
    };
    size_t size = 0, count = random_below(random, 14) + 1;
    for (size_t i = 0; i < count; i++) {
        const char *piece = pieces[random_below(random, sizeof pieces / sizeof *pieces)];
        size_t length = strlen(piece);
        if (size + length >= most)
            break;
        memcpy(text + size, piece, length);
        size += length;
    }
    text[size] = '\0';
    return size;
}

/* Where the scanner can, PostgreSQL's lexer finds the same literals, and no error. */
static void agrees_with_postgresql(void **state)
{
    (void)state;
    struct random random = random_start();
    struct scan scan = SCAN_INIT;
    size_t can = 0, rounds = 60000;
    for (size_t round = 0; round < rounds; round++) {
        char text[512];
        struct scan_literal literals[256];
        size_t size = random_text(&random, text, sizeof text);
        assert_true(scan_text(&scan, text, size));
        if (scan.cannot)
            continue;
        bool failed = false;
        size_t count = lexer_literals(text, literals, 256, &failed);
        bool same = !failed && count == scan.count;
        for (size_t i = 0; same && i < count; i++)
            same = literals[i].start + literals[i].length == scan.literals[i].start + scan.literals[i].length &&
                   literals[i].start == scan.literals[i].start + (scan.literals[i].class == LITERAL_NATIONAL);
        if (!same && !failed) {
            print_error("%s: %zu literals, PostgreSQL finds %zu\n", text, scan.count, count);
            fail();
        }
        can += same;
    }
    print_message("%zu of %zu texts scanned\n", can, rounds);
    assert_true(can > rounds / 10);
    scan_free(&scan);
}

static void memory_runs_out(void **state)
{
    (void)state;
    for (long after = 0; after < 3; after++) {
        struct scan scan = SCAN_INIT;
        memory_fail_after(after);
        bool done = scan_text(&scan, "SELECT 1, 'a'", 13);
        memory_fail_after(-1);
        assert_true(done == (after >= 2));
        scan_free(&scan);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),          cmocka_unit_test(costly_texts),
        cmocka_unit_test(contents),        cmocka_unit_test(agrees_with_postgresql),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
