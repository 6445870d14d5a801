#include "proxy/ids.h"

#include <errno.h>
#include <stdlib.h>

enum { ASKED_LEAST = 64, KEPT_MS = 1000 };

size_t ids_there(struct ids *ids, int64_t now, const int64_t **list)
{
    if (now - ids->made > KEPT_MS)
        ids->count = ids->at = 0;
    *list = ids->list + ids->at;
    return ids->count - ids->at;
}

void ids_give(struct ids *ids, size_t count)
{
    ids->at += count;
}

void ids_query(size_t wanted, struct buffer *sql)
{
    size_t asked = wanted < ASKED_LEAST ? ASKED_LEAST : wanted;
    buffer_format(sql,
                  "SELECT pg_catalog.array_to_string(ARRAY(SELECT mosaic.next_id() FROM pg_catalog.generate_series(1, "
                  "%zu)), ' ')",
                  asked);
}

bool ids_learn(struct ids *ids, const char *text, int64_t now)
{
    ids->count = ids->at = 0;
    ids->made = now;
    while (*text && ids->count < IDS_MOST) {
        char *end;
        errno = 0;
        long long id = strtoll(text, &end, 10);
        if (end == text || errno || id <= 0 || (*end && *end != ' '))
            return ids->count = 0, false;
        ids->list[ids->count++] = id;
        text = *end ? end + 1 : end;
    }
    return ids->count > 0;
}
