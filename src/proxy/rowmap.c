#include "proxy/rowmap.h"

#include "base/memory.h"
#include "wire/wire.h"

#include <string.h>

/* Deeper than types are nested; only ROW(ROW(…)) written by hand comes near. */
enum { DEPTH_MOST = 64, COPY_SIGNATURE = 11 };

/* What stands next in a value, with the bytes of it that must be at hand. X(identifier, bytes, what it is) */
#define STEP_LIST(X)                                                          \
    X(SKIP, 0, "nothing that names a type")                                   \
    X(HEADER, 19, "COPY: its signature, flags, and the size of an extension") \
    X(ROW, 2, "how many columns")                                             \
    X(COLUMN, 4, "a column's size")                                           \
    X(OID, 4, "a type's OID, all of the value")                               \
    X(ARRAY, 12, "how many dimensions, flags, the elements' type")            \
    X(DIMENSION, 8, "how many elements, from which number on")                \
    X(RECORD, 4, "how many columns")                                          \
    X(ATTRIBUTE, 8, "a column's type and size")                               \
    X(RANGE, 1, "which bounds are there")                                     \
    X(MULTIRANGE, 4, "how many ranges")                                       \
    X(ELEMENT, 4, "the size of a value whose type is known: a bound, a range …")

enum step {
#define X(identifier, bytes, what) STEP_##identifier,
    STEP_LIST(X)
#undef X
};

static const size_t step_bytes[] = {
#define X(identifier, bytes, what) bytes,
    STEP_LIST(X)
#undef X
};

/* A value that is being read. */
struct level {
    enum step step;
    uint32_t end;      /* where it ends in the message */
    uint32_t left;     /* of COLUMN, DIMENSION, ATTRIBUTE, ELEMENT: so many more */
    uint32_t type;     /* of ELEMENT */
    uint32_t elements; /* of DIMENSION: so far */
};

struct rowmap {
    uint32_t *columns; /* their types; 0: nothing to change */
    uint32_t column_count, capacity;
    bool applies, copies;
    bool begun;    /* COPY: the header was read */
    uint32_t at;   /* in the message */
    uint32_t skip; /* bytes from there that are passed over */
    size_t depth;  /* of levels */
    struct level levels[DEPTH_MOST];
};

struct rowmap *rowmap_new(void)
{
    return memory_zeroed(1, sizeof(struct rowmap));
}

void rowmap_free(struct rowmap *rowmap)
{
    if (rowmap)
        memory_free(rowmap->columns);
    memory_free(rowmap);
}

bool rowmap_applies(const struct rowmap *rowmap, bool copies)
{
    return rowmap->applies && rowmap->copies == copies;
}

/* How values of a type are read, by its OID on the home shard; *type: of what stands within. */
static enum step step_of(const struct schema *schema, uint32_t oid, uint32_t *type)
{
    uint32_t base = schema_base_type(schema, oid, NULL);
    *type = 0;
    if (!typemap_names_types(base))
        return STEP_SKIP;
    if (base == TYPEMAP_REGTYPE)
        return STEP_OID;
    if (base == TYPEMAP_RECORD)
        return STEP_RECORD;
    if (base < TYPEMAP_FIRST_OF_USERS)
        return STEP_ARRAY;
    const struct schema_type *found = schema_type_by_oid(schema, base);
    if (found && found->kind == 'c')
        return STEP_RECORD;
    if (found && found->element)
        return STEP_ARRAY;
    if (!found || !found->within || !rowmap_holds(schema, found->within))
        return STEP_SKIP;
    *type = found->within;
    return found->kind == 'm' ? STEP_MULTIRANGE : STEP_RANGE;
}

bool rowmap_holds(const struct schema *schema, uint32_t type)
{
    uint32_t inner;
    return step_of(schema, type, &inner) != STEP_SKIP;
}

/* ---- columns ---- */

