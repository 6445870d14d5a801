/* CREATE TABLE, ALTER TABLE, sequences. */
#include "sql/schema_file_parts.h"

enum { OID_INT2 = 21, OID_INT4 = 23, OID_INT8 = 20, OID_BOOL = 16 };

static const struct file_default no_default = {false, false, false}, of_sequence = {.has = true};

static uint32_t serial_type(const TypeName *type)
{
    static const struct {
        const char *name;
        uint32_t oid;
    } serials[] = {{"serial", OID_INT4},  {"serial4", OID_INT4},     {"bigserial", OID_INT8},
                   {"serial8", OID_INT8}, {"smallserial", OID_INT2}, {"serial2", OID_INT2}};
    if (!type || list_length(type->names) != 1)
        return 0;
    for (size_t i = 0; i < sizeof serials / sizeof *serials; i++)
        if (strcmp(strVal(linitial(type->names)), serials[i].name) == 0)
            return serials[i].oid;
    return 0;
}

static void add_sequence_column(struct schema_file *file, struct draft_relation *relation, const char *name,
                                uint32_t type)
{
    struct schema_column *column = draft_add_column(&file->draft, relation, name);
    if (column)
        column->type = type, column->not_null = true;
}

void file_create_sequence(struct schema_file *file, const char *namespace, const char *name)
{
    if (draft_relation(&file->draft, namespace, name))
        return;
    struct draft_relation *sequence = draft_add_relation(&file->draft, namespace, name, 'S');
    if (!sequence)
        return;
    add_sequence_column(file, sequence, "last_value", OID_INT8);
    add_sequence_column(file, sequence, "log_cnt", OID_INT8);
    add_sequence_column(file, sequence, "is_called", OID_BOOL);
}

static void own_sequence(struct schema_file *file, const struct draft_relation *relation, const char *column)
{
    const char *name = arena_format(file->draft.arena, "%s_%s_seq", relation->made.name, column);
    if (name)
        file_create_sequence(file, relation->made.schema, name);
    else
        file->draft.failed = true;
}

static void mark_not_null(struct draft_relation *relation, const List *names)
{
    const ListCell *cell;
    foreach (cell, names) {
        struct schema_column *column = draft_column(relation, strVal(lfirst(cell)));
        if (column)
            column->not_null = true;
    }
}

static void add_key(struct schema_file *file, struct draft_relation *relation, struct schema_foreign_key key)
{
    struct schema_foreign_key *added = relation ? draft_append(&file->draft, &relation->keys, sizeof *added) : NULL;
    if (added)
        *added = key;
}

static void add_foreign_key(struct schema_file *file, struct draft_relation *relation, const Constraint *constraint)
{
    struct draft_relation *to = file_relation(file, constraint->pktable);
    if (!to)
        return;
    struct schema_foreign_key key = {relation->made.oid, to->made.oid, constraint->fk_upd_action,
                                     constraint->fk_del_action};
    add_key(file, relation, key);
    if (to != relation)
        add_key(file, to, key);
}

static void add_constraint(struct schema_file *file, struct draft_relation *relation, const Constraint *constraint)
{
    if (constraint->contype == CONSTR_PRIMARY)
        mark_not_null(relation, constraint->keys);
    else if (constraint->contype == CONSTR_FOREIGN)
        add_foreign_key(file, relation, constraint);
}

static void add_column_constraint(struct schema_file *file, struct draft_relation *relation, const char *name,
                                  const Constraint *constraint)
{
    struct schema_column *column = draft_column(relation, name);
    switch (constraint->contype) {
    case CONSTR_NOTNULL:
    case CONSTR_PRIMARY:
        column->not_null = true;
        break;
    case CONSTR_DEFAULT:
        file_set_default(column, file_default(constraint->raw_expr));
        break;
    case CONSTR_IDENTITY:
        column->not_null = true;
        file_set_default(column, of_sequence);
        own_sequence(file, relation, name);
        break;
    case CONSTR_GENERATED:
        column->is_generated = true;
        break;
    case CONSTR_FOREIGN:
        add_foreign_key(file, relation, constraint);
        break;
    default:
        break;
    }
}

static void add_column(struct schema_file *file, struct draft_relation *relation, const ColumnDef *definition)
{
    uint32_t serial = serial_type(definition->typeName);
    int32_t modifier = -1;
    uint32_t type = serial ? serial : file_type(file, definition->typeName, &modifier);
    struct schema_column *column = draft_column(relation, definition->colname); /* a parent's, said once more */
    if (!column)
        column = draft_add_column(&file->draft, relation, file_text(file, definition->colname));
    if (!column)
        return;
    column->not_null |= definition->is_not_null || serial;
    if (serial || !column->has_default)
        file_set_default(column, serial ? of_sequence : file_type_default(file, type));
    if (definition->typeName) { /* CREATE TABLE … OF type (column WITH OPTIONS …) has none */
        column->type = type;
        column->modifier = modifier;
        column->deterministic = file_is_deterministic(file, definition->collClause);
        column->plain = !definition->collClause;
        column->bytewise = file_is_bytewise(definition->collClause, column->type);
    }
    const char *name = column->name;
    if (serial)
        own_sequence(file, relation, name);
    const ListCell *cell;
    foreach (cell, definition->constraints)
        add_column_constraint(file, relation, name, lfirst(cell));
}

