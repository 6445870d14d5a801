/* pgmosaic apply: shows what a config would change on the shards, asks, and does it. */
#include "cli/command.h"
#include "cli/context.h"
#include "cli/output.h"
#include "config/config.h"
#include "engine/engine.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CONNECT_MS = 5000, LOOK_MS = 60000 };

static void say(void *context, const char *line)
{
    (void)context;
    fprintf(stderr, "%s\n", line);
}

static void print_findings(const struct apply_view *view)
{
    const struct findings *findings = view->findings;
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->list[i];
        const char *colour = output_colour(stderr, finding->fatal ? COLOUR_RED : COLOUR_YELLOW);
        fprintf(stderr, "%s%s%s", colour, finding->fatal ? "error" : "warning", output_colour(stderr, COLOUR_NONE));
        if (*finding->table)
            fprintf(stderr, ": table %s", finding->table);
        if (*finding->shard)
            fprintf(stderr, "%s %s%s %s", *finding->table ? " on" : ":", view->place,
                    strchr(finding->shard, ',') ? "s" : "", finding->shard);
        fprintf(stderr, ": %s\n", finding->what);
        if (*finding->fix)
            fprintf(stderr, "    fix: %s\n", finding->fix);
    }
}

static json_t *json_lines(const char *text)
{
    json_t *lines = json_array();
    while (*text) {
        size_t size = strcspn(text, "\n");
        json_array_append_new(lines, json_stringn(text, size));
        text += size + (text[size] == '\n');
    }
    return lines;
}

static json_t *json_findings(const struct findings *findings)
{
    json_t *list = json_array();
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->list[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s}", "severity",
                                              finding->fatal ? "error" : "warning", "shard", finding->shard, "table",
                                              finding->table, "what", finding->what, "fix", finding->fix));
    }
    return list;
}

static void print_json(const struct model *model, const struct apply_view *view, bool applied)
{
    json_t *document =
        json_pack("{s:s, s:I, s:I, s:o, s:o, s:b}", "cluster", model->name, "epoch_before",
                  (json_int_t)view->epoch_before, "epoch_after", (json_int_t)view->epoch_after, "changes",
                  json_lines(view->plan), "findings", json_findings(view->findings), "applied", applied);
    output_json_document(stdout, document);
}

/* True for "y" or "yes" typed on the terminal. */
static bool asked_and_agreed(void)
{
    char answer[16] = "";
    fprintf(stderr, "Apply this? [y/N] ");
    fflush(stderr);
    if (!fgets(answer, sizeof answer, stdin))
        return false;
    answer[strcspn(answer, "\n")] = '\0';
    return strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0;
}

static void print_plan(const struct model *model, const struct apply_view *view)
{
    /* An engine without epochs has 0. */
    unsigned long long before = view->epoch_before, after = view->epoch_after;
    printf("cluster %s%s", model->name, view->is_empty ? ": nothing to change" : "");
    if (after && view->is_empty)
        printf(", epoch %llu", before);
    else if (after)
        printf(": epoch %llu -> %llu", before, after);
    putchar('\n');
    for (const char *plan = view->plan; *plan;) {
        size_t size = strcspn(plan, "\n");
        printf("  %.*s\n", (int)size, plan);
        plan += size + 1;
    }
    fflush(stdout);
}

static int carry_out(const struct invocation *invocation, const struct model *model, void *apply)
{
    mosaic_error error;
    const struct engine *engine = engine_of(model->engine);
    if (engine->carry_out(apply, invocation->json ? NULL : say, NULL, &error) != MOSAIC_OK)
        return command_fail(&error);
    struct apply_view view;
    engine->view(apply, &view);
    if (invocation->json)
        print_json(model, &view, true);
    else
        printf("applied\n");
    return EXIT_CODE_OK;
}

