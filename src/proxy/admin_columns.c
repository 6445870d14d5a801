#include "proxy/admin_columns.h"

enum { TEXT = 0, NUMBER = 1 };

#define X(name, is_number, help) {#name, is_number},
#define Y(command, columns) static const struct admin_column columns_of_##command[] = {columns(X)};
SHOW_LIST(Y)
#undef X
#undef Y

#define X(name, is_number, help) help,
#define Y(command, columns) static const char *const helps_of_##command[] = {columns(X)};
SHOW_LIST(Y)
#undef X
#undef Y

const struct admin_column *admin_columns(enum admin_command command, uint16_t *count)
{
    switch (command) {
#define X(command, columns)                                                  \
    case ADMIN_##command:                                                    \
        *count = sizeof columns_of_##command / sizeof *columns_of_##command; \
        return columns_of_##command;
        SHOW_LIST(X)
#undef X
    default:
        *count = 0;
        return NULL;
    }
}

const char *admin_column_help(enum admin_command command, uint16_t i)
{
    switch (command) {
#define X(command, columns) \
    case ADMIN_##command:   \
        return helps_of_##command[i];
        SHOW_LIST(X)
#undef X
    default:
        return NULL;
    }
}
