/* SPDX-License-Identifier: Apache-2.0 */
#include "loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARTITION_LIMIT = 16, BATCH = 5, BATCH_MS = 40, BLOCKED_MS = 500, GIVE_UP_MS = 20000 };

struct loop {
    struct instance *instance;
    struct sim *sim;
    enum loop_mistake mistake;
    struct broker *broker;
    struct consumer *consumer;
    struct producer *producer;
    char id[32];
    uint32_t topic;
    int32_t partitions[PARTITION_LIMIT];
    size_t count;
    int64_t committed[PARTITION_LIMIT], next[PARTITION_LIMIT];
    bool in_transaction, assigned;
    uint32_t records;
    int64_t begun_us;
};

/** What the caller has to do. */
enum outcome { GO_ON, RECOVER, DIE };

const char *loop_mistake_name(enum loop_mistake mistake)
{
    static const char *const names[] = {"right",
                                        "time-out taken as committed",
                                        "time-out taken as aborted",
                                        "plain fetch",
                                        "no rewind",
                                        "producer kept",
                                        "failed records skipped",
                                        "no takeover"};
    return names[mistake];
}

static int64_t deadline_us(const struct loop *loop, int64_t ms)
{
    return sim_now_us(loop->sim) + ms * 1000;
}

/* ---- Producer ---- */

static enum outcome open_producer(struct loop *loop)
{
    struct error error;
    producer_close(loop->producer);
    loop->producer = NULL;
    loop->in_transaction = false;
    if (producer_open(loop->broker, loop->id, &loop->producer, &error) != STATUS_OK) {
        return DIE;
    }
    enum status status;
    do {
        status = producer_ready(loop->producer, 1000, &error);
    } while (status == STATUS_RETRY);
    int32_t count = 0;
    while (status == STATUS_OK || status == STATUS_RETRY) {
        status = producer_topic(loop->producer, "out", &loop->topic, &count, &error);
        if (status == STATUS_OK) {
            return GO_ON;
        }
    }
    return DIE;
}

/* ---- Start of an assignment ---- */

static void take_over_blocker(struct loop *loop, struct broker_offset *offsets)
{
    struct error error;
    if (!consumer_owns(loop->consumer) ||
        broker_committed_unstable(loop->broker, "g", offsets, loop->count, 500, &error) !=
            STATUS_OK) {
        return;
    }
    for (size_t i = 0; i < loop->count; i++) {
        if (offsets[i].metadata[0] != '\0' && strcmp(offsets[i].metadata, loop->id) != 0) {
            (void)broker_take_over(loop->broker, offsets[i].metadata, &error);
        }
    }
}

static enum outcome fetch_offsets(struct loop *loop)
{
    struct broker_offset offsets[PARTITION_LIMIT];
    struct error error;
    int64_t blocked_us = deadline_us(loop, BLOCKED_MS);
    for (size_t i = 0; i < loop->count; i++) {
        offsets[i] = (struct broker_offset){.topic = "in", .partition = loop->partitions[i]};
    }
    for (;;) {
        enum status status =
            loop->mistake == LOOP_UNSTABLE_FETCH
                ? broker_committed_unstable(loop->broker, "g", offsets, loop->count, 500, &error)
                : consumer_committed(loop->consumer, offsets, loop->count, 100, &error);
        if (status == STATUS_OK) {
            break;
        }
        if (status != STATUS_RETRY) {
            return DIE;
        }
        if (!consumer_owns(loop->consumer)) {
            return RECOVER; /* the poll tells how it goes on */
        }
        if (sim_now_us(loop->sim) > blocked_us && loop->mistake != LOOP_NO_TAKEOVER) {
            take_over_blocker(loop, offsets);
        }
    }
    for (size_t i = 0; i < loop->count; i++) {
        int64_t offset = offsets[i].offset == BROKER_NO_OFFSET ? 0 : offsets[i].offset;
        loop->committed[i] = loop->next[i] = offset;
    }
    return GO_ON;
}

