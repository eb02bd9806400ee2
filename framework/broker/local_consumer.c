/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local consumer: what a consumer has assigned, and reading it block by block. A block is copied
 * out of a short read transaction and read in place; its records' views live until they are
 * released.
 *
 * Invariants: a slot's `position` is the next offset to deliver and never goes back but by assign;
 * at most one block a slot is held for reading; nothing of LMDB is held between calls.
 */
#include "broker/local_broker.h"
#include "broker/local_log.h"
#include "broker/local_membership.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_LEAST = 64 * 1024,
    BLOCK_MOST = 512 * 1024,
    WAIT_SLICE_MS = 500 /* a writer killed between its commit and its wake-up is noticed by then */
};

struct slot {
    char *topic;
    uint32_t topic_id; /* 0: there is no such topic now */
    int32_t partition;
    uint32_t number; /* the caller's */
    bool restore, paused;
    bool stopped; /* its offset was lost, or its topic */
    bool ended;   /* END was told at this position */
    bool looked;  /* the partition's row was read when `commits` was the count */
    uint32_t commits;
    int64_t position;
    struct local_block *block;
    const uint8_t *next; /* entry of the block after the one being read */
    struct local_reader reader;
};

struct local_consumer {
    struct consumer consumer; /* first */
    struct local_environment *environment;
    struct local_membership *membership; /* NULL: a plain reader */
    struct slot *slots;
    size_t slot_count, current;
    size_t prefetch_size;
    MDB_txn *txn; /* reset, for renewal */
};

static const struct consumer_ops local_consumer_ops;

static struct local_consumer *local_of(struct consumer *consumer)
{
    ensure(consumer->ops == &local_consumer_ops);
    return (struct local_consumer *)(void *)consumer;
}

/* ---- Slots ---- */

static void slot_drop(struct slot *slot)
{
    ensure(slot->block == NULL || slot->block->references > 0);
    if (slot->block != NULL) {
        local_block_release(slot->block);
    }
    slot->block = NULL;
    slot->reader.left = 0;
    slot->looked = false;
}

static void slots_clear(struct local_consumer *local)
{
    ensure(local->slot_count == 0 || local->slots != NULL);
    for (size_t i = 0; i < local->slot_count; i++) {
        slot_drop(&local->slots[i]);
        free(local->slots[i].topic);
    }
    free(local->slots);
    local->slots = NULL;
    local->slot_count = 0;
    local->current = 0;
}

static enum status damaged(const struct slot *slot, struct error *error)
{
    ensure(slot->position >= 0);
    return error_set(error, STATUS_FATAL, ERROR_CORRUPT,
                     "%s[%d]: the batch at or after offset %lld is damaged; restore the local "
                     "broker's directory from a copy",
                     slot->topic, slot->partition, (long long)slot->position);
}

/* The next record of the block into the event. STATUS_NOT_FOUND: the block is used up. */
static enum status slot_deliver(struct slot *slot, struct consumer_event *event,
                                struct error *error)
{
    ensure(slot->block != NULL);
    struct local_block *block = slot->block;
    struct local_record record;
    for (;;) {
        if (local_reader_next(&slot->reader, &record)) {
            if (record.offset < slot->position) {
                continue;
            }
            break;
        }
        if (slot->reader.left > 0) {
            return damaged(slot, error);
        }
        if (slot->next == block->data + block->size) {
            slot_drop(slot);
            return STATUS_NOT_FOUND;
        }
        int64_t base = 0;
        uint64_t size = 0;
        memcpy(&base, slot->next, 8);
        memcpy(&size, slot->next + 8, 8);
        if (!local_reader_open(&slot->reader, (struct bytes){slot->next + 16, size}, base, true)) {
            return damaged(slot, error);
        }
        slot->next += 16 + size;
    }
    const struct header *headers = NULL;
    if (record.header_count > 0) {
        headers = local_headers(&record, &block->headers);
        if (headers == NULL) {
            return damaged(slot, error);
        }
    }
    block->references += 1;
    slot->position = record.offset + 1;
    slot->ended = false;
    event->kind = CONSUMER_RECORD;
    event->slot = slot->number;
    event->offset = record.offset;
    event->record =
        (struct broker_record){record.key, record.value,        record.timestamp_ms, record.offset,
                               headers,    record.header_count, slot->number,        block};
    return STATUS_OK;
}

