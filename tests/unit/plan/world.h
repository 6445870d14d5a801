/*
 * A cluster of four shards for tests of analysis: key k of an integer table is on shard k mod 4, home is s0.
 */
#ifndef MOSAIC_TESTS_PLAN_WORLD_H
#define MOSAIC_TESTS_PLAN_WORLD_H

#include "base/error.h"
#include "plan/plan.h"
#include "sql/scan.h"
#include "sql/schema_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORLD_TABLE(table, ...)                                            \
    {                                                                      \
        .schema = "public", .name = table, .display = table, ##__VA_ARGS__ \
    }
#define WORLD_MODULO(type)                                                            \
    {                                                                                 \
        .function = FUNCTION_MODULO, .buckets = 1024, .columns = 1, .types = { type } \
    }
#define WORLD_HASH(type)                                                            \
    {                                                                               \
        .function = FUNCTION_HASH, .buckets = 4096, .columns = 1, .types = { type } \
    }

static struct table world_tables[] = {
    WORLD_TABLE("t", .columns = {"id"}, .column_count = 1, .rule = WORLD_MODULO(KEY_INT8)),
    WORLD_TABLE("u", .columns = {"tid"}, .column_count = 1, .rule = WORLD_MODULO(KEY_INT8)),
    WORLD_TABLE("i", .columns = {"id"}, .column_count = 1, .rule = WORLD_MODULO(KEY_INT4)),
    WORLD_TABLE("w", .columns = {"name"}, .column_count = 1, .rule = WORLD_HASH(KEY_TEXT)),
    WORLD_TABLE("vc", .columns = {"name"}, .column_count = 1, .rule = WORLD_HASH(KEY_VARCHAR)),
    WORLD_TABLE("bp", .columns = {"code"}, .column_count = 1, .rule = WORLD_HASH(KEY_BPCHAR)),
    WORLD_TABLE("uu", .columns = {"id"}, .column_count = 1, .rule = WORLD_HASH(KEY_UUID)),
    WORLD_TABLE("dd", .columns = {"d"}, .column_count = 1, .rule = WORLD_HASH(KEY_DATE)),
    WORLD_TABLE("nn", .columns = {"n"}, .column_count = 1, .rule = WORLD_HASH(KEY_NUMERIC)),
    WORLD_TABLE("c2", .columns = {"a", "b"}, .column_count = 2,
                .rule = {.function = FUNCTION_HASH, .buckets = 4096, .columns = 2, .types = {KEY_INT4, KEY_INT4}}),
    WORLD_TABLE("trig", .columns = {"id"}, .column_count = 1, .rule = WORLD_MODULO(KEY_INT8)),
    WORLD_TABLE("part", .columns = {"id"}, .column_count = 1, .rule = WORLD_MODULO(KEY_INT8)),
    WORLD_TABLE("dom", .columns = {"id"}, .column_count = 1, .rule = WORLD_MODULO(KEY_INT8)),
    WORLD_TABLE("k", .columns = {"id"}, .column_count = 1, .rule = WORLD_MODULO(KEY_INT8)),
    WORLD_TABLE("ref", .kind = TABLE_REFERENCE),
    WORLD_TABLE("codes", .kind = TABLE_REFERENCE),
    WORLD_TABLE("gone", .columns = {"id"}, .column_count = 1,
                .rule = {.function = FUNCTION_MODULO, .columns = 1, .types = {KEY_INT8}}), /* never applied */
    WORLD_TABLE("priced", .columns = {"id"}, .column_count = 1, .rule = WORLD_MODULO(KEY_INT8)),
    WORLD_TABLE("secured", .columns = {"id"}, .column_count = 1, .rule = WORLD_MODULO(KEY_INT8)),
};
static struct shard world_shards[] = {{.name = "s0"}, {.name = "s1"}, {.name = "s2"}, {.name = "s3"}};
static struct model world_model = {.tables = world_tables,
                                   .table_count = sizeof world_tables / sizeof *world_tables,
                                   .shards = world_shards,
                                   .shard_count = 4};
