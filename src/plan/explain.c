#include "plan/explain.h"

#include "base/buffer.h"
#include "base/error.h"
#include "plan/explain_condition.h"

#include <string.h>

enum {
    CARET_WIDTH = 100,
    LINES_MOST = 200,
    SHARDS_SHOWN = 16,
    PARTS_SHOWN = 3,
    TEXT_BYTES_SHOWN = 1000,
};

static const char *const way_names[] = {
#define X(identifier, name) name,
    EXPLAIN_WAY_LIST(X)
#undef X
};

const char *explain_way_name(enum explain_way way)
{
    return way_names[way];
}

int explain_tier(enum explain_way way)
{
    switch (way) {
    case EXPLAIN_SCATTER:
    case EXPLAIN_WRITES:
        return 2;
    case EXPLAIN_COMBINED:
        return 3;
    case EXPLAIN_COORDINATOR:
        return 4;
    case EXPLAIN_REFUSED:
        return 0;
    default:
        return 1;
    }
}

/* ---- the explanation ---- */

struct writer {
    const struct explain_input *input;
    struct arena *arena;
    struct explanation *explanation;
    const char **lines;
    bool failed;
};

/* Takes a line that arena_format made. */
static void add_line(struct writer *writer, const char *line)
{
    if (!line)
        writer->failed = true;
    else if (writer->explanation->line_count < LINES_MOST)
        writer->lines[writer->explanation->line_count++] = line;
}

static const struct schema *schema_of(const struct writer *writer)
{
    return writer->input->values->schema;
}

static const char *shard_name(const struct writer *writer, size_t shard)
{
    return schema_of(writer)->model->shards[shard].name;
}

static bool is_session(enum statement_class class)
{
    switch (class) {
    case STATEMENT_EMPTY:
    case STATEMENT_BEGIN:
    case STATEMENT_COMMIT:
    case STATEMENT_ROLLBACK:
    case STATEMENT_SAVEPOINT:
    case STATEMENT_RELEASE:
    case STATEMENT_ROLLBACK_TO:
    case STATEMENT_SET:
    case STATEMENT_SET_TRANSACTION:
    case STATEMENT_CONSTRAINTS:
    case STATEMENT_SHOW:
    case STATEMENT_DISCARD:
    case STATEMENT_DEALLOCATE:
    case STATEMENT_CURSOR:
    case STATEMENT_EXECUTE:
        return true;
    default:
        return false;
    }
}

/* A value that nobody gave yet. */
static bool is_unknown(const struct fact_value *value, const struct plan_input *values)
{
    return value->source == VALUE_PARAMETER && value->number > values->parameter_count;
}

/* Is all proved but for the values of parameters? */
static bool is_open(const struct explain_input *input)
{
    const struct facts *facts = input->facts;
    bool open = false;
    if (facts->refusal || (input->values->hint && (input->values->hint->shard || input->values->hint->key)))
        return false;
    for (size_t i = 0; i < facts->relation_count; i++) {
        const struct fact_relation *relation = &facts->relations[i];
        if (relation->relation->placement != PLACE_SHARDED)
            continue;
        if (!relation->is_bound)
            return false;
        for (size_t v = 0; v < relation->keys.alternatives * relation->keys.columns; v++)
            open |= is_unknown(&relation->keys.values[v], input->values);
    }
    return open;
}

static const struct fact_relation *first_unbound(const struct facts *facts)
{
    for (size_t i = 0; i < facts->relation_count; i++)
        if (facts->relations[i].relation->placement == PLACE_SHARDED && !facts->relations[i].is_bound)
            return &facts->relations[i];
    return NULL;
}

static void find_reason(struct explanation *explanation, const struct facts *facts)
{
    const struct fact_relation *unbound = first_unbound(facts);
    const mosaic_error *error = explanation->plan.error;
    explanation->reason = error ? error->message : "";
    explanation->remedy = error && *error->hint ? error->hint : NULL;
    explanation->location = facts->refusal ? facts->refusal->location : unbound ? unbound->location : -1;
    if (!facts->refusal && unbound && unbound->remedy && !facts->write_remedy)
        explanation->remedy = unbound->remedy;
}

