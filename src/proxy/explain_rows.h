/* The answer to EXPLAIN (MOSAIC): its lines as rows of one column, as EXPLAIN gives them. */
#ifndef MOSAIC_PROXY_EXPLAIN_ROWS_H
#define MOSAIC_PROXY_EXPLAIN_ROWS_H

#include "plan/explain.h"
#include "wire/wire.h"

/* Appends RowDescription, DataRows and CommandComplete; the buffer's failure is its own. */
void explain_rows(const struct explanation *explanation, struct buffer *out);

/* The same as a portal of the extended protocol: rows that are fetched some at a time. */
struct explain_portal;
/* `binary`: the format that was asked for, which for text is another name for the same bytes. NULL: memory is out. */
struct explain_portal *explain_portal_new(const struct explanation *explanation, bool binary);
void explain_portal_free(struct explain_portal *portal); /* NULL is nothing */
/* Appends the RowDescription. */
void explain_portal_describe(const struct explain_portal *portal, struct buffer *out);
/* Appends up to `most` rows (0: all), and PortalSuspended, or CommandComplete where the end was seen. */
void explain_portal_fetch(struct explain_portal *portal, uint32_t most, struct buffer *out);

#endif
