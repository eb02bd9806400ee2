/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "state/store.h"
#include "test_folder.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static struct error error;
static char *folder;
static struct store *store;
static struct store_table *table;

#define ok(call) cr_assert((call) == STATUS_OK, "%s", error.text)

static void open_store(bool durable)
{
    struct store_options options = {.durable = durable};
    ok(store_lmdb_open(folder, &options, &store, &error));
    ok(store_table_open(store, "count/words", &table, &error));
}

static void setup(void)
{
    folder = test_folder_make();
    open_store(false);
}

static void teardown(void)
{
    store_close(store);
    test_folder_remove(folder);
}

TestSuite(store_lmdb, .init = setup, .fini = teardown);

static void reopen(void)
{
    store_close(store);
    open_store(false);
}

static void put(const char *key, const char *value)
{
    ok(store_put(table, bytes_of(key), bytes_of(value), &error));
}

/* The value as text, "-" if absent. */
static const char *get(const char *key)
{
    static char text[64];
    struct bytes value;
    enum status status = store_get(table, bytes_of(key), &value, &error);
    if (status == STATUS_NOT_FOUND) {
        return "-";
    }
    cr_assert(status == STATUS_OK, "%s", error.text);
    (void)snprintf(text, sizeof text, "%.*s", (int)value.size, (const char *)value.data);
    return text;
}

/* "key=value key=value " of a scan. */
static const char *scan(const char *from, const char *to, uint32_t flags)
{
    static char text[512];
    struct store_cursor *cursor;
    struct bytes key;
    struct bytes value;
    text[0] = '\0';
    ok(store_scan(table, bytes_of(from), bytes_of(to), flags, &cursor, &error));
    while (store_next(cursor, &key, &value, &error) == STATUS_OK) {
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%.*s=%.*s ", (int)key.size,
                       (const char *)key.data, (int)value.size, (const char *)value.data);
    }
    store_cursor_close(cursor);
    return text;
}

static void expect_key(struct store_cursor *cursor, const char *wanted)
{
    struct bytes key;
    struct bytes value;
    ok(store_next(cursor, &key, &value, &error));
    cr_assert(bytes_equal(key, bytes_of(wanted)), "expected %s, found %.*s", wanted, (int)key.size,
              (const char *)key.data);
}

Test(store_lmdb, a_transaction_sees_its_own_writes_and_an_abort_drops_them)
{
    ok(store_begin(store, &error));
    put("a", "1");
    put("b", "2");
    ok(store_commit(store, &error));
    ok(store_begin(store, &error));
    put("a", "3");
    ok(store_remove(table, bytes_of("b"), &error));
    cr_assert_str_eq(get("a"), "3");
    cr_assert_str_eq(get("b"), "-");
    store_abort(store);
    cr_assert_str_eq(get("a"), "1");
    cr_assert_str_eq(get("b"), "2");
    store_abort(store); /* nothing open: nothing done */
}

Test(store_lmdb, commits_survive_a_reopening_and_an_open_transaction_does_not)
{
    ok(store_begin(store, &error));
    put("kept", "1");
    ok(store_commit(store, &error));
    ok(store_begin(store, &error));
    put("lost", "1");
    reopen();
    cr_assert_str_eq(get("kept"), "1");
    cr_assert_str_eq(get("lost"), "-");
}

Test(store_lmdb, empty_values_differ_from_absent_ones)
{
    struct bytes value = {0};
    ok(store_begin(store, &error));
    ok(store_put(table, bytes_of("k"), (struct bytes){NULL, 0}, &error));
    ok(store_get(table, bytes_of("k"), &value, &error));
    cr_assert_eq(value.size, 0);
    cr_assert_not_null(value.data);
    ok(store_remove(table, bytes_of("absent"), &error));
    store_abort(store);
}

Test(store_lmdb, a_put_behind_a_get_replaces_that_key_only)
{
    ok(store_begin(store, &error));
    put("a", "1");
    put("b", "2");
    cr_assert_str_eq(get("a"), "1");
    put("b", "3"); /* another key than the one just read, same size */
    put("a", "4");
    cr_assert_str_eq(get("a"), "4");
    put("a", "longer");
    cr_assert_str_eq(get("a"), "longer");
    ok(store_remove(table, bytes_of("a"), &error));
    put("a", "56");
    cr_assert_str_eq(scan(NULL, NULL, 0), "a=56 b=3 ");
    store_abort(store);
}

