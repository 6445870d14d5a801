/*
 * What one server tells of itself alone: sizes, files and counters of a relation. Asked of a sharded table, the home
 * shard would answer with its part, and nobody would see that it is one. So such a function is asked of a relation that
 * is known to be whole on the home shard, and of nothing else.
 */
#include "sql/ddl.h"

#include <ctype.h>

static const char hint[] = "Name the shard: SET mosaic.shard = '…'; or ask every one: pgmosaic exec --all 'SELECT …'.";

/* Functions of a relation, the first argument. */
static const char *const of_relation[] = {
    "brin_desummarize_range",
    "brin_summarize_new_values",
    "brin_summarize_range",
    "gin_clean_pending_list",
    "pg_indexes_size",
    "pg_relation_filenode",
    "pg_relation_filepath",
    "pg_relation_size",
    "pg_stat_get_analyze_count",
    "pg_stat_get_autoanalyze_count",
    "pg_stat_get_autovacuum_count",
    "pg_stat_get_blocks_fetched",
    "pg_stat_get_blocks_hit",
    "pg_stat_get_dead_tuples",
    "pg_stat_get_ins_since_vacuum",
    "pg_stat_get_last_analyze_time",
    "pg_stat_get_last_autoanalyze_time",
    "pg_stat_get_last_autovacuum_time",
    "pg_stat_get_last_vacuum_time",
    "pg_stat_get_live_tuples",
    "pg_stat_get_mod_since_analyze",
    "pg_stat_get_numscans",
    "pg_stat_get_tuples_deleted",
    "pg_stat_get_tuples_fetched",
    "pg_stat_get_tuples_hot_updated",
    "pg_stat_get_tuples_inserted",
    "pg_stat_get_tuples_returned",
    "pg_stat_get_tuples_updated",
    "pg_stat_get_vacuum_count",
    "pg_stat_get_xact_blocks_fetched",
    "pg_stat_get_xact_blocks_hit",
    "pg_stat_get_xact_numscans",
    "pg_stat_get_xact_tuples_deleted",
    "pg_stat_get_xact_tuples_fetched",
    "pg_stat_get_xact_tuples_hot_updated",
    "pg_stat_get_xact_tuples_inserted",
    "pg_stat_get_xact_tuples_returned",
    "pg_stat_get_xact_tuples_updated",
    "pg_stat_reset_single_table_counters",
    "pg_table_size",
    "pg_total_relation_size",
};

/* Views of all relations that are made of those functions; the ones of system tables alone are the home shard's. */
static const char *const views[] = {
    "pg_stat_all_indexes",     "pg_stat_all_tables",       "pg_stat_user_indexes",     "pg_stat_user_tables",
    "pg_stat_xact_all_tables", "pg_stat_xact_user_tables", "pg_statio_all_indexes",    "pg_statio_all_sequences",
    "pg_statio_all_tables",    "pg_statio_user_indexes",   "pg_statio_user_sequences", "pg_statio_user_tables",
};

static bool has_sharded_tables(const struct analysis *analysis)
{
    const struct model *model = analysis->schema->model;
    for (size_t i = 0; model && i < model->table_count; i++)
        if (model->tables[i].kind == TABLE_SHARDED)
            return true;
    return false;
}

/* The same of a name in quotes. */
static bool read_quoted(const char **text, char *name, size_t size)
{
    size_t used = 0;
    for (++*text; **text && (**text != '"' || (*text)[1] == '"'); ++*text) {
        *text += **text == '"';
        if (used + 1 == size)
            return false;
        name[used++] = **text;
    }
    name[used] = '\0';
    return used && *(*text)++ == '"';
}

/* Moves behind a name, which without quotes comes in lower case into `name`; false: it is none. */
static bool read_name(const char **text, char *name, size_t size)
{
    size_t used = 0;
    if (**text == '"')
        return read_quoted(text, name, size);
    for (; isalnum((unsigned char)**text) || **text == '_'; ++*text) {
        if (used + 1 == size || (!used && isdigit((unsigned char)**text)))
            return false;
        name[used++] = (char)tolower((unsigned char)**text);
    }
    name[used] = '\0';
    return used;
}

