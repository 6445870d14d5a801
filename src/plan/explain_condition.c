#include "plan/explain_condition.h"

#include "base/utf8.h"
#include "sql/scan.h"

#include <string.h>

enum {
    VALUES_SHOWN = 5, /* of an IN list */
    VALUE_BYTES_SHOWN = 60,
};

const char *explain_finish(struct buffer *buffer, struct arena *arena)
{
    const char *text = buffer_failed(buffer) ? NULL : arena_string(arena, buffer_string(buffer));
    buffer_free(buffer);
    return text;
}

/* A value in quotes, cut where it is long, on one line. */
static void add_quoted(struct buffer *out, const char *data, size_t size)
{
    size_t shown = utf8_cut(data, size, VALUE_BYTES_SHOWN);
    buffer_char(out, '\'');
    for (size_t i = 0; i < shown; i++) {
        if (data[i] == '\'')
            buffer_char(out, '\'');
        buffer_char(out, (unsigned char)data[i] < ' ' ? ' ' : data[i]);
    }
    buffer_text(out, shown < size ? "\xe2\x80\xa6'" : "'");
}

static bool is_number(const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!data[i] || !strchr("0123456789.eE+-", data[i]))
            return false;
    return size > 0;
}

static void add_literal(struct buffer *out, const struct fact_value *value, const struct plan_input *values)
{
    if (value->number >= values->literal_count) {
        buffer_text(out, "?");
        return;
    }
    const struct plan_value *literal = &values->literals[value->number];
    if (literal->size < 0)
        buffer_text(out, "NULL");
    else if (literal->type && is_number(literal->data, (size_t)literal->size))
        buffer_format(out, "%s%.*s", value->is_negative ? "-" : "", literal->size, literal->data);
    else
        add_quoted(out, literal->data, (size_t)literal->size);
}

void explain_add_value(struct buffer *out, const struct fact_value *value, const struct plan_input *values)
{
    switch (value->source) {
    case VALUE_LITERAL:
        add_literal(out, value, values);
        break;
    case VALUE_PARAMETER:
        buffer_format(out, "$%u", value->number);
        break;
    case VALUE_CONSTANT:
        if (value->literal == LITERAL_INTEGER || value->literal == LITERAL_DECIMAL)
            buffer_format(out, "%s%s", value->is_negative ? "-" : "", value->text);
        else
            add_quoted(out, value->text, strlen(value->text));
        break;
    case VALUE_NULL:
    case VALUE_SYMBOL:
        buffer_text(out, "NULL");
        break;
    }
}

static void add_tuple(struct buffer *out, const struct fact_value *row, size_t columns, const struct plan_input *values)
{
    buffer_text(out, columns > 1 ? "(" : "");
    for (size_t i = 0; i < columns; i++) {
        buffer_text(out, i ? ", " : "");
        explain_add_value(out, &row[i], values);
    }
    buffer_text(out, columns > 1 ? ")" : "");
}

static void add_columns(struct buffer *out, const struct table *table, size_t columns)
{
    buffer_text(out, columns > 1 ? "(" : "");
    for (size_t i = 0; i < columns; i++)
        buffer_format(out, "%s%s", i ? ", " : "", i < table->column_count ? table->columns[i] : "?");
    buffer_text(out, columns > 1 ? ")" : "");
}

const char *explain_condition(const struct fact_relation *relation, const struct plan_input *values,
                              struct arena *arena)
{
    struct buffer out = BUFFER_INIT(EXPLAIN_LINE_MOST);
    const struct fact_keys *keys = &relation->keys;
    size_t columns = keys->columns;
    add_columns(&out, relation->relation->table, columns);
    if (keys->alternatives == 0) {
        buffer_text(&out, " = nothing: no row can match");
    } else if (keys->alternatives == 1 && keys->values[0].is_array) {
        buffer_text(&out, " = ANY (");
        explain_add_value(&out, &keys->values[0], values);
        buffer_char(&out, ')');
    } else if (keys->alternatives == 1) {
        buffer_text(&out, keys->values[0].null_is_a_value ? " IS NOT DISTINCT FROM " : " = ");
        add_tuple(&out, keys->values, columns, values);
    } else {
        buffer_text(&out, " IN (");
        for (size_t i = 0; i < keys->alternatives && i < VALUES_SHOWN; i++) {
            buffer_text(&out, i ? ", " : "");
            add_tuple(&out, keys->values + i * columns, columns, values);
        }
        if (keys->alternatives > VALUES_SHOWN)
            buffer_format(&out, ", \xe2\x80\xa6 %zu in all", keys->alternatives);
        buffer_char(&out, ')');
    }
    return explain_finish(&out, arena);
}

const char *explain_placement(const struct fact_relation *relation, const struct schema *schema, struct arena *arena)
{
    const struct schema_relation *place = relation->relation;
    struct buffer out = BUFFER_INIT(EXPLAIN_LINE_MOST);
    switch (place->placement) {
    case PLACE_SHARDED:
        buffer_text(&out, "sharded by ");
        add_columns(&out, place->table, place->table->column_count);
        break;
    case PLACE_REFERENCE:
        buffer_text(&out, "reference table, whole on every shard");
        break;
    case PLACE_HOME:
        buffer_format(&out, "on the home shard, %s, alone", schema->model->shards[schema->home].name);
        break;
    case PLACE_SYSTEM:
        buffer_text(&out, "PostgreSQL's own, read on the home shard");
        break;
    }
    return explain_finish(&out, arena);
}
