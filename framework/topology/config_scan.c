/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Config scan: one pass over the JSON text before the parser sees it. It bounds size and depth,
 * notes the line of every key and value (the parser keeps none) and refuses doubled keys with path
 * and line.
 *
 * It is no validator: it accepts more than JSON, and where it cannot go on it says `malformed` and
 * leaves the verdict to the parser. Invariant: whatever the parser accepts, this accepts with the
 * same shape.
 */
#include "base/hash.h"
#include "topology/config_tree.h"

#include <stdlib.h>
#include <string.h>

enum outcome { SCAN_GOOD, SCAN_MALFORMED, SCAN_REFUSED };

struct scan {
    struct config_reader *reader;
    const char *at, *end;
    int line;
    unsigned depth;
    struct config_node **table; /* every keyed node, by parent and key */
    size_t table_size, table_used;
    struct buffer key; /* the last one decoded */
    struct error *error;
};

static enum outcome scan_value(struct scan *scan, struct config_node *node);

static void skip_space(struct scan *scan)
{
    ensure(scan->at <= scan->end);
    for (; scan->at < scan->end; scan->at++) {
        if (*scan->at == '\n') {
            scan->line++;
        } else if (*scan->at != ' ' && *scan->at != '\t' && *scan->at != '\r') {
            return;
        }
    }
}

static bool take_char(struct scan *scan, char expected)
{
    skip_space(scan);
    if (scan->at < scan->end && *scan->at == expected) {
        scan->at++;
        return true;
    }
    return false;
}

static bool hex4(struct scan *scan, uint32_t *code)
{
    *code = 0;
    ensure(scan->at <= scan->end);
    for (int i = 0; i < 4; i++, scan->at++) {
        if (scan->at == scan->end) {
            return false;
        }
        char c = *scan->at;
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                                : 16;
        if (digit == 16) {
            return false;
        }
        *code = *code * 16 + digit;
    }
    return true;
}

static void append_utf8(struct buffer *buffer, uint32_t code)
{
    ensure(code <= 0x10ffff);
    uint8_t *at;
    if (code < 0x80) {
        *buffer_extend(buffer, 1) = (uint8_t)code;
    } else if (code < 0x800) {
        at = buffer_extend(buffer, 2);
        at[0] = (uint8_t)(0xc0 | (code >> 6));
        at[1] = (uint8_t)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        at = buffer_extend(buffer, 3);
        at[0] = (uint8_t)(0xe0 | (code >> 12));
        at[1] = (uint8_t)(0x80 | ((code >> 6) & 0x3f));
        at[2] = (uint8_t)(0x80 | (code & 0x3f));
    } else {
        at = buffer_extend(buffer, 4);
        at[0] = (uint8_t)(0xf0 | (code >> 18));
        at[1] = (uint8_t)(0x80 | ((code >> 12) & 0x3f));
        at[2] = (uint8_t)(0x80 | ((code >> 6) & 0x3f));
        at[3] = (uint8_t)(0x80 | (code & 0x3f));
    }
}

/* After the backslash. */
static bool scan_escape(struct scan *scan)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    if (scan->at == scan->end) {
        return false;
    }
    char c = *scan->at++;
    ensure(sizeof from == sizeof to);
    if (c != 'u') {
        const char *known = c == 0 ? NULL : strchr(from, c);
        if (known == NULL) {
            return false;
        }
        buffer_append(&scan->key, &to[known - from], 1);
        return true;
    }
    uint32_t code;
    if (!hex4(scan, &code) || code == 0 || (code >= 0xdc00 && code <= 0xdfff)) {
        return false;
    }
    if (code >= 0xd800 && code <= 0xdbff) {
        uint32_t low;
        if (scan->end - scan->at < 2 || scan->at[0] != '\\' || scan->at[1] != 'u') {
            return false;
        }
        scan->at += 2;
        if (!hex4(scan, &low) || low < 0xdc00 || low > 0xdfff) {
            return false;
        }
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    append_utf8(&scan->key, code);
    return true;
}

/* A string, decoded into scan->key. */
static bool scan_string(struct scan *scan)
{
    scan->key.size = 0;
    if (!take_char(scan, '"')) {
        return false;
    }
    while (scan->at < scan->end) {
        char c = *scan->at++;
        if (c == '"') {
            return true;
        }
        if ((unsigned char)c < 0x20) {
            return false;
        }
        if (c != '\\') {
            buffer_append(&scan->key, &c, 1);
        } else if (!scan_escape(scan)) {
            return false;
        }
    }
    return false;
}

static uint64_t hash_node(const struct config_node *parent, const char *key, size_t size)
{
    ensure(parent != NULL);
    uint64_t hash = hash_table(key, size);
    return hash ^ hash_table(&parent, sizeof parent);
}

static void table_put(struct scan *scan, struct config_node *node)
{
    ensure(scan->table_used < scan->table_size); /* else the search would not end */
    uint64_t slot = hash_node(node->parent, node->key, strlen(node->key));
    while (scan->table[slot & (scan->table_size - 1)] != NULL) {
        slot++;
    }
    scan->table[slot & (scan->table_size - 1)] = node;
}

