/*
 * The inside of facts.h: what the files that walk a parse tree share. docs/design/proof.md has the rules and why each
 * is sound; the words are these.
 *
 *     scope      a query level: its FROM list, its WITH, the scope around it
 *     range      an entry of a FROM list: a relation, a subquery, a join that has names of its own
 *     term       a column of a range, as far as proofs know it: a value that stands for the rows' column
 *     condition  something that must be true of every row that matters of some ranges, its `filter`
 *     solve      conditions and links between terms → which terms are bound to which values
 *
 * Memory: everything is in the arena, and allocation never fails here: it jumps back to facts_find.
 */
#ifndef MOSAIC_SQL_ANALYSIS_H
#define MOSAIC_SQL_ANALYSIS_H

#include "sql/facts.h"
#include "sql/parse.h"
#include "sql/scan.h"

#include <setjmp.h>
#include <string.h>
#include <strings.h>

#include "sql/nodes.h"

enum {
    DEPTH_MOST = 800,          /* of the tree: at most some 500 bytes of stack each */
    CONDITIONS_MOST = 20000,   /* of a statement */
    ALTERNATIVES_MOST = 10000, /* keys of a relation */
    PARAMETER_MOST = 65535,    /* of the protocol */
};

/* What a term may be: one of these values (or NULL, which equals nothing). count 0: not known. */
struct values {
    const struct fact_value *list;
    size_t count;
};

struct term_source {
    struct term *term;
    bool down; /* a condition on the term may be moved to this source */
};

struct term {
    struct range *range; /* whose column; NULL: of a subquery's output, or a constant */
    uint32_t type;       /* OID below domains; 0: not known */
    uint32_t domain;     /* the column's own type */
    bool nondeterministic;
    bool is_constant;
    struct values bound;
    struct term_source *sources; /* a column of a subquery, a set operation …: what it is made of */
    size_t source_count;
    bool up_any;            /* bound as soon as the first source is (EXCEPT), else when all are */
    struct common *common;  /* of a WITH query: conditions move down only where it is referenced once */
    struct term *recursive; /* the term of the whole recursive query's base, while the step is analysed */
    struct term *step;      /* and of its step, to verify */
    bool distrusted;        /* the induction failed */
    bool filtered;          /* rows with NULL here do not matter to the range's query */
    bool nulled;            /* of a query that may put NULL in its place: GROUPING SETS */
    bool plain;             /* its collation is the database's default */
    bool bytewise;          /* a text that is ordered by its bytes */
    bool retyped;           /* it is part of a column of another type, which is then not what `type` is */
    bool mixed;             /* a join's USING has it for a column of another type, which is then not what it is */
    struct term *next;      /* all terms that have sources, or are recursive */
};

/* A column of a range: of a term, or of another range (a join's), or unknown. */
struct column {
    const char *name;
    struct term *term;
    struct range *origin;
    size_t origin_index;
    bool down;   /* of an output: see term_source */
    bool nulled; /* of an output: see term */
};

struct columns {
    struct column *list;
    size_t count, capacity;
    bool opaque;  /* it has more, which are not known */
    bool unnamed; /* some have names that are not known */
};

/* A relation in the making of fact_relation. */
struct use {
    struct fact_relation fact;
    struct range *range; /* NULL: a hidden relation (of a policy) */
    bool is_target, is_locked, is_inserted;
    struct term **assigned; /* UPDATE, INSERT of a query: what each key column is set to; NULL: nothing known */
    bool *is_assigned;
    struct tuples *tuples;        /* row comparisons that filter it */
    const char *missing, *remedy; /* where the walker knows better than `no condition` */
    struct use *next;
};

/* Whole keys from (a, b) IN ((1, 2), (3, 4)) and the like: rows × key columns. */
struct tuples {
    struct fact_value *values;
    size_t count;
};

struct range {
    struct scope *scope;
    size_t index; /* in its scope */
    const struct schema_relation *relation;
    struct columns columns;
    struct use *use;
};

struct item {                  /* what a name in an expression may mean */
    const char *name, *schema; /* alias, or a relation's name and schema; NULL: an unnamed join */
    struct range *range;
    bool by_name, by_column; /* name.column, column */
};

struct common { /* a WITH query */
    const char *name;
    struct columns columns;
    size_t references;
    bool is_later; /* WITH RECURSIVE: it stands further on */
    struct common *next;
};

