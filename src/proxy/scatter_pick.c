/*
 * Rows that ORDER BY and LIMIT pick of all shards', and that are locked: the head of a queue.
 *
 *     peek:  each leg gives candidates, without a lock, so many at a time, in their order
 *     merge: the next candidate of all, and those of the same leg behind it, as many as are lacking
 *     try:   that leg locks (or changes) those of them that nobody has locked; the client gets these rows
 *     … until there are enough, or no candidate is left
 *
 * One PostgreSQL would look again at a row that somebody has changed since it was found. Here it is another version,
 * which nobody finds: behind what is tried it is asked whether all of them were there. If not, and nothing was given
 * yet, it all begins anew; if so, those that were not given were locked.
 *
 * So rows are tried in their order, and none is locked that is not given. While one leg tries, the others keep their
 * servers and wait: they are idle. Candidates stand in the unnamed portal, which is replaced by whatever comes next.
 */
#include "proxy/leg.h"
#include "proxy/proxy.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { REQUEST_MOST = WIRE_LENGTH_MOST, AT_ONCE = 32, TRIED_AT_ONCE = 64, VERSION_MOST = 64, OWN_COLUMNS = 2 };

static const char portal[] = "mosaic:pick"; /* of what is tried */

struct scatter_pick {
    const char *before, *after, *counts, *counted, *row; /* of what is tried: fact_pick */
    struct fact_scatter order;                           /* how candidates are merged */
    struct merge *merge;
    struct bound_values bound, counting; /* of what is tried, and of what counts */
    struct buffer results;               /* the formats of the result, as they stand in Bind, with their number */
    uint64_t most, lacks;                /* so many are wanted, and not yet there */
    struct leg *leg;                     /* whose the next candidates are; NULL: there are none yet */
    struct leg *pending;                 /* whose the candidate behind them is, another one; NULL */
    struct buffer condition;             /* of these */
    size_t count;
    struct leg *trying; /* who is told what is tried; NULL */
    size_t tried;       /* so many */
    bool is_counting;   /* it has done so, and counts how many were there */
    bool has_tried, is_done;
    bool begins; /* all begins anew, once all legs have answered */
};

/* ---- what is asked ---- */

static void write_bind(struct buffer *out, const char *name, const struct bound_values *bound)
{
    wire_text(out, name);
    wire_text(out, "");
    wire_16(out, bound->count);
    buffer_add(out, buffer_string(&bound->formats), bound->formats.size);
    wire_16(out, bound->count);
    buffer_add(out, buffer_string(&bound->values), bound->values.size);
}

/* Some more candidates of the unnamed portal. */
static void write_fetch(struct buffer *out)
{
    size_t at = wire_begin(out, WIRE_EXECUTE);
    wire_text(out, "");
    wire_32(out, AT_ONCE);
    wire_end(out, at);
    wire_empty(out, WIRE_SYNC);
}

static bool write_peek(struct scatter *scatter)
{
    struct buffer *out = &scatter->asking.request;
    size_t sorts = scatter->pick->order.sort_count;
    *out = BUFFER_INIT(REQUEST_MOST);
    size_t at = wire_begin(out, WIRE_BIND);
    write_bind(out, "", &scatter->asking.bound);
    wire_16(out, (uint16_t)(OWN_COLUMNS + sorts));
    for (size_t i = 0; i < OWN_COLUMNS + sorts; i++)
        wire_16(out, i >= OWN_COLUMNS);
    wire_end(out, at);
    wire_describe(out, 'P', "");
    write_fetch(out);
    return !buffer_failed(out);
}

