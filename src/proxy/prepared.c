#define _GNU_SOURCE
#include "proxy/prepared.h"

#include "base/memory.h"
#include "proxy/typemap.h"
#include "wire/wire.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { FIRST_CHAINS = 64, SERVER_CHAINS = 64, CLIENT_CHAINS = 8 };

/* ---- the table ---- */

bool prepared_table_init(struct prepared_table *table, uint64_t seed)
{
    *table = (struct prepared_table){.seed = seed, .chain_count = FIRST_CHAINS};
    table->chains = memory_zeroed(FIRST_CHAINS, sizeof *table->chains);
    return table->chains != NULL;
}

void prepared_table_free(struct prepared_table *table)
{
    memory_free(table->chains);
    *table = (struct prepared_table){0};
}

static uint32_t type_at(const char *types, size_t i)
{
    const unsigned char *b = (const unsigned char *)types + 4 * i;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static bool equal(const struct prepared *prepared, const char *text, size_t size, const char *types,
                  uint16_t type_count, struct settings_sense sense)
{
    if (prepared->size != size || prepared->type_count != type_count || prepared->sense.meaning != sense.meaning ||
        prepared->sense.schema != sense.schema || memcmp(prepared->text, text, size) != 0)
        return false;
    for (uint16_t i = 0; i < type_count; i++)
        if (prepared->types[i] != type_at(types, i))
            return false;
    return true;
}

/*
 * Words that a server turns into a point in time when it parses: such a statement, kept by a server for others, would
 * tell yesterday's date. (PostgreSQL reads 'now', 'today' … as constants; src/backend/utils/adt/datetime.c.)
 */
static bool has_moment(const char *text, size_t size)
{
    static const char *const words[] = {"'now", "'today", "'tomorrow", "'yesterday"};
    for (size_t at = 0; at < size; at++) {
        if (text[at] != '\'')
            continue;
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            if (strncasecmp(text + at, words[i], strlen(words[i])) == 0)
                return true;
    }
    return false;
}

/*
 * Has it a literal that may be a date, a time, an interval or an amount of money? Quotes are not followed where there
 * is a backslash or a dollar quote: then its digits count wherever they stand. Fewer digits than a date in figures has,
 * as in '1 day', are taken for none; rarely that is wrong: '5' as money, 'Jan 1 5'.
 */
static bool has_dates(const char *text, size_t size)
{
    bool is_literal = false, escapes = memchr(text, '\\', size) != NULL;
    size_t digits = 0;
    for (size_t at = 0; at + 1 < size && !escapes; at++)
        escapes = text[at] == '$' && !(text[at + 1] >= '0' && text[at + 1] <= '9'); /* $$ or $tag$ */
    for (size_t at = 0; at < size; at++) {
        is_literal ^= text[at] == '\'';
        if (!is_literal && !escapes)
            digits = 0;
        else if (text[at] >= '0' && text[at] <= '9')
            digits++;
        else if ((text[at] == ':' || text[at] == '-') && !escapes)
            digits += 2;
        if (digits > 2)
            return true;
    }
    return false;
}

static void grow(struct prepared_table *table)
{
    size_t count = table->chain_count * 4;
    struct prepared **chains = memory_zeroed(count, sizeof *chains);
    if (!chains)
        return; /* longer chains, nothing worse */
    for (size_t i = 0; i < table->chain_count; i++) {
        for (struct prepared *each = table->chains[i], *next; each; each = next) {
            next = each->next;
            each->next = chains[each->hash % count];
            chains[each->hash % count] = each;
        }
    }
    memory_free(table->chains);
    table->chains = chains;
    table->chain_count = count;
}

/* As a spelling may be: MOSAIC . "shard_table"(…). */
static bool has_words(const char *text)
{
    return strcasestr(text, "mosaic") && strcasestr(text, "_table");
}

static struct prepared *make(struct prepared_table *table, uint64_t hash, const char *text, size_t size,
                             const char *types, uint16_t type_count, struct settings_sense sense)
{
    struct prepared *made = memory_zeroed(1, sizeof *made + type_count * sizeof(uint32_t) + size + 1);
    if (!made)
        return NULL;
    uint32_t *own_types = (uint32_t *)(made + 1);
    for (uint16_t i = 0; i < type_count; i++)
        own_types[i] = type_at(types, i);
    char *own_text = (char *)(own_types + type_count);
    memcpy(own_text, text, size);
    bool is_alone = has_moment(text, size);
    if (is_alone)
        hash = table->last_number; /* in the table, but found by nobody */
    *made = (struct prepared){.table = table,
                              .references = 1,
                              .hash = hash,
                              .sense = sense,
                              .number = ++table->last_number,
                              .text = own_text,
                              .size = (uint32_t)size,
                              .type_count = type_count,
                              .types = own_types,
                              .may_place = has_words(own_text),
                              .has_dates = has_dates(text, size),
                              .is_alone = is_alone};
    if (table->count++ > table->chain_count * 2)
        grow(table);
    made->next = table->chains[hash % table->chain_count];
    table->chains[hash % table->chain_count] = made;
    return made;
}

struct prepared *prepared_intern(struct prepared_table *table, const char *text, size_t size, const char *types,
                                 uint16_t type_count, struct settings_sense sense)
{
    uint64_t hash = settings_hash(table->seed ^ sense.meaning ^ sense.schema, text, size);
    for (struct prepared *each = table->chains[hash % table->chain_count]; each; each = each->next)
        if (each->hash == hash && !each->is_retired && equal(each, text, size, types, type_count, sense))
            return prepared_hold(each);
    return make(table, hash, text, size, types, type_count, sense);
}

struct prepared *prepared_hold(struct prepared *prepared)
{
    prepared->references++;
    return prepared;
}

void prepared_release(struct prepared *prepared)
{
    if (!prepared || --prepared->references)
        return;
    struct prepared_table *table = prepared->table;
    struct prepared **at = &table->chains[prepared->hash % table->chain_count];
    while (*at != prepared)
        at = &(*at)->next;
    *at = prepared->next;
    table->count--;
    memory_free(prepared->described);
    memory_free(prepared);
}

void prepared_describe(struct prepared *prepared, const char *body, size_t size)
{
    if (size < 2 || prepared->described)
        return;
    uint16_t count = (uint16_t)((unsigned char)body[0] << 8 | (unsigned char)body[1]);
    if (size != 2 + (size_t)count * 4)
        return;
    uint32_t *types = memory_allocate((count + 1u) * sizeof *types);
    if (!types)
        return;
    for (uint16_t i = 0; i < count; i++)
        types[i] = type_at(body + 2, i);
    prepared->described = types;
    prepared->described_count = count;
    prepared->plan_context = 0; /* they are part of what the cache looks for */
}

uint64_t prepared_shape(const char *body, size_t size)
{
    uint64_t shape = 1;
    bool plain = true;
    struct wire_reader reader = {body, body ? body + size : NULL, false};
    const char *name, *field;
    (void)wire_read16(&reader);
    while ((field = wire_next_column(&reader, &name))) {
        const char *type = field + WIRE_COLUMN_TYPE;
        shape = settings_hash(shape, name, (size_t)(field - name));
        shape = settings_hash(shape, type, WIRE_COLUMN_FORMAT - WIRE_COLUMN_TYPE);
        plain &= !typemap_names_types(wire_get32(type));
    }
    shape = (shape & ~UINT64_C(1)) | plain;
    return shape ? shape : 2;
}

struct prepared *prepared_reshape(struct prepared *prepared, uint64_t shape)
{
    if (!prepared->shape)
        prepared->shape = shape;
    if (prepared->shape == shape)
        return prepared_hold(prepared);
    unsigned char *types = memory_allocate(prepared->type_count * sizeof(uint32_t) + 1);
    if (!types)
        return NULL;
    for (uint16_t i = 0; i < prepared->type_count; i++)
        for (unsigned byte = 0; byte < 4; byte++)
            types[4 * i + byte] = (unsigned char)(prepared->types[i] >> (24 - 8 * byte));
    prepared->is_retired = true;
    /* Another client may have found the new shape before. */
    struct prepared *made = prepared_intern(prepared->table, prepared->text, prepared->size, (char *)types,
                                            prepared->type_count, prepared->sense);
    memory_free(types);
    if (!made || !made->shape || made->shape == shape) {
        if (made)
            made->shape = shape;
        return made;
    }
    struct prepared *next = prepared_reshape(made, shape);
    prepared_release(made);
    return next;
}

const char *prepared_name(struct prepared *prepared)
{
    if (!*prepared->name)
        snprintf(prepared->name, sizeof prepared->name, "mosaic_%" PRIu64, prepared->number);
    return prepared->name;
}

/* ---- a client's names ---- */

static size_t name_chain(const struct client_statements *statements, const char *name)
{
    return settings_hash(0, name, strlen(name)) & (statements->chain_count - 1);
}

struct client_statement *client_statements_find(const struct client_statements *statements, const char *name)
{
    if (!statements->count)
        return NULL;
    struct client_statement *each = statements->chains[name_chain(statements, name)];
    while (each && (each->is_closing || strcmp(each->name, name) != 0))
        each = each->next;
    return each;
}

static bool grow_names(struct client_statements *statements)
{
    struct client_statements larger = {.chain_count =
                                           statements->chain_count ? statements->chain_count * 4 : CLIENT_CHAINS,
                                       .count = statements->count};
    larger.chains = memory_zeroed(larger.chain_count, sizeof *larger.chains);
    if (!larger.chains)
        return false;
    for (size_t i = 0; i < statements->chain_count; i++) {
        for (struct client_statement *each = statements->chains[i], *next; each; each = next) {
            size_t chain = name_chain(&larger, each->name);
            next = each->next;
            each->next = larger.chains[chain];
            larger.chains[chain] = each;
        }
    }
    memory_free(statements->chains);
    *statements = larger;
    return true;
}

struct client_statement *client_statements_add(struct client_statements *statements, const char *name,
                                               struct prepared *prepared)
{
    size_t size = strlen(name) + 1;
    if (statements->count >= statements->chain_count * 2 && !grow_names(statements))
        return NULL;
    struct client_statement *made = memory_zeroed(1, sizeof *made + size);
    if (!made)
        return NULL;
    memcpy(made->name, name, size);
    made->prepared = prepared_hold(prepared);
    size_t chain = name_chain(statements, name);
    made->next = statements->chains[chain];
    statements->chains[chain] = made;
    statements->count++;
    return made;
}

static void free_statement(struct client_statement *statement)
{
    statement->is_removed = true;
    if (statement->in_flight)
        return;
    prepared_release(statement->prepared);
    memory_free(statement);
}

void client_statements_drop(struct client_statements *statements, struct client_statement *statement)
{
    if (statement->is_removed)
        return;
    struct client_statement **at = &statements->chains[name_chain(statements, statement->name)];
    while (*at != statement)
        at = &(*at)->next;
    *at = statement->next;
    statements->count--;
    free_statement(statement);
}

void client_statements_remove(struct client_statements *statements, const char *name)
{
    struct client_statement *found = client_statements_find(statements, name);
    if (found)
        client_statements_drop(statements, found);
}

bool client_statements_visit(const struct client_statements *statements,
                             bool (*visit)(void *context, struct client_statement *statement), void *context)
{
    for (size_t i = 0; i < statements->chain_count; i++)
        for (struct client_statement *each = statements->chains[i]; each; each = each->next)
            if (!each->is_closing && !visit(context, each))
                return false;
    return true;
}

uint32_t client_statements_mark(const char *name)
{
    return (uint32_t)settings_hash(0, name, strlen(name));
}

const char *client_statements_name(const struct client_statements *statements, uint64_t number, uint32_t mark)
{
    const char *name = NULL;
    for (size_t i = 0; i < statements->chain_count; i++)
        for (const struct client_statement *each = statements->chains[i]; each; each = each->next)
            if (each->prepared->number == number && (!name || client_statements_mark(each->name) == mark))
                name = each->name;
    return name;
}

void client_statement_landed(struct client_statement *statement)
{
    statement->in_flight--;
    if (statement->is_removed)
        free_statement(statement);
}

void client_statements_clear(struct client_statements *statements)
{
    for (size_t i = 0; i < statements->chain_count; i++) {
        for (struct client_statement *each = statements->chains[i], *next; each; each = next) {
            next = each->next;
            free_statement(each);
        }
    }
    memory_free(statements->chains);
    *statements = (struct client_statements){0};
}

/* ---- a server's ---- */

struct server_statement {
    struct server_statement *next;
    struct list recent;
    struct prepared *prepared;
    uint64_t shape;
    int64_t since;
};

static struct server_statement **find(const struct server_statements *statements, const struct prepared *prepared)
{
    struct server_statement **at = &statements->chains[prepared->number & (statements->chain_count - 1)];
    while (*at && (*at)->prepared != prepared)
        at = &(*at)->next;
    return at;
}

/* NULL: it is not there. Else it is now the one used last. */
static struct server_statement *use(struct server_statements *statements, const struct prepared *prepared)
{
    if (!statements->count)
        return NULL;
    struct server_statement *found = *find(statements, prepared);
    if (found && statements->recent.next != &found->recent) {
        list_remove(&found->recent);
        list_push(&statements->recent, &found->recent);
    }
    return found;
}

uint64_t *server_statements_shape(struct server_statements *statements, const struct prepared *prepared)
{
    struct server_statement *found = use(statements, prepared);
    return found ? &found->shape : NULL;
}

int64_t *server_statements_since(struct server_statements *statements, const struct prepared *prepared)
{
    struct server_statement *found = use(statements, prepared);
    return found ? &found->since : NULL;
}

bool server_statements_use(struct server_statements *statements, const struct prepared *prepared)
{
    return server_statements_shape(statements, prepared) != NULL;
}

bool server_statements_add(struct server_statements *statements, struct prepared *prepared)
{
    if (!statements->chains) {
        statements->chains = memory_zeroed(SERVER_CHAINS, sizeof(struct server_statement *));
        if (!statements->chains)
            return false;
        statements->chain_count = SERVER_CHAINS;
        list_init(&statements->recent);
    }
    if (server_statements_use(statements, prepared))
        return true;
    struct server_statement *made = memory_zeroed(1, sizeof *made);
    if (!made)
        return false;
    made->prepared = prepared_hold(prepared);
    struct server_statement **chain = &statements->chains[prepared->number & (statements->chain_count - 1)];
    made->next = *chain;
    *chain = made;
    list_push(&statements->recent, &made->recent);
    statements->count++;
    return true;
}

struct prepared *server_statements_oldest(const struct server_statements *statements, size_t most)
{
    if (statements->count < most || !statements->count)
        return NULL;
    return LIST_OWNER(struct server_statement, recent, statements->recent.previous)->prepared;
}

bool server_statements_make_room(struct server_statements *statements, size_t most, struct buffer *out)
{
    struct prepared *oldest = server_statements_oldest(statements, most ? most : 1);
    if (!oldest)
        return false;
    wire_close(out, 'S', prepared_name(oldest));
    server_statements_remove(statements, oldest);
    return true;
}

void server_statements_remove(struct server_statements *statements, struct prepared *prepared)
{
    if (!statements->count)
        return;
    struct server_statement **at = find(statements, prepared), *found = *at;
    if (!found)
        return;
    *at = found->next;
    list_remove(&found->recent);
    statements->count--;
    prepared_release(found->prepared);
    memory_free(found);
}

void server_statements_clear(struct server_statements *statements)
{
    struct list *node;
    while (statements->chains && (node = list_first(&statements->recent)))
        server_statements_remove(statements, LIST_OWNER(struct server_statement, recent, node)->prepared);
    memory_free(statements->chains);
    *statements = (struct server_statements){0};
}
