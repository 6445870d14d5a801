/* Messages as bytes: what PostgreSQL's documentation says, every cut of each, random ones there and back. */
#include "../random.h"
#include "base/memory.h"
#include "wire/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 1 << 16 };

#define BYTES(literal) (literal), sizeof(literal) - 1

static void expect_bytes(struct buffer *out, const void *bytes, size_t size)
{
    assert_false(buffer_failed(out));
    assert_int_equal(out->size, size);
    assert_memory_equal(out->data, bytes, size);
    buffer_clear(out);
}

/* ---- startup ---------------------------------------------------------------------------------------- */

/* The state of the packet, which must be WIRE_MORE for each shorter piece of it, read from a block of just that size.
 */
static enum wire_state read_startup(const void *bytes, size_t size, struct wire_startup *startup)
{
    enum wire_state state = wire_startup_read(bytes, size, startup);
    for (size_t cut = 0; cut < size; cut++) {
        struct wire_startup part;
        char *piece = memory_allocate(cut ? cut : 1);
        assert_non_null(piece);
        memcpy(piece, bytes, cut);
        enum wire_state early = wire_startup_read(piece, cut, &part);
        assert_true(early == WIRE_MORE || (early == WIRE_BAD && state == WIRE_BAD));
        memory_free(piece);
    }
    return state;
}

static void startup_parameters(void **state)
{
    (void)state;
    struct buffer out = BUFFER_INIT(MOST);
    wire_startup_packet(&out, 2, (const char *[]){"user", "anna", "database", "", "options", "-c a=b", NULL});
    struct wire_startup startup;
    assert_int_equal(read_startup(out.data, out.size, &startup), WIRE_MESSAGE);
    assert_int_equal(startup.kind, WIRE_STARTUP);
    assert_int_equal(startup.size, out.size);
    assert_int_equal(startup.major, 3);
    assert_int_equal(startup.minor, 2);
    const char *at = startup.parameters, *name, *value;
    static const char *const wanted[] = {"user", "anna", "database", "", "options", "-c a=b"};
    for (size_t i = 0; i < 6; i += 2) {
        assert_true(wire_startup_next(&at, &name, &value));
        assert_string_equal(name, wanted[i]);
        assert_string_equal(value, wanted[i + 1]);
    }
    assert_false(wire_startup_next(&at, &name, &value));
    assert_false(wire_startup_next(&at, &name, &value));
    buffer_free(&out);
}

static void startup_of_other_versions(void **state)
{
    (void)state;
    struct wire_startup startup;
    assert_int_equal(read_startup(BYTES("\0\0\0\x9\0\x3\x27\xf\0"), &startup), WIRE_MESSAGE);
    assert_int_equal(startup.minor, 9999);
    assert_string_equal(startup.parameters, "");
    assert_int_equal(read_startup(BYTES("\0\0\0\xc\0\x2\0\0junk"), &startup), WIRE_MESSAGE);
    assert_int_equal(startup.major, 2);
    assert_string_equal(startup.parameters, "");
}

static void startup_requests(void **state)
{
    (void)state;
    struct wire_startup startup;
    struct buffer out = BUFFER_INIT(MOST);
    wire_ssl_request(&out);
    assert_int_equal(read_startup(out.data, out.size, &startup), WIRE_MESSAGE);
    assert_int_equal(startup.kind, WIRE_SSL_REQUEST);
    assert_int_equal(startup.size, 8);
    expect_bytes(&out, BYTES("\0\0\0\x8\x4\xd2\x16\x2f"));
    assert_int_equal(read_startup(BYTES("\0\0\0\x8\x4\xd2\x16\x30"), &startup), WIRE_MESSAGE);
    assert_int_equal(startup.kind, WIRE_GSSENC_REQUEST);
    assert_int_equal(wire_startup_read("\x16\x3", 1, &startup), WIRE_MESSAGE);
    assert_int_equal(startup.kind, WIRE_DIRECT_TLS);
    assert_int_equal(startup.size, 0);
    unsigned char key[257];
    memset(key, 'k', sizeof key);
    for (size_t size = 1; size <= sizeof key; size += 4) {
        wire_cancel_request(&out, 7, key, size);
        assert_int_equal(read_startup(out.data, out.size, &startup), size <= 256 ? WIRE_MESSAGE : WIRE_BAD);
        if (size <= 256) {
            assert_int_equal(startup.kind, WIRE_CANCEL_REQUEST);
            assert_int_equal(startup.pid, 7);
            assert_int_equal(startup.key_size, size);
            assert_memory_equal(startup.key, key, size);
        }
        buffer_clear(&out);
    }
    buffer_free(&out);
}

