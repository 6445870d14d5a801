#include "citus/steps.h"

#include "base/buffer.h"
#include "catalog/preflight.h"
#include "core/sqlexpr.h"

#include <inttypes.h>
#include <string.h>

enum { TEXT_MOST = 64 * 1024 };

struct work {
    const struct citus_input *input;
    const struct model *model;
    struct arena *arena;
    struct citus_steps *steps;
    struct findings *findings;
    bool failed; /* memory was out */
};

static const struct citus_table *found_of(const struct work *work, const struct table *table)
{
    return &work->input->tables[table - work->model->tables];
}

static const struct table_facts *facts_of(const struct work *work, const struct table *table)
{
    return &work->input->facts->tables[table - work->model->tables];
}

#define SAY(work, fatal, table, fix, ...) finding_add((work)->findings, fatal, "", (table)->display, fix, __VA_ARGS__)

/* ---- what speaks against it --------------------------------------------------------------------------- */

/* Citus refuses every trigger on a distributed table; those that only warn on our own shards too. */
static void check_triggers(const struct work *work, const struct table *table)
{
    const struct table_facts *facts = facts_of(work, table);
    for (size_t i = 0; i < facts->trigger_count && !found_of(work, table)->distributed; i++) {
        const struct trigger_facts *trigger = &facts->triggers[i];
        if (!trigger->parent) /* it goes with that */
            SAY(work, true, table,
                finding_text(work->findings, "DROP TRIGGER %s ON %s.%s", trigger->name, trigger->schema,
                             trigger->table),
                "trigger %s: Citus has no triggers on distributed tables", trigger->name);
    }
}

static const struct table *group_of(const struct table *table)
{
    return table->colocate_with ? table->colocate_with : table;
}

/* preflight.c has seen to it that the keys meet; that equal keys share a node is for colocate_with to say. */
static void check_foreign_keys(const struct work *work, const struct table *table)
{
    const struct table_facts *facts = facts_of(work, table);
    for (size_t i = 0; i < facts->constraint_count && table->kind == TABLE_SHARDED; i++) {
        const struct constraint_facts *constraint = &facts->constraints[i];
        const struct table *other = NULL;
        if (constraint->type != 'f')
            continue;
        for (size_t j = 0; j < work->model->table_count; j++)
            if (strcmp(work->model->tables[j].schema, constraint->foreign_schema) == 0 &&
                strcmp(work->model->tables[j].name, constraint->foreign_table) == 0)
                other = &work->model->tables[j];
        if (other && other->kind == TABLE_SHARDED && group_of(other) != group_of(table))
            SAY(work, true, table, finding_text(work->findings, "say colocate_with: %s", group_of(other)->name),
                "foreign key %s references %s, which is not colocated with it", constraint->name, other->display);
    }
}

static void check_colocation(const struct work *work, const struct table *table)
{
    const struct table *with = table->colocate_with;
    if (with && table->rule.types[0] != with->rule.types[0])
        SAY(work, true, table,
            finding_text(work->findings, "ALTER TABLE %s ALTER %s TYPE %s", table->display, table->columns[0],
                         type_name(with->rule.types[0])),
            "its key %s is of type %s, that of %s of type %s: Citus colocates equal types only", table->columns[0],
            type_name(table->rule.types[0]), with->display, type_name(with->rule.types[0]));
}

/* What is distributed, but in a way that no one call changes. */
static void check_kind(const struct work *work, const struct table *table)
{
    const struct citus_table *found = found_of(work, table);
    const char *fix = finding_text(work->findings, "SELECT undistribute_table('%s'), which keeps its rows, then apply",
                                   table->display);
    if (!found->distributed || (table->kind == TABLE_REFERENCE ? found->reference : found->hash))
        return;
    if (found->reference || found->hash)
        SAY(work, true, table, fix, "it is %s, and the config says %s",
            found->reference ? "a reference table" : "distributed", table_kind_name(table->kind));
    else
        SAY(work, true, table, fix, "it is a local or single-shard table that Citus manages");
}

/* ---- steps -------------------------------------------------------------------------------------------- */

static const char *take_text(struct work *work, struct buffer *text)
{
    const char *copy = buffer_failed(text) ? NULL : arena_string(work->arena, buffer_string(text));
    work->failed |= !copy;
    buffer_free(text);
    return copy ? copy : "";
}

static void add_step(struct work *work, const struct table *table, struct buffer *sql, struct buffer *line)
{
    work->steps->list[work->steps->count++] =
        (struct citus_step){table, take_text(work, sql), take_text(work, line), !found_of(work, table)->distributed};
}

static void add_rows(const struct work *work, const struct table *table, struct buffer *line)
{
    int64_t rows = work->input->rows[table - work->model->tables];
    if (rows > 0)
        buffer_format(line, "; its %" PRId64 " row%s %s kept", rows, rows == 1 ? "" : "s", rows == 1 ? "is" : "are");
}

static void create(struct work *work, const struct table *table)
{
    struct buffer sql = BUFFER_INIT(TEXT_MOST), line = BUFFER_INIT(TEXT_MOST);
    buffer_format(&sql, "SELECT pg_catalog.create_%s_table(",
                  table->kind == TABLE_REFERENCE ? "reference" : "distributed");
    citus_add_relation(&sql, table);
    buffer_format(&line, "%s: ", table->display);
    if (table->kind == TABLE_REFERENCE) {
        buffer_text(&line, "create_reference_table, a copy on every node");
    } else {
        buffer_text(&sql, ", ");
        sql_literal(&sql, table->columns[0], strlen(table->columns[0]));
        buffer_format(&line, "create_distributed_table by %s, ", table->columns[0]);
        if (table->colocate_with) {
            buffer_text(&sql, ", colocate_with => ");
            citus_add_relation(&sql, table->colocate_with);
            buffer_format(&line, "colocated with %s", table->colocate_with->display);
        } else {
            /* Never 'default': that joins whatever group has the same type and count. */
            uint32_t shards = table->shard_count ? table->shard_count : work->input->default_shards;
            buffer_format(&sql, ", colocate_with => 'none', shard_count => %" PRIu32, shards);
            buffer_format(&line, "%" PRIu32 " shards, a colocation group of its own", shards);
        }
    }
    buffer_char(&sql, ')');
    add_rows(work, table, &line);
    add_step(work, table, &sql, &line);
}

