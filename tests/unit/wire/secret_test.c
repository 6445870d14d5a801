/* Verifiers: those that PostgreSQL 15 made (CREATE ROLE … PASSWORD, then pg_authid) are what ours are compared with. */
#include "base/memory.h"
#include "wire/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const postgres_made[][2] = {
    {"secret", "SCRAM-SHA-256$4096:6vrY2IdyxbmW0Oi912hXgw==$oqmyX7ycfZ0zWCuLyACJyOm6Juhqa9wOdS7l6T54QqQ=:"
               "5kMqilRi1meV71V8aka7kyoaIwV1SGMSGPS8sfKSPE0="},
    {"correct horse battery staple",
     "SCRAM-SHA-256$4096:56RnSlcxW3/h4xFAKC495Q==$7wm7Vj/GZWmxYd+4hFn0hBG9TXWGiayULMbpo/hTm8U=:"
     "Lp7L+1/uEnQEuQomH62FN73g48WxW43l/auGlK9hfIA="},
    {"tab\there", "SCRAM-SHA-256$4096:HAtkJyaIM95BrYO4uSnNZw==$q6+QzQ7D03oFbEXvHq3zicHd+UpSS/EO1sOLydWPPA0=:"
                  "hj1Ynb9miVT2oKsUiIoJFcQ4CX3UgttlGfdaKcmqC6k="},
    /* U+0221, which Unicode 3.2 does not know: no SASLprep */
    {"a\xe1\xbd\xa0"
     "0\xc8\xa1",
     "SCRAM-SHA-256$4096:oNcbS3XZ2KsfGLcEOxH98Q==$"
     "3/+WIoabZe79RD18XWbZvgZ4T+d/Dms3A1i/oZJa8vM=:"
     "HEnzlnaRUGdTVlKiK4Dfy+WLJGkm0a7/aIZggqhS+EI="},
};

static void as_postgres_makes_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof postgres_made / sizeof postgres_made[0]; i++) {
        struct scram_verifier read, made;
        mosaic_error error;
        struct buffer text = BUFFER_INIT(1000);
        assert_true(scram_verifier_read(postgres_made[i][1], &read));
        assert_int_equal(
            scram_verifier_make(postgres_made[i][0], read.salt, read.salt_size, read.iterations, &made, &error),
            MOSAIC_OK);
        assert_memory_equal(&made, &read, sizeof made);
        scram_verifier_write(&made, &text);
        assert_string_equal(buffer_string(&text), postgres_made[i][1]);
        buffer_free(&text);
    }
}

static void verifiers_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "secret",
        "SCRAM-SHA-256",
        "SCRAM-SHA-256$",
        "SCRAM-SHA-256$4096",
        "SCRAM-SHA-256$4096:56RnSlcxW3/h4xFAKC495Q==",
        "SCRAM-SHA-256$4096:56RnSlcxW3/h4xFAKC495Q==$7wm7Vj/GZWmxYd+4hFn0hBG9TXWGiayULMbpo/hTm8U=",
        "SCRAM-SHA-256$0:56RnSlcxW3/h4xFAKC495Q==$7wm7Vj/GZWmxYd+4hFn0hBG9TXWGiayULMbpo/hTm8U=:"
        "Lp7L+1/uEnQEuQomH62FN73g48WxW43l/auGlK9hfIA=",
        "SCRAM-SHA-256$-1:56RnSlcxW3/h4xFAKC495Q==$7wm7Vj/GZWmxYd+4hFn0hBG9TXWGiayULMbpo/hTm8U=:"
        "Lp7L+1/uEnQEuQomH62FN73g48WxW43l/auGlK9hfIA=",
        "SCRAM-SHA-256$99999999999999999999:56RnSlcxW3/h4xFAKC495Q==$7wm7Vj/GZWmxYd+4hFn0hBG9TXWGiayULMbpo/hTm8U=:"
        "Lp7L+1/uEnQEuQomH62FN73g48WxW43l/auGlK9hfIA=",
        "SCRAM-SHA-256$4096:$7wm7Vj/GZWmxYd+4hFn0hBG9TXWGiayULMbpo/hTm8U=:Lp7L+1/uEnQEuQomH62FN73g48WxW43l/auGlK9hfIA=",
        "SCRAM-SHA-256$4096:56RnSlcxW3/h4xFAKC495Q==$7wm7Vj/GZWmxYd+4hFn0hBG9TXWGiayULMbpo/hTmw==:"
        "Lp7L+1/uEnQEuQomH62FN73g48WxW43l/auGlK9hfIA=",
        "SCRAM-SHA-256$4096:56RnSlcxW3/h4xFAKC495Q==$7wm7Vj/GZWmxYd+4hFn0hBG9TXWGiayULMbpo/hTm8U=:"
        "Lp7L+1/uEnQEuQomH62FN73g48WxW43l/auGlK9hfIA= ",
        "md5132ecbcbfa11be529b63ea4c4e734056",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct scram_verifier verifier;
        assert_false(scram_verifier_read(cases[i], &verifier));
    }
}

