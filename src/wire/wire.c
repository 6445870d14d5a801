#include "wire/wire.h"

#include "base/utf8.h"

#include <string.h>

enum {
    /* Requests in the place of a version: major 1234 (src/include/libpq/pqcomm.h). */
    REQUEST_MAJOR = 1234,
    REQUEST_CANCEL = 5678,
    REQUEST_SSL = 5679,
    REQUEST_GSSENC = 5680,
    TLS_HANDSHAKE = 0x16,
    CANCEL_KEY_MOST = 256,
    TEXT_OID = 25,
};

const char *wire_frontend_name(char type)
{
    switch (type) {
#define X(identifier, byte, name) \
    case byte:                    \
        return name;
        WIRE_FRONTEND_LIST(X)
#undef X
    default:
        return NULL;
    }
}

const char *wire_backend_name(char type)
{
    switch (type) {
#define X(identifier, byte, name) \
    case byte:                    \
        return name;
        WIRE_BACKEND_LIST(X)
#undef X
    default:
        return NULL;
    }
}

/* ---- startup ---------------------------------------------------------------------------------------- */

/* Pairs of strings up to an empty name, which is the last byte. */
static bool startup_is_well_formed(const char *at, const char *end)
{
    while (at < end && *at) {
        for (int i = 0; i < 2; i++) {
            const char *zero = memchr(at, '\0', (size_t)(end - at));
            if (!zero)
                return false;
            at = zero + 1;
        }
    }
    return at + 1 == end;
}

static enum wire_state startup_read_request(const char *body, size_t size, uint16_t code, struct wire_startup *startup)
{
    if (code == REQUEST_CANCEL) {
        startup->kind = WIRE_CANCEL_REQUEST;
        if (size <= 4 || size - 4 > CANCEL_KEY_MOST)
            return WIRE_BAD;
        startup->pid = wire_get32(body);
        startup->key = (const unsigned char *)body + 4;
        startup->key_size = (uint32_t)size - 4;
        return WIRE_MESSAGE;
    }
    startup->kind = code == REQUEST_SSL ? WIRE_SSL_REQUEST : WIRE_GSSENC_REQUEST;
    return (code == REQUEST_SSL || code == REQUEST_GSSENC) && size == 0 ? WIRE_MESSAGE : WIRE_BAD;
}

enum wire_state wire_startup_read(const void *data, size_t size, struct wire_startup *startup)
{
    const char *bytes = (const char *)data;
    *startup = (struct wire_startup){.parameters = ""};
    if (size == 0)
        return WIRE_MORE;
    if (bytes[0] == TLS_HANDSHAKE) {
        startup->kind = WIRE_DIRECT_TLS;
        return WIRE_MESSAGE;
    }
    /* What is no startup packet (HTTP, say) is known by its first byte: nothing need be waited for. */
    if (bytes[0] != 0 || (size > 1 && bytes[1] != 0))
        return WIRE_BAD;
    if (size < 4)
        return WIRE_MORE;
    uint32_t length = wire_get32(bytes);
    if (length < 8 || length > WIRE_STARTUP_MOST + 4)
        return WIRE_BAD;
    if (size < length)
        return WIRE_MORE;
    uint32_t version = wire_get32(bytes + 4);
    startup->size = length;
    startup->major = (uint16_t)(version >> 16);
    startup->minor = (uint16_t)version;
    if (startup->major == REQUEST_MAJOR)
        return startup_read_request(bytes + 8, length - 8, startup->minor, startup);
    startup->kind = WIRE_STARTUP;
    if (startup->major != 3)
        return WIRE_MESSAGE; /* to be refused by its number: what follows has a form of its own */
    startup->parameters = bytes + 8;
    return startup_is_well_formed(bytes + 8, bytes + length) ? WIRE_MESSAGE : WIRE_BAD;
}

bool wire_startup_next(const char **at, const char **name, const char **value)
{
    if (!**at)
        return false;
    *name = *at;
    *value = *name + strlen(*name) + 1;
    *at = *value + strlen(*value) + 1;
    return true;
}

/* ---- reading bodies --------------------------------------------------------------------------------- */

bool wire_read_parse(const void *message, const struct wire_frame *frame, struct wire_parse *parse)
{
    struct wire_reader reader = wire_body(message, frame);
    parse->name = wire_read_text(&reader);
    parse->sql = wire_read_text(&reader);
    parse->type_count = wire_read16(&reader);
    parse->types = wire_read_bytes(&reader, (size_t)parse->type_count * 4);
    return wire_read_all(&reader);
}

static void read_bind_head(struct wire_reader *reader, struct wire_bind *bind)
{
    bind->portal = wire_read_text(reader);
    bind->statement = wire_read_text(reader);
    bind->format_count = wire_read16(reader);
    bind->formats = wire_read_bytes(reader, (size_t)bind->format_count * 2);
    bind->value_count = wire_read16(reader);
    bind->values = reader->at;
    bind->value_here = 0;
}

