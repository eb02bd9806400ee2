/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Store: the seam to a task's durable keyed state: one environment a task, in it named tables and a
 * small table of metadata.
 *
 * Invariants
 *  - Between store_begin and store_commit or store_abort there is one write transaction, the
 * staging area of the broker's transaction; reads through this struct see it. Readers from outside
 * see committed state only.
 *  - Tables are opened before the first store_begin, in a transaction of their own.
 *  - Keys 1 byte to 64 KiB in byte order, values 0 bytes to 16 MiB; metadata is small.
 *  - One writing process and one thread at a time; the directory is locked by the caller
 * (directory.h).
 *
 * Errors: STATUS_FATAL with ERROR_CORRUPT (does not open, is truncated; any EIO), ERROR_DISK_FULL,
 * ERROR_DENIED; STATUS_RETRY with ERROR_MAP_FULL: abort, store_grow, again.
 */
#ifndef LEAT_STATE_STORE_H
#define LEAT_STATE_STORE_H

#include "base/bytes.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    STORE_KEY_LIMIT = 64 * 1024 + 256, /* an operator's longest key, and what a timer adds to it */
    STORE_VALUE_LIMIT = 16 * 1024 * 1024,
    STORE_REVERSE = 1, /* scan flags; the same values as LEAT_REVERSE and LEAT_PREFIX */
    STORE_PREFIX = 2
};

struct store;
struct store_table;
struct store_cursor;

struct store_options {
    bool durable;   /* MDB_NOMETASYNC; else MDB_NOSYNC */
    bool read_only; /* from another process, while a writer runs; takes no lock */
};

struct store_ops {
    void (*close)(struct store *);
    enum status (*table_open)(struct store *, const char *name, struct store_table **,
                              struct error *);
    enum status (*table_list)(struct store *, char ***names, size_t *count, struct error *);
    enum status (*begin)(struct store *, struct error *);
    enum status (*commit)(struct store *, struct error *);
    void (*abort)(struct store *);
    enum status (*grow)(struct store *, struct error *);
    bool (*nearly_full)(struct store *);
    enum status (*refresh)(struct store *, struct error *);
    enum status (*meta_get)(struct store *, const char *name, struct bytes *value, struct error *);
    enum status (*meta_put)(struct store *, const char *name, struct bytes value, struct error *);
    enum status (*clear)(struct store *, struct error *);
    enum status (*get)(struct store_table *, struct bytes key, struct bytes *value, struct error *);
    enum status (*put)(struct store_table *, struct bytes key, struct bytes value, struct error *);
    enum status (*remove)(struct store_table *, struct bytes key, struct error *);
    enum status (*count)(struct store_table *, uint64_t *count, struct error *);
    enum status (*scan)(struct store_table *, struct bytes from, struct bytes to, uint32_t flags,
                        struct store_cursor **, struct error *);
    enum status (*next)(struct store_cursor *, struct bytes *key, struct bytes *value,
                        struct error *);
    void (*cursor_close)(struct store_cursor *);
    enum status (*sync)(struct store *, struct error *); /* NULL: a commit is durable as it is */
};

struct store {
    const struct store_ops *ops;
};
struct store_table {
    struct store *store;
};
struct store_cursor {
    struct store *store;
};

/** Opens the environment in an existing directory; checks size and meta pages as R2 says. Another
 * open in this process of the same directory is a bug. read_only: STATUS_NOT_FOUND if nothing is
 * there. */
enum status store_lmdb_open(const char *directory, const struct store_options *options,
                            struct store **store, struct error *error);

/** Aborts an open transaction; takes NULL. A `fast` store is synced when it has commits that
 * store_sync has not seen; a failure of that is logged. Close cursors before. */
static inline void store_close(struct store *store)
{
    if (store != NULL) {
        store->ops->close(store);
    }
}
/** Creates it when missing (read_only: STATUS_NOT_FOUND). Lives until store_close; the same name
 * gives the same table. Not inside a transaction. */
