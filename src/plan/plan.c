#include "plan/plan.h"

#include "base/error.h"
#include "plan/keys.h"
#include "plan/prune.h"
#include "plan/scatter.h"
#include "plan/stream.h"
#include "plan/write.h"

#include <stdio.h>
#include <string.h>

struct planning {
    const struct facts *facts;
    const struct plan_input *input;
    const struct model *model;
    struct arena *arena;
    struct plan *plan;
    mosaic_error *error; /* of the refusal */
    bool bound;          /* a key has decided on plan->shard */
};

enum step { GO_ON, REFUSED, OUT_OF_MEMORY };

static enum step refuse(struct planning *planning)
{
    planning->plan->kind = PLAN_REFUSED;
    planning->plan->error = planning->error;
    return REFUSED;
}

/* What stands in the config and was never applied, or is no more: nobody knows which shard has which of its rows. */
static enum step refuse_unmapped(struct planning *planning, const struct table *table)
{
    error_set(planning->error, MOSAIC_PREFLIGHT,
              "table %s has no map: the config names it, and the cluster's catalog does not", table->display);
    error_hint(planning->error, "run pgmosaic apply; or take it out of the config, if it has come home");
    error_sqlstate(planning->error, "55000");
    return refuse(planning);
}

/* One more key of the statement: it must be where the others are. */
static enum step note_key(struct planning *planning, const struct table *table, const struct key_value *key,
                          bool assigned)
{
    struct plan *plan = planning->plan;
    uint32_t bucket = 0;
    uint16_t shard = 0;
    mosaic_status status = keys_shard(table, key, &bucket, &shard, planning->error);
    if (status != MOSAIC_OK && !assigned)
        return GO_ON; /* list: no row has this key */
    if (status != MOSAIC_OK)
        return error_sqlstate(planning->error, "23514"), refuse(planning);
    if (planning->bound && plan->shard != shard) {
        error_set(planning->error, MOSAIC_UNSUPPORTED, "the statement's keys are on more than one shard: %s and %s",
                  planning->model->shards[plan->shard].name, planning->model->shards[shard].name);
        error_detail(planning->error, "%s decided for %s, a key of %s is on %s.", plan->relation,
                     planning->model->shards[plan->shard].name, table->display, planning->model->shards[shard].name);
        error_hint(planning->error, "split it into one statement for each key");
        error_sqlstate(planning->error, "0A000");
        return refuse(planning);
    }
    plan->bucket = !planning->bound || plan->bucket == bucket ? bucket : PLAN_NO_BUCKET;
    if (!planning->bound)
        plan->relation = table->display;
    plan->shard = shard;
    planning->bound = true;
    return GO_ON;
}

static enum step step_of(struct planning *planning, enum keys_outcome outcome)
{
    if (outcome == KEYS_MEMORY)
        return OUT_OF_MEMORY;
    return outcome == KEYS_REFUSED ? refuse(planning) : GO_ON;
}

static enum keys_outcome visit(void *state, const struct table *table, const struct key_value *key, bool assigned)
{
    return note_key(state, table, key, assigned) == GO_ON ? KEYS_READ : KEYS_REFUSED;
}

static struct keys_input keys_input(struct planning *planning)
{
    return (struct keys_input){planning->facts, planning->input, planning->arena, planning->error};
}

static enum step plan_keys(struct planning *planning, const struct fact_relation *fact)
{
    struct keys_input input = keys_input(planning);
    return step_of(planning, keys_each(&input, fact, visit, planning));
}

static enum step refuse_change(struct planning *planning, const struct fact_relation *fact)
{
    error_set(planning->error, MOSAIC_UNSUPPORTED, "the statement changes the key of a row of %s",
              fact->relation->table->display);
    error_detail(planning->error, "A row whose key changes may belong to another shard.");
    error_hint(planning->error, "delete the row and insert it with its new key");
    error_sqlstate(planning->error, "0A000");
    return refuse(planning);
}

static enum step shard_of(struct planning *planning, const struct fact_relation *fact, const struct key_value *key,
                          uint16_t *shard)
{
    uint32_t bucket;
    if (keys_shard(fact->relation->table, key, &bucket, shard, planning->error) == MOSAIC_OK)
        return GO_ON;
    error_sqlstate(planning->error, "23514");
    return refuse(planning);
}

