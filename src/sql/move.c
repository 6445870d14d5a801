/*
 * UPDATE that gives rows of one key another one, which another shard owns: they are deleted here, and inserted there.
 *
 *     UPDATE t x SET id = 7, v = v + 1, w = $1 WHERE id = 5 AND v > $2 RETURNING x.*
 *
 *     DELETE FROM "public"."t" AS "x" WHERE id = 5 AND v > $2 RETURNING "x"."u", (v + 1)
 *     INSERT INTO "public"."t" AS "x" ("id", "u", "v", "w") OVERRIDING SYSTEM VALUE VALUES (7, $3, $4, $1) RETURNING
 * x.*
 *
 * Where nobody sees the difference (triggers, keys that refer to the rows), that is what PostgreSQL itself does with a
 * row that leaves its partition. What is set to a value stands in the INSERT, so that it becomes the column's as in the
 * UPDATE; the rest is what the old shard computes.
 *
 * In the same way a reference table gets rows with defaults that each shard would compute otherwise: the first shard
 * inserts them, and gives them to all others.
 *
 *     INSERT INTO tags (name) VALUES ('a'), ('b') RETURNING id
 *
 *     INSERT INTO tags (name) VALUES ('a'), ('b') RETURNING "tags"."id", "tags"."name"
 *     INSERT INTO "public"."tags" ("id", "name") OVERRIDING SYSTEM VALUE VALUES ($1, $2) RETURNING id
 */
#include "sql/scatter.h"
#include "sql/words.h"

enum { OWN_TYPES = 16384, CHILDREN_DEPTH = 32 };

/* Where the parts of an UPDATE stand in its text. */
struct update_pieces {
    struct piece *values; /* of each target: what it is set to */
    size_t count, most;
    struct piece where, returning; /* with their words; empty: there is none */
};

struct update_reader {
    struct update_pieces *pieces;
    struct token token, last;
    struct piece item;
    size_t item_tokens;
    enum { READS_TABLE, READS_SET, READS_WHERE, READS_RETURNING } part;
};

static bool is_sign(const struct word *word, char sign)
{
    return word->kind == WORD_SIGN && *word->text == sign;
}

/* column = value */
static bool close_item(struct update_reader *reader)
{
    struct update_pieces *pieces = reader->pieces;
    if (reader->item_tokens < 3 || pieces->count == pieces->most)
        return false;
    pieces->values[pieces->count++] = (struct piece){reader->item.start, reader->last.end};
    reader->item_tokens = 0;
    return true;
}

static bool read_item(struct update_reader *reader)
{
    const struct token *token = &reader->token;
    if (is_sign(&token->word, ','))
        return close_item(reader);
    if (++reader->item_tokens == 3)
        reader->item.start = token->start;
    bool is_name = token->word.kind == WORD_NAME || token->word.kind == WORD_QUOTED;
    return reader->item_tokens == 1 ? is_name : reader->item_tokens > 2 || is_sign(&token->word, '=');
}

static bool read_update(struct update_reader *reader)
{
    struct update_pieces *pieces = reader->pieces;
    const struct word *word = &reader->token.word;
    bool is_name = is_sign(&reader->last.word, '.') || word_is(&reader->last.word, "as");
    bool ends = !is_name && (word_is(word, "where") || word_is(word, "returning"));
    if (reader->part == READS_TABLE) {
        if (word_is(word, "set") && !is_name)
            reader->part = READS_SET;
        return true;
    }
    if (reader->part == READS_SET && ends && !close_item(reader))
        return false;
    if (reader->part == READS_SET && !ends)
        return read_item(reader);
    if (ends && word_is(word, "where"))
        reader->part = READS_WHERE, pieces->where = (struct piece){reader->token.start, 0};
    else if (ends)
        reader->part = READS_RETURNING, pieces->returning = (struct piece){reader->token.start, 0};
    if (reader->part == READS_WHERE)
        pieces->where.end = reader->token.end;
    else
        pieces->returning.end = reader->token.end;
    return true;
}

