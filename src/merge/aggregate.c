#include "merge/aggregate.h"

#include "base/error.h"
#include "wire/wire.h"

#include <inttypes.h>

enum { BOOL = 16, INT8 = 20, INT2 = 21, INT4 = 23, NUMERIC = 1700, NOTHING = -1 };

static bool is_integer(uint32_t type)
{
    return type == INT2 || type == INT4 || type == INT8;
}

bool aggregate_start(struct aggregate *aggregate, const struct fact_combine *combine, uint32_t type, bool is_binary)
{
    *aggregate = (struct aggregate){.function = combine->function,
                                    .type = type,
                                    .is_binary = is_binary,
                                    .best = BUFFER_INIT(WIRE_LENGTH_MOST),
                                    .visible = BUFFER_INIT(WIRE_LENGTH_MOST)};
    bool has_order = order_find(type, combine->bytewise, &aggregate->order);
    switch (combine->function) {
    case AGGREGATE_COUNT:
        return type == INT8;
    case AGGREGATE_SUM: /* a sum of floats depends on the order of its rows */
        return type == INT8 || type == NUMERIC;
    case AGGREGATE_MIN:
    case AGGREGATE_MAX:
        return has_order;
    case AGGREGATE_BOOL_AND:
    case AGGREGATE_BOOL_OR:
        return type == BOOL;
    case AGGREGATE_BIT_AND:
    case AGGREGATE_BIT_OR:
    case AGGREGATE_BIT_XOR:
        return is_integer(type);
    }
    return false;
}

static mosaic_status malformed(mosaic_error *error)
{
    return error_set(error, MOSAIC_DATA, "a shard's value of an aggregate is malformed");
}

static mosaic_status out_of_range(mosaic_error *error, const char *message)
{
    error_set(error, MOSAIC_DATA, "%s", message);
    return error_sqlstate(error, "22003");
}

/* min, max: the first of equal ones stays. */
static mosaic_status choose(struct aggregate *aggregate, struct aggregate_value value, struct aggregate_value visible,
                            mosaic_error *error)
{
    struct order_key key;
    if (!order_read(&aggregate->order, value.bytes, value.size, &key))
        return malformed(error);
    if (aggregate->has_value) {
        int difference = order_compare(&aggregate->order, &key, &aggregate->key);
        if (aggregate->function == AGGREGATE_MIN ? difference >= 0 : difference <= 0)
            return MOSAIC_OK;
    }
    buffer_clear(&aggregate->best);
    buffer_clear(&aggregate->visible);
    buffer_add(&aggregate->best, value.bytes, (size_t)value.size);
    buffer_add(&aggregate->visible, visible.bytes, (size_t)visible.size);
    if (buffer_failed(&aggregate->best) || buffer_failed(&aggregate->visible))
        return error_memory(error);
    if (!order_read(&aggregate->order, buffer_string(&aggregate->best), value.size, &aggregate->key))
        return malformed(error);
    aggregate->has_value = true;
    return MOSAIC_OK;
}

static mosaic_status add_numeric(struct aggregate *aggregate, struct aggregate_value value, mosaic_error *error)
{
    switch (total_add(&aggregate->sum, value.bytes, (size_t)value.size)) {
    case TOTAL_OK:
        aggregate->has_value = true;
        return MOSAIC_OK;
    case TOTAL_MEMORY:
        return error_memory(error);
    case TOTAL_MALFORMED:
        break;
    }
    return malformed(error);
}

static bool read_integer(uint32_t type, struct aggregate_value value, int64_t *number)
{
    int32_t wanted = type == BOOL ? 1 : type == INT2 ? 2 : type == INT4 ? 4 : 8;
    if (value.size != wanted)
        return false;
    if (type == BOOL)
        *number = (unsigned char)*value.bytes;
    else if (type == INT2)
        *number = (int16_t)wire_get16(value.bytes);
    else if (type == INT4)
        *number = (int32_t)wire_get32(value.bytes);
    else
        *number = (int64_t)((uint64_t)wire_get32(value.bytes) << 32 | wire_get32(value.bytes + 4));
    return type != BOOL || *number == 0 || *number == 1;
}

