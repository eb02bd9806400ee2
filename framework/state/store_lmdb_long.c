/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys that are longer than LMDB allows, in byte order among the others.
 *
 * A key of more than LMDB_SEGMENT bytes is filed under its first segment and a mark: a *link*,
 * whose value is the number of a *node*. A node holds the rest of every key that shares the
 * segment, as keys `number (8 bytes) + rest` of the database "=long"; a rest that is still longer
 * than a segment is a link again. So a key of 64 KiB is a path of 164 nodes, each shared with the
 * keys that begin alike, and no write costs more than its own path, however many keys share it.
 *
 * Order: LMDB compares bytes, and a prefix sorts first. A link is its segment and one byte more, so
 * it sorts after the key that is exactly the segment and before every key that is larger in the
 * segment; all keys under it are larger than the segment and share it. No other LMDB key is that
 * long.
 *
 * Node 0 is the table's own database (no number before its keys); in "=long" the number 0 holds one
 * entry a table with long keys: how many keys it has more than LMDB entries.
 *
 * Invariants: every node but 0 has an entry; every link leads to a node, and only one link leads to
 * it.
 */
#include "state/store_lmdb.h"

#include <stdlib.h>
#include <string.h>

enum { NUMBER_SIZE = 8, RAW_LIMIT = NUMBER_SIZE + LMDB_SEGMENT + 1 };

/* An LMDB key of a node, put together. */
struct raw {
    size_t size;
    uint8_t data[RAW_LIMIT];
};

static MDB_val raw_val(struct raw *raw)
{
    ensure(raw->size > 0 && raw->size <= RAW_LIMIT);
    return (MDB_val){raw->size, raw->data};
}

/* The LMDB key under which `node` files a key whose rest is `rest`: itself or a link. */
static void raw_make(struct raw *raw, uint64_t node, struct bytes rest)
{
    raw->size = 0;
    if (node != 0) {
        put_u64(raw->data, node);
        raw->size = NUMBER_SIZE;
    }
    size_t part = rest.size > LMDB_SEGMENT ? LMDB_SEGMENT : rest.size;
    if (part > 0) {
        memcpy(raw->data + raw->size, rest.data, part);
        raw->size += part;
    }
    if (rest.size > LMDB_SEGMENT) {
        raw->data[raw->size++] = LMDB_MARK;
    }
    ensure(raw->size <= RAW_LIMIT);
}

static struct bytes rest_of(struct bytes key, size_t level)
{
    size_t skipped = level * LMDB_SEGMENT;
    ensure(skipped <= key.size);
    return (struct bytes){(const uint8_t *)key.data + skipped, key.size - skipped};
}

static int node_number(MDB_val value, uint64_t *node)
{
    if (value.mv_size != NUMBER_SIZE) {
        return MDB_CORRUPTED;
    }
    *node = get_u64(value.mv_data);
    return *node == 0 || *node == UINT64_MAX ? MDB_CORRUPTED : 0;
}

static MDB_dbi dbi_of(const struct lmdb_table *table, uint64_t node)
{
    const struct lmdb_store *store = (const struct lmdb_store *)table->base.store;
    ensure(node == 0 || store->deep != table->dbi);
    return node == 0 ? table->dbi : store->deep;
}

/* The node that the link of `rest` in `node` leads to. MDB_NOTFOUND. */
static int follow(struct lmdb_table *table, MDB_txn *txn, uint64_t node, struct bytes rest,
                  uint64_t *child)
{
    ensure(rest.size > LMDB_SEGMENT);
    struct raw raw;
    raw_make(&raw, node, rest);
    MDB_val key = raw_val(&raw);
    MDB_val value;
    int code = mdb_get(txn, dbi_of(table, node), &key, &value);
    return code == 0 ? node_number(value, child) : code;
}

int lmdb_long_get(struct lmdb_table *table, MDB_txn *txn, struct bytes key, MDB_val *value)
{
    ensure(key.size > LMDB_SEGMENT);
    uint64_t node = 0;
    while (key.size > LMDB_SEGMENT) {
        int code = follow(table, txn, node, key, &node);
        if (code != 0) {
            return code;
        }
        key = rest_of(key, 1);
    }
    struct raw raw;
    raw_make(&raw, node, key);
    MDB_val raw_key = raw_val(&raw);
    return mdb_get(txn, dbi_of(table, node), &raw_key, value);
}

