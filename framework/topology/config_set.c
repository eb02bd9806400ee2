/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Config set: --broker and --set put into the tree before it is read, so that what they say meets
 * the same checks as the file. The tables lead: a path they do not know is refused with the nearest
 * one. Invariant: nodes made here have line 0 and an origin ("--set PATH"), which errors name.
 */
#include "topology/config_read.h"

#include <stdlib.h>
#include <string.h>

struct set {
    struct config_reader *reader;
    const char *origin; /* "--set workers" */
    const char *segments[CONFIG_DEPTH];
    size_t count;
    const char *value;
    struct error *error;
};

static enum status set_error(const struct set *set, const char *expected, const char *found,
                             const char *hint)
{
    ensure(expected != NULL && hint != NULL);
    return error_set(set->error, STATUS_BAD_CONFIG, ERROR_CONFIG, "%s: expected %s, found %s%s",
                     set->origin, expected, found, hint);
}

/* One segment, plain or quoted; NULL = malformed. */
static const char *take_segment(struct set *set, const char **at)
{
    struct buffer out = {0};
    bool good = true;
    ensure(*at != NULL);
    if (**at == '"') {
        for ((*at)++; **at != '"' && **at != 0; (*at)++) {
            if (**at == '\\' && (*at)[1] != 0) {
                (*at)++;
            }
            buffer_append(&out, *at, 1);
        }
        good = **at == '"';
        *at += good ? 1 : 0;
    } else {
        for (; **at != 0 && **at != '.' && **at != '=' && **at != '"'; (*at)++) {
            buffer_append(&out, *at, 1);
        }
    }
    const char *segment = NULL;
    if (good && out.size > 0) {
        segment = config_copy(set->reader->arena, (const char *)out.data, out.size);
    }
    buffer_finish(&out);
    return segment;
}

/* Cut, so that an error has room for what is wrong. */
static const char *origin_of(struct set *set, const char *path, size_t size)
{
    enum { SHOWN = 120 };
    ensure(path != NULL);
    return config_format(set->reader->arena, "--set %.*s%s", (int)(size < SHOWN ? size : SHOWN),
                         path, size > SHOWN ? "..." : "");
}

static enum status split(struct set *set, const char *text)
{
    const char *at = strncmp(text, "$.", 2) == 0 ? text + 2 : text; /* as errors write it */
    set->origin = "--set";
    ensure(set->count == 0);
    for (;;) {
        const char *segment = set->count < CONFIG_DEPTH ? take_segment(set, &at) : NULL;
        if (segment == NULL || (*at != '.' && *at != '=')) {
            break;
        }
        set->segments[set->count++] = segment;
        if (*at++ == '=') {
            set->origin = origin_of(set, text, (size_t)(at - text - 1));
            set->value = at;
            return STATUS_OK;
        }
    }
    const char *end = strchr(text, '=');
    size_t shown = end == NULL ? strlen(text) : (size_t)(end - text);
    return set_error(
        set, "PATH=VALUE, as in workers=2 or broker.properties.\"linger.ms\"=5",
        config_format(set->reader->arena, "\"%.*s\"", (int)(shown < 60 ? shown : 60), text), "");
}

/* The child of that name, emptied: what it was in the file no longer counts. */
static struct config_node *replace(struct set *set, struct config_node *parent, const char *name)
{
    struct config_node *node = config_node_child(parent, name);
    if (node == NULL) {
        node = config_node_add(set->reader->arena, parent, name, strlen(name));
    }
    ensure(node->parent == parent);
    node->first = node->last = NULL;
    node->count = 0;
    node->line = 0;
    node->loose = true;
    node->origin = set->origin;
    node->kind = NODE_TEXT;
    node->text = config_copy(set->reader->arena, set->value, strlen(set->value));
    return node;
}

static enum status put_json(struct set *set, struct config_node *parent, const char *name)
{
    struct config_node *root;
    enum status status = config_read_json(set->reader, set->value, strlen(set->value), set->origin,
                                          &root, set->error);
    if (status != STATUS_OK) {
        return status;
    }
    struct config_node *node = replace(set, parent, name);
    node->kind = root->kind;
    ensure(root->kind == NODE_OBJECT || root->kind == NODE_LIST);
    for (struct config_node *child = root->first, *next; child != NULL; child = next) {
        next = child->next;
        config_node_append(node, child);
    }
    return STATUS_OK;
}