static void startup_refused(void **state)
{
    (void)state;
    struct wire_startup startup;
    assert_int_equal(wire_startup_read("GET / HTTP", 1, &startup), WIRE_BAD);
    assert_int_equal(wire_startup_read("\0\1", 2, &startup), WIRE_BAD);
    assert_int_equal(wire_startup_read("\0\0\0\0", 4, &startup), WIRE_BAD);
    assert_int_equal(wire_startup_read("\0\0\0\x7", 4, &startup), WIRE_BAD);
    assert_int_equal(wire_startup_read("\0\0\x27\x14", 4, &startup), WIRE_MORE); /* 10,004 */
    assert_int_equal(wire_startup_read("\0\0\x27\x15", 4, &startup), WIRE_BAD);
    assert_int_equal(read_startup(BYTES("\0\0\0\x8\0\3\0\0"), &startup), WIRE_BAD);              /* no end */
    assert_int_equal(read_startup(BYTES("\0\0\0\xd\0\3\0\0user\0"), &startup), WIRE_BAD);        /* no value */
    assert_int_equal(read_startup(BYTES("\0\0\0\xf\0\3\0\0user\0a\0"), &startup), WIRE_BAD);     /* no end */
    assert_int_equal(read_startup(BYTES("\0\0\0\xe\0\3\0\0user\0a"), &startup), WIRE_BAD);       /* not terminated */
    assert_int_equal(read_startup(BYTES("\0\0\0\x11\0\3\0\0user\0a\0\0x"), &startup), WIRE_BAD); /* bytes behind */
    assert_int_equal(read_startup(BYTES("\0\0\0\x9\x4\xd2\x16\x2f\0"), &startup), WIRE_BAD);
    assert_int_equal(read_startup(BYTES("\0\0\0\xc\x4\xd2\x16\x2e\0\0\0\7"), &startup), WIRE_BAD); /* without a key */
    assert_int_equal(read_startup(BYTES("\0\0\0\x8\x4\xd2\x16\x31"), &startup), WIRE_BAD);
}

/* ---- frames and bodies ------------------------------------------------------------------------------ */

static struct wire_frame frame_of(const void *data, size_t size)
{
    struct wire_frame frame;
    assert_int_equal(wire_peek(data, size, &frame), WIRE_MESSAGE);
    return frame;
}

static void lengths(void **state)
{
    (void)state;
    struct wire_frame frame;
    for (size_t size = 0; size < WIRE_HEADER; size++)
        assert_int_equal(wire_peek("Q\0\0\0\4", size, &frame), WIRE_MORE);
    assert_int_equal(wire_peek("Q\0\0\0\4", 5, &frame), WIRE_MESSAGE);
    assert_int_equal(frame.type, 'Q');
    assert_int_equal(frame.size, 5);
    assert_int_equal(wire_peek("Q\0\0\0\3", 5, &frame), WIRE_BAD);
    assert_int_equal(wire_peek("Q\0\0\0\0", 5, &frame), WIRE_BAD);
    assert_int_equal(wire_peek("Q\x80\0\0\0", 5, &frame), WIRE_BAD);
    assert_int_equal(wire_peek("Q\xff\xff\xff\xff", 5, &frame), WIRE_BAD);
    assert_int_equal(wire_peek("Q\x40\0\0\0", 5, &frame), WIRE_BAD);
    assert_int_equal(wire_peek("Q\x3f\xff\xff\xff", 5, &frame), WIRE_MESSAGE);
    assert_int_equal(frame.size, 0x40000000);
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(wire_frontend_name('B'), "Bind");
    assert_string_equal(wire_backend_name('Z'), "ReadyForQuery");
    assert_string_equal(wire_backend_name('d'), "CopyData");
    assert_null(wire_frontend_name('Z'));
    assert_null(wire_backend_name('\0'));
    assert_null(wire_backend_name('\xff'));
}

