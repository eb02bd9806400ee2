/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory of the local broker, damaged in every way, opened as every command does. Whatever was
 * done to its file, opening ends in a broker or in an error that names the directory and the
 * remedy; and then each question to the broker and a whole read of the log end in an answer or an
 * error, without a signal.
 * Inputs are those of fuzz_image.h.
 */
#include "base/log.h"
#include "broker/broker.h"

#include "fuzz_image.h"

#include <stdlib.h>

enum { BATCHES = 12 };

static struct fuzz_image image;

static void finish(void)
{
    fuzz_image_finish(&image);
}

static enum status open_broker(struct broker **broker, struct error *error)
{
    const struct broker_settings settings = {
        .directory = image.folder,
        .connect_timeout_ms = 1000,
        .session_timeout_ms = 10000,
        .transaction_timeout_ms = 10000,
        .callback_timeout_ms = 10000,
        .prefetch_size = 1 << 20,
    };
    return broker_local_open(&settings, broker, error);
}

static void write_batches(struct broker *broker)
{
    struct error error;
    struct producer *producer = NULL;
    uint32_t topic = 0;
    int32_t partitions = 0;
    static uint8_t value[3000];
    ensure(producer_open(broker, "id", &producer, &error) == STATUS_OK);
    ensure(producer_topic(producer, "t", &topic, &partitions, &error) == STATUS_OK);
    for (int i = 0; i < BATCHES; i++) {
        struct header header = {"h", {"x", 1}};
        struct broker_output output = {.topic = topic,
                                       .partition = i % 2,
                                       .key = {"key", 3},
                                       .value = {value, i % 3 == 0 ? sizeof value : 20},
                                       .headers = &header,
                                       .header_count = 1,
                                       .timestamp_ms = 1000 + i};
        ensure(producer_begin(producer, &error) == STATUS_OK);
        ensure(producer_send(producer, &output, &error) == STATUS_OK);
        ensure(producer_commit(producer, 10000, &error) == STATUS_OK);
    }
    producer_close(producer);
}

static void make_image(void)
{
    struct error error;
    struct broker *broker = NULL;
    log_set_level(LOG_ERROR);
    image.folder = test_folder_make();
    ensure(open_broker(&broker, &error) == STATUS_OK);
    ensure(broker_topic_create(broker, "t", 2, -1, NULL, 0, &error) == STATUS_OK);
    ensure(broker_topic_create(broker, "other", 1, -1, NULL, 0, &error) == STATUS_OK);
    write_batches(broker);
    broker_close(broker);
    fuzz_image_take(&image, 8);
    ensure(atexit(finish) == 0);
}

static bool answered(enum status status, const struct error *error)
{
    if (status == STATUS_OK || status == STATUS_NOT_FOUND) {
        return status == STATUS_OK;
    }
    fuzz_check_refusal(status, error);
    return false;
}

static void read_partition(struct broker *broker, int32_t partition, int64_t start)
{
    struct error error = {0};
    struct consumer *consumer = NULL;
    const struct consumer_options options = {0};
    const struct consumer_assignment assignment = {
        .topic = "t", .partition = partition, .offset = start};
    if (!answered(consumer_open(broker, &options, &consumer, &error), &error)) {
        return;
    }
    enum status status = consumer_assign(consumer, &assignment, 1, &error);
    bool more = answered(status, &error);
    for (int i = 0; more && i < 1000; i++) {
        struct consumer_event event;
        more = answered(consumer_poll(consumer, 0, &event, &error), &error) &&
               event.kind == CONSUMER_RECORD;
        if (more) {
            consumer_release(consumer, &event.record);
        }
    }
    consumer_close(consumer);
}

static void ask(struct broker *broker)
{
    struct error error = {0};
    struct broker_topic topic;
    struct broker_offset offset = {.topic = "t"};
    char **names = NULL;
    size_t count = 0;
    int64_t start = 0;
    int64_t end = 0;
    (void)answered(broker_topic_get(broker, "t", &topic, &error), &error);
    (void)answered(broker_committed_unstable(broker, "g", &offset, 1, 1000, &error), &error);
    if (answered(broker_topic_list(broker, &names, &count, &error), &error)) {
        for (size_t i = 0; i < count; i++) {
            free(names[i]);
        }
        free(names);
    }
    for (int32_t partition = 0; partition < 2; partition++) {
        if (answered(broker_log_range(broker, "t", partition, &start, &end, &error), &error)) {
            ensure(start >= 0 && start <= end);
            read_partition(broker, partition, start);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size > FUZZ_INPUT_MOST ? FUZZ_INPUT_MOST : size};
    struct broker *broker = NULL;
    struct error error = {0};
    if (image.data == NULL) {
        make_image();
    }
    fuzz_image_damage(&image, &input);
    enum status status = open_broker(&broker, &error);
    if (status == STATUS_OK) {
        ask(broker);
        broker_close(broker);
    } else {
        fuzz_check_refusal(status, &error);
        ensure(strstr(error.text, image.folder) != NULL);
    }
    return 0;
}
