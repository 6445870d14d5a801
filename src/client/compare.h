/*
 * The order of two values of a result, as PostgreSQL's btree has it. Pure.
 *
 * Text forms are those that PostgreSQL writes under DateStyle ISO and bytea_output hex, which the library's sessions
 * have; a value in another form is unreadable, never guessed. Strings compare by bytes, as COLLATE "C" (bpchar without
 * trailing blanks); infinity and NaN stand where PostgreSQL's operators have them: NaN above everything, equal to
 * itself.
 */
#ifndef MOSAIC_CLIENT_COMPARE_H
#define MOSAIC_CLIENT_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

/* X(identifier, OID in src/include/catalog/pg_type.dat, compare function's suffix, strings under a collation) */
#define COMPARE_TYPE_LIST(X)             \
    X(BOOL, 16, boolean, false)          \
    X(BYTEA, 17, bytea, false)           \
    X(NAME, 19, bytes, false)            \
    X(INT8, 20, integer, false)          \
    X(INT2, 21, integer, false)          \
    X(INT4, 23, integer, false)          \
    X(TEXT, 25, bytes, true)             \
    X(OID, 26, integer, false)           \
    X(FLOAT4, 700, floating, false)      \
    X(FLOAT8, 701, floating, false)      \
    X(BPCHAR, 1042, padded, true)        \
    X(VARCHAR, 1043, bytes, true)        \
    X(DATE, 1082, instant, false)        \
    X(TIMESTAMP, 1114, instant, false)   \
    X(TIMESTAMPTZ, 1184, instant, false) \
    X(NUMERIC, 1700, numeric, false)     \
    X(UUID, 2950, uuid, false)

enum compare_type {
#define X(name, oid, function, collated) COMPARE_##name = oid,
    COMPARE_TYPE_LIST(X)
#undef X
};

/* One value that is not NULL. */
struct field {
    const char *data;
    size_t size;
};

/* Can values of this type be compared? */
bool compare_knows(unsigned type);
/* Does their order depend on a collation? */
bool compare_is_collated(unsigned type);
/* *order < 0, 0, > 0. False if one of the two is no value of the type in this format. */
bool compare_fields(unsigned type, bool binary, struct field one, struct field two, int *order);

#endif
