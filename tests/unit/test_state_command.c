/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `topology state` as a user calls it, on stores made here as the engine makes them:
 * <state.directory>/<application>/<instance>/<sub-topology>-<partition>/.
 */
#include "base/bytes.h"
#include "state/directory.h"
#include "state/store.h"
#include "test_folder.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct error error;
static char *folder, *file;
static struct buffer out, err;
static int code;

#define ok(call) cr_assert((call) == STATUS_OK, "%s", error.text)

static void setup(void)
{
    folder = test_folder_make();
    file = memory_format("%s/topology.json", folder);
    FILE *json = fopen(file, "w");
    cr_assert_not_null(json);
    (void)fprintf(json,
                  "{\"application\": \"shop\", \"instance\": \"a\",\n"
                  " \"broker\": {\"kind\": \"local\", \"directory\": \"%s/data\"},\n"
                  " \"state\": {\"directory\": \"%s/state\"},\n"
                  " \"sources\": {\"lines\": {\"topic\": \"lines\"}},\n"
                  " \"operators\": {\"count\": {\"use\": \"aggregate\", \"from\": \"lines\",\n"
                  "   \"params\": {\"function\": \"count\"}}},\n"
                  " \"sinks\": {\"counts\": {\"topic\": \"counts\", \"from\": \"count\"}}}\n",
                  folder, folder);
    cr_assert_eq(fclose(json), 0);
}

static void teardown(void)
{
    buffer_finish(&out);
    buffer_finish(&err);
    free(file);
    test_folder_remove(folder);
}

TestSuite(state_command, .init = setup, .fini = teardown);

static void read_all(const char *name, struct buffer *into)
{
    char *path = memory_format("%s/%s", folder, name);
    FILE *in = fopen(path, "rb");
    cr_assert_not_null(in);
    into->size = 0;
    size_t got;
    do {
        got = fread(buffer_extend(into, 4096), 1, 4096, in);
        into->size -= 4096 - got;
    } while (got > 0);
    (void)fclose(in);
    free(path);
}

/* Runs `topology state FILE arguments`; fills out, err, code. The arguments go through the shell.
 */
static void state(const char *arguments)
{
    char *command = memory_format("exec %s/topology state %s %s >%s/out 2>%s/err", LEAT_BINARY_DIR,
                                  file, arguments, folder, folder);
    pid_t pid = test_fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    int how;
    cr_assert_eq(waitpid(pid, &how, 0), pid);
    cr_assert(WIFEXITED(how), "%s", command);
    code = WEXITSTATUS(how);
    free(command);
    read_all("out", &out);
    read_all("err", &err);
}

static void expect(const char *arguments, int wanted_code, const char *wanted)
{
    state(arguments);
    cr_assert_eq(code, wanted_code, "%s: exit %d: %s", arguments, code, buffer_text(&err));
    cr_assert_str_eq(buffer_text(&out), wanted, "%s: %s", arguments, buffer_text(&err));
    cr_assert(wanted_code == 0 ? err.size == 0 : err.size > 0 || wanted_code == 1, "%s: stderr: %s",
              arguments, buffer_text(&err));
}

struct task {
    struct store *store;
    struct store_table *table, *timers;
};

static void task_open(struct task *task, const char *instance, const char *name)
{
    char *path = memory_format("%s/state/shop/%s/%s", folder, instance, name);
    struct store_options options = {.durable = false};
    ok(directory_make(path, &error));
    ok(store_lmdb_open(path, &options, &task->store, &error));
    ok(store_table_open(task->store, "count/state", &task->table, &error));
    ok(store_table_open(task->store, ".timers", &task->timers, &error));
    ok(store_begin(task->store, &error));
    free(path);
}

static void put(struct task *task, const char *key, const char *value)
{
    ok(store_put(task->table, bytes_of(key), bytes_of(value), &error));
}

static void task_commit(struct task *task, uint64_t sequence)
{
    uint8_t number[8];
    put_u64(number, sequence);
    ok(store_meta_put(task->store, "sequence", (struct bytes){number, 8}, &error));
    ok(store_commit(task->store, &error));
    store_close(task->store);
}

/* Two tasks: the first with a, b, c, the second with b, d. */
static void make_tasks(void)
{
    struct task task;
    task_open(&task, "a", "lines-0");
    put(&task, "a", "1");
    put(&task, "b", "2");
    put(&task, "c", "3");
    ok(store_put(task.timers, bytes_of("t"), bytes_of("t"), &error));
    task_commit(&task, 5);
    task_open(&task, "a", "lines-10");
    put(&task, "d", "4");
    put(&task, "b", "5");
    task_commit(&task, 5);
}

