/*
 * Runs a fuzzer where libFuzzer is not linked: first every file of the corpus, then mutations of them for some seconds.
 *
 *     fuzz_key --seconds 10 tests/fuzz/corpus/key        FUZZ_SEED=… repeats a run
 *     fuzz_key FILE                                      runs one input
 *
 * There is no coverage feedback: a good corpus matters. Each input lies in a block of its own of exactly its size, so
 * that AddressSanitizer sees a read past its end. An input that crashes is left in ./crash-<fuzzer>, one that takes
 * over five seconds too.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { INPUTS_MOST = 4096, INPUT_SIZE_MOST = 1 << 20, MUTANT_SIZE_MOST = 1 << 16, HANG_SECONDS = 5 };

struct input {
    uint8_t *data;
    size_t size;
};

static struct input inputs[INPUTS_MOST];
static size_t input_count;
static uint64_t random_state;
static char crash_path[256];
static const uint8_t *running;
static size_t running_size;

/* xorshift64*: small, and the same everywhere for one seed. */
static uint64_t random_next(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * UINT64_C(2685821657736338717);
}

static size_t random_below(size_t limit)
{
    return limit ? (size_t)(random_next() % limit) : 0;
}

static void save_running(int signal_number)
{
    int file = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (file >= 0) {
        ssize_t written = write(file, running, running_size);
        (void)written;
        close(file);
    }
    static const char note[] = "\nfuzz driver: the input that failed is in ./crash-*\n";
    ssize_t written = write(2, note, sizeof note - 1);
    (void)written;
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        return;
    if (size)
        memcpy(copy, data, size);
    running = copy;
    running_size = size;
    alarm(HANG_SECONDS);
    LLVMFuzzerTestOneInput(copy, size);
    alarm(0);
    running_size = 0;
    free(copy);
}

static bool read_input(const char *path)
{
    if (input_count >= INPUTS_MOST)
        return true; /* enough to mutate */
    struct input *input = &inputs[input_count];
    FILE *file = fopen(path, "rb");
    input->data = file ? malloc(INPUT_SIZE_MOST) : NULL;
    if (!input->data)
        return false;
    input->size = fread(input->data, 1, INPUT_SIZE_MOST, file);
    fclose(file);
    uint8_t *fitted = realloc(input->data, input->size ? input->size : 1);
    if (fitted)
        input->data = fitted;
    input_count++;
    return true;
}

static bool read_corpus(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return false;
    if (!S_ISDIR(status.st_mode))
        return read_input(path);
    DIR *folder = opendir(path);
    struct dirent *entry;
    while (folder && (entry = readdir(folder))) {
        char file[4096];
        if (entry->d_name[0] != '.' && snprintf(file, sizeof file, "%s/%s", path, entry->d_name) < (int)sizeof file)
            read_input(file);
    }
    return folder && closedir(folder) == 0;
}

static size_t insert(uint8_t *data, size_t size, size_t at, const uint8_t *piece, size_t piece_size)
{
    if (size + piece_size > MUTANT_SIZE_MOST)
        return size;
    memmove(data + at + piece_size, data + at, size - at);
    memcpy(data + at, piece, piece_size);
    return size + piece_size;
}

static size_t erase(uint8_t *data, size_t size, size_t at, size_t count)
{
    count = count > size - at ? size - at : count;
    memmove(data + at, data + at + count, size - at - count);
    return size - count;
}

/* Bytes and words that parsers trip over. */
static const char *const telling[] = {"\"",
                                      "\"\"",
                                      ",",
                                      "\r\n",
                                      "\n",
                                      "\r",
                                      "\\.",
                                      "\\",
                                      "\t",
                                      "'",
                                      "-",
                                      "+",
                                      ".",
                                      "e",
                                      "0",
                                      "9",
                                      "99999999999999999999",
                                      "NaN",
                                      "infinity",
                                      "\xff\xff\xff\xff",
                                      "\x7f\xff",
                                      "\x80",
                                      "\xed\xa0\x80",
                                      "\xf0\x9f\x98\x80",
                                      ":",
                                      "{",
                                      "}",
                                      "[",
                                      "]",
                                      "&a",
                                      "*a",
                                      " ",
                                      "BC",
                                      "\\x",
                                      "\\N",
                                      "PGCOPY\n\xff\r\n"};

