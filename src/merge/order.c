#include "merge/order.h"

#include "wire/wire.h"

/* X(OID, name, form, bytes of a value or 0). OIDs: PostgreSQL's src/include/catalog/pg_type.dat. */
#define ORDER_TYPE_LIST(X)                            \
    X(16, "boolean", UNSIGNED, 1)                     \
    X(17, "bytea", BYTES, 0)                          \
    X(18, "\"char\"", UNSIGNED, 1)                    \
    X(19, "name", TEXT, 0)                            \
    X(20, "bigint", SIGNED, 8)                        \
    X(21, "smallint", SIGNED, 2)                      \
    X(23, "integer", SIGNED, 4)                       \
    X(25, "text", TEXT, 0)                            \
    X(26, "oid", UNSIGNED, 4)                         \
    X(114, "json", UNKNOWN, 0)                        \
    X(650, "cidr", UNKNOWN, 0)                        \
    X(700, "real", FLOAT4, 4)                         \
    X(701, "double precision", FLOAT8, 8)             \
    X(705, "unknown", UNKNOWN, 0)                     \
    X(790, "money", SIGNED, 8)                        \
    X(869, "inet", UNKNOWN, 0)                        \
    X(1042, "character", BLANKS, 0)                   \
    X(1043, "character varying", TEXT, 0)             \
    X(1082, "date", SIGNED, 4)                        \
    X(1083, "time without time zone", SIGNED, 8)      \
    X(1114, "timestamp without time zone", SIGNED, 8) \
    X(1184, "timestamp with time zone", SIGNED, 8)    \
    X(1186, "interval", INTERVAL, 16)                 \
    X(1266, "time with time zone", TIMETZ, 12)        \
    X(1560, "bit", UNKNOWN, 0)                        \
    X(1562, "bit varying", UNKNOWN, 0)                \
    X(1700, "numeric", NUMERIC, 0)                    \
    X(2950, "uuid", UNSIGNED, 16)                     \
    X(3220, "pg_lsn", UNSIGNED, 8)                    \
    X(3802, "jsonb", UNKNOWN, 0)                      \
    X(5069, "xid8", UNSIGNED, 8)

static const struct {
    uint32_t oid;
    const char *name;
    enum order_form form;
    uint8_t size;
} types[] = {
#define X(oid, name, form, size) {oid, name, ORDER_##form, size},
    ORDER_TYPE_LIST(X)
#undef X
};

enum { TYPE_COUNT = sizeof types / sizeof types[0] };

static const uint64_t sign_bit = UINT64_C(1) << 63;

const char *order_type_name(uint32_t type)
{
    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (types[i].oid == type)
            return types[i].name;
    return NULL;
}

bool order_find(uint32_t type, bool bytewise, struct order *order)
{
    *order = (struct order){0};
    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (types[i].oid == type)
            *order = (struct order){.form = types[i].form, .size = types[i].size};
    order->is_pair = order->size > 8;
    order->is_whole = order->size && !order->is_pair;
    return order->form != ORDER_UNKNOWN && (bytewise || (order->form != ORDER_TEXT && order->form != ORDER_BLANKS));
}

static uint64_t get64(const char *bytes)
{
    return (uint64_t)wire_get32(bytes) << 32 | wire_get32(bytes + 4);
}

/* Big endian, 1 to 8 bytes. */
static uint64_t get_unsigned(const char *bytes, size_t size)
{
    uint64_t number = 0;
    for (size_t i = 0; i < size; i++)
        number = number << 8 | (unsigned char)bytes[i];
    return number;
}

static uint64_t get_signed(const char *bytes, size_t size)
{
    if (size == 8)
        return get64(bytes) ^ sign_bit;
    int64_t number = size == 4 ? (int32_t)wire_get32(bytes) : (int16_t)wire_get16(bytes);
    return (uint64_t)number ^ sign_bit;
}

/* IEEE 754: bits of a positive number have its order as they are, those of a negative one the reverse. */
static uint64_t get_float(const char *bytes, bool is_double)
{
    uint64_t bits = is_double ? get64(bytes) : (uint64_t)wire_get32(bytes) << 32;
    uint64_t infinity = is_double ? UINT64_C(0x7FF0000000000000) : UINT64_C(0x7F80000000000000);
    uint64_t magnitude = bits & ~sign_bit;
    if (magnitude > infinity)
        return UINT64_MAX;
    if (magnitude == 0)
        return sign_bit;
    return bits & sign_bit ? ~bits : bits | sign_bit;
}

static bool read_timetz(const char *bytes, struct order_key *key)
{
    static const int64_t day = INT64_C(86400000000);
    int64_t time = (int64_t)get64(bytes), zone = (int32_t)wire_get32(bytes + 8);
    if (time < 0 || time > day || zone < -86400 || zone > 86400)
        return false;
    key->number = (uint64_t)(time + zone * 1000000) ^ sign_bit;
    key->second = (uint64_t)zone ^ sign_bit;
    return true;
}