bool pick_new(struct scatter *scatter, const struct scatter_order *order, const struct fact_pick *fact, uint64_t most)
{
    struct arena *arena = &scatter->arena;
    struct scatter_pick *pick = arena_zeroed(arena, 1, sizeof *pick);
    uint16_t formats = order->bind ? order->bind->result_count : 0;
    if (!pick)
        return false;
    scatter->pick = pick;
    pick->most = pick->lacks = most;
    pick->results = pick->condition = BUFFER_INIT(REQUEST_MOST);
    wire_16(&pick->results, formats);
    buffer_add(&pick->results, formats ? order->bind->results : "", formats * (size_t)2);
    pick->before = arena_string(arena, fact->before);
    pick->after = arena_string(arena, fact->after);
    pick->counts = arena_string(arena, fact->counts);
    pick->counted = arena_string(arena, fact->counted);
    pick->row = arena_string(arena, fact->row);
    pick->order = (struct fact_scatter){.columns = OWN_COLUMNS, .hidden = fact->sort_count};
    pick->order.sort_count = fact->sort_count;
    pick->order.sorts = arena_copy(arena, fact->sorts, fact->sort_count * sizeof *fact->sorts);
    pick->merge = pick->order.sorts ? merge_new(&pick->order, UINT64_MAX, 0, scatter->leg_count) : NULL;
    bound_values_free(&scatter->asking.bound);
    scatter->asking.text = arena_string(arena, fact->peek);
    const char *tried = arena_format(arena, "%s %s", fact->before, fact->after);
    return pick->before && pick->after && pick->counts && pick->counted && pick->row && pick->merge &&
           scatter->asking.text && tried &&
           bound_values_take(&pick->bound, arena, tried, order->types, order->type_count, order->bind) &&
           bound_values_take(&pick->counting, arena, pick->counted, order->types, order->type_count, order->bind) &&
           bound_values_take(&scatter->asking.bound, arena, scatter->asking.text, order->types, order->type_count,
                             order->bind) &&
           !buffer_failed(&pick->results) && write_peek(scatter);
}

void pick_free(struct scatter *scatter)
{
    if (!scatter->pick)
        return;
    merge_free(scatter->pick->merge);
    bound_values_free(&scatter->pick->bound);
    bound_values_free(&scatter->pick->counting);
    buffer_free(&scatter->pick->results);
    buffer_free(&scatter->pick->condition);
}

static void write_parse(struct leg *leg, const char *text, const struct bound_values *bound, struct buffer *out)
{
    struct scatter *scatter = leg->scatter;
    uint32_t *types = arena_zeroed(&scatter->arena, bound->count + 1u, sizeof *types);
    out->failed |= !types || !text;
    for (uint16_t i = 0; types && i < bound->count; i++)
        types[i] = schema_oid_on(scatter_schema(scatter), leg->shard, bound->types[i]);
    if (types && text)
        wire_parse(out, "", text, strlen(text), types, bound->count);
}

static void ask_more(struct leg *leg)
{
    struct buffer out = BUFFER_INIT(REQUEST_MOST);
    if (!leg_is_current(leg))
        return;
    write_fetch(&out);
    leg_ask_again(leg, &out);
    buffer_free(&out);
}

/* How many of the candidates are there, as they were found? */
static void write_count(struct leg *leg, struct buffer *out)
{
    struct scatter_pick *pick = leg->scatter->pick;
    const char *text =
        arena_format(&leg->scatter->arena, "%s(%s)%s", pick->counts, buffer_string(&pick->condition), pick->counted);
    write_parse(leg, text, &pick->counting, out);
    size_t at = wire_begin(out, WIRE_BIND);
    write_bind(out, portal, &pick->counting);
    wire_16(out, 0);
    wire_end(out, at);
    wire_execute(out, portal);
    wire_close(out, 'P', portal);
}

/* The candidates that there are, or, where there are none, what gives no row: for its columns. */
static void try_them(struct scatter *scatter, struct leg *leg)
{
    struct scatter_pick *pick = scatter->pick;
    struct buffer out = BUFFER_INIT(REQUEST_MOST);
    const char *which = pick->count ? buffer_string(&pick->condition) : "false";
    const char *text = arena_format(&scatter->arena, "%s(%s)%s", pick->before, which, pick->after);
    if (!leg_is_current(leg))
        return;
    out.failed |= buffer_failed(&pick->condition);
    write_parse(leg, text, &pick->bound, &out);
    size_t at = wire_begin(&out, WIRE_BIND);
    write_bind(&out, portal, &pick->bound);
    buffer_add(&out, pick->results.data, pick->results.size);
    wire_end(&out, at);
    wire_describe(&out, 'P', portal);
    wire_execute(&out, portal);
    wire_close(&out, 'P', portal);
    if (pick->count)
        write_count(leg, &out);
    wire_empty(&out, WIRE_SYNC);
    pick->trying = leg;
    pick->tried = pick->count;
    pick->is_counting = false;
    pick->has_tried = true;
    pick->leg = NULL;
    pick->count = 0;
    buffer_clear(&pick->condition);
    leg_ask_again(leg, &out);
    buffer_free(&out);
}

/* ---- candidates ---- */

bool leg_peeks(const struct leg *leg)
{
    const struct scatter_pick *pick = leg->scatter->pick;
    return pick && (pick->trying != leg || pick->is_counting);
}