static void copy_columns(struct schema_file *file, struct draft_relation *to, const struct draft_relation *from,
                         bool defaults, bool generated)
{
    for (size_t i = 0; i < from->columns.count; i++) {
        struct schema_column copied = ((const struct schema_column *)from->columns.items)[i];
        struct schema_column *column = draft_column(to, copied.name);
        if (!column)
            column = draft_add_column(&file->draft, to, copied.name);
        if (!column)
            return;
        copied.number = column->number;
        copied.not_null |= column->not_null;
        if (!defaults)
            file_set_default(&copied, no_default);
        copied.is_generated &= generated;
        *column = copied;
    }
}

void file_add_elements(struct schema_file *file, struct draft_relation *relation, const List *elements)
{
    const ListCell *cell;
    foreach (cell, elements) {
        const Node *element = lfirst(cell);
        if (IsA(element, ColumnDef)) {
            add_column(file, relation, (const ColumnDef *)element);
        } else if (IsA(element, TableLikeClause)) {
            const TableLikeClause *like = (const TableLikeClause *)element;
            const struct draft_relation *from = file_relation(file, like->relation);
            if (from)
                copy_columns(file, relation, from,
                             like->options & (CREATE_TABLE_LIKE_DEFAULTS | CREATE_TABLE_LIKE_IDENTITY),
                             like->options & CREATE_TABLE_LIKE_GENERATED);
        }
    }
    foreach (cell, elements) /* PRIMARY KEY (a) may stand before a */
        if (IsA((const Node *)lfirst(cell), Constraint))
            add_constraint(file, relation, lfirst(cell));
}

static void attach(struct schema_file *file, struct draft_relation *parent, struct draft_relation *child)
{
    if (!parent || !child)
        return;
    draft_append_oid(&file->draft, &child->parents, parent->made.oid);
    draft_append_oid(&file->draft, &parent->children, child->made.oid);
}

void file_create_table(struct schema_file *file, const CreateStmt *statement, char kind)
{
    const RangeVar *range = statement->relation;
    if (file_is_temporary(range))
        return;
    const char *namespace = file_new_namespace(file, range->schemaname), *name = file_text(file, range->relname);
    if (draft_relation(&file->draft, namespace, name)) {
        if (!statement->if_not_exists)
            file_refuse(file, MOSAIC_DATA, "relation %s.%s is created twice", namespace, name);
        return;
    }
    struct draft_relation *relation =
        draft_add_relation(&file->draft, namespace, name, statement->partspec ? 'p' : kind);
    if (!relation)
        return;
    const ListCell *cell;
    foreach (cell, statement->inhRelations) {
        struct draft_relation *parent = file_relation(file, lfirst(cell));
        if (parent)
            copy_columns(file, relation, parent, true, true);
        attach(file, parent, relation);
    }
    relation->made.is_partition = statement->partbound != NULL;
    if (statement->ofTypename) {
        int32_t modifier;
        const struct schema_type *type =
            draft_type_by_oid(&file->draft, file_type(file, statement->ofTypename, &modifier));
        const struct draft_relation *row = type ? draft_relation_by_oid(&file->draft, type->relation) : NULL;
        if (row)
            copy_columns(file, relation, row, false, false);
    }
    file_add_elements(file, relation, statement->tableElts);
    file_add_elements(file, relation, statement->constraints);
}

/* ---- ALTER TABLE ---- */

static void detach(struct draft_relation *parent, struct draft_relation *child)
{
    struct draft_list *lists[2] = {&parent->children, &child->parents};
    uint32_t oids[2] = {child->made.oid, parent->made.oid};
    for (size_t list = 0; list < 2; list++) {
        uint32_t *items = lists[list]->items;
        size_t kept = 0;
        for (size_t i = 0; i < lists[list]->count; i++)
            if (items[i] != oids[list])
                items[kept++] = items[i];
        lists[list]->count = kept;
    }
}

static void alter_partition(struct schema_file *file, struct draft_relation *relation, const AlterTableCmd *command)
{
    struct draft_relation *partition = file_relation(file, ((const PartitionCmd *)command->def)->name);
    if (!partition || relation->made.kind != 'p') /* else an index's, which is nothing here */
        return;
    partition->made.is_partition = command->subtype == AT_AttachPartition;
    if (partition->made.is_partition)
        attach(file, relation, partition);
    else
        detach(relation, partition);
}

static void alter_inheritance(struct schema_file *file, struct draft_relation *relation, const AlterTableCmd *command)
{
    struct draft_relation *parent = file_relation(file, (const RangeVar *)command->def);
    if (parent && command->subtype == AT_AddInherit)
        attach(file, parent, relation);
    else if (parent)
        detach(parent, relation);
}

