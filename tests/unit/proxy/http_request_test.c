#include "proxy/http_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void requests_are_known_at_every_split(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
    } cases[] = {
        {"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 200},
        {"GET /metrics?a=b HTTP/1.0\r\n\r\n", 200},
        {"HEAD /metrics HTTP/1.1\r\n\r\n", 200},
        {"GET /metrics\n\n", 404},
        {"GET / HTTP/1.1\r\n\r\n", 404},
        {"GET /metricsx HTTP/1.1\r\n\r\n", 404},
        {"POST /metrics HTTP/1.1\r\n\r\n", 405},
        {"get /metrics HTTP/1.1\r\n\r\n", 400},
        {"\x16\x03\x01", 400},
        {"GET/metrics\r\n\r\n", 400},
        {"GETTINGLONG /metrics\r\n\r\n", 400},
        {"GET /metrics HTTP/1.1\r\n", 0},
        {"", 0},
        {"GE", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size = strlen(cases[i].text);
        int code = 0;
        for (size_t part = 0; part <= size && !code; part++) {
            char *exact = malloc(part ? part : 1);
            memcpy(exact, cases[i].text, part);
            code = http_request(exact, part);
            free(exact);
        }
        if (code != cases[i].code)
            fail_msg("%s: %d", cases[i].text, code);
    }
    static char endless[HTTP_REQUEST_MOST];
    memset(endless, 'a', sizeof endless);
    memcpy(endless, "GET /", 5);
    assert_int_equal(http_request(endless, sizeof endless - 1), 0);
    assert_int_equal(http_request(endless, sizeof endless), 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(requests_are_known_at_every_split)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
