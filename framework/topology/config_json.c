/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Config JSON: the only config unit that reads JSON by jansson. The scan has the shape and the
 * lines, jansson the verdict and the values; here they meet.
 */
#include "topology/config_tree.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Parser and scan agree on the shape (the scan's invariant), so every node has its value. */
static void fill(struct config_reader *reader, struct config_node *node, const json_t *json,
                 const char *origin)
{
    ensure(json != NULL);
    if (origin != NULL) {
        node->origin = origin;
        node->line = 0;
    }
    switch (json_typeof(json)) {
    case JSON_STRING:
        node->kind = NODE_TEXT;
        node->text = config_copy(reader->arena, json_string_value(json), json_string_length(json));
        return;
    case JSON_INTEGER:
        node->kind = NODE_INTEGER;
        node->integer = json_integer_value(json);
        return;
    case JSON_REAL:
        node->kind = NODE_REAL;
        node->real = json_real_value(json);
        return;
    case JSON_TRUE:
    case JSON_FALSE:
        node->kind = NODE_BOOLEAN;
        node->boolean = json_is_true(json);
        return;
    case JSON_NULL:
        node->kind = NODE_NULL;
        return;
    case JSON_OBJECT:
    case JSON_ARRAY:
        break;
    }
    ensure((node->kind == NODE_OBJECT) == json_is_object(json));
    for (struct config_node *child = node->first; child != NULL; child = child->next) {
        fill(reader, child,
             child->key != NULL ? json_object_get(json, child->key)
                                : json_array_get(json, child->index),
             origin);
    }
}

/* Keys that begin "x-" are for other tools: once their text was judged they are forgotten. */
static void drop_foreign(struct config_node *node)
{
    ensure(node->kind == NODE_OBJECT || node->kind == NODE_LIST);
    struct config_node *child = node->first;
    node->first = node->last = NULL;
    node->count = 0;
    for (struct config_node *next; child != NULL; child = next) {
        next = child->next;
        if (child->key != NULL && strncmp(child->key, "x-", 2) == 0) {
            continue;
        }
        config_node_append(node, child);
        if (child->first != NULL) {
            drop_foreign(child);
        }
    }
}

/* The parser reads over a NUL behind a number as if the file went on without it. */
static enum status refuse_nul(const char *file, const char *text, size_t size, struct error *error)
{
    const char *found = size == 0 ? NULL : memchr(text, 0, size);
    int line = 1;
    if (found == NULL) {
        return STATUS_OK;
    }
    for (const char *at = text; at < found; at++) {
        line += *at == '\n';
    }
    return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                     "%s:%d: $: expected JSON, found a NUL byte", file, line);
}

enum status config_read_json(struct config_reader *reader, const char *text, size_t size,
                             const char *origin, struct config_node **root, struct error *error)
{
    bool malformed;
    struct config_reader named = *reader;
    named.file = origin == NULL ? reader->file : origin;
    enum status status = config_scan(&named, text, size, root, &malformed, error);
    status = status == STATUS_OK ? refuse_nul(named.file, text, size, error) : status;
    if (status != STATUS_OK) {
        return status;
    }
    json_error_t reason;
    /* Where its buffer cannot grow the parser drops a letter and goes on: another application. */
    json_set_alloc_funcs(memory_allocate, free);
    json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &reason);
    if (json == NULL) {
        char *jargon = strstr(reason.text, " without JSON_ALLOW_NUL");
        if (jargon != NULL) {
            *jargon = 0;
        }
        return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                         "%s:%d: $: expected JSON, found a mistake at column %d: %s", named.file,
                         reason.line < 1 ? 1 : reason.line, reason.column, reason.text);
    }
    ensure(!malformed);
    fill(reader, *root, json, origin);
    drop_foreign(*root);
    json_decref(json);
    return STATUS_OK;
}