static enum outcome assign(struct loop *loop)
{
    struct consumer_assignment assignment[PARTITION_LIMIT];
    struct error error;
    memset(assignment, 0, sizeof assignment);
    for (size_t i = 0; i < loop->count; i++) {
        loop->next[i] = loop->committed[i];
        assignment[i].topic = "in";
        assignment[i].partition = loop->partitions[i];
        assignment[i].slot = (uint32_t)i;
        assignment[i].offset = loop->committed[i];
    }
    if (consumer_assign(loop->consumer, assignment, loop->count, &error) != STATUS_OK) {
        return DIE;
    }
    return GO_ON;
}

/* The empty assignment takes the metadata; the real one follows when the offsets are known. */
static enum outcome begin_assignment(struct loop *loop)
{
    struct error error;
    if (consumer_assign(loop->consumer, NULL, 0, &error) != STATUS_OK) {
        return DIE;
    }
    enum outcome outcome = fetch_offsets(loop);
    return outcome == GO_ON && loop->count > 0 ? assign(loop)
           : outcome == RECOVER                ? GO_ON
                                               : outcome;
}

static enum outcome recover(struct loop *loop)
{
    enum outcome outcome = open_producer(loop);
    if (outcome == GO_ON && loop->assigned && consumer_owns(loop->consumer)) {
        outcome = fetch_offsets(loop);
        outcome = outcome == GO_ON ? assign(loop) : outcome == RECOVER ? GO_ON : outcome;
    }
    return outcome;
}

/* ---- The end of a transaction ---- */

static enum outcome abort_transaction(struct loop *loop)
{
    struct error error;
    enum status status;
    if (!loop->in_transaction) {
        return GO_ON;
    }
    int64_t limit_us = deadline_us(loop, GIVE_UP_MS);
    do {
        status = producer_abort(loop->producer, 1000, &error);
    } while (status == STATUS_RETRY && sim_now_us(loop->sim) < limit_us);
    loop->in_transaction = false;
    loop->records = 0;
    if (status != STATUS_OK || producer_suspect(loop->producer)) {
        return RECOVER;
    }
    return loop->mistake == LOOP_NO_REWIND || !loop->assigned ? GO_ON : assign(loop);
}

static enum status send_offsets(struct loop *loop, struct error *error)
{
    struct broker_offset offsets[PARTITION_LIMIT];
    for (size_t i = 0; i < loop->count; i++) {
        offsets[i] = (struct broker_offset){
            .topic = "in", .partition = loop->partitions[i], .offset = loop->next[i]};
        snprintf(offsets[i].metadata, sizeof offsets[i].metadata, "%s", loop->id);
    }
    enum status status;
    int64_t limit_us = deadline_us(loop, GIVE_UP_MS);
    do {
        status = producer_send_offsets(loop->producer, loop->consumer, offsets, loop->count, error);
    } while (status == STATUS_RETRY && sim_now_us(loop->sim) < limit_us);
    return status;
}

static void committed(struct loop *loop)
{
    memcpy(loop->committed, loop->next, sizeof loop->committed);
    loop->in_transaction = false;
    loop->records = 0;
}

static enum outcome end_commit(struct loop *loop)
{
    struct error error;
    int64_t limit_us = deadline_us(loop, GIVE_UP_MS);
    enum status status;
    do {
        status = producer_commit(loop->producer, 500, &error);
        if (status == STATUS_RETRY && loop->mistake == LOOP_TIMEOUT_COMMITTED) {
            committed(loop);
            return open_producer(loop);
        }
        if (status == STATUS_RETRY && loop->mistake == LOOP_TIMEOUT_ABORTED) {
            enum outcome outcome = open_producer(loop);
            return outcome == GO_ON ? assign(loop) : outcome;
        }
    } while (status == STATUS_RETRY && sim_now_us(loop->sim) < limit_us);
    if (status == STATUS_ABORT) {
        return abort_transaction(loop);
    }
    if (status != STATUS_OK) {
        return RECOVER;
    }
    committed(loop);
    bool retire = producer_suspect(loop->producer) && loop->mistake != LOOP_KEEP_PRODUCER;
    return retire ? open_producer(loop) : GO_ON;
}

