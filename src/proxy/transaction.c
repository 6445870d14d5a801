#include "proxy/transaction.h"

#include "base/memory.h"
#include "proxy/own_schema.h"

#include <string.h>

struct savepoint {
    struct savepoint *below;
    struct settings_state *session; /* held */
    unsigned number;
    char name[];
};

bool transaction_begin(struct transaction *transaction, struct settings_state *session, const char *text, size_t size)
{
    transaction_opened(transaction, session);
    transaction->is_lazy = true;
    transaction->is_plain = transaction->is_bare = true;
    transaction->kept = BUFFER_INIT(TRANSACTION_KEPT_MOST);
    return transaction_keep(transaction, text, size, true);
}

void transaction_opened(struct transaction *transaction, struct settings_state *session)
{
    transaction->is_open = true;
    transaction->is_lazy = transaction->has_failed = false;
    transaction->before = settings_hold(session);
    transaction->savepoints = NULL;
}

bool transaction_keep(struct transaction *transaction, const char *text, size_t size, bool is_plain)
{
    transaction->is_plain &= is_plain;
    buffer_add(&transaction->kept, text, size);
    /* The semicolon on a line of its own: the text may end in a comment. */
    buffer_text(&transaction->kept, "\n;");
    return !buffer_failed(&transaction->kept);
}

void transaction_first(const struct transaction *transaction, struct buffer *text)
{
    const char *kept = buffer_string(&transaction->kept), *end = strstr(kept, "\n;");
    buffer_add(text, kept, end ? (size_t)(end - kept) : 0);
}

bool transaction_read(struct transaction *transaction)
{
    static const char query[] = "SELECT 1";
    if (!transaction->is_lazy || transaction->has_read)
        return true;
    transaction->has_read = true;
    return transaction_keep(transaction, query, sizeof query - 1, true);
}

void transaction_replayed(struct transaction *transaction)
{
    transaction->is_lazy = false;
}

bool transaction_follow(struct transaction *transaction, const char *text, size_t size)
{
    if (transaction->is_lazy || !transaction->kept.size || transaction_keep(transaction, text, size, false))
        return true;
    buffer_free(&transaction->kept);
    return false;
}

bool transaction_savepoint(struct transaction *transaction, const char *name, struct settings_state *session)
{
    size_t size = strlen(name) + 1;
    struct savepoint *made = memory_allocate(sizeof *made + size);
    if (!made)
        return false;
    made->below = transaction->savepoints;
    made->session = settings_hold(session);
    made->number = ++transaction->savepoint_count;
    memcpy(made->name, name, size);
    transaction->savepoints = made;
    return true;
}

static struct savepoint *find(const struct transaction *transaction, const char *name)
{
    struct savepoint *each = transaction->savepoints;
    while (each && strcmp(each->name, name) != 0)
        each = each->below;
    return each;
}

bool transaction_has_savepoint(const struct transaction *transaction, const char *name)
{
    return find(transaction, name) != NULL;
}

unsigned transaction_savepoint_number(const struct transaction *transaction, const char *name,
                                      const struct settings_state **session)
{
    const struct savepoint *found = find(transaction, name);
    *session = found ? found->session : NULL;
    return found ? found->number : 0;
}

/* Frees those above `last`; with it where `too`. */
static void drop(struct transaction *transaction, const struct savepoint *last, bool too)
{
    while (transaction->savepoints && (too || transaction->savepoints != last)) {
        struct savepoint *top = transaction->savepoints;
        bool end = top == last;
        transaction->savepoints = top->below;
        settings_release(top->session);
        memory_free(top);
        if (end)
            return;
    }
}

void transaction_release(struct transaction *transaction, const char *name)
{
    const struct savepoint *found = find(transaction, name);
    if (found)
        drop(transaction, found, true);
}

struct settings_state *transaction_rollback_to(struct transaction *transaction, const char *name)
{
    struct savepoint *found = find(transaction, name);
    if (!found)
        return NULL;
    drop(transaction, found, false);
    own_schema_drop(transaction);
    transaction->meaning *= UINT64_C(0xbf58476d1ce4e5b9); /* odd: what was prepared behind it is not this */
    for (struct cursor_place *place = transaction->cursors; place; place = place->next)
        place->is_sure = false; /* perhaps declared behind it */
    transaction->has_failed = false;
    return settings_hold(found->session);
}

struct cursor_place *cursors_find(struct cursor_place *places, const char *name)
{
    while (places && strcmp(places->name, name) != 0)
        places = places->next;
    return places;
}

void cursors_remove(struct cursor_place **places, const char *name)
{
    while (*places) {
        struct cursor_place *place = *places;
        if (name && strcmp(place->name, name) != 0) {
            places = &place->next;
            continue;
        }
        *places = place->next;
        memory_free(place);
    }
}

bool transaction_declare(struct transaction *transaction, const char *name, uint64_t server, bool is_held)
{
    struct cursor_place *place = cursors_find(transaction->cursors, name);
    size_t size = strlen(name) + 1;
    if (!place) {
        place = memory_allocate(sizeof *place + size);
        if (!place)
            return false;
        memcpy(place->name, name, size);
        place->next = transaction->cursors;
        transaction->cursors = place;
    }
    place->server = server;
    place->is_sure = true;
    place->is_held = is_held;
    return true;
}

uint64_t transaction_cursor(const struct transaction *transaction, const char *name, bool *is_sure)
{
    const struct cursor_place *place = cursors_find(transaction->cursors, name);
    *is_sure = place && place->is_sure;
    return place ? place->server : 0;
}

struct settings_state *transaction_end(struct transaction *transaction)
{
    struct settings_state *before = transaction->before;
    drop(transaction, NULL, true);
    cursors_remove(&transaction->cursors, NULL);
    buffer_free(&transaction->kept);
    buffer_free(&transaction->made);
    own_schema_drop(transaction);
    *transaction = (struct transaction){0};
    return before;
}