static void bind_examples(void **state)
{
    (void)state;
    struct buffer out = BUFFER_INIT(MOST);
    size_t at = wire_begin(&out, 'B');
    buffer_add(&out, BYTES("p\0s\0\0\2\0\0\0\1\0\2\xff\xff\xff\xff\0\0\0\4\0\0\0\x2a\0\2\0\0\0\1"));
    wire_end(&out, at);
    struct wire_frame frame = frame_of(out.data, out.size);
    struct wire_bind bind;
    assert_true(wire_read_bind(out.data, &frame, &bind));
    assert_string_equal(bind.portal, "p");
    assert_string_equal(bind.statement, "s");
    struct wire_value value;
    const char *values = bind.values;
    assert_true(wire_bind_value(&bind, 0, &values, &value));
    assert_int_equal(value.size, -1);
    assert_int_equal(value.format, 0);
    assert_true(wire_bind_value(&bind, 1, &values, &value));
    assert_int_equal(value.size, 4);
    assert_int_equal(value.format, 1);
    assert_memory_equal(value.data, "\0\0\0\x2a", 4);
    assert_false(wire_bind_value(&bind, 2, &values, &value));
    assert_int_equal(bind.result_count, 2);
    assert_int_equal(wire_get16(bind.results + 2), 1);
    buffer_free(&out);
}

/* What is read of a beginning stands in the whole. */
static void bind_begun(const struct buffer *out, const struct wire_bind *whole)
{
    struct wire_frame frame = frame_of(out->data, out->size);
    uint16_t before = 0;
    bool counted = false;
    for (size_t here = WIRE_HEADER; here <= out->size; here++) {
        struct wire_bind bind;
        char *copy = malloc(here); /* a byte too many is seen by the sanitizer */
        memcpy(copy, out->data, here);
        enum wire_state found = wire_read_bind_begun(copy, &frame, here, &bind);
        assert_true(found == WIRE_MESSAGE || (found == WIRE_MORE && !counted));
        counted = found == WIRE_MESSAGE;
        if (counted) {
            assert_string_equal(bind.statement, whole->statement);
            assert_int_equal(bind.value_count, whole->value_count);
            assert_true(bind.value_here >= before && bind.value_here <= whole->value_count);
            before = bind.value_here;
        }
        free(copy);
    }
    assert_int_equal(before, whole->value_count);
}

static void bind_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        size_t size;
    } cases[] = {
        {BYTES("p\0s\0\0\2\0\0\0\1\0\1\0\0\0\0\0\0")}, /* two formats for one value */
        {BYTES("p\0s\0\0\0\0\1\xff\xff\xff\xfe\0\0")}, /* a size of -2 */
        {BYTES("p\0s\0\0\0\0\1\x7f\xff\xff\xff\0\0")}, /* a size beyond the end */
        {BYTES("p\0s\0\0\0\xff\xff\0\0\0\0\0\0")},     /* 65,535 values */
        {BYTES("p\0s\0\0\0\0\0\0\0x")},                /* a byte behind */
        {BYTES("p\0s\0\0\0\0\0\0")},                   /* one is missing */
        {BYTES("p\0s\0\0\0\0\0\0\2\0\0")},             /* a result format is missing */
        {BYTES("p\0s")},
        {BYTES("")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer out = BUFFER_INIT(MOST);
        size_t at = wire_begin(&out, 'B');
        buffer_add(&out, cases[i].body, cases[i].size);
        wire_end(&out, at);
        struct wire_frame frame = frame_of(out.data, out.size);
        struct wire_bind bind;
        assert_false(wire_read_bind(out.data, &frame, &bind));
        /* Of the first three it is known before the end. */
        enum wire_state begun = wire_read_bind_begun(out.data, &frame, out.size, &bind);
        assert_true(i < 3 ? begun == WIRE_BAD : begun != WIRE_BAD);
        buffer_free(&out);
    }
}

