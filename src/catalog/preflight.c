#include "catalog/preflight.h"

#include "catalog/preflight_settings.h"
#include "core/sqlexpr.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool has_text(const char *const *list, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i], text) == 0)
            return true;
    return false;
}

/* ---- servers ---- */

enum { VERSION_LEAST = 130000 };

static void check_server(const struct shard_facts *facts, struct findings *findings)
{
    const char *shard = facts->shard;
    if (facts->version_number < VERSION_LEAST)
        finding_add(findings, true, shard, "", "use PostgreSQL 13 or newer", "PostgreSQL %s is too old",
                    facts->version);
    if (strcmp(facts->encoding, "UTF8") != 0)
        finding_add(findings, true, shard, "", "make the database with ENCODING 'UTF8' TEMPLATE template0",
                    "the database's encoding is %s, not UTF8", facts->encoding);
    if (facts->in_recovery)
        finding_add(findings, true, shard, "", "give the primary's address; add target_session_attrs=read-write",
                    "the server is a standby: it cannot be written");
    else if (facts->read_only)
        finding_add(findings, true, shard, "", "ALTER DATABASE or ROLE … RESET default_transaction_read_only",
                    "default_transaction_read_only is on");
    if (facts->max_prepared_transactions == 0)
        finding_add(findings, true, shard, "",
                    "ALTER SYSTEM SET max_prepared_transactions = 64, then restart the server",
                    "max_prepared_transactions is 0: no commit over several shards is possible");
    if (!facts->has_schema && !facts->may_create)
        finding_add(
            findings, true, shard, "",
            finding_text(findings, "as its owner: GRANT CREATE ON DATABASE %s TO %s", facts->database, facts->user),
            "role %s may not create schema mosaic", facts->user);
    if (facts->has_schema && !facts->schema_usable)
        finding_add(findings, true, shard, "", "run apply as the owner of schema mosaic",
                    "role %s does not own schema mosaic", facts->user);
}

struct setting {
    const char *what;
    const char *a, *b;
};