/* Shows what was found, and asks where it has to. */
static int show_and_do(const struct invocation *invocation, const struct model *model, void *apply)
{
    struct apply_view view;
    engine_of(model->engine)->view(apply, &view);
    const struct findings *findings = view.findings;
    bool dry = invocation_has(invocation, "dry-run"), yes = invocation_has(invocation, "yes");
    if (!invocation->json) {
        print_findings(&view);
        if (!findings->fatal || !view.is_empty)
            print_plan(model, &view);
    }
    if (findings->fatal || dry || view.is_empty) {
        if (invocation->json)
            print_json(model, &view, false);
        if (findings->fatal)
            fprintf(stderr, "pgmosaic: %zu reason%s against it; nothing was changed\n", findings->fatal,
                    findings->fatal == 1 ? "" : "s");
        return findings->fatal ? EXIT_CODE_FAILED : EXIT_CODE_OK;
    }
    if (!yes && !asked_and_agreed()) {
        fprintf(stderr, "nothing was changed\n");
        return EXIT_CODE_FAILED;
    }
    return carry_out(invocation, model, apply);
}

static mosaic_status read_model(const struct invocation *invocation, struct model *model, mosaic_error *error)
{
    if (!invocation->argument_count)
        return context_model(invocation, model, error);
    if (invocation->config)
        return error_set(error, MOSAIC_USAGE, "a config is given twice: by -c and as FILE");
    return config_read(invocation->arguments[0], model, error);
}

static int apply_run(const struct invocation *invocation)
{
    struct model model;
    void *apply;
    mosaic_error error;
    bool dry = invocation_has(invocation, "dry-run"), yes = invocation_has(invocation, "yes");
    if (read_model(invocation, &model, &error) != MOSAIC_OK)
        return command_fail(&error);
    if (!dry && !yes && (invocation->json || !isatty(STDIN_FILENO))) {
        error_set(&error, MOSAIC_USAGE, "there is no terminal to ask on");
        error_hint(&error, "say --yes to apply without asking, or --dry-run to see what would change");
        model_free(&model);
        return command_fail(&error);
    }
    const struct apply_options look = {.coordinator = APPLY_COORDINATOR_PLAN,
                                       .lock = !dry,
                                       .read_rows = true,
                                       .connect_ms = CONNECT_MS,
                                       .look_ms = LOOK_MS};
    pq_interrupt_flag(&context_interrupted);
    if (engine_of(model.engine)->look(&model, &look, &apply, &error) != MOSAIC_OK) {
        model_free(&model);
        return command_fail(&error);
    }
    int code = show_and_do(invocation, &model, apply);
    engine_of(model.engine)->close(apply);
    model_free(&model);
    return code;
}

static const struct option_spec apply_options[] = {
    {"dry-run", 'n', NULL, "only show what would change", NULL},
    {"yes", 'y', NULL, "do not ask", NULL},
    {NULL},
};

const struct command apply_command = {
    .name = "apply",
    .usage = "[FILE]",
    .summary = "make shards and catalog agree with mosaic.yaml",
    .description =
        "Reads mosaic.yaml, looks at every shard, shows what would change, asks, and does it: schema mosaic, the "
        "tables' rules and "
        "map, and on every shard the constraint mosaic_owner, which refuses rows that the shard does not own.\n\n"
        "A new table stands on every shard (pgmosaic exec --all -f schema.sql), with rows where they belong, or on the "
        "home shard alone: then it is made on the others, and its rows are moved, or copied for a reference table; "
        "meanwhile it is read, and not written. A table taken out comes back to the home shard, and is dropped on the "
        "others. Sequences of sharded tables are made to give other values on each "
        "shard. Everything that speaks against it is said at "
        "once, each with its fix, and then nothing is changed. A run that was cut off is finished by "
        "running it again; two at once exclude each other.",
    .examples = "pgmosaic apply --dry-run\npgmosaic apply --yes\n",
    .options = apply_options,
    .takes_config = true,
    .takes_json = true,
    .most_arguments = 1,
    .run = apply_run,
};
