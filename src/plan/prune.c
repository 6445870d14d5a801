#include "plan/prune.h"

#include "base/buffer.h"
#include "base/error.h"
#include "core/sqlexpr.h"

#include <string.h>

enum { PRUNED_MOST = 1 << 26 };

struct found {
    const struct keys_input *input;
    const uint16_t *part_of_shard;
    bool parts[SHARDS_MOST];
    size_t count;
};

static enum keys_outcome note_part(void *state, const struct table *table, const struct key_value *key, bool assigned)
{
    struct found *found = state;
    uint32_t bucket;
    uint16_t shard;
    (void)assigned;
    if (keys_shard(table, key, &bucket, &shard, found->input->error) != MOSAIC_OK)
        return KEYS_READ; /* list: no row has this key */
    uint16_t part = found->part_of_shard[shard];
    found->count += !found->parts[part];
    found->parts[part] = true;
    return KEYS_READ;
}

/* part IN (1, 3); nothing where no row has a key: then the condition itself says so. */
static enum keys_outcome write_condition(const struct keys_input *input, const struct fact_prune *prune,
                                         struct buffer *out)
{
    const struct table *table = prune->relation->relation->table;
    uint16_t part_of_shard[SHARDS_MOST];
    struct found found = {.input = input, .part_of_shard = part_of_shard};
    map_parts(table->map, part_of_shard);
    enum keys_outcome outcome = keys_each(input, prune->relation, note_part, &found);
    if (outcome != KEYS_READ || !found.count)
        return outcome;
    buffer_text(out, out->size ? " AND " : "");
    sql_part(out, &table->rule, prune->columns, table->map);
    buffer_text(out, " IN (");
    for (size_t part = 0, written = 0; part < SHARDS_MOST; part++)
        if (found.parts[part])
            buffer_format(out, "%s%zu", written++ ? ", " : "", part);
    buffer_text(out, ")");
    return KEYS_READ;
}

static const char *put_in(const struct fact_pruning *pruning, const struct buffer *condition, struct arena *arena)
{
    if (pruning->condition)
        return arena_format(arena, "%sWHERE (%s\n) AND %s\n%s", pruning->before, pruning->condition, condition->data,
                            pruning->after);
    return arena_format(arena, "%s\nWHERE %s\n%s", pruning->before, condition->data, pruning->after);
}

enum keys_outcome prune_plan(const struct keys_input *input, const char **text)
{
    const struct fact_pruning *pruning = input->facts->pruning;
    struct buffer condition = BUFFER_INIT(PRUNED_MOST);
    enum keys_outcome outcome = KEYS_READ;
    *text = NULL;
    for (size_t i = 0; i < pruning->count && outcome == KEYS_READ; i++)
        if (pruning->prunes[i].relation->relation->table->map)
            outcome = write_condition(input, &pruning->prunes[i], &condition);
    if (outcome == KEYS_READ && condition.size) {
        *text = put_in(pruning, &condition, input->arena);
        outcome = *text && !buffer_failed(&condition) ? KEYS_READ : KEYS_MEMORY;
    }
    buffer_free(&condition);
    return outcome == KEYS_MEMORY ? KEYS_MEMORY : KEYS_READ;
}