static mosaic_status add_integer(struct aggregate *aggregate, struct aggregate_value value, mosaic_error *error)
{
    int64_t number, so_far = aggregate->number;
    if (!read_integer(aggregate->type, value, &number))
        return malformed(error);
    if (aggregate->function == AGGREGATE_COUNT || aggregate->function == AGGREGATE_SUM) {
        if (__builtin_add_overflow(so_far, number, &number))
            return out_of_range(error, "bigint out of range");
    } else if (aggregate->has_value) {
        bool is_and = aggregate->function == AGGREGATE_BOOL_AND || aggregate->function == AGGREGATE_BIT_AND;
        number = is_and                                     ? so_far & number
                 : aggregate->function == AGGREGATE_BIT_XOR ? so_far ^ number
                                                            : so_far | number;
    }
    aggregate->number = number;
    aggregate->has_value = true;
    return MOSAIC_OK;
}

mosaic_status aggregate_add(struct aggregate *aggregate, struct aggregate_value value, struct aggregate_value visible,
                            mosaic_error *error)
{
    if ((value.size < 0) != (visible.size < 0))
        return malformed(error);
    if (value.size < 0)
        return MOSAIC_OK;
    if (aggregate->function == AGGREGATE_MIN || aggregate->function == AGGREGATE_MAX)
        return choose(aggregate, value, visible, error);
    return aggregate->type == NUMERIC ? add_numeric(aggregate, value, error) : add_integer(aggregate, value, error);
}

static void write_integer(const struct aggregate *aggregate, struct buffer *out)
{
    uint64_t number = (uint64_t)aggregate->number;
    if (!aggregate->is_binary && aggregate->type == BOOL)
        buffer_char(out, number ? 't' : 'f');
    else if (!aggregate->is_binary)
        buffer_format(out, "%" PRId64, aggregate->number);
    else if (aggregate->type == BOOL)
        wire_8(out, (uint8_t)number);
    else if (aggregate->type == INT2)
        wire_16(out, (uint16_t)number);
    else {
        if (aggregate->type == INT8)
            wire_32(out, (uint32_t)(number >> 32));
        wire_32(out, (uint32_t)number);
    }
}

static mosaic_status write_value(struct aggregate *aggregate, struct buffer *out, mosaic_error *error)
{
    if (aggregate->function == AGGREGATE_MIN || aggregate->function == AGGREGATE_MAX)
        buffer_add(out, buffer_string(&aggregate->visible), aggregate->visible.size);
    else if (aggregate->type != NUMERIC)
        write_integer(aggregate, out);
    else if (!total_finish(&aggregate->sum))
        return out_of_range(error, "value overflows numeric format");
    else if (aggregate->is_binary)
        total_binary(&aggregate->sum, out);
    else
        total_text(&aggregate->sum, out);
    return MOSAIC_OK;
}

mosaic_status aggregate_finish(struct aggregate *aggregate, struct buffer *out, mosaic_error *error)
{
    if (!aggregate->has_value && aggregate->function != AGGREGATE_COUNT) {
        wire_32(out, (uint32_t)NOTHING);
        return MOSAIC_OK;
    }
    size_t at = out->size;
    wire_32(out, 0);
    mosaic_status status = write_value(aggregate, out, error);
    if (status != MOSAIC_OK || buffer_failed(out))
        return status != MOSAIC_OK ? status : error_memory(error);
    wire_put32(out->data + at, (uint32_t)(out->size - at - 4));
    return MOSAIC_OK;
}

void aggregate_free(struct aggregate *aggregate)
{
    total_free(&aggregate->sum);
    buffer_free(&aggregate->best);
    buffer_free(&aggregate->visible);
}
