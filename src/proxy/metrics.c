#include "proxy/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum metric {
#define X(identifier, name, type, help) METRIC_##identifier,
    METRIC_LIST(X)
#undef X
};

static const struct {
    const char *name, *type, *help;
} metrics[] = {
#define X(identifier, name, type, help) {name, type, help},
    METRIC_LIST(X)
#undef X
};

static void begin(struct buffer *out, enum metric metric)
{
    buffer_format(out, "# HELP pgmosaic_%s %s\n# TYPE pgmosaic_%s %s\n", metrics[metric].name, metrics[metric].help,
                  metrics[metric].name, metrics[metric].type);
}

/* A value's labels; the first name is NULL: none. */
struct labels {
    const char *name, *value, *second, *second_value, *third, *third_value;
};

static void add_label(struct buffer *out, const char *name, const char *value)
{
    if (!name)
        return;
    if (out->size && out->data[out->size - 1] != '{')
        buffer_char(out, ',');
    buffer_format(out, "%s=\"", name);
    for (; *value; value++) {
        if (*value == '\n')
            buffer_text(out, "\\n");
        else if (*value == '"' || *value == '\\')
            buffer_format(out, "\\%c", *value);
        else
            buffer_char(out, *value);
    }
    buffer_char(out, '"');
}

static void add_name(struct buffer *out, enum metric metric, const char *suffix, const struct labels *labels)
{
    buffer_format(out, "pgmosaic_%s%s", metrics[metric].name, suffix);
    if (!labels->name)
        return;
    buffer_char(out, '{');
    add_label(out, labels->name, labels->value);
    add_label(out, labels->second, labels->second_value);
    add_label(out, labels->third, labels->third_value);
    buffer_char(out, '}');
}

static void add(struct buffer *out, enum metric metric, struct labels labels, uint64_t value)
{
    add_name(out, metric, "", &labels);
    buffer_format(out, " %" PRIu64 "\n", value);
}

static void add_seconds(struct buffer *out, enum metric metric, struct labels labels, uint64_t us)
{
    add_name(out, metric, "", &labels);
    buffer_format(out, " %" PRIu64 ".%06d\n", us / 1000000, (int)(us % 1000000));
}

static void one(struct buffer *out, enum metric metric, uint64_t value)
{
    begin(out, metric);
    add(out, metric, (struct labels){NULL}, value);
}

static void write_process(struct buffer *out, const struct metrics_view *view)
{
    begin(out, METRIC_INFO);
    add(out, METRIC_INFO, (struct labels){"version", mosaic_version(), "cluster", view->admin.model->name, NULL, NULL},
        1);
    begin(out, METRIC_START);
    add_seconds(out, METRIC_START, (struct labels){NULL}, (uint64_t)view->started_us);
    begin(out, METRIC_CPU);
    add_seconds(out, METRIC_CPU, (struct labels){NULL}, view->cpu_us);
    one(out, METRIC_MEMORY, view->memory);
    one(out, METRIC_STOPPING, view->admin.stopping);
    one(out, METRIC_CLIENTS, (uint64_t)view->admin.clients);
    one(out, METRIC_CLIENTS_MOST, (uint64_t)view->admin.settings->max_client_conn);
    one(out, METRIC_EPOCH, view->admin.model->epoch);
}

static void write_shards(struct buffer *out, const struct admin_view *view)
{
    static const enum metric order[] = {METRIC_SHARD_UP, METRIC_SHARD_PAUSED, METRIC_SHARD_CONNECTIONS,
                                        METRIC_SHARD_BUDGET, METRIC_SHARD_ALLOWED};
    for (size_t at = 0; at < sizeof order / sizeof *order; at++) {
        begin(out, order[at]);
        for (size_t i = 0; i < model_places(view->model); i++) {
            const struct shard_view *shard = &view->shards[i];
            const int64_t values[] = {strcmp(shard->state, "active") == 0, shard->is_paused, shard->connections,
                                      shard->budget, shard->server_max};
            if (values[at] >= 0)
                add(out, order[at], (struct labels){"shard", view->model->shards[i].name}, (uint64_t)values[at]);
        }
    }
}

/* What a shard answers is of tier 1, what the coordinator does of tier 4. */
static struct labels of_tier(const struct admin_view *view, size_t shard)
{
    const char *tier = shard < view->model->shard_count ? "1" : "4";
    return (struct labels){"tier", tier, "shard", view->model->shards[shard].name, NULL, NULL};
}