static enum outcome skip_failed(struct loop *loop)
{
    struct error error;
    enum status status;
    do {
        status = producer_abort(loop->producer, 1000, &error);
    } while (status == STATUS_RETRY);
    if (status != STATUS_OK || producer_begin(loop->producer, &error) != STATUS_OK) {
        return RECOVER;
    }
    status = send_offsets(loop, &error);
    return status == STATUS_OK      ? end_commit(loop)
           : status == STATUS_ABORT ? abort_transaction(loop)
                                    : RECOVER;
}

static enum outcome commit(struct loop *loop)
{
    struct error error;
    if (!loop->in_transaction) {
        return GO_ON;
    }
    enum status status;
    int64_t limit_us = deadline_us(loop, GIVE_UP_MS);
    do {
        status = producer_flush(loop->producer, 1000, &error);
    } while (status == STATUS_RETRY && sim_now_us(loop->sim) < limit_us);
    if (status == STATUS_ABORT && loop->mistake == LOOP_SKIP_FAILED) {
        return skip_failed(loop);
    }
    if (status == STATUS_OK) {
        status = send_offsets(loop, &error);
    }
    if (status == STATUS_ABORT) {
        return abort_transaction(loop);
    }
    return status == STATUS_OK ? end_commit(loop) : RECOVER;
}

/* ---- The loop ---- */

static enum outcome take_record(struct loop *loop, struct consumer_event *event)
{
    struct error error;
    enum status status = STATUS_OK;
    if (!loop->in_transaction) {
        status = producer_begin(loop->producer, &error);
        loop->in_transaction = status == STATUS_OK;
        loop->begun_us = sim_now_us(loop->sim);
    }
    if (status == STATUS_OK) {
        struct broker_output output = {.topic = loop->topic,
                                       .partition = loop->partitions[event->slot],
                                       .key = event->record.key,
                                       .value = event->record.value,
                                       .timestamp_ms = event->record.timestamp_ms};
        status = producer_send(loop->producer, &output, &error);
        loop->next[event->slot] = event->record.offset + 1;
        loop->records++;
    }
    consumer_release(loop->consumer, &event->record);
    return status == STATUS_OK ? GO_ON : RECOVER;
}

static enum outcome take_event(struct loop *loop, struct consumer_event *event)
{
    struct error error;
    enum outcome outcome = GO_ON;
    switch (event->kind) {
    case CONSUMER_RECORD:
        return take_record(loop, event);
    case CONSUMER_ASSIGNED:
        loop->assigned = true;
        loop->count = event->partition_count;
        ensure(loop->count <= PARTITION_LIMIT);
        for (size_t i = 0; i < loop->count; i++) {
            loop->partitions[i] = event->partitions[i].partition;
        }
        return begin_assignment(loop);
    case CONSUMER_REVOKED:
        outcome = commit(loop);
        loop->assigned = false;
        loop->count = 0;
        (void)consumer_unassign(loop->consumer, &error);
        return outcome;
    case CONSUMER_LOST:
        loop->assigned = false;
        outcome = abort_transaction(loop);
        loop->count = 0;
        (void)consumer_unassign(loop->consumer, &error);
        return outcome;
    case CONSUMER_OFFSET_LOST:
        return DIE;
    case CONSUMER_NOTHING:
    case CONSUMER_END:
        break;
    }
    return GO_ON;
}

