/*
 * One table more, or less, in the text of a mosaic.yaml: lines are added under `tables:`, or removed; everything else,
 * comments and order included, stays as a person wrote it.
 *
 * What it makes is to be read by config_parse before it is used: it knows where things stand, and not what they mean.
 * MOSAIC_UNSUPPORTED where the text is written in a way that it does not know; then a person does it.
 */
#ifndef MOSAIC_CONFIG_EDIT_H
#define MOSAIC_CONFIG_EDIT_H

#include "base/buffer.h"
#include "base/error.h"

/* `text` is one that config_parse takes; `entry` is in flow style: {name: orders, key: customer_id}. */
MOSAIC_MUST_CHECK mosaic_status config_add_table(const char *text, size_t size, const char *entry,
                                                 struct buffer *changed, mosaic_error *error);
/* `number` of the table as it stands, from 0. */
MOSAIC_MUST_CHECK mosaic_status config_remove_table(const char *text, size_t size, size_t number,
                                                    struct buffer *changed, mosaic_error *error);
/* Appends a text as YAML, in quotes where it needs them. */
void config_add_text(struct buffer *out, const char *text);

#endif
