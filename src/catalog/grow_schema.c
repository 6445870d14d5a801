/*
 * Definitions, by pg_dump of the home shard, whose locks keep them from changing:
 *
 *     others    what is no table, view or sequence (types, domains, functions …), made where it is missing: a column,
 *               a default, a policy may need it
 *     before    the tables with defaults, owners and grants, before the rows
 *     behind    indexes, constraints, triggers, policies, behind the rows
 */
#include "catalog/coordinator_dump.h"
#include "catalog/grow_steps.h"
#include "core/sqlexpr.h"
#include "pq/dump.h"

#include <stdio.h>
#include <string.h>

enum { ENTRIES_MOST = 100000, SAID_MOST = 5 };

/* ---- asking pg_dump ---- */

static const char *pattern(struct arena *arena, const char *schema, const char *name)
{
    const char *parts[] = {schema, name};
    struct buffer text = BUFFER_INIT(4096);
    for (int i = 0; i < 2; i++) {
        buffer_text(&text, i ? ".\"" : "\"");
        for (const char *at = parts[i]; *at; at++) {
            if (*at == '"')
                buffer_char(&text, '"');
            buffer_char(&text, *at);
        }
        buffer_char(&text, '"');
    }
    const char *copy = buffer_failed(&text) ? NULL : arena_string(arena, buffer_string(&text));
    buffer_free(&text);
    return copy;
}

/* The tables, and with each partitioned one its partitions. */
static mosaic_status find_patterns(struct grow *grow, mosaic_error *error)
{
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
    struct arena *arena = &grow->apply->arena;
    PGresult *result = NULL;
    buffer_text(&sql, "SELECT n.nspname, c.relname, c.relkind FROM pg_catalog.unnest(ARRAY[");
    for (size_t i = 0; i < grow->table_count; i++) {
        struct buffer name = BUFFER_INIT(4096);
        grow_add_name(&name, grow->tables[i].table);
        buffer_text(&sql, i ? "," : "");
        sql_literal(&sql, buffer_string(&name), name.size);
        buffer_free(&name);
    }
    buffer_text(&sql, "]::regclass[]) t(oid) CROSS JOIN LATERAL (SELECT t.oid AS relid UNION"
                      " SELECT p.relid FROM pg_catalog.pg_partition_tree(t.oid) p) p"
                      " JOIN pg_catalog.pg_class c ON c.oid = p.relid"
                      " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace");
    mosaic_status status = grow_run_buffer(grow, grow->home, &sql, GROW_STEP_MS, &result);
    if (status != MOSAIC_OK) {
        *error = grow->apply->shards[grow->home].error;
        return status;
    }
    grow->pattern_count = (size_t)PQntuples(result);
    grow->patterns = arena_zeroed(arena, grow->pattern_count, sizeof *grow->patterns);
    for (size_t i = 0; i < grow->pattern_count && status == MOSAIC_OK; i++) {
        const char *schema = PQgetvalue(result, (int)i, 0), *name = PQgetvalue(result, (int)i, 1);
        if (PQgetvalue(result, (int)i, 2)[0] == 'f')
            status = error_set(error, MOSAIC_UNSUPPORTED, "partition %s.%s is a foreign table: its rows stay elsewhere",
                               schema, name);
        else if (!grow->patterns || !(grow->patterns[i] = pattern(arena, schema, name)))
            status = error_memory(error);
    }
    PQclear(result);
    return status;
}

static mosaic_status dump(struct grow *grow, const char *const *more, size_t more_count, struct buffer *text,
                          mosaic_error *error)
{
    static const char *const always[] = {"--schema-only",      "--quote-all-identifiers", "--no-publications",
                                         "--no-subscriptions", "--no-security-labels",    "--no-tablespaces"};
    size_t count = sizeof always / sizeof *always;
    const char **options = arena_zeroed(&grow->apply->arena, count + more_count + 1, sizeof *options);
    if (!options)
        return error_memory(error);
    memcpy(options, always, sizeof always);
    memcpy(options + count, more, more_count * sizeof *more);
    return pq_dump(grow->apply->model->shards[grow->home].conninfo, options, GROW_STEP_MS, NULL, text, error);
}

/* Sequences of defaults that no table owns come with the tables: pg_dump --table takes them, too. */
static bool needs_sequence(const struct column_facts *column)
{
    return column->sequence.name && !column->identity && !column->sequence.is_owned;
}