static enum outcome turn(struct loop *loop)
{
    struct consumer_event event;
    struct error error;
    enum status status = consumer_poll(loop->consumer, 20, &event, &error);
    if (status == STATUS_RETRY) {
        return GO_ON;
    }
    if (status != STATUS_OK) {
        return DIE;
    }
    enum outcome outcome = take_event(loop, &event);
    bool due = loop->in_transaction &&
               (loop->records >= BATCH || sim_now_us(loop->sim) - loop->begun_us > BATCH_MS * 1000);
    return outcome == GO_ON && due ? commit(loop) : outcome;
}

bool loop_body(struct instance *instance)
{
    struct world *world = instance->world;
    instance->broker = sim_broker_open(world->cluster, &world->options.settings);
    struct loop loop = {.instance = instance,
                        .sim = world->sim,
                        .mistake = *(enum loop_mistake *)world->options.context,
                        .broker = instance->broker};
    snprintf(loop.id, sizeof loop.id, "g/%s/0", instance->name);
    char member[32];
    snprintf(member, sizeof member, "%s-0", instance->name);
    const char *topics[] = {"in"};
    struct consumer_options options = {
        .group = "g",
        .instance_id = world->options.settings.prefetch_size > 0 ? member : NULL,
        .topics = topics,
        .topic_count = 1};
    struct error error;
    enum outcome outcome = open_producer(&loop);
    if (outcome == GO_ON &&
        consumer_open(instance->broker, &options, &loop.consumer, &error) != STATUS_OK) {
        outcome = DIE;
    }
    while (outcome != DIE) {
        outcome = outcome == RECOVER ? recover(&loop) : turn(&loop);
    }
    return true;
}

/* ---- The oracle ---- */

void loop_fill(struct world *world, int32_t partitions, int32_t records)
{
    sim_topic_make(world->cluster, "in", partitions, false);
    sim_topic_make(world->cluster, "out", partitions, false);
    for (int32_t i = 0; i < records; i++) {
        char text[32];
        snprintf(text, sizeof text, "%d", (int)i);
        (void)sim_append(world->cluster, "in", i % partitions, bytes_of(text), bytes_of(text), i);
    }
}

bool loop_done(struct world *world)
{
    if (!sim_cluster_settled(world->cluster)) {
        return false;
    }
    for (int32_t i = 0; i < sim_partition_count(world->cluster, "in"); i++) {
        if (sim_group_offset(world->cluster, "g", "in", i) < sim_log_end(world->cluster, "in", i)) {
            return false;
        }
    }
    return true;
}

struct comparison {
    struct world *world;
    int32_t partition;
    int64_t expected;
    char text[160];
};

static bool compare(void *context, const struct broker_record *record)
{
    struct comparison *comparison = context;
    int32_t partitions = sim_partition_count(comparison->world->cluster, "in");
    int64_t wanted = comparison->expected * partitions + comparison->partition;
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)wanted);
    if (!bytes_equal(record->value, bytes_of(text))) {
        snprintf(comparison->text, sizeof comparison->text,
                 "out/%d at offset %lld is %.*s instead of %s", (int)comparison->partition,
                 (long long)record->offset, (int)record->value.size,
                 (const char *)record->value.data, text);
        return false;
    }
    comparison->expected++;
    return true;
}

const char *loop_difference(struct world *world)
{
    static char text[160];
    for (int32_t i = 0; i < sim_partition_count(world->cluster, "in"); i++) {
        struct comparison comparison = {.world = world, .partition = i};
        sim_read(world->cluster, "out", i, 0, compare, &comparison);
        int64_t wanted = sim_log_end(world->cluster, "in", i);
        if (comparison.text[0] == '\0' && comparison.expected != wanted) {
            snprintf(comparison.text, sizeof comparison.text, "out/%d has %lld of %lld records",
                     (int)i, (long long)comparison.expected, (long long)wanted);
        }
        if (comparison.text[0] != '\0') {
            memcpy(text, comparison.text, sizeof text);
            return text;
        }
    }
    return NULL;
}