static void add_bucket(struct writer *writer)
{
    const struct plan *plan = &writer->explanation->plan;
    const struct facts *facts = writer->input->facts;
    if (plan->bucket == PLAN_NO_BUCKET)
        return;
    for (size_t i = 0; i < facts->relation_count; i++) {
        const struct table *table = facts->relations[i].relation->table;
        if (!table || table->kind != TABLE_SHARDED || (plan->relation && strcmp(plan->relation, table->display) != 0))
            continue;
        add_line(writer, arena_format(writer->arena, "  bucket %u of %u, by %s of %s", plan->bucket,
                                      table->rule.buckets, function_name(table->rule.function), table->display));
        return;
    }
    add_line(writer, arena_format(writer->arena, "  bucket %u", plan->bucket));
}

static void add_relation(struct writer *writer, const struct fact_relation *relation)
{
    struct arena *arena = writer->arena;
    const struct schema_relation *named = relation->relation;
    const char *name = model_display_name(arena, named->schema, named->name);
    const char *place = explain_placement(relation, schema_of(writer), arena);
    if (!name || !place) {
        writer->failed = true;
    } else if (named->placement != PLACE_SHARDED) {
        add_line(writer, arena_format(arena, "  %s: %s", name, place));
    } else if (relation->is_bound) {
        const char *condition = explain_condition(relation, writer->input->values, arena);
        add_line(writer, condition ? arena_format(arena, "  %s: %s; bound by %s", name, place, condition) : NULL);
    } else {
        const mosaic_error *error = writer->explanation->plan.error;
        bool said = !relation->missing || (error && strstr(error->detail, relation->missing));
        add_line(writer, arena_format(arena, "  %s: %s; not bound%s%s", name, place, said ? "" : ": ",
                                      said ? "" : relation->missing));
    }
}

/* The same relation bound in the same way is said once. */
static void add_relations(struct writer *writer)
{
    size_t before = writer->explanation->line_count;
    for (size_t i = 0; i < writer->input->facts->relation_count; i++) {
        add_relation(writer, &writer->input->facts->relations[i]);
        size_t last = writer->explanation->line_count - 1;
        for (size_t j = before; !writer->failed && j < last; j++)
            if (strcmp(writer->lines[j], writer->lines[last]) == 0) {
                writer->explanation->line_count--;
                break;
            }
    }
}

static void add_caret(struct writer *writer)
{
    const struct explain_input *input = writer->input;
    int location = writer->explanation->location;
    if (location < 0 || (size_t)location > input->size)
        return;
    const char *const *caret = explain_caret(input->text, input->size, (size_t)location, CARET_WIDTH, writer->arena);
    for (size_t i = 0; i < 2; i++)
        add_line(writer, caret ? arena_format(writer->arena, "  %s", caret[i]) : NULL);
}

static void write_refusal(struct writer *writer)
{
    const struct explanation *explanation = writer->explanation;
    const mosaic_error *error = explanation->plan.error;
    add_line(writer,
             arena_format(writer->arena, "refused (%s): %s", error ? error->sqlstate : "0A000", explanation->reason));
    add_caret(writer);
    if (error && *error->detail)
        add_line(writer, arena_format(writer->arena, "  %s", error->detail));
    if (explanation->remedy)
        add_line(writer,
                 arena_format(writer->arena, "  %s: %s", first_unbound(writer->input->facts) ? "to prove it" : "hint",
                              explanation->remedy));
    add_relations(writer);
}

