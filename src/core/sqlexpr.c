/*
 * All arithmetic is on bigint with masks taken before each sum, so that nothing overflows: the low bits of a sum depend
 * on the low bits of its parts alone. Operators other than + - * / % have one precedence in PostgreSQL, hence the many
 * parentheses.
 */
#include "core/sqlexpr.h"

#include "core/hash.h"

#include <inttypes.h>
#include <string.h>

enum { RANGE_PIECES_MOST = 16 /* more of them are said by a bitmap */ };

static bool is_power_of_two(uint32_t x)
{
    return (x & (x - 1)) == 0;
}

/* ---- hash -------------------------------------------------------------------------------------------- */

/* The function that hashes one column, or NULL where SQL has none: hash_array_extended of an array of one serves then.
 */
static const char *hash_function(enum key_type type)
{
    switch (type) {
    case KEY_INT2:
        return "hashint2extended";
    case KEY_INT4:
        return "hashint4extended";
    case KEY_INT8:
        return "hashint8extended";
    case KEY_TEXT:
    case KEY_VARCHAR:
        return "hashtextextended";
    case KEY_BPCHAR:
        return "hashbpcharextended";
    case KEY_UUID:
        return "uuid_hash_extended";
    case KEY_TIMESTAMP:
        return "timestamp_hash_extended";
    case KEY_NUMERIC:
        return "hash_numeric_extended";
    default:
        return NULL; /* bytea; timestamptz before PostgreSQL 18; date, whose infinities can't be subtracted from */
    }
}

static void add_hash(struct buffer *sql, enum key_type type, const char *column)
{
    if (hash_function(type))
        buffer_format(sql, "%s(%s, %" PRIu64 ")", hash_function(type), column, HASH_SEED);
    else
        buffer_format(sql, "hash_array_extended(ARRAY[%s], %" PRIu64 ")", column, HASH_SEED);
}

/* What is to be added to the value of add_hash: an array of one has 31 + h (src/backend/utils/adt/arrayfuncs.c). */
static uint64_t hash_addend(enum key_type type)
{
    return HASH_COMBINE - (hash_function(type) ? 0 : 31);
}

/* (h + addend) & mask */
static void add_first_hash(struct buffer *sql, enum key_type type, const char *column, uint64_t mask)
{
    buffer_text(sql, "(((");
    add_hash(sql, type, column);
    buffer_format(sql, " & %" PRIu64 ") + %" PRIu64 ") & %" PRIu64 ")", mask, hash_addend(type) & mask, mask);
}

/*
 * hash_combine64 over `count` columns, its low bits under mask. The shift right by 7 needs seven more bits of what came
 * before; the shift left by 54 reaches none that are asked for (rule_check sees to it).
 */
static void add_row_hash(struct buffer *sql, const struct rule *rule, const char *const *columns, size_t count,
                         uint64_t mask)
{
    size_t last = count - 1;
    if (last == 0) {
        add_first_hash(sql, rule->types[0], columns[0], mask);
        return;
    }
    uint64_t wider = mask << 7 | 127;
    buffer_text(sql, "((");
    add_row_hash(sql, rule, columns, last, wider);
    buffer_text(sql, " # ((");
    add_hash(sql, rule->types[last], columns[last]);
    buffer_format(sql, " & %" PRIu64 ") + %" PRIu64 " + (", mask, hash_addend(rule->types[last]) & mask);
    add_row_hash(sql, rule, columns, last, wider);
    buffer_format(sql, " >> 7))) & %" PRIu64 ")", mask);
}

/* ---- modulo and sha256 -------------------------------------------------------------------------------- */

/* The mathematical key mod `by`. PostgreSQL's % takes the sign of the key. */
static void add_modulo(struct buffer *sql, const char *column, uint32_t by)
{
    if (is_power_of_two(by))
        buffer_format(sql, "(%s & %u)", column, by - 1);
    else
        buffer_format(sql, "((%s %% %u + %u) %% %u)", column, by, by, by);
}

/* Text to bytes by decode: convert_to is only STABLE. A backslash is what the escape format would read otherwise. */
#define SHA256_OF(key) "sha256(decode(replace(" key ", E'\\\\', E'\\\\\\\\'), 'escape'))"

