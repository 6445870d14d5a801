#include "lab/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MOST_PATH = 4096, MOST_FILE = 16 << 20, LOCK_WAITS = 6000, DEEPEST = 64 };

mosaic_status files_make_directories(const char *path, mode_t mode, mosaic_error *error)
{
    char part[MOST_PATH];
    size_t size = strlen(path);

    if (size >= sizeof part)
        return error_set(error, MOSAIC_USAGE, "the path %.60s… is longer than %d bytes", path, MOST_PATH - 1);
    for (size_t at = 1; at <= size; at++) {
        if (path[at] != '/' && path[at] != '\0')
            continue;
        memcpy(part, path, at);
        part[at] = '\0';
        if (mkdir(part, mode) != 0 && errno != EEXIST)
            return error_errno(error, "cannot make the directory %s", part);
    }
    return MOSAIC_OK;
}

static mosaic_status sync_parent(const char *path, mosaic_error *error)
{
    char parent[MOST_PATH];
    const char *slash = strrchr(path, '/');
    int directory;

    snprintf(parent, sizeof parent, "%.*s", slash && slash != path ? (int)(slash - path) : 1, slash ? path : ".");
    directory = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return error_errno(error, "cannot open the directory %s", parent);
    if (fsync(directory) != 0 && errno != EINVAL) {
        error_errno(error, "cannot flush the directory %s", parent);
        close(directory);
        return MOSAIC_IO;
    }
    close(directory);
    return MOSAIC_OK;
}

static bool write_all(int file, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t written = write(file, text, size);

        if (written < 0 && errno != EINTR)
            return false;
        if (written > 0) {
            text += written;
            size -= (size_t)written;
        }
    }
    return true;
}

mosaic_status files_replace(const char *path, const char *text, mode_t mode, mosaic_error *error)
{
    char next[MOST_PATH];
    int file;

    if (snprintf(next, sizeof next, "%s.next", path) >= (int)sizeof next)
        return error_set(error, MOSAIC_USAGE, "the path %.60s… is longer than %d bytes", path, MOST_PATH - 1);
    /* What an interrupted call left may have another mode. */
    if (unlink(next) != 0 && errno != ENOENT)
        return error_errno(error, "cannot remove %s", next);
    file = open(next, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (file < 0)
        return error_errno(error, "cannot write %s", next);
    if (fchmod(file, mode) != 0 || !write_all(file, text, strlen(text)) || fsync(file) != 0) {
        error_errno(error, "cannot write %s", next);
        close(file);
        unlink(next);
        return MOSAIC_IO;
    }
    close(file);
    if (rename(next, path) != 0) {
        error_errno(error, "cannot rename %s to %s", next, path);
        unlink(next);
        return MOSAIC_IO;
    }
    return sync_parent(path, error);
}

mosaic_status files_read(const char *path, struct buffer *content, mosaic_error *error)
{
    int file = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t got = 0;

    if (file < 0 && errno == ENOENT)
        return error_set(error, MOSAIC_NOT_FOUND, "there is no file %s", path);
    if (file < 0)
        return error_errno(error, "cannot read %s", path);
    if (content->maximum == 0 || content->maximum > MOST_FILE)
        content->maximum = MOST_FILE;
    do {
        char piece[8192];

        got = read(file, piece, sizeof piece);
        if (got > 0)
            buffer_add(content, piece, (size_t)got);
    } while ((got > 0 && !buffer_failed(content)) || (got < 0 && errno == EINTR));
    if (got < 0) {
        error_errno(error, "cannot read %s", path);
        close(file);
        return MOSAIC_IO;
    }
    close(file);
    if (buffer_failed(content))
        return error_set(error, MOSAIC_LIMIT, "%s is larger than %zu bytes", path, content->maximum);
    return MOSAIC_OK;
}

static mosaic_status remove_at(int parent, const char *name, const char *shown, int depth, mosaic_error *error);

/* Takes over the descriptor. Entries can vanish under it while servers end, so it goes round until nothing is left. */
static mosaic_status empty_directory(int directory, const char *shown, int depth, mosaic_error *error)
{
    DIR *stream = fdopendir(directory);
    const struct dirent *entry;
    mosaic_status status = MOSAIC_OK;

    if (!stream) {
        error_errno(error, "cannot list %s", shown);
        close(directory);
        return MOSAIC_IO;
    }
    while (status == MOSAIC_OK && (entry = readdir(stream)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            status = remove_at(dirfd(stream), entry->d_name, shown, depth + 1, error);
    closedir(stream);
    return status;
}

static mosaic_status remove_at(int parent, const char *name, const char *shown, int depth, mosaic_error *error)
{
    for (int attempt = 0; attempt < 5; attempt++) {
        mosaic_status status;
        int directory;

        if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
            return MOSAIC_OK;
        if (errno != EISDIR && errno != EPERM)
            return error_errno(error, "cannot remove %s in %s", name, shown);
        if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
            return MOSAIC_OK;
        if ((errno != ENOTEMPTY && errno != EEXIST) || depth > DEEPEST)
            return error_errno(error, "cannot remove %s in %s", name, shown);
        directory = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (directory < 0 && errno == ENOENT)
            return MOSAIC_OK;
        if (directory < 0)
            return error_errno(error, "cannot open %s in %s", name, shown);
        status = empty_directory(directory, shown, depth, error);
        if (status != MOSAIC_OK)
            return status;
    }
    return error_set(error, MOSAIC_IO, "cannot remove %s in %s: something keeps writing there", name, shown);
}

mosaic_status files_remove(const char *path, mosaic_error *error)
{
    return remove_at(AT_FDCWD, path, path, 0, error);
}

/* True when the open lock file is still the one that the path names: its last holder may have removed it. */
static bool still_named(int lock, const char *path)
{
    struct stat opened, named;

    return fstat(lock, &opened) == 0 && stat(path, &named) == 0 && opened.st_ino == named.st_ino &&
           opened.st_dev == named.st_dev;
}

mosaic_status files_lock(const char *path, const volatile int *interrupted, void (*waiting)(void *context),
                         void *context, int *lock, mosaic_error *error)
{
    const struct timespec pause = {.tv_nsec = 100 * 1000 * 1000};

    for (int wait = 0; wait < LOCK_WAITS; wait++) {
        *lock = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (*lock < 0)
            return error_errno(error, "cannot open the lock file %s", path);
        if (flock(*lock, LOCK_EX | LOCK_NB) == 0) {
            if (still_named(*lock, path))
                return MOSAIC_OK;
            close(*lock);
            continue;
        }
        if (errno != EWOULDBLOCK && errno != EINTR) {
            error_errno(error, "cannot lock %s", path);
            close(*lock);
            return MOSAIC_IO;
        }
        close(*lock);
        if (wait == 0 && waiting)
            waiting(context);
        nanosleep(&pause, NULL);
        if (interrupted && *interrupted)
            return error_set(error, MOSAIC_INTERRUPTED, "interrupted while waiting for %s", path);
    }
    error_set(error, MOSAIC_TIMEOUT, "another pgmosaic holds %s for more than ten minutes", path);
    return error_hint(error, "see who: fuser -v '%s'", path);
}

void files_unlock(const char *path, int lock)
{
    unlink(path);
    close(lock);
}
