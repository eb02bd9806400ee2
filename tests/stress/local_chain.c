/* SPDX-License-Identifier: Apache-2.0 */
#include "local_chain.h"

#include "base/clock.h"
#include "base/random.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALL_MS = 5000 };

_Noreturn void chain_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)fprintf(stderr, "FAILED: ");
    (void)vfprintf(stderr, format, arguments);
    (void)fprintf(stderr, "\n");
    va_end(arguments);
    exit(1);
}

static void must_at(enum status status, const struct error *error, const char *what)
{
    if (status != STATUS_OK) {
        chain_fail("%s: %s", what, error->text);
    }
}
#define MUST(call) must_at((call), &error, #call)

struct broker *chain_open(const char *directory)
{
    const struct broker_settings settings = {.directory = directory,
                                             .connect_timeout_ms = 1000,
                                             .session_timeout_ms = 1500,
                                             .transaction_timeout_ms = 10000,
                                             .callback_timeout_ms = 10000,
                                             .prefetch_size = 1 << 20};
    struct broker *broker = NULL;
    struct error error;
    MUST(broker_local_open(&settings, &broker, &error));
    return broker;
}

void chain_topics(struct broker *broker)
{
    struct error error;
    MUST(broker_topic_create(broker, "in", CHAIN_PARTITIONS, -1, NULL, 0, &error));
    MUST(broker_topic_create(broker, "out", CHAIN_PARTITIONS, -1, NULL, 0, &error));
}

/* ---- A worker ---- */

struct worker {
    struct broker *broker;
    struct consumer *consumer;
    struct producer *producer;
    struct random random;
    uint32_t topic;
    bool open;
    int64_t positions[CHAIN_PARTITIONS]; /* -1: not assigned */
    int records;
};

static enum status worker_open(struct worker *worker, int number, struct error *error)
{
    static const char *const topics[] = {"in"};
    char id[32];
    char instance[32];
    int32_t count = 0;
    (void)snprintf(id, sizeof id, "chain/%d", number);
    (void)snprintf(instance, sizeof instance, "w-%d", number);
    struct consumer_options options = {
        .group = "chain", .instance_id = instance, .topics = topics, .topic_count = 1};
    options.instance_id = random_below(&worker->random, 2) == 0 ? instance : NULL;
    worker->open = false;
    worker->records = 0;
    enum status status = producer_open(worker->broker, id, &worker->producer, error);
    if (status == STATUS_OK) {
        status = producer_topic(worker->producer, "out", &worker->topic, &count, error);
    }
    if (status == STATUS_OK) {
        status = consumer_open(worker->broker, &options, &worker->consumer, error);
    }
    return status;
}

static void worker_close(struct worker *worker)
{
    consumer_close(worker->consumer);
    producer_close(worker->producer);
    worker->consumer = NULL;
    worker->producer = NULL;
}

/* Reads the committed offsets and goes on from there. */
static enum status worker_assign(struct worker *worker, const struct consumer_event *event,
                                 struct error *error)
{
    struct broker_offset offsets[CHAIN_PARTITIONS] = {0};
    struct consumer_assignment assignment[CHAIN_PARTITIONS] = {0};
    size_t count = event->partition_count;
    for (int i = 0; i < CHAIN_PARTITIONS; i++) {
        worker->positions[i] = -1;
    }
    for (size_t i = 0; i < count; i++) {
        offsets[i].topic = "in";
        offsets[i].partition = event->partitions[i].partition;
    }
    enum status status = consumer_committed(worker->consumer, offsets, count, CALL_MS, error);
    for (size_t i = 0; i < count; i++) {
        int64_t offset = offsets[i].offset < 0 ? 0 : offsets[i].offset;
        worker->positions[offsets[i].partition] = offset;
        assignment[i] = (struct consumer_assignment){.topic = "in",
                                                     .partition = offsets[i].partition,
                                                     .slot = (uint32_t)offsets[i].partition,
                                                     .offset = offset};
    }
    return status == STATUS_OK ? consumer_assign(worker->consumer, assignment, count, error)
                               : status;
}

