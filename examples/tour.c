#include "tour.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIMEOUT_MS = 60000 };

void tour_open(struct tour *tour)
{
    mosaic_error error;
    const char *config = getenv("PGMOSAIC_CONFIG");
    mosaic_options options = {.connect_timeout_ms = 3000, .application_name = "pgmosaic example"};
    if (mosaic_open(config ? config : "mosaic.yaml", &options, &tour->cluster, &error) != MOSAIC_OK)
        story_fail("opening the cluster", &error);
    tour->shards = mosaic_shard_count(tour->cluster);
    if (tour->shards > SHARDS_SHOWN) {
        fprintf(stderr, "this example shows at most %d shards, the cluster has %zu\n", SHARDS_SHOWN, tour->shards);
        exit(1);
    }
}

void tour_close(struct tour *tour)
{
    free(tour->next_owner);
    mosaic_close(tour->cluster);
}

/* The first value that a statement answers on one shard, as text. */
static void ask_text(struct tour *tour, size_t shard, const char *sql, char *text, size_t size)
{
    mosaic_error error;
    PGresult *result;
    if (mosaic_exec_shard(tour->cluster, shard, &(mosaic_statement){.sql = sql}, TIMEOUT_MS, &result, &error) !=
        MOSAIC_OK)
        story_fail("asking a server", &error);
    snprintf(text, size, "%s", PQntuples(result) ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
}

void tour_show_servers(struct tour *tour)
{
    char about[256];
    for (size_t shard = 0; shard < tour->shards; shard++) {
        ask_text(tour, shard,
                 "SELECT format('PostgreSQL %s   port %s   data in %s', split_part(current_setting('server_version'), "
                 "' ', 1),"
                 " current_setting('port'), current_setting('data_directory'))",
                 about, sizeof about);
        story_line("%-4s %s", mosaic_shard_name(tour->cluster, shard), about);
    }
    char sql[256];
    snprintf(sql, sizeof sql,
             "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)"
             " FROM pg_attribute WHERE attrelid = '%s'::regclass AND attnum > 0 AND NOT attisdropped",
             tour->table);
    char columns[256];
    ask_text(tour, 0, sql, columns, sizeof columns);
    story_line("each with a table %s (%s)", tour->table, columns);
}

/* ---- loading -------------------------------------------------------------------------------------------- */

static ptrdiff_t read_file(void *context, void *buffer, size_t size)
{
    FILE *file = context;
    size_t got = fread(buffer, 1, size, file);
    return ferror(file) ? -1 : (ptrdiff_t)got;
}

void tour_load(struct tour *tour, tour_generator generate, void *context)
{
    mosaic_error error;
    mosaic_progress done;
    const char *path = tour->file;
    FILE *file = NULL;
    if (path && !(file = fopen(path, "r"))) {
        perror(path);
        exit(1);
    }
    double started = story_seconds();
    mosaic_load load = {
        .read = file ? read_file : generate, .context = file ? file : context, .source = path, .replace = true};
    if (mosaic_load_table(tour->cluster, tour->table, &load, &done, &error) != MOSAIC_OK)
        story_fail("loading", &error);
    story_line("%s rows of %s%s%s loaded onto %zu servers in %.1f s, all or nothing", story_count(done.rows),
               tour->table, file ? " from " : "", file ? path : "", tour->shards, story_seconds() - started);
    if (file)
        fclose(file);
}

/* ---- all shards at once ----------------------------------------------------------------------------------- */

static bool note_size(void *context, size_t shard, const PGresult *result, int row)
{
    struct tour *tour = context;
    tour->rows[shard] = strtoull(PQgetvalue(result, row, 0), NULL, 10);
    tour->bytes[shard] = strtoull(PQgetvalue(result, row, 1), NULL, 10);
    return false;
}

void tour_show_shards(struct tour *tour)
{
    mosaic_error error;
    char sql[256];
    snprintf(sql, sizeof sql, "SELECT count(*), pg_total_relation_size('%s') FROM %s", tour->table, tour->table);
    mosaic_scatter scatter = {.row = note_size, .context = tour};
    if (mosaic_exec_all(tour->cluster, &(mosaic_statement){.sql = sql}, &scatter, &error) != MOSAIC_OK)
        story_fail("counting", &error);
    uint64_t most = 0;
    tour->total = 0;
    for (size_t shard = 0; shard < tour->shards; shard++) {
        tour->total += tour->rows[shard];
        if (tour->rows[shard] > most) {
            most = tour->rows[shard];
            tour->some = shard;
        }
    }
    for (size_t shard = 0; shard < tour->shards; shard++)
        story_bar(mosaic_shard_name(tour->cluster, shard), tour->rows[shard], most, tour->bytes[shard]);
}

static bool note_key(void *context, size_t shard, const PGresult *result, int row)
{
    struct tour *tour = context;
    const char *key = PQgetvalue(result, row, 0);
    mosaic_place place;
    mosaic_error error;
    if (mosaic_locate(tour->cluster, tour->table, mosaic_key_text(key), &place, &error) != MOSAIC_OK)
        story_fail("locating", &error);
    snprintf(tour->example[shard], sizeof tour->example[shard], "%s", key);
    tour->moved_buckets += tour->next_owner[place.bucket] != place.shard;
    if (tour->note)
        tour->note(tour, key, shard);
    return false;
}

size_t tour_dealt_buckets(struct tour *tour)
{
    mosaic_error error;
    mosaic_place place;
    size_t buckets;
    if (mosaic_plan_shards(tour->cluster, tour->table, tour->shards, NULL, 0, &buckets, &error) != MOSAIC_OK)
        story_fail("reading the map", &error);
    for (size_t id = 0; id < buckets; id++) {
        if (mosaic_locate(tour->cluster, tour->table, mosaic_key_int64((int64_t)id), &place, &error) != MOSAIC_OK)
            story_fail("locating", &error);
        if (place.shard != id % tour->shards)
            return buckets;
    }
    return 0;
}

void tour_read_keys(struct tour *tour)
{
    mosaic_error error;
    size_t buckets, one_more = tour->shards + 1;
    if (mosaic_plan_shards(tour->cluster, tour->table, one_more, NULL, 0, &buckets, &error) != MOSAIC_OK)
        story_fail("planning one more shard", &error);
    tour->next_owner = calloc(buckets, sizeof *tour->next_owner);
    if (!tour->next_owner || mosaic_plan_shards(tour->cluster, tour->table, one_more, tour->next_owner, buckets,
                                                &buckets, &error) != MOSAIC_OK)
        story_fail("planning one more shard", &error);
    char sql[256];
    snprintf(sql, sizeof sql, "SELECT %s FROM %s", tour->key, tour->table);
    mosaic_scatter scatter = {.row = note_key, .context = tour};
    if (mosaic_exec_all(tour->cluster, &(mosaic_statement){.sql = sql}, &scatter, &error) != MOSAIC_OK)
        story_fail("reading all keys", &error);
}

struct sum {
    uint64_t rows;
    size_t answers;
};

static bool add_up(void *context, size_t shard, const PGresult *result, int row)
{
    struct sum *sum = context;
    (void)shard;
    sum->rows += strtoull(PQgetvalue(result, row, 0), NULL, 10);
    sum->answers++;
    return false;
}

static mosaic_status count_all(struct tour *tour, struct sum *sum, mosaic_error *error)
{
    char sql[128];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", tour->table);
    mosaic_scatter scatter = {.row = add_up, .context = sum};
    *sum = (struct sum){0};
    return mosaic_exec_all(tour->cluster, &(mosaic_statement){.sql = sql}, &scatter, error);
}

struct newest {
    const mosaic_cluster *cluster;
    int printed;
};

static bool print_newest(void *context, size_t shard, const PGresult *result, int row)
{
    struct newest *newest = context;
    story_column(newest->printed++, "%s  %s (%s)", PQgetvalue(result, row, 2), PQgetvalue(result, row, 1),
                 mosaic_shard_name(newest->cluster, shard));
    return false;
}

void tour_ask_all(struct tour *tour)
{
    mosaic_error error;
    struct sum sum;
    if (count_all(tour, &sum, &error) != MOSAIC_OK)
        story_fail("counting", &error);
    story_line("count(*) = %s, the sum of %zu answers; the ten newest, merged from %zu ordered streams:",
               story_count(sum.rows), sum.answers, tour->shards);
    char sql[512];
    snprintf(sql, sizeof sql,
             "SELECT %s, %s::text COLLATE \"C\" AS key, to_char(%s AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')"
             " FROM %s ORDER BY 1 DESC NULLS LAST, 2 DESC LIMIT 10",
             tour->newest, tour->key, tour->newest, tour->table);
    struct newest newest = {.cluster = tour->cluster};
    mosaic_scatter scatter = {
        .row = print_newest,
        .context = &newest,
        .order = (mosaic_order[]){{.column = 0, .descending = true, .nulls = MOSAIC_NULLS_LAST},
                                  {.column = 1, .descending = true}},
        .order_count = 2,
        .limit = 10,
    };
    if (mosaic_exec_all(tour->cluster, &(mosaic_statement){.sql = sql}, &scatter, &error) != MOSAIC_OK)
        story_fail("asking for the newest", &error);
    story_column(-1, "%s", "");
}

/* ---- one row: one server asked ---------------------------------------------------------------------------- */

static mosaic_status find(struct tour *tour, const char *key, char *text, size_t size, mosaic_error *error)
{
    char sql[256];
    snprintf(sql, sizeof sql, "SELECT %s FROM %s WHERE %s = $1", tour->shown, tour->table, tour->key);
    mosaic_statement select = {.sql = sql, .count = 1, .values = (const char *[]){key}};
    PGresult *result;
    mosaic_status status =
        mosaic_exec(tour->cluster, tour->table, mosaic_key_text(key), &select, TIMEOUT_MS, &result, error);
    if (status != MOSAIC_OK)
        return status;
    snprintf(text, size, "%s", PQntuples(result) == 1 ? PQgetvalue(result, 0, 0) : "no such row");
    PQclear(result);
    return MOSAIC_OK;
}

void tour_look_up(struct tour *tour, const char *key)
{
    mosaic_error error;
    mosaic_place place;
    char row[256];
    if (mosaic_locate(tour->cluster, tour->table, mosaic_key_text(key), &place, &error) != MOSAIC_OK ||
        find(tour, key, row, sizeof row, &error) != MOSAIC_OK)
        story_fail("looking one row up", &error);
    story_line("%s %s  →  bucket %u  →  shard %s, the only server asked:  %s", tour->key, key, place.bucket,
               mosaic_shard_name(tour->cluster, place.shard), row);
}

/* ---- what goes wrong -------------------------------------------------------------------------------------- */

void tour_write_to_wrong_shard(struct tour *tour)
{
    const char *key = tour->example[tour->some];
    size_t wrong = (tour->some + 1) % tour->shards;
    mosaic_error error;
    char sql[256];
    snprintf(sql, sizeof sql, "INSERT INTO %s (%s) VALUES ($1)", tour->table, tour->key);
    mosaic_statement insert = {.sql = sql, .count = 1, .values = &key};
    PGresult *result = NULL;
    mosaic_status status = mosaic_exec_shard(tour->cluster, wrong, &insert, TIMEOUT_MS, &result, &error);
    if (status == MOSAIC_OK) {
        fprintf(stderr, "a row of shard %zu was taken by shard %zu: this must not happen\n", tour->some, wrong);
        exit(1);
    }
    story_line("%s belongs to %s; an INSERT sent to %s is refused by that server itself:", key,
               mosaic_shard_name(tour->cluster, tour->some), mosaic_shard_name(tour->cluster, wrong));
    story_line("  %s: %s", error.sqlstate, error.message);
    char rule[512];
    snprintf(sql, sizeof sql,
             "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = '%s'::regclass AND conname = "
             "'mosaic_owner'",
             tour->table);
    ask_text(tour, wrong, sql, rule, sizeof rule);
    story_line("  %s's rule: %s", mosaic_shard_name(tour->cluster, wrong), rule);
}

void tour_stop_one(struct tour *tour)
{
    const char *name = mosaic_shard_name(tour->cluster, tour->some), *lab = getenv("PGDATABASE");
    const char *unlucky = tour->example[tour->some];
    mosaic_error error;
    char row[256];
    struct sum sum;
    size_t answered = 0, asked = 0;

    story_pgmosaic((const char *[]){"lab", "stop", lab, name, NULL});
    for (size_t shard = 0; shard < tour->shards; shard++)
        asked += shard != tour->some && tour->rows[shard] > 0;
    for (size_t shard = 0; shard < tour->shards; shard++)
        if (shard != tour->some && tour->rows[shard] > 0 &&
            find(tour, tour->example[shard], row, sizeof row, &error) == MOSAIC_OK)
            answered++;
    story_line("%s is stopped. Not affected: lookups on the other shards (%zu of %zu answered).", name, answered,
               asked);
    if (find(tour, unlucky, row, sizeof row, &error) != MOSAIC_OK)
        story_line("Affected: its %.0f %% of the rows: %s  →  %s",
                   100.0 * (double)tour->rows[tour->some] / (double)tour->total, unlucky, error.message);
    if (count_all(tour, &sum, &error) != MOSAIC_OK)
        story_line("          and what asks all shards: count(*)  →  an error, never a partial sum");
    story_pgmosaic((const char *[]){"lab", "start", lab, name, NULL});
    if (find(tour, unlucky, row, sizeof row, &error) != MOSAIC_OK)
        story_fail("looking up after the restart", &error);
    story_line("%s is started again: %s  →  %s", name, unlucky, row);
}

void tour_one_more_shard(struct tour *tour)
{
    double percent = 100.0 / (double)tour->total;
    story_line("plain %s mod %zu moves %s rows (%.0f %%);  whole buckets, as here, %s (%.0f %%)", tour->rule,
               tour->shards + 1, story_count(tour->moved_modulo), (double)tour->moved_modulo * percent,
               story_count(tour->moved_buckets), (double)tour->moved_buckets * percent);
}
