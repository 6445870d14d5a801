/*
 * Facts: what a statement is, which relations it reads and writes in every scope, and what bounds each of them to keys.
 *
 *     text ── scan.h ──> tokens, shape
 *          ── parse.h ─> PostgreSQL's own raw parse tree
 *          ── facts.h ─> facts ── plan/plan.h (map, values) ──> plan
 *
 * Analysis is a whitelist: a node, function or operator that no rule here knows makes the statement unproved, with the
 * reason. Nothing is ever concluded from what was not understood.
 *
 * Facts hold for a shape: literals that only give a key's value are referred to by their token, so that the facts of
 * one text serve every text of that shape (plan/cache.h). Where analysis had to look at a literal's value for anything
 * else, `text_bound` is set and the facts serve that text alone.
 */
#ifndef MOSAIC_SQL_FACTS_H
#define MOSAIC_SQL_FACTS_H

#include "copy/splitter.h"
#include "sql/schema.h"

/* What the session knows that decides what a text means. */
struct sql_context {
    const struct schema *schema;
    const char *const *path; /* current_schemas(true): search_path with "$user" replaced, pg_catalog where it stands */
    size_t path_count;
    const uint32_t *types; /* of the parameters, as Parse gave them; 0: not said */
    size_t type_count;
    const char *const *temporary; /* names of the session's temporary tables: they hide others */
    size_t temporary_count;
};

/* X(identifier, what it is called in a refusal) */
#define STATEMENT_CLASS_LIST(X)                                                                           \
    X(EMPTY, "an empty statement")                                                                        \
    X(SELECT, "SELECT") /* also VALUES, TABLE */                                                          \
    X(INSERT, "INSERT")                                                                                   \
    X(UPDATE, "UPDATE")                                                                                   \
    X(DELETE, "DELETE")                                                                                   \
    X(MERGE, "MERGE")                                                                                     \
    X(EXPLAIN, "EXPLAIN") /* facts are those of what it explains */                                       \
    X(COPY_TO, "COPY TO") /* of a query or a table */                                                     \
    X(COPY_FROM, "COPY FROM")                                                                             \
    X(DECLARE, "DECLARE CURSOR") /* facts are those of its query */                                       \
    X(CURSOR, "a cursor's FETCH, MOVE or CLOSE")                                                          \
    X(BEGIN, "BEGIN")                                                                                     \
    X(COMMIT, "COMMIT")                                                                                   \
    X(ROLLBACK, "ROLLBACK")                                                                               \
    X(SAVEPOINT, "SAVEPOINT")                                                                             \
    X(RELEASE, "RELEASE SAVEPOINT")                                                                       \
    X(ROLLBACK_TO, "ROLLBACK TO SAVEPOINT")                                                               \
    X(TWO_PHASE, "PREPARE TRANSACTION") /* also COMMIT PREPARED, ROLLBACK PREPARED */                     \
    X(SET, "SET")                       /* also RESET; of the session or, is_local, of the transaction */ \
    X(SET_TRANSACTION, "SET TRANSACTION")                                                                 \
    X(CONSTRAINTS, "SET CONSTRAINTS") /* `name`: the first one's; NULL: ALL */                            \
    X(SHOW, "SHOW")                                                                                       \
    X(DISCARD, "DISCARD")                                                                                 \
    X(PREPARE, "PREPARE") /* `inner_*` is the statement prepared */                                       \
    X(EXECUTE, "EXECUTE")                                                                                 \
    X(DEALLOCATE, "DEALLOCATE")                                                                           \
    X(LISTEN, "LISTEN") /* also UNLISTEN */                                                               \
    X(NOTIFY, "NOTIFY")                                                                                   \
    X(LOCK, "LOCK TABLE")                                                                                 \
    X(DDL, "a change of the schema")                                                                      \
    X(MAINTENANCE, "VACUUM, ANALYZE, CHECKPOINT, REINDEX or CLUSTER")                                     \
    X(DO, "DO or CALL")                                                                                   \
    X(UNREADABLE, "a statement that the parser cannot read") /* `refusal` says why, in PostgreSQL's words */

