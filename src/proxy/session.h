/*
 * A session's settings as values: immutable, interned, so that "does this connection have this client's settings?" is
 * a comparison of two pointers.
 *
 * A setting is kept as the statement that makes it so (SET … as the client wrote it), in the order of setting. What
 * a new connection has of itself is the empty state. DateStyle alone depends on what it was; it is kept whole
 * (datestyle.h).
 */
#ifndef MOSAIC_PROXY_SESSION_H
#define MOSAIC_PROXY_SESSION_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stdint.h>

struct setting {
    const char *name;   /* lower case, as in pg_settings; "role", "session_authorization" */
    const char *replay; /* a statement, without semicolon */
    const char *value;  /* what it was set to, as a text; NULL: not known */
};

/* What settings make of a text. */
struct settings_sense {
    uint64_t meaning; /* equal for states that differ in nothing that changes what a statement means */
    uint64_t reading; /* equal for those under which literals are read alike */
    uint64_t schema;  /* of a transaction that has changed it; 0: everybody's */
};

struct settings_state {
    struct settings_table *table;
    struct settings_state *next; /* of the same hash */
    unsigned references;
    uint64_t hash;
    struct settings_sense sense;
    size_t count;
    const struct setting *settings;
    bool has_ours; /* one of them is mosaic.… */
    /* Caches of whoever needs them; freed with the state. */
    char *reported; /* ParameterStatus messages that reaching this state from the empty one brings; NULL: not known */
    size_t reported_size;
    void *path; /* struct session_path of route_path.c */
};

struct settings_table {
    struct settings_state **chains;
    size_t chain_count, count;
    uint64_t seed;
    struct settings_state *empty;
};

bool settings_table_init(struct settings_table *table, uint64_t seed);
void settings_table_free(struct settings_table *table);

/* Each returns a reference that the caller releases; NULL when memory is out. */
struct settings_state *settings_hold(struct settings_state *state);
struct settings_state *settings_with(struct settings_state *state, const char *name, const char *replay,
                                     const char *value);
struct settings_state *settings_without(struct settings_state *state, const char *name);
void settings_release(struct settings_state *state);
/* NULL where it is not set. */
const struct setting *settings_lookup(const struct settings_state *state, const char *name);
/*
 * Can a connection be taken from one state to the other at all? A setting that is nobody's but the user's own
 * (app.user) stays known to a connection for ever: RESET leaves it empty where a new connection has none.
 */
bool settings_can_become(const struct settings_state *from, const struct settings_state *to);
/* `after`, and empty what of the user's own settings `before` had that it has not: what RESET or ROLLBACK leaves. */
struct settings_state *settings_leave_empty(struct settings_state *after, const struct settings_state *before);
/* Appends the statements, each ended by a semicolon, that take a connection from one state to the other. */
void settings_difference(const struct settings_state *from, const struct settings_state *to, struct buffer *sql);
/* A setting's name written so that it can stand in SQL: my.setting → "my"."setting" where it needs quotes. */
void settings_quote_name(struct buffer *sql, const char *name);
/* 'text', with quotes doubled; E'…' where there is a backslash. */
void settings_quote_text(struct buffer *sql, const char *text);
uint64_t settings_hash(uint64_t seed, const void *bytes, size_t size);

#endif