/* "a,b,c" */
static void put_list(struct set *set, struct config_node *parent, const char *name)
{
    struct config_node *list = replace(set, parent, name);
    list->kind = NODE_LIST;
    for (const char *at = set->value; *at != 0;) {
        size_t size = strcspn(at, ",");
        struct config_node *item = config_node_add(set->reader->arena, list, NULL, 0);
        item->kind = NODE_TEXT;
        item->origin = set->origin;
        item->text = config_copy(set->reader->arena, at, size);
        at += size + (at[size] == ',' ? 1 : 0);
    }
    ensure(list->count > 0 || *set->value == 0);
}

/* The last segment: VALUE becomes what the key wants. */
static enum status put_value(struct set *set, struct config_node *parent, const char *name,
                             enum config_key_type type)
{
    char first = *set->value;
    switch (type) {
    case KEY_TEXT:
    case KEY_PATH:
    case KEY_USE:
    case KEY_INTEGER:
    case KEY_DURATION:
    case KEY_SIZE:
    case KEY_CHOICE:
    case KEY_TOPIC:
        (void)replace(set, parent, name);
        return STATUS_OK;
    case KEY_PATHS:
    case KEY_TOPICS:
    case KEY_FROM:
    case KEY_INPUTS:
        if (first == '[' || (first == '{' && type == KEY_INPUTS)) {
            return put_json(set, parent, name);
        }
        put_list(set, parent, name);
        return STATUS_OK;
    case KEY_OBJECT:
    case KEY_ENTRIES:
    case KEY_PARAMS:
    case KEY_PROPERTIES:
    case KEY_SETTINGS:
        break;
    }
    ensure(parent != NULL);
    if (first != '{') {
        return set_error(set, "a JSON object, or a longer path", "another value", "");
    }
    return put_json(set, parent, name);
}

/* The object below; made when absent, so that a --set may name what the file leaves out. */
static enum status enter(struct set *set, struct config_node *parent, const char *name,
                         struct config_node **child)
{
    *child = config_node_child(parent, name);
    if (*child == NULL) {
        *child = config_node_add(set->reader->arena, parent, name, strlen(name));
        (*child)->kind = NODE_OBJECT;
        (*child)->origin = set->origin;
    }
    ensure((*child)->parent == parent);
    return config_expect(set->reader, *child, NODE_OBJECT, "an object", set->error);
}

/* Parameters, properties and settings: any name. */
static enum status set_named(struct set *set, struct config_node *node,
                             const struct config_key *key, size_t depth)
{
    const char *name = set->segments[depth];
    size_t left = set->count - depth;
    ensure(left > 0);
    if (left == 1) {
        if (key->type == KEY_PROPERTIES && *set->value == '{') {
            return put_json(set, node, name);
        }
        (void)replace(set, node, name);
        return STATUS_OK;
    }
    const char *last = set->segments[depth + 1];
    if (key->type == KEY_PROPERTIES && left == 2 &&
        (strcmp(last, "env") == 0 || strcmp(last, "file") == 0)) {
        struct config_node *secret = replace(set, node, name);
        secret->kind = NODE_OBJECT;
        (void)replace(set, secret, last);
        return STATUS_OK;
    }
    return set_error(set, "one name", "a dot", "; write a name with dots in quotes: \"a.b\"");
}

static enum status set_in_table(struct set *set, struct config_node *node,
                                const struct config_key *keys, size_t depth);

/* Named nodes: only those of the file. */
static enum status set_entry(struct set *set, struct config_node *entries,
                             const struct config_key *key, size_t depth)
{
    const char *name = set->segments[depth];
    struct config_node *entry = config_node_child(entries, name);
    if (entry == NULL) {
        size_t count = 0;
        const char **names = config_take(set->reader->arena, entries->count * sizeof *names);
        for (struct config_node *child = entries->first; child != NULL; child = child->next) {
            names[count++] = child->key;
        }
        ensure(count == entries->count);
        return set_error(set, config_format(set->reader->arena, "a node of %s", key->name),
                         config_format(set->reader->arena, "\"%.40s\"", name),
                         config_suggestion(set->reader->arena, name, names, count));
    }
    if (depth + 1 == set->count) {
        return put_value(set, entries, name, KEY_OBJECT);
    }
    enum status status = config_expect(set->reader, entry, NODE_OBJECT, "an object", set->error);
    return status != STATUS_OK ? status : set_in_table(set, entry, key->keys, depth + 1);
}