Test(store_lmdb, scans_keep_bounds_prefixes_and_directions)
{
    ok(store_begin(store, &error));
    put("a", "1");
    put("ab", "2");
    put("abc", "3");
    put("b", "4");
    put("\xff", "5");
    put("\xff\xff", "6");
    cr_assert_str_eq(scan(NULL, NULL, 0), "a=1 ab=2 abc=3 b=4 \xff=5 \xff\xff=6 ");
    cr_assert_str_eq(scan("ab", "b", 0), "ab=2 abc=3 ");
    cr_assert_str_eq(scan("ab", "b", STORE_REVERSE), "abc=3 ab=2 ");
    cr_assert_str_eq(scan("aa", NULL, STORE_REVERSE), "\xff\xff=6 \xff=5 b=4 abc=3 ab=2 ");
    cr_assert_str_eq(scan("ab", NULL, STORE_PREFIX), "ab=2 abc=3 ");
    cr_assert_str_eq(scan("ab", NULL, STORE_PREFIX | STORE_REVERSE), "abc=3 ab=2 ");
    cr_assert_str_eq(scan("\xff", NULL, STORE_PREFIX), "\xff=5 \xff\xff=6 ");
    cr_assert_str_eq(scan(NULL, "", 0), "");
    cr_assert_str_eq(scan(NULL, "", STORE_REVERSE), "");
    cr_assert_str_eq(scan("c", "d", STORE_REVERSE), "");
    cr_assert_str_eq(scan("b", "a", 0), "");
    store_abort(store);
}

Test(store_lmdb, a_scan_sees_the_writes_ahead_of_it)
{
    struct store_cursor *cursor;
    struct bytes none = {0};
    struct bytes key;
    struct bytes value;
    ok(store_begin(store, &error));
    put("a", "1");
    put("c", "1");
    put("e", "1");
    ok(store_scan(table, none, none, 0, &cursor, &error));
    expect_key(cursor, "a");
    put("b", "2");
    ok(store_remove(table, bytes_of("a"), &error)); /* the one it stands on */
    expect_key(cursor, "b");
    ok(store_remove(table, bytes_of("c"), &error));
    put("a", "behind");
    expect_key(cursor, "e");
    put("d", "behind");
    put("f", "ahead");
    expect_key(cursor, "f");
    cr_assert_eq(store_next(cursor, &key, &value, &error), STATUS_NOT_FOUND);
    put("g", "too late");
    cr_assert_eq(store_next(cursor, &key, &value, &error), STATUS_NOT_FOUND);
    store_cursor_close(cursor);
    store_abort(store);
}

Test(store_lmdb, a_scan_outside_a_transaction_follows_the_commits)
{
    struct store_cursor *cursor;
    struct bytes none = {0};
    ok(store_begin(store, &error));
    put("a", "1");
    put("b", "1");
    ok(store_commit(store, &error));
    ok(store_scan(table, none, none, STORE_REVERSE, &cursor, &error));
    expect_key(cursor, "b");
    ok(store_begin(store, &error));
    put("aa", "1");
    expect_key(cursor, "aa");
    ok(store_commit(store, &error));
    expect_key(cursor, "a");
    store_cursor_close(cursor);
}

static const size_t sizes_around_the_limits[] = {1,
                                                 399,
                                                 400,
                                                 401,
                                                 402,
                                                 509,
                                                 510,
                                                 511,
                                                 512,
                                                 799,
                                                 800,
                                                 801,
                                                 1200,
                                                 1201,
                                                 1202,
                                                 4000,
                                                 4001,
                                                 65535,
                                                 STORE_KEY_LIMIT};

enum { SIZES = sizeof sizes_around_the_limits / sizeof sizes_around_the_limits[0] };

Test(store_lmdb, keys_that_are_prefixes_of_each_other_keep_byte_order_across_the_limits)
{
    uint8_t *data = memory_allocate(STORE_KEY_LIMIT);
    memset(data, 'k', STORE_KEY_LIMIT);
    struct bytes none = {0};
    for (uint32_t flags = 0; flags <= STORE_REVERSE; flags++) {
        ok(store_begin(store, &error));
        for (int i = 0; i < SIZES; i++) {
            size_t at = (size_t)(i * 7 % SIZES); /* not in order */
            uint8_t mark = (uint8_t)at;
            ok(store_put(table, (struct bytes){data, sizes_around_the_limits[at]},
                         (struct bytes){&mark, 1}, &error));
        }
        uint64_t count = 0;
        ok(store_count(table, &count, &error));
        cr_assert_eq(count, SIZES);
        struct store_cursor *cursor;
        ok(store_scan(table, none, none, flags, &cursor, &error));
        for (int i = 0; i < SIZES; i++) {
            int at = flags == 0 ? i : SIZES - 1 - i;
            struct bytes key;
            struct bytes value;
            ok(store_next(cursor, &key, &value, &error));
            cr_assert_eq(key.size, sizes_around_the_limits[at]);
            cr_assert_eq(memcmp(key.data, data, key.size), 0);
            cr_assert_eq(*(const uint8_t *)value.data, at);
        }
        store_cursor_close(cursor);
        store_abort(store);
    }
    free(data);
}

