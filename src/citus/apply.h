/*
 * Apply on a Citus cluster: makes it distribute the config's tables as the config says. As catalog/apply.h: first look,
 * then show, then do.
 *
 * Each step is one statement of Citus's, all or nothing; what a run that was cut off has done stays, and the next run
 * goes on from there. A table that is taken out of the config stays distributed.
 */
#ifndef MOSAIC_CITUS_APPLY_H
#define MOSAIC_CITUS_APPLY_H

#include "catalog/apply.h"
#include "citus/nodes.h"

struct citus_apply;

MOSAIC_MUST_CHECK mosaic_status citus_apply_look(struct model *model, const struct apply_options *options,
                                                 struct citus_apply **apply, mosaic_error *error);
const struct findings *citus_apply_findings(const struct citus_apply *apply);
/* What a person reads, a line a step; "" when nothing changes. */
const char *citus_apply_plan(const struct citus_apply *apply);
MOSAIC_MUST_CHECK mosaic_status citus_apply_do(struct citus_apply *apply, apply_say_fn say, void *context,
                                               mosaic_error *error);
/* The connection that it looks by, and what the nodes answered; for status. Live as long as the apply. */
PGconn *citus_apply_connection(const struct citus_apply *apply);
const struct citus_answers *citus_apply_answers(const struct citus_apply *apply);
void citus_apply_close(struct citus_apply *apply);

#endif
