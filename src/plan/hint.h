/*
 * Hints: a person who knows where a statement's rows are says so, and answers for it.
 *
 *     /\* mosaic: shard=s1 *\/ SELECT …            this shard
 *     /\* mosaic: key=42 table=users *\/ SELECT …  the shard of this key of this table (without the backslashes)
 *     SET mosaic.shard = 's1'                      the same, until it is RESET
 *     SET mosaic.key = '42'; SET mosaic.table = 'users'
 *     /\* mosaic: partial_results=on *\/ SELECT … without the rows of shards that are not reached: scatter.h
 *     /\* mosaic: scatter=allow *\/ SELECT …      several shards may be asked, whatever the settings say: guard.h
 *
 * A comment counts only before the first word of a text, never inside a literal or behind it. Its values are words, or
 * in quotes: key='a b' or key="a b", the quote doubled within. Without a table the key is of the statement's own table.
 */
#ifndef MOSAIC_PLAN_HINT_H
#define MOSAIC_PLAN_HINT_H

#include "plan/plan.h"

/*
 * The hint in a text's leading comments, all members NULL where there is none; the values are in the arena.
 * MOSAIC_USAGE, SQLSTATE 22023, for a comment that begins with "mosaic:" and is no hint. Costs a look at the first byte
 * for a text without a comment in front.
 */
MOSAIC_MUST_CHECK mosaic_status hint_from_text(const char *text, size_t size, struct arena *arena,
                                               struct plan_hint *hint, mosaic_error *error);
/*
 * SET of mosaic.shard, mosaic.key, mosaic.table, mosaic.scatter or mosaic.partial_results (the name as the client gave
 * it, in any case); NULL or an empty value takes it back. The value is copied into the arena. SQLSTATE 42704 for
 * another name.
 */
MOSAIC_MUST_CHECK mosaic_status hint_set(const struct model *model, const char *name, const char *value,
                                         struct arena *arena, struct plan_hint *hint, mosaic_error *error);
/* Is there such a shard, such a sharded table, such a choice? Refused with those that are, SQLSTATE 22023. */
MOSAIC_MUST_CHECK mosaic_status hint_check(const struct model *model, const struct plan_hint *hint,
                                           mosaic_error *error);
/* Does it name no place? */
static inline bool hint_is_empty(const struct plan_hint *hint)
{
    return !hint->shard && !hint->key;
}

#endif
