/*
 * Sums that each server makes of its own rows: of every row two 64-bit hashes, added up. Neither the order of
 * rows nor where they stand matters, and nothing but three numbers crosses the network.
 *
 *     SELECT <checksum_add_sums> FROM (SELECT <checksum_add_form> FROM …) x
 */
#ifndef MOSAIC_CATALOG_CHECKSUM_H
#define MOSAIC_CATALOG_CHECKSUM_H

#include "base/buffer.h"
#include "catalog/introspect.h"

/* SET LOCAL …: a row's text must not depend on a session's settings. To be run in the same transaction. */
extern const char checksum_settings[];

/* All modulo 2^128. Begin with zeros. */
struct checksum {
    unsigned __int128 rows, first, second;
};

/* A row as text; ROW(…) tells NULL from ''. Generated columns are left out: each server works them out. */
void checksum_add_text(struct buffer *sql, const struct table_facts *facts);
/* A row, binary where that is the same on every server, else as text, as the column r. */
void checksum_add_form(struct buffer *sql, const struct table_facts *facts);
/* Hash 1 or 2 of r. */
void checksum_add_hash(struct buffer *sql, const struct table_facts *facts, int seed);
/* Three columns, of all rows' r. */
void checksum_add_sums(struct buffer *sql, const struct table_facts *facts);
/* Adds the three columns from `column` on. */
void checksum_add_up(struct checksum *sum, const PGresult *result, int row, int column);
bool checksum_same(const struct checksum *a, const struct checksum *b);

#endif
