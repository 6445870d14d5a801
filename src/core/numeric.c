/*
 * numeric, from text and from its binary form, to the digits that PostgreSQL hashes: base 10000, aligned to the decimal
 * point, without zero digits at either end. Display scale is no part of the value: 1.50 and 1.5 are equal.
 */
#include "core/parse.h"

#include <stdlib.h>
#include <string.h>

enum {
    SCALE_MOST = 0x3FFF,    /* digits after the point (NUMERIC_DSCALE_MASK) */
    EXPONENT_MOST = 200000, /* more overflows with any digits a key may have */
    DIGITS_MOST = 200000,   /* 131072 before the point and SCALE_MOST after it are the format's own limits */
    SPECIAL_INFINITY = 1,
    SPECIAL_NAN = 2,
};

static const char too_large[] = "it overflows the numeric format";
static const char malformed[] = "it is not a number";

static void set_special(struct key_value *value, bool negative, int kind)
{
    value->numeric.digits = NULL;
    value->numeric.count = 0;
    value->numeric.weight = kind;
    value->numeric.negative = negative;
    value->numeric.special = true;
}

const char *numeric_set_digits(struct key_value *value, bool negative, const int16_t *digits, int count, int weight)
{
    while (count && *digits == 0)
        digits++, count--, weight--;
    while (count && digits[count - 1] == 0)
        count--;
    if (count && weight > INT16_MAX)
        return too_large;
    value->numeric.digits = digits;
    value->numeric.count = count;
    value->numeric.weight = count ? weight : 0;
    value->numeric.negative = count && negative;
    value->numeric.special = false;
    return NULL;
}

static bool same_word(const char *text, size_t size, const char *word)
{
    if (strlen(word) != size)
        return false;
    for (size_t i = 0; i < size; i++) {
        if ((text[i] | 0x20) != word[i])
            return false;
    }
    return true;
}

/* NaN takes no sign. */
static bool read_special(const char *text, size_t size, bool negative, bool sign, struct key_value *value)
{
    if (!sign && same_word(text, size, "nan"))
        set_special(value, false, SPECIAL_NAN);
    else if (same_word(text, size, "infinity") || same_word(text, size, "inf"))
        set_special(value, negative, SPECIAL_INFINITY);
    else
        return false;
    return true;
}

/* What stands in the text: decimal digits, where the point is among them, and the exponent. */
struct decimal {
    const char *text;
    size_t size;          /* of digits and point together */
    long whole, fraction; /* digits before and behind the point */
    long exponent;
};

static const char *read_exponent(const char *text, size_t size, struct decimal *decimal)
{
    bool negative = size && *text == '-';
    if (size && (*text == '-' || *text == '+'))
        text++, size--;
    if (size == 0)
        return malformed;
    long exponent = 0;
    for (size_t i = 0; i < size; i++) {
        if (!parse_digit(text[i]))
            return malformed;
        exponent = exponent * 10 + (text[i] - '0');
        if (exponent > EXPONENT_MOST)
            return too_large;
    }
    decimal->exponent = negative ? -exponent : exponent;
    return NULL;
}

static const char *read_decimal(const char *text, size_t size, struct decimal *decimal)
{
    *decimal = (struct decimal){.text = text};
    bool point = false;
    size_t i = 0;
    for (; i < size && (parse_digit(text[i]) || (text[i] == '.' && !point)); i++) {
        if (text[i] == '.')
            point = true;
        else if (point)
            decimal->fraction++;
        else
            decimal->whole++;
    }
    decimal->size = i;
    if (i > DIGITS_MOST)
        return too_large;
    if (decimal->whole + decimal->fraction == 0)
        return malformed;
    if (i == size)
        return NULL;
    if (size - i > 1 && decimal->whole == 1 && *text == '0' && i == 1 && strchr("xXoObB", text[i]))
        return "hexadecimal, octal and binary numbers are read by PostgreSQL 16 and later only; write it in decimal";
    if (text[i] == '_')
        return "underscores in numbers are read by PostgreSQL 16 and later only; write it without";
    if (text[i] != 'e' && text[i] != 'E')
        return malformed;
    return read_exponent(text + i + 1, size - i - 1, decimal);
}

static int floor_divide(long x, int by)
{
    return (int)(x >= 0 ? x / by : -((-x + by - 1) / by));
}

