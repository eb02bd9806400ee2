/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Config tree: the topology file as a tree of values that know where they stand. Private to the
 * config units. Not a JSON library: jansson judges and decodes the text, this keeps lines and
 * paths.
 *
 * Invariants: every node lives in the reader's arena; children are in file order; keys of one
 * object are distinct; keys that begin "x-" are not in the tree; depth <= CONFIG_DEPTH.
 */
#ifndef LEAT_TOPOLOGY_CONFIG_TREE_H
#define LEAT_TOPOLOGY_CONFIG_TREE_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

enum { CONFIG_DEPTH = 32, CONFIG_SIZE = 1 << 20 };

enum config_node_kind {
    NODE_NULL,
    NODE_OBJECT,
    NODE_LIST,
    NODE_TEXT,
    NODE_INTEGER,
    NODE_REAL,
    NODE_BOOLEAN
};

struct config_node {
    enum config_node_kind kind;
    bool boolean;
    bool loose;         /* text from ${NAME} or --set: it may stand for a number */
    int line;           /* from 1; 0 = from the command line */
    const char *origin; /* "--set workers"; NULL = the file */
    const char *key;    /* NULL in a list and at the root */
    uint32_t index;     /* in the parent */
    uint32_t count;     /* of children */
    struct config_node *parent, *first, *last, *next;
    const char *text;
    int64_t integer;
    double real;
};

/** What all config units share while one file is read. */
struct config_reader {
    const char *file;      /* as errors call it */
    const char *directory; /* of the file; "" = the working directory */
    struct arena *arena;
    struct config_node *root;
};

/** Zeroed memory of the arena. */
void *config_take(struct arena *arena, size_t size);
char *config_copy(struct arena *arena, const char *text, size_t size);
char *config_format(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

struct config_node *config_node_add(struct arena *arena, struct config_node *parent,
                                    const char *key, size_t key_size);
void config_node_append(struct config_node *parent, struct config_node *child);
/** Takes `child` out of its parent. */
void config_node_unlink(struct config_node *child);
/** NULL if there is none, or if `object` is NULL or not an object. */
struct config_node *config_node_child(const struct config_node *object, const char *key);
/** "$.sources.lines.topics[0]"; a key that is no plain word is quoted, a very long one cut. */
char *config_node_path(struct arena *arena, const struct config_node *node);
/** The line of the node, or of the nearest one around it that has one. */
int config_node_line(const struct config_node *node);
/** What was found, for errors: `"text"` (cut), `12`, `a list`. Never for what may be a secret. */
const char *config_node_found(struct arena *arena, const struct config_node *node);
/** "a string", "an object", ...: the kind alone. */
const char *config_node_kind_name(const struct config_node *node);
/** STATUS_BAD_CONFIG with `FILE:LINE: $.path: text`, or `--set PATH: $.path: text`. */
enum status config_node_error(const struct config_reader *reader, const struct config_node *node,
                              struct error *error, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/** `; did you mean "x"?` for the nearest of the names, or "". */
const char *config_suggestion(struct arena *arena, const char *name, const char *const *candidates,
                              size_t count);

/** Builds the tree's shape with lines, without values. Bounds size and depth, refuses doubled keys.
 *  *malformed: this is no JSON, and the parser is to say why; no error is set then. */
enum status config_scan(struct config_reader *reader, const char *text, size_t size,
                        struct config_node **root, bool *malformed, struct error *error);
/** Scans, parses and fills the values. `origin` not NULL: a value of the command line. */
enum status config_read_json(struct config_reader *reader, const char *text, size_t size,
                             const char *origin, struct config_node **root, struct error *error);
/** Replaces ${NAME}, ${NAME:-default} and $${ in every text below `node`. */
enum status config_expand(const struct config_reader *reader, struct config_node *node,
                          struct error *error);
/** A relative path of the file joined to the file's directory; others as they are. */
char *config_join(const struct config_reader *reader, const struct config_node *node,
                  const char *path);

#endif
