/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated store answers as store_lmdb does, and a crash takes what was not committed. */
#include "base/random.h"
#include "sim_store.h"
#include "state/directory.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64];
static struct error error;

static void begin(void)
{
    snprintf(folder, sizeof folder, "/tmp/leat-sim-store-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void finish(void)
{
    char command[128];
    sim_store_reset();
    snprintf(command, sizeof command, "rm -rf -- '%s'", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(sim_store, .init = begin, .fini = finish);

static struct bytes random_bytes(struct random *random, uint8_t *memory, size_t least, size_t most)
{
    size_t size = least + random_below(random, most - least + 1);
    for (size_t i = 0; i < size; i++) {
        memory[i] = (uint8_t)random_below(random, 3) == 0 ? 0xff : (uint8_t)random_below(random, 3);
    }
    return (struct bytes){memory, size};
}

/** The two stores that must never differ. */
struct pair {
    struct store *stores[2];
    struct store_table *tables[2];
};

static void open_pair(struct pair *pair)
{
    char path[96];
    struct store_options options = {.durable = false};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%d", folder, i);
        cr_assert_eq(directory_make(path, &error), STATUS_OK);
        enum status status = i == 0 ? sim_store_open(path, &options, &pair->stores[0], &error)
                                    : store_lmdb_open(path, &options, &pair->stores[1], &error);
        cr_assert_eq(status, STATUS_OK, "%s", error.text);
        cr_assert_eq(store_table_open(pair->stores[i], "t", &pair->tables[i], &error), STATUS_OK);
    }
}

static void close_pair(struct pair *pair)
{
    store_close(pair->stores[0]);
    store_close(pair->stores[1]);
}

static void compare_scan(struct pair *pair, struct bytes from, struct bytes to, uint32_t flags)
{
    struct store_cursor *cursors[2];
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(store_scan(pair->tables[i], from, to, flags, &cursors[i], &error), STATUS_OK);
    }
    enum status status = STATUS_OK;
    while (status == STATUS_OK) {
        struct bytes keys[2];
        struct bytes values[2];
        status = store_next(cursors[0], &keys[0], &values[0], &error);
        cr_assert_eq(store_next(cursors[1], &keys[1], &values[1], &error), status);
        if (status == STATUS_OK) {
            cr_assert(bytes_equal(keys[0], keys[1]));
            cr_assert(bytes_equal(values[0], values[1]));
        }
    }
    store_cursor_close(cursors[0]);
    store_cursor_close(cursors[1]);
}

static void change_both(struct pair *pair, struct random *random)
{
    uint8_t key_memory[8];
    uint8_t value_memory[32];
    struct bytes key = random_bytes(random, key_memory, 1, 4);
    struct bytes value = random_bytes(random, value_memory, 0, 32);
    bool put = random_below(random, 3) > 0;
    for (int i = 0; i < 2; i++) {
        enum status status = put ? store_put(pair->tables[i], key, value, &error)
                                 : store_remove(pair->tables[i], key, &error);
        cr_assert_eq(status, STATUS_OK);
    }
    struct bytes found[2];
    key = random_bytes(random, key_memory, 1, 4);
    enum status status = store_get(pair->tables[0], key, &found[0], &error);
    cr_assert_eq(store_get(pair->tables[1], key, &found[1], &error), status);
    cr_assert(status != STATUS_OK || bytes_equal(found[0], found[1]));
}

static void compare_all(struct pair *pair, struct random *random)
{
    uint8_t memory[2][8];
    struct bytes none = {NULL, 0};
    uint64_t counts[2];
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(store_count(pair->tables[i], &counts[i], &error), STATUS_OK);
    }
    cr_assert_eq(counts[0], counts[1]);
    uint32_t reverse = random_below(random, 2) ? STORE_REVERSE : 0;
    compare_scan(pair, none, none, reverse);
    struct bytes from = random_bytes(random, memory[0], 1, 3);
    struct bytes to = random_bytes(random, memory[1], 1, 3);
    compare_scan(pair, from, to, reverse);
    compare_scan(pair, from, none, reverse | STORE_PREFIX);
}

Test(sim_store, it_differs_from_store_lmdb_in_nothing)
{
    struct random random;
    struct pair pair;
    random_init(&random, 11);
    open_pair(&pair);
    for (int round = 0; round < 60; round++) {
        for (int i = 0; i < 2; i++) {
            cr_assert_eq(store_begin(pair.stores[i], &error), STATUS_OK);
        }
        for (int i = 0; i < 40; i++) {
            change_both(&pair, &random);
        }
        bool clear = random_below(&random, 10) == 0;
        compare_all(&pair, &random);
        bool commit = random_below(&random, 3) > 0;
        for (int i = 0; i < 2; i++) {
            if (clear) {
                cr_assert_eq(store_clear(pair.stores[i], &error), STATUS_OK);
            }
            struct bytes value = {&round, sizeof round};
            cr_assert_eq(store_meta_put(pair.stores[i], "round", value, &error), STATUS_OK);
            if (commit) {
                cr_assert_eq(store_commit(pair.stores[i], &error), STATUS_OK);
            } else {
                store_abort(pair.stores[i]);
            }
        }
        compare_all(&pair, &random);
        struct bytes rounds[2];
        enum status status = store_meta_get(pair.stores[0], "round", &rounds[0], &error);
        cr_assert_eq(store_meta_get(pair.stores[1], "round", &rounds[1], &error), status);
        cr_assert(status != STATUS_OK || bytes_equal(rounds[0], rounds[1]));
        if (random_below(&random, 8) == 0) {
            close_pair(&pair);
            open_pair(&pair);
        }
    }
    close_pair(&pair);
}

Test(sim_store, a_crash_takes_what_was_not_committed_and_nothing_else)
{
    struct store_options options = {.durable = true};
    struct store *store = NULL;
    struct store_table *table = NULL;
    struct bytes value;
    cr_assert_eq(sim_store_open(folder, &options, &store, &error), STATUS_OK);
    cr_assert_eq(store_table_open(store, "t", &table, &error), STATUS_OK);
    cr_assert_eq(store_begin(store, &error), STATUS_OK);
    cr_assert_eq(store_put(table, bytes_of("a"), bytes_of("1"), &error), STATUS_OK);
    cr_assert_eq(store_commit(store, &error), STATUS_OK);
    cr_assert_eq(store_begin(store, &error), STATUS_OK);
    cr_assert_eq(store_put(table, bytes_of("a"), bytes_of("2"), &error), STATUS_OK);
    cr_assert_eq(store_put(table, bytes_of("b"), bytes_of("2"), &error), STATUS_OK);
    sim_store_crash(folder);
    cr_assert_eq(sim_store_open(folder, &options, &store, &error), STATUS_OK);
    cr_assert_eq(store_table_open(store, "t", &table, &error), STATUS_OK);
    cr_assert_eq(store_get(table, bytes_of("a"), &value, &error), STATUS_OK);
    cr_assert(bytes_equal(value, bytes_of("1")));
    cr_assert_eq(store_get(table, bytes_of("b"), &value, &error), STATUS_NOT_FOUND);
    store_close(store);
}

Test(sim_store, what_is_moved_aside_is_gone)
{
    struct store_options options = {.durable = true};
    struct store *store = NULL;
    struct store_table *table = NULL;
    struct directory *directory = NULL;
    struct bytes value;
    char path[96];
    snprintf(path, sizeof path, "%s/task", folder);
    cr_assert_eq(directory_lock(path, &directory, NULL, &error), STATUS_OK);
    cr_assert_eq(sim_store_open(path, &options, &store, &error), STATUS_OK);
    cr_assert_eq(store_begin(store, &error), STATUS_OK);
    cr_assert_eq(store_meta_put(store, "m", bytes_of("1"), &error), STATUS_OK);
    cr_assert_eq(store_commit(store, &error), STATUS_OK);
    store_close(store);
    cr_assert_eq(directory_move_aside(directory, &error), STATUS_OK);
    cr_assert_eq(sim_store_open(path, &options, &store, &error), STATUS_OK);
    cr_assert_eq(store_meta_get(store, "m", &value, &error), STATUS_NOT_FOUND);
    cr_assert_eq(store_table_open(store, "t", &table, &error), STATUS_OK);
    store_close(store);
    directory_unlock(directory);
}

Test(sim_store, a_full_map_says_so_and_grows)
{
    struct store_options options = {.durable = true};
    struct store *store = NULL;
    struct store_table *table = NULL;
    sim_store_attach(NULL, &(struct sim_disk_faults){.map_size = 20});
    cr_assert_eq(sim_store_open(folder, &options, &store, &error), STATUS_OK);
    cr_assert_eq(store_table_open(store, "t", &table, &error), STATUS_OK);
    cr_assert_eq(store_begin(store, &error), STATUS_OK);
    cr_assert_eq(store_put(table, bytes_of("a"), bytes_of("0123456789012345678"), &error),
                 STATUS_OK);
    cr_assert(store_nearly_full(store));
    cr_assert_eq(store_put(table, bytes_of("b"), bytes_of("1"), &error), STATUS_RETRY);
    cr_assert_eq(error.code, ERROR_MAP_FULL);
    store_abort(store);
    cr_assert_eq(store_grow(store, &error), STATUS_OK);
    cr_assert_eq(store_begin(store, &error), STATUS_OK);
    cr_assert_eq(store_put(table, bytes_of("b"), bytes_of("1"), &error), STATUS_OK);
    cr_assert_eq(store_commit(store, &error), STATUS_OK);
    cr_assert_not(store_nearly_full(store));
    store_close(store);
}

/* ---- A bad disk ---- */

static struct store *open_with(struct sim *sim, const struct sim_disk_faults *faults, bool durable,
                               struct store_table **table)
{
    const struct store_options options = {.durable = durable};
    struct store *store = NULL;
    sim_store_attach(sim, faults);
    cr_assert_eq(sim_store_open(folder, &options, &store, &error), STATUS_OK);
    cr_assert_eq(store_table_open(store, "t", table, &error), STATUS_OK);
    return store;
}

static enum status put(struct store *store, struct store_table *table, const char *value)
{
    enum status status = store_begin(store, &error);
    status =
        status == STATUS_OK ? store_put(table, bytes_of("k"), bytes_of(value), &error) : status;
    if (status != STATUS_OK) {
        store_abort(store);
        return status;
    }
    return store_commit(store, &error);
}

static void remember(void *context, struct bytes key, struct bytes value)
{
    (void)key;
    snprintf(context, 16, "%.*s", (int)value.size, (const char *)value.data);
}

/* What a store holds after a power loss; "" = it is not to be trusted. */
static const char *after_power_loss(uint64_t seed, bool durable, bool closed)
{
    static char value[16];
    struct sim_disk_faults none = {0};
    struct sim *sim = sim_create(seed);
    struct store_table *table = NULL;
    struct store *store = open_with(sim, &none, durable, &table);
    cr_assert_eq(put(store, table, "one"), STATUS_OK);
    cr_assert_eq(put(store, table, "two"), STATUS_OK);
    if (closed) {
        store_close(store);
    }
    sim_store_crash(folder);
    sim_store_power_loss(folder);
    value[0] = '\0';
    (void)sim_store_read(folder, "t", remember, value);
    sim_store_reset();
    sim_destroy(sim);
    return value;
}

Test(sim_store, a_power_loss_takes_the_last_commit_of_a_durable_store_at_most)
{
    int kept = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        const char *value = after_power_loss(seed, true, false);
        cr_assert(strcmp(value, "one") == 0 || strcmp(value, "two") == 0, "%s", value);
        kept += strcmp(value, "two") == 0 ? 1 : 0;
    }
    cr_assert(kept > 0 && kept < 40, "%d", kept);
}

