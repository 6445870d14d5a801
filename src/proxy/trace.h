/*
 * Trace ids: the setting `trace` gives each transaction one, which stands in the log's events of its statements, and at
 * its shard in application_name, so in %a of log_line_prefix and in pg_stat_activity. It is set by a statement that
 * goes with the transaction's first one: no round trip, and no byte of the client's is changed. Where that first text
 * has a comment with a traceparent (https://www.w3.org/TR/trace-context/, as sqlcommenter writes it), the id is its
 * trace-id.
 */
#ifndef MOSAIC_PROXY_TRACE_H
#define MOSAIC_PROXY_TRACE_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stddef.h>

enum { TRACE_ID = 32 };

struct client;

/* The trace-id of a traceparent='00-…' in the text; false: it has none that is well formed. */
bool trace_find(const char *text, size_t size, char id[TRACE_ID + 1]);
/* SET application_name to the client's own name, cut where it must be, and the id. */
void trace_statement(struct buffer *sql, const char *name, const char *id);
/* The linked server is given a new id, before the transaction. False: memory is out. */
bool trace_begin(struct client *client);

#endif
