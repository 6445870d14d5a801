/* Tier 3: the client's words, but for pieces of them. */
#include "sql/scatter_final.h"

const char final_unclear[] = "what stands behind its WHERE is not understood";
const char final_domain[] = "a value of a domain stands within an expression, where it would be one of its base type";

static bool same_word(const struct word *a, const struct word *b)
{
    if (a->kind != b->kind || a->size != b->size)
        return false;
    return a->kind == WORD_NAME ? strncasecmp(a->text, b->text, a->size) == 0 : memcmp(a->text, b->text, a->size) == 0;
}

bool final_begins_with(const struct final *final, size_t at, size_t end, const struct piece *piece, size_t *behind)
{
    const char *text = final->analysis->text;
    struct word word, other;
    for (size_t from = piece->start; words_next(text, piece->end, &from, &word);)
        if (!words_next(text, end, &at, &other) || !same_word(&word, &other))
            return false;
    *behind = at;
    return true;
}

bool final_same_words(const struct final *final, const struct piece *a, const struct piece *b)
{
    size_t behind;
    return final_begins_with(final, a->start, a->end, b, &behind) &&
           words_skip(final->analysis->text, a->end, behind) == a->end;
}

const struct edit *final_edit_at(const struct final *final, size_t place)
{
    for (size_t i = 0; i < final->edit_count; i++)
        if (place >= final->edits[i].piece.start && place < final->edits[i].piece.end)
            return &final->edits[i];
    return NULL;
}

struct edit *final_edit(struct final *final, struct piece piece, const char *text)
{
    if (final->edit_count == final->edit_capacity) {
        size_t capacity = final->edit_capacity ? final->edit_capacity * 2 : 32;
        struct edit *larger = analysis_new(final->analysis, capacity, sizeof *larger);
        if (final->edit_count)
            memcpy(larger, final->edits, final->edit_count * sizeof *larger);
        final->edits = larger, final->edit_capacity = capacity;
    }
    size_t at = final->edit_count++;
    for (; at && final->edits[at - 1].piece.start > piece.start; at--)
        final->edits[at] = final->edits[at - 1];
    final->edits[at] = (struct edit){piece, text, false};
    return &final->edits[at];
}

bool final_is_upper(const struct final *final, size_t place)
{
    const struct clauses *clauses = &final->clauses;
    return (place >= clauses->select_end && place < clauses->targets_end) ||
           (place >= clauses->lower && place < final->end);
}

void final_write_edited(struct final *final, struct writing *out, size_t start, size_t end)
{
    size_t at = start;
    for (size_t i = 0; i < final->edit_count; i++) {
        const struct edit *edit = &final->edits[i];
        if (edit->piece.start < start || edit->piece.end > end || edit->piece.start < at)
            continue;
        writing_piece(out, at, edit->piece.start);
        writing_text(out, edit->text);
        at = edit->piece.end;
    }
    writing_piece(out, at, end);
}
