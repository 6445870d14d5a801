/*
 * An entry is a key (a text, or a shape) with the facts it leads to; a text's entry has its literals, too. Facts are
 * shared by the shape's entry and by those of its texts, and are freed with the last of them.
 *
 * Most texts with literals come once. One whose shape is known is kept when it comes again: until then a mark of it is.
 *
 * One list, the entry used last in front; entries leave at its end. Nothing leaves while a look-up's answer may point
 * to it: room is made before a look-up adds, never after.
 */
#include "plan/cache.h"

#include "base/error.h"
#include "sql/scan.h"

#include <string.h>

enum {
    SLOTS_LEAST = 1024,
    TEXT_LONGEST = 64 * 1024, /* longer texts are not kept */
    SEEN = 4096,              /* a power of two */
    SCRATCH_KEPT = 256 * 1024,
};

struct shared_facts {
    struct arena arena; /* holds this, too */
    struct facts_list list;
    size_t references;
    uint64_t uses;
    const char *text; /* first seen */
    size_t text_size;
};

struct entry {
    uint64_t hash, context;
    struct entry *chain;         /* of its slot */
    struct entry *newer, *older; /* by use */
    struct shared_facts *facts;
    const char *key;
    size_t key_size;
    const uint32_t *types;
    size_t type_count;
    struct plan_value *literals; /* NULL for a shape */
    size_t literal_count;
    bool is_shape;
    struct arena arena; /* holds all above */
};

struct plan_cache {
    uint64_t seed;
    size_t maximum;
    struct entry **slots;
    size_t slot_count;
    struct entry *newest, *oldest;
    struct scan scan;
    struct arena scratch;         /* of the answer of the last look-up, where no entry holds it */
    struct shared_facts *passing; /* the same: facts that were too large to keep */
    struct plan_cache_counts counts;
    uint32_t seen[SEEN]; /* marks of texts, each where its hash puts it */
};

/* ---- SipHash-1-3: keyed, so that texts that collide cannot be made without the seed ---- */

#define ROTATE(x, bits) ((x) << (bits) | (x) >> (64 - (bits)))

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline void sip_round(struct sip *sip)
{
    sip->v0 += sip->v1, sip->v1 = ROTATE(sip->v1, 13) ^ sip->v0, sip->v0 = ROTATE(sip->v0, 32);
    sip->v2 += sip->v3, sip->v3 = ROTATE(sip->v3, 16) ^ sip->v2;
    sip->v0 += sip->v3, sip->v3 = ROTATE(sip->v3, 21) ^ sip->v0;
    sip->v2 += sip->v1, sip->v1 = ROTATE(sip->v1, 17) ^ sip->v2, sip->v2 = ROTATE(sip->v2, 32);
}

static inline void sip_word(struct sip *sip, uint64_t word)
{
    sip->v3 ^= word;
    sip_round(sip);
    sip->v0 ^= word;
}

static uint64_t hash_bytes(uint64_t key, uint64_t more, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    struct sip sip = {key ^ 0x736f6d6570736575, more ^ 0x646f72616e646f6d, key ^ 0x6c7967656e657261,
                      more ^ 0x7465646279746573};
    uint64_t word = 0;
    for (; size >= 8 && at; at += 8, size -= 8) {
        memcpy(&word, at, 8);
        sip_word(&sip, word);
    }
    word = 0;
    if (size)
        memcpy(&word, at, size);
    sip_word(&sip, word | (uint64_t)size << 56);
    sip.v2 ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(&sip);
    return sip.v0 ^ sip.v1 ^ sip.v2 ^ sip.v3;
}

uint64_t plan_cache_context(const struct sql_context *context, uint64_t seed)
{
    uint64_t hash = hash_bytes(seed, context->schema->version, NULL, 0);
    for (size_t i = 0; i < context->path_count; i++)
        hash = hash_bytes(seed, hash + 1, context->path[i], strlen(context->path[i]));
    for (size_t i = 0; i < context->temporary_count; i++)
        hash = hash_bytes(seed, hash + 2, context->temporary[i], strlen(context->temporary[i]));
    return hash;
}

