/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scans. A scan is the key it returned last, and by chance an MDB_cursor that still stands there:
 * after a write to the table, after a long key, and in another transaction it seeks again by that
 * key.
 */
#include "state/store_lmdb.h"

#include <stdlib.h>
#include <string.h>

/* The smallest key that no key with this prefix reaches; false if there is none (all bytes 0xff).
 */
static bool prefix_end(struct bytes prefix, struct buffer *end)
{
    ensure(end->size == 0);
    buffer_append(end, prefix.data, prefix.size);
    while (end->size > 0) {
        if (end->data[end->size - 1] != 0xff) {
            end->data[end->size - 1]++;
            return true;
        }
        end->size--;
    }
    return false;
}

enum status lmdb_scan(struct store_table *base, struct bytes from, struct bytes to, uint32_t flags,
                      struct store_cursor **cursor, struct error *error)
{
    struct lmdb_store *store = (struct lmdb_store *)base->store;
    ensure((flags & ~(uint32_t)(STORE_REVERSE | STORE_PREFIX)) == 0);
    (void)error;
    struct lmdb_cursor *made = memory_allocate(sizeof *made);
    made->base.store = base->store;
    made->table = (struct lmdb_table *)base;
    made->reverse = (flags & STORE_REVERSE) != 0;
    made->from_open = from.data == NULL || from.size == 0;
    buffer_append(&made->from, from.data, from.data == NULL ? 0 : from.size);
    if ((flags & STORE_PREFIX) != 0) {
        made->to_open = !prefix_end((struct bytes){made->from.data, made->from.size}, &made->to);
    } else {
        made->to_open = to.data == NULL;
        buffer_append(&made->to, to.data, to.data == NULL ? 0 : to.size);
    }
    made->next = store->cursors;
    if (made->next != NULL) {
        made->next->previous = made;
    }
    store->cursors = made;
    *cursor = &made->base;
    return STATUS_OK;
}

static void close_inner(struct lmdb_cursor *cursor)
{
    ensure(cursor->deep == NULL || cursor->top != NULL);
    if (cursor->top != NULL) {
        mdb_cursor_close(cursor->top);
    }
    if (cursor->deep != NULL) {
        mdb_cursor_close(cursor->deep);
    }
    cursor->top = NULL;
    cursor->deep = NULL;
    cursor->on_direct = false;
}

void lmdb_cursors_detach(struct lmdb_store *store)
{
    ensure(store->write != NULL);
    for (struct lmdb_cursor *cursor = store->cursors; cursor != NULL; cursor = cursor->next) {
        if (cursor->of_write) {
            close_inner(cursor);
        }
    }
}

/* Makes the two MDB_cursors usable in `txn`. Those of the reader are kept and renewed. */
static int attach(struct lmdb_cursor *cursor, MDB_txn *txn)
{
    ensure(txn != NULL);
    struct lmdb_store *store = (struct lmdb_store *)cursor->base.store;
    bool of_write = txn == store->write;
    if (cursor->top != NULL && cursor->deep != NULL && cursor->of_write == of_write) {
        if (of_write || cursor->version == store->version) {
            return 0;
        }
        cursor->on_direct = false;
        int code = mdb_cursor_renew(txn, cursor->top);
        return code != 0 ? code : mdb_cursor_renew(txn, cursor->deep);
    }
    close_inner(cursor);
    cursor->of_write = of_write;
    int code = mdb_cursor_open(txn, cursor->table->dbi, &cursor->top);
    if (code != 0) {
        cursor->top = NULL;
        return code;
    }
    code = mdb_cursor_open(txn, store->deep, &cursor->deep);
    if (code != 0) {
        cursor->deep = NULL;
    }
    return code;
}