Test(sim_store, a_power_loss_takes_anything_from_a_fast_store_that_was_not_closed)
{
    int lost = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        cr_assert_str_eq(after_power_loss(seed, false, true), "two");
        lost += after_power_loss(seed, false, false)[0] == '\0' ? 1 : 0;
    }
    cr_assert(lost > 0 && lost < 40, "%d", lost);
}

Test(sim_store, a_power_loss_is_another_boot)
{
    char path[96];
    char line[64] = "";
    snprintf(path, sizeof path, "%s/boot", folder);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs("this boot\n", file);
    fclose(file);
    (void)after_power_loss(1, false, false);
    file = fopen(path, "r");
    cr_assert_not_null(file);
    cr_assert_not_null(fgets(line, sizeof line, file));
    fclose(file);
    cr_assert_str_eq(line, "00000000-0000-0000-0000-000000000000\n");
}

Test(sim_store, a_full_disk_takes_no_commit_and_loses_none)
{
    struct sim *sim = sim_create(7);
    struct sim_disk_faults faults = {.full = 5000};
    struct store_table *table = NULL;
    struct store *store = open_with(sim, &faults, true, &table);
    char value[16] = "";
    char last[16] = "";
    int refused = 0;
    for (int i = 0; i < 40; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        enum status status = put(store, table, text);
        if (status == STATUS_OK) {
            memcpy(last, text, sizeof last);
        } else {
            cr_assert_eq(error.code, ERROR_DISK_FULL);
            cr_assert_eq(status, STATUS_FATAL);
            refused++;
        }
        sim_wait_us(sim, 1000000);
    }
    cr_assert(refused > 0 && refused < 40, "%d", refused);
    cr_assert(sim_store_read(folder, "t", remember, value));
    cr_assert_str_eq(value, last);
    store_close(store);
    sim_store_reset();
    sim_destroy(sim);
}

