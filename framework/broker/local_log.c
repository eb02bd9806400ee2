/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/local_log.h"

#include <stdlib.h>
#include <string.h>

enum { FETCH_BATCHES = 512, ENTRY_SIZE = 16 };

/* Rows and keys with more are damaged, so that sums of what they say never overflow. */
static const int64_t OFFSET_MOST = INT64_MAX / 4;

void local_log_key(uint8_t key[LOCAL_LOG_KEY_SIZE], uint32_t topic, int32_t partition,
                   int64_t offset)
{
    ensure(partition >= 0 && offset >= 0);
    put_u32(key, topic);
    put_u32(key + 4, (uint32_t)partition);
    put_u64(key + 8, (uint64_t)offset);
}

bool local_log_key_is(const MDB_val *key, uint32_t topic, int32_t partition, int64_t *base)
{
    ensure(base != NULL);
    const uint8_t *at = key->mv_data;
    if (key->mv_size != LOCAL_LOG_KEY_SIZE) {
        return false; /* damaged: of no partition */
    }
    *base = (int64_t)get_u64(at + 8);
    return get_u32(at) == topic && get_u32(at + 4) == (uint32_t)partition && *base >= 0 &&
           *base <= OFFSET_MOST;
}

static void partition_key(uint8_t key[8], uint32_t topic, int32_t partition)
{
    ensure(partition >= 0);
    put_u32(key, topic);
    put_u32(key + 4, (uint32_t)partition);
}

enum status local_partition_get(struct local_environment *environment, MDB_txn *txn, uint32_t topic,
                                int32_t partition, struct local_partition *row, struct error *error)
{
    uint8_t key[8];
    partition_key(key, topic, partition);
    MDB_val at = local_val(key, sizeof key);
    MDB_val value;
    int result = mdb_get(txn, environment->partitions, &at, &value);
    if (result != 0) {
        return local_failed(environment, result, "read a partition", error);
    }
    if (value.mv_size != sizeof *row) {
        return error_set(error, STATUS_FATAL, ERROR_CORRUPT,
                         "%s: the row of a partition has %zu "
                         "bytes",
                         environment->directory, value.mv_size);
    }
    memcpy(row, value.mv_data, sizeof *row);
    if (row->start < 0 || row->start > row->end || row->end > OFFSET_MOST || row->size < 0 ||
        row->size > OFFSET_MOST || row->clean_end < 0 || row->clean_end > OFFSET_MOST ||
        row->clean_size < 0 || row->clean_size > OFFSET_MOST) {
        return error_set(error, STATUS_FATAL, ERROR_CORRUPT,
                         "%s: the row of partition %d of topic number %u is damaged",
                         environment->directory, partition, topic);
    }
    return STATUS_OK;
}

enum status local_partition_put(struct local_environment *environment, MDB_txn *txn, uint32_t topic,
                                int32_t partition, const struct local_partition *row,
                                struct error *error)
{
    ensure(row->start >= 0 && row->start <= row->end && row->size >= 0);
    uint8_t key[8];
    partition_key(key, topic, partition);
    MDB_val at = local_val(key, sizeof key);
    MDB_val value = local_val(row, sizeof *row);
    int result = mdb_put(txn, environment->partitions, &at, &value, 0);
    return result == 0 ? STATUS_OK : local_failed(environment, result, "write a partition", error);
}

enum status local_log_put(struct local_environment *environment, MDB_txn *txn, uint32_t topic,
                          int32_t partition, int64_t base, struct bytes batch, struct error *error)
{
    uint8_t key[LOCAL_LOG_KEY_SIZE];
    local_log_key(key, topic, partition, base);
    MDB_val at = local_val(key, sizeof key);
    MDB_val value = {batch.size, NULL};
    int result = mdb_put(txn, environment->log, &at, &value, MDB_RESERVE | MDB_NOOVERWRITE);
    if (result == MDB_KEYEXIST) {
        return error_set(
            error, STATUS_FATAL, ERROR_CORRUPT,
            "%s: partition %d of topic number %u has a batch at offset %lld, where its "
            "row says that none is",
            environment->directory, partition, topic, (long long)base);
    }
    if (result != 0) {
        return local_failed(environment, result, "append", error);
    }
    memcpy(value.mv_data, batch.data, batch.size);
    return STATUS_OK;
}

