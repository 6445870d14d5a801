/*
 * What queries within DDL say: the columns of a view, its text, and what a policy names.
 *
 * Only what is plain is understood: a column of a relation in FROM, a cast, a name given by AS. The rest has no type.
 */
#include "sql/words.h"

#include "sql/schema_file_parts.h"

enum { DEPTH_MOST = 200 };

/* ---- columns ---- */

/* A relation or a query in FROM, by the name that columns are qualified with. */
struct source {
    const char *name;
    const struct draft_relation *relation; /* NULL: something whose columns are not known */
};

struct sources {
    struct source at[64];
    size_t count;
    bool merged; /* USING and NATURAL: * is not simply each one's columns */
};

static void add_source(struct sources *sources, const char *name, const struct draft_relation *relation)
{
    if (sources->count < sizeof sources->at / sizeof *sources->at)
        sources->at[sources->count++] = (struct source){name, relation};
    else
        sources->merged = true;
}

static void find_sources(struct schema_file *file, struct sources *sources, const Node *node, size_t depth)
{
    if (depth > DEPTH_MOST)
        return;
    if (IsA(node, RangeVar)) {
        const RangeVar *range = (const RangeVar *)node;
        bool renamed = range->alias && range->alias->colnames;
        add_source(sources, range->alias ? range->alias->aliasname : range->relname,
                   renamed ? NULL : file_find_relation(file, range->schemaname, range->relname));
    } else if (IsA(node, JoinExpr)) {
        const JoinExpr *join = (const JoinExpr *)node;
        sources->merged |= join->usingClause || join->isNatural || join->alias;
        find_sources(file, sources, join->larg, depth + 1);
        find_sources(file, sources, join->rarg, depth + 1);
    } else {
        const Alias *alias = IsA(node, RangeSubselect)  ? ((const RangeSubselect *)node)->alias
                             : IsA(node, RangeFunction) ? ((const RangeFunction *)node)->alias
                                                        : NULL;
        add_source(sources, alias ? alias->aliasname : "", NULL);
    }
}

struct output {
    struct schema_file *file;
    struct draft_relation *relation;
    const ListCell *alias; /* the next name given in front */
    const List *aliases;
    bool failed; /* a * whose columns are not known */
};

static void add_output(struct output *output, const char *name, const struct schema_column *like)
{
    if (output->alias) {
        name = strVal(lfirst(output->alias));
        output->alias = lnext(output->aliases, output->alias);
    }
    struct schema_column *column = draft_column(output->relation, name); /* CREATE OR REPLACE */
    if (!column)
        column = draft_add_column(&output->file->draft, output->relation, file_text(output->file, name));
    if (column && like)
        column->type = like->type, column->modifier = like->modifier, column->deterministic = like->deterministic,
        column->plain = like->plain, column->bytewise = like->bytewise;
}

static const struct schema_column *source_column(const struct sources *sources, const char *of, const char *name)
{
    const struct schema_column *found = NULL;
    for (size_t i = 0; !found && i < sources->count; i++)
        if (sources->at[i].relation && (!of || strcmp(of, sources->at[i].name) == 0))
            found = draft_column(sources->at[i].relation, name);
    return found;
}

static void add_star(struct output *output, const struct sources *sources, const char *of)
{
    for (size_t i = 0; i < sources->count; i++) {
        if (of && strcmp(of, sources->at[i].name) != 0)
            continue;
        const struct draft_relation *relation = sources->at[i].relation;
        if (!relation || (sources->merged && !of)) {
            output->failed = true;
            return;
        }
        for (size_t c = 0; c < relation->columns.count; c++) {
            const struct schema_column *column = &((const struct schema_column *)relation->columns.items)[c];
            add_output(output, column->name, column);
        }
    }
}

/* As FigureColname (src/backend/parser/parse_target.c) for the commonest; "?column?" for the rest. */
static const char *output_name(const Node *value)
{
    const Node *inner = value;
    while (inner && IsA(inner, TypeCast))
        inner = ((const TypeCast *)inner)->arg;
    if (inner && IsA(inner, FuncCall))
        return strVal(llast(((const FuncCall *)inner)->funcname));
    if (inner && IsA(inner, ColumnRef) && IsA((const Node *)llast(((const ColumnRef *)inner)->fields), String))
        return strVal(llast(((const ColumnRef *)inner)->fields));
    if (inner && IsA(inner, CoalesceExpr))
        return "coalesce";
    if (value && IsA(value, TypeCast))
        return strVal(llast(((const TypeCast *)value)->typeName->names));
    return inner && IsA(inner, CaseExpr) ? "case" : "?column?";
}

