#include "story.h"

#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int is_colourful(void)
{
    const char *no_color = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return isatty(1) && (!no_color || !*no_color) && !(terminal && strcmp(terminal, "dumb") == 0);
}

void story_heading(const char *text)
{
    printf(is_colourful() ? "\033[1m%s\033[0m\n" : "%s\n", text);
}

void story_line(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("   ", stdout);
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
    fflush(stdout); /* the next step may take a while */
}

const char *story_count(uint64_t count)
{
    static char texts[8][32];
    static unsigned next;
    char digits[24], *text = texts[next++ % 8];
    int size = snprintf(digits, sizeof digits, "%llu", (unsigned long long)count);
    char *out = text;
    for (int i = 0; i < size; i++) {
        if (i > 0 && (size - i) % 3 == 0)
            *out++ = ',';
        *out++ = digits[i];
    }
    *out = '\0';
    return text;
}

void story_bar(const char *name, uint64_t rows, uint64_t most, uint64_t bytes)
{
    enum { WIDTH = 32 };
    char bar[3 * WIDTH + 1], *end = bar;
    uint64_t filled = most ? (rows * WIDTH + most / 2) / most : 0;
    for (uint64_t i = 0; i < filled; i++, end += 3)
        memcpy(end, "\u2588", 3);
    *end = '\0';
    char size[32] = "";
    if (bytes)
        snprintf(size, sizeof size, "   %.1f MiB", (double)bytes / (1024 * 1024));
    story_line("%-4s %s%*s %9s rows%s", name, bar, (int)(WIDTH - filled), "", story_count(rows), size);
}

void story_fail(const char *doing, const mosaic_error *error)
{
    fflush(stdout);
    fprintf(stderr, "%s: %s\n", doing, error->message);
    if (error->detail[0])
        fprintf(stderr, "  detail: %s\n", error->detail);
    if (error->hint[0])
        fprintf(stderr, "  hint: %s\n", error->hint);
    exit(1);
}

static void run_pgmosaic(const char *const *arguments, int is_quiet)
{
    enum { MOST = 16 };
    const char *command = getenv("PGMOSAIC"), *all[MOST] = {command ? command : "pgmosaic"};
    for (int i = 0; arguments[i] && i < MOST - 2; i++)
        all[i + 1] = arguments[i];

    posix_spawn_file_actions_t quiet;
    posix_spawn_file_actions_init(&quiet);
    if (is_quiet)
        posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", 1 /* O_WRONLY */, 0);
    pid_t child;
    int status = -1;
    if (posix_spawnp(&child, all[0], &quiet, NULL, (char *const *)all, environ) == 0)
        waitpid(child, &status, 0);
    posix_spawn_file_actions_destroy(&quiet);
    if (status != 0) {
        fprintf(stderr, "%s %s failed\n", all[0], arguments[0]);
        exit(1);
    }
}

void story_pgmosaic(const char *const *arguments)
{
    run_pgmosaic(arguments, 1);
}

void story_show_pgmosaic(const char *const *arguments)
{
    fflush(stdout);
    run_pgmosaic(arguments, 0);
}

void story_column(int cell, const char *format, ...)
{
    static int open_line;
    if (cell < 0) {
        if (open_line)
            putchar('\n');
        open_line = 0;
        return;
    }
    char text[128];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    open_line = cell % 2 == 0;
    printf(open_line ? "     %-56s" : " %s\n", text);
}

void story_what_next(const char *table, const char *first, const char *second)
{
    const char *command = getenv("PGMOSAIC"), *config = getenv("PGMOSAIC_CONFIG"), *lab = getenv("PGDATABASE");
    char start[1024];
    command = command ? command : "pgmosaic";
    if (config && lab && strcmp(lab, "demo") != 0)
        snprintf(start, sizeof start, "PGMOSAIC_CONFIG='%s' %s", config, command);
    else
        snprintf(start, sizeof start, "%s", command); /* it finds the lab `demo` by itself */
    story_heading("Try next");
    story_line("%s %s", start, first);
    story_line("%s %s", start, second);
    story_line("%s export %s --with-shard | head", start, table);
}

double story_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}
