#include "core/waits.h"

#include "base/buffer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { DETAIL_MOST = 1 << 16, NONE = -1 };

/* ---- a look ---- */

/* A larger array where this one is full; the old one stays in the arena. */
static void *grow(struct waits *waits, void *items, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return items;
    size_t larger = *room ? *room * 2 : 64;
    void *grown = count < WAITS_MOST ? arena_allocate(&waits->arena, larger * size) : NULL;
    if (!grown) {
        waits->failed = true;
        return NULL;
    }
    if (count)
        memcpy(grown, items, count * size);
    *room = larger;
    return grown;
}

void waits_add_edge(struct waits *waits, const struct waits_edge *edge)
{
    struct waits_edge *edges = grow(waits, waits->edges, waits->edge_count, &waits->edge_room, sizeof *edges);
    const char *what = arena_string(&waits->arena, edge->what);
    waits->failed |= !what;
    if (!edges || !what)
        return;
    waits->edges = edges;
    edges[waits->edge_count] = *edge;
    edges[waits->edge_count++].what = what;
}

void waits_add_name(struct waits *waits, struct waits_process process, enum waits_kind kind, uint64_t number)
{
    struct waits_name *names = grow(waits, waits->names, waits->name_count, &waits->name_room, sizeof *names);
    if (!names)
        return;
    waits->names = names;
    names[waits->name_count++] = (struct waits_name){process, kind, number};
}

void waits_free(struct waits *waits)
{
    arena_free(&waits->arena);
    *waits = WAITS_INIT;
}

/* ---- what is sorted ---- */

static int compare(uint64_t left, uint64_t right)
{
    return (left > right) - (left < right);
}

static int by_process(const void *left, const void *right)
{
    const struct waits_process *a = left, *b = right;
    return a->shard != b->shard ? compare(a->shard, b->shard) : compare(a->id, b->id);
}

static int by_edge(const void *left, const void *right)
{
    const struct waits_edge *a = left, *b = right;
    int order = by_process(&a->waiter, &b->waiter);
    if (!order)
        order = by_process(&a->blocker, &b->blocker);
    return order ? order : compare((uint64_t)a->since, (uint64_t)b->since);
}

static int by_name(const void *left, const void *right)
{
    const struct waits_name *a = left, *b = right;
    if (a->kind != b->kind)
        return compare(a->kind, b->kind);
    return a->number != b->number ? compare(a->number, b->number) : by_process(&a->process, &b->process);
}

/* ---- graphs ---- */

/* Between vertices that are numbers. */
struct link {
    size_t from, to;
    const struct waits_edge *edge;
};

struct graph {
    size_t vertex_count, link_count;
    struct link *links;
    bool *is_out;   /* of each vertex: it counts no more */
    bool *to, *fro; /* for label_cycles */
    long *label; /* of each vertex: of those that are in a cycle, a number that all in cycles with it have; or NONE */
};

static bool counts(const struct graph *graph, const struct link *link)
{
    return !graph->is_out[link->from] && !graph->is_out[link->to];
}

/* Those that can be reached from a vertex, or, backwards, that reach it; itself only by a cycle. */
static void reach(const struct graph *graph, size_t start, bool backwards, bool *reached)
{
    memset(reached, 0, graph->vertex_count * sizeof *reached);
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < graph->link_count; i++) {
            const struct link *link = &graph->links[i];
            size_t from = backwards ? link->to : link->from, to = backwards ? link->from : link->to;
            if (!counts(graph, link) || reached[to] || (from != start && !reached[from]))
                continue;
            reached[to] = more = true;
        }
    }
}

