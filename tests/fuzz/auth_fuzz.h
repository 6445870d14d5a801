/* What the fuzzers of authentication files share: the bytes as a file; an error must name it. */
#ifndef MOSAIC_TESTS_AUTH_FUZZ_H
#define MOSAIC_TESTS_AUTH_FUZZ_H

#include "base/error.h"
#include "base/memory.h"
#include "fuzz.h"

#include <string.h>

static inline bool auth_fuzz_judge(mosaic_status status, const mosaic_error *error)
{
    FUZZ_REQUIRE(status == MOSAIC_OK || status == MOSAIC_CONFIG);
    FUZZ_REQUIRE(status == MOSAIC_OK || strncmp(error->message, "file:", 5) == 0);
    return status == MOSAIC_OK;
}

#endif