static const char world_ddl[] =
    "CREATE TABLE t (id bigint PRIMARY KEY, v int, name text, tid bigint);"
    "CREATE TABLE u (uid bigint, tid bigint NOT NULL REFERENCES t, w int, PRIMARY KEY (tid, uid));"
    "CREATE TABLE i (id int PRIMARY KEY, v int);"
    "CREATE TABLE gone (id bigint PRIMARY KEY, v int);"
    "CREATE TABLE w (name text PRIMARY KEY, v int);"
    "CREATE TABLE vc (name varchar(5) PRIMARY KEY, v int);"
    "CREATE TABLE bp (code char(4) PRIMARY KEY, v int);"
    "CREATE TABLE uu (id uuid PRIMARY KEY, v int);"
    "CREATE TABLE dd (d date PRIMARY KEY, v int);"
    "CREATE TABLE nn (n numeric(10,2) PRIMARY KEY, v int);"
    "CREATE TABLE c2 (a int, b int, v int, PRIMARY KEY (a, b));"
    "CREATE TABLE trig (id bigint PRIMARY KEY, v int);"
    "CREATE FUNCTION trf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
    "CREATE TRIGGER tr BEFORE INSERT ON trig FOR EACH ROW EXECUTE FUNCTION trf();"
    "CREATE TABLE part (id bigint, v int) PARTITION BY HASH (id);"
    "CREATE TABLE part0 PARTITION OF part FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
    "CREATE TABLE part1 PARTITION OF part FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
    "CREATE DOMAIN did AS bigint CHECK (VALUE > 0);"
    "CREATE TABLE dom (id did PRIMARY KEY, v int);"
    "CREATE DOMAIN dtext AS text; CREATE DOMAIN dtext2 AS dtext;"
    "CREATE TYPE colour AS ENUM ('red', 'green');"
    "CREATE TYPE duo AS (one int, two int);"
    "CREATE TABLE k (id bigint PRIMARY KEY, e colour, c text COLLATE \"C\", de text COLLATE \"de-x-icu\", a int[], d "
    "did,"
    " p duo, r int4range, j jsonb, sys name);"
    "CREATE TABLE ref (rid int PRIMARY KEY, tid bigint, label text);"
    "CREATE TABLE codes (code int PRIMARY KEY, price numeric DEFAULT 0, made timestamptz DEFAULT now(), n serial);"
    "CREATE VIEW codev AS SELECT code, price FROM codes;"
    "ALTER VIEW codev ALTER price SET DEFAULT random();"
    "CREATE TABLE priced (id bigint PRIMARY KEY, code int REFERENCES codes ON DELETE CASCADE,"
    " made timestamptz DEFAULT now());"
    "CREATE TABLE secured (id bigint PRIMARY KEY, v int);"
    "ALTER TABLE secured ENABLE ROW LEVEL SECURITY;"
    "CREATE TABLE home (hid int PRIMARY KEY, v int, tid bigint);"
    "CREATE SEQUENCE seq;"
    "CREATE SCHEMA other;"
    "CREATE TABLE other.t (id bigint, v int);"
    "CREATE VIEW tv AS SELECT id AS vid, v, name FROM t;"
    "CREATE VIEW tg AS SELECT id, count(*) AS n FROM t GROUP BY id;"
    "CREATE VIEW tl AS SELECT id, v FROM t ORDER BY v LIMIT 10;"
    "CREATE VIEW tp AS SELECT x.id, v FROM t x;"
    "CREATE VIEW tq AS SELECT t.id FROM other.t;"
    "CREATE VIEW c2v AS SELECT a FROM c2;"
    "CREATE VIEW ts AS SELECT id, v FROM t x(v, id);"
    "CREATE VIEW ti AS SELECT id, v FROM t;"
    "CREATE TRIGGER instead INSTEAD OF UPDATE ON ti FOR EACH ROW EXECUTE FUNCTION trf();"
    "CREATE VIEW refv AS SELECT rid, tid FROM ref;"
    "CREATE VIEW refd AS SELECT DISTINCT ON (tid) tid, label FROM ref;"
    "CREATE VIEW refs AS SELECT DISTINCT tid FROM ref;"
    "CREATE VIEW t7 AS SELECT * FROM t WHERE id = 7;"
    "CREATE VIEW tu AS SELECT t.id, u.w FROM t JOIN u ON u.tid = t.id;"
    "CREATE VIEW hv AS SELECT * FROM home;"
    "CREATE FUNCTION pure(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';"
    "CREATE FUNCTION reader(int) RETURNS int STABLE LANGUAGE sql AS 'SELECT v FROM t LIMIT 1';";

struct world {
    struct schema schema;
    struct arena arena; /* of maps */
    const char *path[3];
    struct sql_context context;
    bool has_coordinator, has_scatter, has_writes;
};

