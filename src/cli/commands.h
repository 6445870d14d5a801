/* All commands, in the order in which help lists them: X(route) stands for `route_command` in src/cli/route.c. */
#ifndef MOSAIC_CLI_COMMANDS_H
#define MOSAIC_CLI_COMMANDS_H

#include "cli/command.h"

/* clang-format off */
#define COMMAND_LIST(X) \
    X(lab) \
    X(apply) \
    X(status) \
    X(route) \
    X(explain) \
    X(exec) \
    X(load) \
    X(export) \
    X(copy) \
    X(rebalance) \
    X(node) \
    X(proxy) \
    X(reload) \
    X(doctor) \
    X(config) \
    X(complete) \
    X(manual) \
    X(help)
/* clang-format on */

#define X(name) extern const struct command name##_command;
COMMAND_LIST(X)
#undef X

#endif