enum statement_class {
#define X(identifier, name) STATEMENT_##identifier,
    STATEMENT_CLASS_LIST(X)
#undef X
        STATEMENT_CLASS_COUNT
};

const char *statement_class_name(enum statement_class class);
/* Is the setting a list of names, each of which is quoted where it needs to be? */
bool setting_is_name_list(const char *name);

/* Where the value that bounds a key column comes from. */
enum value_source {
    VALUE_LITERAL,
    VALUE_PARAMETER,
    VALUE_CONSTANT, /* of a view's text, or computed: its content is in `text` */
    VALUE_NULL,     /* the literal NULL */
    VALUE_SYMBOL,   /* a key that stands for any, while tier 2 is proved (scatter.c): in no facts */
};

struct fact_value {
    enum value_source source;
    uint32_t number;  /* literal: its token among the literals of the text, from 0; parameter: from 1 */
    uint32_t literal; /* of a constant: enum literal_class (scan.h) */
    const char *text; /* of a constant: its content, no quotes */
    /*
     * The type the literal or parameter has, or is cast to: OID below domains. A literal in quotes and a parameter that
     * nothing types have the type that the column they are compared with gives them. `is_array`: of the array.
     */
    uint32_t type;
    bool is_array;        /* = ANY(value): each element */
    bool is_cast;         /* `type` was written: value::type */
    bool is_negative;     /* a literal after a unary minus */
    bool is_assigned;     /* stored in the column, with an assignment's cast (1.5 becomes 2), instead of compared */
    bool null_is_a_value; /* IS NOT DISTINCT FROM: proves nothing where the value is NULL */
};

/*
 * The key of a relation in a scope is bound when each key column has a bound. alternatives: each a whole key (columns
 * of them); the relation's rows that matter have one of these keys. From IN lists, OR of equalities, rows of VALUES.
 */
struct fact_keys {
    const struct fact_value *values; /* row-major: alternatives × columns; is_array only where columns == 1 */
    size_t alternatives, columns;
};

/* A relation of one scope of the statement. Views are expanded: their relations stand here. */
struct fact_relation {
    const struct schema_relation *relation;
    int location;    /* byte offset of its name in the text; -1 where a view names it */
    bool is_written; /* INSERT, UPDATE, DELETE, MERGE target, FOR UPDATE */
    bool is_bound;   /* sharded: `keys` are proved to be the only ones that matter */
    struct fact_keys keys;
    /* UPDATE … SET of key columns: the keys that the rows get, which must be those they have. columns 0: none is set.
     */
    struct fact_keys new_keys;
    /* sharded and not bound: what is missing, one line, e.g. "no condition id = … on users", and what would prove it */
    const char *missing, *remedy;
};

/* SELECT mosaic.shard_table(…) and its like: what the proxy is to do with a table. */
enum placement_kind { PLACEMENT_SHARDED, PLACEMENT_REFERENCE, PLACEMENT_HOME };
enum placement_argument_kind {
    PLACEMENT_TABLE,
    PLACEMENT_KEY,
    PLACEMENT_COLOCATE_WITH,
    PLACEMENT_FUNCTION,
    PLACEMENT_BUCKETS,
    PLACEMENT_ARGUMENT_COUNT
};
struct placement_argument {
    const char *text;   /* NULL: not given, or a parameter */
    uint32_t parameter; /* from 1; 0: it is none */
};
struct fact_placement {
    enum placement_kind kind;
    struct placement_argument arguments[PLACEMENT_ARGUMENT_COUNT];
};

/* Why the statement cannot be planned whatever its values are. */
struct fact_refusal {
    const char *sqlstate; /* "0A000" unless PostgreSQL has a better one */
    const char *message, *detail, *hint;
    int location; /* -1: none */
};

/* An item of ORDER BY by which the shards' ordered answers are merged: a hidden column, in the order of the items. */
struct fact_sort {
    bool descending, nulls_first; /* as it takes effect: DESC alone means nulls_first */
    bool bytewise;                /* a text here is ordered by its bytes: collation C or POSIX is proved */
};

