#include "catalog/copies.h"

#include "base/control_point.h"
#include "catalog/apply_steps.h"
#include "catalog/checksum.h"
#include "catalog/parallel.h"
#include "core/sqlexpr.h"

#include <inttypes.h>
#include <time.h>

/* A write that is under way reaches the copies one after the other: only what differs in each look is told. */
enum { LOOKS = 3, PAUSE_MS = 200, SQL_MOST = 512 * 1024 };

struct copy {
    bool counted, summed;
    int64_t rows;
    struct checksum sum;
};

struct looking {
    struct health *health;
    size_t table;
    int64_t deadline;
    struct copy *copies; /* one for each shard */
};

static bool is_small(const struct looking *looking, size_t shard)
{
    const struct table_facts *facts = &looking->health->apply->shards[shard].facts.tables[looking->table];
    return looking->copies[shard].rows <= COPIES_ROWS_MOST && facts->bytes <= COPIES_BYTES_MOST;
}

/* Of a shard that cannot say it (a column is missing, it takes too long) the count stays. */
static void sum_copy(void *context, size_t shard)
{
    struct looking *looking = context;
    struct copy *copy = &looking->copies[shard];
    struct apply_shard *of = &looking->health->apply->shards[shard];
    const struct table *table = &looking->health->model->tables[looking->table];
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    PGresult *result = NULL;
    mosaic_error ignored;
    copy->summed = false;
    if (!copy->counted || of->facts.tables[looking->table].column_count == 0)
        return;
    buffer_text(&sql, checksum_settings);
    buffer_text(&sql, "; SELECT ");
    checksum_add_sums(&sql, &of->facts.tables[looking->table]);
    buffer_text(&sql, " FROM (SELECT ");
    checksum_add_form(&sql, &of->facts.tables[looking->table]);
    buffer_text(&sql, " FROM ");
    sql_qualified(&sql, table->schema, table->name);
    buffer_text(&sql, ") x");
    if (!buffer_failed(&sql) && pq_exec(of->connection, of->facts.shard, buffer_string(&sql), looking->deadline,
                                        &result, &ignored) == MOSAIC_OK) {
        copy->sum = (struct checksum){0};
        checksum_add_up(&copy->sum, result, 0, 0);
        copy->rows = (int64_t)copy->sum.rows;
        copy->summed = true;
    }
    PQclear(result);
    buffer_free(&sql);
}

static bool equal(const struct copy *a, const struct copy *b)
{
    return a->rows == b->rows && (!a->summed || !b->summed || checksum_same(&a->sum, &b->sum));
}

/* The first copy that was counted: the others are compared with it. */
static size_t first_copy(const struct looking *looking)
{
    size_t first = 0;
    while (first < looking->health->model->shard_count && !looking->copies[first].counted)
        first++;
    return first;
}

static bool all_equal(const struct looking *looking)
{
    size_t first = first_copy(looking);
    for (size_t shard = first + 1; shard < looking->health->model->shard_count; shard++)
        if (looking->copies[shard].counted && !equal(&looking->copies[first], &looking->copies[shard]))
            return false;
    return true;
}

static void look(struct looking *looking)
{
    size_t shards = looking->health->model->shard_count;
    for (size_t shard = 0; shard < shards; shard++)
        if (looking->copies[shard].counted && !is_small(looking, shard))
            return;
    for (int i = 0; i < LOOKS; i++) {
        if (i)
            nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
        parallel_run(shards, sum_copy, looking);
        if (all_equal(looking))
            return;
        control_point("copies.differ");
    }
}

static void tell_differences(struct looking *looking)
{
    struct health *health = looking->health;
    const struct table *table = &health->model->tables[looking->table];
    size_t first = first_copy(looking);
    for (size_t shard = first + 1; shard < health->model->shard_count; shard++) {
        const struct copy *a = &looking->copies[first], *b = &looking->copies[shard];
        const char *name = health->model->shards[shard].name, *other = health->model->shards[first].name;
        if (!b->counted || equal(a, b))
            continue;
        if (a->rows != b->rows)
            finding_add(&health->problems, true, name, table->display, "make the copies equal",
                        "%" PRId64 " rows, on shard %s %" PRId64, b->rows, other, a->rows);
        else
            finding_add(&health->problems, true, name, table->display, "make the copies equal",
                        "%" PRId64 " rows as on shard %s, but with other values", b->rows, other);
    }
}

void copies_compare(struct health *health, int look_ms)
{
    size_t shards = health->model->shard_count;
    struct looking looking = {.health = health, .deadline = pq_deadline(look_ms)};
    looking.copies = arena_zeroed(&health->arena, shards, sizeof *looking.copies);
    if (!looking.copies) {
        health->problems.failed = true;
        return;
    }
    for (size_t i = 0; i < health->model->table_count; i++) {
        if (health->model->tables[i].kind != TABLE_REFERENCE)
            continue;
        looking.table = i;
        for (size_t shard = 0; shard < shards; shard++) {
            const struct health_rows *rows = health_rows(health, i, shard);
            looking.copies[shard] = (struct copy){.counted = rows->rows >= 0 && !rows->estimated, .rows = rows->rows};
        }
        look(&looking);
        tell_differences(&looking);
    }
}
