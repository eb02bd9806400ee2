/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that must not be trusted: each ends as ERROR_CORRUPT, or, where the file is short but
 * sound, with every record in place; never in a signal, which would end this program.
 */
#include "base/bytes.h"
#include "base/random.h"
#include "state/store.h"
#include "test_folder.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECORDS = 400, PAGE = 4096 };

static struct error error;
static char *folder, *file;

#define ok(call) cr_assert((call) == STATUS_OK, "%s", error.text)

static void setup(void)
{
    folder = test_folder_make();
    file = memory_format("%s/data.mdb", folder);
}

static void teardown(void)
{
    free(file);
    test_folder_remove(folder);
}

TestSuite(store_lmdb_damage, .init = setup, .fini = teardown);

static enum status try_open(bool read_only, struct store **store)
{
    struct store_options options = {.durable = true, .read_only = read_only};
    return store_lmdb_open(folder, &options, store, &error);
}

static struct store_table *table_of(struct store *store)
{
    struct store_table *table;
    ok(store_table_open(store, "count/words", &table, &error));
    return table;
}

/* A store of several commits, with large values, long keys and free pages. */
static void make_store(void)
{
    struct store *store;
    ok(try_open(false, &store));
    struct store_table *table = table_of(store);
    char key[600];
    memset(key, 'k', sizeof key);
    static uint8_t value[9000];
    for (int round = 0; round < 4; round++) {
        ok(store_begin(store, &error));
        for (int i = 0; i < RECORDS / 4; i++) {
            int number = round * RECORDS / 4 + i;
            size_t size = (size_t)(number % 5 == 0 ? snprintf(key + 590, 10, "%06d", number) + 590
                                                   : snprintf(key, sizeof key, "%06d", number));
            ok(store_put(table, (struct bytes){key, size},
                         (struct bytes){value, number % 17 == 0 ? sizeof value : 50}, &error));
            memset(key, 'k', 10);
        }
        ok(store_commit(store, &error));
    }
    store_close(store);
}

static off_t file_size(void)
{
    struct stat stat_of;
    cr_assert_eq(stat(file, &stat_of), 0);
    return stat_of.st_size;
}

static void *read_file(size_t *size)
{
    *size = (size_t)file_size();
    void *data = memory_allocate(*size);
    FILE *in = fopen(file, "rb");
    cr_assert(in != NULL && fread(data, 1, *size, in) == *size);
    (void)fclose(in);
    return data;
}

static void write_file(const void *data, size_t size)
{
    FILE *out = fopen(file, "wb");
    cr_assert(out != NULL && fwrite(data, 1, size, out) == size);
    (void)fclose(out);
}

static uint64_t rows(struct store *store)
{
    struct store_cursor *cursor;
    struct bytes none = {0};
    struct bytes key;
    struct bytes value;
    uint64_t count = 0;
    ok(store_scan(table_of(store), none, none, 0, &cursor, &error));
    while (store_next(cursor, &key, &value, &error) == STATUS_OK) {
        count++;
    }
    store_cursor_close(cursor);
    return count;
}

static void expect_corrupt(bool read_only)
{
    struct store *store;
    error.text[0] = '\0';
    cr_assert_eq(try_open(read_only, &store), STATUS_FATAL);
    cr_assert_eq(error.code, ERROR_CORRUPT, "%s", error.text);
    cr_assert_not_null(strstr(error.text, folder), "%s", error.text);
}

Test(store_lmdb_damage, a_file_cut_at_any_page_is_corrupt_or_whole)
{
    make_store();
    size_t size;
    void *whole = read_file(&size);
    int corrupt = 0;
    for (size_t cut = PAGE; cut < size; cut += PAGE) {
        for (int read_only = 1; read_only >= 0; read_only--) {
            struct store *store;
            write_file(whole, cut);
            enum status status = try_open(read_only == 1, &store);
            if (status == STATUS_OK) {
                cr_assert_eq(rows(store), RECORDS, "cut at %zu of %zu", cut, size);
                store_close(store);
            } else {
                cr_assert_eq(error.code, ERROR_CORRUPT, "%s", error.text);
                corrupt++;
            }
        }
    }
    cr_assert_gt(corrupt, (int)(size / PAGE), "most of the cuts are noticed");
    free(whole);
}

