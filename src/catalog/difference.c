#include "catalog/difference.h"

#include "catalog/catalog.h"
#include "catalog/grow.h"
#include "catalog/homeward.h"
#include "catalog/ids.h"
#include "catalog/owner.h"
#include "catalog/sequence.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PLAN_MOST = 16 * 1024 * 1024 };

/* The state of one comparison. */
struct work {
    const struct difference_input *input;
    struct model *model;
    const struct catalog_state *state; /* never NULL: empty when nothing was applied */
    struct arena *arena;
    struct difference *difference;
    struct findings *findings;
    size_t *to_model; /* of each shard of the state: its index in the model; SIZE_MAX: removed */
    mosaic_error *error;
};

__attribute__((format(printf, 2, 3))) static void plan(struct work *work, const char *format, ...)
{
    char line[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    buffer_text(&work->difference->plan, line);
    buffer_char(&work->difference->plan, '\n');
}

/* ---- shards ---- */

static size_t model_index(const struct model *model, const char *name)
{
    for (size_t i = 0; i < model->shard_count; i++)
        if (strcmp(model->shards[i].name, name) == 0)
            return i;
    return SIZE_MAX;
}

static void address_of(const struct shard *shard, char *text, size_t size)
{
    pq_conninfo_address(shard->conninfo, text, size);
}

/*
 * Who a database says it is, against the name that the config gives it. Another name that the config does not have is a
 * rename; one that it has means swapped conninfos.
 */
static bool check_identity(struct work *work, size_t at)
{
    const struct shard_facts *facts = work->input->facts[at];
    const char *name = work->model->shards[at].name;
    if (!facts || !facts->mosaic.present)
        return false;
    if (strcmp(facts->mosaic.cluster, work->model->name) != 0) {
        finding_add(work->findings, true, name, "",
                    "correct the conninfo, or the cluster's name; if that cluster is gone: DROP SCHEMA mosaic CASCADE",
                    "this database belongs to cluster %s", facts->mosaic.cluster);
        return false;
    }
    if (strcmp(facts->mosaic.shard, name) == 0)
        return false;
    if (model_index(work->model, facts->mosaic.shard) != SIZE_MAX) {
        finding_add(work->findings, true, name, "", "correct the conninfo", "this database is shard %s",
                    facts->mosaic.shard);
        return false;
    }
    if (facts->prepared)
        finding_add(work->findings, true, name, "", "run pgmosaic doctor first",
                    "it was shard %s, and %" PRIu64 " transactions of that name are in doubt", facts->mosaic.shard,
                    facts->prepared);
    return true;
}

static void match_shards(struct work *work)
{
    const struct model *model = work->model;
    for (size_t i = 0; i < work->state->shard_count; i++)
        work->to_model[i] = model_index(model, work->state->shards[i].name);
    for (size_t at = 0; at < model->shard_count; at++) {
        if (!check_identity(work, at))
            continue;
        size_t before = state_shard(work->state, work->input->facts[at]->mosaic.shard);
        if (before == SIZE_MAX || state_shard(work->state, model->shards[at].name) != SIZE_MAX)
            continue;
        work->to_model[before] = at;
        work->difference->catalog_changes = true;
        plan(work, "~ shard %s is now called %s", work->state->shards[before].name, model->shards[at].name);
    }
}

static int free_shard_id(const struct work *work, size_t made)
{
    for (int id = 0;; id++) {
        bool used = false;
        for (size_t i = 0; i < work->state->shard_count; i++)
            used |= work->state->shards[i].id == id;
        for (size_t i = 0; i < made; i++)
            used |= work->difference->wanted.shards[i].id == id;
        if (!used)
            return id;
    }
}

/* A prepared transaction that names its decider cannot be settled once that shard has left the config. */
static void check_deciders(struct work *work, const char *removed)
{
    char part[80];
    snprintf(part, sizeof part, ":%s:", removed);
    for (size_t at = 0; at < work->model->shard_count; at++) {
        const struct shard_facts *facts = work->input->facts[at];
        for (size_t i = 0; facts && i < facts->prepared_gid_count; i++)
            if (strstr(facts->prepared_gids[i], part))
                finding_add(work->findings, true, facts->shard, "", "run pgmosaic doctor before removing the shard",
                            "transaction %s is in doubt, and shard %s decides it", facts->prepared_gids[i], removed);
    }
}

/* The tables that keep a removed shard from going: "users 256, members 1024". */
static const char *owned_tables(struct work *work, size_t shard)
{
    char text[1024] = "";
    for (size_t i = 0; i < work->state->table_count; i++) {
        const struct colocation *group = work->state->tables[i].colocation;
        uint32_t owned = 0;
        for (uint32_t bucket = 0; group && bucket < group->buckets; bucket++)
            owned += group->owners[bucket] == shard;
        size_t used = strlen(text);
        if (owned)
            snprintf(text + used, sizeof text - used, "%s%s %u", used ? ", " : "", work->state->tables[i].name, owned);
    }
    return finding_text(work->findings, "%s", text);
}

static mosaic_status make_shards(struct work *work)
{
    const struct model *model = work->model;
    struct catalog_state *wanted = &work->difference->wanted;
    wanted->shards = arena_zeroed(work->arena, model->shard_count, sizeof *wanted->shards);
    wanted->shard_count = model->shard_count;
    if (!wanted->shards)
        return error_memory(work->error);
    for (size_t at = 0; at < model->shard_count; at++) {
        struct catalog_shard *shard = &wanted->shards[at];
        const struct shard_facts *facts = work->input->facts[at];
        size_t before = 0;
        char address[400];
        while (before < work->state->shard_count && work->to_model[before] != at)
            before++;
        bool known = before < work->state->shard_count;
        address_of(&model->shards[at], address, sizeof address);
        *shard = (struct catalog_shard){
            .id = known ? work->state->shards[before].id : free_shard_id(work, at),
            .name = model->shards[at].name,
            .address = arena_string(work->arena, address),
            .identity = facts ? facts->identity : "",
        };
        if (!shard->address)
            return error_memory(work->error);
        if (!known) {
            plan(work, "+ shard %s at %s", shard->name, shard->address);
            work->difference->catalog_changes = true;
        } else if (*shard->identity && *work->state->shards[before].identity &&
                   strcmp(shard->identity, work->state->shards[before].identity) != 0 && !facts->mosaic.present) {
            finding_add(work->findings, true, shard->name, "",
                        "correct the conninfo; after a restore, bring back schema mosaic too",
                        "this is another database than the one that was applied as %s", shard->name);
        }
    }
    for (size_t i = 0; i < work->state->shard_count; i++) {
        const char *name = work->state->shards[i].name;
        if (work->to_model[i] != SIZE_MAX)
            continue;
        if (state_owned(work->state, i))
            finding_add(work->findings, true, "", "", "put it back; its buckets have to move first",
                        "shard %s is not in the config and owns buckets (%s)", name, owned_tables(work, i));
        check_deciders(work, name);
        plan(work, "- shard %s, which owns no bucket; its rows of reference tables stay there", name);
        work->difference->catalog_changes = true;
    }
    return MOSAIC_OK;
}

/* ---- tables ---- */

static void refuse_table(struct work *work, const struct table *table, const char *fix, const char *what,
                         const char *was, const char *is)
{
    finding_add(work->findings, true, "", table->display, fix, "line %d: %s was applied as %s, the config says %s",
                table->line, what, was, is);
}

static const char *joined(struct work *work, const char *const *list, size_t count)
{
    char text[1024] = "";
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%s", i ? ", " : "", list[i]);
    }
    return finding_text(work->findings, "%s", text);
}

