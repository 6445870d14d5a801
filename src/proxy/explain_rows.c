#include "proxy/explain_rows.h"

#include "proxy/admin_table.h"

void explain_rows(const struct explanation *explanation, struct buffer *out)
{
    static const struct admin_column column = {"QUERY PLAN", false};
    struct admin_table table = admin_table_start(out, &column, 1, NULL, 0);
    admin_table_describe(&table);
    for (size_t i = 0; i < explanation->line_count; i++) {
        admin_row(&table);
        admin_text(&table, explanation->lines[i]);
        admin_row_end(&table);
    }
    wire_complete(out, "EXPLAIN");
}
