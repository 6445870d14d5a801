#include "core/sqlexpr.h"

#include <stdlib.h>
#include <string.h>

/*
 * The words that can't stand as a name everywhere, sorted: all of PostgreSQL 13 to 18's src/include/parser/kwlist.h
 * that are not UNRESERVED. One too many only puts quotes where none were needed.
 */
static const char *const keywords[] = {"all",
                                       "analyse",
                                       "analyze",
                                       "and",
                                       "any",
                                       "array",
                                       "as",
                                       "asc",
                                       "asymmetric",
                                       "authorization",
                                       "between",
                                       "bigint",
                                       "binary",
                                       "bit",
                                       "boolean",
                                       "both",
                                       "case",
                                       "cast",
                                       "char",
                                       "character",
                                       "check",
                                       "coalesce",
                                       "collate",
                                       "collation",
                                       "column",
                                       "concurrently",
                                       "constraint",
                                       "create",
                                       "cross",
                                       "current_catalog",
                                       "current_date",
                                       "current_role",
                                       "current_schema",
                                       "current_time",
                                       "current_timestamp",
                                       "current_user",
                                       "dec",
                                       "decimal",
                                       "default",
                                       "deferrable",
                                       "desc",
                                       "distinct",
                                       "do",
                                       "else",
                                       "end",
                                       "except",
                                       "exists",
                                       "extract",
                                       "false",
                                       "fetch",
                                       "float",
                                       "for",
                                       "foreign",
                                       "freeze",
                                       "from",
                                       "full",
                                       "grant",
                                       "greatest",
                                       "group",
                                       "grouping",
                                       "having",
                                       "ilike",
                                       "in",
                                       "initially",
                                       "inner",
                                       "inout",
                                       "int",
                                       "integer",
                                       "intersect",
                                       "interval",
                                       "into",
                                       "is",
                                       "isnull",
                                       "join",
                                       "json",
                                       "json_array",
                                       "json_arrayagg",
                                       "json_exists",
                                       "json_object",
                                       "json_objectagg",
                                       "json_query",
                                       "json_scalar",
                                       "json_serialize",
                                       "json_table",
                                       "json_value",
                                       "lateral",
                                       "leading",
                                       "least",
                                       "left",
                                       "like",
                                       "limit",
                                       "localtime",
                                       "localtimestamp",
                                       "merge_action",
                                       "national",
                                       "natural",
                                       "nchar",
                                       "none",
                                       "normalize",
                                       "not",
                                       "notnull",
                                       "null",
                                       "nullif",
                                       "numeric",
                                       "offset",
                                       "on",
                                       "only",
                                       "or",
                                       "order",
                                       "out",
                                       "outer",
                                       "overlaps",
                                       "overlay",
                                       "placing",
                                       "position",
                                       "precision",
                                       "primary",
                                       "real",
                                       "references",
                                       "returning",
                                       "right",
                                       "row",
                                       "select",
                                       "session_user",
                                       "setof",
                                       "similar",
                                       "smallint",
                                       "some",
                                       "substring",
                                       "symmetric",
                                       "system_user",
                                       "table",
                                       "tablesample",
                                       "then",
                                       "time",
                                       "timestamp",
                                       "to",
                                       "trailing",
                                       "treat",
                                       "trim",
                                       "true",
                                       "union",
                                       "unique",
                                       "user",
                                       "using",
                                       "values",
                                       "varchar",
                                       "variadic",
                                       "verbose",
                                       "when",
                                       "where",
                                       "window",
                                       "with",
                                       "xmlattributes",
                                       "xmlconcat",
                                       "xmlelement",
                                       "xmlexists",
                                       "xmlforest",
                                       "xmlnamespaces",
                                       "xmlparse",
                                       "xmlpi",
                                       "xmlroot",
                                       "xmlserialize",
                                       "xmltable"};

static int compare_word(const void *name, const void *keyword)
{
    return strcmp(name, *(const char *const *)keyword);
}

static bool is_keyword(const char *name)
{
    return bsearch(name, keywords, sizeof keywords / sizeof keywords[0], sizeof keywords[0], compare_word) != NULL;
}

static bool needs_quotes(const char *name)
{
    for (const char *at = name; *at; at++) {
        bool letter = (*at >= 'a' && *at <= 'z') || *at == '_';
        bool digit = *at >= '0' && *at <= '9';
        if (!letter && (!digit || at == name))
            return true;
    }
    return *name == '\0' || is_keyword(name);
}

void sql_identifier(struct buffer *sql, const char *name)
{
    if (!needs_quotes(name)) {
        buffer_text(sql, name);
        return;
    }
    buffer_char(sql, '"');
    for (; *name; name++) {
        if (*name == '"')
            buffer_char(sql, '"');
        buffer_char(sql, *name);
    }
    buffer_char(sql, '"');
}

void sql_qualified(struct buffer *sql, const char *schema, const char *name)
{
    sql_identifier(sql, schema);
    buffer_char(sql, '.');
    sql_identifier(sql, name);
}

void sql_literal(struct buffer *sql, const char *text, size_t size)
{
    if (size && memchr(text, '\\', size))
        buffer_char(sql, 'E');
    buffer_char(sql, '\'');
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\'' || text[i] == '\\')
            buffer_char(sql, text[i]);
        buffer_char(sql, text[i]);
    }
    buffer_char(sql, '\'');
}

/* Behind a quoted text, a number, NULL, true, false or ARRAY[]; NULL where there is none. */
static const char *skip_constant(const char *at)
{
    static const char *const words[] = {"NULL", "true", "false", "ARRAY[]"};
    if (*at == '\'') {
        for (at++; *at && (*at != '\'' || at[1] == '\''); at++)
            at += *at == '\'';
        return *at ? at + 1 : NULL;
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strncmp(at, words[i], strlen(words[i])) == 0)
            return at + strlen(words[i]);
    size_t digits = strspn(at + (*at == '-'), "0123456789.");
    return digits ? at + (*at == '-') + digits : NULL;
}

bool sql_is_constant(const char *expression)
{
    static const char in_type[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ .\"[]";
    const char *at = skip_constant(expression);
    if (at && at[0] == ':' && at[1] == ':')
        at += 2 + strspn(at + 2, in_type);
    return at && *at == '\0';
}
