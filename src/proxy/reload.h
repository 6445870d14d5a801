/*
 * Reading map, schema and addresses: once at the start, then by a thread of its own, that looks every
 * schema_check_interval whether anything has changed, and at once when it is asked, or told by another proxy
 * (announce.h). A catalog that is out of reach changes nothing: the last map serves on.
 */
#ifndef MOSAIC_PROXY_RELOAD_H
#define MOSAIC_PROXY_RELOAD_H

#include "proxy/announce.h"
#include "proxy/proxy.h"

struct reload;

MOSAIC_MUST_CHECK mosaic_status reload_read_config(const char *config_path, struct config **config,
                                                   mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status reload_start(struct proxy *proxy, mosaic_error *error);
/* Read again soon; from any thread. `settings`: those as well (RELOAD). */
uint64_t reload_ask(struct reload *reload, bool settings);
/* The same; a client has changed the schema, which other proxies are told: of all shards, or of the home shard alone.
 */
uint64_t reload_ask_and_tell(struct reload *reload, enum announced what);
/* Look soon whether anything has changed, and read it then. */
uint64_t reload_ask_look(struct reload *reload);
/* The same, also whether names of the shards' hosts have come to mean other addresses: one cannot be reached. Of many
 * such wishes within a few seconds one counts. */
void reload_ask_addresses(struct reload *reload);
/* Are changes that other proxies make heard of at once? */
bool reload_listens(struct reload *reload);
/* Was what reload_ask gave this ticket for done? Then *error is how it went (status OK: well). */
bool reload_is_done(struct reload *reload, uint64_t ticket, mosaic_error *error);
/* Ends the thread and frees it; NULL is fine. */
void reload_stop(struct reload *reload);
/* reload_settings.c: what was read keeps the values of `before` that need a restart; adds what differs to `changes`. */
MOSAIC_MUST_CHECK mosaic_status reload_keep(struct config *config, const struct config *before, struct buffer *changes,
                                            mosaic_error *error);
/* A copy with one value changed, checked. */
MOSAIC_MUST_CHECK mosaic_status reload_change(const struct config *before, const char *name, const char *value,
                                              struct config **config, mosaic_error *error);
/* Puts it in force, or releases it: its log file cannot be opened. */
MOSAIC_MUST_CHECK mosaic_status reload_use(struct proxy *proxy, struct config *config, mosaic_error *error);
/* How the last reading went; status OK: well. */
void reload_state(struct reload *reload, mosaic_error *error);

#endif
