/*
 * The steps that both examples take, over any table with one key column: the library's calls, one function each.
 */
#ifndef TOUR_H
#define TOUR_H

#include "story.h"

/* What the program learns about the table as it goes along. */
struct tour {
    mosaic_cluster *cluster;
    const char *table, *key; /* the table's name and its key column's */
    const char *rule;        /* how a place is computed, in words */
    const char *shown;       /* SQL: what is shown of one row, as one text */
    const char *newest;      /* the column that says how new a row is */
    const char *file;        /* CSV to load; NULL: the example's own rows */
    size_t shards;
    uint64_t rows[SHARDS_SHOWN], bytes[SHARDS_SHOWN], total;
    char example[SHARDS_SHOWN][256]; /* the key of some row of each shard that has one */
    size_t some;                     /* a shard that has rows */
    uint16_t *next_owner;            /* of each bucket, if there was one shard more */
    uint64_t moved_buckets, moved_modulo;
    /* Called for each key of the table, with the shard that it stands on; may be NULL. */
    void (*note)(struct tour *tour, const char *key, size_t shard);
};

/* Opens the cluster that $PGMOSAIC_CONFIG describes. */
void tour_open(struct tour *tour);
void tour_close(struct tour *tour);
/* One line a server, as the server itself says. */
void tour_show_servers(struct tour *tour);
/* Writes at most `size` bytes of CSV, as mosaic_load.read. */
typedef ptrdiff_t (*tour_generator)(void *context, void *buffer, size_t size);
/* Empties the table, then loads the CSV file, if one is named, else what the generator makes. */
void tour_load(struct tour *tour, tour_generator generate, void *context);
/* Rows and bytes of each shard, as bars. */
void tour_show_shards(struct tour *tour);
/*
 * 0 while bucket b is on shard b mod shards, as on a fresh cluster, so that `id mod buckets` is `id mod shards`; else
 * how many buckets there are. For integer keys by modulo.
 */
size_t tour_dealt_buckets(struct tour *tour);
/* Reads every key: examples, what would move, and the program's own notes. */
void tour_read_keys(struct tour *tour);
/* key → bucket → shard, and the row from that one server. */
void tour_look_up(struct tour *tour, const char *key);
/* Counts all rows, and shows the ten newest in order. */
void tour_ask_all(struct tour *tour);
/* Sends a row to a shard that does not own it. */
void tour_write_to_wrong_shard(struct tour *tour);
/* Stops one server, shows who is affected and who is not, and starts it again. */
void tour_stop_one(struct tour *tour);
/* What one more shard would move. */
void tour_one_more_shard(struct tour *tour);

#endif
