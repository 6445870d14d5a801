/*
 * Analysis and planning as a filter, for tests in other languages (tests/integration/test_proof.py).
 *
 *     planprobe [--scatter | --writes] SHARDS DDL-FILE TABLE…    a table: name:function:type[:column,…], or
 * name:reference
 *
 * Reads statements from standard input, each ended by a zero byte; writes a line for each: the shard's number, "any",
 * or "refused" and why. Every statement goes through the cache, too, which must give the same.
 *
 * With --scatter: where each shard may answer for itself, a line of JSON; behind a refusal, why not. With --writes:
 * where several shards may write, a line of JSON.
 */
#include "plan/cache.h"
#include "sql/schema_file.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TABLES_MOST = 32, SHARDS_HERE = 16 };

static struct table tables[TABLES_MOST];
static struct shard shards[SHARDS_HERE];
static struct model model = {.tables = tables, .shards = shards};
static struct arena arena;
static bool has_scatter, has_writes;

static void stop(const char *what)
{
    fprintf(stderr, "planprobe: %s\n", what);
    exit(1);
}

static void read_table(char *text)
{
    struct table *table = &tables[model.table_count++];
    char *name = strtok(text, ":"), *function = strtok(NULL, ":"), *type = strtok(NULL, ":"),
         *columns = strtok(NULL, ":");
    *table = (struct table){.schema = "public", .name = name, .display = name, .kind = TABLE_SHARDED};
    if (strcmp(function, "reference") == 0) {
        table->kind = TABLE_REFERENCE;
        return;
    }
    enum key_type key_type;
    if (!function_by_name(function, &table->rule.function) || !type_by_name(type, strlen(type), &key_type))
        stop("no such function or type");
    for (char *column = strtok(columns, ","); column; column = strtok(NULL, ",")) {
        table->rule.types[table->column_count] = key_type;
        table->columns[table->column_count++] = column;
    }
    table->rule.columns = table->column_count;
    table->rule.buckets = rule_default_buckets(table->rule.function, model.shard_count);
    table->map = map_initial(&arena, table->rule.buckets, (uint32_t)model.shard_count, 1);
}

static char *read_all(FILE *file, size_t *size)
{
    size_t capacity = 1 << 20;
    char *bytes = malloc(capacity);
    *size = 0;
    for (size_t got; (got = fread(bytes + *size, 1, capacity - *size, file));) {
        *size += got;
        if (*size == capacity)
            bytes = realloc(bytes, capacity *= 2);
    }
    return bytes;
}

static void print_scatter(const struct plan *plan)
{
    const struct fact_scatter *scatter = plan->scatter;
    json_t *asked = json_array(), *sorts = json_array(), *combines = scatter->combines ? json_array() : json_null();
    for (size_t i = 0; i < plan->shard_count; i++)
        json_array_append_new(asked, json_integer(plan->shards[i]));
    for (size_t i = 0; i < scatter->sort_count; i++)
        json_array_append_new(sorts, json_pack("[b, b]", scatter->sorts[i].descending, scatter->sorts[i].nulls_first));
    for (size_t i = 0; scatter->combines && i < scatter->columns; i++)
        json_array_append_new(combines, json_integer(scatter->combines[i].function));
    json_t *line = json_pack("{s:o, s:o, s:o, s:i, s:o, s:I, s:s}", "shards", asked, "sorts", sorts, "combines",
                             combines, "columns", (int)scatter->columns, "limit",
                             plan->limit == UINT64_MAX ? json_null() : json_integer((json_int_t)plan->limit), "offset",
                             (json_int_t)plan->offset, "text", scatter->text);
    json_dumpf(line, stdout, JSON_COMPACT);
    printf("\n");
    json_decref(line);
}