static void read_interval(const char *bytes, struct order_key *key)
{
    int64_t time = (int64_t)get64(bytes);
    int64_t days = (int32_t)wire_get32(bytes + 8) + (int64_t)(int32_t)wire_get32(bytes + 12) * 30;
    __int128 span = (__int128)days * INT64_C(86400000000) + time;
    key->number = (uint64_t)(span >> 64) ^ sign_bit;
    key->second = (uint64_t)span;
}

/* The first eight bytes, zeros behind the end: what they do not tell apart, memcmp and the length do. */
static void read_bytes(const char *bytes, size_t size, struct order_key *key)
{
    key->number = size >= 8 ? get64(bytes) : size ? get_unsigned(bytes, size) << (64 - 8 * size) : 0;
    key->bytes = bytes;
    key->size = (uint32_t)size;
}

/*
 * numeric_send: count, weight, sign, scale, and digits of base 10000, two bytes each. The number is made of the class
 * (below), and of a finite value of 18 bits of weight and three digits of 14 bits, all inverted below zero. Digits
 * stand high byte first, none is over 9999, and zeros at either end are dropped here: memcmp has their order.
 */
static bool read_numeric(const char *bytes, size_t size, struct order_key *key)
{
    enum { MINUS_INFINITY, NEGATIVE, ZERO, POSITIVE, INFINITE, NOT_A_NUMBER, CLASS_SHIFT = 60, DIGIT_BITS = 14 };
    if (size < 8)
        return false;
    size_t count = wire_get16(bytes);
    int64_t weight = (int16_t)wire_get16(bytes + 2);
    uint16_t sign = wire_get16(bytes + 4);
    uint64_t class = sign == 0        ? POSITIVE
                     : sign == 0x4000 ? NEGATIVE
                     : sign == 0xC000 ? NOT_A_NUMBER
                     : sign == 0xD000 ? INFINITE
                     : sign == 0xF000 ? MINUS_INFINITY
                                      : UINT64_MAX;
    const char *digits = bytes + 8;
    if (size != 8 + 2 * count || class == UINT64_MAX)
        return false;
    if (class != POSITIVE && class != NEGATIVE)
        count = 0;
    for (size_t i = 0; i < count; i++)
        if (wire_get16(digits + 2 * i) > 9999)
            return false;
    while (count && wire_get16(digits) == 0)
        digits += 2, count--, weight--;
    while (count && wire_get16(digits + 2 * count - 2) == 0)
        count--;
    if (count == 0) {
        key->number = (class == POSITIVE || class == NEGATIVE ? ZERO : class) << CLASS_SHIFT;
        return true;
    }
    uint64_t number = (uint64_t)(weight + (1 << 17));
    for (size_t i = 0; i < 3; i++)
        number = number << DIGIT_BITS | (i < count ? wire_get16(digits + 2 * i) : 0);
    key->inverted = class == NEGATIVE;
    key->number = class << CLASS_SHIFT | (key->inverted ? ~number & ((UINT64_C(1) << CLASS_SHIFT) - 1) : number);
    key->bytes = digits;
    key->size = (uint32_t)(2 * count);
    return true;
}

static bool read_value(const struct order *order, const char *bytes, size_t size, struct order_key *key)
{
    switch (order->form) {
    case ORDER_SIGNED:
        key->number = get_signed(bytes, size);
        return true;
    case ORDER_UNSIGNED:
        key->number = get_unsigned(bytes, size > 8 ? 8 : size);
        if (order->is_pair)
            key->second = get64(bytes + 8);
        return true;
    case ORDER_FLOAT4:
    case ORDER_FLOAT8:
        key->number = get_float(bytes, order->form == ORDER_FLOAT8);
        return true;
    case ORDER_TIMETZ:
        return read_timetz(bytes, key);
    case ORDER_INTERVAL:
        read_interval(bytes, key);
        return true;
    case ORDER_NUMERIC:
        return read_numeric(bytes, size, key);
    case ORDER_BLANKS:
        while (size && bytes[size - 1] == ' ')
            size--;
        read_bytes(bytes, size, key);
        return true;
    case ORDER_BYTES:
    case ORDER_TEXT:
        read_bytes(bytes, size, key);
        return true;
    case ORDER_UNKNOWN:
        break;
    }
    return false;
}

bool order_read(const struct order *order, const char *bytes, int32_t size, struct order_key *key)
{
    *key = (struct order_key){.rank = 1};
    if (size < 0) {
        key->rank = order->nulls_first ? 0 : 2;
        return true;
    }
    if ((order->size && order->size != size) || !read_value(order, bytes, (size_t)size, key))
        return false;
    if (order->descending) {
        key->number = ~key->number;
        key->inverted = !key->inverted;
        if (order->is_pair)
            key->second = ~key->second;
    }
    return true;
}

int order_compare_rest(const struct order *order, const struct order_key *one, const struct order_key *two)
{
    if (order->is_pair)
        return (one->second > two->second) - (one->second < two->second);
    size_t least = one->size < two->size ? one->size : two->size;
    int difference = least ? memcmp(one->bytes, two->bytes, least) : 0;
    if (difference == 0)
        difference = (one->size > two->size) - (one->size < two->size);
    if (difference == 0)
        return 0;
    return one->inverted == (difference > 0) ? -1 : 1;
}
