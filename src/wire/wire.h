/*
 * PostgreSQL's protocol 3: messages as bytes (https://www.postgresql.org/docs/current/protocol.html).
 *
 *     reading                                        writing
 *     struct wire_frame frame;                       struct buffer out = BUFFER_INIT(most);
 *     switch (wire_peek(data, size, &frame))         size_t at = wire_begin(&out, 'C');
 *     struct wire_reader r = wire_body(data, &frame) wire_text(&out, "SELECT 1");
 *     const char *name = wire_read_text(&r);         wire_end(&out, at);
 *     if (!wire_read_all(&r)) → malformed            if (buffer_failed(&out)) …
 *
 * Readers take (bytes, size), never read beyond, and keep a sticky failure that is asked for once. Nothing here reads a
 * socket.
 */
#ifndef MOSAIC_WIRE_WIRE_H
#define MOSAIC_WIRE_WIRE_H

#include "base/buffer.h"

#include <stdint.h>
#include <string.h>

/* X(identifier, byte, name) */
#define WIRE_FRONTEND_LIST(X)             \
    X(BIND, 'B', "Bind")                  \
    X(CLOSE, 'C', "Close")                \
    X(COPY_DATA, 'd', "CopyData")         \
    X(COPY_DONE, 'c', "CopyDone")         \
    X(COPY_FAIL, 'f', "CopyFail")         \
    X(DESCRIBE, 'D', "Describe")          \
    X(EXECUTE, 'E', "Execute")            \
    X(FLUSH, 'H', "Flush")                \
    X(FUNCTION_CALL, 'F', "FunctionCall") \
    X(PARSE, 'P', "Parse")                \
    X(PASSWORD, 'p', "Password")          \
    X(QUERY, 'Q', "Query")                \
    X(SYNC, 'S', "Sync")                  \
    X(TERMINATE, 'X', "Terminate")
enum wire_frontend {
#define X(identifier, byte, name) WIRE_##identifier = byte,
    WIRE_FRONTEND_LIST(X)
#undef X
};

#define WIRE_BACKEND_LIST(X)                               \
    X(AUTHENTICATION, 'R', "Authentication")               \
    X(BACKEND_KEY_DATA, 'K', "BackendKeyData")             \
    X(BIND_COMPLETE, '2', "BindComplete")                  \
    X(CLOSE_COMPLETE, '3', "CloseComplete")                \
    X(COMMAND_COMPLETE, 'C', "CommandComplete")            \
    X(COPY_OUT_DATA, 'd', "CopyData")                      \
    X(COPY_OUT_DONE, 'c', "CopyDone")                      \
    X(COPY_IN_RESPONSE, 'G', "CopyInResponse")             \
    X(COPY_OUT_RESPONSE, 'H', "CopyOutResponse")           \
    X(COPY_BOTH_RESPONSE, 'W', "CopyBothResponse")         \
    X(DATA_ROW, 'D', "DataRow")                            \
    X(EMPTY_QUERY_RESPONSE, 'I', "EmptyQueryResponse")     \
    X(ERROR_RESPONSE, 'E', "ErrorResponse")                \
    X(FUNCTION_CALL_RESPONSE, 'V', "FunctionCallResponse") \
    X(NEGOTIATE_PROTOCOL, 'v', "NegotiateProtocolVersion") \
    X(NO_DATA, 'n', "NoData")                              \
    X(NOTICE_RESPONSE, 'N', "NoticeResponse")              \
    X(NOTIFICATION_RESPONSE, 'A', "NotificationResponse")  \
    X(PARAMETER_DESCRIPTION, 't', "ParameterDescription")  \
    X(PARAMETER_STATUS, 'S', "ParameterStatus")            \
    X(PARSE_COMPLETE, '1', "ParseComplete")                \
    X(PORTAL_SUSPENDED, 's', "PortalSuspended")            \
    X(READY_FOR_QUERY, 'Z', "ReadyForQuery")               \
    X(ROW_DESCRIPTION, 'T', "RowDescription")