/* Leaves out whoever waits for nobody, or is waited for by nobody. */
static void trim(struct graph *graph)
{
    for (bool more = true; more;) {
        more = false;
        memset(graph->to, 0, graph->vertex_count * sizeof *graph->to);
        memset(graph->fro, 0, graph->vertex_count * sizeof *graph->fro);
        for (size_t i = 0; i < graph->link_count; i++)
            if (counts(graph, &graph->links[i]))
                graph->to[graph->links[i].to] = graph->fro[graph->links[i].from] = true;
        for (size_t v = 0; v < graph->vertex_count; v++)
            if (!graph->is_out[v] && !(graph->to[v] && graph->fro[v]))
                graph->is_out[v] = more = true;
    }
}

static void label_cycles(struct graph *graph)
{
    trim(graph);
    for (size_t v = 0; v < graph->vertex_count; v++)
        graph->label[v] = NONE;
    for (size_t v = 0; v < graph->vertex_count; v++) {
        if (graph->is_out[v] || graph->label[v] != NONE)
            continue;
        reach(graph, v, false, graph->to);
        if (!graph->to[v])
            continue;
        reach(graph, v, true, graph->fro);
        for (size_t u = 0; u < graph->vertex_count; u++)
            if (graph->to[u] && graph->fro[u])
                graph->label[u] = (long)v;
    }
}

static bool make_graph(struct graph *graph, size_t vertices, size_t links, struct arena *arena)
{
    *graph = (struct graph){.vertex_count = vertices};
    graph->links = arena_zeroed(arena, links + 1, sizeof *graph->links);
    graph->is_out = arena_zeroed(arena, vertices + 1, sizeof *graph->is_out);
    graph->to = arena_zeroed(arena, vertices + 1, sizeof *graph->to);
    graph->fro = arena_zeroed(arena, vertices + 1, sizeof *graph->fro);
    graph->label = arena_zeroed(arena, vertices + 1, sizeof *graph->label);
    return graph->links && graph->is_out && graph->to && graph->fro && graph->label;
}

/* ---- the search ---- */

/* One transaction. */
struct party {
    uint64_t number; /* 0: it has none */
    bool commits;    /* a part of it is prepared */
};

struct search {
    struct arena *arena;
    const char *const *shards;
    struct waits_edge *edges; /* those that both looks have */
    size_t edge_count;
    struct waits_process *processes; /* sorted */
    size_t process_count;
    size_t *party_of; /* of each process: its transaction, the number of one of its processes */
    struct party *parties;
};

/* The edges that both looks have. */
static bool agree(struct search *search, const struct waits *first, const struct waits *second)
{
    size_t before = first->edge_count, now = second->edge_count;
    struct waits_edge *old = arena_allocate(search->arena, (before + 1) * sizeof *old);
    search->edges = arena_allocate(search->arena, (now + 1) * sizeof *search->edges);
    if (!old || !search->edges)
        return false;
    if (before)
        memcpy(old, first->edges, before * sizeof *old);
    qsort(old, before, sizeof *old, by_edge);
    for (size_t i = 0; i < now; i++)
        if (bsearch(&second->edges[i], old, before, sizeof *old, by_edge))
            search->edges[search->edge_count++] = second->edges[i];
    qsort(search->edges, search->edge_count, sizeof *search->edges, by_edge);
    return true;
}

static bool list_processes(struct search *search)
{
    size_t count = 0;
    struct waits_process *all = arena_allocate(search->arena, (2 * search->edge_count + 1) * sizeof *all);
    if (!all)
        return false;
    for (size_t i = 0; i < search->edge_count; i++) {
        all[count++] = search->edges[i].waiter;
        all[count++] = search->edges[i].blocker;
    }
    qsort(all, count, sizeof *all, by_process);
    for (size_t i = 0; i < count; i++)
        if (!i || by_process(&all[i], &all[search->process_count - 1]) != 0)
            all[search->process_count++] = all[i];
    search->processes = all;
    search->party_of = arena_allocate(search->arena, (search->process_count + 1) * sizeof *search->party_of);
    search->parties = arena_zeroed(search->arena, search->process_count + 1, sizeof *search->parties);
    if (!search->party_of || !search->parties)
        return false;
    for (size_t i = 0; i < search->process_count; i++)
        search->party_of[i] = i;
    return true;
}

