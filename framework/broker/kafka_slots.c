/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/kafka_slots.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

static struct kafka_slot_topic *topic_of(struct kafka_slots *slots, const rd_kafka_topic_t *topic)
{
    for (size_t i = 0; i < slots->topic_count; i++) {
        if (slots->topics[i].topic == topic) {
            return &slots->topics[i];
        }
    }
    return NULL;
}

static void index_partition(struct kafka_slots *slots, struct kafka_slot *slot)
{
    struct kafka_slot_topic *topic = topic_of(slots, slot->topic);
    if (topic == NULL) {
        topic = &slots->topics[slots->topic_count++];
        topic->topic = slot->topic;
    }
    if (slot->partition >= topic->partition_count) {
        int32_t count = slot->partition + 1;
        topic->by_partition =
            memory_resize(topic->by_partition, (size_t)count * sizeof(struct kafka_slot *));
        for (int32_t i = topic->partition_count; i < count; i++) {
            topic->by_partition[i] = NULL;
        }
        topic->partition_count = count;
    }
    ensure(topic->by_partition[slot->partition] == NULL);
    topic->by_partition[slot->partition] = slot;
}

void kafka_slots_init(struct kafka_slots *slots, const struct consumer_assignment *assignment,
                      size_t count, rd_kafka_t *rk, rd_kafka_t *reader)
{
    *slots = (struct kafka_slots){.count = count};
    if (count == 0) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (assignment[i].slot >= slots->slot_end) {
            slots->slot_end = (size_t)assignment[i].slot + 1;
        }
    }
    slots->items = memory_allocate(count * sizeof *slots->items);
    slots->topics = memory_allocate(count * sizeof *slots->topics);
    slots->by_slot = memory_allocate(slots->slot_end * sizeof(struct kafka_slot *));
    for (size_t i = 0; i < count; i++) {
        const struct consumer_assignment *from = &assignment[i];
        rd_kafka_t *handle = from->restore || rk == NULL ? reader : rk;
        ensure(handle != NULL && from->offset >= 0 && from->partition >= 0);
        struct kafka_slot *slot = &slots->items[i];
        *slot = (struct kafka_slot){.slot = from->slot,
                                    .topic = rd_kafka_topic_new(handle, from->topic, NULL),
                                    .partition = from->partition,
                                    .next = from->offset,
                                    .restore = from->restore,
                                    .paused = from->paused};
        ensure(slot->topic != NULL && slots->by_slot[slot->slot] == NULL);
        slots->by_slot[slot->slot] = slot;
        index_partition(slots, slot);
    }
}

void kafka_slots_finish(struct kafka_slots *slots)
{
    for (size_t i = 0; i < slots->count; i++) {
        ensure(slots->items[i].queue == NULL);
        rd_kafka_topic_destroy(slots->items[i].topic);
    }
    for (size_t i = 0; i < slots->topic_count; i++) {
        free(slots->topics[i].by_partition);
    }
    free(slots->items);
    free(slots->topics);
    free(slots->by_slot);
    *slots = (struct kafka_slots){0};
}

struct kafka_slot *kafka_slots_get(const struct kafka_slots *slots, uint32_t slot)
{
    ensure(slots->slot_end == 0 || slots->by_slot != NULL);
    return slot < slots->slot_end ? slots->by_slot[slot] : NULL;
}

struct kafka_slot *kafka_slots_find(struct kafka_slots *slots, const rd_kafka_topic_t *topic,
                                    int32_t partition)
{
    struct kafka_slot *last = slots->last;
    if (last != NULL && last->partition == partition && last->topic == topic) {
        return last;
    }
    struct kafka_slot_topic *of = topic_of(slots, topic);
    if (of == NULL || partition < 0 || partition >= of->partition_count) {
        return NULL;
    }
    slots->last = of->by_partition[partition];
    return slots->last;
}
