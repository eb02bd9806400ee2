/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Config read: from the tree to struct config, led by the tables of config_keys.h. Private to the
 * config units; every error is STATUS_BAD_CONFIG with place, path and what was expected.
 */
#ifndef LEAT_TOPOLOGY_CONFIG_READ_H
#define LEAT_TOPOLOGY_CONFIG_READ_H

#include "topology/config.h"
#include "topology/config_keys.h"
#include "topology/config_tree.h"

/** Reads the object `node` (NULL: absent, defaults only) into the struct at `base`. */
enum status config_read_keys(const struct config_reader *reader, const struct config_node *node,
                             const struct config_key *keys, void *base, struct error *error);

/* config_values.c: what is more than one scalar; `base` is the struct that holds the member. */
enum status config_read_paths(const struct config_reader *reader, const struct config_node *node,
                              const struct config_key *key, void *base, struct error *error);
enum status config_read_topics(const struct config_reader *reader, const struct config_node *node,
                               const struct config_key *key, void *base, struct error *error);
enum status config_read_feeds(const struct config_reader *reader, const struct config_node *node,
                              struct config_feeds *feeds, struct error *error);
enum status config_read_inputs(const struct config_reader *reader, const struct config_node *node,
                               const struct config_key *key, void *base, struct error *error);
enum status config_read_params(const struct config_reader *reader, const struct config_node *node,
                               const struct config_key *key, void *base, struct error *error);

/* config_properties.c */
enum status config_read_properties(const struct config_reader *reader,
                                   const struct config_node *node, const struct config_key *key,
                                   void *base, struct error *error);

/** Letters, digits and `extra`, 1 to `maximum` of them, and neither "." nor "..". */
enum status config_check_text(const struct config_reader *reader, const struct config_node *node,
                              const char *extra, size_t maximum, struct error *error);
/** STATUS_BAD_CONFIG unless the node is of the kind. */
enum status config_expect(const struct config_reader *reader, const struct config_node *node,
                          enum config_node_kind kind, const char *expected, struct error *error);

/* config_set.c */
/** Applies --broker and every --set to the tree. */
enum status config_apply(struct config_reader *reader, const struct config_overrides *overrides,
                         struct error *error);

/* config_rules.c */
/** Fills the defaults that depend on other keys, then checks the rules that join several keys. */
enum status config_check_rules(const struct config_reader *reader, struct config *config,
                               struct error *error);

#endif
