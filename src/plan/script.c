#include "plan/script.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/memory.h"

#include <string.h>

static bool is_for_all(const struct facts *facts)
{
    const struct fact_write *write = facts->write;
    return write && write->spread == SPREAD_ALL;
}

/* Is its place known, whatever the statements before it have done? */
static bool fits(const struct facts *list, size_t at)
{
    const struct facts *facts = &list[at];
    if (facts->class != STATEMENT_DDL || facts->refusal || facts->changes_session)
        return false;
    if (!is_for_all(facts) && (facts->write || !facts->needs_home))
        return false;
    if (is_for_all(facts) && (facts->write->by_itself || facts->write->needs_transaction ||
                              facts->write->once_a_server || facts->write->others))
        return false;
    for (size_t i = 0; i < facts->relation_count; i++)
        if (facts->relations[i].relation->placement == PLACE_SHARDED ||
            facts->relations[i].relation->placement == PLACE_REFERENCE)
            return false;
    /* What is for all shards is so by a name of the config. */
    for (size_t i = 0; i < facts->unknown_count && !is_for_all(facts); i++)
        for (size_t before = 0; before < at; before++)
            if (list[before].name && strcmp(list[before].name, facts->unknown[i]) == 0)
                return false;
    return true;
}

struct script {
    const struct plan_input *input;
    struct arena *arena;
    struct plan_write *write;
    struct buffer text;
};

/* One table at most, once. */
static bool take_made(struct script *script, const struct fact_write *fact, struct plan_write_part *part)
{
    if (!fact->makes)
        return true;
    if (part->inside || (script->write->makes && script->write->makes != fact->makes))
        return false;
    script->write->makes = fact->makes;
    part->inside = script->text.size + fact->inside - fact->start;
    return true;
}

static bool add(struct script *script, const struct facts *facts, size_t shard, struct plan_write_part *part)
{
    const struct plan_input *input = script->input;
    bool is_home = shard == input->schema->home, all = is_for_all(facts);
    size_t start = (size_t)facts->start;
    size_t size = facts->length ? (size_t)facts->length : input->size - start;
    if (!all && !is_home)
        return true;
    if (all && !take_made(script, facts->write, part))
        return false;
    buffer_add(&script->text, input->text + start, size);
    buffer_text(&script->text, "\n;"); /* behind a comment, too */
    return true;
}

/* What one shard is told. False: it cannot be said. */
static bool make_part(struct script *script, const struct facts *facts, size_t count, size_t shard,
                      struct plan_write_part *part)
{
    bool done = true;
    buffer_clear(&script->text);
    for (size_t i = 0; i < count && done; i++) {
        done = add(script, &facts[i], shard, part);
        part->statements += is_for_all(&facts[i]) || shard == script->input->schema->home;
    }
    part->shard = (uint16_t)shard;
    part->size = script->text.size;
    part->text = buffer_failed(&script->text) ? NULL : arena_string(script->arena, buffer_string(&script->text));
    return done;
}

mosaic_status script_plan(const struct facts *facts, size_t count, const struct plan_input *input, struct arena *arena,
                          struct plan *plan, mosaic_error *error)
{
    size_t shards = input->schema->model->shard_count, spread = 0;
    struct script script = {.input = input, .arena = arena, .text = BUFFER_INIT(1 << 28)};
    bool done = true, changes = false;
    for (size_t i = 0; i < count; i++) {
        if (!fits(facts, i))
            return MOSAIC_OK;
        spread += is_for_all(&facts[i]);
        changes |= facts[i].changes_schema;
    }
    if (!spread)
        return MOSAIC_OK;
    script.write = arena_zeroed(arena, 1, sizeof *script.write);
    struct plan_write_part *parts = arena_zeroed(arena, shards, sizeof *parts);
    bool failed = !script.write || !parts;
    for (size_t i = 0; i < shards && !failed && done; i++) {
        done = make_part(&script, facts, count, i, &parts[i]);
        failed = !parts[i].text;
    }
    buffer_free(&script.text);
    if (failed)
        return error_memory(error);
    if (!done)
        return MOSAIC_OK;
    script.write->parts = parts, script.write->part_count = shards;
    script.write->tags = TAGS_WORDS;
    script.write->is_script = script.write->takes_turns = true;
    script.write->changes_schema = changes;
    plan->error = arena_zeroed(arena, 1, sizeof *plan->error);
    if (!plan->error)
        return error_memory(error);
    (void)!error_set(plan->error, MOSAIC_UNSUPPORTED, "changes of the schema that belong to every shard");
    plan->write = script.write;
    plan->bucket = PLAN_NO_BUCKET;
    plan->kind = PLAN_WRITE;
    return MOSAIC_OK;
}
