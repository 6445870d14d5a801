/*
 * The inside of tier 3: what scatter_final.c (the second statement), scatter_partial.c (what the shards compute for
 * it), scatter_rows.c (the same, where they give their rows) and scatter_edit.c (the client's words, but for pieces of
 * them) share.
 */
#ifndef MOSAIC_SQL_SCATTER_FINAL_H
#define MOSAIC_SQL_SCATTER_FINAL_H

#include "sql/scatter.h"
#include "sql/words.h"

/* What stands at a piece of the client's text instead; start == end: what is put in. */
struct edit {
    struct piece piece;
    const char *text;
    bool is_aggregate;
};

/* An expression by which each shard groups. */
struct group {
    struct piece piece;
    struct term *term;     /* NULL: it is no column */
    const char *called;    /* the function that it is a call of; NULL: it is none */
    size_t column;         /* in the second statement, from 1 */
    const char *reference; /* to it */
};

/* A part of an aggregate, as the shards compute it. */
struct part {
    const char *name;   /* NULL: the column is none */
    struct piece piece; /* what stands behind the name */
};

struct final {
    bool gives_rows; /* scatter_rows.c: `groups` are columns, and nothing is grouped */
    struct split *split;
    struct analysis *analysis;
    struct scope *scope;
    const SelectStmt *select;
    struct clauses clauses;
    size_t end; /* of the statement */
    struct writing list;
    enum fact_partial kinds[SHAPE_COLUMNS_MOST];
    bool bytewise[SHAPE_COLUMNS_MOST]; /* their collation is C */
    struct part parts[SHAPE_COLUMNS_MOST];
    size_t count; /* of columns that the shards give */
    struct group groups[SHAPE_COLUMNS_MOST];
    size_t group_count;
    size_t grouped[SHAPE_COLUMNS_MOST], grouped_count; /* numbers of columns by which the shards group */
    struct edit *edits;
    size_t edit_count, edit_capacity;
};

/* scatter_edit.c */
extern const char final_unclear[], final_domain[]; /* clauses why not */
/* Does the text from `at` on, up to `end`, begin with the words of a piece? *behind: where they end. */
bool final_begins_with(const struct final *final, size_t at, size_t end, const struct piece *piece, size_t *behind);
bool final_same_words(const struct final *final, const struct piece *a, const struct piece *b);
/* What stands at this place instead; NULL: the client's words. */
const struct edit *final_edit_at(const struct final *final, size_t place);
/* The piece is to be this text instead. */
struct edit *final_edit(struct final *final, struct piece piece, const char *text);
/* Is the place behind WHERE, or in the target list: where the second statement has the client's words? */
bool final_is_upper(const struct final *final, size_t place);
/* From start to end, with what stands instead. */
void final_write_edited(struct final *final, struct writing *out, size_t start, size_t end);

/* scatter_final.c */
/*
 * FROM of the second statement. Columns get the types, modifiers and collations that they had by an inner SELECT: all
 * of them, or only the collations; what is written outside would be an explicit collation, which a column's is not.
 */
void final_write_source(const struct final *final, struct writing *out, bool typed);
/* What stands instead of the marks of one kind. A clause: one cannot be replaced. */
const char *final_edit_marks(struct final *final, int kind);
/* Each target has the name that PostgreSQL gives it. A clause: that is not known. */
const char *final_edit_labels(struct final *final);

/* scatter_rows.c */
/* A column as the shards have it, NULL: it is none; the piece stands for it. A clause: it cannot be given. */
const char *final_give_column(struct final *final, struct term *term, const struct piece *piece);

/* scatter_partial.c */
/* One more column of the shards', whose text is then written; its number, from 1. */
size_t final_begin_column(struct final *final, enum fact_partial kind);
void final_end_column(struct final *final);
/* The target that GROUP BY names by its place or its label; SIZE_MAX: none. */
size_t final_named_target(const struct final *final, const Node *node);
/* What the shards group by, of GROUP BY or DISTINCT. A clause: they cannot. */
const char *final_add_groups(struct final *final);
/* An aggregate's parts, and what stands in its place. A clause: it has none. */
const char *final_add_aggregate(struct final *final, const FuncCall *call);

#endif