/* UPDATE … SET key: the shard of the one key that rows have must be that of the one that they get. */
static enum step check_new_key(struct planning *planning, const struct fact_relation *fact)
{
    struct key_value before[KEY_COLUMNS_MAX], after[KEY_COLUMNS_MAX];
    bool none_before, none_after;
    size_t columns = fact->keys.columns;
    if (!fact->new_keys.columns)
        return GO_ON;
    if (fact->keys.alternatives != 1 || fact->keys.values[0].is_array || fact->new_keys.alternatives != 1)
        return refuse_change(planning, fact);
    struct keys_input input = keys_input(planning);
    enum step step =
        step_of(planning, keys_row(&input, fact->relation, fact->keys.values, columns, before, &none_before));
    if (step == GO_ON)
        step = step_of(planning, keys_row(&input, fact->relation, fact->new_keys.values, columns, after, &none_after));
    if (step != GO_ON || none_before)
        return step;
    bool same = !none_after;
    for (size_t i = 0; same && i < columns; i++)
        same = key_compare(&before[i], &after[i]) == 0;
    uint16_t from = 0, to = 0;
    if (same)
        return GO_ON;
    if (none_after || shard_of(planning, fact, before, &from) != GO_ON)
        return refuse_change(planning, fact);
    step = shard_of(planning, fact, after, &to);
    if (step == GO_ON && from != to)
        return refuse_change(planning, fact);
    planning->plan->bucket = PLAN_NO_BUCKET;
    return step;
}

static enum step refuse_unbound(struct planning *planning, const struct fact_relation *fact)
{
    error_set(planning->error, MOSAIC_UNSUPPORTED, "it is not proved that one shard has all the statement needs of %s",
              fact->relation->table->display);
    error_detail(planning->error, "%s", fact->missing ? fact->missing : "Nothing bounds it to a key.");
    error_hint(planning->error, "%s", fact->remedy ? fact->remedy : "Name the key in the WHERE.");
    error_sqlstate(planning->error, "0A000");
    return refuse(planning);
}

static enum step find_maps(struct planning *planning)
{
    for (size_t i = 0; i < planning->facts->relation_count; i++) {
        const struct schema_relation *relation = planning->facts->relations[i].relation;
        if (relation->placement == PLACE_SHARDED && !relation->table->map)
            return refuse_unmapped(planning, relation->table);
    }
    return GO_ON;
}

static enum step plan_relations(struct planning *planning)
{
    const struct facts *facts = planning->facts;
    for (size_t i = 0; i < facts->relation_count; i++) {
        const struct fact_relation *fact = &facts->relations[i];
        enum step step = GO_ON;
        if (fact->relation->placement == PLACE_REFERENCE && fact->is_written) {
            error_set(planning->error, MOSAIC_UNSUPPORTED,
                      "%s is a reference table: its rows would be locked or written on "
                      "one shard alone",
                      fact->relation->table->display);
            error_sqlstate(planning->error, "0A000");
            error_hint(planning->error,
                       "write to it with pgmosaic exec --all; or name the tables to lock: FOR UPDATE OF");
            return refuse(planning);
        }
        if (fact->relation->placement != PLACE_SHARDED)
            continue;
        step = fact->is_bound ? plan_keys(planning, fact) : refuse_unbound(planning, fact);
        if (step == GO_ON)
            step = check_new_key(planning, fact);
        if (step != GO_ON)
            return step;
    }
    return GO_ON;
}

/* The home table, for a message; NULL: a function, or a relation that is not known. */
static const char *home_relation(const struct facts *facts)
{
    for (size_t i = 0; i < facts->relation_count; i++)
        if (facts->relations[i].relation->placement == PLACE_HOME ||
            facts->relations[i].relation->placement == PLACE_SYSTEM)
            return facts->relations[i].relation->name;
    return NULL;
}

static enum step conclude(struct planning *planning)
{
    struct plan *plan = planning->plan;
    const struct facts *facts = planning->facts;
    size_t home = planning->input->schema->home;
    if (planning->bound && facts->needs_home && plan->shard != home) {
        const char *name = home_relation(facts);
        error_set(
            planning->error, MOSAIC_UNSUPPORTED, "the statement needs rows of shard %s, and %s of the home shard %s",
            planning->model->shards[plan->shard].name, name ? name : "something", planning->model->shards[home].name);
        error_hint(planning->error, "ask for both in two statements, or make %s a reference table", name ? name : "it");
        error_sqlstate(planning->error, "0A000");
        return refuse(planning);
    }
    plan->kind = planning->bound || facts->needs_home || facts->is_write ? PLAN_SHARD : PLAN_ANY;
    if (!planning->bound)
        plan->shard = (uint16_t)home;
    return GO_ON;
}