static const char reload_fix[] =
    "what is applied cannot change: take the table out of the config, apply, put it back as it is to be, and apply";

/* Does the config of an applied table say what was applied? */
static bool check_applied(struct work *work, const struct table *table, const struct catalog_table *applied)
{
    const struct rule *rule = &table->rule;
    size_t before = work->findings->fatal;
    if (table->kind != applied->kind) {
        refuse_table(work, table, reload_fix, "the kind", table_kind_name(applied->kind), table_kind_name(table->kind));
        return false;
    }
    if (table->kind == TABLE_REFERENCE)
        return true;
    const struct colocation *group = applied->colocation;
    if (!state_same_texts(table->columns, table->column_count, applied->columns, applied->column_count))
        refuse_table(work, table, reload_fix, "the sharding key", joined(work, applied->columns, applied->column_count),
                     joined(work, table->columns, table->column_count));
    for (size_t i = 0; i < applied->column_count && i < table->column_count; i++)
        if (strcmp(state_key_class(applied->types[i]), state_key_class(rule->types[i])) != 0)
            refuse_table(work, table, "change the column's type back", "the key's type", type_name(applied->types[i]),
                         type_name(rule->types[i]));
    if (rule->function != group->function)
        refuse_table(work, table, reload_fix, "the sharding function", function_name(group->function),
                     function_name(rule->function));
    else if (rule->bound_texts &&
             (rule->buckets != group->buckets ||
              !state_same_texts(rule->bound_texts, state_bound_count(rule), group->bounds, group->bound_count)))
        refuse_table(work, table, reload_fix, "its ranges or lists", joined(work, group->bounds, group->bound_count),
                     joined(work, rule->bound_texts, state_bound_count(rule)));
    else if (rule->buckets && rule->buckets != group->buckets)
        refuse_table(work, table, "the number of buckets never changes: put it back, or leave it out", "buckets",
                     finding_text(work->findings, "%u", group->buckets),
                     finding_text(work->findings, "%u", rule->buckets));
    for (uint32_t bucket = 0; before == work->findings->fatal && table->listed_owners && bucket < rule->buckets;
         bucket++) {
        size_t owner = work->to_model[group->owners[bucket]];
        if (owner != table->listed_owners[bucket] && owner != SIZE_MAX)
            refuse_table(work, table, "put it back: rows do not move by apply",
                         finding_text(work->findings, "the shard of entry %u", bucket + 1),
                         work->model->shards[owner].name, work->model->shards[table->listed_owners[bucket]].name);
    }
    return before == work->findings->fatal;
}

