/* SPDX-License-Identifier: Apache-2.0 */
#include "broker_contract_cases.h"

#include "broker_steps.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct broker *opened(struct broker_contract *contract)
{
    struct error error = {0};
    struct broker *broker = NULL;
    must(contract->open(contract, &broker, &error));
    return broker;
}

static const char *named(struct broker_contract *contract, const char *name)
{
    return step_name(contract->prefix, name);
}

static void must_read(struct consumer *consumer, int64_t patience_ms, const char *wanted)
{
    step_expect(consumer, patience_ms, wanted);
}

/* ---- Transactions ---- */

void contract_aborted_records_are_never_seen(struct broker_contract *contract)
{
    struct error error = {0};
    struct broker *broker = opened(contract);
    const char *name = named(contract, "abort");
    step_topic(broker, name, 1);
    struct producer *producer =
        step_producer(broker, named(contract, "abort-id"), contract->patience_ms);
    struct consumer *reader = step_reader(broker, name, 0, 0);
    must(producer_begin(producer, &error));
    step_send(producer, name, 0, "k", "aborted");
    step_flush(producer, contract->patience_ms);
    enum status status = STATUS_RETRY;
    while (status == STATUS_RETRY) {
        status = producer_abort(producer, 1000, &error);
    }
    must(status);
    step_write(producer, name, 0, 2, contract->patience_ms);
    char *text = NULL;
    do { /* END may come before the abort, at it, and after */
        free(text);
        text = step_read(reader, contract->patience_ms, NULL);
    } while (*text == 0);
    cr_assert_str_eq(text, "0,1");
    free(text);
    consumer_close(reader);
    producer_close(producer);
    broker_close(broker);
}

void contract_last_offset_is_where_the_record_lies(struct broker_contract *contract)
{
    struct error error = {0};
    struct broker *broker = opened(contract);
    const char *name = named(contract, "offset");
    uint32_t topic = 0;
    int32_t count = 0;
    struct consumer_event event;
    step_topic(broker, name, 2);
    struct producer *producer =
        step_producer(broker, named(contract, "offset-id"), contract->patience_ms);
    must(producer_topic(producer, name, &topic, &count, &error));
    step_write(producer, name, 0, 5, contract->patience_ms);
    must(producer_begin(producer, &error));
    cr_assert_eq(producer_last_offset(producer, topic, 0), -1);
    step_send(producer, name, 0, "k", "here");
    step_commit(producer, contract->patience_ms);
    int64_t offset = producer_last_offset(producer, topic, 0);
    cr_assert_geq(offset, 5);
    cr_assert_eq(producer_last_offset(producer, topic, 1), -1);
    struct consumer *reader = step_reader(broker, name, 0, offset);
    step_until(reader, CONSUMER_RECORD, contract->patience_ms, &event);
    cr_assert_eq(event.record.offset, offset);
    cr_assert(bytes_equal(event.record.value, bytes_of("here")));
    consumer_release(reader, &event.record);
    consumer_close(reader);
    producer_close(producer);
    broker_close(broker);
}

static struct broker_offset offset_of(const char *topic, int32_t partition, int64_t offset,
                                      const char *metadata)
{
    struct broker_offset result = {.topic = topic, .partition = partition, .offset = offset};
    (void)snprintf(result.metadata, sizeof result.metadata, "%s", metadata);
    return result;
}

void contract_records_and_offsets_commit_together(struct broker_contract *contract)
{
    struct error error = {0};
    struct broker *broker = opened(contract);
    const char *in = named(contract, "together-in");
    const char *out = named(contract, "together-out");
    const char *group = named(contract, "together");
    char metadata[BROKER_METADATA_SIZE];
    step_topic(broker, in, 1);
    step_topic(broker, out, 1);
    struct producer *producer =
        step_producer(broker, named(contract, "together-id"), contract->patience_ms);
    struct consumer *member = step_member(broker, group, NULL, in);
    free(step_assigned(member, contract->patience_ms));
    cr_assert_eq(step_committed(member, in, 0, contract->patience_ms, metadata), BROKER_NO_OFFSET);
    step_assign(member, in, 0, 0);
    cr_assert(consumer_owns(member));
    struct broker_offset offset = offset_of(in, 0, 7, "who/did/it");
    must(producer_begin(producer, &error));
    step_send(producer, out, 0, NULL, "x");
    step_flush(producer, contract->patience_ms);
    must(producer_send_offsets(producer, member, &offset, 1, &error));
    struct broker_offset open = {.topic = in, .partition = 0};
    must(broker_committed_unstable(broker, group, &open, 1, 5000, &error));
    cr_assert_eq(open.offset, BROKER_NO_OFFSET);
    step_commit(producer, contract->patience_ms);
    cr_assert_eq(step_committed(member, in, 0, contract->patience_ms, metadata), 7);
    cr_assert_str_eq(metadata, "who/did/it");
    must(broker_committed_unstable(broker, group, &open, 1, 5000, &error));
    cr_assert_eq(open.offset, 7);
    cr_assert_str_eq(open.metadata, "who/did/it");
    struct consumer *reader = step_reader(broker, out, 0, 0);
    must_read(reader, contract->patience_ms, "x");
    consumer_close(reader);
    consumer_close(member);
    producer_close(producer);
    broker_close(broker);
}

