#include "merge/merge.h"

#include "base/error.h"
#include "base/heap.h"
#include "base/memory.h"
#include "merge/aggregate.h"
#include "wire/wire.h"

#include <assert.h>
#include <string.h>

/* OIDs from here on are of types that a user has made: they differ from shard to shard (FirstNormalObjectId). */
enum { FIRST_USER_OID = 16384, BINARY = 1 };

enum leg_state {
    LEG_WAITS, /* for a row or an end; in the heap it stands first, with its last row, or nowhere yet */
    LEG_READY, /* its row is in the heap; of aggregates: was added */
    LEG_LAST,  /* the same, and it has ended */
    LEG_ENDED,
};

struct leg {
    enum leg_state state;
    bool has_given; /* a row, whose keys are still those of this leg */
};

struct column {
    uint32_t type;
    uint16_t format;
};

/*
 * In order: legs[n] has the keys keys[n * sort_count …], of its row at hand or, while it waits, of the last one, which
 * is no longer looked at but to check the next one's place. `first` is the least leg that may still wait for its first
 * row; once all have had one, the only leg to wait is the heap's first, which merge_next has just named.
 */
struct merge {
    const struct fact_scatter *scatter;
    enum merge_way way;
    uint64_t limit, offset, rows;
    bool is_described;
    struct column *columns; /* visible, then hidden */
    size_t leg_count, first;
    struct leg *legs;
    struct order *orders; /* of each sort */
    struct order_key *keys;
    struct heap heap;
    struct aggregate *aggregates; /* of each visible column */
};

static int compare_legs(void *context, uint32_t one, uint32_t two)
{
    const struct merge *merge = context;
    size_t count = merge->scatter->sort_count;
    const struct order_key *a = merge->keys + one * count, *b = merge->keys + two * count;
    for (size_t i = 0; i < count; i++) {
        int difference = order_compare(&merge->orders[i], &a[i], &b[i]);
        if (difference)
            return difference;
    }
    return 0;
}

static bool allocate_order(struct merge *merge)
{
    size_t count = merge->scatter->sort_count;
    merge->orders = memory_zeroed(count, sizeof *merge->orders);
    merge->keys = memory_zeroed(merge->leg_count * count, sizeof *merge->keys);
    merge->heap = (struct heap){.compare = compare_legs, .context = merge};
    merge->heap.streams = memory_zeroed(merge->leg_count, sizeof *merge->heap.streams);
    return merge->orders && merge->keys && merge->heap.streams;
}

struct merge *merge_new(const struct fact_scatter *scatter, uint64_t limit, uint64_t offset, size_t legs)
{
    assert(legs > 0 && legs <= MERGE_LEGS_MOST);
    assert(scatter->hidden == (scatter->combines ? scatter->columns : scatter->sort_count));
    struct merge *merge = memory_zeroed(1, sizeof *merge);
    if (!merge)
        return NULL;
    merge->scatter = scatter;
    merge->way = scatter->combines ? MERGE_AGGREGATES : scatter->sort_count ? MERGE_IN_ORDER : MERGE_AS_THEY_COME;
    merge->limit = limit;
    merge->offset = offset;
    merge->leg_count = legs;
    merge->legs = memory_zeroed(legs, sizeof *merge->legs);
    merge->columns = memory_zeroed(scatter->columns + scatter->hidden + 1, sizeof *merge->columns);
    bool ok = merge->legs && merge->columns;
    if (merge->way == MERGE_IN_ORDER)
        ok = allocate_order(merge) && ok;
    if (merge->way == MERGE_AGGREGATES)
        ok = (merge->aggregates = memory_zeroed(scatter->columns + 1, sizeof *merge->aggregates)) && ok;
    if (ok)
        return merge;
    merge_free(merge);
    return NULL;
}

void merge_free(struct merge *merge)
{
    if (!merge)
        return;
    for (size_t i = 0; merge->aggregates && i < merge->scatter->columns; i++)
        aggregate_free(&merge->aggregates[i]);
    memory_free(merge->aggregates);
    memory_free(merge->heap.streams);
    memory_free(merge->keys);
    memory_free(merge->orders);
    memory_free(merge->columns);
    memory_free(merge->legs);
    memory_free(merge);
}

enum merge_way merge_way(const struct merge *merge)
{
    return merge->way;
}

uint64_t merge_rows(const struct merge *merge)
{
    return merge->rows;
}

/* ---- columns ---------------------------------------------------------------------------------------- */

static const char *read_column(struct wire_reader *reader, struct column *column)
{
    const char *name = wire_read_text(reader);
    wire_read_bytes(reader, 4 + 2); /* table and column */
    column->type = wire_read32(reader);
    wire_read_bytes(reader, 2 + 4); /* size and modifier of the type */
    column->format = wire_read16(reader);
    return name;
}

