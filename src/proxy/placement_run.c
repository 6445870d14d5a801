#include "proxy/placement_run.h"

#include "base/memory.h"
#include "config/config.h"
#include "config/edit.h"
#include "engine/engine.h"
#include "pq/pq.h"
#include "proxy/placement_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONNECT_MS = 5000, LOOK_MS = 60000, DETAIL_MOST = 2000 };

struct run {
    const struct placement_order *order;
    struct placement_file file;
    struct buffer entry, changed;
    struct model before, after;
    bool has_before, has_after;
    const struct table *table; /* of before; NULL: it is not in it */
    struct arena arena;
    const char *schema, *name, *display;
    placement_say_fn say;
    void *context;
    struct placement_outcome *outcome;
    mosaic_error *error;
};

__attribute__((format(printf, 4, 5))) static mosaic_status refuse(struct run *run, mosaic_status status,
                                                                  const char *sqlstate, const char *format, ...)
{
    char text[600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    error_set(run->error, status, "%s", text);
    error_sqlstate(run->error, sqlstate);
    return status;
}

/* ---- apply, as the command does it ---- */

/* A finding says PostgreSQL's code where it has one: "(SQLSTATE 42P01)". */
static void take_sqlstate(const char *what, char sqlstate[6])
{
    static const char word[] = "(SQLSTATE ";
    const char *at = strstr(what, word);
    snprintf(sqlstate, 6, "%.5s", at ? at + strlen(word) : "55000");
}

/* All that speaks against it, the first as the message. */
static mosaic_status refuse_findings(struct run *run, const struct findings *findings)
{
    char detail[DETAIL_MOST] = "", sqlstate[6] = "";
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->list[i];
        size_t used = strlen(detail);
        if (!finding->fatal)
            continue;
        if (*sqlstate) {
            snprintf(detail + used, sizeof detail - used, "%s%s%s%s.", used ? " " : "",
                     *finding->shard ? finding->shard : finding->table, *finding->shard || *finding->table ? ": " : "",
                     finding->what);
            continue;
        }
        take_sqlstate(finding->what, sqlstate);
        error_set(run->error, MOSAIC_PREFLIGHT, "%s%s%s%s%s%s", *finding->table ? "table " : "", finding->table,
                  *finding->table && *finding->shard ? " on " : "", finding->shard,
                  *finding->table || *finding->shard ? ": " : "", finding->what);
        error_hint(run->error, "%s", finding->fix);
        error_sqlstate(run->error, sqlstate);
    }
    error_detail(run->error, "%s", detail);
    return MOSAIC_PREFLIGHT;
}

static void say_lines(struct run *run, const char *text)
{
    while (*text) {
        char line[600];
        size_t size = strcspn(text, "\n");
        snprintf(line, sizeof line, "%.*s", (int)size, text);
        run->say(run->context, line);
        text += size + (text[size] == '\n');
    }
}

static mosaic_status look(struct run *run, struct model *model, bool is_last, void **apply, mosaic_error *error)
{
    const struct apply_options options = {.coordinator = is_last ? APPLY_COORDINATOR_PLAN : APPLY_COORDINATOR_LOOK,
                                          .lock = is_last,
                                          .read_rows = is_last,
                                          .connect_ms = CONNECT_MS,
                                          .look_ms = LOOK_MS};
    (void)run;
    return engine_of(model->engine)->look(model, &options, apply, error);
}

/* What stands in the file and was never applied would be done along with it: that is not what was asked for. */
static mosaic_status check_before(struct run *run)
{
    const struct engine *engine = engine_of(run->before.engine);
    struct apply_view view;
    void *apply;
    mosaic_status status = look(run, &run->before, false, &apply, run->error);
    if (status != MOSAIC_OK)
        return status;
    engine->view(apply, &view);
    if (view.findings->fatal) {
        status = refuse_findings(run, view.findings);
    } else if (!view.is_empty && view.epoch_before) { /* else it is the first apply, and all of it is to be done */
        status = refuse(run, MOSAIC_PREFLIGHT, "55000", "%s has changes that are not applied", run->file.path);
        error_detail(run->error, "%.1800s", view.plan);
        error_hint(run->error, "run pgmosaic apply first");
    }
    engine->close(apply);
    return status;
}

