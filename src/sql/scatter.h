/* The inside of tier 2's analysis: what scatter.c (the proof), scatter_shape.c (what stands above) and scatter_merge.c
 * share. */
#ifndef MOSAIC_SQL_SCATTER_H
#define MOSAIC_SQL_SCATTER_H

#include "sql/analysis.h"

/* A statement that is split by a key κ of `width` columns; while the solver holds what is bound to it. */
struct split {
    struct analysis *analysis;
    size_t width;
    struct fact_scatter *fact; /* in the making */
};

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
/* The output that an item of GROUP BY, DISTINCT ON or ORDER BY names, by its place or its name; NULL: it names none. */
struct column *shape_output(struct scope *scope, const Node *node, bool output_first);

/* scatter_merge.c */
/* The statement's own ORDER BY, LIMIT and aggregates: what fills split->fact. A clause why not; NULL: it is filled. */
const char *shape_top(struct split *split, struct scope *scope);

#endif