/* The name of a column of a body that was read before. */
static const char *column_name(const char *body, size_t size, size_t number)
{
    struct wire_reader reader = {body + 2, body + size, false};
    struct column column;
    const char *name = "";
    for (size_t i = 0; i <= number; i++)
        name = read_column(&reader, &column);
    return name;
}

/* MOSAIC_UNSUPPORTED: "what number (name), whose type is …". */
static mosaic_status unsupported(mosaic_error *error, const char *what, size_t number, const char *name, uint32_t type)
{
    const char *type_name = order_type_name(type);
    if (type_name)
        return error_set(error, MOSAIC_UNSUPPORTED, "%s %zu (%s), whose type is %s", what, number + 1, name, type_name);
    return error_set(error, MOSAIC_UNSUPPORTED, "%s %zu (%s), whose type has OID %u", what, number + 1, name, type);
}

static mosaic_status start_order(struct merge *merge, const char *body, size_t size, mosaic_error *error)
{
    const struct fact_scatter *scatter = merge->scatter;
    for (size_t i = 0; i < scatter->sort_count; i++) {
        const struct fact_sort *sort = &scatter->sorts[i];
        size_t number = scatter->columns + i;
        uint32_t type = merge->columns[number].type;
        if (!order_find(type, sort->bytewise, &merge->orders[i])) {
            unsupported(error, "rows of several shards cannot be put in the order of ORDER BY's item", i,
                        column_name(body, size, number), type);
            if (merge->orders[i].form != ORDER_UNKNOWN)
                error_detail(error, "its collation is not proved to order by bytes, as \"C\" does");
            return MOSAIC_UNSUPPORTED;
        }
        merge->orders[i].descending = sort->descending;
        merge->orders[i].nulls_first = sort->nulls_first;
    }
    return MOSAIC_OK;
}

static mosaic_status start_aggregates(struct merge *merge, const char *body, size_t size, mosaic_error *error)
{
    size_t count = merge->scatter->columns;
    for (size_t i = 0; i < count; i++) {
        const struct column *visible = &merge->columns[i], *hidden = &merge->columns[count + i];
        bool starts = aggregate_start(&merge->aggregates[i], &merge->scatter->combines[i], hidden->type,
                                      visible->format == BINARY);
        if (!starts || visible->type != hidden->type)
            return unsupported(error, "values of several shards cannot be combined exactly to one of column", i,
                               column_name(body, size, i), visible->type);
    }
    return MOSAIC_OK;
}

/* Types that users have made have another OID on each shard. */
static bool same_column(const struct column *one, const struct column *two)
{
    bool same_type = one->type == two->type || (one->type >= FIRST_USER_OID && two->type >= FIRST_USER_OID);
    return same_type && one->format == two->format;
}

static mosaic_status read_columns(struct merge *merge, const char *body, size_t size, mosaic_error *error)
{
    struct wire_reader reader = {body, body + size, false};
    size_t count = wire_read16(&reader), wanted = merge->scatter->columns + merge->scatter->hidden;
    for (size_t i = 0; i < count && i < wanted; i++) {
        struct column column;
        const char *name = read_column(&reader, &column);
        if (reader.failed)
            break;
        if (!merge->is_described)
            merge->columns[i] = column;
        else if (!same_column(&column, &merge->columns[i]))
            return unsupported(error, "the shards do not agree on column", i, name, column.type);
        if (i >= merge->scatter->columns && column.format != BINARY)
            return error_set(error, MOSAIC_DATA, "a shard's hidden column %zu (%s) is not in binary", i + 1, name);
    }
    if (count == wanted && wire_read_all(&reader))
        return MOSAIC_OK;
    return error_set(error, MOSAIC_DATA, "a shard's description of %zu columns is malformed: there should be %zu",
                     count, wanted);
}

mosaic_status merge_describe(struct merge *merge, const char *body, size_t size, mosaic_error *error)
{
    mosaic_status status = read_columns(merge, body, size, error);
    if (status != MOSAIC_OK || merge->is_described)
        return status;
    if (merge->way == MERGE_IN_ORDER)
        status = start_order(merge, body, size, error);
    else if (merge->way == MERGE_AGGREGATES)
        status = start_aggregates(merge, body, size, error);
    merge->is_described = status == MOSAIC_OK;
    return status;
}

