/*
 * OIDs of types that differ between the shards. Clients see those of the home shard, whose catalogs they read; a shard
 * gets its own. Messages are changed in place: an OID has four bytes everywhere.
 *
 * A column's table is told by its OID too, which other shards number otherwise: it is told for the home shard's answers
 * alone, else 0, as of a column that is no table's.
 *
 * Within values nothing is changed: arrays and records in binary name the types of their elements.
 */
#ifndef MOSAIC_PROXY_TYPEMAP_H
#define MOSAIC_PROXY_TYPEMAP_H

#include "sql/schema.h"

struct typemap_pair {
    uint32_t there, home;
};

/* Of one shard; ascending by `there`. */
struct typemap {
    struct typemap_pair *pairs;
    size_t count;
    bool is_home; /* nothing to do */
};

/* One for each shard of the schema's model, in the arena; all is home's where no schema is read. */
MOSAIC_MUST_CHECK mosaic_status typemaps_make(const struct schema *schema, size_t shard_count, struct arena *arena,
                                              struct typemap **maps, mosaic_error *error);
uint32_t typemap_home(const struct typemap *map, uint32_t there);
/* The bodies of whole messages from the shard; what is malformed is left as it is. */
void typemap_row_description(const struct typemap *map, char *body, size_t size);
void typemap_parameter_description(const struct typemap *map, char *body, size_t size);

#endif
