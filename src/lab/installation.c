#include "lab/installation.h"

#include "pq/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { VERSION_TIMEOUT_MS = 10000 };

static bool has_programs(struct arena *arena, const char *directory)
{
    const char *initdb = arena_format(arena, "%s/initdb", directory);
    const char *postgres = arena_format(arena, "%s/postgres", directory);

    return initdb && postgres && access(initdb, X_OK) == 0 && access(postgres, X_OK) == 0;
}

/* The major version that `postgres --version` says; 0 when it says none. */
static int ask_version(struct arena *arena, const char *directory)
{
    const char *argv[] = {arena_format(arena, "%s/postgres", directory), "--version", NULL};
    struct buffer output = BUFFER_INIT(4096);
    const char *number;
    int major = 0;

    if (argv[0] && process_run(argv, NULL, NULL, VERSION_TIMEOUT_MS, NULL, &output, NULL) == MOSAIC_OK) {
        number = strpbrk(buffer_string(&output), "0123456789");
        major = number ? atoi(number) : 0;
    }
    buffer_free(&output);
    return major;
}

/* Where extensions stand, as the installation itself says. NULL when it does not. */
static const char *share_directory(struct arena *arena, const char *directory)
{
    const char *argv[] = {arena_format(arena, "%s/pg_config", directory), "--sharedir", NULL};
    struct buffer output = BUFFER_INIT(4096);
    const char *share = NULL;

    if (argv[0] && process_run(argv, NULL, NULL, VERSION_TIMEOUT_MS, NULL, &output, NULL) == MOSAIC_OK) {
        const char *text = buffer_string(&output);

        share = arena_format(arena, "%.*s", (int)strcspn(text, "\r\n"), text);
    }
    buffer_free(&output);
    return share;
}

/* Where pg_config is missing (a package of its own here and there), the usual places. */
static bool has_citus(struct arena *arena, const char *directory, int major)
{
    const char *share = share_directory(arena, directory);
    const char *places[] = {share ? arena_format(arena, "%s/extension/citus.control", share) : NULL,
                            arena_format(arena, "/usr/share/postgresql/%d/extension/citus.control", major),
                            arena_format(arena, "%s/../share/extension/citus.control", directory),
                            arena_format(arena, "%s/../share/postgresql/extension/citus.control", directory)};

    for (size_t i = share ? 0 : 1; i < (share ? 1 : sizeof places / sizeof *places); i++)
        if (places[i] && access(places[i], R_OK) == 0 && (i != 1 || strncmp(directory, "/usr/lib/", 9) == 0))
            return true;
    return false;
}

static mosaic_status find_forced(struct arena *arena, const char *forced, bool with_citus, const char **directory,
                                 int *major, mosaic_error *error)
{
    char *real = realpath(forced, NULL);

    *directory = real ? arena_string(arena, real) : NULL;
    free(real);
    if (!*directory)
        return error_set(error, MOSAIC_NOT_FOUND, "there is no directory %s with initdb and postgres", forced);
    if (!has_programs(arena, *directory))
        *directory = arena_format(arena, "%s/bin", *directory);
    if (!*directory)
        return error_memory(error);
    if (!has_programs(arena, *directory))
        return error_set(error, MOSAIC_NOT_FOUND, "%s has no initdb and postgres, nor has its bin/", forced);
    *major = ask_version(arena, *directory);
    if (*major < POSTGRES_OLDEST || *major > POSTGRES_NEWEST)
        return error_set(error, MOSAIC_UNSUPPORTED, "%s is PostgreSQL %d; pgmosaic knows %d to %d", *directory, *major,
                         POSTGRES_OLDEST, POSTGRES_NEWEST);
    if (with_citus && !has_citus(arena, *directory, *major))
        return error_set(error, MOSAIC_NOT_FOUND,
                         "%s is PostgreSQL %d without Citus: it has no extension/citus.control", *directory, *major);
    return MOSAIC_OK;
}

static bool find_in_path(struct arena *arena, int wanted_major, bool with_citus, const char **directory, int *major)
{
    const char *path = getenv("PATH");
    char *copy = arena_string(arena, path ? path : ""), *rest = NULL;

    for (char *part = copy ? strtok_r(copy, ":", &rest) : NULL; part; part = strtok_r(NULL, ":", &rest)) {
        if (*part != '/' || !has_programs(arena, part))
            continue;
        *major = ask_version(arena, part);
        if (*major >= POSTGRES_OLDEST && *major <= POSTGRES_NEWEST && (!wanted_major || *major == wanted_major) &&
            (!with_citus || has_citus(arena, part, *major))) {
            *directory = part;
            return true;
        }
    }
    return false;
}

mosaic_status installation_find(struct arena *arena, const char *forced, int wanted_major, bool with_citus,
                                const char **directory, int *major, mosaic_error *error)
{
    if (forced)
        return find_forced(arena, forced, with_citus, directory, major, error);
    for (*major = POSTGRES_NEWEST; *major >= POSTGRES_OLDEST; --*major) {
        if (wanted_major && *major != wanted_major)
            continue;
        for (size_t i = 0; i < 2; i++) {
            char path[64];

            snprintf(path, sizeof path, i == 0 ? "/usr/lib/postgresql/%d/bin" : "/usr/pgsql-%d/bin", *major);
            *directory = arena_string(arena, path);
            if (*directory && has_programs(arena, *directory) && (!with_citus || has_citus(arena, *directory, *major)))
                return MOSAIC_OK;
        }
    }
    if (find_in_path(arena, wanted_major, with_citus, directory, major))
        return MOSAIC_OK;
    if (wanted_major)
        error_set(error, MOSAIC_NOT_FOUND, "this lab was made by PostgreSQL %d%s, which is not installed any more",
                  wanted_major, with_citus ? " with Citus" : "");
    else if (with_citus)
        return error_set(
            error, MOSAIC_NOT_FOUND,
            "no PostgreSQL of %d to %d in /usr/lib/postgresql, /usr/pgsql-N or PATH has the extension Citus",
            POSTGRES_OLDEST, POSTGRES_NEWEST);
    else
        error_set(error, MOSAIC_NOT_FOUND,
                  "no PostgreSQL server of %d to %d was found in /usr/lib/postgresql, /usr/pgsql-N or PATH",
                  POSTGRES_OLDEST, POSTGRES_NEWEST);
    return error_hint(error,
                      "install one (Debian: apt-get install postgresql), or give --postgres DIR, or use --with docker");
}
