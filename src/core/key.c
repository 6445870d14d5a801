#include "core/key.h"

#include "base/error.h"
#include "core/parse.h"

#include <stdio.h>
#include <string.h>

const char parse_memory[] = "out of memory";

static const char not_utf8[] = "it is not valid UTF-8, or has a zero byte";
static const char out_of_range[] = "it is out of the type's range";
static const char malformed_integer[] = "it is not an integer";
static const char newer_integer[] =
    "hexadecimal, octal, binary and underscores are read by PostgreSQL 16 and later only; write it in decimal";
static const char malformed_uuid[] = "it is not of 32 hexadecimal digits with hyphens after groups of four";
static const char wrong_size[] = "its binary form has a wrong size";

/* How many bytes the UTF-8 character at `at` has; 0 if it is none (pg_utf8_islegal in src/common/wchar.c). */
static size_t character_size(const unsigned char *at, size_t left)
{
    unsigned char first = at[0];
    size_t size = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
    if (size > left || first == 0)
        return 0;
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    }
    bool overlong = (first == 0xE0 && at[1] < 0xA0) || (first == 0xF0 && at[1] < 0x90);
    bool surrogate = first == 0xED && at[1] > 0x9F;
    bool above = first == 0xF4 && at[1] > 0x8F;
    return overlong || surrogate || above ? 0 : size;
}

/* True when all eight bytes are ASCII and none is zero. */
static bool eight_plain(const unsigned char *at)
{
    uint64_t bytes;
    memcpy(&bytes, at, sizeof bytes);
    const uint64_t high = UINT64_C(0x8080808080808080);
    return ((bytes | (bytes - UINT64_C(0x0101010101010101))) & high) == 0;
}

bool key_is_utf8(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0, step; i < size; i += step) {
        if (size - i >= 8 && eight_plain(bytes + i))
            step = 8;
        else if (!(step = character_size(bytes + i, size - i)))
            return false;
    }
    return true;
}

/* Shows at most SHOWN bytes of a key in a message, with what is not plain ASCII as \x.. unless the whole is UTF-8. */
enum { SHOWN = 60 };
struct shown {
    char text[SHOWN * 4 + 8];
};

static const char *show(struct shown *shown, const char *text, size_t size)
{
    bool utf8 = key_is_utf8((const unsigned char *)text, size);
    size_t used = 0, most = size < SHOWN ? size : SHOWN;
    while (utf8 && most < size && most > 0 && ((unsigned char)text[most] & 0xC0) == 0x80)
        most--;
    for (size_t i = 0; i < most; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < ' ' || c == 0x7F || (c >= 0x80 && !utf8))
            used += (size_t)snprintf(shown->text + used, 5, "\\x%02x", c);
        else
            shown->text[used++] = (char)c;
    }
    snprintf(shown->text + used, 4, "%s", most < size ? "..." : "");
    return shown->text;
}

static mosaic_status refuse(enum key_type type, const char *name, const char *text, size_t size, const char *why,
                            mosaic_error *error)
{
    if (why == parse_memory)
        return error_memory(error);
    struct shown shown;
    error_set(error, MOSAIC_KEY, "key %s: \"%s\" is no value of type %s: %s", name, show(&shown, text, size),
              type_name(type), why);
    error_hint(error, "correct the value, or the type or column that it is taken for");
    return MOSAIC_KEY;
}

/* ---- integers ---------------------------------------------------------------------------------------- */

static bool integer_fits(enum key_type type, int64_t value)
{
    if (type == KEY_INT2)
        return value >= INT16_MIN && value <= INT16_MAX;
    return type == KEY_INT8 || (value >= INT32_MIN && value <= INT32_MAX);
}

/* pg_strtoint64 (src/backend/utils/adt/numutils.c), of PostgreSQL 15: decimal only. */
static const char *integer_from_text(const char *text, size_t size, struct key_value *value)
{
    parse_trim(&text, &size);
    bool negative = size && *text == '-';
    if (size && (*text == '-' || *text == '+'))
        text++, size--;
    if (size == 0)
        return malformed_integer;
    int64_t result = 0; /* kept negative: the negative range is the larger one */
    for (size_t i = 0; i < size; i++) {
        if (!parse_digit(text[i])) {
            bool newer = (text[i] == '_' && i) || (i == 1 && size > 2 && *text == '0' && strchr("xXoObB", text[i]));
            return newer ? newer_integer : malformed_integer;
        }
        if (__builtin_mul_overflow(result, 10, &result) || __builtin_sub_overflow(result, text[i] - '0', &result))
            return out_of_range;
    }
    if (!negative && __builtin_sub_overflow(0, result, &result))
        return out_of_range;
    value->integer = result;
    return integer_fits(value->type, result) ? NULL : out_of_range;
}

bool key_integer_overflows(enum key_type type, const char *text, size_t size)
{
    struct key_value value = {.type = type};
    return type_is_integer(type) && integer_from_text(text, size, &value) == out_of_range;
}