/* The digest as a little-endian integer, mod `by`: for a power of two its first bytes say it. */
static void add_sha256(struct buffer *sql, const char *column, uint32_t by)
{
    if (!is_power_of_two(by))
        buffer_format(sql, "mosaic.sha256_bucket(%s, %u)", column, by);
    else if (by <= 256)
        buffer_format(sql, "(get_byte(" SHA256_OF("%s") ", 0) & %u)", column, by - 1);
    else
        buffer_format(sql, "((get_byte(" SHA256_OF("%s") ", 0) | (get_byte(" SHA256_OF("%s") ", 1) << 8)) & %u)",
                      column, column, by - 1);
}

void sql_support_functions(struct buffer *sql, const struct rule *rule)
{
    if (rule->function != FUNCTION_SHA256 || is_power_of_two(rule->buckets))
        return;
    /* Horner's rule over eight groups of four bytes, from the last: rest < 65536, so rest * 2^32 fits a bigint. */
    buffer_text(sql,
                "CREATE OR REPLACE FUNCTION mosaic.sha256_bucket(key text, buckets integer) RETURNS integer\n"
                "LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$\n"
                "DECLARE\n"
                "    d bytea := pg_catalog.sha256(pg_catalog.decode(pg_catalog.replace(key, E'\\\\', E'\\\\\\\\'), "
                "'escape'));\n"
                "BEGIN\n"
                "    RETURN ");
    for (int group = 0; group < 7; group++)
        buffer_text(sql, "((");
    buffer_text(sql, "(");
    for (int group = 7; group >= 0; group--) {
        if (group < 7)
            buffer_text(sql, ") % buckets) * 4294967296 + ");
        buffer_format(
            sql, "(get_byte(d, %d)::bigint << 24) + (get_byte(d, %d) << 16) + (get_byte(d, %d) << 8) + get_byte(d, %d)",
            4 * group + 3, 4 * group + 2, 4 * group + 1, 4 * group);
    }
    buffer_text(sql, ") % buckets;\nEND $$;\n");
}

/* ---- range and list ----------------------------------------------------------------------------------- */

/* The type to which literals are cast. "character" would mean one character. */
static const char *array_type(enum key_type type)
{
    if (type == KEY_BPCHAR)
        return "bpchar";
    return type == KEY_VARCHAR ? "text" : type_name(type);
}

static void add_column(struct buffer *sql, const struct rule *rule, const char *column)
{
    buffer_text(sql, column);
    if (rule->types[0] == KEY_VARCHAR)
        buffer_text(sql, "::text");
    if (rule->function == FUNCTION_RANGE && type_is_text(rule->types[0]))
        buffer_text(sql, " COLLATE \"C\"");
}

static void add_bound(struct buffer *sql, const struct rule *rule, uint32_t i)
{
    sql_literal(sql, rule->bound_texts[i], strlen(rule->bound_texts[i]));
}

static void add_bounds_array(struct buffer *sql, const struct rule *rule, uint32_t count)
{
    buffer_text(sql, "ARRAY[");
    for (uint32_t i = 0; i < count; i++) {
        buffer_text(sql, i ? ", " : "");
        add_bound(sql, rule, i);
    }
    buffer_format(sql, "]::%s[]", array_type(rule->types[0]));
}

static void add_range(struct buffer *sql, const struct rule *rule, const char *column)
{
    if (rule->buckets == 1) {
        buffer_char(sql, '0');
        return;
    }
    buffer_text(sql, "width_bucket(");
    add_column(sql, rule, column);
    buffer_text(sql, ", ");
    add_bounds_array(sql, rule, rule->buckets - 1);
    buffer_char(sql, ')');
}

static void add_list(struct buffer *sql, const struct rule *rule, const char *column)
{
    buffer_text(sql, "(array_position(");
    add_bounds_array(sql, rule, rule->buckets);
    buffer_text(sql, ", ");
    add_column(sql, rule, column);
    buffer_text(sql, ") - 1)");
}

