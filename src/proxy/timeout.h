/*
 * Times that run out: of waiting for a server, of statements, of transactions and clients that do nothing. Looked at by
 * a worker a few times a second, so that a statement costs no timer; none is ever early.
 */
#ifndef MOSAIC_PROXY_TIMEOUT_H
#define MOSAIC_PROXY_TIMEOUT_H

#include "proxy/worker.h"

void timeouts_look(struct worker *worker);

#endif
