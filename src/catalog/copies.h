/*
 * Are the copies of a reference table equal? Small ones by what stands in them, larger ones by their number of rows.
 */
#ifndef MOSAIC_CATALOG_COPIES_H
#define MOSAIC_CATALOG_COPIES_H

#include "catalog/health.h"

/* A copy with more rows or bytes than this is compared by its number of rows alone. */
enum { COPIES_ROWS_MOST = 100000, COPIES_BYTES_MOST = 64 * 1024 * 1024 };

/* Adds a problem for each copy that differs from the first. The rows must be counted already. */
void copies_compare(struct health *health, int look_ms);

#endif
