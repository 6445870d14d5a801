/*
 * What becomes of each statement of a pg_dump (--schema-only --quote-all-identifiers) on the coordinator. Pure.
 *
 * What no line of the list knows is run as it is: what cannot be run then shows, and nothing is left out unnoticed.
 */
#ifndef MOSAIC_CATALOG_COORDINATOR_DUMP_H
#define MOSAIC_CATALOG_COORDINATOR_DUMP_H

#include "base/memory.h"
#include "core/script.h"

enum dump_action {
    DUMP_LEAVE_OUT,
    DUMP_RUN,
    DUMP_SCHEMA,         /* CREATE SCHEMA: where it is missing; name is set */
    DUMP_RELATION,       /* something with rows: a table of ours takes its place; schema and name are set */
    DUMP_VIEW,           /* run as it is; schema and name are set */
    DUMP_RELATION_OWNER, /* of a relation, sequences included: schema, name, object and role are set */
    DUMP_OWNER,          /* of anything else: object and role are set */
    DUMP_GRANT,          /* GRANT or REVOKE; object is set */
};

struct dump_item {
    enum dump_action action;
    const char *schema, *name; /* unquoted */
    const char *object;        /* FUNCTION "public"."f"("a" integer), as ALTER and GRANT name it alike */
    const char *role;          /* quoted */
    bool is_definer;           /* a function that runs with its owner's rights */
    bool is_optional;          /* without it no query has another meaning: trigger functions, operator classes */
};

/* Strings are in the arena. MOSAIC_INTERNAL for what pg_dump does not say, and where memory is out. */
MOSAIC_MUST_CHECK mosaic_status dump_read(const struct statement *statement, struct arena *arena,
                                          struct dump_item *item, mosaic_error *error);
/*
 * The script in a dump: without the commands of psql (\restrict) that enclose it since 15.14. Points into the text.
 */
struct script dump_script(const char *text);

#endif
