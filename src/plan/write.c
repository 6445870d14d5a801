#include "plan/write.h"

#include "base/buffer.h"
#include "base/error.h"
#include "core/sqlexpr.h"
#include "plan/scatter.h"
#include "sql/moment.h"
#include "sql/rows.h"
#include "sql/words.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ID_DIGITS = 20, SIFTED_MOST = 1 << 26 };

/* ---- the present ---- */

/* Is it read as a date or time, as far as is known, and names a moment? */
static bool may_name_moment(const struct plan_value *value, const bool *stored, size_t stored_count, size_t index)
{
    if ((index < stored_count && stored[index]) || value->size < 0)
        return false;
    return !value->data || words_name_moment(value->data, (size_t)value->size);
}

static bool names_moment(const struct keys_input *input)
{
    const struct fact_write *write = input->facts->write;
    const struct plan_input *values = input->input;
    for (size_t i = 0; i < values->literal_count; i++)
        if (!values->literals[i].type &&
            may_name_moment(&values->literals[i], write->stored_literals, write->stored_literal_count, i))
            return true;
    for (size_t i = 0; i < values->parameter_count; i++)
        if (may_name_moment(&values->parameters[i], write->stored_parameters, write->stored_parameter_count, i))
            return true;
    return false;
}

/* ---- the same words for all ---- */

static enum keys_outcome find_owners(const struct keys_input *input, const uint16_t **shards, size_t *count)
{
    const struct fact_write *fact = input->facts->write;
    if (fact->spread == SPREAD_OWN || fact->spread == SPREAD_COPY)
        return scatter_shards(input, fact->driver, shards, count);
    *count = input->input->schema->model->shard_count;
    uint16_t *all = arena_allocate(input->arena, *count * sizeof *all);
    for (size_t i = 0; all && i < *count; i++)
        all[i] = (uint16_t)i;
    *shards = all;
    return all ? KEYS_READ : KEYS_MEMORY;
}

/* What this shard is told of: rows without a key are for all, whose columns refuse them. */
static bool sift(const struct keys_input *input, struct plan_write_part *part)
{
    const struct fact_write *fact = input->facts->write;
    const struct fact_sift *sift = fact->sift;
    const struct table *table = fact->target->table;
    struct buffer out = BUFFER_INIT(SIFTED_MOST);
    buffer_format(&out, "%s(SELECT * FROM %s WHERE ", sift->before, sift->source);
    for (size_t i = 0; i < table->column_count; i++)
        buffer_format(&out, "%s IS NULL OR ", sift->columns[i]);
    sql_owned(&out, &table->rule, sift->columns, table->map, part->shard);
    buffer_format(&out, ") AS %s%s", sift->alias, sift->after);
    part->size = out.size;
    part->text = buffer_failed(&out) ? NULL : arena_string(input->arena, buffer_string(&out));
    buffer_free(&out);
    return part->text;
}

static enum keys_outcome make_parts(const struct keys_input *input, struct plan_write *write)
{
    const struct fact_write *fact = input->facts->write;
    const struct plan_input *values = input->input;
    const uint16_t *shards;
    size_t count;
    enum keys_outcome outcome = find_owners(input, &shards, &count);
    struct plan_write_part *parts = arena_zeroed(input->arena, count + 1, sizeof *parts);
    if (outcome == KEYS_READ && !parts)
        return KEYS_MEMORY;
    for (size_t i = 0; outcome == KEYS_READ && i < count; i++) {
        parts[i] = (struct plan_write_part){
            .shard = shards[i], .text = values->text + fact->start, .size = values->size - fact->start};
        if (fact->pick)
            parts[i].text = fact->pick->peek, parts[i].size = strlen(fact->pick->peek);
        if (fact->sift && !sift(input, &parts[i]))
            return KEYS_MEMORY;
        if (fact->makes)
            parts[i].inside = fact->inside - fact->start;
        if (fact->others && shards[i] != values->schema->home)
            parts[i].text = fact->others, parts[i].size = strlen(fact->others);
        if (fact->move) {
            parts[i].text = i ? fact->move->put : fact->move->taken;
            parts[i].size = strlen(parts[i].text);
        }
    }
    write->parts = parts, write->part_count = count;
    write->move = fact->move;
    return outcome;
}

/* ---- rows ---- */

struct splitting {
    const struct keys_input *input;
    struct plan_write_part *parts; /* one a shard of the model, until all rows are dealt out */
    uint16_t *owners;              /* of each row */
    struct rows rows;
    uint16_t *numbers; /* that a part gives to the client's, from 1; 0: it has not met it */
};

