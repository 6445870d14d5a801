/*
 * OIDs of types that differ between the shards. Clients see those of the home shard, whose catalogs they read; a shard
 * gets its own. Messages are changed in place: an OID has four bytes everywhere.
 *
 * A column's table is told by its OID too, which other shards number otherwise: it is told for the home shard's answers
 * alone, else 0, as of a column that is no table's.
 *
 * Values in binary may name types as well: rowmap.h.
 */
#ifndef MOSAIC_PROXY_TYPEMAP_H
#define MOSAIC_PROXY_TYPEMAP_H

#include "sql/schema.h"

/* PostgreSQL's own that name other types in their values in binary: regtype, record, and arrays of them, or of any. */
enum {
    TYPEMAP_REGTYPE = 2206,
    TYPEMAP_REGTYPE_ARRAY = 2211,
    TYPEMAP_RECORD = 2249,
    TYPEMAP_ANYARRAY = 2277,
    TYPEMAP_RECORD_ARRAY = 2287,
    TYPEMAP_FIRST_OF_USERS = 16384
};

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
/* May a value of this type, in binary, name a type that differs? False only where it cannot. */
static inline bool typemap_names_types(uint32_t oid)
{
    return oid >= TYPEMAP_FIRST_OF_USERS || oid == TYPEMAP_REGTYPE || oid == TYPEMAP_REGTYPE_ARRAY ||
           oid == TYPEMAP_RECORD || oid == TYPEMAP_ANYARRAY || oid == TYPEMAP_RECORD_ARRAY;
}
/* The bodies of whole messages from the shard; what is malformed is left as it is. */
void typemap_row_description(const struct typemap *map, char *body, size_t size);
void typemap_parameter_description(const struct typemap *map, char *body, size_t size);

#endif
