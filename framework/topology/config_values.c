/* SPDX-License-Identifier: Apache-2.0 */
/* Config values: lists of paths, topics and feeds, inputs of operators, parameters. See
 * config_read.h. */
#include "topology/config_read.h"

#include <string.h>

static void write_list(const struct config_key *key, void *base, void *items, size_t count)
{
    ensure(key->width == sizeof items && key->count_offset != 0);
    memcpy((uint8_t *)base + key->offset, &items, sizeof items);
    memcpy((uint8_t *)base + key->count_offset, &count, sizeof count);
}

enum status config_read_paths(const struct config_reader *reader, const struct config_node *node,
                              const struct config_key *key, void *base, struct error *error)
{
    enum status status = config_expect(reader, node, NODE_LIST, "a list of paths", error);
    if (status != STATUS_OK) {
        return status;
    }
    char **paths = config_take(reader->arena, node->count * sizeof *paths);
    for (const struct config_node *item = node->first; item != NULL; item = item->next) {
        status = config_expect(reader, item, NODE_TEXT, "a path", error);
        if (status != STATUS_OK) {
            return status;
        }
        if (*item->text == 0) {
            return config_node_error(reader, item, error, "expected a path, found \"\"");
        }
        ensure(item->index < node->count);
        paths[item->index] = config_join(reader, item, item->text);
    }
    write_list(key, base, paths, node->count);
    return STATUS_OK;
}

static enum status read_topic(const struct config_reader *reader, const struct config_node *node,
                              char **topic, struct error *error)
{
    enum status status = config_check_text(reader, node, "._-", CONFIG_TOPIC_SIZE, error);
    if (status == STATUS_OK) {
        *topic = config_copy(reader->arena, node->text, strlen(node->text));
        ensure(**topic != 0);
    }
    return status;
}