static void errors(void **state)
{
    (void)state;
    struct buffer out = BUFFER_INIT(MOST);
    wire_error_response(&out, "FATAL", "28000", "no", NULL, "ask");
    struct wire_frame frame = frame_of(out.data, out.size);
    struct wire_error error;
    assert_true(wire_read_error(out.data, &frame, &error));
    assert_string_equal(error.severity, "FATAL");
    assert_string_equal(error.sqlstate, "28000");
    assert_string_equal(error.message, "no");
    assert_null(error.detail);
    assert_string_equal(error.hint, "ask");
    assert_null(error.position);
    expect_bytes(&out, BYTES("E\0\0\0\x23SFATAL\0VFATAL\0C28000\0Mno\0Hask\0\0"));
    wire_warning(&out, "00000", "so", "", NULL);
    expect_bytes(&out, BYTES("N\0\0\0\x22SWARNING\0VWARNING\0C00000\0Mso\0\0"));
    /* Severity of a server older than 9.6, and fields that nobody knows yet. */
    frame = frame_of(BYTES("E\0\0\0\x12SFEHLER\0zneu\0\0"));
    assert_true(wire_read_error("E\0\0\0\x12SFEHLER\0zneu\0\0", &frame, &error));
    assert_string_equal(error.severity, "FEHLER");
    frame = frame_of(BYTES("E\0\0\0\xcSFEHLER\0"));
    assert_false(wire_read_error("E\0\0\0\xcSFEHLER\0", &frame, &error));
    buffer_free(&out);
}

static void an_error_that_has_only_begun(void **state)
{
    (void)state;
    static const char whole[] = "E\0\0\0\x24SERROR\0C22P02\0Mm\xc3\xa9h\0Hask\0\0";
    static const struct {
        size_t size;
        const char *bytes;
        size_t told;
    } cases[] = {
        {5, BYTES("E\0\0\0\x05\0")},
        {6, BYTES("E\0\0\0\x07S\0\0")},
        {8, BYTES("E\0\0\0\x08SE\0\0")},
        {12, BYTES("E\0\0\0\x0cSERROR\0\0")},
        {19, BYTES("E\0\0\0\x13SERROR\0C22P02\0\0")},
        {21, BYTES("E\0\0\0\x15SERROR\0C22P02\0M\0\0")},
        {23, BYTES("E\0\0\0\x16SERROR\0C22P02\0Mm\0\0")},
        {24, BYTES("E\0\0\0\x18SERROR\0C22P02\0Mm\xc3\xa9\0\0")},
        {25, BYTES("E\0\0\0\x19SERROR\0C22P02\0Mm\xc3\xa9h\0\0")},
    };
    struct buffer out = BUFFER_INIT(MOST);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wire_error_begun(&out, whole, cases[i].size);
        expect_bytes(&out, cases[i].bytes, cases[i].told);
    }
    buffer_free(&out);
}

