#define _GNU_SOURCE /* memmem */
#include "sql/scan.h"

#include "base/memory.h"

#include <string.h>

enum {
    COMMENTS_DEEP = 16,    /* nested comments */
    OPERATOR_LONGEST = 63, /* NAMEDATALEN - 1: PostgreSQL refuses longer ones */
};

/* What a character can start. */
enum start {
    START_OTHER, /* stands alone, or is nothing: the parser says so */
    START_BLANK,
    START_IDENT,
    START_DIGIT,
    START_OPERATOR,
    START_QUOTE,  /* ' */
    START_DOUBLE, /* " */
    START_DOLLAR,
    START_DOT,
    START_BAD, /* control characters */
};

/* Filled by hand: 0x00-0x1f, then ASCII, then bytes of UTF-8, which are letters. */
static const unsigned char starts[256] = {
    [0 ... 0x08] = START_BAD,    [0x0b] = START_BAD,     [0x0e ... 0x1f] = START_BAD,
    ['\t'] = START_BLANK,        ['\n'] = START_BLANK,   ['\r'] = START_BLANK,
    ['\f'] = START_BLANK,        [' '] = START_BLANK,    ['A' ... 'Z'] = START_IDENT,
    ['a' ... 'z'] = START_IDENT, ['_'] = START_IDENT,    [0x80 ... 0xff] = START_IDENT,
    ['0' ... '9'] = START_DIGIT, ['\''] = START_QUOTE,   ['"'] = START_DOUBLE,
    ['$'] = START_DOLLAR,        ['.'] = START_DOT,      ['~'] = START_OPERATOR,
    ['!'] = START_OPERATOR,      ['@'] = START_OPERATOR, ['#'] = START_OPERATOR,
    ['^'] = START_OPERATOR,      ['&'] = START_OPERATOR, ['|'] = START_OPERATOR,
    ['`'] = START_OPERATOR,      ['?'] = START_OPERATOR, ['+'] = START_OPERATOR,
    ['-'] = START_OPERATOR,      ['*'] = START_OPERATOR, ['/'] = START_OPERATOR,
    ['%'] = START_OPERATOR,      ['<'] = START_OPERATOR, ['>'] = START_OPERATOR,
    ['='] = START_OPERATOR,      [0x7f] = START_BAD,
};

struct scanner {
    struct scan *scan;
    const char *text;
    size_t size, at;
    size_t copied; /* of the text, into the shape */
    bool memory_out;
};

static unsigned char byte_at(const struct scanner *scanner, size_t at)
{
    return at < scanner->size ? (unsigned char)scanner->text[at] : 0;
}

static bool starts_with(const struct scanner *scanner, size_t at, enum start start)
{
    return at < scanner->size && starts[(unsigned char)scanner->text[at]] == start;
}

/* Where the characters of these classes (a bit each) end that stand at `at`. */
static size_t end_of(const struct scanner *scanner, size_t at, unsigned classes)
{
    const char *text = scanner->text;
    size_t size = scanner->size;
    while (at < size && classes >> starts[(unsigned char)text[at]] & 1)
        at++;
    return at;
}

static bool cannot_at_all(struct scanner *scanner, size_t at, const char *why)
{
    scanner->scan->cannot_is_costly = true;
    scanner->scan->cannot = why;
    scanner->scan->cannot_at = at;
    return false;
}

/* Always false, to be returned. */
static bool cannot(struct scanner *scanner, size_t at, const char *why)
{
    scanner->scan->cannot = why;
    scanner->scan->cannot_at = at;
    return false;
}

static bool grow(void **memory, size_t *capacity, size_t wanted, size_t item)
{
    if (wanted <= *capacity)
        return true;
    size_t larger = *capacity ? *capacity : 64;
    while (larger < wanted)
        larger *= 2;
    void *resized = memory_resize(*memory, larger * item);
    if (!resized)
        return false;
    *memory = resized, *capacity = larger;
    return true;
}

