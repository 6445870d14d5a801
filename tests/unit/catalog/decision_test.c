#include "catalog/decision.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char hex[] = "00112233445566778899aabbccddeeff";
static mosaic_error error;

static void names_come_back(void **state)
{
    (void)state;
    struct gid gid, read;
    char name[GID_SIZE], shard[SHARD_NAME_SIZE];
    assert_int_equal(gid_make(&gid, hex, "s3", "18446744073709551615", &error), MOSAIC_OK);
    assert_string_equal(gid.base, "mosaic:00112233445566778899aabbccddeeff:s3:18446744073709551615");
    assert_true(gid_part_name(&gid, "s0", name));
    assert_true(gid_parse(name, &read, shard));
    assert_string_equal(read.base, gid.base);
    assert_string_equal(read.decider, "s3");
    assert_string_equal(read.xid, "18446744073709551615");
    assert_string_equal(shard, "s0");
    assert_true(gid_parse(gid.base, &read, shard));
    assert_string_equal(shard, "");
}

static void the_longest_name_fits(void **state)
{
    (void)state;
    struct gid gid, read;
    char longest[SHARD_NAME_SIZE], name[GID_SIZE], shard[SHARD_NAME_SIZE];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(gid_make(&gid, hex, longest, "18446744073709551615", &error), MOSAIC_OK);
    assert_true(gid_part_name(&gid, longest, name));
    assert_true(strlen(name) < 200);
    assert_true(gid_parse(name, &read, shard));
    assert_string_equal(shard, longest);
}

static void names_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct gid gid;
    char longer[SHARD_NAME_SIZE + 1], name[GID_SIZE];
    memset(longer, 'x', SHARD_NAME_SIZE);
    longer[SHARD_NAME_SIZE] = '\0';
    assert_int_equal(gid_make(&gid, hex, longer, "1", &error), MOSAIC_UNSUPPORTED);
    assert_int_equal(gid_make(&gid, hex, "a:b", "1", &error), MOSAIC_UNSUPPORTED);
    assert_int_equal(gid_make(&gid, hex, "a", "1", &error), MOSAIC_OK);
    assert_false(gid_part_name(&gid, "a:b", name));
}

static void foreign_names_are_seen(void **state)
{
    (void)state;
    static const char *const foreign[] = {
        "",
        "mosaic:",
        "other:00112233445566778899aabbccddeeff:s0:1",
        "mosaic:00112233445566778899aabbccddeef:s0:1",
        "mosaic:00112233445566778899aabbccddeefg:s0:1",
        "mosaic:00112233445566778899aabbccddeeff",
        "mosaic:00112233445566778899aabbccddeeff:s0",
        "mosaic:00112233445566778899aabbccddeeff:s0:",
        "mosaic:00112233445566778899aabbccddeeff::1",
        "mosaic:00112233445566778899aabbccddeeff:s0:x",
        "mosaic:00112233445566778899aabbccddeeff:s0:1:",
        "mosaic:00112233445566778899aabbccddeeff:s0:1:s1:s2",
        "mosaic:00112233445566778899aabbccddeeff:s0:123456789012345678901:s1",
    };
    struct gid gid;
    char shard[SHARD_NAME_SIZE];
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        assert_false(gid_parse(foreign[i], &gid, shard));
}

static void draws_differ_and_give_locks(void **state)
{
    (void)state;
    char one[GID_HEX_SIZE], two[GID_HEX_SIZE];
    assert_int_equal(gid_draw(one, &error), MOSAIC_OK);
    assert_int_equal(gid_draw(two, &error), MOSAIC_OK);
    assert_int_equal(strspn(one, "0123456789abcdef"), GID_HEX_SIZE - 1);
    assert_string_not_equal(one, two);
    assert_true(gid_lock_key(hex) == INT64_C(0x0011223344556677));
    assert_true(gid_lock_key("ffffffffffffffff0000000000000000") == -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_come_back),
        cmocka_unit_test(the_longest_name_fits),
        cmocka_unit_test(names_that_cannot_be_are_refused),
        cmocka_unit_test(foreign_names_are_seen),
        cmocka_unit_test(draws_differ_and_give_locks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
