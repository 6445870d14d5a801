/*
 * Key values: from the text or binary form that PostgreSQL reads to one canonical value per equal key.
 *
 * Equal in PostgreSQL means equal here, byte for byte: bpchar loses its trailing blanks, numeric its trailing zeros, a
 * timestamptz its zone. What can't be read without a session's settings is refused (a timestamptz without an offset, a
 * date whose order of day and month depends on DateStyle), and so is everything PostgreSQL's input function refuses.
 *
 * A column's modifier is not known here: the text 1.005 for a numeric(10,2) column is the key 1.005, which the column
 * rounds to 1.01 when it stores it. Who stores it asks modifier.h; in any case the shard's ownership constraint refuses
 * a row astray.
 */
#ifndef MOSAIC_CORE_KEY_H
#define MOSAIC_CORE_KEY_H

#include "base/memory.h"
#include "core/type.h"
#include "pgmosaic.h"

#include <stdint.h>

enum { KEY_COLUMNS_MAX = 8 };

struct key_value {
    enum key_type type;
    union {
        /* int2, int4, int8; date: days since 2000-01-01; timestamp[tz]: microseconds since 2000-01-01 (UTC) */
        int64_t integer;
        /* text, varchar, bpchar (trailing blanks cut), bytea, uuid (16 bytes) */
        struct {
            const unsigned char *data;
            size_t size;
        } bytes;
        /* numeric as PostgreSQL stores it: base-10000 digits without leading or trailing zero digits; 0 has none */
        struct {
            const int16_t *digits;
            int count, weight; /* the first digit counts 10000^weight */
            bool negative;
            bool special; /* NaN or an infinity: no digits, weight 1; NaN: weight 2 */
        } numeric;
    };
};

/*
 * From the text form. `value` may point into `text`, or into the arena where the text had to be changed.
 * `name` is the column's, for the message. MOSAIC_KEY when the text is no value of the type.
 */
MOSAIC_MUST_CHECK mosaic_status key_from_text(enum key_type type, const char *name, const char *text, size_t size,
                                              struct arena *arena, struct key_value *value, mosaic_error *error);
/* Does key_from_text refuse this text because it is an integer beyond the type's range? */
bool key_integer_overflows(enum key_type type, const char *text, size_t size);
/* From the binary form of the type's send function, as in COPY BINARY and binary parameters. */
MOSAIC_MUST_CHECK mosaic_status key_from_binary(enum key_type type, const char *name, const void *bytes, size_t size,
                                                struct arena *arena, struct key_value *value, mosaic_error *error);
/*
 * From the public form, for `count` key columns of these types. `values` has room for count. MOSAIC_KEY for a kind that
 * the type does not take, for a wrong number of parts, and for text with a zero byte or invalid UTF-8.
 */
MOSAIC_MUST_CHECK mosaic_status key_from_public(const enum key_type *types, const char *const *names, size_t count,
                                                mosaic_key key, struct arena *arena, struct key_value *values,
                                                mosaic_error *error);
/* True when bytes are valid UTF-8 as PostgreSQL's pg_utf8_islegal takes it (no surrogates, no overlong forms, no zero).
 */
bool key_is_utf8(const unsigned char *bytes, size_t size);
/*
 * Compares two values of one type as its default btree operator class does, text by bytes (COLLATE "C"): < 0, 0, > 0. A
 * NaN equals itself and is above all numbers.
 */
int key_compare(const struct key_value *a, const struct key_value *b);

#endif