enum verdict { VERDICT_NO, VERDICT_YES, VERDICT_UNKNOWN };

/* Did the catalog take it before it failed? Then what is left to do is done, as far as it can be. */
static enum verdict is_committed(struct run *run, uint64_t epoch_before)
{
    const struct engine *engine = engine_of(run->after.engine);
    struct apply_view view = {0};
    struct model model;
    mosaic_error ignored;
    void *apply;
    enum verdict verdict = VERDICT_UNKNOWN;
    if (config_parse(run->changed.data, run->changed.size, run->file.path, &model, &ignored) != MOSAIC_OK)
        return verdict;
    if (look(run, &model, true, &apply, &ignored) == MOSAIC_OK) {
        engine->view(apply, &view);
        if (view.epoch_before || !view.findings->fatal) /* else the catalog is out of reach */
            verdict = view.epoch_before > epoch_before ? VERDICT_YES : VERDICT_NO;
        if (verdict == VERDICT_YES && !view.findings->fatal && !view.is_empty)
            (void)!engine->carry_out(apply, NULL, NULL, &ignored);
        engine->close(apply);
    }
    model_free(&model);
    return verdict;
}

static mosaic_status stay_in_doubt(struct run *run, const char *why)
{
    error_set(run->error, MOSAIC_IN_DOUBT, "it is not known whether the cluster has been changed: %s", why);
    error_detail(run->error, "What the proxy's config would be stands in %s.", run->file.made);
    error_hint(run->error, "run pgmosaic apply with that file, which finds out, and finishes it; then put the file in "
                           "place, and reload the proxy");
    return MOSAIC_IN_DOUBT;
}

/* Its commit was in doubt, and has come to nothing. */
static mosaic_status end_doubt(struct run *run, const char *why)
{
    error_set(run->error, MOSAIC_UNREACHABLE, "%s", why);
    error_detail(run->error, "The home shard has not committed: nothing was changed.");
    error_hint(run->error, "run pgmosaic apply, which drops what is left on other shards, and try again");
    return MOSAIC_UNREACHABLE;
}

/* The apply is closed. */
static mosaic_status carry_out(struct run *run, void *apply, uint64_t epoch_before)
{
    const struct engine *engine = engine_of(run->after.engine);
    mosaic_status status = engine->carry_out(apply, run->say, run->context, run->error);
    run->outcome->rows = apply_moved(apply);
    engine->close(apply);
    if (status == MOSAIC_OK)
        return status;
    mosaic_error why = *run->error;
    pq_hold_interrupts(true);
    enum verdict verdict = is_committed(run, epoch_before);
    pq_hold_interrupts(false);
    if (verdict == VERDICT_YES) {
        run->say(run->context, why.message);
        return MOSAIC_OK;
    }
    *run->error = why;
    if (verdict == VERDICT_UNKNOWN)
        return stay_in_doubt(run, why.message);
    return status == MOSAIC_IN_DOUBT ? end_doubt(run, why.message) : status;
}

static mosaic_status apply_after(struct run *run)
{
    const struct engine *engine = engine_of(run->after.engine);
    struct apply_view view;
    void *apply;
    mosaic_status status = look(run, &run->after, true, &apply, run->error);
    if (status != MOSAIC_OK)
        return status;
    engine->view(apply, &view);
    if (view.findings->fatal) {
        status = refuse_findings(run, view.findings);
        engine->close(apply);
        return status;
    }
    for (size_t i = 0; i < view.findings->count; i++)
        run->say(run->context, view.findings->list[i].what);
    say_lines(run, view.plan);
    return carry_out(run, apply, view.epoch_before);
}

/* ---- the new config ---- */