struct window { /* of a function's OVER, or a named one */
    const WindowDef *definition;
    struct window *next;
};

struct scope {
    struct scope *parent;
    bool sees_parent; /* columns of the parent's ranges: all but subqueries in FROM without LATERAL */
    struct item *items;
    size_t item_count, item_capacity, visible_from;
    size_t range_count;
    struct common *commons;
    struct join *joins;
    struct window *windows; /* what functions are OVER */
    bool has_window, has_set_function, has_volatile, has_aggregate;
    bool touched;      /* a column was named that is one of its ranges' for sure */
    bool looks_out;    /* one may have been that is an outer query's */
    bool correlated;   /* one was, in it or within it */
    const char *picks; /* what of it the order of rows decides, a subject; NULL: nothing */
    /* Once it was analysed: */
    SelectStmt *select;
    struct columns outputs;
    struct scope *left, *right; /* of a set operation */
};

/* Ranges first..last-1 of a scope: rows of them that do not fulfil a condition do not matter. */
struct filter {
    struct scope *scope;
    size_t first, last;
};

/* An outer join: it becomes an inner one when conditions drop the rows that it fills with NULLs. */
struct join {
    JoinType type;
    size_t first, middle, last; /* its left ranges are first..middle-1, its right ones middle..last-1 */
    struct filter *filter;      /* of its conditions */
    struct join *next;
};

struct condition {
    const struct filter *filter;
    struct term *a, *b; /* a = b; b NULL: a = one of the values */
    struct values values;
    struct condition *next;
};

/* Uses of a parameter. */
struct parameter {
    uint32_t type;  /* what its uses give it, while they agree */
    bool conflicts; /* they do not, or one is not understood */
    bool is_key;
    size_t uses, stored; /* of these, by clock_stored */
};

/* The statement itself, where it is an INSERT, UPDATE, DELETE or MERGE. */
struct written {
    const Node *statement; /* NULL: it is none */
    struct range *target;
    const struct schema_relation *named; /* the target's, or the view through which it is written */
    struct scope *scope;                 /* of the target, and of what stands beside it in FROM or USING */
    struct scope *rows;                  /* INSERT: that of VALUES and of its query */
    struct scope *query;                 /* INSERT … of a query: that of its SELECT */
};

/* COPY FROM STDIN of a table that is not the home shard's alone. */
struct copied_in {
    const CopyStmt *statement; /* NULL: it is none */
    struct use *target;
    const struct fact_copy *copy;
};

/* What stands where in the statement's own text, of whatever query: a column's name, a subquery, an aggregate. */
struct mark {
    enum { MARK_COLUMN, MARK_SUBQUERY, MARK_AGGREGATE } kind;
    int location;
    const Node *node;
    struct mark *next;
};

/* A relation's name that the schema does not have. */
struct unknown_name {
    const char *name;
    struct unknown_name *next;
};

/* Where a change of the schema belongs, by what it names: ddl.h. */
struct ddl_places {
    const char *home, *everywhere; /* something that is there alone, for messages; NULL: nothing */
    bool may_miss;                 /* what a shard has not it need not have: IF EXISTS */
    bool hides;                    /* the home shard's has a name that on other shards is another relation's */
    struct fact_write write;       /* how all shards do it */
};

