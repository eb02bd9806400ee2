/* SPDX-License-Identifier: Apache-2.0 */
#include "sim_store.h"

#include "sim_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** How to undo one change of the open transaction; `old` as it was, NULL key = was absent. */
struct undo {
    size_t table;
    struct sim_entry old;
    struct bytes key; /* owned when `old` is absent */
};

struct sim_store;
struct content {
    char *directory;
    uint64_t number;
    struct sim_rows *tables; /* [0] is the metadata */
    size_t table_count;
    size_t size, map_size;
    struct sim_store *open;
};

struct sim_table {
    struct store_table table;
    size_t index;
};

struct sim_store {
    struct store store;
    struct content *content;
    bool read_only, writing;
    struct undo *undos;
    size_t undo_count, undo_capacity;
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

static struct {
    struct sim *sim;
    size_t map_size;
    struct content **contents;
    size_t count;
    uint64_t number;
} disk;

void sim_store_attach(struct sim *sim, size_t map_size)
{
    disk.sim = sim;
    disk.map_size = map_size;
}

static void point(void)
{
    if (disk.sim != NULL) {
        sim_point(disk.sim);
    }
}

static void point_in(const char *call)
{
    if (disk.sim != NULL) {
        sim_point_in(disk.sim, call);
    }
}

static void note_undo(struct sim_store *self, size_t table, struct sim_entry old, struct bytes key)
{
    if (self->undo_count == self->undo_capacity) {
        self->undo_capacity = self->undo_capacity == 0 ? 64 : self->undo_capacity * 2;
        self->undos = memory_resize(self->undos, self->undo_capacity * sizeof *self->undos);
    }
    struct undo undo = {table, old, old.key.data == NULL ? sim_bytes_copy(key) : (struct bytes){0}};
    self->undos[self->undo_count++] = undo;
}

static enum status change(struct sim_store *self, size_t index, struct bytes key,
                          const struct bytes *value, struct error *error)
{
    struct content *content = self->content;
    struct sim_rows *table = &content->tables[index];
    size_t at = sim_table_at(table, key);
    bool found = sim_table_has(table, at, key);
    if (value != NULL && content->map_size > 0 &&
        content->size + key.size + value->size > content->map_size) {
        return error_set(error, STATUS_RETRY, ERROR_MAP_FULL, "%s: map full", content->directory);
    }
    struct sim_entry old = {0};
    if (found) {
        old = table->entries[at];
        content->size -= old.key.size + old.value.size;
    }
    if (found || value != NULL) {
        note_undo(self, index, old, key);
    }
    if (value == NULL) {
        if (found) {
            sim_table_take(table, at);
        }
        return STATUS_OK;
    }
    struct sim_entry entry = sim_entry_make(key, *value);
    content->size += key.size + value->size;
    if (found) {
        table->entries[at] = entry;
    } else {
        sim_table_insert(table, at, entry);
    }
    return STATUS_OK;
}

static void undo_one(struct content *content, struct undo *undo)
{
    struct sim_rows *table = &content->tables[undo->table];
    struct bytes key = undo->old.key.data != NULL ? undo->old.key : undo->key;
    size_t at = sim_table_at(table, key);
    bool found = sim_table_has(table, at, key);
    if (found) {
        struct sim_entry *entry = &table->entries[at];
        content->size -= entry->key.size + entry->value.size;
        sim_bytes_free(entry->key);
    }
    if (undo->old.key.data == NULL) {
        if (found) {
            sim_table_take(table, at);
        }
        sim_bytes_free(undo->key);
        return;
    }
    content->size += undo->old.key.size + undo->old.value.size;
    if (found) {
        table->entries[at] = undo->old;
    } else {
        sim_table_insert(table, at, undo->old);
    }
}

static void roll_back(struct sim_store *self)
{
    while (self->undo_count > 0) {
        undo_one(self->content, &self->undos[--self->undo_count]);
    }
    self->writing = false;
}

static void content_free(struct content *content)
{
    for (size_t t = 0; t < content->table_count; t++) {
        sim_rows_free(&content->tables[t]);
        free(content->tables[t].name);
    }
    free(content->tables);
    free(content->directory);
    free(content);
}

static size_t add_table(struct content *content, const char *name)
{
    content->tables =
        memory_resize(content->tables, (content->table_count + 1) * sizeof *content->tables);
    content->tables[content->table_count] = (struct sim_rows){.name = memory_text(name)};
    return content->table_count++;
}

static struct content *content_of(const char *directory)
{
    for (size_t i = 0; i < disk.count; i++) {
        if (strcmp(disk.contents[i]->directory, directory) == 0) {
            return disk.contents[i];
        }
    }
    return NULL;
}

static uint64_t read_number(const char *directory)
{
    char *path = memory_format("%s/data.mdb", directory);
    unsigned long long number = 0;
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        number = fscanf(file, "simulated store %llu", &number) == 1 ? number : 0;
        fclose(file);
    }
    free(path);
    return number;
}

