/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start: where an input begins that has no committed offset (R10). Resolved once: the claim commits
 * it.
 */
#include "base/log.h"
#include "engine/machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum status start_log_offset(struct worker *worker, const struct task_input *input, bool end,
                             int64_t *offset, struct error *error)
{
    ensure(offset != NULL && input->partition >= 0);
    int64_t log_start = 0;
    int64_t log_end = 0;
    enum status status = broker_log_range(worker->options.broker, input->topic, input->partition,
                                          &log_start, &log_end, error);
    *offset = end ? log_end : log_start;
    return status;
}

/* Whether the application had committed an offset of this topic before this run, or has started
   with it since: then an input without one has appeared later. */
static bool is_known(const struct worker *worker, const struct task_input *input)
{
    ensure(input->partition >= 0);
    for (size_t i = 0; i < worker->options.topic_count; i++) {
        const struct topic_facts *facts = &worker->options.topics[i];
        if (strcmp(facts->topic, input->topic) == 0) {
            return facts->committed || worker->settled ||
                   input->partition >= facts->partition_count;
        }
    }
    return true;
}

/* R10: `start` is resolved here, once; a partition that appeared later begins at its log's start.
 */
static enum status resolve_start(struct worker *worker, struct task_input *input,
                                 struct error *error)
{
    ensure(input->next == BROKER_NO_OFFSET);
    const struct graph_node *node = &worker->graph->nodes[input->node];
    enum config_start start = CONFIG_START_EARLIEST;
    if (node->kind == GRAPH_SOURCE && !is_known(worker, input)) {
        start = worker->config->sources[node->config_index].start;
    }
    if (start == CONFIG_START_STOP) {
        return error_set(
            error, STATUS_FATAL, ERROR_OFFSET_LOST,
            "source \"%s\": topic %s has no committed offset and \"start\" is \"stop\"; "
            "say \"earliest\" or \"latest\" once",
            node->name, input->topic);
    }
    return start_log_offset(worker, input, start == CONFIG_START_LATEST, &input->next, error);
}

/* Inputs of READY tasks get their beginning before they are assigned. */
enum status start_resolve(struct worker *worker, struct error *error)
{
    for (struct task *task = worker->tasks; task != NULL; task = task->next) {
        for (size_t i = 0; task->state == TASK_READY && i < task->input_count; i++) {
            struct task_input *input = &task->inputs[i];
            if (input->next == BROKER_NO_OFFSET) {
                enum status status = resolve_start(worker, input, error);
                if (status != STATUS_OK) {
                    return status;
                }
            }
            input->fetched = input->next;
        }
    }
    return STATUS_OK;
}