static bool make_room(struct rowmap *rowmap, uint32_t count)
{
    if (count <= rowmap->capacity)
        return true;
    uint32_t *columns = memory_resize(rowmap->columns, count * sizeof *columns);
    if (!columns)
        return false;
    rowmap->columns = columns;
    rowmap->capacity = count;
    return true;
}

bool rowmap_describe(struct rowmap *rowmap, const char *body, size_t size, const struct schema *schema, bool copies)
{
    struct wire_reader reader = {body, body ? body + size : NULL, false};
    const char *name, *field;
    (void)wire_read16(&reader);
    rowmap->column_count = 0;
    rowmap->applies = rowmap->begun = false;
    rowmap->copies = copies;
    while ((field = wire_next_column(&reader, &name))) {
        uint32_t type = wire_get32(field + WIRE_COLUMN_TYPE);
        bool is_binary = copies || wire_get16(field + WIRE_COLUMN_FORMAT) == 1;
        bool holds = is_binary && rowmap_holds(schema, type);
        if (rowmap->column_count == rowmap->capacity && !make_room(rowmap, rowmap->capacity * 2 + 8))
            return false;
        rowmap->columns[rowmap->column_count++] = holds ? type : 0;
        rowmap->applies |= holds;
    }
    return true;
}

/* ---- rows ---- */

static uint32_t map_oid(const struct typemap *map, char *at)
{
    uint32_t home = typemap_home(map, wire_get32(at));
    wire_put32(at, home);
    return home;
}

static bool push(struct rowmap *rowmap, enum step step, uint32_t size, uint32_t type)
{
    if (rowmap->depth == DEPTH_MOST)
        return false;
    rowmap->levels[rowmap->depth++] =
        (struct level){.step = step, .end = rowmap->at + size, .type = type, .elements = 1};
    return true;
}

/* A value of this type begins behind its size (-1: NULL), and what holds it has one less to come. */
static bool enter(struct rowmap *rowmap, const struct schema *schema, uint32_t type, uint32_t size)
{
    struct level *top = &rowmap->levels[rowmap->depth - 1];
    uint32_t inner;
    top->left--;
    if (size == UINT32_MAX)
        return true;
    if (size > top->end - rowmap->at)
        return false;
    enum step step = type ? step_of(schema, type, &inner) : STEP_SKIP;
    if (step == STEP_SKIP) {
        rowmap->skip = size;
        return true;
    }
    return push(rowmap, step, size, inner);
}

/* The value at the top has so many parts, of this kind. */
static bool expect_parts(struct level *top, enum step step, uint32_t count)
{
    top->step = step;
    top->left = count;
    return count <= top->end; /* each has some bytes */
}

static bool begin_array(struct rowmap *rowmap, const struct typemap *map, const struct schema *schema, char *bytes)
{
    struct level *top = &rowmap->levels[rowmap->depth - 1];
    top->type = map_oid(map, bytes + 8);
    if (rowmap_holds(schema, top->type))
        return expect_parts(top, STEP_DIMENSION, wire_get32(bytes));
    rowmap->skip = top->end - rowmap->at;
    return expect_parts(top, STEP_ELEMENT, 0);
}

static bool take_dimension(struct level *top, const char *bytes)
{
    uint64_t elements = (uint64_t)top->elements * wire_get32(bytes);
    if (elements > top->end)
        return false;
    top->elements = (uint32_t)elements;
    return --top->left ? true : expect_parts(top, STEP_ELEMENT, top->elements);
}

static bool begin_range(struct level *top, unsigned flags)
{
    /* utils/rangetypes.h */
    enum { EMPTY = 1, LOWER_INFINITE = 8, UPPER_INFINITE = 16, LOWER_NULL = 32, UPPER_NULL = 64 };
    uint32_t lower = !(flags & (EMPTY | LOWER_INFINITE | LOWER_NULL));
    uint32_t upper = !(flags & (EMPTY | UPPER_INFINITE | UPPER_NULL));
    return expect_parts(top, STEP_ELEMENT, lower + upper);
}

