/*
 * The section `proxy:` of mosaic.yaml. It goes into the model as names and texts, so that the model stays plain data
 * and a command without a proxy carries no settings; each is set once here, only to refuse a wrong one with its line.
 */
#include "config/reading.h"

#include <stdio.h>
#include <string.h>

enum { VALUE_MOST = 8192, WORDS_MOST = 1024 };

static const cyaml_schema_value_t word_schema = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, VALUE_MOST)};

#define ONE(name) \
    CYAML_FIELD_STRING_PTR(#name, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct yaml_proxy, name.text, 0, VALUE_MOST)
#define FIELD_INT ONE
#define FIELD_MS ONE
#define FIELD_BYTES ONE
#define FIELD_MODE ONE
#define FIELD_BOOL ONE
#define FIELD_TEXT ONE
#define FIELD_POOL_MODE ONE
#define FIELD_AUTH_TYPE ONE
#define FIELD_TLS_MODE ONE
#define FIELD_LOG_FORMAT ONE
#define FIELD_LOG_LEVEL ONE
#define FIELD_SCATTER_MODE ONE
#define FIELD_WORDS(name)                                                                                              \
    CYAML_FIELD_SEQUENCE(#name, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct yaml_proxy, name.words, &word_schema, \
                         1, WORDS_MOST)

const cyaml_schema_field_t config_proxy_fields[] = {
#define X(name, kind, initial, least, most, reloads, help) FIELD_##kind(name),
    PROXY_SETTING_LIST(X)
#undef X
        CYAML_FIELD_END,
};

static const char *take_words(struct reading *reading, const struct yaml_setting *from)
{
    struct buffer text = BUFFER_INIT((size_t)2 * VALUE_MOST * WORDS_MOST);
    for (uint32_t i = 0; i < from->words_count; i++) {
        if (i)
            buffer_char(&text, ' ');
        settings_quote_word(&text, from->words[i]);
    }
    const char *copy = buffer_failed(&text) ? NULL : config_copy(reading, buffer_string(&text));
    buffer_free(&text);
    return copy;
}

static mosaic_status refuse_setting(struct reading *reading, const char *name, const mosaic_error *problem)
{
    if (problem->status == MOSAIC_MEMORY)
        return error_memory(reading->error);
    config_refuse(reading, "proxy", 0, name, "%s", problem->message);
    if (problem->detail[0])
        error_detail(reading->error, "%s", problem->detail);
    if (problem->hint[0])
        error_hint(reading->error, "%s", problem->hint);
    return MOSAIC_CONFIG;
}

mosaic_status config_take_proxy(struct reading *reading, const struct yaml_proxy *yaml)
{
    struct model *model = reading->model;
    struct arena scratch = ARENA_INIT;
    struct proxy_settings settings;
    mosaic_error problem;
    const struct yaml_setting *from = (const struct yaml_setting *)yaml; /* one for each, in the list's order */
    if (!from)
        return MOSAIC_OK;
    struct model_setting *to = arena_zeroed(&model->arena, settings_count(), sizeof *to);
    model->settings = to;
    mosaic_status status = to ? settings_default(&scratch, &settings, &problem) : error_memory(&problem);
    for (size_t i = 0; i < settings_count() && status == MOSAIC_OK; i++) {
        if (!from[i].text && !from[i].words)
            continue;
        const char *name = settings_info(i)->name;
        const char *value = from[i].text ? config_copy(reading, from[i].text) : take_words(reading, &from[i]);
        status = value ? settings_set(&scratch, &settings, name, value, &problem) : error_memory(&problem);
        to[model->setting_count++] =
            (struct model_setting){name, value, outline_line(&reading->outline, "proxy", 0, name)};
        if (status != MOSAIC_OK)
            refuse_setting(reading, name, &problem);
    }
    arena_free(&scratch);
    return status == MOSAIC_MEMORY ? error_memory(reading->error) : status;
}
