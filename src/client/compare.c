#define _GNU_SOURCE /* strtod_l */
#include "client/compare.h"

#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef bool compare_function(unsigned type, bool binary, struct field one, struct field two, int *order);

#define SIGN(one, two) (((one) > (two)) - ((one) < (two)))

static bool is(struct field field, const char *text)
{
    return field.size == strlen(text) && memcmp(field.data, text, field.size) == 0;
}

/* A big-endian integer of the wire, with its sign. */
static bool read_binary(struct field field, size_t size, int64_t *value)
{
    if (field.size != size)
        return false;
    uint64_t bits = (unsigned char)field.data[0] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = 0; i < size; i++)
        bits = bits << 8 | (unsigned char)field.data[i];
    *value = (int64_t)bits;
    return true;
}

/* Digits only, up to `most`; false if there is none, or another character. Moves *at. */
static bool read_digits(const char **at, const char *end, int most, int64_t *value)
{
    const char *start = *at;
    *value = 0;
    while (*at < end && **at >= '0' && **at <= '9' && *at - start < most)
        *value = *value * 10 + (*(*at)++ - '0');
    return *at > start;
}

static bool read_char(const char **at, const char *end, char wanted)
{
    if (*at == end || **at != wanted)
        return false;
    (*at)++;
    return true;
}

/* ---- bool, integers, strings ------------------------------------------------------------------------ */

static bool read_boolean(bool binary, struct field field, int *value)
{
    char yes = binary ? 1 : 't', no = binary ? 0 : 'f';
    *value = field.size == 1 && field.data[0] == yes;
    return field.size == 1 && (field.data[0] == yes || field.data[0] == no);
}

static bool compare_boolean(unsigned type, bool binary, struct field one, struct field two, int *order)
{
    (void)type;
    int a, b;
    if (!read_boolean(binary, one, &a) || !read_boolean(binary, two, &b))
        return false;
    *order = a - b;
    return true;
}

static bool read_integer(unsigned type, bool binary, struct field field, int64_t *value)
{
    if (binary) {
        size_t size = type == COMPARE_INT8 ? 8 : type == COMPARE_INT2 ? 2 : 4;
        bool read = read_binary(field, size, value);
        if (type == COMPARE_OID)
            *value &= UINT32_MAX;
        return read;
    }
    const char *at = field.data, *end = at + field.size;
    bool negative = read_char(&at, end, '-');
    if (is(field, "-9223372036854775808")) {
        *value = INT64_MIN;
        return true;
    }
    /* 19 digits may exceed int8, which no server writes; 18 digits and one more fit 63 bits up to 9223372036854775807
     */
    if (end - at > 19 || (end - at == 19 && memcmp(at, "9223372036854775807", 19) > 0))
        return false;
    if (!read_digits(&at, end, 19, value) || at != end)
        return false;
    *value = negative ? -*value : *value;
    return true;
}

static bool compare_integer(unsigned type, bool binary, struct field one, struct field two, int *order)
{
    int64_t a, b;
    if (!read_integer(type, binary, one, &a) || !read_integer(type, binary, two, &b))
        return false;
    *order = SIGN(a, b);
    return true;
}

static int compare_memory(struct field one, struct field two)
{
    size_t size = one.size < two.size ? one.size : two.size;
    int order = size ? memcmp(one.data, two.data, size) : 0;
    return order ? order : SIGN(one.size, two.size);
}

static bool compare_bytes(unsigned type, bool binary, struct field one, struct field two, int *order)
{
    (void)type, (void)binary;
    *order = compare_memory(one, two);
    return true;
}

static struct field without_blanks(struct field field)
{
    while (field.size && field.data[field.size - 1] == ' ')
        field.size--;
    return field;
}

static bool compare_padded(unsigned type, bool binary, struct field one, struct field two, int *order)
{
    return compare_bytes(type, binary, without_blanks(one), without_blanks(two), order);
}

/* In hex, as in ASCII, '0' to '9' stand before 'a' to 'f': the text has the order of the bytes. */
static bool is_hex(struct field field)
{
    for (size_t i = 0; i < field.size; i++)
        if (!((field.data[i] >= '0' && field.data[i] <= '9') || (field.data[i] >= 'a' && field.data[i] <= 'f') ||
              field.data[i] == '-'))
            return false;
    return true;
}