/* A node's number that is not in use: one more than the largest that has an entry. */
static int free_number(struct lmdb_store *store, uint64_t *number)
{
    ensure(store->write != NULL);
    MDB_cursor *cursor;
    int code = mdb_cursor_open(store->write, store->deep, &cursor);
    if (code != 0) {
        return code;
    }
    MDB_val key;
    MDB_val value;
    code = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    *number = 1;
    if (code == 0) {
        *number = key.mv_size < NUMBER_SIZE ? 0 : get_u64(key.mv_data) + 1;
        code = *number == 0 ? MDB_CORRUPTED : 0;
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}

static void count_key(const struct lmdb_table *table, struct raw *raw)
{
    ensure(table->name != NULL && *table->name != 0);
    raw_make(raw, 1, bytes_of(table->name));
    put_u64(raw->data, 0);
}

int lmdb_long_surplus(struct lmdb_table *table, MDB_txn *txn, int64_t *surplus)
{
    ensure(txn != NULL && surplus != NULL);
    struct lmdb_store *store = (struct lmdb_store *)table->base.store;
    struct raw raw;
    count_key(table, &raw);
    MDB_val key = raw_val(&raw);
    MDB_val value;
    *surplus = 0;
    int code = mdb_get(txn, store->deep, &key, &value);
    if (code == 0) {
        if (value.mv_size != NUMBER_SIZE) {
            return MDB_CORRUPTED;
        }
        *surplus = (int64_t)get_u64(value.mv_data);
    }
    return code == MDB_NOTFOUND ? 0 : code;
}

static int add_surplus(struct lmdb_table *table, int64_t difference)
{
    ensure(difference >= -1 && difference <= 1);
    struct lmdb_store *store = (struct lmdb_store *)table->base.store;
    if (difference == 0) {
        return 0;
    }
    int64_t surplus;
    int code = lmdb_long_surplus(table, store->write, &surplus);
    if (code != 0) {
        return code;
    }
    struct raw raw;
    count_key(table, &raw);
    uint8_t number[NUMBER_SIZE];
    put_u64(number, (uint64_t)(surplus + difference));
    MDB_val key = raw_val(&raw);
    MDB_val value = {sizeof number, number};
    return mdb_put(store->write, store->deep, &key, &value, 0);
}

int lmdb_long_put(struct lmdb_table *table, struct bytes key, MDB_val value)
{
    struct lmdb_store *store = (struct lmdb_store *)table->base.store;
    ensure(key.size > LMDB_SEGMENT && store->write != NULL);
    uint64_t node = 0;
    uint64_t number = 0; /* the last one given out here: its node has no entry yet */
    int64_t difference = 1;
    struct raw raw;
    for (; key.size > LMDB_SEGMENT; key = rest_of(key, 1)) {
        uint64_t child;
        int code = number != 0 ? MDB_NOTFOUND : follow(table, store->write, node, key, &child);
        if (code == MDB_NOTFOUND) {
            code = number == 0 ? free_number(store, &number) : 0;
            child = number++;
            uint8_t link[NUMBER_SIZE];
            put_u64(link, child);
            raw_make(&raw, node, key);
            MDB_val raw_key = raw_val(&raw);
            MDB_val link_value = {sizeof link, link};
            difference -= node == 0 ? 1 : 0;
            code = code != 0 ? code
                             : mdb_put(store->write, dbi_of(table, node), &raw_key, &link_value, 0);
        }
        if (code != 0) {
            return code;
        }
        node = child;
    }
    raw_make(&raw, node, key);
    MDB_val raw_key = raw_val(&raw);
    MDB_val old = value;
    int code = mdb_put(store->write, store->deep, &raw_key, &old, MDB_NOOVERWRITE);
    if (code == MDB_KEYEXIST) {
        return mdb_put(store->write, store->deep, &raw_key, &value, 0);
    }
    return code != 0 ? code : add_surplus(table, difference);
}

/* Whether `node` of =long has an entry. */
static int node_empty(struct lmdb_store *store, uint64_t node, bool *empty)
{
    ensure(node > 0);
    MDB_cursor *cursor;
    int code = mdb_cursor_open(store->write, store->deep, &cursor);
    if (code != 0) {
        return code;
    }
    uint8_t number[NUMBER_SIZE];
    put_u64(number, node);
    MDB_val key = {sizeof number, number};
    MDB_val value;
    code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    *empty = code == MDB_NOTFOUND || key.mv_size < NUMBER_SIZE ||
             memcmp(key.mv_data, number, sizeof number) != 0;
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}

/* Deletes the entry of `key` at `level`, then the links above it whose nodes became empty. */
static int prune(struct lmdb_table *table, struct bytes key, const uint64_t *path, size_t level)
{
    ensure(level > 0 && path[0] == 0);
    struct lmdb_store *store = (struct lmdb_store *)table->base.store;
    int64_t difference = -1;
    for (;;) {
        struct raw raw;
        raw_make(&raw, path[level], rest_of(key, level));
        MDB_val raw_key = raw_val(&raw);
        int code = mdb_del(store->write, dbi_of(table, path[level]), &raw_key, NULL);
        if (code != 0) {
            return code;
        }
        if (level == 0) {
            difference += 1;
            break;
        }
        bool empty;
        code = node_empty(store, path[level], &empty);
        if (code != 0) {
            return code;
        }
        if (!empty) {
            break;
        }
        level--;
    }
    return add_surplus(table, difference);
}

int lmdb_long_remove(struct lmdb_table *table, struct bytes key)
{
    struct lmdb_store *store = (struct lmdb_store *)table->base.store;
    ensure(key.size > LMDB_SEGMENT && store->write != NULL);
    MDB_val value;
    int code = lmdb_long_get(table, store->write, key, &value);
    if (code != 0) {
        return code;
    }
    uint64_t *path = memory_allocate((key.size / LMDB_SEGMENT + 2) * sizeof *path);
    size_t level = 0;
    while (code == 0 && rest_of(key, level).size > LMDB_SEGMENT) {
        code = follow(table, store->write, path[level], rest_of(key, level), &path[level + 1]);
        level++;
    }
    if (code == 0) {
        code = prune(table, key, path, level);
    }
    free(path);
    return code;
}

/* Walking. `path` in the cursor holds the nodes; the key found is put together in `work`. */

static void path_set(struct lmdb_cursor *cursor, size_t level, uint64_t node)
{
    ensure(level <= STORE_KEY_LIMIT / LMDB_SEGMENT);
    if (level >= cursor->path_capacity) {
        cursor->path_capacity = cursor->path_capacity == 0 ? 8 : cursor->path_capacity * 2;
        cursor->path = memory_resize(cursor->path, cursor->path_capacity * sizeof *cursor->path);
    }
    cursor->path[level] = node;
}

static MDB_cursor *cursor_of(const struct lmdb_cursor *cursor, uint64_t node)
{
    return node == 0 ? cursor->top : cursor->deep;
}

/* Cuts the node's number off an entry's key; MDB_NOTFOUND if the entry is another node's. */
static int entry_of(uint64_t node, MDB_val *key)
{
    if (node == 0) {
        return 0;
    }
    if (key->mv_size <= NUMBER_SIZE || get_u64(key->mv_data) != node) {
        return MDB_NOTFOUND;
    }
    key->mv_data = (uint8_t *)key->mv_data + NUMBER_SIZE;
    key->mv_size -= NUMBER_SIZE;
    return 0;
}

/* The first entry of `node` at or beyond `raw` in the walk's direction; `inclusive` = at it counts.
 */
static int node_seek(const struct lmdb_cursor *cursor, uint64_t node, struct raw *raw,
                     bool inclusive, MDB_val *key, MDB_val *value)
{
    ensure(raw->size > (node == 0 ? 0 : NUMBER_SIZE) || !inclusive);
    MDB_cursor *inner = cursor_of(cursor, node);
    *key = raw_val(raw);
    int code = mdb_cursor_get(inner, key, value, MDB_SET_RANGE);
    bool exact =
        code == 0 && key->mv_size == raw->size && memcmp(key->mv_data, raw->data, raw->size) == 0;
    if (cursor->reverse) {
        if (code == MDB_NOTFOUND) {
            code = mdb_cursor_get(inner, key, value, MDB_LAST);
        } else if (code == 0 && !(exact && inclusive)) {
            code = mdb_cursor_get(inner, key, value, MDB_PREV);
        }
    } else if (exact && !inclusive) {
        code = mdb_cursor_get(inner, key, value, MDB_NEXT);
    }
    return code == 0 ? entry_of(node, key) : code;
}

/* The first entry of `node` in the walk's direction. */
static int node_end(const struct lmdb_cursor *cursor, uint64_t node, MDB_val *key, MDB_val *value)
{
    if (node == 0) {
        return mdb_cursor_get(cursor->top, key, value, cursor->reverse ? MDB_LAST : MDB_FIRST);
    }
    ensure(node < UINT64_MAX);
    /* A bare number is no entry's key: it sorts before all entries of its node. */
    struct raw raw = {.size = NUMBER_SIZE};
    put_u64(raw.data, cursor->reverse ? node + 1 : node);
    return node_seek(cursor, node, &raw, false, key, value);
}

/* Goes down from the entry (key, value) of `node` to the first key under it. */
static int descend(struct lmdb_cursor *cursor, uint64_t node, MDB_val key, MDB_val *value)
{
    ensure(node != 0 || cursor->work.size == 0);
    cursor->on_direct = node == 0 && key.mv_size <= LMDB_SEGMENT;
    while (key.mv_size > LMDB_SEGMENT) {
        if (key.mv_size != LMDB_SEGMENT + 1 || cursor->work.size > STORE_KEY_LIMIT) {
            return MDB_CORRUPTED;
        }
        buffer_append(&cursor->work, key.mv_data, LMDB_SEGMENT);
        int code = node_number(*value, &node);
        if (code == 0) {
            code = node_end(cursor, node, &key, value);
        }
        if (code != 0) {
            return code == MDB_NOTFOUND ? MDB_CORRUPTED : code; /* an empty node: not ours */
        }
    }
    buffer_append(&cursor->work, key.mv_data, key.mv_size);
    return 0;
}

int lmdb_long_enter(struct lmdb_cursor *cursor, MDB_val top_key, MDB_val top_value, MDB_val *value)
{
    ensure(cursor->top != NULL && cursor->deep != NULL);
    cursor->work.size = 0;
    *value = top_value;
    return descend(cursor, 0, top_key, value);
}

int lmdb_long_seek(struct lmdb_cursor *cursor, struct bytes key, bool open, bool inclusive,
                   MDB_val *value)
{
    ensure(cursor->top != NULL && cursor->deep != NULL);
    MDB_val found;
    if (open || key.size == 0) { /* the empty key is smaller than any */
        int code = open || !cursor->reverse ? node_end(cursor, 0, &found, value) : MDB_NOTFOUND;
        return code == 0 ? lmdb_long_enter(cursor, found, *value, value) : code;
    }
    MDB_txn *txn = mdb_cursor_txn(cursor->top);
    size_t level = 0;
    int code = 0;
    path_set(cursor, 0, 0);
    while (code == 0 && rest_of(key, level).size > LMDB_SEGMENT) {
        uint64_t child;
        code = follow(cursor->table, txn, cursor->path[level], rest_of(key, level), &child);
        if (code == 0) {
            path_set(cursor, ++level, child);
        }
    }
    if (code != 0 && code != MDB_NOTFOUND) {
        return code;
    }
    for (;;) {
        struct raw raw;
        raw_make(&raw, cursor->path[level], rest_of(key, level));
        code = node_seek(cursor, cursor->path[level], &raw, inclusive, &found, value);
        if (code != MDB_NOTFOUND || level == 0) {
            break;
        }
        level--; /* nothing more in this node: on beside the link that led to it */
        inclusive = false;
    }
    if (code != 0) {
        return code;
    }
    cursor->work.size = 0;
    buffer_append(&cursor->work, key.data, level * LMDB_SEGMENT);
    return descend(cursor, cursor->path[level], found, value);
}