static enum keys_outcome find_owner(const struct keys_input *input, size_t row, uint16_t *shard)
{
    const struct fact_relation *driver = input->facts->write->driver;
    const struct fact_keys *keys = &driver->keys;
    const struct table *table = driver->relation->table;
    struct key_value key[KEY_COLUMNS_MAX];
    bool none = false;
    uint32_t bucket;
    enum keys_outcome outcome = KEYS_READ;
    if (input->facts->write->made_key)
        key[0] = (struct key_value){.type = KEY_INT8, .integer = input->input->ids[row]};
    else
        outcome = keys_row(input, driver->relation, &keys->values[row * keys->columns], keys->columns, key, &none);
    if (outcome != KEYS_READ || none)
        return outcome == KEYS_READ ? KEYS_REFUSED : outcome;
    if (keys_shard(table, key, &bucket, shard, input->error) == MOSAIC_OK)
        return KEYS_READ;
    error_sqlstate(input->error, "23514");
    return KEYS_REFUSED;
}

/* Each shard's list of its rows. */
static enum keys_outcome deal_out(struct splitting *splitting)
{
    struct arena *arena = splitting->input->arena;
    size_t count = splitting->rows.count, shards = splitting->input->input->schema->model->shard_count;
    uint32_t *places = arena_allocate(arena, (count + 1) * sizeof *places), *at = places;
    uint32_t **ends = arena_zeroed(arena, shards, sizeof *ends);
    if (!places || !ends)
        return KEYS_MEMORY;
    for (size_t i = 0; i < count; i++)
        splitting->parts[splitting->owners[i]].row_count++;
    for (size_t i = 0; i < shards; i++) {
        splitting->parts[i].rows = ends[i] = at;
        at += splitting->parts[i].row_count;
    }
    for (size_t i = 0; i < count; i++)
        *ends[splitting->owners[i]]++ = (uint32_t)i;
    return KEYS_READ;
}

/* A part's text in the making: there is room for it. */
struct part_text {
    struct splitting *splitting;
    struct plan_write_part *part;
    uint16_t *parameters;
    char *text;
    size_t parameter; /* of the text, that comes next */
};

static void add_bytes(struct part_text *to, const char *bytes, size_t size)
{
    memcpy(to->text + to->part->size, bytes, size);
    to->part->size += size;
}

static void add_parameter(struct part_text *to, uint32_t number)
{
    uint16_t *own = &to->splitting->numbers[number];
    char digits[8];
    size_t size = sizeof digits;
    if (!*own) {
        to->parameters[to->part->parameter_count++] = (uint16_t)number;
        *own = (uint16_t)to->part->parameter_count;
    }
    for (uint32_t left = *own; left; left /= 10)
        digits[--size] = (char)('0' + left % 10);
    digits[--size] = '$';
    add_bytes(to, digits + size, sizeof digits - size);
}

/* A piece of the client's text, with the part's own numbers of parameters. */
static void add_piece(struct part_text *to, size_t start, size_t end)
{
    const struct rows *rows = &to->splitting->rows;
    const char *text = to->splitting->input->input->text;
    while (to->parameter < rows->parameter_count && rows->parameters[to->parameter].start < start)
        to->parameter++;
    for (; to->parameter < rows->parameter_count && rows->parameters[to->parameter].start < end; to->parameter++) {
        const struct row_parameter *parameter = &rows->parameters[to->parameter];
        add_bytes(to, text + start, parameter->start - start);
        add_parameter(to, parameter->number);
        start = parameter->end;
    }
    add_bytes(to, text + start, end - start);
}

/* How many bytes it has at most, and parameters. A number of the part's own may have more digits than the client's. */
static size_t text_most(const struct splitting *splitting, const struct plan_write_part *part, size_t *parameters)
{
    const struct row_piece *list = splitting->rows.list;
    size_t size = splitting->input->input->size - (list[splitting->rows.count - 1].end - list[0].start);
    for (size_t i = 0; i < part->row_count; i++)
        size += list[part->rows[i]].end - list[part->rows[i]].start + 2;
    if (splitting->input->facts->write->made_key) /* in quotes, each of which may be doubled */
        size += 2 * strlen(splitting->input->facts->write->made_key) + 4 + part->row_count * (ID_DIGITS + 2);
    *parameters = size / 2 < splitting->rows.parameter_count ? size / 2 : splitting->rows.parameter_count;
    return size + 4 * *parameters;
}

