#include "base/memory.h"
#include "proxy/ident.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../memory_out.h"

static mosaic_status parse(struct arena *arena, const char *text, struct ident *ident, mosaic_error *error)
{
    return ident_parse(arena, "ident.conf", text, strlen(text), ident, error);
}

static void maps(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct ident ident;
    mosaic_error error;
    assert_int_equal(parse(&arena,
                           "# map name user\n"
                           "staff anna.schmidt anna\n"
                           "staff \"Bob B.\" bob # once\n"
                           "org /^(.*)@example\\.org$ \\1\n"
                           "org /^(.*)@example\\.com$ ext_\\1_x\n"
                           "org /^root@ all\n"
                           "all /. \"all\"\n",
                           &ident, &error),
                     MOSAIC_OK);
    assert_int_equal(ident.count, 6);
    assert_true(ident_allows(&ident, "staff", "anna.schmidt", "anna"));
    assert_true(ident_allows(&ident, "staff", "Bob B.", "bob"));
    assert_false(ident_allows(&ident, "staff", "bob b.", "bob"));
    assert_false(ident_allows(&ident, "staff", "anna.schmidt", "bob"));
    assert_false(ident_allows(&ident, "staff", "anna", "anna"));
    assert_false(ident_allows(&ident, "other", "anna.schmidt", "anna"));
    assert_true(ident_allows(&ident, "org", "carl@example.org", "carl"));
    assert_false(ident_allows(&ident, "org", "carl@example.org.evil", "carl"));
    assert_false(ident_allows(&ident, "org", "carl@example.org", "anna"));
    assert_false(ident_allows(&ident, "org", "carl@exampleXorg", "carl"));
    assert_true(ident_allows(&ident, "org", "carl@example.com", "ext_carl_x"));
    assert_true(ident_allows(&ident, "org", "root@x", "anyone"));
    assert_false(ident_allows(&ident, "all", "x", "anyone")); /* a user whose name is all */
    assert_true(ident_allows(&ident, "all", "x", "all"));
    assert_true(ident_allows(&ident, NULL, "anna", "anna"));
    assert_false(ident_allows(&ident, NULL, "anna", "Anna"));
    assert_true(ident_has_map(&ident, "org"));
    assert_false(ident_has_map(&ident, "orga"));
    ident_free(&ident);
    arena_free(&arena);
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *where;
    } cases[] = {
        {"staff anna\n", "ident.conf:1: "},
        {"\nstaff a b c\n", "ident.conf:2: "},
        {"staff a,b c\n", "ident.conf:1: "},
        {"staff /( c\n", "ident.conf:1: the regular expression \"(\" can't be read"},
        {"staff /x \\1\n", "no group"},
        {"staff /^\\d+$ c\n", "only PostgreSQL's"},
        {"staff /^.*?$ c\n", "only PostgreSQL's"},
        {"staff /(?i)x c\n", "only PostgreSQL's"},
        {"staff /^a++$ c\n", "one quantifier upon another"},
        {"staff /^a{2}{3}$ c\n", "one quantifier upon another"},
        {"staff a +group\n", "members of a role"},
        {"staff a /b\n", "members of a role"},
        {"a /x y\n\"open", "ident.conf:2: a quote is not closed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arena arena = ARENA_INIT;
        struct ident ident;
        mosaic_error error;
        assert_int_equal(parse(&arena, cases[i].text, &ident, &error), MOSAIC_CONFIG);
        if (!strstr(error.message, cases[i].where))
            fail_msg("%s", error.message);
        assert_int_equal(ident.count, 0);
        arena_free(&arena);
    }
}

static mosaic_status attempt(struct arena *arena, mosaic_error *error)
{
    struct ident ident;
    mosaic_status status = parse(arena, "a /x b\nc d e\n", &ident, error);
    ident_free(&ident);
    return status;
}

static void memory_out(void **state)
{
    (void)state;
    memory_out_each(attempt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps),
        cmocka_unit_test(refused),
        cmocka_unit_test(memory_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
