/* mosaic.yaml: any bytes are a model that keeps its own rules, or an error with a message; nothing is left behind. */
#include "config/config.h"
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
    }
    model_free(&model);
    return 0;
}