/* ---- hints ---- */

static const struct schema_relation *hinted_relation(const struct planning *planning, const struct table *table)
{
    for (size_t i = 0; i < planning->facts->relation_count; i++) {
        const struct schema_relation *relation = planning->facts->relations[i].relation;
        if (relation->placement == PLACE_SHARDED && (!table || relation->table == table))
            return relation;
    }
    return table ? schema_relation(planning->input->schema, table->schema, table->name) : NULL;
}

/* The next part of a key in CSV; *at moves behind its comma. */
static const char *key_part(struct arena *arena, const char **at, size_t *size)
{
    char *part = arena_allocate(arena, strlen(*at) + 1);
    bool quoted = **at == '"';
    *size = 0;
    if (!part)
        return NULL;
    for (*at += quoted; **at && (quoted || **at != ','); ++*at) {
        if (quoted && **at == '"') {
            if ((*at)[1] != '"') {
                ++*at;
                break;
            }
            ++*at;
        }
        part[(*size)++] = **at;
    }
    *at += **at == ',';
    return part;
}

static enum step hint_key(struct planning *planning, const struct plan_hint *hint)
{
    const struct table *table = hint->table ? model_table(planning->model, hint->table) : NULL;
    const struct schema_relation *relation = hinted_relation(planning, table);
    if (!relation || !relation->table) {
        error_set(planning->error, MOSAIC_USAGE, "the hint's key is of no sharded table of the statement");
        error_hint(planning->error, "name the table: SET mosaic.table, or table=NAME in the comment");
        error_sqlstate(planning->error, "22023");
        return refuse(planning);
    }
    if (!relation->table->map)
        return refuse_unmapped(planning, relation->table);
    struct key_value key[KEY_COLUMNS_MAX];
    const char *at = hint->key;
    size_t columns = relation->table->column_count;
    for (size_t i = 0; i < columns; i++) {
        size_t size = strlen(at);
        const char *part = columns == 1 ? at : key_part(planning->arena, &at, &size);
        if (!part)
            return OUT_OF_MEMORY;
        mosaic_status status = key_from_text(relation->table->rule.types[i], relation->table->columns[i], part, size,
                                             planning->arena, &key[i], planning->error);
        if (status != MOSAIC_OK)
            return status == MOSAIC_MEMORY ? OUT_OF_MEMORY : refuse(planning);
    }
    return note_key(planning, relation->table, key, true);
}

/* A person knows better: nothing is proved. */
static enum step plan_hinted(struct planning *planning, const struct plan_hint *hint)
{
    if (hint->key) {
        enum step step = hint_key(planning, hint);
        if (step == GO_ON)
            planning->plan->kind = PLAN_SHARD;
        return step;
    }
    size_t shard = model_shard(planning->model, hint->shard);
    if (shard == SIZE_MAX) {
        error_set(planning->error, MOSAIC_USAGE, "the hint names shard \"%s\", which the cluster does not have",
                  hint->shard);
        error_sqlstate(planning->error, "22023");
        return refuse(planning);
    }
    planning->plan->kind = PLAN_SHARD;
    planning->plan->shard = (uint16_t)shard;
    return GO_ON;
}

static enum step refuse_as_facts_say(struct planning *planning)
{
    const struct fact_refusal *refusal = planning->facts->refusal;
    bool unreadable = planning->facts->class == STATEMENT_UNREADABLE;
    error_set(planning->error, MOSAIC_UNSUPPORTED, unreadable ? "%s" : "not supported over several shards: %s",
              refusal->message);
    if (refusal->detail)
        error_detail(planning->error, "%s", refusal->detail);
    if (refusal->hint)
        error_hint(planning->error, "%s", refusal->hint);
    error_sqlstate(planning->error, refusal->sqlstate);
    return refuse(planning);
}

/* What is for every shard is no single one's: try_write has it, where it can be done. */
static enum step refuse_alone(struct planning *planning)
{
    error_set(planning->error, MOSAIC_UNSUPPORTED, "%s that belongs to every shard",
              statement_class_name(planning->facts->class));
    error_hint(planning->error, "send it by itself, not in a text with other statements; or run it with "
                                "pgmosaic exec --all");
    error_sqlstate(planning->error, "0A000");
    return refuse(planning);
}

