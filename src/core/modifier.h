/*
 * What a column's modifier makes of a key: numeric(10,2) stores 1.005 as 1.01, timestamp(0) whole seconds, varchar(3)
 * cuts blanks behind the third character. A row that is to be stored belongs where the stored key belongs.
 */
#ifndef MOSAIC_CORE_MODIFIER_H
#define MOSAIC_CORE_MODIFIER_H

#include "base/buffer.h"
#include "core/key.h"

/*
 * Changes `value` to what a column with this modifier (pg_attribute.atttypmod; -1: none) stores. What the column
 * refuses (too long, too many digits) is left to the server. New digits are taken from the arena; false when memory is
 * out.
 */
MOSAIC_MUST_CHECK bool modifier_apply(int modifier, struct arena *arena, struct key_value *value);

/*
 * Appends the modifier as it stands behind a type's quoted name: (10,2). Of PostgreSQL's own types, by OID; of others,
 * and for -1, nothing.
 */
void modifier_write(unsigned type, int modifier, struct buffer *sql);

#endif
