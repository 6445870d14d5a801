/*
 * Connection strings, for src/pq alone: parsing, and what we add to them.
 */
#ifndef MOSAIC_PQ_CONNINFO_H
#define MOSAIC_PQ_CONNINFO_H

#include "base/error.h"

#include <libpq-fe.h>

/* libpq 15 knows 40 keywords. */
enum { CONNINFO_PARAMETERS_MOST = 96 };

/* For PQconnectStartParams: zero-terminated lists that point into the parsed options. */
struct conninfo_parameters {
    const char *keywords[CONNINFO_PARAMETERS_MOST];
    const char *values[CONNINFO_PARAMETERS_MOST];
    char *options; /* memory_free it */
};

/* NULL with MOSAIC_CONFIG, or MOSAIC_MEMORY; else to be freed by PQconninfoFree. Never shows a password. */
PQconninfoOption *conninfo_parse(const char *conninfo, mosaic_error *error);
/* The value of a keyword, NULL where it is not given or empty. */
const char *conninfo_value(const PQconninfoOption *options, const char *keyword);
/* The parameters of a connection: those given, and the session settings that pq_connect promises. */
MOSAIC_MUST_CHECK mosaic_status conninfo_parameters(const PQconninfoOption *options, const char *application_name,
                                                    struct conninfo_parameters *parameters, mosaic_error *error);

#endif