static void add_key(struct run *run)
{
    const char *key = run->order->key;
    bool several = strchr(key, ',');
    buffer_text(&run->entry, several ? ", key: [" : ", key: ");
    for (bool first = true; *key; first = false) {
        char column[200];
        key += strspn(key, " ,");
        size_t size = strcspn(key, ",");
        const char *next = key + size;
        while (size && key[size - 1] == ' ')
            size--;
        snprintf(column, sizeof column, "%.*s", (int)size, key);
        buffer_text(&run->entry, first ? "" : ", ");
        config_add_text(&run->entry, column);
        key = next;
    }
    buffer_text(&run->entry, several ? "]" : "");
}

static mosaic_status add_rule(struct run *run, const char *function, const char *buckets)
{
    if (function) {
        buffer_text(&run->entry, ", function: ");
        config_add_text(&run->entry, function);
    }
    if (!buckets)
        return MOSAIC_OK;
    if (!*buckets || strspn(buckets, "0123456789") != strlen(buckets) || strlen(buckets) > 9)
        return refuse(run, MOSAIC_USAGE, "22023", "buckets: \"%.100s\" is no number", buckets);
    buffer_format(&run->entry, ", buckets: %s", buckets);
    return MOSAIC_OK;
}

/* Tables of equal function, buckets and kind of key share their map. */
static mosaic_status add_colocation(struct run *run)
{
    const struct placement_order *order = run->order;
    const struct table *with = model_table(&run->before, order->colocate_with);
    char buckets[16];
    if (!with || with->kind != TABLE_SHARDED)
        return refuse(run, MOSAIC_NOT_FOUND, "42704", "colocate_with: \"%.200s\" is no sharded table of this cluster",
                      order->colocate_with);
    if (order->function || order->buckets)
        return refuse(run, MOSAIC_USAGE, "22023", "colocate_with says function and buckets: leave these out");
    if (with->rule.function == FUNCTION_RANGE || with->rule.function == FUNCTION_LIST)
        return refuse(run, MOSAIC_UNSUPPORTED, "0A000", "%s is spread by %s, whose entries are to be written out",
                      with->display, function_name(with->rule.function));
    snprintf(buckets, sizeof buckets, "%u", with->rule.buckets);
    return add_rule(run, function_name(with->rule.function), buckets);
}

static mosaic_status add_sharded(struct run *run)
{
    const struct placement_order *order = run->order;
    if (!order->key || strspn(order->key, " ,") == strlen(order->key))
        return refuse(run, MOSAIC_USAGE, "22023", "a sharded table needs a key: mosaic.shard_table('%s', 'column')",
                      run->display);
    add_key(run);
    return order->colocate_with ? add_colocation(run) : add_rule(run, order->function, order->buckets);
}

static mosaic_status change(struct run *run)
{
    const struct placement_file *file = &run->file;
    size_t number = run->table ? (size_t)(run->table - run->before.tables) : 0;
    mosaic_status status = MOSAIC_OK;
    if (run->order->kind == PLACEMENT_HOME)
        return config_remove_table(file->text, file->size, number, &run->changed, run->error);
    buffer_text(&run->entry, "{name: ");
    config_add_text(&run->entry, run->display);
    if (run->order->kind == PLACEMENT_REFERENCE)
        buffer_text(&run->entry, ", kind: reference");
    else
        status = add_sharded(run);
    buffer_char(&run->entry, '}');
    if (status == MOSAIC_OK && buffer_failed(&run->entry))
        status = error_memory(run->error);
    if (status == MOSAIC_OK)
        status = config_add_table(file->text, file->size, buffer_string(&run->entry), &run->changed, run->error);
    return status;
}

/* The changed text is what was meant: all tables as they were, and this one. */
static mosaic_status check_after(struct run *run)
{
    const struct model *before = &run->before, *after = &run->after;
    bool goes = run->order->kind == PLACEMENT_HOME, same = after->shard_count == before->shard_count;
    for (size_t i = 0; i < before->table_count; i++) {
        const struct table *table = &before->tables[i];
        bool found = model_table(after, table->display) != NULL;
        same &= found != (goes && table == run->table);
    }
    same &= after->table_count == before->table_count + (goes ? -(size_t)1 : 1);
    if (same && (goes || model_table(after, run->display)))
        return MOSAIC_OK;
    return error_set(run->error, MOSAIC_UNSUPPORTED,
                     "the section tables: of the config is written in a way that only "
                     "a person changes");
}