void sql_bucket(struct buffer *sql, const struct rule *rule, const char *const *columns)
{
    switch (rule->function) {
    case FUNCTION_MODULO:
        add_modulo(sql, columns[0], rule->buckets);
        break;
    case FUNCTION_HASH:
        add_row_hash(sql, rule, columns, rule->columns, rule->buckets - 1);
        break;
    case FUNCTION_SHA256:
        add_sha256(sql, columns[0], rule->buckets);
        break;
    case FUNCTION_RANGE:
        add_range(sql, rule, columns[0]);
        break;
    default:
        add_list(sql, rule, columns[0]);
        break;
    }
}

/* ---- ownership ----------------------------------------------------------------------------------------- */

/* The bucket is `shard` mod `shards`. Where shards divides B, B need not be mentioned: the key mod shards is enough. */
static void add_owned_initial(struct buffer *sql, const struct rule *rule, const char *const *columns, uint32_t shards,
                              uint32_t shard)
{
    bool divides = rule->buckets % shards == 0;
    if (rule->function == FUNCTION_HASH && is_power_of_two(shards)) {
        uint32_t mask = shards - 1;
        if (rule->columns > 1) {
            add_row_hash(sql, rule, columns, rule->columns, mask);
            buffer_format(sql, " = %u", shard);
            return;
        }
        /* (h + addend) & mask = shard, with the sum brought to the other side. */
        buffer_char(sql, '(');
        add_hash(sql, rule->types[0], columns[0]);
        buffer_format(sql, " & %u) = %u", mask, (shard - (uint32_t)hash_addend(rule->types[0])) & mask);
    } else if (rule->function == FUNCTION_MODULO && divides) {
        add_modulo(sql, columns[0], shards);
        buffer_format(sql, " = %u", shard);
    } else if (rule->function == FUNCTION_SHA256 && divides) {
        add_sha256(sql, columns[0], shards);
        buffer_format(sql, " = %u", shard);
    } else {
        sql_bucket(sql, rule, columns);
        buffer_format(sql, " %% %u = %u", shards, shard);
    }
}

/*
 * Bit j, as get_bit counts them, is that of bucket (j + shift) mod B. With a shift of the hash's addend the sum need
 * not be computed for each row.
 */
static void add_bitmap(struct buffer *sql, const struct map *map, uint32_t shard, uint32_t shift)
{
    buffer_text(sql, "get_bit(E'\\\\x");
    for (uint32_t j = 0; j < map->buckets; j += 8) {
        unsigned byte = 0;
        for (uint32_t k = j; k < j + 8 && k < map->buckets; k++)
            byte |= (unsigned)(map->owner[(k + shift) % map->buckets] == shard) << (k - j);
        buffer_format(sql, "%02x", byte);
    }
    buffer_text(sql, "'::bytea, ");
}

static void add_owned_bitmap(struct buffer *sql, const struct rule *rule, const char *const *columns,
                             const struct map *map, uint32_t shard)
{
    if (rule->function == FUNCTION_HASH && rule->columns == 1) {
        uint32_t mask = rule->buckets - 1;
        add_bitmap(sql, map, shard, (uint32_t)hash_addend(rule->types[0]) & mask);
        add_hash(sql, rule->types[0], columns[0]);
        buffer_format(sql, " & %u) = 1", mask);
        return;
    }
    add_bitmap(sql, map, shard, 0);
    sql_bucket(sql, rule, columns);
    buffer_text(sql, ") = 1");
}

/* One piece of the key space: buckets first to last, next to each other and all the shard's. */
static void add_piece(struct buffer *sql, const struct rule *rule, const char *column, uint32_t first, uint32_t last)
{
    if (first > 0) {
        add_column(sql, rule, column);
        buffer_text(sql, " >= ");
        add_bound(sql, rule, first - 1);
    }
    if (first > 0 && last + 1 < rule->buckets)
        buffer_text(sql, " AND ");
    if (last + 1 < rule->buckets) {
        add_column(sql, rule, column);
        buffer_text(sql, " < ");
        add_bound(sql, rule, last);
    }
}

