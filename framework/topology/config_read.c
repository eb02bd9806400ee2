/* SPDX-License-Identifier: Apache-2.0 */
#include "topology/config_read.h"

#include "base/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum status config_expect(const struct config_reader *reader, const struct config_node *node,
                          enum config_node_kind kind, const char *expected, struct error *error)
{
    ensure(node != NULL);
    if (node->kind == kind) {
        return STATUS_OK;
    }
    return config_node_error(reader, node, error, "expected %s, found %s", expected,
                             config_node_found(reader->arena, node));
}

static bool is_allowed(char c, const char *extra)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != 0 && strchr(extra, c) != NULL);
}

/* `text` as a name; `found` is how an error shows it. */
static enum status check_name(const struct config_reader *reader, const struct config_node *node,
                              const char *text, const char *extra, size_t maximum,
                              struct error *error)
{
    size_t size = strlen(text);
    bool good = size >= 1 && size <= maximum && strcmp(text, ".") != 0 && strcmp(text, "..") != 0;
    for (size_t i = 0; i < size && good; i++) {
        good = is_allowed(text[i], extra);
    }
    if (good) {
        return STATUS_OK;
    }
    struct config_node shown = {.kind = NODE_TEXT, .text = text};
    char listed[16] = "";
    for (size_t i = 0; extra[i] != 0; i++) {
        ensure(i < 5);
        (void)snprintf(listed + 2 * i, sizeof listed - 2 * i, " %c", extra[i]);
    }
    return config_node_error(reader, node, error,
                             "expected 1 to %zu characters of a-z A-Z 0-9%s, found %s%s", maximum,
                             listed, config_node_found(reader->arena, &shown),
                             size > maximum ? ", which is longer" : "");
}

enum status config_check_text(const struct config_reader *reader, const struct config_node *node,
                              const char *extra, size_t maximum, struct error *error)
{
    ensure(extra != NULL && maximum > 0);
    enum status status = config_expect(reader, node, NODE_TEXT, "a string", error);
    return status != STATUS_OK ? status
                               : check_name(reader, node, node->text, extra, maximum, error);
}

static enum status number_error(const struct config_reader *reader, const struct config_node *node,
                                const struct config_key *key, struct error *error)
{
    char from[32];
    char to[32];
    config_key_format(key->type, key->minimum, from, sizeof from);
    config_key_format(key->type, key->maximum, to, sizeof to);
    const char *what = key->type == KEY_INTEGER    ? "an integer"
                       : key->type == KEY_DURATION ? "a duration"
                                                   : "a size";
    const char *how = key->type == KEY_INTEGER    ? ""
                      : key->type == KEY_DURATION ? " (\"100ms\", \"10s\", \"5m\", \"1h\" or ms)"
                                                  : " (\"64KiB\", \"16MiB\", \"1GiB\" or bytes)";
    ensure(key->minimum < key->maximum);
    return config_node_error(reader, node, error, "expected %s from %s to %s%s, found %s", what,
                             from, to, how, config_node_found(reader->arena, node));
}

static enum status parse_number(const struct config_reader *reader, const struct config_node *node,
                                const struct config_key *key, int64_t *number, struct error *error)
{
    bool good = false;
    ensure(key->type == KEY_INTEGER || key->type == KEY_DURATION || key->type == KEY_SIZE);
    if (node->kind == NODE_INTEGER) {
        *number = node->integer;
        good = true;
    } else if (node->kind == NODE_TEXT && key->type == KEY_DURATION) {
        good = value_parse_duration(node->text, number);
    } else if (node->kind == NODE_TEXT && key->type == KEY_SIZE) {
        good = value_parse_size(node->text, number);
    } else if (node->kind == NODE_TEXT && node->loose) {
        good = value_parse_integer(node->text, number);
    }
    if (!good || *number < key->minimum || *number > key->maximum) {
        return number_error(reader, node, key, error);
    }
    return STATUS_OK;
}

