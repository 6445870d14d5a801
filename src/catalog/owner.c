#include "catalog/owner.h"

#include "catalog/homeward.h"
#include "core/sqlexpr.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

enum { EXPRESSION_MOST = 4 * 1024 * 1024 };

struct works {
    const struct difference_input *input;
    struct arena *arena;
    struct difference *difference;
    mosaic_error *error;
};

const char *owner_comment(struct arena *arena, const struct table *table, size_t shard)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    char hex[33], head[64];
    const struct rule *rule = &table->rule;

    struct buffer text = BUFFER_INIT(EXPRESSION_MOST);
    for (size_t i = 0; i < rule->columns; i++)
        buffer_format(&text, "%s %s\n", table->columns[i], type_name(rule->types[i]));
    for (size_t i = 0; i < state_bound_count(rule); i++)
        buffer_format(&text, "%zu %s\n", strlen(rule->bound_texts[i]), rule->bound_texts[i]);
    for (uint32_t bucket = 0; bucket < rule->buckets; bucket++)
        buffer_char(&text, table->map->owner[bucket] == shard ? '1' : '0');
    if (buffer_failed(&text)) {
        buffer_free(&text);
        return NULL;
    }
    SHA256((const unsigned char *)buffer_string(&text), text.size, digest);
    buffer_free(&text);
    for (size_t i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    snprintf(head, sizeof head, "pgmosaic %s/%u", function_versioned_name(rule->function), rule->buckets);
    return arena_format(arena, "%s %s", head, hex);
}

const char *owner_expression(struct arena *arena, const struct table *table, size_t shard)
{
    struct buffer sql = BUFFER_INIT(EXPRESSION_MOST);
    const char *columns[KEY_COLUMNS_MAX];
    bool failed = false;
    for (size_t i = 0; i < table->column_count; i++) {
        buffer_clear(&sql);
        sql_identifier(&sql, table->columns[i]);
        columns[i] = arena_string(arena, buffer_string(&sql));
        failed |= !columns[i];
    }
    buffer_clear(&sql);
    if (!failed)
        sql_owned(&sql, &table->rule, columns, table->map, (uint32_t)shard);
    const char *text = failed || buffer_failed(&sql) ? NULL : arena_string(arena, buffer_string(&sql));
    buffer_free(&sql);
    return text;
}

static void add_literal(struct buffer *sql, const char *text)
{
    sql_literal(sql, text, strlen(text));
}

/* Not where one stood there before, under IF NOT EXISTS. */
static void add_comment(struct buffer *sql, const struct table *table, const char *comment)
{
    buffer_text(sql, "BEGIN IF EXISTS (SELECT FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid ="
                     " k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ");
    add_literal(sql, table->schema);
    buffer_text(sql, " AND c.relname = ");
    add_literal(sql, table->name);
    buffer_text(sql, " AND k.conname = '" OWNER_CONSTRAINT "' AND pg_catalog.obj_description(k.oid, 'pg_constraint')"
                     " IS NULL) THEN COMMENT ON CONSTRAINT " OWNER_CONSTRAINT " ON ");
    sql_qualified(sql, table->schema, table->name);
    buffer_text(sql, " IS ");
    add_literal(sql, comment);
    buffer_text(sql, "; END IF; END");
}

const char *owner_comment_sql(struct arena *arena, const struct table *table, size_t shard)
{
    struct buffer sql = BUFFER_INIT(EXPRESSION_MOST), body = BUFFER_INIT(EXPRESSION_MOST);
    const char *comment = owner_comment(arena, table, shard);
    add_comment(&body, table, comment ? comment : "");
    buffer_text(&sql, "DO LANGUAGE plpgsql ");
    add_literal(&sql, buffer_string(&body));
    const char *text =
        !comment || buffer_failed(&body) || buffer_failed(&sql) ? NULL : arena_string(arena, buffer_string(&sql));
    buffer_free(&body);
    buffer_free(&sql);
    return text;
}

/* Before it grows a table has rows of all shards: each must have a key that some shard owns. */
static const char *placed_expression(struct works *works, const struct table *table)
{
    struct buffer sql = BUFFER_INIT(EXPRESSION_MOST);
    const char *columns[KEY_COLUMNS_MAX];
    bool failed = false;
    for (size_t i = 0; i < table->column_count; i++) {
        struct buffer name = BUFFER_INIT(EXPRESSION_MOST);
        sql_identifier(&name, table->columns[i]);
        columns[i] = arena_string(works->arena, buffer_string(&name));
        failed |= !columns[i] || buffer_failed(&name);
        buffer_free(&name);
        if (!failed)
            buffer_format(&sql, "%s IS NOT NULL AND ", columns[i]);
    }
    if (!failed)
        sql_bucket(&sql, &table->rule, columns);
    buffer_text(&sql, " IS NOT NULL");
    const char *text = failed || buffer_failed(&sql) ? NULL : arena_string(works->arena, buffer_string(&sql));
    buffer_free(&sql);
    return text;
}

