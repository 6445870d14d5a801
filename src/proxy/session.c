#include "proxy/session.h"

#include "base/memory.h"
#include "proxy/datestyle.h"

#include <stdio.h>
#include <string.h>

enum { CHAINS = 256 };

uint64_t settings_hash(uint64_t seed, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    uint64_t hash = seed ^ (size * UINT64_C(0x9e3779b97f4a7c15));
    while (size >= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        __uint128_t product = (__uint128_t)(hash ^ word) * UINT64_C(0xd6e8feb86659fd93);
        hash = (uint64_t)product ^ (uint64_t)(product >> 64);
        at += 8;
        size -= 8;
    }
    uint64_t word = 0;
    memcpy(&word, at, size);
    __uint128_t product = (__uint128_t)(hash ^ word) * UINT64_C(0xa0761d6478bd642f);
    hash = (uint64_t)product ^ (uint64_t)(product >> 64);
    return hash ^ (hash >> 29);
}

/* ---- the table ---- */

static const char *put(char **at, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = memcpy(*at, text, size);
    *at += size;
    return copy;
}

static struct settings_state *make(struct settings_table *table, const struct setting *settings, size_t count,
                                   uint64_t hash)
{
    size_t size = sizeof(struct settings_state) + count * sizeof(struct setting);
    for (size_t i = 0; i < count; i++)
        size += strlen(settings[i].name) + strlen(settings[i].replay) +
                (settings[i].value ? strlen(settings[i].value) : 0) + 3;
    struct settings_state *state = memory_zeroed(1, size);
    if (!state)
        return NULL;
    struct setting *own = (struct setting *)(void *)(state + 1);
    char *text = (char *)(own + count);
    for (size_t i = 0; i < count; i++) {
        own[i].name = put(&text, settings[i].name);
        own[i].replay = put(&text, settings[i].replay);
        own[i].value = settings[i].value ? put(&text, settings[i].value) : NULL;
        state->has_ours |= strncmp(own[i].name, "mosaic.", 7) == 0;
    }
    state->table = table;
    state->hash = hash;
    state->settings = own;
    state->count = count;
    return state;
}

static uint64_t hash_of(const struct settings_table *table, const struct setting *settings, size_t count, bool all)
{
    uint64_t hash = table->seed;
    for (size_t i = 0; i < count; i++) {
        if (!all && strcmp(settings[i].name, "application_name") == 0)
            continue;
        hash = settings_hash(hash, settings[i].name, strlen(settings[i].name) + 1);
        hash = settings_hash(hash, settings[i].replay, strlen(settings[i].replay) + 1);
    }
    return hash;
}

/* What PostgreSQL asks of settings when it makes a constant of a literal; in whatever order they were set. */
static uint64_t reading_of(const struct setting *settings, size_t count)
{
    static const char *const names[] = {"array_nulls",   "backslash_quote", "datestyle",
                                        "intervalstyle", "lc_monetary",     "standard_conforming_strings",
                                        "timezone",      "xmloption",       "transform_null_equals"};
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t n = 0; n < sizeof names / sizeof *names; n++)
            if (strcmp(settings[i].name, names[n]) == 0) {
                const char *value = settings[i].value ? settings[i].value : settings[i].replay;
                sum += settings_hash(n, value, strlen(value));
            }
    return sum;
}