static bool compare_uuid(unsigned type, bool binary, struct field one, struct field two, int *order)
{
    size_t size = binary ? 16 : 36;
    if (one.size != size || two.size != size)
        return false;
    if (!binary && (!is_hex(one) || !is_hex(two)))
        return false;
    return compare_bytes(type, binary, one, two, order);
}

static bool is_hex_bytea(struct field field)
{
    return field.size >= 2 && field.size % 2 == 0 && field.data[0] == '\\' && field.data[1] == 'x' &&
           is_hex((struct field){.data = field.data + 2, .size = field.size - 2});
}

static bool compare_bytea(unsigned type, bool binary, struct field one, struct field two, int *order)
{
    if (!binary && (!is_hex_bytea(one) || !is_hex_bytea(two)))
        return false;
    return compare_bytes(type, binary, one, two, order);
}

/* ---- floats ----------------------------------------------------------------------------------------- */

static locale_t plain_locale;

/* strtod heeds the program's locale, which may write 1,5. */
static void make_plain_locale(void)
{
    plain_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

static bool read_float_text(struct field field, double *value)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    char text[64], *end;
    if (is(field, "NaN") || is(field, "Infinity") || is(field, "-Infinity")) {
        *value = field.data[0] == 'N' ? NAN : field.data[0] == 'I' ? INFINITY : -INFINITY;
        return true;
    }
    if (!field.size || field.size >= sizeof text)
        return false;
    memcpy(text, field.data, field.size);
    text[field.size] = '\0';
    if (strspn(text, "0123456789.+-e") < field.size) /* not the inf and 0x that strtod would take */
        return false;
    pthread_once(&once, make_plain_locale);
    if (!plain_locale)
        return false;
    *value = strtod_l(text, &end, plain_locale);
    return *end == '\0';
}

static bool read_float(unsigned type, bool binary, struct field field, double *value)
{
    int64_t bits;
    if (!binary)
        return read_float_text(field, value);
    if (!read_binary(field, type == COMPARE_FLOAT4 ? 4 : 8, &bits))
        return false;
    if (type == COMPARE_FLOAT4) {
        float single;
        uint32_t half = (uint32_t)bits;
        memcpy(&single, &half, sizeof single);
        *value = (double)single;
    } else {
        memcpy(value, &bits, sizeof *value);
    }
    return true;
}

static bool compare_floating(unsigned type, bool binary, struct field one, struct field two, int *order)
{
    double a, b;
    if (!read_float(type, binary, one, &a) || !read_float(type, binary, two, &b))
        return false;
    *order = isnan(a) || isnan(b) ? !!isnan(a) - !!isnan(b) : SIGN(a, b);
    return true;
}

/* ---- dates and times -------------------------------------------------------------------------------- */

/* A point in time; the two infinities at the ends of `days`. */
struct instant {
    int64_t days; /* of the Gregorian calendar, from 0000-03-01 */
    int64_t micros;
};

enum { SECONDS_OF_DAY = 86400, MONTHS_FROM_MARCH = 3 };
static const int64_t micros_of_second = 1000000;

