/* User maps: what is accepted can be asked. */
#include "auth_fuzz.h"
#include "proxy/ident.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct ident ident;
    mosaic_error error;
    /* Long expressions take the C library long, and who writes them owns the machine. */
    if (size <= 256 && auth_fuzz_judge(ident_parse(&arena, "file", (const char *)data, size, &ident, &error), &error)) {
        ident_allows(&ident, "staff", "anna@example.org", "anna");
        FUZZ_REQUIRE(ident_has_map(&ident, "staff") || !ident_allows(&ident, "staff", "anna", "anna"));
        ident_free(&ident);
    }
    arena_free(&arena);
    return 0;
}
