#include "proxy/snapshot.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

/* Room for one more of `size` bytes each behind `count`, doubled when the count is a power of two. */
static void *grown(struct snapshot_part *part, void *rows, size_t count, size_t size)
{
    if (part->failed || (count & (count - 1)) || (count && count < 16))
        return part->failed ? NULL : rows;
    void *larger = memory_resize(rows, (count < 16 ? 16 : 2 * count) * size);
    part->failed = !larger;
    return larger;
}

#define DEFINE_ROW(type)                                                                        \
    struct type##_row *snapshot_##type(struct snapshot_part *part)                              \
    {                                                                                           \
        void *rows = grown(part, part->type##s, part->type##_count, sizeof(struct type##_row)); \
        if (!rows)                                                                              \
            return NULL;                                                                        \
        part->type##s = rows;                                                                   \
        part->type##s[part->type##_count] = (struct type##_row){0};                             \
        return &part->type##s[part->type##_count++];                                            \
    }
DEFINE_ROW(client)
DEFINE_ROW(server)
DEFINE_ROW(pool)
DEFINE_ROW(plan)

const char *snapshot_text(struct snapshot_part *part, const char *text)
{
    const char *copy = text ? arena_string(&part->arena, text) : NULL;
    if (text && !copy)
        part->failed = true;
    return copy;
}

static int compare_texts(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) : (a != NULL) - (b != NULL);
}

static int compare_pools(const void *left, const void *right)
{
    const struct pool_row *a = left, *b = right;
    int order = compare_texts(a->user, b->user);
    return order ? order : compare_texts(a->shard, b->shard);
}

static void add_pool(struct pool_row *to, const struct pool_row *from)
{
    to->cl_active += from->cl_active;
    to->cl_waiting += from->cl_waiting;
    to->cl_active_cancel += from->cl_active_cancel;
    to->cl_waiting_cancel += from->cl_waiting_cancel;
    to->sv_active += from->sv_active;
    to->sv_active_cancel += from->sv_active_cancel;
    to->sv_being_canceled += from->sv_being_canceled;
    to->sv_idle += from->sv_idle;
    to->sv_used += from->sv_used;
    to->sv_tested += from->sv_tested;
    to->sv_login += from->sv_login;
    to->maxwait = from->maxwait > to->maxwait ? from->maxwait : to->maxwait;
}

mosaic_status snapshot_pools(const struct snapshot *snapshot, struct arena *arena, struct pool_row **pools,
                             size_t *count, mosaic_error *error)
{
    size_t all = 0, merged = 0;
    for (size_t i = 0; i < snapshot->count; i++)
        all += snapshot->parts[i].pool_count;
    struct pool_row *rows = arena_zeroed(arena, all + 1, sizeof *rows);
    if (!rows)
        return error_memory(error);
    for (size_t i = 0, at = 0; i < snapshot->count; i++) {
        const struct snapshot_part *part = &snapshot->parts[i];
        if (part->pool_count)
            memcpy(rows + at, part->pools, part->pool_count * sizeof *rows);
        at += part->pool_count;
    }
    qsort(rows, all, sizeof *rows, compare_pools);
    for (size_t i = 0; i < all; i++) {
        if (merged && compare_pools(&rows[merged - 1], &rows[i]) == 0)
            add_pool(&rows[merged - 1], &rows[i]);
        else
            rows[merged++] = rows[i];
    }
    *pools = rows;
    *count = merged;
    return MOSAIC_OK;
}

void snapshot_part_free(struct snapshot_part *part)
{
    arena_free(&part->arena);
    memory_free(part->clients);
    memory_free(part->servers);
    memory_free(part->pools);
    memory_free(part->plans);
    *part = (struct snapshot_part){0};
}
