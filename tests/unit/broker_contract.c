/* SPDX-License-Identifier: Apache-2.0 */
#include "broker_contract.h"

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

/* ---- Topics ---- */

static void topics_have_a_life(struct broker_contract *contract)
{
    struct error error;
    struct broker *broker = opened(contract);
    struct broker_topic facts;
    const char *name = named(contract, "life");
    const struct broker_property properties[] = {{"cleanup.policy", "compact", false},
                                                 {"delete.retention.ms", "12345", false},
                                                 {"max.message.bytes", "2000000", false}};
    must_be(STATUS_NOT_FOUND, broker_topic_get(broker, name, &facts, &error));
    must_be(STATUS_NOT_FOUND, broker_topic_get(broker, name, &facts, &error));
    must(broker_topic_create(broker, name, 3, -1, properties, 3, &error));
    must(broker_topic_get(broker, name, &facts, &error));
    cr_assert_eq(facts.partition_count, 3);
    cr_assert(facts.compacted);
    cr_assert_not(facts.deleted);
    cr_assert_eq(facts.delete_retention_ms, 12345);
    cr_assert_eq(facts.max_message_size, 2000000);
    must_be(STATUS_FATAL, broker_topic_create(broker, name, 3, -1, NULL, 0, &error));
    cr_assert_eq(error.code, ERROR_TOPIC_EXISTS);
    char **names = NULL;
    size_t count = 0;
    int found = 0;
    must(broker_topic_list(broker, &names, &count, &error));
    for (size_t i = 0; i < count; i++) {
        cr_assert(i == 0 || strcmp(names[i - 1], names[i]) < 0, "not in byte order");
        found += strcmp(names[i], name) == 0 ? 1 : 0;
    }
    for (size_t i = 0; i < count; i++) {
        free(names[i]);
    }
    free(names);
    cr_assert_eq(found, 1);
    must(broker_topic_delete(broker, name, &error));
    must_be(STATUS_NOT_FOUND, broker_topic_delete(broker, name, &error));
    broker_close(broker);
}

static void what_is_missing_is_named(struct broker_contract *contract)
{
    struct error error;
    struct broker *broker = opened(contract);
    const char *name = named(contract, "missing");
    int64_t start = 0;
    int64_t end = 0;
    uint32_t topic = 0;
    int32_t count = 0;
    struct producer *producer =
        step_producer(broker, named(contract, "missing-id"), contract->patience_ms);
    must_be(STATUS_FATAL, producer_topic(producer, name, &topic, &count, &error));
    cr_assert_eq(error.code, ERROR_NO_TOPIC);
    cr_assert_not_null(strstr(error.text, name));
    must_be(STATUS_FATAL, broker_log_range(broker, name, 0, &start, &end, &error));
    cr_assert_eq(error.code, ERROR_NO_TOPIC);
    producer_close(producer);
    broker_close(broker);
}

/* ---- Records ---- */