void merge_describe_row(const struct merge *merge, const char *body, size_t size, struct buffer *out)
{
    struct wire_reader reader = {body, body + size, false};
    struct column column;
    size_t at = wire_begin(out, WIRE_B_ROW_DESCRIPTION);
    wire_read16(&reader);
    for (size_t i = 0; i < merge->scatter->columns; i++)
        read_column(&reader, &column);
    wire_16(out, (uint16_t)merge->scatter->columns);
    if (reader.failed)
        out->failed = true;
    else
        buffer_add(out, body + 2, (size_t)(reader.at - body) - 2);
    wire_end(out, at);
}

/* ---- rows ------------------------------------------------------------------------------------------- */

enum merge_verdict merge_admit(struct merge *merge)
{
    if (merge->rows == merge->limit)
        return MERGE_FULL;
    if (merge->offset) {
        merge->offset--;
        return MERGE_SKIP;
    }
    merge->rows++;
    return MERGE_PASS;
}

uint64_t merge_admits(const struct merge *merge)
{
    return merge->offset ? 0 : merge->limit - merge->rows;
}

uint64_t merge_lacks(const struct merge *merge)
{
    if (merge->limit == UINT64_MAX || merge->rows == merge->limit)
        return merge->limit == UINT64_MAX ? UINT64_MAX : 0;
    return merge->offset + merge->limit - merge->rows;
}

bool merge_is_full(const struct merge *merge)
{
    return merge->rows == merge->limit;
}

void merge_admitted(struct merge *merge, uint64_t rows)
{
    assert(rows <= merge_admits(merge));
    merge->rows += rows;
}

/* The next field: *size < 0: NULL. */
static const char *read_field(struct wire_reader *reader, int32_t *size)
{
    *size = (int32_t)wire_read32(reader);
    reader->failed |= *size < -1;
    return *size > 0 ? wire_read_bytes(reader, (size_t)*size) : reader->at;
}

/* What stands behind so many fields; NULL: they are malformed. */
static const char *skip_fields(const char *at, const char *end, size_t count)
{
    while (count--) {
        if (end - at < 4)
            return NULL;
        int32_t size = (int32_t)wire_get32(at);
        at += 4;
        if (size < -1 || size > end - at)
            return NULL;
        at += size > 0 ? size : 0;
    }
    return at;
}

static mosaic_status malformed(mosaic_error *error)
{
    return error_set(error, MOSAIC_DATA, "a shard's row is malformed");
}

/* Does the key prove that its row comes before that of the last one? Sets *is_decided where no later key matters. Of
 * the last key's bytes nothing is left. */
static bool comes_before(const struct order *order, const struct order_key *key, const struct order_key *last,
                         bool *is_decided)
{
    bool is_short = order->is_whole || order->is_pair || key->rank != last->rank || key->number != last->number;
    int difference = is_short ? order_compare(order, key, last) : 0;
    *is_decided = !is_short || difference;
    return difference < 0;
}

/* Rows that were changed before they could be locked stand where they stood, with what they are now: no order then. */
static mosaic_status read_keys(struct merge *merge, size_t number, struct wire_reader *reader, mosaic_error *error)
{
    size_t count = merge->scatter->sort_count;
    struct order_key *keys = merge->keys + number * count;
    bool is_decided = !merge->legs[number].has_given;
    for (size_t i = 0; i < count; i++) {
        struct order_key key;
        int32_t size;
        const char *bytes = read_field(reader, &size);
        if (reader->failed || !order_read(&merge->orders[i], bytes, size, &key))
            return malformed(error);
        if (!is_decided && !merge->scatter->locks && comes_before(&merge->orders[i], &key, &keys[i], &is_decided))
            return error_set(error, MOSAIC_DATA, "a shard's rows do not come in the order of the statement");
        keys[i] = key;
    }
    return wire_read_all(reader) ? MOSAIC_OK : malformed(error);
}

static mosaic_status add_values(struct merge *merge, struct wire_reader *visible, struct wire_reader *hidden,
                                mosaic_error *error)
{
    for (size_t i = 0; i < merge->scatter->columns; i++) {
        struct aggregate_value value, shown;
        shown.bytes = read_field(visible, &shown.size);
        value.bytes = read_field(hidden, &value.size);
        if (hidden->failed)
            return malformed(error);
        mosaic_status status = aggregate_add(&merge->aggregates[i], value, shown, error);
        if (status != MOSAIC_OK)
            return error_prefix(error, "column %zu", i + 1);
    }
    return wire_read_all(hidden) ? MOSAIC_OK : malformed(error);
}

