/* SPDX-License-Identifier: Apache-2.0 */
#include "topology/config_tree.h"

#include "base/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FOUND_SIZE = 40, PATH_KEY_SIZE = 60 };

void *config_take(struct arena *arena, size_t size)
{
    ensure(arena != NULL);
    return memset(arena_take(arena, size), 0, size);
}

char *config_copy(struct arena *arena, const char *text, size_t size)
{
    ensure(text != NULL || size == 0);
    char *copy = config_take(arena, size + 1);
    if (size > 0) {
        memcpy(copy, text, size);
    }
    return copy;
}

char *config_format(struct arena *arena, const char *format, ...)
{
    va_list arguments;
    va_list again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    ensure(size >= 0);
    char *text = config_take(arena, (size_t)size + 1);
    (void)vsnprintf(text, (size_t)size + 1, format, again);
    va_end(again);
    return text;
}

struct config_node *config_node_add(struct arena *arena, struct config_node *parent,
                                    const char *key, size_t key_size)
{
    struct config_node *node = config_take(arena, sizeof *node);
    ensure(key != NULL || key_size == 0);
    node->key = key == NULL ? NULL : config_copy(arena, key, key_size);
    if (parent != NULL) {
        config_node_append(parent, node);
    }
    return node;
}

void config_node_append(struct config_node *parent, struct config_node *child)
{
    ensure(parent->kind == NODE_OBJECT || parent->kind == NODE_LIST);
    child->parent = parent;
    child->next = NULL;
    child->index = parent->count++;
    if (parent->last == NULL) {
        parent->first = child;
    } else {
        parent->last->next = child;
    }
    parent->last = child;
}

void config_node_unlink(struct config_node *child)
{
    struct config_node *parent = child->parent;
    ensure(parent != NULL && parent->count > 0);
    struct config_node *before = NULL;
    for (struct config_node *at = parent->first; at != child; at = at->next) {
        ensure(at != NULL);
        before = at;
    }
    if (before == NULL) {
        parent->first = child->next;
    } else {
        before->next = child->next;
    }
    if (parent->last == child) {
        parent->last = before;
    }
    parent->count--;
}

struct config_node *config_node_child(const struct config_node *object, const char *key)
{
    ensure(key != NULL);
    if (object == NULL || object->kind != NODE_OBJECT) {
        return NULL;
    }
    for (struct config_node *child = object->first; child != NULL; child = child->next) {
        if (strcmp(child->key, key) == 0) {
            return child;
        }
    }
    return NULL;
}

static bool is_plain(const char *key)
{
    const char *at = key;
    ensure(key != NULL);
    while ((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') ||
           *at == '_' || *at == '-') {
        at++;
    }
    return *at == 0 && at != key;
}

/* Text as it may stand in a one-line error: cut at `limit` bytes, control characters replaced. */
static void append_clean(struct buffer *buffer, const char *text, size_t limit)
{
    ensure(limit > 0);
    size_t size = strlen(text);
    size_t shown = size;
    if (size > limit) {
        shown = limit;
        while (shown > 0 && ((unsigned char)text[shown] & 0xc0) == 0x80) {
            shown--; /* not within a UTF-8 sequence */
        }
    }
    for (size_t i = 0; i < shown; i++) {
        char c = text[i];
        buffer_append(buffer, (unsigned char)c < 0x20 || c == 0x7f ? "?" : &c, 1);
    }
    if (shown < size) {
        buffer_append_text(buffer, "...");
    }
}

char *config_node_path(struct arena *arena, const struct config_node *node)
{
    const struct config_node *chain[CONFIG_DEPTH + 2];
    size_t count = 0;
    for (; node->parent != NULL; node = node->parent) {
        ensure(count < CONFIG_DEPTH + 2);
        chain[count++] = node;
    }
    struct buffer buffer = {0};
    buffer_append_text(&buffer, "$");
    while (count > 0) {
        const struct config_node *at = chain[--count];
        if (at->key == NULL) {
            buffer_format(&buffer, "[%u]", at->index);
        } else if (is_plain(at->key)) {
            buffer_append_text(&buffer, ".");
            append_clean(&buffer, at->key, PATH_KEY_SIZE);
        } else {
            buffer_append_text(&buffer, ".\"");
            append_clean(&buffer, at->key, PATH_KEY_SIZE);
            buffer_append_text(&buffer, "\"");
        }
    }
    char *path = config_copy(arena, (const char *)buffer.data, buffer.size);
    buffer_finish(&buffer);
    return path;
}

int config_node_line(const struct config_node *node)
{
    ensure(node != NULL);
    while (node->line == 0 && node->origin == NULL && node->parent != NULL) {
        node = node->parent;
    }
    return node->line;
}

const char *config_node_kind_name(const struct config_node *node)
{
    static const char *const names[] = {"null",       "an object", "a list",   "a string",
                                        "an integer", "a number",  "a boolean"};
    ensure((size_t)node->kind < sizeof names / sizeof *names);
    return names[node->kind];
}

const char *config_node_found(struct arena *arena, const struct config_node *node)
{
    ensure(node != NULL);
    if (node->kind == NODE_INTEGER) {
        return config_format(arena, "%" PRId64, node->integer);
    }
    if (node->kind == NODE_REAL) {
        return config_format(arena, "%.15g", node->real);
    }
    if (node->kind == NODE_BOOLEAN) {
        return node->boolean ? "true" : "false";
    }
    if (node->kind != NODE_TEXT) {
        return config_node_kind_name(node);
    }
    struct buffer buffer = {0};
    buffer_append_text(&buffer, "\"");
    append_clean(&buffer, node->text, FOUND_SIZE);
    buffer_append_text(&buffer, "\"");
    char *found = config_copy(arena, (const char *)buffer.data, buffer.size);
    buffer_finish(&buffer);
    return found;
}

enum status config_node_error(const struct config_reader *reader, const struct config_node *node,
                              struct error *error, const char *format, ...)
{
    ensure(node != NULL);
    char text[sizeof error->text];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const char *path = config_node_path(reader->arena, node);
    const struct config_node *placed = node;
    while (placed->line == 0 && placed->origin == NULL && placed->parent != NULL) {
        placed = placed->parent;
    }
    if (placed->origin != NULL) {
        return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG, "%s: %s: %s", placed->origin, path,
                         text);
    }
    return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG, "%s:%d: %s: %s", reader->file,
                     placed->line, path, text);
}

const char *config_suggestion(struct arena *arena, const char *name, const char *const *candidates,
                              size_t count)
{
    ensure(name != NULL);
    const char *nearest = value_nearest(name, candidates, count);
    return nearest == NULL ? "" : config_format(arena, "; did you mean \"%s\"?", nearest);
}

char *config_join(const struct config_reader *reader, const struct config_node *node,
                  const char *path)
{
    ensure(path != NULL);
    bool as_it_is = *path == '/' || node->origin != NULL || *reader->directory == 0;
    if (as_it_is) {
        return config_copy(reader->arena, path, strlen(path));
    }
    const char *slash = strcmp(reader->directory, "/") == 0 ? "" : "/";
    return config_format(reader->arena, "%s%s%s", reader->directory, slash, path);
}
