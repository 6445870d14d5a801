/*
 * A write that several shards do at once, in one transaction: each has its own words and values. What they have done is
 * told together; what RETURNING gives goes on as it comes, or in the order of the client's rows.
 *
 * Copies of a reference table must go through the same writes in the same order. So whoever writes one has the first
 * shard's copy to himself before he asks the others. The same of the schema, which all shards have; what cannot be
 * within a transaction they do each for itself, at once.
 */
#include "catalog/introspect.h"
#include "catalog/owner.h"
#include "core/sqlexpr.h"
#include "core/turn.h"
#include "proxy/copy_in.h"
#include "proxy/given.h"
#include "proxy/leg.h"
#include "proxy/proxy.h"
#include "proxy/route.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Zero-terminated: behind what EXPLAIN has in front; a table that is made gets its constraint mosaic_owner. NULL:
 * memory is out. */
static const char *text_of(struct scatter *scatter, const struct plan_write *write, const struct plan_write_part *part)
{
    struct arena *arena = &scatter->arena;
    const char *before = scatter->facts.explains ? scatter->facts.explains : "";
    size_t begun = strlen(before);
    char *text = write->makes ? NULL : arena_allocate(arena, begun + part->size + 1);
    if (text) {
        memcpy(text, before, begun);
        memcpy(text + begun, part->text, part->size);
        text[begun + part->size] = '\0';
    }
    if (!write->makes)
        return text;
    const char *owned = owner_expression(arena, write->makes, part->shard);
    if (!owned)
        return NULL;
    return arena_format(arena, "%.*s, CONSTRAINT " OWNER_CONSTRAINT " CHECK (%s)%.*s", (int)part->inside, part->text,
                        owned, (int)(part->size - part->inside), part->text + part->inside);
}

static struct asking *make_asking(struct scatter *scatter, const struct scatter_order *order,
                                  const struct plan_write_part *part)
{
    struct arena *arena = &scatter->arena;
    struct asking *asking = arena_zeroed(arena, 1, sizeof *asking);
    const char *text = text_of(scatter, order->plan->write, part);
    if (!asking || !text)
        return NULL;
    asking->text = text;
    asking->statements = part->statements;
    asking->behind = scatter->write->leftovers; /* whether it fails is not known yet */
    if (order->plan->write->makes &&
        !(asking->behind = owner_comment_sql(arena, order->plan->write->makes, part->shard)))
        return NULL;
    bool taken = part->parameters
                     ? bound_values_pick(&asking->bound, arena, order->types, order->type_count, order->bind,
                                         part->parameters, (uint16_t)part->parameter_count)
                     : bound_values_take(&asking->bound, arena, text, order->types, order->type_count, order->bind);
    if (taken)
        return asking;
    bound_values_free(&asking->bound);
    return NULL;
}

/* Whose leg each of the client's rows is of. */
static bool find_order(struct scatter *scatter, const struct plan_write *write)
{
    for (size_t i = 0; i < write->part_count; i++)
        scatter->order_size += write->parts[i].row_count;
    uint16_t *order = arena_zeroed(&scatter->arena, scatter->order_size + 1, sizeof *order);
    for (size_t i = 0; order && i < write->part_count; i++)
        for (size_t row = 0; row < write->parts[i].row_count; row++)
            order[write->parts[i].rows[row]] = (uint16_t)i;
    scatter->order = order;
    return order != NULL;
}

/* The number of a lock that keeps others from the same until its transaction ends. */
struct turn {
    uint32_t number;
    bool is_shared;
};

static struct turn turn_of(const struct table *table, bool is_shared)
{
    return (struct turn){turn_of_table(table), is_shared};
}

/* All take them in one order. */
static int compare_turns(const void *a, const void *b)
{
    const struct turn *one = a, *two = b;
    if (one->number != two->number)
        return one->number < two->number ? -1 : 1;
    return one->is_shared - two->is_shared;
}

static bool write_turns(struct scatter *made, struct turn *turns, size_t count)
{
    struct buffer sql = BUFFER_INIT(1 << 20);
    qsort(turns, count, sizeof *turns, compare_turns);
    for (size_t i = 0; i < count; i++)
        buffer_format(&sql, "%s pg_catalog.pg_advisory_xact_lock%s(%d, %" PRIu32 ")", i ? "," : "SELECT",
                      turns[i].is_shared ? "_shared" : "", TURN_LOCK, turns[i].number);
    made->turn = buffer_failed(&sql) ? NULL : arena_string(&made->arena, buffer_string(&sql));
    buffer_free(&sql);
    return made->turn != NULL;
}

