#include "core/sqlexpr.h"
#include "sql/ddl.h"

#include <string.h>

enum { SQL_MOST = 8192 };

#define INVALID                                                                                         \
    "pg_catalog.pg_index x JOIN pg_catalog.pg_class c ON c.oid = x.indexrelid WHERE x.indrelid = t AND" \
    " NOT x.indisvalid AND c.relkind = 'i' AND c.relname "

static void add_literal(struct buffer *sql, const char *text)
{
    sql_literal(sql, text, strlen(text));
}

static void add_condition(struct buffer *sql, const char *name)
{
    buffer_text(sql, INVALID);
    if (!name) {
        buffer_text(sql, "~ '_cc(new|old)[0-9]*$'");
        return;
    }
    buffer_text(sql, "= ");
    add_literal(sql, name);
}

/*
 * Whoever makes an index CONCURRENTLY has this lock on the table to the end, so behind it what is invalid is left over.
 * The lock of DROP INDEX is waited for shortly: readers and writers wait behind it.
 */
const char *ddl_leftovers(struct analysis *analysis, const struct table *table, const char *name)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    if ((name && strstr(name, "$mosaic$")) || strstr(table->schema, "$mosaic$") || strstr(table->name, "$mosaic$"))
        return NULL;
    buffer_text(&sql, "DO LANGUAGE plpgsql $mosaic$ DECLARE i text; t oid; BEGIN SELECT c.oid INTO t FROM"
                      " pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                      " WHERE n.nspname = ");
    add_literal(&sql, table->schema);
    buffer_text(&sql, " AND c.relname = ");
    add_literal(&sql, table->name);
    buffer_text(&sql, "; IF EXISTS (SELECT FROM ");
    add_condition(&sql, name);
    buffer_text(&sql, ") THEN PERFORM pg_catalog.set_config('lock_timeout', '1s', true); EXECUTE pg_catalog.format("
                      "'LOCK TABLE %I.%I IN SHARE UPDATE EXCLUSIVE MODE NOWAIT', ");
    add_literal(&sql, table->schema);
    buffer_text(&sql, ", ");
    add_literal(&sql, table->name);
    buffer_text(&sql, "); FOR i IN SELECT pg_catalog.format('DROP INDEX %s.%I', c.relnamespace::regnamespace,"
                      " c.relname) FROM ");
    add_condition(&sql, name);
    buffer_text(&sql, " LOOP EXECUTE i; END LOOP; END IF; EXCEPTION WHEN OTHERS THEN NULL; END $mosaic$");
    const char *text = buffer_failed(&sql) ? NULL : analysis_copy(analysis, buffer_string(&sql));
    buffer_free(&sql);
    return text;
}