static mosaic_status dump_tables(struct grow *grow, const char *section, struct buffer *text, mosaic_error *error)
{
    const char **options = arena_zeroed(&grow->apply->arena, 1 + 2 * grow->pattern_count, sizeof *options);
    size_t count = 0;
    if (!options)
        return error_memory(error);
    options[count++] = section;
    for (size_t i = 0; i < grow->pattern_count; i++) {
        options[count++] = "--table";
        options[count++] = grow->patterns[i];
    }
    return dump(grow, options, count, text, error);
}

/* Into others: made where they are missing, as what is no table. */
static mosaic_status dump_sequences(struct grow *grow, mosaic_error *error)
{
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < grow->table_count; i++)
        for (size_t c = 0; c < grow->tables[i].facts->column_count && status == MOSAIC_OK; c++) {
            const struct column_facts *column = &grow->tables[i].facts->columns[c];
            const char *const options[] = {"--section=pre-data", "--table", column->sequence.name};
            struct buffer text = BUFFER_INIT(GROW_SQL_MOST);
            if (!needs_sequence(column))
                continue;
            status = dump(grow, options, 3, &text, error);
            struct script script = dump_script(buffer_string(&text));
            buffer_add(&grow->others, script.text, script.size);
            buffer_free(&text);
        }
    return status;
}

mosaic_status grow_dump(struct grow *grow, mosaic_error *error)
{
    static const char *const others[] = {"--section=pre-data", "--exclude-table=*.*", "--exclude-schema=mosaic"};
    struct buffer text = BUFFER_INIT(GROW_SQL_MOST);
    mosaic_status status = find_patterns(grow, error);
    if (status == MOSAIC_OK)
        status = dump(grow, others, 3, &text, error);
    struct script script = dump_script(buffer_string(&text));
    buffer_add(&grow->others, script.text, script.size);
    buffer_free(&text);
    if (status == MOSAIC_OK)
        status = dump_sequences(grow, error);
    if (status == MOSAIC_OK)
        status = dump_tables(grow, "--section=pre-data", &grow->before, error);
    if (status == MOSAIC_OK)
        status = dump_tables(grow, "--section=post-data", &grow->behind, error);
    if (status == MOSAIC_OK && buffer_failed(&grow->others))
        status = error_memory(error);
    return status;
}

/* ---- what is no table ---- */

/*
 * An entry of the dump: what follows a header "-- Name: f(integer); Type: FUNCTION; Schema: public; Owner: …".
 * The name of a grant's entry is "FUNCTION f(integer)": kind and name of what it is about.
 */
struct entry {
    const char *key;  /* "public FUNCTION f(integer)"; of a grant or comment, of what it is about; NULL: no header */
    const char *name; /* without the schema */
    bool is_further;  /* a grant or comment */
    bool is_left_out;
    const char *sql;
    bool failed, made; /* on one shard */
};

struct entries {
    struct arena arena;
    struct entry *list;
    size_t count, capacity;
};

static const char *cut(struct arena *arena, const char *from, const char *to)
{
    return to && to > from ? arena_copy(arena, from, (size_t)(to - from)) : arena_string(arena, "");
}

/* Reads the last header between two statements. False: there is none; or memory is out, which sql shows. */
static bool read_header(struct entries *entries, const char *gap, size_t size, struct entry *entry)
{
    static const char begin[] = "\n-- Name: ";
    char *text = arena_copy(&entries->arena, gap, size), *at = NULL;
    for (char *next = text; next && (next = strstr(next, begin)); next++)
        at = next;
    if (!at)
        return false;
    at += sizeof begin - 1;
    at[strcspn(at, "\n")] = '\0';
    const char *type = strstr(at, "; Type: "), *schema = type ? strstr(type, "; Schema: ") : NULL;
    const char *owner = schema ? strstr(schema, "; Owner: ") : NULL;
    if (!owner)
        return false;
    const char *name = cut(&entries->arena, at, type), *kind = cut(&entries->arena, type + 8, schema);
    const char *in = cut(&entries->arena, schema + 10, owner);
    if (!name || !kind || !in)
        return false;
    entry->is_further = strcmp(kind, "ACL") == 0 || strcmp(kind, "COMMENT") == 0;
    entry->is_left_out = strcmp(kind, "DEFAULT ACL") == 0 || strcmp(kind, "EVENT TRIGGER") == 0;
    if (strcmp(kind, "DOMAIN") == 0 || strcmp(kind, "SHELL TYPE") == 0)
        kind = "TYPE";
    if (strcmp(kind, "AGGREGATE") == 0)
        kind = "FUNCTION";
    entry->name = entry->is_further ? name : arena_format(&entries->arena, "%s %s", kind, name);
    entry->key = arena_format(&entries->arena, "%s %s", in, entry->name);
    return entry->key != NULL;
}

