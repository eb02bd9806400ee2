/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store across processes: writers that are killed, readers beside a living writer, a full disk.
 * Each process but this one is a fork that opens the store itself and ends by _exit or a signal.
 */
#include "base/bytes.h"
#include "base/random.h"
#include "state/directory.h"
#include "state/store.h"
#include "test_folder.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KEYS = 50 };

static struct error error;
static char *folder;

#define ok(call) cr_assert((call) == STATUS_OK, "%s", error.text)
/* In a forked process an assertion of Criterion would not be seen. */
#define child_ok(call)                                                                             \
    do {                                                                                           \
        if ((call) != STATUS_OK) {                                                                 \
            (void)fprintf(stderr, "child: %s\n", error.text);                                      \
            _exit(2);                                                                              \
        }                                                                                          \
    } while (0)

static void setup(void)
{
    folder = test_folder_make();
}

static void teardown(void)
{
    test_folder_remove(folder);
}

TestSuite(store_lmdb_process, .init = setup, .fini = teardown);

static enum status open_store(bool read_only, bool durable, struct store **store,
                              struct store_table **table)
{
    struct store_options options = {.durable = durable, .read_only = read_only};
    enum status status = store_lmdb_open(folder, &options, store, &error);
    return status != STATUS_OK ? status : store_table_open(*store, "count/words", table, &error);
}

/* One transaction that sets every key, short and long, and the metadata to `round`. */
static void write_round(struct store *store, struct store_table *table, uint32_t round)
{
    char key[500];
    uint8_t value[64] = {0};
    memset(key, 'k', sizeof key);
    put_u32(value, round);
    child_ok(store_begin(store, &error));
    for (int i = 0; i < KEYS; i++) {
        int used = snprintf(key, 8, "%04d", i);
        key[used] = 'k';
        child_ok(store_put(table, (struct bytes){key, i % 2 == 0 ? 4 : sizeof key},
                           (struct bytes){value, 4 + round % 60}, &error));
    }
    child_ok(store_meta_put(store, "sequence", (struct bytes){value, 4}, &error));
    child_ok(store_commit(store, &error));
}

/* The round that all keys and the metadata agree on; 0 if there is nothing. Fails if they do not.
 */
static uint32_t read_round(struct store *store, struct store_table *table)
{
    struct bytes none = {0};
    struct bytes key;
    struct bytes value;
    struct store_cursor *cursor;
    uint32_t round = 0;
    int rows = 0;
    if (store_meta_get(store, "sequence", &value, &error) == STATUS_OK) {
        round = get_u32(value.data);
    }
    ok(store_scan(table, none, none, 0, &cursor, &error));
    while (store_next(cursor, &key, &value, &error) == STATUS_OK) {
        cr_assert_eq(get_u32(value.data), round, "two commits are mixed");
        cr_assert_eq(value.size, 4 + round % 60);
        rows++;
    }
    store_cursor_close(cursor);
    cr_assert_eq(rows, round == 0 ? 0 : KEYS);
    return round;
}

/* Forks a writer that tells each committed round through the pipe, until it is killed. */
static pid_t start_writer(bool durable, uint32_t first, int *told)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    pid_t pid = test_fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        (void)close(ends[0]);
        struct directory *directory;
        struct store *store;
        struct store_table *table;
        child_ok(directory_lock(folder, &directory, NULL, &error));
        child_ok(open_store(false, durable, &store, &table));
        for (uint32_t round = first;; round++) {
            write_round(store, table, round);
            if (write(ends[1], &round, sizeof round) != sizeof round) {
                _exit(3);
            }
        }
    }
    (void)close(ends[1]);
    *told = ends[0];
    return pid;
}

/* The last round told before the writer's end of the pipe closed. */
static uint32_t last_told(int told, uint32_t before)
{
    uint32_t round;
    while (read(told, &round, sizeof round) == sizeof round) {
        before = round;
    }
    (void)close(told);
    return before;
}