Test(store_lmdb, long_keys_share_their_begin_and_leave_nothing_behind)
{
    enum { KEYS = 300 };
    char key[700];
    memset(key, 'p', sizeof key);
    uint64_t count;
    ok(store_begin(store, &error));
    for (int i = 0; i < KEYS; i++) {
        (void)snprintf(key + 690, 10, "%05d", i * 7919 % KEYS);
        ok(store_put(table, (struct bytes){key, 695}, bytes_of("v"), &error));
    }
    ok(store_commit(store, &error));
    reopen();
    ok(store_count(table, &count, &error));
    cr_assert_eq(count, KEYS);
    ok(store_begin(store, &error));
    for (int i = 0; i < KEYS; i++) {
        (void)snprintf(key + 690, 10, "%05d", i);
        struct bytes value;
        ok(store_get(table, (struct bytes){key, 695}, &value, &error));
        ok(store_remove(table, (struct bytes){key, 695}, &error));
        cr_assert_eq(store_get(table, (struct bytes){key, 695}, &value, &error), STATUS_NOT_FOUND);
    }
    ok(store_count(table, &count, &error));
    cr_assert_eq(count, 0);
    cr_assert_str_eq(scan(NULL, NULL, 0), "");
    ok(store_commit(store, &error));
}

Test(store_lmdb, values_of_16_mib_go_under_short_and_long_keys)
{
    size_t size = STORE_VALUE_LIMIT;
    uint8_t *data = memory_allocate(size);
    char long_key[600];
    memset(long_key, 'k', sizeof long_key);
    data[0] = 1;
    data[size - 1] = 2;
    struct bytes keys[] = {{"short", 5}, {long_key, sizeof long_key}};
    ok(store_begin(store, &error));
    for (int i = 0; i < 2; i++) {
        ok(store_put(table, keys[i], (struct bytes){data, size}, &error));
    }
    ok(store_commit(store, &error));
    reopen();
    for (int i = 0; i < 2; i++) {
        struct bytes value;
        ok(store_get(table, keys[i], &value, &error));
        cr_assert_eq(value.size, size);
        cr_assert_eq(memcmp(value.data, data, size), 0);
    }
    free(data);
}

Test(store_lmdb, metadata_is_apart_from_the_tables)
{
    struct bytes value;
    cr_assert_eq(store_meta_get(store, "position", &value, &error), STATUS_NOT_FOUND);
    ok(store_begin(store, &error));
    ok(store_meta_put(store, "position", bytes_of("12"), &error));
    ok(store_commit(store, &error));
    ok(store_meta_get(store, "position", &value, &error));
    cr_assert(bytes_equal(value, bytes_of("12")));
    cr_assert_str_eq(scan(NULL, NULL, 0), "");
    struct store_table *again;
    ok(store_table_open(store, "count/words", &again, &error));
    cr_assert_eq(again, table);
    ok(store_table_open(store, ".timers", &again, &error));
    char **names;
    size_t count;
    ok(store_table_list(store, &names, &count, &error));
    cr_assert_eq(count, 2);
    cr_assert_str_eq(names[0], ".timers");
    cr_assert_str_eq(names[1], "count/words");
    free(names[0]);
    free(names[1]);
    free(names);
}

Test(store_lmdb, clear_empties_everything_and_can_be_undone)
{
    char key[500];
    memset(key, 'k', sizeof key);
    struct bytes value;
    ok(store_begin(store, &error));
    put("a", "1");
    ok(store_put(table, (struct bytes){key, sizeof key}, bytes_of("v"), &error));
    ok(store_meta_put(store, "position", bytes_of("1"), &error));
    ok(store_commit(store, &error));
    ok(store_begin(store, &error));
    ok(store_clear(store, &error));
    cr_assert_str_eq(get("a"), "-");
    store_abort(store);
    cr_assert_str_eq(get("a"), "1");
    ok(store_begin(store, &error));
    ok(store_clear(store, &error));
    put("b", "2");
    ok(store_commit(store, &error));
    reopen();
    cr_assert_str_eq(scan(NULL, NULL, 0), "b=2 ");
    uint64_t count;
    ok(store_count(table, &count, &error));
    cr_assert_eq(count, 1);
    cr_assert_eq(store_meta_get(store, "position", &value, &error), STATUS_NOT_FOUND);
}

