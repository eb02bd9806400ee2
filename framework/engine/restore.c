/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restore: rebuilds a task's store from its changelog, R5 to R8, beside running tasks.
 *
 * Invariants
 *  V1. The target is the read_uncommitted end, asked for after the stable offsets were answered.
 *  V2. "Read to the end" is the END event at or beyond the target, never arithmetic on offsets.
 *  V3. Store batches end at a stamp and carry that stamp's position: a kill in between goes on from
 *      there.
 *  V4. A store that does not continue the changelog it is compared with (another incarnation,
 *      another sequence, a gap, tombstones that may be gone) is moved aside and replayed from the
 *      log's start; what was moved aside is deleted only after the self-check passed.
 *  V5. No task becomes READY before the self-check: the last stamp's offsets are the committed
 *      offsets.
 */
#include "base/log.h"
#include "engine/machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RESTORE_BATCH_RECORDS = 20000, RESTORE_BATCH_SIZE = 16 << 20 };

struct restore {
    uint32_t slot;
    int64_t log_start, target, next; /* next to read */
    int64_t end;                     /* of the last END event since the last record; -1 none */
    int64_t began_us, progress_us, logged_us;
    bool continues; /* replays from the store's own last stamp: V4 is to be checked */
    bool checked;   /* it was */
    uint64_t records, stamps;
    uint64_t run;           /* how many of the last stamps were dense */
    uint64_t last_sequence; /* 0 = none read */
    int64_t last_offset;    /* of the last record that was no stamp; -1 none */
    uint32_t count, checksum;
    int64_t batch_records, batch_size, batch_limit;
    int64_t head_ms; /* wall clock from which tombstones count: the last time the store was at the
                        head, or when a replay from the log's start began */
    bool incomplete; /* a record of a node that is gone was left out */
    bool torn;       /* the changelog contradicts itself */
    char why[256];
};

bool restore_position(const struct task *task, uint32_t *slot, int64_t *offset)
{
    if (task->restore == NULL || task->restore->slot == UINT32_MAX) {
        return false;
    }
    *slot = task->restore->slot;
    *offset = task->restore->next;
    return true;
}

void restore_activate(struct worker *worker, struct task *task)
{
    ensure(task->restore != NULL);
    if (task->restore->slot == UINT32_MAX) {
        task->restore->slot = group_take_slot(worker, task, -1);
        task->restore->progress_us = worker->now_us;
    }
}

void restore_end(struct worker *worker, struct task *task)
{
    ensure(task->restore == NULL || task->restore->slot == UINT32_MAX ||
           task->restore->slot < worker->slot_count);
    if (task->restore == NULL) {
        return;
    }
    if (task->restore->slot != UINT32_MAX) {
        group_free_slot(worker, task->restore->slot);
    }
    free(task->restore);
    task->restore = NULL;
}

/* ---- The end: R8 ---- */

