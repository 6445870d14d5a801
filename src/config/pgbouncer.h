/*
 * pgbouncer.ini → mosaic.yaml: every setting is taken over under its own or another name, or listed in a comment with
 * the reason why not. Pure: text in, text out.
 *
 * What pgbouncer.ini may hold: https://www.pgbouncer.org/config.html.
 */
#ifndef MOSAIC_CONFIG_PGBOUNCER_H
#define MOSAIC_CONFIG_PGBOUNCER_H

#include "base/buffer.h"
#include "base/error.h"

struct pgbouncer_options {
    const char *source;           /* name of the file, for messages */
    const char *cluster;          /* NULL: the name of the first database */
    const char *const *databases; /* NULL-terminated: those that become shards; NULL: the only one there is */
};

/*
 * Adds the text of a mosaic.yaml to `yaml`. MOSAIC_CONFIG with the line for what is no ini file; MOSAIC_USAGE where
 * several databases are there and none was named, or one that was named is not there.
 */
MOSAIC_MUST_CHECK mosaic_status pgbouncer_convert(const char *text, size_t size,
                                                  const struct pgbouncer_options *options, struct buffer *yaml,
                                                  mosaic_error *error);

/* What of an auth_file (userlist.txt) to take care of, as lines of comment; counts the users. */
MOSAIC_MUST_CHECK mosaic_status pgbouncer_userlist(const char *text, size_t size, const char *source,
                                                   struct buffer *notes, mosaic_error *error);

#endif
