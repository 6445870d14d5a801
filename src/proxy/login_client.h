/*
 * Logging in to a shard: the answers to its Authentication messages.
 */
#ifndef MOSAIC_PROXY_LOGIN_CLIENT_H
#define MOSAIC_PROXY_LOGIN_CLIENT_H

#include "proxy/account.h"
#include "proxy/tls.h"
#include "wire/wire.h"

enum login_answer { LOGIN_MORE, LOGIN_DONE, LOGIN_FAILED };

struct login_client;

/*
 * With the account's keys, or with a password: `password` (of the conninfo) before the account's own. `tls`: of the
 * connection, NULL for a plain one; `is_local`: it leaves not this machine.
 */
struct login_client *login_client_new(struct account *account, const char *password, const struct tls *tls,
                                      bool is_local);
/* Takes an Authentication message and writes what is to be sent, if anything. */
enum login_answer login_client_message(struct login_client *login, const char *message, const struct wire_frame *frame,
                                       struct buffer *answer, mosaic_error *error);
void login_client_free(struct login_client *login);
/* Printable, without a comma: 144 random bits in base64's alphabet. */
void login_nonce(char nonce[SCRAM_NONCE + 1]);

#endif