/* As PostgreSQL asks (exec_bind_message): no format, one for all, or one for each. */
static bool formats_fit(const struct wire_bind *bind)
{
    return bind->format_count <= 1 || bind->format_count == bind->value_count;
}

/* As many values as are there, of a message that ends at `end`. False: one cannot be. */
static bool read_bind_values(struct wire_reader *reader, const char *end, struct wire_bind *bind)
{
    for (; bind->value_here < bind->value_count && !reader->failed; bind->value_here += !reader->failed) {
        int32_t size = (int32_t)wire_read32(reader);
        if (reader->failed)
            break;
        if (size < -1 || size > end - reader->at)
            return false;
        if (size > 0)
            wire_read_bytes(reader, (size_t)size);
    }
    return true;
}

bool wire_read_bind(const void *message, const struct wire_frame *frame, struct wire_bind *bind)
{
    struct wire_reader reader = wire_body(message, frame);
    read_bind_head(&reader, bind);
    if (!read_bind_values(&reader, (const char *)message + frame->size, bind))
        return false;
    bind->result_count = wire_read16(&reader);
    bind->results = wire_read_bytes(&reader, (size_t)bind->result_count * 2);
    return wire_read_all(&reader) && formats_fit(bind);
}

enum wire_state wire_read_bind_begun(const void *message, const struct wire_frame *frame, size_t here,
                                     struct wire_bind *bind)
{
    struct wire_frame part = {.type = frame->type, .size = (uint32_t)here};
    struct wire_reader reader = wire_body(message, &part);
    read_bind_head(&reader, bind);
    bind->result_count = 0;
    bind->results = NULL;
    if (reader.failed)
        return WIRE_MORE;
    bool fits = formats_fit(bind) && read_bind_values(&reader, (const char *)message + frame->size, bind);
    return fits ? WIRE_MESSAGE : WIRE_BAD;
}

bool wire_bind_value(const struct wire_bind *bind, uint16_t number, const char **at, struct wire_value *value)
{
    if (number >= bind->value_here)
        return false;
    value->size = (int32_t)wire_get32(*at);
    value->data = *at + 4;
    *at += 4 + (value->size > 0 ? value->size : 0);
    value->format = 0;
    if (bind->format_count > 0)
        value->format = (int16_t)wire_get16(bind->formats + (bind->format_count == 1 ? 0 : 2 * (size_t)number));
    return true;
}

bool wire_read_named(const void *message, const struct wire_frame *frame, struct wire_named *named)
{
    struct wire_reader reader = wire_body(message, frame);
    bool executes = frame->type == WIRE_EXECUTE;
    named->kind = executes ? 'P' : (char)wire_read8(&reader);
    named->name = wire_read_text(&reader);
    named->rows = executes ? wire_read32(&reader) : 0;
    return wire_read_all(&reader) && (named->kind == 'S' || named->kind == 'P');
}

bool wire_read_error(const void *message, const struct wire_frame *frame, struct wire_error *error)
{
    struct wire_reader reader = wire_body(message, frame);
    const char *localized = NULL;
    *error = (struct wire_error){0};
    for (uint8_t field; (field = wire_read8(&reader)) != 0;) {
        const char *text = wire_read_text(&reader);
        switch (field) {
        case 'S':
            localized = text;
            break;
        case 'V':
            error->severity = text;
            break;
        case 'C':
            error->sqlstate = text;
            break;
        case 'M':
            error->message = text;
            break;
        case 'D':
            error->detail = text;
            break;
        case 'H':
            error->hint = text;
            break;
        case 'P':
            error->position = text;
            break;
        default: /* fields of newer servers are passed over, as the protocol says */
            break;
        }
    }
    if (!error->severity)
        error->severity = localized;
    return wire_read_all(&reader);
}

bool wire_read_mechanisms(const void *message, const struct wire_frame *frame, const char *wanted)
{
    struct wire_reader reader = wire_body(message, frame);
    bool found = false;
    wire_read32(&reader);
    while (!reader.failed) {
        const char *name = wire_read_text(&reader);
        if (!*name)
            break;
        found |= strcmp(name, wanted) == 0;
    }
    return found && wire_read_all(&reader);
}

bool wire_read_sasl_initial(const void *message, const struct wire_frame *frame, struct wire_sasl_initial *initial)
{
    struct wire_reader reader = wire_body(message, frame);
    initial->mechanism = wire_read_text(&reader);
    int32_t size = (int32_t)wire_read32(&reader);
    initial->data = size < 0 ? NULL : wire_read_bytes(&reader, (size_t)size);
    initial->size = size < 0 ? 0 : (uint32_t)size;
    return wire_read_all(&reader) && size >= -1;
}

