/*
 * Times that run out: of waiting for a server, of statements, of transactions and clients that do nothing. Looked at by
 * a worker a few times a second, so that a statement costs no timer; none is ever early.
 */
#ifndef MOSAIC_PROXY_TIMEOUT_H
#define MOSAIC_PROXY_TIMEOUT_H

#include "proxy/worker.h"

struct client;

void timeouts_look(struct worker *worker);
/*
 * The transaction has just begun here. Has its session an idle_in_transaction_session_timeout, by SET or by the
 * servers? Then it is counted here, as no server sees what the client does on others: shards that have the transaction
 * are told 0. False when memory is out.
 */
bool timeout_take_over(struct client *client);

#endif
