#include "plan/value.h"

#include "base/error.h"
#include "core/modifier.h"
#include "core/parse.h"
#include "sql/scan.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { ELEMENTS_MOST = 100000 };

/* A value as it came, and the type that its bytes are of. */
struct content {
    const char *data;
    size_t size;
    bool binary;
    bool is_null;
    uint32_t type;  /* OID */
    bool is_digits; /* a number's literal */
    bool negative;
};

static enum value_outcome refused(mosaic_error *error, const char *sqlstate)
{
    error_sqlstate(error, sqlstate);
    return OUTCOME_REFUSED;
}

static enum value_outcome literal_content(const struct plan_input *input, const struct fact_value *fact,
                                          struct content *content, mosaic_error *error)
{
    if (fact->number >= input->literal_count || !input->literals[fact->number].data) {
        error_set(error, MOSAIC_UNSUPPORTED, "the key is a literal that cannot be read here");
        error_hint(error, "write it without escapes");
        return refused(error, "0A000");
    }
    const struct plan_value *literal = &input->literals[fact->number];
    *content = (struct content){.data = literal->data, .size = (size_t)literal->size, .type = fact->type};
    content->is_digits = literal->type != 0;
    content->negative = fact->is_negative;
    return OUTCOME_VALUE;
}

uint32_t value_parameter_type(const struct facts *facts, const struct plan_input *input, uint32_t number)
{
    enum { UNKNOWN = 705 };
    uint32_t type = input->parameters[number - 1].type;
    if (type && type != UNKNOWN)
        return type;
    return number <= facts->parameter_count ? facts->parameter_types[number - 1] : 0;
}

/* 7, not 007 or -0: an integer as PostgreSQL writes it. */
static bool is_canonical(const char *digits, size_t size)
{
    size_t sign = size > 1 && *digits == '-';
    return size - sign == 1 ? digits[sign] != '0' || !sign : size > sign && digits[sign] != '0';
}

/* Does PostgreSQL make of EXECUTE's argument, for a parameter of this type, just what is written? */
static bool argument_is_exact(const struct plan_value *value, uint32_t type)
{
    enum { INT8 = 20, INT2 = 21, INT4 = 23, TEXT = 25, BPCHAR = 1042, VARCHAR = 1043, NUMERIC = 1700 };
    uint32_t from = value->written;
    bool from_integer = from == INT2 || from == INT4 || from == INT8;
    if (!from || from == type)
        return true;
    if (from == TEXT || from == VARCHAR)
        return type == TEXT || type == VARCHAR;
    if (!from_integer)
        return false;
    if (type == INT2 || type == INT4 || type == INT8 || type == NUMERIC)
        return true;
    return (type == TEXT || type == VARCHAR || type == BPCHAR) && !value->is_cast &&
           is_canonical(value->data, (size_t)value->size);
}

static enum value_outcome parameter_content(const struct facts *facts, const struct plan_input *input,
                                            const struct fact_value *fact, struct content *content, mosaic_error *error)
{
    if (!fact->number || fact->number > input->parameter_count) {
        error_set(error, MOSAIC_UNSUPPORTED, "there is no parameter $%u", (unsigned)fact->number);
        return refused(error, "42P02");
    }
    const struct plan_value *parameter = &input->parameters[fact->number - 1];
    uint32_t type = value_parameter_type(facts, input, fact->number);
    if (!type && facts->untyped_count)
        for (size_t i = 0; i < facts->untyped_count; i++)
            if (facts->untyped[i] == fact->number) {
                error_set(error, MOSAIC_UNSUPPORTED, "the type of parameter $%u is not known", (unsigned)fact->number);
                error_hint(error, "write $%u with a cast to the key's type", (unsigned)fact->number);
                return refused(error, "42P18");
            }
    if (type && schema_is_text_domain(input->schema, type)) {
        error_set(error, MOSAIC_UNSUPPORTED,
                  "parameter $%u is of a domain over a text, which may have a collation of its own",
                  (unsigned)fact->number);
        error_hint(error, "send $%u as the type below the domain", (unsigned)fact->number);
        return refused(error, "0A000");
    }
    uint32_t base = type ? schema_base_type(input->schema, type, NULL) : fact->type;
    if (parameter->is_argument && !argument_is_exact(parameter, base)) {
        error_set(error, MOSAIC_UNSUPPORTED, "what EXECUTE gives to $%u is of another type than the parameter",
                  (unsigned)fact->number);
        error_detail(error, "PostgreSQL casts it, and the key may become another one by that.");
        error_hint(error, "write the argument in quotes, without a cast");
        return refused(error, "0A000");
    }
    *content = (struct content){.data = parameter->data,
                                .size = parameter->size < 0 ? 0 : (size_t)parameter->size,
                                .binary = parameter->format == 1,
                                .is_null = parameter->size < 0,
                                .type = base};
    return OUTCOME_VALUE;
}

