/*
 * Plans: facts, a map and values → the one shard that gives the statement's answer, or the reason why not.
 *
 * A plan is made only by proof: every sharded relation in every scope is bound to keys that all live on one shard, and
 * what else the statement reads is there too. Later tiers add kinds of plans; they never change what PLAN_SHARD means.
 */
#ifndef MOSAIC_PLAN_PLAN_H
#define MOSAIC_PLAN_PLAN_H

#include "sql/facts.h"

enum plan_kind {
    PLAN_SHARD,       /* `shard` answers the statement's untouched bytes */
    PLAN_ANY,         /* every shard would give the same answer: the one that is open already, else any */
    PLAN_SCATTER,     /* tier 2: each of `shards` answers scatter->text, merged here; `error` says why not a shard */
    PLAN_WRITE,       /* several shards do it in one transaction: write->parts; `error` says why not a shard */
    PLAN_COORDINATOR, /* tier 4: PostgreSQL's executor over foreign tables; `error` says why not a shard */
    PLAN_REFUSED,     /* `error` says why, what would prove it, and how to write it */
};

enum { PLAN_NO_BUCKET = UINT32_MAX };

/* What one shard is told. */
struct plan_write_part {
    uint16_t shard;
    const char *text;  /* not zero-terminated */
    size_t statements; /* of a script: that many tags come */
    size_t inside;     /* where plan_write.makes has it, of this text */
    size_t size;
    /* The client's parameters, numbered from 1, that $1, $2 … of this text are. NULL: all of them, as they stand. */
    const uint16_t *parameters;
    size_t parameter_count;
    const uint32_t *rows; /* an INSERT that is split: which rows of the client's, from 0, ascending; else NULL */
    size_t row_count;
};

/* What the shards' tags are for the client. */
enum plan_tags {
    TAGS_SUM,  /* their counts are added */
    TAGS_SAME, /* all must be the same: another one is a copy that has gone astray. RETURNING's rows are those of one */
    TAGS_WORDS, /* the whole tag, of words alone, must be the same */
};

/* INSERT of a query's rows: what is read before any of it is written. See stream.h. */
struct plan_source {
    const struct plan *plan; /* PLAN_SCATTER, of one server too, which may be the coordinator: number shard_count */
    int tier;                /* of the read */
    bool of_coordinator;     /* tier 4 */
    bool reads_clock;
};

/* A reference table besides the one that is written. */
struct plan_turn {
    const struct table *table;
    bool is_shared; /* it is read; else foreign keys' actions write it */
};

/*
 * A write on several shards. All parts stand in one transaction, or none does. Where tags are the same (a reference
 * table), whoever writes must have the first part's shard to himself before the others are told, as by LOCK TABLE …
 * IN SHARE ROW EXCLUSIVE MODE there, and then each of them: else two writers could follow each other in another order
 * elsewhere. The first part's alone of what takes_turns.
 */
struct plan_write {
    const struct plan_write_part *parts; /* ascending by shard; at least 2; 1 with a source, or keys that were made */
    size_t part_count;
    enum plan_tags tags;
    const char *tag; /* what the tag begins with, before a blank and the count: "INSERT 0", "UPDATE", "DELETE",
                      "COPY"; NULL */
    const struct schema_relation *target; /* what is written; NULL: no rows of one table */
    /* The first part gives the rows that the others get, a row each time; NULL: it is none such. */
    const struct fact_move *move;
    const struct fact_pick *pick; /* which row is changed all of them say together; the parts' text is its peek. NULL */
    bool has_keeper; /* rows that are changed get a key of `keeper`: another shard must have none, or it fails */
    uint16_t keeper;
    bool sifts;                       /* MERGE: each part has the source's rows whose keys its shard owns */
    bool until_found;                 /* one after the other, and none behind the first that has changed a row */
    const struct fact_copy *copy;     /* COPY FROM STDIN: how its rows are dealt out; NULL: it is none */
    const struct plan_source *source; /* where the rows of `copy` come from; NULL: from the client */
    /* Of each column that the source gives, its type: the parts are an INSERT that takes arrays of these, as parameters
     * behind the client's own. NULL: they are COPY. */
    const uint32_t *arrays;
    size_t ids_used; /* the first ones of those that there were */
    bool has_returning;
    bool returning_in_row_order; /* each part's k-th row of RETURNING is of its k-th of `rows`: in the client's order */
    bool reads_clock;            /* now() and its like must be one moment on all shards */
    bool tells_clock;            /* the shards are told the moment, where the caller knows it: then none reads it */
    bool stores_clock;           /* only a column's default reads it: no text could be told another moment */
    bool changes_schema;         /* all shards read by another schema, once it is committed */
    /* As fact_write has them: */
    const char *explains; /* what stands before each part's text */
    bool explain_runs;
    bool by_itself, needs_transaction, once_a_server, takes_turns;
    bool is_script; /* script.h: what the home shard says is told, and of the others only whether it went well */
    const char *leftovers;
    const struct table *makes;
    const struct plan_turn *turns; /* TAGS_SAME: what else must be as it is, or its writer's alone, meanwhile */
    size_t turn_count;
};