static struct entry *new_entry(struct entries *entries)
{
    if (entries->count == entries->capacity) {
        size_t capacity = entries->capacity ? 2 * entries->capacity : 64;
        struct entry *more = arena_zeroed(&entries->arena, capacity, sizeof *more);
        if (!more || capacity > 2 * ENTRIES_MOST)
            return NULL;
        if (entries->count)
            memcpy(more, entries->list, entries->count * sizeof *more);
        entries->list = more;
        entries->capacity = capacity;
    }
    struct entry *entry = &entries->list[entries->count++];
    *entry = (struct entry){.sql = "", .name = ""};
    return entry;
}

static mosaic_status read_entries(struct entries *entries, const struct buffer *dumped, mosaic_error *error)
{
    const char *text = buffer_string(dumped), *end = text;
    struct script script = script_start(text, dumped->size);
    struct statement statement;
    mosaic_status status;
    struct entry *entry = NULL;
    while ((status = script_next(&script, &statement, error)) == MOSAIC_OK && statement.size) {
        struct entry header = {0};
        if (read_header(entries, end, (size_t)(statement.text - end), &header) || !entry) {
            entry = new_entry(entries);
            if (!entry)
                return error_memory(error);
            header.sql = "";
            *entry = header;
        }
        entry->sql = arena_format(&entries->arena, "%s%.*s; ", entry->sql, (int)statement.size, statement.text);
        if (!entry->sql)
            return error_memory(error);
        end = statement.text + statement.size;
    }
    return status;
}

/* Runs an entry behind a savepoint. *done is false when the server refused it. */
static mosaic_status attempt(struct grow *grow, size_t shard, struct entry *entry, bool *there)
{
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
    struct apply_shard *at = &grow->apply->shards[shard];
    buffer_format(&sql, "SAVEPOINT grow; %sRELEASE grow", entry->sql);
    mosaic_status status = grow_run_buffer(grow, shard, &sql, GROW_STEP_MS, NULL);
    entry->made = status == MOSAIC_OK;
    entry->failed = *there = false;
    if (status == MOSAIC_OK || PQtransactionStatus(at->connection) != PQTRANS_INERROR)
        return status;
    /* duplicate_object, duplicate_function, duplicate_schema, duplicate_table */
    static const char *const duplicates[] = {"42710", "42723", "42P06", "42P07"};
    for (size_t i = 0; i < sizeof duplicates / sizeof *duplicates; i++)
        *there |= strcmp(at->error.sqlstate, duplicates[i]) == 0;
    entry->failed = !*there;
    return grow_run(grow, shard, "ROLLBACK TO grow; RELEASE grow", GROW_STEP_MS, NULL);
}

static bool was_made(const struct entries *entries, const struct entry *about)
{
    for (const struct entry *entry = entries->list; entry < about; entry++)
        if (entry->made && !entry->is_further && entry->key && strcmp(entry->key, about->key) == 0)
            return true;
    return false;
}

/* Again: what has failed before there were tables. */
static mosaic_status make_others(struct grow *grow, size_t shard, struct entries *entries, bool again)
{
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < entries->count && status == MOSAIC_OK; i++) {
        struct entry *entry = &entries->list[i];
        bool there, of_schema = entry->is_further && strncmp(entry->name, "SCHEMA ", 7) == 0;
        if (entry->is_left_out || (again && !entry->failed && !(entry->is_further && !entry->made)))
            continue;
        if (entry->is_further && !of_schema && !was_made(entries, entry))
            continue;
        status = attempt(grow, shard, entry, &there);
    }
    return status;
}

static void say_failed(struct grow *grow, size_t shard, const struct entries *entries)
{
    char names[512] = "";
    size_t failed = 0;
    for (size_t i = 0; i < entries->count; i++) {
        size_t used = strlen(names);
        if (entries->list[i].failed && !entries->list[i].is_further && failed++ < SAID_MOST)
            snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", entries->list[i].name);
    }
    if (failed)
        grow_say(grow->apply, "warning: %zu definition%s of the home shard could not be made on %s: %s%s", failed,
                 failed == 1 ? "" : "s", grow->apply->model->shards[shard].name, names, failed > SAID_MOST ? " …" : "");
}