/* In a read transaction: a block, END or OFFSET_LOST. STATUS_NOT_FOUND: nothing new. */
static enum status slot_fetch(struct local_consumer *local, struct slot *slot,
                              struct consumer_event *event, struct error *error)
{
    ensure(slot->block == NULL && slot->position >= 0);
    struct local_partition row;
    enum status status = local_partition_get(local->environment, local->txn, slot->topic_id,
                                             slot->partition, &row, error);
    if (status == STATUS_NOT_FOUND) {
        slot->stopped = true;
        return local->membership != NULL
                   ? STATUS_NOT_FOUND /* the group's rebalance will take it away */
                   : error_set(error, STATUS_FATAL, ERROR_NO_TOPIC, "%s[%d] does not exist",
                               slot->topic, slot->partition);
    }
    if (status != STATUS_OK) {
        return status;
    }
    event->slot = slot->number;
    event->offset = slot->position;
    if (slot->position < row.start || slot->position > row.end) {
        slot->stopped = true;
        event->kind = CONSUMER_OFFSET_LOST;
        return STATUS_OK;
    }
    if (slot->position < row.end) {
        size_t limit = local->prefetch_size / local->slot_count;
        limit = limit < BLOCK_LEAST ? BLOCK_LEAST : limit > BLOCK_MOST ? BLOCK_MOST : limit;
        status = local_log_fetch(local->environment, local->txn, slot->topic_id, slot->partition,
                                 slot->position, limit, &slot->block, error);
        if (status != STATUS_OK) {
            return status;
        }
        if (slot->block != NULL) {
            slot->next = slot->block->data;
            slot->reader.left = 0;
            return STATUS_NOT_FOUND;
        }
        slot->position = row.end; /* compaction took all that was left */
    }
    if (slot->ended) {
        return STATUS_NOT_FOUND;
    }
    slot->ended = true;
    event->offset = slot->position;
    event->kind = CONSUMER_END;
    return STATUS_OK;
}

/* The slot's next event. STATUS_NOT_FOUND: none now. */
static enum status slot_poll(struct local_consumer *local, struct slot *slot,
                             struct consumer_event *event, struct error *error)
{
    ensure(!slot->stopped || slot->block == NULL);
    enum status status = STATUS_NOT_FOUND;
    while (status == STATUS_NOT_FOUND) {
        if (slot->block != NULL) {
            status = slot_deliver(slot, event, error);
            continue;
        }
        uint32_t commits = local_commits(local->environment);
        if (slot->stopped || (slot->looked && slot->commits == commits)) {
            return STATUS_NOT_FOUND;
        }
        status = local_read_begin(local->environment, &local->txn, error);
        if (status != STATUS_OK) {
            return status;
        }
        status = slot_fetch(local, slot, event, error);
        local_read_pause(local->environment, local->txn);
        slot->looked = slot->block == NULL;
        slot->commits = commits;
    }
    return status;
}

/* ---- Polling ---- */

static enum status inputs_poll(struct local_consumer *local, struct consumer_event *event,
                               struct error *error)
{
    ensure(local->slot_count == 0 || local->current < local->slot_count);
    for (size_t tried = 0; tried < local->slot_count; tried++) {
        struct slot *slot = &local->slots[local->current];
        if (!slot->restore && !slot->paused) {
            enum status status = slot_poll(local, slot, event, error);
            if (status != STATUS_NOT_FOUND) {
                /* A used-up block gives the next slot its turn. */
                if (slot->block != NULL && slot->reader.left == 0 &&
                    slot->next == slot->block->data + slot->block->size) {
                    slot_drop(slot);
                    local->current = (local->current + 1) % local->slot_count;
                }
                return status;
            }
        }
        local->current = (local->current + 1) % local->slot_count;
    }
    return STATUS_NOT_FOUND;
}

