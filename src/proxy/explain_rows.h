/* The answer to EXPLAIN (MOSAIC): its lines as rows of one column, as EXPLAIN gives them. */
#ifndef MOSAIC_PROXY_EXPLAIN_ROWS_H
#define MOSAIC_PROXY_EXPLAIN_ROWS_H

#include "plan/explain.h"
#include "wire/wire.h"

/* Appends RowDescription, DataRows and CommandComplete; the buffer's failure is its own. */
void explain_rows(const struct explanation *explanation, struct buffer *out);

#endif