/* How the one value that each shard gives becomes the whole's. */
enum fact_aggregate {
    AGGREGATE_COUNT, /* count(*) and count(x) */
    AGGREGATE_SUM,
    AGGREGATE_MIN,
    AGGREGATE_MAX,
    AGGREGATE_BOOL_AND, /* also every() */
    AGGREGATE_BOOL_OR,
    AGGREGATE_BIT_AND,
    AGGREGATE_BIT_OR,
    AGGREGATE_BIT_XOR,
};
struct fact_combine {
    enum fact_aggregate function;
    bool bytewise; /* min, max of text: collation C or POSIX is proved */
};

/* What a column of the shards' answers must be at run time, or the coordinator takes the statement as a whole. */
enum fact_partial {
    PARTIAL_ANY,        /* what an array may have as an element */
    PARTIAL_UNCOLLATED, /* of these, what no collation orders */
    PARTIAL_NUMBER,     /* a sum that an average is made of: not of float4, which has lost too much */
};

/*
 * Tier 3: the coordinator's database combines what the shards say. All columns of `fact_scatter.text` are asked for in
 * binary; of each an array is made, parameters parameter_count + 1 and on of this statement, whose result is the
 * client's.
 */
struct fact_final {
    const char *text; /* "\1k\1" stands for the k-th column's type, from 1: its qualified name, with the modifier */
    const enum fact_partial *partials; /* of each column */
    const size_t *shown;    /* of each column of the result: which of theirs it shows as it is, from 1; 0: none */
    size_t parameter_count; /* of the client's */
};

/*
 * Rows that ORDER BY and LIMIT pick of all shards', and SKIP LOCKED of those that nobody has locked. The shards are
 * asked which rows there are, in their order, and lock none. In the order of all of them each is then tried where it
 * is, until there are as many as LIMIT wants: by the client's own words, with a condition that names the row's version.
 */
struct fact_pick {
    const char *peek; /* rows of ctid, xmin and, hidden, what is sorted by; LIMIT's and PICK_BEHIND more */
    const struct fact_sort *sorts;
    size_t sort_count;
    const char *before, *after;   /* the condition stands between them */
    const char *counts, *counted; /* the same of a query that counts them */
    const char *row;              /* how it calls the table, as SQL */
};
enum { PICK_BEHIND = 16384 }; /* rows of a shard that others may have locked, in front of those that are found */

/*
 * Tier 2: how the shards' answers to `text` make up the statement's own. Each row of the result (of an aggregate: each
 * row that it reads) comes of exactly one row of `driver`, whose key says the shard.
 */
struct fact_scatter {
    const struct fact_relation *driver; /* one of facts->relations; where it is_bound, its keys name the shards */
    const char *text;                   /* what each shard is asked, zero-terminated; parameters keep their numbers */
    size_t columns;                     /* of the result */
    size_t hidden; /* columns behind those, in binary: the sorts, or (aggregates) a copy of each column */
    const struct fact_sort *sorts;
    size_t sort_count;
    const struct fact_combine *combines; /* of each column; NULL: rows are rows. Then there is one row and no sorts */
    /* LIMIT and OFFSET: integer literals or parameters; has_… false: there is none. A NULL means none. */
    bool has_limit, has_offset;
    struct fact_value limit, offset;
    /* Tier 3: `hidden` are all columns of `text`, and there is nothing else to merge; a clause: why not tier 2. */
    const struct fact_final *final;
    const char *why_combined;
    /* EXPLAIN: what stands before the query. Then `text` is what is explained, and the result the plan of each shard.
     */
    const char *explains;
    bool is_cursor; /* DECLARE: `text` is the query */
    /*
     * FOR UPDATE and its like: each shard locks the rows that it gives, within the client's transaction, and the next
     * one is asked when it has. With LIMIT as they come, each is asked for as many as are lacking: before, how many,
     * after.
     */
    bool locks;
    const char *lacking_before, *lacking_after;
    const struct fact_pick
        *pick;                /* how the rows are picked that are locked; NULL: all are, or any. `text` is its peek */
    bool is_copy, has_header; /* COPY TO STDOUT, not in binary: `text` is the whole statement */
};