/* From the statement's begin to the first row, with the key's column among those it names, if that is made. */
static void add_head(struct part_text *to, size_t end)
{
    const struct fact_write *fact = to->splitting->input->facts->write;
    size_t start = fact->start;
    if (fact->made_key) {
        add_piece(to, start, fact->made_at);
        add_bytes(to, ", \"", 3);
        for (const char *at = fact->made_key; *at; at++)
            add_bytes(to, *at == '"' ? "\"\"" : at, *at == '"' ? 2 : 1);
        add_bytes(to, "\"", 1);
        start = fact->made_at;
    }
    add_piece(to, start, end);
}

static void add_row(struct part_text *to, uint32_t row)
{
    const struct row_piece *piece = &to->splitting->rows.list[row];
    const struct keys_input *input = to->splitting->input;
    char id[ID_DIGITS + 4];
    if (!input->facts->write->made_key) {
        add_piece(to, piece->start, piece->end);
        return;
    }
    add_piece(to, piece->start, piece->end - 1);
    int size = snprintf(id, sizeof id, ", %" PRId64 ")", input->input->ids[row]);
    add_bytes(to, id, (size_t)size);
}

static enum keys_outcome write_part(struct splitting *splitting, struct plan_write_part *part)
{
    const struct row_piece *list = splitting->rows.list, *last = &list[splitting->rows.count - 1];
    const struct plan_input *input = splitting->input->input;
    struct arena *arena = splitting->input->arena;
    size_t most;
    size_t size = text_most(splitting, part, &most);
    struct part_text to = {.splitting = splitting, .part = part};
    to.text = arena_allocate(arena, size + 1);
    to.parameters = arena_allocate(arena, (most + 1) * sizeof *to.parameters);
    if (!to.text || !to.parameters)
        return KEYS_MEMORY;
    add_head(&to, list[0].start);
    for (size_t i = 0; i < part->row_count; i++) {
        add_bytes(&to, ", ", i ? 2 : 0);
        add_row(&to, part->rows[i]);
    }
    add_piece(&to, last->end, input->size);
    for (size_t i = 0; i < part->parameter_count; i++)
        splitting->numbers[to.parameters[i]] = 0;
    part->text = to.text;
    part->parameters = to.parameters;
    return KEYS_READ;
}

static enum keys_outcome read_rows(struct splitting *splitting)
{
    const struct keys_input *input = splitting->input;
    const struct fact_write *fact = input->facts->write;
    size_t count = fact->row_count, highest = 0;
    enum rows_outcome outcome = rows_read(input->input->text, input->input->size, fact->start, fact->words, count,
                                          input->arena, &splitting->rows);
    if (outcome != ROWS_FOUND)
        return outcome == ROWS_MEMORY ? KEYS_MEMORY : KEYS_REFUSED;
    for (size_t i = 0; i < splitting->rows.parameter_count; i++)
        highest = splitting->rows.parameters[i].number > highest ? splitting->rows.parameters[i].number : highest;
    if (highest > UINT16_MAX)
        return KEYS_REFUSED;
    splitting->numbers = arena_zeroed(input->arena, highest + 1, sizeof *splitting->numbers);
    splitting->owners = arena_allocate(input->arena, (count + 1) * sizeof *splitting->owners);
    if (!splitting->numbers || !splitting->owners)
        return KEYS_MEMORY;
    for (size_t i = 0; i < count; i++) {
        enum keys_outcome found = find_owner(input, i, &splitting->owners[i]);
        if (found != KEYS_READ)
            return found;
    }
    return KEYS_READ;
}

static enum keys_outcome split_rows(const struct keys_input *input, struct plan_write *write)
{
    size_t shards = input->input->schema->model->shard_count;
    struct splitting splitting = {.input = input};
    splitting.parts = arena_zeroed(input->arena, shards, sizeof *splitting.parts);
    if (!splitting.parts)
        return KEYS_MEMORY;
    enum keys_outcome outcome = read_rows(&splitting);
    if (outcome == KEYS_READ)
        outcome = deal_out(&splitting);
    for (size_t i = 0; outcome == KEYS_READ && i < shards; i++) {
        if (!splitting.parts[i].row_count)
            continue;
        struct plan_write_part *part = &splitting.parts[write->part_count++];
        *part = splitting.parts[i];
        part->shard = (uint16_t)i;
        outcome = write_part(&splitting, part);
    }
    write->parts = splitting.parts;
    return outcome;
}

/* ---- rows that get another key ---- */

