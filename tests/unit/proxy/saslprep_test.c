/* Passwords that PostgreSQL 15 was given (CREATE ROLE … PASSWORD), and the verifiers that it made of them. */
#include "base/memory.h"
#include "proxy/saslprep.h"
#include "wire/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void as_postgres_does(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        /* ASCII */
        {"secret", "SCRAM-SHA-256$4096:6vrY2IdyxbmW0Oi912hXgw==$oqmyX7ycfZ0zWCuLyACJyOm6Juhqa9wOdS7l6T54QqQ=:"
                   "5kMqilRi1meV71V8aka7kyoaIwV1SGMSGPS8sfKSPE0="},
        /* a soft hyphen is nothing, a Roman nine is IX */
        {"pass\xc2\xadword\xe2\x85\xa8",
         "SCRAM-SHA-256$4096:CULEdgNXKyMAbM2rNf9T4A==$eZ5GGMM1v5F/hPuP56pLFtpCHD41JWKWFwCmyfGfIME=:"
         "SptsdOjwJeYC1pMIlkTe/VvawWhe4MrMTf3Be2/RMkM="},
        /* a character that Unicode 3.2 does not know: as it is */
        {"a\xe1\xbd\xa0"
         "0\xc8\xa1",
         "SCRAM-SHA-256$4096:oNcbS3XZ2KsfGLcEOxH98Q==$3/+WIoabZe79RD18XWbZvgZ4T+d/Dms3A1i/oZJa8vM=:"
         "HEnzlnaRUGdTVlKiK4Dfy+WLJGkm0a7/aIZggqhS+EI="},
        /* a forbidden character */
        {"tab\there", "SCRAM-SHA-256$4096:HAtkJyaIM95BrYO4uSnNZw==$q6+QzQ7D03oFbEXvHq3zicHd+UpSS/EO1sOLydWPPA0=:"
                      "hj1Ynb9miVT2oKsUiIoJFcQ4CX3UgttlGfdaKcmqC6k="},
        /* from right to left, and not to its end */
        {"\xd8\xa7"
         "1",
         "SCRAM-SHA-256$4096:A5WbCzU9kh+4zLcW6Cg2Xw==$NG0TSsEyC6+xwC22MKe/uEMjfMi4rJ07MtMflQpzM9k=:"
         "HLGva653bKr6PE12GkrjW4qcvvwGHZlza5DJbZw/rNY="},
        /* composed, decomposed, a ligature */
        {"e\xcc\x81t\xc3\xa9 \xef\xac\x81",
         "SCRAM-SHA-256$4096:xoHceILKXndgedm7qCle/w==$aoCkeU4GdPJRSmzyMg0MViauIQWyP9LTj/o7owmKGNs=:"
         "ZcVYlfq1DTD1JPIs4JVF9WzkV8AG2pwm3H0DBtQ7Ihs="},
        /* a space that does not break */
        {"\xc2\xa0x", "SCRAM-SHA-256$4096:H0dgbAx3Cbu1B9Esma2MWA==$yaRzLfOeKJj7iUO7EcodgB7QUWiBvvUEKOAjnxtUFUQ=:"
                      "xDvD9b4AqfpVIY5UpF8y8r89mjsB8iGtAu+v+ix+K6k="},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct scram_verifier right, made;
        char *prepared = saslprep(cases[i][0]);
        assert_non_null(prepared);
        assert_true(scram_verifier_read(cases[i][1], &right));
        assert_int_equal(scram_verifier_make(prepared, right.salt, right.salt_size, right.iterations, &made, NULL),
                         MOSAIC_OK);
        if (memcmp(&made, &right, sizeof made) != 0)
            fail_msg("%s became %s", cases[i][0], prepared);
        memory_free(prepared);
    }
}

static void what_is_no_text_stays(void **state)
{
    (void)state;
    static const char *const cases[] = {"", "\xff\xfe", "\xc3", "\xed\xa0\x80", "\xc2\xad", "a\xc2\x80"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *prepared = saslprep(cases[i]);
        assert_string_equal(prepared, cases[i]);
        memory_free(prepared);
    }
    memory_fail_after(0);
    char *none = saslprep("x");
    memory_fail_after(-1);
    assert_null(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_postgres_does),
        cmocka_unit_test(what_is_no_text_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
