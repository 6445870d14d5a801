/* The statement within PREPARE, DECLARE or EXPLAIN: where in the text it begins. */
#include "sql/analysis.h"
#include "sql/words.h"

static bool next_token(const struct analysis *analysis, size_t *at, struct token *token)
{
    return words_token(analysis->text, analysis->size, at, token);
}

/* One of EXPLAIN's, or the group of them, which is the first one. */
static bool is_option(const struct token *token, bool *options)
{
    bool is_group = token->is_group && *options;
    *options &= !is_group;
    return is_group || word_is(&token->word, "analyze") || word_is(&token->word, "analyse") ||
           word_is(&token->word, "verbose");
}

void inner_note(struct analysis *analysis, const char *until, bool options)
{
    struct facts *facts = analysis->facts;
    size_t at = (size_t)facts->start;
    struct token token;
    bool more = next_token(analysis, &at, &token);
    more = more && next_token(analysis, &at, &token);
    while (more && (until ? !word_is(&token.word, until) : is_option(&token, &options)))
        more = next_token(analysis, &at, &token);
    if (until)
        more = more && next_token(analysis, &at, &token);
    size_t start = more ? token.start : analysis->size;
    facts->inner_start = (int)start;
    facts->inner_length = facts->length ? facts->start + facts->length - facts->inner_start : 0;
    for (size_t i = 0; i < analysis->scan->count; i++)
        facts->text_bound |= analysis->scan->literals[i].start < start;
}

void inner_note_group(struct analysis *analysis)
{
    struct facts *facts = analysis->facts;
    size_t at = (size_t)facts->start;
    struct token token;
    bool more = next_token(analysis, &at, &token);
    while (more && !token.is_group)
        more = next_token(analysis, &at, &token);
    facts->inner_start = (int)(more ? token.start + 1 : analysis->size);
    facts->inner_length = (int)(more ? token.end - token.start - 2 : 0);
    facts->text_bound = true; /* where they are depends on how long its literals are */
}

bool inner_is_old_style(const struct analysis *analysis)
{
    struct token token;
    size_t at = (size_t)analysis->facts->start;
    bool more = next_token(analysis, &at, &token);
    more = more && next_token(analysis, &at, &token);
    return more && !token.is_group;
}