/* Moves to the next key; puts it into cursor->work. */
static int advance(struct lmdb_cursor *cursor, MDB_val *value)
{
    ensure(cursor->top != NULL && cursor->deep != NULL);
    struct lmdb_store *store = (struct lmdb_store *)cursor->base.store;
    bool reverse = cursor->reverse;
    if (!cursor->started) {
        const struct buffer *bound = reverse ? &cursor->to : &cursor->from;
        bool open = reverse ? cursor->to_open : cursor->from_open;
        return lmdb_long_seek(cursor, (struct bytes){bound->data, bound->size}, open, !reverse,
                              value);
    }
    if (cursor->on_direct && cursor->writes == cursor->table->writes &&
        cursor->version == store->version) {
        MDB_val key;
        int code = mdb_cursor_get(cursor->top, &key, value, reverse ? MDB_PREV : MDB_NEXT);
        return code == 0 ? lmdb_long_enter(cursor, key, *value, value) : code;
    }
    return lmdb_long_seek(cursor, (struct bytes){cursor->last.data, cursor->last.size}, false,
                          false, value);
}

/* Whether the key lies beyond the bound that the walk runs towards. */
static bool beyond(const struct lmdb_cursor *cursor, struct bytes key)
{
    ensure(key.size > 0);
    if (cursor->reverse) {
        return !cursor->from_open &&
               bytes_compare(key, (struct bytes){cursor->from.data, cursor->from.size}) < 0;
    }
    return !cursor->to_open &&
           bytes_compare(key, (struct bytes){cursor->to.data, cursor->to.size}) >= 0;
}

/* Seeking by the last key goes round for ever where a damaged page has its keys out of order. */
static bool advanced(const struct lmdb_cursor *cursor, struct bytes key)
{
    ensure(key.size > 0);
    int order = bytes_compare(key, (struct bytes){cursor->last.data, cursor->last.size});
    return !cursor->started || (cursor->reverse ? order < 0 : order > 0);
}

enum status lmdb_next(struct store_cursor *base, struct bytes *key, struct bytes *value,
                      struct error *error)
{
    struct lmdb_cursor *cursor = (struct lmdb_cursor *)base;
    struct lmdb_store *store = (struct lmdb_store *)base->store;
    ensure(cursor->table->base.store == base->store);
    if (cursor->ended) {
        return STATUS_NOT_FOUND;
    }
    MDB_txn *txn;
    MDB_val found = {0};
    int code = lmdb_read_begin(store, &txn);
    if (code == 0) {
        code = attach(cursor, txn);
        code = code != 0 ? code : advance(cursor, &found);
        cursor->writes = cursor->table->writes;
        cursor->version = store->version;
        lmdb_read_end(store);
    }
    struct bytes next = {cursor->work.data, cursor->work.size};
    if (code == 0 && !advanced(cursor, next)) {
        code = MDB_CORRUPTED;
    }
    if (code != 0 && code != MDB_NOTFOUND) {
        return lmdb_failed(store, code, "scanning", error);
    }
    if (code == MDB_NOTFOUND || beyond(cursor, next)) {
        cursor->ended = true;
        return STATUS_NOT_FOUND;
    }
    struct buffer old = cursor->last;
    cursor->last = cursor->work;
    cursor->work = old;
    cursor->started = true;
    *key = next;
    *value = (struct bytes){found.mv_data, found.mv_size};
    return STATUS_OK;
}

void lmdb_cursor_close(struct store_cursor *base)
{
    struct lmdb_cursor *cursor = (struct lmdb_cursor *)base;
    struct lmdb_store *store = (struct lmdb_store *)base->store;
    if (cursor->previous != NULL) {
        cursor->previous->next = cursor->next;
    } else {
        ensure(store->cursors == cursor);
        store->cursors = cursor->next;
    }
    if (cursor->next != NULL) {
        cursor->next->previous = cursor->previous;
    }
    close_inner(cursor);
    buffer_finish(&cursor->from);
    buffer_finish(&cursor->to);
    buffer_finish(&cursor->last);
    buffer_finish(&cursor->work);
    free(cursor->path);
    free(cursor);
}
