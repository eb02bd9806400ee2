/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local log: the records of one partition as batches in LMDB, and the row that says where they
 * begin and end. Appending, reading blocks, cutting off the front. All functions run inside a
 * transaction of local_environment.
 *
 * Invariants: batches of a partition do not overlap and ascend; start <= end; every batch's last
 * offset is
 * >= start and < end; `size` is the sum of the batches' sizes. A key is topic id, partition, base
 * offset, big-endian.
 */
#ifndef LEAT_BROKER_LOCAL_LOG_H
#define LEAT_BROKER_LOCAL_LOG_H

#include "broker/local_batch.h"
#include "broker/local_environment.h"
#include "broker/local_topic.h"

enum { LOCAL_LOG_KEY_SIZE = 16 };

/** Stored as it is. */
struct local_partition {
    int64_t start, end;
    int64_t size;                  /* bytes of all batches */
    int64_t clean_end, clean_size; /* compaction has seen everything below; the bytes it left */
};

/** Batches copied out of the log: some { i64 base, u64 size, batch }. Freed with its last
 * reference; one thread. */
struct local_block {
    uint32_t references;
    size_t size;
    struct arena headers; /* of its records, decoded */
    uint8_t data[];
};

void local_log_key(uint8_t key[LOCAL_LOG_KEY_SIZE], uint32_t topic, int32_t partition,
                   int64_t offset);
/** Whether `key` is of that partition; *base is its offset then. */
bool local_log_key_is(const MDB_val *key, uint32_t topic, int32_t partition, int64_t *base);

/** STATUS_NOT_FOUND: no such partition (the topic is gone). */
enum status local_partition_get(struct local_environment *environment, MDB_txn *txn, uint32_t topic,
                                int32_t partition, struct local_partition *row,
                                struct error *error);
enum status local_partition_put(struct local_environment *environment, MDB_txn *txn, uint32_t topic,
                                int32_t partition, const struct local_partition *row,
                                struct error *error);

/** Appends the sealed batches of a dense builder at row->end and moves it. The caller puts the row.
 */
enum status local_log_append(struct local_environment *environment, MDB_txn *txn, uint32_t topic,
                             int32_t partition, const struct local_builder *builder,
                             struct local_partition *row, struct error *error);
/** Stores one batch under `base`. */
enum status local_log_put(struct local_environment *environment, MDB_txn *txn, uint32_t topic,
                          int32_t partition, int64_t base, struct bytes batch, struct error *error);
/** Deletes whole batches that lie below row->start, at most `most`; *left: more are there. */
enum status local_log_trim(struct local_environment *environment, MDB_txn *txn, uint32_t topic,
                           int32_t partition, struct local_partition *row, size_t most, bool *left,
                           struct error *error);
/** Moves row->start past batches that the topic's retention gives up, and deletes at most `most`.
 * *changed: the row differs. */
enum status local_log_retain(struct local_environment *environment, MDB_txn *txn,
                             const struct local_topic *topic, int32_t partition,
                             struct local_partition *row, int64_t now_ms, size_t most,
                             bool *changed, struct error *error);

/** Places the cursor on the batch that holds `offset`, else on the next one. STATUS_NOT_FOUND:
 * none. */
enum status local_log_seek(struct local_environment *environment, MDB_cursor *cursor,
                           uint32_t topic, int32_t partition, int64_t offset, int64_t *base,
                           MDB_val *batch, struct error *error);
/** Copies batches from the one that holds `offset` on, at least one, at most about `limit` bytes,
 * into *block; NULL when there is none. */
enum status local_log_fetch(struct local_environment *environment, MDB_txn *txn, uint32_t topic,
                            int32_t partition, int64_t offset, size_t limit,
                            struct local_block **block, struct error *error);
void local_block_release(struct local_block *block);

#endif
