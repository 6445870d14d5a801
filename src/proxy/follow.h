/*
 * The coordinator follows the schema: where a reading finds that it was made from other definitions, it is brought up
 * to date by a thread of its own, at once, and then the schema is read again (catalog/coordinator_follow.h).
 *
 *     reading finds it behind ── ask ──> at work ── an attempt has ended ──> done ── read again ──> idle
 *
 * Where nobody waits for it, it begins behind a moment without further changes. Clients whose statement needs the
 * coordinator wait meanwhile. What fails is tried again behind a pause, which grows;
 * for that nobody waits. What only apply can mend is tried once for each state of the definitions.
 */
#ifndef MOSAIC_PROXY_FOLLOW_H
#define MOSAIC_PROXY_FOLLOW_H

#include "proxy/proxy.h"

struct follow *follow_new(struct proxy *proxy);
/* Ends the thread, before the reload thread's end: it asks that one. */
void follow_stop(struct follow *follow);
/* After it; NULL is fine. */
void follow_free(struct follow *follow);

/*
 * The reload thread's. follow_ask: this world, which is about to be the current one, has a coordinator that is behind.
 * follow_found: it has one that is not; what was tried before does not count any more.
 * follow_read: a reading ended; `began` is what follow_begin said before it.
 */
void follow_ask(struct follow *follow, struct world *world);
void follow_found(struct follow *follow);
bool follow_begin(struct follow *follow);
void follow_read(struct follow *follow, bool began);
/* Why it could not be brought up to date from these definitions, one line, in the arena; NULL: it was not tried. */
const char *follow_failure(struct follow *follow, const char *fingerprint, struct arena *arena);

/* A client waits: is it being brought up to date? Then another reading will come. From any thread. */
bool follow_hurry(struct follow *follow);
/*
 * A change of the schema begins. pg_dump has locks that it may want, and later asks for others, for which no
 * lock_timeout counts (pg_dump sets it to 0): so that PostgreSQL need not end the change for a deadlock, what is at
 * work lets go of all, and begins anew. From any thread.
 */
void follow_give_way(struct follow *follow);

#endif
