/* SPDX-License-Identifier: Apache-2.0 */
/* Topics and partitions: append, decide, compact, retain, read. */
#include "sim_cluster.h"

#include "sim_rows.h"

#include <stdlib.h>
#include <string.h>

struct sim_topic *sim_topic_find(struct sim_cluster *cluster, const char *name)
{
    for (size_t i = 0; i < cluster->topic_count; i++) {
        if (strcmp(cluster->topics[i]->name, name) == 0) {
            return cluster->topics[i];
        }
    }
    return NULL;
}

struct sim_topic *sim_topic_add(struct sim_cluster *cluster, const char *name, int32_t partitions,
                                bool compacted)
{
    ensure(sim_topic_find(cluster, name) == NULL && partitions > 0);
    struct sim_topic *topic = memory_allocate(sizeof *topic);
    topic->name = memory_text(name);
    topic->facts = (struct broker_topic){.partition_count = partitions,
                                         .compacted = compacted,
                                         .deleted = !compacted,
                                         .max_message_size = 17825792,
                                         .retention_ms = -1,
                                         .delete_retention_ms = INT64_C(604800000)};
    topic->partitions = memory_allocate((size_t)partitions * sizeof *topic->partitions);
    cluster->topics =
        memory_resize(cluster->topics, (cluster->topic_count + 1) * sizeof(struct sim_topic *));
    cluster->topics[cluster->topic_count++] = topic;
    return topic;
}

void sim_topic_free(struct sim_topic *topic)
{
    for (int32_t i = 0; i < topic->facts.partition_count; i++) {
        struct sim_partition *partition = &topic->partitions[i];
        for (size_t r = 0; r < partition->count; r++) {
            free(partition->records[r]);
        }
        free(partition->records);
        free(partition->opens);
        free(partition->epochs);
    }
    free(topic->partitions);
    free(topic->name);
    free(topic);
}

struct sim_partition *sim_partition_find(struct sim_cluster *cluster, const char *topic,
                                         int32_t partition)
{
    struct sim_topic *found = sim_topic_find(cluster, topic);
    if (found == NULL || partition < 0 || partition >= found->facts.partition_count) {
        return NULL;
    }
    return &found->partitions[partition];
}

/* ---- Records ---- */

static struct bytes place_bytes(uint8_t **at, struct bytes value)
{
    if (value.data == NULL) {
        return value;
    }
    struct bytes placed = {*at, value.size};
    if (value.size > 0) {
        memcpy(*at, value.data, value.size);
    }
    *at += value.size;
    return placed;
}

struct sim_record *sim_record_make(struct bytes key, struct bytes value,
                                   const struct header *headers, uint32_t header_count,
                                   int64_t timestamp_ms)
{
    size_t size = sizeof(struct sim_record) + header_count * sizeof(struct header) + key.size +
                  value.size + 1;
    for (uint32_t i = 0; i < header_count; i++) {
        size += strlen(headers[i].name) + 1 + headers[i].value.size;
    }
    struct sim_record *record = memory_allocate(size);
    record->headers = (struct header *)(record + 1);
    record->header_count = header_count;
    record->timestamp_ms = timestamp_ms;
    uint8_t *at = (uint8_t *)(record->headers + header_count);
    record->key = place_bytes(&at, key);
    record->value = place_bytes(&at, value);
    for (uint32_t i = 0; i < header_count; i++) {
        struct bytes name = {headers[i].name, strlen(headers[i].name) + 1};
        record->headers[i].name = place_bytes(&at, name).data;
        record->headers[i].value = place_bytes(&at, headers[i].value);
    }
    return record;
}

struct sim_record *sim_record_copy(const struct sim_record *record)
{
    struct sim_record *copy = sim_record_make(record->key, record->value, record->headers,
                                              record->header_count, record->timestamp_ms);
    copy->offset = record->offset;
    copy->state = record->state;
    return copy;
}

/* ---- Partitions ---- */

int64_t sim_partition_append(struct sim_partition *partition, struct sim_record *record)
{
    if (partition->count == partition->capacity) {
        partition->capacity = partition->capacity == 0 ? 16 : partition->capacity * 2;
        partition->records =
            memory_resize(partition->records, partition->capacity * sizeof(struct sim_record *));
    }
    record->offset = partition->end++;
    record->serial = record->owner == NULL ? 0 : record->owner->serial;
    partition->records[partition->count++] = record;
    if (record->state == RECORD_OPEN && !sim_partition_open_for(partition, record->owner)) {
        partition->opens =
            memory_resize(partition->opens, (partition->open_count + 1) * sizeof(struct sim_open));
        partition->opens[partition->open_count++] =
            (struct sim_open){record->owner, record->offset};
    }
    return record->offset;
}

