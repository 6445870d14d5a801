/*
 * What is hidden behind a relation: children that inherit, row security, rules, triggers, foreign keys. None of it
 * stands in the statement, all of it may read or write other relations.
 */
#include "sql/analysis.h"

enum { CHILDREN_DEPTH = 32 };

static const char *display(struct analysis *analysis, const struct schema_relation *relation)
{
    if (relation->table)
        return relation->table->display;
    return analysis_text(analysis, "%s.%s", relation->schema, relation->name);
}

/* Every table that inherits from it must be where it is. */
static void check_children(struct analysis *analysis, const struct schema_relation *relation, int location, int depth)
{
    for (size_t i = 0; i < relation->child_count; i++) {
        const struct schema_relation *child = schema_relation_by_oid(analysis->schema, relation->children[i]);
        if (!child || child->placement != relation->placement || child->table != relation->table || depth > 32)
            analysis_refuse(analysis, location,
                            analysis_text(analysis, "%s has a child table that is not placed as it is",
                                          display(analysis, relation)),
                            NULL, "Read it with ONLY, or name the child tables.");
        check_children(analysis, child, location, depth + 1);
    }
}

static struct use *note(struct analysis *analysis, const struct schema_relation *relation, struct range *range,
                        int location)
{
    struct use *use = analysis_new(analysis, 1, sizeof *use);
    use->fact.relation = relation;
    use->fact.location = analysis->in_view ? -1 : location;
    use->range = range;
    *analysis->last_use = use;
    analysis->last_use = &use->next;
    analysis->use_count++;
    if (relation->placement == PLACE_HOME || relation->placement == PLACE_SYSTEM)
        analysis->facts->needs_home = true;
    analysis->home_else |= relation->placement != PLACE_SYSTEM;
    return use;
}

/* Policies filter by expressions that may read other relations, for every role but the owner. */
static void check_policies(struct analysis *analysis, const struct schema_relation *relation, int location)
{
    if (relation->has_policy_function)
        analysis_refuse(analysis, location,
                        analysis_text(analysis, "a row security policy of %s calls a function that may read tables",
                                      display(analysis, relation)),
                        NULL, NULL);
    for (size_t i = 0; i < relation->policies_read_count; i++) {
        const struct schema_relation *read = schema_relation_by_oid(analysis->schema, relation->policies_read[i]);
        if (read == relation)
            continue;
        if (!read || read->placement == PLACE_SHARDED || read->kind == 'v')
            analysis_refuse(analysis, location,
                            analysis_text(analysis, "a row security policy of %s reads %s", display(analysis, relation),
                                          read ? display(analysis, read) : "a relation"),
                            "Nothing bounds what a policy reads.", NULL);
        note(analysis, read, NULL, location);
    }
}

/* What of a relation the coordinator, where it is a foreign table, would show otherwise. */
static void look_from_coordinator(struct analysis *analysis, const struct schema_relation *relation, bool inherits)
{
    if (relation->placement == PLACE_SYSTEM || !strchr("rpvmf", relation->kind))
        analysis_bar_several(analysis, "it reads catalogs or sequences, which each server has for itself");
    for (size_t i = 0; i < relation->column_count; i++) {
        const struct schema_type *type =
            schema_type_by_oid(analysis->schema, schema_base_type(analysis->schema, relation->columns[i].type, NULL));
        if (type && (strncmp(type->name, "reg", 3) == 0 || strncmp(type->name, "_reg", 4) == 0))
            analysis_bar_several(analysis, "a column has names of objects (regclass and its like), each server's own");
    }
    if (relation->has_row_security)
        analysis_bar_coordinator(analysis, "a table has row security, and the policies are on the shards");
    if (relation->has_row_security)
        analysis_bar_scatter(analysis, "a table has row security, and what its policies ask of a server is not known");
    if (!inherits || (relation->kind == 'r' && relation->child_count))
        analysis_bar_coordinator(analysis, "it reads a table that has child tables, or ONLY one of them");
}