enum status config_read_topics(const struct config_reader *reader, const struct config_node *node,
                               const struct config_key *key, void *base, struct error *error)
{
    bool single = key->type == KEY_TOPIC;
    ensure(single || key->type == KEY_TOPICS);
    if (single) {
        char **topic = config_take(reader->arena, sizeof *topic);
        enum status status = read_topic(reader, node, topic, error);
        write_list(key, base, topic, 1);
        return status;
    }
    enum status status = config_expect(reader, node, NODE_LIST, "a list of topics", error);
    if (status == STATUS_OK && node->count == 0) {
        status = config_node_error(reader, node, error, "expected at least one topic, found none");
    }
    if (status != STATUS_OK) {
        return status;
    }
    char **topics = config_take(reader->arena, node->count * sizeof *topics);
    for (const struct config_node *item = node->first; item != NULL; item = item->next) {
        status = read_topic(reader, item, &topics[item->index], error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    write_list(key, base, topics, node->count);
    return STATUS_OK;
}

static enum status read_feed(const struct config_reader *reader, const struct config_node *node,
                             struct config_feeds *feeds, struct error *error)
{
    enum status status =
        config_expect(reader, node, NODE_TEXT, "the name of a node or \"node.port\"", error);
    ensure(feeds->names != NULL && feeds->lines != NULL);
    if (status == STATUS_OK) {
        feeds->lines[feeds->count] = config_node_line(node);
        feeds->names[feeds->count++] = config_copy(reader->arena, node->text, strlen(node->text));
    }
    return status;
}

enum status config_read_feeds(const struct config_reader *reader, const struct config_node *node,
                              struct config_feeds *feeds, struct error *error)
{
    ensure(feeds != NULL && feeds->count == 0);
    if (node->kind != NODE_TEXT && node->kind != NODE_LIST) {
        return config_node_error(reader, node, error,
                                 "expected the name of a node or a list of names, found %s",
                                 config_node_found(reader->arena, node));
    }
    feeds->path = config_node_path(reader->arena, node);
    feeds->line = config_node_line(node);
    feeds->list = node->kind == NODE_LIST;
    size_t size = feeds->list ? node->count : 1;
    if (size == 0) {
        return config_node_error(reader, node, error, "expected at least one name, found none");
    }
    feeds->names = config_take(reader->arena, size * sizeof *feeds->names);
    feeds->lines = config_take(reader->arena, size * sizeof *feeds->lines);
    if (!feeds->list) {
        return read_feed(reader, node, feeds, error);
    }
    enum status status = STATUS_OK;
    for (const struct config_node *item = node->first; item != NULL && status == STATUS_OK;
         item = item->next) {
        status = read_feed(reader, item, feeds, error);
    }
    return status;
}

enum status config_read_inputs(const struct config_reader *reader, const struct config_node *node,
                               const struct config_key *key, void *base, struct error *error)
{
    bool ports = node->kind == NODE_OBJECT;
    size_t count = ports ? node->count : 1;
    if (count == 0) {
        return config_node_error(reader, node, error, "expected at least one input, found none");
    }
    struct config_input *inputs = config_take(reader->arena, count * sizeof *inputs);
    ensure(inputs != NULL);
    write_list(key, base, inputs, count);
    if (!ports) {
        return config_read_feeds(reader, node, &inputs[0].from, error);
    }
    enum status status = STATUS_OK;
    for (const struct config_node *child = node->first; child != NULL && status == STATUS_OK;
         child = child->next, inputs++) {
        inputs->port = config_copy(reader->arena, child->key, strlen(child->key));
        status = config_read_feeds(reader, child, &inputs->from, error);
    }
    return status;
}

static enum status read_param_list(const struct config_reader *reader,
                                   const struct config_node *node, struct value *value,
                                   struct error *error)
{
    ensure(node->kind == NODE_LIST);
    value->kind = VALUE_LIST;
    value->items = config_take(reader->arena, node->count * sizeof *value->items);
    for (const struct config_node *item = node->first; item != NULL; item = item->next) {
        enum status status =
            config_expect(reader, item, NODE_TEXT, "a string (lists hold strings)", error);
        if (status != STATUS_OK) {
            return status;
        }
        value->items[value->item_count++] =
            config_copy(reader->arena, item->text, strlen(item->text));
    }
    return STATUS_OK;
}

static enum status read_param(const struct config_reader *reader, const struct config_node *node,
                              struct value *value, struct error *error)
{
    ensure(node->key != NULL);
    switch (node->kind) {
    case NODE_TEXT:
        value->kind = VALUE_STRING;
        value->text = config_copy(reader->arena, node->text, strlen(node->text));
        return STATUS_OK;
    case NODE_INTEGER:
        value->kind = VALUE_INTEGER;
        value->integer = node->integer;
        return STATUS_OK;
    case NODE_REAL:
        value->kind = VALUE_REAL;
        value->real = node->real;
        return STATUS_OK;
    case NODE_BOOLEAN:
        value->kind = VALUE_BOOLEAN;
        value->boolean = node->boolean;
        return STATUS_OK;
    case NODE_LIST:
        return read_param_list(reader, node, value, error);
    case NODE_NULL:
    case NODE_OBJECT:
        break;
    }
    return config_node_error(reader, node, error,
                             "expected a string, a number, true, false or a list of strings, "
                             "found %s",
                             config_node_found(reader->arena, node));
}

enum status config_read_params(const struct config_reader *reader, const struct config_node *node,
                               const struct config_key *key, void *base, struct error *error)
{
    enum status status = config_expect(reader, node, NODE_OBJECT, "an object", error);
    if (status != STATUS_OK) {
        return status;
    }
    struct named_value *params = config_take(reader->arena, node->count * sizeof *params);
    size_t count = 0;
    for (const struct config_node *child = node->first; child != NULL; child = child->next) {
        struct named_value *param = &params[count++];
        param->name = config_copy(reader->arena, child->key, strlen(child->key));
        param->path = config_node_path(reader->arena, child);
        param->line = config_node_line(child);
        status = read_param(reader, child, &param->value, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    ensure(count == node->count);
    write_list(key, base, params, count);
    return STATUS_OK;
}
