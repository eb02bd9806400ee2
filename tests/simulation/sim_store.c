/* SPDX-License-Identifier: Apache-2.0 */
#include "sim_store.h"

#include "sim_disk.h"

#include <stdlib.h>
#include <string.h>

struct sim_table {
    struct store_table table;
    size_t index;
};

struct sim_store {
    struct store store;
    struct sim_content *content;
    bool read_only, writing;
    struct sim_table **tables;
    size_t table_count;
};

/** The next key is looked up from the last one, so writes in between are seen. */
struct sim_cursor {
    struct store_cursor cursor;
    size_t table;
    bool reverse, begun;
    struct bytes low, high; /* owned; null = open */
    struct buffer last;
};

static void store_free(struct sim_store *self)
{
    for (size_t i = 0; i < self->table_count; i++) {
        free(self->tables[i]);
    }
    free(self->tables);
    free(self);
}

static struct sim_store *of(struct store *store)
{
    return (struct sim_store *)(void *)store;
}

static struct sim_rows *table_of(struct store_table *table)
{
    return &of(table->store)->content->tables[((struct sim_table *)(void *)table)->index];
}

static void do_close(struct store *store)
{
    struct sim_store *self = of(store);
    if (!self->read_only) {
        sim_disk_roll_back(self->content);
        self->content->synced = true;
        self->content->store = NULL;
    }
    store_free(self);
}