enum status local_log_append(struct local_environment *environment, MDB_txn *txn, uint32_t topic,
                             int32_t partition, const struct local_builder *builder,
                             struct local_partition *row, struct error *error)
{
    ensure(!builder->open && !builder->sparse);
    for (size_t i = 0; i < builder->count; i++) {
        const struct local_span *span = &builder->spans[i];
        struct bytes batch = {builder->data.data + span->at, span->size};
        enum status status =
            local_log_put(environment, txn, topic, partition, row->end + span->base, batch, error);
        if (status != STATUS_OK) {
            return status;
        }
        row->size += (int64_t)span->size;
    }
    row->end += builder->records;
    return STATUS_OK;
}

enum status local_log_trim(struct local_environment *environment, MDB_txn *txn, uint32_t topic,
                           int32_t partition, struct local_partition *row, size_t most, bool *left,
                           struct error *error)
{
    ensure(most > 0);
    MDB_cursor *cursor = NULL;
    int result = mdb_cursor_open(txn, environment->log, &cursor);
    if (result != 0) {
        return local_failed(environment, result, "trim", error);
    }
    uint8_t first[LOCAL_LOG_KEY_SIZE];
    local_log_key(first, topic, partition, 0);
    MDB_val key = local_val(first, sizeof first);
    MDB_val value;
    size_t removed = 0;
    *left = false;
    result = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (result == 0) {
        int64_t base = 0;
        struct local_batch_header header;
        if (!local_log_key_is(&key, topic, partition, &base) ||
            !local_batch_header((struct bytes){value.mv_data, value.mv_size}, &header) ||
            base + header.last_delta >= row->start) {
            break;
        }
        if (removed == most) {
            *left = true;
            break;
        }
        row->size -= (int64_t)value.mv_size;
        row->clean_size -= base < row->clean_end ? (int64_t)value.mv_size : 0;
        removed += 1;
        result = mdb_cursor_del(cursor, 0);
        if (result == 0) {
            key = local_val(first, sizeof first); /* a cursor is sought anew after a write */
            result = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
        }
    }
    mdb_cursor_close(cursor);
    row->clean_size = row->clean_size < 0 ? 0 : row->clean_size;
    if (result != 0 && result != MDB_NOTFOUND) {
        return local_failed(environment, result, "trim", error);
    }
    return STATUS_OK;
}

