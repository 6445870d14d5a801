/*
 * Which columns get their default by what is written, and do all shards make the same of it?
 */
#include "sql/analysis.h"

/* The column that a target of SET gives its default; NULL: it gives something else. */
static const struct schema_column *set_to_default(const struct schema_relation *relation, const ResTarget *target)
{
    const Node *value = target->val;
    if (value && IsA(value, MultiAssignRef)) {
        const MultiAssignRef *part = (const MultiAssignRef *)value;
        const RowExpr *row = (const RowExpr *)part->source;
        value =
            IsA(row, RowExpr) && part->colno <= list_length(row->args) ? list_nth(row->args, part->colno - 1) : NULL;
    }
    return value && IsA(value, SetToDefault) ? schema_column(relation, target->name) : NULL;
}

const char *write_default(struct analysis *analysis, struct fact_write *write, const struct schema_column *column)
{
    /* A view's column may have a default of its own, which goes before the table's. */
    const struct schema_relation *named = analysis->written.named;
    const struct schema_column *shown = column && named ? schema_column(named, column->name) : NULL;
    column = shown && shown->has_default ? shown : column;
    if (!column || !column->has_default || column->is_generated)
        return NULL;
    write->stores_clock |= column->default_clock;
    return column->default_same
               ? NULL
               : analysis_text(analysis, "the default of %s is computed by each shard for itself", column->name);
}

const char *write_defaults_set(struct analysis *analysis, struct fact_write *write, const List *targets)
{
    const ListCell *cell;
    const char *reason = NULL;
    foreach (cell, targets) {
        const char *why = write_default(analysis, write, set_to_default(write->target, lfirst(cell)));
        reason = reason ? reason : why;
    }
    return reason;
}

/* The place of a column among those that an INSERT gives; SIZE_MAX: it is left out, or given in part. */
static size_t given_place(const List *columns, const struct schema_relation *relation,
                          const struct schema_column *column, size_t width)
{
    size_t place = SIZE_MAX;
    if (!columns)
        place = (size_t)(column - relation->columns);
    for (int i = 0; i < list_length(columns); i++) {
        const ResTarget *target = list_nth(columns, i);
        if (strcmp(target->name, column->name) == 0 && !target->indirection)
            place = (size_t)i;
    }
    return place < width ? place : SIZE_MAX;
}

static bool has_default_at(const List *rows, size_t place)
{
    const ListCell *cell;
    foreach (cell, rows) {
        const List *row = lfirst(cell);
        if (place < (size_t)list_length(row) && IsA(list_nth(row, (int)place), SetToDefault))
            return true;
    }
    return false;
}

const char *write_defaults_given(struct analysis *analysis, struct fact_write *write, const List *columns,
                                 const List *rows, size_t width)
{
    const char *reason = NULL;
    for (size_t i = 0; i < write->target->column_count; i++) {
        const struct schema_column *column = &write->target->columns[i];
        size_t place = given_place(columns, write->target, column, width);
        bool defaulted = place == SIZE_MAX || has_default_at(rows, place);
        const char *why = defaulted ? write_default(analysis, write, column) : NULL;
        reason = reason ? reason : why;
    }
    return reason;
}