static enum status write_number(const char *directory, uint64_t number, struct error *error)
{
    char *path = memory_format("%s/data.mdb", directory);
    FILE *file = fopen(path, "w");
    free(path);
    if (file == NULL) {
        return error_set(error, STATUS_FATAL, ERROR_IO, "%s: cannot write", directory);
    }
    fprintf(file, "simulated store %llu\n", (unsigned long long)number);
    fclose(file);
    return STATUS_OK;
}

static enum status make_content(const char *directory, struct content **out, struct error *error)
{
    struct content *content = content_of(directory);
    if (content != NULL) { /* what the file named was moved aside or deleted */
        for (size_t i = 0; i < disk.count; i++) {
            if (disk.contents[i] == content) {
                disk.contents[i] = disk.contents[--disk.count];
                break;
            }
        }
        content_free(content);
    }
    content = memory_allocate(sizeof *content);
    content->directory = memory_text(directory);
    content->number = ++disk.number;
    content->map_size = disk.map_size;
    add_table(content, "");
    disk.contents = memory_resize(disk.contents, (disk.count + 1) * sizeof(struct content *));
    disk.contents[disk.count++] = content;
    *out = content;
    return write_number(directory, content->number, error);
}

static void store_free(struct sim_store *self)
{
    for (size_t i = 0; i < self->table_count; i++) {
        free(self->tables[i]);
    }
    free(self->tables);
    free(self->undos);
    free(self);
}

void sim_store_crash(const char *prefix)
{
    for (size_t i = 0; i < disk.count; i++) {
        struct content *content = disk.contents[i];
        if (content->open != NULL && strncmp(content->directory, prefix, strlen(prefix)) == 0) {
            roll_back(content->open);
            store_free(content->open);
            content->open = NULL;
        }
    }
}

bool sim_store_read(const char *directory, const char *table,
                    void (*visit)(void *context, struct bytes key, struct bytes value),
                    void *context)
{
    struct content *content = content_of(directory);
    if (content == NULL) {
        return false;
    }
    for (size_t t = 0; t < content->table_count; t++) {
        if (strcmp(content->tables[t].name, table) != 0) {
            continue;
        }
        for (size_t i = 0; i < content->tables[t].count; i++) {
            visit(context, content->tables[t].entries[i].key, content->tables[t].entries[i].value);
        }
    }
    return true;
}

const char *sim_store_directory(size_t index)
{
    return index < disk.count ? disk.contents[index]->directory : NULL;
}

void sim_store_reset(void)
{
    for (size_t i = 0; i < disk.count; i++) {
        ensure(disk.contents[i]->open == NULL);
        content_free(disk.contents[i]);
    }
    free(disk.contents);
    memset(&disk, 0, sizeof disk);
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
    roll_back(self);
    if (!self->read_only) {
        self->content->open = NULL;
    }
    store_free(self);
}

