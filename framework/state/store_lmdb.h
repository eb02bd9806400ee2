/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the LMDB store share. Only store_lmdb*.c may include it.
 *
 * Layout of an environment: one LMDB database a table, under the table's name; two reserved ones,
 * whose names no table may begin with ('='): "=metadata" (name -> value; "=size" is the file's size
 * seen at the begin of the last commit) and "=long" (keys of more than LMDB_SEGMENT bytes, see
 * store_lmdb_long.c).
 *
 * Invariants
 *  - A key of at most LMDB_SEGMENT bytes is itself the LMDB key. Any longer key is a *link*: its
 * first LMDB_SEGMENT bytes and one mark byte. So an LMDB key is a link exactly if it is longer than
 * a segment.
 *  - `write` is the only transaction alive between two calls; the reader is reset at the end of
 * each call, except in a read-only store, where it is the snapshot that store_refresh renews.
 *  - No MDB_cursor outlives the transaction it was opened in, except the ones of the reader.
 */
#ifndef LEAT_STATE_STORE_LMDB_H
#define LEAT_STATE_STORE_LMDB_H

#include "base/lmdb_check.h"
#include "state/store.h"

#include <lmdb.h>

#include <sys/types.h>

enum {
    LMDB_SEGMENT = 400,
    LMDB_TABLES = 512, /* LMDB databases in one environment */
    LMDB_RESERVED = 2, /* of them, our own */
    LMDB_MARK = 0x01
};

#define LMDB_LONG "=long"
#define LMDB_LOCK_FILE "lock.mdb"

struct lmdb_table {
    struct store_table base;
    char *name;
    MDB_dbi dbi;
    uint64_t writes;    /* changes, to tell a scan that it must seek again */
    MDB_cursor *cursor; /* of the write transaction; opened by the first use in it */
    bool at_key;        /* `cursor` stands on `key`, whose value has `value_size` bytes */
    size_t value_size;
    size_t key_size;
    uint8_t key[LMDB_SEGMENT];
};

struct lmdb_cursor {
    struct store_cursor base;
    struct lmdb_table *table;
    struct lmdb_cursor *previous, *next;
    bool reverse, started, ended;
    bool from_open, to_open;
    struct buffer from, to;
    struct buffer last; /* the key that the last call returned */
    struct buffer work; /* where the next one is put together */
    MDB_cursor *top, *deep;
    bool of_write;    /* top and deep belong to the write transaction */
    bool on_direct;   /* top stands on `last`, if the two numbers are still right */
    uint64_t writes;  /* table->writes */
    uint64_t version; /* store->version */
    uint64_t *path;   /* nodes of =long on the way to a key */
    size_t path_capacity;
};

struct lmdb_store {
    struct store base;
    char *path;
    MDB_env *env;
    int file; /* LMDB's own descriptor of data.mdb */
    bool read_only, durable;
    bool unsynced; /* a commit of a `fast` store is not known to be on disk */
    bool no_lock;  /* read-only without LMDB's lock file: only while no writer lives */
    MDB_txn *write, *reader;
    bool reading; /* the reader is live */
    MDB_dbi metadata, deep;
    struct lmdb_table **tables;
    size_t table_count;
    struct lmdb_cursor *cursors;
    uint64_t version;      /* counts begins, ends and renewals of transactions */
    uint64_t size_stored;  /* what "=size" says, in the last commit */
    uint64_t size_pending; /* what it says in the open transaction */
    int64_t readers_checked_us;
};

/* store_lmdb.c */

/** Fills `error` from an LMDB code other than MDB_NOTFOUND. */
enum status lmdb_failed(const struct lmdb_store *store, int code, const char *what,
                        struct error *error);
/** The transaction to read in: the open one, or the reader, made live. Pair with lmdb_read_end. */
int lmdb_read_begin(struct lmdb_store *store, MDB_txn **txn);
void lmdb_read_end(struct lmdb_store *store);
/** The table's cursor in the write transaction. */
int lmdb_table_cursor(struct lmdb_table *table, MDB_cursor **cursor);

extern const struct store_ops lmdb_store_ops;

/* store_lmdb_open.c */

/** Makes the reader live on the newest commit, taking over a larger map if the writer made one. */
int lmdb_renew(struct lmdb_store *store);
/** Gives a reader's snapshot back: the next read takes the newest commit. */
enum status lmdb_release_snapshot(struct lmdb_store *store, struct error *error);
/** A reader learns of the tables that the writer made since. */
int lmdb_find_new_tables(struct lmdb_store *store);
struct lmdb_table *lmdb_table_add(struct lmdb_store *store, const char *name, MDB_dbi dbi);
/** Closes the environment and frees the store; no transaction is open but the reader. */
void lmdb_finish(struct lmdb_store *store);

/* store_lmdb_long.c */

int lmdb_long_get(struct lmdb_table *table, MDB_txn *txn, struct bytes key, MDB_val *value);
int lmdb_long_put(struct lmdb_table *table, struct bytes key, MDB_val value);
int lmdb_long_remove(struct lmdb_table *table, struct bytes key);
/** Keys of `table` less its LMDB entries: what its long keys add to the count. */
int lmdb_long_surplus(struct lmdb_table *table, MDB_txn *txn, int64_t *surplus);
/** The first key of the walk beyond `key`, or at it if `inclusive`; from the very end if `open`.
 * The found key is put into cursor->work. `key` may not lie in there. Sets cursor->on_direct. */
int lmdb_long_seek(struct lmdb_cursor *cursor, struct bytes key, bool open, bool inclusive,
                   MDB_val *value);
/** The key at cursor->top, or the nearest key under it when it is a link. */
int lmdb_long_enter(struct lmdb_cursor *cursor, MDB_val top_key, MDB_val top_value, MDB_val *value);

/* store_lmdb_scan.c */

enum status lmdb_scan(struct store_table *base, struct bytes from, struct bytes to, uint32_t flags,
                      struct store_cursor **cursor, struct error *error);
enum status lmdb_next(struct store_cursor *base, struct bytes *key, struct bytes *value,
                      struct error *error);
void lmdb_cursor_close(struct store_cursor *base);
/** Before the write transaction ends: its MDB_cursors go with it; the scans seek again if used. */
void lmdb_cursors_detach(struct lmdb_store *store);

#endif
