#define _GNU_SOURCE
#include "proxy/spool.h"

#include "base/buffer.h"
#include "base/memory.h"
#include "proxy/temporary.h"
#include "wire/wire.h"

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

/* What is in memory goes to the file. */
static mosaic_status spill(struct spool *spool, mosaic_error *error)
{
    if (spool->file < 0 && temporary_open(&spool->file, error) != MOSAIC_OK)
        return error->status;
    mosaic_status status = temporary_write(spool->file, &spool->file_size, spool->kept.data, spool->kept.size, error);
    if (status != MOSAIC_OK)
        return status;
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
    spool->piece_at = spool->piece_size = 0;
    if (spool->file_at < spool->file_size) {
        mosaic_status status =
            temporary_read(spool->file, spool->file_at, spool->piece, PIECE, &spool->piece_size, error);
        spool->file_at += (off_t)spool->piece_size;
        return status;
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