Test(sim_store, a_damaged_store_fails_and_opens_no_more)
{
    const struct store_options options = {.durable = true};
    struct sim *sim = sim_create(7);
    struct sim_disk_faults faults = {.damaged = 10000};
    struct store_table *table = NULL;
    struct store *store = open_with(sim, &faults, true, &table);
    cr_assert_eq(put(store, table, "one"), STATUS_OK);
    cr_assert_eq(put(store, table, "two"), STATUS_FATAL);
    cr_assert_eq(error.code, ERROR_CORRUPT);
    store_close(store);
    cr_assert_eq(sim_store_open(folder, &options, &store, &error), STATUS_FATAL);
    cr_assert_eq(error.code, ERROR_CORRUPT);
    sim_store_reset();
    sim_destroy(sim);
}

Test(sim_store, one_that_dies_before_its_first_commit_may_be_torn)
{
    const struct store_options options = {.durable = true};
    struct sim_disk_faults faults = {.torn = true};
    int torn = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct sim *sim = sim_create(seed);
        struct store_table *table = NULL;
        (void)open_with(sim, &faults, true, &table);
        sim_store_crash(folder);
        struct store *store = NULL;
        if (sim_store_open(folder, &options, &store, &error) == STATUS_OK) {
            store_close(store);
        } else {
            cr_assert_eq(error.code, ERROR_CORRUPT);
            torn++;
        }
        sim_store_reset();
        sim_destroy(sim);
    }
    cr_assert(torn > 0 && torn < 40, "%d", torn);
}