Test(state_command, no_state_yet_is_said_clearly)
{
    expect("list", 1, "");
    cr_assert_not_null(strstr(buffer_text(&err), "no state yet"), "%s", buffer_text(&err));
    expect("get count/state a", 1, "");
    cr_assert_not_null(strstr(buffer_text(&err), "no state yet"));
}

Test(state_command, lists_counts_and_gets)
{
    make_tasks();
    expect("list", 0, "count/state\t5 keys\t2 tasks\n");
    expect("list --json", 0,
           "{\"store\":\"count/state\",\"task\":\"lines-0\",\"partition\":0,\"count\":3}\n"
           "{\"store\":\"count/state\",\"task\":\"lines-10\",\"partition\":10,\"count\":2}\n");
    expect("count count/state", 0, "5\n");
    expect("count count/state --partition 10", 0, "2\n");
    expect("get count/state a", 0, "a\t1\n");
    expect("get count/state b", 0, "b\t2\nb\t5\n");
    expect("get count/state b --partition 10", 0, "b\t5\n");
    expect("get count/state b --json", 0,
           "{\"key\":\"b\",\"value\":\"2\",\"task\":\"lines-0\",\"partition\":0}\n"
           "{\"key\":\"b\",\"value\":\"5\",\"task\":\"lines-10\",\"partition\":10}\n");
    expect("get count/state hex:61", 0, "a\t1\n");
    expect("get count/state absent", 1, "");
    cr_assert_eq(err.size, 0);
    expect("get count/state a --partition 3", 1, "");
}

Test(state_command, scans_in_both_directions_within_bounds)
{
    make_tasks();
    expect("scan count/state", 0, "a\t1\nb\t2\nc\t3\nb\t5\nd\t4\n");
    expect("scan count/state --reverse", 0, "c\t3\nb\t2\na\t1\nd\t4\nb\t5\n");
    expect("scan count/state --from b --to d", 0, "b\t2\nc\t3\nb\t5\n");
    expect("scan count/state --from b --reverse --partition 0", 0, "c\t3\nb\t2\n");
    expect("scan count/state --prefix hex:62", 0, "b\t2\nb\t5\n");
    expect("scan count/state --prefix hex:ff", 0, "");
    expect("scan count/state --count 4", 0, "a\t1\nb\t2\nc\t3\nb\t5\n");
    expect("scan count/state --count 0", 0, "");
}

Test(state_command, wrong_words_are_usage_errors_that_name_the_right_ones)
{
    make_tasks();
    expect("scan count/stat", 2, "");
    cr_assert_not_null(strstr(buffer_text(&err), "count/state"), "%s", buffer_text(&err));
    cr_assert_null(strstr(buffer_text(&err), ".timers"));
    expect("scan .timers", 2, "");
    expect("scan =metadata", 2, "");
    expect("show", 2, "");
    expect("get count/state", 2, "");
    expect("get count/state hex:6", 2, "");
    expect("get count/state hex:", 2, "");
    expect("get count/state ''", 2, "");
    expect("get count/state a --from b", 2, "");
    expect("scan count/state --prefix a --to b", 2, "");
    expect("scan count/state --count x", 2, "");
    expect("scan count/state --partition -1", 2, "");
}