static void write_counters(struct buffer *out, const struct admin_view *view)
{
    static const struct {
        enum metric metric;
        enum shard_counter counter;
        bool tier, us;
    } order[] = {
        {METRIC_TRANSACTIONS, SHARD_COUNT_transactions, true, false},
        {METRIC_QUERIES, SHARD_COUNT_queries, true, false},
        {METRIC_ASSIGNMENTS, SHARD_COUNT_assignments, false, false},
        {METRIC_RECEIVED, SHARD_COUNT_bytes_received, false, false},
        {METRIC_SENT, SHARD_COUNT_bytes_sent, false, false},
        {METRIC_WAITED, SHARD_COUNT_wait_us, false, true},
        {METRIC_SHARD_ERRORS, SHARD_COUNT_errors, false, false},
    };
    for (size_t at = 0; at < sizeof order / sizeof *order; at++) {
        begin(out, order[at].metric);
        for (size_t i = 0; i < view->totals->shard_count; i++) {
            uint64_t value = view->totals->shards[i].counts[order[at].counter];
            struct labels labels =
                order[at].tier ? of_tier(view, i) : (struct labels){"shard", view->model->shards[i].name};
            if (order[at].us)
                add_seconds(out, order[at].metric, labels, value);
            else
                add(out, order[at].metric, labels, value);
        }
    }
}

static void write_latency(struct buffer *out, const struct admin_view *view)
{
    begin(out, METRIC_LATENCY);
    for (size_t i = 0; i < view->totals->shard_count; i++) {
        const struct shard_totals *shard = &view->totals->shards[i];
        struct labels labels = of_tier(view, i);
        uint64_t below = 0;
        for (unsigned bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
            char bound[32] = "+Inf";
            if (bucket < HISTOGRAM_BUCKETS - 1)
                snprintf(bound, sizeof bound, "%.6f", (double)(UINT64_C(1) << bucket) / 1e6);
            below += shard->latency[bucket];
            labels.third = "le";
            labels.third_value = bound;
            add_name(out, METRIC_LATENCY, "_bucket", &labels);
            buffer_format(out, " %" PRIu64 "\n", below);
        }
        labels.third = NULL;
        add_name(out, METRIC_LATENCY, "_sum", &labels);
        buffer_format(out, " %.6f\n", (double)shard->counts[SHARD_COUNT_transaction_us] / 1e6);
        add_name(out, METRIC_LATENCY, "_count", &labels);
        buffer_format(out, " %" PRIu64 "\n", below);
    }
}

static struct labels of_pool(const struct pool_row *pool, const char *state)
{
    return (struct labels){"user", pool->user, "shard", pool->shard ? pool->shard : "", state ? "state" : NULL, state};
}

static void write_pools(struct buffer *out, const struct pool_row *pools, size_t count)
{
    begin(out, METRIC_POOL_CLIENTS);
    for (size_t i = 0; i < count; i++) {
        add(out, METRIC_POOL_CLIENTS, of_pool(&pools[i], "active"), pools[i].cl_active);
        add(out, METRIC_POOL_CLIENTS, of_pool(&pools[i], "waiting"), pools[i].cl_waiting);
    }
    begin(out, METRIC_POOL_SERVERS);
    for (size_t i = 0; i < count; i++) {
        if (!pools[i].shard)
            continue;
        add(out, METRIC_POOL_SERVERS, of_pool(&pools[i], "active"), pools[i].sv_active);
        add(out, METRIC_POOL_SERVERS, of_pool(&pools[i], "idle"), pools[i].sv_idle);
        add(out, METRIC_POOL_SERVERS, of_pool(&pools[i], "used"), pools[i].sv_used);
        add(out, METRIC_POOL_SERVERS, of_pool(&pools[i], "tested"), pools[i].sv_tested);
        add(out, METRIC_POOL_SERVERS, of_pool(&pools[i], "login"), pools[i].sv_login);
    }
    begin(out, METRIC_POOL_MAXWAIT);
    for (size_t i = 0; i < count; i++)
        if (pools[i].shard)
            add_seconds(out, METRIC_POOL_MAXWAIT, of_pool(&pools[i], NULL), (uint64_t)pools[i].maxwait);
}

