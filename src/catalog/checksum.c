#include "catalog/checksum.h"

#include <string.h>

const char checksum_settings[] =
    "SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres'; SET LOCAL timezone = 'UTC';"
    " SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL lc_monetary = 'C';"
    " SET LOCAL xmloption = 'content'; SET LOCAL search_path = pg_catalog";

/*
 * Are the columns' binary forms the same on every server? They are faster to make than text. Not so for types of the
 * user's, whose OIDs a record's form holds, and for regclass and its kin, which are OIDs.
 */
static bool is_binary_alike(const struct table_facts *facts)
{
    enum { FIRST_OF_USER = 16384 }; /* FirstNormalObjectId: src/include/access/transam.h */
    for (size_t i = 0; i < facts->column_count; i++)
        if (facts->columns[i].type_oid >= FIRST_OF_USER || strncmp(facts->columns[i].type, "reg", 3) == 0)
            return false;
    return true;
}

void checksum_add_text(struct buffer *sql, const struct table_facts *facts)
{
    buffer_text(sql, "ROW(");
    facts_add_columns(sql, facts);
    buffer_text(sql, ")::text COLLATE \"C\"");
}

/* The set-returning function keeps the planner from pulling the expression up into each hash: the form twice. */
void checksum_add_form(struct buffer *sql, const struct table_facts *facts)
{
    buffer_text(sql, "pg_catalog.unnest(ARRAY[");
    if (is_binary_alike(facts)) {
        buffer_text(sql, "pg_catalog.record_send(ROW(");
        facts_add_columns(sql, facts);
        buffer_text(sql, "))");
    } else {
        checksum_add_text(sql, facts);
    }
    buffer_text(sql, "]) AS r");
}

/* Of bytea there is no hash in SQL, but there is one of arrays. */
void checksum_add_hash(struct buffer *sql, const struct table_facts *facts, int seed)
{
    buffer_format(sql,
                  is_binary_alike(facts) ? "pg_catalog.hash_array_extended(ARRAY[r], %d)"
                                         : "pg_catalog.hashtextextended(r, %d)",
                  seed);
}

void checksum_add_sums(struct buffer *sql, const struct table_facts *facts)
{
    buffer_text(sql, "pg_catalog.count(*)");
    for (int seed = 1; seed <= 2; seed++) {
        buffer_text(sql, ", coalesce(pg_catalog.sum(");
        checksum_add_hash(sql, facts, seed);
        buffer_text(sql, "::numeric), 0)");
    }
}

/* A whole number as PostgreSQL's numeric says it. */
static unsigned __int128 parse(const char *text)
{
    unsigned __int128 value = 0;
    bool negative = *text == '-';
    for (text += negative; *text >= '0' && *text <= '9'; text++)
        value = value * 10 + (unsigned)(*text - '0');
    return negative ? -value : value;
}

void checksum_add_up(struct checksum *sum, const PGresult *result, int row, int column)
{
    sum->rows += parse(PQgetvalue(result, row, column));
    sum->first += parse(PQgetvalue(result, row, column + 1));
    sum->second += parse(PQgetvalue(result, row, column + 2));
}

bool checksum_same(const struct checksum *a, const struct checksum *b)
{
    return a->rows == b->rows && a->first == b->first && a->second == b->second;
}