static uint32_t count_pieces(const struct map *map, uint32_t shard)
{
    uint32_t pieces = 0;
    for (uint32_t b = 0; b < map->buckets; b++)
        pieces += map->owner[b] == shard && (b == 0 || map->owner[b - 1] != shard);
    return pieces;
}

static void add_owned_range(struct buffer *sql, const struct rule *rule, const char *const *columns,
                            const struct map *map, uint32_t shard)
{
    if (count_pieces(map, shard) > RANGE_PIECES_MOST) {
        add_owned_bitmap(sql, rule, columns, map, shard);
        return;
    }
    const char *between = "(";
    for (uint32_t first = 0, last; first < map->buckets; first = last + 1) {
        last = first;
        if (map->owner[first] != shard)
            continue;
        while (last + 1 < map->buckets && map->owner[last + 1] == shard)
            last++;
        buffer_text(sql, between);
        add_piece(sql, rule, columns[0], first, last);
        between = " OR ";
    }
    buffer_char(sql, ')');
}

static void add_owned_list(struct buffer *sql, const struct rule *rule, const char *column, const struct map *map,
                           uint32_t shard)
{
    add_column(sql, rule, column);
    const char *between = " IN (";
    for (uint32_t b = 0; b < map->buckets; b++) {
        if (map->owner[b] != shard)
            continue;
        buffer_text(sql, between);
        add_bound(sql, rule, b);
        between = ", ";
    }
    buffer_char(sql, ')');
}

/* ---- parts ---- */

/* Is bucket b in part b mod parts? */
static bool parts_in_turn(const struct map *map, const uint16_t *part_of_shard, uint32_t parts)
{
    for (uint32_t b = 0; b < map->buckets; b++)
        if (part_of_shard[map->owner[b]] != b % parts)
            return false;
    return true;
}

/* Byte b of a text is the part of bucket b; over 256 parts, of two texts the high and the low byte. */
static void add_byte(struct buffer *sql, const struct rule *rule, const char *const *columns, const struct map *map,
                     const uint16_t *part_of_shard, unsigned shift)
{
    buffer_text(sql, "get_byte(E'\\\\x");
    for (uint32_t b = 0; b < map->buckets; b++)
        buffer_format(sql, "%02x", part_of_shard[map->owner[b]] >> shift & 0xFF);
    buffer_text(sql, "'::bytea, (");
    sql_bucket(sql, rule, columns);
    buffer_text(sql, ")::integer)");
}

void sql_part(struct buffer *sql, const struct rule *rule, const char *const *columns, const struct map *map)
{
    uint16_t part_of_shard[SHARDS_MOST];
    uint32_t parts = map_parts(map, part_of_shard);
    if (parts_in_turn(map, part_of_shard, parts)) {
        buffer_char(sql, '(');
        sql_bucket(sql, rule, columns);
        buffer_format(sql, ") %% %u", parts);
        return;
    }
    if (parts > 256) {
        add_byte(sql, rule, columns, map, part_of_shard, 8);
        buffer_text(sql, " * 256 + ");
    }
    add_byte(sql, rule, columns, map, part_of_shard, 0);
}

void sql_owned(struct buffer *sql, const struct rule *rule, const char *const *columns, const struct map *map,
               uint32_t shard)
{
    uint32_t owned = map_count(map, shard), shards;
    for (size_t i = 0; i < rule->columns; i++)
        buffer_format(sql, "%s%s IS NOT NULL", i ? " AND " : "", columns[i]);
    /* A list that has all its entries here still refuses keys that no entry names. */
    if (owned == map->buckets && rule->function != FUNCTION_LIST)
        return;
    buffer_text(sql, " AND ");
    if (owned == 0)
        buffer_text(sql, "false");
    else if (rule->function == FUNCTION_RANGE)
        add_owned_range(sql, rule, columns, map, shard);
    else if (rule->function == FUNCTION_LIST)
        add_owned_list(sql, rule, columns[0], map, shard);
    else if (map_is_initial(map, &shards))
        add_owned_initial(sql, rule, columns, shards, shard);
    else
        add_owned_bitmap(sql, rule, columns, map, shard);
}
