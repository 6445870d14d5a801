/*
 * SASLprep (RFC 4013): equal passwords as equal bytes. As PostgreSQL does it (src/common/saslprep.c): what cannot be
 * normalised (no UTF-8, forbidden or unassigned characters) is used as it is.
 */
#ifndef MOSAIC_PROXY_SASLPREP_H
#define MOSAIC_PROXY_SASLPREP_H

#include "base/memory.h"

/* By memory_allocate; NULL when memory is out. */
char *saslprep(const char *password);

#endif