static const struct waits_process *find(const struct search *search, struct waits_process process)
{
    return bsearch(&process, search->processes, search->process_count, sizeof process, by_process);
}

static size_t number_of(const struct search *search, struct waits_process process)
{
    return (size_t)(find(search, process) - search->processes);
}

static void unite(struct search *search, size_t left, size_t right)
{
    size_t from = search->party_of[left], to = search->party_of[right];
    for (size_t i = 0; i < search->process_count && from != to; i++)
        if (search->party_of[i] == from)
            search->party_of[i] = to;
}

/* Processes with a name in common are of one transaction. */
static bool unite_named(struct search *search, const struct waits *waits)
{
    struct waits_name *names =
        arena_allocate(search->arena, (waits->name_count + search->process_count + 1) * sizeof *names);
    size_t count = 0;
    if (!names)
        return false;
    for (size_t i = 0; i < waits->name_count; i++)
        if (find(search, waits->names[i].process))
            names[count++] = waits->names[i];
    for (size_t i = 0; i < search->process_count; i++)
        if (search->processes[i].shard == WAITS_PREPARED)
            names[count++] = (struct waits_name){search->processes[i], WAITS_COMMIT, search->processes[i].id};
    qsort(names, count, sizeof *names, by_name);
    for (size_t i = 1; i < count; i++)
        if (names[i].kind == names[i - 1].kind && names[i].number == names[i - 1].number)
            unite(search, number_of(search, names[i].process), number_of(search, names[i - 1].process));
    for (size_t i = 0; i < count; i++) {
        struct party *party = &search->parties[search->party_of[number_of(search, names[i].process)]];
        if (names[i].kind == WAITS_NUMBER && names[i].number > party->number)
            party->number = names[i].number;
        party->commits |= names[i].process.shard == WAITS_PREPARED;
    }
    return true;
}

/* Cycles within a shard are PostgreSQL's: their waits are left out. */
static bool link_parties(struct search *search, struct graph *graph)
{
    struct graph within;
    if (!make_graph(&within, search->process_count, search->edge_count, search->arena) ||
        !make_graph(graph, search->process_count, search->edge_count, search->arena))
        return false;
    for (size_t i = 0; i < search->edge_count; i++) {
        const struct waits_edge *edge = &search->edges[i];
        within.links[within.link_count++] =
            (struct link){number_of(search, edge->waiter), number_of(search, edge->blocker), edge};
    }
    label_cycles(&within);
    for (size_t i = 0; i < within.link_count; i++) {
        struct link link = within.links[i];
        if (within.label[link.from] != NONE && within.label[link.from] == within.label[link.to])
            continue;
        link.from = search->party_of[link.from];
        link.to = search->party_of[link.to];
        graph->links[graph->link_count++] = link;
    }
    return true;
}

/* ---- a victim ---- */

/* Of the cycles with this label; NONE: nobody of them can be ended. */
static long choose(const struct search *search, const struct graph *graph, long label)
{
    const struct party *parties = search->parties;
    long chosen = NONE;
    for (size_t i = 0; i < graph->vertex_count; i++) {
        const struct party *party = &parties[i];
        if (graph->label[i] != label || !party->number)
            continue;
        if (chosen == NONE || (party->commits != parties[chosen].commits ? parties[chosen].commits
                                                                         : party->number > parties[chosen].number))
            chosen = (long)i;
    }
    return chosen;
}

/* The shortest way from a transaction back to itself: of each on it, the link by which it was reached. */
static void find_way(const struct graph *graph, size_t start, const struct link **by)
{
    bool *is_new = graph->to, *is_newer = graph->fro, *swapped;
    memset(by, 0, graph->vertex_count * sizeof *by);
    memset(is_new, 0, graph->vertex_count * sizeof *is_new);
    for (is_new[start] = true; !by[start]; swapped = is_new, is_new = is_newer, is_newer = swapped) {
        memset(is_newer, 0, graph->vertex_count * sizeof *is_newer);
        for (size_t i = 0; i < graph->link_count; i++) {
            const struct link *link = &graph->links[i];
            if (graph->label[link->from] == NONE || graph->label[link->from] != graph->label[link->to] ||
                !is_new[link->from] || by[link->to])
                continue;
            by[link->to] = link;
            is_newer[link->to] = true;
        }
    }
}