static size_t mutate_once(uint8_t *data, size_t size)
{
    size_t at = random_below(size + 1);
    uint8_t byte = (uint8_t)random_next();
    switch (random_below(8)) {
    case 0: /* flip a bit */
        if (at < size)
            data[at] ^= (uint8_t)(1u << random_below(8));
        return size;
    case 1:
        if (at < size)
            data[at] = byte;
        return size;
    case 2:
        return insert(data, size, at, &byte, 1);
    case 3:
        return erase(data, size, at, 1 + random_below(8));
    case 4: { /* part of another input */
        const struct input *other = &inputs[random_below(input_count)];
        size_t from = random_below(other->size), most = other->size - from;
        return insert(data, size, at, other->data + from, random_below((most < 64 ? most : 64) + 1));
    }
    case 5: { /* double a part */
        uint8_t piece[64];
        size_t most = size - at < sizeof piece ? size - at : sizeof piece, count = random_below(most + 1);
        memcpy(piece, data + at, count);
        return insert(data, size, at, piece, count);
    }
    case 6:
        return erase(data, size, at, size); /* cut off the end */
    default: {
        const char *word = telling[random_below(sizeof telling / sizeof telling[0])];
        return insert(data, size, at, (const uint8_t *)word, strlen(word));
    }
    }
}

static unsigned long mutate_for(int seconds)
{
    static uint8_t mutant[MUTANT_SIZE_MOST];
    unsigned long runs = 0;
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        for (int i = 0; i < 100; i++, runs++) {
            const struct input *input = &inputs[random_below(input_count)];
            size_t size = input->size < MUTANT_SIZE_MOST ? input->size : MUTANT_SIZE_MOST;
            memcpy(mutant, input->data, size);
            for (size_t changes = 1 + random_below(6); changes > 0; changes--)
                size = mutate_once(mutant, size);
            run(mutant, size);
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec - start.tv_sec < seconds);
    return runs;
}

static uint64_t choose_seed(void)
{
    const char *given = getenv("FUZZ_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();
    return seed ? seed : 1;
}

int main(int count, char **arguments)
{
    const char *name = strrchr(arguments[0], '/') ? strrchr(arguments[0], '/') + 1 : arguments[0];
    int seconds = 0;
    for (int i = 1; i < count; i++) {
        if (strcmp(arguments[i], "--seconds") == 0 && i + 1 < count) {
            seconds = atoi(arguments[++i]);
        } else if (!read_corpus(arguments[i])) {
            fprintf(stderr, "%s: can't read %s: %s\n", name, arguments[i], strerror(errno));
            return 2;
        }
    }
    if (input_count == 0) {
        fprintf(stderr, "usage: %s [--seconds N] CORPUS-FOLDER-OR-FILE...\n", name);
        return 2;
    }
    random_state = choose_seed();
    printf("%s: %zu inputs, FUZZ_SEED=%" PRIu64 "\n", name, input_count, random_state);
    fflush(stdout);
    snprintf(crash_path, sizeof crash_path, "crash-%s", name);
    signal(SIGABRT, save_running);
    signal(SIGSEGV, save_running);
    signal(SIGALRM, save_running);
    for (size_t i = 0; i < input_count; i++)
        run(inputs[i].data, inputs[i].size);
    unsigned long runs = seconds > 0 ? mutate_for(seconds) : 0;
    printf("%s: %lu mutated inputs, none failed\n", name, runs);
    for (size_t i = 0; i < input_count; i++)
        free(inputs[i].data);
    return 0;
}