void sim_lose_marker(struct sim_cluster *cluster, const char *topic, int32_t partition,
                     const char *id, const char *header)
{
    struct sim_partition *log = sim_partition_find(cluster, topic, partition);
    struct header named = {header, bytes_of(id)};
    struct sim_record *record =
        sim_record_make(bytes_of("lost"), bytes_of("lost"), &named, 1, sim_wall_ms(cluster->sim));
    ensure(log != NULL);
    record->owner = sim_transaction_get(cluster, id);
    record->state = RECORD_OPEN;
    (void)sim_partition_append(log, record);
    sim_touch(cluster->sim);
}

bool sim_partition_open_for(const struct sim_partition *partition,
                            const struct sim_transaction *owner)
{
    for (size_t i = 0; i < partition->open_count; i++) {
        if (partition->opens[i].owner == owner) {
            return true;
        }
    }
    return false;
}

int64_t sim_partition_stable(const struct sim_partition *partition)
{
    int64_t stable = partition->end;
    for (size_t i = 0; i < partition->open_count; i++) {
        if (partition->opens[i].first < stable) {
            stable = partition->opens[i].first;
        }
    }
    return stable;
}

int32_t *sim_partition_epoch(struct sim_partition *partition, struct sim_transaction *owner)
{
    for (size_t i = 0; i < partition->epoch_count; i++) {
        if (partition->epochs[i].owner == owner) {
            return &partition->epochs[i].epoch;
        }
    }
    partition->epochs =
        memory_resize(partition->epochs, (partition->epoch_count + 1) * sizeof(struct sim_epoch));
    partition->epochs[partition->epoch_count] = (struct sim_epoch){owner, 0};
    return &partition->epochs[partition->epoch_count++].epoch;
}

void sim_partition_mark(struct sim_partition *partition, struct sim_transaction *owner, bool commit)
{
    for (size_t i = 0; i < partition->open_count; i++) {
        if (partition->opens[i].owner != owner) {
            continue;
        }
        size_t at = sim_partition_index(partition, partition->opens[i].first);
        for (; at < partition->count; at++) {
            struct sim_record *record = partition->records[at];
            if (record->owner == owner && record->state == RECORD_OPEN) {
                record->state = commit ? RECORD_COMMITTED : RECORD_ABORTED;
            }
        }
        partition->opens[i] = partition->opens[--partition->open_count];
        break;
    }
    struct bytes none = {NULL, 0};
    struct sim_record *marker = sim_record_make(none, none, NULL, 0, BROKER_NO_TIMESTAMP);
    marker->kind = RECORD_MARKER;
    marker->state = RECORD_COMMITTED;
    sim_partition_append(partition, marker);
    int32_t *epoch = sim_partition_epoch(partition, owner);
    if (*epoch < owner->epoch) {
        *epoch = owner->epoch;
    }
}

