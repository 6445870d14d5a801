/*
 * Manual sharding, the textbook's way: separate PostgreSQL servers, a user's place computed from the id.
 *
 *     shard = id mod 4
 *
 * `make run` starts the servers, creates the table (schema.sql), tells pgmosaic of it (`pgmosaic apply`), and runs this
 * program. Everything it prints was read back from a server. It stands on the public library alone (pgmosaic.h); each
 * step is a short function in tour.c.
 */
#include "people.h"
#include "tour.h"

#include <stdio.h>
#include <stdlib.h>

/* Would plain id mod (shards + 1) put this user elsewhere? */
static void count_moved(struct tour *tour, const char *key, size_t shard)
{
    long long id = strtoll(key, NULL, 10), shards = (long long)tour->shards + 1;
    tour->moved_modulo += (size_t)((id % shards + shards) % shards) != shard;
}

int main(int argc, char **argv)
{
    struct tour tour = {
        .table = "users",
        .key = "id",
        .rule = "id",
        .shown = "concat_ws(', ', name, email, 'joined ' || created::date)",
        .newest = "created",
        .file = argc > 1 ? argv[1] : NULL,
        .note = count_moved,
    };
    int made = 0;
    char heading[128];
    tour_open(&tour);
    story_heading("The servers");
    tour_show_servers(&tour);
    tour_load(&tour, people_users, &made);

    size_t buckets = tour_dealt_buckets(&tour);
    snprintf(heading, sizeof heading, "Where they live: %s mod %zu%s", tour.rule, buckets ? buckets : tour.shards,
             buckets ? ", whole buckets on a shard" : "");
    story_heading(heading);
    tour_show_shards(&tour);
    if (tour.total > 0) {
        tour_read_keys(&tour);
        story_heading("One user: one server asked");
        tour_look_up(&tour, tour.example[tour.some]);
        story_heading("All users: every server asked at once");
        tour_ask_all(&tour);
    }
    if (tour.total > 0 && tour.shards > 1) {
        story_heading("A row on the wrong shard");
        tour_write_to_wrong_shard(&tour);
        story_heading("One server down");
        tour_stop_one(&tour);
    }
    if (tour.total > 0) {
        story_heading("One shard more");
        tour_one_more_shard(&tour);
    }
    story_what_next("users", "route users 42 43 44", "exec --all \"SELECT max(created) FROM users\"");
    story_heading("What sharding takes away, and when not to");
    story_line("A unique e-mail (a server sees its own rows only), joins off the key, one snapshot of everything.");
    story_line("While one server, with replicas, holds your rows and your writes, stay there: it has all three.");
    tour_close(&tour);
    return 0;
}
