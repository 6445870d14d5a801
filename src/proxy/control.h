/*
 * The control socket: a Unix socket on which the same user (or root) asks a running proxy to read its config again, or
 * to hand its listening sockets over to a new process.
 *
 *     new ── "takeover" ──> old        old ── "sockets N", then each address with its descriptor ──> new
 *     new ── "ready" ─────> old        once it serves: only now does the old one stop to accept
 *     new ── "cancel …" ──> old        a request whose key is none of the new one's: the old one's clients have theirs
 *     any ── "reload" ────> proxy      proxy ── "ok" or "error MESSAGE" ──> any
 *
 * Lines of text; descriptors come with the line that names them (SCM_RIGHTS). Who connects is known by SO_PEERCRED, and
 * so is who listens: a socket of another user's at this path is not trusted.
 */
#ifndef MOSAIC_PROXY_CONTROL_H
#define MOSAIC_PROXY_CONTROL_H

#include "base/error.h"
#include "config/settings.h"

enum { CONTROL_SOCKETS_MOST = 32, CONTROL_LINE_MOST = 2048, CONTROL_PATH_MOST = 108 };

/* A listening socket on its way. */
struct control_socket {
    char address[256]; /* as `listen` has it, or the path of a Unix socket */
    int fd;
};

/*
 * Where it is: control_socket, or .pgmosaic.CLUSTER.HASH in unix_socket_dir, with a hash of the config's real path,
 * since two checkouts may each have a cluster of that name. MOSAIC_CONFIG when there is no place for it.
 */
MOSAIC_MUST_CHECK mosaic_status control_path(const struct proxy_settings *settings, const char *cluster,
                                             const char *config_path, char path[CONTROL_PATH_MOST],
                                             mosaic_error *error);
/* The same of the proxy that runs with this config, by the config alone. */
MOSAIC_MUST_CHECK mosaic_status control_find(const char *config_path, char path[CONTROL_PATH_MOST],
                                             mosaic_error *error);
/* Listens there, mode 0600; replaces what another process has there, in one step. */
MOSAIC_MUST_CHECK mosaic_status control_listen(const char *path, int *fd, mosaic_error *error);
/* Takes the next connection of one that may ask; -1: there is none, or it was turned away. */
int control_accept(int listener);
/* Connects to a proxy. MOSAIC_NOT_FOUND: none listens there. */
MOSAIC_MUST_CHECK mosaic_status control_connect(const char *path, int *fd, mosaic_error *error);

/* One line, without its end; *passed: a descriptor that came with it, -1: none (NULL: none is wanted, and closed).
 * MOSAIC_IO at the end of the stream, or after ten seconds without one. */
MOSAIC_MUST_CHECK mosaic_status control_read(int fd, char line[CONTROL_LINE_MOST], int *passed, mosaic_error *error);
/* Writes a line; passed < 0: no descriptor goes with it. */
MOSAIC_MUST_CHECK mosaic_status control_write(int fd, const char *line, int passed, mosaic_error *error);

/* The old process's part: hands all over. Then wait for "ready". */
MOSAIC_MUST_CHECK mosaic_status control_give(int fd, const struct control_socket *sockets, size_t count,
                                             mosaic_error *error);
/* The new process's part: asks for them. *fd stays open: "ready", then cancel requests go there. */
MOSAIC_MUST_CHECK mosaic_status control_take(const char *path, int *fd, struct control_socket *sockets, size_t *count,
                                             mosaic_error *error);

/* A cancel request for a client of the other process, by any thread; it is lost rather than waited with. */
void control_cancel(int fd, uint32_t pid, const unsigned char *key, uint32_t size);
/* Is the line such a request? Keys have at most 32 bytes. */
bool control_is_cancel(const char *line, uint32_t *pid, unsigned char key[32], uint32_t *size);

#endif