static void sasl(void **state)
{
    (void)state;
    struct buffer out = BUFFER_INIT(MOST);
    wire_authentication(&out, WIRE_AUTH_SASL, BYTES("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"));
    struct wire_frame frame = frame_of(out.data, out.size);
    assert_true(wire_read_mechanisms(out.data, &frame, "SCRAM-SHA-256"));
    assert_true(wire_read_mechanisms(out.data, &frame, "SCRAM-SHA-256-PLUS"));
    assert_false(wire_read_mechanisms(out.data, &frame, "SCRAM-SHA-25"));
    assert_false(wire_read_mechanisms(out.data, &frame, ""));
    buffer_clear(&out);
    struct wire_sasl_initial initial;
    wire_sasl_initial(&out, "SCRAM-SHA-256", BYTES("n,,n=,r=x"));
    frame = frame_of(out.data, out.size);
    assert_true(wire_read_sasl_initial(out.data, &frame, &initial));
    assert_string_equal(initial.mechanism, "SCRAM-SHA-256");
    assert_int_equal(initial.size, 9);
    assert_memory_equal(initial.data, "n,,n=,r=x", 9);
    frame = frame_of(BYTES("p\0\0\0\xaX\0\xff\xff\xff\xff"));
    assert_true(wire_read_sasl_initial("p\0\0\0\xaX\0\xff\xff\xff\xff", &frame, &initial));
    assert_null(initial.data);
    frame = frame_of(BYTES("p\0\0\0\xaX\0\xff\xff\xff\xfe"));
    assert_false(wire_read_sasl_initial("p\0\0\0\xaX\0\xff\xff\xff\xfe", &frame, &initial));
    buffer_free(&out);
}

static void written(void **state)
{
    (void)state;
    struct buffer out = BUFFER_INIT(MOST);
    wire_query(&out, "SELECT 1");
    expect_bytes(&out, BYTES("Q\0\0\0\xdSELECT 1\0"));
    wire_parse(&out, "s", "SELECT $1", 9, (uint32_t[]){23}, 1);
    expect_bytes(&out, BYTES("P\0\0\0\x16s\0SELECT $1\0\0\1\0\0\0\x17"));
    wire_empty(&out, WIRE_SYNC);
    expect_bytes(&out, BYTES("S\0\0\0\4"));
    wire_close(&out, 'S', "s");
    expect_bytes(&out, BYTES("C\0\0\0\7Ss\0"));
    wire_describe(&out, 'P', "");
    expect_bytes(&out, BYTES("D\0\0\0\6P\0"));
    wire_password(&out, "geheim", 7);
    expect_bytes(&out, BYTES("p\0\0\0\xbgeheim\0"));
    wire_authentication(&out, WIRE_AUTH_OK, NULL, 0);
    expect_bytes(&out, BYTES("R\0\0\0\x8\0\0\0\0"));
    wire_parameter_status(&out, "a", "b");
    expect_bytes(&out, BYTES("S\0\0\0\x8"
                             "a\0b\0"));
    wire_backend_key(&out, 1, "\1\2\3\4", 4);
    expect_bytes(&out, BYTES("K\0\0\0\xc\0\0\0\1\1\2\3\4"));
    wire_ready(&out, 'T');
    expect_bytes(&out, BYTES("Z\0\0\0\5T"));
    wire_complete(&out, "BEGIN");
    expect_bytes(&out, BYTES("C\0\0\0\xa"
                             "BEGIN\0"));
    wire_negotiate(&out, 2, (const char *[]){"_pq_.x"}, 1);
    expect_bytes(&out, BYTES("v\0\0\0\x13\0\3\0\2\0\0\0\1_pq_.x\0"));
    wire_text_columns(&out, (const char *[]){"a"}, 1);
    expect_bytes(&out, BYTES("T\0\0\0\x1a\0\1a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"));
    wire_text_row(&out, (const char *[]){"x", NULL, ""}, 3);
    expect_bytes(&out, BYTES("D\0\0\0\x13\0\3\0\0\0\1x\xff\xff\xff\xff\0\0\0\0"));
    buffer_free(&out);
}

static void columns_are_walked(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "", "bc"};
    struct buffer out = BUFFER_INIT(MOST);
    wire_text_columns(&out, names, 3);
    for (size_t size = 0; size <= out.size - WIRE_HEADER; size++) {
        struct wire_reader reader = {out.data + WIRE_HEADER, out.data + WIRE_HEADER + size, false};
        const char *name, *column;
        size_t count = 0;
        (void)wire_read16(&reader);
        for (; (column = wire_next_column(&reader, &name)); count++) {
            assert_string_equal(name, names[count]);
            assert_int_equal(wire_get32(column + WIRE_COLUMN_TYPE), 25);
            assert_int_equal(wire_get32(column + WIRE_COLUMN_MODIFIER), UINT32_MAX);
            assert_int_equal(wire_get16(column + WIRE_COLUMN_FORMAT), 0);
        }
        assert_int_equal(count, size < 22 ? 0 : size < 41 ? 1 : size < 62 ? 2 : 3);
    }
    buffer_free(&out);
}