static enum keys_outcome owner_of(const struct keys_input *input, const struct fact_keys *keys, uint16_t *shard)
{
    const struct schema_relation *relation = input->facts->write->target;
    struct key_value key[KEY_COLUMNS_MAX];
    uint32_t bucket;
    bool none;
    if (keys->alternatives != 1 || keys->values[0].is_array)
        return KEYS_REFUSED;
    enum keys_outcome outcome = keys_row(input, relation, keys->values, keys->columns, key, &none);
    if (outcome != KEYS_READ)
        return outcome;
    if (none || keys_shard(relation->table, key, &bucket, shard, input->error) != MOSAIC_OK)
        return KEYS_REFUSED;
    return KEYS_READ;
}

static enum keys_outcome make_move(const struct keys_input *input, struct plan_write *write)
{
    const struct fact_write *fact = input->facts->write;
    struct plan_write_part *parts = arena_zeroed(input->arena, 2, sizeof *parts);
    if (!parts)
        return KEYS_MEMORY;
    enum keys_outcome outcome = owner_of(input, &fact->driver->keys, &parts[0].shard);
    if (outcome == KEYS_READ)
        outcome = owner_of(input, &fact->driver->new_keys, &parts[1].shard);
    parts[0].text = fact->move->taken, parts[0].size = strlen(fact->move->taken);
    parts[1].text = fact->move->put, parts[1].size = strlen(fact->move->put);
    write->move = fact->move;
    write->parts = parts, write->part_count = 2;
    return outcome == KEYS_READ && parts[0].shard == parts[1].shard ? KEYS_REFUSED : outcome;
}

/* ---- rows that get one key, and are on its shard, or nowhere ---- */

static enum keys_outcome find_keeper(const struct keys_input *input, struct plan_write *write)
{
    const struct fact_keys *gets = &input->facts->write->gets;
    if (!gets->columns)
        return KEYS_READ;
    enum keys_outcome outcome = owner_of(input, gets, &write->keeper);
    write->has_keeper = true;
    bool alone = write->part_count == 1 && write->parts[0].shard != write->keeper;
    if (outcome == KEYS_REFUSED && strcmp(input->error->sqlstate, "23502") == 0)
        error_sqlstate(input->error, "0A000"); /* nor is it known that there is a row which would get it */
    return outcome == KEYS_READ && alone ? KEYS_REFUSED : outcome;
}

/* ---- the moment ---- */

static bool fill_text(const struct keys_input *input, const char **text)
{
    size_t size;
    return !*text || (*text = moment_fill(input->arena, *text, strlen(*text), input->input->moment, &size));
}

/* In place of now() and its like stands the moment in what each shard is told. False: memory is out. */
static bool tell_moment(const struct keys_input *input, struct plan_write *write)
{
    struct plan_write_part *parts = (struct plan_write_part *)write->parts;
    struct fact_pick *pick = arena_copy(input->arena, write->pick ? write->pick : &(struct fact_pick){0}, sizeof *pick);
    bool done = pick != NULL;
    for (size_t i = 0; done && i < write->part_count; i++)
        done = (parts[i].text =
                    moment_fill(input->arena, parts[i].text, parts[i].size, input->input->moment, &parts[i].size));
    done = done && fill_text(input, &pick->peek) && fill_text(input, &pick->before) && fill_text(input, &pick->after) &&
           fill_text(input, &pick->counts) && fill_text(input, &pick->counted);
    write->pick = write->pick ? pick : NULL;
    write->reads_clock = false;
    return done;
}

/* ---- all ---- */

/* One shard, or none: then the home shard finds no row as well. */
static void settle(const struct keys_input *input, const struct plan_write *write, struct plan *plan)
{
    plan->kind = PLAN_SHARD;
    plan->shard = write->part_count ? write->parts[0].shard : (uint16_t)input->input->schema->home;
}

/* A change of the schema, and its like. */
static void fill_all(const struct facts *facts, struct plan_write *write, struct plan *plan)
{
    const struct fact_write *fact = facts->write;
    write->tags = TAGS_WORDS;
    write->changes_schema = facts->changes_schema;
    write->by_itself = fact->by_itself, write->needs_transaction = fact->needs_transaction;
    write->makes = fact->makes;
    write->leftovers = fact->leftovers;
    write->once_a_server = fact->once_a_server, write->takes_turns = fact->takes_turns;
    plan->bucket = PLAN_NO_BUCKET;
    plan->write = write;
    plan->kind = PLAN_WRITE;
}

static enum keys_outcome want_ids(const struct keys_input *input, struct plan *plan)
{
    const struct fact_write *fact = input->facts->write;
    (void)!error_set(input->error, MOSAIC_UNSUPPORTED, "the key %s of %s is made when the INSERT runs, not here",
                     fact->made_key, fact->target->table->display);
    error_hint(input->error, "send it through the proxy, by itself, or give the key");
    error_sqlstate(input->error, "0A000");
    plan->ids_wanted = fact->row_count;
    return KEYS_REFUSED;
}

