/*
 * PostgreSQL's node types, for those files of src/sql alone that walk parse trees. Include it last: it brings macros
 * (Max, Min, ERROR …) and typedefs that others need not meet. Its functions and variables must not be used: those of
 * the parser's archive are hidden, and its variables are a thread's own, which these headers do not know.
 */
#ifndef MOSAIC_SQL_NODES_H
#define MOSAIC_SQL_NODES_H

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#include "postgres.h"

#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "nodes/value.h"
#pragma GCC diagnostic pop

/* port.h puts PostgreSQL's own in their place. */
#undef snprintf
#undef vsnprintf
#undef sprintf
#undef vsprintf
#undef printf
#undef fprintf
#undef vfprintf
#undef vprintf
#undef strerror
#undef strerror_r

#endif
