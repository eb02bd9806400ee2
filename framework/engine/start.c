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

/* Whether the application has ever committed an offset of this topic. */
static enum status topic_committed(struct worker *worker, const char *topic, bool *committed,
                                   struct error *error)
{
    ensure(committed != NULL);
    struct broker_topic facts;
    enum status status = broker_topic_get(worker->options.broker, topic, &facts, error);
    if (status == STATUS_NOT_FOUND) {
        return error_set(error, STATUS_FATAL, ERROR_NO_TOPIC, "topic %s is gone", topic);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct broker_offset *offsets =
        memory_allocate((size_t)facts.partition_count * sizeof *offsets);
    for (int32_t p = 0; p < facts.partition_count; p++) {
        offsets[p] = (struct broker_offset){topic, p, BROKER_NO_OFFSET, ""};
    }
    status = broker_committed_unstable(worker->options.broker, worker->config->application, offsets,
                                       (size_t)facts.partition_count, 5000, error);
    *committed = false;
    for (int32_t p = 0; p < facts.partition_count; p++) {
        *committed = *committed || offsets[p].offset != BROKER_NO_OFFSET;
    }
    free(offsets);
    return status;
}

/* R10: `start` is resolved here, once; a partition that appeared later begins at its log's start.
 */
static enum status resolve_start(struct worker *worker, struct task_input *input,
                                 struct error *error)
{
    ensure(input->next == BROKER_NO_OFFSET);
    const struct graph_node *node = &worker->graph->nodes[input->node];
    enum config_start start = CONFIG_START_EARLIEST;
    bool committed = false;
    if (node->kind == GRAPH_SOURCE) {
        start = worker->config->sources[node->config_index].start;
    }
    if (start != CONFIG_START_EARLIEST) {
        enum status status = topic_committed(worker, input->topic, &committed, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    if (start == CONFIG_START_STOP && !committed) {
        return error_set(
            error, STATUS_FATAL, ERROR_OFFSET_LOST,
            "source \"%s\": topic %s has no committed offset and \"start\" is \"stop\"; "
            "say \"earliest\" or \"latest\" once",
            node->name, input->topic);
    }
    return start_log_offset(worker, input, start == CONFIG_START_LATEST && !committed, &input->next,
                            error);
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
