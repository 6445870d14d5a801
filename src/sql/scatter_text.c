/*
 * Where the parts of the statement's SELECT stand in its text: that what each shard is asked is the client's own words,
 * with columns put behind the target list and another LIMIT.
 *
 *     SELECT DISTINCT a AS x, f(b)  FROM t WHERE … ORDER BY a DESC, 2  LIMIT 10 OFFSET 5 ;
 *                     ~       ~~~~|                         ~       ~|
 *                     targets     targets_end               sorts    tail
 *
 * Only words outside of all parentheses are looked at. There, FROM, ORDER, LIMIT … are reserved: each is a clause's
 * first word, but behind AS or a dot, where it is a name, and in IS DISTINCT FROM. The numbers of targets and items
 * must be the tree's.
 */
#include "sql/analysis.h"
#include "sql/words.h"

static bool is_sign(const struct word *word, char sign)
{
    return word->kind == WORD_SIGN && *word->text == sign;
}

enum part { PART_BEFORE, PART_QUANTIFIER, PART_TARGETS, PART_MIDDLE, PART_GROUPS, PART_SORTS, PART_TAIL, PART_LOCKS };

struct reader {
    const char *text;
    const SelectStmt *select;
    struct clauses *clauses;
    size_t target_most, group_most, sort_most;
    enum part part;
    struct token token, last, before; /* this one, that before it, that before that */
    size_t start;                     /* of the target or item that is being read; SIZE_MAX: none yet */
    bool has_tail;
    bool failed;
};

/* Is it the word AS, behind which anything is a name? x.as is a name itself. */
static bool is_as(const struct token *token, const struct token *before)
{
    return word_is(&token->word, "as") && !is_sign(&before->word, '.');
}

/* Is it this reserved word, and no name? */
static bool begins(const struct reader *reader, const char *word)
{
    return word_is(&reader->token.word, word) && !is_as(&reader->last, &reader->before) &&
           !is_sign(&reader->last.word, '.');
}

static bool is_distinct_from(const struct reader *reader)
{
    const struct word *before = &reader->before.word;
    return word_is(&reader->last.word, "distinct") && (word_is(before, "is") || word_is(before, "not"));
}

/* The target or item that ends with the token before this one. */
static void close_piece(struct reader *reader)
{
    struct clauses *clauses = reader->clauses;
    struct piece *pieces = clauses->targets;
    size_t *count = &clauses->target_count, most = reader->target_most;
    if (reader->part == PART_SORTS)
        pieces = clauses->sorts, count = &clauses->sort_count, most = reader->sort_most;
    else if (reader->part == PART_GROUPS)
        pieces = clauses->groups, count = &clauses->group_count, most = reader->group_most;
    if (reader->start == SIZE_MAX || *count == most) {
        reader->failed = true;
        return;
    }
    pieces[(*count)++] = (struct piece){reader->start, reader->last.end};
    reader->start = SIZE_MAX;
}

static void read_list(struct reader *reader)
{
    if (is_sign(&reader->token.word, ','))
        close_piece(reader);
    else if (reader->start == SIZE_MAX)
        reader->start = reader->token.start;
}

static bool begins_tail(const struct reader *reader)
{
    return begins(reader, "limit") || begins(reader, "offset") || begins(reader, "fetch");
}

static void read_target(struct reader *reader)
{
    if (reader->part == PART_QUANTIFIER) {
        const struct word *word = &reader->token.word, *last = &reader->last.word;
        bool on = word_is(last, "distinct") && word_is(word, "on");
        if (word_is(word, "all") || word_is(word, "distinct") || on || (word_is(last, "on") && reader->token.is_group))
            return;
        reader->part = PART_TARGETS;
    }
    if (begins(reader, "from") && !is_distinct_from(reader)) {
        close_piece(reader);
        reader->clauses->targets_end = reader->last.end;
        reader->part = PART_MIDDLE;
        return;
    }
    /* Without FROM there is no row of a table. */
    reader->failed |= begins_tail(reader) || begins(reader, "order") || begins(reader, "where");
    read_list(reader);
}

