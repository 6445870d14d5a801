/*
 * How long planning takes, on one core: a text seen before, a new text of a known shape, a new shape, each with its
 * plan; and an INSERT of 1,000 rows that is split. Best of several rounds; the bars are of the issue.
 */
#include "plan/cache.h"

#include "../tests/unit/plan/world.h"

#include <time.h>

enum { TEXTS = 4096, BEST_OF = 9 };

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static char texts[TEXTS][160];
static size_t sizes[TEXTS];

struct bench {
    struct world world;
    struct plan_cache *cache;
    struct arena arena;
    uint64_t id;
};

static void run_all(struct bench *bench)
{
    for (size_t i = 0; i < TEXTS; i++) {
        struct plan_cached found;
        struct plan plan;
        mosaic_error error;
        if (plan_cache_find(bench->cache, &bench->world.context, bench->id, texts[i], sizes[i], 0, &found, &error) !=
            MOSAIC_OK)
            abort();
        struct plan_input input = {
            .schema = &bench->world.schema, .literals = found.literals, .literal_count = found.literal_count};
        if (plan_make(&found.list->facts[0], &input, &bench->arena, &plan, &error) != MOSAIC_OK ||
            plan.kind == PLAN_REFUSED)
            abort();
    }
}

enum mode { SAME_TEXT, NEW_TEXT, NEW_SHAPE };

static void fill(enum mode mode, const char *const *format, unsigned round)
{
    for (unsigned i = 0; i < TEXTS; i++) {
        unsigned number = mode == SAME_TEXT ? i % 16 : round * TEXTS + i;
        char column[16] = "v";
        if (mode == NEW_SHAPE)
            snprintf(column, sizeof column, "v%u", number);
        sizes[i] = (size_t)snprintf(texts[i], sizeof texts[i], *format, column, number);
    }
}

static void measure(struct bench *bench, enum mode mode, const char *name, const char *format, int bar)
{
    double best = 1e9;
    for (unsigned round = 0; round < BEST_OF; round++) {
        fill(mode, &format, round);
        if (mode == NEW_SHAPE)
            plan_cache_clear(bench->cache);
        double before = seconds();
        run_all(bench);
        double each = (seconds() - before) / TEXTS;
        best = each < best && (round || mode == NEW_SHAPE) ? each : best;
    }
    printf("%s %.0f ns <=%d\n", name, best * 1e9, bar);
}

/* ---- rows ---- */

enum { ROWS = 1000, ROW_BYTES = 64, SPLITS = 50 };

static char rows_text[ROWS * ROW_BYTES + 200];
static char digits[2 * ROWS][12];
static struct plan_value rows_values[2 * ROWS];

static size_t fill_rows(bool parameters, unsigned round)
{
    size_t size = (size_t)sprintf(rows_text, "INSERT INTO t (id, v, name) VALUES ");
    for (unsigned i = 0; i < ROWS; i++) {
        sprintf(digits[2 * i], "%u", round * ROWS + i);
        sprintf(digits[2 * i + 1], "%u", i % 7);
        if (parameters)
            size +=
                (size_t)sprintf(rows_text + size, "%s($%u, $%u, 'name %u')", i ? ", " : "", 2 * i + 1, 2 * i + 2, i);
        else
            size += (size_t)sprintf(rows_text + size, "%s(%s, %s, 'name %u')", i ? ", " : "", digits[2 * i],
                                    digits[2 * i + 1], round + i);
        for (unsigned k = 2 * i; k < 2 * i + 2; k++)
            rows_values[k] = (struct plan_value){digits[k], (int32_t)strlen(digits[k]), 0, 0};
    }
    return size + (size_t)sprintf(rows_text + size, " ON CONFLICT (id) DO UPDATE SET v = excluded.v");
}

static void split(struct bench *bench, const char *name, bool parameters, int bar)
{
    double best = 1e9, whole = 1e9;
    for (unsigned round = 0; round < SPLITS; round++) {
        size_t size = fill_rows(parameters, round);
        struct plan_cached found;
        struct plan plan;
        mosaic_error error;
        double before = seconds();
        if (plan_cache_find(bench->cache, &bench->world.context, bench->id, rows_text, size, 0, &found, &error) !=
            MOSAIC_OK)
            abort();
        struct plan_input input = {.schema = &bench->world.schema,
                                   .literals = found.literals,
                                   .literal_count = found.literal_count,
                                   .parameters = rows_values,
                                   .parameter_count = parameters ? 2 * ROWS : 0,
                                   .has_writes = true,
                                   .text = rows_text,
                                   .size = size};
        double between = seconds();
        if (plan_make(&found.list->facts[0], &input, &bench->arena, &plan, &error) != MOSAIC_OK ||
            plan.kind != PLAN_WRITE)
            abort();
        double after = seconds();
        arena_reset(&bench->arena);
        best = after - between < best ? after - between : best;
        whole = after - before < whole ? after - before : whole;
    }
    printf("%s %.0f ns <=%d\n%s_with_facts %.0f ns <=%d\n", name, best * 1e9, bar, name, whole * 1e9, 2 * bar);
}

int main(void)
{
    static struct bench bench;
    world_open(&bench.world);
    bench.cache = plan_cache_new((size_t)64 << 20, 42);
    bench.id = plan_cache_context(&bench.world.context, 42);
    static const struct {
        const char *text, *shape, *new_shape, *format;
    } statements[] = {
#define NAMES(name) "plan_" name "_by_text", "plan_" name "_by_shape", "plan_" name "_new_shape"
        {NAMES("select"), "SELECT abalance AS %s FROM t WHERE id = %u"},
        {NAMES("insert"), "INSERT INTO t (v /* %s */, id) VALUES (7, %u)"},
        {NAMES("update"), "UPDATE t SET v = v + 1 /* %s */ WHERE id = %u"},
        {NAMES("delete"), "DELETE FROM t /* %s */ WHERE id = %u"},
        {NAMES("join"), "SELECT u.w AS %s FROM t JOIN u ON u.tid = t.id WHERE t.id = %u ORDER BY 1 LIMIT 10"},
    };
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        measure(&bench, SAME_TEXT, statements[i].text, statements[i].format, 300);
        measure(&bench, NEW_TEXT, statements[i].shape, statements[i].format, 4000);
        measure(&bench, NEW_SHAPE, statements[i].new_shape, statements[i].format, 15000);
    }
    split(&bench, "split_1000_rows", false, 1000000);
    split(&bench, "split_1000_rows_of_parameters", true, 1000000);
    plan_cache_free(bench.cache);
    arena_free(&bench.arena);
    world_close(&bench.world);
    return 0;
}
