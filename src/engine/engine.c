#include "engine/engine.h"

const struct engine *engine_of(enum engine_kind kind)
{
    return kind == ENGINE_CITUS ? &engine_citus : &engine_postgres;
}
