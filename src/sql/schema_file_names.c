/* Names as the file's search_path resolves them, and types with their modifiers. */
#include "sql/schema_file_parts.h"

/* VARHDRSZ and the packing of numeric's modifier (src/backend/utils/adt/numeric.c, make_numeric_typmod). */
enum { MODIFIER_OFFSET = 4, OID_RECORD = 2249 };

const char *file_text(struct schema_file *file, const char *text)
{
    const char *copy = arena_string(file->draft.arena, text);
    file->draft.failed |= !copy;
    return copy ? copy : "";
}

static const char *path_at(const struct schema_file *file, size_t i)
{
    return ((const char **)file->path.items)[i];
}

const char *file_new_namespace(struct schema_file *file, const char *given)
{
    if (given)
        return file_text(file, given);
    if (!file->path.count) {
        file_refuse(file, MOSAIC_DATA, "search_path is empty: no schema is named for what is created");
        return "public";
    }
    return path_at(file, 0);
}

void file_split(const List *names, const char **namespace, const char **name)
{
    *namespace = *name = NULL;
    const ListCell *cell;
    foreach (cell, names) {
        *namespace = *name;
        *name = strVal(lfirst(cell));
    }
}

/* pg_catalog comes first unless the path names it. */
static size_t path_count(const struct schema_file *file)
{
    return file->path.count + 1;
}

static const char *path_name(const struct schema_file *file, size_t i)
{
    return i ? path_at(file, i - 1) : "pg_catalog";
}

struct draft_relation *file_find_relation(const struct schema_file *file, const char *namespace, const char *name)
{
    if (namespace)
        return draft_relation(&file->draft, namespace, name);
    struct draft_relation *found = NULL;
    for (size_t i = 0; !found && i < path_count(file); i++)
        found = draft_relation(&file->draft, path_name(file, i), name);
    return found;
}

struct draft_relation *file_relation(struct schema_file *file, const RangeVar *range)
{
    struct draft_relation *found = file_find_relation(file, range->schemaname, range->relname);
    if (!found)
        file_refuse(file, MOSAIC_DATA, "relation %s%s%s was not created before",
                    range->schemaname ? range->schemaname : "", range->schemaname ? "." : "", range->relname);
    return found;
}

bool file_is_deterministic(const struct schema_file *file, const CollateClause *collate)
{
    if (!collate)
        return true;
    const char *namespace, *name;
    file_split(collate->collname, &namespace, &name);
    for (size_t i = 0; i < file->blind.count; i++) {
        const struct file_collation *blind = &((struct file_collation *)file->blind.items)[i];
        if (strcmp(blind->name, name) == 0 && (!namespace || strcmp(blind->schema, namespace) == 0))
            return false;
    }
    return true;
}

bool file_is_bytewise(const CollateClause *collate, uint32_t type)
{
    enum { OID_NAME = 19 };
    const char *namespace, *name;
    if (!collate)
        return type == OID_NAME;
    file_split(collate->collname, &namespace, &name);
    return (!namespace || strcmp(namespace, "pg_catalog") == 0) &&
           (strcmp(name, "C") == 0 || strcmp(name, "POSIX") == 0);
}

static struct schema_type *find_type(const struct schema_file *file, const char *namespace, const char *name)
{
    if (namespace)
        return draft_type(&file->draft, namespace, name);
    struct schema_type *found = NULL;
    for (size_t i = 0; !found && i < path_count(file); i++)
        found = draft_type(&file->draft, path_name(file, i), name);
    return found;
}

/* varchar(n), char(n), numeric(p,s), and those whose modifier is the number itself. */
static int32_t modifier_of(const struct schema_type *type, const List *modifiers)
{
    int32_t numbers[2] = {0, 0};
    int count = 0;
    const ListCell *cell;
    foreach (cell, modifiers) {
        const A_Const *constant = lfirst(cell);
        if (!IsA(constant, A_Const) || constant->isnull || !IsA(&constant->val, Integer) || count == 2)
            return -1;
        numbers[count++] = intVal(&constant->val);
    }
    if (!count || strcmp(type->schema, "pg_catalog") != 0)
        return -1;
    if (strcmp(type->name, "varchar") == 0 || strcmp(type->name, "bpchar") == 0)
        return numbers[0] + MODIFIER_OFFSET;
    if (strcmp(type->name, "numeric") == 0)
        return (numbers[0] << 16 | (numbers[1] & 0x7ff)) + MODIFIER_OFFSET;
    return strcmp(type->name, "interval") == 0 ? -1 : numbers[0];
}

/* A type that nobody created: an extension's, without properties. */
static uint32_t unknown_type(struct schema_file *file, const char *namespace, const char *name)
{
    if (!file->has_extension && !namespace) {
        file_refuse(file, MOSAIC_DATA, "type %s was not created before", name);
        return 0;
    }
    struct schema_type *type =
        draft_add_type(&file->draft, file_new_namespace(file, namespace), file_text(file, name), 'b', 'U');
    return type ? type->oid : 0;
}

/* table.column%TYPE */
static uint32_t type_of_column(struct schema_file *file, const TypeName *type, int32_t *modifier)
{
    const char *names[3] = {NULL, NULL, NULL};
    const ListCell *cell;
    foreach (cell, type->names) {
        names[0] = names[1], names[1] = names[2];
        names[2] = strVal(lfirst(cell));
    }
    struct draft_relation *relation = names[1] ? file_find_relation(file, names[0], names[1]) : NULL;
    const struct schema_column *column = relation ? draft_column(relation, names[2]) : NULL;
    if (!column)
        return 0;
    *modifier = column->modifier;
    return column->type;
}

uint32_t file_type(struct schema_file *file, const TypeName *type, int32_t *modifier)
{
    const char *namespace, *name;
    *modifier = -1;
    if (!type)
        return 0;
    if (type->pct_type)
        return type_of_column(file, type, modifier);
    file_split(type->names, &namespace, &name);
    const struct schema_type *found = find_type(file, namespace, name);
    uint32_t oid = found ? found->oid : unknown_type(file, namespace, name);
    if (found)
        *modifier = modifier_of(found, type->typmods);
    if (type->arrayBounds) {
        found = draft_type_by_oid(&file->draft, oid);
        oid = found ? found->array : 0;
    }
    return oid;
}