size_t sim_partition_index(const struct sim_partition *partition, int64_t offset)
{
    size_t low = 0;
    size_t high = partition->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (partition->records[middle]->offset < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* ---- Direct access ---- */

static struct sim_partition *must_find(struct sim_cluster *cluster, const char *topic,
                                       int32_t partition)
{
    struct sim_partition *found = sim_partition_find(cluster, topic, partition);
    ensure(found != NULL);
    return found;
}

void sim_topic_make(struct sim_cluster *cluster, const char *name, int32_t partitions,
                    bool compacted)
{
    (void)sim_topic_add(cluster, name, partitions, compacted);
}

int64_t sim_append(struct sim_cluster *cluster, const char *topic, int32_t partition,
                   struct bytes key, struct bytes value, int64_t timestamp_ms)
{
    struct sim_record *record = sim_record_make(key, value, NULL, 0, timestamp_ms);
    record->state = RECORD_COMMITTED;
    int64_t offset = sim_partition_append(must_find(cluster, topic, partition), record);
    sim_touch(cluster->sim);
    return offset;
}

int32_t sim_partition_count(struct sim_cluster *cluster, const char *topic)
{
    struct sim_topic *found = sim_topic_find(cluster, topic);
    return found == NULL ? 0 : found->facts.partition_count;
}

int64_t sim_log_end(struct sim_cluster *cluster, const char *topic, int32_t partition)
{
    return must_find(cluster, topic, partition)->end;
}

int64_t sim_log_stable(struct sim_cluster *cluster, const char *topic, int32_t partition)
{
    return sim_partition_stable(must_find(cluster, topic, partition));
}

static void read_log(struct sim_partition *log, int64_t offset, int64_t end, bool history,
                     bool (*visit)(void *context, const struct broker_record *record),
                     void *context)
{
    for (size_t i = sim_partition_index(log, offset); i < log->count; i++) {
        struct sim_record *record = log->records[i];
        if (record->offset >= end) {
            return;
        }
        if (record->kind != RECORD_DATA || record->state != RECORD_COMMITTED ||
            (record->hidden && !history)) {
            continue;
        }
        struct broker_record view = {.key = record->key,
                                     .value = record->value,
                                     .timestamp_ms = record->timestamp_ms,
                                     .offset = record->offset,
                                     .headers = record->headers,
                                     .header_count = record->header_count};
        if (!visit(context, &view)) {
            return;
        }
    }
}

void sim_read(struct sim_cluster *cluster, const char *topic, int32_t partition, int64_t offset,
              bool (*visit)(void *context, const struct broker_record *record), void *context)
{
    struct sim_partition *log = must_find(cluster, topic, partition);
    read_log(log, offset, sim_partition_stable(log), false, visit, context);
}

void sim_read_history(struct sim_cluster *cluster, const char *topic, int32_t partition,
                      bool (*visit)(void *context, const struct broker_record *record),
                      void *context)
{
    struct sim_partition *log = must_find(cluster, topic, partition);
    read_log(log, 0, sim_partition_stable(log), true, visit, context);
}

void sim_read_committed(struct sim_cluster *cluster, const char *topic, int32_t partition,
                        bool (*visit)(void *context, const struct broker_record *record),
                        void *context)
{
    struct sim_partition *log = must_find(cluster, topic, partition);
    read_log(log, 0, log->end, false, visit, context);
}

/* Whether a deletion has been there for long enough; the first compaction starts its time. */
static bool is_old(struct sim_record *record, int64_t now_us, int64_t age_us)
{
    if (record->value.data != NULL || age_us == INT64_MAX) {
        return false;
    }
    if (record->horizon_us == 0) {
        record->horizon_us = now_us + age_us;
    }
    return now_us >= record->horizon_us;
}

/* Whether a newer record of that key was met; from now on one was. */
static bool meet(struct sim_rows *met, struct bytes key)
{
    size_t at = sim_table_at(met, key);
    if (sim_table_has(met, at, key)) {
        return true;
    }
    sim_table_insert(met, at, sim_entry_make(key, (struct bytes){"", 0}));
    return false;
}

/* From the newest record back. `age_us`: how long deletions stay; INT64_MAX = for ever. */
static void compact_partition(struct sim_partition *log, int64_t now_us, int64_t age_us)
{
    int64_t stable = sim_partition_stable(log);
    struct sim_rows met = {0};
    for (size_t i = log->count; i-- > 0;) {
        struct sim_record *record = log->records[i];
        bool keep = record->hidden || record->offset >= stable;
        if (!keep && record->kind == RECORD_DATA && record->state == RECORD_COMMITTED) {
            keep = !meet(&met, record->key) && !is_old(record, now_us, age_us);
        }
        record->hidden = record->hidden || (!keep && i + 2 < log->count);
    }
    sim_rows_free(&met);
}

static void compact(struct sim_cluster *cluster, const char *topic, int64_t age_us)
{
    struct sim_topic *found = sim_topic_find(cluster, topic);
    ensure(found != NULL);
    for (int32_t i = 0; i < found->facts.partition_count; i++) {
        compact_partition(&found->partitions[i], sim_now_us(cluster->sim), age_us);
    }
    sim_touch(cluster->sim);
}

void sim_compact(struct sim_cluster *cluster, const char *topic, bool tombstones)
{
    compact(cluster, topic, tombstones ? INT64_MAX : 0);
}

void sim_compact_aged(struct sim_cluster *cluster, const char *topic, int64_t tombstone_ms)
{
    compact(cluster, topic, tombstone_ms * 1000);
}

void sim_retain(struct sim_cluster *cluster, const char *topic, int32_t partition, int64_t before)
{
    struct sim_partition *log = must_find(cluster, topic, partition);
    int64_t stable = sim_partition_stable(log);
    int64_t start = before < stable ? before : stable;
    if (start <= log->start) {
        return;
    }
    size_t gone = sim_partition_index(log, start);
    for (size_t i = 0; i < gone; i++) {
        log->records[i]->hidden = true;
    }
    log->start = start;
    sim_touch(cluster->sim);
}