Test(store_lmdb_damage, a_file_cut_within_a_page_is_corrupt)
{
    make_store();
    size_t size;
    void *whole = read_file(&size);
    static const size_t cuts[] = {1, 16, 100, PAGE - 1, PAGE + 1, PAGE + 100, 2 * PAGE - 1};
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        write_file(whole, cuts[i]);
        expect_corrupt(true);
        expect_corrupt(false);
    }
    free(whole);
}

Test(store_lmdb_damage, an_empty_file_is_a_new_store)
{
    write_file("", 0);
    struct store *store;
    cr_assert_eq(try_open(true, &store), STATUS_NOT_FOUND);
    ok(try_open(false, &store));
    cr_assert_eq(rows(store), 0);
    store_close(store);
}

Test(store_lmdb_damage, garbage_is_corrupt)
{
    struct random random;
    random_init(&random, 7);
    for (int i = 0; i < 200; i++) {
        size_t size = 1 + random_below(&random, (uint64_t)1 << random_below(&random, 18));
        uint8_t *data = memory_allocate(size);
        for (size_t at = 0; at < size; at++) {
            data[at] = (uint8_t)random_next(&random);
        }
        write_file(data, size);
        expect_corrupt(true);
        expect_corrupt(false);
        free(data);
    }
}

Test(store_lmdb_damage, garbage_or_zeros_behind_good_meta_pages_are_corrupt)
{
    make_store();
    size_t size;
    uint8_t *data = read_file(&size);
    struct random random;
    random_init(&random, 8);
    memset(data + (size_t)2 * PAGE, 0, size - (size_t)2 * PAGE);
    write_file(data, size);
    expect_corrupt(true);
    expect_corrupt(false);
    for (int i = 0; i < 20; i++) {
        for (size_t at = (size_t)2 * PAGE; at < size; at++) {
            data[at] = (uint8_t)random_next(&random);
        }
        write_file(data, size);
        expect_corrupt(true);
        expect_corrupt(false);
    }
    free(data);
}

Test(store_lmdb_damage, a_changed_meta_page_never_ends_in_a_signal)
{
    make_store();
    size_t size;
    uint8_t *whole = read_file(&size);
    struct random random;
    random_init(&random, 9);
    int refused = 0;
    for (int i = 0; i < 3000; i++) {
        uint8_t *data = memory_copy(whole, size);
        size_t page = random_below(&random, 2) * PAGE;
        size_t at = page + random_below(&random, 160);
        data[at] ^= (uint8_t)(1u << random_below(&random, 8));
        write_file(data, size);
        struct store *store;
        if (try_open(false, &store) == STATUS_OK) {
            store_close(store); /* an older meta page, or a byte that means nothing */
        } else {
            cr_assert_eq(error.code, ERROR_CORRUPT, "byte %zu: %s", at, error.text);
            refused++;
        }
        free(data);
    }
    cr_assert_gt(refused, 300);
    free(whole);
}

Test(store_lmdb_damage, a_put_undone_leaves_a_short_file_that_is_extended_before_it_is_read)
{
    make_store();
    struct store *store;
    ok(try_open(false, &store));
    struct store_table *table = table_of(store);
    static uint8_t value[3 << 20];
    ok(store_begin(store, &error));
    ok(store_put(table, bytes_of("undone"), (struct bytes){value, sizeof value}, &error));
    ok(store_remove(table, bytes_of("undone"), &error));
    ok(store_put(table, bytes_of("000001"), bytes_of("changed"), &error));
    ok(store_commit(store, &error));
    store_close(store);
    off_t small = file_size();
    cr_assert_lt(small, (off_t)sizeof value);
    ok(try_open(true, &store));
    cr_assert_eq(rows(store), RECORDS);
    store_close(store);
    cr_assert_eq(file_size(), small, "a reader changes nothing");
    ok(try_open(false, &store));
    cr_assert_gt(file_size(), (off_t)sizeof value);
    cr_assert_eq(rows(store), RECORDS);
    store_close(store);
}