/* ---- writing ---------------------------------------------------------------------------------------- */

/* Room of which every byte will be written; NULL after a failure. */
static char *wire_room(struct buffer *out, size_t size)
{
    char *room = buffer_reserve(out, size);
    if (room)
        buffer_added(out, size);
    return room;
}

size_t wire_begin(struct buffer *out, char type)
{
    size_t began = out->size;
    char *room = wire_room(out, WIRE_HEADER);
    if (room) {
        room[0] = type;
        wire_put32(room + 1, 0);
    }
    return began;
}

void wire_end(struct buffer *out, size_t began)
{
    if (buffer_failed(out))
        return;
    if (out->size - began - 1 > WIRE_LENGTH_MOST)
        out->failed = true;
    else
        wire_put32(out->data + began + 1, (uint32_t)(out->size - began - 1));
}

void wire_8(struct buffer *out, uint8_t value)
{
    buffer_char(out, (char)value);
}

void wire_16(struct buffer *out, uint16_t value)
{
    buffer_add(out, (char[]){(char)(value >> 8), (char)value}, 2);
}

void wire_32(struct buffer *out, uint32_t value)
{
    char *room = wire_room(out, 4);
    if (room)
        wire_put32(room, value);
}

void wire_text(struct buffer *out, const char *zero_terminated)
{
    buffer_add(out, zero_terminated, strlen(zero_terminated) + 1);
}

/* A packet without a type: its length, and the version or the request. */
static size_t startup_begin(struct buffer *out, uint16_t major, uint16_t minor)
{
    size_t began = out->size;
    wire_32(out, 0);
    wire_32(out, (uint32_t)major << 16 | minor);
    return began;
}

static void startup_end(struct buffer *out, size_t began)
{
    if (!buffer_failed(out))
        wire_put32(out->data + began, (uint32_t)(out->size - began));
}

void wire_startup_packet(struct buffer *out, uint16_t minor, const char *const *names_and_values)
{
    size_t began = startup_begin(out, 3, minor);
    for (; *names_and_values; names_and_values++)
        wire_text(out, *names_and_values);
    wire_8(out, 0);
    startup_end(out, began);
}

void wire_cancel_request(struct buffer *out, uint32_t pid, const void *key, size_t key_size)
{
    size_t began = startup_begin(out, REQUEST_MAJOR, REQUEST_CANCEL);
    wire_32(out, pid);
    buffer_add(out, key, key_size);
    startup_end(out, began);
}

void wire_ssl_request(struct buffer *out)
{
    startup_end(out, startup_begin(out, REQUEST_MAJOR, REQUEST_SSL));
}

void wire_query(struct buffer *out, const char *sql)
{
    size_t began = wire_begin(out, WIRE_QUERY);
    wire_text(out, sql);
    wire_end(out, began);
}

void wire_parse(struct buffer *out, const char *name, const char *sql, size_t sql_size, const uint32_t *types,
                uint16_t count)
{
    size_t began = wire_begin(out, WIRE_PARSE);
    wire_text(out, name);
    buffer_add(out, sql, sql_size);
    wire_8(out, 0);
    wire_16(out, count);
    for (uint16_t i = 0; i < count; i++)
        wire_32(out, types[i]);
    wire_end(out, began);
}

void wire_empty(struct buffer *out, char type)
{
    char *room = wire_room(out, WIRE_HEADER);
    if (room) {
        room[0] = type;
        wire_put32(room + 1, 4);
    }
}

static void wire_named(struct buffer *out, char type, char kind, const char *name)
{
    size_t began = wire_begin(out, type);
    wire_8(out, (uint8_t)kind);
    wire_text(out, name);
    wire_end(out, began);
}

void wire_close(struct buffer *out, char kind, const char *name)
{
    wire_named(out, WIRE_CLOSE, kind, name);
}

void wire_describe(struct buffer *out, char kind, const char *name)
{
    wire_named(out, WIRE_DESCRIBE, kind, name);
}

void wire_execute(struct buffer *out, const char *portal)
{
    size_t began = wire_begin(out, WIRE_EXECUTE);
    wire_text(out, portal);
    wire_32(out, 0);
    wire_end(out, began);
}

void wire_password(struct buffer *out, const void *bytes, size_t size)
{
    size_t began = wire_begin(out, WIRE_PASSWORD);
    buffer_add(out, bytes, size);
    wire_end(out, began);
}

void wire_sasl_initial(struct buffer *out, const char *mechanism, const void *bytes, size_t size)
{
    size_t began = wire_begin(out, WIRE_PASSWORD);
    wire_text(out, mechanism);
    wire_32(out, (uint32_t)size);
    buffer_add(out, bytes, size);
    wire_end(out, began);
}

