/* mosaic.yaml: any bytes are a model that keeps its own rules, or an error with a message; nothing is left behind. */
#include "config/config.h"
#include "config/settings.h"
#include "fuzz.h"

#include <string.h>

static void check_table(const struct model *model, const struct table *table)
{
    FUZZ_REQUIRE(table->schema && table->name && table->display && table->line > 0);
    FUZZ_REQUIRE(model_table(model, table->display) == table);
    if (table->kind == TABLE_REFERENCE)
        return;
    FUZZ_REQUIRE(table->column_count >= 1 && table->column_count <= KEY_COLUMNS_MAX);
    FUZZ_REQUIRE(table->rule.columns == table->column_count && table->rule.buckets <= BUCKETS_MOST);
    for (uint32_t bucket = 0; table->listed_owners && bucket < table->rule.buckets; bucket++)
        FUZZ_REQUIRE(table->listed_owners[bucket] < model->shard_count);
}

/* The section `proxy:` reads as settings whose values, written out, read as the same. */
static void check_settings(const struct model *model)
{
    struct arena arena = ARENA_INIT;
    struct proxy_settings settings, again;
    mosaic_error error = {.message = ""};
    FUZZ_REQUIRE(settings_read(&arena, model, &settings, &error) == MOSAIC_OK);
    FUZZ_REQUIRE(settings_default(&arena, &again, &error) == MOSAIC_OK);
    for (size_t i = 0; i < settings_count(); i++) {
        const char *value = settings_value(&arena, &settings, i);
        const char *name = settings_info(i)->name;
        FUZZ_REQUIRE(settings_set(&arena, &again, name, value ? value : "", &error) == MOSAIC_OK);
        FUZZ_REQUIRE(settings_equal(&settings, &again, i));
    }
    mosaic_status status = settings_check(&settings, &error);
    FUZZ_REQUIRE(status == MOSAIC_OK || (status == MOSAIC_CONFIG && error.message[0]));
    arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct model model;
    mosaic_error error = {.message = ""};
    mosaic_status status = config_parse((const char *)data, size, "f", &model, &error);
    FUZZ_REQUIRE(status == MOSAIC_OK || (error.message[0] && error.status == status));
    if (status == MOSAIC_OK) {
        FUZZ_REQUIRE(model.name && model.shard_count >= 1 && model.shard_count <= SHARDS_MOST);
        for (size_t i = 0; i < model.table_count; i++)
            check_table(&model, &model.tables[i]);
        check_settings(&model);
    }
    model_free(&model);
    return 0;
}
