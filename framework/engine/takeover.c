/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takeover: how the transaction of another owner that blocks a task is ended, in R4 and R7.
 *
 * Invariants
 *  K1. A foreign transaction is ended only while this member owns its assignment, never our own id,
 *      never another application's.
 *  K2. Whose transaction was ended is not ended again, for any task, before twice the time.
 */
#include "base/hash.h"
#include "base/log.h"
#include "engine/machine.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    TAKEOVER_DOUBLINGS = 6, /* from half a second to half a minute */
    BLOCKED_SAY_US = 30000000
};

static bool takes_over(const struct worker *worker, const char *id)
{
    ensure(id != NULL);
    size_t size = strlen(worker->config->application);
    return strncmp(id, worker->config->application, size) == 0 && id[size] == '/' &&
           strcmp(id, worker->transactional_id) != 0;
}

/* The record of an owner; the one that is due first gives way to a new one. */
static struct takeover *takeover_of(struct worker *worker, const char *id)
{
    ensure(id[0] != 0);
    uint32_t owner = hash_crc32c(0, id, strlen(id));
    struct takeover *oldest = &worker->takeovers[0];
    for (size_t i = 0; i < MACHINE_TAKEOVERS; i++) {
        struct takeover *takeover = &worker->takeovers[i];
        if (takeover->count > 0 && takeover->owner == owner) {
            return takeover;
        }
        oldest = takeover->next_us < oldest->next_us ? takeover : oldest;
    }
    *oldest = (struct takeover){.owner = owner};
    return oldest;
}

/* Ending a transaction once is enough. Where it did not help (a Kafka that restarts may lose the
   markers of a decided one), the same at once again would only fence its live owner for ever. */
static void note_takeover(const struct worker *worker, const struct task *task,
                          struct takeover *takeover, const char *id)
{
    uint32_t doublings =
        takeover->count < TAKEOVER_DOUBLINGS ? takeover->count : TAKEOVER_DOUBLINGS;
    takeover->count += 1;
    takeover->next_us = worker->now_us + ((MACHINE_UNANSWERED_MS * INT64_C(1000)) << doublings);
    ensure(takeover->next_us > worker->now_us);
    if (takeover->count > TAKEOVER_DOUBLINGS) {
        log_warn(
            "recovery",
            "task=%s is still blocked after the transaction of %s was ended %" PRIu32
            " times: if its owner is dead or idle, the broker has lost the end of a transaction: "
            "see \"Kafka 4.3 loses markers\" in docs/kafka.md",
            task->name, id, takeover->count);
    }
}

/* Whoever's it is: pending offsets do not tell, and of a transaction whose end the broker has lost
   (Kafka 4.3) no try gets rid. */
static void note_blocked(const struct worker *worker, struct task *task)
{
    struct blocked *blocked = &task->blocked;
    uint32_t slot = 0;
    int64_t at = -1;
    (void)restore_position(task, &slot, &at);
    ensure(worker->now_us > 0 && worker->now_us >= blocked->said_us);
    if (blocked->since_us == 0 || blocked->at != at) {
        *blocked = (struct blocked){at, worker->now_us, worker->now_us};
    } else if (worker->now_us - blocked->said_us >= BLOCKED_SAY_US) {
        blocked->said_us = worker->now_us;
        log_warn("recovery",
                 "task=%s waits for the end of a transaction since s=%" PRId64
                 " in=%s: the broker ends it when its time is over, unless it has lost that end: "
                 "see \"Kafka 4.3 loses markers\" in docs/kafka.md",
                 task->name, (worker->now_us - blocked->since_us) / 1000000,
                 at < 0 ? "offsets" : "changelog");
    }
}

enum status takeover_try(struct worker *worker, struct task *task, struct error *error)
{
    ensure(task->state == TASK_FETCHING || task->state == TASK_RESTORING);
    char id[BROKER_METADATA_SIZE] = "";
    if (worker->lost || worker->revoked || !consumer_owns(worker->consumer)) {
        return STATUS_OK; /* K1; the group's event is on its way */
    }
    note_blocked(worker, task);
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
    if (status != STATUS_OK && status != STATUS_NOT_FOUND && status != STATUS_RETRY) {
        return status;
    }
    machine_tick(worker); /* asking took its time */
    if (status != STATUS_OK || !takes_over(worker, id)) {
        return STATUS_OK; /* its time-out ends it */
    }
    struct takeover *takeover = takeover_of(worker, id);
    if (worker->now_us < takeover->next_us || !consumer_owns(worker->consumer)) {
        return STATUS_OK;
    }
    log_warn("recovery", "ending the transaction of %s, which blocks task=%s state=%s", id,
             task->name, task_state_name(task->state));
    status = broker_take_over(worker->options.broker, id, error);
    machine_tick(worker);
    if (status == STATUS_OK ||
        status == STATUS_RETRY) { /* without an answer it may have happened */
        note_takeover(worker, task, takeover, id);
    }
    return status == STATUS_RETRY ? STATUS_OK : status;
}
