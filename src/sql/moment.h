/*
 * now() and its like in a text, which all mean the moment at which the transaction began: their words, and a text that
 * says the moment instead. In the names of PostgreSQL's grammar alone; what they are is the analysis's to prove.
 */
#ifndef MOSAIC_SQL_MOMENT_H
#define MOSAIC_SQL_MOMENT_H

#include "base/memory.h"

#include <stdbool.h>
#include <stddef.h>

/* How many there are. */
size_t moment_count(const char *text, size_t size);
/* Is a column called so that is one of them, and has no name of its own? */
bool moment_names(const char *name);
/* The text with a literal in place of each: `moment` is a timestamptz. Zero-terminated; NULL: memory is out. */
char *moment_fill(struct arena *arena, const char *text, size_t size, const char *moment, size_t *filled);

#endif
