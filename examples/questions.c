#include "questions.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIMES = 5, LOOK_UPS = 200, TIMEOUT_MS = 120000 };

mosaic_cluster *questions_open(const char *config)
{
    mosaic_error error;
    mosaic_cluster *cluster;
    mosaic_options options = {.default_timeout_ms = TIMEOUT_MS, .application_name = "pgmosaic example"};
    if (mosaic_open(config, &options, &cluster, &error) != MOSAIC_OK)
        story_fail("opening the cluster", &error);
    return cluster;
}

void questions_make_orders(mosaic_cluster *cluster)
{
    mosaic_error error;
    static const char *const statements[] = {
        "DELETE FROM orders",
        "INSERT INTO orders SELECT id, n, (ARRAY['de','fr','it'])[1 + (id + n) % 3], (id * 7 + n) % 1000 / 10.0"
        " FROM users CROSS JOIN generate_series(1, 2) n",
        "ANALYZE",
    };
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        if (mosaic_exec_all(cluster, &(mosaic_statement){.sql = statements[i]}, NULL, &error) != MOSAIC_OK)
            story_fail("making orders", &error);
}

/* ---- the questions ------------------------------------------------------------------------------------ */

/* One user after another, by id: the answer is what the last one is called. */
static void look_up(struct place *place, char *answer, size_t size)
{
    mosaic_error error;
    for (int i = 0; i < LOOK_UPS; i++) {
        char id[16];
        PGresult *result;
        snprintf(id, sizeof id, "%d", 1 + i * 499);
        mosaic_statement select = {
            .sql = "SELECT name FROM users WHERE id = $1", .count = 1, .values = (const char *[]){id}};
        if (mosaic_exec(place->cluster, "users", mosaic_key_text(id), &select, TIMEOUT_MS, &result, &error) !=
            MOSAIC_OK)
            story_fail("looking a user up", &error);
        snprintf(answer, size, "%s", PQntuples(result) ? PQgetvalue(result, 0, 0) : "");
        PQclear(result);
    }
}

struct sums {
    double first, second;
};

static bool add_up(void *context, size_t shard, const PGresult *result, int row)
{
    struct sums *sums = context;
    (void)shard;
    sums->first += atof(PQgetvalue(result, row, 0));
    sums->second += PQnfields(result) > 1 ? atof(PQgetvalue(result, row, 1)) : 0;
    return false;
}

/* Sums of exact numbers: what each shard (or Citus) answers is added up here. */
static void ask_sums(struct place *place, const char *sql, char *answer, size_t size)
{
    mosaic_error error;
    struct sums sums = {0};
    mosaic_scatter scatter = {.row = add_up, .context = &sums};
    if (mosaic_exec_all(place->cluster, &(mosaic_statement){.sql = sql}, &scatter, &error) != MOSAIC_OK)
        story_fail("adding up", &error);
    snprintf(answer, size, "%.1f %.1f", sums.first, sums.second);
}

static void count_users(struct place *place, char *answer, size_t size)
{
    ask_sums(place, "SELECT count(*) FROM users", answer, size);
}

static void join_orders(struct place *place, char *answer, size_t size)
{
    ask_sums(place,
             "SELECT count(*), coalesce(sum(amount), 0) FROM users u JOIN orders o ON o.user_id = u.id"
             " WHERE u.name LIKE '%7'",
             answer, size);
}

struct text {
    char *text;
    size_t used, size;
};

static bool append(void *context, size_t shard, const PGresult *result, int row)
{
    struct text *text = context;
    (void)shard;
    text->used += (size_t)snprintf(text->text + text->used, text->size - text->used, "%s ", PQgetvalue(result, row, 1));
    return text->used + 64 > text->size;
}

static void ask_newest(struct place *place, char *answer, size_t size)
{
    mosaic_error error;
    struct text text = {answer, 0, size};
    mosaic_scatter scatter = {
        .row = append,
        .context = &text,
        .order = (mosaic_order[]){{.column = 0, .descending = true}, {.column = 1, .descending = true}},
        .order_count = 2,
        .limit = 10,
    };
    if (mosaic_exec_all(place->cluster,
                        &(mosaic_statement){.sql = "SELECT created, id FROM users ORDER BY 1 DESC, 2 DESC LIMIT 10"},
                        &scatter, &error) != MOSAIC_OK)
        story_fail("asking for the newest", &error);
}

static const struct {
    const char *name;
    void (*ask)(struct place *place, char *answer, size_t size);
    int count; /* how many it is */
} questions[QUESTIONS] = {
    {"one user by id", look_up, LOOK_UPS},
    {"count of all users", count_users, 1},
    {"the ten newest", ask_newest, 1},
    {"users with their orders", join_orders, 1},
};

static void ask(struct place *place, size_t question)
{
    double best = 0;
    for (int time = 0; time < TIMES; time++) {
        double started = story_seconds();
        questions[question].ask(place, place->answers[question], sizeof place->answers[question]);
        double took = (story_seconds() - started) / questions[question].count;
        best = time == 0 || took < best ? took : best;
    }
    place->seconds[question] = best;
}

void questions_compare(struct place *places, size_t count)
{
    char line[256];
    int used = snprintf(line, sizeof line, "%-24s", "");
    for (size_t i = 0; i < count; i++)
        used += snprintf(line + used, sizeof line - (size_t)used, "%18s", places[i].name);
    story_line("%s", line);
    for (size_t question = 0; question < QUESTIONS; question++) {
        used = snprintf(line, sizeof line, "%-24s", questions[question].name);
        for (size_t i = 0; i < count; i++) {
            ask(&places[i], question);
            used += snprintf(line + used, sizeof line - (size_t)used, "%15.2f ms", places[i].seconds[question] * 1000);
            if (strcmp(places[i].answers[question], places[0].answers[question]) != 0) {
                fprintf(stderr, "%s: %s answers %s, %s answers %s: this must not happen\n", questions[question].name,
                        places[0].name, places[0].answers[question], places[i].name, places[i].answers[question]);
                exit(1);
            }
        }
        story_line("%s", line);
    }
}