static void add_column_reference(struct output *output, const struct sources *sources, const ResTarget *target)
{
    const List *fields = ((const ColumnRef *)target->val)->fields;
    const Node *last = llast(fields);
    const char *of = list_length(fields) > 1 ? strVal(list_nth(fields, list_length(fields) - 2)) : NULL;
    if (IsA(last, A_Star))
        add_star(output, sources, of);
    else
        add_output(output, target->name ? target->name : strVal(last), source_column(sources, of, strVal(last)));
}

/* The result's type where every function of that name has the same one, of no pseudo-type. */
static uint32_t result_type(const struct schema_file *file, const FuncCall *call)
{
    const char *namespace, *name;
    uint32_t result = 0;
    file_split(call->funcname, &namespace, &name);
    for (size_t i = 0; i < file->draft.functions.count; i++) {
        const struct schema_function *function = &((const struct schema_function *)file->draft.functions.items)[i];
        if (strcmp(function->name, name) != 0)
            continue;
        if (result && result != function->result)
            return 0;
        result = function->result;
    }
    const struct schema_type *type = draft_type_by_oid(&file->draft, result);
    return type && type->kind != 'p' ? result : 0;
}

static void add_target(struct output *output, const struct sources *sources, const ResTarget *target)
{
    if (target->val && IsA(target->val, ColumnRef)) {
        add_column_reference(output, sources, target);
        return;
    }
    struct schema_column like = {.modifier = -1, .deterministic = true};
    if (target->val && IsA(target->val, TypeCast))
        like.type = file_type(output->file, ((const TypeCast *)target->val)->typeName, &like.modifier);
    else if (target->val && IsA(target->val, FuncCall))
        like.type = result_type(output->file, (const FuncCall *)target->val);
    add_output(output, target->name ? target->name : output_name(target->val), &like);
}

void file_query_columns(struct schema_file *file, struct draft_relation *relation, const Node *query,
                        const List *aliases)
{
    struct output output = {file, relation, list_head(aliases), aliases, false};
    const SelectStmt *select = (const SelectStmt *)query;
    if (!IsA(query, SelectStmt))
        return;
    for (size_t depth = 0; select->larg && depth < DEPTH_MOST; depth++)
        select = select->larg; /* names and, mostly, types are the first branch's */
    struct sources sources = {.count = 0};
    const ListCell *cell;
    foreach (cell, select->fromClause)
        find_sources(file, &sources, lfirst(cell), 0);
    foreach (cell, select->targetList)
        if (!output.failed)
            add_target(&output, &sources, lfirst(cell));
    if (output.failed)
        relation->columns.count = 0; /* not known, rather than known in part */
}

/* ---- text ---- */

/* Is the word at `i` of the last ones the beginning of WITH CHECK OPTION, WITH NO DATA and the like? */
static bool is_tail(const struct word *words, size_t count)
{
    static const char *const tails[][3] = {
        {"check", "option"}, {"cascaded", "check", "option"}, {"local", "check", "option"}, {"data"}, {"no", "data"}};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        size_t length = 0;
        while (length < 3 && tails[i][length] && length < count && word_is(&words[length], tails[i][length]))
            length++;
        if (length == count && (length == 3 || !tails[i][length]))
            return true;
    }
    return false;
}

const char *file_query_text(struct schema_file *file)
{
    const char *text = file->text + file->start;
    size_t size = (size_t)(file->end - file->start), at = 0, begin = 0, with = size, behind = 0;
    int depth = 0;
    struct word word, last[4];
    while (words_next(text, size, &at, &word)) {
        if (word.kind == WORD_SIGN)
            depth += (word.text[0] == '(') - (word.text[0] == ')');
        if (!begin && !depth && word_is(&word, "as"))
            begin = at;
        if (begin && !depth && word_is(&word, "with"))
            with = (size_t)(word.text - text), behind = 0;
        else if (behind < 4)
            last[behind++] = word;
    }
    if (with < size && behind < 4 && is_tail(last, behind))
        size = with;
    const char *copy = arena_copy(file->draft.arena, text + begin, size - begin);
    file->draft.failed |= !copy;
    return copy;
}

/* ---- policies ---- */

struct policy {
    struct schema_file *file;
    struct draft_relation *relation;
};

static void read_node(struct policy *policy, const Node *node, size_t depth);

static void read_list(struct policy *policy, const List *list, size_t depth)
{
    const ListCell *cell;
    foreach (cell, list)
        read_node(policy, lfirst(cell), depth);
}

/* What was not understood may call anything. */
static void give_up(const struct policy *policy)
{
    policy->relation->made.has_policy_function = true;
}

