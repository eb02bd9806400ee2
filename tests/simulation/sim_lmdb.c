/* SPDX-License-Identifier: Apache-2.0 */
#include "sim_lmdb.h"

#include "sim_disk.h"

#include <stdlib.h>
#include <string.h>

/** One directory; `store` is what the engine holds, its tables are the real one's. */
struct place {
    struct store store;
    char *directory;
    struct store *real; /* NULL: not open */
};

static struct {
    struct place **items;
    size_t count;
} places;

static struct place *of(struct store *store)
{
    struct place *place = (struct place *)(void *)store;
    ensure(place->real != NULL);
    return place;
}

static void do_close(struct store *store)
{
    store_close(of(store)->real);
    of(store)->real = NULL;
}

static enum status do_table_open(struct store *store, const char *name, struct store_table **table,
                                 struct error *error)
{
    sim_disk_point("store table");
    return store_table_open(of(store)->real, name, table, error);
}

static enum status do_table_list(struct store *store, char ***names, size_t *count,
                                 struct error *error)
{
    return store_table_list(of(store)->real, names, count, error);
}

static enum status do_begin(struct store *store, struct error *error)
{
    sim_disk_point("store begin");
    return store_begin(of(store)->real, error);
}

static enum status do_commit(struct store *store, struct error *error)
{
    sim_disk_point("store commit");
    enum status status = store_commit(of(store)->real, error);
    sim_disk_point("store committed");
    return status;
}

static void do_abort(struct store *store)
{
    store_abort(of(store)->real);
}

static enum status do_grow(struct store *store, struct error *error)
{
    sim_disk_point("store grow");
    return store_grow(of(store)->real, error);
}

static bool do_nearly_full(struct store *store)
{
    return store_nearly_full(of(store)->real);
}

static enum status do_refresh(struct store *store, struct error *error)
{
    return store_refresh(of(store)->real, error);
}

static enum status do_meta_get(struct store *store, const char *name, struct bytes *value,
                               struct error *error)
{
    sim_disk_point("store meta");
    return store_meta_get(of(store)->real, name, value, error);
}

static enum status do_meta_put(struct store *store, const char *name, struct bytes value,
                               struct error *error)
{
    sim_disk_point("store meta");
    return store_meta_put(of(store)->real, name, value, error);
}

static enum status do_clear(struct store *store, struct error *error)
{
    sim_disk_point("store clear");
    return store_clear(of(store)->real, error);
}

static enum status do_sync(struct store *store, struct error *error)
{
    sim_disk_point("store sync");
    return store_sync(of(store)->real, error);
}

static const struct store_ops operations = {
    .close = do_close,
    .table_open = do_table_open,
    .table_list = do_table_list,
    .begin = do_begin,
    .commit = do_commit,
    .abort = do_abort,
    .grow = do_grow,
    .nearly_full = do_nearly_full,
    .refresh = do_refresh,
    .meta_get = do_meta_get,
    .meta_put = do_meta_put,
    .clear = do_clear,
    .sync = do_sync,
};

static struct place *place_of(const char *directory)
{
    for (size_t i = 0; i < places.count; i++) {
        if (strcmp(places.items[i]->directory, directory) == 0) {
            return places.items[i];
        }
    }
    struct place *place = memory_allocate(sizeof *place);
    place->store.ops = &operations;
    place->directory = memory_text(directory);
    places.items = memory_resize(places.items, (places.count + 1) * sizeof(struct place *));
    places.items[places.count++] = place;
    return place;
}

enum status sim_lmdb_open(const char *directory, const struct store_options *options,
                          struct store **store, struct error *error)
{
    sim_disk_point("store open");
    struct place *place = place_of(directory);
    ensure(place->real == NULL);
    enum status status = store_lmdb_open(directory, options, &place->real, error);
    *store = &place->store;
    return status;
}

void sim_lmdb_crash(const char *part)
{
    for (size_t i = 0; i < places.count; i++) {
        struct place *place = places.items[i];
        if (place->real != NULL && strstr(place->directory, part) != NULL) {
            do_close(&place->store);
        }
    }
}

const char *sim_lmdb_directory(size_t index)
{
    return index < places.count ? places.items[index]->directory : NULL;
}

static void read_meta(struct store *store,
                      void (*visit)(void *context, struct bytes key, struct bytes value),
                      void *context)
{
    struct bytes value;
    struct error error;
    if (store_meta_get(store, "position", &value, &error) == STATUS_OK) {
        visit(context, bytes_of("position"), value);
    }
}

bool sim_lmdb_read(const char *directory, const char *table,
                   void (*visit)(void *context, struct bytes key, struct bytes value),
                   void *context)
{
    const struct store_options options = {.durable = true, .read_only = true};
    struct store *store = NULL;
    struct store_table *opened = NULL;
    struct store_cursor *cursor = NULL;
    struct error error;
    if (store_lmdb_open(directory, &options, &store, &error) != STATUS_OK) {
        return false;
    }
    if (table[0] == '\0') {
        read_meta(store, visit, context);
    } else if (store_table_open(store, table, &opened, &error) == STATUS_OK &&
               store_scan(opened, (struct bytes){0}, (struct bytes){0}, 0, &cursor, &error) ==
                   STATUS_OK) {
        struct bytes key;
        struct bytes value;
        while (store_next(cursor, &key, &value, &error) == STATUS_OK) {
            visit(context, key, value);
        }
        store_cursor_close(cursor);
    }
    store_close(store);
    return true;
}

void sim_lmdb_reset(void)
{
    for (size_t i = 0; i < places.count; i++) {
        ensure(places.items[i]->real == NULL);
        free(places.items[i]->directory);
        free(places.items[i]);
    }
    free(places.items);
    memset(&places, 0, sizeof places);
}