/* What kept it from one shard is what would lower the tier. */
static void write_reason(struct writer *writer)
{
    const struct explanation *explanation = writer->explanation;
    const mosaic_error *error = explanation->plan.error;
    add_line(writer, arena_format(writer->arena, "  why not one shard: %s", explanation->reason));
    add_caret(writer);
    if (error && *error->detail)
        add_line(writer, arena_format(writer->arena, "  %s", error->detail));
    if (explanation->remedy)
        add_line(writer, arena_format(writer->arena, "  to lower the tier: %s", explanation->remedy));
    add_relations(writer);
}

static void write_coordinator(struct writer *writer)
{
    const struct facts *facts = writer->input->facts;
    add_line(writer, arena_string(writer->arena, "tier 4: the coordinator, over all shards"));
    if (facts->scatter_cannot && writer->input->values->has_scatter)
        add_line(writer, arena_format(writer->arena, "  why not every shard for itself: %s", facts->scatter_cannot));
    write_reason(writer);
}

/* On one line; a type that only run time knows is three dots. */
static const char *flat(const char *text, struct arena *arena)
{
    struct buffer out = BUFFER_INIT(EXPLAIN_LINE_MOST);
    for (const char *c = text; *c; c++) {
        if (*c == '\1') {
            buffer_text(&out, "…");
            c = strchr(c + 1, '\1');
        } else {
            buffer_char(&out, (unsigned char)*c < ' ' ? ' ' : *c);
        }
    }
    return explain_finish(&out, arena);
}

/* Rows that are picked in an order are locked, or changed, where they are. */
static void add_tried(struct writer *writer, const struct fact_pick *pick, const char *does)
{
    struct arena *arena = writer->arena;
    const char *before = flat(pick->before, arena), *after = flat(pick->after, arena);
    const char *line =
        before && after
            ? arena_format(arena, "  then their shards %s them in that order, until there are enough: %s…%s", does,
                           before, after)
            : NULL;
    add_line(writer, line);
}

static void add_merge(struct writer *writer)
{
    struct buffer out = BUFFER_INIT(EXPLAIN_LINE_MOST);
    const struct plan *plan = &writer->explanation->plan;
    const struct fact_scatter *scatter = plan->scatter;
    if (scatter->locks && scatter->pick)
        add_tried(writer, scatter->pick, "lock");
    else if (scatter->locks)
        add_line(writer, arena_string(writer->arena, "  one shard after the other, and their rows stay locked"));
    if (scatter->combines)
        buffer_text(&out, "  merge: one row of all, its aggregates put together");
    else if (scatter->sort_count)
        buffer_format(&out, "  merge: in order, by %zu hidden column%s", scatter->sort_count,
                      scatter->sort_count == 1 ? "" : "s");
    else
        buffer_text(&out, "  merge: as rows come");
    buffer_text(&out, scatter->has_offset ? "; OFFSET " : "");
    if (scatter->has_offset)
        explain_add_value(&out, &scatter->offset, writer->input->values);
    buffer_text(&out, scatter->has_limit ? "; LIMIT " : "");
    if (scatter->has_limit)
        explain_add_value(&out, &scatter->limit, writer->input->values);
    add_line(writer, explain_finish(&out, writer->arena));
}

static void write_scatter(struct writer *writer)
{
    const struct plan *plan = &writer->explanation->plan;
    struct arena *arena = writer->arena;
    const struct fact_final *final = plan->scatter->final;
    const char *text = flat(plan->scatter->text, arena), *then = final ? flat(final->text, arena) : NULL;
    size_t all = schema_of(writer)->model->shard_count;
    const char *which = plan->shard_count == all ? arena_format(arena, "all %zu shards", all)
                                                 : arena_format(arena, "%zu of %zu shards", plan->shard_count, all);
    add_line(writer, arena_format(arena, "tier %d: %s, %s", final ? 3 : 2, which ? which : "",
                                  final ? "combined by the coordinator" : "merged here"));
    add_line(writer, text ? arena_format(arena, "  asks each shard: %s", text) : NULL);
    if (final)
        add_line(writer, then ? arena_format(arena, "  then the coordinator: %s", then) : NULL);
    else
        add_merge(writer);
    if (plan->scatter->why_combined)
        add_line(writer, arena_format(arena, "  why not merged here: %s", plan->scatter->why_combined));
    write_reason(writer);
}