Test(state_command, text_output_can_be_told_apart_byte_by_byte)
{
    struct task task;
    task_open(&task, "a", "lines-0");
    put(&task, "tab\there", "line\nbreak");
    put(&task, "back\\slash",
        "gr\xc3\xbc\xc3\x9f"
        "e \xe2\x82\xac \xf0\x9f\x98\x80");
    put(&task, "z\xff\xc3", "\x1b[31m\x7f\xc2\x85\xed\xa0\x80\xc0\xaf");
    ok(store_put(task.table, bytes_of("zzz"), (struct bytes){"\0\x01", 2}, &error));
    ok(store_put(task.table, bytes_of("zzzz"), (struct bytes){"", 0}, &error));
    task_commit(&task, 1);
    expect("scan count/state", 0,
           "back\\x5cslash\tgr\xc3\xbc\xc3\x9f"
           "e \xe2\x82\xac \xf0\x9f\x98\x80\n"
           "tab\\x09here\tline\\x0abreak\n"
           "zzz\t\\x00\\x01\n"
           "zzzz\t\n"
           "z\\xff\\xc3\t\\x1b[31m\\x7f\\xc2\\x85\\xed\\xa0\\x80\\xc0\\xaf\n");
    expect("scan count/state --json --from z", 0,
           "{\"key\":\"zzz\",\"value\":\"\\u0000\\u0001\",\"task\":\"lines-0\",\"partition\":0}\n"
           "{\"key\":\"zzzz\",\"value\":\"\",\"task\":\"lines-0\",\"partition\":0}\n"
           "{\"key_base64\":\"ev/D\",\"value_base64\":\"G1szMW1/woXtoIDArw==\","
           "\"task\":\"lines-0\",\"partition\":0}\n");
    expect("get count/state 'back\\slash' --json", 0,
           "{\"key\":\"back\\\\slash\",\"value\":\"gr\xc3\xbc\xc3\x9f"
           "e \xe2\x82\xac \xf0\x9f\x98\x80\",\"task\":\"lines-0\",\"partition\":0}\n");
}

Test(state_command, of_several_copies_of_a_task_the_newest_counts)
{
    struct task task;
    make_tasks();
    task_open(&task, "b", "lines-0");
    put(&task, "a", "newer");
    task_commit(&task, 6);
    task_open(&task, "c", "lines-0");
    put(&task, "a", "older");
    task_commit(&task, 4);
    task_open(&task, "b", "lines-10.aside-1");
    put(&task, "a", "aside");
    task_commit(&task, 100);
    expect("scan count/state", 0, "a\tnewer\nb\t5\nd\t4\n");
}

Test(state_command, open_transactions_are_not_seen_and_the_writer_is_not_disturbed)
{
    struct task task;
    make_tasks();
    pid_t pid;
    int ready[2];
    int done[2];
    cr_assert(pipe(ready) == 0 && pipe(done) == 0);
    pid = test_fork();
    if (pid == 0) {
        char byte;
        char *path = memory_format("%s/state/shop/a/lines-0", folder);
        struct directory *directory;
        if (directory_lock(path, &directory, NULL, &error) != STATUS_OK) {
            _exit(2);
        }
        task_open(&task, "a", "lines-0");
        put(&task, "uncommitted", "x");
        if (write(ready[1], "x", 1) != 1 || read(done[0], &byte, 1) != 1) {
            _exit(3);
        }
        task_commit(&task, 6);
        _exit(0);
    }
    char byte;
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    expect("scan count/state --partition 0", 0, "a\t1\nb\t2\nc\t3\n");
    cr_assert_eq(write(done[1], "x", 1), 1);
    int how;
    cr_assert_eq(waitpid(pid, &how, 0), pid);
    cr_assert(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    expect("get count/state uncommitted", 0, "uncommitted\tx\n");
}

Test(state_command, a_damaged_copy_is_named_and_the_others_are_shown)
{
    make_tasks();
    char *path = memory_format("%s/state/shop/a/lines-0/data.mdb", folder);
    cr_assert_eq(truncate(path, 5000), 0);
    state("scan count/state");
    cr_assert_eq(code, 1);
    cr_assert_str_eq(buffer_text(&out), "b\t5\nd\t4\n");
    cr_assert_not_null(strstr(buffer_text(&err), "lines-0"), "%s", buffer_text(&err));
    free(path);
}

Test(state_command, a_scan_longer_than_a_snapshot_shows_every_row_once)
{
    enum { ROWS = 25000 };
    struct task task;
    char key[16];
    task_open(&task, "a", "lines-0");
    for (int i = 0; i < ROWS; i++) {
        (void)snprintf(key, sizeof key, "%06d", i);
        put(&task, key, "v");
    }
    task_commit(&task, 1);
    for (int reverse = 0; reverse < 2; reverse++) {
        state(reverse == 0 ? "scan count/state" : "scan count/state --reverse");
        cr_assert_eq(code, 0);
        const char *at = buffer_text(&out);
        for (int i = 0; i < ROWS; i++) {
            int used = snprintf(key, sizeof key, "%06d\tv\n", reverse == 0 ? i : ROWS - 1 - i);
            cr_assert_eq(strncmp(at, key, (size_t)used), 0, "row %d: %.9s", i, at);
            at += used;
        }
        cr_assert_eq(*at, '\0');
    }
}
