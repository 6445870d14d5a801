/* pgbouncer.ini: any bytes are a mosaic.yaml that reads, with settings that read, or an error with a message. */
#include "config/config.h"
#include "config/pgbouncer.h"
#include "config/settings.h"
#include "fuzz.h"

#include <string.h>

static void check(const struct buffer *yaml)
{
    struct model model;
    struct arena arena = ARENA_INIT;
    struct proxy_settings settings;
    mosaic_error error = {.message = ""};
    mosaic_status status = config_parse(buffer_string(yaml), yaml->size, "m", &model, &error);
    /* A name or conninfo may be one that no cluster has, and text may be no UTF-8: never is it more than that. */
    FUZZ_REQUIRE(status == MOSAIC_OK || status == MOSAIC_CONFIG);
    if (status != MOSAIC_OK)
        return;
    FUZZ_REQUIRE(settings_read(&arena, &model, &settings, &error) == MOSAIC_OK);
    arena_free(&arena);
    model_free(&model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer yaml = BUFFER_INIT(1 << 22);
    mosaic_error error = {.message = ""};
    static const char *const databases[] = {"a", NULL};
    struct pgbouncer_options options = {"f", "c", size % 2 ? databases : NULL};
    mosaic_status status = pgbouncer_convert((const char *)data, size, &options, &yaml, &error);
    FUZZ_REQUIRE(status == MOSAIC_OK || (error.message[0] && error.status == status));
    if (status == MOSAIC_OK)
        check(&yaml);
    buffer_clear(&yaml);
    status = pgbouncer_userlist((const char *)data, size, "f", &yaml, &error);
    FUZZ_REQUIRE(status == MOSAIC_OK || (status == MOSAIC_CONFIG && error.message[0]));
    buffer_free(&yaml);
    return 0;
}