/* False: the words are not what the tree says. */
static bool find_pieces(struct analysis *analysis, const UpdateStmt *update, struct update_pieces *pieces)
{
    struct update_reader reader = {.pieces = pieces, .last = {.word = {WORD_SIGN, "", 0}}};
    size_t at = (size_t)analysis->facts->inner_start;
    *pieces = (struct update_pieces){.most = (size_t)list_length(update->targetList)};
    pieces->values = analysis_new(analysis, pieces->most + 1, sizeof *pieces->values);
    while (words_token(analysis->text, analysis->size, &at, &reader.token)) {
        if (is_sign(&reader.token.word, ';') && reader.last.end)
            break;
        if (!is_sign(&reader.token.word, ';') && !read_update(&reader))
            return false;
        reader.last = reader.token;
    }
    if (reader.part == READS_SET && !close_item(&reader))
        return false;
    return pieces->count == pieces->most && (pieces->where.end != 0) == (update->whereClause != NULL) &&
           (pieces->returning.end != 0) == (update->returningList != NIL);
}

/* ---- who would see the difference ---- */

static const char *look_behind(struct analysis *analysis, const struct schema_relation *relation, int depth)
{
    if (!relation || depth > CHILDREN_DEPTH)
        return "what hangs on its table is not known";
    if (relation->kind == 'r' && relation->child_count)
        return "its table has child tables, out of which the rows would be taken";
    if (!strchr("rp", relation->kind))
        return "it is no table of rows";
    if (relation->has_triggers || relation->has_rules)
        return "triggers or rules would see that rows are deleted and inserted";
    for (size_t i = 0; i < relation->key_count; i++)
        if (relation->keys[i].to == relation->oid)
            return "a foreign key refers to the table, and would see that rows are deleted";
    const char *reason = NULL;
    for (size_t i = 0; !reason && i < relation->child_count; i++)
        reason = look_behind(analysis, schema_relation_by_oid(analysis->schema, relation->children[i]), depth + 1);
    return reason;
}

/* Has a type of one's own, of which only texts are sure to be the same on every shard, such a text? */
static bool is_enum(const struct schema *schema, const struct schema_type *type)
{
    const struct schema_type *element = type->element ? schema_type_by_oid(schema, type->element) : NULL;
    return type->kind == 'e' || (type->category == 'A' && element && element->kind == 'e');
}

static const char *look_at_types(struct analysis *analysis, const struct schema_relation *relation)
{
    for (size_t i = 0; i < relation->column_count; i++) {
        uint32_t oid = schema_base_type(analysis->schema, relation->columns[i].type, NULL);
        const struct schema_type *type = schema_type_by_oid(analysis->schema, oid);
        if (!type || (oid >= OWN_TYPES && !is_enum(analysis->schema, type)))
            return analysis_text(analysis, "%s is of a type whose values are not sure to be the same on another shard",
                                 relation->columns[i].name);
    }
    return NULL;
}

/* Does RETURNING name old or new, as PostgreSQL 18 calls the row before and behind, and no alias is one of them? */
static bool names_old(const struct analysis *analysis, const UpdateStmt *update)
{
    const ResTarget *first = update->returningList ? linitial(update->returningList) : NULL;
    const char *alias = update->relation->alias ? update->relation->alias->aliasname : update->relation->relname;
    struct word word;
    bool found = false, names = false;
    if (!first || first->location < 0)
        return first != NULL;
    for (size_t at = (size_t)first->location; words_next(analysis->text, analysis->size, &at, &word);) {
        found |= names && word.kind == WORD_SIGN && *word.text == '.';
        names = word_is(&word, "old") || word_is(&word, "new");
    }
    return found && strcmp(alias, "old") != 0 && strcmp(alias, "new") != 0;
}

static const char *look_at_update(struct analysis *analysis, const UpdateStmt *update, const struct use *target)
{
    const struct schema_relation *relation = target->fact.relation;
    if (update->withClause || update->fromClause || analysis->uses != target || target->next)
        return "it looks at more than the rows that it moves";
    if (!update->relation->inh)
        return "ONLY a part of the table is named";
    if (analysis->has_volatile)
        return "it calls a volatile function";
    if (names_old(analysis, update))
        return "RETURNING names old or new rows, which are another server's";
    if (memchr(analysis->text, '\1', analysis->size))
        return "it has a character that stands for a value";
    const char *reason = look_behind(analysis, relation, 0);
    if (!reason)
        reason = look_at_types(analysis, relation);
    const ListCell *cell;
    foreach (cell, update->targetList) {
        const ResTarget *set = lfirst(cell);
        if (set->indirection || IsA(set->val, MultiAssignRef))
            return "it sets a part of a column, or several columns at once";
        if (IsA(set->val, SetToDefault))
            return "it sets a column to its default";
    }
    return reason;
}

