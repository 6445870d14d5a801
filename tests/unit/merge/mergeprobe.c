/*
 * Merging as a filter, for tests in other languages (tests/integration/test_merge_types.py).
 *
 *     mergeprobe order LEGS LIMIT OFFSET OID:asc|desc:first|last[:bytes]…    one visible column, the first, an integer
 *     mergeprobe aggregates LEGS LIMIT OFFSET FUNCTION:OID:text|binary[:bytes]…    FUNCTION: count, sum, min …
 *
 * LIMIT: a number, or none. Reads the legs' rows from standard input, of each leg in their order: the leg (2 bytes),
 * the size (4) and the body of a DataRow, which is a row of COPY's binary format, too. Writes the DataRow messages that
 * a client gets, or on standard error why there are none.
 */
#include "base/memory.h"
#include "merge/merge.h"
#include "wire/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_MOST = 128, INTEGER = 23, MUCH = 1 << 30 };

struct row {
    const char *bytes;
    size_t size, next; /* the leg's next row; 0: none */
};

static struct fact_sort sorts[COLUMNS_MOST];
static struct fact_combine combines[COLUMNS_MOST];
static struct fact_scatter scatter;
static struct row *rows; /* from 1 */
static size_t first[MERGE_LEGS_MOST], last[MERGE_LEGS_MOST];

static void stop(const char *what)
{
    fprintf(stderr, "mergeprobe: %s\n", what);
    exit(1);
}

static void add_column(struct buffer *body, uint32_t type, uint16_t format)
{
    wire_text(body, "column");
    wire_32(body, 0);
    wire_16(body, 0);
    wire_32(body, type);
    wire_16(body, 0);
    wire_32(body, (uint32_t)-1);
    wire_16(body, format);
}

static enum fact_aggregate function_named(const char *name)
{
    static const char *const names[] = {"count",   "sum",     "min",    "max",    "bool_and",
                                        "bool_or", "bit_and", "bit_or", "bit_xor"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], name) == 0)
            return (enum fact_aggregate)i;
    stop("no such aggregate");
    return AGGREGATE_COUNT;
}

static void read_columns(char **arguments, size_t count, bool is_order, struct buffer *body)
{
    uint32_t types[COLUMNS_MOST];
    if (count > COLUMNS_MOST)
        stop("too many columns");
    scatter.hidden = count;
    scatter.columns = is_order ? 1 : count;
    wire_16(body, (uint16_t)(scatter.columns + count));
    if (is_order)
        add_column(body, INTEGER, 1);
    for (size_t i = 0; i < count; i++) {
        char *one = strtok(arguments[i], ":"), *two = strtok(NULL, ":"), *three = strtok(NULL, ":");
        if (!three)
            stop("a column has three words");
        bool bytewise = strtok(NULL, ":");
        types[i] = (uint32_t)strtoul(is_order ? one : two, NULL, 10);
        if (is_order) {
            sorts[i] = (struct fact_sort){strcmp(two, "desc") == 0, strcmp(three, "first") == 0, bytewise};
        } else {
            combines[i] = (struct fact_combine){function_named(one), bytewise};
            add_column(body, types[i], strcmp(three, "binary") == 0);
        }
    }
    for (size_t i = 0; i < count; i++)
        add_column(body, types[i], 1);
    scatter.sort_count = is_order ? count : 0;
    scatter.sorts = sorts;
    scatter.combines = is_order ? NULL : combines;
}

static void read_rows(size_t legs)
{
    struct buffer input = BUFFER_INIT(MUCH);
    char *room;
    size_t got, count = 0, capacity = 0;
    while ((room = buffer_reserve(&input, 1 << 16)) && (got = fread(room, 1, 1 << 16, stdin)))
        buffer_added(&input, got);
    for (size_t at = 0; at < input.size;) {
        size_t leg = wire_get16(input.data + at), size = wire_get32(input.data + at + 2);
        if (++count >= capacity)
            rows = memory_resize(rows, (capacity = 2 * count) * sizeof *rows);
        if (leg >= legs || !rows)
            stop("no such leg");
        rows[count] = (struct row){input.data + at + 6, size, 0};
        if (last[leg])
            rows[last[leg]].next = count;
        else
            first[leg] = count;
        last[leg] = count;
        at += 6 + size;
    }
}

static size_t give(struct merge *merge, size_t leg)
{
    mosaic_error error;
    size_t number = first[leg];
    if (number == 0) {
        merge_end(merge, leg);
        return 0;
    }
    first[leg] = rows[number].next;
    if (merge_offer(merge, leg, rows[number].bytes, rows[number].size, &error) != MOSAIC_OK)
        stop(error.message);
    return number;
}

int main(int count, char **arguments)
{
    if (count < 6)
        stop("usage: see the source");
    bool is_order = strcmp(arguments[1], "order") == 0, has_row = false;
    size_t legs = strtoul(arguments[2], NULL, 10), leg;
    uint64_t limit = strcmp(arguments[3], "none") == 0 ? UINT64_MAX : strtoull(arguments[3], NULL, 10);
    uint64_t offset = strtoull(arguments[4], NULL, 10);
    struct buffer body = BUFFER_INIT(MUCH), out = BUFFER_INIT(MUCH);
    mosaic_error error;
    static size_t at_hand[MERGE_LEGS_MOST];
    read_columns(arguments + 5, (size_t)count - 5, is_order, &body);
    struct merge *merge = merge_new(&scatter, limit, offset, legs);
    if (merge_describe(merge, body.data, body.size, &error) != MOSAIC_OK)
        stop(error.message);
    read_rows(legs);
    for (enum merge_step step; (step = merge_next(merge, &leg)) != MERGE_DONE;) {
        if (step == MERGE_NEEDS)
            at_hand[leg] = give(merge, leg);
        else if (step == MERGE_ROW)
            merge_row(merge, rows[at_hand[leg]].bytes, rows[at_hand[leg]].size, &out);
    }
    if (!is_order && merge_aggregates(merge, &out, &has_row, &error) != MOSAIC_OK)
        stop(error.message);
    fwrite(out.data, 1, out.size, stdout);
    merge_free(merge);
    return 0;
}
