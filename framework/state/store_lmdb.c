/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store over LMDB: transactions, records, metadata. Opening is in store_lmdb_open.c, the check
 * of a file before that in base/lmdb_check.h, scans in store_lmdb_scan.c, keys beyond LMDB's limit
 * in store_lmdb_long.c; the layout and the invariants are in store_lmdb.h.
 *
 * What this unit is not: it knows nothing of topics, stamps or offsets; it locks no folder.
 *
 * A get and the put that follows it are the hot path: one MDB_cursor a table stays open for the
 * whole transaction, and a put of the key it stands on overwrites there without a second descent.
 */
#include "state/store_lmdb.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum { READER_CHECK_US = 10 * 1000 * 1000, DISK_SLACK = 1024 * 1024 };

static struct lmdb_store *store_of(struct store *store)
{
    ensure(store->ops == &lmdb_store_ops);
    return (struct lmdb_store *)store;
}

/* LMDB answers EIO also when a write was cut short, which is how a full disk begins. */
static bool disk_is_full(const struct lmdb_store *store)
{
    ensure(store->file >= 0);
    struct statvfs space;
    if (fstatvfs(store->file, &space) == 0 &&
        (uint64_t)space.f_bavail * space.f_frsize < DISK_SLACK) {
        return true;
    }
    struct rlimit limit;
    struct stat file;
    return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
           fstat(store->file, &file) == 0 &&
           (uint64_t)file.st_size + DISK_SLACK > (uint64_t)limit.rlim_cur;
}

enum status lmdb_failed(const struct lmdb_store *store, int code, const char *what,
                        struct error *error)
{
    ensure(code != 0 && code != MDB_NOTFOUND);
    const char *path = store->path;
    if (code == EIO && store->env != NULL && disk_is_full(store)) {
        code = ENOSPC;
    }
    switch (code) {
    case MDB_MAP_FULL:
        return error_set(error, STATUS_RETRY, ERROR_MAP_FULL,
                         "%s: the map of store %s is full; it must grow", what, path);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return error_set(error, STATUS_FATAL, ERROR_DISK_FULL,
                         "%s: no space for store %s: %s; free some space on its file system", what,
                         path, mdb_strerror(code));
    case EACCES:
    case EPERM:
    case EROFS:
        return error_set(error, STATUS_FATAL, ERROR_DENIED,
                         "%s: store %s: %s; it must belong to this user", what, path,
                         mdb_strerror(code));
    case EMFILE:
    case ENFILE:
    case MDB_DBS_FULL:
    case MDB_READERS_FULL:
    case MDB_TXN_FULL:
        return error_set(error, STATUS_FATAL, ERROR_LIMIT, "%s: store %s: %s; %s", what, path,
                         mdb_strerror(code),
                         code == MDB_DBS_FULL       ? "a task has at most 510 stores"
                         : code == MDB_READERS_FULL ? "at most 126 readers at a time"
                         : code == MDB_TXN_FULL     ? "lower commit.records and commit.size"
                                                    : "raise ulimit -n");
    case ENOMEM:
        return error_set(error, STATUS_FATAL, ERROR_MEMORY,
                         "%s: no address space to map store %s; raise ulimit -v", what, path);
    default:
        return error_set(error, STATUS_FATAL, ERROR_CORRUPT, "%s: store %s cannot be trusted: %s",
                         what, path, mdb_strerror(code));
    }
}

int lmdb_read_begin(struct lmdb_store *store, MDB_txn **txn)
{
    ensure(store->reader != NULL);
    if (store->write != NULL) {
        *txn = store->write;
        return 0;
    }
    if (!store->reading) {
        int code = lmdb_renew(store);
        if (code != 0) {
            return code;
        }
    }
    *txn = store->reader;
    return 0;
}

void lmdb_read_end(struct lmdb_store *store)
{
    ensure(store->write != NULL || store->reading);
    if (store->write == NULL && !store->read_only) {
        mdb_txn_reset(store->reader);
        store->reading = false;
    }
}