/* ---- what the two are told ---- */

struct moving {
    struct analysis *analysis;
    const UpdateStmt *update; /* NULL: it is an INSERT */
    const RangeVar *named;    /* the table, as the statement names it */
    const char *alias;        /* or the table's own name */
    struct update_pieces pieces;
    struct fact_move *move;
    struct writing taken, put, values;
};

static void write_table(struct moving *moving, struct writing *out, const struct schema_relation *relation)
{
    writing_name(out, relation->schema);
    writing_text(out, ".");
    writing_name(out, relation->name);
    if (moving->named->alias) {
        writing_text(out, " AS ");
        writing_name(out, moving->alias);
    }
}

static size_t target_of(const UpdateStmt *update, const char *column)
{
    size_t count = update ? (size_t)list_length(update->targetList) : 0;
    for (size_t i = 0; i < count; i++)
        if (strcmp(((const ResTarget *)list_nth(update->targetList, (int)i))->name, column) == 0)
            return i;
    return SIZE_MAX;
}

/* A value that the old shard gives. */
static void take(struct moving *moving, const struct schema_column *column, const struct piece *expression)
{
    struct fact_move *move = moving->move;
    struct writing *taken = &moving->taken;
    writing_text(taken, move->count ? ", " : "");
    if (expression) {
        writing_text(taken, "(");
        writing_piece(taken, expression->start, expression->end);
        writing_text(taken, ")");
    } else {
        writing_name(taken, moving->alias);
        writing_text(taken, ".");
        writing_name(taken, column->name);
        ((bool *)move->as_text)[move->count] =
            schema_base_type(moving->analysis->schema, column->type, NULL) >= OWN_TYPES;
    }
    move->count++;
    writing_text(&moving->values, analysis_text(moving->analysis, "$%zu", move->parameters + move->count));
}

static void write_columns(struct moving *moving, const struct schema_relation *relation)
{
    bool any = false;
    for (size_t i = 0; i < relation->column_count; i++) {
        const struct schema_column *column = &relation->columns[i];
        size_t at = target_of(moving->update, column->name);
        struct fact_value value;
        if (column->is_generated)
            continue;
        writing_text(&moving->put, any ? ", " : "");
        writing_name(&moving->put, column->name);
        writing_text(&moving->values, any ? ", " : "");
        const ResTarget *set = at == SIZE_MAX ? NULL : list_nth(moving->update->targetList, (int)at);
        const struct piece *piece = set ? &moving->pieces.values[at] : NULL;
        if (set && operand_value(moving->analysis, set->val, &value))
            writing_piece(&moving->values, piece->start, piece->end);
        else
            take(moving, column, piece);
        any = true;
    }
}

/* What stands before RETURNING is written. */
static void write_texts(struct moving *moving, const struct schema_relation *relation)
{
    const struct update_pieces *pieces = &moving->pieces;
    writing_text(&moving->taken, " RETURNING ");
    writing_text(&moving->put, "INSERT INTO ");
    write_table(moving, &moving->put, relation);
    writing_text(&moving->put, " (");
    write_columns(moving, relation);
    if (!moving->move->count) /* every column is set to a value */
        writing_text(&moving->taken, "1");
    writing_text(&moving->put, ") OVERRIDING SYSTEM VALUE VALUES (");
    writing_text(&moving->put, writing_end(&moving->values));
    writing_text(&moving->put, pieces->returning.end ? ") " : ")");
    writing_piece(&moving->put, pieces->returning.start, pieces->returning.end);
}

static void begin(struct moving *moving, struct analysis *analysis, const RangeVar *named,
                  const struct schema_relation *relation)
{
    size_t declared = analysis->context->type_count, numbered = analysis->parameter_count;
    moving->analysis = analysis;
    moving->named = named;
    moving->alias = named->alias ? named->alias->aliasname : relation->name;
    moving->move = analysis_new(analysis, 1, sizeof *moving->move);
    moving->move->as_text = analysis_new(analysis, relation->column_count + 1, sizeof(bool));
    moving->move->parameters = declared > numbered ? declared : numbered;
    moving->taken.analysis = moving->put.analysis = moving->values.analysis = analysis;
}

