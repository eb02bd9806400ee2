/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publish: what a task changed in a transaction, sent to its changelog partition, and the stamp
 * that ends it.
 *
 * Invariants: one record a changed key, absolute values; the first record of the transaction in a
 * partition names the transactional id in a header; the stamp is the last, and is sent also when no
 * store changed.
 */
#include "engine/machine.h"

#include <string.h>

static enum status send_changelog(struct worker *worker, struct task *task, struct bytes key,
                                  struct bytes value, bool first, struct error *error)
{
    ensure(task->stateful && key.size > 0);
    const struct header header = {CHANGELOG_HEADER, bytes_of(worker->transactional_id)};
    struct broker_output output = {
        .topic = worker->changelog_topics[task->sub_index],
        .partition = task->partition,
        .key = key,
        .value = value,
        .headers = first ? &header : NULL,
        .header_count = first ? 1 : 0,
        .timestamp_ms = machine_wall_ms(worker),
        .origin = ORIGIN_NONE,
    };
    return transaction_send(worker, &output, error);
}

static enum status send_stamp(struct worker *worker, struct task *task, uint32_t count,
                              uint32_t checksum, struct error *error)
{
    ensure(task->input_count > 0);
    struct stamp stamp = {
        .application = worker->config->application,
        .transactional_id = worker->transactional_id,
        .sequence = task->sequence + 1,
        .stream_time = task->stream_time,
        .record_count = count,
        .checksum = checksum,
        .offset_count = (uint32_t)task->input_count,
    };
    if (task->sequence == 0) {
        random_uuid(&worker->random, stamp.incarnation);
    } else {
        struct stamp last;
        enum status status = stamp_decode(task->position.stamp, &task->arena, &last, error);
        if (status != STATUS_OK) {
            return status;
        }
        memcpy(stamp.incarnation, last.incarnation, sizeof stamp.incarnation);
    }
    struct stamp_offset *offsets = arena_take(&task->arena, task->input_count * sizeof *offsets);
    for (size_t i = 0; i < task->input_count; i++) {
        const struct task_input *input = &task->inputs[i];
        offsets[i] = (struct stamp_offset){input->topic, input->partition, input->next};
    }
    stamp.offsets = offsets;
    task->sent_stamp.size = 0;
    stamp_encode(&task->sent_stamp, &stamp);
    struct buffer key = {0};
    stamp_key(&key, stamp.sequence);
    enum status status = send_changelog(
        worker, task, (struct bytes){key.data, key.size},
        (struct bytes){task->sent_stamp.data, task->sent_stamp.size}, count == 0, error);
    buffer_finish(&key);
    return status;
}

/* All that the task changed, then its stamp: the last changelog record of the transaction. */
enum status publish_changes(struct worker *worker, struct task *task, struct error *error)
{
    ensure(task->stateful && task->touched && task->doom == STATUS_OK);
    uint32_t count = 0;
    uint32_t checksum = 0;
    struct buffer key = {0};
    enum status status = STATUS_OK;
    for (size_t i = 0; i < task->changes.count && status == STATUS_OK; i++) {
        const struct change *change = &task->changes.items[i];
        if (!change->dirty) {
            continue;
        }
        key.size = 0;
        changelog_key(&key, task->tables[change->table].name, change->key);
        struct bytes record_key = {key.data, key.size};
        status = send_changelog(worker, task, record_key, change->value, count == 0, error);
        checksum = changelog_checksum(checksum, record_key, change->value);
        count += 1;
    }
    buffer_finish(&key);
    return status == STATUS_OK ? send_stamp(worker, task, count, checksum, error) : status;
}
