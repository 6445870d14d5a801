/*
 * The text goes through two readers: outline.c (lines, unknown keys, one-or-many) and libcyaml (schema, values). What
 * is left to check here needs several values at once: names and addresses that stand twice, keys that a kind does not
 * take.
 */
#include "config/config.h"

#include "base/memory.h"
#include "config/reading.h"

#include <errno.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

enum {
    FILE_MOST = 4 * 1024 * 1024,
    NAME_MOST = 63, /* bytes of a PostgreSQL identifier, NAMEDATALEN - 1 */
    TYPED_NAME_MOST = 2 * (2 * NAME_MOST + 2) + 1,
    CONNINFO_MOST = 8192,
    TABLES_MOST = 10000,
    VALUE_MOST = 8192,
    WEIGHT_MOST = 1000000,
};

#define TEXT(key, flags, structure, member, most) \
    CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | (flags), structure, member, 1, most)
#define MANY(key, flags, structure, member, entry, least, most) \
    CYAML_FIELD_SEQUENCE(key, CYAML_FLAG_POINTER | (flags), structure, member, entry, least, most)

static const cyaml_schema_value_t name_schema = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, NAME_MOST)};
static const cyaml_schema_value_t text_schema = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, VALUE_MOST)};

static const cyaml_schema_field_t shard_fields[] = {
    TEXT("name", 0, struct yaml_shard, name, NAME_MOST),
    TEXT("conninfo", 0, struct yaml_shard, conninfo, CONNINFO_MOST),
    TEXT("internal", CYAML_FLAG_OPTIONAL, struct yaml_shard, internal, CONNINFO_MOST),
    CYAML_FIELD_UINT_PTR("weight", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct yaml_shard, weight),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t shard_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct yaml_shard, shard_fields)};

static const cyaml_schema_field_t range_fields[] = {
    CYAML_FIELD_STRING_PTR("below", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct yaml_range, below, 0, VALUE_MOST),
    TEXT("shard", 0, struct yaml_range, shard, NAME_MOST),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t range_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct yaml_range, range_fields)};

static const cyaml_schema_field_t list_fields[] = {
    MANY("values", 0, struct yaml_list, values, &text_schema, 1, BUCKETS_MOST),
    TEXT("shard", 0, struct yaml_list, shard, NAME_MOST),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t list_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct yaml_list, list_fields)};

static const cyaml_schema_field_t table_fields[] = {
    TEXT("name", 0, struct yaml_table, name, TYPED_NAME_MOST),
    TEXT("kind", CYAML_FLAG_OPTIONAL, struct yaml_table, kind, NAME_MOST),
    MANY("key", CYAML_FLAG_OPTIONAL, struct yaml_table, key, &name_schema, 1, KEY_COLUMNS_MAX),
    TEXT("function", CYAML_FLAG_OPTIONAL, struct yaml_table, function, NAME_MOST),
    CYAML_FIELD_UINT_PTR("buckets", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct yaml_table, buckets),
    CYAML_FIELD_UINT_PTR("shard_count", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct yaml_table, shard_count),
    TEXT("colocate_with", CYAML_FLAG_OPTIONAL, struct yaml_table, colocate_with, TYPED_NAME_MOST),
    MANY("ranges", CYAML_FLAG_OPTIONAL, struct yaml_table, ranges, &range_schema, 1, BUCKETS_MOST),
    MANY("lists", CYAML_FLAG_OPTIONAL, struct yaml_table, lists, &list_schema, 1, BUCKETS_MOST),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t table_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct yaml_table, table_fields)};

static const cyaml_schema_field_t cluster_fields[] = {
    TEXT("cluster", 0, struct yaml_cluster, cluster, NAME_MOST),
    TEXT("engine", CYAML_FLAG_OPTIONAL, struct yaml_cluster, engine, NAME_MOST),
    TEXT("coordinator", CYAML_FLAG_OPTIONAL, struct yaml_cluster, coordinator, CONNINFO_MOST),
    MANY("shards", CYAML_FLAG_OPTIONAL, struct yaml_cluster, shards, &shard_schema, 1, SHARDS_MOST),
    MANY("tables", CYAML_FLAG_OPTIONAL | CYAML_FLAG_POINTER_NULL_STR, struct yaml_cluster, tables, &table_schema, 0,
         TABLES_MOST),
    CYAML_FIELD_MAPPING_PTR("proxy", CYAML_FLAG_OPTIONAL | CYAML_FLAG_POINTER_NULL_STR, struct yaml_cluster, proxy,
                            config_proxy_fields),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t cluster_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct yaml_cluster, cluster_fields)};

