/*
 * Accounts: who may log in, and with which secret his server connections do. Shared by all threads; made at a first
 * login, never freed while the proxy runs (its numbers are those of SHOW USERS).
 */
#ifndef MOSAIC_PROXY_ACCOUNT_H
#define MOSAIC_PROXY_ACCOUNT_H

#include "proxy/auth_file.h"
#include "proxy/list.h"
#include "wire/scram.h"

#include <pthread.h>
#include <stdatomic.h>

/* Is a connection of some worker wanted by another one? */
enum wanted {
    WANTED_NOT,
    WANTED,        /* one that has less than its share waits for it */
    WANTED_GIVEN,  /* and it was closed for it */
    WANTED_UNUSED, /* who waits keeps others waiting meanwhile: if nobody waits for it here */
};

struct account {
    struct list node;
    char *name;
    atomic_int clients;
    atomic_int connections;        /* to all shards */
    atomic_int *shard_connections; /* by slot, SHARDS_MOST of them: over all threads */
    atomic_int *shard_wanted;      /* the same; share.c's: of enum wanted, and whose wish it is */
    atomic_int *shard_blocked;     /* the same: connections whose transactions wait for an answer; waiting.h */
    pthread_mutex_t mutex;         /* of the secrets */
    char *password;                /* plain, where one is known */
    struct scram_verifier verifier;
    struct scram_keys keys; /* of the last login by SCRAM, of the client or of ours */
    bool has_verifier, has_keys;
    char md5[MD5_PASSWORD + 1]; /* "" where none is known */
};

struct accounts {
    pthread_mutex_t mutex;
    struct list list;
};

void accounts_init(struct accounts *accounts);
void accounts_free(struct accounts *accounts);
/* NULL: nobody of that name has logged in. */
struct account *account_find(struct accounts *accounts, const char *name);
/* Finds or makes; NULL when memory is out. */
struct account *account_get(struct accounts *accounts, const char *name);
void account_set_password(struct account *account, const char *password);
/* A client proved himself, or a login of ours succeeded: these open shards with the same verifier. */
void account_set_keys(struct account *account, const struct scram_keys *keys);
/* What a file or query says of his secret. Of another one than before, the keys are forgotten. */
void account_learn(struct account *account, const struct auth_user *user);
/* The verifier to check him by; from the password, made once, with that salt. False: none is known, or can be made. */
MOSAIC_MUST_CHECK bool account_verifier(struct account *account, const unsigned char salt[SCRAM_SALT],
                                        struct scram_verifier *verifier);
/* The md5 verifier; false: none is known, or can be made. */
MOSAIC_MUST_CHECK bool account_md5(struct account *account, char md5[MD5_PASSWORD + 1]);

#endif
