/*
 * A table that stands on every shard already and is new to the catalog. Nothing of it moves; but until now it was the
 * home shard's to every router, which reads the part, or writes the copy, that is there. So apply takes it in behind
 * the fence of grow.h:
 *
 *     home    lock           SHARE ROW EXCLUSIVE: others read, and wait with writing; is the table as it was?
 *     all     compare        the copies of a reference table
 *     home    cut over       as in grow.h
 *     home    commit         catalog and epoch in one transaction: the moment of truth
 *
 * Where others move in the same apply, their transaction has the fence, and copies are compared behind it.
 */
#ifndef MOSAIC_CATALOG_ADOPT_H
#define MOSAIC_CATALOG_ADOPT_H

#include "base/error.h"

#include <stdbool.h>

struct apply;

/*
 * Is there such a table? One that a copy has just made for itself, empty, and now spreads, is none (an apply that
 * leaves the coordinator alone): its sessions go on. Nor is one of the first map, before which nobody goes by any, or
 * of the only shard.
 */
bool adopt_has(const struct apply *apply);
/* Asks the server what speaks against it. Adds findings. */
MOSAIC_MUST_CHECK mosaic_status adopt_check(struct apply *apply, mosaic_error *error);
/* Does it, the catalog included. On failure nothing is changed, or, when the answer to the commit was lost, all may be;
 * the message says so. */
MOSAIC_MUST_CHECK mosaic_status adopt_tables(struct apply *apply, mosaic_error *error);
/* Compares the copies, if there are any, in transactions of all shards that have checksum_settings. MOSAIC_DATA: they
 * differ. */
MOSAIC_MUST_CHECK mosaic_status adopt_compare(struct apply *apply, mosaic_error *error);

#endif