/* How several shards do what a statement writes. */
enum fact_spread {
    SPREAD_OWN,  /* each does to its own rows what the statement would do to all: the statement as it is */
    SPREAD_ROWS, /* INSERT … VALUES: each row goes to the shard of its key */
    SPREAD_SAME, /* a reference table: every shard does the same */
    SPREAD_ALL,  /* a change of the schema, or maintenance: each does it to what it has of the tables */
    SPREAD_MOVE, /* UPDATE of rows of one key, which get another one: of two shards */
    SPREAD_COPY, /* COPY FROM STDIN: each row that comes goes to the shard of its key; to a reference table: SAME */
};

/* COPY FROM STDIN: what is known of its rows before they come. Each shard is told the client's own text. */
struct fact_copy {
    struct copy_format format;
    bool has_header;
    size_t fields;            /* of a row */
    const size_t *key_fields; /* of each key column; none for a reference table */
    const int *key_modifiers; /* what of a value each stores: modifier.h */
    /* Fields whose text may name a moment ('now'), which would be another one on each shard. In binary: none. */
    const size_t *moment_fields;
    size_t moment_count;
};

enum {
    FACT_COPY_MOMENTS_MOST = COPY_WATCHED_MOST - KEY_COLUMNS_MAX,
    FACT_COPY_ROW_MOST = 64 * 1024 * 1024, /* bytes of a row */
};

/* Rows leave a shard for another one, as a DELETE and an INSERT of each; or (SAME) one inserts them for all others. */
struct fact_move {
    const char
        *taken; /* DELETE or INSERT … RETURNING `count` values of each row, or, where that is 0, one for nothing */
    const char *put;   /* INSERT … VALUES of one row; those values are $parameters + 1 and on */
    size_t parameters; /* of the client's, which keep their numbers */
    size_t count;
    const bool *as_text; /* of each value: its type is one's own. All others are PostgreSQL's, and go in binary */
};

/*
 * MERGE of a source that all shards have alike: each is told of those of its rows whose key it owns, and of those
 * without a key: before (SELECT * FROM source WHERE … columns …) AS alias after.
 */
struct fact_sift {
    const char *before, *source, *alias, *after; /* of the text; the alias as SQL */
    const char *const *columns;                  /* of the source, as SQL, each of the type of its key column */
};

/*
 * A write on several shards, in one transaction: what they do together is what one PostgreSQL with all rows would do.
 */