static void alter_column(struct schema_file *file, struct draft_relation *relation, const AlterTableCmd *command)
{
    struct schema_column *column = command->name ? draft_column(relation, command->name) : NULL;
    if (!column) {
        file_refuse(file, MOSAIC_DATA, "%s has no column %s", relation->made.name, command->name ? command->name : "");
        return;
    }
    switch (command->subtype) {
    case AT_ColumnDefault:
        file_set_default(column, command->def ? file_default(command->def) : file_type_default(file, column->type));
        break;
    case AT_SetNotNull:
    case AT_DropNotNull:
        column->not_null = command->subtype == AT_SetNotNull;
        break;
    case AT_DropExpression:
        column->is_generated = false;
        break;
    case AT_AddIdentity:
        column->not_null = true;
        file_set_default(column, of_sequence);
        own_sequence(file, relation, column->name);
        break;
    case AT_DropIdentity:
        file_set_default(column, no_default);
        break;
    default: { /* AT_AlterColumnType */
        const ColumnDef *definition = (const ColumnDef *)command->def;
        column->type = file_type(file, definition->typeName, &column->modifier);
        column->deterministic = file_is_deterministic(file, definition->collClause);
        column->plain = !definition->collClause;
        column->bytewise = file_is_bytewise(definition->collClause, column->type);
    }
    }
}

static bool is_passed_over(AlterTableType type)
{
    static const AlterTableType passed[] = {
        AT_SetStatistics,    AT_SetOptions,         AT_ResetOptions,      AT_SetStorage,
        AT_SetCompression,   AT_ValidateConstraint, AT_AlterConstraint,   AT_DropConstraint,
        AT_ChangeOwner,      AT_ClusterOn,          AT_DropCluster,       AT_SetLogged,
        AT_SetUnLogged,      AT_SetAccessMethod,    AT_SetTableSpace,     AT_SetRelOptions,
        AT_ResetRelOptions,  AT_ReplaceRelOptions,  AT_ReplicaIdentity,   AT_GenericOptions,
        AT_EnableTrig,       AT_EnableAlwaysTrig,   AT_EnableReplicaTrig, AT_DisableTrig,
        AT_EnableTrigAll,    AT_DisableTrigAll,     AT_EnableTrigUser,    AT_DisableTrigUser,
        AT_EnableRule,       AT_EnableAlwaysRule,   AT_EnableReplicaRule, AT_DisableRule,
        AT_ForceRowSecurity, AT_NoForceRowSecurity, AT_SetIdentity,       AT_AlterColumnGenericOptions};
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++)
        if (passed[i] == type)
            return true;
    return false;
}

static void alter(struct schema_file *file, struct draft_relation *relation, const AlterTableCmd *command)
{
    switch (command->subtype) {
    case AT_AddColumn:
        if (!draft_column(relation, ((const ColumnDef *)command->def)->colname))
            add_column(file, relation, (const ColumnDef *)command->def);
        break;
    case AT_DropColumn:
        draft_drop_column(relation, command->name);
        break;
    case AT_AddConstraint:
        add_constraint(file, relation, (const Constraint *)command->def);
        break;
    case AT_AttachPartition:
    case AT_DetachPartition:
        alter_partition(file, relation, command);
        break;
    case AT_AddInherit:
    case AT_DropInherit:
        alter_inheritance(file, relation, command);
        break;
    case AT_EnableRowSecurity:
    case AT_DisableRowSecurity:
        relation->made.has_row_security = command->subtype == AT_EnableRowSecurity;
        break;
    case AT_ColumnDefault:
    case AT_SetNotNull:
    case AT_DropNotNull:
    case AT_DropExpression:
    case AT_AddIdentity:
    case AT_DropIdentity:
    case AT_AlterColumnType:
        alter_column(file, relation, command);
        break;
    default:
        if (!is_passed_over(command->subtype))
            file_refuse(file, MOSAIC_UNSUPPORTED, "this ALTER of %s is not understood here", relation->made.name);
    }
}

/* Without ONLY a change of columns goes to partitions and children as well. */
static void alter_children(struct schema_file *file, struct draft_relation *relation, const AlterTableCmd *command,
                           size_t depth)
{
    bool goes_down = command->subtype == AT_AddColumn || command->subtype == AT_DropColumn ||
                     command->subtype == AT_SetNotNull || command->subtype == AT_AlterColumnType;
    for (size_t i = 0; goes_down && depth < 100 && i < relation->children.count; i++) {
        struct draft_relation *child =
            draft_relation_by_oid(&file->draft, ((const uint32_t *)relation->children.items)[i]);
        if (!child)
            continue;
        alter(file, child, command);
        alter_children(file, child, command, depth + 1);
    }
}

void file_alter_table(struct schema_file *file, const AlterTableStmt *statement)
{
    const RangeVar *range = statement->relation;
    if (statement->objtype == OBJECT_INDEX)
        return;
    struct draft_relation *relation = file_find_relation(file, range->schemaname, range->relname);
    if (!relation && (statement->missing_ok || statement->objtype == OBJECT_SEQUENCE))
        return;
    relation = file_relation(file, range);
    const ListCell *cell;
    foreach (cell, statement->cmds) {
        if (!relation)
            break;
        alter(file, relation, lfirst(cell));
        if (range->inh)
            alter_children(file, relation, lfirst(cell), 0);
    }
}