/* ---- writes ---- */

/* "s0, s1 and s5"; of many the first few. */
static const char *write_names(struct writer *writer, const struct plan_write *write)
{
    struct buffer out = BUFFER_INIT(EXPLAIN_LINE_MOST);
    for (size_t i = 0; i < write->part_count && i < SHARDS_SHOWN; i++)
        buffer_format(&out, "%s%s", i ? ", " : "", shard_name(writer, write->parts[i].shard));
    buffer_text(&out, write->part_count > SHARDS_SHOWN ? ", \xe2\x80\xa6" : "");
    return explain_finish(&out, writer->arena);
}

static void add_told(struct writer *writer, const struct plan_write_part *part, const char *whom)
{
    size_t size = part->size < TEXT_BYTES_SHOWN ? part->size : TEXT_BYTES_SHOWN;
    while (size < part->size && size && ((unsigned char)part->text[size] & 0xc0) == 0x80)
        size--; /* never within a character */
    char *text = arena_copy(writer->arena, part->text, size);
    const char *shown = text ? flat(text, writer->arena) : NULL;
    add_line(writer, shown ? arena_format(writer->arena, "  tells %s: %s%s", whom, shown,
                                          size < part->size ? "\xe2\x80\xa6" : "")
                           : NULL);
}

static void add_returning(struct writer *writer, const struct plan_write *write)
{
    const char *rows = write->tags == TAGS_SAME         ? "one shard's"
                       : !write->returning_in_row_order ? "as they come"
                       : write->source                  ? "in the order of the query"
                                                        : "in the order of VALUES";
    if (write->pick)
        add_tried(writer, write->pick, "change");
    if (write->until_found)
        add_line(writer, arena_string(writer->arena, "  one shard after the other, until one has changed a row"));
    if (write->has_keeper)
        add_line(writer, arena_format(writer->arena, "  the rows get a key of %s: it fails if another shard has one",
                                      shard_name(writer, write->keeper)));
    if (write->has_returning)
        add_line(writer, arena_format(writer->arena, "  rows of RETURNING: %s", rows));
    if (write->tells_clock)
        add_line(writer, arena_string(writer->arena, "  the moment is one, which each of them is told"));
    else if (write->reads_clock || write->stores_clock)
        add_line(writer, arena_string(writer->arena, "  the time must be the same on all of them"));
}

static void add_source(struct writer *writer, const struct plan_source *source)
{
    const struct fact_scatter *asked = source->plan->scatter;
    const char *text = flat(asked->final ? asked->final->text : asked->text, writer->arena);
    add_line(writer, text ? arena_format(writer->arena, "  reads first, by tier %d: %s", source->tier, text) : NULL);
}

static void write_writes(struct writer *writer)
{
    const struct plan_write *write = writer->explanation->plan.write;
    struct arena *arena = writer->arena;
    size_t all = schema_of(writer)->model->shard_count;
    const char *names = write_names(writer, write);
    const char *which = write->part_count == all ? arena_format(arena, "all %zu", all)
                                                 : arena_format(arena, "%zu of %zu", write->part_count, all);
    add_line(writer, names && which ? arena_format(arena, "tier 2: writes on %s shards: %s", which, names) : NULL);
    if (write->source)
        add_source(writer, write->source); /* of an INSERT */
    for (size_t i = 0; write->move && i < write->part_count; i++)
        add_told(writer, &write->parts[i], shard_name(writer, write->parts[i].shard));
    bool is_alike = !write->parts[0].rows && !write->move && !write->sifts;
    if (is_alike)
        add_told(writer, &write->parts[0], write->pick ? "each shard first" : "each shard");
    for (size_t i = 0; !is_alike && !write->move && i < write->part_count && i < PARTS_SHOWN; i++)
        add_told(writer, &write->parts[i], shard_name(writer, write->parts[i].shard));
    add_returning(writer, write);
    if (write->tags == TAGS_SUM) {
        write_reason(writer);
        return;
    }
    add_line(writer, arena_string(arena, "  each copy comes out the same"));
    add_relations(writer);
}

