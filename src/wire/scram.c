/*
 * The AuthMessage that both sides sign is the three messages without their proof, joined by commas:
 *
 *     client-first without its gs2 header , server-first , client-final without ",p=…"
 *
 * Each side keeps it as it grows, in `signed_text`.
 */
#include "wire/scram.h"

#include "base/memory.h"
#include "wire/base64.h"

#include <string.h>

static const char binding_name[] = "tls-server-end-point";

struct scram_server {
    struct scram_verifier verifier;
    bool is_mock;
    struct buffer signed_text;
    struct buffer nonce;   /* both parts */
    struct buffer binding; /* the base64 that c= must have */
};

struct scram_client {
    char *password; /* NULL: the keys must do */
    struct scram_keys keys;
    bool has_keys, is_proved;
    struct buffer signed_text;
    struct buffer nonce;
    struct buffer binding;
};

static mosaic_status malformed(mosaic_error *error, const char *what)
{
    error_set(error, MOSAIC_DATA, "malformed SCRAM message: %s", what);
    error_sqlstate(error, "08P01");
    return MOSAIC_DATA;
}

/* ---- attributes ------------------------------------------------------------------------------------- */

struct piece {
    const char *at, *end;
};

static size_t piece_size(struct piece piece)
{
    return (size_t)(piece.end - piece.at);
}

static bool piece_is(struct piece piece, const char *text, size_t size)
{
    return piece_size(piece) == size && memcmp(piece.at, text, size) == 0;
}

/* Takes "x=value" from the front of text, with the comma behind it. '\0' where there is none. */
static char attribute_next(struct piece *text, struct piece *value)
{
    if (piece_size(*text) < 2 || text->at[1] != '=')
        return '\0';
    char name = text->at[0];
    if (!((name >= 'a' && name <= 'z') || (name >= 'A' && name <= 'Z')))
        return '\0';
    value->at = text->at + 2;
    const char *comma = memchr(value->at, ',', (size_t)(text->end - value->at));
    value->end = comma ? comma : text->end;
    text->at = comma ? comma + 1 : text->end;
    return name;
}

static bool attribute(struct piece *text, char name, struct piece *value)
{
    return piece_size(*text) > 0 && text->at[0] == name && attribute_next(text, value) == name;
}

static bool is_printable(struct piece piece)
{
    for (const char *at = piece.at; at < piece.end; at++)
        if (*at < 0x21 || *at > 0x7e || *at == ',')
            return false;
    return piece.at < piece.end;
}

/* The message as a piece; false for one that is too long, or has a zero byte. */
static bool message_take(const void *message, size_t size, struct piece *text)
{
    if (size > SCRAM_MESSAGE_MOST || (size && memchr(message, '\0', size)))
        return false;
    text->at = size ? (const char *)message : "";
    text->end = text->at + size;
    return true;
}

/* ---- what both sides compute ------------------------------------------------------------------------ */

/* c=: the gs2 header and the channel's hash, in base64. */
static void binding_write(char flag, const struct scram_channel *channel, struct buffer *text)
{
    struct buffer plain = BUFFER_INIT(256);
    if (flag == 'p') {
        buffer_format(&plain, "p=%s,,", binding_name);
        buffer_add(&plain, channel->binding, channel->binding_size);
    } else {
        buffer_format(&plain, "%c,,", flag);
    }
    base64_write(buffer_string(&plain), plain.size, text);
    text->failed |= plain.failed;
    buffer_free(&plain);
}

static bool channel_is_sound(const struct scram_channel *channel)
{
    return !channel->is_plus || (channel->binding_size > 0 && channel->binding_size <= SCRAM_BINDING_MOST);
}

static bool signature(const unsigned char key[SCRAM_KEY], const struct buffer *signed_text,
                      unsigned char result[SCRAM_KEY])
{
    return scram_hmac(key, &(struct secret_piece){buffer_string(signed_text), signed_text->size}, 1, result);
}

static void exclusive_or(unsigned char *into, const unsigned char *with)
{
    for (int i = 0; i < SCRAM_KEY; i++)
        into[i] ^= with[i];
}

static mosaic_status no_crypto(mosaic_error *error)
{
    return error_set(error, MOSAIC_INTERNAL, "libcrypto could not compute a SCRAM signature");
}

/* ---- the server's side ------------------------------------------------------------------------------ */