static enum value_outcome content_of(const struct facts *facts, const struct plan_input *input,
                                     const struct fact_value *fact, struct content *content, mosaic_error *error)
{
    switch (fact->source) {
    case VALUE_LITERAL:
        return literal_content(input, fact, content, error);
    case VALUE_PARAMETER:
        return parameter_content(facts, input, fact, content, error);
    case VALUE_CONSTANT:
        *content = (struct content){.data = fact->text, .size = strlen(fact->text), .type = fact->type};
        content->is_digits = fact->literal == LITERAL_INTEGER || fact->literal == LITERAL_DECIMAL;
        content->negative = fact->is_negative;
        return OUTCOME_VALUE;
    case VALUE_NULL:
    default:
        *content = (struct content){.is_null = true, .type = fact->type};
        return OUTCOME_VALUE;
    }
}

/* PostgreSQL's SQLSTATE for a text that is no value; 0A000 where it may take what is not taken here. */
static const char *sqlstate_of(enum key_type type, const struct content *content)
{
    if (content->binary)
        return "22P03";
    if (key_integer_overflows(type, content->data, content->size))
        return "22003";
    switch (type) {
    case KEY_INT2:
    case KEY_INT4:
    case KEY_INT8:
    case KEY_UUID:
        return "22P02";
    default:
        return "0A000";
    }
}

static enum value_outcome read_as(enum key_type type, const char *name, const struct content *content,
                                  struct arena *arena, struct key_value *value, mosaic_error *error)
{
    mosaic_status status = content->binary
                               ? key_from_binary(type, name, content->data, content->size, arena, value, error)
                               : key_from_text(type, name, content->data, content->size, arena, value, error);
    if (status == MOSAIC_OK)
        return OUTCOME_VALUE;
    if (status == MOSAIC_MEMORY)
        return OUTCOME_MEMORY;
    return refused(error, sqlstate_of(type, content));
}

static enum value_outcome no_row(bool assigned, const struct value_target *target, mosaic_error *error,
                                 const char *sqlstate, const char *why)
{
    if (!assigned)
        return OUTCOME_NONE;
    error_set(error, MOSAIC_KEY, "the value for %s %s", target->name, why);
    return refused(error, sqlstate);
}

/* The integer that a numeric is; false: it is none, or beyond int8. */
static bool numeric_integer(const struct key_value *value, int64_t *integer, bool *fraction)
{
    *fraction = false;
    if (value->numeric.special)
        return false;
    *fraction = value->numeric.count > value->numeric.weight + 1;
    if (*fraction || value->numeric.weight > 4)
        return false;
    int64_t sum = 0;
    for (int i = 0; i <= value->numeric.weight && value->numeric.count; i++) {
        int64_t digit = i < value->numeric.count ? value->numeric.digits[i] : 0;
        if (__builtin_mul_overflow(sum, 10000, &sum) || __builtin_sub_overflow(sum, digit, &sum))
            return false;
    }
    /* Summed below zero, where there is one number more. */
    if (!value->numeric.negative && __builtin_sub_overflow(0, sum, &sum))
        return false;
    *integer = sum;
    return true;
}

static enum value_outcome to_integer(int64_t integer, bool assigned, const struct value_target *target,
                                     struct key_value *value, mosaic_error *error)
{
    int64_t most = target->type == KEY_INT2 ? INT16_MAX : target->type == KEY_INT4 ? INT32_MAX : INT64_MAX;
    if (integer > most || integer < -most - 1)
        return no_row(assigned, target, error, "22003", "is out of the type's range");
    *value = (struct key_value){.type = target->type, .integer = integer};
    return OUTCOME_VALUE;
}

