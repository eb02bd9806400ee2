/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Self-check: R8, whether a task's state and the group's committed offsets tell the same story, and
 * what is done when they do not.
 *
 * Invariant: a mismatch is first proven to be this owner's (a fenced instance legitimately sees
 * one); then the run stops with both sides named, unless the user has said how to go on.
 */
#include "base/log.h"
#include "engine/machine.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct task_input *find_input(const struct task *task, const struct stamp_offset *at)
{
    for (size_t i = 0; i < task->input_count; i++) {
        if (task->inputs[i].partition == at->partition &&
            strcmp(task->inputs[i].topic, at->topic) == 0) {
            return &task->inputs[i];
        }
    }
    return NULL;
}

static bool stamp_has(const struct stamp *stamp, const struct task_input *input)
{
    for (uint32_t i = 0; i < stamp->offset_count; i++) {
        if (stamp->offsets[i].partition == input->partition &&
            strcmp(stamp->offsets[i].topic, input->topic) == 0) {
            return true;
        }
    }
    return false;
}

bool selfcheck_note(char *why, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(why, size, format, arguments);
    va_end(arguments);
    return true;
}

/* Whether the last stamp and the committed offsets contradict each other, and how. */
bool selfcheck_differs(struct worker *worker, struct task *task, const struct stamp *stamp,
                       char *why, size_t size)
{
    ensure(stamp == NULL || stamp->sequence == task->sequence);
    if (stamp != NULL && strcmp(stamp->application, worker->config->application) != 0) {
        return selfcheck_note(why, size, "the changelog belongs to application \"%s\"",
                              stamp->application);
    }
    for (uint32_t i = 0; stamp != NULL && i < stamp->offset_count; i++) {
        const struct stamp_offset *at = &stamp->offsets[i];
        const struct task_input *input = find_input(task, at);
        if (input == NULL) {
            return selfcheck_note(why, size,
                                  "the state holds topic %s partition %" PRId32
                                  " up to offset %" PRId64 ", which this topology does not read",
                                  at->topic, at->partition, at->offset);
        }
        if (input->committed == BROKER_NO_OFFSET) {
            return selfcheck_note(
                why, size,
                "the state holds topic %s partition %" PRId32 " up to offset %" PRId64
                ", but the group has committed nothing there (expired or deleted?)",
                at->topic, at->partition, at->offset);
        }
        if (input->committed != at->offset) {
            return selfcheck_note(why, size,
                                  "the state holds topic %s partition %" PRId32
                                  " up to offset %" PRId64
                                  ", but the group's committed offset is %" PRId64,
                                  at->topic, at->partition, at->offset, input->committed);
        }
    }
    for (size_t i = 0; i < task->input_count; i++) {
        const struct task_input *input = &task->inputs[i];
        if (input->committed != BROKER_NO_OFFSET && (stamp == NULL || !stamp_has(stamp, input))) {
            return selfcheck_note(
                why, size,
                "the group has committed offset %" PRId64 " of topic %s partition %" PRId32
                ", but the changelog %s holds no state for it",
                input->committed, input->topic, input->partition, task->sub->changelog);
        }
    }
    return false;
}

/* Rule of R8: a mismatch is first proven to be ours; then the user decides. */
enum status selfcheck_failed(struct worker *worker, struct task *task, const struct stamp *stamp,
                             const char *why, struct error *error)
{
    ensure(task->state == TASK_RESTORING && why[0] != 0);
    enum status status = claim_prove_owner(worker, task, error);
    if (status != STATUS_OK) {
        return status;
    }
    /* Only until all have run once: what differs later is another matter, and another decision. */
    enum continue_from from = worker->settled ? CONTINUE_NOTHING : worker->options.continue_from;
    if (from == CONTINUE_NOTHING || (from == CONTINUE_STATE && stamp == NULL)) {
        return error_set(error, STATUS_FATAL, ERROR_MISMATCH,
                         "task %s: %s; nothing was processed. To go on: run --continue-from state "
                         "(the state's offsets), offsets (the committed offsets, with the state as "
                         "it is) or empty (the committed offsets, with an empty state)%s",
                         task->name, why,
                         from == CONTINUE_STATE ? "; there is no state to continue from" : "");
    }
    static const char *const names[] = {"", "state", "offsets", "empty"};
    log_warn("recovery", "self-check failed, continuing from %s: %s task=%s", names[from], why,
             task->name);
    task->empty = from == CONTINUE_EMPTY;
    for (size_t i = 0; i < task->input_count; i++) {
        task->inputs[i].next = task->inputs[i].committed;
    }
    for (uint32_t i = 0; from == CONTINUE_STATE && i < stamp->offset_count; i++) {
        struct task_input *input = (struct task_input *)find_input(task, &stamp->offsets[i]);
        if (input != NULL) {
            input->next = stamp->offsets[i].offset;
        }
    }
    return STATUS_OK;
}