void pick_describe(struct leg *leg, const char *body, size_t size)
{
    struct scatter *scatter = leg->scatter;
    mosaic_error error;
    mosaic_status status = merge_describe(scatter->pick->merge, body, size, &error);
    if (status == MOSAIC_OK)
        return;
    if (status == MOSAIC_UNSUPPORTED) {
        error_sqlstate(&error, "0A000");
        error_hint(&error, "leave out ORDER BY, for any rows that are free");
    }
    scatter_fail(scatter, &error);
}

/* Those that are not there any more were changed: what is behind them in the order may not be what comes next. */
static void take_count(struct scatter *scatter, const char *body, size_t size)
{
    struct scatter_pick *pick = scatter->pick;
    struct wire_reader reader = {body, body + size, false};
    (void)wire_read16(&reader);
    int32_t digits = (int32_t)wire_read32(&reader);
    const char *text = digits > 0 && digits < VERSION_MOST ? wire_read_bytes(&reader, (size_t)digits) : NULL;
    char number[VERSION_MOST] = "";
    if (text && !reader.failed)
        memcpy(number, text, (size_t)digits);
    pick->begins = pick->lacks == pick->most && strtoull(number, NULL, 10) != pick->tried;
}

void pick_take_row(struct leg *leg, const char *message, size_t size)
{
    mosaic_error error;
    if (leg->scatter->pick->trying == leg) {
        take_count(leg->scatter, leg_body(message), size - WIRE_HEADER);
        return;
    }
    leg->candidates++;
    buffer_add(&leg->next, message, size);
    if (!buffer_failed(&leg->next))
        return;
    error_memory(&error);
    scatter_fail(leg->scatter, &error);
}

/* The next field of a row, which stands in a literal: of digits and signs alone. NULL: it is none such. */
static const char *read_version(struct wire_reader *reader, int *size)
{
    *size = (int)wire_read32(reader);
    const char *text = *size > 0 && *size < VERSION_MOST ? wire_read_bytes(reader, (size_t)*size) : NULL;
    for (int i = 0; text && !reader->failed && i < *size; i++)
        if (!isdigit((unsigned char)text[i]) && !strchr("(),", text[i]))
            return NULL;
    return reader->failed ? NULL : text;
}

/* False: it is no row of ours. */
static bool add_candidate(struct scatter *scatter, struct leg *leg)
{
    struct scatter_pick *pick = scatter->pick;
    struct wire_reader reader = {leg->head, leg->head + leg->head_size, false};
    int place_size, version_size;
    mosaic_error error;
    (void)wire_read16(&reader);
    const char *place = read_version(&reader, &place_size);
    const char *version = place ? read_version(&reader, &version_size) : NULL;
    if (!version) {
        (void)!error_set(&error, MOSAIC_DATA, "shard %s does not say where a row is", leg->name);
        scatter_fail(scatter, &error);
        return false;
    }
    buffer_format(&pick->condition,
                  "%s(%s.ctid OPERATOR(pg_catalog.=) '%.*s'::pg_catalog.tid AND "
                  "%s.xmin OPERATOR(pg_catalog.=) '%.*s'::pg_catalog.xid)",
                  pick->count ? " OR " : "", pick->row, place_size, place, pick->row, version_size, version);
    pick->leg = leg;
    pick->count++;
    return true;
}

/* Others have locked so many that it is not sure what comes behind them. */
static void fail_behind(struct scatter *scatter, const struct leg *leg)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_LIMIT, "more than %d rows of shard %s that others have locked come first",
                     (int)PICK_BEHIND, leg->name);
    error_sqlstate(&error, "54000");
    error_hint(&error, "leave out ORDER BY, or let what is done be no candidate any more");
    scatter_fail(scatter, &error);
}

/* Another candidate of this leg, or its end. False: neither is there yet. */
static bool offer(struct scatter *scatter, struct leg *leg)
{
    struct scatter_pick *pick = scatter->pick;
    mosaic_error error;
    switch (leg_next_row(leg)) {
    case LEG_ROW:
        if (merge_offer(pick->merge, leg->number, leg->head, leg->head_size, &error) == MOSAIC_OK)
            return true;
        scatter_fail(scatter, &error);
        return false;
    case LEG_ROW_LATER:
        return false;
    default:
        break;
    }
    if (leg->is_suspended) {
        if (!pick->count)
            ask_more(leg);
        return false;
    }
    if (pick->most != UINT64_MAX && leg->candidates >= pick->most + PICK_BEHIND) {
        fail_behind(scatter, leg);
        return false;
    }
    merge_end(pick->merge, leg->number);
    return true;
}

