/* The splitter for COPY's binary format: examples at every split, and random bytes against a simple reader. */
#include "copy/binary.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

struct stream {
    unsigned char bytes[4096];
    size_t size;
};

static void put(struct stream *stream, const void *bytes, size_t size)
{
    assert_true(stream->size + size <= sizeof stream->bytes);
    if (size)
        memcpy(stream->bytes + stream->size, bytes, size);
    stream->size += size;
}

static void put_number(struct stream *stream, uint32_t number, int size)
{
    for (int shift = 8 * (size - 1); shift >= 0; shift -= 8)
        put(stream, (unsigned char[]){(unsigned char)(number >> shift)}, 1);
}

static void put_field(struct stream *stream, const char *text)
{
    put_number(stream, text ? (uint32_t)strlen(text) : UINT32_MAX, 4);
    if (text)
        put(stream, text, strlen(text));
}

static struct stream good_stream(void)
{
    struct stream stream = {.size = 0};
    put(&stream, binary_header, 15);
    put_number(&stream, 3, 4); /* an extension to be skipped */
    put(&stream, "ext", 3);
    put_number(&stream, 2, 2);
    put_field(&stream, "first");
    put_field(&stream, NULL);
    put_number(&stream, 2, 2);
    put_field(&stream, "");
    put_field(&stream, "key");
    put(&stream, binary_trailer, 2);
    return stream;
}

/* Feeds `piece` more bytes each time; the key (field 1) of each row is joined into keys as "|key" or "|NULL". */
static enum copy_result feed(struct copy_splitter *splitter, const struct stream *stream, size_t piece, char *keys,
                             size_t *count)
{
    struct copy_row row_memory[2];
    struct copy_slice key_memory[2];
    struct copy_rows rows = {row_memory, key_memory, 2, 0};
    enum copy_result result = COPY_MORE;
    size_t from = 0, to = 0;
    *count = 0;
    keys[0] = '\0';
    while (result == COPY_MORE || result == COPY_FULL) {
        size_t consumed;
        if (result == COPY_MORE)
            to = stream->size - to > piece ? to + piece : stream->size;
        unsigned char *bytes = malloc(to - from + 1);
        assert_non_null(bytes);
        memcpy(bytes, stream->bytes + from, to - from);
        result = copy_split(splitter, (char *)bytes, to - from, to == stream->size, &rows, &consumed);
        for (size_t i = 0; i < rows.count; i++, ++*count) {
            struct copy_slice key = key_memory[i];
            bool missing = key.start == UINT32_MAX, null = !missing && key.start > key.end;
            size_t used = strlen(keys);
            if (used < 200)
                snprintf(keys + used, 256 - used, "|%.*s", missing || null ? 4 : (int)(key.end - key.start) % 40,
                         missing ? "NONE"
                         : null  ? "NULL"
                                 : (char *)bytes + key.start);
        }
        assert_true(consumed <= to - from);
        free(bytes);
        from += consumed;
    }
    return result;
}

static struct copy_splitter new_splitter(size_t fields, size_t limit)
{
    struct copy_format format = {.kind = MOSAIC_BINARY, .row_limit = limit};
    assert_int_equal(copy_format_check(&format, NULL), MOSAIC_OK);
    struct copy_splitter splitter = {.format = format};
    copy_splitter_columns(&splitter, fields, (const size_t[]){1}, 1);
    return splitter;
}

static void rows_and_keys(void **state)
{
    (void)state;
    struct stream stream = good_stream();
    for (size_t piece = 1; piece <= stream.size; piece++) {
        struct copy_splitter splitter = new_splitter(2, 0);
        char keys[256];
        size_t count;
        assert_int_equal(feed(&splitter, &stream, piece, keys, &count), COPY_END);
        assert_int_equal(count, 2);
        assert_string_equal(keys, "|NULL|key");
    }
}

static void broken_streams(void **state)
{
    (void)state;
    for (size_t cut = 0; cut < good_stream().size; cut++) {
        struct stream stream = good_stream();
        struct copy_splitter splitter = new_splitter(2, 0);
        char keys[256];
        size_t count;
        stream.size = cut;
        assert_int_equal(feed(&splitter, &stream, 7, keys, &count), COPY_BROKEN);
        assert_non_null(splitter.broken);
    }
}

static void expect_broken(size_t at, unsigned char byte)
{
    struct stream stream = good_stream();
    struct copy_splitter splitter = new_splitter(2, 100);
    char keys[256];
    size_t count;
    stream.bytes[at] = byte;
    assert_int_equal(feed(&splitter, &stream, stream.size, keys, &count), COPY_BROKEN);
    assert_non_null(splitter.broken);
}

static void wrong_bytes(void **state)
{
    (void)state;
    expect_broken(0, 'p');   /* signature */
    expect_broken(12, 1);    /* OIDs, or another critical flag */
    expect_broken(15, 0x7F); /* a very long extension */
    expect_broken(22, 0x80); /* a negative number of fields */
    expect_broken(24, 0x80); /* a negative length */
    expect_broken(24, 0x01); /* a length of megabytes */
}

static void wrong_number_of_fields(void **state)
{
    (void)state;
    struct stream stream = good_stream();
    struct copy_splitter splitter = new_splitter(3, 0);
    struct copy_row row[4];
    struct copy_slice keys[4];
    struct copy_rows rows = {row, keys, 4, 0};
    size_t consumed;
    assert_int_equal(copy_split(&splitter, (char *)stream.bytes, stream.size, true, &rows, &consumed), COPY_END);
    assert_int_equal(rows.count, 2);
    assert_int_equal(row[0].bad, COPY_BAD_FEW);
    assert_int_equal(row[1].line, 2);
}

/* Random damage never reads outside (ASan), never loops, and is the same at every piece size. */
static void random_damage(void **state)
{
    (void)state;
    const char *given = getenv("SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    printf("SEED=%u\n", seed);
    srand(seed);
    for (int round = 0; round < 3000; round++) {
        struct stream stream = good_stream();
        for (int damage = rand() % 4; damage > 0; damage--)
            stream.bytes[(size_t)rand() % stream.size] = (unsigned char)(rand() % 3 ? rand() % 6 : rand());
        char keys[2][256];
        size_t count[2];
        struct copy_splitter whole = new_splitter(2, 200), pieces = new_splitter(2, 200);
        enum copy_result one = feed(&whole, &stream, stream.size, keys[0], &count[0]);
        enum copy_result two = feed(&pieces, &stream, 1 + (size_t)(rand() % 9), keys[1], &count[1]);
        assert_int_equal(one, two);
        assert_int_equal(count[0], count[1]);
        assert_string_equal(keys[0], keys[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_and_keys),          cmocka_unit_test(broken_streams), cmocka_unit_test(wrong_bytes),
        cmocka_unit_test(wrong_number_of_fields), cmocka_unit_test(random_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