static void print_writes(const struct plan *plan)
{
    const struct plan_write *write = plan->write;
    json_t *parts = json_array();
    for (size_t i = 0; i < write->part_count; i++) {
        const struct plan_write_part *part = &write->parts[i];
        json_t *rows = json_array();
        for (size_t r = 0; part->rows && r < part->row_count; r++)
            json_array_append_new(rows, json_integer(part->rows[r]));
        json_array_append_new(
            parts, json_pack("{s:i, s:s%, s:o}", "shard", part->shard, "text", part->text, part->size, "rows", rows));
    }
    json_t *line =
        json_pack("{s:o, s:b, s:b, s:b, s:b, s:i}", "parts", parts, "moves", write->move != NULL, "same",
                  write->tags == TAGS_SAME, "in_order", write->returning_in_row_order, "clock",
                  write->reads_clock || write->stores_clock, "keeper", write->has_keeper ? write->keeper : -1);
    json_dumpf(line, stdout, JSON_COMPACT);
    printf("\n");
    json_decref(line);
}

static void answer(struct plan_cache *cache, const struct sql_context *context, uint64_t id, const char *text)
{
    struct plan_cached found;
    struct plan plan;
    struct arena scratch = ARENA_INIT;
    mosaic_error error;
    if (plan_cache_find(cache, context, id, text, strlen(text), 0, &found, &error) != MOSAIC_OK)
        stop("memory");
    struct plan_input input = {.schema = context->schema,
                               .literals = found.literals,
                               .literal_count = found.literal_count,
                               .has_scatter = has_scatter,
                               .has_writes = has_writes,
                               .text = text,
                               .size = strlen(text)};
    if (plan_make(&found.list->facts[0], &input, &scratch, &plan, &error) != MOSAIC_OK)
        stop("memory");
    if (plan.kind == PLAN_SHARD)
        printf("%u\n", plan.shard);
    else if (plan.kind == PLAN_ANY)
        printf("any\n");
    else if (plan.kind == PLAN_SCATTER)
        print_scatter(&plan);
    else if (plan.kind == PLAN_WRITE)
        print_writes(&plan);
    else if (has_scatter && found.list->facts[0].scatter_cannot)
        printf("refused: %s\n", found.list->facts[0].scatter_cannot);
    else
        printf("refused %s: %s\n", plan.error->message, plan.error->detail);
    fflush(stdout);
    arena_free(&scratch);
}

int main(int count, char **arguments)
{
    static char names[SHARDS_HERE][8];
    has_scatter = count > 1 && strcmp(arguments[1], "--scatter") == 0;
    has_writes = count > 1 && strcmp(arguments[1], "--writes") == 0;
    arguments += has_scatter + has_writes, count -= has_scatter + has_writes;
    if (count < 3)
        stop("usage: planprobe [--scatter | --writes] SHARDS DDL-FILE TABLE…");
    model.shard_count = (size_t)atoi(arguments[1]);
    for (size_t i = 0; i < model.shard_count && i < SHARDS_HERE; i++) {
        snprintf(names[i], sizeof names[i], "s%zu", i);
        shards[i].name = names[i];
    }
    for (int i = 3; i < count; i++)
        read_table(arguments[i]);
    FILE *file = fopen(arguments[2], "r");
    size_t size;
    if (!file)
        stop("no DDL");
    char *ddl = read_all(file, &size);
    struct schema schema;
    mosaic_error error;
    if (schema_from_sql(ddl, size, arguments[2], &model, &schema, &error) != MOSAIC_OK)
        stop(error.message);
    static const char *const path[] = {"pg_catalog", "public"};
    struct sql_context context = {.schema = &schema, .path = path, .path_count = 2};
    struct plan_cache *cache = plan_cache_new(1 << 20, 1);
    uint64_t id = plan_cache_context(&context, 1);
    char *text = NULL;
    size_t capacity = 0;
    while (getdelim(&text, &capacity, '\0', stdin) > 0)
        answer(cache, &context, id, text);
    free(text);
    free(ddl);
    fclose(file);
    plan_cache_free(cache);
    schema_free(&schema);
    arena_free(&arena);
    return 0;
}
