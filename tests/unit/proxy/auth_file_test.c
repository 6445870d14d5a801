#include "base/memory.h"
#include "proxy/auth_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../memory_out.h"

static mosaic_status parse(struct arena *arena, const char *text, struct auth_users *users, mosaic_error *error)
{
    return auth_file_parse(arena, "users.txt", text, strlen(text), users, error);
}

static void all_kinds(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct auth_users users;
    mosaic_error error;
    assert_int_equal(
        parse(&arena,
              "; users\n"
              "\"zoe\" \"plain \"\"word\"\"\" \"ignored\"\n"
              "\n"
              "  \"o\"\"neil\"\t\"\"\r\n"
              "\"m1\" \"md5132ecbcbfa11be529b63ea4c4e734056\"\n"
              "\"anna\" \"SCRAM-SHA-256$4096:6vrY2IdyxbmW0Oi912hXgw==$"
              "oqmyX7ycfZ0zWCuLyACJyOm6Juhqa9wOdS7l6T54QqQ=:5kMqilRi1meV71V8aka7kyoaIwV1SGMSGPS8sfKSPE0=\"",
              &users, &error),
        MOSAIC_OK);
    assert_int_equal(users.count, 4);
    const struct auth_user *user = auth_users_find(&users, "zoe");
    assert_non_null(user);
    assert_string_equal(user->secret, "plain \"word\"");
    assert_int_equal(user->kind, SECRET_PLAIN);
    assert_int_equal(user->line, 2);
    assert_string_equal(auth_users_find(&users, "o\"neil")->secret, "");
    assert_int_equal(auth_users_find(&users, "m1")->kind, SECRET_MD5);
    user = auth_users_find(&users, "anna");
    assert_int_equal(user->kind, SECRET_SCRAM);
    assert_int_equal(user->verifier.iterations, 4096);
    assert_null(auth_users_find(&users, "ann"));
    assert_null(auth_users_find(&users, "anna "));
    arena_free(&arena);
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *where;
    } cases[] = {
        {"anna \"x\"\n", "users.txt:1: "},
        {"\n\"anna\"\n", "users.txt:2: "},
        {"\"anna\" x\n", "users.txt:1: "},
        {"\"anna\" \"x\n", "users.txt:1: a quote is not closed"},
        {"\"anna\" \"x", "users.txt:1: a quote is not closed"},
        {"\"a\" \"x\"\n\"b\" \"y\"\n\"a\" \"z\"\n", "lines 1 and 3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arena arena = ARENA_INIT;
        struct auth_users users;
        mosaic_error error;
        assert_int_equal(parse(&arena, cases[i].text, &users, &error), MOSAIC_CONFIG);
        assert_non_null(strstr(error.message, cases[i].where));
        arena_free(&arena);
    }
    char text[4096];
    struct arena arena = ARENA_INIT;
    struct auth_users users;
    mosaic_error error;
    memset(text, 'x', sizeof text);
    memcpy(text, "\"a\" \"", 5);
    text[sizeof text - 1] = '"';
    assert_int_equal(auth_file_parse(&arena, "users.txt", text, sizeof text, &users, &error), MOSAIC_CONFIG);
    assert_int_equal(auth_file_parse(&arena, "users.txt", "", 0, &users, &error), MOSAIC_OK);
    assert_null(auth_users_find(&users, "a"));
    arena_free(&arena);
}

static mosaic_status attempt(struct arena *arena, mosaic_error *error)
{
    struct auth_users users;
    return parse(arena, "\"a\" \"x\"\n\"b\" \"y\"\n", &users, error);
}

static void memory_out(void **state)
{
    (void)state;
    memory_out_each(attempt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_kinds),
        cmocka_unit_test(refused),
        cmocka_unit_test(memory_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