static void write_number(const struct config_key *key, void *base, int64_t number)
{
    uint8_t *at = (uint8_t *)base + key->offset;
    ensure(key->width == 1 || key->width == 4 || key->width == 8);
    if (key->width == 1) {
        bool boolean = number != 0;
        memcpy(at, &boolean, 1);
    } else if (key->width == 4) {
        int32_t narrow = (int32_t)number;
        ensure(narrow == number);
        memcpy(at, &narrow, sizeof narrow);
    } else {
        memcpy(at, &number, sizeof number);
    }
}

static void write_text(const struct config_key *key, void *base, char *text)
{
    ensure(key->width == sizeof text);
    memcpy((uint8_t *)base + key->offset, &text, sizeof text);
}

static enum status read_choice(const struct config_reader *reader, const struct config_node *node,
                               const struct config_key *key, void *base, struct error *error)
{
    const char *names[8];
    size_t count = 0;
    char listed[128] = "";
    size_t used = 0;
    for (const struct config_choice *choice = key->choices; choice->name != NULL; choice++) {
        if (node->kind == NODE_TEXT && strcmp(choice->name, node->text) == 0) {
            if (choice->refusal != NULL) {
                return config_node_error(reader, node, error, "%s", choice->refusal);
            }
            write_number(key, base, choice->number);
            return STATUS_OK;
        }
        if (choice->refusal == NULL) {
            ensure(count < 8 && used < sizeof listed);
            used += (size_t)snprintf(listed + used, sizeof listed - used, "%s\"%s\"",
                                     count == 0 ? "" : " or ", choice->name);
            names[count++] = choice->name;
        }
    }
    const char *hint =
        node->kind != NODE_TEXT ? "" : config_suggestion(reader->arena, node->text, names, count);
    return config_node_error(reader, node, error, "expected %s, found %s%s", listed,
                             config_node_found(reader->arena, node), hint);
}

static enum status read_path(const struct config_reader *reader, const struct config_node *node,
                             const struct config_key *key, void *base, struct error *error)
{
    bool use = key->type == KEY_USE;
    ensure(use || key->type == KEY_PATH);
    const char *expected = use ? "the name or path of an operator" : "a path";
    enum status status = config_expect(reader, node, NODE_TEXT, expected, error);
    if (status != STATUS_OK) {
        return status;
    }
    if (*node->text == 0) {
        return config_node_error(reader, node, error, "expected %s, found \"\"", expected);
    }
    bool joined = !use || strchr(node->text, '/') != NULL;
    write_text(key, base,
               joined ? config_join(reader, node, node->text)
                      : config_copy(reader->arena, node->text, strlen(node->text)));
    return STATUS_OK;
}

static enum status read_text(const struct config_reader *reader, const struct config_node *node,
                             const struct config_key *key, void *base, struct error *error)
{
    ensure(key->extra != NULL && key->maximum > 0);
    enum status status = config_check_text(reader, node, key->extra, (size_t)key->maximum, error);
    if (status == STATUS_OK) {
        write_text(key, base, config_copy(reader->arena, node->text, strlen(node->text)));
    }
    return status;
}

static enum status read_entries(const struct config_reader *reader, const struct config_node *node,
                                const struct config_key *key, void *base, struct error *error)
{
    enum status status =
        config_expect(reader, node, NODE_OBJECT, "an object of named nodes", error);
    if (status == STATUS_OK && node->count < (size_t)key->minimum) {
        status = config_node_error(reader, node, error, "expected at least one node, found none");
    }
    if (status != STATUS_OK) {
        return status;
    }
    ensure(key->entry_size > sizeof(char *) && key->line_offset >= sizeof(char *));
    uint8_t *entries = config_take(reader->arena, node->count * key->entry_size);
    size_t count = 0;
    for (const struct config_node *child = node->first; child != NULL; child = child->next) {
        uint8_t *entry = entries + count++ * key->entry_size;
        char *name = config_copy(reader->arena, child->key, strlen(child->key));
        int line = config_node_line(child);
        memcpy(entry, &name, sizeof name);
        memcpy(entry + key->line_offset, &line, sizeof line);
        status = check_name(reader, child, name, "_", CONFIG_NAME_SIZE, error);
        if (status == STATUS_OK) {
            status = config_expect(reader, child, NODE_OBJECT, "an object", error);
        }
        if (status == STATUS_OK) {
            status = config_read_keys(reader, child, key->keys, entry, error);
        }
        if (status != STATUS_OK) {
            return status;
        }
    }
    memcpy((uint8_t *)base + key->offset, &entries, sizeof entries);
    memcpy((uint8_t *)base + key->count_offset, &count, sizeof count);
    return STATUS_OK;
}

