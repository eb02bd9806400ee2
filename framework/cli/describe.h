/* SPDX-License-Identifier: Apache-2.0 */
/* Describe: what a topology consists of, as text or as one line of JSON. From the file and the
 * operators alone: no broker is asked. */
#ifndef LEAT_CLI_DESCRIBE_H
#define LEAT_CLI_DESCRIBE_H

#include "base/bytes.h"
#include "engine/program.h"

void describe_text(const struct program *program, struct buffer *text);
/** One JSON object without a newline. */
void describe_json(const struct program *program, struct buffer *text);

/** "one per partition of a", with all topics that a sub-topology reads. */
void describe_tasks(const struct graph_sub_topology *part, struct buffer *text);
/** How many partitions a repartition or changelog gets, in words; *count is 0 where it is not
 * fixed. */
void describe_partitions(const struct graph *graph, const struct graph_sub_topology *part,
                         struct buffer *text, int32_t *count);
/** Names of what feeds a node, as the file writes them; NULL beyond the last. */
const char *describe_feed(const struct graph *graph, uint32_t node, size_t index);

#endif