/* ---- entries ---- */

struct plan_cache *plan_cache_new(size_t maximum, uint64_t seed)
{
    struct plan_cache *cache = memory_zeroed(1, sizeof *cache);
    if (!cache)
        return NULL;
    cache->seed = seed;
    cache->maximum = maximum;
    cache->slot_count = SLOTS_LEAST;
    while (cache->slot_count < maximum / 2048)
        cache->slot_count *= 2;
    cache->slots = memory_zeroed(cache->slot_count, sizeof(struct entry *));
    if (!cache->slots) {
        memory_free(cache);
        return NULL;
    }
    return cache;
}

static void release(struct plan_cache *cache, struct shared_facts *facts)
{
    if (!facts || --facts->references)
        return;
    struct arena arena = facts->arena;
    cache->counts.bytes -= arena.total;
    arena_free(&arena);
}

static void unlink_entry(struct plan_cache *cache, struct entry *entry)
{
    if (entry->newer)
        entry->newer->older = entry->older;
    else
        cache->newest = entry->older;
    if (entry->older)
        entry->older->newer = entry->newer;
    else
        cache->oldest = entry->newer;
}

static void link_entry(struct plan_cache *cache, struct entry *entry)
{
    entry->newer = NULL;
    entry->older = cache->newest;
    if (cache->newest)
        cache->newest->newer = entry;
    else
        cache->oldest = entry;
    cache->newest = entry;
}

static void drop_entry(struct plan_cache *cache, struct entry *entry)
{
    struct entry **at = &cache->slots[entry->hash & (cache->slot_count - 1)];
    while (*at != entry)
        at = &(*at)->chain;
    *at = entry->chain;
    unlink_entry(cache, entry);
    release(cache, entry->facts);
    struct arena arena = entry->arena;
    cache->counts.bytes -= arena.total;
    cache->counts.entries--;
    arena_free(&arena);
}

void plan_cache_clear(struct plan_cache *cache)
{
    while (cache->oldest)
        drop_entry(cache, cache->oldest);
    release(cache, cache->passing);
    cache->passing = NULL;
}

void plan_cache_free(struct plan_cache *cache)
{
    if (!cache)
        return;
    plan_cache_clear(cache);
    scan_free(&cache->scan);
    arena_free(&cache->scratch);
    memory_free(cache->slots);
    memory_free(cache);
}

/* What is looked for. */
struct wanted {
    uint64_t context, hash;
    const struct sql_context *session;
    const char *key;
    size_t size;
    bool is_shape;
};

static uint64_t hash_key(const struct plan_cache *cache, const struct sql_context *session, uint64_t context,
                         const char *key, size_t size)
{
    uint64_t hash = hash_bytes(cache->seed, context, key, size);
    if (session->type_count)
        hash ^= hash_bytes(cache->seed, 3, session->types, session->type_count * sizeof *session->types);
    return hash ? hash : 1;
}

uint64_t plan_cache_hash(const struct plan_cache *cache, const struct sql_context *context, uint64_t context_id,
                         const char *text, size_t size)
{
    return hash_key(cache, context, context_id, text, size);
}

static struct entry *find_entry(struct plan_cache *cache, const struct wanted *wanted)
{
    struct entry *entry = cache->slots[wanted->hash & (cache->slot_count - 1)];
    for (; entry; entry = entry->chain) {
        const struct sql_context *session = wanted->session;
        if (entry->hash != wanted->hash || entry->context != wanted->context || entry->is_shape != wanted->is_shape ||
            entry->key_size != wanted->size || entry->type_count != session->type_count ||
            memcmp(entry->key, wanted->key, wanted->size) != 0 ||
            (session->type_count &&
             memcmp(entry->types, session->types, session->type_count * sizeof *session->types) != 0))
            continue;
        if (entry != cache->newest) {
            unlink_entry(cache, entry);
            link_entry(cache, entry);
        }
        return entry;
    }
    return NULL;
}

