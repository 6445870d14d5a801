/*
 * The part of the preflight that compares what new sessions are given on two shards: by the server, by the database, or
 * by ALTER ROLE.
 */
#ifndef MOSAIC_CATALOG_PREFLIGHT_SETTINGS_H
#define MOSAIC_CATALOG_PREFLIGHT_SETTINGS_H

#include "catalog/finding.h"
#include "catalog/introspect.h"

/* A finding for each setting that decides what a value is, and is another one on `other` than on `first`. */
void preflight_settings(const struct shard_facts *first, const struct shard_facts *other, struct findings *findings);

#endif
