/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/local_compaction.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "broker/local_log.h"

#include <stdlib.h>
#include <string.h>

enum {
    DIRTY_LEAST = 16 << 20,   /* a pass is not worth less */
    SCAN_SIZE = 1 << 20,      /* read in one step */
    REWRITE_SIZE = 512 << 10, /* rewritten in one write transaction */
    REWRITE_BATCHES = 1024,
    SLOTS_LEAST = 1 << 12,
    KEYS_MOST = 3 << 18 /* remembered in one pass: 2^20 slots of 24 bytes */
};

/* The newest offset of a key; two independent 64-bit hashes stand for it: with a million keys a
 * chance of 10^-27 to take two keys for one. */
struct newest {
    uint64_t first, second;
    int64_t offset; /* -1 = the slot is free */
};

enum stage { STAGE_IDLE, STAGE_SCAN, STAGE_REWRITE };

struct local_compaction {
    struct local_environment *environment;
    uint32_t topic;
    int32_t partition;
    int64_t delete_retention_ms;
    enum stage stage;
    int64_t next;  /* offset where the stage goes on */
    int64_t until; /* the pass covers the log below it */
    int64_t kept;  /* bytes that the rewritten part has now */
    struct newest *table;
    size_t slots, keys;
    uint32_t commits; /* IDLE: when the row was last read */
};

struct local_compaction *local_compaction_create(struct local_environment *environment,
                                                 uint32_t topic, int32_t partition,
                                                 int64_t delete_retention_ms)
{
    ensure(environment != NULL && partition >= 0);
    struct local_compaction *compaction = memory_allocate(sizeof *compaction);
    compaction->environment = environment;
    compaction->topic = topic;
    compaction->partition = partition;
    compaction->delete_retention_ms = delete_retention_ms;
    compaction->commits = local_commits(environment) - 1;
    return compaction;
}

void local_compaction_destroy(struct local_compaction *compaction)
{
    ensure((compaction->table != NULL) == (compaction->stage != STAGE_IDLE));
    free(compaction->table);
    free(compaction);
}

/* ---- The table of newest offsets ---- */

static struct newest *table_find(const struct local_compaction *compaction, struct bytes key)
{
    ensure(compaction->keys < compaction->slots && key.data != NULL);
    uint64_t first = hash_table(key.data, key.size);
    uint64_t second =
        (uint64_t)hash_crc32c(0, key.data, key.size) << 32 | hash_murmur2(key.data, key.size);
    size_t at = first & (compaction->slots - 1);
    while (compaction->table[at].offset >= 0 &&
           (compaction->table[at].first != first || compaction->table[at].second != second)) {
        at = (at + 1) & (compaction->slots - 1);
    }
    struct newest *found = &compaction->table[at];
    found->first = first; /* of a free slot: for who fills it */
    found->second = second;
    return found;
}

static void table_resize(struct local_compaction *compaction, size_t slots)
{
    struct newest *old = compaction->table;
    size_t old_slots = compaction->slots;
    ensure((slots & (slots - 1)) == 0);
    compaction->table = memory_resize(NULL, slots * sizeof *compaction->table);
    compaction->slots = slots;
    for (size_t i = 0; i < slots; i++) {
        compaction->table[i].offset = -1;
    }
    for (size_t i = 0; i < old_slots; i++) {
        if (old[i].offset >= 0) {
            size_t at = old[i].first & (slots - 1);
            while (compaction->table[at].offset >= 0) {
                at = (at + 1) & (slots - 1);
            }
            compaction->table[at] = old[i];
        }
    }
    free(old);
}

static void table_put(struct local_compaction *compaction, struct bytes key, int64_t offset)
{
    ensure(offset >= 0);
    if (compaction->keys >= compaction->slots / 4 * 3) {
        table_resize(compaction, compaction->slots * 2);
    }
    struct newest *found = table_find(compaction, key);
    compaction->keys += found->offset < 0 ? 1 : 0;
    found->offset = offset;
}