int lmdb_table_cursor(struct lmdb_table *table, MDB_cursor **cursor)
{
    if (table->cursor == NULL) {
        struct lmdb_store *store = store_of(table->base.store);
        ensure(store->write != NULL);
        int code = mdb_cursor_open(store->write, table->dbi, &table->cursor);
        if (code != 0) {
            table->cursor = NULL;
            return code;
        }
    }
    *cursor = table->cursor;
    return 0;
}

/* ---- transactions ---- */

static enum status lmdb_begin(struct store *base, struct error *error)
{
    struct lmdb_store *store = store_of(base);
    ensure(!store->read_only && store->write == NULL);
    struct stat file;
    if (fstat(store->file, &file) != 0) {
        return lmdb_failed(store, errno, "beginning", error);
    }
    int code = mdb_txn_begin(store->env, NULL, 0, &store->write);
    if (code != 0) {
        store->write = NULL;
        return lmdb_failed(store, code, "beginning", error);
    }
    store->version++;
    store->size_pending = store->size_stored;
    if ((uint64_t)file.st_size != store->size_stored) {
        uint8_t number[8];
        put_u64(number, (uint64_t)file.st_size);
        MDB_val key = {sizeof LMDB_SIZE - 1, LMDB_SIZE};
        MDB_val value = {sizeof number, number};
        code = mdb_put(store->write, store->metadata, &key, &value, 0);
        if (code != 0) {
            base->ops->abort(base);
            return lmdb_failed(store, code, "beginning", error);
        }
        store->size_pending = (uint64_t)file.st_size;
    }
    return STATUS_OK;
}

/* Forgets the MDB_cursors of the write transaction, which ends now. */
static void forget_cursors(struct lmdb_store *store)
{
    ensure(store->write != NULL);
    lmdb_cursors_detach(store);
    for (size_t i = 0; i < store->table_count; i++) {
        struct lmdb_table *table = store->tables[i];
        if (table->cursor != NULL) {
            mdb_cursor_close(table->cursor);
            table->cursor = NULL;
        }
        table->at_key = false;
    }
}

static void lmdb_abort(struct store *base)
{
    struct lmdb_store *store = store_of(base);
    if (store->write == NULL) {
        return;
    }
    forget_cursors(store);
    ensure(!store->read_only);
    mdb_txn_abort(store->write);
    store->write = NULL;
    store->version++;
}

/* A reader of a dead process pins pages, and the file grows. */
static void check_readers(struct lmdb_store *store)
{
    ensure(!store->read_only);
    int64_t now = clock_monotonic_us(clock_system());
    if (now - store->readers_checked_us >= READER_CHECK_US) {
        int dead = 0;
        int code = mdb_reader_check(store->env, &dead);
        if (code != 0 || dead > 0) {
            log_debug("state", "cleared readers of dead processes store=%s count=%d code=%d",
                      store->path, dead, code);
        }
        store->readers_checked_us = now;
    }
}

static enum status lmdb_commit(struct store *base, struct error *error)
{
    struct lmdb_store *store = store_of(base);
    ensure(store->write != NULL);
    forget_cursors(store);
    int code = mdb_txn_commit(store->write);
    store->write = NULL;
    store->version++;
    if (code != 0) {
        return lmdb_failed(store, code, "committing", error);
    }
    store->size_stored = store->size_pending;
    store->unsynced = !store->durable;
    check_readers(store);
    return STATUS_OK;
}

static enum status lmdb_sync(struct store *base, struct error *error)
{
    struct lmdb_store *store = store_of(base);
    ensure(store->write == NULL && !store->read_only);
    int code = mdb_env_sync(store->env, 1);
    if (code != 0) {
        return lmdb_failed(store, code, "syncing", error);
    }
    store->unsynced = false;
    return STATUS_OK;
}