static void table_grow(struct scan *scan)
{
    struct config_node **old = scan->table;
    size_t old_size = scan->table_size;
    scan->table_size = old_size == 0 ? 256 : old_size * 2;
    scan->table = memory_allocate(scan->table_size * sizeof *scan->table);
    for (size_t i = 0; i < old_size; i++) {
        if (old[i] != NULL) {
            table_put(scan, old[i]);
        }
    }
    free(old);
    ensure(scan->table_used < scan->table_size);
}

/* The node of the key just decoded if this object already has it. */
static struct config_node *table_find(struct scan *scan, const struct config_node *parent)
{
    ensure(scan->table_size > 0);
    const char *key = buffer_text(&scan->key);
    uint64_t slot = hash_node(parent, key, scan->key.size);
    struct config_node *node;
    while ((node = scan->table[slot & (scan->table_size - 1)]) != NULL) {
        if (node->parent == parent && strcmp(node->key, key) == 0) {
            return node;
        }
        slot++;
    }
    return NULL;
}

static enum outcome scan_member(struct scan *scan, struct config_node *object)
{
    ensure(object->kind == NODE_OBJECT);
    skip_space(scan);
    if (!scan_string(scan)) {
        return SCAN_MALFORMED;
    }
    if (scan->table_used * 2 >= scan->table_size) {
        table_grow(scan);
    }
    struct config_node *twin = table_find(scan, object);
    struct config_node *node =
        config_node_add(scan->reader->arena, object, buffer_text(&scan->key), scan->key.size);
    node->line = scan->line;
    if (twin != NULL) {
        (void)config_node_error(scan->reader, node, scan->error,
                                "expected every key once, found it again (first on line %d)",
                                twin->line);
        return SCAN_REFUSED;
    }
    table_put(scan, node);
    scan->table_used++;
    return take_char(scan, ':') ? scan_value(scan, node) : SCAN_MALFORMED;
}

/* After the opening bracket. */
static enum outcome scan_children(struct scan *scan, struct config_node *node, char close)
{
    ensure(scan->depth >= 1 && scan->depth <= CONFIG_DEPTH);
    if (take_char(scan, close)) {
        return SCAN_GOOD;
    }
    do {
        enum outcome outcome;
        if (node->kind == NODE_OBJECT) {
            outcome = scan_member(scan, node);
        } else {
            struct config_node *item = config_node_add(scan->reader->arena, node, NULL, 0);
            skip_space(scan);
            item->line = scan->line;
            outcome = scan_value(scan, item);
        }
        if (outcome != SCAN_GOOD) {
            return outcome;
        }
    } while (take_char(scan, ','));
    return take_char(scan, close) ? SCAN_GOOD : SCAN_MALFORMED;
}

static enum outcome scan_value(struct scan *scan, struct config_node *node)
{
    ensure(node->count == 0 && scan->depth <= CONFIG_DEPTH);
    skip_space(scan);
    if (scan->at == scan->end) {
        return SCAN_MALFORMED;
    }
    if (*scan->at == '"') {
        return scan_string(scan) ? SCAN_GOOD : SCAN_MALFORMED;
    }
    if (*scan->at != '{' && *scan->at != '[') {
        const char *from = scan->at;
        while (scan->at < scan->end && strchr(",]}:{[\"\n\r\t ", *scan->at) == NULL) {
            scan->at++;
        }
        return scan->at == from ? SCAN_MALFORMED : SCAN_GOOD;
    }
    node->kind = *scan->at == '{' ? NODE_OBJECT : NODE_LIST;
    scan->at++;
    if (++scan->depth > CONFIG_DEPTH) {
        (void)config_node_error(scan->reader, node, scan->error,
                                "expected at most %d levels of nesting, found more", CONFIG_DEPTH);
        return SCAN_REFUSED;
    }
    enum outcome outcome = scan_children(scan, node, node->kind == NODE_OBJECT ? '}' : ']');
    scan->depth--;
    return outcome;
}

enum status config_scan(struct config_reader *reader, const char *text, size_t size,
                        struct config_node **root, bool *malformed, struct error *error)
{
    ensure(text != NULL);
    if (size > CONFIG_SIZE) {
        return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                         "%s:1: $: expected at most 1 MiB, found more", reader->file);
    }
    struct scan scan = {
        .reader = reader, .at = text, .end = text + size, .line = 1, .error = error};
    *root = config_node_add(reader->arena, NULL, NULL, 0);
    skip_space(&scan);
    (*root)->line = scan.line;
    enum outcome outcome = scan_value(&scan, *root);
    ensure(outcome != SCAN_GOOD || scan.depth == 0);
    skip_space(&scan);
    *malformed = outcome == SCAN_MALFORMED || (outcome == SCAN_GOOD && scan.at != scan.end);
    free(scan.table);
    buffer_finish(&scan.key);
    return outcome == SCAN_REFUSED ? STATUS_BAD_CONFIG : STATUS_OK;
}