static void failures_stick(void **state)
{
    (void)state;
    struct buffer out = BUFFER_INIT(16);
    wire_query(&out, "longer than sixteen bytes");
    assert_true(buffer_failed(&out));
    wire_ready(&out, 'I');
    assert_true(buffer_failed(&out));
    buffer_free(&out);
    for (long after = 0; after < 3; after++) {
        out = BUFFER_INIT(MOST);
        memory_fail_after(after);
        for (int i = 0; i < 30; i++)
            wire_query(&out, "SELECT 1, 2, 3, 4, 5, 6, 7, 8, 9");
        memory_fail_after(-1);
        assert_true(buffer_failed(&out));
        buffer_free(&out);
    }
}

/* ---- random messages -------------------------------------------------------------------------------- */

static void random_text(struct random *random, char *text, uint32_t most)
{
    uint32_t size = random_below(random, most);
    for (uint32_t i = 0; i < size; i++)
        text[i] = (char)(1 + random_below(random, 255));
    text[size] = '\0';
}

/* Each cut of the body, under a length that fits the cut, must be refused. */
static void cuts_are_refused(const struct buffer *whole, bool (*reads)(const void *, const struct wire_frame *))
{
    for (size_t size = WIRE_HEADER; size < whole->size; size++) {
        char *cut = memory_allocate(size);
        assert_non_null(cut);
        memcpy(cut, whole->data, size);
        struct wire_frame frame = {whole->data[0], (uint32_t)size};
        assert_false(reads(cut, &frame));
        memory_free(cut);
    }
}

static bool reads_parse(const void *message, const struct wire_frame *frame)
{
    struct wire_parse parse;
    return wire_read_parse(message, frame, &parse);
}

static bool reads_bind(const void *message, const struct wire_frame *frame)
{
    struct wire_bind bind;
    return wire_read_bind(message, frame, &bind);
}

static void random_parses(void **state)
{
    (void)state;
    struct random random = random_start();
    struct buffer out = BUFFER_INIT(MOST);
    for (int round = 0; round < 200; round++) {
        char name[20], sql[60];
        uint32_t types[8];
        uint16_t count = (uint16_t)random_below(&random, 8);
        random_text(&random, name, sizeof name);
        random_text(&random, sql, sizeof sql);
        for (uint16_t i = 0; i < count; i++)
            types[i] = (uint32_t)random_bits(&random);
        buffer_clear(&out);
        wire_parse(&out, name, sql, strlen(sql), types, count);
        struct wire_frame frame = frame_of(out.data, out.size);
        struct wire_parse parse;
        assert_int_equal(frame.size, out.size);
        assert_true(wire_read_parse(out.data, &frame, &parse));
        assert_string_equal(parse.name, name);
        assert_string_equal(parse.sql, sql);
        assert_int_equal(parse.type_count, count);
        for (uint16_t i = 0; i < count; i++)
            assert_int_equal(wire_get32(parse.types + 4 * i), types[i]);
        cuts_are_refused(&out, reads_parse);
    }
    buffer_free(&out);
}

struct model_bind {
    char portal[10], statement[10];
    uint16_t formats, values, results;
    int16_t format[6];
    int32_t size[6];
    char data[6][30];
};