enum wire_backend {
#define X(identifier, byte, name) WIRE_B_##identifier = byte,
    WIRE_BACKEND_LIST(X)
#undef X
};

/* "Bind"; NULL for a byte that is no message of that side. Static storage. */
const char *wire_frontend_name(char type);
const char *wire_backend_name(char type);

enum {
    WIRE_HEADER = 5,               /* type and length of a message */
    WIRE_STARTUP_MOST = 10000,     /* of a startup packet, its length not counted (MAX_STARTUP_PACKET_LENGTH) */
    WIRE_LENGTH_MOST = 0x3fffffff, /* of any other (PQ_LARGE_MESSAGE_LIMIT) */
};

enum wire_state {
    WIRE_MORE,    /* the header is not whole yet */
    WIRE_MESSAGE, /* the header is; the body may still be to come */
    WIRE_BAD,     /* a length that no message has */
};

struct wire_frame {
    char type;
    uint32_t size; /* of the whole message, with its type and length */
};

static inline uint32_t wire_get32(const void *bytes)
{
    const unsigned char *b = (const unsigned char *)bytes;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static inline uint16_t wire_get16(const void *bytes)
{
    const unsigned char *b = (const unsigned char *)bytes;
    return (uint16_t)(b[0] << 8 | b[1]);
}

static inline void wire_put16(char *bytes, uint16_t value)
{
    bytes[0] = (char)(value >> 8);
    bytes[1] = (char)value;
}

static inline void wire_put32(char *bytes, uint32_t value)
{
    wire_put16(bytes, (uint16_t)(value >> 16));
    wire_put16(bytes + 2, (uint16_t)value);
}

static inline enum wire_state wire_peek(const void *data, size_t size, struct wire_frame *frame)
{
    if (size < WIRE_HEADER)
        return WIRE_MORE;
    uint32_t length = wire_get32((const char *)data + 1);
    if (length < 4 || length > WIRE_LENGTH_MOST)
        return WIRE_BAD;
    frame->type = *(const char *)data;
    frame->size = length + 1;
    return WIRE_MESSAGE;
}

/* ---- startup ---------------------------------------------------------------------------------------- */

enum wire_startup_kind {
    WIRE_STARTUP, /* parameters follow */
    WIRE_SSL_REQUEST,
    WIRE_GSSENC_REQUEST,
    WIRE_CANCEL_REQUEST,
    WIRE_DIRECT_TLS, /* a TLS ClientHello (its first byte is 0x16) */
};

struct wire_startup {
    enum wire_startup_kind kind;
    uint32_t size;         /* bytes of the packet; 0 for DIRECT_TLS */
    uint16_t major, minor; /* of STARTUP: 3.0, 3.2, or newer, to be negotiated down */
    const char *parameters; /* name '\0' value '\0' …, ended by an empty name; points into the packet ("" unless 3.x) */
    uint32_t pid;           /* of CANCEL_REQUEST */
    const unsigned char *key;
    uint32_t key_size; /* 4 in 3.0, up to 256 in 3.2 */
};

/* The first packet of a connection. WIRE_MORE until it is whole; WIRE_BAD for what is none, as early as that is known.
 * A major version other than 3 is a STARTUP without parameters, for the caller to refuse by its number. */
enum wire_state wire_startup_read(const void *data, size_t size, struct wire_startup *startup);
/* Goes through the parameters: *at starts as startup->parameters. False at the end. */
bool wire_startup_next(const char **at, const char **name, const char **value);

/* ---- reading bodies --------------------------------------------------------------------------------- */

struct wire_reader {
    const char *at, *end;
    bool failed;
};

/* `message` has all frame->size bytes of it. */
static inline struct wire_reader wire_body(const void *message, const struct wire_frame *frame)
{
    const char *start = (const char *)message;
    return (struct wire_reader){start + WIRE_HEADER, start + frame->size, false};
}

/* NULL after a failure. */
static inline const char *wire_read_bytes(struct wire_reader *reader, size_t size)
{
    if (reader->failed || (size_t)(reader->end - reader->at) < size) {
        reader->failed = true;
        return NULL;
    }
    const char *bytes = reader->at;
    reader->at += size;
    return bytes;
}

/* 0 after a failure. */
static inline uint8_t wire_read8(struct wire_reader *reader)
{
    const char *bytes = wire_read_bytes(reader, 1);
    return bytes ? (uint8_t)*bytes : 0;
}

static inline uint16_t wire_read16(struct wire_reader *reader)
{
    const char *bytes = wire_read_bytes(reader, 2);
    return bytes ? wire_get16(bytes) : 0;
}

static inline uint32_t wire_read32(struct wire_reader *reader)
{
    const char *bytes = wire_read_bytes(reader, 4);
    return bytes ? wire_get32(bytes) : 0;
}

/* A zero-terminated string, pointing into the message; "" after a failure. */
static inline const char *wire_read_text(struct wire_reader *reader)
{
    size_t left = (size_t)(reader->end - reader->at);
    const char *zero = reader->failed || left == 0 ? NULL : (const char *)memchr(reader->at, '\0', left);
    if (!zero) {
        reader->failed = true;
        return "";
    }
    const char *text = reader->at;
    reader->at = zero + 1;
    return text;
}

/* What stands behind a column's name in a RowDescription, and where in it. */
enum {
    WIRE_COLUMN = 18,          /* bytes in all */
    WIRE_COLUMN_TABLE = 0,     /* its OID, and 2 bytes: the column's number there */
    WIRE_COLUMN_TYPE = 6,      /* its OID, and 2 bytes: its size */
    WIRE_COLUMN_MODIFIER = 12, /* 4 bytes */
    WIRE_COLUMN_FORMAT = 16,   /* 2 bytes */
};
/* The next one, once the number of them is read; NULL behind the last one, and after a failure. */
static inline const char *wire_next_column(struct wire_reader *reader, const char **name)
{
    *name = wire_read_text(reader);
    return wire_read_bytes(reader, WIRE_COLUMN);
}

/* True when the body was read to its end without a failure. */
static inline bool wire_read_all(const struct wire_reader *reader)
{
    return !reader->failed && reader->at == reader->end;
}

struct wire_parse {
    const char *name, *sql;
    uint16_t type_count;
    const char *types; /* type_count times 4 bytes, big endian */
};
/* Parameters of a Bind, still packed: `wire_bind_value` goes through them. */
struct wire_bind {
    const char *portal, *statement;
    uint16_t format_count, value_count, result_count;
    uint16_t value_here; /* of the values, how many have been read */
    const char *formats, *values, *results;
};
struct wire_value {
    const char *data;
    int32_t size; /* -1: NULL */
    int16_t format;
};
struct wire_named { /* Describe, Close: kind 'S' or 'P'; Execute: kind 'P' and the row limit */
    char kind;
    const char *name;
    uint32_t rows;
};

/* These answer false for a body that is malformed; then their fields must not be used. */
bool wire_read_parse(const void *message, const struct wire_frame *frame, struct wire_parse *parse);
bool wire_read_bind(const void *message, const struct wire_frame *frame, struct wire_bind *bind);
/*
 * The same of a Bind whose first `here` bytes are at hand: WIRE_MESSAGE once its values can be counted, of which
 * value_here are whole; nothing is said of what comes behind them. WIRE_BAD: it is malformed.
 */
enum wire_state wire_read_bind_begun(const void *message, const struct wire_frame *frame, size_t here,
                                     struct wire_bind *bind);
/* Calls with number 0, 1, … value_here - 1 in order; *at starts as bind->values. */
bool wire_bind_value(const struct wire_bind *bind, uint16_t number, const char **at, struct wire_value *value);
bool wire_read_named(const void *message, const struct wire_frame *frame, struct wire_named *named);

/* Fields of an ErrorResponse or NoticeResponse that are asked for; NULL where one is missing. */
struct wire_error {
    const char *severity, *sqlstate, *message, *detail, *hint, *position;
};
bool wire_read_error(const void *message, const struct wire_frame *frame, struct wire_error *error);

/* An Authentication of kind SASL: does the server offer that mechanism? */
bool wire_read_mechanisms(const void *message, const struct wire_frame *frame, const char *wanted);
/* The first Password message of a SASL exchange. data is NULL where the client sent none. */
struct wire_sasl_initial {
    const char *mechanism, *data;
    uint32_t size;
};
bool wire_read_sasl_initial(const void *message, const struct wire_frame *frame, struct wire_sasl_initial *initial);

/* ---- writing ---------------------------------------------------------------------------------------- */

/* Starts a message and returns where it began; wire_end fills in its length. */
size_t wire_begin(struct buffer *out, char type);
void wire_end(struct buffer *out, size_t began);
void wire_8(struct buffer *out, uint8_t value);
void wire_16(struct buffer *out, uint16_t value);
void wire_32(struct buffer *out, uint32_t value);
void wire_text(struct buffer *out, const char *zero_terminated); /* with its zero */

void wire_startup_packet(struct buffer *out, uint16_t minor, const char *const *names_and_values); /* NULL-terminated */
void wire_cancel_request(struct buffer *out, uint32_t pid, const void *key, size_t key_size);
void wire_ssl_request(struct buffer *out);
void wire_query(struct buffer *out, const char *sql);
void wire_parse(struct buffer *out, const char *name, const char *sql, size_t sql_size, const uint32_t *types,
                uint16_t count);
void wire_empty(struct buffer *out, char type); /* a message without a body: Sync, Flush, ParseComplete … */
void wire_close(struct buffer *out, char kind, const char *name);
void wire_describe(struct buffer *out, char kind, const char *name);
void wire_execute(struct buffer *out, const char *portal); /* all its rows */
void wire_password(struct buffer *out, const void *bytes,
                   size_t size); /* the body as it is: a password with its zero */
void wire_sasl_initial(struct buffer *out, const char *mechanism, const void *bytes, size_t size);

/* What an Authentication message asks for. */
enum wire_authentication {
    WIRE_AUTH_OK = 0,
    WIRE_AUTH_CLEARTEXT = 3,
    WIRE_AUTH_MD5 = 5,   /* and 4 bytes of salt */
    WIRE_AUTH_SASL = 10, /* and names, ended by an empty one */
    WIRE_AUTH_SASL_CONTINUE = 11,
    WIRE_AUTH_SASL_FINAL = 12,
};
void wire_authentication(struct buffer *out, uint32_t kind, const void *bytes, size_t size);
void wire_parameter_status(struct buffer *out, const char *name, const char *value);
void wire_backend_key(struct buffer *out, uint32_t pid, const void *key, size_t key_size);
void wire_ready(struct buffer *out, char status);
void wire_complete(struct buffer *out, const char *tag);
/* The newest minor version that is spoken here, and the names of "_pq_." options that are not known. */
void wire_negotiate(struct buffer *out, uint32_t minor, const char *const *unknown, size_t count);
/* severity: "ERROR" or "FATAL". detail and hint may be NULL or "". */
void wire_error_response(struct buffer *out, const char *severity, const char *sqlstate, const char *message,
                         const char *detail, const char *hint);
/* A NoticeResponse, of severity NOTICE. */
void wire_notice(struct buffer *out, const char *message);
/* The same, of severity WARNING. */
void wire_warning(struct buffer *out, const char *sqlstate, const char *message, const char *detail, const char *hint);
/* The same message of what its first `size` bytes say, where no more of it is there: the last text is cut. */
void wire_error_begun(struct buffer *out, const char *message, size_t size);

/* Result sets made here (the admin console, EXPLAIN): all columns are text. */
void wire_text_columns(struct buffer *out, const char *const *names, uint16_t count);
void wire_text_row(struct buffer *out, const char *const *values, uint16_t count); /* NULL: NULL */

#endif
