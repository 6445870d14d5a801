#include "pq/dump.h"

#include "base/memory.h"
#include "pq/process.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPTIONS_SAID = 8 /* those that are ours, and the end */ };

/* The newest of the machine's: pg_dump reads older servers, never newer ones. */
static const char *find_program(struct arena *arena)
{
    for (int major = 20; major >= 13; major--)
        for (int i = 0; i < 2; i++) {
            char path[64];
            snprintf(path, sizeof path, i == 0 ? "/usr/lib/postgresql/%d/bin/pg_dump" : "/usr/pgsql-%d/bin/pg_dump",
                     major);
            if (access(path, X_OK) == 0)
                return arena_string(arena, path);
        }
    return "pg_dump";
}

/* The conninfo without its password, which would show in the list of processes; it goes by the environment. */
static const char *without_password(struct arena *arena, const char *conninfo, const char **password)
{
    char *problem = NULL;
    struct buffer text = BUFFER_INIT(64 * 1024);
    PQconninfoOption *options = PQconninfoParse(conninfo, &problem);
    *password = NULL;
    for (PQconninfoOption *option = options; option && option->keyword; option++) {
        if (!option->val)
            continue;
        if (strcmp(option->keyword, "password") == 0) {
            *password = arena_string(arena, option->val);
            continue;
        }
        buffer_format(&text, "%s='", option->keyword);
        for (const char *at = option->val; *at; at++) {
            if (*at == '\'' || *at == '\\')
                buffer_char(&text, '\\');
            buffer_char(&text, *at);
        }
        buffer_text(&text, "' ");
    }
    PQfreemem(problem);
    PQconninfoFree(options);
    const char *copy = buffer_failed(&text) ? NULL : arena_string(arena, buffer_string(&text));
    buffer_free(&text);
    return copy;
}

static mosaic_status read_file(const char *path, struct buffer *text, mosaic_error *error)
{
    char piece[16 * 1024];
    size_t got;
    FILE *file = fopen(path, "re");
    if (!file)
        return error_errno(error, "cannot read %s", path);
    while ((got = fread(piece, 1, sizeof piece, file)) > 0)
        buffer_add(text, piece, got);
    bool failed = ferror(file);
    fclose(file);
    if (failed)
        return error_errno(error, "cannot read %s", path);
    return buffer_failed(text) ? error_memory(error) : MOSAIC_OK;
}

/* The list of words, in the arena; NULL when memory is out. */
static const char **words(struct arena *arena, const char *conninfo, const char *const *options, const char *path)
{
    size_t given = 0, count = 0;
    while (options[given])
        given++;
    const char **argv = arena_zeroed(arena, given + OPTIONS_SAID, sizeof *argv);
    if (!argv)
        return NULL;
    argv[count++] = find_program(arena);
    for (size_t i = 0; i < given; i++)
        argv[count++] = options[i];
    argv[count++] = "--file";
    argv[count++] = path;
    argv[count++] = "--dbname";
    argv[count++] = conninfo;
    return argv[0] ? argv : NULL;
}

static mosaic_status run(const char *const *argv, const char *password, int timeout_ms, const volatile int *interrupted,
                         mosaic_error *error)
{
    struct buffer said = BUFFER_INIT(1024 * 1024);
    mosaic_status status = process_run(argv, NULL, password, timeout_ms, interrupted, &said, error);
    buffer_free(&said);
    if (status == MOSAIC_NOT_FOUND)
        error_hint(error, "install PostgreSQL's client programs (Debian: apt-get install postgresql-client)");
    return status;
}

mosaic_status pq_dump(const char *conninfo, const char *const *options, int timeout_ms, const volatile int *interrupted,
                      struct buffer *text, mosaic_error *error)
{
    struct arena arena = ARENA_INIT;
    const char *directory = getenv("TMPDIR"), *password;
    char *path = arena_format(&arena, "%s/pgmosaic-dump-XXXXXX", directory ? directory : "/tmp");
    const char *plain = without_password(&arena, conninfo, &password);
    const char **argv = path && plain ? words(&arena, plain, options, path) : NULL;
    mosaic_status status = argv ? MOSAIC_OK : error_memory(error);
    int file = argv ? mkstemp(path) : -1;
    if (argv && file < 0)
        status = error_errno(error, "cannot make a file in %s", directory ? directory : "/tmp");
    if (file >= 0) {
        close(file);
        status = run(argv, password, timeout_ms, interrupted, error);
        if (status == MOSAIC_OK)
            status = read_file(path, text, error);
        unlink(path);
    }
    arena_free(&arena);
    return status;
}