struct fact_write {
    enum fact_spread spread;
    /* OWN: whose keys, where it is_bound, name the shards. ROWS: its keys are the rows', one alternative a row. */
    const struct fact_relation *driver;
    const struct schema_relation *target; /* what is written; ALL: NULL */
    const char *tag;                      /* what its command tag begins with: "INSERT 0", "UPDATE", "DELETE",
                                           "COPY"; ALL: NULL, it is all words */
    const struct fact_copy *copy;         /* NULL: it is no COPY */
    bool has_returning;
    /*
     * OWN: the one key that SET gives all rows; columns 0: they keep theirs. Where a row is that has another shard's
     * key then, it cannot stay: only the shard of this key may have rows to change.
     */
    struct fact_keys gets;
    bool until_found; /* OWN: shard by shard, until one has changed a row; a LIMIT 1 picks those that are changed */
    bool returns_each_row; /* ROWS: RETURNING gives one row for each that is inserted, none is left out */
    bool reads_clock;      /* the time of its transaction is read, by the text */
    bool stores_clock;     /* only by the default of a column */
    bool tells_clock;      /* it is read by now() and its like alone, which words find: moment.h */
    /*
     * Literals and parameters, by their number from 0, that are stored as they are by a type that reads no 'now' in
     * them; all others may be read as the present. NULL: none is.
     */
    const bool *stored_literals, *stored_parameters;
    size_t stored_literal_count, stored_parameter_count;
    size_t start;                 /* of the statement in the text: not that of EXPLAIN */
    const struct fact_move *move; /* MOVE; SAME, where a default is not; else NULL */
    /* EXPLAIN: what stands before the statement; and does it run it, as ANALYZE does? The result is each shard's plan.
     */
    const char *explains;
    bool explain_runs;
    const struct fact_pick *pick; /* OWN: how the row is picked that is changed; NULL: it is none such */
    const struct fact_sift *sift; /* OWN: what of its source each shard is told of; NULL: it is none such */
    size_t words;                 /* ROWS: before the word VALUES, from `start` on (rows.h) */
    /* ROWS: the key is left out, and its column's default is mosaic.next_id(): whoever plans makes one for each row. */
    const char *made_key; /* the column; NULL: the rows have their keys */
    size_t made_at;       /* of the text: behind the columns that it names */
    size_t row_count;
    /* ALL: */
    const char *others;        /* what shards but the home shard are told; NULL: the same */
    bool by_itself;            /* it cannot be within a transaction: each shard does it for itself */
    const struct table *makes; /* a sharded table that was applied, anew: it gets its mosaic_owner; NULL: none */
    size_t inside;             /* where that is to stand in the text: behind the last of its columns and constraints */
    const char *leftovers;  /* by_itself: drops what an earlier try has left there, if nobody is at it; NULL: nothing */
    bool needs_transaction; /* it makes no sense outside of one: LOCK TABLE */
    bool once_a_server;     /* of what all databases of a server share: roles */
    bool takes_turns;       /* of two at a time the second waits for the end of the first one's transaction */
};

/*
 * INSERT of a query's rows: what must be known so that they are read first, and given to their shards then.
 *
 *     WITH … INSERT INTO t AS a (columns) SELECT … ON CONFLICT … RETURNING …
 *     with   insert                       start    behind
 */
struct fact_stream {
    const struct schema_relation *target;
    const struct schema_column *const *columns; /* that the query gives, in its order */
    size_t count;
    size_t with, insert, start, behind; /* in the text; behind 0: nothing stands there */
    bool is_given;                      /* by an INSERT, since it has what COPY has not */
    bool has_returning;
    bool names_moment;  /* what stands behind the query names now() or its like */
    bool is_plain;      /* its list may be cast in place: nothing else depends on what it gives */
    bool is_ordered;    /* by an ORDER BY, in which a sequence numbers the rows */
    const char *cannot; /* a clause: why its rows cannot go that way; NULL: they can */
};

/*
 * Tier 4: a condition of the key's bucket may stand beside what binds a relation of the top FROM, so that the
 * coordinator asks the shards of its keys alone: before WHERE condition AND … after.
 */
struct fact_prune {
    const struct fact_relation *relation; /* bound */
    const char *const *columns;           /* of its key, as SQL */
};
struct fact_pruning {
    const char *before, *condition, *after; /* of the text; condition NULL: it has no WHERE */
    const struct fact_prune *prunes;
    size_t count;
};