static void compare_servers(const struct shard_facts *first, const struct shard_facts *other, struct findings *findings)
{
    const struct setting settings[] = {
        {"encoding", first->encoding, other->encoding},
        {"locale provider", first->provider, other->provider},
        {"collation (LC_COLLATE)", first->collate, other->collate},
        {"character type (LC_CTYPE)", first->ctype, other->ctype},
        {"ICU locale", first->icu_locale, other->icu_locale},
        {"collation version", first->collation_version, other->collation_version},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (strcmp(settings[i].a, settings[i].b) != 0)
            finding_add(findings, true, other->shard, "", "make all databases with the same locale settings",
                        "the %s is \"%s\", on shard %s \"%s\": order and equality of texts would differ",
                        settings[i].what, settings[i].b, first->shard, settings[i].a);
    if (first->version_number / 10000 != other->version_number / 10000)
        finding_add(findings, true, other->shard, "", "bring all servers to one major version",
                    "PostgreSQL is %s, on shard %s %s", other->version, first->shard, first->version);
    preflight_settings(first, other, findings);
}

void preflight_shards(const struct model *model, const struct shard_facts *const *facts, struct findings *findings)
{
    const struct shard_facts *first = NULL;
    for (size_t i = 0; i < model->shard_count; i++) {
        if (!facts[i])
            continue;
        check_server(facts[i], findings);
        if (first)
            compare_servers(first, facts[i], findings);
        else
            first = facts[i];
        for (size_t j = 0; j < i && *facts[i]->identity; j++)
            if (facts[j] && strcmp(facts[i]->identity, facts[j]->identity) == 0)
                finding_add(findings, true, facts[i]->shard, "", "every shard is a database of its own",
                            "it is the same database as shard %s", facts[j]->shard);
    }
}

/* ---- one table on one shard ---- */

struct check {
    const struct model *model;
    const struct table *table;
    const struct table_facts *facts;
    const char *shard;
    struct findings *findings;
};

#define SAY(check, fatal, fix, ...) \
    finding_add((check)->findings, fatal, (check)->shard, (check)->table->display, fix, __VA_ARGS__)

/* False when it is no table that could be sharded at all. */
static bool check_relation(const struct check *check)
{
    const struct table_facts *facts = check->facts;
    if (!facts->exists) {
        SAY(check, true, "correct its name, or create it on every shard: pgmosaic exec --all -f schema.sql",
            "the table is not there: relation \"%s\" does not exist (SQLSTATE 42P01)", check->table->display);
        return false;
    }
    if (facts->kind != 'r' && facts->kind != 'p') {
        SAY(check, true, "name the tables under it instead", "it is a %s, not a table",
            facts->kind == 'v'   ? "view"
            : facts->kind == 'm' ? "materialized view"
                                 : "foreign table");
        return false;
    }
    if (facts->persistence == 't') {
        SAY(check, true, "make it a permanent table", "it is a temporary table");
        return false;
    }
    if (facts->persistence == 'u')
        SAY(check, true, finding_text(check->findings, "ALTER TABLE %s SET LOGGED", check->table->display),
            "it is unlogged: a crash would empty it on one shard alone");
    if (facts->is_partition)
        SAY(check, true, "name the partitioned table above it: its partitions follow", "it is a partition");
    else if (facts->has_parents || facts->has_children)
        SAY(check, true, "use a partitioned table, or ALTER TABLE … NO INHERIT",
            "it is part of an inheritance tree, whose rows a query on the parent would mix");
    if (!facts->may_alter)
        SAY(check, true, "run apply as the owner of the table, or as a member of that role",
            "this role does not own the table and cannot add its constraint");
    if (*facts->rules)
        SAY(check, true, finding_text(check->findings, "DROP RULE … ON %s", check->table->display),
            "it has rules (%s), which could write elsewhere", facts->rules);
    if (facts->row_security)
        SAY(check, false, "keep the policies equal on every shard",
            "row level security is on (%s): each shard applies its own policies",
            *facts->policies ? facts->policies : "no policy");
    return true;
}

/* Past a quoted text or a comment that begins here; `at` itself when none does. */
static const char *skip_quiet(const char *at)
{
    const char *end = NULL;
    if (*at == '\'')
        end = strchr(at + 1, '\'');
    else if (strncmp(at, "--", 2) == 0)
        end = strchr(at, '\n');
    else if (strncmp(at, "/*", 2) == 0 && (end = strstr(at + 2, "*/")))
        end++;
    else
        return at;
    return end ? end + 1 : at + strlen(at);
}

/* Is one of the words a statement that reads or writes rows, or runs what cannot be seen from here? */
static bool is_busy_word(const char *word, size_t size)
{
    static const char *const words[] = {"insert", "update",  "delete", "merge",  "truncate",
                                        "copy",   "execute", "call",   "select", "perform"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strlen(words[i]) == size && strncasecmp(word, words[i], size) == 0)
            return true;
    return false;
}

/* Could a trigger's function touch other rows? What is not plpgsql cannot be read, and could. */
static bool may_touch_rows(const struct trigger_facts *trigger)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_$";
    if (strcmp(trigger->language, "plpgsql") != 0)
        return true;
    for (const char *at = trigger->source; *at;) {
        const char *quiet = skip_quiet(at);
        size_t size = strspn(at, letters);
        if (quiet != at) {
            at = quiet;
            continue;
        }
        if (size && is_busy_word(at, size))
            return true;
        at += size ? size : 1;
    }
    return false;
}

static const char *trigger_table(const struct check *check, const struct trigger_facts *trigger)
{
    bool own = strcmp(trigger->schema, check->table->schema) == 0 && strcmp(trigger->table, check->table->name) == 0;
    return own ? check->table->display : finding_text(check->findings, "%s.%s", trigger->schema, trigger->table);
}

