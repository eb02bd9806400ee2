/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takeover: how the transaction of another owner that blocks a task is ended, in R4 and R7.
 *
 * Invariants
 *  K1. A foreign transaction is ended only while this member owns its assignment, never our own id,
 *      never another application's.
 *  K2. Ended once, the same owner is not ended again for the same task before twice the time.
 */
#include "base/hash.h"
#include "base/log.h"
#include "engine/machine.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { TAKEOVER_DOUBLINGS = 6 /* from half a second to half a minute */ };

static bool takes_over(const struct worker *worker, const char *id)
{
    ensure(id != NULL);
    size_t size = strlen(worker->config->application);
    return strncmp(id, worker->config->application, size) == 0 && id[size] == '/' &&
           strcmp(id, worker->transactional_id) != 0;
}

/* Ending a transaction once is enough. Where it did not help (a Kafka that restarts may lose the
   markers of a decided one), the same at once again would only fence its live owner for ever. */
static bool may_end(const struct worker *worker, struct task *task, const char *id)
{
    ensure(id[0] != 0);
    uint32_t owner = hash_crc32c(0, id, strlen(id));
    if (owner != task->takeover_owner) {
        task->takeover_owner = owner;
        task->takeovers = 0;
    }
    return task->takeovers == 0 || worker->now_us >= task->takeover_next_us;
}

static void note_takeover(const struct worker *worker, struct task *task, const char *id)
{
    ensure(task->state == TASK_FETCHING || task->state == TASK_RESTORING);
    uint32_t doublings =
        task->takeovers < TAKEOVER_DOUBLINGS ? task->takeovers : TAKEOVER_DOUBLINGS;
    task->takeovers += 1;
    task->takeover_next_us =
        worker->now_us + ((MACHINE_UNANSWERED_MS * INT64_C(1000)) << doublings);
    if (task->takeovers > TAKEOVER_DOUBLINGS) {
        log_warn(
            "recovery",
            "task=%s is still blocked after the transaction of %s was ended %" PRIu32
            " times: if its owner is dead or idle, the broker has lost the end of a transaction; "
            "look for it with kafka-transactions.sh find-hanging, and end it with abort",
            task->name, id, task->takeovers);
    }
}

enum status takeover_try(struct worker *worker, struct task *task, struct error *error)
{
    ensure(task->state == TASK_FETCHING || task->state == TASK_RESTORING);
    char id[BROKER_METADATA_SIZE] = "";
    if (worker->lost || worker->revoked || !consumer_owns(worker->consumer)) {
        return STATUS_OK; /* K1; the group's event is on its way */
    }
    enum status status = STATUS_NOT_FOUND;
    if (task->stateful) {
        status = broker_blocking_header(worker->options.broker, task->sub->changelog,
                                        task->partition, CHANGELOG_HEADER, id, sizeof id, error);
    }
    if (status == STATUS_NOT_FOUND && !task->stateful) {
        size_t count = 0;
        struct broker_offset *offsets = recovery_offsets(NULL, &count, task);
        status = broker_committed_unstable(worker->options.broker, worker->config->application,
                                           offsets, count, 1000, error);
        for (size_t i = 0; i < count && status == STATUS_OK && id[0] == 0; i++) {
            memcpy(id, offsets[i].metadata, sizeof id);
        }
        free(offsets);
    }
    if (status == STATUS_RETRY || !takes_over(worker, id) || !may_end(worker, task, id)) {
        return STATUS_OK; /* its time-out ends it */
    }
    if (status == STATUS_OK && consumer_owns(worker->consumer)) { /* still: asking took its time */
        log_warn("recovery", "ending the transaction of %s, which blocks task=%s state=%s", id,
                 task->name, task_state_name(task->state));
        status = broker_take_over(worker->options.broker, id, error);
        if (status == STATUS_OK) {
            note_takeover(worker, task, id);
        }
    }
    machine_tick(worker);
    return status == STATUS_RETRY ? STATUS_OK : status;
}