void contract_a_newer_producer_fences_the_older(struct broker_contract *contract)
{
    struct error error = {0};
    struct broker *broker = opened(contract);
    struct broker *other = opened(contract);
    const char *name = named(contract, "fence");
    const char *id = named(contract, "fence-id");
    step_topic(broker, name, 1);
    struct producer *old = step_producer(broker, id, contract->patience_ms);
    must(producer_begin(old, &error));
    step_send(old, name, 0, NULL, "old");
    step_flush(old, contract->patience_ms);
    struct producer *new = step_producer(other, id, contract->patience_ms);
    enum status status = STATUS_RETRY;
    while (status == STATUS_RETRY) {
        status = producer_commit(old, 1000, &error);
    }
    must_be(STATUS_FATAL, status);
    cr_assert_eq(error.code, ERROR_FENCED, "%s", error.text);
    step_write(new, name, 0, 1, contract->patience_ms);
    struct consumer *reader = step_reader(broker, name, 0, 0);
    must_read(reader, contract->patience_ms, "0");
    consumer_close(reader);
    producer_close(old);
    producer_close(new);
    broker_close(other);
    broker_close(broker);
}

void contract_a_takeover_fences(struct broker_contract *contract)
{
    struct error error = {0};
    struct broker *broker = opened(contract);
    const char *name = named(contract, "takeover");
    const char *id = named(contract, "takeover-id");
    step_topic(broker, name, 1);
    struct producer *producer = step_producer(broker, id, contract->patience_ms);
    must(producer_begin(producer, &error));
    step_send(producer, name, 0, NULL, "old");
    step_flush(producer, contract->patience_ms);
    enum status status = STATUS_RETRY;
    while (status == STATUS_RETRY) {
        status = broker_take_over(broker, id, &error);
    }
    must(status);
    do {
        status = producer_commit(producer, 1000, &error);
    } while (status == STATUS_RETRY);
    must_be(STATUS_FATAL, status);
    cr_assert_eq(error.code, ERROR_FENCED, "%s", error.text);
    char value[64];
    must_be(STATUS_NOT_FOUND,
            broker_blocking_header(broker, name, 0, "none", value, sizeof value, &error));
    producer_close(producer);
    broker_close(broker);
}

/* ---- Groups ---- */

/* Answers what the group says until this member was assigned again. */
static char *reassigned(struct consumer *member, int64_t patience_ms)
{
    struct error error = {0};
    struct consumer_event event;
    step_until(member, CONSUMER_REVOKED, patience_ms, &event);
    must(consumer_unassign(member, &error));
    return step_assigned(member, patience_ms);
}

void contract_two_members_share_by_range(struct broker_contract *contract)
{
    struct error error = {0};
    struct broker *broker = opened(contract);
    struct broker *other = opened(contract);
    const char *name = named(contract, "share");
    const char *group = named(contract, "share-group");
    struct consumer_event event;
    step_topic(broker, name, 3);
    struct consumer *first = step_member(broker, group, "a", name);
    char *text = step_assigned(first, contract->patience_ms);
    cr_assert_str_eq(text, "0,1,2");
    free(text);
    step_assign(first, name, 0, 2);
    struct consumer *second = step_member(other, group, NULL, name);
    step_until(first, CONSUMER_REVOKED, contract->patience_ms, &event);
    must(consumer_unassign(first, &error));
    /* Both are polled in turn: each waits for the other. */
    bool first_assigned = false;
    bool second_assigned = false;
    size_t total = 0;
    for (int64_t left = contract->patience_ms; left > 0 && !(first_assigned && second_assigned);
         left -= 50) {
        step_event(first_assigned ? second : first, 25, &event);
        if (event.kind == CONSUMER_ASSIGNED) {
            total += event.partition_count;
            first_assigned ? (second_assigned = true) : (first_assigned = true);
            continue;
        }
        if (!first_assigned) {
            step_event(second, 25, &event);
            if (event.kind == CONSUMER_ASSIGNED) {
                total += event.partition_count;
                second_assigned = true;
                char *rest = step_assigned(first, contract->patience_ms);
                cr_assert(strcmp(rest, "0,1") == 0 || strcmp(rest, "2") == 0 ||
                          strcmp(rest, "0") == 0 || strcmp(rest, "1,2") == 0);
                total += strlen(rest) == 1 ? 1 : 2;
                free(rest);
                first_assigned = true;
            }
        }
    }
    cr_assert_eq(total, 3, "%zu partitions given", total);
    step_assign(first, name, 0, -1);
    step_assign(second, name, 0, -1);
    consumer_close(second); /* dynamic: leaves */
    text = reassigned(first, contract->patience_ms);
    cr_assert_str_eq(text, "0,1,2");
    free(text);
    consumer_close(first);
    broker_close(other);
    broker_close(broker);
}