static enum status do_table_open(struct store *store, const char *name, struct store_table **table,
                                 struct error *error)
{
    (void)error;
    point();
    struct sim_store *self = of(store);
    ensure(!self->writing);
    struct content *content = self->content;
    size_t index = 1;
    while (index < content->table_count && strcmp(content->tables[index].name, name) != 0) {
        index++;
    }
    if (index >= content->table_count) {
        if (self->read_only) {
            return STATUS_NOT_FOUND;
        }
        index = add_table(content, name);
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
    struct content *content = of(store)->content;
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
    (void)error;
    point();
    struct sim_store *self = of(store);
    ensure(!self->writing && !self->read_only);
    self->writing = true;
    return STATUS_OK;
}

static enum status do_commit(struct store *store, struct error *error)
{
    (void)error;
    point_in("store commit");
    struct sim_store *self = of(store);
    ensure(self->writing);
    for (size_t i = 0; i < self->undo_count; i++) {
        sim_bytes_free(self->undos[i].old.key);
        sim_bytes_free(self->undos[i].key);
    }
    self->undo_count = 0;
    self->writing = false;
    if (disk.sim != NULL) {
        sim_trace(disk.sim, self->content->size);
    }
    point();
    return STATUS_OK;
}

static void do_abort(struct store *store)
{
    roll_back(of(store));
}

static enum status do_grow(struct store *store, struct error *error)
{
    (void)error;
    point();
    ensure(!of(store)->writing);
    of(store)->content->map_size *= 2;
    return STATUS_OK;
}

static bool do_nearly_full(struct store *store)
{
    struct content *content = of(store)->content;
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
    (void)error;
    point();
    return sim_table_get(&of(store)->content->tables[0], bytes_of(name), value);
}

static enum status do_meta_put(struct store *store, const char *name, struct bytes value,
                               struct error *error)
{
    point();
    ensure(of(store)->writing);
    return change(of(store), 0, bytes_of(name), &value, error);
}

static enum status do_clear(struct store *store, struct error *error)
{
    point();
    struct sim_store *self = of(store);
    ensure(self->writing);
    for (size_t t = 0; t < self->content->table_count; t++) {
        struct sim_rows *table = &self->content->tables[t];
        while (table->count > 0) {
            (void)change(self, t, table->entries[table->count - 1].key, NULL, error);
        }
    }
    return STATUS_OK;
}

static enum status do_get(struct store_table *table, struct bytes key, struct bytes *value,
                          struct error *error)
{
    (void)error;
    point();
    ensure(key.size > 0 && key.size <= STORE_KEY_LIMIT);
    return sim_table_get(table_of(table), key, value);
}

static enum status do_put(struct store_table *table, struct bytes key, struct bytes value,
                          struct error *error)
{
    point();
    struct sim_store *self = of(table->store);
    ensure(self->writing && key.size > 0 && key.size <= STORE_KEY_LIMIT);
    return change(self, ((struct sim_table *)(void *)table)->index, key, &value, error);
}

static enum status do_remove(struct store_table *table, struct bytes key, struct error *error)
{
    point();
    struct sim_store *self = of(table->store);
    ensure(self->writing && key.size > 0);
    return change(self, ((struct sim_table *)(void *)table)->index, key, NULL, error);
}

static enum status do_count(struct store_table *table, uint64_t *count, struct error *error)
{
    (void)error;
    point();
    *count = table_of(table)->count;
    return STATUS_OK;
}

static enum status do_scan(struct store_table *table, struct bytes from, struct bytes to,
                           uint32_t flags, struct store_cursor **cursor, struct error *error)
{
    (void)error;
    point();
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
    point();
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
};

enum status sim_store_open(const char *directory, const struct store_options *options,
                           struct store **store, struct error *error)
{
    point_in("store open");
    uint64_t number = read_number(directory);
    struct content *content = content_of(directory);
    if (content == NULL || content->number != number) {
        if (options->read_only) {
            return STATUS_NOT_FOUND;
        }
        enum status status = make_content(directory, &content, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    ensure(options->read_only || content->open == NULL);
    struct sim_store *self = memory_allocate(sizeof *self);
    self->store.ops = &operations;
    self->content = content;
    self->read_only = options->read_only;
    if (!options->read_only) {
        content->open = self;
    }
    *store = &self->store;
    return STATUS_OK;
}
