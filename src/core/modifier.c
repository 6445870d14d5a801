#include "core/modifier.h"

#include "core/parse.h"

#include <string.h>

enum { HEADER = 4 /* VARHDRSZ, which modifiers of varchar and numeric count */ };

/* AdjustTimestampForTypmod (src/backend/utils/adt/timestamp.c): half a unit goes away from zero. */
static void round_timestamp(int modifier, struct key_value *value)
{
    static const int64_t units[7] = {1000000, 100000, 10000, 1000, 100, 10, 1};
    if (modifier > 6 || value->integer == INT64_MIN || value->integer == INT64_MAX)
        return;
    int64_t unit = units[modifier], half = unit / 2;
    value->integer = (value->integer >= 0 ? value->integer + half : value->integer - half) / unit * unit;
}

/* varchar_input (src/backend/utils/adt/varchar.c): blanks behind the last character that fits are dropped. */
static void cut_blanks(int modifier, struct key_value *value)
{
    const unsigned char *data = value->bytes.data;
    size_t at = 0, size = value->bytes.size;
    for (int characters = 0; at < size; at++) {
        characters += (data[at] & 0xC0) != 0x80;
        if (characters > modifier - HEADER)
            break;
    }
    size_t blanks = at;
    while (blanks < size && data[blanks] == ' ')
        blanks++;
    if (blanks == size)
        value->bytes.size = at;
}

/* numeric_typmod_scale (src/backend/utils/adt/numeric.c): eleven bits, since PostgreSQL 15 with a sign. */
static int numeric_scale(int modifier)
{
    return (((modifier - HEADER) & 0x7FF) ^ 1024) - 1024;
}

/* apply_typmod and round_var there: half a unit goes away from zero. */
static bool round_numeric(int modifier, struct arena *arena, struct key_value *value)
{
    static const int powers[4] = {10000, 1000, 100, 10};
    int count = value->numeric.count, weight = value->numeric.weight;
    int kept = 4 * (weight + 1) + numeric_scale(modifier); /* decimal digits, from the first base-10000 digit on */
    if (value->numeric.special || kept >= 4 * count)
        return true;
    int16_t *digits = arena_zeroed(arena, (size_t)count + 1, sizeof *digits); /* the first is for a carry */
    if (!digits)
        return false;
    memcpy(digits + 1, value->numeric.digits, (size_t)count * sizeof *digits);
    bool negative = value->numeric.negative;
    if (kept < 0) {
        (void)numeric_set_digits(value, negative, digits, 0, 0);
        return true;
    }
    int last = 1 + kept / 4, unit = powers[kept % 4], over = digits[last] % unit;
    digits[last] = (int16_t)(digits[last] - over + (over >= unit / 2 ? unit : 0));
    for (int i = last; i > 0 && digits[i] > 9999; i--) {
        digits[i] = (int16_t)(digits[i] - 10000);
        digits[i - 1]++;
    }
    (void)numeric_set_digits(value, negative, digits, last + 1, weight + 1);
    return true;
}

bool modifier_apply(int modifier, struct arena *arena, struct key_value *value)
{
    if (modifier < 0)
        return true;
    if (value->type == KEY_TIMESTAMP || value->type == KEY_TIMESTAMPTZ)
        round_timestamp(modifier, value);
    else if (value->type == KEY_VARCHAR)
        cut_blanks(modifier, value);
    else if (value->type == KEY_NUMERIC)
        return round_numeric(modifier, arena, value);
    return true;
}

void modifier_write(unsigned type, int modifier, struct buffer *sql)
{
    enum {
        BPCHAR = 1042,
        VARCHAR = 1043,
        TIME = 1083,
        TIMESTAMP = 1114,
        TIMESTAMPTZ = 1184,
        INTERVAL = 1186,
        TIMETZ = 1266,
        BIT = 1560,
        VARBIT = 1562,
        NUMERIC = 1700,
    };
    if (modifier < 0)
        return;
    switch (type) {
    case BPCHAR:
    case VARCHAR:
        buffer_format(sql, "(%d)", modifier - HEADER);
        break;
    case NUMERIC:
        buffer_format(sql, "(%d,%d)", ((modifier - HEADER) >> 16) & 0xFFFF, numeric_scale(modifier));
        break;
    case INTERVAL: /* intervaltypmodin there: which fields, and digits of seconds, if they are said */
        buffer_format(sql, (modifier & 0xFFFF) == 0xFFFF ? "(%d)" : "(%d,%d)", (modifier >> 16) & 0x7FFF,
                      modifier & 0xFFFF);
        break;
    case TIME:
    case TIMESTAMP:
    case TIMESTAMPTZ:
    case TIMETZ:
    case BIT:
    case VARBIT:
        buffer_format(sql, "(%d)", modifier);
        break;
    default:
        break;
    }
}
