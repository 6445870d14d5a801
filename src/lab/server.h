/* Processes and ports, as the system knows them. */
#ifndef MOSAIC_LAB_SERVER_H
#define MOSAIC_LAB_SERVER_H

#include "lab/state.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* How many processes have this current directory; the first `most` of them in pids. */
size_t processes_in(const char *directory, pid_t *pids, size_t most);
/* True if a server could listen on 127.0.0.1:port now. */
bool port_is_free(int port);
/* A port of 10000 to 29999 (below those that the system gives to clients) that nobody listens on and no shard of the
 * lab has; -1: none. */
int free_port(const struct state *state);

#endif