static enum status worker_commit(struct worker *worker, struct error *error)
{
    struct broker_offset offsets[CHAIN_PARTITIONS] = {0};
    size_t count = 0;
    if (!worker->open) {
        return STATUS_OK;
    }
    for (int32_t i = 0; i < CHAIN_PARTITIONS; i++) {
        if (worker->positions[i] >= 0) {
            offsets[count].topic = "in";
            offsets[count].partition = i;
            offsets[count++].offset = worker->positions[i];
        }
    }
    enum status status = producer_flush(worker->producer, CALL_MS, error);
    if (status == STATUS_OK) {
        status = producer_send_offsets(worker->producer, worker->consumer, offsets, count, error);
    }
    if (status == STATUS_OK && random_below(&worker->random, 20) == 0) {
        return error_set(error, STATUS_ABORT, ERROR_STOPPED, "abandoned on purpose");
    }
    if (status == STATUS_OK) {
        status = producer_commit(worker->producer, CALL_MS, error);
    }
    worker->open = status != STATUS_OK;
    worker->records = 0;
    return status;
}

static enum status worker_pass(struct worker *worker, struct consumer_event *event,
                               struct error *error)
{
    enum status status = STATUS_OK;
    if (!worker->open) {
        status = producer_begin(worker->producer, error);
        worker->open = status == STATUS_OK;
    }
    const struct broker_output output = {.topic = worker->topic,
                                         .partition = (int32_t)event->slot,
                                         .value = event->record.value,
                                         .timestamp_ms = event->record.timestamp_ms};
    if (status == STATUS_OK) {
        status = producer_send(worker->producer, &output, error);
    }
    if (event->record.offset != worker->positions[event->slot]) {
        chain_fail("offset %lld of partition %u, expected %lld", (long long)event->record.offset,
                   event->slot, (long long)worker->positions[event->slot]);
    }
    worker->positions[event->slot] = event->record.offset + 1;
    worker->records += 1;
    consumer_release(worker->consumer, &event->record);
    return status;
}

static enum status worker_step(struct worker *worker, int most, struct error *error)
{
    struct consumer_event event;
    enum status status = consumer_poll(worker->consumer, worker->open ? 0 : 20, &event, error);
    if (status != STATUS_OK) {
        return status;
    }
    switch (event.kind) {
    case CONSUMER_ASSIGNED:
        return worker_assign(worker, &event, error);
    case CONSUMER_REVOKED:
        status = worker_commit(worker, error);
        return status == STATUS_OK ? consumer_unassign(worker->consumer, error) : status;
    case CONSUMER_LOST:
        return error_set(error, STATUS_ABORT, ERROR_NOT_OWNER, "lost");
    case CONSUMER_OFFSET_LOST:
        chain_fail("offset %lld is lost", (long long)event.offset);
    case CONSUMER_RECORD:
        status = worker_pass(worker, &event, error);
        return status == STATUS_OK && worker->records >= most ? worker_commit(worker, error)
                                                              : status;
    default:
        return worker_commit(worker, error);
    }
}

void chain_work(const char *directory, int number, uint64_t seed, const atomic_bool *stop)
{
    struct worker worker = {0};
    struct error error = {0};
    random_init(&worker.random, seed);
    worker.broker = chain_open(directory);
    while (!atomic_load(stop)) {
        enum status status = worker_open(&worker, number, &error);
        int most = 1 + (int)random_below(&worker.random, 3000);
        while (status == STATUS_OK && !atomic_load(stop)) {
            status = worker_step(&worker, most, &error);
            if (random_below(&worker.random, 200000) == 0) {
                break; /* a restart without any reason */
            }
        }
        bool known = status == STATUS_OK || status == STATUS_RETRY || status == STATUS_ABORT ||
                     error.code == ERROR_FENCED || error.code == ERROR_FENCED_INSTANCE;
        if (!known) {
            chain_fail("worker %d: %s", number, error.text);
        }
        worker_close(&worker);
    }
    broker_close(worker.broker);
}