/* The initial owners of a new colocation; NULL when memory is out. */
static const uint16_t *initial_owners(struct work *work, const struct table *table)
{
    const struct model *model = work->model;
    bool equal = true;
    if (table->listed_owners)
        return table->listed_owners;
    uint32_t *weights = arena_zeroed(work->arena, model->shard_count, sizeof *weights);
    if (!weights)
        return NULL;
    for (size_t i = 0; i < model->shard_count; i++) {
        weights[i] = model->shards[i].weight;
        equal &= weights[i] == weights[0];
    }
    uint32_t shards = (uint32_t)model->shard_count;
    const struct map *map = map_initial(work->arena, table->rule.buckets, shards, 1);
    if (map && !equal)
        map = map_rebalance(work->arena, map, shards, weights);
    return map ? map->owner : NULL;
}

/* Could the table share this colocation's map? Owners are in terms of the model. */
static bool may_share(const struct table *table, const struct colocation *group)
{
    const struct rule *rule = &table->rule;
    if (rule->function != group->function || rule->columns != group->columns ||
        (rule->buckets && rule->buckets != group->buckets) ||
        !state_same_texts(rule->bound_texts, state_bound_count(rule), group->bounds, group->bound_count))
        return false;
    for (size_t i = 0; i < rule->columns; i++)
        if (strcmp(state_key_class(rule->types[i]), group->key_class[i]) != 0)
            return false;
    for (uint32_t bucket = 0; table->listed_owners && bucket < group->buckets; bucket++)
        if (table->listed_owners[bucket] != group->owners[bucket])
            return false;
    return true;
}

static mosaic_status translate_colocation(struct work *work, const struct colocation *from, struct colocation *group)
{
    uint16_t *owners = arena_zeroed(work->arena, from->buckets, sizeof *owners);
    if (!owners)
        return error_memory(work->error);
    for (uint32_t bucket = 0; bucket < from->buckets; bucket++) {
        size_t at = work->to_model[from->owners[bucket]];
        owners[bucket] = at == SIZE_MAX ? 0 : (uint16_t)at; /* a removed owner is a finding already */
    }
    *group = *from;
    group->owners = owners;
    return MOSAIC_OK;
}