void contract_offsets_of_a_past_generation_are_refused(struct broker_contract *contract)
{
    struct error error = {0};
    struct broker *broker = opened(contract);
    const char *name = named(contract, "stale");
    const char *group = named(contract, "stale-group");
    struct consumer_event event;
    step_topic(broker, name, 1);
    struct producer *producer =
        step_producer(broker, named(contract, "stale-id"), contract->patience_ms);
    struct consumer *first = step_member(broker, group, NULL, name);
    free(step_assigned(first, contract->patience_ms));
    step_assign(first, name, 0, 0);
    struct consumer *second = step_member(broker, group, NULL, name);
    step_until(first, CONSUMER_REVOKED, contract->patience_ms, &event);
    /* Revoked, not answered: the generation is still good. */
    struct broker_offset offset = offset_of(name, 0, 3, "m");
    must(producer_begin(producer, &error));
    step_send(producer, name, 0, NULL, "in time");
    step_flush(producer, contract->patience_ms);
    must(producer_send_offsets(producer, first, &offset, 1, &error));
    step_commit(producer, contract->patience_ms);
    must(consumer_unassign(first, &error));
    free(step_assigned(first, contract->patience_ms)); /* not answered: no new credential */
    offset.offset = 4;
    must(producer_begin(producer, &error));
    step_send(producer, name, 0, NULL, "too late");
    step_flush(producer, contract->patience_ms);
    enum status status = producer_send_offsets(producer, first, &offset, 1, &error);
    if (status == STATUS_OK) {
        do {
            status = producer_commit(producer, 1000, &error);
        } while (status == STATUS_RETRY);
    }
    must_be(STATUS_ABORT, status);
    cr_assert_eq(error.code, ERROR_NOT_OWNER, "%s", error.text);
    do {
        status = producer_abort(producer, 1000, &error);
    } while (status == STATUS_RETRY);
    must(status);
    cr_assert_eq(step_committed(first, name, 0, contract->patience_ms, NULL), 3);
    struct consumer *reader = step_reader(broker, name, 0, 0);
    must_read(reader, contract->patience_ms, "in time");
    consumer_close(reader);
    consumer_close(first);
    consumer_close(second);
    producer_close(producer);
    broker_close(broker);
}

void contract_a_static_restart_disturbs_nobody(struct broker_contract *contract)
{
    struct broker *broker = opened(contract);
    const char *name = named(contract, "static");
    const char *group = named(contract, "static-group");
    struct consumer_event event;
    step_topic(broker, name, 2);
    struct consumer *stays = step_member(broker, group, "a", name);
    free(step_assigned(stays, contract->patience_ms));
    step_assign(stays, name, 0, 1);
    struct consumer *restarts = step_member(broker, group, "b", name);
    char *text = reassigned(stays, contract->patience_ms);
    cr_assert_str_eq(text, "0");
    free(text);
    step_assign(stays, name, 0, 0);
    text = step_assigned(restarts, contract->patience_ms);
    cr_assert_str_eq(text, "1");
    free(text);
    step_assign(restarts, name, 1, 1);
    consumer_close(restarts);
    restarts = step_member(broker, group, "b", name);
    text = step_assigned(restarts, contract->patience_ms);
    cr_assert_str_eq(text, "1");
    free(text);
    step_until(stays, CONSUMER_END, contract->patience_ms, &event);
    step_event(stays, 300, &event);
    cr_assert_eq(event.kind, CONSUMER_NOTHING);
    cr_assert(consumer_owns(stays));
    consumer_close(restarts);
    consumer_close(stays);
    broker_close(broker);
}

void contract_the_same_instance_fences_the_older_member(struct broker_contract *contract)
{
    struct error error = {0};
    struct broker *broker = opened(contract);
    const char *name = named(contract, "instance");
    const char *group = named(contract, "instance-group");
    struct consumer_event event;
    step_topic(broker, name, 1);
    struct consumer *old = step_member(broker, group, "a", name);
    free(step_assigned(old, contract->patience_ms));
    step_assign(old, name, 0, 0);
    struct consumer *new = step_member(broker, group, "a", name);
    char *text = step_assigned(new, contract->patience_ms);
    cr_assert_str_eq(text, "0");
    free(text);
    enum status status = STATUS_OK;
    for (int64_t left = contract->patience_ms; left > 0 && status != STATUS_FATAL; left -= 50) {
        status = consumer_poll(old, 50, &event, &error);
    }
    must_be(STATUS_FATAL, status);
    cr_assert_eq(error.code, ERROR_FENCED_INSTANCE);
    cr_assert_not(consumer_owns(old));
    consumer_close(old);
    consumer_close(new);
    broker_close(broker);
}