/* What the group has to say. STATUS_NOT_FOUND: nothing. */
static enum status group_poll(struct local_consumer *local, struct consumer_event *event,
                              struct error *error)
{
    ensure(local->membership != NULL);
    struct local_membership *membership = local->membership;
    enum status status = local_membership_look(membership, error);
    if (status != STATUS_OK) {
        return status;
    }
    switch (local_membership_tell(membership)) {
    case LOCAL_NEWS_ASSIGNED:
        event->kind = CONSUMER_ASSIGNED;
        event->partitions = membership->partitions;
        event->partition_count = membership->offered_count;
        return STATUS_OK;
    case LOCAL_NEWS_REVOKED:
        event->kind = CONSUMER_REVOKED;
        return STATUS_OK;
    case LOCAL_NEWS_LOST:
        event->kind = CONSUMER_LOST;
        return STATUS_OK;
    case LOCAL_NEWS_NONE:
        break;
    }
    return STATUS_NOT_FOUND;
}

static enum status poll_once(struct local_consumer *local, struct slot *restore,
                             struct consumer_event *event, struct error *error)
{
    ensure(restore == NULL || restore->restore);
    if (restore != NULL) {
        return slot_poll(local, restore, event, error);
    }
    if (local->membership != NULL) {
        enum status status = group_poll(local, event, error);
        if (status != STATUS_NOT_FOUND || local_membership_waits(local->membership)) {
            return status;
        }
    }
    return inputs_poll(local, event, error);
}

/* Polls until there is an event or the time is up. */
static enum status poll_until(struct local_consumer *local, struct slot *restore,
                              int64_t timeout_ms, struct consumer_event *event, struct error *error)
{
    ensure(event != NULL);
    int64_t until = 0;
    event->kind = CONSUMER_NOTHING;
    for (;;) {
        uint32_t commits = local_commits(local->environment);
        enum status status = poll_once(local, restore, event, error);
        if (status != STATUS_NOT_FOUND) {
            return status;
        }
        int64_t now = timeout_ms > 0 ? clock_monotonic_ms(clock_system()) : 0;
        until = until == 0 ? now + timeout_ms : until;
        if (now >= until) {
            return STATUS_OK;
        }
        int64_t wait = until - now < WAIT_SLICE_MS ? until - now : WAIT_SLICE_MS;
        local_lock_wait(&local->environment->lock, commits, wait);
        if (wait == WAIT_SLICE_MS) {
            for (size_t i = 0; i < local->slot_count; i++) {
                local->slots[i].looked = false;
            }
        }
    }
}

static enum status local_poll(struct consumer *consumer, int64_t timeout_ms,
                              struct consumer_event *event, struct error *error)
{
    return poll_until(local_of(consumer), NULL, timeout_ms, event, error);
}

static struct slot *slot_find(struct local_consumer *local, uint32_t number)
{
    ensure(local->slot_count == 0 || local->slots != NULL);
    for (size_t i = 0; i < local->slot_count; i++) {
        if (local->slots[i].number == number) {
            return &local->slots[i];
        }
    }
    return NULL;
}

static enum status local_poll_restore(struct consumer *consumer, uint32_t number,
                                      int64_t timeout_ms, struct consumer_event *event,
                                      struct error *error)
{
    struct local_consumer *local = local_of(consumer);
    struct slot *slot = slot_find(local, number);
    ensure(slot != NULL && slot->restore);
    return poll_until(local, slot, timeout_ms, event, error);
}

static void local_release(struct consumer *consumer, struct broker_record *record)
{
    ensure(record != NULL);
    (void)consumer;
    if (record->handle != NULL) {
        local_block_release(record->handle);
        record->handle = NULL;
    }
}

/* ---- Assignment ---- */

static enum status slot_init(struct local_consumer *local, const struct consumer_assignment *given,
                             struct slot *slot, struct error *error)
{
    ensure(given->offset >= 0);
    struct local_topic topic = {0};
    enum status status =
        local_topic_find(local->environment, local->txn, given->topic, &topic, error);
    bool missing = status == STATUS_NOT_FOUND || given->partition >= topic.partition_count;
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        return status;
    }
    if (missing && local->membership == NULL) {
        return error_set(error, STATUS_FATAL, ERROR_NO_TOPIC, "%s[%d] does not exist", given->topic,
                         given->partition);
    }
    *slot = (struct slot){.topic = memory_text(given->topic),
                          .topic_id = topic.id,
                          .partition = given->partition,
                          .number = given->slot,
                          .restore = given->restore,
                          .paused = given->paused,
                          .stopped = missing,
                          .position = given->offset};
    return STATUS_OK;
}