struct analysis {
    const struct sql_context *context;
    const struct schema *schema;
    struct arena *arena;
    struct parse *parse;
    const char *text;
    size_t size;
    const struct scan *scan;
    jmp_buf out;   /* memory is out: 1; the statement is refused: 2 */
    bool finished; /* the statement was analysed, to facts or a refusal */
    int depth;
    bool alone;              /* the text has no other statement */
    struct scope *top;       /* of the query that the statement is; NULL: it is none */
    const char *const *path; /* where names are looked for: the session's, or a view's */
    size_t path_count;
    bool in_view; /* names are those of a view's text */
    struct facts *facts;
    struct use *uses, **last_use;
    size_t use_count;
    struct condition *conditions, **last_condition;
    size_t condition_count;
    struct term *derived; /* those with sources */
    struct parameter *parameters;
    size_t parameter_count, parameter_capacity;
    const uint32_t *assigned_types; /* of an INSERT's columns, for the targets of its SELECT, once */
    size_t assigned_type_count;
    bool own_equals;       /* the comparison is OPERATOR(pg_catalog.=) */
    bool home_else;        /* the home shard is needed for something other than catalogs */
    bool prefers_home;     /* catalogs, and the like, that every shard has but whose answer is the home shard's */
    bool numbers_object;   /* it asks for the OID of what it names */
    struct scope *locking; /* of the SELECT that has FOR UPDATE or its like, the last one */
    size_t locking_count;  /* of all of them */
    bool unknown_function;
    bool has_volatile;        /* a volatile function is called anywhere, also in a view */
    bool has_volatile_within; /* not by what is done for each row that the statement writes: in a subquery, a WITH */
    bool mixes_types;         /* a join's USING makes one column of two that differ in type or collation */
    size_t names;             /* columns named so far */
    struct mark *marks;       /* of the statement's own text */
    const struct use *copied; /* the table that COPY TO STDOUT names */
    bool has_header;          /* of COPY */
    struct copied_in copied_in;
    struct written written;
    const char
        *order_matters; /* a clause: what may depend on the order in which rows are read; NULL: nothing was seen */
    const char *picks_of_copies; /* a clause: a subquery picks of a reference table's rows, whose order each shard has
                                    for itself; NULL: none was seen */
    size_t moments;              /* now() and its like, in the statement's own text */
    size_t named_moments;        /* columns that are named by one of them */
    bool clock_else;             /* the time is read by something else as well */
    bool *stored;                /* literals that clock_stored has seen, by number; NULL: none */
    const char *scatter_bars;    /* why no scatter would do, a clause; NULL: nothing was seen */
    struct unknown_name *unknown;
    struct ddl_places ddl;
};

