#include "client/called.h"

#include "core/script.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NAME_MOST = 63 };

/*
 * Words that a parenthesis may stand behind: SQL's own, types, and functions of pg_catalog, ascending. Not among them
 * is what changes a setting, locks, makes a connection, or tells what a session did before.
 */
/* clang-format off */
static const char *const harmless[] = {
    "abs", "acos", "age", "all", "and", "any", "array", "array_agg", "array_append", "array_cat", "array_length",
    "array_lower", "array_ndims", "array_position", "array_positions", "array_prepend", "array_remove",
    "array_replace", "array_to_json", "array_to_string", "array_upper", "as", "ascii", "asin", "atan", "atan2",
    "avg", "between", "bit", "bit_and", "bit_length", "bit_or", "bool_and", "bool_or", "btrim", "by", "cardinality",
    "case", "cast", "cbrt", "ceil", "ceiling", "char", "char_length", "character", "character_length", "chr",
    "clock_timestamp", "coalesce", "concat", "concat_ws", "conflict", "convert_from", "convert_to", "cos", "cot",
    "count", "cross", "cube", "cume_dist", "current_database", "current_schema", "current_setting", "current_time",
    "current_timestamp", "date", "date_bin", "date_part", "date_trunc", "daterange", "dec", "decimal", "decode",
    "degrees", "dense_rank", "distinct", "div", "double", "else", "encode", "every", "except", "exists", "exp",
    "extract", "filter", "first_value", "float", "floor", "for", "format", "from", "gen_random_uuid",
    "generate_series", "generate_subscripts", "get_bit", "get_byte", "greatest", "group", "grouping", "having",
    "ilike", "in", "initcap", "int4range", "int8range", "intersect", "interval", "is", "isempty", "isfinite",
    "join", "json_agg", "json_array_elements", "json_array_elements_text", "json_array_length", "json_build_array",
    "json_build_object", "json_each", "json_each_text", "json_extract_path", "json_extract_path_text",
    "json_object", "json_object_agg", "json_object_keys", "json_populate_record", "json_populate_recordset",
    "json_strip_nulls", "json_to_record", "json_to_recordset", "json_typeof", "jsonb_agg", "jsonb_array_elements",
    "jsonb_array_elements_text", "jsonb_array_length", "jsonb_build_array", "jsonb_build_object", "jsonb_each",
    "jsonb_each_text", "jsonb_extract_path", "jsonb_extract_path_text", "jsonb_insert", "jsonb_object",
    "jsonb_object_agg", "jsonb_object_keys", "jsonb_path_exists", "jsonb_path_query", "jsonb_path_query_array",
    "jsonb_path_query_first", "jsonb_populate_record", "jsonb_populate_recordset", "jsonb_pretty", "jsonb_set",
    "jsonb_strip_nulls", "jsonb_to_record", "jsonb_to_recordset", "jsonb_typeof", "justify_days", "justify_hours",
    "justify_interval", "lag", "last_value", "lateral", "lead", "least", "left", "length", "like", "limit", "ln",
    "localtime", "localtimestamp", "log", "lower", "lpad", "ltrim", "make_date", "make_interval", "make_time",
    "make_timestamp", "make_timestamptz", "materialized", "max", "md5", "min", "mod", "mode", "nchar", "nextval",
    "not", "now", "nth_value", "ntile", "null", "nullif", "num_nonnulls", "num_nulls", "numeric", "numrange",
    "octet_length", "offset", "on", "only", "or", "order", "over", "overlay", "percent_rank", "percentile_cont",
    "percentile_disc", "pg_backend_pid", "pg_notify", "pg_sleep", "pg_typeof", "phraseto_tsquery", "pi",
    "plainto_tsquery", "position", "power", "precision", "quote_ident", "quote_literal", "quote_nullable",
    "radians", "random", "rank", "regexp_match", "regexp_matches", "regexp_replace", "regexp_split_to_array",
    "regexp_split_to_table", "repeat", "replace", "returning", "reverse", "right", "rollup", "round", "row",
    "row_number", "row_to_json", "rpad", "rtrim", "scale", "select", "set", "setval", "setweight", "sha224",
    "sha256", "sha384", "sha512", "sign", "similar", "sin", "some", "split_part", "sqrt", "starts_with",
    "statement_timestamp", "stddev", "stddev_pop", "stddev_samp", "string_agg", "string_to_array", "strpos",
    "substr", "substring", "sum", "tan", "then", "time", "timestamp", "timestamptz", "timetz", "to_char", "to_date",
    "to_hex", "to_json", "to_jsonb", "to_number", "to_regclass", "to_timestamp", "to_tsquery", "to_tsvector",
    "transaction_timestamp", "translate", "trim", "trunc", "ts_headline", "ts_rank", "ts_rank_cd", "tsrange",
    "tstzrange", "union", "unnest", "upper", "using", "values", "var_pop", "var_samp", "varchar", "variance",
    "varying", "version", "websearch_to_tsquery", "when", "where", "width_bucket",
};
/* clang-format on */

/* The name that was read last, if nothing but a dot stands behind it. */
struct name {
    const char *text; /* its last part, with its quotes */
    size_t size;      /* 0: none */
    bool is_dotted;   /* another part follows */
    bool is_foreign;  /* of another schema than pg_catalog */
    bool is_ours;     /* of schema mosaic */
    bool is_target;   /* INTO stands before it */
};

static bool is_word(const struct name *name, const char *word)
{
    return strlen(word) == name->size && strncasecmp(word, name->text, name->size) == 0;
}

static int compare_words(const void *key, const void *word)
{
    return strcmp(key, *(const char *const *)word);
}

static bool is_harmless(const struct name *name)
{
    char word[NAME_MOST + 1];
    if (name->is_target || name->is_ours)
        return true;
    if (name->is_foreign || name->size > NAME_MOST)
        return false;
    for (size_t i = 0; i < name->size; i++)
        word[i] = (char)tolower((unsigned char)name->text[i]);
    word[name->size] = '\0';
    return bsearch(word, harmless, sizeof harmless / sizeof harmless[0], sizeof harmless[0], compare_words);
}

static struct name name_behind(const struct name *before, const char *text, size_t size)
{
    struct name name = {.text = text, .size = size};
    if (before->is_dotted) {
        name.is_target = before->is_target;
        name.is_foreign = !is_word(before, "pg_catalog");
        name.is_ours = is_word(before, "mosaic");
    } else {
        name.is_target = is_word(before, "into");
    }
    return name;
}

bool called_is_harmless(const char *sql)
{
    struct script script = script_start(sql, strlen(sql));
    struct name name = {0};
    while (script.at < script.size) {
        const char *text = sql + script.at;
        switch (script_token(&script)) {
        case SCRIPT_BLANK:
            break;
        case SCRIPT_WORD:
        case SCRIPT_NAME:
            name = name_behind(&name, text, (size_t)(sql + script.at - text));
            break;
        default:
            if (*text == '(' && name.size && !is_harmless(&name))
                return false;
            if (*text == '.' && name.size)
                name.is_dotted = true;
            else
                name = (struct name){0};
        }
    }
    return true;
}
