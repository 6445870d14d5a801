/*
 * Rows whose key changes go to another shard: the first leg deletes them and gives what they will be, the second one
 * inserts them, a row each time, and gives what RETURNING says of them. What is kept between the two is bounded by
 * scatter_memory. Rows of a reference table with defaults that are not the same everywhere the first leg inserts, and
 * all others behind it, one after the other.
 *
 * The first leg is told of the client's own statement, too, which is not run: what is wrong with it PostgreSQL says, as
 * it would have said it.
 */
#include "proxy/leg.h"
#include "proxy/proxy.h"

#include <string.h>

enum { REQUEST_MOST = WIRE_LENGTH_MOST, OWN_TYPES = 16384, TEXT = 25 };

struct scatter_move {
    struct fact_move fact; /* its texts are the legs' */
    uint32_t *declared;    /* types of the client's parameters, as Parse gave them */
    uint16_t declared_count;
    struct buffer results; /* the formats of the result, as they stand in Bind, with their number */
    uint32_t *types;       /* of the values, as the second leg is to read them; 0: as its columns' */
    struct buffer rows;    /* values of a row, behind their size */
    size_t count;          /* of rows */
    size_t answered;       /* of them, by the leg whose turn it is */
    bool is_checked;       /* the client's own statement is right */
};

bool move_new(struct scatter *scatter, const struct scatter_order *order, const struct fact_move *fact)
{
    struct arena *arena = &scatter->arena;
    struct scatter_move *move = arena_zeroed(arena, 1, sizeof *move);
    size_t most = (size_t)scatter->worker->settings->scatter_memory;
    if (!move)
        return false;
    scatter->move = move;
    scatter->in_turn = true;
    move->fact = *fact;
    move->fact.taken = move->fact.put = NULL;
    move->rows = BUFFER_INIT(most < REQUEST_MOST / 2 ? most : REQUEST_MOST / 2);
    move->results = BUFFER_INIT(REQUEST_MOST);
    move->types = arena_zeroed(arena, fact->count + 1, sizeof *move->types);
    move->declared_count = order->types ? order->type_count : 0;
    move->declared = arena_copy(arena, move->declared_count ? order->types : &(uint32_t){0},
                                (move->declared_count ? move->declared_count : 1u) * sizeof *move->declared);
    uint16_t formats = order->bind ? order->bind->result_count : 0;
    wire_16(&move->results, formats);
    buffer_add(&move->results, formats ? order->bind->results : "", formats * (size_t)2);
    move->fact.as_text = arena_copy(arena, fact->as_text, fact->count + 1);
    return move->types && move->declared && move->fact.as_text && !buffer_failed(&move->results);
}

void move_free(struct scatter *scatter)
{
    if (!scatter->move)
        return;
    buffer_free(&scatter->move->rows);
    buffer_free(&scatter->move->results);
}

static uint32_t type_on(const struct leg *leg, uint32_t type)
{
    return schema_oid_on(scatter_schema(leg->scatter), leg->shard, type);
}

/* The DELETE. False: memory is out. */
static bool write_taking(struct leg *leg, struct buffer *out)
{
    struct scatter *scatter = leg->scatter;
    const struct scatter_move *move = scatter->move;
    const struct bound_values *bound = &leg->asking->bound;
    size_t most = bound->count > move->declared_count ? bound->count : move->declared_count;
    uint32_t *types = arena_zeroed(&scatter->arena, most + 1, sizeof *types);
    if (!types)
        return false;
    for (size_t i = 0; i < move->declared_count; i++)
        types[i] = type_on(leg, move->declared[i]);
    wire_parse(out, "", scatter->text, scatter->size, types, move->declared_count);
    for (size_t i = 0; i < bound->count; i++)
        types[i] = type_on(leg, bound->types[i]);
    wire_parse(out, "", leg->asking->text, strlen(leg->asking->text), types, bound->count);
    size_t at = wire_begin(out, WIRE_BIND);
    wire_text(out, "");
    wire_text(out, "");
    wire_16(out, bound->count);
    buffer_add(out, buffer_string(&bound->formats), bound->formats.size);
    wire_16(out, bound->count);
    buffer_add(out, buffer_string(&bound->values), bound->values.size);
    wire_16(out, (uint16_t)move->fact.count);
    for (size_t i = 0; i < move->fact.count; i++)
        wire_16(out, !move->fact.as_text[i]);
    wire_end(out, at);
    wire_describe(out, 'P', "");
    wire_execute(out, "");
    return true;
}

/* The client's values, then those of a row; NULL: NULLs, to be described and not run. */
static void write_bind(const struct leg *leg, const char *values, size_t size, struct buffer *out)
{
    const struct scatter_move *move = leg->scatter->move;
    const struct bound_values *bound = &leg->asking->bound;
    uint16_t all = (uint16_t)(move->fact.parameters + move->fact.count);
    size_t at = wire_begin(out, WIRE_BIND);
    wire_text(out, "");
    wire_text(out, "");
    wire_16(out, all);
    buffer_add(out, buffer_string(&bound->formats), bound->formats.size);
    for (size_t i = bound->count; i < move->fact.parameters; i++)
        wire_16(out, 0);
    for (size_t i = 0; i < move->fact.count; i++)
        wire_16(out, !move->fact.as_text[i]);
    wire_16(out, all);
    buffer_add(out, buffer_string(&bound->values), bound->values.size);
    for (size_t i = bound->count; i < move->fact.parameters; i++)
        wire_32(out, UINT32_MAX);
    for (size_t i = 0; !values && i < move->fact.count; i++)
        wire_32(out, UINT32_MAX);
    buffer_add(out, values ? values : "", size);
    buffer_add(out, move->results.data, move->results.size);
    wire_end(out, at);
}