static void pass_end(struct local_compaction *compaction)
{
    ensure(compaction->stage != STAGE_IDLE);
    free(compaction->table);
    compaction->table = NULL;
    compaction->slots = 0;
    compaction->keys = 0;
    compaction->stage = STAGE_IDLE;
}

/* ---- Is a pass due? ---- */

static enum status idle_step(struct local_compaction *compaction, bool *more, struct error *error)
{
    ensure(compaction->table == NULL);
    struct local_environment *environment = compaction->environment;
    struct local_partition row;
    MDB_txn *txn = NULL;
    uint32_t commits = local_commits(environment);
    if (commits == compaction->commits) {
        return STATUS_OK;
    }
    enum status status = local_read_begin(environment, &txn, error);
    if (status != STATUS_OK) {
        return status;
    }
    status = local_partition_get(environment, txn, compaction->topic, compaction->partition, &row,
                                 error);
    local_read_end(environment, txn);
    compaction->commits = commits;
    if (status != STATUS_OK || row.size - row.clean_size < DIRTY_LEAST + row.clean_size / 2) {
        return status;
    }
    table_resize(compaction, SLOTS_LEAST);
    compaction->next = row.clean_end > row.start ? row.clean_end : row.start;
    compaction->until = row.end;
    compaction->stage = STAGE_SCAN;
    *more = true;
    return STATUS_OK;
}

/* ---- Reading what is new ---- */

static enum status damaged(const struct local_compaction *compaction, int64_t offset,
                           struct error *error)
{
    ensure(offset >= 0);
    return error_set(error, STATUS_FATAL, ERROR_CORRUPT,
                     "%s: the batch at offset %lld of topic number %u, partition %d is damaged",
                     compaction->environment->directory, (long long)offset, compaction->topic,
                     compaction->partition);
}

static enum status block_scan(struct local_compaction *compaction, const struct local_block *block,
                              struct error *error)
{
    ensure(block->size > 0);
    const uint8_t *at = block->data;
    while (at < block->data + block->size && compaction->keys < KEYS_MOST) {
        int64_t base = 0;
        uint64_t size = 0;
        struct local_reader reader;
        struct local_record record;
        memcpy(&base, at, 8);
        memcpy(&size, at + 8, 8);
        if (base >= compaction->until) {
            compaction->next = compaction->until;
            return STATUS_OK;
        }
        if (!local_reader_open(&reader, (struct bytes){at + 16, size}, base, true)) {
            return damaged(compaction, base, error);
        }
        while (local_reader_next(&reader, &record)) {
            if (record.key.data != NULL) {
                table_put(compaction, record.key, record.offset);
            }
            compaction->next = record.offset + 1;
        }
        if (reader.left > 0) {
            return damaged(compaction, base, error);
        }
        at += 16 + size;
    }
    return STATUS_OK;
}

static enum status scan_step(struct local_compaction *compaction, struct error *error)
{
    ensure(compaction->next <= compaction->until || compaction->keys == 0);
    struct local_environment *environment = compaction->environment;
    struct local_block *block = NULL;
    MDB_txn *txn = NULL;
    enum status status = local_read_begin(environment, &txn, error);
    if (status != STATUS_OK) {
        return status;
    }
    status = local_log_fetch(environment, txn, compaction->topic, compaction->partition,
                             compaction->next, SCAN_SIZE, &block, error);
    local_read_end(environment, txn);
    if (status != STATUS_OK) {
        return status;
    }
    if (block == NULL) {
        compaction->next = compaction->until;
    } else {
        status = block_scan(compaction, block, error);
        local_block_release(block);
    }
    if (compaction->keys >= KEYS_MOST) {
        compaction->until = compaction->next; /* whole batches: what lies above waits */
    }
    if (compaction->next >= compaction->until) {
        compaction->stage = STAGE_REWRITE;
        compaction->next = 0;
        compaction->kept = 0;
    }
    return status;
}

/* ---- Rewriting ---- */