static enum step make(struct planning *planning)
{
    const struct plan_hint *hint = planning->input->hint;
    const struct facts *facts = planning->facts;
    if (planning->model->shard_count == 1) {
        planning->plan->kind = PLAN_SHARD;
        return GO_ON;
    }
    if (hint && (hint->shard || hint->key) && facts->class != STATEMENT_UNREADABLE)
        return plan_hinted(planning, hint);
    if (find_maps(planning) == REFUSED)
        return REFUSED;
    if (facts->refusal)
        return refuse_as_facts_say(planning);
    if (facts->write && facts->write->spread == SPREAD_ALL)
        return refuse_alone(planning);
    enum step step = plan_relations(planning);
    return step == GO_ON ? conclude(planning) : step;
}

/*
 * The coordinator has every row as a foreign table's: a read that names what it has, and asks nothing of one server, it
 * answers as one PostgreSQL does. What one PostgreSQL would refuse too stays refused.
 */
static bool is_for_coordinator(const struct planning *planning)
{
    const struct facts *facts = planning->facts;
    bool reads =
        facts->class == STATEMENT_SELECT || facts->class == STATEMENT_EXPLAIN || facts->class == STATEMENT_COPY_TO;
    for (size_t i = 0; i < facts->relation_count; i++)
        reads &= !facts->relations[i].is_written;
    return reads && !facts->is_write && !facts->changes_session && (!facts->refusal || facts->is_unproved);
}

/* A sentence behind what the detail says already. */
static void add_detail(struct planning *planning, const char *sentence)
{
    char said[sizeof planning->error->detail + 2];
    size_t size = strlen(planning->error->detail);
    const char *end = size == 0 ? "" : planning->error->detail[size - 1] == '.' ? " " : ". ";
    snprintf(said, sizeof said, "%s%s", planning->error->detail, end);
    error_detail(planning->error, "%s%s", said, sentence);
}

/* A read that is not one shard's: each shard may answer for itself, and what they say make up the whole. */
static enum step try_scatter(struct planning *planning)
{
    struct keys_input input = keys_input(planning);
    mosaic_error ignored; /* why not one shard stays what is said */
    input.error = &ignored;
    const struct fact_scatter *scatter = planning->facts->scatter;
    bool locks = planning->facts->class == STATEMENT_SELECT && planning->facts->is_write;
    if (!scatter && locks && planning->facts->scatter_cannot && planning->input->has_scatter) {
        char sentence[256];
        snprintf(sentence, sizeof sentence, "Several shards cannot lock rows: %s.", planning->facts->scatter_cannot);
        add_detail(planning, sentence);
        if (planning->facts->write_remedy)
            error_hint(planning->error, "%s", planning->facts->write_remedy);
    }
    bool keeps = planning->facts->class == STATEMENT_DECLARE && !planning->facts->declares_plain;
    if (!scatter && keeps && planning->input->has_scatter && strcmp(planning->error->sqlstate, "0A000") == 0) {
        add_detail(planning, "A cursor over several shards is not WITH HOLD, SCROLL or BINARY.");
        error_hint(planning->error, "Declare it in a transaction, without these words; or name the key in the WHERE.");
    }
    if (!scatter || !planning->input->has_scatter || (scatter->final && !planning->input->has_coordinator) ||
        strcmp(planning->error->sqlstate, "0A000") != 0)
        return GO_ON;
    return scatter_plan(&input, planning->plan) == KEYS_MEMORY ? OUT_OF_MEMORY : GO_ON;
}

/* A write that is not one shard's: several may do it. */
static enum step try_write(struct planning *planning)
{
    const struct facts *facts = planning->facts;
    mosaic_error error = {.message = ""};
    if (!planning->input->has_writes || strcmp(planning->error->sqlstate, "0A000") != 0)
        return GO_ON;
    if (!facts->write && facts->write_cannot) {
        char sentence[256];
        snprintf(sentence, sizeof sentence, "Several shards cannot do it: %s.", facts->write_cannot);
        add_detail(planning, sentence);
        if (facts->write_remedy)
            error_hint(planning->error, "%s", facts->write_remedy);
    }
    if (!facts->write)
        return GO_ON;
    struct keys_input input = keys_input(planning);
    input.error = &error;
    enum keys_outcome outcome = write_plan(&input, planning->plan);
    if (outcome == KEYS_REFUSED && *error.message)
        *planning->error = error;
    return outcome == KEYS_MEMORY ? OUT_OF_MEMORY : GO_ON;
}

