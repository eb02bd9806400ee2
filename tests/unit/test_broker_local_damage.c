/* SPDX-License-Identifier: Apache-2.0 */
/* Directories of the local broker that must not be trusted: each ends in an error that names the
 * directory and the remedy, never in a signal or an assert, which would end this program. */
#include "base/lmdb_check.h"
#include "broker/local_log.h"
#include "broker_steps.h"
#include "test_folder.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATIENCE_MS = 20000, PAGE = 4096 };

static char *folder, *file;
static struct error error;

static struct broker_settings settings_of(void)
{
    return (struct broker_settings){
        .directory = folder,
        .connect_timeout_ms = 1000,
        .session_timeout_ms = 10000,
        .transaction_timeout_ms = 10000,
        .callback_timeout_ms = 10000,
        .prefetch_size = 1 << 20,
    };
}

static enum status try_open(struct broker **broker)
{
    struct broker_settings settings = settings_of();
    memset(&error, 0, sizeof error);
    return broker_local_open(&settings, broker, &error);
}

static void setup(void)
{
    struct broker *broker = NULL;
    folder = test_folder_make();
    file = memory_format("%s/%s", folder, LMDB_FILE);
    cr_assert_eq(try_open(&broker), STATUS_OK, "%s", error.text);
    step_topic(broker, "t", 1);
    struct producer *producer = step_producer(broker, "id", PATIENCE_MS);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
        step_send(producer, "t", 0, NULL, "some value");
        step_commit(producer, PATIENCE_MS);
    }
    producer_close(producer);
    broker_close(broker);
}

static void teardown(void)
{
    free(file);
    test_folder_remove(folder);
}

TestSuite(broker_local_damage, .init = setup, .fini = teardown);

static void expect_refusal(void)
{
    struct broker *broker = NULL;
    cr_assert_eq(try_open(&broker), STATUS_FATAL);
    cr_assert_eq(error.code, ERROR_CORRUPT, "%s", error.text);
    cr_assert_not_null(strstr(error.text, folder), "%s", error.text);
    cr_assert_not_null(strstr(error.text, "delete it"), "%s", error.text);
}

static off_t file_size(void)
{
    struct stat facts;
    cr_assert_eq(stat(file, &facts), 0);
    return facts.st_size;
}

Test(broker_local_damage, a_file_that_was_cut_is_refused_with_the_remedy)
{
    off_t size = file_size();
    for (off_t cut = size - PAGE; cut > 0; cut -= PAGE + 100) {
        cr_assert_eq(truncate(file, cut), 0);
        struct broker *broker = NULL;
        if (try_open(&broker) == STATUS_OK) { /* what was cut off was not in use */
            broker_close(broker);
            cr_assert_gt(cut, size / 2, "half of it was cut off and nothing was missed");
        } else {
            expect_refusal();
        }
    }
}

Test(broker_local_damage, a_file_of_something_else_is_refused_with_the_remedy)
{
    int garbage = open(file, O_WRONLY | O_TRUNC);
    cr_assert(garbage >= 0);
    char line[PAGE];
    memset(line, 'x', sizeof line);
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(write(garbage, line, sizeof line), (ssize_t)sizeof line);
    }
    (void)close(garbage);
    expect_refusal();
}

Test(broker_local_damage, a_page_of_zeros_is_refused_or_was_not_in_use)
{
    off_t size = file_size();
    char zeros[PAGE] = {0};
    char old[PAGE];
    int refused = 0;
    for (off_t at = 0; at + PAGE <= size; at += PAGE) {
        int data = open(file, O_RDWR);
        cr_assert_eq(pread(data, old, PAGE, at), PAGE);
        cr_assert_eq(pwrite(data, zeros, PAGE, at), PAGE);
        struct broker *broker = NULL;
        if (try_open(&broker) == STATUS_OK) {
            broker_close(broker);
        } else {
            expect_refusal();
            refused++;
        }
        cr_assert_eq(pwrite(data, old, PAGE, at), PAGE);
        (void)close(data);
    }
    cr_assert_geq(refused, 5);
}

/* ---- Rows that no version can have written ---- */

static enum status put_row(struct local_environment *environment, MDB_txn *txn, void *argument,
                           struct error *own)
{
    (void)argument;
    (void)own;
    struct local_topic topic;
    struct local_partition row = {.start = 3, .end = 2};
    uint8_t key[8] = {0};
    cr_assert_eq(local_topic_find(environment, txn, "t", &topic, own), STATUS_OK);
    put_u32(key, topic.id);
    MDB_val at = local_val(key, sizeof key);
    MDB_val value = local_val(&row, sizeof row);
    cr_assert_eq(mdb_put(txn, environment->partitions, &at, &value, 0), 0);
    topic.partition_count = 0;
    at = local_val("t", 1);
    value = local_val(&topic, sizeof topic);
    cr_assert_eq(mdb_put(txn, environment->topics, &at, &value, 0), 0);
    return STATUS_OK;
}

Test(broker_local_damage, rows_that_cannot_be_are_corrupt_and_not_an_assert)
{
    struct broker *broker = NULL;
    struct local_environment *environment = NULL;
    struct broker_topic topic;
    struct local_partition row;
    MDB_txn *txn = NULL;
    char **names = NULL;
    size_t count = 0;
    cr_assert_eq(try_open(&broker), STATUS_OK);
    cr_assert_eq(local_environment_open(folder, &environment, &error), STATUS_OK);
    cr_assert_eq(local_write(environment, PATIENCE_MS, put_row, NULL, &error), STATUS_OK);
    cr_expect_eq(broker_topic_get(broker, "t", &topic, &error), STATUS_FATAL);
    cr_expect_eq(error.code, ERROR_CORRUPT, "%s", error.text);
    cr_expect_eq(broker_topic_list(broker, &names, &count, &error), STATUS_FATAL);
    cr_expect_eq(error.code, ERROR_CORRUPT, "%s", error.text);
    cr_assert_eq(local_read_begin(environment, &txn, &error), STATUS_OK);
    cr_expect_eq(local_partition_get(environment, txn, 1, 0, &row, &error), STATUS_FATAL);
    cr_expect_eq(error.code, ERROR_CORRUPT, "%s", error.text);
    local_read_end(environment, txn);
    local_environment_close(environment);
    broker_close(broker);
}