mosaic_status merge_offer(struct merge *merge, size_t number, const char *row, size_t size, mosaic_error *error)
{
    struct leg *leg = &merge->legs[number];
    struct wire_reader reader = {row, row + size, false};
    assert(merge->is_described && merge->way != MERGE_AS_THEY_COME);
    if (leg->state != LEG_WAITS)
        return error_set(error, MOSAIC_DATA, "a shard has given a row too many");
    if (wire_read16(&reader) != merge->scatter->columns + merge->scatter->hidden)
        return malformed(error);
    struct wire_reader visible = reader;
    reader.at = skip_fields(reader.at, reader.end, merge->scatter->columns);
    if (!reader.at)
        return malformed(error);
    mosaic_status status = merge->way == MERGE_IN_ORDER ? read_keys(merge, number, &reader, error)
                                                        : add_values(merge, &visible, &reader, error);
    if (status != MOSAIC_OK)
        return status;
    if (merge->way == MERGE_IN_ORDER && leg->has_given)
        heap_settle(&merge->heap);
    else if (merge->way == MERGE_IN_ORDER)
        heap_push(&merge->heap, (uint32_t)number);
    leg->state = LEG_READY;
    leg->has_given = true;
    return MOSAIC_OK;
}

void merge_end(struct merge *merge, size_t number)
{
    struct leg *leg = &merge->legs[number];
    bool is_ordered = merge->way == MERGE_IN_ORDER;
    if (is_ordered && leg->state == LEG_WAITS && leg->has_given)
        heap_take(&merge->heap);
    if (is_ordered && leg->state == LEG_READY)
        leg->state = LEG_LAST;
    else if (leg->state != LEG_LAST)
        leg->state = LEG_ENDED;
}

static enum merge_step next_row(struct merge *merge, size_t *leg)
{
    *leg = merge->heap.streams[0];
    enum leg_state *state = &merge->legs[*leg].state;
    if (*state == LEG_WAITS)
        return MERGE_NEEDS;
    bool is_last = *state == LEG_LAST;
    *state = is_last ? LEG_ENDED : LEG_WAITS;
    if (is_last)
        heap_take(&merge->heap);
    if (merge->offset) {
        merge->offset--;
        return MERGE_DROP;
    }
    merge->rows++;
    return MERGE_ROW;
}

enum merge_step merge_next(struct merge *merge, size_t *leg)
{
    bool is_ordered = merge->way == MERGE_IN_ORDER;
    if (is_ordered && merge->rows == merge->limit)
        return MERGE_DONE;
    while (merge->first < merge->leg_count) {
        const struct leg *first = &merge->legs[merge->first];
        if (is_ordered ? first->state == LEG_WAITS && !first->has_given : first->state != LEG_ENDED) {
            *leg = merge->first;
            return MERGE_NEEDS;
        }
        merge->first++;
    }
    return merge->heap.count ? next_row(merge, leg) : MERGE_DONE;
}

void merge_row(const struct merge *merge, const char *row, size_t size, struct buffer *out)
{
    const char *end = row + size;
    if (merge->scatter->hidden)
        end = size < 2 ? NULL : skip_fields(row + 2, end, merge->scatter->columns);
    char *room = end ? buffer_reserve(out, WIRE_HEADER + (size_t)(end - row)) : NULL;
    if (!room) {
        out->failed = true;
        return;
    }
    size_t kept = (size_t)(end - row);
    room[0] = WIRE_B_DATA_ROW;
    wire_put32(room + 1, (uint32_t)kept + 4);
    memcpy(room + WIRE_HEADER, row, kept);
    if (merge->scatter->hidden)
        wire_put16(room + WIRE_HEADER, (uint16_t)merge->scatter->columns);
    buffer_added(out, WIRE_HEADER + kept);
}

mosaic_status merge_aggregates(struct merge *merge, struct buffer *out, bool *has_row, mosaic_error *error)
{
    assert(merge->way == MERGE_AGGREGATES && merge->is_described);
    for (size_t i = 0; i < merge->leg_count; i++)
        if (!merge->legs[i].has_given)
            return error_set(error, MOSAIC_DATA, "a shard has given no row of aggregates");
    *has_row = merge->limit > 0 && merge->offset == 0;
    if (!*has_row)
        return MOSAIC_OK;
    size_t at = wire_begin(out, WIRE_B_DATA_ROW);
    wire_16(out, (uint16_t)merge->scatter->columns);
    for (size_t i = 0; i < merge->scatter->columns; i++) {
        mosaic_status status = aggregate_finish(&merge->aggregates[i], out, error);
        if (status != MOSAIC_OK)
            return status == MOSAIC_MEMORY ? status : error_prefix(error, "column %zu", i + 1);
    }
    wire_end(out, at);
    merge->rows++;
    return buffer_failed(out) ? error_memory(error) : MOSAIC_OK;
}
