#include "catalog/ids.h"

#include "catalog_sql.h"

#include <stdio.h>
#include <string.h>

#define COMMENT "pgmosaic ids.2 shard %d"

mosaic_status ids_plan(const struct difference_input *input, struct arena *arena, struct difference *difference,
                       mosaic_error *error)
{
    char missing[1024] = "";
    for (size_t i = 0; i < input->model->shard_count; i++) {
        const char *comment = arena_format(arena, COMMENT, difference->wanted.shards[i].id);
        if (!comment)
            return error_memory(error);
        if (!input->facts[i] || strcmp(input->facts[i]->ids, comment) == 0)
            continue;
        size_t used = strlen(missing);
        snprintf(missing + used, sizeof missing - used, "%s%s", used ? ", " : "", input->model->shards[i].name);
        difference->shard_changes[i] = true;
    }
    if (*missing)
        buffer_format(&difference->plan, "+ function mosaic.next_id() on %s\n", missing);
    return MOSAIC_OK;
}

void ids_sql(struct buffer *sql, int number)
{
    buffer_format(sql,
                  "CREATE OR REPLACE FUNCTION mosaic.shard_number() RETURNS integer LANGUAGE sql IMMUTABLE"
                  " AS 'SELECT %d'; ",
                  number);
    buffer_text(sql, catalog_sql_ids);
    buffer_format(sql, "COMMENT ON FUNCTION mosaic.next_id() IS '" COMMENT "'; ", number);
}
