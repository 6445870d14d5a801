/* Our own shards: any PostgreSQL, without an extension. The work is src/catalog's. */
#include "engine/engine.h"

const struct engine engine_postgres = {
    .kind = ENGINE_POSTGRES,
    .look = apply_look,
    .carry_out = apply_do,
    .health = health_look,
};