/* The INSERTs. */
static bool write_putting(struct leg *leg, struct buffer *out)
{
    struct scatter *scatter = leg->scatter;
    const struct scatter_move *move = scatter->move;
    const struct bound_values *bound = &leg->asking->bound;
    size_t all = move->fact.parameters + move->fact.count, at = 0;
    uint32_t *types = arena_zeroed(&scatter->arena, all + 1, sizeof *types);
    if (!types)
        return false;
    for (size_t i = 0; i < move->fact.parameters; i++)
        types[i] = i < bound->count ? type_on(leg, bound->types[i]) : TEXT;
    for (size_t i = 0; i < move->fact.count; i++)
        types[move->fact.parameters + i] = move->types[i];
    wire_parse(out, "", leg->asking->text, strlen(leg->asking->text), types, (uint16_t)all);
    for (size_t i = 0; i < move->count; i++) {
        uint32_t size = wire_get32(move->rows.data + at);
        write_bind(leg, move->rows.data + at + 4, size, out);
        at += 4 + (size_t)size;
        if (i == 0)
            wire_describe(out, 'P', "");
        wire_execute(out, "");
    }
    if (move->count)
        return true;
    write_bind(leg, NULL, 0, out);
    wire_describe(out, 'P', "");
    return true;
}

bool move_write_request(struct leg *leg, struct buffer *out)
{
    bool done = leg->number == 0 ? write_taking(leg, out) : write_putting(leg, out);
    wire_empty(out, WIRE_SYNC);
    return done;
}

mosaic_status move_check(const struct scatter *scatter, mosaic_error *error)
{
    const struct scatter_move *move = scatter->move;
    const struct bound_values *bound = &scatter->legs[0].asking->bound;
    if (bound->count <= move->fact.parameters && move->fact.parameters + move->fact.count <= UINT16_MAX)
        return MOSAIC_OK;
    mosaic_status status =
        error_set(error, MOSAIC_DATA, "bind message supplies %u parameters, but the statement requires %zu",
                  bound->count, move->fact.parameters);
    error_sqlstate(error, "08P01");
    return status;
}

void move_describe(struct leg *leg, const char *body, size_t size)
{
    struct scatter *scatter = leg->scatter;
    struct scatter_move *move = scatter->move;
    struct wire_reader reader = {body, body + size, false};
    mosaic_error error;
    uint16_t count = wire_read16(&reader);
    for (size_t i = 0; i < count && i < move->fact.count; i++) {
        (void)wire_read_text(&reader);
        (void)wire_read_bytes(&reader, 6);
        uint32_t type = wire_read32(&reader);
        move->types[i] = move->fact.as_text[i] ? 0 : type;
        (void)wire_read_bytes(&reader, 8);
        if (move->types[i] < OWN_TYPES)
            continue;
        (void)!error_set(&error, MOSAIC_UNSUPPORTED,
                         "a row that goes to another shard gets a value of a type of your own");
        error_detail(&error, "What a column is set to is an expression of such a type.");
        error_hint(&error, "Set it to a literal or a parameter; or delete the row and insert it with its new key.");
        error_sqlstate(&error, "0A000");
        scatter_fail(scatter, &error);
        return;
    }
}

void move_take_row(struct leg *leg, const char *body, size_t size)
{
    struct scatter *scatter = leg->scatter;
    struct scatter_move *move = scatter->move;
    bool has_values = move->fact.count > 0;
    mosaic_error error;
    move->count++;
    wire_32(&move->rows, has_values ? (uint32_t)(size - 2) : 0);
    buffer_add(&move->rows, body + 2, has_values ? size - 2 : 0);
    const struct leg *last = &scatter->legs[scatter->leg_count - 1]; /* it gets the client's parameters with each row */
    size_t repeated = move->count * last->asking->bound.values.size;
    if (!buffer_failed(&move->rows) && repeated <= move->rows.maximum - move->rows.size)
        return;
    (void)!error_set(&error, MOSAIC_LIMIT, "the rows that go to another shard are more than scatter_memory (%zu bytes)",
                     move->rows.maximum);
    error_sqlstate(&error, "54000");
    error_hint(&error, "move fewer rows at once");
    scatter_fail(scatter, &error);
}

void move_parsed(struct leg *leg)
{
    leg->scatter->move->is_checked = true;
}

bool move_is_checked(const struct scatter *scatter)
{
    return scatter->move->is_checked;
}

bool move_goes_on(struct leg *leg)
{
    struct scatter_move *move = leg->scatter->move;
    if (leg->number && ++move->answered < move->count)
        return true;
    move->answered = 0; /* of the next leg */
    return false;
}

bool move_is_empty(const struct leg *leg)
{
    return leg->number && leg->scatter->move->count == 0;
}