/* Is another table of the config, before this one and with a group of its own, in the same group on the cluster? */
static const struct table *stranger_in_group(const struct work *work, const struct table *table)
{
    for (const struct table *other = work->model->tables; other < table; other++)
        if (other->kind == TABLE_SHARDED && !other->colocate_with && found_of(work, other)->distributed &&
            found_of(work, other)->colocation == found_of(work, table)->colocation)
            return other;
    return NULL;
}

static bool has_members(const struct work *work, const struct table *table)
{
    for (size_t i = 0; i < work->model->table_count; i++) {
        const struct table *other = &work->model->tables[i];
        if (other != table && found_of(work, other)->hash &&
            found_of(work, other)->colocation == found_of(work, table)->colocation)
            return true;
    }
    return *found_of(work, table)->other_members != '\0';
}

static void add_with(struct buffer *sql, const struct table *with)
{
    buffer_text(sql, ", colocate_with => ");
    if (with)
        citus_add_relation(sql, with);
    else
        buffer_text(sql, "'none'");
}

/* alter_distributed_table: a new table is made, the rows are copied, the old one goes. */
static void alter(struct work *work, const struct table *table)
{
    const struct citus_table *found = found_of(work, table);
    const struct table *with = table->colocate_with, *stranger = with ? NULL : stranger_in_group(work, table);
    bool key = strcmp(found->key, table->columns[0]) != 0;
    bool count = table->shard_count && table->shard_count != found->asked_shards;
    /* A table that is to be created yet has no group to be in. */
    bool group = with ? found_of(work, with)->distributed && found_of(work, with)->colocation != found->colocation
                      : stranger != NULL;
    if (!key && !count && !group)
        return;
    struct buffer sql = BUFFER_INIT(TEXT_MOST), line = BUFFER_INIT(TEXT_MOST);
    buffer_text(&sql, "SELECT pg_catalog.alter_distributed_table(");
    citus_add_relation(&sql, table);
    buffer_format(&line, "%s: alter_distributed_table, ", table->display);
    if (key) {
        buffer_text(&sql, ", distribution_column => ");
        sql_literal(&sql, table->columns[0], strlen(table->columns[0]));
        buffer_format(&line, "by %s instead of %s, ", table->columns[0], found->key);
    }
    if (count) {
        buffer_format(&sql, ", shard_count => %" PRIu32, table->shard_count);
        buffer_format(&line, "%" PRIu32 " shards instead of %" PRIu32 ", ", table->shard_count, found->asked_shards);
    }
    if (group || key)
        add_with(&sql, with);
    else if (count && has_members(work, table)) {
        buffer_text(&sql, ", cascade_to_colocated => true");
        buffer_text(&line, "with all tables of its group, ");
    }
    if (group && with)
        buffer_format(&line, "colocated with %s, ", with->display);
    else if (group)
        buffer_format(&line, "out of the group of %s into one of its own, ", stranger->display);
    buffer_text(&line, "which writes every row anew");
    buffer_char(&sql, ')');
    add_step(work, table, &sql, &line);
    if (count && !group && !key && *found->other_members)
        SAY(work, false, table, finding_text(work->findings, "name them in the config, or move them to other groups"),
            "its group has tables that are not in the config, and change with it: %s", found->other_members);
}

static void plan_table(struct work *work, const struct table *table)
{
    const struct citus_table *found = found_of(work, table);
    if (!found->distributed)
        create(work, table);
    else if (table->kind == TABLE_SHARDED)
        alter(work, table);
}

mosaic_status citus_steps_make(const struct citus_input *input, struct arena *arena, struct citus_steps *steps,
                               struct findings *findings, mosaic_error *error)
{
    struct work work = {.input = input, .model = input->model, .arena = arena, .steps = steps, .findings = findings};
    size_t tables = input->model->table_count;
    bool *types_known = arena_zeroed(arena, tables, sizeof *types_known);
    steps->count = 0;
    steps->list = arena_zeroed(arena, tables, sizeof *steps->list);
    if (!types_known || !steps->list)
        return error_memory(error);
    preflight_tables(input->model, &input->facts, types_known, findings);
    for (size_t i = 0; i < tables; i++) {
        const struct table *table = &work.model->tables[i];
        if (!types_known[i])
            continue;
        check_kind(&work, table);
        check_triggers(&work, table);
        check_foreign_keys(&work, table);
        if (!table->colocate_with || types_known[table->colocate_with - work.model->tables])
            check_colocation(&work, table);
    }
    enum { ROUND_REFERENCE, ROUND_OWN, ROUND_COLOCATED, ROUNDS };
    for (int round = 0; round < ROUNDS && !findings->fatal; round++)
        for (size_t i = 0; i < tables; i++) {
            const struct table *table = &work.model->tables[i];
            int of = table->kind == TABLE_REFERENCE ? ROUND_REFERENCE
                     : table->colocate_with         ? ROUND_COLOCATED
                                                    : ROUND_OWN;
            if (of == round)
                plan_table(&work, table);
        }
    return work.failed || findings->failed ? error_memory(error) : MOSAIC_OK;
}