static void records_come_back_as_sent(struct broker_contract *contract)
{
    struct error error;
    struct broker *broker = opened(contract);
    const char *name = named(contract, "same");
    step_topic(broker, name, 2);
    struct producer *producer =
        step_producer(broker, named(contract, "same-id"), contract->patience_ms);
    const struct header headers[] = {{"first", {"\0x", 2}}, {"", {NULL, 0}}, {"first", {"", 0}}};
    struct broker_output output = {.partition = 1,
                                   .key = {"k\0y", 3},
                                   .value = {"v", 1},
                                   .headers = headers,
                                   .header_count = 3,
                                   .timestamp_ms = 1234567890123};
    int32_t count = 0;
    must(producer_topic(producer, name, &output.topic, &count, &error));
    cr_assert_eq(count, 2);
    must(producer_begin(producer, &error));
    must(producer_send(producer, &output, &error));
    output = (struct broker_output){.topic = output.topic, .partition = 1, .timestamp_ms = 7};
    must(producer_send(producer, &output, &error)); /* null, null */
    output.key = output.value = bytes_of("");
    must(producer_send(producer, &output, &error)); /* empty, empty */
    step_commit(producer, contract->patience_ms);

    struct consumer *reader = step_reader(broker, name, 1, 0);
    struct consumer_event first;
    struct consumer_event second;
    struct consumer_event third;
    step_until(reader, CONSUMER_RECORD, contract->patience_ms, &first);
    step_until(reader, CONSUMER_RECORD, contract->patience_ms, &second);
    step_until(reader, CONSUMER_RECORD, contract->patience_ms, &third);
    cr_assert(bytes_equal(first.record.key, (struct bytes){"k\0y", 3}));
    cr_assert(bytes_equal(first.record.value, (struct bytes){"v", 1}));
    cr_assert_eq(first.record.timestamp_ms, 1234567890123);
    cr_assert_eq(first.record.offset, 0);
    cr_assert_eq(first.record.header_count, 3);
    cr_assert_str_eq(first.record.headers[0].name, "first");
    cr_assert(bytes_equal(first.record.headers[0].value, (struct bytes){"\0x", 2}));
    cr_assert_str_eq(first.record.headers[1].name, "");
    cr_assert_null(first.record.headers[1].value.data);
    cr_assert_not_null(first.record.headers[2].value.data);
    cr_assert_eq(first.record.headers[2].value.size, 0);
    cr_assert_null(second.record.key.data);
    cr_assert_null(second.record.value.data);
    cr_assert_eq(second.record.timestamp_ms, 7);
    cr_assert_not_null(third.record.key.data);
    cr_assert_eq(third.record.key.size, 0);
    cr_assert_not_null(third.record.value.data);
    cr_assert_eq(third.record.value.size, 0);
    consumer_release(reader, &second.record);
    consumer_release(reader, &first.record);
    consumer_release(reader, &third.record);
    consumer_close(reader);
    producer_close(producer);
    broker_close(broker);
}

static void end_is_told_once_a_reaching(struct broker_contract *contract)
{
    struct broker *broker = opened(contract);
    const char *name = named(contract, "ends");
    int64_t end = -1;
    struct consumer_event event;
    step_topic(broker, name, 1);
    struct producer *producer =
        step_producer(broker, named(contract, "ends-id"), contract->patience_ms);
    struct consumer *reader = step_reader(broker, name, 0, 0);
    char *text = step_read(reader, contract->patience_ms, &end);
    cr_assert_str_eq(text, "");
    cr_assert_eq(end, 0);
    free(text);
    step_event(reader, 100, &event);
    cr_assert_eq(event.kind, CONSUMER_NOTHING, "a second END");
    step_write(producer, name, 0, 3, contract->patience_ms);
    text = step_read(reader, contract->patience_ms, &end);
    cr_assert_str_eq(text, "0,1,2");
    cr_assert_geq(end, 3);
    free(text);
    consumer_close(reader);
    producer_close(producer);
    broker_close(broker);
}

static void records_outlive_polls_and_assigns(struct broker_contract *contract)
{
    struct broker *broker = opened(contract);
    const char *name = named(contract, "outlive");
    struct consumer_event events[20];
    step_topic(broker, name, 1);
    struct producer *producer =
        step_producer(broker, named(contract, "outlive-id"), contract->patience_ms);
    step_write(producer, name, 0, 20, contract->patience_ms);
    struct consumer *reader = step_reader(broker, name, 0, 0);
    for (int i = 0; i < 20; i++) {
        step_until(reader, CONSUMER_RECORD, contract->patience_ms, &events[i]);
    }
    step_assign(reader, name, 0, 0);
    for (int i = 19; i >= 0; i--) {
        char wanted[16];
        (void)snprintf(wanted, sizeof wanted, "%d", i);
        cr_assert(bytes_equal(events[i].record.value, bytes_of(wanted)));
        consumer_release(reader, &events[i].record);
    }
    must_read(reader, contract->patience_ms, "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19");
    consumer_close(reader);
    producer_close(producer);
    broker_close(broker);
}