/* Moves row->start past the batches to be given up; stops after `most`. */
static enum status retain_mark(struct local_environment *environment, MDB_cursor *cursor,
                               const struct local_topic *topic, int32_t partition,
                               struct local_partition *row, int64_t now_ms, size_t most,
                               struct error *error)
{
    ensure(topic->deleted != 0);
    int64_t base = 0;
    MDB_val batch;
    int64_t size = row->size;
    enum status status =
        local_log_seek(environment, cursor, topic->id, partition, row->start, &base, &batch, error);
    for (size_t i = 0; status == STATUS_OK && i < most; i++) {
        struct local_batch_header header;
        if (!local_batch_header((struct bytes){batch.mv_data, batch.mv_size}, &header)) {
            return error_set(error, STATUS_FATAL, ERROR_CORRUPT, "%s: a batch is damaged",
                             environment->directory);
        }
        bool old = topic->retention_ms >= 0 && header.append_ms < now_ms - topic->retention_ms;
        bool much =
            topic->retention_size >= 0 && size - (int64_t)batch.mv_size >= topic->retention_size;
        if (!old && !much) {
            return STATUS_OK;
        }
        row->start = base + header.last_delta + 1;
        size -= (int64_t)batch.mv_size;
        MDB_val key;
        int result = mdb_cursor_get(cursor, &key, &batch, MDB_NEXT);
        if (result != 0 || !local_log_key_is(&key, topic->id, partition, &base)) {
            row->start = row->end;
            return result == 0 || result == MDB_NOTFOUND
                       ? STATUS_OK
                       : local_failed(environment, result, "retain", error);
        }
        row->start = base;
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status local_log_retain(struct local_environment *environment, MDB_txn *txn,
                             const struct local_topic *topic, int32_t partition,
                             struct local_partition *row, int64_t now_ms, size_t most,
                             bool *changed, struct error *error)
{
    ensure(most > 0);
    int64_t before = row->start;
    *changed = false;
    if (!topic->deleted || (topic->retention_ms < 0 && topic->retention_size < 0)) {
        return STATUS_OK;
    }
    MDB_cursor *cursor = NULL;
    int result = mdb_cursor_open(txn, environment->log, &cursor);
    if (result != 0) {
        return local_failed(environment, result, "retain", error);
    }
    enum status status =
        retain_mark(environment, cursor, topic, partition, row, now_ms, most, error);
    mdb_cursor_close(cursor);
    *changed = row->start != before;
    if (status != STATUS_OK || !*changed) {
        return status;
    }
    bool left = false;
    return local_log_trim(environment, txn, topic->id, partition, row, most, &left, error);
}

enum status local_log_seek(struct local_environment *environment, MDB_cursor *cursor,
                           uint32_t topic, int32_t partition, int64_t offset, int64_t *base,
                           MDB_val *batch, struct error *error)
{
    uint8_t wanted[LOCAL_LOG_KEY_SIZE];
    local_log_key(wanted, topic, partition, offset);
    MDB_val key = local_val(wanted, sizeof wanted);
    int result = mdb_cursor_get(cursor, &key, batch, MDB_SET_RANGE);
    if (result != 0 && result != MDB_NOTFOUND) {
        return local_failed(environment, result, "read", error);
    }
    bool found = result == 0 && local_log_key_is(&key, topic, partition, base);
    if (found && *base == offset) {
        return STATUS_OK;
    }
    /* The one before may hold it. */
    struct local_batch_header header;
    result = mdb_cursor_get(cursor, &key, batch, result == 0 ? MDB_PREV : MDB_LAST);
    if (result == 0 && local_log_key_is(&key, topic, partition, base) &&
        local_batch_header((struct bytes){batch->mv_data, batch->mv_size}, &header) &&
        *base + header.last_delta >= offset) {
        return STATUS_OK;
    }
    if (!found) {
        return STATUS_NOT_FOUND;
    }
    key = local_val(wanted, sizeof wanted);
    result = mdb_cursor_get(cursor, &key, batch, MDB_SET_RANGE);
    ensure(result == 0 && local_log_key_is(&key, topic, partition, base));
    return STATUS_OK;
}

/* The batches to copy, found first so that the block is allocated once. */
struct found {
    int64_t base;
    MDB_val batch;
};

static struct local_block *block_create(const struct found *found, size_t count, size_t size)
{
    struct local_block *block = memory_resize(NULL, sizeof *block + size);
    *block = (struct local_block){.references = 1, .size = size};
    arena_init(&block->headers, 0);
    uint8_t *at = block->data;
    for (size_t i = 0; i < count; i++) {
        uint64_t batch_size = found[i].batch.mv_size;
        memcpy(at, &found[i].base, 8);
        memcpy(at + 8, &batch_size, 8);
        memcpy(at + ENTRY_SIZE, found[i].batch.mv_data, batch_size);
        at += ENTRY_SIZE + batch_size;
    }
    ensure(at == block->data + size);
    return block;
}

enum status local_log_fetch(struct local_environment *environment, MDB_txn *txn, uint32_t topic,
                            int32_t partition, int64_t offset, size_t limit,
                            struct local_block **block, struct error *error)
{
    ensure(offset >= 0);
    *block = NULL;
    MDB_cursor *cursor = NULL;
    int result = mdb_cursor_open(txn, environment->log, &cursor);
    if (result != 0) {
        return local_failed(environment, result, "read", error);
    }
    struct found found[FETCH_BATCHES];
    size_t count = 0;
    size_t size = 0;
    struct found each;
    enum status status = local_log_seek(environment, cursor, topic, partition, offset, &each.base,
                                        &each.batch, error);
    while (status == STATUS_OK) {
        size_t more = ENTRY_SIZE + each.batch.mv_size;
        if (count == FETCH_BATCHES || (count > 0 && size + more > limit)) {
            break;
        }
        found[count++] = each;
        size += more;
        MDB_val key;
        result = mdb_cursor_get(cursor, &key, &each.batch, MDB_NEXT);
        if (result != 0 || !local_log_key_is(&key, topic, partition, &each.base)) {
            break;
        }
    }
    if (result != 0 && result != MDB_NOTFOUND) {
        status = local_failed(environment, result, "read", error);
    } else if (count > 0) {
        *block = block_create(found, count, size);
    }
    mdb_cursor_close(cursor);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

void local_block_release(struct local_block *block)
{
    ensure(block->references > 0);
    block->references -= 1;
    if (block->references == 0) {
        arena_finish(&block->headers);
        free(block);
    }
}