void wire_authentication(struct buffer *out, uint32_t kind, const void *bytes, size_t size)
{
    size_t began = wire_begin(out, WIRE_B_AUTHENTICATION);
    wire_32(out, kind);
    buffer_add(out, bytes, size);
    wire_end(out, began);
}

void wire_parameter_status(struct buffer *out, const char *name, const char *value)
{
    size_t began = wire_begin(out, WIRE_B_PARAMETER_STATUS);
    wire_text(out, name);
    wire_text(out, value);
    wire_end(out, began);
}

void wire_backend_key(struct buffer *out, uint32_t pid, const void *key, size_t key_size)
{
    size_t began = wire_begin(out, WIRE_B_BACKEND_KEY_DATA);
    wire_32(out, pid);
    buffer_add(out, key, key_size);
    wire_end(out, began);
}

void wire_ready(struct buffer *out, char status)
{
    buffer_add(out, (char[]){WIRE_B_READY_FOR_QUERY, 0, 0, 0, 5, status}, 6);
}

void wire_complete(struct buffer *out, const char *tag)
{
    size_t began = wire_begin(out, WIRE_B_COMMAND_COMPLETE);
    wire_text(out, tag);
    wire_end(out, began);
}

void wire_negotiate(struct buffer *out, uint32_t minor, const char *const *unknown, size_t count)
{
    size_t began = wire_begin(out, WIRE_B_NEGOTIATE_PROTOCOL);
    /* The whole version stands here, whatever the protocol's page once said (SendNegotiateProtocolVersion). */
    wire_32(out, 3u << 16 | minor);
    wire_32(out, (uint32_t)count);
    for (size_t i = 0; i < count; i++)
        wire_text(out, unknown[i]);
    wire_end(out, began);
}

static void wire_field(struct buffer *out, char field, const char *text)
{
    if (!text || !*text)
        return;
    wire_8(out, (uint8_t)field);
    wire_text(out, text);
}

static void wire_fields(struct buffer *out, char type, const char *severity, const char *sqlstate, const char *message,
                        const char *detail, const char *hint)
{
    size_t began = wire_begin(out, type);
    wire_field(out, 'S', severity);
    wire_field(out, 'V', severity);
    wire_field(out, 'C', sqlstate);
    wire_field(out, 'M', message);
    wire_field(out, 'D', detail);
    wire_field(out, 'H', hint);
    wire_8(out, 0);
    wire_end(out, began);
}

void wire_error_response(struct buffer *out, const char *severity, const char *sqlstate, const char *message,
                         const char *detail, const char *hint)
{
    wire_fields(out, WIRE_B_ERROR_RESPONSE, severity, sqlstate, message, detail, hint);
}

void wire_notice(struct buffer *out, const char *message)
{
    wire_fields(out, WIRE_B_NOTICE_RESPONSE, "NOTICE", "00000", message, NULL, NULL);
}

void wire_warning(struct buffer *out, const char *sqlstate, const char *message, const char *detail, const char *hint)
{
    wire_fields(out, WIRE_B_NOTICE_RESPONSE, "WARNING", sqlstate, message, detail, hint);
}

void wire_error_begun(struct buffer *out, const char *message, size_t size)
{
    size_t began = wire_begin(out, *message);
    for (size_t at = WIRE_HEADER; at < size && message[at];) {
        const char *text = message + at + 1;
        size_t left = size - at - 1, length = strnlen(text, left);
        bool is_whole = length < left;
        wire_8(out, (uint8_t)message[at]);
        buffer_add(out, text, is_whole || !left ? length : utf8_cut(text, left, left - 1));
        wire_8(out, 0);
        at += 1 + length + is_whole;
    }
    wire_8(out, 0);
    wire_end(out, began);
}

void wire_text_columns(struct buffer *out, const char *const *names, uint16_t count)
{
    size_t began = wire_begin(out, WIRE_B_ROW_DESCRIPTION);
    wire_16(out, count);
    for (uint16_t i = 0; i < count; i++) {
        wire_text(out, names[i]);
        wire_32(out, 0); /* of no table */
        wire_16(out, 0); /* and no column of it */
        wire_32(out, TEXT_OID);
        wire_16(out, (uint16_t)-1); /* of any size */
        wire_32(out, (uint32_t)-1); /* no modifier */
        wire_16(out, 0);            /* as text */
    }
    wire_end(out, began);
}

void wire_text_row(struct buffer *out, const char *const *values, uint16_t count)
{
    size_t began = wire_begin(out, WIRE_B_DATA_ROW);
    wire_16(out, count);
    for (uint16_t i = 0; i < count; i++) {
        size_t size = values[i] ? strlen(values[i]) : 0;
        wire_32(out, values[i] ? (uint32_t)size : (uint32_t)-1);
        buffer_add(out, values[i], size);
    }
    wire_end(out, began);
}
