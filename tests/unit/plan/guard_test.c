#include "plan/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct arena arena;
static struct proxy_settings settings;
static mosaic_error why;

static int setup(void **state)
{
    mosaic_error error;
    (void)state;
    (void)!error_set(&why, MOSAIC_UNSUPPORTED, "no key of users");
    error_detail(&why, "no condition id = …");
    error_hint(&why, "Add AND id = … to the WHERE.");
    return settings_default(&arena, &settings, &error) == MOSAIC_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static void set(const char *name, const char *value)
{
    mosaic_error error;
    assert_int_equal(settings_set(&arena, &settings, name, value, &error), MOSAIC_OK);
}

static enum guard_verdict look(const char *user, const char *said, int tier, size_t shards, mosaic_error *error)
{
    struct guard_input input = {&settings, user, said, tier, shards, &why};
    return guard_look(&input, error);
}

static void who_is_nearest_decides(void **state)
{
    (void)state;
    static const struct {
        const char *cluster, *users, *said;
        enum guard_verdict verdict;
    } cases[] = {
        {"allow", "", NULL, GUARD_PASSES},
        {"warn", "", NULL, GUARD_WARNS},
        {"deny", "", NULL, GUARD_REFUSES},
        {"deny", "ann=allow", NULL, GUARD_PASSES},
        {"deny", "anna=allow, an=allow, bob=allow", NULL, GUARD_REFUSES},
        {"allow", "bob=allow, ann=DENY", NULL, GUARD_REFUSES},
        {"allow", "ann=deny", "allow", GUARD_PASSES},
        {"deny", "", "warn", GUARD_WARNS},
        {"allow", "ann=allow", "deny", GUARD_REFUSES},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mosaic_error error;
        set("scatter", cases[i].cluster);
        set("scatter_users", cases[i].users);
        if (look("ann", cases[i].said, 2, 3, &error) != cases[i].verdict)
            fail_msg("case %zu: %s, %s", i, cases[i].cluster, cases[i].users);
    }
}

static void a_refusal_says_what_and_why_and_how_to_go_on(void **state)
{
    (void)state;
    mosaic_error error;
    set("scatter", "deny");
    set("scatter_users", "");
    assert_int_equal(look("ann", NULL, 2, 3, &error), GUARD_REFUSES);
    assert_string_equal(error.sqlstate, "0A000");
    assert_string_equal(error.message, "this statement needs 3 shards (tier 2), which is not allowed here");
    assert_string_equal(error.detail,
                        "The proxy's settings forbid it (scatter, scatter_users). Why not one shard: no key of "
                        "users. no condition id = …");
    assert_string_equal(error.hint, "Add AND id = … to the WHERE. To allow it once: /* mosaic: scatter=allow */ before "
                                    "it; for the session: SET mosaic.scatter = 'allow'.");
    assert_int_equal(look("ann", "deny", 4, 3, &error), GUARD_REFUSES);
    assert_string_equal(error.message, "this statement needs the coordinator (tier 4), which is not allowed here");
    assert_non_null(strstr(error.detail, "mosaic.scatter forbids it."));
    set("hints", "off");
    assert_int_equal(look("ann", NULL, 2, 3, &error), GUARD_REFUSES);
    assert_null(strstr(error.hint, "SET"));
    set("hints", "on");
    assert_int_equal(look("ann", "warn", 3, 3, &error), GUARD_WARNS);
    assert_string_equal(error.sqlstate, "01000");
    assert_string_equal(error.message, "this statement is answered by 3 shards (tier 3)");
}

static void a_number_of_shards_holds_for_all(void **state)
{
    (void)state;
    mosaic_error error;
    set("scatter", "allow");
    set("scatter_max_shards", "3");
    assert_int_equal(look("ann", NULL, 2, 3, &error), GUARD_PASSES);
    assert_int_equal(look("ann", "allow", 2, 4, &error), GUARD_REFUSES);
    assert_string_equal(error.sqlstate, "54000");
    assert_string_equal(error.message, "this statement needs 4 shards (tier 2), which is over scatter_max_shards (3)");
    assert_string_equal(error.hint, "Add AND id = … to the WHERE.");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_is_nearest_decides, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refusal_says_what_and_why_and_how_to_go_on, setup, teardown),
        cmocka_unit_test_setup_teardown(a_number_of_shards_holds_for_all, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