static inline enum status store_table_open(struct store *store, const char *name,
                                           struct store_table **table, struct error *error)
{
    return store->ops->table_open(store, name, table, error);
}
/** Names of all tables in byte order; free each and the array. */
static inline enum status store_table_list(struct store *store, char ***names, size_t *count,
                                           struct error *error)
{
    return store->ops->table_list(store, names, count, error);
}
static inline enum status store_begin(struct store *store, struct error *error)
{
    return store->ops->begin(store, error);
}
/** On any error the transaction is gone (nothing of it is kept). */
static inline enum status store_commit(struct store *store, struct error *error)
{
    return store->ops->commit(store, error);
}
/** Nothing open: nothing done. */
static inline void store_abort(struct store *store)
{
    store->ops->abort(store);
}
/** Everything committed is on disk after it: then directory_clear_boot is right. Not inside a
 *  transaction, not read_only. */
static inline enum status store_sync(struct store *store, struct error *error)
{
    return store->ops->sync == NULL ? STATUS_OK : store->ops->sync(store, error);
}
/** Doubles the map. Not inside a transaction. */
static inline enum status store_grow(struct store *store, struct error *error)
{
    return store->ops->grow(store, error);
}
/** Less than a quarter of the map is free: store_grow between transactions. */
static inline bool store_nearly_full(struct store *store)
{
    return store->ops->nearly_full(store);
}
/** read_only: gives the snapshot back, which the first read takes and which else keeps the writer
 * from reusing pages; the next read sees the newest commit. Open cursors must be closed. */
static inline enum status store_refresh(struct store *store, struct error *error)
{
    return store->ops->refresh(store, error);
}
/** STATUS_NOT_FOUND if absent. The view lives until the next write or the end of the transaction;
 * outside a transaction, until the next call on the store. */
static inline enum status store_meta_get(struct store *store, const char *name, struct bytes *value,
                                         struct error *error)
{
    return store->ops->meta_get(store, name, value, error);
}
/** Inside a transaction. */
static inline enum status store_meta_put(struct store *store, const char *name, struct bytes value,
                                         struct error *error)
{
    return store->ops->meta_put(store, name, value, error);
}
/** Inside a transaction: empties every table and the metadata. */
static inline enum status store_clear(struct store *store, struct error *error)
{
    return store->ops->clear(store, error);
}
/** STATUS_NOT_FOUND if absent. Reads see the open transaction, or the newest commit when none is
 * open. The view lives until the next write to the store, or the end of the transaction; outside
 * one, until the next call on the store. */
static inline enum status store_get(struct store_table *table, struct bytes key,
                                    struct bytes *value, struct error *error)
{
    return table->store->ops->get(table, key, value, error);
}
/** Inside a transaction. Sizes are the caller's to check (STORE_KEY_LIMIT, STORE_VALUE_LIMIT).
 * `key` and `value` may not be views into this store. */
static inline enum status store_put(struct store_table *table, struct bytes key, struct bytes value,
                                    struct error *error)
{
    return table->store->ops->put(table, key, value, error);
}
/** Inside a transaction. STATUS_OK also if absent. */
static inline enum status store_remove(struct store_table *table, struct bytes key,
                                       struct error *error)
{
    return table->store->ops->remove(table, key, error);
}
static inline enum status store_count(struct store_table *table, uint64_t *count,
                                      struct error *error)
{
    return table->store->ops->count(table, count, error);
}
/** Byte order over [from, to), null = open end; STORE_REVERSE from the largest down; STORE_PREFIX:
 *  `from` is the prefix. Copies the bounds. Stays valid across writes and sees those ahead of it;
 *  must be closed before the transaction ends. */
static inline enum status store_scan(struct store_table *table, struct bytes from, struct bytes to,
                                     uint32_t flags, struct store_cursor **cursor,
                                     struct error *error)
{
    return table->store->ops->scan(table, from, to, flags, cursor, error);
}
/** STATUS_NOT_FOUND at the end. Views as store_get's, and until the next call on this cursor. */
static inline enum status store_next(struct store_cursor *cursor, struct bytes *key,
                                     struct bytes *value, struct error *error)
{
    return cursor->store->ops->next(cursor, key, value, error);
}
/** Takes NULL. */
static inline void store_cursor_close(struct store_cursor *cursor)
{
    if (cursor != NULL) {
        cursor->store->ops->cursor_close(cursor);
    }
}

#endif
