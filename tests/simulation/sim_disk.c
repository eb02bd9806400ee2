/* SPDX-License-Identifier: Apache-2.0 */
#include "sim_disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    struct sim *sim;
    struct sim_disk_faults faults;
    struct sim_disk_statistics statistics;
    int64_t full_until_us;
    struct sim_content **contents;
    size_t count;
    uint64_t number;
} disk;

void sim_store_attach(struct sim *sim, const struct sim_disk_faults *faults)
{
    disk.sim = sim;
    disk.faults = faults == NULL ? (struct sim_disk_faults){0} : *faults;
    disk.statistics = (struct sim_disk_statistics){0};
    disk.full_until_us = 0;
}

void sim_store_heal(void)
{
    size_t map_size = disk.faults.map_size;
    disk.faults = (struct sim_disk_faults){.map_size = map_size};
    disk.full_until_us = 0;
}

const struct sim_disk_statistics *sim_store_statistics(void)
{
    return &disk.statistics;
}

static bool chance(uint32_t per_10000)
{
    return disk.sim != NULL && sim_chance(disk.sim, per_10000);
}

void sim_disk_point(const char *call)
{
    if (disk.sim == NULL) {
        return;
    }
    sim_point_in(disk.sim, call);
    if (chance(disk.faults.slow)) {
        disk.statistics.slow++;
        sim_wait_us(disk.sim, sim_between(disk.sim, 50, 3000) * 1000);
        sim_point(disk.sim);
    }
}

/* ---- Changes ---- */

static void note_undo(struct sim_undos *undos, size_t table, struct sim_entry old, struct bytes key)
{
    if (undos->count == undos->capacity) {
        undos->capacity = undos->capacity == 0 ? 64 : undos->capacity * 2;
        undos->items = memory_resize(undos->items, undos->capacity * sizeof *undos->items);
    }
    undos->items[undos->count++] = (struct sim_undo){
        table, old, old.key.data == NULL ? sim_bytes_copy(key) : (struct bytes){0}};
}