static bool is_hinted(const struct writer *writer)
{
    const struct plan_hint *hint = writer->input->values->hint;
    return hint && (hint->shard || hint->key);
}

static void write_way(struct writer *writer)
{
    struct arena *arena = writer->arena;
    const struct explanation *explanation = writer->explanation;
    const char *class = statement_class_name(writer->input->facts->class);
    switch (explanation->way) {
    case EXPLAIN_SHARD:
        add_line(writer, arena_format(arena, "tier 1: one shard, %s%s", shard_name(writer, explanation->plan.shard),
                                      is_hinted(writer) ? ": a hint says so" : ""));
        add_bucket(writer);
        break;
    case EXPLAIN_OPEN:
        add_line(writer, arena_string(arena, "tier 1: one shard, if the values of the parameters are of one"));
        break;
    case EXPLAIN_HOME:
        add_line(writer,
                 arena_format(arena, "tier 1: the home shard, %s", shard_name(writer, explanation->plan.shard)));
        break;
    case EXPLAIN_ANY:
        add_line(writer, arena_string(arena, "tier 1: any shard, each gives the same answer"));
        break;
    case EXPLAIN_SESSION:
        add_line(writer, arena_format(arena, "tier 1: %s: the session's own, sent where it is needed", class));
        return;
    case EXPLAIN_SCATTER:
    case EXPLAIN_COMBINED:
        write_scatter(writer);
        return;
    case EXPLAIN_COORDINATOR:
        write_coordinator(writer);
        return;
    case EXPLAIN_WRITES:
        write_writes(writer);
        return;
    default:
        write_refusal(writer);
        return;
    }
    add_relations(writer);
}

static enum explain_way way_of(const struct explain_input *input, const struct plan *plan)
{
    if (plan->kind == PLAN_REFUSED)
        return EXPLAIN_REFUSED;
    if (plan->kind == PLAN_SCATTER)
        return plan->scatter->final ? EXPLAIN_COMBINED : EXPLAIN_SCATTER;
    if (plan->kind == PLAN_COORDINATOR)
        return EXPLAIN_COORDINATOR;
    if (plan->kind == PLAN_WRITE)
        return EXPLAIN_WRITES;
    if (is_session(input->facts->class))
        return EXPLAIN_SESSION;
    if (plan->kind == PLAN_ANY)
        return EXPLAIN_ANY;
    return input->facts->needs_home && plan->bucket == PLAN_NO_BUCKET && plan->shard == input->values->schema->home
               ? EXPLAIN_HOME
               : EXPLAIN_SHARD;
}

mosaic_status explain_make(const struct explain_input *input, struct arena *arena, struct explanation *explanation,
                           mosaic_error *error)
{
    struct writer writer = {input, arena, explanation, arena_allocate(arena, LINES_MOST * sizeof *writer.lines), false};
    *explanation = (struct explanation){.way = EXPLAIN_OPEN, .location = -1, .lines = writer.lines};
    explanation->plan.bucket = PLAN_NO_BUCKET;
    if (!writer.lines)
        return error_memory(error);
    if (!is_open(input)) {
        struct plan_input values = *input->values;
        values.text = input->text, values.size = input->size;
        mosaic_status status = plan_make(input->facts, &values, arena, &explanation->plan, error);
        if (status != MOSAIC_OK)
            return status;
        explanation->way = way_of(input, &explanation->plan);
    }
    explanation->tier = explain_tier(explanation->way);
    if (explanation->way >= EXPLAIN_SCATTER)
        find_reason(explanation, input->facts);
    write_way(&writer);
    return writer.failed ? error_memory(error) : MOSAIC_OK;
}