/* ---- Sources and the end ---- */

void chain_write(const char *directory, int source, int64_t count, uint64_t seed)
{
    struct broker *broker = chain_open(directory);
    struct producer *producer = NULL;
    struct error error = {0};
    struct random random;
    struct broker_output output = {.timestamp_ms = -1};
    char id[32];
    int32_t partitions = 0;
    random_init(&random, seed);
    (void)snprintf(id, sizeof id, "source/%d", source);
    MUST(producer_open(broker, id, &producer, &error));
    MUST(producer_topic(producer, "in", &output.topic, &partitions, &error));
    for (int64_t next = 0; next < count;) {
        int64_t size = 1 + (int64_t)random_below(&random, 2000);
        size = size < count - next ? size : count - next;
        MUST(producer_begin(producer, &error));
        for (int64_t i = 0; i < size; i++) {
            char text[64];
            (void)snprintf(text, sizeof text, "%d %lld", source, (long long)(next + i));
            output.partition = (int32_t)((next + i) % CHAIN_PARTITIONS);
            output.value = bytes_of(text);
            MUST(producer_send(producer, &output, &error));
        }
        if (random_below(&random, 10) == 0) {
            MUST(producer_abort(producer, CALL_MS, &error));
            continue;
        }
        MUST(producer_flush(producer, CALL_MS, &error));
        MUST(producer_commit(producer, CALL_MS, &error));
        next += size;
    }
    producer_close(producer);
    broker_close(broker);
}

static void record_check(const struct broker_record *record, int64_t next[][CHAIN_PARTITIONS],
                         int sources)
{
    char text[64] = "";
    char *rest = NULL;
    memcpy(text, record->value.data, record->value.size < 63 ? record->value.size : 63);
    long long source = strtoll(text, &rest, 10);
    long long number = strtoll(rest, NULL, 10);
    if (source < 0 || source >= sources || number % CHAIN_PARTITIONS != (int64_t)record->slot) {
        chain_fail("a record that nobody wrote: \"%s\" in partition %u", text, record->slot);
    }
    int64_t wanted = next[source][record->slot];
    if (number != wanted) {
        chain_fail("source %lld, partition %u: %lld after %lld: %s", source, record->slot, number,
                   (long long)wanted - CHAIN_PARTITIONS, number < wanted ? "again" : "a gap");
    }
    next[source][record->slot] += CHAIN_PARTITIONS;
}

void chain_check(struct broker *broker, int sources, int64_t count, int64_t patience_ms)
{
    const struct consumer_options plain = {0};
    struct consumer_assignment assignment[CHAIN_PARTITIONS] = {0};
    int64_t next[CHAIN_SOURCES_MOST][CHAIN_PARTITIONS];
    struct consumer *consumer = NULL;
    struct error error = {0};
    MUST(consumer_open(broker, &plain, &consumer, &error));
    for (int32_t i = 0; i < CHAIN_PARTITIONS; i++) {
        assignment[i] =
            (struct consumer_assignment){.topic = "out", .partition = i, .slot = (uint32_t)i};
        for (int j = 0; j < CHAIN_SOURCES_MOST; j++) {
            next[j][i] = i;
        }
    }
    MUST(consumer_assign(consumer, assignment, CHAIN_PARTITIONS, &error));
    int64_t quiet_since = clock_monotonic_ms(clock_system());
    for (int64_t seen = 0; seen < count * sources;) {
        struct consumer_event event;
        MUST(consumer_poll(consumer, 100, &event, &error));
        if (event.kind == CONSUMER_RECORD) {
            record_check(&event.record, next, sources);
            consumer_release(consumer, &event.record);
            seen++;
            quiet_since = clock_monotonic_ms(clock_system());
        } else if (clock_monotonic_ms(clock_system()) - quiet_since > patience_ms) {
            chain_fail("%lld of %lld records arrived, then nothing for %lld ms", (long long)seen,
                       (long long)(count * sources), (long long)patience_ms);
        }
    }
    consumer_close(consumer);
}