static void check_triggers(const struct check *check)
{
    for (size_t i = 0; i < check->facts->trigger_count; i++) {
        const struct trigger_facts *trigger = &check->facts->triggers[i];
        const char *fix =
            finding_text(check->findings, "DROP TRIGGER %s ON %s, or ALTER TABLE %s DISABLE TRIGGER %s", trigger->name,
                         trigger_table(check, trigger), trigger_table(check, trigger), trigger->name);
        if (trigger->enabled == 'D' || (trigger->parent && trigger->parent != 'D'))
            continue;
        if (may_touch_rows(trigger))
            SAY(check, true, fix, "trigger %s may read or write other rows, which can stand on other shards",
                trigger->name);
        else if (check->table->kind == TABLE_REFERENCE)
            SAY(check, true, fix, "trigger %s runs on each copy by itself: the copies could differ", trigger->name);
        else
            SAY(check, false, "", "trigger %s runs on the shard of the row; it must not change the sharding key",
                trigger->name);
    }
}

static bool has_all_key_columns(const struct check *check, const char *const *columns, size_t count)
{
    for (size_t i = 0; i < check->table->column_count; i++)
        if (!has_text(columns, count, check->table->columns[i]))
            return false;
    return true;
}

static const char *key_text(const struct check *check)
{
    char text[600] = "";
    for (size_t i = 0; i < check->table->column_count; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%s", i ? ", " : "", check->table->columns[i]);
    }
    return finding_text(check->findings, "%s", text);
}

/* A constraint or index, as findings call it. */
static const char *named(const struct check *check, const char *name, const char *partition)
{
    return *partition ? finding_text(check->findings, "%s of partition %s", name, partition) : name;
}

static const char *drop_constraint(const struct check *check, const struct constraint_facts *constraint)
{
    return finding_text(check->findings, "ALTER TABLE %s DROP CONSTRAINT %s",
                        *constraint->partition ? constraint->partition : check->table->display, constraint->name);
}

/* Keys that are equal by another equality can stand on different shards. */
static void check_equality(const struct check *check, const char *what, const char *const *unlike, size_t count)
{
    for (size_t i = 0; i < check->table->column_count; i++)
        if (has_text(unlike, count, check->table->columns[i]))
            SAY(check, true, "make it without COLLATE, and without an operator class, for that column",
                "%s compares %s, of the sharding key, by another equality than the column's: it cannot hold over "
                "shards",
                what, check->table->columns[i]);
}

static void check_exclusion(const struct check *check, const struct constraint_facts *constraint)
{
    const char *name = named(check, constraint->name, constraint->partition);
    bool whole = has_all_key_columns(check, constraint->columns, constraint->column_count);
    for (size_t i = 0; whole && i < constraint->column_count && i < constraint->operator_count; i++)
        for (size_t j = 0; j < check->table->column_count; j++)
            if (strcmp(constraint->columns[i], check->table->columns[j]) == 0)
                whole &= strcmp(constraint->operators[i], "=") == 0;
    if (!whole)
        SAY(check, true, finding_text(check->findings, "drop it, or add \"%s WITH =\" to it", key_text(check)),
            "exclusion constraint %s leaves out the sharding key (%s): it cannot hold over shards", name,
            key_text(check));
    check_equality(check, finding_text(check->findings, "exclusion constraint %s", name), constraint->unlike,
                   constraint->unlike_count);
}

/* A foreign key of a sharded table holds on each shard alone: when the other table is a reference table, or colocated
 * and referenced by its key. Colocation itself is checked where the rules are known (difference.c). */
static void check_foreign_key(const struct check *check, const struct constraint_facts *constraint)
{
    const struct table *other = NULL;
    const struct model *model = check->model;
    const char *name = named(check, constraint->name, constraint->partition), *fix = drop_constraint(check, constraint);
    for (size_t i = 0; i < model->table_count; i++)
        if (strcmp(model->tables[i].schema, constraint->foreign_schema) == 0 &&
            strcmp(model->tables[i].name, constraint->foreign_table) == 0)
            other = &model->tables[i];
    if (!other) {
        SAY(check, true,
            finding_text(check->findings, "list %s.%s in the config (kind: reference), or %s",
                         constraint->foreign_schema, constraint->foreign_table, fix),
            "foreign key %s references %s.%s, which is not in the config", name, constraint->foreign_schema,
            constraint->foreign_table);
        return;
    }
    if (other->kind == TABLE_REFERENCE)
        return;
    if (check->table->kind == TABLE_REFERENCE) {
        SAY(check, true, fix,
            "foreign key %s of a reference table references the sharded table %s, whose rows stand on one shard each",
            name, other->display);
        return;
    }
    bool on_key = other->column_count == check->table->column_count;
    for (size_t i = 0; on_key && i < check->table->column_count; i++) {
        bool found = false;
        for (size_t j = 0; j < constraint->column_count && j < constraint->foreign_column_count; j++)
            found |= strcmp(constraint->columns[j], check->table->columns[i]) == 0 &&
                     strcmp(constraint->foreign_columns[j], other->columns[i]) == 0;
        on_key = found;
    }
    if (!on_key)
        SAY(check, true, fix,
            "foreign key %s to %s leaves out the sharding key (%s): the other row can stand on another shard", name,
            other->display, key_text(check));
}

