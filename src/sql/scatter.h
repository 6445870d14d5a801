/* The inside of tier 2's analysis: what scatter.c (the proof), scatter_shape.c (what stands above), scatter_merge.c and
 * tier 3 (scatter_final.h) share. */
#ifndef MOSAIC_SQL_SCATTER_H
#define MOSAIC_SQL_SCATTER_H

#include "sql/analysis.h"

/* A statement that is split by a key κ of `width` columns; while the solver holds what is bound to it. */
struct split {
    struct analysis *analysis;
    size_t width;
    struct fact_scatter *fact; /* in the making; NULL: the rows are inserted, and none is merged */
    const struct mark *marks;
    bool picks_one;                     /* a LIMIT 1 picks of its rows: of each shard in turn, until there is one */
    struct piece within;                /* where the query stands in the statement; end 0: it is the statement */
    const struct fact_relation *driver; /* found */
};

/* A supposition: these terms, columns of a scope's rows that matter, are κ. In front of those before it. */
struct supposed {
    struct condition *first, *last;
};
void split_suppose(struct analysis *analysis, struct scope *scope, struct term *const *terms, size_t width,
                   struct supposed *supposed);
/* Why a use of a sharded relation is not bound to κ, the key of `driver`; a clause. NULL: it is. */
const char *split_unbound(struct analysis *analysis, const struct table *driver, const struct use *use);
/* Is analysis->top, above WHERE too, split by a key? A clause why not; NULL: it is, by the key of split->driver. */
const char *split_query(struct split *split);

/* A clause why not, while a key of `driver` is supposed to be κ; NULL: every range is bound to it. */
typedef const char *split_check(struct analysis *analysis, const struct table *driver);
/* The same of a scope's rows, by one of its ranges from `first` on: the first that every row has, and for which the
 * check holds, is split->driver. */
const char *split_ranges(struct split *split, struct scope *scope, size_t first, split_check *check);
/* Tier 1 takes it, whatever the values are (of a second key another shard may come out: then it is no case for us). */
bool split_is_for_one(const struct analysis *analysis);

/* Is the term bound to κ's column, and to nothing else? Its rows may still have NULL there. */
bool split_binds(const struct term *term, size_t column);
/* Has each row a key's column in this term: no NULL, that an outer join or a grouping set might put there? */
bool split_is_key(const struct term *term);
/* Both: rows of two keys differ here. */
bool split_holds(const struct term *term, size_t column);

/* May rows that differ in κ be put together as they come? A clause why not; NULL: they may. */
const char *shape_leaf(struct split *split, struct scope *scope);
/* Does it aggregate all its rows to one? */
bool shape_is_one_row(const struct scope *scope);
/* The only name of a column's reference; NULL: it has more, or a star. */
const char *shape_bare_name(const Node *node);
/* May a bare name of ORDER BY be that of a target whose name is figured, or not known? NULL: it may not. */
bool shape_may_be_output(const SelectStmt *select, const char *bare);
/* How FROM's words name a column that a star gives: output->name, behind *qualifier where that is not NULL. False: it
 * is not sure that nothing else could be meant. */
bool shape_star_column(struct analysis *analysis, const struct scope *scope, struct column *output,
                       const char **qualifier);
/* The output that an item of GROUP BY, DISTINCT ON or ORDER BY names, by its place or its name; NULL: it names none. */
struct column *shape_output(struct scope *scope, const Node *node, bool output_first);

/* scatter_write.c: a text in the making, in the analysis's arena. */
struct writing {
    struct analysis *analysis;
    char *text;
    size_t size, capacity;
};
void writing_bytes(struct writing *writing, const char *bytes, size_t size);
void writing_text(struct writing *writing, const char *text);
/* A piece of the statement's own text. */
void writing_piece(struct writing *writing, size_t start, size_t end);
/* A name in double quotes. */
void writing_name(struct writing *writing, const char *name);
const char *writing_end(struct writing *writing);

/* scatter_final.c: tier 3. */
enum { SHAPE_COLUMNS_MOST = 64 };
/* The same, where PostgreSQL puts together what each shard has computed of its own rows. */
const char *shape_final(struct split *split, struct scope *scope);
/* The same, where each shard can only give its rows. */
const char *shape_rows(struct split *split, struct scope *scope);
/* How an expression's values compare in the second statement, which knows no collation but the default; `bytewise`: it
 * is to be told of C. A clause: otherwise than in the first one. */
const char *shape_collation(const struct analysis *analysis, const Node *node, const struct term *term,
                            enum fact_partial *kind, bool *bytewise);
/* FROM of the second statement: the shards' columns, parameters behind the client's. */
void shape_write_source(struct writing *out, size_t parameters, size_t columns);
const struct fact_final *shape_final_fact(struct analysis *analysis, const char *text, const enum fact_partial *kinds,
                                          size_t columns, const size_t *shown);

/* write.c */
/* Does each row keep its key? Those that get another one may belong to another shard. Under what is supposed. */
bool write_keeps_key(struct analysis *analysis, const struct use *use);
/* Is a key that is inserted stored as it is? A column's modifier may round it, or cut it. */
bool write_stores_key(struct analysis *analysis, const struct use *use);

/* write_merge.c: MERGE. */
/* The tag, and what defaults read. A clause: what is set to a default that is not the same everywhere. */
const char *write_merge_describe(struct analysis *analysis, struct fact_write *write);
/* A clause why not; NULL: every shard does it to its own rows. */
const char *write_merge_find(struct analysis *analysis, struct fact_write *write);

/* move.c: rows of one key get another one. A clause why not; NULL: write->move says how. */
const char *move_find(struct analysis *analysis, struct fact_write *write);
/* INSERT into a reference table: one shard computes its rows, and all others get them. `why` that is needed, a clause.
 */
const char *move_copies(struct analysis *analysis, struct fact_write *write, const InsertStmt *insert, const char *why);

/* pick.c: ORDER BY and LIMIT pick rows that are locked. */
/* Does the query lock what they pick? */
bool pick_wanted(const SelectStmt *select);
/* A clause: why it cannot be done. */
const char *pick_look(struct split *split, const struct scope *scope, const struct clauses *clauses);
/* What the text in the making begins with, before the hidden columns. */
void pick_begin(struct split *split, const struct scope *scope, struct writing *text);
/* The rest of it; fills fact->pick. `limit`: as SQL. */
void pick_end(struct split *split, const struct scope *scope, const struct clauses *clauses, const char *limit,
              struct writing *text);

/* scatter_merge.c */
/* Is it PostgreSQL's own, and no other function of that name can be meant? */
bool shape_is_own(const struct analysis *analysis, const FuncCall *call);
/* Of those that are put together here: its number; SIZE_MAX: it is none. */
size_t shape_aggregate(const FuncCall *call);
/* The statement's own ORDER BY, LIMIT and aggregates: what fills split->fact. A clause why not; NULL: it is filled. */
const char *shape_top(struct split *split, struct scope *scope);

#endif