/* Decimal digit i stands at 10^(whole + exponent - 1 - i); four of them, aligned to the point, make one digit. */
static const char *pack(const struct decimal *decimal, bool negative, struct arena *arena, struct key_value *value)
{
    long power = decimal->whole + decimal->exponent - 1; /* of the first digit */
    int weight = floor_divide(power, 4);
    int skipped = (int)(4L * weight + 3 - power); /* places in the first base-10000 digit before it */
    int count = (int)((skipped + decimal->whole + decimal->fraction + 3) / 4);
    int16_t *digits = arena_zeroed(arena, (size_t)count, sizeof *digits);
    if (!digits)
        return parse_memory;
    static const int16_t powers[4] = {1000, 100, 10, 1};
    int place = skipped;
    for (size_t i = 0; i < decimal->size; i++) {
        if (decimal->text[i] == '.')
            continue;
        digits[place / 4] = (int16_t)(digits[place / 4] + (decimal->text[i] - '0') * powers[place % 4]);
        place++;
    }
    return numeric_set_digits(value, negative, digits, count, weight);
}

const char *numeric_from_text(const char *text, size_t size, struct arena *arena, struct key_value *value)
{
    parse_trim(&text, &size);
    bool sign = size && (*text == '-' || *text == '+'), negative = size && *text == '-';
    if (sign)
        text++, size--;
    if (read_special(text, size, negative, sign, value))
        return NULL;
    struct decimal decimal;
    const char *why = read_decimal(text, size, &decimal);
    if (why)
        return why;
    if (decimal.fraction - decimal.exponent > SCALE_MOST)
        return too_large;
    return pack(&decimal, negative, arena, value);
}

static int read_int16(const unsigned char *at)
{
    return (int16_t)(at[0] << 8 | at[1]);
}

/* Digits below 10^-scale are cut off, as numeric_recv does. Returns how many base-10000 digits are left. */
static int cut_to_scale(int16_t *digits, int count, int weight, int scale)
{
    static const int16_t powers[4] = {1, 1000, 100, 10};
    int kept = weight + 1 + (scale + 3) / 4;
    if (kept <= 0)
        return 0;
    if (count < kept)
        return count;
    if (scale % 4)
        digits[kept - 1] = (int16_t)(digits[kept - 1] - digits[kept - 1] % powers[scale % 4]);
    return kept;
}

const char *numeric_from_binary(const unsigned char *bytes, size_t size, struct arena *arena, struct key_value *value)
{
    enum { POSITIVE = 0x0000, NEGATIVE = 0x4000, NAN_SIGN = 0xC000, PLUS_INFINITY = 0xD000, MINUS_INFINITY = 0xF000 };
    if (size < 8)
        return "its binary form is cut off";
    int count = bytes[0] << 8 | bytes[1], weight = read_int16(bytes + 2);
    int sign = bytes[4] << 8 | bytes[5], scale = bytes[6] << 8 | bytes[7];
    if (size != 8 + 2 * (size_t)count)
        return "its binary form has another size than it says";
    if (scale > SCALE_MOST)
        return "its binary form has a bad scale";
    if (sign == NAN_SIGN)
        return set_special(value, false, SPECIAL_NAN), NULL;
    if (sign == PLUS_INFINITY || sign == MINUS_INFINITY)
        return set_special(value, sign == MINUS_INFINITY, SPECIAL_INFINITY), NULL;
    if (sign != POSITIVE && sign != NEGATIVE)
        return "its binary form has a bad sign";
    int16_t *digits = arena_allocate(arena, (size_t)(count ? count : 1) * sizeof *digits);
    if (!digits)
        return parse_memory;
    for (int i = 0; i < count; i++) {
        int digit = read_int16(bytes + 8 + 2 * i);
        if (digit < 0 || digit > 9999)
            return "its binary form has a bad digit";
        digits[i] = (int16_t)digit;
    }
    count = cut_to_scale(digits, count, weight, scale);
    return numeric_set_digits(value, sign == NEGATIVE, digits, count, weight);
}

/* -Infinity, numbers, Infinity, NaN */
static int rank(const struct key_value *value)
{
    if (!value->numeric.special)
        return 0;
    return value->numeric.negative ? -1 : value->numeric.weight;
}

static int compare_magnitudes(const struct key_value *a, const struct key_value *b)
{
    if (a->numeric.count == 0 || b->numeric.count == 0)
        return (a->numeric.count > 0) - (b->numeric.count > 0);
    if (a->numeric.weight != b->numeric.weight)
        return a->numeric.weight < b->numeric.weight ? -1 : 1;
    for (int i = 0; i < a->numeric.count && i < b->numeric.count; i++) {
        int difference = a->numeric.digits[i] - b->numeric.digits[i];
        if (difference)
            return difference;
    }
    return a->numeric.count - b->numeric.count;
}

int numeric_compare(const struct key_value *a, const struct key_value *b)
{
    if (a->numeric.special || b->numeric.special)
        return rank(a) - rank(b);
    if (a->numeric.negative != b->numeric.negative)
        return a->numeric.negative ? -1 : 1;
    int difference = compare_magnitudes(a, b);
    return a->numeric.negative ? -difference : difference;
}