static bool equal(const struct settings_state *state, const struct setting *settings, size_t count)
{
    if (state->count != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (strcmp(state->settings[i].name, settings[i].name) != 0 ||
            strcmp(state->settings[i].replay, settings[i].replay) != 0)
            return false;
    return true;
}

static struct settings_state *intern(struct settings_table *table, const struct setting *settings, size_t count)
{
    uint64_t hash = hash_of(table, settings, count, true);
    struct settings_state **chain = &table->chains[hash % table->chain_count];
    for (struct settings_state *state = *chain; state; state = state->next)
        if (state->hash == hash && equal(state, settings, count))
            return settings_hold(state);
    struct settings_state *state = make(table, settings, count, hash);
    if (!state)
        return NULL;
    state->sense.meaning = hash_of(table, settings, count, false);
    state->sense.reading = reading_of(settings, count);
    state->references = 1;
    state->next = *chain;
    *chain = state;
    table->count++;
    return state;
}

bool settings_table_init(struct settings_table *table, uint64_t seed)
{
    *table = (struct settings_table){.seed = seed, .chain_count = CHAINS};
    table->chains = memory_zeroed(CHAINS, sizeof *table->chains);
    if (table->chains)
        table->empty = intern(table, NULL, 0);
    return table->empty != NULL;
}

void settings_table_free(struct settings_table *table)
{
    if (table->empty)
        settings_release(table->empty);
    memory_free(table->chains);
    *table = (struct settings_table){0};
}

struct settings_state *settings_hold(struct settings_state *state)
{
    state->references++;
    return state;
}

void settings_release(struct settings_state *state)
{
    if (!state || --state->references)
        return;
    struct settings_state **at = &state->table->chains[state->hash % state->table->chain_count];
    while (*at != state)
        at = &(*at)->next;
    *at = state->next;
    state->table->count--;
    memory_free(state->reported);
    memory_free(state->path);
    memory_free(state);
}

/* ---- changes ---- */

/* The settings but `name`, and one more where it is given. */
static struct settings_state *changed(struct settings_state *state, const char *name, const struct setting *more)
{
    struct setting *settings = memory_allocate((state->count + 1) * sizeof *settings);
    size_t count = 0;
    if (!settings)
        return NULL;
    for (size_t i = 0; i < state->count; i++)
        if (strcmp(state->settings[i].name, name) != 0)
            settings[count++] = state->settings[i];
    if (more)
        settings[count++] = *more;
    struct settings_state *made = intern(state->table, settings, count);
    memory_free(settings);
    return made;
}

struct settings_state *settings_with(struct settings_state *state, const char *name, const char *replay,
                                     const char *value)
{
    const struct setting *found = settings_lookup(state, name);
    char whole[DATESTYLE_SIZE], says_whole[DATESTYLE_SIZE + sizeof "SET datestyle = ''"];
    if (value && strcmp(name, "datestyle") == 0 && datestyle_set(found ? found->value : NULL, value, whole)) {
        (void)snprintf(says_whole, sizeof says_whole, "SET datestyle = '%s'", whole);
        replay = says_whole;
        value = whole;
    }
    if (found && strcmp(found->replay, replay) == 0)
        return settings_hold(state);
    return changed(state, name, &(struct setting){name, replay, value});
}

struct settings_state *settings_without(struct settings_state *state, const char *name)
{
    return settings_lookup(state, name) ? changed(state, name, NULL) : settings_hold(state);
}

const struct setting *settings_lookup(const struct settings_state *state, const char *name)
{
    for (size_t i = 0; i < state->count; i++)
        if (strcmp(state->settings[i].name, name) == 0)
            return &state->settings[i];
    return NULL;
}

static bool is_users_own(const char *name)
{
    return strchr(name, '.') != NULL;
}

bool settings_can_become(const struct settings_state *from, const struct settings_state *to)
{
    if (from == to)
        return true;
    for (size_t i = 0; i < from->count; i++)
        if (is_users_own(from->settings[i].name) && !settings_lookup(to, from->settings[i].name))
            return false;
    return true;
}

struct settings_state *settings_leave_empty(struct settings_state *after, const struct settings_state *before)
{
    struct settings_state *state = settings_hold(after);
    for (size_t i = 0; i < before->count && state; i++) {
        const char *name = before->settings[i].name;
        if (!is_users_own(name) || settings_lookup(state, name))
            continue;
        struct buffer replay = BUFFER_INIT(1024);
        buffer_text(&replay, "SELECT pg_catalog.set_config(");
        settings_quote_text(&replay, name);
        buffer_text(&replay, ",'',false)");
        struct settings_state *next = buffer_failed(&replay) ? NULL : settings_with(state, name, replay.data, "");
        buffer_free(&replay);
        settings_release(state);
        state = next;
    }
    return state;
}

/* ---- SQL ---- */

void settings_quote_name(struct buffer *sql, const char *name)
{
    buffer_char(sql, '"');
    for (; *name; name++) {
        if (*name == '"')
            buffer_char(sql, '"');
        if (*name == '.')
            buffer_text(sql, "\".\"");
        else
            buffer_char(sql, *name);
    }
    buffer_char(sql, '"');
}

void settings_quote_text(struct buffer *sql, const char *text)
{
    buffer_text(sql, strchr(text, '\\') ? "E'" : "'");
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            buffer_char(sql, *text);
        buffer_char(sql, *text);
    }
    buffer_char(sql, '\'');
}

static bool same(const struct setting *a, const struct setting *b)
{
    return a && b && strcmp(a->replay, b->replay) == 0;
}

/*
 * Who one is decides which of the others may be set: session_authorization and role are given up first and taken on
 * last.
 */
static bool is_identity(const char *name)
{
    return strcmp(name, "role") == 0 || strcmp(name, "session_authorization") == 0;
}

static void reset(struct buffer *sql, const char *name)
{
    if (strcmp(name, "session_authorization") == 0) {
        buffer_text(sql, "RESET SESSION AUTHORIZATION;");
    } else {
        buffer_text(sql, "RESET ");
        settings_quote_name(sql, name);
        buffer_char(sql, ';');
    }
}

void settings_difference(const struct settings_state *from, const struct settings_state *to, struct buffer *sql)
{
    if (from == to)
        return;
    bool identity = false;
    for (size_t i = 0; i < from->count; i++)
        identity |= is_identity(from->settings[i].name);
    for (size_t i = 0; i < to->count; i++)
        identity |= is_identity(to->settings[i].name);
    if (identity)
        buffer_text(sql, "RESET SESSION AUTHORIZATION;RESET ROLE;");
    for (size_t i = from->count; i-- > 0;) {
        const struct setting *setting = &from->settings[i];
        if (!is_identity(setting->name) && !settings_lookup(to, setting->name))
            reset(sql, setting->name);
    }
    for (int last = 0; last < 2; last++) {
        for (size_t i = 0; i < to->count; i++) {
            const struct setting *setting = &to->settings[i];
            if (is_identity(setting->name) != (last == 1))
                continue;
            if (!last && same(settings_lookup(from, setting->name), setting))
                continue;
            buffer_text(sql, setting->replay);
            buffer_text(sql, ";");
        }
    }
}
