/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded broker between processes: kills at any moment, a writer that stands still, full
 * disks. */
#include "broker_steps.h"
#include "local_process.h"
#include "test_folder.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "broker/local_environment.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000, KILLS = 25 };

static int64_t end_of(struct broker *broker, const char *topic)
{
    struct error error;
    int64_t start = 0;
    int64_t end = 0;
    must(broker_log_range(broker, topic, 0, &start, &end, &error));
    return end;
}

static int64_t committed(struct broker *broker)
{
    struct error error;
    struct broker_offset offset = {.topic = "a"};
    must(broker_committed_unstable(broker, "writer", &offset, 1, 1000, &error));
    return offset.offset;
}

Test(broker_local_process, a_kill_at_any_moment_leaves_whole_transactions)
{
    char *folder = test_folder_make();
    const char *words[] = {"write", folder, NULL};
    struct broker *broker = local_open(folder);
    struct random random;
    random_init(&random, 7);
    step_topic(broker, "a", 1);
    step_topic(broker, "b", 1);
    int64_t told = -1;
    for (int i = 0; i < KILLS; i++) {
        struct local_process writer = local_process_start(words);
        char line[64];
        cr_assert(local_process_line(&writer, PATIENCE_MS, line, sizeof line));
        told = strtoll(line, NULL, 10);
        clock_system()->sleep_us(clock_system(), (int64_t)random_below(&random, 20000));
        local_process_kill(&writer);
        while (local_process_line(&writer, 0, line, sizeof line)) {
            told = strtoll(line, NULL, 10);
        }
        int64_t count = end_of(broker, "a");
        cr_assert_eq(end_of(broker, "b"), count);
        cr_assert_eq(committed(broker), count);
        cr_assert_gt(count, told, "a commit that was told is gone");
    }
    struct consumer *reader = step_reader(broker, "b", 0, 0);
    int64_t end = 0;
    char *text = step_read(reader, PATIENCE_MS, &end);
    char *at = text;
    for (int64_t i = 0; i < end; i++) {
        cr_assert_eq(strtoll(at, &at, 10), i);
        at += *at == ',' ? 1 : 0;
    }
    cr_assert_eq(*at, 0);
    cr_assert_geq(end, KILLS);
    free(text);
    consumer_close(reader);
    broker_close(broker);
    test_folder_remove(folder);
}

static void keep_line(void *opaque, const char *line)
{
    char *kept = opaque;
    if (strstr(line, "waiting to write") != NULL) {
        (void)snprintf(kept, 512, "%s", line);
    }
}

Test(broker_local_process, a_writer_that_stands_still_is_named)
{
    char *folder = test_folder_make();
    const char *words[] = {"hold", folder, NULL};
    char kept[512] = "";
    char pid[32];
    char line[64];
    struct error error = {0};
    struct broker *broker = local_open(folder);
    step_topic(broker, "a", 1);
    struct producer *producer = step_producer(broker, "id", PATIENCE_MS);
    must(producer_begin(producer, &error));
    step_send(producer, "a", 0, NULL, "x");
    step_flush(producer, PATIENCE_MS);
    struct local_process holder = local_process_start(words);
    cr_assert(local_process_line(&holder, PATIENCE_MS, line, sizeof line));
    cr_assert_str_eq(line, "held");
    log_set_sink(keep_line, kept);
    int64_t begun = clock_monotonic_ms(clock_system());
    must_be(STATUS_RETRY, producer_commit(producer, 100, &error));
    cr_assert_eq(error.code, ERROR_TIMED_OUT);
    cr_assert_lt(clock_monotonic_ms(clock_system()) - begun, 900);
    must_be(STATUS_RETRY, producer_commit(producer, 1300, &error));
    (void)snprintf(pid, sizeof pid, "%d", (int)holder.pid);
    cr_assert_not_null(strstr(error.text, pid));
    (void)snprintf(pid, sizeof pid, "pid=%d", (int)holder.pid);
    cr_assert_not_null(strstr(kept, pid), "logged: %s", kept);
    local_process_kill(&holder);
    must(producer_commit(producer, 5000, &error)); /* the same call goes on */
    cr_assert_eq(end_of(broker, "a"), 1);
    log_set_sink(NULL, NULL);
    producer_close(producer);
    broker_close(broker);
    test_folder_remove(folder);
}

