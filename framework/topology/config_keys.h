/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Config keys: the tables of every key of the topology file: name, type, default, range, meaning
 * and place in struct config. Reading, --set, suggestions, the JSON Schema and docs/config.md all
 * come from them. Constant. Rules that join several keys are in config_rules.c.
 */
#ifndef LEAT_TOPOLOGY_CONFIG_KEYS_H
#define LEAT_TOPOLOGY_CONFIG_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum config_key_type {
    KEY_TEXT,       /* char *; `extra` and `maximum` bound it */
    KEY_PATH,       /* char *; relative to the file */
    KEY_USE,        /* char *; an operator's name, or with a slash a path */
    KEY_INTEGER,    /* minimum..maximum; 4 or 8 bytes */
    KEY_DURATION,   /* int64_t ms */
    KEY_SIZE,       /* int64_t bytes */
    KEY_CHOICE,     /* one of `choices`; bool or enum */
    KEY_OBJECT,     /* `keys`, in the same struct */
    KEY_ENTRIES,    /* name -> object of `keys`; array of structs whose first member is the name */
    KEY_PATHS,      /* list of KEY_PATH; char ** and count */
    KEY_TOPIC,      /* one topic, into char ** and count */
    KEY_TOPICS,     /* a list of topics, the same */
    KEY_FROM,       /* struct config_feeds */
    KEY_INPUTS,     /* struct config_input * and count: KEY_FROM or port -> KEY_FROM */
    KEY_PARAMS,     /* struct named_value * and count */
    KEY_PROPERTIES, /* struct config_properties, secrets allowed */
    KEY_SETTINGS    /* struct config_properties, without secrets */
};

struct config_choice {
    const char *name;
    int number;
    const char *refusal; /* why it may not be used (yet) */
};

struct config_key {
    const char *name;
    enum config_key_type type;
    bool required;
    const char *default_text; /* as it would stand in the file; NULL = none, or made (summary) */
    int64_t minimum, maximum;
    const char *extra;                   /* KEY_TEXT: allowed beside letters and digits */
    const struct config_choice *choices; /* ends with a zero element */
    const struct config_key *keys;       /* ends with a zero element */
    size_t offset, width;                /* of the member */
    size_t count_offset;                 /* lists: of the count */
    size_t entry_size, line_offset;      /* KEY_ENTRIES */
    const char *summary;
};

/** The keys of the file's outermost object. */
extern const struct config_key config_keys[];

/** NULL if the table has no such key. */
const struct config_key *config_key_find(const struct config_key *keys, const char *name);
/** Up to `size` names of a table; returns how many. */
size_t config_key_names(const struct config_key *keys, const char **names, size_t size);
/** "`a`, `b` or `c`" without the quotes, into `text`. */
void config_key_list(const struct config_key *keys, char *text, size_t size);

/** A number of a key as the file would write it: "64", "10s", "64MiB". */
void config_key_format(enum config_key_type type, int64_t number, char *text, size_t size);

enum { CONFIG_KEYS_MAX = 24, CONFIG_NAME_SIZE = 100, CONFIG_TOPIC_SIZE = 249 };

#endif