/* One slice: what it holds before and after. */
struct slice {
    struct local_compaction *compaction;
    struct local_builder builder;
    int64_t *bases; /* of the batches it replaces */
    size_t count;
    int64_t size, dropped; /* bytes read, records left out */
    int64_t next;
    bool done;      /* the end of what the pass covers was reached */
    bool untouched; /* nothing of it was worth rewriting */
};

static bool superseded(const struct slice *slice, const struct local_record *record,
                       int64_t append_ms, int64_t now_ms)
{
    const struct local_compaction *compaction = slice->compaction;
    ensure(slice->compaction->table != NULL);
    if (record->key.data == NULL) {
        return false;
    }
    if (table_find(compaction, record->key)->offset > record->offset) {
        return true;
    }
    return record->value.data == NULL && append_ms < now_ms - compaction->delete_retention_ms;
}

static enum status slice_batch(struct slice *slice, int64_t base, const MDB_val *batch,
                               int64_t now_ms, struct error *error)
{
    ensure(slice->count < REWRITE_BATCHES);
    struct bytes bytes = {batch->mv_data, batch->mv_size};
    struct local_batch_header header;
    struct local_reader reader;
    struct local_record record;
    if (!local_batch_header(bytes, &header) || !local_reader_open(&reader, bytes, base, true)) {
        return damaged(slice->compaction, base, error);
    }
    while (local_reader_next(&reader, &record)) {
        if (superseded(slice, &record, header.append_ms, now_ms)) {
            slice->dropped += 1;
        } else {
            (void)local_builder_add(&slice->builder, &record, header.append_ms);
        }
    }
    if (reader.left > 0) {
        return damaged(slice->compaction, base, error);
    }
    slice->bases[slice->count++] = base;
    slice->size += (int64_t)batch->mv_size;
    slice->next = base + header.last_delta + 1;
    return STATUS_OK;
}

