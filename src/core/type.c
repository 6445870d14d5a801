#include "core/type.h"

#include <string.h>

static const struct {
    const char *name;
    unsigned oid;
} types[] = {
#define X(name, sql, oid, fixed) {sql, oid},
    KEY_TYPE_LIST(X)
#undef X
};

/* PostgreSQL's other spellings (src/backend/parser/gram.y, SimpleTypename, and pg_type's own names). */
static const struct {
    const char *name;
    enum key_type type;
} aliases[] = {
    {"int2", KEY_INT2},       {"int4", KEY_INT4},           {"int", KEY_INT4},
    {"int8", KEY_INT8},       {"varchar", KEY_VARCHAR},     {"char", KEY_BPCHAR},
    {"bpchar", KEY_BPCHAR},   {"timestamp", KEY_TIMESTAMP}, {"timestamptz", KEY_TIMESTAMPTZ},
    {"decimal", KEY_NUMERIC}, {"dec", KEY_NUMERIC},
};

enum { ALIAS_COUNT = sizeof aliases / sizeof aliases[0] };

const char *type_name(enum key_type type)
{
    return types[type].name;
}

unsigned type_oid(enum key_type type)
{
    return types[type].oid;
}

static bool same_name(const char *ours, const char *name, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        char c = name[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        if (c != ours[i] || c == '\0')
            return false;
    }
    return ours[size] == '\0';
}

bool type_by_name(const char *name, size_t size, enum key_type *type)
{
    for (int i = 0; i < KEY_TYPE_COUNT; i++) {
        if (same_name(types[i].name, name, size))
            return *type = (enum key_type)i, true;
    }
    for (int i = 0; i < ALIAS_COUNT; i++) {
        if (same_name(aliases[i].name, name, size))
            return *type = aliases[i].type, true;
    }
    return false;
}

bool type_by_oid(unsigned oid, enum key_type *type)
{
    for (int i = 0; i < KEY_TYPE_COUNT; i++) {
        if (types[i].oid == oid)
            return *type = (enum key_type)i, true;
    }
    return false;
}

bool type_is_integer(enum key_type type)
{
    return type == KEY_INT2 || type == KEY_INT4 || type == KEY_INT8;
}

bool type_is_text(enum key_type type)
{
    return type == KEY_TEXT || type == KEY_VARCHAR || type == KEY_BPCHAR;
}

bool type_oid_is_text(unsigned oid)
{
    enum key_type type;
    return type_by_oid(oid, &type) && type_is_text(type);
}

const char *type_integer_name(unsigned oid)
{
    enum key_type type;
    return type_by_oid(oid, &type) && type_is_integer(type) ? type_name(type) : NULL;
}
