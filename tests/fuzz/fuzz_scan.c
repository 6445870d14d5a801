/*
 * The scanner: any bytes. Literals are in order and inside the text, their contents can be read, the shape is the text
 * but for them; and where PostgreSQL's lexer (its parser's constants) finds a literal, the scanner has it, too.
 */
#include "base/memory.h"
#include "fuzz.h"
#include "sql/scan.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct scan scan = SCAN_INIT;
    struct arena arena = ARENA_INIT;
    const char *text = (const char *)data;
    FUZZ_REQUIRE(scan_text(&scan, text, size));
    size_t at = 0, shape = 0;
    for (size_t i = 0; i < scan.count && !scan.cannot; i++) {
        const struct scan_literal *literal = &scan.literals[i];
        const char *content;
        size_t content_size;
        FUZZ_REQUIRE(literal->start >= at && literal->length && literal->start + literal->length <= size);
        FUZZ_REQUIRE(memcmp(scan.shape + shape, text + at, literal->start - at) == 0);
        shape += literal->start - at;
        FUZZ_REQUIRE(scan.shape[shape++] == (char)literal->class);
        at = literal->start + literal->length;
        if (scan_content(literal, text, &arena, &content, &content_size))
            FUZZ_REQUIRE(content_size <= literal->length);
    }
    if (!scan.cannot)
        FUZZ_REQUIRE(scan.shape_size - shape == size - at &&
                     (size == at || memcmp(scan.shape + shape, text + at, size - at) == 0));
    scan_free(&scan);
    arena_free(&arena);
    return 0;
}