static void paused_slots_are_silent_and_lose_nothing(struct broker_contract *contract)
{
    struct error error;
    struct broker *broker = opened(contract);
    const char *name = named(contract, "pause");
    struct consumer_event event;
    step_topic(broker, name, 2);
    struct producer *producer =
        step_producer(broker, named(contract, "pause-id"), contract->patience_ms);
    step_write(producer, name, 0, 5, contract->patience_ms);
    step_write(producer, name, 1, 2, contract->patience_ms);
    struct consumer *reader = step_reader(broker, name, 0, 0);
    step_until(reader, CONSUMER_RECORD, contract->patience_ms, &event);
    consumer_release(reader, &event.record);
    must(consumer_pause(reader, 0, true, &error));
    step_event(reader, 200, &event);
    cr_assert_eq(event.kind, CONSUMER_NOTHING);
    must(consumer_pause(reader, 0, false, &error));
    must_read(reader, contract->patience_ms, "1,2,3,4");
    const struct consumer_assignment both[] = {
        {.topic = name, .partition = 0, .slot = 3, .offset = 0, .paused = true},
        {.topic = name, .partition = 1, .slot = 4, .offset = 1}};
    must(consumer_assign(reader, both, 2, &error));
    step_until(reader, CONSUMER_RECORD, contract->patience_ms, &event);
    cr_assert_eq(event.slot, 4);
    cr_assert_eq(event.record.slot, 4);
    cr_assert_eq(event.record.offset, 1);
    consumer_release(reader, &event.record);
    consumer_close(reader);
    producer_close(producer);
    broker_close(broker);
}

static void lost_offsets_are_told(struct broker_contract *contract)
{
    struct error error;
    struct broker *broker = opened(contract);
    const char *name = named(contract, "lost");
    struct consumer_event event;
    int64_t start = -1;
    int64_t end = -1;
    step_topic(broker, name, 1);
    struct producer *producer =
        step_producer(broker, named(contract, "lost-id"), contract->patience_ms);
    step_write(producer, name, 0, 10, contract->patience_ms);
    must(broker_delete_records(broker, name, 0, 4, &error));
    must(broker_log_range(broker, name, 0, &start, &end, &error));
    cr_assert_eq(start, 4);
    cr_assert_geq(end, 10);
    struct consumer *reader = step_reader(broker, name, 0, 3);
    step_event(reader, contract->patience_ms, &event);
    cr_assert_eq(event.kind, CONSUMER_OFFSET_LOST);
    consumer_close(reader);
    reader = step_reader(broker, name, 0, end + 100);
    step_event(reader, contract->patience_ms, &event);
    cr_assert_eq(event.kind, CONSUMER_OFFSET_LOST);
    consumer_close(reader);
    reader = step_reader(broker, name, 0, 4);
    must_read(reader, contract->patience_ms, "4,5,6,7,8,9");
    consumer_close(reader);
    producer_close(producer);
    broker_close(broker);
}

static void restore_slots_have_their_own_poll(struct broker_contract *contract)
{
    struct error error = {0};
    struct broker *broker = opened(contract);
    const char *name = named(contract, "restore");
    struct consumer_event event;
    step_topic(broker, name, 2);
    struct producer *producer =
        step_producer(broker, named(contract, "restore-id"), contract->patience_ms);
    step_write(producer, name, 0, 2, contract->patience_ms);
    step_write(producer, name, 1, 1, contract->patience_ms);
    struct consumer *reader = step_reader(broker, name, 0, 0);
    const struct consumer_assignment both[] = {
        {.topic = name, .partition = 0, .slot = 0, .offset = 0, .restore = true},
        {.topic = name, .partition = 1, .slot = 1, .offset = 0}};
    must(consumer_assign(reader, both, 2, &error));
    must_read(reader, contract->patience_ms, "0"); /* of partition 1 */
    int records = 0;
    do {
        must(consumer_poll_restore(reader, 0, contract->patience_ms, &event, &error));
        cr_assert_eq(event.slot, 0);
        if (event.kind == CONSUMER_RECORD) {
            cr_assert_eq(event.record.offset, records++);
            consumer_release(reader, &event.record);
        }
    } while (event.kind == CONSUMER_RECORD);
    cr_assert_eq(event.kind, CONSUMER_END);
    cr_assert_eq(records, 2);
    cr_assert_geq(event.offset, 2);
    consumer_close(reader);
    producer_close(producer);
    broker_close(broker);
}

