#include "proxy/placement_file.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { FILE_MOST = 4 << 20 };

static mosaic_status read_all(const char *path, char **text, size_t *size, struct stat *was, mosaic_error *error)
{
    FILE *file = fopen(path, "rbe");
    *text = file ? memory_allocate(FILE_MOST + 1) : NULL;
    if (!file || !*text || fstat(fileno(file), was) != 0) {
        mosaic_status status = file && !*text ? error_memory(error) : error_errno(error, "%s", path);
        if (file)
            fclose(file);
        return status;
    }
    *size = fread(*text, 1, FILE_MOST + 1, file);
    bool failed = ferror(file) || *size > FILE_MOST;
    fclose(file);
    return failed ? error_set(error, MOSAIC_IO, "%s cannot be read", path) : MOSAIC_OK;
}

static mosaic_status is_read_only(const struct placement_file *file, const char *why, mosaic_error *error)
{
    error_set(error, MOSAIC_CONFIG, "the proxy's config cannot be written: %s", why);
    error_hint(error, "put the table into %s, or take it out, run pgmosaic apply, and reload the proxy",
               file->config_path);
    error_sqlstate(error, "55000");
    return MOSAIC_CONFIG;
}

mosaic_status placement_file_read(struct placement_file *file, mosaic_error *error)
{
    if (!realpath(file->config_path, file->path))
        return error_errno(error, "%s", file->config_path);
    mosaic_status status = read_all(file->path, &file->text, &file->size, &file->was, error);
    if (status != MOSAIC_OK)
        return status;
    if (!(file->was.st_mode & (S_IWUSR | S_IWGRP | S_IWOTH)))
        return is_read_only(file, "its mode lets nobody write", error);
    return access(file->path, W_OK) == 0 ? MOSAIC_OK : is_read_only(file, strerror(errno), error);
}

static void let_go(struct placement_file *file)
{
    if (*file->made)
        close(file->fd);
    *file->made = '\0';
}

static bool write_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t written = write(fd, data, size);
        if (written < 0 && errno != EINTR)
            return false;
        data += written > 0 ? written : 0;
        size -= written > 0 ? (size_t)written : 0;
    }
    return true;
}

static bool is_as_it_was(const struct placement_file *file)
{
    char *text = NULL;
    size_t size = 0;
    struct stat now;
    mosaic_error ignored;
    bool same = read_all(file->path, &text, &size, &now, &ignored) == MOSAIC_OK && size == file->size &&
                memcmp(text, file->text, size) == 0;
    memory_free(text);
    return same;
}

/* Opens it, locked. -1, and errno: EWOULDBLOCK where another process has it. */
static int open_locked(const char *path)
{
    struct stat ours, there;
    for (;;) {
        int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
            return -1;
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            int why = errno;
            close(fd);
            errno = why;
            return -1;
        }
        if (fstat(fd, &ours) == 0 && lstat(path, &there) == 0 && ours.st_dev == there.st_dev &&
            ours.st_ino == there.st_ino)
            return fd;
        close(fd); /* who had it has put it in place, or dropped it, in between */
    }
}

static mosaic_status is_taken(const struct placement_file *file, mosaic_error *error)
{
    error_set(error, MOSAIC_PREFLIGHT, "another process is changing %s", file->config_path);
    error_detail(error, "It has locked %s.new.", file->path);
    error_hint(error, "wait until it is done");
    error_sqlstate(error, "55006");
    return MOSAIC_PREFLIGHT;
}

/* The text, for whom the old one was for. */
static mosaic_status fill(const struct placement_file *file, const struct buffer *text, mosaic_error *error)
{
    /* Where it may not be given away it is ours. */
    if (fchown(file->fd, file->was.st_uid, file->was.st_gid) != 0)
        errno = 0;
    bool done = fchmod(file->fd, file->was.st_mode & 07777) == 0 && ftruncate(file->fd, 0) == 0 &&
                write_all(file->fd, text->data, text->size) && fsync(file->fd) == 0;
    return done ? MOSAIC_OK : is_read_only(file, strerror(errno), error);
}

mosaic_status placement_file_write(struct placement_file *file, const struct buffer *text, mosaic_error *error)
{
    char made[PATH_MAX];
    if (snprintf(made, sizeof made, "%s.new", file->path) >= (int)sizeof made)
        return error_set(error, MOSAIC_IO, "the path of %s is too long", file->config_path);
    file->fd = open_locked(made);
    if (file->fd < 0)
        return errno == EWOULDBLOCK ? is_taken(file, error) : is_read_only(file, strerror(errno), error);
    memcpy(file->made, made, sizeof made);
    mosaic_status status = MOSAIC_OK;
    if (!is_as_it_was(file)) {
        status = error_set(error, MOSAIC_CONFIG, "somebody has changed %s meanwhile", file->config_path);
        error_hint(error, "try again");
        error_sqlstate(error, "55000");
    }
    if (status == MOSAIC_OK)
        status = fill(file, text, error);
    if (status != MOSAIC_OK)
        placement_file_drop(file);
    return status;
}

/* The new name is on the disk, too. */
static void sync_directory(const char *path)
{
    char directory[PATH_MAX];
    snprintf(directory, sizeof directory, "%s", path);
    char *slash = strrchr(directory, '/');
    if (!slash)
        return;
    *(slash == directory ? slash + 1 : slash) = '\0';
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)!fsync(fd);
    close(fd);
}

mosaic_status placement_file_use(struct placement_file *file, mosaic_error *error)
{
    const char *why = is_as_it_was(file) ? NULL : "somebody has changed it meanwhile";
    if (!why && rename(file->made, file->path) == 0) {
        sync_directory(file->path);
        let_go(file);
        return MOSAIC_OK;
    }
    error_set(error, MOSAIC_CONFIG, "the cluster has been changed, and %s has not: %s", file->config_path,
              why ? why : strerror(errno));
    error_detail(error, "The proxy refuses statements until its config is as the cluster is.");
    error_hint(error, "what it is to be stands in %s: put it in place, and reload the proxy", file->made);
    error_sqlstate(error, "55000");
    return MOSAIC_CONFIG;
}

void placement_file_drop(struct placement_file *file)
{
    if (*file->made)
        (void)!unlink(file->made);
    let_go(file);
}

void placement_file_free(struct placement_file *file)
{
    let_go(file);
    memory_free(file->text);
    file->text = NULL;
}