static mosaic_status make_colocation(struct work *work, struct table *table, struct colocation **made)
{
    struct catalog_state *wanted = &work->difference->wanted;
    struct rule *rule = &table->rule;
    *made = NULL;
    if (!rule->buckets)
        rule->buckets = rule_default_buckets(rule->function, work->model->shard_count);
    mosaic_status status = catalog_fill_bounds(work->model, table, work->error);
    if (status == MOSAIC_OK)
        status = rule_check(rule, work->model->shard_count, work->error);
    if (status == MOSAIC_MEMORY)
        return status;
    if (status != MOSAIC_OK) {
        const char *what =
            work->error ? finding_text(work->findings, "%s", work->error->message) : "its rule is not usable";
        const char *fix = work->error ? finding_text(work->findings, "%s", work->error->hint) : "";
        finding_add(work->findings, true, "", table->display, fix, "line %d: %s", table->line, what);
        return MOSAIC_OK;
    }
    const char **classes = arena_zeroed(work->arena, rule->columns, sizeof *classes);
    const uint16_t *owners = initial_owners(work, table);
    if (!classes || !owners)
        return error_memory(work->error);
    int id = 1;
    for (size_t i = 0; i < wanted->colocation_count; i++)
        if (wanted->colocations[i].id >= id)
            id = wanted->colocations[i].id + 1;
    for (size_t i = 0; i < rule->columns; i++)
        classes[i] = state_key_class(rule->types[i]);
    *made = &wanted->colocations[wanted->colocation_count++];
    **made = (struct colocation){
        id, rule->function, classes, rule->columns, rule->bound_texts, state_bound_count(rule), owners, rule->buckets};
    return MOSAIC_OK;
}

/* The colocation of a table: the applied one, one that it can share, or a new one. *found is NULL after a finding. */
static mosaic_status find_colocation(struct work *work, struct table *table, const struct catalog_table *applied,
                                     struct colocation **found)
{
    struct catalog_state *wanted = &work->difference->wanted;
    *found = NULL;
    if (applied) {
        *found = &wanted->colocations[applied->colocation - work->state->colocations];
        return MOSAIC_OK;
    }
    for (size_t i = 0; i < wanted->colocation_count && !*found; i++)
        if (may_share(table, &wanted->colocations[i]))
            *found = &wanted->colocations[i];
    return *found ? MOSAIC_OK : make_colocation(work, table, found);
}

static void plan_new_table(struct work *work, const struct table *table)
{
    if (table->kind == TABLE_REFERENCE) {
        plan(work, "+ table %s: reference, a full copy on every shard", table->display);
        return;
    }
    char owners[1024] = "";
    for (size_t i = 0; i < work->model->shard_count; i++) {
        size_t used = strlen(owners);
        snprintf(owners + used, sizeof owners - used, "%s%s %u", i ? ", " : "", work->model->shards[i].name,
                 map_count(table->map, (uint32_t)i));
    }
    plan(work, "+ table %s: sharded by %s, %s, %u buckets (%s)", table->display,
         joined(work, table->columns, table->column_count), function_name(table->rule.function), table->rule.buckets,
         owners);
}

/* Completes the model's table by its colocation. */
static mosaic_status complete_table(struct work *work, struct table *table, const struct colocation *group)
{
    struct map *map = arena_allocate(work->arena, sizeof *map);
    if (!map)
        return error_memory(work->error);
    *map = (struct map){work->difference->epoch_before + 1, group->buckets, (uint32_t)work->model->shard_count,
                        group->owners};
    table->rule.buckets = group->buckets;
    table->map = map;
    return table->rule.bounds ? MOSAIC_OK : catalog_fill_bounds(work->model, table, work->error);
}