static void kill_writers(bool durable, int kills)
{
    struct random random;
    random_init(&random, durable ? 1 : 2);
    uint32_t acknowledged = 0;
    for (int i = 0; i < kills; i++) {
        int told;
        pid_t pid = start_writer(durable, acknowledged + 1, &told);
        uint32_t round;
        if (i % 4 > 0) { /* else it may be killed while it opens the store */
            cr_assert_eq(read(told, &round, sizeof round), sizeof round);
            acknowledged = round;
        }
        (void)usleep(
            (useconds_t)random_below(&random, 6000)); /* when to kill, not what to wait for */
        cr_assert_eq(kill(pid, SIGKILL), 0);
        int how;
        cr_assert_eq(waitpid(pid, &how, 0), pid);
        cr_assert(WIFSIGNALED(how), "the writer ended by itself");
        acknowledged = last_told(told, acknowledged);
        struct store *store;
        struct store_table *table;
        ok(open_store(false, durable, &store, &table));
        uint32_t found = read_round(store, table);
        cr_assert(found == acknowledged || found == acknowledged + 1, "told %u, found %u",
                  acknowledged, found);
        acknowledged = found;
        store_close(store);
    }
    cr_assert_gt(acknowledged, 10);
}

Test(store_lmdb_process, a_killed_writer_of_a_fast_store_loses_nothing_it_told)
{
    kill_writers(false, 60);
}

Test(store_lmdb_process, a_killed_writer_of_a_durable_store_loses_nothing_it_told)
{
    kill_writers(true, 30);
}

Test(store_lmdb_process, a_reader_sees_whole_commits_beside_a_living_writer)
{
    int told;
    uint32_t round;
    pid_t pid = start_writer(false, 1, &told);
    cr_assert_eq(read(told, &round, sizeof round), sizeof round);
    struct store *store;
    struct store_table *table;
    ok(open_store(true, false, &store, &table));
    uint32_t first = read_round(store, table);
    cr_assert_geq(first, 1);
    uint32_t last = first;
    for (int i = 0; i < 300; i++) {
        uint32_t seen = read_round(store, table);
        cr_assert_eq(seen, last, "a snapshot moved");
        cr_assert_eq(read(told, &round, sizeof round), sizeof round);
        ok(store_refresh(store, &error));
        last = read_round(store, table);
        cr_assert_geq(last, round, "a refresh did not reach the newest commit");
    }
    cr_assert_eq(kill(pid, SIGKILL), 0);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    ok(store_refresh(store, &error)); /* and after its death */
    cr_assert_geq(read_round(store, table), last);
    store_close(store);
    (void)close(told);
}