static bool begins_upper(const struct reader *reader)
{
    bool within = word_is(&reader->last.word, "within"); /* WITHIN GROUP (ORDER BY …) */
    return (begins(reader, "group") && !within) || begins(reader, "having") || begins(reader, "window");
}

static void read_order(struct reader *reader)
{
    bool is_name = is_sign(&reader->before.word, '.') || word_is(&reader->before.word, "as");
    if (!word_is(&reader->last.word, "order") || !word_is(&reader->token.word, "by") || is_name)
        return;
    reader->clauses->order = reader->last.start;
    reader->part = PART_SORTS;
}

/* Between the target list and ORDER BY. */
static void read_middle(struct reader *reader)
{
    struct clauses *clauses = reader->clauses;
    const struct word *word = &reader->token.word, *last = &reader->last.word;
    bool ends = begins_upper(reader) || begins(reader, "order") || begins_tail(reader);
    if (reader->part == PART_GROUPS && ends) {
        close_piece(reader);
        reader->part = PART_MIDDLE;
    } else if (reader->part == PART_GROUPS) {
        bool all = word_is(last, "by") && (word_is(word, "all") || word_is(word, "distinct"));
        if (!all)
            read_list(reader);
        return;
    }
    if (begins(reader, "where") && !clauses->where)
        clauses->where = reader->token.start;
    if (begins_upper(reader) && !clauses->upper)
        clauses->upper = reader->token.start;
    if (word_is(last, "group") && word_is(word, "by"))
        reader->part = PART_GROUPS;
    read_order(reader);
    reader->failed |= begins(reader, "union") || begins(reader, "intersect") || begins(reader, "except");
}

/* FOR UPDATE OF t SKIP LOCKED FOR SHARE …: outside of parentheses nothing else begins by FOR. */
static bool begin_locks(struct reader *reader)
{
    bool begun = reader->part == PART_LOCKS;
    if (begun || !begins(reader, "for"))
        return begun;
    reader->failed |= reader->part == PART_QUANTIFIER || reader->part == PART_TARGETS;
    if (reader->part == PART_SORTS || reader->part == PART_GROUPS)
        close_piece(reader);
    if (!reader->has_tail)
        reader->clauses->tail = reader->last.end;
    reader->clauses->locks = (struct piece){reader->token.start, reader->token.end};
    reader->part = PART_LOCKS;
    return true;
}

static void read_tail(struct reader *reader)
{
    if (reader->part == PART_SORTS || reader->part == PART_GROUPS)
        close_piece(reader);
    if (reader->part != PART_LOCKS)
        reader->clauses->tail = reader->last.end;
    reader->failed |= reader->has_tail;
    reader->has_tail = true;
    reader->part = PART_TAIL;
}

static void read_token(struct reader *reader)
{
    if (begin_locks(reader)) {
        if (begins_tail(reader))
            read_tail(reader);
        else
            reader->clauses->locks.end = reader->token.end;
        return;
    }
    switch (reader->part) {
    case PART_BEFORE:
        if (reader->select->op == SETOP_NONE && begins(reader, "select")) {
            reader->clauses->select_end = reader->token.end;
            reader->part = PART_QUANTIFIER;
        } else if (reader->select->op != SETOP_NONE) {
            read_order(reader);
        }
        break;
    case PART_QUANTIFIER:
    case PART_TARGETS:
        read_target(reader);
        return;
    case PART_MIDDLE:
    case PART_GROUPS:
        read_middle(reader);
        break;
    case PART_SORTS:
        if (!begins_tail(reader))
            read_list(reader);
        break;
    default: /* the tail: what it begins with is found */
        reader->clauses->with_ties |= word_is(&reader->token.word, "ties");
        return;
    }
    if (begins_tail(reader))
        read_tail(reader);
}

/* ---- what is not the expression ---- */