static inline void world_open(struct world *world)
{
    *world = (struct world){.path = {"pg_catalog", "public"}};
    mosaic_error error = {.message = ""};
    const struct map *small = map_initial(&world->arena, 1024, 4, 1), *large = map_initial(&world->arena, 4096, 4, 1);
    for (size_t i = 0; i < world_model.table_count; i++)
        world_tables[i].map = world_tables[i].rule.buckets == 0      ? NULL
                              : world_tables[i].rule.buckets == 1024 ? small
                                                                     : large;
    if (schema_from_sql(world_ddl, sizeof world_ddl - 1, "world.sql", &world_model, &world->schema, &error) !=
        MOSAIC_OK) {
        fprintf(stderr, "%s %s\n", error.message, error.detail);
        abort();
    }
    world->context = (struct sql_context){.schema = &world->schema, .path = world->path, .path_count = 2};
}

static inline void world_close(struct world *world)
{
    schema_free(&world->schema);
    arena_free(&world->arena);
}

/* Literals as the cache gives them. */
static inline struct plan_value *world_literals(const struct scan *scan, const char *text, struct arena *arena)
{
    struct plan_value *literals = arena_zeroed(arena, scan->count + 1, sizeof *literals);
    for (size_t i = 0; i < scan->count; i++) {
        const char *data;
        size_t size;
        if (!scan_content(&scan->literals[i], text, arena, &data, &size))
            continue;
        literals[i] = (struct plan_value){data, (int32_t)size, 0, 0};
        if (scan->literals[i].class == LITERAL_INTEGER)
            literals[i].type = 23;
        if (scan->literals[i].class == LITERAL_DECIMAL)
            literals[i].type = 1700;
    }
    return literals;
}

/* The plan of the first statement as a word: "s1", "any", "scatter", "writes", "coordinator" or
 * "refused"; *plan has the rest. */
static inline const char *world_plan(struct world *world, const char *text, const struct plan_value *parameters,
                                     size_t parameter_count, struct arena *arena, struct facts *facts,
                                     struct plan *plan)
{
    struct scan scan = SCAN_INIT;
    struct facts_list list;
    mosaic_error error;
    if (!scan_text(&scan, text, strlen(text)) ||
        facts_find_scanned(&world->context, text, strlen(text), &scan, arena, &list, &error) != MOSAIC_OK)
        abort();
    struct plan_input input = {.schema = &world->schema,
                               .literals = world_literals(&scan, text, arena),
                               .literal_count = scan.cannot ? 0 : scan.count,
                               .parameters = parameters,
                               .parameter_count = parameter_count,
                               .has_scatter = world->has_scatter,
                               .has_writes = world->has_writes,
                               .text = text,
                               .size = strlen(text),
                               .has_coordinator = world->has_coordinator};
    if (plan_make(&list.facts[0], &input, arena, plan, &error) != MOSAIC_OK)
        abort();
    scan_free(&scan);
    *facts = list.facts[0];
    if (plan->kind == PLAN_REFUSED)
        return "refused";
    if (plan->kind == PLAN_COORDINATOR)
        return "coordinator";
    if (plan->kind == PLAN_SCATTER)
        return "scatter";
    if (plan->kind == PLAN_WRITE)
        return "writes";
    return plan->kind == PLAN_ANY ? "any" : world_shards[plan->shard].name;
}

/* Has the statement the plan that is expected, and its refusal `why` (NULL: any) somewhere? Prints what differs. */
static inline bool world_expect(struct world *world, const char *text, const struct plan_value *parameters,
                                size_t parameter_count, const char *expected, const char *why)
{
    struct arena arena = ARENA_INIT;
    struct facts facts;
    struct plan plan;
    const char *got = world_plan(world, text, parameters, parameter_count, &arena, &facts, &plan);
    const mosaic_error none = {0}, *error = plan.error ? plan.error : &none;
    bool right = strcmp(got, expected) == 0;
    if (right && why && plan.error)
        right = strstr(error->message, why) || strstr(error->detail, why) || strstr(error->hint, why) ||
                strcmp(error->sqlstate, why) == 0;
    if (!right)
        fprintf(stderr, "%s\n    expected %s (%s), got %s %s %s | %s | %s\n", text, expected, why ? why : "", got,
                error->sqlstate, error->message, error->detail, error->hint);
    arena_free(&arena);
    return right;
}

#endif
