/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seam, store: store.h over LMDB with a point around every call.
 */
#include "seam.h"

#include "point.h"

#include <stdlib.h>
#include <string.h>

enum { STORE_LIMIT = 8, TABLE_LIMIT = 8 };

struct seam_store {
    struct store store;
    struct store *inner;
    bool writing;
    struct seam_table {
        struct store_table table;
        struct store_table *inner;
    } tables[TABLE_LIMIT];
    size_t table_count;
};

struct seam_cursor {
    struct store_cursor cursor;
    struct store_cursor *inner;
};

static struct seam_store *opened[STORE_LIMIT];

static struct seam_store *seam_of(struct store *store)
{
    return (struct seam_store *)(void *)store;
}

static struct store *store_of(struct store *store)
{
    return seam_of(store)->inner;
}

static struct store_table *table_of(struct store_table *table)
{
    return ((struct seam_table *)(void *)table)->inner;
}

static struct seam_store **find_opened(const struct seam_store *store)
{
    size_t i = 0;
    while (i < STORE_LIMIT && opened[i] != store) {
        i++;
    }
    ensure(i < STORE_LIMIT);
    return &opened[i];
}

void seam_store_commit_all(void)
{
    for (size_t i = 0; i < STORE_LIMIT; i++) {
        struct error error;
        if (opened[i] != NULL && opened[i]->writing) {
            ensure(store_commit(opened[i]->inner, &error) == STATUS_OK);
            ensure(store_begin(opened[i]->inner, &error) == STATUS_OK);
        }
    }
}

/* ---- The environment ---- */

static void seam_close(struct store *store)
{
    (void)point_enter(CALL_STORE_CLOSE);
    *find_opened(seam_of(store)) = NULL;
    store_close(store_of(store));
    free(store);
    point_leave(CALL_STORE_CLOSE);
}

static enum status open_table(struct seam_store *seam, const char *name, struct store_table **table,
                              struct error *error)
{
    struct store_table *inner = NULL;
    enum status status = store_table_open(seam->inner, name, &inner, error);
    if (status == STATUS_OK) {
        ensure(seam->table_count < TABLE_LIMIT);
        struct seam_table *made = &seam->tables[seam->table_count++];
        *made = (struct seam_table){{&seam->store}, inner};
        *table = &made->table;
    }
    return status;
}

static enum status seam_table_open(struct store *store, const char *name,
                                   struct store_table **table, struct error *error)
{
    SEAM_CALL(CALL_TABLE_OPEN, error, open_table(seam_of(store), name, table, error));
}

static enum status seam_table_list(struct store *store, char ***names, size_t *count,
                                   struct error *error)
{
    return store_table_list(store_of(store), names, count, error);
}

static enum status begin(struct seam_store *seam, struct error *error)
{
    enum status status = store_begin(seam->inner, error);
    seam->writing = status == STATUS_OK;
    return status;
}

static enum status seam_begin(struct store *store, struct error *error)
{
    SEAM_CALL(CALL_STORE_BEGIN, error, begin(seam_of(store), error));
}

static enum status commit(struct seam_store *seam, struct error *error)
{
    seam->writing = false;
    return store_commit(seam->inner, error);
}

static enum status seam_commit(struct store *store, struct error *error)
{
    const struct fault *fault = point_enter(CALL_STORE_COMMIT);
    if (fault != NULL) { /* whatever fails, nothing of the transaction is kept */
        seam_of(store)->writing = false;
        store_abort(store_of(store));
        return point_refuse(CALL_STORE_COMMIT, fault, error);
    }
    enum status status = commit(seam_of(store), error);
    point_leave(CALL_STORE_COMMIT);
    return status;
}

static void seam_abort(struct store *store)
{
    struct seam_store *seam = seam_of(store);
    struct error error;
    (void)point_enter(CALL_STORE_ABORT);
    if (seam->writing && point_plan() != NULL && point_plan()->keeping) {
        ensure(store_commit(seam->inner, &error) == STATUS_OK);
    } else {
        store_abort(seam->inner);
    }
    seam->writing = false;
    point_leave(CALL_STORE_ABORT);
}

static enum status seam_grow(struct store *store, struct error *error)
{
    return store_grow(store_of(store), error);
}

static bool seam_nearly_full(struct store *store)
{
    return store_nearly_full(store_of(store));
}