/* NULL: not kept, for want of memory; that is no failure. */
static struct entry *add_entry(struct plan_cache *cache, const struct wanted *wanted, struct shared_facts *facts)
{
    struct arena arena = ARENA_INIT;
    size_t type_bytes = wanted->session->type_count * sizeof(uint32_t);
    struct entry *entry = arena_zeroed(&arena, 1, sizeof *entry);
    char *key = entry ? arena_copy(&arena, wanted->key, wanted->size) : NULL;
    uint32_t *types = key ? arena_allocate(&arena, type_bytes + 1) : NULL;
    if (!types) {
        arena_free(&arena);
        return NULL;
    }
    if (type_bytes)
        memcpy(types, wanted->session->types, type_bytes);
    entry->hash = wanted->hash, entry->context = wanted->context;
    entry->facts = facts;
    entry->key = key, entry->key_size = wanted->size;
    entry->types = types, entry->type_count = wanted->session->type_count;
    entry->is_shape = wanted->is_shape;
    entry->arena = arena;
    facts->references++;
    struct entry **slot = &cache->slots[wanted->hash & (cache->slot_count - 1)];
    entry->chain = *slot;
    *slot = entry;
    link_entry(cache, entry);
    cache->counts.entries++;
    cache->counts.bytes += arena.total;
    return entry;
}

/* The literals of a text: pointers into it, or into the arena. NULL when memory is out. */
static struct plan_value *read_literals(const struct scan *scan, const char *text, struct arena *arena)
{
    struct plan_value *literals = arena_zeroed(arena, scan->count + 1, sizeof *literals);
    for (size_t i = 0; literals && i < scan->count; i++) {
        const struct scan_literal *literal = &scan->literals[i];
        const char *data;
        size_t size;
        if (!scan_content(literal, text, arena, &data, &size))
            continue; /* no data: it cannot be a key */
        literals[i] = (struct plan_value){.data = data, .size = (int32_t)size};
        literals[i].type = literal->class == LITERAL_INTEGER ? 23 : literal->class == LITERAL_DECIMAL ? 1700 : 0;
    }
    return literals;
}

/* Keeps a text, with its literals. False: it is not kept. */
static bool keep_text(struct plan_cache *cache, const struct wanted *wanted, struct shared_facts *facts,
                      struct plan_cached *found)
{
    if (wanted->size > TEXT_LONGEST || wanted->size > cache->maximum / 16)
        return false;
    struct entry *entry = add_entry(cache, wanted, facts);
    if (!entry)
        return false;
    size_t before = entry->arena.total;
    struct plan_value *literals = read_literals(&cache->scan, entry->key, &entry->arena);
    cache->counts.bytes += entry->arena.total - before;
    if (!literals) {
        drop_entry(cache, entry);
        return false;
    }
    entry->literals = literals;
    entry->literal_count = cache->scan.cannot ? 0 : cache->scan.count;
    *found = (struct plan_cached){&facts->list, literals, entry->literal_count};
    return true;
}

/* Marks a text. Did it come before? An error either way costs time alone. */
static bool was_seen(struct plan_cache *cache, const struct wanted *wanted)
{
    uint32_t *mark = &cache->seen[wanted->hash & (SEEN - 1)];
    bool was = *mark == (uint32_t)(wanted->hash >> 32);
    *mark = (uint32_t)(wanted->hash >> 32);
    return was;
}

static mosaic_status answer(struct plan_cache *cache, const struct wanted *wanted, struct shared_facts *facts,
                            bool keep, struct plan_cached *found, mosaic_error *error)
{
    facts->uses++;
    if (keep && keep_text(cache, wanted, facts, found))
        return MOSAIC_OK;
    struct plan_value *literals = read_literals(&cache->scan, wanted->key, &cache->scratch);
    if (!literals)
        return error_memory(error);
    *found = (struct plan_cached){&facts->list, literals, cache->scan.cannot ? 0 : cache->scan.count};
    return MOSAIC_OK;
}

