/* SPDX-License-Identifier: Apache-2.0 */
/* Config print: the effective settings, read back from struct config by the tables that filled it.
 */
#include "topology/config_read.h"

#include <stdlib.h>
#include <string.h>

struct printer {
    const struct config *config;
    void (*visit)(void *opaque, const struct config_setting *setting);
    void *opaque;
};

static int64_t number_of(const struct config *config, const struct config_key *key)
{
    const uint8_t *at = (const uint8_t *)config + key->offset;
    int64_t number = 0;
    ensure(key->width == 1 || key->width == 4 || key->width == 8);
    if (key->width == 1) {
        bool boolean;
        memcpy(&boolean, at, 1);
        return boolean;
    }
    if (key->width == 4) {
        int32_t narrow;
        memcpy(&narrow, at, sizeof narrow);
        return narrow;
    }
    memcpy(&number, at, sizeof number);
    return number;
}

static void print_scalar(const struct printer *printer, const char *path,
                         const struct config_key *key)
{
    char text[32];
    const char *value = text;
    bool number = key->type == KEY_INTEGER;
    ensure(key->width > 0);
    if (key->type == KEY_TEXT || key->type == KEY_PATH) {
        memcpy(&value, (const uint8_t *)printer->config + key->offset, sizeof value);
    } else if (key->type == KEY_CHOICE) {
        const struct config_choice *choice = key->choices;
        while (choice->number != number_of(printer->config, key)) {
            choice++;
        }
        value = choice->name;
    } else {
        config_key_format(key->type, number_of(printer->config, key), text, sizeof text);
    }
    ensure(value != NULL);
    printer->visit(printer->opaque, &(struct config_setting){path, value, number});
}

static void print_paths(const struct printer *printer, const char *path)
{
    const struct config *config = printer->config;
    struct buffer text = {0};
    for (size_t i = 0; i < config->operator_directory_count; i++) {
        ensure(config->operator_directories[i] != NULL);
        buffer_format(&text, "%s%s", i == 0 ? "" : ",", config->operator_directories[i]);
    }
    printer->visit(printer->opaque, &(struct config_setting){path, buffer_text(&text), false});
    buffer_finish(&text);
}

static void print_properties(const struct printer *printer, const char *path,
                             const struct config_key *key)
{
    struct config_properties properties;
    ensure(key->width == sizeof properties);
    memcpy(&properties, (const uint8_t *)printer->config + key->offset, sizeof properties);
    for (size_t i = 0; i < properties.count; i++) {
        const struct named_value *item = &properties.items[i];
        char *full = memory_format("%s.\"%s\"", path, item->name);
        printer->visit(
            printer->opaque,
            &(struct config_setting){full, item->secret ? "(secret)" : item->value.text, false});
        free(full);
    }
}

static void print_keys(const struct printer *printer, const char *prefix,
                       const struct config_key *keys)
{
    for (const struct config_key *key = keys; key->name != NULL; key++) {
        char *path = memory_format("%s%s", prefix, key->name);
        ensure(path != NULL);
        if (key->type == KEY_OBJECT) {
            char *below = memory_format("%s.", path);
            print_keys(printer, below, key->keys);
            free(below);
        } else if (key->type == KEY_PROPERTIES || key->type == KEY_SETTINGS) {
            print_properties(printer, path, key);
        } else if (key->type == KEY_PATHS) {
            print_paths(printer, path);
        } else if (key->type != KEY_ENTRIES) {
            print_scalar(printer, path, key);
        }
        free(path);
    }
}

void config_visit_settings(const struct config *config,
                           void (*visit)(void *opaque, const struct config_setting *setting),
                           void *opaque)
{
    ensure(config != NULL && visit != NULL);
    print_keys(&(struct printer){config, visit, opaque}, "", config_keys);
}