static enum status lmdb_grow(struct store *base, struct error *error)
{
    struct lmdb_store *store = store_of(base);
    ensure(!store->read_only && store->write == NULL);
    MDB_envinfo info;
    int code = mdb_env_info(store->env, &info);
    if (code != 0) {
        return lmdb_failed(store, code, "growing", error);
    }
    ensure(info.me_mapsize <= SIZE_MAX / 2);
    size_t size = info.me_mapsize * 2;
    /* LMDB gives the old map away before it asks for the new one: ask first whether it will get it.
     */
    void *probe = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (probe == MAP_FAILED) {
        return lmdb_failed(store, ENOMEM, "growing", error);
    }
    (void)munmap(probe, size);
    store->version++;
    code = mdb_env_set_mapsize(store->env, size);
    return code == 0 ? STATUS_OK : lmdb_failed(store, code, "growing", error);
}

static bool lmdb_nearly_full(struct store *base)
{
    struct lmdb_store *store = store_of(base);
    MDB_envinfo info;
    MDB_stat stat;
    ensure(mdb_env_info(store->env, &info) == 0 && mdb_env_stat(store->env, &stat) == 0);
    uint64_t used = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
    return used > (uint64_t)info.me_mapsize / 4 * 3;
}

static enum status lmdb_refresh(struct store *base, struct error *error)
{
    struct lmdb_store *store = store_of(base);
    ensure(store->read_only);
    return lmdb_release_snapshot(store, error);
}

/* ---- tables ---- */

static struct lmdb_table *find_table(const struct lmdb_store *store, const char *name)
{
    ensure(name[0] != '=');
    for (size_t i = 0; i < store->table_count; i++) {
        if (strcmp(store->tables[i]->name, name) == 0) {
            return store->tables[i];
        }
    }
    return NULL;
}

