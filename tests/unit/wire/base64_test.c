#include "../random.h"
#include "wire/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* RFC 4648, section 10. */
static void examples(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer text = BUFFER_INIT(100);
        char bytes[10];
        size_t size;
        base64_write(cases[i][0], strlen(cases[i][0]), &text);
        assert_string_equal(buffer_string(&text), cases[i][1]);
        assert_true(base64_read(cases[i][1], strlen(cases[i][1]), bytes, sizeof bytes, &size));
        assert_int_equal(size, strlen(cases[i][0]));
        assert_memory_equal(bytes, cases[i][0], size);
        buffer_free(&text);
    }
}

static void refused(void **state)
{
    (void)state;
    static const char *const cases[] = {"Z",    "Zg",   "Zg=",  "Zg==Zg==", "Zh==",     "Zm9=",    "====",
                                        "=g==", "Z===", "Zm 9", "Zm9v\n",   "Zm9vYg=A", "Zm9\xc3", "Zm9vZm9v"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char bytes[5];
        size_t size;
        assert_false(base64_read(cases[i], strlen(cases[i]), bytes, sizeof bytes, &size));
    }
}

static void there_and_back(void **state)
{
    (void)state;
    struct random random = random_start();
    for (int round = 0; round < 2000; round++) {
        unsigned char bytes[70], back[70];
        size_t size = random_below(&random, sizeof bytes), back_size;
        for (size_t i = 0; i < size; i++)
            bytes[i] = (unsigned char)random_bits(&random);
        struct buffer text = BUFFER_INIT(200);
        base64_write(bytes, size, &text);
        assert_true(base64_read(buffer_string(&text), text.size, back, size, &back_size));
        assert_int_equal(back_size, size);
        assert_memory_equal(back, bytes, size);
        if (size > 0)
            assert_false(base64_read(buffer_string(&text), text.size, back, size - 1, &back_size));
        buffer_free(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples),
        cmocka_unit_test(refused),
        cmocka_unit_test(there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
