#include "proxy/explain_rows.h"

#include "base/memory.h"
#include "proxy/admin_table.h"

static const struct admin_column column = {"QUERY PLAN", false};

static void add_rows(const struct explanation *explanation, struct buffer *out)
{
    struct admin_table table = admin_table_start(out, &column, 1, NULL, 0);
    for (size_t i = 0; i < explanation->line_count; i++) {
        admin_row(&table);
        admin_text(&table, explanation->lines[i]);
        admin_row_end(&table);
    }
}

void explain_rows(const struct explanation *explanation, struct buffer *out)
{
    struct admin_table table = admin_table_start(out, &column, 1, NULL, 0);
    admin_table_describe(&table);
    add_rows(explanation, out);
    wire_complete(out, "EXPLAIN");
}

/* ---- as a portal ---- */

enum { ROWS_MOST = 1 << 24 };

struct explain_portal {
    struct buffer rows; /* DataRow messages */
    size_t at;          /* of those still to come */
    bool is_binary;
};

struct explain_portal *explain_portal_new(const struct explanation *explanation, bool binary)
{
    struct explain_portal *made = memory_zeroed(1, sizeof *made);
    if (!made)
        return NULL;
    made->is_binary = binary;
    made->rows = BUFFER_INIT(ROWS_MOST);
    add_rows(explanation, &made->rows);
    if (!buffer_failed(&made->rows))
        return made;
    explain_portal_free(made);
    return NULL;
}

void explain_portal_free(struct explain_portal *portal)
{
    if (!portal)
        return;
    buffer_free(&portal->rows);
    memory_free(portal);
}

void explain_portal_describe(const struct explain_portal *portal, struct buffer *out)
{
    const char format[] = {0, (char)portal->is_binary};
    struct admin_table table = admin_table_start(out, &column, 1, format, 1);
    admin_table_describe(&table);
}

void explain_portal_fetch(struct explain_portal *portal, uint32_t most, struct buffer *out)
{
    struct wire_frame frame;
    uint32_t count = 0;
    while (portal->at < portal->rows.size && (!most || count < most)) {
        const char *row = portal->rows.data + portal->at;
        if (wire_peek(row, portal->rows.size - portal->at, &frame) != WIRE_MESSAGE)
            break;
        buffer_add(out, row, frame.size);
        portal->at += frame.size;
        count++;
    }
    /* As PostgreSQL has it: that there are no more rows is known once fewer came than were asked for. */
    if (most && count == most)
        wire_empty(out, WIRE_B_PORTAL_SUSPENDED);
    else
        wire_complete(out, "EXPLAIN");
}