static enum status local_assign_slots(struct consumer *consumer,
                                      const struct consumer_assignment *assignment, size_t count,
                                      struct error *error)
{
    ensure(count == 0 || assignment != NULL);
    struct local_consumer *local = local_of(consumer);
    slots_clear(local);
    enum status status = local_read_begin(local->environment, &local->txn, error);
    if (status != STATUS_OK) {
        return status;
    }
    local->slots = memory_allocate(count * sizeof *local->slots);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        status = slot_init(local, &assignment[i], &local->slots[i], error);
        local->slot_count += status == STATUS_OK ? 1 : 0;
    }
    local_read_pause(local->environment, local->txn);
    if (status != STATUS_OK) {
        slots_clear(local);
    } else if (local->membership != NULL) {
        local_membership_assigned(local->membership);
    }
    return status;
}

static enum status local_unassign(struct consumer *consumer, struct error *error)
{
    struct local_consumer *local = local_of(consumer);
    slots_clear(local);
    ensure(local->slot_count == 0 && local->current == 0);
    return local->membership == NULL ? STATUS_OK
                                     : local_membership_unassigned(local->membership, error);
}

static enum status local_pause(struct consumer *consumer, uint32_t number, bool paused,
                               struct error *error)
{
    struct slot *slot = slot_find(local_of(consumer), number);
    (void)error;
    ensure(slot != NULL);
    /* The block stays: it is the slot's share of the prefetch, and fetching it again costs more. */
    slot->paused = paused;
    return STATUS_OK;
}

static enum status local_committed(struct consumer *consumer, struct broker_offset *offsets,
                                   size_t count, int64_t timeout_ms, struct error *error)
{
    ensure(count == 0 || offsets != NULL);
    struct local_consumer *local = local_of(consumer);
    (void)timeout_ms; /* nothing is ever open: the answer is there */
    if (local->membership == NULL) {
        return error_set(error, STATUS_FATAL, ERROR_CONFIG,
                         "a reader without a group has no committed offsets");
    }
    enum status status = local_read_begin(local->environment, &local->txn, error);
    if (status != STATUS_OK) {
        return status;
    }
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        status = local_offset_get(local->environment, local->txn, local->membership->group,
                                  &offsets[i], error);
    }
    local_read_pause(local->environment, local->txn);
    return status;
}

static bool local_owns(struct consumer *consumer)
{
    ensure(local_of(consumer)->environment != NULL);
    struct local_consumer *local = local_of(consumer);
    return local->membership == NULL || local_membership_owns(local->membership);
}

static void local_close(struct consumer *consumer)
{
    ensure(local_of(consumer)->environment != NULL);
    struct local_consumer *local = local_of(consumer);
    slots_clear(local);
    local_membership_close(local->membership);
    if (local->txn != NULL) {
        mdb_txn_abort(local->txn);
    }
    free(local);
}

static const struct consumer_ops local_consumer_ops = {
    .poll = local_poll,
    .poll_restore = local_poll_restore,
    .release = local_release,
    .assign = local_assign_slots,
    .unassign = local_unassign,
    .pause = local_pause,
    .committed = local_committed,
    .owns = local_owns,
    .close = local_close,
};

const struct local_credential *local_consumer_credential(struct consumer *consumer)
{
    ensure(consumer->ops == &local_consumer_ops);
    const struct local_membership *membership = local_of(consumer)->membership;
    return membership == NULL || membership->credential.generation < 0 ? NULL
                                                                       : &membership->credential;
}

enum status local_consumer_open(struct broker *broker, const struct consumer_options *options,
                                struct consumer **consumer, struct error *error)
{
    ensure(options->group == NULL || options->topic_count == 0 || options->topics != NULL);
    const struct local_broker *opened = (const struct local_broker *)(void *)broker;
    struct local_consumer *local = memory_allocate(sizeof *local);
    local->consumer.ops = &local_consumer_ops;
    local->environment = opened->environment;
    local->prefetch_size = opened->prefetch_size;
    enum status status = STATUS_OK;
    *consumer = NULL;
    if (options->group != NULL) {
        status = local_membership_open(opened->environment, options, opened->session_timeout_ms,
                                       opened->callback_timeout_ms, &local->membership, error);
    }
    if (status == STATUS_OK) {
        *consumer = &local->consumer;
    } else {
        local_close(&local->consumer);
    }
    return status;
}