/* False when memory is out. */
static bool find_turns(struct scatter *made, const struct plan_write *write)
{
    struct turn schema = {.number = TURN_OF_SCHEMA};
    if (!made->joins || (!write->takes_turns && write->tags != TAGS_SAME))
        return true;
    if (write->takes_turns)
        return write_turns(made, &schema, 1);
    struct turn *turns = arena_allocate(&made->arena, (write->turn_count + 1) * sizeof *turns);
    if (!turns)
        return false;
    turns[0] = turn_of(write->target->table, false);
    for (size_t i = 0; i < write->turn_count; i++)
        turns[i + 1] = turn_of(write->turns[i].table, write->turns[i].is_shared);
    made->turns_everywhere = true;
    return write_turns(made, turns, write->turn_count + 1);
}

/* Where shards are databases of one server, what these share is changed once. */
static bool is_left_out(const struct world *world, const struct plan_write *write, size_t at)
{
    for (size_t i = 0; write->once_a_server && i < at; i++)
        if (world_share_server(world, write->parts[i].shard, write->parts[at].shard))
            return true;
    return false;
}

/* The shards of the legs, and of each its part. */
static size_t choose_parts(const struct world *world, const struct plan_write *write, uint16_t *shards,
                           const struct plan_write_part **parts)
{
    size_t count = 0;
    for (size_t i = 0; i < write->part_count; i++) {
        if (is_left_out(world, write, i))
            continue;
        parts[count] = &write->parts[i];
        shards[count++] = write->parts[i].shard;
    }
    return count;
}

/* As simple queries, of several statements each. */
static bool script_begin(struct scatter *scatter)
{
    bool done = true;
    scatter->script = BUFFER_INIT(TOLD_MOST);
    for (size_t i = 0; i < scatter->leg_count; i++) {
        struct asking *asking = scatter->legs[i].asking;
        asking->request = BUFFER_INIT(WIRE_LENGTH_MOST);
        wire_query(&asking->request, asking->text);
        done &= !buffer_failed(&asking->request);
    }
    return done;
}

bool write_goes_on(struct leg *leg, const char *tag)
{
    struct scatter *scatter = leg->scatter;
    if (scatter->state == SCATTER_STARTING)
        write_describe(leg, NULL, NULL);
    bool goes_on = ++leg->answered < leg->asking->statements;
    if (goes_on && leg->shard == scatter->worker->world->home)
        wire_complete(&scatter->script, tag);
    return goes_on;
}

/* COPY FROM: a text without parameters, as a simple query, behind whose end no Sync is needed. */
static bool copy_begin(struct scatter *scatter, const struct plan_write *write)
{
    bool done = true;
    scatter->copy_in = copy_in_new(scatter, write, route_has_shard_clocks(scatter->client));
    for (size_t i = 0; i < scatter->leg_count; i++) {
        struct asking *asking = scatter->legs[i].asking;
        asking->request = BUFFER_INIT(WIRE_LENGTH_MOST);
        wire_query(&asking->request, asking->text);
        done &= !buffer_failed(&asking->request);
    }
    return done && scatter->copy_in;
}

