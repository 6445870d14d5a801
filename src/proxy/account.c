#include "proxy/account.h"

#include "base/memory.h"
#include "core/map.h"
#include "proxy/saslprep.h"

#include <string.h>

void accounts_init(struct accounts *accounts)
{
    pthread_mutex_init(&accounts->mutex, NULL);
    list_init(&accounts->list);
}

static char *copied(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = memory_allocate(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

static void wipe(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    memory_free(secret);
}

static void account_free(struct account *account)
{
    wipe(account->password);
    explicit_bzero(&account->keys, sizeof account->keys);
    pthread_mutex_destroy(&account->mutex);
    memory_free(account->shard_connections);
    memory_free(account->shard_wanted);
    memory_free(account->shard_blocked);
    memory_free(account->name);
    memory_free(account);
}

void accounts_free(struct accounts *accounts)
{
    struct list *node;
    while ((node = list_first(&accounts->list))) {
        list_remove(node);
        account_free(LIST_OWNER(struct account, node, node));
    }
    pthread_mutex_destroy(&accounts->mutex);
}

static struct account *account_new(const char *name)
{
    struct account *account = memory_zeroed(1, sizeof *account);
    if (!account)
        return NULL;
    list_init(&account->node);
    pthread_mutex_init(&account->mutex, NULL);
    account->name = copied(name);
    account->shard_connections = memory_zeroed(SHARDS_MOST, sizeof *account->shard_connections);
    account->shard_wanted = memory_zeroed(SHARDS_MOST, sizeof *account->shard_wanted);
    account->shard_blocked = memory_zeroed(SHARDS_MOST, sizeof *account->shard_blocked);
    if (account->name && account->shard_connections && account->shard_wanted && account->shard_blocked)
        return account;
    account_free(account);
    return NULL;
}

static struct account *find(struct accounts *accounts, const char *name)
{
    for (struct list *node = accounts->list.next; node != &accounts->list; node = node->next) {
        struct account *account = LIST_OWNER(struct account, node, node);
        if (strcmp(account->name, name) == 0)
            return account;
    }
    return NULL;
}

struct account *account_find(struct accounts *accounts, const char *name)
{
    pthread_mutex_lock(&accounts->mutex);
    struct account *found = find(accounts, name);
    pthread_mutex_unlock(&accounts->mutex);
    return found;
}

struct account *account_get(struct accounts *accounts, const char *name)
{
    pthread_mutex_lock(&accounts->mutex);
    struct account *found = find(accounts, name);
    if (!found && (found = account_new(name)))
        list_append(&accounts->list, &found->node);
    pthread_mutex_unlock(&accounts->mutex);
    return found;
}

/* Under the mutex: what was computed from another secret is of no use. */
static void forget(struct account *account)
{
    wipe(account->password);
    account->password = NULL;
    account->has_verifier = account->has_keys = false;
    explicit_bzero(&account->keys, sizeof account->keys);
    account->md5[0] = '\0';
}

static void set_password(struct account *account, const char *password)
{
    if (account->password && strcmp(account->password, password) == 0)
        return;
    forget(account);
    account->password = copied(password);
}

void account_set_password(struct account *account, const char *password)
{
    pthread_mutex_lock(&account->mutex);
    set_password(account, password);
    pthread_mutex_unlock(&account->mutex);
}

void account_set_keys(struct account *account, const struct scram_keys *keys)
{
    pthread_mutex_lock(&account->mutex);
    account->keys = *keys;
    account->has_keys = true;
    pthread_mutex_unlock(&account->mutex);
}

static void set_verifier(struct account *account, const struct scram_verifier *verifier)
{
    if (!account->password && account->has_verifier && memcmp(&account->verifier, verifier, sizeof *verifier) == 0)
        return;
    forget(account);
    account->verifier = *verifier;
    account->has_verifier = true;
}

void account_learn(struct account *account, const struct auth_user *user)
{
    pthread_mutex_lock(&account->mutex);
    if (user->kind == SECRET_PLAIN) {
        set_password(account, user->secret);
    } else if (user->kind == SECRET_SCRAM) {
        set_verifier(account, &user->verifier);
    } else if (account->password || strcmp(account->md5, user->secret) != 0) {
        forget(account);
        memcpy(account->md5, user->secret, sizeof account->md5);
    }
    pthread_mutex_unlock(&account->mutex);
}

bool account_verifier(struct account *account, const unsigned char salt[SCRAM_SALT], struct scram_verifier *verifier)
{
    pthread_mutex_lock(&account->mutex);
    if (!account->has_verifier && account->password) {
        char *prepared = saslprep(account->password);
        account->has_verifier = prepared && scram_verifier_make(prepared, salt, SCRAM_SALT, SCRAM_ITERATIONS,
                                                                &account->verifier, NULL) == MOSAIC_OK;
        wipe(prepared);
    }
    bool found = account->has_verifier;
    *verifier = account->verifier;
    pthread_mutex_unlock(&account->mutex);
    return found;
}

bool account_md5(struct account *account, char md5[MD5_PASSWORD + 1])
{
    pthread_mutex_lock(&account->mutex);
    bool found = account->md5[0] || (account->password && md5_verifier(account->password, account->name, account->md5));
    memcpy(md5, account->md5, sizeof account->md5);
    pthread_mutex_unlock(&account->mutex);
    return found;
}