static enum status restore_finish(struct worker *worker, struct task *task, struct error *error)
{
    ensure(task->state == TASK_RESTORING && task->restore != NULL && !task->writing);
    struct restore *restore = task->restore;
    struct stamp stamp;
    bool stamped = task->sequence > 0;
    char why[320];
    if (stamped) {
        enum status status = stamp_decode(task->position.stamp, &task->arena, &stamp, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    if (!restore->torn && restore->run < CHANGELOG_STAMPS && restore->run < restore->stamps) {
        restore->torn =
            selfcheck_note(restore->why, sizeof restore->why,
                           "the newest stamps of changelog %s are not dense: a transaction is "
                           "missing before sequence %" PRIu64,
                           task->sub->changelog, task->sequence);
    }
    bool mismatch = selfcheck_differs(worker, task, stamped ? &stamp : NULL, why, sizeof why);
    for (size_t i = 0; i < task->input_count; i++) {
        task->inputs[i].next = task->inputs[i].committed;
    }
    if (mismatch || restore->torn) {
        enum status status = selfcheck_failed(worker, task, stamped ? &stamp : NULL,
                                              restore->torn ? restore->why : why, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    log_info("recovery", "restored records=%" PRIu64 " ms=%" PRId64 " sequence=%" PRIu64 " task=%s",
             restore->records, (worker->now_us - restore->began_us) / 1000, task->sequence,
             task->name);
    atomic_fetch_add_explicit(&worker->counters.restores, restore->records > 0,
                              memory_order_relaxed);
    struct error failure; /* what was moved aside, by this run or an earlier one */
    if (directory_delete_aside(task->directory, &failure) != STATUS_OK) {
        log_warn("recovery", "%s", failure.text);
    }
    task_end_unit(task);
    restore_end(worker, task);
    task_set_state(task, TASK_READY);
    worker->assign_needed = true;
    return STATUS_OK;
}

/* ---- The beginning: R5, R6 ---- */

/* Marks the store to be moved aside: it is no continuation of this changelog. */
static enum status restart_from_log_start(struct worker *worker, struct task *task, const char *why,
                                          struct error *error)
{
    log_warn("recovery",
             "the store is moved aside and replayed from the changelog's start: %s task=%s", why,
             task->name);
    restore_end(worker, task);
    task->suspect = true;
    task_set_state(task, TASK_OPENING);
    worker->assign_needed = true;
    (void)error;
    return STATUS_OK;
}

enum status restore_begin(struct worker *worker, struct task *task, struct error *error)
{
    ensure(task->restore == NULL && task->store != NULL && !task->writing);
    int64_t start = 0;
    int64_t end = 0;
    enum status status = broker_log_range(worker->options.broker, task->sub->changelog,
                                          task->partition, &start, &end, error);
    if (status != STATUS_OK) {
        return status;
    }
    status = task_load_position(task, error);
    if (status != STATUS_OK) {
        (void)task_store_failed(task, error);
        return status;
    }
    int64_t position = task->position.next;
    task_set_state(task, TASK_RESTORING);
    if (position > 0 && (end < position || position < start)) {
        return restart_from_log_start(
            worker, task, "its position lies outside the changelog's present log", error);
    }
    task->restore = memory_allocate(sizeof *task->restore);
    *task->restore = (struct restore){
        .slot = UINT32_MAX,
        .log_start = start,
        .target = end,
        .next = position == 0          ? start
                : position - 1 < start ? start
                                       : position - 1,
        .continues = position > 0,
        .batch_limit = worker->options.restore_batch > 0 ? worker->options.restore_batch
                                                         : RESTORE_BATCH_RECORDS,
        .head_ms = position > 0 ? task->position.head_ms : machine_wall_ms(worker),
        .began_us = worker->now_us,
        .progress_us = worker->now_us,
        .logged_us = worker->now_us,
        .last_offset = -1,
        .end = -1,
    };
    if (start == end) {
        return restore_finish(worker, task, error);
    }
    worker->assign_needed = true;
    return STATUS_OK;
}

/* ---- Replaying: R7 ---- */

static enum status commit_batch(struct task *task, struct error *error)
{
    ensure(task->restore != NULL && task->store != NULL);
    struct restore *restore = task->restore;
    if (!task->writing) {
        return STATUS_OK;
    }
    enum status status = task_put_position(task, error);
    if (status == STATUS_OK) {
        status = store_commit(task->store, error);
        task->writing = false;
    }
    if (status == STATUS_OK && store_nearly_full(task->store)) {
        status = store_grow(task->store, error);
    }
    restore->batch_records = 0;
    restore->batch_size = 0;
    return status;
}

/* V4. Answers false when the store is no continuation of what the changelog says. */
static bool stamp_continues(struct task *task, const struct broker_record *record,
                            const struct stamp *stamp, struct error *error)
{
    ensure(task->restore->continues);
    struct stamp own;
    if (stamp_decode(task->position.stamp, &task->arena, &own, error) != STATUS_OK) {
        return false;
    }
    bool same = memcmp(own.incarnation, stamp->incarnation, sizeof own.incarnation) == 0;
    if (record->offset == task->position.next - 1) {
        return same && own.sequence == stamp->sequence;
    }
    return same && stamp->sequence > own.sequence;
}

/* The records right before a stamp, without a gap in their offsets: all of its transaction, unless
   compaction took some. A stamp that was compacted away leaves a gap, so records of two
   transactions are never counted as one. */
static void check_records(struct task *task, const struct broker_record *record,
                          const struct stamp *stamp)
{
    struct restore *restore = task->restore;
    if (restore->count == 0 || record->offset != restore->last_offset + 1) {
        return;
    }
    bool whole = restore->count == stamp->record_count;
    if ((whole && restore->checksum != stamp->checksum) || restore->count > stamp->record_count) {
        restore->torn =
            selfcheck_note(restore->why, sizeof restore->why,
                           "changelog %s partition %" PRId32 ": the records before offset %" PRId64
                           " are not those its stamp names",
                           task->sub->changelog, task->partition, record->offset);
    }
}

static enum status replay_stamp(struct task *task, const struct broker_record *record,
                                bool *restart, struct error *error)
{
    ensure(task->state == TASK_RESTORING);
    struct restore *restore = task->restore;
    struct stamp stamp;
    enum status status = stamp_decode(record->value, &task->arena, &stamp, error);
    if (status != STATUS_OK) {
        /* The log's fault, not the store's: no replay mends it, the user decides (R8). */
        restore->torn =
            selfcheck_note(restore->why, sizeof restore->why,
                           "changelog %s partition %" PRId32 " offset %" PRId64 ": %s",
                           task->sub->changelog, task->partition, record->offset, error->text);
        task_end_unit(task);
        return STATUS_OK;
    }
    if (restore->continues && !restore->checked) {
        restore->checked = true;
        *restart = !stamp_continues(task, record, &stamp, error);
        if (*restart) {
            return STATUS_OK;
        }
    }
    if (restore->last_sequence != 0 && stamp.sequence <= restore->last_sequence) {
        restore->torn = selfcheck_note(restore->why, sizeof restore->why,
                                       "changelog %s partition %" PRId32 ": stamp %" PRIu64
                                       " at offset %" PRId64 " follows stamp %" PRIu64,
                                       task->sub->changelog, task->partition, stamp.sequence,
                                       record->offset, restore->last_sequence);
    }
    bool own = restore->continues && record->offset == task->position.next - 1;
    if (!own) {
        check_records(task, record, &stamp);
    }
    restore->run = restore->last_sequence + 1 == stamp.sequence ? restore->run + 1 : 1;
    restore->last_sequence = stamp.sequence;
    restore->stamps += 1;
    restore->count = 0;
    restore->checksum = 0;
    if (!own) {
        task->position_stamp.size = 0;
        buffer_append(&task->position_stamp, record->value.data, record->value.size);
        task->position = (struct position){record->offset + 1,
                                           restore->head_ms,
                                           {task->position_stamp.data, task->position_stamp.size}};
        task->sequence = stamp.sequence;
        task->stream_time = stamp.stream_time;
        if (!task->writing) {
            status = store_begin(task->store, error);
            task->writing = status == STATUS_OK;
        }
        if (status == STATUS_OK && (restore->batch_records >= restore->batch_limit ||
                                    restore->batch_size >= RESTORE_BATCH_SIZE)) {
            status = commit_batch(task, error);
        }
    }
    task_end_unit(task);
    return status;
}

/* A record of a node that is gone: its data stay in the changelog alone, and the store says so,
   lest the node come back to a store that lacks them (opening.c). */
static enum status note_incomplete(struct task *task, struct error *error)
{
    ensure(task->restore != NULL && task->store != NULL);
    if (task->restore->incomplete) {
        return STATUS_OK;
    }
    enum status status = STATUS_OK;
    if (!task->writing) {
        status = store_begin(task->store, error);
        task->writing = status == STATUS_OK;
    }
    task->restore->incomplete = status == STATUS_OK;
    return status == STATUS_OK
               ? store_meta_put(task->store, TASK_INCOMPLETE, (struct bytes){"1", 1}, error)
               : status;
}

static enum status replay_change(struct task *task, const struct broker_record *record,
                                 struct error *error)
{
    ensure(task->restore != NULL && task->store != NULL);
    struct restore *restore = task->restore;
    const char *table = NULL;
    struct bytes key;
    if (!changelog_split(record->key, &table, &key)) {
        return error_set(error, STATUS_FATAL, ERROR_MISMATCH,
                         "changelog %s partition %" PRId32 " offset %" PRId64
                         " is no changelog record: does something else write to this topic?",
                         task->sub->changelog, task->partition, record->offset);
    }
    if (record->offset != restore->last_offset + 1) {
        restore->count = 0;
        restore->checksum = 0;
    }
    restore->last_offset = record->offset;
    restore->count += 1;
    restore->checksum = changelog_checksum(restore->checksum, record->key, record->value);
    restore->batch_records += 1;
    restore->batch_size += (int64_t)(key.size + record->value.size);
    restore->records += 1;
    for (uint32_t i = 0; i < task->table_count; i++) {
        if (strcmp(task->tables[i].name, table) != 0) {
            continue;
        }
        enum status status = STATUS_OK;
        if (!task->writing) {
            status = store_begin(task->store, error);
            task->writing = status == STATUS_OK;
        }
        if (status != STATUS_OK) {
            return status;
        }
        return record->value.data == NULL
                   ? store_remove(task->tables[i].table, key, error)
                   : store_put(task->tables[i].table, key, record->value, error);
    }
    return note_incomplete(task, error);
}

/* A record after the own stamp, while the store was away for longer than tombstones are sure to
 * live. */
static bool tombstones_may_be_gone(const struct worker *worker, const struct task *task)
{
    ensure(task->position.next > 0);
    int64_t away_ms = machine_wall_ms(worker) - task->position.head_ms;
    for (size_t i = 0; i < worker->options.topic_count; i++) {
        const struct topic_facts *facts = &worker->options.topics[i];
        if (strcmp(facts->topic, task->sub->changelog) == 0) {
            return facts->retention_delete_ms >= 0 && away_ms > facts->retention_delete_ms / 2;
        }
    }
    return false;
}

static enum status replay(struct worker *worker, struct task *task,
                          const struct broker_record *record, struct error *error)
{
    ensure(record->offset >= task->restore->next);
    struct restore *restore = task->restore;
    bool is_stamp = stamp_is_key(record->key);
    restore->next = record->offset + 1;
    restore->progress_us = worker->now_us;
    restore->end = -1;
    if (restore->continues && !restore->checked && !is_stamp &&
        record->offset < task->position.next) {
        return restart_from_log_start(
            worker, task, "the changelog has another record where its stamp was", error);
    }
    if (restore->continues && record->offset >= task->position.next && restore->records == 0 &&
        tombstones_may_be_gone(worker, task)) {
        return restart_from_log_start(
            worker, task, "it was away for longer than deletions are kept in the changelog", error);
    }
    if (!is_stamp) {
        return replay_change(task, record, error);
    }
    bool restart = false;
    enum status status = replay_stamp(task, record, &restart, error);
    if (status == STATUS_OK && restart) {
        return restart_from_log_start(worker, task,
                                      "its last stamp is not the one the changelog holds", error);
    }
    return status;
}

/* The position is what the store holds after this: complete only at the target. */
static enum status at_end(struct worker *worker, struct task *task, int64_t offset,
                          struct error *error)
{
    ensure(offset >= 0 && task->restore != NULL);
    struct restore *restore = task->restore;
    if (offset < restore->target) {
        if (worker->now_us - restore->progress_us > MACHINE_UNANSWERED_MS * INT64_C(1000)) {
            restore->progress_us = worker->now_us;
            return takeover_try(worker, task, error);
        }
        return STATUS_OK;
    }
    if (restore->continues && !restore->checked) {
        /* Nothing was read although the store has a stamp: all of it was deleted. */
        return restart_from_log_start(worker, task, "the changelog no longer holds its stamp",
                                      error);
    }
    task->position.head_ms = machine_wall_ms(worker);
    enum status status = commit_batch(task, error);
    return status == STATUS_OK ? restore_finish(worker, task, error) : status;
}

enum status restore_step(struct worker *worker, struct task *task, int64_t budget_ms,
                         struct error *error)
{
    ensure(task->state == TASK_RESTORING && budget_ms > 0);
    bool beside = recovery_beside_running(worker);
    int64_t until_us = worker->now_us + budget_ms * 1000;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && task->state == TASK_RESTORING && task->restore != NULL &&
           task->restore->slot != UINT32_MAX && worker->now_us < until_us) {
        struct restore *restore = task->restore;
        int64_t left_ms = (until_us - worker->now_us) / 1000;
        left_ms = beside && left_ms > 2 ? 2 : left_ms; /* the budget is for records, not to wait */
        struct consumer_event event;
        status = consumer_poll_restore(worker->consumer, restore->slot, left_ms, &event, error);
        machine_tick(worker);
        if (status == STATUS_RETRY) {
            return STATUS_OK;
        }
        if (status != STATUS_OK) {
            return status;
        }
        switch (event.kind) {
        case CONSUMER_RECORD:
            status = event.record.offset < restore->next
                         ? STATUS_OK
                         : replay(worker, task, &event.record, error);
            consumer_release(worker->consumer, &event.record);
            atomic_fetch_add_explicit(&worker->counters.restored_records, 1, memory_order_relaxed);
            break;
        case CONSUMER_END:
            restore->next = event.offset > restore->next ? event.offset : restore->next;
            restore->end = event.offset;
            status = at_end(worker, task, event.offset, error);
            break;
        case CONSUMER_OFFSET_LOST:
            status = restart_from_log_start(worker, task,
                                            "the changelog no longer holds its position", error);
            break;
        default:
            if (restore->end >= 0) {
                status = at_end(worker, task, restore->end, error); /* still stuck there? */
            }
            until_us = beside ? worker->now_us : until_us;
            break;
        }
        if (task->restore != NULL && worker->now_us - task->restore->logged_us > 3000000) {
            task->restore->logged_us = worker->now_us;
            log_info("recovery",
                     "restoring records=%" PRIu64 " offset=%" PRId64 " of=%" PRId64 " task=%s",
                     task->restore->records, task->restore->next, task->restore->target,
                     task->name);
        }
    }
    if (status != STATUS_OK && error->code != ERROR_NOT_OWNER && error->code != ERROR_MISMATCH) {
        (void)task_store_failed(task, error);
    }
    return status;
}