struct scatter *scatter_new_write(struct client *client, const struct scatter_order *order, mosaic_error *error)
{
    const struct plan_write *from = order->plan->write;
    struct scatter_order own = *order;
    struct arena *scratch = &client->worker->scratch;
    uint16_t *shards = arena_allocate(scratch, (from->part_count + 1) * sizeof *shards);
    const struct plan_write_part **parts = arena_allocate(scratch, (from->part_count + 1) * sizeof *parts);
    own.shards = shards;
    own.shard_count = shards && parts ? choose_parts(client->worker->world, from, shards, parts) : 0;
    struct scatter *made = own.shard_count ? scatter_make(client, &own, own.shard_count, error) : NULL;
    if (!made) {
        error_memory(error);
        return NULL;
    }
    struct plan_write *write = arena_copy(&made->arena, from, sizeof *from);
    const struct fact_pick *pick = from->explains ? NULL : from->pick;
    made->write = write;
    made->in_turn = from->until_found;
    if (write) {
        write->tag = arena_string(&made->arena, from->tag ? from->tag : "");
        write->copy = NULL, write->source = NULL, write->arrays = NULL, write->turns = NULL; /* the plan's */
        const struct table *table = from->target ? from->target->table : NULL; /* NULL: of the home shard alone */
        made->target_name = table ? arena_string(&made->arena, table->display) : NULL;
        write->leftovers = from->leftovers ? arena_string(&made->arena, from->leftovers) : NULL;
    }
    if (from->explains) {
        made->facts.explains = arena_string(&made->arena, from->explains);
        scatter_add_lines(made, order);
    }
    made->checks_schema = order->checks_schema && made->joins && from->takes_turns;
    made->stamp = client->worker->world->stamp;
    made->merge = merge_new(&made->facts, UINT64_MAX, 0, made->leg_count);
    bool done = find_turns(made, from) && write && write->tag && (!from->explains || made->facts.explains) &&
                made->merge && (!pick || pick_new(made, order, pick, 1)) &&
                (!from->move || move_new(made, order, from->move)) &&
                (!from->returning_in_row_order || find_order(made, from));
    for (size_t i = 0; done && !pick && i < made->leg_count; i++) {
        struct asking *asking = make_asking(made, order, parts[i]);
        if (asking)
            made->legs[i].asking = asking;
        done = asking != NULL;
    }
    if (from->arrays)
        done = done && (made->rows_given = given_new(made, from, order->bind));
    else
        done = done && (!from->copy || copy_begin(made, from));
    if (!done)
        error_memory(error);
    if (done && made->move)
        done = move_check(made, error) == MOSAIC_OK;
    if (done && from->is_script)
        done = script_begin(made);
    for (size_t i = 0; done && !made->move && !made->pick && !from->copy && !from->is_script && i < made->leg_count;
         i++)
        done = asking_write(made, made->legs[i].asking, order->bind, error);
    if (done)
        return made;
    scatter_drop(made);
    return NULL;
}

bool scatter_writes(const struct scatter *scatter)
{
    return scatter->write != NULL;
}

static void take_words(struct leg *leg, const char *tag)
{
    struct scatter *scatter = leg->scatter;
    mosaic_error error;
    if (leg->asking->statements && leg->shard != scatter->worker->world->home)
        return;
    if (!scatter->has_tag) {
        snprintf(scatter->words, sizeof scatter->words, "%s", tag);
    } else if (strncmp(scatter->words, tag, sizeof scatter->words - 1) != 0) {
        (void)!error_set(&error, MOSAIC_INTERNAL, "shard %s says %s, and another one %s", leg->name, tag,
                         scatter->words);
        scatter_fail(scatter, &error);
    }
    scatter->has_tag = true;
}

/* Rows that it changes would get another shard's key. */
static bool write_may_not_keep(const struct leg *leg)
{
    const struct plan_write *write = leg->scatter->write;
    return write && write->has_keeper && leg->shard != write->keeper;
}

static void refuse_move(struct leg *leg)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_UNSUPPORTED, "the statement changes the key of a row of %s",
                     leg->scatter->target_name ? leg->scatter->target_name : "the table");
    error_detail(&error, "The row is on shard %s, and its new key belongs to another one.", leg->name);
    error_hint(&error, "Name the key that it has in the WHERE: then it moves. Or delete it, and insert it anew.");
    error_sqlstate(&error, "0A000");
    scatter_fail(leg->scatter, &error);
}

bool write_refuses_move(struct leg *leg, const char *message, const struct wire_frame *frame)
{
    struct wire_reader reader = wire_body(message, frame);
    bool found = false;
    for (char field; write_may_not_keep(leg) && (field = (char)wire_read8(&reader));)
        found |= strcmp(wire_read_text(&reader), "mosaic_owner") == 0 && field == 'n';
    if (found)
        refuse_move(leg);
    return found;
}

void write_take_tag(struct leg *leg, const char *tag)
{
    struct scatter *scatter = leg->scatter;
    if (scatter->move && !leg_moves_rows(leg))
        return; /* as many as were taken */
    if (scatter_explains(scatter))
        return;
    if (scatter->write->tags == TAGS_WORDS) {
        take_words(leg, tag);
        return;
    }
    const char *last = strrchr(tag, ' ');
    uint64_t count = last ? strtoull(last + 1, NULL, 10) : 0;
    mosaic_error error;
    if (count && write_may_not_keep(leg)) {
        refuse_move(leg);
    } else if (scatter->write->tags == TAGS_SUM) {
        scatter->written += count;
    } else if (!scatter->has_tag) {
        scatter->written = count;
    } else if (scatter->written != count) {
        (void)!error_set(&error, MOSAIC_DATA,
                         "shard %s would have changed %llu rows of this reference table, and another one %llu",
                         leg->name, (unsigned long long)count, (unsigned long long)scatter->written);
        error_sqlstate(&error, "XX001");
        error_detail(&error, "Its copies differ; nothing was changed.");
        error_hint(&error, "pgmosaic status compares them");
        error_shard(&error, leg->name);
        scatter_fail(scatter, &error);
    }
    scatter->has_tag = true;
}

