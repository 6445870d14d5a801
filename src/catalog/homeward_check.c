/* What speaks against bringing a table home (homeward.h), before anything is done. */
#include "catalog/grow.h"
#include "catalog/homeward_steps.h"
#include "core/sqlexpr.h"

#include <string.h>

struct check {
    struct apply *apply;
    size_t at; /* of the table, in names and facts */
    const struct table_name *name;
    const struct table_facts *home;
    mosaic_error *error;
};

/* Does the table come home, too? */
static bool comes(const struct apply *apply, const char *schema, const char *name)
{
    for (size_t at = apply->model->table_count; at < apply->name_count; at++)
        if (strcmp(apply->names[at].schema, schema) == 0 && strcmp(apply->names[at].name, name) == 0)
            return apply->shards[apply->catalog_shard].facts.tables[at].returns;
    return false;
}

/* ---- columns, rights, foreign keys of the table ---- */

static bool same_column(const struct column_facts *here, const struct column_facts *home)
{
    return here && strcmp(here->type, home->type) == 0 && here->generated == home->generated;
}

static void check_shape(const struct check *check, size_t shard)
{
    const struct shard_facts *facts = &check->apply->shards[shard].facts;
    const struct table_facts *here = &facts->tables[check->at];
    bool same = here->column_count == check->home->column_count && here->kind != 'v' && here->kind != 'm';
    for (size_t i = 0; i < check->home->column_count && same; i++)
        same = same_column(facts_column(here, check->home->columns[i].name), &check->home->columns[i]);
    if (!same)
        finding_add(&check->apply->findings, true, facts->shard, check->name->display,
                    "make them alike, or drop it on this shard if nobody needs its rows",
                    "its columns are not those of the home shard's: its rows cannot come home");
    if (!here->may_alter)
        finding_add(&check->apply->findings, true, facts->shard, check->name->display,
                    "run apply as a role that owns the table", "role %s does not own the table, which is to be dropped",
                    facts->user);
}

static void check_references(const struct check *check)
{
    for (size_t i = 0; i < check->home->constraint_count; i++) {
        const struct constraint_facts *constraint = &check->home->constraints[i];
        if (constraint->type != 'f')
            continue;
        const struct catalog_table *other =
            state_table(&check->apply->difference.wanted, constraint->foreign_schema, constraint->foreign_table);
        if (other && other->kind == TABLE_SHARDED)
            finding_add(&check->apply->findings, true, "", check->name->display,
                        "take that table out, too, or drop the foreign key",
                        "foreign key %s references %s, which stays spread: the home shard has a part of its rows",
                        constraint->name, other->name);
    }
}

/* Of a reference table no row comes. */
static mosaic_status check_publications(const struct check *check)
{
    const struct table_name *name = check->name;
    const struct table table = {.schema = name->schema, .name = name->name, .display = name->display};
    if (state_table(&check->apply->state, name->schema, name->name)->kind != TABLE_SHARDED)
        return MOSAIC_OK;
    return grow_check_publications(check->apply, &table, true, check->error);
}

/* ---- what hangs on it on a shard where it is dropped ---- */

static mosaic_status check_dependents(const struct check *check, size_t shard)
{
    struct apply *apply = check->apply;
    const char *name = apply->model->shards[shard].name;
    struct buffer quoted = BUFFER_INIT(4096);
    PGresult *result = NULL;
    sql_qualified(&quoted, check->name->schema, check->name->name);
    mosaic_status status = buffer_failed(&quoted)
                               ? error_memory(check->error)
                               : grow_read_dependents(apply->shards[shard].connection, name, buffer_string(&quoted),
                                                      apply->options.look_ms, &result, check->error);
    for (int row = 0; status == MOSAIC_OK && row < PQntuples(result); row++) {
        const char *schema = PQgetvalue(result, row, 0), *relation = PQgetvalue(result, row, 1);
        if (PQgetisnull(result, row, 1))
            finding_add(&apply->findings, true, name, check->name->display,
                        "drop it on this shard: the home shard keeps its own",
                        "%s depends on the table, which is to be dropped here", PQgetvalue(result, row, 3));
        else if (PQgetisnull(result, row, 2))
            finding_add(&apply->findings, true, name, check->name->display,
                        "drop it on this shard: through the home shard's it is read as before",
                        "view %s.%s reads the table, which is to be dropped here", schema, relation);
        else if (!comes(apply, schema, relation))
            finding_add(&apply->findings, true, name, check->name->display,
                        "take that table out, too, or drop the foreign key",
                        "foreign key %s of %s.%s references the table, which is to be dropped here",
                        PQgetvalue(result, row, 2), schema, relation);
    }
    PQclear(result);
    buffer_free(&quoted);
    return status;
}

mosaic_status homeward_check_tables(struct apply *apply, mosaic_error *error)
{
    const struct shard_facts *home = &apply->shards[apply->catalog_shard].facts;
    mosaic_status status = MOSAIC_OK;
    if (grow_has(apply))
        finding_add(&apply->findings, true, "", "", "do one after the other: put back what was taken out, apply, …",
                    "tables are to be spread, and others to come home, in one apply");
    for (size_t at = apply->model->table_count; at < apply->name_count && status == MOSAIC_OK; at++) {
        const struct check check = {apply, at, &apply->names[at], &home->tables[at], error};
        if (!check.home->returns)
            continue;
        check_references(&check);
        if (!check.home->may_alter)
            finding_add(&apply->findings, true, home->shard, check.name->display,
                        "run apply as a role that owns the table", "role %s does not own the table", home->user);
        status = check_publications(&check);
        for (size_t i = 0; i < apply->model->shard_count && status == MOSAIC_OK; i++) {
            if (i == apply->catalog_shard || apply->shards[i].status != MOSAIC_OK ||
                !apply->shards[i].facts.tables[at].exists)
                continue;
            check_shape(&check, i);
            status = check_dependents(&check, i);
        }
    }
    return status;
}