Test(store_lmdb_process, a_reader_finds_tables_and_a_map_that_came_after_it)
{
    int ends[2];
    int go[2];
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(pipe(go), 0);
    pid_t pid = test_fork();
    if (pid == 0) {
        struct store *store;
        struct store_table *table;
        char byte;
        child_ok(open_store(false, false, &store, &table));
        write_round(store, table, 1);
        if (write(ends[1], "a", 1) != 1 || read(go[0], &byte, 1) != 1) {
            _exit(3);
        }
        child_ok(store_table_open(store, "other/table", &table, &error));
        child_ok(store_grow(store, &error));
        child_ok(store_begin(store, &error));
        child_ok(store_put(table, bytes_of("k"), bytes_of("v"), &error));
        child_ok(store_commit(store, &error));
        if (write(ends[1], "b", 1) != 1 || read(go[0], &byte, 1) != 1) {
            _exit(3);
        }
        store_close(store);
        _exit(0);
    }
    char byte;
    struct store *store;
    struct store_table *table;
    struct bytes value;
    cr_assert_eq(read(ends[0], &byte, 1), 1);
    ok(open_store(true, false, &store, &table));
    cr_assert_eq(store_table_open(store, "other/table", &table, &error), STATUS_NOT_FOUND);
    cr_assert_eq(write(go[1], "x", 1), 1);
    cr_assert_eq(read(ends[0], &byte, 1), 1);
    ok(store_refresh(store, &error));
    ok(store_table_open(store, "other/table", &table, &error));
    ok(store_get(table, bytes_of("k"), &value, &error));
    cr_assert(bytes_equal(value, bytes_of("v")));
    cr_assert_eq(write(go[1], "x", 1), 1);
    int how;
    cr_assert_eq(waitpid(pid, &how, 0), pid);
    cr_assert(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    store_close(store);
}

Test(store_lmdb_process, without_a_lock_file_it_is_read_only_while_no_writer_lives)
{
    int told;
    uint32_t round;
    pid_t pid = start_writer(false, 1, &told);
    cr_assert_eq(read(told, &round, sizeof round), sizeof round);
    char *lock = memory_format("%s/lock.mdb", folder);
    cr_assert_eq(unlink(lock), 0);
    struct store *store;
    struct store_table *table;
    cr_assert_eq(open_store(true, false, &store, &table), STATUS_FATAL);
    cr_assert_eq(error.code, ERROR_DENIED, "%s", error.text);
    cr_assert_eq(kill(pid, SIGKILL), 0);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    (void)close(told);
    ok(open_store(true, false, &store, &table));
    cr_assert_geq(read_round(store, table), 1);
    store_close(store);
    cr_assert_neq(access(lock, F_OK), 0, "a reader made a lock file");
    free(lock);
}

/* Writes until an error; the error's code is the exit status. */
static void write_until_full(void)
{
    struct store *store;
    struct store_table *table;
    static uint8_t value[100000];
    enum status status = open_store(false, true, &store, &table);
    for (uint32_t i = 0; i < 1000 && status == STATUS_OK; i++) {
        status = store_begin(store, &error);
        if (status == STATUS_OK) {
            status = store_put(table, (struct bytes){&i, sizeof i},
                               (struct bytes){value, sizeof value}, &error);
        }
        if (status == STATUS_OK) {
            status = store_commit(store, &error);
        }
    }
    if (status != STATUS_FATAL) {
        _exit(0);
    }
    int code = (int)error.code;
    store_abort(store);
    /* What was committed is there, and the store works on. */
    uint64_t count = 0;
    child_ok(store_count(table, &count, &error));
    child_ok(store_begin(store, &error));
    child_ok(store_remove(table, (struct bytes){"\0\0\0\0", 4}, &error));
    store_abort(store);
    store_close(store);
    child_ok(open_store(true, true, &store, &table));
    uint64_t again = 0;
    child_ok(store_count(table, &again, &error));
    _exit(again == count && count > 3 ? code : 4);
}

static int exit_of(pid_t pid)
{
    int how;
    cr_assert_eq(waitpid(pid, &how, 0), pid);
    cr_assert(WIFEXITED(how), "ended by signal %d", WTERMSIG(how));
    return WEXITSTATUS(how);
}

static void limit_file_size(void)
{
    struct rlimit limit = {(rlim_t)2 << 20, (rlim_t)2 << 20};
    (void)signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) {
        _exit(3);
    }
}

Test(store_lmdb_process, a_full_disk_is_an_error_and_no_crash)
{
    pid_t pid = test_fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount("tmpfs", folder, "tmpfs", 0, "size=2m,mode=700") != 0) {
            limit_file_size(); /* without the right to mount: the nearest thing */
        }
        write_until_full();
    }
    cr_assert_eq(exit_of(pid), ERROR_DISK_FULL);
}

Test(store_lmdb_process, a_file_size_limit_is_a_full_disk)
{
    pid_t pid = test_fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        limit_file_size();
        write_until_full();
    }
    cr_assert_eq(exit_of(pid), ERROR_DISK_FULL);
}