/* ---- the tables ---- */

/* The dump's statements, as one text: each is the server's to check. */
static mosaic_status run_dump(struct grow *grow, size_t shard, const struct buffer *dumped, int timeout_ms)
{
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
    struct script script = dump_script(buffer_string(dumped));
    buffer_add(&sql, script.text, script.size);
    return grow_run_buffer(grow, shard, &sql, timeout_ms, NULL);
}

static const char settings[] = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;"
                               " SET LOCAL row_security = off; ";
/* What the dump has set goes; what apply's sessions have (apply_connect) stays. */
#define RESET_ALL "RESET ALL; " PQ_DURABLE "; "

/* What an apply that was cut off has made of a table goes, and nothing else: who has made one of his own meanwhile is
 * told so when it is to be created. */
static mosaic_status begin(struct grow *grow, size_t shard)
{
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
    struct grow_drop drop = GROW_DROP_INIT;
    buffer_format(&sql, "BEGIN; %s", settings);
    for (size_t i = 0; i < grow->table_count; i++) {
        const struct table *table = grow->tables[i].table;
        if (facts_arrival(&grow->apply->shards[shard].facts, table->schema, table->name))
            grow_drop_add(&drop, table->schema, table->name);
    }
    grow_drop_end(&sql, &drop);
    for (size_t i = 0; i < grow->table_count; i++) {
        const struct table *table = grow->tables[i].table;
        buffer_text(&sql, "INSERT INTO mosaic.arrival (schema_name, table_name) VALUES (");
        sql_literal(&sql, table->schema, strlen(table->schema));
        buffer_text(&sql, ", ");
        sql_literal(&sql, table->name, strlen(table->name));
        buffer_text(&sql, ") ON CONFLICT DO NOTHING; ");
        if (table->kind == TABLE_SHARDED)
            sql_support_functions(&sql, &table->rule);
    }
    return grow_run_buffer(grow, shard, &sql, GROW_STEP_MS, NULL);
}

/* The tables are empty: every row that comes is checked. */
static mosaic_status guard(struct grow *grow, size_t shard)
{
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
    buffer_format(&sql, RESET_ALL "%s%s; ", settings, checksum_settings);
    for (size_t i = 0; i < grow->table_count; i++) {
        const struct growing *growing = &grow->tables[i];
        if (!growing->owners)
            continue;
        buffer_text(&sql, "ALTER TABLE ");
        grow_add_name(&sql, growing->table);
        buffer_text(&sql, " DROP CONSTRAINT IF EXISTS " OWNER_CONSTRAINT "; ");
        steps_add_owner(&sql, growing->owners[shard]);
        buffer_text(&sql, "ALTER TABLE ");
        grow_add_name(&sql, growing->table);
        buffer_text(&sql, " VALIDATE CONSTRAINT " OWNER_CONSTRAINT "; ");
    }
    return grow_run_buffer(grow, shard, &sql, GROW_STEP_MS, NULL);
}

mosaic_status grow_make(struct grow *grow, size_t shard)
{
    struct entries entries = {.arena = ARENA_INIT};
    mosaic_status status = read_entries(&entries, &grow->others, &grow->apply->shards[shard].error);
    if (status == MOSAIC_OK)
        status = begin(grow, shard);
    if (status == MOSAIC_OK)
        status = make_others(grow, shard, &entries, false);
    if (status == MOSAIC_OK)
        status = run_dump(grow, shard, &grow->before, GROW_STEP_MS);
    if (status == MOSAIC_OK)
        status = make_others(grow, shard, &entries, true);
    if (status == MOSAIC_OK)
        status = guard(grow, shard);
    if (status == MOSAIC_OK)
        say_failed(grow, shard, &entries);
    arena_free(&entries.arena);
    return status;
}

mosaic_status grow_finish(struct grow *grow, size_t shard)
{
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
    mosaic_status status = run_dump(grow, shard, &grow->behind, PQ_SCAN_MS); /* all its indexes */
    buffer_format(&sql, RESET_ALL "%s%s", settings, checksum_settings);
    if (status == MOSAIC_OK)
        status = grow_run_buffer(grow, shard, &sql, GROW_STEP_MS, NULL);
    buffer_free(&sql);
    return status;
}
