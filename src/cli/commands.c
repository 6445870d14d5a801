#include "cli/commands.h"

const struct command *const command_table[] = {
#define X(name) &name##_command,
    COMMAND_LIST(X)
#undef X
        NULL,
};
