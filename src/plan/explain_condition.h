/*
 * The pieces of a line of an explanation: values, the conditions that bind a relation by them, and its placement. What
 * others show of these is in explain.h.
 */
#ifndef MOSAIC_PLAN_EXPLAIN_CONDITION_H
#define MOSAIC_PLAN_EXPLAIN_CONDITION_H

#include "base/buffer.h"
#include "plan/explain.h"

enum { EXPLAIN_LINE_MOST = 4000 }; /* bytes */

/* What was gathered, in the arena; the buffer is freed. NULL: memory is out, or the line is longer than it may be. */
const char *explain_finish(struct buffer *buffer, struct arena *arena);
/* A value as it stood in the text, or as $1; on one line, and cut where it is long. */
void explain_add_value(struct buffer *out, const struct fact_value *value, const struct plan_input *values);

#endif
