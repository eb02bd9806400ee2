/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast the embedded broker is: local_speed DIR [RECORDS]. Writes 116-byte records (16 B key,
 * 100 B value) into four partitions in transactions of 100,000, reads them, and passes them on with
 * offsets, exactly once.
 */
#include "base/clock.h"
#include "broker/broker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARTITIONS = 4, BATCH = 100000 };

static struct error error;

static void must_at(enum status status, const char *what)
{
    if (status != STATUS_OK) {
        (void)fprintf(stderr, "%s: %s\n", what, error.text);
        exit(1);
    }
}
#define MUST(call) must_at((call), #call)

static void report(const char *what, int64_t count, int64_t begun_us)
{
    double seconds = (double)(clock_monotonic_us(clock_system()) - begun_us) / 1e6;
    (void)printf("%-12s %lld records in %.3f s: %.0f/s\n", what, (long long)count, seconds,
                 (double)count / seconds);
}

static void write_all(struct producer *producer, uint32_t topic, int64_t count)
{
    char key[16] = "kkkkkkkkkkkkkkk";
    char value[100];
    memset(value, 'x', sizeof value);
    int64_t begun_us = clock_monotonic_us(clock_system());
    for (int64_t i = 0; i < count;) {
        MUST(producer_begin(producer, &error));
        for (int64_t end = i + BATCH; i < end && i < count; i++) {
            memcpy(key, &i, sizeof i);
            const struct broker_output output = {.topic = topic,
                                                 .partition = (int32_t)(i % PARTITIONS),
                                                 .key = {key, sizeof key},
                                                 .value = {value, sizeof value},
                                                 .timestamp_ms = -1};
            MUST(producer_send(producer, &output, &error));
        }
        MUST(producer_flush(producer, 10000, &error));
        MUST(producer_commit(producer, 10000, &error));
    }
    report("produce", count, begun_us);
}

static void assign(struct consumer *consumer)
{
    struct consumer_assignment assignment[PARTITIONS] = {0};
    for (int32_t i = 0; i < PARTITIONS; i++) {
        assignment[i] =
            (struct consumer_assignment){.topic = "in", .partition = i, .slot = (uint32_t)i};
    }
    MUST(consumer_assign(consumer, assignment, PARTITIONS, &error));
}

static void read_all(struct broker *broker)
{
    const struct consumer_options plain = {0};
    struct consumer *consumer = NULL;
    int64_t count = 0;
    MUST(consumer_open(broker, &plain, &consumer, &error));
    assign(consumer);
    int64_t begun_us = clock_monotonic_us(clock_system());
    for (int ends = 0; ends < PARTITIONS;) {
        struct consumer_event event;
        MUST(consumer_poll(consumer, 100, &event, &error));
        if (event.kind == CONSUMER_RECORD) {
            consumer_release(consumer, &event.record);
            count++;
        }
        ends += event.kind == CONSUMER_END ? 1 : 0;
    }
    report("consume", count, begun_us);
    consumer_close(consumer);
}

static void commit(struct producer *producer, struct consumer *consumer, const int64_t *next)
{
    struct broker_offset offsets[PARTITIONS] = {0};
    for (int32_t i = 0; i < PARTITIONS; i++) {
        offsets[i] = (struct broker_offset){.topic = "in", .partition = i, .offset = next[i]};
    }
    MUST(producer_flush(producer, 10000, &error));
    MUST(producer_send_offsets(producer, consumer, offsets, PARTITIONS, &error));
    MUST(producer_commit(producer, 10000, &error));
}

static void pass_all(struct broker *broker, struct producer *producer, uint32_t topic)
{
    static const char *const topics[] = {"in"};
    const struct consumer_options options = {
        .group = "speed", .instance_id = "a-0", .topics = topics, .topic_count = 1};
    struct consumer *consumer = NULL;
    struct consumer_event event;
    int64_t next[PARTITIONS] = {0};
    int64_t count = 0;
    MUST(consumer_open(broker, &options, &consumer, &error));
    do {
        MUST(consumer_poll(consumer, 100, &event, &error));
    } while (event.kind != CONSUMER_ASSIGNED);
    assign(consumer);
    int64_t begun_us = clock_monotonic_us(clock_system());
    MUST(producer_begin(producer, &error));
    for (int ends = 0; ends < PARTITIONS;) {
        MUST(consumer_poll(consumer, 100, &event, &error));
        ends += event.kind == CONSUMER_END ? 1 : 0;
        if (event.kind != CONSUMER_RECORD) {
            continue;
        }
        const struct broker_output output = {.topic = topic,
                                             .partition = (int32_t)event.slot,
                                             .key = event.record.key,
                                             .value = event.record.value,
                                             .timestamp_ms = event.record.timestamp_ms};
        MUST(producer_send(producer, &output, &error));
        next[event.slot] = event.record.offset + 1;
        consumer_release(consumer, &event.record);
        if (++count % BATCH == 0) {
            commit(producer, consumer, next);
            MUST(producer_begin(producer, &error));
        }
    }
    commit(producer, consumer, next);
    report("pass through", count, begun_us);
    consumer_close(consumer);
}

int main(int argc, char **argv)
{
    struct broker *broker = NULL;
    struct producer *producer = NULL;
    uint32_t in = 0;
    uint32_t out = 0;
    int32_t partitions = 0;
    if (argc < 2) {
        (void)fprintf(stderr, "usage: local_speed DIR [RECORDS]\n");
        return 2;
    }
    const struct broker_settings settings = {.directory = argv[1],
                                             .connect_timeout_ms = 1000,
                                             .session_timeout_ms = 10000,
                                             .transaction_timeout_ms = 10000,
                                             .callback_timeout_ms = 300000,
                                             .prefetch_size = 64 << 20};
    MUST(broker_local_open(&settings, &broker, &error));
    MUST(broker_topic_create(broker, "in", PARTITIONS, -1, NULL, 0, &error));
    MUST(broker_topic_create(broker, "out", PARTITIONS, -1, NULL, 0, &error));
    MUST(producer_open(broker, "speed/a/0", &producer, &error));
    MUST(producer_topic(producer, "in", &in, &partitions, &error));
    MUST(producer_topic(producer, "out", &out, &partitions, &error));
    write_all(producer, in, argc > 2 ? strtoll(argv[2], NULL, 10) : 3000000);
    read_all(broker);
    pass_all(broker, producer, out);
    producer_close(producer);
    broker_close(broker);
    return 0;
}