Test(store_lmdb_damage, a_file_shorter_than_its_last_commit_saw_is_truncated)
{
    /* The cut pages are free ones, so only the stored size gives it away. */
    make_store();
    struct store *store;
    ok(try_open(false, &store));
    struct store_table *table = table_of(store);
    static uint8_t value[1 << 20];
    ok(store_begin(store, &error));
    ok(store_put(table, bytes_of("large"), (struct bytes){value, sizeof value}, &error));
    ok(store_commit(store, &error));
    for (int i = 0; i < 3; i++) {
        ok(store_begin(store, &error));
        ok(store_remove(table, bytes_of("large"), &error));
        ok(store_put(table, bytes_of("x"), (struct bytes){value, (size_t)i}, &error));
        ok(store_commit(store, &error));
    }
    store_close(store);
    off_t whole = file_size();
    cr_assert_eq(truncate(file, whole - PAGE), 0);
    expect_corrupt(true);
    expect_corrupt(false);
    cr_assert_not_null(strstr(error.text, "truncated"), "%s", error.text);
    cr_assert_eq(file_size(), whole - PAGE, "a refused file stays as it is");
}

Test(store_lmdb_damage, a_leaf_without_entries_is_refused_and_never_read)
{
    make_store();
    size_t size;
    uint8_t *data = read_file(&size);
    int refused = 0;
    for (size_t page = 2; page < size / PAGE; page++) {
        static const uint8_t none[2] = {16, 0}; /* "lower": behind the header */
        uint8_t *header = data + page * PAGE;
        uint8_t old[2] = {header[12], header[13]};
        if (get_u16(header + 10) != 0x0200 || memcmp(old, none, 2) == 0) { /* a leaf's flags */
            continue;
        }
        memcpy(header + 12, none, 2);
        write_file(data, size);
        memcpy(header + 12, old, 2);
        struct store *store = NULL;
        if (try_open(true, &store) == STATUS_OK) {
            store_close(store); /* deeper than an open looks, or not in use */
        } else {
            cr_assert_eq(error.code, ERROR_CORRUPT, "%s", error.text);
            refused++;
        }
    }
    cr_assert_geq(refused, 2, "the table of tables and the metadata are leaves");
    free(data);
}

Test(store_lmdb_damage, a_scan_over_keys_out_of_order_is_corrupt_and_not_endless)
{
    struct store *store;
    char key[600];
    memset(key, 'c', sizeof key);
    ok(try_open(false, &store));
    struct store_table *table = table_of(store);
    ok(store_begin(store, &error));
    ok(store_put(table, bytes_of("bees"), bytes_of("1"), &error));
    ok(store_put(table, (struct bytes){key, sizeof key}, bytes_of("2"), &error));
    ok(store_put(table, bytes_of("dogs"), bytes_of("3"), &error));
    ok(store_commit(store, &error));
    store_close(store);
    size_t size;
    uint8_t *data = read_file(&size);
    for (uint8_t *at = data; (at = memmem(at, size - (size_t)(at - data), "bees", 4)) != NULL;) {
        *at = 'z';
    }
    write_file(data, size);
    free(data);
    struct store_cursor *cursor;
    struct bytes none = {0};
    struct bytes value;
    struct bytes found;
    enum status status = STATUS_OK;
    ok(try_open(true, &store));
    ok(store_scan(table_of(store), none, none, 0, &cursor, &error));
    for (int i = 0; i < 10 && status == STATUS_OK; i++) {
        status = store_next(cursor, &found, &value, &error);
    }
    cr_assert_eq(status, STATUS_FATAL);
    cr_assert_eq(error.code, ERROR_CORRUPT, "%s", error.text);
    store_cursor_close(cursor);
    store_close(store);
}
