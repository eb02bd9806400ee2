/* SPDX-License-Identifier: Apache-2.0 */
#include "broker_steps.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t now(void)
{
    return clock_monotonic_ms(clock_system());
}

void must_be_at(enum status status, enum status wanted, const struct error *error, const char *what,
                const char *file, int line)
{
    cr_assert_eq(status, wanted, "%s:%d: %s: status %d, wanted %d: %s", file, line, what, status,
                 wanted, status == STATUS_OK || status == STATUS_NOT_FOUND ? "" : error->text);
}

const char *step_name(const char *prefix, const char *name)
{
    static char names[8][BROKER_TOPIC_SIZE];
    static unsigned next;
    char *text = names[next++ % 8];
    (void)snprintf(text, sizeof names[0], "%s-%s", prefix, name);
    return text;
}

void step_topic(struct broker *broker, const char *name, int32_t partitions)
{
    struct error error;
    must(broker_topic_create(broker, name, partitions, -1, NULL, 0, &error));
}

struct producer *step_producer(struct broker *broker, const char *id, int64_t patience_ms)
{
    struct error error = {0};
    struct producer *producer = NULL;
    must(producer_open(broker, id, &producer, &error));
    int64_t until = now() + patience_ms;
    enum status status = STATUS_RETRY;
    while (status == STATUS_RETRY && now() < until) {
        status = producer_ready(producer, 100, &error);
    }
    must(status);
    return producer;
}

void step_send(struct producer *producer, const char *topic, int32_t partition, const char *key,
               const char *value)
{
    struct error error;
    struct broker_output output = {.partition = partition,
                                   .key = bytes_of(key),
                                   .value = bytes_of(value),
                                   .timestamp_ms = 1000};
    int32_t count = 0;
    must(producer_topic(producer, topic, &output.topic, &count, &error));
    must(producer_send(producer, &output, &error));
}

void step_flush(struct producer *producer, int64_t patience_ms)
{
    struct error error = {0};
    int64_t until = now() + patience_ms;
    enum status status = STATUS_RETRY;
    while (status == STATUS_RETRY && now() < until) {
        status = producer_flush(producer, 100, &error);
    }
    must(status);
}

void step_commit(struct producer *producer, int64_t patience_ms)
{
    struct error error = {0};
    step_flush(producer, patience_ms);
    int64_t until = now() + patience_ms;
    enum status status = STATUS_RETRY;
    while (status == STATUS_RETRY && now() < until) {
        status = producer_commit(producer, 1000, &error);
    }
    must(status);
}

void step_write(struct producer *producer, const char *topic, int32_t partition, int count,
                int64_t patience_ms)
{
    struct error error;
    must(producer_begin(producer, &error));
    for (int i = 0; i < count; i++) {
        char text[16];
        (void)snprintf(text, sizeof text, "%d", i);
        step_send(producer, topic, partition, text, text);
    }
    step_commit(producer, patience_ms);
}

void step_event(struct consumer *consumer, int64_t patience_ms, struct consumer_event *event)
{
    struct error error = {0};
    int64_t until = now() + patience_ms;
    do {
        enum status status = consumer_poll(consumer, 50, event, &error);
        if (status != STATUS_RETRY) {
            must(status);
        } else {
            event->kind = CONSUMER_NOTHING;
        }
    } while (event->kind == CONSUMER_NOTHING && now() < until);
}

void step_until(struct consumer *consumer, enum consumer_event_kind kind, int64_t patience_ms,
                struct consumer_event *event)
{
    int64_t until = now() + patience_ms;
    do {
        step_event(consumer, until - now(), event);
        if (event->kind == CONSUMER_RECORD && kind != CONSUMER_RECORD) {
            consumer_release(consumer, &event->record);
        }
    } while (event->kind != kind && now() < until &&
             (event->kind == CONSUMER_RECORD || event->kind == CONSUMER_END ||
              event->kind == CONSUMER_NOTHING));
    cr_assert_eq(event->kind, kind, "event %d, wanted %d", event->kind, kind);
}