/* What libcyaml logs of one load: "Load: <what>", then a backtrace whose first line has the place. */
struct complaint {
    char what[200], field[64];
    int line;
};

static void take_log(cyaml_log_t level, void *context, const char *format, va_list arguments)
{
    struct complaint *complaint = context;
    char text[400];
    (void)level;
    vsnprintf(text, sizeof text, format, arguments);
    text[strcspn(text, "\n")] = '\0';
    const char *place = strstr(text, "(line: ");
    if (strncmp(text, "Load: ", 6) == 0 && strncmp(text, "Load: Backtrace", 15) != 0 && !complaint->what[0])
        snprintf(complaint->what, sizeof complaint->what, "%.199s", text + 6);
    if (place && !complaint->line)
        sscanf(place, "(line: %d", &complaint->line);
    if (place && !complaint->field[0] && strstr(text, "in mapping field '"))
        sscanf(strstr(text, "field '") + 7, "%63[^']", complaint->field);
}

static void *take_memory(void *context, void *memory, size_t size)
{
    (void)context;
    if (size)
        return memory_resize(memory, size);
    memory_free(memory);
    return NULL;
}

#define LEAST "the least there is: cluster: NAME, and below shards: - {name: s0, conninfo: \"…\"}"

mosaic_status config_refuse(struct reading *reading, const char *section, size_t entry, const char *key,
                            const char *format, ...)
{
    char what[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return error_set(reading->error, MOSAIC_CONFIG, "%s:%d: %s", reading->source,
                     outline_line(&reading->outline, section, entry, key), what);
}

char *config_copy(struct reading *reading, const char *text)
{
    return arena_string(&reading->model->arena, text);
}

static mosaic_status refuse_complaint(struct reading *reading, cyaml_err_t failure, const struct complaint *complaint)
{
    if (failure == CYAML_ERR_OOM)
        return error_memory(reading->error);
    const char *what = complaint->what[0] ? complaint->what : cyaml_strerror(failure);
    bool show_field = complaint->field[0] && !strstr(what, "mapping field");
    (void)!error_set(reading->error, MOSAIC_CONFIG, "%s:%d: %s%s%s", reading->source,
                     complaint->line ? complaint->line : 1, show_field ? complaint->field : "", show_field ? ": " : "",
                     what);
    error_hint(reading->error, LEAST);
    return MOSAIC_CONFIG;
}

/* Letters, digits, _ . - : what may stand in a transaction's name and in a file's. */
static bool is_plain_name(const char *name)
{
    return name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")] == '\0';
}

/* The values of a conninfo that make its address; "" where it says none. */
struct address {
    char host[256], port[64], database[128], service[64];
};

static bool is_loopback(const char *host)
{
    return strcasecmp(host, "localhost") == 0 || strcmp(host, "127.0.0.1") == 0 || strcmp(host, "::1") == 0;
}

static mosaic_status read_address(struct reading *reading, const char *section, const char *key, size_t entry,
                                  const char *conninfo, struct address *address)
{
    char *problem = NULL;
    PQconninfoOption *options = PQconninfoParse(conninfo, &problem);
    if (!options && !problem)
        return error_memory(reading->error);
    *address = (struct address){.port = "5432"};
    if (!options) {
        problem[strcspn(problem, "\n")] = '\0';
        /* libpq quotes what it stumbles over, which can be a piece of a password. */
        bool secret = strstr(conninfo, "pass") || strstr(conninfo, "://");
        config_refuse(reading, section, entry, key, "%s: %s", key ? key : section,
                      secret ? "it is malformed" : problem);
        PQfreemem(problem);
        return error_hint(reading->error, "as in: host=127.0.0.1 port=5432 dbname=shop user=shop");
    }
    for (PQconninfoOption *option = options; option->keyword; option++) {
        const char *value = option->val ? option->val : "";
        if (!*value)
            continue;
        if (strcmp(option->keyword, "hostaddr") == 0 || (strcmp(option->keyword, "host") == 0 && !address->host[0]))
            snprintf(address->host, sizeof address->host, "%s", is_loopback(value) ? "127.0.0.1" : value);
        else if (strcmp(option->keyword, "port") == 0)
            snprintf(address->port, sizeof address->port, "%s", value);
        else if (strcmp(option->keyword, "dbname") == 0)
            snprintf(address->database, sizeof address->database, "%s", value);
        else if (strcmp(option->keyword, "service") == 0)
            snprintf(address->service, sizeof address->service, "%s", value);
    }
    PQconninfoFree(options);
    return MOSAIC_OK;
}

static bool same_address(const struct address *a, const struct address *b)
{
    return strcasecmp(a->host, b->host) == 0 && strcmp(a->port, b->port) == 0 &&
           strcmp(a->database, b->database) == 0 && strcmp(a->service, b->service) == 0;
}

static mosaic_status take_shard(struct reading *reading, const struct yaml_cluster *yaml, size_t at,
                                struct address *addresses)
{
    const struct yaml_shard *from = &yaml->shards[at];
    struct address internal;
    if (!is_plain_name(from->name)) {
        config_refuse(reading, "shards", at, "name", "shard name \"%s\" has characters that it may not have",
                      from->name);
        return error_hint(reading->error, "use letters, digits, _ . -");
    }
    if (from->weight && *from->weight > WEIGHT_MOST)
        return config_refuse(reading, "shards", at, "weight", "weight %u is over %d", *from->weight, WEIGHT_MOST);
    mosaic_status status = read_address(reading, "shards", "conninfo", at, from->conninfo, &addresses[at]);
    if (status != MOSAIC_OK)
        return status;
    for (size_t i = 0; i < at; i++) {
        if (strcmp(yaml->shards[i].name, from->name) == 0) {
            config_refuse(reading, "shards", at, "name", "two shards are called \"%s\"", from->name);
            return error_detail(reading->error, "the first one stands in line %d",
                                outline_line(&reading->outline, "shards", i, "name"));
        }
        if (same_address(&addresses[i], &addresses[at])) {
            config_refuse(reading, "shards", at, "conninfo", "shards %s and %s have one address", yaml->shards[i].name,
                          from->name);
            return error_hint(reading->error, "every shard is a database of its own: another host, port or dbname");
        }
    }
    struct shard *shard = &reading->model->shards[at];
    *shard = (struct shard){config_copy(reading, from->name), config_copy(reading, from->conninfo),
                            from->weight ? *from->weight : 1};
    if (!shard->name || !shard->conninfo)
        return error_memory(reading->error);
    if (!from->internal)
        return MOSAIC_OK;
    shard->internal = config_copy(reading, from->internal);
    if (!shard->internal)
        return error_memory(reading->error);
    return read_address(reading, "shards", "internal", at, from->internal, &internal);
}

/* A Citus cluster is one shard for all that sends statements: the coordinator, which knows the workers. */
static mosaic_status take_coordinator(struct reading *reading, const struct yaml_cluster *yaml)
{
    struct model *model = reading->model;
    struct address address;
    if (yaml->shards) {
        config_refuse(reading, "shards", 0, NULL, "engine citus has no shards here: Citus makes and spreads them");
        return error_hint(reading->error, "say coordinator: \"CONNINFO\" instead; the coordinator knows its workers");
    }
    if (!yaml->coordinator) {
        config_refuse(reading, "engine", 0, NULL, "engine citus needs its coordinator");
        return error_hint(reading->error, "say coordinator: \"host=… dbname=…\"");
    }
    mosaic_status status = read_address(reading, "coordinator", NULL, 0, yaml->coordinator, &address);
    if (status != MOSAIC_OK)
        return status;
    model->shards = arena_zeroed(&model->arena, 1, sizeof *model->shards);
    model->shard_count = 1;
    if (!model->shards)
        return error_memory(reading->error);
    *model->shards = (struct shard){"coordinator", config_copy(reading, yaml->coordinator), 1};
    return model->shards->conninfo ? MOSAIC_OK : error_memory(reading->error);
}

const char *config_other_database(struct arena *arena, const char *conninfo, const char *database)
{
    struct buffer text = BUFFER_INIT(64 * 1024);
    PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
    for (const PQconninfoOption *option = options; option && option->keyword; option++) {
        bool is_database = strcmp(option->keyword, "dbname") == 0;
        const char *value = is_database ? database : option->val;
        if (!value)
            continue;
        buffer_format(&text, "%s%s='", text.size ? " " : "", option->keyword);
        for (; *value; value++) {
            if (*value == '\'' || *value == '\\')
                buffer_char(&text, '\\');
            buffer_char(&text, *value);
        }
        buffer_char(&text, '\'');
    }
    const char *copy = !options || buffer_failed(&text) ? NULL : arena_string(arena, buffer_string(&text));
    PQconninfoFree(options);
    buffer_free(&text);
    return copy;
}

/* Its place is behind the last shard; take_shards left the room. */
static mosaic_status set_coordinator(struct model *model, const char *conninfo, mosaic_error *error)
{
    model->coordinator = conninfo;
    model->shards[model->shard_count] = (struct shard){COORDINATOR_NAME, conninfo, 0};
    return conninfo ? MOSAIC_OK : error_memory(error);
}

mosaic_status config_place_coordinator(struct model *model, size_t home, mosaic_error *error)
{
    static const char suffix[] = "_coordinator";
    char name[NAME_MOST + 1];
    const char *database = NULL, *user = NULL;
    if (!model->coordinator_is_default)
        return MOSAIC_OK;
    PQconninfoOption *options = PQconninfoParse(model->shards[home].conninfo, NULL);
    for (const PQconninfoOption *option = options; option && option->keyword; option++) {
        database = strcmp(option->keyword, "dbname") == 0 ? option->val : database;
        user = strcmp(option->keyword, "user") == 0 ? option->val : user;
    }
    /* As libpq has it, but for what it takes from the environment, which may differ from one machine to the next. */
    database = database ? database : user ? user : model->name;
    size_t size = strnlen(database, NAME_MOST - strlen(suffix));
    while (database[size] && ((unsigned char)database[size] & 0xC0) == 0x80) /* no character is cut in two */
        size--;
    snprintf(name, sizeof name, "%.*s%s", (int)size, database, suffix);
    const char *conninfo = config_other_database(&model->arena, model->shards[home].conninfo, name);
    PQconninfoFree(options);
    return set_coordinator(model, conninfo, error);
}

/* Our own shards have one where there are two of them; addresses are the shards'. */
static mosaic_status take_own_coordinator(struct reading *reading, const char *coordinator,
                                          const struct address *addresses)
{
    struct model *model = reading->model;
    struct address address;
    model->coordinator_is_default = !coordinator && model->shard_count > 1;
    if (!coordinator)
        return config_place_coordinator(model, 0, reading->error);
    if (strcmp(coordinator, "none") == 0)
        return MOSAIC_OK;
    mosaic_status status = read_address(reading, "coordinator", NULL, 0, coordinator, &address);
    if (status != MOSAIC_OK)
        return status;
    for (size_t i = 0; i < model->shard_count; i++)
        if (same_address(&addresses[i], &address)) {
            config_refuse(reading, "coordinator", 0, NULL, "the coordinator has the address of shard %s",
                          model->shards[i].name);
            return error_hint(reading->error, "it is a database of its own; say none to do without");
        }
    return set_coordinator(model, config_copy(reading, coordinator), reading->error);
}

static mosaic_status take_shards(struct reading *reading, const struct yaml_cluster *yaml)
{
    struct model *model = reading->model;
    if (!yaml->shards) {
        config_refuse(reading, "cluster", 0, NULL, "the cluster has no shards: missing required mapping field shards");
        return error_hint(reading->error, LEAST);
    }
    struct address *addresses = memory_zeroed(yaml->shards_count, sizeof *addresses);
    model->shards = arena_zeroed(&model->arena, yaml->shards_count + 1, sizeof *model->shards);
    model->shard_count = yaml->shards_count;
    mosaic_status status = addresses && model->shards ? MOSAIC_OK : error_memory(reading->error);
    uint64_t weights = 0;
    for (size_t i = 0; i < yaml->shards_count && status == MOSAIC_OK; i++) {
        status = take_shard(reading, yaml, i, addresses);
        weights += model->shards[i].weight;
    }
    if (status == MOSAIC_OK && !weights)
        status = config_refuse(reading, "shards", 0, "weight", "every shard has weight 0: none could own a row");
    if (status == MOSAIC_OK)
        status = take_own_coordinator(reading, yaml->coordinator, addresses);
    memory_free(addresses);
    return status;
}

static mosaic_status take_cluster(struct reading *reading, const struct yaml_cluster *yaml)
{
    struct model *model = reading->model;
    model->source = config_copy(reading, reading->source);
    model->name = config_copy(reading, yaml->cluster);
    if (!model->source || !model->name)
        return error_memory(reading->error);
    if (!is_plain_name(yaml->cluster)) {
        config_refuse(reading, "cluster", 0, NULL, "cluster name \"%s\" has characters that it may not have",
                      yaml->cluster);
        return error_hint(reading->error, "use letters, digits, _ . -");
    }
    int engine = ENGINE_POSTGRES;
    while (yaml->engine && engine < ENGINE_COUNT && strcmp(engine_name((enum engine_kind)engine), yaml->engine) != 0)
        engine++;
    if (engine == ENGINE_COUNT) {
        config_refuse(reading, "engine", 0, NULL, "there is no engine \"%s\"", yaml->engine);
        return error_hint(reading->error, "postgres (the default) or citus");
    }
    model->engine = (enum engine_kind)engine;
    mosaic_status status = model->engine == ENGINE_CITUS ? take_coordinator(reading, yaml) : take_shards(reading, yaml);
    if (status == MOSAIC_OK)
        status = config_take_tables(reading, yaml);
    return status == MOSAIC_OK ? config_take_proxy(reading, yaml->proxy) : status;
}

mosaic_status config_parse(const char *text, size_t size, const char *source, struct model *model, mosaic_error *error)
{
    *model = (struct model){0};
    struct reading reading = {.source = source, .model = model, .error = error};
    if (size > FILE_MOST)
        return error_set(error, MOSAIC_CONFIG, "%s: the config is larger than %d MiB", source, FILE_MOST >> 20);
    mosaic_status status = outline_read(text, size, source, &cluster_schema, &reading.outline, error);
    if (status == MOSAIC_OK) {
        struct complaint complaint = {0};
        struct yaml_cluster *yaml = NULL;
        const cyaml_config_t config = {.log_fn = take_log,
                                       .log_ctx = &complaint,
                                       .log_level = CYAML_LOG_ERROR,
                                       .mem_fn = take_memory,
                                       .flags = CYAML_CFG_NO_ALIAS};
        const struct buffer *checked = &reading.outline.text;
        cyaml_err_t failure = cyaml_load_data((const uint8_t *)buffer_string(checked), checked->size, &config,
                                              &cluster_schema, (cyaml_data_t **)&yaml, NULL);
        status = failure == CYAML_OK && yaml ? take_cluster(&reading, yaml)
                                             : refuse_complaint(&reading, failure, &complaint);
        cyaml_free(&config, &cluster_schema, yaml, 0);
    }
    outline_free(&reading.outline);
    if (status != MOSAIC_OK)
        model_free(model);
    return status;
}

mosaic_status config_read(const char *path, struct model *model, mosaic_error *error)
{
    *model = (struct model){0};
    FILE *file = fopen(path, "rb");
    if (!file && (errno == ENOENT || errno == ENOTDIR)) {
        error_set(error, MOSAIC_NOT_FOUND, "there is no config %s", path);
        error_hint(error, "name one with -c FILE or $PGMOSAIC_CONFIG, or make a lab: pgmosaic lab up");
        return MOSAIC_NOT_FOUND;
    }
    if (!file)
        return error_errno(error, "%s", path);
    char *text = memory_allocate(FILE_MOST + 1);
    size_t size = text ? fread(text, 1, FILE_MOST + 1, file) : 0;
    mosaic_status status = !text ? error_memory(error) : ferror(file) ? error_errno(error, "%s", path) : MOSAIC_OK;
    fclose(file);
    if (status == MOSAIC_OK)
        status = config_parse(text, size, path, model, error);
    memory_free(text);
    return status;
}