static int64_t read_integer(const unsigned char *bytes, size_t size)
{
    uint64_t result = bytes[0] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = 0; i < size; i++)
        result = result << 8 | bytes[i];
    return (int64_t)result;
}

/* ---- bytes ------------------------------------------------------------------------------------------- */

static const char *set_bytes(struct key_value *value, const void *bytes, size_t size)
{
    value->bytes.data = bytes;
    value->bytes.size = size;
    return NULL;
}

static const char *set_text(struct key_value *value, const char *text, size_t size)
{
    while (value->type == KEY_BPCHAR && size && text[size - 1] == ' ')
        size--;
    return set_bytes(value, text, size);
}

static int hexadecimal(char c)
{
    if (parse_digit(c))
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* string_to_uuid (src/backend/utils/adt/uuid.c): no blanks; a hyphen may follow any group of four digits but the last.
 */
static const char *uuid_from_text(const char *text, size_t size, struct arena *arena, struct key_value *value)
{
    unsigned char *bytes = arena_allocate(arena, 16);
    if (!bytes)
        return parse_memory;
    if (size >= 2 && text[0] == '{' && text[size - 1] == '}')
        text++, size -= 2;
    for (int i = 0; i < 16; i++) {
        if (size < 2 || hexadecimal(text[0]) < 0 || hexadecimal(text[1]) < 0)
            return malformed_uuid;
        bytes[i] = (unsigned char)(hexadecimal(text[0]) << 4 | hexadecimal(text[1]));
        text += 2, size -= 2;
        if (i % 2 == 1 && i < 15 && size && *text == '-')
            text++, size--;
    }
    return size == 0 ? set_bytes(value, bytes, 16) : malformed_uuid;
}

/* hex_decode (src/backend/utils/adt/encode.c): blanks may stand between the pairs. */
static const char *bytea_from_hex(const char *text, size_t size, unsigned char *bytes, struct key_value *value)
{
    size_t count = 0;
    for (size_t i = 0; i < size;) {
        if (text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r') {
            i++;
            continue;
        }
        if (size - i < 2 || hexadecimal(text[i]) < 0 || hexadecimal(text[i + 1]) < 0)
            return "after \\x there must be pairs of hexadecimal digits";
        bytes[count++] = (unsigned char)(hexadecimal(text[i]) << 4 | hexadecimal(text[i + 1]));
        i += 2;
    }
    return set_bytes(value, bytes, count);
}

static bool octal(const char *at, size_t left)
{
    return left >= 4 && at[1] >= '0' && at[1] <= '3' && at[2] >= '0' && at[2] <= '7' && at[3] >= '0' && at[3] <= '7';
}

/* byteain (src/backend/utils/adt/varlena.c) */
static const char *bytea_from_text(const char *text, size_t size, struct arena *arena, struct key_value *value)
{
    unsigned char *bytes = arena_allocate(arena, size ? size : 1);
    if (!bytes)
        return parse_memory;
    if (size >= 2 && text[0] == '\\' && text[1] == 'x')
        return bytea_from_hex(text + 2, size - 2, bytes, value);
    size_t count = 0;
    for (size_t i = 0; i < size;) {
        if (text[i] != '\\') {
            bytes[count++] = (unsigned char)text[i++];
        } else if (octal(text + i, size - i)) {
            bytes[count++] = (unsigned char)((text[i + 1] - '0') << 6 | (text[i + 2] - '0') << 3 | (text[i + 3] - '0'));
            i += 4;
        } else if (size - i >= 2 && text[i + 1] == '\\') {
            bytes[count++] = '\\';
            i += 2;
        } else {
            return "a backslash must be followed by x (at the start), three octal digits or a backslash";
        }
    }
    return set_bytes(value, bytes, count);
}

/* ---- the whole --------------------------------------------------------------------------------------- */

static const char *from_text(const char *text, size_t size, struct arena *arena, struct key_value *value)
{
    switch (value->type) {
    case KEY_INT2:
    case KEY_INT4:
    case KEY_INT8:
        return integer_from_text(text, size, value);
    case KEY_UUID:
        return uuid_from_text(text, size, arena, value);
    case KEY_BYTEA:
        return bytea_from_text(text, size, arena, value);
    case KEY_DATE:
    case KEY_TIMESTAMP:
    case KEY_TIMESTAMPTZ:
        return datetime_from_text(text, size, value);
    case KEY_NUMERIC:
        return numeric_from_text(text, size, arena, value);
    default:
        return set_text(value, text, size);
    }
}

mosaic_status key_from_text(enum key_type type, const char *name, const char *text, size_t size, struct arena *arena,
                            struct key_value *value, mosaic_error *error)
{
    *value = (struct key_value){.type = type};
    const char *why = type_is_integer(type) || key_is_utf8((const unsigned char *)text, size) ? NULL : not_utf8;
    if (!why)
        why = from_text(text, size, arena, value);
    return why ? refuse(type, name, text, size, why, error) : MOSAIC_OK;
}

static size_t binary_size(enum key_type type)
{
    switch (type) {
    case KEY_INT2:
        return 2;
    case KEY_INT4:
    case KEY_DATE:
        return 4;
    default:
        return 8;
    }
}

static const char *from_binary(const unsigned char *bytes, size_t size, struct arena *arena, struct key_value *value)
{
    switch (value->type) {
    case KEY_TEXT:
    case KEY_VARCHAR:
    case KEY_BPCHAR:
        return key_is_utf8(bytes, size) ? set_text(value, (const char *)bytes, size) : not_utf8;
    case KEY_UUID:
        return size == 16 ? set_bytes(value, bytes, size) : wrong_size;
    case KEY_BYTEA:
        return set_bytes(value, bytes, size);
    case KEY_NUMERIC:
        return numeric_from_binary(bytes, size, arena, value);
    default:
        break;
    }
    if (size != binary_size(value->type))
        return wrong_size;
    value->integer = read_integer(bytes, size);
    return type_is_integer(value->type) || datetime_in_range(value) ? NULL : out_of_range;
}

mosaic_status key_from_binary(enum key_type type, const char *name, const void *bytes, size_t size, struct arena *arena,
                              struct key_value *value, mosaic_error *error)
{
    *value = (struct key_value){.type = type};
    const char *why = from_binary(bytes, size, arena, value);
    if (!why)
        return MOSAIC_OK;
    if (why == parse_memory)
        return error_memory(error);
    return error_set(error, MOSAIC_KEY, "key %s: %zu bytes are no value of type %s: %s", name, size, type_name(type),
                     why);
}

static mosaic_status wrong_kind(enum key_type type, const char *name, const char *given, mosaic_error *error)
{
    error_set(error, MOSAIC_KEY, "key %s is of type %s and can't be given as %s", name, type_name(type), given);
    error_hint(error, "give it in its text form");
    return MOSAIC_KEY;
}

static mosaic_status part_from_public(enum key_type type, const char *name, mosaic_key part, struct arena *arena,
                                      struct key_value *value, mosaic_error *error)
{
    *value = (struct key_value){.type = type};
    if (part.kind == MOSAIC_KEY_INT64) {
        value->integer = part.integer;
        if (!type_is_integer(type))
            return wrong_kind(type, name, "an integer", error);
        if (!integer_fits(type, part.integer))
            return error_set(error, MOSAIC_KEY, "key %s: %lld is out of the range of type %s", name,
                             (long long)part.integer, type_name(type));
        return MOSAIC_OK;
    }
    if (part.kind == MOSAIC_KEY_COMPOSITE)
        return wrong_kind(type, name, "a composite", error);
    if (!part.data && (part.size || part.kind != MOSAIC_KEY_BYTES))
        return error_set(error, MOSAIC_KEY, "key %s is NULL", name);
    if (part.kind == MOSAIC_KEY_TEXT)
        return key_from_text(type, name, part.data, part.size, arena, value, error);
    if (part.kind == MOSAIC_KEY_UUID && type != KEY_UUID)
        return wrong_kind(type, name, "a uuid", error);
    if (part.kind == MOSAIC_KEY_BYTES && type != KEY_BYTEA)
        return wrong_kind(type, name, "bytes", error);
    (void)set_bytes(value, part.data, part.kind == MOSAIC_KEY_UUID ? 16 : part.size);
    return MOSAIC_OK;
}

mosaic_status key_from_public(const enum key_type *types, const char *const *names, size_t count, mosaic_key key,
                              struct arena *arena, struct key_value *values, mosaic_error *error)
{
    if (key.kind != MOSAIC_KEY_COMPOSITE && count == 1)
        return part_from_public(types[0], names[0], key, arena, &values[0], error);
    size_t given = key.kind == MOSAIC_KEY_COMPOSITE ? key.size : 1;
    if (given != count || !key.data)
        return error_set(error, MOSAIC_KEY, "the key has %zu part%s, but the sharding key is of %zu column%s", given,
                         given == 1 ? "" : "s", count, count == 1 ? "" : "s");
    const mosaic_key *parts = key.data;
    for (size_t i = 0; i < count; i++) {
        mosaic_status status = part_from_public(types[i], names[i], parts[i], arena, &values[i], error);
        if (status != MOSAIC_OK)
            return status;
    }
    return MOSAIC_OK;
}

int key_compare(const struct key_value *a, const struct key_value *b)
{
    if (a->type == KEY_NUMERIC)
        return numeric_compare(a, b);
    if (!type_is_text(a->type) && a->type != KEY_UUID && a->type != KEY_BYTEA)
        return (a->integer > b->integer) - (a->integer < b->integer);
    size_t least = a->bytes.size < b->bytes.size ? a->bytes.size : b->bytes.size;
    int difference = least ? memcmp(a->bytes.data, b->bytes.data, least) : 0;
    return difference ? difference : (a->bytes.size > b->bytes.size) - (a->bytes.size < b->bytes.size);
}