static bool begin_row(struct rowmap *rowmap, uint32_t count)
{
    struct level *top = &rowmap->levels[rowmap->depth - 1];
    if (rowmap->copies && count == UINT16_MAX)
        count = 0; /* the end */
    else if (count != rowmap->column_count)
        return false;
    return expect_parts(top, STEP_COLUMN, count);
}

/* Whose bytes are all at hand; they are behind rowmap->at already. False: it cannot be read. */
static bool take_step(struct rowmap *rowmap, const struct typemap *map, const struct schema *schema, char *bytes)
{
    struct level *top = &rowmap->levels[rowmap->depth - 1];
    switch (top->step) {
    case STEP_HEADER:
        rowmap->begun = true;
        rowmap->skip = wire_get32(bytes + COPY_SIGNATURE + 4);
        top->step = STEP_ROW;
        return rowmap->skip <= top->end - rowmap->at;
    case STEP_ROW:
        return begin_row(rowmap, wire_get16(bytes));
    case STEP_COLUMN:
        return enter(rowmap, schema, rowmap->columns[rowmap->column_count - top->left], wire_get32(bytes));
    case STEP_OID:
        map_oid(map, bytes);
        return expect_parts(top, STEP_ELEMENT, 0);
    case STEP_ARRAY:
        return begin_array(rowmap, map, schema, bytes);
    case STEP_DIMENSION:
        return take_dimension(top, bytes);
    case STEP_RECORD:
        return expect_parts(top, STEP_ATTRIBUTE, wire_get32(bytes));
    case STEP_ATTRIBUTE:
        return enter(rowmap, schema, map_oid(map, bytes), wire_get32(bytes + 4));
    case STEP_RANGE:
        return begin_range(top, (unsigned char)bytes[0]);
    case STEP_MULTIRANGE:
        return expect_parts(top, STEP_ELEMENT, wire_get32(bytes));
    case STEP_ELEMENT:
        return enter(rowmap, schema, top->type, wire_get32(bytes));
    default:
        return false;
    }
}

/* Nothing more to come of the value at the top. */
static bool is_done(const struct level *top)
{
    switch (top->step) {
    case STEP_COLUMN:
    case STEP_DIMENSION:
    case STEP_ATTRIBUTE:
    case STEP_ELEMENT:
        return top->left == 0;
    default:
        return false;
    }
}

/* False: its end is elsewhere than was said. */
static bool leave(struct rowmap *rowmap)
{
    struct level *top = &rowmap->levels[rowmap->depth - 1];
    if (rowmap->at == top->end) {
        rowmap->depth--;
        return true;
    }
    top->step = STEP_ROW; /* several rows in one message of COPY */
    return rowmap->depth == 1 && rowmap->copies;
}

void rowmap_begin(struct rowmap *rowmap, uint32_t size)
{
    rowmap->at = rowmap->skip = 0;
    rowmap->depth = 0;
    (void)push(rowmap, rowmap->copies && !rowmap->begun ? STEP_HEADER : STEP_ROW, size, 0);
}

size_t rowmap_feed(struct rowmap *rowmap, const struct typemap *map, const struct schema *schema, char *bytes,
                   size_t size)
{
    size_t used = 0;
    for (;;) {
        size_t piece = size - used < rowmap->skip ? size - used : rowmap->skip;
        rowmap->at += (uint32_t)piece;
        rowmap->skip -= (uint32_t)piece;
        used += piece;
        if (rowmap->skip || !rowmap->depth)
            return rowmap->skip || used == size ? used : SIZE_MAX;
        struct level *top = &rowmap->levels[rowmap->depth - 1];
        if (is_done(top)) {
            if (!leave(rowmap))
                return SIZE_MAX;
            continue;
        }
        size_t needed = step_bytes[top->step];
        if (needed > top->end - rowmap->at)
            return SIZE_MAX;
        if (needed > size - used)
            return used;
        rowmap->at += (uint32_t)needed;
        if (!take_step(rowmap, map, schema, bytes + used))
            return SIZE_MAX;
        used += needed;
    }
}