static enum status lmdb_table_open(struct store *base, const char *name, struct store_table **out,
                                   struct error *error)
{
    struct lmdb_store *store = store_of(base);
    ensure(store->write == NULL && name[0] != '\0' && name[0] != '=');
    ensure(strlen(name) < LMDB_SEGMENT);
    struct lmdb_table *table = find_table(store, name);
    if (table == NULL && store->read_only) {
        int code = lmdb_find_new_tables(store);
        if (code != 0) {
            return lmdb_failed(store, code, "opening a table", error);
        }
        table = find_table(store, name);
        if (table == NULL) {
            return STATUS_NOT_FOUND;
        }
    }
    if (table == NULL) {
        MDB_txn *txn;
        MDB_dbi dbi = 0;
        int code = mdb_txn_begin(store->env, NULL, 0, &txn);
        if (code == 0) {
            code = mdb_dbi_open(txn, name, MDB_CREATE, &dbi);
            if (code == 0) {
                code = mdb_txn_commit(txn);
            } else {
                mdb_txn_abort(txn);
            }
        }
        if (code != 0) {
            return lmdb_failed(store, code, "making a table", error);
        }
        store->unsynced = !store->durable;
        table = lmdb_table_add(store, name, dbi);
    }
    *out = &table->base;
    return STATUS_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum status lmdb_table_list(struct store *base, char ***names, size_t *count,
                                   struct error *error)
{
    struct lmdb_store *store = store_of(base);
    ensure(names != NULL && count != NULL);
    int code = store->read_only ? lmdb_find_new_tables(store) : 0;
    if (code != 0) {
        return lmdb_failed(store, code, "listing tables", error);
    }
    *count = store->table_count;
    *names = memory_allocate((*count + 1) * sizeof **names);
    for (size_t i = 0; i < *count; i++) {
        (*names)[i] = memory_text(store->tables[i]->name);
    }
    qsort(*names, *count, sizeof **names, compare_names);
    return STATUS_OK;
}

static enum status lmdb_clear(struct store *base, struct error *error)
{
    struct lmdb_store *store = store_of(base);
    ensure(store->write != NULL);
    forget_cursors(store);
    int code = mdb_drop(store->write, store->metadata, 0);
    if (code == 0) {
        code = mdb_drop(store->write, store->deep, 0);
    }
    for (size_t i = 0; i < store->table_count && code == 0; i++) {
        code = mdb_drop(store->write, store->tables[i]->dbi, 0);
        store->tables[i]->writes++;
    }
    store->size_pending = 0;
    return code == 0 ? STATUS_OK : lmdb_failed(store, code, "clearing", error);
}

/* ---- metadata ---- */

static enum status lmdb_meta_get(struct store *base, const char *name, struct bytes *value,
                                 struct error *error)
{
    struct lmdb_store *store = store_of(base);
    ensure(name[0] != '\0' && name[0] != '=');
    MDB_txn *txn;
    MDB_val key = {strlen(name), (void *)(uintptr_t)name};
    MDB_val found;
    int code = lmdb_read_begin(store, &txn);
    if (code == 0) {
        code = mdb_get(txn, store->metadata, &key, &found);
        lmdb_read_end(store);
    }
    if (code == MDB_NOTFOUND) {
        return STATUS_NOT_FOUND;
    }
    if (code != 0) {
        return lmdb_failed(store, code, "reading metadata", error);
    }
    *value = (struct bytes){found.mv_data, found.mv_size};
    return STATUS_OK;
}

static MDB_val val_of(struct bytes bytes)
{
    ensure(bytes.size == 0 || bytes.data != NULL);
    return (MDB_val){bytes.size, bytes.size == 0 ? (void *)"" : (void *)(uintptr_t)bytes.data};
}

static enum status lmdb_meta_put(struct store *base, const char *name, struct bytes value,
                                 struct error *error)
{
    struct lmdb_store *store = store_of(base);
    ensure(store->write != NULL && name[0] != '\0' && name[0] != '=');
    MDB_val key = {strlen(name), (void *)(uintptr_t)name};
    MDB_val data = val_of(value);
    int code = mdb_put(store->write, store->metadata, &key, &data, 0);
    return code == 0 ? STATUS_OK : lmdb_failed(store, code, "writing metadata", error);
}

/* ---- records ---- */

static bool stands_on(const struct lmdb_table *table, struct bytes key)
{
    ensure(table->key_size <= LMDB_SEGMENT);
    return table->at_key && table->key_size == key.size &&
           memcmp(table->key, key.data, key.size) == 0;
}

/* A get in the write transaction: leaves the table's cursor on the key for the put that follows. */
static int get_standing(struct lmdb_table *table, struct bytes key, MDB_val *value)
{
    ensure(key.size <= sizeof table->key);
    MDB_cursor *cursor;
    int code = lmdb_table_cursor(table, &cursor);
    if (code != 0) {
        return code;
    }
    MDB_val wanted = val_of(key);
    code = mdb_cursor_get(cursor, &wanted, value, MDB_SET);
    table->at_key = code == 0;
    if (code == 0) {
        table->value_size = value->mv_size;
        table->key_size = key.size;
        memcpy(table->key, key.data, key.size);
    }
    return code;
}

static enum status lmdb_get(struct store_table *base, struct bytes key, struct bytes *value,
                            struct error *error)
{
    struct lmdb_table *table = (struct lmdb_table *)base;
    struct lmdb_store *store = store_of(base->store);
    ensure(key.size > 0 && key.size <= STORE_KEY_LIMIT);
    MDB_val found;
    int code;
    if (store->write != NULL && key.size <= LMDB_SEGMENT) {
        code = get_standing(table, key, &found);
    } else {
        MDB_txn *txn;
        code = lmdb_read_begin(store, &txn);
        if (code == 0) {
            MDB_val wanted = val_of(key);
            code = key.size <= LMDB_SEGMENT ? mdb_get(txn, table->dbi, &wanted, &found)
                                            : lmdb_long_get(table, txn, key, &found);
            lmdb_read_end(store);
        }
    }
    if (code == 0) {
        *value = (struct bytes){found.mv_data, found.mv_size};
        return STATUS_OK;
    }
    return code == MDB_NOTFOUND ? STATUS_NOT_FOUND : lmdb_failed(store, code, "reading", error);
}

static enum status lmdb_put(struct store_table *base, struct bytes key, struct bytes value,
                            struct error *error)
{
    struct lmdb_table *table = (struct lmdb_table *)base;
    struct lmdb_store *store = store_of(base->store);
    ensure(store->write != NULL && key.size > 0 && key.size <= STORE_KEY_LIMIT &&
           value.size <= STORE_VALUE_LIMIT);
    MDB_val data = val_of(value);
    int code;
    table->writes++;
    if (key.size <= LMDB_SEGMENT) {
        MDB_cursor *cursor;
        code = lmdb_table_cursor(table, &cursor);
        if (code == 0) {
            MDB_val name = val_of(key);
            bool replace = stands_on(table, key) && table->value_size == value.size;
            code = mdb_cursor_put(cursor, &name, &data, replace ? MDB_CURRENT : 0);
            table->at_key = replace && code == 0;
        }
    } else {
        table->at_key = false;
        code = lmdb_long_put(table, key, data);
    }
    return code == 0 ? STATUS_OK : lmdb_failed(store, code, "writing", error);
}

static enum status lmdb_remove(struct store_table *base, struct bytes key, struct error *error)
{
    struct lmdb_table *table = (struct lmdb_table *)base;
    struct lmdb_store *store = store_of(base->store);
    ensure(store->write != NULL && key.size > 0 && key.size <= STORE_KEY_LIMIT);
    int code;
    table->writes++;
    table->at_key = false;
    if (key.size <= LMDB_SEGMENT) {
        MDB_val name = val_of(key);
        code = mdb_del(store->write, table->dbi, &name, NULL);
    } else {
        code = lmdb_long_remove(table, key);
    }
    return code == 0 || code == MDB_NOTFOUND ? STATUS_OK
                                             : lmdb_failed(store, code, "removing", error);
}

static enum status lmdb_count(struct store_table *base, uint64_t *count, struct error *error)
{
    ensure(count != NULL);
    struct lmdb_table *table = (struct lmdb_table *)base;
    struct lmdb_store *store = store_of(base->store);
    MDB_txn *txn;
    MDB_stat stat;
    int64_t surplus = 0;
    int code = lmdb_read_begin(store, &txn);
    if (code == 0) {
        code = mdb_stat(txn, table->dbi, &stat);
        code = code != 0 ? code : lmdb_long_surplus(table, txn, &surplus);
        lmdb_read_end(store);
    }
    if (code == 0 && surplus < 0 && (uint64_t)-surplus > stat.ms_entries) {
        code = MDB_CORRUPTED;
    }
    if (code != 0) {
        return lmdb_failed(store, code, "counting", error);
    }
    *count = stat.ms_entries + (uint64_t)surplus;
    return STATUS_OK;
}

static void lmdb_close(struct store *base)
{
    struct lmdb_store *store = store_of(base);
    ensure(store->cursors == NULL);
    lmdb_abort(base);
    struct error error;
    if (store->unsynced && lmdb_sync(base, &error) != STATUS_OK) {
        log_error("state", "%s", error.text);
    }
    lmdb_finish(store);
}

const struct store_ops lmdb_store_ops = {
    .close = lmdb_close,
    .table_open = lmdb_table_open,
    .table_list = lmdb_table_list,
    .begin = lmdb_begin,
    .commit = lmdb_commit,
    .abort = lmdb_abort,
    .grow = lmdb_grow,
    .nearly_full = lmdb_nearly_full,
    .refresh = lmdb_refresh,
    .meta_get = lmdb_meta_get,
    .meta_put = lmdb_meta_put,
    .clear = lmdb_clear,
    .get = lmdb_get,
    .put = lmdb_put,
    .remove = lmdb_remove,
    .count = lmdb_count,
    .scan = lmdb_scan,
    .next = lmdb_next,
    .cursor_close = lmdb_cursor_close,
    .sync = lmdb_sync,
};