static void check_unique_index(const struct check *check, const struct index_facts *index)
{
    const char *name = named(check, index->name, index->partition);
    if (!has_all_key_columns(check, index->columns, index->column_count))
        SAY(check, true,
            finding_text(check->findings, "DROP INDEX %s, or put %s into it", index->name, key_text(check)),
            "unique index %s leaves out the sharding key (%s): it cannot hold over shards", name, key_text(check));
    check_equality(check, finding_text(check->findings, "unique index %s", name), index->unlike, index->unlike_count);
}

static void check_constraints(const struct check *check)
{
    bool sharded = check->table->kind == TABLE_SHARDED;
    for (size_t i = 0; i < check->facts->constraint_count; i++) {
        const struct constraint_facts *constraint = &check->facts->constraints[i];
        if (constraint->type == 'f')
            check_foreign_key(check, constraint);
        else if (sharded && constraint->type == 'x')
            check_exclusion(check, constraint);
        else if (sharded && (constraint->type == 'p' || constraint->type == 'u') &&
                 !has_all_key_columns(check, constraint->columns, constraint->column_count))
            SAY(check, true,
                finding_text(check->findings, "drop it, or put %s into it: %s", key_text(check),
                             drop_constraint(check, constraint)),
                "%s %s leaves out the sharding key (%s): it cannot hold over shards",
                constraint->type == 'p' ? "PRIMARY KEY" : "UNIQUE constraint",
                named(check, constraint->name, constraint->partition), key_text(check));
    }
    const struct constraint_facts *owner = facts_owner(check->facts);
    if (owner && strncmp(owner->comment, "pgmosaic ", 9) != 0)
        SAY(check, true, "rename it", "there is a constraint %s that pgmosaic did not make", OWNER_CONSTRAINT);
    for (size_t i = 0; sharded && i < check->facts->index_count; i++)
        if (check->facts->indexes[i].unique && !check->facts->indexes[i].of_constraint)
            check_unique_index(check, &check->facts->indexes[i]);
}

/* A key column; true when its type can be a key. */
static bool check_key_column(const struct check *check, const char *name, enum key_type *type)
{
    const struct column_facts *column = facts_column(check->facts, name);
    if (!column) {
        SAY(check, true, "correct key: in the config", "there is no column \"%s\", the sharding key (SQLSTATE 42703)",
            name);
        return false;
    }
    if (column->generated) {
        SAY(check, true, "choose a stored column", "key column %s is generated", name);
        return false;
    }
    if (!column->deterministic)
        SAY(check, true,
            finding_text(check->findings, "ALTER TABLE %s ALTER %s TYPE %s COLLATE \"C\"", check->table->display, name,
                         column->type),
            "key column %s has the nondeterministic collation %s: equal keys could have different buckets", name,
            column->collation);
    if (column->type_kind == 'b' && type_by_oid(column->type_oid, type))
        return true;
    SAY(check, true, "use smallint, integer, bigint, text, varchar, char, uuid, bytea, date, timestamp[tz] or numeric",
        "key column %s is of type %s, %s, which cannot be a sharding key", name, column->type,
        column->type_kind == 'd'   ? "a domain"
        : column->type_kind == 'e' ? "an enum"
        : column->type_kind == 'c' ? "a composite type"
        : column->type_kind == 'r' ? "a range"
                                   : "a type");
    return false;
}

