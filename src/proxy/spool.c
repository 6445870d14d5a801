#define _GNU_SOURCE /* O_TMPFILE */
#include "proxy/spool.h"

#include "base/buffer.h"
#include "base/memory.h"
#include "wire/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 64 * 1024 };

struct spool {
    size_t most;
    struct buffer kept; /* behind what is in the file */
    int file;           /* -1: there is none */
    off_t file_size, file_at;
    size_t kept_at;
    /* Of what is taken: the piece, and the message that it stands in. */
    char piece[PIECE];
    size_t piece_size, piece_at;
    char head[WIRE_HEADER];
    size_t head_size;
    size_t left; /* bytes of its body */
};

struct spool *spool_new(size_t most)
{
    struct spool *spool = memory_zeroed(1, sizeof *spool);
    if (!spool)
        return NULL;
    spool->most = most;
    spool->kept = BUFFER_INIT(SIZE_MAX / 2);
    spool->file = -1;
    return spool;
}

void spool_free(struct spool *spool)
{
    if (!spool)
        return;
    buffer_free(&spool->kept);
    if (spool->file >= 0)
        close(spool->file);
    memory_free(spool);
}

/* ---- in ---- */

static mosaic_status open_file(struct spool *spool, mosaic_error *error)
{
    const char *directory = getenv("TMPDIR");
    if (!directory || !*directory)
        directory = "/tmp";
    spool->file = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (spool->file >= 0)
        return MOSAIC_OK;
    error_errno(error, "cannot make a temporary file in %s", directory);
    error_hint(error, "raise scatter_memory, or set TMPDIR to a directory with room");
    return error_sqlstate(error, "58030");
}

/* What is in memory goes to the file. */
static mosaic_status spill(struct spool *spool, mosaic_error *error)
{
    const char *bytes = spool->kept.data;
    size_t size = spool->kept.size;
    if (spool->file < 0 && open_file(spool, error) != MOSAIC_OK)
        return error->status;
    while (size) {
        ssize_t wrote = pwrite(spool->file, bytes, size, spool->file_size);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0) {
            error_errno(error, "cannot write to a temporary file");
            return error_sqlstate(error, errno == ENOSPC ? "53100" : "58030");
        }
        bytes += wrote;
        size -= (size_t)wrote;
        spool->file_size += wrote;
    }
    buffer_clear(&spool->kept);
    return MOSAIC_OK;
}

mosaic_status spool_add(struct spool *spool, const char *bytes, size_t size, mosaic_error *error)
{
    buffer_add(&spool->kept, bytes, size);
    if (buffer_failed(&spool->kept))
        return error_memory(error);
    return spool->kept.size > spool->most ? spill(spool, error) : MOSAIC_OK;
}

/* ---- out ---- */

static mosaic_status next_piece(struct spool *spool, mosaic_error *error)
{
    ssize_t got = 0;
    spool->piece_at = spool->piece_size = 0;
    while (spool->file_at < spool->file_size) {
        got = pread(spool->file, spool->piece, PIECE, spool->file_at);
        if (got > 0 || (got < 0 && errno != EINTR) || got == 0)
            break;
    }
    if (spool->file_at < spool->file_size && got <= 0) {
        error_errno(error, "cannot read a temporary file");
        return error_sqlstate(error, "58030");
    }
    if (got > 0) {
        spool->file_at += got;
        spool->piece_size = (size_t)got;
        return MOSAIC_OK;
    }
    size_t left = spool->kept.size - spool->kept_at;
    spool->piece_size = left < PIECE ? left : PIECE;
    memcpy(spool->piece, buffer_string(&spool->kept) + spool->kept_at, spool->piece_size);
    spool->kept_at += spool->piece_size;
    return MOSAIC_OK;
}

/* Reads on in a message's head. */
static void take_head(struct spool *spool)
{
    spool->head[spool->head_size++] = spool->piece[spool->piece_at++];
    if (spool->head_size < WIRE_HEADER)
        return;
    spool->left = wire_get32(spool->head + 1) - 4;
    spool->head_size = 0;
}

mosaic_status spool_take(struct spool *spool, const char **bytes, size_t *size, mosaic_error *error)
{
    *size = 0;
    for (;;) {
        if (spool->piece_at == spool->piece_size) {
            mosaic_status status = next_piece(spool, error);
            if (status != MOSAIC_OK || !spool->piece_size)
                return status;
        }
        if (spool->left)
            break;
        take_head(spool);
    }
    size_t there = spool->piece_size - spool->piece_at;
    *size = there < spool->left ? there : spool->left;
    *bytes = spool->piece + spool->piece_at;
    spool->piece_at += *size;
    spool->left -= *size;
    return MOSAIC_OK;
}
