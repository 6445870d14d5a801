#define _GNU_SOURCE /* O_TMPFILE */
#include "proxy/temporary.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

mosaic_status temporary_open(int *file, mosaic_error *error)
{
    const char *directory = getenv("TMPDIR");
    if (!directory || !*directory)
        directory = "/tmp";
    *file = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*file >= 0)
        return MOSAIC_OK;
    error_errno(error, "cannot make a temporary file in %s", directory);
    error_hint(error, "raise scatter_memory, or set TMPDIR to a directory with room");
    return error_sqlstate(error, "58030");
}

mosaic_status temporary_write(int file, off_t *end, const char *bytes, size_t size, mosaic_error *error)
{
    while (size) {
        ssize_t wrote = pwrite(file, bytes, size, *end);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0) {
            error_errno(error, "cannot write to a temporary file");
            return error_sqlstate(error, errno == ENOSPC ? "53100" : "58030");
        }
        bytes += wrote;
        size -= (size_t)wrote;
        *end += wrote;
    }
    return MOSAIC_OK;
}

mosaic_status temporary_read(int file, off_t at, char *bytes, size_t size, size_t *got, mosaic_error *error)
{
    ssize_t read;
    do
        read = pread(file, bytes, size, at);
    while (read < 0 && errno == EINTR);
    if (read <= 0) {
        error_errno(error, "cannot read a temporary file");
        return error_sqlstate(error, "58030");
    }
    *got = (size_t)read;
    return MOSAIC_OK;
}