/* Takes `count` tokens off the end of a piece. */
static void cut(const char *text, struct piece *piece, size_t count)
{
    struct piece ends = *piece;
    size_t at = piece->start, tokens = 0, kept = 0;
    struct token token;
    while (words_token(text, piece->end, &at, &token))
        tokens++;
    at = piece->start;
    for (; kept + count < tokens && words_token(text, piece->end, &at, &token); kept++)
        ends.end = token.end;
    *piece = ends;
}

/* The last three, the last one first; those that there are not are empty. */
static void last_tokens(const char *text, const struct piece *piece, struct token last[3])
{
    static const struct token none = {.word = {WORD_SIGN, "", 0}};
    size_t at = piece->start;
    struct token token;
    last[0] = last[1] = last[2] = none;
    while (words_token(text, piece->end, &at, &token))
        last[2] = last[1], last[1] = last[0], last[0] = token;
}

/* What the parser took as the target's name is its last word. */
static void cut_label(const char *text, const ResTarget *target, struct piece *piece)
{
    struct token last[3];
    if (!target->name)
        return;
    last_tokens(text, piece, last);
    cut(text, piece, is_as(&last[1], &last[2]) ? 2 : 1);
}

/* USING and the operator behind it. */
static bool cut_using(const char *text, struct piece *piece)
{
    struct token token;
    size_t kept = piece->start;
    for (size_t at = piece->start, end = at; words_token(text, piece->end, &at, &token); end = token.end)
        if (word_is(&token.word, "using"))
            kept = end;
    bool found = kept > piece->start;
    piece->end = found ? kept : piece->end;
    return found;
}

/* False: the words are not what the tree says. */
static bool cut_order(const char *text, const SortBy *sort, struct piece *piece)
{
    struct token last[3];
    if (sort->sortby_nulls != SORTBY_NULLS_DEFAULT) {
        last_tokens(text, piece, last);
        if (!word_is(&last[1].word, "nulls") ||
            !word_is(&last[0].word, sort->sortby_nulls == SORTBY_NULLS_FIRST ? "first" : "last"))
            return false;
        cut(text, piece, 2);
    }
    if (sort->sortby_dir == SORTBY_USING)
        return cut_using(text, piece);
    if (sort->sortby_dir == SORTBY_DEFAULT)
        return true;
    last_tokens(text, piece, last);
    if (!word_is(&last[0].word, sort->sortby_dir == SORTBY_DESC ? "desc" : "asc"))
        return false;
    cut(text, piece, 1);
    return true;
}

static bool cut_all(const char *text, const SelectStmt *select, struct clauses *clauses)
{
    for (size_t i = 0; i < clauses->target_count; i++)
        cut_label(text, list_nth(select->targetList, (int)i), &clauses->targets[i]);
    for (size_t i = 0; i < clauses->sort_count; i++)
        if (!cut_order(text, list_nth(select->sortClause, (int)i), &clauses->sorts[i]))
            return false;
    return true;
}

bool clauses_find(struct analysis *analysis, const SelectStmt *select, struct clauses *clauses)
{
    struct piece all = {(size_t)analysis->facts->inner_start, analysis->size};
    return clauses_find_within(analysis, select, &all, clauses);
}