static void read_range(struct policy *policy, const RangeVar *range)
{
    const struct draft_relation *relation = file_find_relation(policy->file, range->schemaname, range->relname);
    if (relation && relation != policy->relation)
        draft_append_oid(&policy->file->draft, &policy->relation->policies_read, relation->made.oid);
    else if (!relation)
        give_up(policy); /* a CTE, or something that the file has not */
}

static bool is_own_function(const struct schema_file *file, const char *namespace, const char *name)
{
    bool found = false;
    for (size_t i = 0; i < file->draft.functions.count; i++) {
        const struct schema_function *function = &((const struct schema_function *)file->draft.functions.items)[i];
        if (strcmp(function->name, name) != 0 || (namespace && strcmp(function->schema, namespace) != 0))
            continue;
        if (!function->is_system)
            return false;
        found = true;
    }
    return found;
}

static void read_function(struct policy *policy, const FuncCall *call, size_t depth)
{
    const char *namespace, *name;
    file_split(call->funcname, &namespace, &name);
    if (!is_own_function(policy->file, namespace, name) || call->over || call->agg_order || call->agg_filter)
        give_up(policy);
    read_list(policy, call->args, depth);
}

static void read_operator(struct policy *policy, const A_Expr *expression, size_t depth)
{
    const char *namespace, *name;
    file_split(expression->name, &namespace, &name);
    for (size_t i = 0; i < policy->file->draft.operators.count; i++)
        if (strcmp(((const struct schema_operator *)policy->file->draft.operators.items)[i].name, name) == 0)
            give_up(policy);
    read_node(policy, expression->lexpr, depth);
    read_node(policy, expression->rexpr, depth);
}

static void read_select(struct policy *policy, const SelectStmt *select, size_t depth)
{
    if (select->withClause || select->larg || select->valuesLists || select->windowClause || select->lockingClause)
        give_up(policy);
    read_list(policy, select->distinctClause, depth);
    read_list(policy, select->targetList, depth);
    read_list(policy, select->fromClause, depth);
    read_node(policy, select->whereClause, depth);
    read_list(policy, select->groupClause, depth);
    read_node(policy, select->havingClause, depth);
    if (select->sortClause || select->limitCount || select->limitOffset)
        give_up(policy);
}

static void read_leaf(struct policy *policy, const Node *node)
{
    if (!IsA(node, ColumnRef) && !IsA(node, A_Const) && !IsA(node, SQLValueFunction) && !IsA(node, A_Star))
        give_up(policy);
}

static void read_node(struct policy *policy, const Node *node, size_t depth)
{
    if (!node)
        return;
    if (depth++ > DEPTH_MOST) {
        give_up(policy);
        return;
    }
    switch (nodeTag(node)) {
    case T_List:
        read_list(policy, (const List *)node, depth);
        break;
    case T_RangeVar:
        read_range(policy, (const RangeVar *)node);
        break;
    case T_JoinExpr:
        read_node(policy, ((const JoinExpr *)node)->larg, depth);
        read_node(policy, ((const JoinExpr *)node)->rarg, depth);
        read_node(policy, ((const JoinExpr *)node)->quals, depth);
        break;
    case T_SelectStmt:
        read_select(policy, (const SelectStmt *)node, depth);
        break;
    case T_SubLink:
        read_node(policy, ((const SubLink *)node)->testexpr, depth);
        read_node(policy, ((const SubLink *)node)->subselect, depth);
        break;
    case T_RangeSubselect:
        read_node(policy, ((const RangeSubselect *)node)->subquery, depth);
        break;
    case T_ResTarget:
        read_node(policy, ((const ResTarget *)node)->val, depth);
        break;
    case T_FuncCall:
        read_function(policy, (const FuncCall *)node, depth);
        break;
    case T_A_Expr:
        read_operator(policy, (const A_Expr *)node, depth);
        break;
    case T_BoolExpr:
        read_list(policy, ((const BoolExpr *)node)->args, depth);
        break;
    case T_TypeCast:
        read_node(policy, ((const TypeCast *)node)->arg, depth);
        break;
    case T_NullTest:
        read_node(policy, (const Node *)((const NullTest *)node)->arg, depth);
        break;
    case T_BooleanTest:
        read_node(policy, (const Node *)((const BooleanTest *)node)->arg, depth);
        break;
    case T_CoalesceExpr:
        read_list(policy, ((const CoalesceExpr *)node)->args, depth);
        break;
    case T_A_ArrayExpr:
        read_list(policy, ((const A_ArrayExpr *)node)->elements, depth);
        break;
    default:
        read_leaf(policy, node);
    }
}

void file_read_policy(struct schema_file *file, struct draft_relation *relation, const Node *expression)
{
    struct policy policy = {file, relation};
    read_node(&policy, expression, 0);
}