/* facts.c */
void *analysis_new(struct analysis *analysis, size_t count, size_t size);
const char *analysis_text(struct analysis *analysis, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *analysis_copy(struct analysis *analysis, const char *text);
/* Refuses the statement, and leaves it. */
void analysis_refuse(struct analysis *analysis, int location, const char *message, const char *detail, const char *hint)
    __attribute__((noreturn));
/* The same for what only cannot be proved: the walk goes on, since the coordinator may do it. */
void analysis_unproved(struct analysis *analysis, int location, const char *message, const char *hint);
/* The coordinator would answer otherwise than one PostgreSQL; the first reason stays. */
void analysis_bar_coordinator(struct analysis *analysis, const char *reason);
/* The same for many shards that are asked at once, and for both. */
void analysis_bar_scatter(struct analysis *analysis, const char *reason);
void analysis_bar_several(struct analysis *analysis, const char *reason);
/* Equal tables may give another answer where their rows stand in another order. */
void analysis_note_order(struct analysis *analysis, const char *reason);
void analysis_enter(struct analysis *analysis);
static inline void analysis_leave(struct analysis *analysis)
{
    analysis->depth--;
}

/* expression.c */
void mark_add(struct analysis *analysis, int kind, int location, const void *node);

/* names.c */
struct scope *scope_new(struct analysis *analysis, struct scope *parent, bool sees_parent);
struct range *range_new(struct analysis *analysis, struct scope *scope);
struct item *item_add(struct analysis *analysis, struct scope *scope, const char *name, const char *schema,
                      struct range *range);
/* The columns of a relation as a range shows them, with an alias's names. */
void range_relation(struct analysis *analysis, struct range *range, const struct schema_relation *relation);
void columns_rename(struct analysis *analysis, struct columns *columns, const List *names);
struct column *columns_add(struct analysis *analysis, struct columns *columns);
struct term *column_term(struct analysis *analysis, struct column *column);
struct term *term_new(struct analysis *analysis, struct range *range, uint32_t type, bool nondeterministic);
/* Has a column that is made of both the type of `a`? b NULL: it is not known. */
bool term_rules(const struct term *a, const struct term *b);
struct term *term_derived(struct analysis *analysis, struct range *range, struct term *like, size_t sources);
struct column *columns_find(const struct columns *columns, const char *name);
struct term *name_resolve(struct analysis *analysis, struct scope *scope, const ColumnRef *reference);
/* A field that is taken out of a row: (row).name is a column, a system column, or a function. */
void name_field(struct analysis *analysis, const char *name);
/* The relation a name means; NULL: not known. *temporary: one of the session's temporary tables. */
const struct schema_relation *name_relation(struct analysis *analysis, const RangeVar *name, bool *temporary);
struct common *name_common(struct scope *scope, const RangeVar *name);
/* OID of a type, 0: not known; *modified: it has a modifier such as (10, 2). */
uint32_t name_type(struct analysis *analysis, const TypeName *name, bool *modified);
/* Is it a domain whose default could be another value on each shard, or a type that is not known? */
bool name_default_varies(const struct analysis *analysis, const TypeName *name);
bool name_is_domain(const struct analysis *analysis, const TypeName *name);

bool name_is_one_of(const char *name, const char *const *list, size_t count);
#define NAME_IS_ONE_OF(name, list) name_is_one_of(name, list, sizeof(list) / sizeof *(list))

/* hidden.c: what stands behind a relation that is used, and behind one that is written. */
struct use *use_add(struct analysis *analysis, struct range *range, const struct schema_relation *relation,
                    int location, bool inherits);
/* Rows that are there may be … */
enum written_how { WRITTEN_DELETED = 1, WRITTEN_UPDATED = 2 };
/* how: of enum written_how; 0: it inserts rows and does nothing else. */
void use_written(struct analysis *analysis, struct use *use, int how);
void relation_truncated(struct analysis *analysis, const struct schema_relation *relation, const RangeVar *name,
                        bool cascades);

/* copies.c */
/* Equal values of its type are the same. */
bool copies_look_alike(const struct analysis *analysis, const struct term *term);
/* Is the aggregate's result the same in whatever order rows come; as a window function, `over`. */
bool copies_any_order(struct analysis *analysis, struct scope *scope, const FuncCall *call, const char *name);
bool copies_any_order_over(struct analysis *analysis, struct scope *scope, const FuncCall *call, const char *name);
/*
 * Does the subquery, whose relations are `first` and what follows, pick, once for all rows, of copies alone by their
 * order? `why`: it does, a subject (`a window function`); NULL: it is looked at. One that names a column of an outer
 * query picks for each row of that: then it is the query around it that may pick once.
 */
void copies_note(struct analysis *analysis, struct scope *scope, const struct use *first, const char *why);

/* query.c */
/* LIMIT NULL is none. */
bool query_is_limit(const Node *node);
struct columns query_analyse(struct analysis *analysis, struct scope *parent, bool sees_parent, Node *statement);
/* The window whose PARTITION BY counts for this one; NULL: not known. */
const WindowDef *query_window(const SelectStmt *select, const WindowDef *window);
/* How many columns a target makes; SIZE_MAX: not known. */
size_t query_target_width(struct analysis *analysis, struct scope *scope, ResTarget *target);
bool query_is_star(const Node *target);
void query_targets(struct analysis *analysis, struct scope *scope, List *targets, struct columns *outputs);
struct filter *filter_new(struct analysis *analysis, struct scope *scope, size_t first, size_t last);

/* from.c */
void query_from(struct analysis *analysis, struct scope *scope, List *from);
void query_from_item(struct analysis *analysis, struct scope *scope, Node *node);
/* The columns of items first..last-1 of a scope, in order, as a star gives them. */
void from_star(struct analysis *analysis, struct scope *scope, size_t first, size_t last, struct columns *columns);

/* A view's text as a tree, in which names are the view's own until view_leave. */
struct view_names {
    bool in_view;
    const char *const *path;
    size_t path_count;
};
Node *view_enter(struct analysis *analysis, const struct schema_relation *view, struct view_names *before);
void view_leave(struct analysis *analysis, const struct view_names *before);

/* with.c */
void query_with(struct analysis *analysis, struct scope *scope, WithClause *with);

/* modify.c */
struct columns modify_analyse(struct analysis *analysis, struct scope *parent, Node *statement);
/* Is nothing done, nor computed, for rows of the source that match none of the target? */
bool modify_only_matched(const MergeStmt *merge);

/* expression.c */
void expression_walk(struct analysis *analysis, struct scope *scope, Node *node);
void expression_list(struct analysis *analysis, struct scope *scope, List *list);

/* clock.c: notes in the facts what may ask for the present. */
/* Has a value of this type a date or time in it? An unknown type may. */
bool clock_has_time(const struct analysis *analysis, uint32_t oid);
void clock_cast(struct analysis *analysis, struct scope *scope, uint32_t type, Node *from);
/* A value that is stored as it is in a column of this type: where no moment is read in it, it is known to be none. */
void clock_stored(struct analysis *analysis, const struct fact_value *value, uint32_t type);
/* The time is read, by what is found by its words, or otherwise. */
void clock_read(struct analysis *analysis, bool by_words);
void clock_call(struct analysis *analysis, struct scope *scope, const FuncCall *call, const char *name);

/* part.c: refuses what would tell of one shard's part of a table as if it were all. */
void part_function(struct analysis *analysis, const FuncCall *call, const char *name);
void part_relation(struct analysis *analysis, const struct schema_relation *relation, int location);

/* operand.c: a side of a comparison, or a target, which is walked in any case. */
struct operand {
    struct term *term; /* a column, or what a scalar subquery gives; NULL: none */
    uint32_t cast;     /* the type that a cast makes of the column; 0: there is none */
    bool is_value;     /* a literal or a parameter, with a cast or none */
    struct fact_value value;
};
struct operand operand_of(struct analysis *analysis, struct scope *scope, Node *node);
/* The same of a side of a comparison, where an expression of integer constants is a value, too: for this text alone. */
struct operand operand_compared(struct analysis *analysis, struct scope *scope, Node *node);
/* The value of a literal or parameter, maybe cast; false: it is none, and nothing was walked. */
bool operand_value(struct analysis *analysis, Node *node, struct fact_value *value);
/* What proofs know of a constant, as a term. */
struct term *operand_constant(struct analysis *analysis, const struct fact_value *value);
/* A parameter is used where it gets this type; 0: it is not known. */
void parameter_use(struct analysis *analysis, int number, uint32_t type, bool is_key);
/* The same for a value, where it is a parameter. */
void value_use(struct analysis *analysis, const struct fact_value *value, uint32_t type, bool is_key);

/* How types compare: equality within a family is equality of one operator family, exact, and the same for all. */
enum family {
    FAMILY_NONE,
    FAMILY_NUMBER, /* int2, int4, int8, numeric; never floats */
    FAMILY_TEXT,   /* text, varchar */
    FAMILY_BPCHAR,
    FAMILY_UUID,
    FAMILY_BYTEA,
    FAMILY_DATE,
    FAMILY_TIMESTAMP,
    FAMILY_TIMESTAMPTZ,
};
enum family family_of(uint32_t type);

/* condition.c */
/* A WHERE or ON: what filters, as conditions; and walks it. */
void condition_where(struct analysis *analysis, struct scope *scope, const struct filter *filter, Node *node);
void condition_equal(struct analysis *analysis, const struct filter *filter, struct term *a, struct term *b);

/* prove.c */
void prove(struct analysis *analysis);
/* The term of a sharded relation's key column. */
struct term *prove_key(struct analysis *analysis, struct range *range, size_t column);
/* UPDATE: the one key that SET gives the rows, as a value of every column. columns 0: it is none, or not known. */
struct fact_keys prove_assigned(struct analysis *analysis, const struct use *use);
/* After prove: what is bound if these conditions held, too. Facts stay; terms tell, until prove_forget. */
void prove_under(struct analysis *analysis, struct condition *first, struct condition *last);
void prove_forget(struct analysis *analysis, struct condition *last);

/* figure.c */
enum figured { FIGURED_NONE, FIGURED_WEAK, FIGURED_NAME, FIGURED_UNKNOWN };
/* The name of an expression as a target; NONE: "?column?". WEAK: a cast around it would give its own. */
enum figured figure_name(const Node *node, const char **name);
/* A target's own name, or what PostgreSQL calls it; NULL: that is not known. */
const char *figure_target(const ResTarget *target);
/* May it be named by now() or its like, which is nobody's name once a literal stands there? */
bool figure_is_moment(const ResTarget *target);

/* scatter.c: tier 2, once prove is done. */
void scatter_find(struct analysis *analysis);

/* Is it on the side of no outer join that may be filled with NULLs? */
bool range_is_preserved(const struct range *range);
/* write.c: whether several shards may do what the statement writes, once prove is done. */
void write_find(struct analysis *analysis);
/* stream.c: INSERT of a query's rows. */
void stream_find(struct analysis *analysis);
/* A column gets its default: notes what that reads. A clause: why it is not the same on all shards. */
const char *write_default(struct analysis *analysis, struct fact_write *write, const struct schema_column *column);
/* The same of the columns that SET gives their default. */
const char *write_defaults_set(struct analysis *analysis, struct fact_write *write, const List *targets);
/* The same of an INSERT into these columns (NIL: all), of which `width` are given: those that are left out, or DEFAULT
 * in one of the rows. */
const char *write_defaults_given(struct analysis *analysis, struct fact_write *write, const List *columns,
                                 const List *rows, size_t width);
/* copy_from.c: the same of COPY FROM STDIN, which is refused where its rows cannot be dealt out. */
void copy_from_analyse(struct analysis *analysis, const CopyStmt *copy, struct scope *scope, struct use *target);
void copy_from_find(struct analysis *analysis);
/* prune.c: the same, where the coordinator will answer. */
void prune_find(struct analysis *analysis);

/* scatter_text.c */
/* Bytes of the statement's text. */
struct piece {
    size_t start, end;
};
/* Where the parts of the statement's SELECT stand. In parentheses: `tail` alone; of a set operation `order` and
 * `sorts`, too. */
struct clauses {
    struct piece *targets, *sorts; /* without labels, without ASC and NULLS FIRST */
    size_t target_count, sort_count;
    struct piece *groups; /* items of GROUP BY */
    size_t group_count;
    size_t start;       /* of all: not that of EXPLAIN */
    size_t select_end;  /* behind the word SELECT; 0: it has no list */
    size_t targets_end; /* behind the last target; 0: the same */
    size_t where;       /* where WHERE begins; 0: there is none */
    size_t upper;       /* where GROUP BY, HAVING or WINDOW begins; 0: there is none */
    size_t order;       /* where ORDER BY begins; 0: there is none */
    size_t tail;        /* behind what LIMIT, OFFSET and FETCH stand behind */
    struct piece locks; /* FOR UPDATE and its like, before LIMIT or behind it; empty: there is none */
    size_t lower;       /* the first of upper, order and tail: behind FROM and WHERE */
    bool with_ties; /* the tree's limitOption is not used: libpg_query numbers its values otherwise than the headers */
};
/* False: the text is not sure to be what the tree says. */
bool clauses_find(struct analysis *analysis, const SelectStmt *select, struct clauses *clauses);
/* The same of a query that stands within the statement. */
bool clauses_find_within(struct analysis *analysis, const SelectStmt *select, const struct piece *within,
                         struct clauses *clauses);
/* Where the statement begins: behind the semicolons of empty ones in front. */
size_t clauses_begin(const struct analysis *analysis);
/* Where the statement ends: a semicolon, or the text's end, without the blanks before it. */
size_t clauses_end(const struct analysis *analysis, size_t tail);
/* A column's name, with what qualifies it. False: there is none. */
bool clauses_name(const struct analysis *analysis, size_t start, size_t end, struct piece *name);
/* A call: `arguments` with their parentheses; `whole` with FILTER. */
struct call_pieces {
    struct piece name, arguments, whole;
};
bool clauses_call(const struct analysis *analysis, size_t start, size_t end, struct call_pieces *call);
/* Has the piece a parameter whose type nothing says beforehand? */
bool clauses_untyped(const struct analysis *analysis, const struct piece *piece);

/* utility.c */
void statement_analyse(struct analysis *analysis, Node *node);
/* Of a SELECT that is nothing but a list of one expression, that one; else NULL. */
const Node *only_expression(const SelectStmt *select);

/* placement.c */
/* SELECT of one call of mosaic.shard_table and its like: its facts. False: it is none. */
bool placement_statement(struct analysis *analysis, const SelectStmt *select);
/* Refuses such a call anywhere else. */
void placement_forbid(struct analysis *analysis, const FuncCall *call);

/* constant.c */
bool constant_statement(const struct analysis *analysis, const SelectStmt *select);

/* inner.c */
/* Notes where the statement within starts: behind the word `until` (in lower case), or, where that is NULL, behind
 * EXPLAIN's options. */
void inner_note(struct analysis *analysis, const char *until, bool options);
/* The same of the first group in parentheses, which is a query. */
void inner_note_group(struct analysis *analysis);
/* EXPLAIN ANALYZE VERBOSE: its options stand in no parentheses, those that follow are the statement's own. */
bool inner_is_old_style(const struct analysis *analysis);

/* ddl.c */
#define HINT_EXEC_ALL "Run it on every shard with pgmosaic exec --all."
void ddl_analyse(struct analysis *analysis, Node *node);
/* LOCK TABLE, VACUUM, ANALYZE, REINDEX, CLUSTER and CHECKPOINT. */
void ddl_lock(struct analysis *analysis, const LockStmt *lock);
void ddl_maintain(struct analysis *analysis, Node *node);

#endif