static void write_bind(struct random *random, struct model_bind *model, struct buffer *out)
{
    random_text(random, model->portal, sizeof model->portal);
    random_text(random, model->statement, sizeof model->statement);
    model->values = (uint16_t)random_below(random, 6);
    model->formats = (uint16_t[]){0, 1, model->values}[random_below(random, 3)];
    model->results = (uint16_t)random_below(random, 4);
    size_t at = wire_begin(out, 'B');
    wire_text(out, model->portal);
    wire_text(out, model->statement);
    wire_16(out, model->formats);
    for (uint16_t i = 0; i < model->formats; i++)
        wire_16(out, (uint16_t)(model->format[i] = (int16_t)random_below(random, 2)));
    wire_16(out, model->values);
    for (uint16_t i = 0; i < model->values; i++) {
        random_text(random, model->data[i], sizeof model->data[i]);
        model->size[i] = random_below(random, 3) ? (int32_t)strlen(model->data[i]) : -1;
        wire_32(out, (uint32_t)model->size[i]);
        if (model->size[i] > 0)
            buffer_add(out, model->data[i], (size_t)model->size[i]);
    }
    wire_16(out, model->results);
    for (uint16_t i = 0; i < model->results; i++)
        wire_16(out, i);
    wire_end(out, at);
}

static void random_binds(void **state)
{
    (void)state;
    struct random random = random_start();
    struct buffer out = BUFFER_INIT(MOST);
    for (int round = 0; round < 200; round++) {
        struct model_bind model = {0};
        struct wire_bind bind;
        struct wire_value value;
        buffer_clear(&out);
        write_bind(&random, &model, &out);
        struct wire_frame frame = frame_of(out.data, out.size);
        assert_true(wire_read_bind(out.data, &frame, &bind));
        assert_string_equal(bind.portal, model.portal);
        assert_string_equal(bind.statement, model.statement);
        const char *at = bind.values;
        for (uint16_t i = 0; i < model.values; i++) {
            assert_true(wire_bind_value(&bind, i, &at, &value));
            assert_int_equal(value.size, model.size[i]);
            assert_int_equal(value.format, model.formats == 0 ? 0 : model.format[model.formats == 1 ? 0 : i]);
            if (value.size > 0)
                assert_memory_equal(value.data, model.data[i], value.size);
        }
        assert_false(wire_bind_value(&bind, model.values, &at, &value));
        assert_int_equal(bind.result_count, model.results);
        bind_begun(&out, &bind);
        cuts_are_refused(&out, reads_bind);
    }
    buffer_free(&out);
}

static void named_messages(void **state)
{
    (void)state;
    struct wire_named named;
    struct wire_frame frame = frame_of(BYTES("E\0\0\0\xapo\0\0\0\0"));
    assert_false(wire_read_named("E\0\0\0\xapo\0\0\0\0", &frame, &named));
    frame = frame_of(BYTES("E\0\0\0\xbpo\0\0\0\0\7"));
    assert_true(wire_read_named("E\0\0\0\xbpo\0\0\0\0\7", &frame, &named));
    assert_int_equal(named.kind, 'P');
    assert_string_equal(named.name, "po");
    assert_int_equal(named.rows, 7);
    frame = frame_of(BYTES("C\0\0\0\x7Ss\0"));
    assert_true(wire_read_named("C\0\0\0\x7Ss\0", &frame, &named));
    assert_int_equal(named.kind, 'S');
    assert_string_equal(named.name, "s");
    assert_false(wire_read_named("C\0\0\0\x7Xs\0", &frame, &named));
    assert_false(wire_read_named("C\0\0\0\x7Sss", &frame, &named));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(startup_parameters),
        cmocka_unit_test(startup_of_other_versions),
        cmocka_unit_test(startup_requests),
        cmocka_unit_test(startup_refused),
        cmocka_unit_test(lengths),
        cmocka_unit_test(names),
        cmocka_unit_test(bind_examples),
        cmocka_unit_test(bind_refused),
        cmocka_unit_test(errors),
        cmocka_unit_test(an_error_that_has_only_begun),
        cmocka_unit_test(sasl),
        cmocka_unit_test(written),
        cmocka_unit_test(columns_are_walked),
        cmocka_unit_test(failures_stick),
        cmocka_unit_test(random_parses),
        cmocka_unit_test(random_binds),
        cmocka_unit_test(named_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
