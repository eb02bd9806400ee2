/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local epoch: the fencing of transactional producers. One row a transactional.id holds the epoch
 * of its newest producer; whoever has an older one is fenced. Not here: what a producer does when
 * it is (local_producer). Invariant: an epoch only grows.
 */
#include "broker/local_broker.h"

#include <string.h>

enum { ID_MOST = 500 /* an LMDB key */ };

static enum status epoch_read(struct local_environment *environment, MDB_txn *txn, const char *id,
                              uint64_t *epoch, struct error *error)
{
    ensure(*id != 0 && strlen(id) <= ID_MOST);
    MDB_val key = local_val(id, strlen(id));
    MDB_val value;
    int result = mdb_get(txn, environment->producers, &key, &value);
    *epoch = 0;
    if (result == MDB_NOTFOUND) {
        return STATUS_OK;
    }
    if (result != 0) {
        return local_failed(environment, result, "read an epoch", error);
    }
    *epoch = value.mv_size == 8 ? get_u64(value.mv_data) : 0;
    if (*epoch == 0 || *epoch > INT64_MAX) {
        return error_set(error, STATUS_FATAL, ERROR_CORRUPT, "%s: the epoch of %s is damaged",
                         environment->directory, id);
    }
    return STATUS_OK;
}

enum status local_epoch_is(struct local_environment *environment, MDB_txn *txn, const char *id,
                           uint64_t epoch, bool *mine, struct error *error)
{
    uint64_t newest = 0;
    enum status status = epoch_read(environment, txn, id, &newest, error);
    ensure(epoch > 0);
    *mine = newest == epoch;
    if (status == STATUS_OK && newest < epoch) {
        return error_set(error, STATUS_FATAL, ERROR_CORRUPT,
                         "%s: the epoch of %s went back from %llu to %llu: the row is damaged",
                         environment->directory, id, (unsigned long long)epoch,
                         (unsigned long long)newest);
    }
    return status;
}

struct fencing {
    const char *id;
    uint64_t epoch;
};

static enum status fence_work(struct local_environment *environment, MDB_txn *txn, void *argument,
                              struct error *error)
{
    struct fencing *fencing = argument;
    ensure(fencing->id != NULL);
    enum status status = epoch_read(environment, txn, fencing->id, &fencing->epoch, error);
    if (status != STATUS_OK) {
        return status;
    }
    fencing->epoch += 1;
    uint8_t bytes[8];
    put_u64(bytes, fencing->epoch);
    MDB_val key = local_val(fencing->id, strlen(fencing->id));
    MDB_val value = local_val(bytes, sizeof bytes);
    int result = mdb_put(txn, environment->producers, &key, &value, 0);
    return result == 0 ? STATUS_OK : local_failed(environment, result, "write an epoch", error);
}

enum status local_producer_fence(struct local_environment *environment,
                                 const char *transactional_id, int64_t timeout_ms, uint64_t *epoch,
                                 struct error *error)
{
    ensure(timeout_ms >= 0);
    size_t size = strlen(transactional_id);
    if (size == 0 || size > ID_MOST) {
        return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                         "transactional.id \"%s\": 1 to %d bytes are possible", transactional_id,
                         ID_MOST);
    }
    struct fencing fencing = {.id = transactional_id};
    enum status status = local_write(environment, timeout_ms, fence_work, &fencing, error);
    *epoch = fencing.epoch;
    return status;
}