static mosaic_status make_after(struct run *run)
{
    mosaic_status status = change(run);
    if (status == MOSAIC_OK)
        status = config_parse(run->changed.data, run->changed.size, run->file.path, &run->after, run->error);
    run->has_after = status == MOSAIC_OK;
    if (status == MOSAIC_CONFIG)
        error_sqlstate(run->error, "22023");
    if (status == MOSAIC_OK)
        status = check_after(run);
    if (status == MOSAIC_UNSUPPORTED)
        error_hint(run->error, "write it into %s, run pgmosaic apply, and reload the proxy", run->file.path);
    return status;
}

/* ---- all of it ---- */

static mosaic_status check_table(struct run *run)
{
    const struct placement_order *order = run->order;
    mosaic_status status = model_table_name(&run->arena, order->table, &run->schema, &run->name, run->error);
    if (status == MOSAIC_USAGE)
        error_sqlstate(run->error, "42602");
    if (status != MOSAIC_OK)
        return status;
    run->display = model_display_name(&run->arena, run->schema, run->name);
    if (!run->display)
        return error_memory(run->error);
    snprintf(run->outcome->table, sizeof run->outcome->table, "%s", run->display);
    run->table = model_table(&run->before, run->display);
    if (order->kind == PLACEMENT_HOME && !run->table && !order->is_known)
        return refuse(run, MOSAIC_NOT_FOUND, "42P01", "relation \"%s\" does not exist", run->display);
    if (order->kind == PLACEMENT_HOME && !run->table)
        return refuse(run, MOSAIC_USAGE, "55000", "table %s is a home table", run->display);
    if (order->kind != PLACEMENT_HOME && run->table) {
        refuse(run, MOSAIC_USAGE, "42710", "table %s is a %s table already", run->display,
               table_kind_name(run->table->kind));
        error_hint(run->error, "mosaic.home_table('%s') brings it home", run->display);
        return MOSAIC_USAGE;
    }
    return MOSAIC_OK;
}

static mosaic_status do_all(struct run *run)
{
    mosaic_status status = placement_file_read(&run->file, run->error);
    if (status == MOSAIC_OK)
        status = config_parse(run->file.text, run->file.size, run->file.path, &run->before, run->error);
    run->has_before = status == MOSAIC_OK;
    if (status == MOSAIC_OK && run->before.engine != ENGINE_POSTGRES) {
        status = refuse(run, MOSAIC_UNSUPPORTED, "0A000", "mosaic.shard_table and its like are of our own shards");
        error_hint(run->error, "Citus has functions of its own, as create_distributed_table");
    }
    if (status == MOSAIC_OK)
        status = check_table(run);
    if (status == MOSAIC_OK)
        status = check_before(run);
    if (status == MOSAIC_OK)
        status = make_after(run);
    if (status == MOSAIC_OK)
        status = placement_file_write(&run->file, &run->changed, run->error);
    if (status == MOSAIC_OK && (status = apply_after(run)) != MOSAIC_OK && status != MOSAIC_IN_DOUBT)
        placement_file_drop(&run->file);
    if (status == MOSAIC_OK)
        status = placement_file_use(&run->file, run->error);
    return status;
}

mosaic_status placement_run(const char *config_path, const struct placement_order *order, placement_say_fn say,
                            void *context, struct placement_outcome *outcome, mosaic_error *error)
{
    struct run run = {.order = order,
                      .arena = ARENA_INIT,
                      .say = say,
                      .context = context,
                      .outcome = outcome,
                      .error = error,
                      .entry = BUFFER_INIT(1 << 16),
                      .changed = BUFFER_INIT(1 << 23)};
    *outcome = (struct placement_outcome){.table = ""};
    run.file = (struct placement_file){.config_path = config_path};
    mosaic_status status = do_all(&run);
    placement_file_free(&run.file);
    buffer_free(&run.entry);
    buffer_free(&run.changed);
    arena_free(&run.arena);
    if (run.has_before)
        model_free(&run.before);
    if (run.has_after)
        model_free(&run.after);
    return status;
}
