/*
 * Intrusive lists: doubly linked rings, so that an element leaves without being looked for and nothing is allocated.
 * An element that is in no list points to itself.
 */
#ifndef MOSAIC_PROXY_LIST_H
#define MOSAIC_PROXY_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *previous;
};

#define LIST_OWNER(type, member, node) ((type *)(void *)((char *)(node)-offsetof(type, member)))

static inline void list_init(struct list *list)
{
    list->next = list->previous = list;
}

static inline bool list_empty(const struct list *list)
{
    return list->next == list;
}

static inline void list_remove(struct list *node)
{
    node->previous->next = node->next;
    node->next->previous = node->previous;
    list_init(node);
}

static inline void list_insert_before(struct list *place, struct list *node)
{
    node->next = place;
    node->previous = place->previous;
    place->previous->next = node;
    place->previous = node;
}

/* To the end: a queue's way. */
static inline void list_append(struct list *list, struct list *node)
{
    list_insert_before(list, node);
}

/* To the front: a stack's way. */
static inline void list_push(struct list *list, struct list *node)
{
    list_insert_before(list->next, node);
}

/* NULL when empty. */
static inline struct list *list_first(const struct list *list)
{
    return list->next == list ? NULL : list->next;
}

/* Moves everything of `from` to `to`, which must be empty. */
static inline void list_take(struct list *from, struct list *to)
{
    list_init(to);
    if (list_empty(from))
        return;
    *to = *from;
    to->next->previous = to->previous->next = to;
    list_init(from);
}

#endif