/* INSERT of a query's rows that are not where they belong. */
static enum step try_stream(struct planning *planning)
{
    const struct facts *facts = planning->facts;
    const struct fact_stream *stream = facts->stream;
    bool is_insert = facts->class == STATEMENT_INSERT || (facts->class == STATEMENT_EXPLAIN && facts->explain_mosaic);
    mosaic_error error = {.message = ""};
    if (!stream || !is_insert || !planning->input->has_streams || strcmp(planning->error->sqlstate, "0A000") != 0)
        return GO_ON;
    if (stream->cannot) {
        char sentence[256];
        snprintf(sentence, sizeof sentence, "Its rows cannot be read first and stored then: %s.", stream->cannot);
        add_detail(planning, sentence);
        return GO_ON;
    }
    struct keys_input input = keys_input(planning);
    input.error = &error;
    enum keys_outcome outcome = stream_plan(&input, planning->plan);
    if (outcome == KEYS_REFUSED && *error.message)
        *planning->error = error;
    return outcome == KEYS_MEMORY ? OUT_OF_MEMORY : GO_ON;
}

/* A refused read: the coordinator takes it, or it is said why not. */
static void try_coordinator(struct planning *planning)
{
    const struct plan_input *input = planning->input;
    const struct fact_scatter *scatter = planning->facts->scatter;
    const char *cannot = planning->facts->coordinator_cannot;
    char sentence[sizeof planning->error->detail];
    bool answers = is_for_coordinator(planning);
    bool combines = input->has_scatter && scatter && scatter->final;
    if (!(answers || combines) || strcmp(planning->error->sqlstate, "0A000") != 0)
        return;
    if (answers && !cannot && input->has_coordinator) {
        planning->plan->kind = PLAN_COORDINATOR;
        return;
    }
    planning->plan->wants_coordinator = input->no_coordinator && (combines || !cannot);
    if (answers && cannot && (input->has_coordinator || input->no_coordinator))
        snprintf(sentence, sizeof sentence, "The coordinator cannot answer it: %s.", cannot);
    else if (input->no_coordinator)
        snprintf(sentence, sizeof sentence, "The coordinator could, but it is not ready: %s.", input->no_coordinator);
    else
        return;
    add_detail(planning, sentence);
}

/* The coordinator asks the shards of the keys alone. */
static enum step prune(struct planning *planning)
{
    struct keys_input input = keys_input(planning);
    mosaic_error ignored;
    input.error = &ignored;
    return prune_plan(&input, &planning->plan->pruned) == KEYS_MEMORY ? OUT_OF_MEMORY : GO_ON;
}

mosaic_status plan_make(const struct facts *facts, const struct plan_input *input, struct arena *arena,
                        struct plan *plan, mosaic_error *error)
{
    /* Only a refusal needs an error in the arena: it is large. */
    mosaic_error refusal;
    *plan = (struct plan){.bucket = PLAN_NO_BUCKET};
    struct planning planning = {facts, input, input->schema->model, arena, plan, &refusal, false};
    refusal.message[0] = '\0';
    if (make(&planning) == OUT_OF_MEMORY)
        return error_memory(error);
    if (plan->kind == PLAN_REFUSED && try_scatter(&planning) == OUT_OF_MEMORY)
        return error_memory(error);
    if (plan->kind == PLAN_REFUSED && try_write(&planning) == OUT_OF_MEMORY)
        return error_memory(error);
    if (plan->kind == PLAN_REFUSED && try_stream(&planning) == OUT_OF_MEMORY)
        return error_memory(error);
    if (plan->kind == PLAN_REFUSED)
        try_coordinator(&planning);
    if (plan->kind == PLAN_COORDINATOR && facts->pruning && prune(&planning) == OUT_OF_MEMORY)
        return error_memory(error);
    if (plan->kind != PLAN_SHARD && plan->kind != PLAN_ANY) {
        plan->error = arena_allocate(arena, sizeof *plan->error);
        if (!plan->error)
            return error_memory(error);
        *plan->error = refusal;
    }
    return MOSAIC_OK;
}
