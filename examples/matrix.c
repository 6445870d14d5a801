/*
 * String sharding: the same for ids that are text, such as Matrix ids (@user:matrix.org), by a hash.
 *
 *     bucket = hash(id) mod 4096, shard = map[bucket]
 *
 * The hash is the one of PostgreSQL's own hash partitions, so that the servers can check it, and any client can compute
 * it. `make run-matrix` runs this program. Each step is a short function in tour.c.
 */
#include "people.h"
#include "tour.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is learned from the keys besides, for this example's own questions. */
static struct {
    uint64_t by_homeserver[SHARDS_SHOWN]; /* rows a shard would have if the homeserver was the key */
    uint64_t hot;                         /* members of matrix.org */
    uint64_t negative;                    /* keys whose 31-hash is negative */
} seen;

/* h = 31 h + c in 32 bits: the string hash of Java, and of many who wrote their own. */
static int32_t hash31(const char *text)
{
    uint32_t hash = 0;
    for (; *text; text++)
        hash = 31 * hash + (unsigned char)*text;
    return (int32_t)hash;
}

/* Where the row would stand under other rules. */
static void note_member(struct tour *tour, const char *key, size_t shard)
{
    const char *colon = strchr(key, ':'), *homeserver = colon ? colon + 1 : key;
    mosaic_place place;
    mosaic_error error;
    if (mosaic_locate(tour->cluster, tour->table, mosaic_key_text(homeserver), &place, &error) != MOSAIC_OK)
        story_fail("locating", &error);
    seen.by_homeserver[place.shard]++;
    seen.hot += strcmp(homeserver, "matrix.org") == 0;
    seen.negative += hash31(key) < 0;
    if (mosaic_locate(tour->cluster, tour->table, mosaic_key_text(key), &place, &error) != MOSAIC_OK)
        story_fail("locating", &error);
    /* plain hash mod N: B is a power of two, so bucket mod (N + 1) stands for it as well as the whole hash would */
    tour->moved_modulo += place.bucket % (tour->shards + 1) != shard;
}

static void show_skew(struct tour *tour)
{
    uint64_t most = 0;
    for (size_t shard = 0; shard < tour->shards; shard++)
        if (seen.by_homeserver[shard] > most)
            most = seen.by_homeserver[shard];
    for (size_t shard = 0; shard < tour->shards; shard++)
        story_bar(mosaic_shard_name(tour->cluster, shard), seen.by_homeserver[shard], most, 0);
    story_line("%.0f %% of the members are on matrix.org, and one key lives on one shard: more servers would not help.",
               100.0 * (double)seen.hot / (double)tour->total);
}

/* What another program prints, one line; false if it cannot be run. */
static bool first_line(const char *command, char *line, size_t size)
{
    FILE *output = popen(command, "r");
    bool read = output && fgets(line, (int)size, output);
    if (output && pclose(output) != 0)
        read = false;
    line[read ? strcspn(line, "\n") : 0] = '\0';
    return read;
}

static void show_language_hashes(struct tour *tour)
{
    const char *python = "python3 -c \"print(hash('@user:matrix.org') % 4)\" 2>/dev/null";
    char first[32], again[32];
    size_t tries = 0;
    if (first_line(python, first, sizeof first)) {
        while (tries++ < 20 && first_line(python, again, sizeof again) && strcmp(first, again) == 0)
            continue;
        story_line(
            "Python: hash('@user:matrix.org') %% 4 is %s in one process and %s in the next: it is seeded at random.",
            first, again);
    }
    story_line("Java's, h = 31 h + c: negative for %s of these %s ids, and then h %% 4 names no shard.",
               story_count(seen.negative), story_count(tour->total));
    story_line("PostgreSQL has neither, so no server could check a row. Its own hash is the same in every program.");
}

int main(int argc, char **argv)
{
    struct tour tour = {
        .table = "members",
        .key = "user_id",
        .rule = "hash",
        .shown = "concat_ws(', ', homeserver, 'joined ' || joined::date)",
        .newest = "joined",
        .file = argc > 1 ? argv[1] : NULL,
        .note = note_member,
    };
    int made = 0;
    tour_open(&tour);
    story_heading("The servers");
    tour_show_servers(&tour);
    tour_load(&tour, people_members, &made);

    story_heading("Where they live: hash(user_id)");
    tour_show_shards(&tour);
    if (tour.total > 0) {
        tour_read_keys(&tour);
        story_heading("If the homeserver was the key: a hot shard");
        show_skew(&tour);
        story_heading("One member: one server asked");
        tour_look_up(&tour, tour.example[tour.some]);
        story_heading("All members: every server asked at once");
        tour_ask_all(&tour);
        story_heading("Why not the string hash of your language");
        show_language_hashes(&tour);
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
    story_what_next("members", "route members @user:matrix.org", "exec --all \"SELECT max(joined) FROM members\"");
    tour_close(&tour);
    return 0;
}
