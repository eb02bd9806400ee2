/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Damages a store's file in every way and opens it as the engine and `state` do. Whatever was done
 * to it, opening ends in a store or in ERROR_CORRUPT, without a signal; and what the deep check
 * accepts can be read from end to end, in both directions, by LMDB, which trusts its pages.
 * Inputs are those of fuzz_image.h.
 */
#include "state/store_lmdb.h"

#include "fuzz_image.h"

#include <stdio.h>
#include <stdlib.h>

static struct fuzz_image image;

static void finish(void)
{
    fuzz_image_finish(&image);
}

/* A real store of several tables, large values, long keys and free pages. */
static void make_image(void)
{
    struct error error;
    struct store *store;
    struct store_table *table;
    struct store_options options = {.durable = false};
    static uint8_t value[9000];
    static char key[600];
    image.folder = test_folder_make();
    ensure(store_lmdb_open(image.folder, &options, &store, &error) == STATUS_OK);
    ensure(store_table_open(store, ".timers", &table, &error) == STATUS_OK);
    ensure(store_table_open(store, "count/words", &table, &error) == STATUS_OK);
    for (int i = 0; i < 300; i++) {
        ensure(store_begin(store, &error) == STATUS_OK);
        memset(key, 'k', sizeof key);
        int used = snprintf(key, 10, "%06d", i * 7 % 200);
        key[used] = 'k';
        ensure(store_put(table, (struct bytes){key, i % 5 == 0 ? sizeof key : 6},
                         (struct bytes){value, i % 50 == 0 ? sizeof value : 40},
                         &error) == STATUS_OK);
        ensure(store_meta_put(store, "sequence", bytes_of("12345678"), &error) == STATUS_OK);
        ensure(store_commit(store, &error) == STATUS_OK);
    }
    store_close(store);
    fuzz_image_take(&image, 20);
    ensure(atexit(finish) == 0);
}

static void scan(struct store_table *table, uint32_t flags)
{
    struct store_cursor *cursor;
    struct error error = {0};
    struct bytes none = {0};
    struct bytes key;
    struct bytes value;
    enum status status = store_scan(table, none, none, flags, &cursor, &error);
    if (status != STATUS_OK) {
        fuzz_check_refusal(status, &error);
        return;
    }
    /* Damaged links between pages can make a scan long, not endless: pages are visited in order. */
    for (int i = 0; i < 100000 && status == STATUS_OK; i++) {
        status = store_next(cursor, &key, &value, &error);
    }
    ensure(status != STATUS_OK);
    store_cursor_close(cursor);
}

static void read_store(struct store *store)
{
    struct error error = {0};
    struct bytes value;
    char **names = NULL;
    size_t count = 0;
    enum status status = store_meta_get(store, "sequence", &value, &error);
    ensure(status != STATUS_RETRY);
    if (store_table_list(store, &names, &count, &error) != STATUS_OK) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct store_table *table;
        uint64_t entries = 0;
        if (store_table_open(store, names[i], &table, &error) == STATUS_OK) {
            (void)store_count(table, &entries, &error);
            (void)store_get(table, bytes_of("000007"), &value, &error);
            scan(table, 0);
            scan(table, STORE_REVERSE);
        }
        free(names[i]);
    }
    free(names);
}

static void open_and_read(bool read_only, bool read)
{
    struct store *store = NULL;
    struct error error = {0};
    struct store_options options = {.read_only = read_only};
    enum status status = store_lmdb_open(image.folder, &options, &store, &error);
    if (status == STATUS_OK) {
        if (read) {
            read_store(store);
        }
        store_close(store);
    } else if (status != STATUS_NOT_FOUND) {
        fuzz_check_refusal(status, &error);
        ensure(status == STATUS_FATAL && strstr(error.text, image.folder) != NULL);
    }
}

static bool no_table(struct bytes name)
{
    ensure(name.data != NULL);
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size > FUZZ_INPUT_MOST ? FUZZ_INPUT_MOST : size};
    struct lmdb_facts facts = {0};
    struct error error = {0};
    bool sound = false;
    if (image.data == NULL) {
        make_image();
    }
    fuzz_image_damage(&image, &input);
    const struct lmdb_file judged = {image.file, "store", image.folder};
    enum status status = lmdb_check_meta(&judged, &facts, &error);
    if (status == STATUS_OK) {
        status = lmdb_check_tree(&judged, no_table, &facts, &error);
        sound = lmdb_check_tree(&judged, NULL, &facts, &error) == STATUS_OK;
        ensure(!sound || status == STATUS_OK);
    }
    open_and_read(true, sound);
    open_and_read(false, false);
    return 0;
}