/* Copies the text up to `end` into the shape. */
static bool copy_until(struct scanner *scanner, size_t end)
{
    struct scan *scan = scanner->scan;
    size_t size = end - scanner->copied;
    if (!grow((void **)&scan->shape, &scan->shape_capacity, scan->shape_size + size + 1, 1))
        return scanner->memory_out = true, false;
    memcpy(scan->shape + scan->shape_size, scanner->text + scanner->copied, size);
    scan->shape_size += size;
    return true;
}

static bool add_literal(struct scanner *scanner, size_t start, size_t end, enum literal_class class)
{
    struct scan *scan = scanner->scan;
    if (!grow((void **)&scan->literals, &scan->capacity, scan->count + 1, sizeof *scan->literals))
        return scanner->memory_out = true, false;
    if (!copy_until(scanner, start))
        return false;
    scan->shape[scan->shape_size++] = (char)class;
    scan->literals[scan->count++] = (struct scan_literal){(uint32_t)start, (uint32_t)(end - start), class};
    scanner->at = scanner->copied = end;
    return true;
}

static bool skip_line_comment(struct scanner *scanner)
{
    while (scanner->at < scanner->size && scanner->text[scanner->at] != '\n' && scanner->text[scanner->at] != '\r')
        scanner->at++;
    return true;
}

static bool skip_comment(struct scanner *scanner)
{
    size_t start = scanner->at;
    int depth = 0;
    while (scanner->at < scanner->size) {
        unsigned char c = byte_at(scanner, scanner->at), next = byte_at(scanner, scanner->at + 1);
        if (c == '/' && next == '*') {
            if (++depth > COMMENTS_DEEP)
                return cannot_at_all(scanner, start, "comments are nested too deeply");
            scanner->at += 2;
        } else if (c == '*' && next == '/') {
            scanner->at += 2;
            if (!--depth)
                return true;
        } else {
            scanner->at++;
        }
    }
    return cannot(scanner, start, "unterminated /* comment");
}

static bool is_comment(const struct scanner *scanner, size_t at)
{
    unsigned char c = byte_at(scanner, at), next = byte_at(scanner, at + 1);
    return (c == '-' && next == '-') || (c == '/' && next == '*');
}

static bool skip_operator(struct scanner *scanner)
{
    if (byte_at(scanner, scanner->at) == '-' && byte_at(scanner, scanner->at + 1) == '-')
        return skip_line_comment(scanner);
    if (byte_at(scanner, scanner->at) == '/' && byte_at(scanner, scanner->at + 1) == '*')
        return skip_comment(scanner);
    size_t start = scanner->at;
    while (starts_with(scanner, scanner->at, START_OPERATOR) && !is_comment(scanner, scanner->at))
        scanner->at++;
    return scanner->at - start <= OPERATOR_LONGEST || cannot_at_all(scanner, start, "operator too long");
}

/* After a closing quote: does the string go on on the next line? ('a' newline 'b' is 'ab') */
static bool is_continued(const struct scanner *scanner, size_t at)
{
    bool newline = false;
    while (at < scanner->size) {
        if (starts_with(scanner, at, START_BLANK)) {
            newline |= scanner->text[at] == '\n' || scanner->text[at] == '\r';
            at++;
        } else if (byte_at(scanner, at) == '-' && byte_at(scanner, at + 1) == '-') {
            while (at < scanner->size && scanner->text[at] != '\n' && scanner->text[at] != '\r')
                at++;
        } else {
            return newline && scanner->text[at] == '\'';
        }
    }
    return false;
}

/* A quoted token from `start` on whose opening quote is at `quote`. */
static bool take_string(struct scanner *scanner, size_t start, size_t quote, enum literal_class class)
{
    size_t at = quote + 1;
    bool escapes = class == LITERAL_ESCAPED;
    for (;; at++) {
        const char *found = escapes ? NULL : memchr(scanner->text + at, '\'', scanner->size - at);
        if (!escapes && !found)
            return cannot(scanner, start, "unterminated quoted string");
        if (found)
            at = (size_t)(found - scanner->text);
        if (at >= scanner->size)
            return cannot(scanner, start, "unterminated quoted string");
        if (escapes && scanner->text[at] == '\\')
            at++;
        else if (scanner->text[at] == '\'' && byte_at(scanner, at + 1) == '\'' && class != LITERAL_BITS)
            at++;
        else if (scanner->text[at] == '\'')
            break;
    }
    if (is_continued(scanner, at + 1))
        return cannot(scanner, start, "a string that goes on on the next line");
    return add_literal(scanner, start, at + 1, class);
}