static mosaic_status make_table(struct work *work, size_t at)
{
    struct catalog_state *wanted = &work->difference->wanted;
    struct table *table = &work->model->tables[at];
    const struct catalog_table *applied = state_table(work->state, table->schema, table->name);
    struct colocation *group = NULL;
    bool sharded = table->kind == TABLE_SHARDED;
    if ((sharded && !work->input->types_known[at]) || (applied && !check_applied(work, table, applied)))
        return MOSAIC_OK; /* a finding tells why */
    if (sharded) {
        mosaic_status status = find_colocation(work, table, applied, &group);
        if (status == MOSAIC_OK && group)
            status = complete_table(work, table, group);
        if (status != MOSAIC_OK || !group)
            return status;
    }
    struct catalog_table *into = &wanted->tables[wanted->table_count++];
    *into = (struct catalog_table){table->schema, table->name,         table->kind, table->columns,
                                   {0},           table->column_count, group};
    memcpy(into->types, table->rule.types, sizeof into->types);
    if (!applied) {
        plan_new_table(work, table);
        grow_plan(work->input, at, &work->difference->plan);
        work->difference->catalog_changes = true;
    }
    for (size_t i = 0; applied && i < table->column_count; i++) {
        if (applied->types[i] == table->rule.types[i])
            continue;
        plan(work, "~ table %s: key column %s is now %s, was %s", table->display, table->columns[i],
             type_name(table->rule.types[i]), type_name(applied->types[i]));
        work->difference->catalog_changes = true;
    }
    return MOSAIC_OK;
}

/* A foreign key by the key holds on each shard only between tables of one map. */
static void check_colocation(struct work *work, const struct catalog_table *table, const struct table_facts *facts)
{
    for (size_t i = 0; i < facts->constraint_count; i++) {
        const struct constraint_facts *constraint = &facts->constraints[i];
        if (constraint->type != 'f')
            continue;
        const struct catalog_table *other =
            state_table(&work->difference->wanted, constraint->foreign_schema, constraint->foreign_table);
        if (other && other->kind == TABLE_SHARDED && table->kind == TABLE_SHARDED &&
            other->colocation != table->colocation)
            finding_add(work->findings, true, "", table->name, "give both the same function and buckets, or drop it",
                        "foreign key %s references %s, which is not colocated: equal keys stand on different shards",
                        constraint->name, other->name);
    }
}

/* ---- the whole ---- */

static void add_name(char *names, size_t size, const char *name)
{
    size_t used = strlen(names);
    snprintf(names + used, size - used, "%s%s", used ? ", " : "", name);
}

static void make_shard_changes(struct work *work)
{
    struct difference *difference = work->difference;
    char behind[1024] = "";
    for (size_t i = 0; i < work->model->shard_count; i++) {
        const struct shard_facts *facts = work->input->facts[i];
        const char *name = work->model->shards[i].name;
        if (!facts)
            continue;
        bool missing = !facts->mosaic.present;
        bool differs =
            !missing && (facts->mosaic.epoch != difference->epoch_before || strcmp(facts->mosaic.shard, name) != 0 ||
                         strcmp(facts->mosaic.catalog, work->model->shards[work->input->catalog_shard].name) != 0);
        difference->shard_changes[i] =
            missing || differs || facts->epoch_hidden || facts->cannot_decide || difference->catalog_changes;
        if (differs && !difference->catalog_changes)
            add_name(behind, sizeof behind, name);
    }
    if (*behind)
        plan(work, "~ epoch %" PRIu64 " on %s", difference->epoch_before, behind);
}

static void plan_schema(struct work *work)
{
    char made[1024] = "", shown[1024] = "", decide[1024] = "";
    for (size_t i = 0; i < work->model->shard_count; i++) {
        const struct shard_facts *facts = work->input->facts[i];
        if (facts && !facts->mosaic.present)
            add_name(made, sizeof made, work->model->shards[i].name);
        if (facts && facts->epoch_hidden)
            add_name(shown, sizeof shown, work->model->shards[i].name);
        if (facts && facts->cannot_decide)
            add_name(decide, sizeof decide, work->model->shards[i].name);
    }
    if (*made)
        plan(work, "+ schema mosaic on %s", made);
    if (*shown)
        plan(work, "+ every role may read mosaic.epoch on %s", shown);
    if (*decide)
        plan(work, "+ functions mosaic.decide and mosaic.forget on %s", decide);
}