bool clauses_find_within(struct analysis *analysis, const SelectStmt *select, const struct piece *within,
                         struct clauses *clauses)
{
    static const struct token none = {.word = {WORD_SIGN, "", 0}};
    struct reader reader = {.text = analysis->text, .select = select, .clauses = clauses, .start = SIZE_MAX};
    reader.last = reader.before = none;
    reader.target_most = (size_t)list_length(select->targetList);
    reader.sort_most = (size_t)list_length(select->sortClause);
    *clauses = (struct clauses){0};
    clauses->targets = analysis_new(analysis, reader.target_most + 1, sizeof *clauses->targets);
    clauses->sorts = analysis_new(analysis, reader.sort_most + 1, sizeof *clauses->sorts);
    reader.group_most = (size_t)list_length(select->groupClause);
    clauses->groups = analysis_new(analysis, reader.group_most + 1, sizeof *clauses->groups);
    size_t at = clauses->start = within->start;
    while (!reader.failed && words_token(analysis->text, within->end, &at, &reader.token)) {
        bool ends = is_sign(&reader.token.word, ';');
        if (ends && reader.last.end) /* those in front are of empty statements */
            break;
        if (ends) {
            clauses->start = at;
            continue;
        }
        read_token(&reader);
        reader.before = reader.last, reader.last = reader.token;
    }
    if (reader.part == PART_SORTS || reader.part == PART_GROUPS)
        close_piece(&reader);
    bool limited = select->limitCount || select->limitOffset, locks = clauses->locks.end != 0;
    if (reader.failed || limited != reader.has_tail || locks != (select->lockingClause != NIL))
        return false;
    if (!limited && !locks)
        clauses->tail = reader.last.end;
    clauses->lower = clauses->upper ? clauses->upper : clauses->order ? clauses->order : clauses->tail;
    if (!clauses->targets_end && !clauses->order) /* a set operation, TABLE, or parentheses */
        return !clauses->target_count;
    if (!clauses->targets_end) /* a set operation */
        return !clauses->target_count && clauses->sort_count == reader.sort_most &&
               cut_all(analysis->text, select, clauses);
    return clauses->target_count == reader.target_most && clauses->sort_count == reader.sort_most &&
           clauses->group_count == reader.group_most && cut_all(analysis->text, select, clauses);
}

bool clauses_untyped(const struct analysis *analysis, const struct piece *piece)
{
    struct word word;
    for (size_t at = piece->start; words_next(analysis->text, piece->end, &at, &word);) {
        if (word.kind != WORD_NAME || *word.text != '$')
            continue;
        size_t number = 0;
        for (size_t i = 1; i < word.size && number <= PARAMETER_MOST; i++)
            number = number * 10 + (size_t)(word.text[i] - '0');
        const struct sql_context *context = analysis->context;
        if (!number || number > context->type_count || !context->types[number - 1] || context->types[number - 1] == 705)
            return true;
    }
    return false;
}

size_t clauses_begin(const struct analysis *analysis)
{
    struct token token;
    size_t begin = 0;
    for (size_t at = 0; words_token(analysis->text, analysis->size, &at, &token) && is_sign(&token.word, ';');)
        begin = at;
    return begin;
}

size_t clauses_end(const struct analysis *analysis, size_t tail)
{
    struct token token;
    size_t end = tail;
    for (size_t at = tail; words_token(analysis->text, analysis->size, &at, &token) && !is_sign(&token.word, ';');)
        end = token.end;
    return end;
}

bool clauses_name(const struct analysis *analysis, size_t start, size_t end, struct piece *name)
{
    struct token token;
    size_t at = start;
    *name = (struct piece){start, start};
    while (words_token(analysis->text, end, &at, &token)) {
        if (token.word.kind != WORD_NAME && token.word.kind != WORD_QUOTED)
            return false;
        name->end = token.end;
        if (!words_token(analysis->text, end, &at, &token) || !is_sign(&token.word, '.'))
            return true;
    }
    return name->end > start;
}

bool clauses_call(const struct analysis *analysis, size_t start, size_t end, struct call_pieces *call)
{
    struct token token;
    if (!clauses_name(analysis, start, end, &call->name))
        return false;
    size_t at = call->name.end;
    if (!words_token(analysis->text, end, &at, &token) || !is_sign(&token.word, '('))
        return false;
    call->arguments = (struct piece){token.start, token.end};
    call->whole = (struct piece){start, token.end};
    if (words_token(analysis->text, end, &at, &token) && word_is(&token.word, "filter") &&
        words_token(analysis->text, end, &at, &token) && token.is_group)
        call->whole.end = token.end;
    return true;
}