static enum value_outcome integer_to_numeric(int64_t integer, struct arena *arena, struct key_value *value,
                                             mosaic_error *error)
{
    char text[24];
    int size = snprintf(text, sizeof text, "%lld", (long long)integer);
    mosaic_status status = key_from_text(KEY_NUMERIC, "key", text, (size_t)size, arena, value, error);
    return status == MOSAIC_OK ? OUTCOME_VALUE : OUTCOME_MEMORY;
}

static enum value_outcome unlike(const struct value_target *target, enum key_type from, mosaic_error *error)
{
    error_set(error, MOSAIC_UNSUPPORTED, "a value of type %s for the key %s of type %s", type_name(from), target->name,
              type_name(target->type));
    error_hint(error, "cast the value to the key's type");
    return refused(error, "0A000");
}

/* A literal's digits, where they are an integer within reach: the common key needs no numeric. */
static bool literal_integer(const struct content *content, int64_t *integer)
{
    enum { DIGITS_MOST = 18 };
    if (!content->is_digits || content->size > DIGITS_MOST)
        return false;
    int64_t sum = 0;
    for (size_t i = 0; i < content->size; i++) {
        unsigned digit = (unsigned char)content->data[i] - '0';
        if (digit > 9)
            return false;
        sum = sum * 10 + digit;
    }
    *integer = content->negative ? -sum : sum;
    return true;
}

/* From one type to the key's, within a family: exact, or no row has it. */
static enum value_outcome convert(struct key_value *value, bool assigned, const struct value_target *target,
                                  struct arena *arena, mosaic_error *error)
{
    enum key_type from = value->type, to = target->type;
    if (from == to)
        return OUTCOME_VALUE;
    if (type_is_integer(from) && type_is_integer(to))
        return to_integer(value->integer, assigned, target, value, error);
    if (type_is_integer(from) && to == KEY_NUMERIC)
        return integer_to_numeric(value->integer, arena, value, error);
    if (from == KEY_NUMERIC && type_is_integer(to)) {
        int64_t integer = 0;
        bool fraction = false;
        if (numeric_integer(value, &integer, &fraction))
            return to_integer(integer, assigned, target, value, error);
        if (fraction && assigned)
            return no_row(true, target, error, "0A000", "would be rounded: write it as an integer");
        return no_row(assigned, target, error, "22003", "is out of the type's range");
    }
    if (!type_is_text(from) || !type_is_text(to) || (from == KEY_BPCHAR))
        return unlike(target, from, error);
    value->type = to;
    while (to == KEY_BPCHAR && value->bytes.size && value->bytes.data[value->bytes.size - 1] == ' ')
        value->bytes.size--;
    return OUTCOME_VALUE;
}

static enum value_outcome negate(struct content *content, struct arena *arena)
{
    char *text = arena_allocate(arena, content->size + 1);
    if (!text)
        return OUTCOME_MEMORY;
    text[0] = '-';
    memcpy(text + 1, content->data, content->size);
    content->data = text;
    content->size++;
    return OUTCOME_VALUE;
}

/* The type by which the bytes are read: the fact's, but where a parameter was declared as another. */
static bool reading_type(struct content *content, const struct fact_value *fact, uint32_t wanted, enum key_type *type)
{
    if (content->is_digits) {
        *type = KEY_NUMERIC;
        return true;
    }
    uint32_t oid = content->type ? content->type : wanted;
    enum key_type own;
    if (!type_by_oid(oid, &own))
        return false;
    /* A text that is cast goes through the type's input function, also where it came in binary: the same bytes. */
    if (fact->is_cast && type_is_text(own) && own != KEY_BPCHAR) {
        content->binary = false;
        return type_by_oid(wanted, type);
    }
    *type = own;
    return true;
}