/* `topic` and `topics` of a source exclude each other: the one that is set replaces the other. */
static void drop_rival(struct config_node *node, const struct config_key *key)
{
    const char *rival = key->type == KEY_TOPIC    ? "topics"
                        : key->type == KEY_TOPICS ? "topic"
                                                  : NULL;
    struct config_node *child = rival == NULL ? NULL : config_node_child(node, rival);
    ensure(node->kind == NODE_OBJECT);
    if (child != NULL) {
        config_node_unlink(child);
    }
}

static enum status set_in_table(struct set *set, struct config_node *node,
                                const struct config_key *keys, size_t depth)
{
    const char *name = set->segments[depth];
    const struct config_key *key = config_key_find(keys, name);
    ensure(depth < set->count);
    if (key == NULL) {
        const char *names[CONFIG_KEYS_MAX];
        char listed[256];
        size_t count = config_key_names(keys, names, CONFIG_KEYS_MAX);
        config_key_list(keys, listed, sizeof listed);
        return set_error(set, listed, config_format(set->reader->arena, "\"%.40s\"", name),
                         config_suggestion(set->reader->arena, name, names, count));
    }
    if (depth + 1 == set->count) {
        drop_rival(node, key);
        return put_value(set, node, name, key->type);
    }
    bool object = key->type == KEY_OBJECT || key->type == KEY_ENTRIES || key->type == KEY_PARAMS ||
                  key->type == KEY_PROPERTIES || key->type == KEY_SETTINGS;
    if (!object) {
        return set_error(
            set, config_format(set->reader->arena, "= after \"%s\", which holds one value", name),
            config_format(set->reader->arena, "\".%.40s\"", set->segments[depth + 1]), "");
    }
    struct config_node *child;
    enum status status = enter(set, node, name, &child);
    if (status != STATUS_OK) {
        return status;
    }
    return key->type == KEY_OBJECT    ? set_in_table(set, child, key->keys, depth + 1)
           : key->type == KEY_ENTRIES ? set_entry(set, child, key, depth + 1)
                                      : set_named(set, child, key, depth + 1);
}

static enum status apply_broker(struct config_reader *reader, const char *text, struct error *error)
{
    struct set set = {.reader = reader, .origin = "--broker", .error = error};
    ensure(text != NULL);
    bool local = strncmp(text, "local:", 6) == 0 && text[6] != 0;
    const char *port = strrchr(text, ':');
    bool kafka = strncmp(text, "kafka:", 6) == 0 && text[6] != 0 && port > text + 6 &&
                 port[1] != 0 && strspn(port + 1, "0123456789") == strlen(port + 1);
    if (!local && !kafka) {
        return set_error(&set, "local:DIR or kafka:HOST:PORT",
                         config_format(reader->arena, "\"%.60s\"", text), "");
    }
    struct config_node *broker;
    enum status status = enter(&set, reader->root, "broker", &broker);
    if (status != STATUS_OK) {
        return status;
    }
    set.value = local ? "local" : "kafka";
    (void)replace(&set, broker, "kind");
    set.value = text + 6;
    if (local) {
        (void)replace(&set, broker, "directory");
        return STATUS_OK;
    }
    struct config_node *properties;
    status = enter(&set, broker, "properties", &properties);
    if (status == STATUS_OK) {
        (void)replace(&set, properties, "bootstrap.servers");
    }
    return status;
}

enum status config_apply(struct config_reader *reader, const struct config_overrides *overrides,
                         struct error *error)
{
    ensure(reader->root->kind == NODE_OBJECT);
    if (overrides == NULL) {
        return STATUS_OK;
    }
    enum status status = STATUS_OK;
    if (overrides->broker != NULL) {
        status = apply_broker(reader, overrides->broker, error);
    }
    for (size_t i = 0; i < overrides->set_count && status == STATUS_OK; i++) {
        struct set set = {.reader = reader, .error = error};
        status = split(&set, overrides->sets[i]);
        if (status == STATUS_OK) {
            status = set_in_table(&set, reader->root, config_keys, 0);
        }
    }
    return status;
}
