/*
 * A client's login by password: what he is asked, and whether he has proved himself.
 *
 *     md5            a challenge where the secret is md5's or plain; SCRAM where it is SCRAM's, as PostgreSQL does
 *     scram-sha-256  also with channel binding, over TLS
 *     trust, cert    nothing is asked; the certificate is looked at by access.h
 *
 * Who is not known is asked as well, and fails at the end.
 */
#ifndef MOSAIC_PROXY_LOGIN_SERVER_H
#define MOSAIC_PROXY_LOGIN_SERVER_H

#include "proxy/access.h"
#include "proxy/account.h"
#include "proxy/login_client.h"

struct login_server;

/* `account`: with the secret; NULL for a user that is not known. `secret`: the process's own, for the verifiers of such
 * users. `name` must stay. */
struct login_server *login_server_new(const char *name, struct account *account, const unsigned char secret[32]);
/* Writes the first question; LOGIN_DONE where nothing is asked. `tls`: of the connection, or NULL. */
enum login_answer login_server_start(struct login_server *login, enum hba_method method, const struct tls *tls,
                                     struct buffer *answer, mosaic_error *error);
/* Takes a Password message. */
enum login_answer login_server_message(struct login_server *login, const char *message, const struct wire_frame *frame,
                                       struct buffer *answer, mosaic_error *error);
void login_server_free(struct login_server *login);

#endif