static bool skip_quoted_identifier(struct scanner *scanner)
{
    size_t start = scanner->at++;
    for (; scanner->at < scanner->size; scanner->at++) {
        if (scanner->text[scanner->at] != '"')
            continue;
        if (byte_at(scanner, scanner->at + 1) != '"')
            return scanner->at++, true;
        scanner->at++;
    }
    return cannot(scanner, start, "unterminated quoted identifier");
}

static bool skip_identifier(struct scanner *scanner)
{
    size_t start = scanner->at;
    unsigned char next = byte_at(scanner, start + 1);
    if (next == '\'') {
        switch (scanner->text[start]) {
        case 'e':
        case 'E':
            return take_string(scanner, start, start + 1, LITERAL_ESCAPED);
        case 'b':
        case 'B':
        case 'x':
        case 'X':
            return take_string(scanner, start, start + 1, LITERAL_BITS);
        case 'n':
        case 'N':
            return take_string(scanner, start, start + 1, LITERAL_NATIONAL);
        default:
            break;
        }
    }
    if (next == '&' && (scanner->text[start] | 0x20) == 'u') {
        unsigned char quote = byte_at(scanner, start + 2);
        if (quote == '\'' || quote == '"')
            return cannot(scanner, start, "a string with Unicode escapes (U&)");
    }
    scanner->at = end_of(scanner, start, 1 << START_IDENT | 1 << START_DIGIT | 1 << START_DOLLAR);
    return true;
}

static void skip_digits(struct scanner *scanner)
{
    scanner->at = end_of(scanner, scanner->at, 1 << START_DIGIT);
}

static bool take_number(struct scanner *scanner)
{
    size_t start = scanner->at;
    enum literal_class class = LITERAL_INTEGER;
    skip_digits(scanner);
    /* 1..10 is an integer and two dots. */
    if (byte_at(scanner, scanner->at) == '.' && byte_at(scanner, scanner->at + 1) != '.') {
        class = LITERAL_DECIMAL;
        scanner->at++;
        skip_digits(scanner);
    }
    if ((byte_at(scanner, scanner->at) | 0x20) == 'e') {
        unsigned char sign = byte_at(scanner, scanner->at + 1);
        scanner->at += sign == '+' || sign == '-' ? 2 : 1;
        if (!starts_with(scanner, scanner->at, START_DIGIT))
            return cannot(scanner, start, "trailing junk after numeric literal");
        skip_digits(scanner);
        class = LITERAL_DECIMAL;
    }
    if (starts_with(scanner, scanner->at, START_IDENT))
        return cannot(scanner, start, "trailing junk after numeric literal");
    return add_literal(scanner, start, scanner->at, class);
}

static bool take_dollar(struct scanner *scanner)
{
    size_t start = scanner->at, at = start + 1;
    if (starts_with(scanner, at, START_DIGIT)) {
        scanner->at++;
        skip_digits(scanner);
        return !starts_with(scanner, scanner->at, START_IDENT) ||
               cannot(scanner, start, "trailing junk after parameter");
    }
    if (starts_with(scanner, at, START_IDENT))
        while (starts_with(scanner, at, START_IDENT) || starts_with(scanner, at, START_DIGIT))
            at++;
    if (byte_at(scanner, at) != '$')
        return cannot(scanner, start, "a dollar sign that starts nothing");
    size_t tag = at + 1 - start;
    const char *found = memmem(scanner->text + start + tag, scanner->size - start - tag, scanner->text + start, tag);
    if (!found)
        return cannot(scanner, start, "unterminated dollar-quoted string");
    return add_literal(scanner, start, (size_t)(found - scanner->text) + tag, LITERAL_DOLLAR);
}

