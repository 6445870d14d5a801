/*
 * The plan cache of one thread: text → facts, so that a text seen before, or one that differs from it in the values of
 * literals alone, is not analysed again.
 *
 * Two levels. By text: a hash of the bytes finds the facts of exactly this text. By shape: the scanner's tokens with
 * each literal replaced by its class (42, 42.0, '42', E'42' and x'2a' are five classes), found again for other values.
 * Both are keyed by what else decides the meaning: schema version, search_path, parameter types, temporary names. Least
 * recently used entries leave when `maximum` bytes are in use.
 */
#ifndef MOSAIC_PLAN_CACHE_H
#define MOSAIC_PLAN_CACHE_H

#include "plan/plan.h"

struct plan_cache;

struct plan_cache_counts {
    uint64_t by_text, by_shape, analysed; /* look-ups that ended so */
    uint64_t entries, bytes;
};

/* `seed` keys the hashes, so that nobody can choose texts that collide. NULL when memory is out. */
struct plan_cache *plan_cache_new(size_t maximum, uint64_t seed);
void plan_cache_free(struct plan_cache *cache);

/*
 * What identifies a session's context in the cache, computed once whenever its search_path, temporary tables or the
 * schema change: a number equal for equal contexts.
 */
uint64_t plan_cache_context(const struct sql_context *context, uint64_t seed);

/* A text as the cache knows it: its facts, and its own literals. Valid until the next look-up in this cache. */
struct plan_cached {
    const struct facts_list *list;
    const struct plan_value *literals;
    size_t literal_count;
};

/* A text's place in the cache, with the context's types: for who asks for it again and again. Never 0. */
uint64_t plan_cache_hash(const struct plan_cache *cache, const struct sql_context *context, uint64_t context_id,
                         const char *text, size_t size);
/*
 * The facts of a text in this context (whose number is context_id); analyses it where neither level has it. `hash`:
 * its plan_cache_hash, or 0. Fails only for want of memory.
 */
MOSAIC_MUST_CHECK mosaic_status plan_cache_find(struct plan_cache *cache, const struct sql_context *context,
                                                uint64_t context_id, const char *text, size_t size, uint64_t hash,
                                                struct plan_cached *found, mosaic_error *error);
void plan_cache_count(const struct plan_cache *cache, struct plan_cache_counts *counts);
/* Forgets all: a new schema was read. */
void plan_cache_clear(struct plan_cache *cache);
/* The entries most used, for SHOW PLANS: calls `each` with the text first seen and its number of uses. */
void plan_cache_each(const struct plan_cache *cache,
                     void (*each)(void *context, const char *text, size_t size, const struct facts_list *list,
                                  uint64_t uses),
                     void *context);

#endif
