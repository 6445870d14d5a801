/*
 * The order of values, read from PostgreSQL's binary forms (the *_send functions).
 *
 *     struct order order;
 *     order_find(type, bytewise, &order)           false: a type whose order is not ours to reproduce
 *     order_read(&order, bytes, size, &key)        once a value
 *     order_compare(&order, &one, &two)            as often as it takes: mostly of two integers
 *
 * A key's `number` has the order of the values it was read from, as far as 64 bits can say it: of an integer, a
 * float, a time or a date all of it; of texts their first eight bytes, of a numeric its sign, weight and first digits.
 * The rest is compared only where two numbers are equal. A direction is part of the key: DESC inverts it.
 */
#ifndef MOSAIC_MERGE_ORDER_H
#define MOSAIC_MERGE_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum order_form {
    ORDER_UNKNOWN,
    ORDER_SIGNED,   /* integers of `size` bytes: dates, timestamps and money too */
    ORDER_UNSIGNED, /* whose first eight bytes, or all, are an unsigned integer; a uuid's other eight are the rest */
    ORDER_FLOAT4,   /* NaN is the greatest and equals itself; -0 equals 0 (float8_cmp_internal) */
    ORDER_FLOAT8,
    ORDER_TIMETZ,   /* the time in UTC, then the zone (timetz_cmp_internal) */
    ORDER_INTERVAL, /* months of 30 days, days of 24 hours, in 128 bits (interval_cmp_value) */
    ORDER_NUMERIC,  /* cmp_numerics: NaN is the greatest; 1.0 equals 1.00 */
    ORDER_BYTES,    /* memcmp, then the length */
    ORDER_TEXT,     /* the same, where the collation is C or POSIX; in the encoding of the database */
    ORDER_BLANKS,   /* the same without the blanks at the end (bpcharcmp) */
};

struct order {
    enum order_form form;
    uint8_t size;  /* of each value in bytes; 0: they differ */
    bool is_whole; /* two keys whose numbers are equal are equal */
    bool is_pair;  /* then `second` decides; else bytes do */
    bool descending, nulls_first;
};

struct order_key {
    uint64_t number;
    union {
        uint64_t second;
        const char *bytes; /* of the value, where it was read */
    };
    uint32_t size;
    uint8_t rank;  /* NULL: first 0, last 2; a value: 1 */
    bool inverted; /* bytes compare the other way round */
};

/* The type's name in SQL; NULL for one that is not known here. Static storage. */
const char *order_type_name(uint32_t type);
/* Ascending, NULLS LAST, for the caller to change. False: unknown type, or a text without `bytewise`. */
bool order_find(uint32_t type, bool bytewise, struct order *order);
/* size < 0: NULL. The key may point to the bytes. False: no value of the type. */
bool order_read(const struct order *order, const char *bytes, int32_t size, struct order_key *key);
/* Where rank and number are equal, and the order is not whole. */
int order_compare_rest(const struct order *order, const struct order_key *one, const struct order_key *two);

/* < 0, 0, > 0 */
static inline int order_compare(const struct order *order, const struct order_key *one, const struct order_key *two)
{
    if (one->rank != two->rank)
        return one->rank < two->rank ? -1 : 1;
    if (one->number != two->number)
        return one->number < two->number ? -1 : 1;
    return order->is_whole ? 0 : order_compare_rest(order, one, two);
}

#endif