static mosaic_status server_read_flag(struct piece *text, const struct scram_channel *channel, char *flag,
                                      mosaic_error *error)
{
    struct piece name;
    *flag = text->at < text->end ? *text->at : '\0';
    if (*flag == 'p') {
        if (!attribute(text, 'p', &name) || !piece_is(name, binding_name, sizeof binding_name - 1))
            return malformed(error, "a channel binding type that is not tls-server-end-point");
        return channel->is_plus ? MOSAIC_OK : malformed(error, "channel binding without SCRAM-SHA-256-PLUS");
    }
    if ((*flag != 'n' && *flag != 'y') || piece_size(*text) < 2 || text->at[1] != ',')
        return malformed(error, "the first message does not begin with n, y or p");
    if (channel->is_plus)
        return malformed(error, "SCRAM-SHA-256-PLUS without channel binding");
    text->at += 2;
    if (*flag == 'n' || !channel->could_plus)
        return MOSAIC_OK;
    error_set(error, MOSAIC_AUTH, "SCRAM channel binding negotiation error");
    return error_detail(error, "The client supports SCRAM channel binding but thinks the server does not; this server "
                               "does support it: somebody between them may have left it out.");
}

static mosaic_status server_read_first(struct piece text, const struct scram_channel *channel, char *flag,
                                       struct piece *bare, struct piece *nonce, mosaic_error *error)
{
    struct piece user;
    mosaic_status status = server_read_flag(&text, channel, flag, error);
    if (status)
        return status;
    if (piece_size(text) > 0 && *text.at == 'a')
        return error_set(error, MOSAIC_UNSUPPORTED, "SCRAM with an authorization identity is not supported");
    if (piece_size(text) == 0 || *text.at != ',')
        return malformed(error, "no comma where the authorization identity ends");
    text.at++;
    *bare = text;
    if (piece_size(text) > 0 && *text.at == 'm')
        return error_set(error, MOSAIC_UNSUPPORTED, "the client asks for a SCRAM extension that is not known");
    /* The name is not looked at: the startup packet's counts, as in PostgreSQL. */
    if (!attribute(&text, 'n', &user) || !attribute(&text, 'r', nonce))
        return malformed(error, "the first message has no user (n=) or no nonce (r=)");
    if (!is_printable(*nonce) || piece_size(*nonce) > SCRAM_NONCE_MOST)
        return malformed(error, "the nonce is empty, too long, or not printable");
    return MOSAIC_OK;
}

static void server_write_first(struct scram_server *server, struct buffer *answer)
{
    const struct scram_verifier *verifier = &server->verifier;
    struct buffer text = BUFFER_INIT(SCRAM_MESSAGE_MOST);
    buffer_format(&text, "r=%s,s=", buffer_string(&server->nonce));
    base64_write(verifier->salt, verifier->salt_size, &text);
    buffer_format(&text, ",i=%u", verifier->iterations);
    buffer_add(answer, buffer_string(&text), text.size);
    buffer_char(&server->signed_text, ',');
    buffer_add(&server->signed_text, buffer_string(&text), text.size);
    server->signed_text.failed |= text.failed;
    buffer_free(&text);
}

mosaic_status scram_server_first(const void *message, size_t size, const struct scram_verifier *verifier, bool is_mock,
                                 const struct scram_channel *channel, const char *nonce, struct buffer *answer,
                                 struct scram_server **exchange, mosaic_error *error)
{
    struct piece text, bare = {0}, theirs = {0};
    char flag;
    *exchange = NULL;
    if (!channel_is_sound(channel))
        return error_set(error, MOSAIC_INTERNAL, "SCRAM-SHA-256-PLUS without the channel's hash");
    if (!message_take(message, size, &text))
        return malformed(error, "the first message is too long or has a zero byte");
    mosaic_status status = server_read_first(text, channel, &flag, &bare, &theirs, error);
    if (status)
        return status;
    struct scram_server *server = memory_zeroed(1, sizeof *server);
    if (!server)
        return error_memory(error);
    server->verifier = *verifier;
    server->is_mock = is_mock;
    server->signed_text = server->nonce = server->binding = BUFFER_INIT(4 * SCRAM_MESSAGE_MOST);
    buffer_add(&server->nonce, theirs.at, piece_size(theirs));
    buffer_text(&server->nonce, nonce);
    buffer_add(&server->signed_text, bare.at, piece_size(bare));
    binding_write(flag, channel, &server->binding);
    server_write_first(server, answer);
    if (server->nonce.failed || server->signed_text.failed || server->binding.failed || answer->failed) {
        scram_server_free(server);
        return error_memory(error);
    }
    *exchange = server;
    return MOSAIC_OK;
}

