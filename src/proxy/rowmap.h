/*
 * OIDs of types within values in binary, as a shard sends them, become the home shard's: arrays name the type of their
 * elements, records those of their columns, however deep (src/backend/utils/adt: array_send, record_send, range_send,
 * multirange_send), and a regtype is one.
 *
 *     RowDescription ── rowmap_describe ─> which columns hold such values
 *     DataRow's body ── rowmap_begin, rowmap_feed … ─> the same bytes with other OIDs
 *
 * Rows are changed in place as they come: none is waited for to be whole, and of one at most 11 bytes are held back.
 * The same for COPY in binary, whose rows stand in CopyData.
 */
#ifndef MOSAIC_PROXY_ROWMAP_H
#define MOSAIC_PROXY_ROWMAP_H

#include "proxy/typemap.h"

struct rowmap;

/* NULL when memory is out. */
struct rowmap *rowmap_new(void);
void rowmap_free(struct rowmap *rowmap);
/*
 * The rows that come next have these columns: a RowDescription's body, with the home shard's OIDs; NULL: there are
 * none. `copies`: they come as COPY in binary, whatever formats it says. False when memory is out.
 */
MOSAIC_MUST_CHECK bool rowmap_describe(struct rowmap *rowmap, const char *body, size_t size,
                                       const struct schema *schema, bool copies);
/* May values of a type, by its OID on the home shard, have to be changed? */
bool rowmap_holds(const struct schema *schema, uint32_t type);
/* May there be anything to change? `copies`: in CopyData, instead of DataRow. */
bool rowmap_applies(const struct rowmap *rowmap, bool copies);

/* The body of a message with a row begins, of so many bytes. */
void rowmap_begin(struct rowmap *rowmap, uint32_t size);
/*
 * Its next bytes. Returns how many of them are done and may be passed on; the others are to be given again, with more.
 * SIZE_MAX: no row that can be read, which includes the last byte's coming too early.
 */
size_t rowmap_feed(struct rowmap *rowmap, const struct typemap *map, const struct schema *schema, char *bytes,
                   size_t size);

#endif