struct consumer *step_reader(struct broker *broker, const char *topic, int32_t partition,
                             int64_t offset)
{
    struct error error;
    struct consumer *consumer = NULL;
    const struct consumer_options plain = {0};
    const struct consumer_assignment assignment = {
        .topic = topic, .partition = partition, .offset = offset};
    must(consumer_open(broker, &plain, &consumer, &error));
    must(consumer_assign(consumer, &assignment, 1, &error));
    return consumer;
}

char *step_read(struct consumer *consumer, int64_t patience_ms, int64_t *end)
{
    struct buffer text = {0};
    for (;;) {
        struct consumer_event event;
        step_event(consumer, patience_ms, &event);
        if (event.kind == CONSUMER_END) {
            if (end != NULL) {
                *end = event.offset;
            }
            break;
        }
        cr_assert_eq(event.kind, CONSUMER_RECORD, "event %d while reading", event.kind);
        buffer_format(&text, "%s%.*s", text.size == 0 ? "" : ",", (int)event.record.value.size,
                      event.record.value.data == NULL ? "" : (const char *)event.record.value.data);
        consumer_release(consumer, &event.record);
    }
    char *copy = memory_text(buffer_text(&text));
    buffer_finish(&text);
    return copy;
}

void step_expect(struct consumer *consumer, int64_t patience_ms, const char *wanted)
{
    char *text = step_read(consumer, patience_ms, NULL);
    while (strlen(text) < strlen(wanted)) {
        char *more = step_read(consumer, patience_ms, NULL);
        char *both = memory_format("%s%s%s", text, *text == 0 ? "" : ",", more);
        free(text);
        free(more);
        text = both;
    }
    cr_assert_str_eq(text, wanted);
    free(text);
}

struct consumer *step_member(struct broker *broker, const char *group, const char *instance,
                             const char *topic)
{
    struct error error;
    struct consumer *consumer = NULL;
    const struct consumer_options options = {
        .group = group, .instance_id = instance, .topics = &topic, .topic_count = 1};
    must(consumer_open(broker, &options, &consumer, &error));
    return consumer;
}

static int partition_order(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a;
    int32_t y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

char *step_assigned(struct consumer *consumer, int64_t patience_ms)
{
    struct consumer_event event;
    step_until(consumer, CONSUMER_ASSIGNED, patience_ms, &event);
    int32_t *numbers = memory_allocate(event.partition_count * sizeof *numbers);
    for (size_t i = 0; i < event.partition_count; i++) {
        numbers[i] = event.partitions[i].partition;
    }
    qsort(numbers, event.partition_count, sizeof *numbers, partition_order);
    struct buffer text = {0};
    for (size_t i = 0; i < event.partition_count; i++) {
        buffer_format(&text, "%s%d", i == 0 ? "" : ",", numbers[i]);
    }
    char *copy = memory_text(buffer_text(&text));
    buffer_finish(&text);
    free(numbers);
    return copy;
}

void step_assign(struct consumer *consumer, const char *topic, int32_t first, int32_t last)
{
    struct error error;
    struct consumer_assignment assignment[16] = {0};
    size_t count = 0;
    for (int32_t i = first; i <= last; i++) {
        assignment[count++] = (struct consumer_assignment){
            .topic = topic, .partition = i, .slot = (uint32_t)i, .offset = 0};
    }
    must(consumer_assign(consumer, assignment, count, &error));
}

int64_t step_committed(struct consumer *consumer, const char *topic, int32_t partition,
                       int64_t patience_ms, char metadata[BROKER_METADATA_SIZE])
{
    struct error error = {0};
    struct broker_offset offset = {.topic = topic, .partition = partition, .offset = -2};
    int64_t until = now() + patience_ms;
    enum status status = STATUS_RETRY;
    while (status == STATUS_RETRY && now() < until) {
        status = consumer_committed(consumer, &offset, 1, 500, &error);
    }
    must(status);
    if (metadata != NULL) {
        memcpy(metadata, offset.metadata, BROKER_METADATA_SIZE);
    }
    return offset.offset;
}