static mosaic_status add_work(struct works *works, struct owner_work item)
{
    struct difference *difference = works->difference;
    if (difference->work_count == difference->work_capacity) {
        size_t capacity = difference->work_capacity ? difference->work_capacity * 2 : 16;
        struct owner_work *more = arena_zeroed(works->arena, capacity, sizeof *more);
        if (!more)
            return error_memory(works->error);
        if (difference->work_count)
            memcpy(more, difference->works, difference->work_count * sizeof *more);
        difference->works = more;
        difference->work_capacity = capacity;
    }
    difference->works[difference->work_count++] = item;
    return MOSAIC_OK;
}

static mosaic_status make_owner(struct works *works, const struct table *table, size_t at, size_t shard)
{
    const struct table_facts *facts = &works->input->facts[shard]->tables[at];
    const struct constraint_facts *found = facts_owner(facts);
    struct owner_work item = {OWNER_ADD, shard, table->schema, table->name, table->display, table};
    item.grows = facts->grows || facts->arrives;
    item.comment = owner_comment(works->arena, table, shard);
    item.expression = owner_expression(works->arena, table, shard);
    item.condition = item.grows ? placed_expression(works, table) : item.expression;
    if (!item.comment || !item.expression || !item.condition)
        return error_memory(works->error);
    if (found && strcmp(found->comment, item.comment) == 0) {
        if (found->validated)
            return MOSAIC_OK;
        item.action = OWNER_VALIDATE;
    } else if (found) {
        item.action = OWNER_REPLACE;
    }
    return add_work(works, item);
}

/* Constraints of ours on tables that the config does not shard: of tables taken out, and of runs that were cut off. */
static mosaic_status make_drops(struct works *works, size_t shard)
{
    const struct shard_facts *facts = works->input->facts[shard];
    for (size_t i = 0; i < facts->owned_count; i++) {
        const struct table_name *name = &facts->owned[i];
        bool listed = facts_arrival(facts, name->schema, name->name); /* the whole table goes */
        for (size_t at = 0; at < works->input->model->table_count; at++)
            listed |= strcmp(works->input->model->tables[at].schema, name->schema) == 0 &&
                      strcmp(works->input->model->tables[at].name, name->name) == 0;
        listed |= homeward_names(works->input, name->schema, name->name);
        if (listed)
            continue;
        mosaic_status status =
            add_work(works, (struct owner_work){OWNER_DROP, shard, name->schema, name->name, name->display});
        if (status != MOSAIC_OK)
            return status;
    }
    return MOSAIC_OK;
}

static mosaic_status make_all(struct works *works)
{
    mosaic_status status = MOSAIC_OK;
    for (size_t at = 0; at < works->input->model->table_count; at++) {
        const struct table *table = &works->input->model->tables[at];
        for (size_t shard = 0; table->map && shard < works->input->model->shard_count && status == MOSAIC_OK; shard++)
            if (works->input->facts[shard] &&
                (works->input->facts[shard]->tables[at].exists || works->input->facts[shard]->tables[at].arrives))
                status = make_owner(works, table, at, shard);
    }
    for (size_t shard = 0; shard < works->input->model->shard_count && status == MOSAIC_OK; shard++)
        if (works->input->facts[shard])
            status = make_drops(works, shard);
    return status;
}

/* One line for all shards on which a table's constraint gets the same treatment. */
static void plan_owners(struct works *works)
{
    static const char *const verbs[] = {
#define X(identifier, verb) verb,
        OWNER_ACTION_LIST(X)
#undef X
    };
    const struct difference *difference = works->difference;
    for (size_t i = 0; i < difference->work_count; i++) {
        const struct owner_work *item = &difference->works[i];
        char shards[1024] = "";
        bool first = true;
        for (size_t j = 0; j < difference->work_count; j++) {
            const struct owner_work *other = &difference->works[j];
            if (other->action != item->action || strcmp(other->display, item->display) != 0)
                continue;
            size_t used = strlen(shards);
            first &= j >= i;
            snprintf(shards + used, sizeof shards - used, "%s%s", used ? ", " : "",
                     works->input->model->shards[other->shard].name);
        }
        if (first)
            buffer_format(&works->difference->plan, "%c constraint " OWNER_CONSTRAINT " of %s: %s on %s\n",
                          item->action == OWNER_DROP  ? '-'
                          : item->action == OWNER_ADD ? '+'
                                                      : '~',
                          item->display, verbs[item->action], shards);
    }
}

mosaic_status owner_works(const struct difference_input *input, struct arena *arena, struct difference *difference,
                          mosaic_error *error)
{
    struct works works = {input, arena, difference, error};
    mosaic_status status = make_all(&works);
    if (status == MOSAIC_OK)
        plan_owners(&works);
    return status;
}