static enum value_outcome read_content(struct content *content, const struct fact_value *fact, uint32_t wanted,
                                       const struct value_target *target, struct arena *arena, struct key_value *value,
                                       mosaic_error *error)
{
    enum key_type type;
    int64_t integer;
    if (type_is_integer(target->type) && !fact->is_cast && literal_integer(content, &integer))
        return to_integer(integer, fact->is_assigned, target, value, error);
    if (!reading_type(content, fact, wanted, &type)) {
        error_set(error, MOSAIC_UNSUPPORTED, "a value of a type that the key %s is not compared with", target->name);
        error_hint(error, "cast the value to the key's type");
        return refused(error, "0A000");
    }
    if (content->negative && negate(content, arena) != OUTCOME_VALUE)
        return OUTCOME_MEMORY;
    enum value_outcome outcome = read_as(type, target->name, content, arena, value, error);
    /* The cast itself: $1::int of a bigint, 42::smallint. */
    enum key_type cast;
    struct value_target middle = {target->name, target->type, -1};
    if (outcome == OUTCOME_VALUE && fact->is_cast && type_by_oid(wanted, &cast) && cast != type) {
        middle.type = cast;
        outcome = convert(value, true, &middle, arena, error);
    }
    if (outcome == OUTCOME_VALUE)
        outcome = convert(value, fact->is_assigned, target, arena, error);
    if (outcome == OUTCOME_VALUE && fact->is_assigned && !modifier_apply(target->modifier, arena, value))
        return OUTCOME_MEMORY;
    return outcome;
}

static enum value_outcome null_outcome(const struct fact_value *fact, const struct value_target *target,
                                       mosaic_error *error)
{
    if (fact->is_assigned) {
        error_set(error, MOSAIC_KEY, "null value in column \"%s\": a key is never NULL", target->name);
        return refused(error, "23502");
    }
    if (fact->null_is_a_value) {
        error_set(error, MOSAIC_UNSUPPORTED, "%s IS NOT DISTINCT FROM NULL", target->name);
        error_hint(error, "give a value that is not NULL, or write =");
        return refused(error, "0A000");
    }
    return OUTCOME_NONE;
}

enum value_outcome value_read(const struct facts *facts, const struct plan_input *input, const struct fact_value *fact,
                              const struct value_target *target, struct arena *arena, struct key_value *value,
                              mosaic_error *error)
{
    struct content content;
    enum value_outcome outcome = content_of(facts, input, fact, &content, error);
    if (outcome != OUTCOME_VALUE)
        return outcome;
    if (content.is_null)
        return null_outcome(fact, target, error);
    return read_content(&content, fact, fact->type, target, arena, value, error);
}

/* ---- arrays ---- */

struct elements {
    const struct fact_value *fact;
    const struct value_target *target;
    struct arena *arena;
    struct value_list *values;
    size_t capacity;
    uint32_t type;    /* of an element */
    uint32_t cast_to; /* what a cast of the array makes of one */
    mosaic_error *error;
};

static enum value_outcome add_element(struct elements *elements, struct content *content)
{
    struct value_list *values = elements->values;
    struct key_value value;
    if (content->is_null)
        return OUTCOME_VALUE; /* equals nothing */
    struct fact_value fact = *elements->fact;
    fact.is_cast = fact.is_cast && elements->fact->source == VALUE_PARAMETER;
    enum value_outcome outcome =
        read_content(content, &fact, elements->cast_to, elements->target, elements->arena, &value, elements->error);
    if (outcome == OUTCOME_NONE)
        return OUTCOME_VALUE;
    if (outcome != OUTCOME_VALUE)
        return outcome;
    if (values->count == ELEMENTS_MOST) {
        error_set(elements->error, MOSAIC_UNSUPPORTED, "an array of more than %d keys", ELEMENTS_MOST);
        return refused(elements->error, "54000");
    }
    if (values->count == elements->capacity) {
        size_t capacity = elements->capacity ? elements->capacity * 2 : 16;
        struct key_value *list = arena_allocate(elements->arena, capacity * sizeof *list);
        if (!list)
            return OUTCOME_MEMORY;
        if (values->count)
            memcpy(list, values->list, values->count * sizeof *list);
        values->list = list, elements->capacity = capacity;
    }
    values->list[values->count++] = value;
    return OUTCOME_VALUE;
}

static enum value_outcome bad_array(mosaic_error *error, const char *sqlstate)
{
    error_set(error, MOSAIC_KEY, "malformed array of keys");
    return refused(error, sqlstate);
}