#if !SANITIZED /* a sanitizer needs more address space than this leaves */
Test(store_lmdb, a_full_map_is_retried_after_growing)
{
    /* So little address space that only a small map fits. */
    store_close(store);
    struct rlimit old;
    cr_assert_eq(getrlimit(RLIMIT_AS, &old), 0);
    long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    cr_assert(statm != NULL && fscanf(statm, "%ld", &pages) == 1);
    (void)fclose(statm);
    struct rlimit tight = old;
    tight.rlim_cur = (rlim_t)pages * 4096 + ((rlim_t)200 << 20);
    cr_assert_eq(setrlimit(RLIMIT_AS, &tight), 0);
    open_store(false);
    cr_assert_not(store_nearly_full(store));
    static uint8_t data[1 << 20];
    ok(store_begin(store, &error));
    enum status status = STATUS_OK;
    uint32_t written = 0;
    while (status == STATUS_OK && written < 1000) {
        written++;
        status = store_put(table, (struct bytes){&written, sizeof written},
                           (struct bytes){data, sizeof data}, &error);
        if (status == STATUS_OK && written % 16 == 0) { /* little memory for dirty pages */
            ok(store_commit(store, &error));
            ok(store_begin(store, &error));
        }
    }
    cr_assert_eq(status, STATUS_RETRY, "%s", error.text);
    cr_assert_eq(error.code, ERROR_MAP_FULL);
    store_abort(store);
    cr_assert_eq(store_grow(store, &error), STATUS_FATAL); /* no room for the double */
    cr_assert_eq(error.code, ERROR_MEMORY);
    cr_assert_eq(setrlimit(RLIMIT_AS, &old), 0);
    uint64_t kept;
    ok(store_count(table, &kept, &error));
    cr_assert_eq(kept, (written - 1) / 16 * 16, "the transaction that met the end is gone whole");
    ok(store_grow(store, &error));
    uint32_t key = (uint32_t)kept;
    cr_assert_not(store_nearly_full(store));
    while (!store_nearly_full(store)) {
        key++;
        cr_assert_lt(key, 1000);
        ok(store_begin(store, &error));
        ok(store_put(table, (struct bytes){&key, sizeof key}, (struct bytes){data, sizeof data},
                     &error));
        ok(store_commit(store, &error));
    }
    cr_assert_gt(key, written);
    uint64_t count;
    ok(store_count(table, &count, &error));
    cr_assert_eq(count, key);
    ok(store_grow(store, &error));
    cr_assert_not(store_nearly_full(store));
}
#endif

Test(store_lmdb, files_are_private_whatever_the_umask)
{
    static const mode_t masks[] = {0, 0777};
    for (int i = 0; i < 2; i++) {
        char *other = test_folder_make();
        mode_t old = umask(masks[i]);
        struct store_options options = {.durable = true};
        struct store *made;
        ok(store_lmdb_open(other, &options, &made, &error));
        (void)umask(old);
        static const char *const names[] = {"data.mdb", "lock.mdb"};
        for (int name = 0; name < 2; name++) {
            char *path = memory_format("%s/%s", other, names[name]);
            struct stat stat_of;
            cr_assert_eq(stat(path, &stat_of), 0);
            cr_assert_eq(stat_of.st_mode & 0777, 0600);
            free(path);
        }
        store_close(made);
        test_folder_remove(other);
    }
}

Test(store_lmdb, a_symbolic_link_in_the_place_of_a_file_is_refused)
{
    char *other = test_folder_make();
    char *path = memory_format("%s/data.mdb", other);
    char *target = memory_format("%s/elsewhere", other);
    cr_assert_eq(symlink(target, path), 0);
    struct store_options options = {.durable = true};
    struct store *made;
    cr_assert_eq(store_lmdb_open(other, &options, &made, &error), STATUS_FATAL);
    cr_assert_eq(error.code, ERROR_DENIED);
    options.read_only = true;
    cr_assert_eq(store_lmdb_open(other, &options, &made, &error), STATUS_FATAL);
    cr_assert_neq(access(target, F_OK), 0);
    free(path);
    free(target);
    test_folder_remove(other);
}

Test(store_lmdb, reading_what_is_not_there_makes_nothing)
{
    char *other = test_folder_make();
    struct store_options options = {.read_only = true};
    struct store *made;
    cr_assert_eq(store_lmdb_open(other, &options, &made, &error), STATUS_NOT_FOUND);
    char *path = memory_format("%s/none", other);
    cr_assert_eq(store_lmdb_open(path, &options, &made, &error), STATUS_NOT_FOUND);
    free(path);
    cr_assert_eq(rmdir(other), 0, "something was made in the folder");
    free(other);
}

Test(store_lmdb, a_synced_store_has_nothing_left_to_sync)
{
    ok(store_begin(store, &error));
    put("a", "1");
    ok(store_commit(store, &error));
    ok(store_sync(store, &error));
    reopen();
    cr_assert_str_eq(get("a"), "1");
}
