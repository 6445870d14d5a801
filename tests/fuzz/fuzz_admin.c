/* Commands of the admin console and requests of the metrics' port: any text is read, or refused with a message. */
#include "fuzz.h"
#include "proxy/admin_command.h"
#include "proxy/http_request.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct admin_read read;
    mosaic_error error = {.message = ""};
    char *text = arena_copy(&arena, data, size);
    FUZZ_REQUIRE(text);
    mosaic_status status = admin_read(&arena, text, &read, &error);
    FUZZ_REQUIRE(status == MOSAIC_OK ? read.command < ADMIN_COMMAND_COUNT
                                     : status == MOSAIC_USAGE && error.message[0] && error.hint[0]);
    arena_free(&arena);
    int code = 0;
    for (size_t part = 0; part <= size && !code; part++) /* as it comes in, byte by byte */
        code = http_request((const char *)data, part);
    FUZZ_REQUIRE(code == 0 || code == 200 || code == 400 || code == 404 || code == 405);
    return 0;
}