static void bounds(void **state)
{
    (void)state;
    struct scram_verifier verifier;
    unsigned char salt[SCRAM_SALT_MOST + 1] = {0};
    mosaic_error error;
    assert_int_equal(scram_verifier_make("x", salt, 16, 0, &verifier, &error), MOSAIC_AUTH);
    assert_int_equal(scram_verifier_make("x", salt, 16, UINT32_MAX, &verifier, &error), MOSAIC_AUTH);
    assert_int_equal(scram_verifier_make("x", salt, 0, 1, &verifier, &error), MOSAIC_AUTH);
    assert_int_equal(scram_verifier_make("x", salt, sizeof salt, 1, &verifier, &error), MOSAIC_AUTH);
    assert_int_equal(scram_verifier_make("", salt, SCRAM_SALT_MOST, 1, &verifier, &error), MOSAIC_OK);
    memory_fail_after(0);
    mosaic_status status = scram_verifier_make("x", salt, 16, 1, &verifier, &error);
    memory_fail_after(-1);
    assert_int_not_equal(status, MOSAIC_OK);
}

static void mock_verifiers(void **state)
{
    (void)state;
    const unsigned char secret[2][32] = {{1}, {2}};
    struct scram_verifier anna, again, other, elsewhere;
    scram_verifier_mock("anna", secret[0], &anna);
    scram_verifier_mock("anna", secret[0], &again);
    scram_verifier_mock("bob", secret[0], &other);
    scram_verifier_mock("anna", secret[1], &elsewhere);
    assert_memory_equal(&anna, &again, sizeof anna);
    assert_memory_not_equal(anna.salt, other.salt, SCRAM_SALT);
    assert_memory_not_equal(anna.salt, elsewhere.salt, SCRAM_SALT);
    assert_int_equal(anna.iterations, SCRAM_ITERATIONS);
    assert_int_equal(anna.salt_size, SCRAM_SALT);
}

static void md5(void **state)
{
    (void)state;
    char text[MD5_PASSWORD + 1], answer[MD5_PASSWORD + 1];
    assert_true(md5_verifier("secret", "m1", text));
    assert_string_equal(text, "md5132ecbcbfa11be529b63ea4c4e734056"); /* as PostgreSQL 15 made it */
    assert_true(md5_is_verifier(text));
    assert_true(md5_answer(text, (const unsigned char[]){1, 2, 3, 4}, answer));
    /* printf '132ecbcbfa11be529b63ea4c4e734056\1\2\3\4' | md5sum */
    assert_string_equal(answer, "md5d5d56b111425e15f006f7e941da8dc2e");
    assert_false(md5_answer("secret", (const unsigned char[4]){0}, answer));
    assert_false(md5_is_verifier("md5132ecbcbfa11be529b63ea4c4e73405"));
    assert_false(md5_is_verifier("md5132ecbcbfa11be529b63ea4c4e7340566"));
    assert_false(md5_is_verifier("md5132ECBCBFA11BE529B63EA4C4E734056"));
    assert_false(md5_is_verifier("md5"));
    memory_fail_after(0);
    bool done = md5_verifier("secret", "m1", text);
    memory_fail_after(-1);
    assert_false(done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_postgres_makes_them),
        cmocka_unit_test(verifiers_refused),
        cmocka_unit_test(bounds),
        cmocka_unit_test(mock_verifiers),
        cmocka_unit_test(md5),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