/* Candidates of one leg, which stand one behind the other. False: it is not known yet which is the next. */
static bool gather(struct scatter *scatter)
{
    struct scatter_pick *pick = scatter->pick;
    struct leg *leg = pick->pending;
    size_t number;
    pick->pending = NULL;
    if (leg && !add_candidate(scatter, leg))
        return false;
    while (pick->count < TRIED_AT_ONCE && pick->count < pick->lacks) {
        switch (merge_next(pick->merge, &number)) {
        case MERGE_NEEDS:
            if (!offer(scatter, &scatter->legs[number]))
                return pick->count > 0;
            break;
        case MERGE_ROW:
            leg = &scatter->legs[number];
            if (pick->leg && pick->leg != leg) {
                pick->pending = leg;
                return true;
            }
            if (!add_candidate(scatter, leg))
                return false;
            break;
        case MERGE_DROP:
            break;
        default:
            return true;
        }
    }
    return true;
}

/* Each shard is asked as at first. */
static void begin_anew(struct scatter *scatter)
{
    struct scatter_pick *pick = scatter->pick;
    mosaic_error error;
    merge_free(pick->merge);
    pick->merge = merge_new(&pick->order, UINT64_MAX, 0, scatter->leg_count);
    pick->begins = false;
    pick->leg = pick->pending = NULL;
    pick->count = 0;
    buffer_clear(&pick->condition);
    if (!pick->merge) {
        error_memory(&error);
        scatter_fail(scatter, &error);
    }
    for (size_t i = 0; pick->merge && i < scatter->leg_count && leg_is_current(&scatter->legs[i]); i++) {
        struct leg *leg = &scatter->legs[i];
        const struct bound_values *bound = &scatter->asking.bound;
        struct buffer out = BUFFER_INIT(REQUEST_MOST);
        buffer_clear(&leg->rows);
        buffer_clear(&leg->next);
        leg->at = 0;
        leg->candidates = 0;
        write_parse(leg, scatter->asking.text, bound, &out);
        buffer_add(&out, scatter->asking.request.data, scatter->asking.request.size);
        leg_ask_again(leg, &out);
        buffer_free(&out);
    }
}

/* How many legs wait for what comes. */
static size_t count_idle(const struct scatter *scatter)
{
    size_t count = 0;
    for (size_t i = 0; i < scatter->leg_count; i++)
        count += scatter->legs[i].is_idle;
    return count;
}

void pick_go(struct scatter *scatter)
{
    struct scatter_pick *pick = scatter->pick;
    for (size_t i = 0; i < scatter->leg_count; i++)
        if (scatter->legs[i].state < LEG_ASKED)
            return; /* the order is known when all have been asked */
    if (scatter->client && scatter->state < SCATTER_FINISHED && pick->begins) {
        if (count_idle(scatter) == scatter->leg_count)
            begin_anew(scatter);
        return;
    }
    if (!scatter->client || scatter->state >= SCATTER_FINISHED || pick->trying || pick->is_done || !gather(scatter) ||
        scatter->state >= SCATTER_FINISHED)
        return;
    struct leg *leg = pick->count ? pick->leg : pick->has_tried ? NULL : &scatter->legs[0];
    if (leg && leg->is_idle) {
        try_them(scatter, leg);
    } else if (!leg) {
        pick->is_done = true;
        scatter_merge(scatter);
    }
}

/* ---- answers ---- */

void pick_complete(struct leg *leg, const char *tag)
{
    struct scatter *scatter = leg->scatter;
    struct scatter_pick *pick = scatter->pick;
    if (leg_peeks(leg)) {
        leg->is_suspended = leg != pick->trying ? tag == NULL : leg->is_suspended;
        return;
    }
    pick->is_counting = true;
    const char *last = tag ? strrchr(tag, ' ') : NULL;
    uint64_t count = last ? strtoull(last + 1, NULL, 10) : 0;
    if (scatter->write)
        write_take_tag(leg, tag ? tag : "");
    pick->lacks -= scatter->write && count ? pick->lacks : count < pick->lacks ? count : pick->lacks;
    pick->is_done = pick->lacks == 0;
}

bool pick_keeps(struct leg *leg)
{
    struct scatter *scatter = leg->scatter;
    struct scatter_pick *pick = scatter->pick;
    if (!pick)
        return false;
    if (pick->trying == leg)
        pick->trying = NULL;
    leg->is_idle = scatter->client && scatter->state < SCATTER_FINISHED && !pick->is_done;
    leg->client.awaits_ready = false;
    return leg->is_idle;
}

bool pick_is_done(const struct scatter *scatter)
{
    return scatter->pick->is_done;
}