static void check_reference_defaults(const struct check *check)
{
    for (size_t i = 0; i < check->facts->column_count; i++) {
        const struct column_facts *column = &check->facts->columns[i];
        if (column->sequence.name)
            SAY(check, false, "write it through the proxy, or give the column in every write",
                "column %s takes its default from sequence %s: the copies on the shards could differ", column->name,
                column->sequence.name);
        else if (*column->default_text && !column->generated && !sql_is_constant(column->default_text))
            SAY(check, false, "give the column in every write, or make its default a constant",
                "column %s has the default %s: the copies on the shards could differ", column->name,
                column->default_text);
    }
}

/* ---- one table over all shards ---- */

static bool is_key_column(const struct table *table, const char *name)
{
    return has_text(table->columns, table->column_count, name);
}

/* Of the others apply sees to it that they differ (sequence.h). */
static void check_sequences(const struct table *table, const struct table_facts *first, struct findings *findings)
{
    for (size_t i = 0; i < first->column_count; i++) {
        const struct column_facts *column = &first->columns[i];
        if (column->sequence.name && is_key_column(table, column->name))
            finding_add(findings, false, "", table->display, "give the key in every write",
                        "key column %s takes its default from sequence %s: most of its values belong to other shards",
                        column->name, column->sequence.name);
    }
}

static const char *shown(const char *text)
{
    return *text ? text : "none";
}

static void compare_column(const struct check *check, const char *first_shard, const struct column_facts *a,
                           const struct column_facts *b)
{
    const char *fix = "make it alike: pgmosaic exec --all \"ALTER TABLE …\"";
    if (strcmp(a->type, b->type) != 0)
        SAY(check, true, fix, "column %s is %s, on shard %s %s", a->name, b->type, first_shard, a->type);
    if (a->not_null != b->not_null)
        SAY(check, true, fix, "column %s is %s, on shard %s %s", a->name, b->not_null ? "NOT NULL" : "nullable",
            first_shard, a->not_null ? "NOT NULL" : "nullable");
    if (strcmp(a->default_text, b->default_text) != 0)
        SAY(check, true, fix, "the default of column %s is %s, on shard %s %s", a->name, shown(b->default_text),
            first_shard, shown(a->default_text));
    if (strcmp(a->collation, b->collation) != 0)
        SAY(check, true, fix, "the collation of column %s is %s, on shard %s %s", a->name, shown(b->collation),
            first_shard, shown(a->collation));
    if (a->generated != b->generated || a->identity != b->identity)
        SAY(check, true, fix, "column %s is generated, or an identity, on one of this shard and %s only", a->name,
            first_shard);
}

/* Of the same columns. INSERT and COPY without a list of them give values by place. */
static void compare_order(const struct check *check, const char *first_shard, const struct table_facts *first)
{
    for (size_t i = 0; i < first->column_count; i++) {
        const char *here = check->facts->columns[i].name, *there = first->columns[i].name;
        if (strcmp(here, there) == 0)
            continue;
        SAY(check, true, "make the table anew on one of them, with its columns in the order of the other",
            "column %zu is %s, on shard %s %s: rows given without a list of columns would be mixed up", i + 1, here,
            first_shard, there);
        return;
    }
}

static void compare_columns(const struct check *check, const char *first_shard, const struct table_facts *first)
{
    const struct table_facts *other = check->facts;
    bool same = first->column_count == other->column_count;
    for (size_t i = 0; i < first->column_count; i++) {
        const struct column_facts *column = facts_column(other, first->columns[i].name);
        same &= column != NULL;
        if (column)
            compare_column(check, first_shard, &first->columns[i], column);
        else
            SAY(check, true,
                finding_text(check->findings, "ALTER TABLE %s ADD COLUMN %s %s", check->table->display,
                             first->columns[i].name, first->columns[i].type),
                "column %s is missing, which shard %s has", first->columns[i].name, first_shard);
    }
    for (size_t i = 0; i < other->column_count; i++)
        if (!facts_column(first, other->columns[i].name))
            SAY(check, true, finding_text(check->findings, "add it on shard %s, or drop it here", first_shard),
                "column %s stands here and not on shard %s", other->columns[i].name, first_shard);
    if (same)
        compare_order(check, first_shard, first);
}

