/*
 * One aggregate over several shards: each gives a partial value, which are combined as PostgreSQL's own function would
 * have done with all rows. NULLs are left out; nothing but NULLs is NULL, or a count of 0.
 */
#ifndef MOSAIC_MERGE_AGGREGATE_H
#define MOSAIC_MERGE_AGGREGATE_H

#include "merge/order.h"
#include "merge/total.h"
#include "pgmosaic.h"
#include "sql/facts.h"

struct aggregate {
    enum fact_aggregate function;
    uint32_t type;    /* of the result, and of each partial value */
    bool is_binary;   /* how the client gets it */
    bool has_value;   /* one that is not NULL has come */
    int64_t number;   /* count, sum of bigint, bool_and …, bit_and … so far */
    struct total sum; /* of numeric */
    struct order order;
    struct order_key key;        /* min, max: of the best so far, in `best` */
    struct buffer best, visible; /* its value in binary, and as the client gets it */
};

/* A value of a row: size < 0: NULL. */
struct aggregate_value {
    const char *bytes;
    int32_t size;
};

/* False: values of that type cannot be combined here to what one PostgreSQL says. */
bool aggregate_start(struct aggregate *aggregate, const struct fact_combine *combine, uint32_t type, bool is_binary);
/* A shard's value: in binary, and as the client gets it. The bytes are copied. */
MOSAIC_MUST_CHECK mosaic_status aggregate_add(struct aggregate *aggregate, struct aggregate_value value,
                                              struct aggregate_value visible, mosaic_error *error);
/* Appends the field of a DataRow: length and value. Only once. */
MOSAIC_MUST_CHECK mosaic_status aggregate_finish(struct aggregate *aggregate, struct buffer *out, mosaic_error *error);
void aggregate_free(struct aggregate *aggregate);

#endif