static void check_engine(struct work *work)
{
    if (work->input->state && strcmp(work->state->engine, engine_name(work->model->engine)) != 0)
        finding_add(work->findings, true, "", "", "put the engine back",
                    "the cluster was applied with engine %s, the config says %s", work->state->engine,
                    engine_name(work->model->engine));
    if (work->input->state && strcmp(work->state->cluster, work->model->name) != 0)
        finding_add(work->findings, true, "", "", "put the name back",
                    "the cluster was applied as %s, the config calls it %s", work->state->cluster, work->model->name);
}

static mosaic_status make_tables(struct work *work)
{
    struct catalog_state *wanted = &work->difference->wanted;
    size_t most = work->state->colocation_count + work->model->table_count;
    wanted->colocations = arena_zeroed(work->arena, most, sizeof *wanted->colocations);
    wanted->tables = arena_zeroed(work->arena, work->model->table_count, sizeof *wanted->tables);
    if (!wanted->colocations || !wanted->tables)
        return error_memory(work->error);
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < work->state->colocation_count && status == MOSAIC_OK; i++)
        status =
            translate_colocation(work, &work->state->colocations[i], &wanted->colocations[wanted->colocation_count++]);
    for (size_t at = 0; at < work->model->table_count && status == MOSAIC_OK; at++)
        status = make_table(work, at);
    for (size_t i = 0; i < work->state->table_count && status == MOSAIC_OK; i++) {
        const struct catalog_table *table = &work->state->tables[i];
        bool listed = false;
        for (size_t at = 0; at < work->model->table_count; at++)
            listed |= strcmp(work->model->tables[at].schema, table->schema) == 0 &&
                      strcmp(work->model->tables[at].name, table->name) == 0;
        if (listed)
            continue;
        plan(work, "- table %s: its rule goes; it is a home table", table->name);
        homeward_plan(work->input, table, &work->difference->plan);
        work->difference->catalog_changes = true;
    }
    for (size_t at = 0; at < work->model->table_count && status == MOSAIC_OK; at++) {
        const struct table *table = &work->model->tables[at];
        const struct catalog_table *made = state_table(wanted, table->schema, table->name);
        const struct shard_facts *home = work->input->facts[work->input->catalog_shard];
        if (made && home)
            check_colocation(work, made, &home->tables[at]);
    }
    return status;
}

mosaic_status difference_make(const struct difference_input *input, struct arena *arena, struct difference *difference,
                              struct findings *findings, mosaic_error *error)
{
    static const struct catalog_state nothing;
    struct work work = {.input = input,
                        .model = input->model,
                        .state = input->state ? input->state : &nothing,
                        .arena = arena,
                        .difference = difference,
                        .findings = findings,
                        .error = error};
    *difference = (struct difference){.epoch_before = work.state->epoch, .plan = BUFFER_INIT(PLAN_MOST)};
    difference->wanted.cluster = input->model->name;
    difference->wanted.engine = engine_name(input->model->engine);
    difference->catalog_changes = !input->state;
    difference->shard_changes = arena_zeroed(arena, input->model->shard_count, sizeof *difference->shard_changes);
    work.to_model = arena_zeroed(arena, work.state->shard_count, sizeof *work.to_model);
    if (!difference->shard_changes || !work.to_model)
        return error_memory(error);
    check_engine(&work);
    plan_schema(&work);
    match_shards(&work);
    mosaic_status status = make_shards(&work);
    if (status == MOSAIC_OK)
        status = make_tables(&work);
    if (status == MOSAIC_OK)
        status = owner_works(input, arena, difference, error);
    if (status == MOSAIC_OK)
        status = sequence_plan(input, arena, difference, findings, error);
    if (status != MOSAIC_OK)
        return status;
    make_shard_changes(&work);
    grow_plan_leftovers(input, difference);
    status = ids_plan(input, arena, difference, error);
    if (status != MOSAIC_OK)
        return status;
    difference->wanted.epoch = difference->epoch_before + difference->catalog_changes;
    return buffer_failed(&difference->plan) ? error_memory(error) : MOSAIC_OK;
}

bool difference_is_empty(const struct difference *difference)
{
    return difference->plan.size == 0;
}