static enum status slice_read(struct slice *slice, MDB_txn *txn, struct error *error)
{
    ensure(slice->count == 0 && slice->builder.sparse);
    const struct local_compaction *compaction = slice->compaction;
    struct local_environment *environment = compaction->environment;
    int64_t now_ms = clock_wall_ms(clock_system());
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val batch;
    int64_t base = 0;
    int result = mdb_cursor_open(txn, environment->log, &cursor);
    if (result != 0) {
        return local_failed(environment, result, "compact", error);
    }
    enum status status = local_log_seek(environment, cursor, compaction->topic,
                                        compaction->partition, slice->next, &base, &batch, error);
    slice->done = status == STATUS_NOT_FOUND;
    while (status == STATUS_OK && slice->count < REWRITE_BATCHES && slice->size < REWRITE_SIZE) {
        if (result == MDB_NOTFOUND || base >= compaction->until) {
            slice->done = true;
            break;
        }
        status = slice_batch(slice, base, &batch, now_ms, error);
        result = mdb_cursor_get(cursor, &key, &batch, MDB_NEXT);
        if (result == 0 &&
            !local_log_key_is(&key, compaction->topic, compaction->partition, &base)) {
            result = MDB_NOTFOUND;
        }
        if (result != 0 && result != MDB_NOTFOUND) {
            status = local_failed(environment, result, "compact", error);
        }
    }
    mdb_cursor_close(cursor);
    local_builder_seal(&slice->builder);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status slice_replace(const struct slice *slice, MDB_txn *txn, struct error *error)
{
    ensure(!slice->builder.open && slice->count > 0);
    const struct local_compaction *compaction = slice->compaction;
    struct local_environment *environment = compaction->environment;
    const struct local_builder *builder = &slice->builder;
    int result = 0;
    for (size_t i = 0; i < slice->count && result == 0; i++) {
        uint8_t bytes[LOCAL_LOG_KEY_SIZE];
        local_log_key(bytes, compaction->topic, compaction->partition, slice->bases[i]);
        MDB_val key = local_val(bytes, sizeof bytes);
        result = mdb_del(txn, environment->log, &key, NULL);
    }
    enum status status =
        result == 0 ? STATUS_OK : local_failed(environment, result, "compact", error);
    for (size_t i = 0; i < builder->count && status == STATUS_OK; i++) {
        const struct local_span *span = &builder->spans[i];
        struct bytes batch = {builder->data.data + span->at, span->size};
        status = local_log_put(environment, txn, compaction->topic, compaction->partition,
                               span->base, batch, error);
    }
    return status;
}

static enum status slice_work(struct local_environment *environment, MDB_txn *txn, void *argument,
                              struct error *error)
{
    struct slice *slice = argument;
    ensure(slice->compaction->stage == STAGE_REWRITE && slice->builder.sparse);
    const struct local_compaction *compaction = slice->compaction;
    struct local_partition row;
    slice->untouched = false;
    slice->count = 0;
    slice->size = 0;
    slice->dropped = 0;
    slice->next = compaction->next;
    local_builder_reset(&slice->builder, SIZE_MAX);
    enum status status = local_partition_get(environment, txn, compaction->topic,
                                             compaction->partition, &row, error);
    if (status == STATUS_OK) {
        slice->next = slice->next < row.start ? row.start : slice->next;
        status = slice_read(slice, txn, error);
    }
    /* Small batches are joined even where every record stays. */
    bool worth = slice->dropped > 0 || slice->count > 4 * slice->builder.count;
    int64_t size = worth ? (int64_t)slice->builder.data.size : slice->size;
    if (status == STATUS_OK && worth) {
        ensure(slice->count > 0);
        status = slice_replace(slice, txn, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (!worth && !slice->done) {
        slice->untouched = true;
        return STATUS_NOT_FOUND; /* no commit for nothing */
    }
    bool below = slice->count > 0 && slice->bases[0] < row.clean_end;
    row.size += size - slice->size;
    row.clean_size += below ? size - slice->size : 0;
    if (slice->done) {
        row.clean_end = compaction->until;
        row.clean_size = compaction->kept + size;
    }
    row.clean_size = row.clean_size > row.size ? row.size : row.clean_size;
    row.clean_size = row.clean_size < 0 ? 0 : row.clean_size;
    slice->size = size;
    return local_partition_put(environment, txn, compaction->topic, compaction->partition, &row,
                               error);
}

static enum status rewrite_step(struct local_compaction *compaction, struct error *error)
{
    struct slice slice = {.compaction = compaction, .builder = {.sparse = true}};
    slice.bases = memory_allocate(REWRITE_BATCHES * sizeof *slice.bases);
    enum status status =
        local_write(compaction->environment, LOCAL_WRITE_TIMEOUT_MS, slice_work, &slice, error);
    if (status == STATUS_NOT_FOUND && slice.untouched) {
        status = STATUS_OK;
    }
    if (status == STATUS_OK) {
        ensure(slice.done || slice.next > compaction->next);
        compaction->kept += slice.size;
        compaction->next = slice.next;
        if (slice.done) {
            log_debug("broker", "compacted topic=%u partition=%d below=%lld keys=%zu bytes=%lld",
                      compaction->topic, compaction->partition, (long long)compaction->until,
                      compaction->keys, (long long)compaction->kept);
            pass_end(compaction);
        }
    }
    local_builder_finish(&slice.builder);
    free(slice.bases);
    return status;
}

enum status local_compaction_step(struct local_compaction *compaction, bool *more,
                                  struct error *error)
{
    ensure(more != NULL);
    *more = compaction->stage != STAGE_IDLE;
    enum status status = STATUS_OK;
    switch (compaction->stage) {
    case STAGE_IDLE:
        return idle_step(compaction, more, error);
    case STAGE_SCAN:
        status = scan_step(compaction, error);
        break;
    case STAGE_REWRITE:
        status = rewrite_step(compaction, error);
        break;
    }
    if (status != STATUS_OK && error->code != ERROR_TIMED_OUT) {
        pass_end(compaction);
    }
    return status;
}
