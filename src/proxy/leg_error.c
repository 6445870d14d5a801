/*
 * What shards say of an error, as PostgreSQL would have said it of the client's own statement.
 */
#include "base/utf8.h"
#include "proxy/copy_in.h"
#include "proxy/leg.h"

#include <stdlib.h>
#include <string.h>

/* A place in what the shards were asked, in the client's own text; 0: it has none there. Both count characters, from 1.
 */
static long place_of(const struct leg *leg, long place)
{
    const struct scatter *scatter = leg->scatter;
    const char *ours = leg->asking->text, *theirs = scatter->text;
    size_t our_size = strlen(ours), their_size = scatter->size, least = our_size < their_size ? our_size : their_size;
    size_t before = 0, behind = 0;
    while (before < least && ours[before] == theirs[before])
        before++;
    while (behind < least - before && ours[our_size - behind - 1] == theirs[their_size - behind - 1])
        behind++;
    long whole = (long)utf8_count(ours, our_size);
    if (place <= (long)utf8_count(ours, before))
        return place;
    if (whole - place < (long)utf8_count(ours + our_size - behind, behind))
        return place - whole + (long)utf8_count(theirs, their_size);
    return 0;
}

/* The line of COPY is the client's own. Where that is not known any more it is said whose line it is. */
static uint64_t tell_context(const struct leg *leg, const char *text, struct buffer *out)
{
    size_t start, end;
    uint64_t line = copy_in_line(leg, text, &start, &end);
    buffer_add(out, text, start);
    if (line)
        buffer_format(out, "%llu", (unsigned long long)line);
    else if (end > start)
        buffer_format(out, "%.*s of those that shard %s was sent", (int)(end - start), text + start, leg->name);
    wire_text(out, text + end);
    return line;
}

uint64_t leg_tell_error(const struct leg *leg, const char *message, const struct wire_frame *frame, struct buffer *out)
{
    uint64_t line = 0;
    const struct scatter *scatter = leg->scatter;
    bool is_own = scatter->move && !move_is_checked(scatter); /* the text was the client's */
    bool has_place = (!scatter->partials || leg_is_partial(leg)) && !scatter->pick, has_context = false,
         has_hint = false;
    bool is_for_all = scatter->write && scatter->write->tags == TAGS_WORDS;
    struct wire_reader reader = wire_body(message, frame);
    size_t begun = wire_begin(out, WIRE_B_ERROR_RESPONSE);
    for (char field; (field = (char)wire_read8(&reader));) {
        const char *text = wire_read_text(&reader);
        long place = field == 'P' && has_place ? strtol(text, NULL, 10) : 0;
        if (place && !is_own)
            place = place_of(leg, place);
        if (field == 'P' && place == 0)
            continue;
        buffer_char(out, field);
        has_hint |= field == 'H';
        has_context |= field == 'W';
        if (field == 'P')
            buffer_format(out, "%ld%c", place, '\0');
        else if (field == 'W' && is_for_all)
            buffer_format(out, "%s\nshard %s%c", text, leg->name, '\0');
        else if (field == 'W' && scatter->copy_in)
            line = tell_context(leg, text, out);
        else
            wire_text(out, text);
    }
    if (is_for_all && !has_context)
        buffer_format(out, "Wshard %s%c", leg->name, '\0');
    if (is_for_all && scatter->write->by_itself && !has_hint)
        buffer_format(out,
                      "HEach shard does this for itself, and others may have done it. Run it again; of CREATE INDEX "
                      "CONCURRENTLY drop first what it has left: DROP INDEX CONCURRENTLY IF EXISTS%c",
                      '\0');
    buffer_char(out, '\0');
    wire_end(out, begun);
    return line;
}