static void a_record_too_large_is_bad(struct broker_contract *contract)
{
    struct error error = {0};
    struct broker *broker = opened(contract);
    const char *name = named(contract, "large");
    const struct broker_property small = {"max.message.bytes", "10000", false};
    must(broker_topic_create(broker, name, 1, -1, &small, 1, &error));
    struct producer *producer =
        step_producer(broker, named(contract, "large-id"), contract->patience_ms);
    char *value = memory_allocate(20000);
    struct broker_output output = {.value = {value, 20000}, .timestamp_ms = 1, .origin = 77};
    int32_t count = 0;
    uint64_t origin = 0;
    must(producer_topic(producer, name, &output.topic, &count, &error));
    must(producer_begin(producer, &error));
    enum status status = producer_send(producer, &output, &error);
    if (status == STATUS_OK) { /* only the broker knows */
        do {
            status = producer_flush(producer, 1000, &error);
        } while (status == STATUS_RETRY);
        cr_assert(producer_refused(producer, &origin, &error));
        cr_assert_eq(origin, 77);
    }
    cr_assert_eq(status, STATUS_BAD_RECORD);
    cr_assert_eq(error.code, ERROR_TOO_LARGE);
    do {
        status = producer_abort(producer, 1000, &error);
    } while (status == STATUS_RETRY);
    must(status);
    step_write(producer, name, 0, 1, contract->patience_ms);
    struct consumer *reader = step_reader(broker, name, 0, 0);
    must_read(reader, contract->patience_ms, "0");
    free(value);
    consumer_close(reader);
    producer_close(producer);
    broker_close(broker);
}

static void a_plain_producer_writes_at_flush(struct broker_contract *contract)
{
    struct broker *broker = opened(contract);
    const char *name = named(contract, "plain");
    step_topic(broker, name, 1);
    struct producer *producer = step_producer(broker, NULL, contract->patience_ms);
    step_send(producer, name, 0, NULL, "a");
    step_send(producer, name, 0, NULL, "b");
    step_flush(producer, contract->patience_ms);
    struct consumer *reader = step_reader(broker, name, 0, 0);
    must_read(reader, contract->patience_ms, "a,b");
    consumer_close(reader);
    producer_close(producer);
    broker_close(broker);
}

const struct broker_contract_case broker_contract_cases[] = {
    {"topics have a life", topics_have_a_life},
    {"what is missing is named", what_is_missing_is_named},
    {"records come back as sent", records_come_back_as_sent},
    {"END is told once a reaching", end_is_told_once_a_reaching},
    {"records outlive polls and assigns", records_outlive_polls_and_assigns},
    {"paused slots are silent and lose nothing", paused_slots_are_silent_and_lose_nothing},
    {"lost offsets are told", lost_offsets_are_told},
    {"restore slots have their own poll", restore_slots_have_their_own_poll},
    {"a record too large is bad", a_record_too_large_is_bad},
    {"a plain producer writes at flush", a_plain_producer_writes_at_flush},
    {"aborted records are never seen", contract_aborted_records_are_never_seen},
    {"last offset is where the record lies", contract_last_offset_is_where_the_record_lies},
    {"records and offsets commit together", contract_records_and_offsets_commit_together},
    {"a newer producer fences the older", contract_a_newer_producer_fences_the_older},
    {"a takeover fences", contract_a_takeover_fences},
    {"two members share by range", contract_two_members_share_by_range},
    {"offsets of a past generation are refused", contract_offsets_of_a_past_generation_are_refused},
    {"a static restart disturbs nobody", contract_a_static_restart_disturbs_nobody},
    {"the same instance fences the older member",
     contract_the_same_instance_fences_the_older_member},
};
const size_t broker_contract_case_count =
    sizeof broker_contract_cases / sizeof *broker_contract_cases;