struct plan {
    enum plan_kind kind;
    uint16_t shard;
    uint32_t bucket;                /* PLAN_NO_BUCKET where no key decided, or several buckets of one shard */
    const char *relation;           /* display name of the table whose key decided; NULL: none */
    bool wants_coordinator;         /* PLAN_REFUSED: it could, and is not ready */
    const char *pruned;             /* PLAN_COORDINATOR: the text, with conditions of buckets; NULL: as it is */
    size_t ids_wanted;              /* PLAN_REFUSED for want of so many ids; 0: for another reason */
    mosaic_error *error;            /* PLAN_REFUSED, PLAN_COORDINATOR, PLAN_SCATTER, PLAN_WRITE */
    const struct plan_write *write; /* PLAN_WRITE alone */
    /* PLAN_SCATTER alone: */
    const struct fact_scatter *scatter;
    const uint16_t *shards; /* ascending; those that own a bucket and, where the driver is bound, one of its keys */
    size_t shard_count;     /* at least 2 */
    uint64_t limit, offset; /* limit UINT64_MAX: none */
};

/* A value of a parameter or of a literal, as it came. */
struct plan_value {
    const char *data;
    int32_t size;   /* bytes; -1: NULL */
    int16_t format; /* 0 text, 1 binary */
    uint32_t type;  /* OID; 0: an unknown literal ('42' in quotes, or a parameter that nothing types) */
    /*
     * An argument of EXECUTE, which PostgreSQL makes a value of the parameter's type by an assignment's cast: the OID
     * of the type in which it is written, 0: none, in quotes. UINT32_MAX: it cannot be read.
     */
    bool is_argument;
    uint32_t written;
    bool is_cast; /* written::type */
};

/* Who knows better: SET mosaic.shard, SET mosaic.key …, or the statement's leading comment. */
struct plan_hint {
    const char *shard; /* name; NULL: none */
    const char *key;   /* text form of a key of the statement's table, or of `table`; composite: a line of CSV */
    const char *table; /* as a person types it; NULL: the statement's own */
    /* Of no place, but of what may be done where one shard is not enough; plan_make does not look at it: guard.h. */
    const char *scatter;         /* allow, warn or deny */
    const char *partial_results; /* on or off */
    /* Of the session alone, for transactions over several shards: docs/consistency.md. */
    const char *clock;                     /* one or shard */
    const char *allow_per_shard_snapshots; /* on or off */
    const char *commit;                    /* two_phase, one_shard_only or best_effort */
};

struct plan_input {
    const struct schema *schema;       /* whose model has the map */
    const struct plan_value *literals; /* of the text, in order */
    size_t literal_count;
    const struct plan_value *parameters;
    size_t parameter_count;
    const struct plan_hint *hint; /* may be NULL */
    bool has_scatter;             /* the caller can ask several shards and merge what they say */
    bool has_writes;              /* it can write on several shards in one transaction; then `text` is the whole text */
    const char *text;
    size_t size;
    const char *moment;         /* when the transaction began, a timestamptz, to be told to shards; NULL: not known */
    bool has_coordinator;       /* it is there, and in step with the schema */
    const char *no_coordinator; /* why it is not, where there should be one; NULL */
    const int64_t *ids;         /* of mosaic.next_id(), which nobody has been given: for keys that are made here */
    size_t id_count;
    bool has_streams; /* the caller can read an INSERT's rows first, and write them then; of has_writes */
    const struct sql_context *context; /* with has_streams: that of the text's analysis */
};

/*
 * Plans one statement. Never fails but for want of memory; a refusal is a plan. `arena` holds what the plan points to.
 * A key value that its type does not take is refused with PostgreSQL's own SQLSTATE (22P02, 22003), unless the home
 * shard is to say so itself.
 */
MOSAIC_MUST_CHECK mosaic_status plan_make(const struct facts *facts, const struct plan_input *input,
                                          struct arena *arena, struct plan *plan, mosaic_error *error);

#endif