static mosaic_status analyse(struct plan_cache *cache, const struct wanted *wanted, struct shared_facts **made,
                             mosaic_error *error)
{
    struct arena arena = ARENA_INIT;
    struct shared_facts *facts = arena_zeroed(&arena, 1, sizeof *facts);
    size_t shown = wanted->size < 1024 ? wanted->size : 1024;
    const char *text = facts ? arena_copy(&arena, wanted->key, shown) : NULL;
    mosaic_status status =
        text ? facts_find_scanned(wanted->session, wanted->key, wanted->size, &cache->scan, &arena, &facts->list, error)
             : error_memory(error);
    if (status != MOSAIC_OK) {
        arena_free(&arena);
        return status;
    }
    facts->text = text, facts->text_size = shown;
    facts->references = 1;
    facts->arena = arena;
    cache->counts.bytes += arena.total;
    cache->counts.analysed++;
    *made = facts;
    return MOSAIC_OK;
}

static bool serves_shape(const struct plan_cache *cache, const struct facts_list *list)
{
    return !cache->scan.cannot && list->count == 1 && !list->facts[0].text_bound &&
           cache->scan.shape_size <= TEXT_LONGEST;
}

static void make_room(struct plan_cache *cache)
{
    release(cache, cache->passing);
    cache->passing = NULL;
    if (cache->scratch.total > SCRATCH_KEPT)
        arena_free(&cache->scratch);
    else
        arena_reset(&cache->scratch);
    while (cache->counts.bytes > cache->maximum && cache->oldest)
        drop_entry(cache, cache->oldest);
}

/* A text that is not known by itself. */
static mosaic_status find_new(struct plan_cache *cache, const struct wanted *wanted, struct plan_cached *found,
                              mosaic_error *error)
{
    make_room(cache);
    if (!scan_text(&cache->scan, wanted->key, wanted->size))
        return error_memory(error);
    struct scan *scan = &cache->scan;
    struct wanted shape = {0};
    if (!scan->cannot) {
        shape = (struct wanted){.context = wanted->context,
                                .session = wanted->session,
                                .key = scan->shape ? scan->shape : "",
                                .size = scan->shape_size,
                                .is_shape = true};
        shape.hash = hash_key(cache, shape.session, shape.context + 1, shape.key, shape.size);
        struct entry *entry = find_entry(cache, &shape);
        if (entry) {
            cache->counts.by_shape++;
            return answer(cache, wanted, entry->facts, was_seen(cache, wanted), found, error);
        }
    }
    struct shared_facts *facts = NULL;
    mosaic_status status = analyse(cache, wanted, &facts, error);
    if (status != MOSAIC_OK)
        return status;
    cache->passing = facts; /* our reference, until the next look-up */
    if (serves_shape(cache, &facts->list))
        (void)add_entry(cache, &shape, facts);
    return answer(cache, wanted, facts, true, found, error);
}

mosaic_status plan_cache_find(struct plan_cache *cache, const struct sql_context *context, uint64_t context_id,
                              const char *text, size_t size, uint64_t hash, struct plan_cached *found,
                              mosaic_error *error)
{
    struct wanted wanted = {.context = context_id,
                            .hash = hash ? hash : hash_key(cache, context, context_id, text, size),
                            .session = context,
                            .key = text,
                            .size = size};
    struct entry *entry = find_entry(cache, &wanted);
    if (!entry)
        return find_new(cache, &wanted, found, error);
    cache->counts.by_text++;
    entry->facts->uses++;
    *found = (struct plan_cached){&entry->facts->list, entry->literals, entry->literal_count};
    return MOSAIC_OK;
}

void plan_cache_count(const struct plan_cache *cache, struct plan_cache_counts *counts)
{
    *counts = cache->counts;
}

void plan_cache_each(const struct plan_cache *cache,
                     void (*each)(void *context, const char *text, size_t size, const struct facts_list *list,
                                  uint64_t uses),
                     void *context)
{
    for (const struct entry *entry = cache->newest; entry; entry = entry->older)
        /* Facts of a shape once; of a text that has none, too. */
        if (entry->is_shape || entry->facts->list.facts[0].text_bound)
            each(context, entry->facts->text, entry->facts->text_size, &entry->facts->list, entry->facts->uses);
}