static void tell_process(const struct search *search, struct waits_process process, struct buffer *out)
{
    if (process.shard == WAITS_PREPARED)
        buffer_text(out, "a prepared transaction");
    else
        buffer_format(out, "process %" PRIu64 " of shard %s", process.id, search->shards[process.shard]);
}

static void tell_wait(const struct search *search, const struct waits_edge *edge, const struct waits_edge *before,
                      struct buffer *out)
{
    buffer_format(out, "%sProcess %" PRIu64 " of shard %s", out->size ? "\n" : "", edge->waiter.id,
                  search->shards[edge->waiter.shard]);
    if (before && by_process(&before->blocker, &edge->waiter) != 0) {
        buffer_text(out, ", of the same transaction as ");
        tell_process(search, before->blocker, out);
        buffer_char(out, ',');
    }
    buffer_format(out, " waits for %s; blocked by ", edge->what);
    tell_process(search, edge->blocker, out);
    buffer_char(out, '.');
}

static bool tell_cycle(const struct search *search, const struct graph *graph, size_t start,
                       struct waits_victim *victim)
{
    const struct link **by = arena_allocate(search->arena, 2 * (graph->vertex_count + 1) * sizeof *by);
    struct buffer detail = BUFFER_INIT(DETAIL_MOST);
    size_t length = 0;
    if (!by)
        return false;
    find_way(graph, start, by);
    const struct link **way = by + graph->vertex_count + 1;
    size_t at = start;
    do {
        way[length++] = by[at];
        at = by[at]->from;
    } while (at != start);
    victim->process = way[length - 1]->edge->waiter;
    for (size_t i = length; i-- > 0;)
        tell_wait(search, way[i]->edge, (i + 1 < length ? way[i + 1] : way[0])->edge, &detail);
    victim->detail = buffer_failed(&detail) ? NULL : arena_string(search->arena, buffer_string(&detail));
    buffer_free(&detail);
    return victim->detail != NULL;
}

/* One of each set of cycles. False: memory is out. */
static bool end_cycles(const struct search *search, struct graph *graph, struct waits_victim *victims, size_t *count)
{
    for (size_t i = 0; i < graph->vertex_count; i++) {
        if (graph->label[i] != (long)i)
            continue;
        long chosen = choose(search, graph, (long)i);
        if (chosen != NONE) {
            struct waits_victim *victim = &victims[(*count)++];
            victim->number = search->parties[chosen].number;
            if (!tell_cycle(search, graph, (size_t)chosen, victim))
                return false;
            graph->is_out[chosen] = true;
        }
        for (size_t j = 0; j < graph->vertex_count && chosen == NONE; j++)
            graph->is_out[j] |= graph->label[j] == (long)i;
    }
    return true;
}

bool waits_find(const struct waits *first, const struct waits *second, const char *const *shards, struct arena *arena,
                struct waits_victim **victims, size_t *count)
{
    struct search search = {.arena = arena, .shards = shards};
    struct graph graph;
    *count = 0;
    if (!agree(&search, first, second) || !list_processes(&search) || !unite_named(&search, second) ||
        !link_parties(&search, &graph))
        return false;
    *victims = arena_zeroed(arena, search.process_count + 1, sizeof **victims);
    if (!*victims)
        return false;
    for (bool more = true; more;) {
        label_cycles(&graph);
        more = false;
        for (size_t i = 0; i < graph.vertex_count; i++)
            more |= graph.label[i] != NONE;
        if (!end_cycles(&search, &graph, *victims, count))
            return false;
    }
    return true;
}
