/*
 * Settings that change while the proxy runs: by RELOAD from the file, by SET for one. A config is never changed: a new
 * one takes its place, in which what needs a restart has its old value.
 */
#include "proxy/reload.h"

#include "base/memory.h"
#include "config/config.h"
#include "proxy/log.h"

static struct config *config_new(void)
{
    struct config *config = memory_zeroed(1, sizeof *config);
    if (config)
        atomic_init(&config->references, 1);
    return config;
}

mosaic_status reload_read_config(const char *config_path, struct config **made, mosaic_error *error)
{
    struct model model;
    struct config *config = config_new();
    if (!config)
        return error_memory(error);
    mosaic_status status = config_read(config_path, &model, error);
    if (status == MOSAIC_OK) {
        status = settings_read(&config->arena, &model, &config->settings, error);
        model_free(&model);
    }
    if (status == MOSAIC_OK)
        *made = config;
    else
        config_release(config);
    return status;
}

/* Copies the i-th setting, with its texts. */
static mosaic_status copy_setting(struct config *to, const struct config *from, size_t i, mosaic_error *error)
{
    const char *value = settings_value(&to->arena, &from->settings, i);
    return settings_set(&to->arena, &to->settings, settings_info(i)->name, value ? value : "", error);
}

mosaic_status reload_keep(struct config *config, const struct config *before, struct buffer *changes,
                          mosaic_error *error)
{
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < settings_count() && status == MOSAIC_OK; i++) {
        if (settings_equal(&config->settings, &before->settings, i))
            continue;
        const struct proxy_setting_info *info = settings_info(i);
        const char *from = settings_value(&config->arena, &before->settings, i);
        const char *to = settings_value(&config->arena, &config->settings, i);
        buffer_format(changes, "%s%s: %s -> %s%s", changes->size ? ", " : "", info->name, from ? from : "not set",
                      to ? to : "not set", info->reloads ? "" : " (needs a restart)");
        if (!info->reloads)
            status = copy_setting(config, before, i, error);
    }
    return status;
}

mosaic_status reload_change(const struct config *before, const char *name, const char *value, struct config **made,
                            mosaic_error *error)
{
    struct config *config = config_new();
    if (!config)
        return error_memory(error);
    mosaic_status status = settings_default(&config->arena, &config->settings, error);
    for (size_t i = 0; i < settings_count() && status == MOSAIC_OK; i++)
        status = copy_setting(config, before, i, error);
    if (status == MOSAIC_OK)
        status = settings_set(&config->arena, &config->settings, name, value, error);
    if (status == MOSAIC_OK)
        status = settings_check(&config->settings, error);
    if (status == MOSAIC_OK)
        *made = config;
    else
        config_release(config);
    return status;
}

mosaic_status reload_use(struct proxy *proxy, struct config *config, mosaic_error *error)
{
    mosaic_status status = access_load(&config->settings, &config->access, error);
    if (status == MOSAIC_OK)
        status = log_reopen(proxy->log, &config->settings, error);
    if (status == MOSAIC_OK)
        proxy_set_config(proxy, config);
    else
        config_release(config);
    return status;
}