/* The three attributes that count; `unproved` is the message up to ",p=". */
static mosaic_status server_read_final(struct piece text, struct piece *binding, struct piece *nonce,
                                       struct piece *unproved, unsigned char proof[SCRAM_KEY], mosaic_error *error)
{
    struct piece value;
    size_t size;
    char name;
    *unproved = text;
    if (!attribute(&text, 'c', binding) || !attribute(&text, 'r', nonce))
        return malformed(error, "the final message has no channel binding (c=) or no nonce (r=)");
    do {
        unproved->end = text.at - 1;
        name = attribute_next(&text, &value);
    } while (name && name != 'p');
    if (!name || text.at != text.end || value.end != text.end)
        return malformed(error, "the final message does not end in a proof (p=)");
    if (!base64_read(value.at, piece_size(value), proof, SCRAM_KEY, &size) || size != SCRAM_KEY)
        return malformed(error, "the proof is not 32 bytes in base64");
    return MOSAIC_OK;
}

/* The client's key out of the proof: is it the one whose hash is stored? */
static mosaic_status server_check_proof(const struct scram_server *server, unsigned char key[SCRAM_KEY],
                                        mosaic_error *error)
{
    unsigned char signed_key[SCRAM_KEY], stored[SCRAM_KEY];
    if (!signature(server->verifier.stored_key, &server->signed_text, signed_key))
        return no_crypto(error);
    exclusive_or(key, signed_key);
    if (!scram_stored_key(key, stored))
        return no_crypto(error);
    bool right = secret_equal(stored, server->verifier.stored_key, SCRAM_KEY);
    return right && !server->is_mock ? MOSAIC_OK : error_set(error, MOSAIC_AUTH, "the password is wrong");
}

mosaic_status scram_server_final(struct scram_server *exchange, const void *message, size_t size, struct buffer *answer,
                                 struct scram_keys *keys, mosaic_error *error)
{
    struct piece text, binding, nonce, unproved;
    unsigned char proof[SCRAM_KEY], server_signature[SCRAM_KEY];
    if (!message_take(message, size, &text))
        return malformed(error, "the final message is too long or has a zero byte");
    mosaic_status status = server_read_final(text, &binding, &nonce, &unproved, proof, error);
    if (status)
        return status;
    if (!piece_is(binding, buffer_string(&exchange->binding), exchange->binding.size))
        return error_set(error, MOSAIC_AUTH, "SCRAM channel binding check failed");
    if (!piece_is(nonce, buffer_string(&exchange->nonce), exchange->nonce.size))
        return malformed(error, "the nonce is another than the one given");
    buffer_char(&exchange->signed_text, ',');
    buffer_add(&exchange->signed_text, unproved.at, piece_size(unproved));
    if (buffer_failed(&exchange->signed_text))
        return error_memory(error);
    status = server_check_proof(exchange, proof, error);
    if (status)
        return status;
    if (!signature(exchange->verifier.server_key, &exchange->signed_text, server_signature))
        return no_crypto(error);
    buffer_text(answer, "v=");
    base64_write(server_signature, SCRAM_KEY, answer);
    *keys = (struct scram_keys){.iterations = exchange->verifier.iterations, .salt_size = exchange->verifier.salt_size};
    memcpy(keys->salt, exchange->verifier.salt, sizeof keys->salt);
    memcpy(keys->client_key, proof, SCRAM_KEY);
    memcpy(keys->server_key, exchange->verifier.server_key, SCRAM_KEY);
    secret_forget(proof, sizeof proof);
    return answer->failed ? error_memory(error) : MOSAIC_OK;
}

void scram_server_free(struct scram_server *exchange)
{
    if (!exchange)
        return;
    buffer_free(&exchange->signed_text);
    buffer_free(&exchange->nonce);
    buffer_free(&exchange->binding);
    secret_forget(exchange, sizeof *exchange);
    memory_free(exchange);
}

/* ---- the client's side ------------------------------------------------------------------------------ */