static void write_tiers(struct buffer *out, const struct totals *totals)
{
    static const enum metric order[TIER_COUNTER_COUNT] = {METRIC_PLANS, METRIC_PLAN_SHARDS, METRIC_PLAN_ROWS,
                                                          METRIC_PLAN_RECEIVED, METRIC_PLAN_TIME};
    for (unsigned counter = 0; counter < TIER_COUNTER_COUNT; counter++) {
        begin(out, order[counter]);
        for (unsigned tier = 0; tier <= TIER_MOST; tier++) {
            struct labels labels = {"tier", totals_tier_name(tier), NULL, NULL, NULL, NULL};
            uint64_t value = totals->tiers[tier].counts[counter];
            if (!totals_tier_knows(tier, (enum tier_counter)counter))
                continue;
            if (counter == TIER_COUNT_duration_us)
                add_seconds(out, order[counter], labels, value);
            else
                add(out, order[counter], labels, value);
        }
    }
}

static void write_plans(struct buffer *out, const struct snapshot *snapshot)
{
    struct plan_cache_counts all = {0};
    for (size_t i = 0; i < snapshot->count; i++) {
        const struct plan_cache_counts *part = &snapshot->parts[i].plan_counts;
        all.by_text += part->by_text;
        all.by_shape += part->by_shape;
        all.analysed += part->analysed;
        all.entries += part->entries;
        all.bytes += part->bytes;
    }
    begin(out, METRIC_PLAN_LOOKUPS);
    add(out, METRIC_PLAN_LOOKUPS, (struct labels){"found", "text"}, all.by_text);
    add(out, METRIC_PLAN_LOOKUPS, (struct labels){"found", "shape"}, all.by_shape);
    add(out, METRIC_PLAN_LOOKUPS, (struct labels){"found", "new"}, all.analysed);
    one(out, METRIC_PLAN_ENTRIES, all.entries);
    one(out, METRIC_PLAN_BYTES, all.bytes);
}

static void write_recovered(struct buffer *out, const struct recover_totals *totals)
{
    begin(out, METRIC_RECOVERED);
    add(out, METRIC_RECOVERED, (struct labels){"outcome", "committed"}, totals->committed);
    add(out, METRIC_RECOVERED, (struct labels){"outcome", "rolled back"}, totals->rolled_back);
    one(out, METRIC_IN_DOUBT, totals->in_doubt);
}

static void write_errors(struct buffer *out, const uint64_t *counts, const char *from)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (unsigned i = 0; i < ERROR_CLASSES; i++) {
        const char class[] = {digits[i / 36], digits[i % 36], '\0'};
        if (counts[i])
            add(out, METRIC_ERRORS, (struct labels){"class", class, "from", from, NULL, NULL}, counts[i]);
    }
}

static void write_totals(struct buffer *out, const struct totals *totals)
{
    for (size_t i = 0; i < totals->count; i++)
        buffer_format(out,
                      "# HELP pgmosaic_%s_total %s\n# TYPE pgmosaic_%s_total counter\npgmosaic_%s_total %" PRIu64 "\n",
                      totals->names[i], totals->helps[i], totals->names[i], totals->names[i], totals->counts[i]);
}

mosaic_status metrics_write(struct buffer *out, const struct metrics_view *view, mosaic_error *error)
{
    struct arena arena = ARENA_INIT;
    struct pool_row *pools;
    size_t count;
    mosaic_status status = snapshot_pools(view->admin.snapshot, &arena, &pools, &count, error);
    if (status == MOSAIC_OK) {
        write_process(out, view);
        write_shards(out, &view->admin);
        write_counters(out, &view->admin);
        write_latency(out, &view->admin);
        write_pools(out, pools, count);
        write_tiers(out, view->admin.totals);
        write_plans(out, view->admin.snapshot);
        write_recovered(out, &view->recovered);
        begin(out, METRIC_ERRORS);
        write_errors(out, view->shard_errors, "shard");
        write_errors(out, view->own_errors, "proxy");
        write_totals(out, view->admin.totals);
    }
    arena_free(&arena);
    if (status == MOSAIC_OK && buffer_failed(out))
        return error_set(error, MOSAIC_LIMIT, "the metrics are larger than %zu bytes", out->maximum);
    return status;
}
