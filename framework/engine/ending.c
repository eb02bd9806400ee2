/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ending: `--until-end`: when a run may stop by itself.
 *
 * Invariant: the decision is about the whole group and about committed offsets, so every instance
 * comes to the same one; sources count up to the end seen at start, repartitions up to their
 * present end, looked at after everything above them was done.
 */
#include "engine/machine.h"

#include <stdlib.h>
#include <string.h>

enum { END_CHECK_MS = 20, IDLE_POSITIONS_US = 1000000 };

/* Positions that END events moved past markers are committed, so that others see this end reached.
 */
enum status ending_commit_positions(struct worker *worker, struct error *error)
{
    ensure(worker->transaction.state == TRANSACTION_IDLE);
    bool any = false;
    for (struct task *task = worker->tasks; task != NULL; task = task->next) {
        for (size_t i = 0; task->state == TASK_RUNNING && i < task->input_count; i++) {
            if (task->inputs[i].next > task->inputs[i].committed) {
                enum status status = transaction_touch(worker, task, error);
                if (status != STATUS_OK) {
                    return status;
                }
                any = true;
            }
        }
    }
    return any ? transaction_commit(worker, error) : STATUS_OK;
}

static const struct topic_facts *find_facts(const struct worker *worker, const char *topic)
{
    ensure(topic != NULL && worker->options.topics != NULL);
    size_t i = 0;
    while (i < worker->options.topic_count && strcmp(worker->options.topics[i].topic, topic) != 0) {
        i++;
    }
    ensure(i < worker->options.topic_count);
    return &worker->options.topics[i];
}

/* Whether the group has committed a topic up to its end: that seen at start, or the present one. */
static enum status topic_done(struct worker *worker, const char *topic, bool *done,
                              struct error *error)
{
    ensure(worker->consumer != NULL && done != NULL);
    const struct topic_facts *facts = find_facts(worker, topic);
    const int64_t *targets = facts->ends;
    int32_t partition_count = facts->partition_count;
    enum status status = STATUS_OK;
    struct broker_offset *offsets = memory_allocate((size_t)partition_count * sizeof *offsets);
    int64_t *ends = memory_allocate((size_t)partition_count * sizeof *ends);
    for (int32_t p = 0; p < partition_count && status == STATUS_OK; p++) {
        int64_t start = 0;
        offsets[p] = (struct broker_offset){topic, p, BROKER_NO_OFFSET, ""};
        ends[p] = targets != NULL ? targets[p] : 0;
        if (targets == NULL) {
            status = broker_log_range(worker->options.broker, topic, p, &start, &ends[p], error);
        }
    }
    if (status == STATUS_OK) {
        status =
            consumer_committed(worker->consumer, offsets, (size_t)partition_count, 1000, error);
    }
    for (int32_t p = 0; p < partition_count && status == STATUS_OK; p++) {
        *done = *done && offsets[p].offset != BROKER_NO_OFFSET && offsets[p].offset >= ends[p];
    }
    free(offsets);
    free(ends);
    return status;
}

/* Sources first, then repartitions from up to down: what is above a finished topic adds nothing to
 * it. */
static enum status check_end(struct worker *worker, struct error *error)
{
    ensure(!worker->done);
    const struct graph *graph = worker->graph;
    if (!worker->assigned_once || worker->transaction.state != TRANSACTION_IDLE ||
        worker->now_us - worker->end_checked_us < END_CHECK_MS * 1000) {
        return STATUS_OK;
    }
    bool done = true;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < graph->node_count && done && status == STATUS_OK; i++) {
        const struct graph_node *node = &graph->nodes[graph->order[i]];
        if (node->kind == GRAPH_SOURCE) {
            const struct config_source *source = &worker->config->sources[node->config_index];
            for (size_t t = 0; t < source->topic_count && done && status == STATUS_OK; t++) {
                status = topic_done(worker, source->topics[t], &done, error);
            }
        } else if (node->kind == GRAPH_REPARTITION) {
            const char *topic = worker->config->repartitions[node->config_index].topic;
            status = topic_done(worker, topic, &done, error);
        }
    }
    machine_tick(worker);
    worker->end_checked_us = worker->now_us;
    worker->done = status == STATUS_OK && done;
    return status == STATUS_RETRY ? STATUS_OK : status;
}

enum status ending_step(struct worker *worker, struct error *error)
{
    ensure(!recovery_needed(worker));
    const struct transaction *transaction = &worker->transaction;
    if (transaction->state != TRANSACTION_IDLE) {
        return STATUS_OK;
    }
    enum status status = STATUS_OK;
    if (worker->options.until_end ||
        worker->now_us - transaction->committed_us > IDLE_POSITIONS_US) {
        status = ending_commit_positions(worker, error);
    }
    return status == STATUS_OK && worker->options.until_end ? check_end(worker, error) : status;
}