static bool client_copy_password(struct scram_client *client, const char *password)
{
    size_t size = strlen(password) + 1;
    client->password = memory_allocate(size);
    if (client->password)
        memcpy(client->password, password, size);
    return client->password;
}

mosaic_status scram_client_first(const char *password, const struct scram_keys *keys,
                                 const struct scram_channel *channel, const char *nonce, struct buffer *message,
                                 struct scram_client **exchange, mosaic_error *error)
{
    char flag = channel->is_plus ? 'p' : channel->could_plus ? 'y' : 'n';
    *exchange = NULL;
    if (!channel_is_sound(channel))
        return error_set(error, MOSAIC_INTERNAL, "SCRAM-SHA-256-PLUS without the channel's hash");
    struct scram_client *client = memory_zeroed(1, sizeof *client);
    if (!client || (password && !client_copy_password(client, password))) {
        memory_free(client);
        return error_memory(error);
    }
    client->signed_text = client->nonce = client->binding = BUFFER_INIT(4 * SCRAM_MESSAGE_MOST);
    if (keys) {
        client->keys = *keys;
        client->has_keys = true;
    }
    buffer_text(&client->nonce, nonce);
    buffer_format(&client->signed_text, "n=,r=%s", nonce);
    binding_write(flag, channel, &client->binding);
    if (flag == 'p')
        buffer_format(message, "p=%s,,%s", binding_name, buffer_string(&client->signed_text));
    else
        buffer_format(message, "%c,,%s", flag, buffer_string(&client->signed_text));
    if (client->nonce.failed || client->signed_text.failed || client->binding.failed || message->failed) {
        scram_client_free(client);
        return error_memory(error);
    }
    *exchange = client;
    return MOSAIC_OK;
}

/* A number of up to seven digits, without a sign or anything behind it; 0 for what is none. */
static uint32_t read_iterations(struct piece text)
{
    uint32_t number = 0;
    if (piece_size(text) > 7)
        return 0;
    for (; text.at < text.end; text.at++) {
        if (*text.at < '0' || *text.at > '9')
            return 0;
        number = number * 10 + (uint32_t)(*text.at - '0');
    }
    return number;
}

struct challenge {
    struct piece nonce;
    unsigned char salt[SCRAM_SALT_MOST];
    size_t salt_size;
    uint32_t iterations;
};

static mosaic_status client_read_challenge(const struct scram_client *client, struct piece text,
                                           struct challenge *challenge, mosaic_error *error)
{
    struct piece salt, iterations;
    size_t ours = client->nonce.size;
    if (piece_size(text) > 0 && *text.at == 'm')
        return error_set(error, MOSAIC_UNSUPPORTED, "the server asks for a SCRAM extension that is not known");
    if (!attribute(&text, 'r', &challenge->nonce) || !attribute(&text, 's', &salt) ||
        !attribute(&text, 'i', &iterations))
        return malformed(error, "the server's first message has no nonce (r=), salt (s=) or iterations (i=)");
    if (!is_printable(challenge->nonce) || piece_size(challenge->nonce) <= ours ||
        piece_size(challenge->nonce) > SCRAM_NONCE_MOST ||
        memcmp(challenge->nonce.at, buffer_string(&client->nonce), ours) != 0)
        return malformed(error, "the server's nonce does not continue ours");
    if (!base64_read(salt.at, piece_size(salt), challenge->salt, SCRAM_SALT_MOST, &challenge->salt_size) ||
        challenge->salt_size == 0)
        return malformed(error, "the server's salt is empty, too long, or no base64");
    challenge->iterations = read_iterations(iterations);
    if (challenge->iterations >= 1 && challenge->iterations <= SCRAM_ITERATIONS_MOST)
        return MOSAIC_OK;
    error_set(error, MOSAIC_AUTH, "the server asks for %.*s SCRAM iterations: 1 to %d are accepted",
              (int)(piece_size(iterations) < 20 ? piece_size(iterations) : 20), iterations.at, SCRAM_ITERATIONS_MOST);
    return MOSAIC_AUTH;
}