static enum status seam_refresh(struct store *store, struct error *error)
{
    return store_refresh(store_of(store), error);
}

static enum status seam_meta_get(struct store *store, const char *name, struct bytes *value,
                                 struct error *error)
{
    SEAM_CALL(CALL_META_GET, error, store_meta_get(store_of(store), name, value, error));
}

static enum status seam_meta_put(struct store *store, const char *name, struct bytes value,
                                 struct error *error)
{
    SEAM_CALL(CALL_META_PUT, error, store_meta_put(store_of(store), name, value, error));
}

static enum status seam_clear(struct store *store, struct error *error)
{
    SEAM_CALL(CALL_STORE_CLEAR, error, store_clear(store_of(store), error));
}

static enum status seam_sync(struct store *store, struct error *error)
{
    SEAM_CALL(CALL_STORE_SYNC, error, store_sync(store_of(store), error));
}

/* ---- Tables ---- */

static enum status seam_get(struct store_table *table, struct bytes key, struct bytes *value,
                            struct error *error)
{
    SEAM_CALL(CALL_GET, error, store_get(table_of(table), key, value, error));
}

static enum status seam_put(struct store_table *table, struct bytes key, struct bytes value,
                            struct error *error)
{
    SEAM_CALL(CALL_PUT, error, store_put(table_of(table), key, value, error));
}

static enum status seam_remove(struct store_table *table, struct bytes key, struct error *error)
{
    SEAM_CALL(CALL_REMOVE, error, store_remove(table_of(table), key, error));
}

static enum status seam_count(struct store_table *table, uint64_t *count, struct error *error)
{
    return store_count(table_of(table), count, error);
}

static enum status scan(struct store_table *table, struct bytes from, struct bytes to,
                        uint32_t flags, struct store_cursor **cursor, struct error *error)
{
    struct store_cursor *inner = NULL;
    enum status status = store_scan(table_of(table), from, to, flags, &inner, error);
    if (status == STATUS_OK) {
        struct seam_cursor *made = memory_allocate(sizeof *made);
        *made = (struct seam_cursor){{table->store}, inner};
        *cursor = &made->cursor;
    }
    return status;
}

static enum status seam_scan(struct store_table *table, struct bytes from, struct bytes to,
                             uint32_t flags, struct store_cursor **cursor, struct error *error)
{
    SEAM_CALL(CALL_SCAN, error, scan(table, from, to, flags, cursor, error));
}

static enum status seam_next(struct store_cursor *cursor, struct bytes *key, struct bytes *value,
                             struct error *error)
{
    SEAM_CALL(CALL_NEXT, error,
              store_next(((struct seam_cursor *)(void *)cursor)->inner, key, value, error));
}

static void seam_cursor_close(struct store_cursor *cursor)
{
    store_cursor_close(((struct seam_cursor *)(void *)cursor)->inner);
    free(cursor);
}

/* ---- Opening ---- */

static enum status open_store(const char *directory, const struct store_options *options,
                              struct store **store, struct error *error)
{
    static const struct store_ops ops = {
        .close = seam_close,
        .table_open = seam_table_open,
        .table_list = seam_table_list,
        .begin = seam_begin,
        .commit = seam_commit,
        .abort = seam_abort,
        .grow = seam_grow,
        .nearly_full = seam_nearly_full,
        .refresh = seam_refresh,
        .meta_get = seam_meta_get,
        .meta_put = seam_meta_put,
        .clear = seam_clear,
        .get = seam_get,
        .put = seam_put,
        .remove = seam_remove,
        .count = seam_count,
        .scan = seam_scan,
        .next = seam_next,
        .cursor_close = seam_cursor_close,
        .sync = seam_sync,
    };
    struct store *inner = NULL;
    enum status status = store_lmdb_open(directory, options, &inner, error);
    if (status == STATUS_OK) {
        struct seam_store *made = memory_allocate(sizeof *made);
        made->store.ops = &ops;
        made->inner = inner;
        *find_opened(NULL) = made;
        *store = &made->store;
    }
    return status;
}

enum status seam_store_open(const char *directory, const struct store_options *options,
                            struct store **store, struct error *error)
{
    SEAM_CALL(CALL_STORE_OPEN, error, open_store(directory, options, store, error));
}