static int64_t count_days(int64_t year, int64_t month, int64_t day)
{
    if (month < MONTHS_FROM_MARCH) {
        year--;
        month += 12;
    }
    int64_t era = (year >= 0 ? year : year - 399) / 400, of_era = year - era * 400;
    int64_t of_year = (153 * (month - MONTHS_FROM_MARCH) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
}

static bool read_fraction(const char **at, const char *end, int64_t *micros)
{
    const char *start = *at;
    if (!read_digits(at, end, 6, micros))
        return false;
    for (long digits = *at - start; digits < 6; digits++)
        *micros *= 10;
    return true;
}

/* hh:mm:ss[.ffffff] */
static bool read_time(const char **at, const char *end, int64_t *micros)
{
    int64_t hour, minute, second, fraction = 0;
    if (!read_digits(at, end, 2, &hour) || !read_char(at, end, ':') || !read_digits(at, end, 2, &minute) ||
        !read_char(at, end, ':') || !read_digits(at, end, 2, &second))
        return false;
    if (read_char(at, end, '.') && !read_fraction(at, end, &fraction))
        return false;
    *micros = ((hour * 60 + minute) * 60 + second) * micros_of_second + fraction;
    return true;
}

/* +hh[:mm[:ss]], east of Greenwich */
static bool read_zone(const char **at, const char *end, int64_t *seconds)
{
    int64_t hour, minute = 0, second = 0;
    bool west = read_char(at, end, '-');
    if (!west && !read_char(at, end, '+'))
        return false;
    if (!read_digits(at, end, 2, &hour))
        return false;
    if (read_char(at, end, ':') && !read_digits(at, end, 2, &minute))
        return false;
    if (read_char(at, end, ':') && !read_digits(at, end, 2, &second))
        return false;
    *seconds = (hour * 60 + minute) * 60 + second;
    *seconds = west ? -*seconds : *seconds;
    return true;
}

static bool read_instant_text(unsigned type, struct field field, struct instant *value)
{
    const char *at = field.data, *end = at + field.size;
    int64_t year, month, day, zone = 0;
    if (is(field, "infinity") || is(field, "-infinity")) {
        *value = (struct instant){.days = field.data[0] == '-' ? INT64_MIN : INT64_MAX};
        return true;
    }
    *value = (struct instant){0};
    const char *start = at;
    if (!read_digits(&at, end, 7, &year) || at - start < 4 || !read_char(&at, end, '-') ||
        !read_digits(&at, end, 2, &month) || !read_char(&at, end, '-') || !read_digits(&at, end, 2, &day))
        return false;
    if (type != COMPARE_DATE && (!read_char(&at, end, ' ') || !read_time(&at, end, &value->micros)))
        return false;
    if (type == COMPARE_TIMESTAMPTZ && !read_zone(&at, end, &zone))
        return false;
    if (end - at == 3 && memcmp(at, " BC", 3) == 0) {
        year = 1 - year;
        at = end;
    }
    /* The zone can carry into another day; days and time stay apart since their sum may exceed 63 bits. */
    value->days = count_days(year, month, day);
    value->micros -= zone * micros_of_second;
    const int64_t whole = SECONDS_OF_DAY * micros_of_second;
    int64_t carry = (value->micros >= 0 ? value->micros : value->micros - whole + 1) / whole;
    value->days += carry;
    value->micros -= carry * whole;
    return at == end && month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

/* On the wire they are integers, with the infinities at the ends. */
static bool read_instant(unsigned type, bool binary, struct field field, struct instant *value)
{
    *value = (struct instant){0};
    return binary ? read_binary(field, type == COMPARE_DATE ? 4 : 8, &value->days)
                  : read_instant_text(type, field, value);
}

static bool compare_instant(unsigned type, bool binary, struct field one, struct field two, int *order)
{
    struct instant a, b;
    if (!read_instant(type, binary, one, &a) || !read_instant(type, binary, two, &b))
        return false;
    *order = a.days != b.days ? SIGN(a.days, b.days) : SIGN(a.micros, b.micros);
    return true;
}

/* ---- numeric ---------------------------------------------------------------------------------------- */

/*
 * Either form as: rank among the special values, sign, and a magnitude 0.d1d2d3… · base^exponent of units (bytes of
 * text, or two-byte digits of base 10000) without leading or trailing zeros.
 */
struct number {
    int rank;         /* -1 -Infinity, 0 finite, 1 Infinity, 2 NaN */
    int sign;         /* -1, 0, 1 */
    int64_t exponent; /* units before the point */
    const char *whole, *fraction;
    size_t whole_size, fraction_size; /* in bytes */
};

static size_t digits_at(const char *at, const char *end)
{
    size_t size = 0;
    while (at + size < end && at[size] >= '0' && at[size] <= '9')
        size++;
    return size;
}

static bool read_numeric_text(struct field field, struct number *number)
{
    static const char *const names[] = {"-Infinity", "Infinity", "NaN"};
    static const int ranks[] = {-1, 1, 2};
    *number = (struct number){0};
    for (int i = 0; i < 3; i++)
        if (is(field, names[i])) {
            number->rank = ranks[i];
            return true;
        }
    const char *at = field.data, *end = at + field.size;
    bool negative = read_char(&at, end, '-');
    number->whole = at;
    number->whole_size = digits_at(at, end);
    at += number->whole_size;
    if (!number->whole_size)
        return false;
    if (read_char(&at, end, '.')) {
        number->fraction = at;
        number->fraction_size = digits_at(at, end);
        at += number->fraction_size;
    }
    for (; number->whole_size && number->whole[0] == '0'; number->whole_size--)
        number->whole++;
    while (number->fraction_size && number->fraction[number->fraction_size - 1] == '0')
        number->fraction_size--;
    number->exponent = (int64_t)number->whole_size;
    number->sign = !number->whole_size && !number->fraction_size ? 0 : negative ? -1 : 1;
    return at == end;
}

static unsigned unit_at(const char *data, size_t i)
{
    return (unsigned)(unsigned char)data[2 * i] << 8 | (unsigned char)data[2 * i + 1];
}

/* numeric_send of src/backend/utils/adt/numeric.c: ndigits, weight, sign, dscale, digits, each 16 bits. */
static bool read_numeric_binary(struct field field, struct number *number)
{
    enum { HEADER = 8, NEGATIVE = 0x4000, NOT_A_NUMBER = 0xC000, PLUS_INFINITY = 0xD000, MINUS_INFINITY = 0xF000 };
    *number = (struct number){0};
    if (field.size < HEADER)
        return false;
    size_t count = unit_at(field.data, 0);
    int64_t weight = (int16_t)unit_at(field.data, 1);
    unsigned sign = unit_at(field.data, 2);
    if (sign == NOT_A_NUMBER || sign == PLUS_INFINITY || sign == MINUS_INFINITY) {
        number->rank = sign == NOT_A_NUMBER ? 2 : sign == PLUS_INFINITY ? 1 : -1;
        return true;
    }
    if (field.size != HEADER + 2 * count || (sign != 0 && sign != NEGATIVE))
        return false;
    const char *digits = field.data + HEADER;
    for (; count && unit_at(digits, 0) == 0; count--, weight--)
        digits += 2;
    while (count && unit_at(digits, count - 1) == 0)
        count--;
    number->whole = digits;
    number->whole_size = 2 * count;
    number->exponent = weight + 1;
    number->sign = !count ? 0 : sign == NEGATIVE ? -1 : 1;
    return true;
}

static int compare_magnitude(const struct number *a, const struct number *b)
{
    if (a->exponent != b->exponent)
        return SIGN(a->exponent, b->exponent);
    int order = compare_memory((struct field){a->whole, a->whole_size}, (struct field){b->whole, b->whole_size});
    if (order)
        return order;
    return compare_memory((struct field){a->fraction, a->fraction_size}, (struct field){b->fraction, b->fraction_size});
}

static bool compare_numeric(unsigned type, bool binary, struct field one, struct field two, int *order)
{
    (void)type;
    struct number a, b;
    bool read = binary ? read_numeric_binary(one, &a) && read_numeric_binary(two, &b)
                       : read_numeric_text(one, &a) && read_numeric_text(two, &b);
    if (!read)
        return false;
    if (a.rank != b.rank)
        *order = SIGN(a.rank, b.rank);
    else if (a.sign != b.sign)
        *order = SIGN(a.sign, b.sign);
    else
        *order = a.sign * compare_magnitude(&a, &b);
    return true;
}

/* ---- the list --------------------------------------------------------------------------------------- */

static const struct {
    unsigned type;
    compare_function *compare;
    bool collated;
} types[] = {
#define X(name, oid, function, collated) {oid, compare_##function, collated},
    COMPARE_TYPE_LIST(X)
#undef X
};

enum { TYPE_COUNT = sizeof types / sizeof types[0] };

bool compare_knows(unsigned type)
{
    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (types[i].type == type)
            return true;
    return false;
}

bool compare_is_collated(unsigned type)
{
    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (types[i].type == type)
            return types[i].collated;
    return false;
}

bool compare_fields(unsigned type, bool binary, struct field one, struct field two, int *order)
{
    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (types[i].type == type)
            return types[i].compare(type, binary, one, two, order);
    return false;
}
