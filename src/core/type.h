/*
 * The column types that can be a sharding key.
 *
 * One list, X(name, SQL name, type OID, fixed). The OIDs are PostgreSQL's own (src/include/catalog/pg_type.dat) and
 * never change. `fixed` is true where the binary form has a fixed size.
 */
#ifndef MOSAIC_CORE_TYPE_H
#define MOSAIC_CORE_TYPE_H

#include <stdbool.h>
#include <stddef.h>

#define KEY_TYPE_LIST(X)                                    \
    X(INT2, "smallint", 21, true)                           \
    X(INT4, "integer", 23, true)                            \
    X(INT8, "bigint", 20, true)                             \
    X(TEXT, "text", 25, false)                              \
    X(VARCHAR, "character varying", 1043, false)            \
    X(BPCHAR, "character", 1042, false)                     \
    X(UUID, "uuid", 2950, true)                             \
    X(BYTEA, "bytea", 17, false)                            \
    X(DATE, "date", 1082, true)                             \
    X(TIMESTAMP, "timestamp without time zone", 1114, true) \
    X(TIMESTAMPTZ, "timestamp with time zone", 1184, true)  \
    X(NUMERIC, "numeric", 1700, false)

enum key_type {
#define X(name, sql, oid, fixed) KEY_##name,
    KEY_TYPE_LIST(X)
#undef X
        KEY_TYPE_COUNT
};

/* The SQL name, e.g. "bigint". Static storage. */
const char *type_name(enum key_type type);
unsigned type_oid(enum key_type type);
/* By SQL name or a common alias (int8, int, varchar, char, timestamptz …), without modifier; false if it is none of
 * ours. */
bool type_by_name(const char *name, size_t size, enum key_type *type);
bool type_by_oid(unsigned oid, enum key_type *type);
/* int2, int4, int8 */
bool type_is_integer(enum key_type type);
/* text, varchar, bpchar */
bool type_is_text(enum key_type type);
/* The same by OID, where another type may be meant. */
bool type_oid_is_text(unsigned oid);
/* The SQL name of an integer type, by its OID; NULL: it is none. */
const char *type_integer_name(unsigned oid);

#endif
