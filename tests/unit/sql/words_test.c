#include "../random.h"
#include "sql/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Each word in brackets, with a letter of its kind. */
static const char *words_of(const char *text)
{
    static char out[512];
    size_t size = 0;
    struct word word;
    for (size_t at = 0; words_next(text, strlen(text), &at, &word);)
        size +=
            (size_t)snprintf(out + size, sizeof out - size, "%c[%.*s]", "NQS#."[word.kind], (int)word.size, word.text);
    out[size] = '\0';
    return out;
}

static void texts_become_words(void **state)
{
    (void)state;
    assert_string_equal(words_of("SELECT a1$, \"B \"\"c\" FROM x.y"),
                        "N[SELECT]N[a1$].[,]Q[\"B \"\"c\"]N[FROM]N[x].[.]N[y]");
    assert_string_equal(words_of("'it''s' E'\\'' x'1f' $1 42.5e3"), "S['it''s']S[E'\\'']S[x'1f']N[$1]#[42.5e3]");
    assert_string_equal(words_of("$a$ $b$ ' $a$;$$x$$"), "S[$a$ $b$ ' $a$].[;]S[$$x$$]");
    assert_string_equal(words_of("a--b\nc/*d/*e*/f*/g"), "N[a]N[c]N[g]");
    assert_string_equal(words_of("  "), "");
    assert_string_equal(words_of("'open"), "S['open]");
    assert_string_equal(words_of("a /* open"), "N[a]");
    assert_string_equal(words_of("n\xc3\xa4me"), "N[n\xc3\xa4me]");
}

static void names_are_compared_in_any_case(void **state)
{
    (void)state;
    struct word word;
    size_t at = 0;
    assert_true(words_next("FroM", 4, &at, &word) && word_is(&word, "from") && !word_is(&word, "fro"));
    at = 0;
    assert_true(words_next("\"as\"", 4, &at, &word) && !word_is(&word, "as"));
}

static void any_text_ends_and_loses_no_byte(void **state)
{
    (void)state;
    struct random random = random_start();
    static const char letters[] = "aE'\"$/*-\\ \n;0.";
    for (int round = 0; round < 20000; round++) {
        char text[24];
        size_t size = random_below(&random, sizeof text), at = 0, behind = 0;
        for (size_t i = 0; i < size; i++)
            text[i] = letters[random_below(&random, sizeof letters - 1)];
        struct word word;
        while (words_next(text, size, &at, &word)) {
            assert_true(word.size > 0 && word.text >= text + behind && word.text + word.size == text + at);
            assert_int_equal(words_skip(text, size, behind), word.text - text);
            behind = at;
        }
        assert_int_equal(at, size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_become_words),
        cmocka_unit_test(names_are_compared_in_any_case),
        cmocka_unit_test(any_text_ends_and_loses_no_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