static void finish(struct moving *moving, struct fact_write *write)
{
    moving->move->taken = writing_end(&moving->taken);
    moving->move->put = writing_end(&moving->put);
    write->move = moving->move;
    moving->analysis->facts->text_bound = true;
}

const char *move_find(struct analysis *analysis, struct fact_write *write)
{
    const UpdateStmt *update = (const UpdateStmt *)analysis->written.statement;
    const struct use *target = analysis->written.target->use;
    const struct schema_relation *relation = target->fact.relation;
    struct moving moving = {.update = update};
    analysis->facts->write_remedy = "Delete the rows and insert them with their new keys.";
    const char *reason = IsA(update, UpdateStmt) ? look_at_update(analysis, update, target) : "it is no UPDATE";
    if (reason)
        return reason;
    if (!find_pieces(analysis, update, &moving.pieces))
        return "where its clauses stand in the text is not sure";
    begin(&moving, analysis, update->relation, relation);
    writing_text(&moving.taken, "DELETE FROM ");
    write_table(&moving, &moving.taken, relation);
    writing_text(&moving.taken, " ");
    writing_piece(&moving.taken, moving.pieces.where.start, moving.pieces.where.end);
    write_texts(&moving, relation);
    finish(&moving, write);
    write->spread = SPREAD_MOVE;
    return NULL;
}

/* ---- rows that one shard gives to all ---- */

/* RETURNING and what is behind it; `end`: of what stands before. False: the words are not what the tree says. */
static bool find_returning(struct analysis *analysis, const InsertStmt *insert, struct piece *returning, size_t *end)
{
    size_t at = (size_t)analysis->facts->inner_start;
    struct token token, last = {.word = {WORD_SIGN, "", 0}};
    *returning = (struct piece){0, 0};
    *end = 0;
    while (words_token(analysis->text, analysis->size, &at, &token)) {
        bool is_name = is_sign(&last.word, '.') || word_is(&last.word, "as");
        if (is_sign(&token.word, ';'))
            break;
        if (!returning->end && !is_name && word_is(&token.word, "returning"))
            returning->start = token.start, returning->end = token.end;
        if (returning->end)
            returning->end = token.end;
        else
            *end = token.end;
        last = token;
    }
    return *end && (returning->end != 0) == (insert->returningList != NIL);
}

/* Does it read rows, or write them elsewhere? */
static bool looks_at_more(const struct analysis *analysis)
{
    for (const struct use *use = analysis->uses; use; use = use->next)
        if (use->range && use != analysis->written.target->use)
            return true;
    return false;
}

static bool refers_to_itself(const struct schema_relation *relation)
{
    for (size_t i = 0; i < relation->key_count; i++)
        if (relation->keys[i].from == relation->keys[i].to)
            return true;
    return false;
}

const char *move_copies(struct analysis *analysis, struct fact_write *write, const InsertStmt *insert, const char *why)
{
    const struct schema_relation *relation = analysis->written.target->relation;
    const OnConflictClause *conflict = insert->onConflictClause;
    struct moving moving = {.update = NULL};
    size_t end;
    if (insert->withClause || looks_at_more(analysis) || analysis->written.named != relation ||
        refers_to_itself(relation))
        return analysis_text(analysis, "%s, and it looks at more than the rows that it inserts", why);
    if (conflict && conflict->action != ONCONFLICT_NOTHING)
        return analysis_text(analysis, "%s, and ON CONFLICT may change other rows", why);
    if (memchr(analysis->text, '\1', analysis->size))
        return why;
    const char *reason = look_at_types(analysis, relation);
    if (reason)
        return reason;
    if (!find_returning(analysis, insert, &moving.pieces.returning, &end))
        return "where its clauses stand in the text is not sure";
    begin(&moving, analysis, insert->relation, relation);
    writing_piece(&moving.taken, (size_t)analysis->facts->inner_start, end);
    write_texts(&moving, relation);
    finish(&moving, write);
    return NULL;
}
