#define _GNU_SOURCE /* mkostemp */
#include "cli/bad_rows.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PLACES_FIRST = 1024 };

static const char head[] = "line,sqlstate,reason,row\n";

/* ---- writing ------------------------------------------------------------------------------------------ */

static void write_field(FILE *file, const char *text, size_t size)
{
    fputc('"', file);
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '"')
            fputc('"', file);
        fputc(text[i], file);
    }
    fputc('"', file);
}

static void start(struct bad_rows *rows)
{
    struct stat about;
    rows->file = fopen(rows->path, "w+e");
    if (!rows->file)
        rows->file = fopen(rows->path, "we"); /* what may be written only */
    rows->failure = rows->file ? 0 : errno;
    rows->forgot = false;
    rows->last = 0;
    rows->in_order = true;
    if (!rows->file)
        return;
    fputs(head, rows->file);
    rows->is_device = fstat(fileno(rows->file), &about) != 0 || !S_ISREG(about.st_mode);
}

static void remember(struct bad_rows *rows, uint64_t line)
{
    rows->in_order &= rows->last <= line;
    rows->last = line;
    if (rows->is_device)
        return;
    if (rows->count == rows->capacity && !rows->forgot) {
        size_t capacity = rows->capacity ? rows->capacity * 2 : PLACES_FIRST;
        capacity = capacity > BAD_ROWS_SORTED_MOST ? BAD_ROWS_SORTED_MOST : capacity;
        void *places = capacity > rows->count ? memory_resize(rows->places, capacity * sizeof *rows->places) : NULL;
        rows->forgot = !places;
        rows->places = places ? places : rows->places;
        rows->capacity = places ? capacity : rows->capacity;
    }
    if (!rows->forgot)
        rows->places[rows->count++] = (struct bad_row_place){line, (int64_t)ftello(rows->file)};
}

void bad_rows_add(struct bad_rows *rows, uint64_t line, const char *row, size_t size, const mosaic_error *why)
{
    char reason[sizeof why->message + sizeof why->detail + 8];
    if (!rows->file && !rows->failure)
        start(rows);
    if (!rows->file)
        return;
    remember(rows, line);
    snprintf(reason, sizeof reason, "%s%s%s", why->message, why->detail[0] ? ": " : "", why->detail);
    fprintf(rows->file, "%" PRIu64 ",%s,", line, why->sqlstate);
    write_field(rows->file, reason, strlen(reason));
    fputc(',', rows->file);
    if (rows->binary) {
        fputs("\\x", rows->file);
        for (size_t i = 0; i < size; i++)
            fprintf(rows->file, "%02x", (unsigned char)row[i]);
    } else {
        write_field(rows->file, row, size);
    }
    fputc('\n', rows->file);
}

void bad_rows_restart(struct bad_rows *rows)
{
    if (rows->file)
        fclose(rows->file);
    rows->file = NULL;
    rows->count = 0;
}

/* ---- in order ------------------------------------------------------------------------------------------- */

static int compare_places(const void *left, const void *right)
{
    const struct bad_row_place *a = left, *b = right;
    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* One row: up to the first newline that stands in no quotes. */
static bool copy_row(FILE *from, int64_t offset, FILE *to)
{
    bool quoted = false;
    int c = EOF;
    /* Most rows follow each other; a seek would read the buffer anew. */
    if (ftello(from) != offset && fseeko(from, offset, SEEK_SET) != 0)
        return false;
    while ((c = getc_unlocked(from)) != EOF) {
        putc_unlocked(c, to);
        quoted ^= c == '"';
        if (c == '\n' && !quoted)
            return true;
    }
    return false;
}

static bool copy_all(struct bad_rows *rows, FILE *to)
{
    qsort(rows->places, rows->count, sizeof *rows->places, compare_places);
    if (fflush(rows->file) != 0)
        return false;
    fputs(head, to);
    for (size_t i = 0; i < rows->count; i++)
        if (!copy_row(rows->file, rows->places[i].offset, to))
            return false;
    return fflush(to) == 0 && !ferror(to);
}

/* A copy in order, which takes the file's place. */
static bool replace_by_copy(struct bad_rows *rows, const char *target)
{
    struct stat about;
    char path[PATH_MAX + 8];
    snprintf(path, sizeof path, "%s.XXXXXX", target);
    int made = mkostemp(path, O_CLOEXEC);
    if (made < 0)
        return false;
    FILE *copy = fdopen(made, "w");
    if (!copy) {
        close(made);
        unlink(path);
        return false;
    }
    bool fine =
        copy_all(rows, copy) && fstat(fileno(rows->file), &about) == 0 && fchmod(made, about.st_mode & 0777) == 0;
    fine &= fclose(copy) == 0;
    if (fine && rename(path, target) == 0)
        return true;
    unlink(path);
    return false;
}

/* Where no copy can be made the rows stay as they came. A link stays one. */
static bool put_in_order(struct bad_rows *rows)
{
    char *target = realpath(rows->path, NULL);
    bool fine = target && replace_by_copy(rows, target);
    free(target);
    return fine;
}

mosaic_status bad_rows_close(struct bad_rows *rows, bool *sorted, mosaic_error *error)
{
    *sorted = true;
    if (rows->file) {
        if (!rows->in_order && !rows->is_device)
            *sorted = !rows->forgot && put_in_order(rows);
        bool failed = ferror(rows->file) != 0;
        if (fclose(rows->file) != 0 || failed)
            rows->failure = errno ? errno : EIO;
        rows->file = NULL;
    }
    memory_free(rows->places);
    rows->places = NULL;
    rows->count = rows->capacity = 0;
    if (!rows->failure)
        return MOSAIC_OK;
    errno = rows->failure;
    return error_errno(error, "the good rows are loaded, but the bad ones could not be written to %s", rows->path);
}
