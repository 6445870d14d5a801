/*
 * What all threads share and none changes: the map, the schema, and where the shards are. Read whole by a background
 * thread (reload.h) and replaced by a pointer; freed when the last who holds it lets go.
 */
#ifndef MOSAIC_PROXY_WORLD_H
#define MOSAIC_PROXY_WORLD_H

#include "catalog/coordinator.h"
#include "core/model.h"
#include "proxy/tls.h"
#include "sql/schema.h"

#include <stdatomic.h>
#include <sys/socket.h>

enum { ENDPOINTS_MOST = 16 };

/* One address of a shard's conninfo; a host name of several addresses gives several. */
struct endpoint {
    const char *host, *port; /* as the conninfo has them; a socket's directory for AF_UNIX */
    struct sockaddr_storage address;
    socklen_t size;
    const char *password; /* of the conninfo's user at this host; NULL: none is known */
};

/* How libpq would connect, as far as the proxy does the same. */
struct target {
    const char *database, *user; /* the conninfo's own */
    const char *options;         /* of the startup packet; NULL */
    const char *session_attrs;   /* target_session_attrs; "any" */
    struct tls_client_files files;
    struct tls_context *tls; /* NULL: sslmode=disable */
    struct endpoint endpoints[ENDPOINTS_MOST];
    size_t endpoint_count;
    bool has_names; /* some hosts are names, which may come to mean other addresses */
};

struct world {
    atomic_uint references;
    struct arena arena; /* of the targets */
    struct model model;
    struct target *targets; /* model_places */
    /* Of each place: the number that its name has for as long as the proxy runs (proxy_number_shards), wherever it
     * stands in the config. Pools and counters are by this one. */
    size_t *slots;
    size_t home;
    /* NULL where nothing is analysed: a cluster of one shard, or Citus. */
    struct schema *schema;
    /* Of each shard: are the OIDs of all types but rows of tables those of the home shard? NULL: not analysed. */
    bool *types_agree;
    struct typemap *typemaps; /* model_places */
    uint64_t version;         /* grows with each reading */
    uint64_t stamp;           /* schema_stamp's, of the same moment */
    /* Tier 4 is there: the coordinator has the schema and the map of this world. Else why it has not, one line; NULL:
     * the cluster has none. */
    bool has_coordinator;
    const char *no_coordinator;
    /* Its definitions are to be what is told here; empty: it does not answer, or there is none. */
    char coordinator_fingerprint[COORDINATOR_FINGERPRINT_SIZE];
};

/* Fills targets from the model's conninfos: parses, finds passwords, resolves names. Blocks. */
MOSAIC_MUST_CHECK mosaic_status world_targets(struct world *world, mosaic_error *error);
/* Has a name come to mean an address that is no endpoint of the target's? Blocks. */
bool world_has_moved(const struct world *world);
/* Fills types_agree, once the schema is there. */
MOSAIC_MUST_CHECK mosaic_status world_compare_types(struct world *world, mosaic_error *error);
/* The password of the first shard's conninfo user; NULL: none. */
const char *world_password(const struct world *world, const char *user);
/* Are two places databases of one server, as far as their addresses tell? */
bool world_share_server(const struct world *world, size_t a, size_t b);
struct world *world_hold(struct world *world);
void world_release(struct world *world);

#endif