struct turns {
    const struct schema *schema;
    struct plan_turn *list; /* NULL: they are counted only */
    size_t count;
};

static void add_turn(struct turns *turns, const struct schema_relation *relation, bool is_shared)
{
    if (turns->list)
        turns->list[turns->count] = (struct plan_turn){relation->table, is_shared};
    turns->count++;
}

/* What the actions of foreign keys to it write. */
static void add_cascades(struct turns *turns, const struct schema_relation *relation, int depth)
{
    enum { DEPTH_MOST = 8 }; /* deeper ones are refused: sql/hidden.c */
    for (size_t i = 0; i < relation->key_count && depth < DEPTH_MOST; i++) {
        const struct schema_foreign_key *key = &relation->keys[i];
        const struct schema_relation *other = schema_relation_by_oid(turns->schema, key->from);
        bool cascades = strchr("cn", key->on_delete) || strchr("cn", key->on_update);
        if (key->to != relation->oid || !cascades || !other || other == relation)
            continue;
        if (other->placement == PLACE_REFERENCE)
            add_turn(turns, other, false);
        add_cascades(turns, other, depth + 1);
    }
}

static void find_turns(const struct facts *facts, struct turns *turns)
{
    turns->count = 0;
    for (size_t i = 0; i < facts->relation_count; i++) {
        const struct schema_relation *relation = facts->relations[i].relation;
        if (relation->placement == PLACE_REFERENCE && !facts->relations[i].is_written)
            add_turn(turns, relation, true);
        if (facts->relations[i].is_written)
            add_cascades(turns, relation, 0);
    }
}

static bool fill_turns(const struct keys_input *input, struct plan_write *write)
{
    struct turns turns = {.schema = input->input->schema};
    find_turns(input->facts, &turns);
    if (!turns.count)
        return true;
    turns.list = arena_allocate(input->arena, turns.count * sizeof *turns.list);
    if (!turns.list)
        return false;
    find_turns(input->facts, &turns);
    write->turns = turns.list, write->turn_count = turns.count;
    return true;
}

bool write_fill(const struct keys_input *input, struct plan_write *write)
{
    const struct fact_write *fact = input->facts->write;
    write->tags = fact->spread == SPREAD_SAME ? TAGS_SAME : TAGS_SUM;
    write->tag = fact->tag;
    write->target = fact->target;
    write->until_found = fact->until_found;
    write->sifts = fact->sift != NULL;
    write->pick = fact->pick;
    write->explains = fact->explains, write->explain_runs = fact->explain_runs;
    write->copy = fact->copy;
    write->has_returning = fact->has_returning;
    write->returning_in_row_order = fact->has_returning && fact->returns_each_row;
    write->reads_clock = fact->reads_clock || names_moment(input);
    write->tells_clock = fact->tells_clock && !names_moment(input);
    write->stores_clock = fact->stores_clock;
    if (write->tags == TAGS_SAME && !fill_turns(input, write))
        return false;
    return !write->tells_clock || !input->input->moment || tell_moment(input, write);
}

enum keys_outcome write_plan(const struct keys_input *input, struct plan *plan)
{
    const struct fact_write *fact = input->facts->write;
    struct plan_write *write = arena_zeroed(input->arena, 1, sizeof *write);
    if (!write)
        return KEYS_MEMORY;
    if (fact->made_key && fact->row_count > input->input->id_count)
        return want_ids(input, plan);
    enum keys_outcome outcome = fact->spread == SPREAD_ROWS   ? split_rows(input, write)
                                : fact->spread == SPREAD_MOVE ? make_move(input, write)
                                                              : make_parts(input, write);
    if (outcome == KEYS_READ)
        outcome = find_keeper(input, write);
    if (outcome != KEYS_READ)
        return outcome;
    if (fact->spread == SPREAD_ALL) {
        fill_all(input->facts, write, plan);
        return KEYS_READ;
    }
    if (!write_fill(input, write))
        return KEYS_MEMORY;
    plan->bucket = PLAN_NO_BUCKET;
    plan->relation = fact->target->table->display;
    plan->write = write;
    plan->kind = PLAN_WRITE;
    write->ids_used = fact->made_key ? fact->row_count : 0;
    if (write->part_count < 2 && !fact->made_key)
        settle(input, write, plan);
    return KEYS_READ;
}