/* One element of '{…}': *at stands on its first byte, and afterwards behind its last. */
static enum value_outcome text_element(struct elements *elements, const char **at, const char *end)
{
    char *copy = arena_allocate(elements->arena, (size_t)(end - *at) + 1);
    size_t size = 0, kept = 0;
    bool quoted = false, any_quote = false;
    if (!copy)
        return OUTCOME_MEMORY;
    for (; *at < end && (quoted || (**at != ',' && **at != '}' && **at != '{')); ++*at) {
        if (**at == '"') {
            quoted = !quoted;
            any_quote = true;
            kept = size;
            continue;
        }
        bool escaped = **at == '\\' && *at + 1 < end;
        *at += escaped;
        copy[size++] = **at;
        if (quoted || escaped || !parse_blank(**at))
            kept = size;
    }
    if (quoted || *at == end)
        return bad_array(elements->error, "22P02");
    /* Under array_nulls = off it is the text NULL: as one more key of texts, it does no harm where it is none. */
    bool is_null =
        !any_quote && kept == 4 && strncasecmp(copy, "null", 4) == 0 && !type_is_text(elements->target->type);
    if (!kept && !any_quote)
        return bad_array(elements->error, "22P02");
    struct content content = {.data = copy, .size = kept, .is_null = is_null, .type = elements->type};
    return add_element(elements, &content);
}

/* array_in (src/backend/utils/adt/arrayfuncs.c), for any number of dimensions: all elements count. */
static enum value_outcome read_text_array(struct elements *elements, const char *at, size_t size)
{
    const char *end = at + size;
    while (at < end && parse_blank(*at))
        at++;
    if (at < end && *at == '[') {
        at = memchr(at, '=', (size_t)(end - at));
        if (!at++)
            return bad_array(elements->error, "22P02");
    }
    int depth = 0;
    do {
        while (at < end && (parse_blank(*at) || *at == ','))
            at++;
        if (at == end)
            return bad_array(elements->error, "22P02");
        if (*at == '{' || *at == '}') {
            depth += *at == '{' ? 1 : -1;
            at++;
            continue;
        }
        if (depth <= 0)
            return bad_array(elements->error, "22P02");
        enum value_outcome outcome = text_element(elements, &at, end);
        if (outcome != OUTCOME_VALUE)
            return outcome;
    } while (depth > 0);
    while (at < end && parse_blank(*at))
        at++;
    return at == end && depth == 0 ? OUTCOME_VALUE : bad_array(elements->error, "22P02");
}

static uint32_t big_endian(const char *at)
{
    const unsigned char *bytes = (const unsigned char *)at;
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* array_send there. */
static enum value_outcome read_binary_array(struct elements *elements, const char *at, size_t size)
{
    const char *end = at + size;
    if (size < 12 || big_endian(at) > 6)
        return bad_array(elements->error, "22P03");
    uint32_t dimensions = big_endian(at);
    uint64_t count = dimensions ? 1 : 0;
    elements->type = big_endian(at + 8);
    at += 12;
    for (uint32_t i = 0; i < dimensions; i++, at += 8) {
        if (end - at < 8)
            return bad_array(elements->error, "22P03");
        count *= big_endian(at);
        if (count > size)
            return bad_array(elements->error, "22P03");
    }
    for (; count; count--) {
        if (end - at < 4)
            return bad_array(elements->error, "22P03");
        uint32_t length = big_endian(at);
        at += 4;
        struct content content = {.binary = true, .is_null = length == UINT32_MAX, .type = elements->type};
        if (!content.is_null && length > (size_t)(end - at))
            return bad_array(elements->error, "22P03");
        content.data = at, content.size = content.is_null ? 0 : length;
        at += content.size;
        enum value_outcome outcome = add_element(elements, &content);
        if (outcome != OUTCOME_VALUE)
            return outcome;
    }
    return at == end ? OUTCOME_VALUE : bad_array(elements->error, "22P03");
}

enum value_outcome value_read_array(const struct facts *facts, const struct plan_input *input,
                                    const struct fact_value *fact, const struct value_target *target,
                                    struct arena *arena, struct value_list *values, mosaic_error *error)
{
    struct content content;
    enum value_outcome outcome = content_of(facts, input, fact, &content, error);
    *values = (struct value_list){NULL, 0};
    if (outcome != OUTCOME_VALUE || content.is_null)
        return outcome;
    uint32_t element = schema_element_type(input->schema, content.type ? content.type : fact->type);
    if (!element) {
        error_set(error, MOSAIC_UNSUPPORTED, "an array of keys of a type that is not known");
        return refused(error, "0A000");
    }
    uint32_t cast_to = schema_element_type(input->schema, fact->type);
    struct elements elements = {fact, target, arena, values, 0, element, cast_to, error};
    return content.binary ? read_binary_array(&elements, content.data, content.size)
                          : read_text_array(&elements, content.data, content.size);
}