static enum status read_key(const struct config_reader *reader, const struct config_node *node,
                            const struct config_key *key, void *base, struct error *error)
{
    int64_t number = 0;
    enum status status;
    switch (key->type) {
    case KEY_TEXT:
        return read_text(reader, node, key, base, error);
    case KEY_PATH:
    case KEY_USE:
        return read_path(reader, node, key, base, error);
    case KEY_INTEGER:
    case KEY_DURATION:
    case KEY_SIZE:
        status = parse_number(reader, node, key, &number, error);
        if (status == STATUS_OK) {
            write_number(key, base, number);
        }
        return status;
    case KEY_CHOICE:
        return read_choice(reader, node, key, base, error);
    case KEY_OBJECT:
        status = config_expect(reader, node, NODE_OBJECT, "an object", error);
        return status != STATUS_OK ? status
                                   : config_read_keys(reader, node, key->keys, base, error);
    case KEY_ENTRIES:
        return read_entries(reader, node, key, base, error);
    case KEY_PATHS:
        return config_read_paths(reader, node, key, base, error);
    case KEY_TOPIC:
    case KEY_TOPICS:
        return config_read_topics(reader, node, key, base, error);
    case KEY_FROM:
        return config_read_feeds(reader, node, (void *)((uint8_t *)base + key->offset), error);
    case KEY_INPUTS:
        return config_read_inputs(reader, node, key, base, error);
    case KEY_PARAMS:
        return config_read_params(reader, node, key, base, error);
    case KEY_PROPERTIES:
    case KEY_SETTINGS:
        return config_read_properties(reader, node, key, base, error);
    }
    ensure_failed("a key type without a reader", __FILE__, __LINE__, __func__);
}

static enum status read_absent(const struct config_reader *reader, const struct config_node *node,
                               const struct config_key *key, void *base, struct error *error)
{
    if (key->required) {
        return config_node_error(reader, node == NULL ? reader->root : node, error,
                                 "expected the key \"%s\" (%s), found none", key->name,
                                 key->summary);
    }
    if (key->type == KEY_OBJECT) {
        return config_read_keys(reader, NULL, key->keys, base, error);
    }
    if (key->default_text == NULL) {
        return STATUS_OK;
    }
    struct config_node made = {.kind = NODE_TEXT, .loose = true, .text = key->default_text};
    enum status status = read_key(reader, &made, key, base, error);
    ensure(status == STATUS_OK); /* a default that its own table refuses */
    return status;
}

enum status config_read_keys(const struct config_reader *reader, const struct config_node *node,
                             const struct config_key *keys, void *base, struct error *error)
{
    ensure(node == NULL || node->kind == NODE_OBJECT);
    const struct config_node *first = node == NULL ? NULL : node->first;
    for (const struct config_node *child = first; child != NULL; child = child->next) {
        const struct config_key *key = config_key_find(keys, child->key);
        if (key == NULL) {
            const char *names[CONFIG_KEYS_MAX];
            char listed[256];
            size_t count = config_key_names(keys, names, CONFIG_KEYS_MAX);
            config_key_list(keys, listed, sizeof listed);
            return config_node_error(reader, child, error, "expected %s, found an unknown key%s",
                                     listed,
                                     config_suggestion(reader->arena, child->key, names, count));
        }
        enum status status = read_key(reader, child, key, base, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    for (const struct config_key *key = keys; key->name != NULL; key++) {
        if (config_node_child(node, key->name) == NULL) {
            enum status status = read_absent(reader, node, key, base, error);
            if (status != STATUS_OK) {
                return status;
            }
        }
    }
    return STATUS_OK;
}