static bool take_token(struct scanner *scanner)
{
    switch ((enum start)starts[(unsigned char)scanner->text[scanner->at]]) {
    case START_BLANK:
        return scanner->at++, true;
    case START_IDENT:
        return skip_identifier(scanner);
    case START_DIGIT:
        return take_number(scanner);
    case START_OPERATOR:
        return skip_operator(scanner);
    case START_QUOTE:
        return take_string(scanner, scanner->at, scanner->at, LITERAL_STRING);
    case START_DOUBLE:
        return skip_quoted_identifier(scanner);
    case START_DOLLAR:
        return take_dollar(scanner);
    case START_DOT:
        if (!starts_with(scanner, scanner->at + 1, START_DIGIT))
            return scanner->at++, true;
        if (scanner->at && scanner->text[scanner->at - 1] == '.')
            return cannot(scanner, scanner->at, "dots before a number");
        return take_number(scanner);
    case START_BAD:
        return cannot(scanner, scanner->at, "a control character");
    case START_OTHER:
    default:
        return scanner->at++, true;
    }
}

bool scan_text(struct scan *scan, const char *text, size_t size)
{
    struct scanner scanner = {scan, text, size, 0, 0, false};
    scan->count = scan->shape_size = scan->tokens = 0;
    scan->cannot = NULL, scan->cannot_is_costly = false;
    if (size > SCAN_BYTES_MOST)
        return cannot_at_all(&scanner, 0, "the text is too long"), true;
    while (scanner.at < size) {
        scan->tokens++;
        if (!take_token(&scanner))
            return !scanner.memory_out;
        if (scan->tokens > SCAN_TOKENS_MOST * 2) /* blanks are counted too */
            return cannot_at_all(&scanner, scanner.at, "the text has too many tokens"), true;
    }
    return copy_until(&scanner, size);
}

void scan_free(struct scan *scan)
{
    memory_free(scan->literals);
    memory_free(scan->shape);
    *scan = SCAN_INIT;
}

static bool undouble(const char *text, size_t length, struct arena *arena, const char **data, size_t *size)
{
    *data = text, *size = length;
    if (!memchr(text, '\'', length))
        return true;
    char *copy = arena_allocate(arena, length);
    if (!copy)
        return false;
    size_t count = 0;
    for (size_t i = 0; i < length; i++) {
        copy[count++] = text[i];
        i += text[i] == '\'';
    }
    *data = copy, *size = count;
    return true;
}

/* E'': the simple escapes. Numbers and Unicode are left alone: a key that is written so is not worth the risk. */
static bool unescape(const char *text, size_t length, struct arena *arena, const char **data, size_t *size)
{
    char *copy = arena_allocate(arena, length + 1);
    if (!copy)
        return false;
    size_t count = 0;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c == '\'') {
            i++;
        } else if (c == '\\') {
            static const char letters[] = "bfnrtxuUv", values[] = "\b\f\n\r\t";
            c = text[++i];
            const char *letter = memchr(letters, c, sizeof letters - 1);
            if ((c >= '0' && c <= '7') || (letter && letter - letters > 4))
                return false;
            if (letter)
                c = values[letter - letters];
        }
        copy[count++] = c;
    }
    *data = copy, *size = count;
    return true;
}

bool scan_content(const struct scan_literal *literal, const char *text, struct arena *arena, const char **data,
                  size_t *size)
{
    const char *start = text + literal->start;
    switch (literal->class) {
    case LITERAL_INTEGER:
    case LITERAL_DECIMAL:
        *data = start, *size = literal->length;
        return true;
    case LITERAL_STRING:
        return undouble(start + 1, literal->length - 2, arena, data, size);
    case LITERAL_ESCAPED:
        return unescape(start + 2, literal->length - 3, arena, data, size);
    case LITERAL_DOLLAR: {
        size_t tag = (size_t)((const char *)memchr(start + 1, '$', literal->length - 1) - start) + 1;
        *data = start + tag, *size = literal->length - 2 * tag;
        return true;
    }
    case LITERAL_NATIONAL:
    case LITERAL_BITS:
    case LITERAL_NONE:
    default:
        return false;
    }
}