static bool same_name(const char *name, const char *partition, const char *other_name, const char *other_partition)
{
    return strcmp(name, other_name) == 0 && strcmp(partition, other_partition) == 0;
}

static const char *other_constraint(const struct table_facts *table, const struct constraint_facts *of)
{
    for (size_t i = 0; i < table->constraint_count; i++)
        if (same_name(table->constraints[i].name, table->constraints[i].partition, of->name, of->partition))
            return table->constraints[i].definition;
    return NULL;
}

static const char *other_index(const struct table_facts *table, const struct index_facts *of)
{
    for (size_t i = 0; i < table->index_count; i++)
        if (same_name(table->indexes[i].name, table->indexes[i].partition, of->name, of->partition))
            return table->indexes[i].definition;
    return NULL;
}

/* One constraint or index that the table `here` lacks or has otherwise. */
static void compare_definition(const struct check *check, const char *what, bool fatal, const char *name,
                               const char *definition, const char *here, const char *there)
{
    if (!here)
        SAY(check, fatal, "make it alike on every shard", "%s %s is missing, which shard %s has: %s", what, name, there,
            definition);
    else if (strcmp(here, definition) != 0)
        SAY(check, fatal, "make it alike on every shard", "%s %s is: %s, on shard %s: %s", what, name, here, there,
            definition);
}

static void compare_constraints(const struct check *check, const char *first_shard, const struct table_facts *first)
{
    for (size_t i = 0; i < first->constraint_count; i++) {
        const struct constraint_facts *constraint = &first->constraints[i];
        if (strcmp(constraint->name, OWNER_CONSTRAINT) != 0)
            compare_definition(check, "constraint", !*constraint->partition,
                               named(check, constraint->name, constraint->partition), constraint->definition,
                               other_constraint(check->facts, constraint), first_shard);
    }
    for (size_t i = 0; i < check->facts->constraint_count; i++) {
        const struct constraint_facts *constraint = &check->facts->constraints[i];
        if (strcmp(constraint->name, OWNER_CONSTRAINT) != 0 && !other_constraint(first, constraint))
            SAY(check, !*constraint->partition, "make it alike on every shard",
                "constraint %s stands here and not on shard %s: %s",
                named(check, constraint->name, constraint->partition), first_shard, constraint->definition);
    }
    for (size_t i = 0; i < first->index_count; i++) {
        const struct index_facts *index = &first->indexes[i];
        if (!index->of_constraint)
            compare_definition(check, index->unique ? "constraint" : "index", index->unique && !*index->partition,
                               named(check, index->name, index->partition), index->definition,
                               other_index(check->facts, index), first_shard);
    }
}

static void check_table(struct model *model, size_t at, const struct shard_facts *const *facts, bool *types_known,
                        struct findings *findings)
{
    struct table *table = &model->tables[at];
    const struct table_facts *first = NULL;
    const char *first_shard = "";
    for (size_t shard = 0; shard < model->shard_count; shard++) {
        if (!facts[shard] || facts[shard]->tables[at].arrives)
            continue;
        struct check check = {model, table, &facts[shard]->tables[at], facts[shard]->shard, findings};
        if (!check_relation(&check))
            continue;
        bool known = true;
        for (size_t i = 0; i < table->column_count; i++)
            known &= check_key_column(&check, table->columns[i], &table->rule.types[i]);
        check_triggers(&check);
        check_constraints(&check);
        /* Citus works a default out once, for all copies. */
        if (table->kind == TABLE_REFERENCE && model->engine == ENGINE_POSTGRES)
            check_reference_defaults(&check);
        if (first) {
            compare_columns(&check, first_shard, first);
            compare_constraints(&check, first_shard, first);
        } else {
            first = check.facts;
            first_shard = check.shard;
            *types_known = true;
        }
        *types_known &= known;
    }
    if (first && table->kind == TABLE_SHARDED)
        check_sequences(table, first, findings);
}

void preflight_tables(struct model *model, const struct shard_facts *const *facts, bool *types_known,
                      struct findings *findings)
{
    for (size_t at = 0; at < model->table_count; at++) {
        types_known[at] = false;
        check_table(model, at, facts, &types_known[at], findings);
    }
}