static enum status do_table_open(struct store *store, const char *name, struct store_table **table,
                                 struct error *error)
{
    (void)error;
    sim_disk_point("store table");
    struct sim_store *self = of(store);
    ensure(!self->writing);
    struct sim_content *content = self->content;
    size_t index = 1;
    while (index < content->table_count && strcmp(content->tables[index].name, name) != 0) {
        index++;
    }
    if (index >= content->table_count) {
        if (self->read_only) {
            return STATUS_NOT_FOUND;
        }
        index = sim_disk_add_table(content, name);
    }
    for (size_t i = 0; i < self->table_count; i++) {
        if (self->tables[i]->index == index) {
            *table = &self->tables[i]->table;
            return STATUS_OK;
        }
    }
    self->tables =
        memory_resize(self->tables, (self->table_count + 1) * sizeof(struct sim_table *));
    struct sim_table *made = memory_allocate(sizeof *made);
    made->table.store = store;
    made->index = index;
    self->tables[self->table_count++] = made;
    *table = &made->table;
    return STATUS_OK;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum status do_table_list(struct store *store, char ***names, size_t *count,
                                 struct error *error)
{
    (void)error;
    struct sim_content *content = of(store)->content;
    *count = content->table_count - 1;
    *names = memory_allocate((*count + 1) * sizeof **names);
    for (size_t i = 0; i < *count; i++) {
        (*names)[i] = memory_text(content->tables[i + 1].name);
    }
    qsort(*names, *count, sizeof **names, by_text);
    return STATUS_OK;
}

static enum status do_begin(struct store *store, struct error *error)
{
    sim_disk_point("store begin");
    struct sim_store *self = of(store);
    ensure(!self->writing && !self->read_only);
    enum status status = sim_disk_read(self->content, error);
    self->writing = status == STATUS_OK;
    return status;
}

static enum status do_commit(struct store *store, struct error *error)
{
    sim_disk_point("store commit");
    struct sim_store *self = of(store);
    ensure(self->writing);
    self->writing = false;
    enum status status = sim_disk_read(self->content, error);
    if (status != STATUS_OK) {
        sim_disk_roll_back(self->content);
        return status;
    }
    status = sim_disk_commit(self->content, error);
    sim_disk_point("store committed");
    return status;
}

static enum status do_sync(struct store *store, struct error *error)
{
    sim_disk_point("store sync");
    ensure(!of(store)->writing);
    enum status status = sim_disk_read(of(store)->content, error);
    of(store)->content->synced = status == STATUS_OK;
    return status;
}

static void do_abort(struct store *store)
{
    sim_disk_roll_back(of(store)->content);
    of(store)->writing = false;
}

static enum status do_grow(struct store *store, struct error *error)
{
    (void)error;
    sim_disk_point("store grow");
    ensure(!of(store)->writing);
    of(store)->content->map_size *= 2;
    return STATUS_OK;
}

static bool do_nearly_full(struct store *store)
{
    struct sim_content *content = of(store)->content;
    return content->map_size > 0 && content->size > content->map_size / 4 * 3;
}

static enum status do_refresh(struct store *store, struct error *error)
{
    (void)store;
    (void)error;
    return STATUS_OK;
}

static enum status do_meta_get(struct store *store, const char *name, struct bytes *value,
                               struct error *error)
{
    sim_disk_point("store meta");
    enum status status = sim_disk_read(of(store)->content, error);
    return status != STATUS_OK
               ? status
               : sim_table_get(&of(store)->content->tables[0], bytes_of(name), value);
}

static enum status do_meta_put(struct store *store, const char *name, struct bytes value,
                               struct error *error)
{
    sim_disk_point("store meta");
    ensure(of(store)->writing);
    return sim_disk_change(of(store)->content, 0, bytes_of(name), &value, error);
}

static enum status do_clear(struct store *store, struct error *error)
{
    sim_disk_point("store clear");
    struct sim_store *self = of(store);
    ensure(self->writing);
    for (size_t t = 0; t < self->content->table_count; t++) {
        struct sim_rows *table = &self->content->tables[t];
        while (table->count > 0) {
            (void)sim_disk_change(self->content, t, table->entries[table->count - 1].key, NULL,
                                  error);
        }
    }
    return STATUS_OK;
}

static enum status do_get(struct store_table *table, struct bytes key, struct bytes *value,
                          struct error *error)
{
    sim_disk_point("store get");
    ensure(key.size > 0 && key.size <= STORE_KEY_LIMIT);
    enum status status = sim_disk_read(of(table->store)->content, error);
    return status != STATUS_OK ? status : sim_table_get(table_of(table), key, value);
}

static enum status do_put(struct store_table *table, struct bytes key, struct bytes value,
                          struct error *error)
{
    sim_disk_point("store put");
    struct sim_store *self = of(table->store);
    ensure(self->writing && key.size > 0 && key.size <= STORE_KEY_LIMIT);
    return sim_disk_change(self->content, ((struct sim_table *)(void *)table)->index, key, &value,
                           error);
}

static enum status do_remove(struct store_table *table, struct bytes key, struct error *error)
{
    sim_disk_point("store remove");
    struct sim_store *self = of(table->store);
    ensure(self->writing && key.size > 0);
    return sim_disk_change(self->content, ((struct sim_table *)(void *)table)->index, key, NULL,
                           error);
}

static enum status do_count(struct store_table *table, uint64_t *count, struct error *error)
{
    (void)error;
    sim_disk_point("store count");
    *count = table_of(table)->count;
    return STATUS_OK;
}

static enum status do_scan(struct store_table *table, struct bytes from, struct bytes to,
                           uint32_t flags, struct store_cursor **cursor, struct error *error)
{
    (void)error;
    sim_disk_point("store scan");
    struct sim_cursor *self = memory_allocate(sizeof *self);
    self->cursor.store = table->store;
    self->table = ((struct sim_table *)(void *)table)->index;
    self->reverse = (flags & STORE_REVERSE) != 0;
    self->low = sim_bytes_copy(from);
    bool prefix = (flags & STORE_PREFIX) != 0;
    self->high = prefix && from.data != NULL ? sim_bytes_after(from) : sim_bytes_copy(to);
    *cursor = &self->cursor;
    return STATUS_OK;
}

static bool step_forward(const struct sim_rows *table, const struct sim_cursor *self, size_t *at)
{
    struct bytes last = {self->last.data, self->last.size};
    *at = self->begun              ? sim_table_at(table, last)
          : self->low.data != NULL ? sim_table_at(table, self->low)
                                   : 0;
    if (self->begun && sim_table_has(table, *at, last)) {
        ++*at;
    }
    return *at < table->count &&
           (self->high.data == NULL || bytes_compare(table->entries[*at].key, self->high) < 0);
}

static bool step_back(const struct sim_rows *table, const struct sim_cursor *self, size_t *at)
{
    struct bytes last = {self->last.data, self->last.size};
    size_t end = self->begun               ? sim_table_at(table, last)
                 : self->high.data != NULL ? sim_table_at(table, self->high)
                                           : table->count;
    if (end == 0) {
        return false;
    }
    *at = end - 1;
    return self->low.data == NULL || bytes_compare(table->entries[*at].key, self->low) >= 0;
}

static enum status do_next(struct store_cursor *cursor, struct bytes *key, struct bytes *value,
                           struct error *error)
{
    (void)error;
    sim_disk_point("store next");
    struct sim_cursor *self = (struct sim_cursor *)(void *)cursor;
    struct sim_rows *table = &of(cursor->store)->content->tables[self->table];
    size_t at = 0;
    bool more = self->reverse ? step_back(table, self, &at) : step_forward(table, self, &at);
    if (!more) {
        return STATUS_NOT_FOUND;
    }
    *key = table->entries[at].key;
    *value = table->entries[at].value;
    self->begun = true;
    self->last.size = 0;
    buffer_append(&self->last, key->data, key->size);
    return STATUS_OK;
}

static void do_cursor_close(struct store_cursor *cursor)
{
    struct sim_cursor *self = (struct sim_cursor *)(void *)cursor;
    sim_bytes_free(self->low);
    sim_bytes_free(self->high);
    buffer_finish(&self->last);
    free(self);
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
    .get = do_get,
    .put = do_put,
    .remove = do_remove,
    .count = do_count,
    .scan = do_scan,
    .next = do_next,
    .cursor_close = do_cursor_close,
    .sync = do_sync,
};

static void drop(struct store *store)
{
    store_free(of(store));
}

enum status sim_store_open(const char *directory, const struct store_options *options,
                           struct store **store, struct error *error)
{
    struct sim_content *content = NULL;
    sim_disk_point("store open");
    enum status status = sim_disk_open(directory, !options->read_only, &content, error);
    if (status != STATUS_OK) {
        return status;
    }
    struct sim_store *self = memory_allocate(sizeof *self);
    self->store.ops = &operations;
    self->content = content;
    self->read_only = options->read_only;
    if (!options->read_only) {
        ensure(content->store == NULL);
        ensure(!content->distrusted);
        content->store = &self->store;
        content->drop = drop;
        content->durable = options->durable;
    }
    *store = &self->store;
    return STATUS_OK;
}
