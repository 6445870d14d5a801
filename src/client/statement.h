/*
 * What can be told of a statement without parsing it: is the call usable, and what does its first word allow? Pure.
 */
#ifndef MOSAIC_CLIENT_STATEMENT_H
#define MOSAIC_CLIENT_STATEMENT_H

#include "base/error.h"
#include "base/memory.h"

/*
 * X(identifier, word, kind). Words that are not listed are OTHER: the statement runs, but its session is cleaned before
 * the next use.
 */
#define STATEMENT_WORD_LIST(X)          \
    X(SELECT, "select", DATA)           \
    X(INSERT, "insert", DATA)           \
    X(UPDATE, "update", DATA)           \
    X(DELETE, "delete", DATA)           \
    X(MERGE, "merge", DATA)             \
    X(WITH, "with", DATA)               \
    X(VALUES, "values", DATA)           \
    X(TABLE, "table", DATA)             \
    X(BEGIN, "begin", BOUNDARY)         \
    X(START, "start", BOUNDARY)         \
    X(COMMIT, "commit", BOUNDARY)       \
    X(END, "end", BOUNDARY)             \
    X(ROLLBACK, "rollback", BOUNDARY)   \
    X(ABORT, "abort", BOUNDARY)         \
    X(PREPARE, "prepare", BOUNDARY)     \
    X(SAVEPOINT, "savepoint", BOUNDARY) \
    X(RELEASE, "release", BOUNDARY)

enum statement_kind {
    /* Cannot begin or end a transaction, whatever functions it calls: when it fails, nothing of it stays. */
    STATEMENT_DATA,
    STATEMENT_BOUNDARY, /* of a transaction, or of a part of one; PREPARE too, whose statement would outlive the call */
    STATEMENT_OTHER,
};

/* By the first word after blanks and comments. */
enum statement_kind statement_kind(const char *sql);
/* May it leave something behind in its session (SET, temporary tables, advisory locks, LISTEN …)? When in doubt, yes;
 * what called.h cannot see, no. */
bool statement_marks_session(const char *sql);
/* How often it says COLLATE "C", "POSIX" or ucs_basic: the collations whose order is that of the bytes. */
size_t statement_byte_collations(const char *sql);

/* Are the arguments usable? MOSAIC_USAGE says which is not. */
MOSAIC_MUST_CHECK mosaic_status statement_check(const mosaic_statement *statement, mosaic_error *error);
/* A deep copy in the arena of a checked statement; false when memory is out. */
bool statement_copy(struct arena *arena, const mosaic_statement *statement, mosaic_statement *copy);
/* A deep copy of a key; false when memory is out, or when parts are nested in parts. */
bool statement_copy_key(struct arena *arena, mosaic_key key, mosaic_key *copy);

#endif