struct use *use_add(struct analysis *analysis, struct range *range, const struct schema_relation *relation,
                    int location, bool inherits)
{
    look_from_coordinator(analysis, relation, inherits);
    part_relation(analysis, relation, location);
    struct use *use = note(analysis, relation, range, location);
    if (range)
        range->use = use;
    if (inherits)
        check_children(analysis, relation, location, 0);
    if (relation->has_row_security)
        check_policies(analysis, relation, location);
    return use;
}

/*
 * Foreign keys: checks and cascades touch the other side. Between sharded tables of one map they stay on the shard,
 * since `apply` refuses a foreign key that leaves out the key.
 */
static void check_foreign_keys(struct analysis *analysis, const struct schema_relation *relation, int location)
{
    for (size_t i = 0; i < relation->key_count; i++) {
        const struct schema_foreign_key *key = &relation->keys[i];
        uint32_t other_oid = key->from == relation->oid ? key->to : key->from;
        const struct schema_relation *other = schema_relation_by_oid(analysis->schema, other_oid);
        enum placement place = other ? other->placement : PLACE_HOME;
        bool sharded = relation->placement == PLACE_SHARDED;
        bool fine = sharded ? place == PLACE_SHARDED && other->table->map == relation->table->map
                            : place == relation->placement;
        fine |= place == PLACE_REFERENCE && key->from == relation->oid;
        fine |= relation->placement == PLACE_REFERENCE && key->to == relation->oid;
        if (!fine)
            analysis_refuse(analysis, location,
                            analysis_text(analysis, "a foreign key ties %s to a table that is placed elsewhere",
                                          display(analysis, relation)),
                            NULL, NULL);
    }
}

/* What a write sets off beside what stands in it. */
struct behind {
    struct analysis *analysis;
    int location;
    unsigned char *seen; /* what of enum written_how was followed, of each relation of the schema */
};

static const char trigger_detail[] = "What a trigger's function reads and writes is not known.",
                  trigger_hint[] = "If it stays on the shard, name the shard: SET mosaic.shard or SET mosaic.key.";

/* What a row's change does to the rows that refer to it; *by_default: it sets them to a default. */
static int cascade_of(const struct schema_foreign_key *key, int how, bool *by_default)
{
    int set_off = 0;
    char actions[] = {how & WRITTEN_DELETED ? key->on_delete : 'a', how & WRITTEN_UPDATED ? key->on_update : 'a'};
    if (actions[0] == 'c')
        set_off |= WRITTEN_DELETED;
    if (strchr("nd", actions[0]) || strchr("cnd", actions[1]))
        set_off |= WRITTEN_UPDATED;
    *by_default = memchr(actions, 'd', sizeof actions) != NULL;
    return set_off;
}

/* The table, or a partition (a child, where rows that are there are changed) of it, that has triggers; NULL: none. */
static const struct schema_relation *with_triggers(struct analysis *analysis, const struct schema_relation *relation,
                                                   int how, int depth)
{
    const struct schema_relation *found = relation->has_triggers ? relation : NULL;
    for (size_t i = 0; !found && i < relation->child_count && depth < CHILDREN_DEPTH; i++) {
        const struct schema_relation *child = schema_relation_by_oid(analysis->schema, relation->children[i]);
        if (child && (child->is_partition || how))
            found = with_triggers(analysis, child, how, depth + 1);
    }
    return found;
}

static void follow(struct behind *behind, const struct schema_relation *relation, int how, int depth);

/*
 * Rows that refer to a reference table's stand on the shards, each with its own copy: checks and cascades find those of
 * all shards together, and no copy changes otherwise than another. Not so where a cascade sets off what is not known.
 */
static void follow_keys(struct behind *behind, const struct schema_relation *relation, int how, int depth)
{
    struct analysis *analysis = behind->analysis;
    for (size_t i = 0; i < relation->key_count; i++) {
        const struct schema_foreign_key *key = &relation->keys[i];
        const struct schema_relation *other = schema_relation_by_oid(analysis->schema, key->from);
        bool by_default;
        int set_off = cascade_of(key, how, &by_default);
        if (key->to != relation->oid || other == relation || !set_off)
            continue;
        const struct schema_relation *triggered = other ? with_triggers(analysis, other, set_off, 0) : NULL;
        bool hides = !other || triggered || other->has_rules || depth > CHILDREN_DEPTH;
        if (hides || (by_default && relation->placement == PLACE_REFERENCE))
            analysis_refuse(analysis, behind->location,
                            analysis_text(analysis, "a foreign key to %s changes rows in a way that is not known",
                                          display(analysis, relation)),
                            triggered ? analysis_text(analysis, "%s has triggers. %s", triggered->name, trigger_detail)
                                      : NULL,
                            triggered ? trigger_hint : NULL);
        follow(behind, other, set_off, depth + 1);
    }
}

