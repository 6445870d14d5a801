/*
 * Rows of several shards, kept by columns: of each column one array in binary is made, to be a parameter of the
 * statement that combines them (tier 3).
 *
 *     partials_describe ─ partials_add … ─ partials_finish ─ partials_write …
 *
 * Beyond `most` bytes what was kept goes to a temporary file without a name: in TMPDIR, else /tmp.
 */
#ifndef MOSAIC_PROXY_PARTIALS_H
#define MOSAIC_PROXY_PARTIALS_H

#include "base/buffer.h"
#include "base/error.h"
#include "sql/facts.h"

struct partials;

/* NULL: memory is out. */
struct partials *partials_new(size_t columns, size_t most);
void partials_free(struct partials *partials); /* NULL is nothing */
/*
 * Their types, of a RowDescription's body with the home shard's OIDs. MOSAIC_UNSUPPORTED, without an error: one cannot
 * be an array's element, or is not what `wants` says of it. MOSAIC_DATA: malformed, or another number of columns.
 */
MOSAIC_MUST_CHECK mosaic_status partials_describe(struct partials *partials, const char *body, size_t size,
                                                  const struct schema *schema, const enum fact_partial *wants,
                                                  mosaic_error *error);
/* Of a column, from 0: the home shard's OID. */
uint32_t partials_type(const struct partials *partials, size_t column);
/* Its modifier, -1 as an unsigned number: none. */
uint32_t partials_modifier(const struct partials *partials, size_t column);
/* A DataRow's body. MOSAIC_LIMIT, without an error: there are more than parameters can hold. */
MOSAIC_MUST_CHECK mosaic_status partials_add(struct partials *partials, const char *row, size_t size,
                                             mosaic_error *error);
/* All rows came. Bytes that partials_write will write in all. */
size_t partials_finish(struct partials *partials);
/*
 * Appends the next piece of the columns as Bind's values, with their sizes; `types`: each element's OID where they are
 * sent. *more: there is another piece.
 */
MOSAIC_MUST_CHECK mosaic_status partials_write(struct partials *partials, const uint32_t *types, struct buffer *out,
                                               bool *more, mosaic_error *error);

#endif
