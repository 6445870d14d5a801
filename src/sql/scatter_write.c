#include "sql/scatter.h"

void writing_bytes(struct writing *writing, const char *bytes, size_t size)
{
    if (writing->size + size >= writing->capacity) {
        size_t capacity = writing->capacity ? writing->capacity : 256;
        while (capacity <= writing->size + size)
            capacity *= 2;
        char *larger = analysis_new(writing->analysis, capacity, 1);
        if (writing->size)
            memcpy(larger, writing->text, writing->size);
        writing->text = larger, writing->capacity = capacity;
    }
    if (size)
        memcpy(writing->text + writing->size, bytes, size);
    writing->size += size;
}

void writing_text(struct writing *writing, const char *text)
{
    writing_bytes(writing, text, strlen(text));
}

void writing_piece(struct writing *writing, size_t start, size_t end)
{
    writing_bytes(writing, writing->analysis->text + start, end - start);
}

void writing_name(struct writing *writing, const char *name)
{
    writing_text(writing, "\"");
    for (; *name; name++) {
        writing_bytes(writing, name, 1);
        if (*name == '"')
            writing_bytes(writing, name, 1);
    }
    writing_text(writing, "\"");
}

const char *writing_end(struct writing *writing)
{
    writing_bytes(writing, "", 1);
    return writing->text;
}