struct facts {
    enum statement_class class;
    int start, length; /* of the statement in the text, bytes; both 0: the whole text (the only statement) */
    const struct fact_relation *relations;
    size_t relation_count;
    const struct fact_refusal *refusal; /* NULL: none */
    bool is_unproved;                   /* the refusal is but that no shard could be proved: the coordinator may do */
    /* Why the coordinator would not give one PostgreSQL's answer, a clause; NULL: it would. Of reads alone. */
    const char *coordinator_cannot;
    /* Tier 2, where tier 1 is not sure already; NULL: not proved. Its text and limits are of this text: text_bound. */
    const struct fact_scatter *scatter;
    /* A clause: why not; NULL where it was not tried (no sharded relation, a write, one shard in any case). */
    const char *scatter_cannot;
    const struct fact_write *write; /* how several shards do it; NULL: not proved, or one shard does in any case */
    /* A clause: why they cannot, and what would help (NULL: nothing is known); NULL where it was not tried. */
    const char *write_cannot, *write_remedy;
    const struct fact_stream *stream;       /* NULL: it is none such */
    const struct fact_placement *placement; /* NULL: it is none */
    const struct fact_pruning *pruning;     /* NULL: nothing to prune by. Of this text: text_bound */
    bool reads_clock;                       /* the time of its transaction: now() and its like */
    bool notifies;                          /* NOTIFY, pg_notify: PostgreSQL does not prepare what has */
    bool sets_unknown;   /* a setting that only its connection knows: set_config of what is no literal */
    bool needs_home;     /* catalogs, home tables, sequences, advisory locks, LISTEN …: the home shard answers */
    bool reads_catalogs; /* needs_home, for catalogs alone, which it reads; what calls no volatile function */
    bool is_write;
    bool checks;          /* SET CONSTRAINTS IMMEDIATE */
    bool is_local;        /* SET LOCAL, DECLARE without WITH HOLD */
    bool chain;           /* COMMIT or ROLLBACK AND CHAIN */
    bool has_modes;       /* BEGIN with READ ONLY, ISOLATION LEVEL, … */
    bool text_bound;      /* these facts serve this text alone */
    bool changes_session; /* leaves something in the server's session that no list here knows: never shared */
    bool changes_schema;  /* DDL: the schema is to be read again after it */
    /* Relations that the statement names and the schema does not know, without their schemas. */
    const char *const *unknown;
    size_t unknown_count;
    bool calls_unknown; /* a function that the schema does not know */
    /* Parameters (from 1) that bound a key and whose type is not known without asking a server (Describe). */
    const uint32_t *untyped;
    size_t untyped_count;
    /* Types known of parameters that Parse left open, by the key they are compared with: OIDs by number - 1; 0: not. */
    const uint32_t *parameter_types;
    size_t parameter_count; /* highest $n of the text */
    /* SET, SHOW, RESET: setting's name, lower case, and value as a literal's content (NULL: DEFAULT, RESET).
     * SAVEPOINT, RELEASE, ROLLBACK TO, PREPARE, EXECUTE, DEALLOCATE, DECLARE, FETCH, CLOSE, LISTEN: the name (NULL:
     * ALL). DISCARD: all, plans, sequences or temp. CREATE TEMPORARY TABLE (class DDL, changes_session): its name;
     * other DDL that every shard does: what name it gives to a relation. */
    const char *name, *value;
    /* EXECUTE: its arguments as facts of values, where they are literals; else refusal. PREPARE: types and inner text.
     */
    const struct fact_value *arguments;
    size_t argument_count;
    const uint32_t *prepare_types;
    size_t prepare_type_count;
    /* PREPARE, EXPLAIN, DECLARE: the statement within; length 0: to the end. COPY TO, where it is in binary: the query
     * in parentheses; start 0: it copies a table. */
    int inner_start, inner_length;
    bool copies_binary;  /* COPY in PostgreSQL's binary format */
    bool explain_mosaic; /* EXPLAIN (MOSAIC) */
    bool declares_plain; /* DECLARE of a cursor that is only fetched forward, in text, within its transaction */
    bool closes;         /* CLOSE */
    int64_t fetches;     /* FETCH forward: so many rows; INT64_MAX: all; 0: it is another one */
    bool explain_plain;  /* EXPLAIN, as lines of text */
    bool is_constant;    /* SELECT of what any server says alike at any time: constant.c */
};

/* All statements of a text. */
struct facts_list {
    const struct facts *facts;
    size_t count;
};

/*
 * Analyses a text: one statement, or several as a simple Query may have. Fails only for want of memory: what cannot be
 * read or proved is a fact. Everything is in the arena and points to text nowhere.
 */
MOSAIC_MUST_CHECK mosaic_status facts_find(const struct sql_context *context, const char *text, size_t size,
                                           struct arena *arena, struct facts_list *list, mosaic_error *error);

/* The same with the text scanned already. */
struct scan;
MOSAIC_MUST_CHECK mosaic_status facts_find_scanned(const struct sql_context *context, const char *text, size_t size,
                                                   const struct scan *scan, struct arena *arena,
                                                   struct facts_list *list, mosaic_error *error);

#endif