static mosaic_status client_have_keys(struct scram_client *client, const struct challenge *challenge,
                                      mosaic_error *error)
{
    const struct scram_keys *keys = &client->keys;
    bool fit = client->has_keys && keys->iterations == challenge->iterations &&
               keys->salt_size == challenge->salt_size && memcmp(keys->salt, challenge->salt, keys->salt_size) == 0;
    if (fit || (client->has_keys && keys->salt_size == 0 && !client->password))
        return MOSAIC_OK;
    if (client->password) {
        mosaic_status status = scram_keys_make(client->password, challenge->salt, challenge->salt_size,
                                               challenge->iterations, &client->keys, error);
        client->has_keys = status == MOSAIC_OK;
        return status;
    }
    error_set(error, MOSAIC_AUTH, "the server has another SCRAM verifier than the one the client was checked against");
    return error_hint(error, "Give the role the same verifier everywhere: ALTER ROLE … PASSWORD 'SCRAM-SHA-256$…' with "
                             "the text of pg_authid.rolpassword; or store the plain password in auth_file.");
}

mosaic_status scram_client_final(struct scram_client *exchange, const void *message, size_t size, struct buffer *answer,
                                 mosaic_error *error)
{
    struct piece text;
    struct challenge challenge;
    unsigned char stored[SCRAM_KEY], proof[SCRAM_KEY];
    if (!message_take(message, size, &text))
        return malformed(error, "the server's first message is too long or has a zero byte");
    mosaic_status status = client_read_challenge(exchange, text, &challenge, error);
    if (!status)
        status = client_have_keys(exchange, &challenge, error);
    if (status)
        return status;
    struct buffer unproved = BUFFER_INIT(SCRAM_MESSAGE_MOST);
    buffer_format(&unproved, "c=%s,r=%.*s", buffer_string(&exchange->binding), (int)piece_size(challenge.nonce),
                  challenge.nonce.at);
    buffer_char(&exchange->signed_text, ',');
    buffer_add(&exchange->signed_text, text.at, piece_size(text));
    buffer_format(&exchange->signed_text, ",%s", buffer_string(&unproved));
    buffer_format(answer, "%s,p=", buffer_string(&unproved));
    bool written = !unproved.failed && !exchange->signed_text.failed;
    buffer_free(&unproved);
    if (!written)
        return error_memory(error);
    if (!scram_stored_key(exchange->keys.client_key, stored) || !signature(stored, &exchange->signed_text, proof))
        return no_crypto(error);
    exclusive_or(proof, exchange->keys.client_key);
    base64_write(proof, SCRAM_KEY, answer);
    exchange->is_proved = true;
    return answer->failed ? error_memory(error) : MOSAIC_OK;
}

mosaic_status scram_client_check(struct scram_client *exchange, const void *message, size_t size, mosaic_error *error)
{
    struct piece text, value;
    unsigned char theirs[SCRAM_KEY], right[SCRAM_KEY];
    size_t theirs_size;
    if (!message_take(message, size, &text))
        return malformed(error, "the server's final message is too long or has a zero byte");
    if (attribute(&text, 'e', &value) && is_printable(value))
        return error_set(error, MOSAIC_AUTH, "the server ended the SCRAM exchange: %.*s", (int)piece_size(value),
                         value.at);
    if (!attribute(&text, 'v', &value) || piece_size(text) > 0 ||
        !base64_read(value.at, piece_size(value), theirs, SCRAM_KEY, &theirs_size) || theirs_size != SCRAM_KEY)
        return malformed(error, "the server's final message is no signature (v=)");
    if (!exchange->is_proved)
        return malformed(error, "the server's final message came before its first");
    if (!signature(exchange->keys.server_key, &exchange->signed_text, right))
        return no_crypto(error);
    if (!secret_equal(theirs, right, SCRAM_KEY))
        return error_set(error, MOSAIC_AUTH,
                         "the server does not know the role's SCRAM verifier: its signature is wrong");
    return MOSAIC_OK;
}

const struct scram_keys *scram_client_keys(const struct scram_client *exchange)
{
    return exchange->has_keys ? &exchange->keys : NULL;
}

void scram_client_free(struct scram_client *exchange)
{
    if (!exchange)
        return;
    if (exchange->password) {
        secret_forget(exchange->password, strlen(exchange->password));
        memory_free(exchange->password);
    }
    buffer_free(&exchange->signed_text);
    buffer_free(&exchange->nonce);
    buffer_free(&exchange->binding);
    secret_forget(exchange, sizeof *exchange);
    memory_free(exchange);
}