static void follow(struct behind *behind, const struct schema_relation *relation, int how, int depth)
{
    const struct schema *schema = behind->analysis->schema;
    if (!relation || (behind->seen[relation - schema->relations] & how) == how)
        return;
    behind->seen[relation - schema->relations] |= (unsigned char)how;
    follow_keys(behind, relation, how, depth);
    for (size_t i = 0; i < relation->child_count && depth <= CHILDREN_DEPTH; i++)
        follow(behind, schema_relation_by_oid(schema, relation->children[i]), how, depth + 1);
}

/* A partition's own keys are looked at when its parent is written. */
static void check_keys(struct analysis *analysis, const struct schema_relation *relation, int location, int depth)
{
    if (relation)
        check_foreign_keys(analysis, relation, location);
    for (size_t i = 0; relation && i < relation->child_count && depth < CHILDREN_DEPTH; i++)
        check_keys(analysis, schema_relation_by_oid(analysis->schema, relation->children[i]), location, depth + 1);
}

/* Rules are looked up for the relation that is named, and for no partition of it. */
void use_written(struct analysis *analysis, struct use *use, int how)
{
    const struct schema_relation *relation = use->fact.relation;
    use->fact.is_written = true;
    analysis->facts->is_write = true;
    const char *name = display(analysis, relation);
    int location = use->fact.location;
    if (relation->has_rules)
        analysis_refuse(analysis, location, analysis_text(analysis, "%s has rules that rewrite the statement", name),
                        "What a rule does is not analysed.", "Drop the rules.");
    const struct schema_relation *triggered = with_triggers(analysis, relation, how, 0);
    if (triggered)
        analysis_refuse(analysis, location,
                        triggered == relation ? analysis_text(analysis, "%s has triggers", name)
                                              : analysis_text(analysis, "%s, a partition or child of %s, has triggers",
                                                              triggered->name, name),
                        trigger_detail, trigger_hint);
    check_keys(analysis, relation, location, 0);
    if (!how || (!relation->key_count && !relation->child_count))
        return;
    struct behind behind = {analysis, location, analysis_new(analysis, analysis->schema->relation_count + 1, 1)};
    follow(&behind, relation, how, 0);
}

/* ---- TRUNCATE ---- */

/* With CASCADE it goes on to the tables that refer to this one. */
static void follow_truncated(struct behind *behind, const struct schema_relation *relation, bool inherits,
                             bool cascades, int depth)
{
    struct analysis *analysis = behind->analysis;
    if (!relation || behind->seen[relation - analysis->schema->relations] || depth > CHILDREN_DEPTH)
        return;
    behind->seen[relation - analysis->schema->relations] = true;
    if (relation->has_truncate_triggers)
        analysis_refuse(analysis, behind->location,
                        analysis_text(analysis, "%s has triggers for TRUNCATE", relation->name), trigger_detail,
                        trigger_hint);
    for (size_t i = 0; inherits && i < relation->child_count; i++)
        follow_truncated(behind, schema_relation_by_oid(analysis->schema, relation->children[i]), true, cascades,
                         depth + 1);
    for (size_t i = 0; cascades && i < relation->key_count; i++) {
        const struct schema_relation *other = schema_relation_by_oid(analysis->schema, relation->keys[i].from);
        if (relation->keys[i].to == relation->oid)
            follow_truncated(behind, other, true, true, depth + 1);
    }
}

void relation_truncated(struct analysis *analysis, const struct schema_relation *relation, const RangeVar *name,
                        bool cascades)
{
    struct behind behind = {analysis, name->location, analysis_new(analysis, analysis->schema->relation_count + 1, 1)};
    follow_truncated(&behind, relation, name->inh, cascades, 0);
}