Test(broker_local_process, a_full_map_grows)
{
    char *folder = test_folder_make();
    struct error error = {0};
    struct broker *broker = local_open(folder);
    struct local_environment *environment = NULL;
    must(local_environment_open(folder, &environment, &error));
    cr_assert_eq(mdb_env_set_mapsize(environment->env, 256 << 10), 0);
    step_topic(broker, "a", 1);
    struct producer *producer = step_producer(broker, "id", PATIENCE_MS);
    char *value = memory_allocate(100001);
    memset(value, 'x', 100000);
    must(producer_begin(producer, &error));
    for (int i = 0; i < 20; i++) {
        step_send(producer, "a", 0, NULL, value);
    }
    step_commit(producer, PATIENCE_MS);
    MDB_envinfo info;
    cr_assert_eq(mdb_env_info(environment->env, &info), 0);
    cr_assert_geq(info.me_mapsize, 2000000);
    cr_assert_eq(end_of(broker, "a"), 20);
    free(value);
    producer_close(producer);
    local_environment_close(environment);
    broker_close(broker);
    test_folder_remove(folder);
}

Test(broker_local_process, a_map_that_another_process_grew_is_taken_over)
{
    char *folder = test_folder_make();
    const char *words[] = {"write", folder, NULL};
    char line[64];
    struct error error = {0};
    struct broker *broker = local_open(folder);
    struct local_environment *environment = NULL;
    must(local_environment_open(folder, &environment, &error));
    step_topic(broker, "a", 1);
    step_topic(broker, "b", 1);
    /* Smaller than what the other process will write: its pages lie beyond this map. */
    cr_assert_eq(mdb_env_set_mapsize(environment->env, 1), 0);
    struct local_process writer = local_process_start(words);
    for (int i = 0; i < 50; i++) {
        cr_assert(local_process_line(&writer, PATIENCE_MS, line, sizeof line));
    }
    local_process_kill(&writer);
    cr_assert_geq(end_of(broker, "a"), 50);
    local_environment_close(environment);
    broker_close(broker);
    test_folder_remove(folder);
}

Test(broker_local_process, a_full_disk_is_said_and_nothing_is_half_written)
{
    char *folder = test_folder_make();
    /* Its own mounts; without root in a user namespace of its own. Where a kernel forbids both
     * there is no small disk to fill. */
    bool own = unshare(CLONE_NEWNS) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
    if (!own || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("leat", folder, "tmpfs", 0, "size=4m,mode=0700") != 0) {
        cr_log_info("no tmpfs: not tested"); /* a warning would fail the program */
        test_folder_remove(folder);
        return;
    }
    struct error error = {0};
    struct broker *broker = local_open(folder);
    step_topic(broker, "a", 1);
    struct producer *producer = step_producer(broker, NULL, PATIENCE_MS);
    char *value = memory_allocate(100001);
    memset(value, 'x', 100000);
    enum status status = STATUS_OK;
    int64_t written = 0;
    for (int i = 0; i < 100 && status == STATUS_OK; i++) {
        step_send(producer, "a", 0, NULL, value);
        status = producer_flush(producer, 1000, &error);
        written += status == STATUS_OK ? 1 : 0;
    }
    must_be(STATUS_FATAL, status);
    cr_assert_eq(error.code, ERROR_DISK_FULL, "%s", error.text);
    cr_assert_not_null(strstr(error.text, folder));
    producer_close(producer);
    cr_assert_eq(end_of(broker, "a"), written);
    struct consumer *reader = step_reader(broker, "a", 0, written - 1);
    char *last = step_read(reader, PATIENCE_MS, NULL);
    cr_assert_str_eq(last, value);
    must(broker_delete_records(broker, "a", 0, written, &error)); /* space comes back */
    producer = step_producer(broker, NULL, PATIENCE_MS);
    step_send(producer, "a", 0, NULL, "again");
    step_flush(producer, PATIENCE_MS);
    free(last);
    free(value);
    consumer_close(reader);
    producer_close(producer);
    broker_close(broker);
    cr_assert_eq(umount(folder), 0);
    test_folder_remove(folder);
}
