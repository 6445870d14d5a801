/*
 * Turns: advisory locks (TURN_LOCK, number) by which those who write the same copies on several shards come one after
 * the other, in one order on every shard. Who writes a reference table has its lock on every shard from before the
 * first row to the transaction's end: else two that write one row, each first on another shard, would leave copies that
 * differ. They are taken shard after shard, so that two cannot wait for each other.
 */
#ifndef MOSAIC_CORE_TURN_H
#define MOSAIC_CORE_TURN_H

#include "core/model.h"

enum {
    TURN_LOCK = 7881700,
    TURN_OF_SCHEMA = 1, /* of who changes the schema, on the first shard; 0 is that of proxies (announce.c) */
};

/* The number of a reference table's, 2 or more: hashtext(table->display) & 2147483647 | 2. */
uint32_t turn_of_table(const struct table *table);

#endif