enum status sim_disk_change(struct sim_content *content, size_t index, struct bytes key,
                            const struct bytes *value, struct error *error)
{
    struct sim_rows *table = &content->tables[index];
    size_t at = sim_table_at(table, key);
    bool found = sim_table_has(table, at, key);
    if (value != NULL && content->map_size > 0 &&
        content->size + key.size + value->size > content->map_size) {
        disk.statistics.map_full++;
        return error_set(error, STATUS_RETRY, ERROR_MAP_FULL, "%s: map full", content->directory);
    }
    struct sim_entry old = {0};
    if (found) {
        old = table->entries[at];
        content->size -= old.key.size + old.value.size;
    }
    if (found || value != NULL) {
        note_undo(&content->open, index, old, key);
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

static void undo_one(struct sim_content *content, struct sim_undo *undo)
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

static void undo_all(struct sim_content *content, struct sim_undos *undos)
{
    while (undos->count > 0) {
        undo_one(content, &undos->items[--undos->count]);
    }
}

static void forget(struct sim_undos *undos)
{
    for (size_t i = 0; i < undos->count; i++) {
        sim_bytes_free(undos->items[i].old.key);
        sim_bytes_free(undos->items[i].key);
    }
    undos->count = 0;
}

void sim_disk_roll_back(struct sim_content *content)
{
    undo_all(content, &content->open);
}

enum status sim_disk_commit(struct sim_content *content, struct error *error)
{
    if (disk.sim != NULL && chance(disk.faults.full)) {
        disk.full_until_us = sim_now_us(disk.sim) + sim_between(disk.sim, 200, 8000) * 1000;
    }
    bool map_full = content->open.count > 0 && chance(disk.faults.map_full);
    if (disk.sim != NULL && (map_full || sim_now_us(disk.sim) < disk.full_until_us)) {
        sim_disk_roll_back(content);
        if (map_full) {
            disk.statistics.map_full_at_commit++;
            return error_set(error, STATUS_RETRY, ERROR_MAP_FULL, "%s: map full at the commit",
                             content->directory);
        }
        disk.statistics.full++;
        return error_set(error, STATUS_FATAL, ERROR_DISK_FULL, "%s: no space left on the disk",
                         content->directory);
    }
    struct sim_undos swap = content->last;
    forget(&swap);
    content->last = content->open;
    content->open = swap;
    content->begun = true;
    content->synced = false;
    if (disk.sim != NULL) {
        sim_trace(disk.sim, content->size);
    }
    return STATUS_OK;
}

/* ---- Damage ---- */

/* Something is not as it was written: a value, an entry, or how much of the changelog it holds. */
static void alter(struct sim_content *content)
{
    if (content->table_count < 2) {
        return;
    }
    size_t index = 1 + (size_t)sim_below(disk.sim, content->table_count - 1);
    struct sim_rows *table = &content->tables[index];
    if (table->count == 0) {
        return;
    }
    size_t at = (size_t)sim_below(disk.sim, table->count);
    content->size -= table->entries[at].key.size + table->entries[at].value.size;
    sim_bytes_free(table->entries[at].key);
    sim_table_take(table, at);
}

static enum status corrupt(const struct sim_content *content, struct error *error)
{
    return error_set(error, STATUS_FATAL, ERROR_CORRUPT, "%s: input/output error",
                     content->directory);
}

enum status sim_disk_read(struct sim_content *content, struct error *error)
{
    if (!content->damaged && content->begun && chance(disk.faults.damaged)) {
        disk.statistics.damaged++;
        content->damaged = true;
        sim_note(disk.sim, "---- %s is damaged", content->directory);
        if (content->open.count == 0) {
            forget(&content->last);
            alter(content);
        }
    }
    return content->damaged ? corrupt(content, error) : STATUS_OK;
}

/* ---- Contents ---- */

static void content_free(struct sim_content *content)
{
    forget(&content->open);
    forget(&content->last);
    free(content->open.items);
    free(content->last.items);
    for (size_t t = 0; t < content->table_count; t++) {
        sim_rows_free(&content->tables[t]);
        free(content->tables[t].name);
    }
    free(content->tables);
    free(content->directory);
    free(content);
}

size_t sim_disk_add_table(struct sim_content *content, const char *name)
{
    content->tables =
        memory_resize(content->tables, (content->table_count + 1) * sizeof *content->tables);
    content->tables[content->table_count] = (struct sim_rows){.name = memory_text(name)};
    return content->table_count++;
}

static struct sim_content *content_of(const char *directory)
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

static enum status make_content(const char *directory, struct sim_content **out,
                                struct error *error)
{
    struct sim_content *content = content_of(directory);
    if (disk.sim != NULL && sim_now_us(disk.sim) < disk.full_until_us) {
        disk.statistics.full++;
        return error_set(error, STATUS_FATAL, ERROR_DISK_FULL, "%s: no space left on the disk",
                         directory);
    }
    for (size_t i = 0; content != NULL && i < disk.count; i++) {
        if (disk.contents[i] == content) { /* what its file named was moved aside or deleted */
            disk.contents[i] = disk.contents[--disk.count];
            content_free(content);
            break;
        }
    }
    content = memory_allocate(sizeof *content);
    content->directory = memory_text(directory);
    content->number = ++disk.number;
    content->map_size = disk.faults.map_size;
    sim_disk_add_table(content, "");
    disk.contents = memory_resize(disk.contents, (disk.count + 1) * sizeof(struct sim_content *));
    disk.contents[disk.count++] = content;
    *out = content;
    return write_number(directory, content->number, error);
}

enum status sim_disk_open(const char *directory, bool make, struct sim_content **content,
                          struct error *error)
{
    uint64_t number = read_number(directory);
    *content = content_of(directory);
    if (*content == NULL || (*content)->number != number) {
        return make ? make_content(directory, content, error) : STATUS_NOT_FOUND;
    }
    if ((*content)->damaged) {
        return corrupt(*content, error);
    }
    return STATUS_OK;
}

/* ---- Crashes ---- */

static bool is_below(const struct sim_content *content, const char *part)
{
    return strstr(content->directory, part) != NULL;
}

void sim_store_crash(const char *part)
{
    for (size_t i = 0; i < disk.count; i++) {
        struct sim_content *content = disk.contents[i];
        if (!is_below(content, part)) {
            continue;
        }
        bool open = content->store != NULL;
        sim_disk_roll_back(content);
        if (open) {
            content->drop(content->store);
            content->store = NULL;
        }
        if (open && !content->begun && disk.faults.torn && chance(5000)) {
            disk.statistics.torn++;
            content->damaged = true; /* half a file */
        }
    }
}

/* The machine has booted anew. */
static void change_marker(const char *directory)
{
    char *path = memory_format("%s/boot", directory);
    if (access(path, F_OK) == 0) {
        FILE *file = fopen(path, "w");
        ensure(file != NULL);
        fputs("00000000-0000-0000-0000-000000000000\n", file);
        fclose(file);
    }
    free(path);
}

void sim_store_power_loss(const char *part)
{
    for (size_t i = 0; i < disk.count; i++) {
        struct sim_content *content = disk.contents[i];
        if (!is_below(content, part)) {
            continue;
        }
        ensure(content->store == NULL);
        change_marker(content->directory);
        if (content->damaged || (!content->durable && content->synced) || !chance(5000)) {
            continue;
        }
        if (content->last.count > 0) {
            disk.statistics.undone++;
            undo_all(content, &content->last);
        }
        while (!content->durable && chance(7000)) {
            forget(&content->last);
            alter(content);
        }
        content->distrusted = !content->durable;
    }
}

/* ---- For the oracle ---- */

bool sim_store_read(const char *directory, const char *table,
                    void (*visit)(void *context, struct bytes key, struct bytes value),
                    void *context)
{
    const struct sim_content *content = content_of(directory);
    if (content == NULL || content->damaged || content->distrusted) {
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
        ensure(disk.contents[i]->store == NULL);
        content_free(disk.contents[i]);
    }
    free(disk.contents);
    memset(&disk, 0, sizeof disk);
}