/* The relation that a literal names, as regclass reads it; NULL where that is not sure. */
static const struct schema_relation *named_by(struct analysis *analysis, Node *node)
{
    char first[64], second[64];
    while (node && IsA(node, TypeCast))
        node = ((TypeCast *)node)->arg;
    if (!node || !IsA(node, A_Const) || ((A_Const *)node)->isnull || !IsA(&((A_Const *)node)->val, String))
        return NULL;
    analysis->facts->text_bound = true;
    const char *text = ((A_Const *)node)->val.sval.sval;
    RangeVar name = {.type = T_RangeVar, .relname = first, .location = -1};
    if (!read_name(&text, first, sizeof first))
        return NULL;
    if (*text == '.') {
        text++;
        if (!read_name(&text, second, sizeof second))
            return NULL;
        name.schemaname = first, name.relname = second;
    }
    bool temporary;
    return *text ? NULL : name_relation(analysis, &name, &temporary);
}

/* Its next numbers would be another shard's, too. */
static void check_setval(struct analysis *analysis, const FuncCall *call)
{
    Node *argument = call->args ? linitial(call->args) : NULL;
    while (argument && IsA(argument, TypeCast))
        argument = ((TypeCast *)argument)->arg;
    const FuncCall *inner = argument && IsA(argument, FuncCall) ? (const FuncCall *)argument : NULL;
    bool serial = inner && strcmp(strVal(llast(inner->funcname)), "pg_get_serial_sequence") == 0 && inner->args;
    const struct schema_relation *relation = named_by(analysis, serial ? linitial(inner->args) : argument);
    const struct table *table = !relation               ? NULL
                                : relation->kind == 'S' ? ddl_sequence_table(analysis, relation)
                                                        : relation->table;
    if (table && table->kind == TABLE_SHARDED)
        analysis_refuse(
            analysis, call->location,
            analysis_text(analysis, "setval of a sequence of %s, which every shard has for itself", table->display),
            NULL, "pgmosaic apply sees to it that the shards give different values, behind those there are.");
}

static void refuse_function(struct analysis *analysis, const FuncCall *call, const char *name, const char *of)
{
    analysis_refuse(analysis, call->location, analysis_text(analysis, "%s would tell of %s", name, of),
                    "It looks at one server's files and counters, and each shard has its own.", hint);
}

void part_function(struct analysis *analysis, const FuncCall *call, const char *name)
{
    if (strcmp(name, "lastval") == 0 || strcmp(name, "currval") == 0)
        analysis_refuse(analysis, call->location, analysis_text(analysis, "%s tells what a session did before", name),
                        "A session's statements run on many connections, which other sessions use too.",
                        "Take the value from INSERT … RETURNING, or from nextval itself.");
    if (strcmp(name, "setval") == 0)
        check_setval(analysis, call);
    if (strcmp(name, "pg_database_size") == 0 && has_sharded_tables(analysis))
        refuse_function(analysis, call, name, "the home shard's database alone");
    if (!NAME_IS_ONE_OF(name, of_relation))
        return;
    const struct schema_relation *relation = named_by(analysis, call->args ? linitial(call->args) : NULL);
    if (relation && relation->placement == PLACE_SHARDED)
        refuse_function(analysis, call, name,
                        analysis_text(analysis, "one shard's part of %s", relation->table->display));
    if (!relation && has_sharded_tables(analysis))
        refuse_function(analysis, call, name, "one shard's part, where it is asked of a sharded table");
}

void part_relation(struct analysis *analysis, const struct schema_relation *relation, int location)
{
    if (relation->placement == PLACE_SYSTEM && strncmp(relation->name, "pg_stat", 7) == 0 &&
        NAME_IS_ONE_OF(relation->name, views) && has_sharded_tables(analysis))
        analysis_refuse(
            analysis, location,
            analysis_text(analysis, "%s would tell of one shard's part of each sharded table", relation->name),
            "It looks at one server's counters, and each shard has its own.", hint);
}