/* ---- what each shard does for itself ---- */

static void add_done(const struct scatter *scatter, struct buffer *out)
{
    bool any = false;
    for (size_t i = 0; i < scatter->leg_count; i++) {
        const struct leg *leg = &scatter->legs[i];
        bool done = leg->state >= LEG_COMPLETE && !leg->has_failed;
        if (done)
            buffer_format(out, "%s%s", any ? ", " : "done on ", leg->name);
        any |= done;
    }
    if (!any)
        buffer_text(out, "done on no shard");
}

/* What it was cut off in is dropped by the next try. */
static const char *hint_of(const struct scatter *scatter)
{
    if (!scatter->write->leftovers)
        return "Each shard does this for itself: send it again, it does no harm where it is done.";
    return "Each shard does this for itself: send it again when what is in its way is gone. CREATE INDEX CONCURRENTLY "
           "IF "
           "NOT EXISTS leaves out shards that have the index, and what a try left over is dropped by itself.";
}

void write_tell_done(struct scatter *scatter)
{
    struct wire_frame frame;
    struct buffer told = BUFFER_INIT(scatter->failure.size + TOLD_MOST);
    bool has_hint = false, has_context = false;
    if (wire_peek(scatter->failure.data, scatter->failure.size, &frame) != WIRE_MESSAGE)
        return;
    struct wire_reader reader = wire_body(scatter->failure.data, &frame);
    size_t begun = wire_begin(&told, WIRE_B_ERROR_RESPONSE);
    for (char field; (field = (char)wire_read8(&reader));) {
        const char *text = wire_read_text(&reader);
        has_hint |= field == 'H';
        has_context |= field == 'W';
        buffer_format(&told, "%c%s", field, text);
        if (field == 'W') {
            buffer_char(&told, '\n');
            add_done(scatter, &told);
        }
        buffer_char(&told, '\0');
    }
    if (!has_context) {
        buffer_char(&told, 'W');
        add_done(scatter, &told);
        buffer_char(&told, '\0');
    }
    if (!has_hint)
        buffer_format(&told, "H%s%c", hint_of(scatter), '\0');
    buffer_char(&told, '\0');
    wire_end(&told, begun);
    if (!buffer_failed(&told)) {
        buffer_clear(&scatter->failure);
        buffer_add(&scatter->failure, told.data, told.size);
    }
    buffer_free(&told);
}

static uint64_t shape_of(const char *message, size_t size)
{
    return prepared_shape(message ? leg_body(message) : NULL, message ? size - WIRE_HEADER : 0);
}

void write_describe(struct leg *leg, const char *message, const struct wire_frame *frame)
{
    struct scatter *scatter = leg->scatter;
    struct buffer *told = &scatter->description;
    size_t size = message ? frame->size : 0;
    mosaic_error error;
    if (!scatter->client || scatter->state >= SCATTER_FINISHED)
        return;
    if (scatter->state == SCATTER_STARTING) {
        buffer_add(told, message ? message : "", size);
        scatter_turn(scatter, SCATTER_HELD);
    } else if (shape_of(message, size) != shape_of(told->size ? told->data : NULL, told->size)) {
        (void)!error_set(&error, MOSAIC_UNSUPPORTED, "shard %s has other columns than the others", leg->name);
        error_hint(&error, "pgmosaic status shows where definitions differ");
        scatter_fail(scatter, &error);
    }
}

void write_merge(struct scatter *scatter)
{
    while (scatter->order_at < scatter->order_size && scatter_wants_row(scatter)) {
        struct leg *leg = &scatter->legs[scatter->order[scatter->order_at]];
        enum leg_row found = leg_next_row(leg);
        if (found == LEG_ROW_LATER)
            return;
        if (found == LEG_ROW && !scatter_may_give(scatter))
            return;
        if (found == LEG_ROW)
            buffer_add(batch_make(&scatter->worker->to_client), leg->head - WIRE_HEADER, leg->head_size + WIRE_HEADER);
        scatter->order_at++;
    }
    if (scatter->state == SCATTER_RUNNING && scatter->order_at == scatter->order_size && scatter_all_complete(scatter))
        scatter_turn(scatter, SCATTER_FINISHED);
}
