/*
 * Analysis and plans of any text, over a schema with views, partitions and functions: an answer, no fault, and the same
 * answer again; every value that bounds a key is one of the text's literals or parameters.
 */
#include "../unit/plan/world.h"
#include "fuzz.h"
#include "sql/parse.h"

static struct world *open_world(void)
{
    static struct world world;
    if (!world.path[0])
        world_open(&world);
    return &world;
}

static void check_keys(const struct facts *facts, const struct fact_keys *keys, size_t literals)
{
    for (size_t i = 0; i < keys->alternatives * keys->columns; i++) {
        const struct fact_value *value = &keys->values[i];
        if (value->source == VALUE_LITERAL)
            FUZZ_REQUIRE(value->number < literals);
        if (value->source == VALUE_PARAMETER)
            FUZZ_REQUIRE(value->number >= 1 && value->number <= facts->parameter_count);
    }
}

/* What each shard is asked is one statement, however the clauses of the client's stand. */
static void check_scatter(const struct facts *facts)
{
    struct parse parse;
    mosaic_error error;
    const char *text = facts->scatter->text;
    FUZZ_REQUIRE(facts->text_bound && !facts->scatter_cannot && !facts->is_write);
    FUZZ_REQUIRE(parse_open(&parse, text, strlen(text), &error) == MOSAIC_OK);
    FUZZ_REQUIRE(parse.statements && !parse.refused);
    parse_close(&parse);
}

/* What each shard is told is one statement. */
static void check_writes(const struct plan_write *write)
{
    FUZZ_REQUIRE(write->part_count >= 2 && write->part_count <= world_model.shard_count);
    for (size_t i = 0; i < write->part_count; i++) {
        const struct plan_write_part *part = &write->parts[i];
        struct parse parse;
        mosaic_error error;
        FUZZ_REQUIRE(parse_open(&parse, part->text, part->size, &error) == MOSAIC_OK);
        FUZZ_REQUIRE(parse.statements && !parse.refused);
        parse_close(&parse);
    }
}

static void check(struct world *world, const char *text, size_t size, struct arena *arena)
{
    struct scan scan = SCAN_INIT;
    struct facts_list list;
    mosaic_error error;
    FUZZ_REQUIRE(scan_text(&scan, text, size));
    FUZZ_REQUIRE(facts_find_scanned(&world->context, text, size, &scan, arena, &list, &error) == MOSAIC_OK);
    size_t literals = scan.cannot ? 0 : scan.count;
    struct plan_value parameters[3] = {{"1", 1, 0, 0}, {"{1,2}", 5, 0, 0}, {NULL, -1, 0, 0}};
    struct plan_input input = {.schema = &world->schema,
                               .literals = world_literals(&scan, text, arena),
                               .literal_count = literals,
                               .parameters = parameters,
                               .parameter_count = 3,
                               .has_scatter = true,
                               .has_writes = true,
                               .text = text,
                               .size = size};
    for (size_t i = 0; i < list.count; i++) {
        const struct facts *facts = &list.facts[i];
        struct plan plan;
        FUZZ_REQUIRE(facts->start >= 0 && facts->length >= 0 && (size_t)facts->start + (size_t)facts->length <= size);
        for (size_t r = 0; r < facts->relation_count; r++)
            check_keys(facts, &facts->relations[r].keys, literals);
        if (facts->scatter)
            check_scatter(facts);
        FUZZ_REQUIRE(plan_make(facts, &input, arena, &plan, &error) == MOSAIC_OK);
        FUZZ_REQUIRE(plan.kind != PLAN_REFUSED || plan.error->message[0]);
        if (plan.kind == PLAN_WRITE)
            check_writes(plan.write);
        FUZZ_REQUIRE(plan.kind == PLAN_REFUSED || plan.shard < world_model.shard_count);
    }
    scan_free(&scan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    check(open_world(), (const char *)data, size, &arena);
    arena_free(&arena);
    return 0;
}
