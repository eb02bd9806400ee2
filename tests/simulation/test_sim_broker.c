/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated broker keeps the contract of broker.h and has Kafka's rough edges. */
#include "sim_cluster.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct sim *sim;
static struct sim_cluster *cluster;
static struct broker *broker;
static struct error error;

static void begin(void)
{
    const struct broker_settings settings = {
        .session_timeout_ms = 3000, .transaction_timeout_ms = 5000, .callback_timeout_ms = 60000};
    sim = sim_create(7);
    cluster = sim_cluster_create(sim, NULL);
    sim_topic_make(cluster, "in", 2, false);
    sim_topic_make(cluster, "out", 2, false);
    sim_topic_make(cluster, "log", 1, true);
    broker = sim_broker_open(cluster, &settings);
}

static void finish(void)
{
    sim_broker_drop(broker);
    sim_wait_us(sim, 30 * 1000000);
    sim_cluster_destroy(cluster);
    sim_destroy(sim);
}

TestSuite(sim_broker, .init = begin, .fini = finish);

static struct producer *open_producer(const char *id, uint32_t *topic)
{
    struct producer *producer = NULL;
    int32_t count = 0;
    cr_assert_eq(producer_open(broker, id, &producer, &error), STATUS_OK);
    enum status status;
    do {
        status = producer_ready(producer, 1000, &error);
    } while (status == STATUS_RETRY);
    cr_assert_eq(status, STATUS_OK);
    cr_assert_eq(producer_topic(producer, "out", topic, &count, &error), STATUS_OK);
    cr_assert_eq(count, 2);
    return producer;
}

static void send(struct producer *producer, uint32_t topic, int32_t partition, const char *text)
{
    struct header header = {"id", bytes_of("me")};
    struct broker_output output = {.topic = topic,
                                   .partition = partition,
                                   .key = bytes_of(text),
                                   .value = bytes_of(text),
                                   .headers = &header,
                                   .header_count = 1,
                                   .timestamp_ms = -1,
                                   .origin = 42};
    cr_assert_eq(producer_send(producer, &output, &error), STATUS_OK);
}

static struct consumer *open_reader(const char *topic, int32_t partition, int64_t offset,
                                    bool uncommitted)
{
    struct consumer_options options = {.uncommitted = uncommitted};
    struct consumer *consumer = NULL;
    cr_assert_eq(consumer_open(broker, &options, &consumer, &error), STATUS_OK);
    struct consumer_assignment assignment = {
        .topic = topic, .partition = partition, .slot = 9, .offset = offset};
    cr_assert_eq(consumer_assign(consumer, &assignment, 1, &error), STATUS_OK);
    return consumer;
}

static enum consumer_event_kind poll(struct consumer *consumer, int64_t timeout_ms,
                                     struct consumer_event *event)
{
    cr_assert_eq(consumer_poll(consumer, timeout_ms, event, &error), STATUS_OK);
    return event->kind;
}

static struct consumer *join(const char *instance)
{
    static const char *const topics[] = {"in"};
    struct consumer_options options = {
        .group = "g", .instance_id = instance, .topics = topics, .topic_count = 1};
    struct consumer *consumer = NULL;
    cr_assert_eq(consumer_open(broker, &options, &consumer, &error), STATUS_OK);
    return consumer;
}

static size_t wait_assigned(struct consumer *consumer)
{
    struct consumer_event event;
    cr_assert_eq(poll(consumer, 20000, &event), CONSUMER_ASSIGNED);
    size_t count = event.partition_count;
    cr_assert_eq(consumer_assign(consumer, NULL, 0, &error), STATUS_OK);
    return count;
}

Test(sim_broker, a_committed_reader_stops_at_an_open_transaction_and_an_uncommitted_one_does_not)
{
    uint32_t topic = 0;
    struct producer *producer = open_producer("t", &topic);
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
    send(producer, topic, 0, "a");
    cr_assert_eq(producer_flush(producer, 1000, &error), STATUS_OK);
    cr_assert_eq(producer_last_offset(producer, topic, 0), 0);
    cr_assert_eq(producer_last_offset(producer, topic, 1), -1);
    struct consumer_event event;
    struct consumer *committed = open_reader("out", 0, 0, false);
    struct consumer *all = open_reader("out", 0, 0, true);
    cr_assert_eq(poll(committed, 100, &event), CONSUMER_END);
    cr_assert_eq(event.offset, 0);
    cr_assert_eq(poll(all, 100, &event), CONSUMER_RECORD);
    cr_assert_eq(event.slot, 9);
    consumer_release(all, &event.record);
    cr_assert_eq(producer_commit(producer, 1000, &error), STATUS_OK);
    cr_assert_eq(poll(committed, 100, &event), CONSUMER_RECORD);
    cr_assert(bytes_equal(event.record.value, bytes_of("a")));
    cr_assert_eq(event.record.header_count, 1);
    consumer_release(committed, &event.record);
    cr_assert_eq(poll(committed, 100, &event), CONSUMER_END);
    cr_assert_eq(event.offset, 2, "the marker takes an offset: %d", (int)event.offset);
    consumer_close(committed);
    consumer_close(all);
    producer_close(producer);
}

Test(sim_broker, an_aborted_record_is_never_seen_and_the_end_lies_behind_its_marker)
{
    uint32_t topic = 0;
    struct producer *producer = open_producer("t", &topic);
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
    send(producer, topic, 0, "a");
    cr_assert_eq(producer_flush(producer, 1000, &error), STATUS_OK);
    cr_assert_eq(producer_abort(producer, 1000, &error), STATUS_OK);
    sim_wait_us(sim, 100000);
    struct consumer_event event;
    struct consumer *reader = open_reader("out", 0, 0, false);
    cr_assert_eq(poll(reader, 100, &event), CONSUMER_END);
    cr_assert_eq(event.offset, 2);
    cr_assert_eq(poll(reader, 100, &event), CONSUMER_NOTHING);
    consumer_close(reader);
    producer_close(producer);
}

Test(sim_broker, the_stable_fetch_waits_for_an_open_transaction_and_the_plain_one_does_not)
{
    uint32_t topic = 0;
    struct producer *producer = open_producer("t", &topic);
    struct consumer *consumer = join("a-0");
    cr_assert_eq(wait_assigned(consumer), 2);
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
    struct broker_offset offset = {"in", 0, 5, "t"};
    cr_assert_eq(producer_send_offsets(producer, consumer, &offset, 1, &error), STATUS_OK);
    struct broker_offset asked = {.topic = "in"};
    cr_assert_eq(consumer_committed(consumer, &asked, 1, 200, &error), STATUS_RETRY);
    cr_assert_eq(error.code, ERROR_TIMED_OUT);
    cr_assert_eq(broker_committed_unstable(broker, "g", &asked, 1, 200, &error), STATUS_OK);
    cr_assert_eq(asked.offset, BROKER_NO_OFFSET);
    cr_assert_eq(producer_commit(producer, 1000, &error), STATUS_OK);
    cr_assert_eq(consumer_committed(consumer, &asked, 1, 200, &error), STATUS_OK);
    cr_assert_eq(asked.offset, 5);
    cr_assert_str_eq(asked.metadata, "t");
    consumer_close(consumer);
    producer_close(producer);
}

Test(sim_broker, a_second_producer_of_the_same_id_aborts_and_fences_the_first)
{
    uint32_t topic = 0;
    struct producer *first = open_producer("t", &topic);
    cr_assert_eq(producer_begin(first, &error), STATUS_OK);
    send(first, topic, 0, "a");
    cr_assert_eq(producer_flush(first, 1000, &error), STATUS_OK);
    struct producer *second = open_producer("t", &topic);
    cr_assert_eq(producer_commit(first, 1000, &error), STATUS_FATAL);
    cr_assert_eq(error.code, ERROR_FENCED);
    cr_assert_eq(sim_log_stable(cluster, "out", 0), 2);
    cr_assert_eq(sim_cluster_statistics(cluster)->aborted, 1);
    producer_close(first);
    producer_close(second);
}

Test(sim_broker, a_takeover_names_the_blocker_by_its_header_and_ends_its_transaction)
{
    uint32_t topic = 0;
    struct producer *producer = open_producer("t", &topic);
    char value[16] = "";
    cr_assert_eq(broker_blocking_header(broker, "out", 0, "id", value, sizeof value, &error),
                 STATUS_NOT_FOUND);
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
    send(producer, topic, 0, "a");
    cr_assert_eq(producer_flush(producer, 1000, &error), STATUS_OK);
    cr_assert_eq(broker_blocking_header(broker, "out", 0, "id", value, sizeof value, &error),
                 STATUS_OK);
    cr_assert_str_eq(value, "me");
    cr_assert_eq(broker_take_over(broker, "t", &error), STATUS_OK);
    cr_assert_eq(sim_log_stable(cluster, "out", 0), 2);
    cr_assert_eq(producer_commit(producer, 1000, &error), STATUS_FATAL);
    producer_close(producer);
}

Test(sim_broker, the_coordinator_gives_up_a_transaction_that_is_too_old)
{
    uint32_t topic = 0;
    struct producer *producer = open_producer("t", &topic);
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
    send(producer, topic, 0, "a");
    cr_assert_eq(producer_flush(producer, 1000, &error), STATUS_OK);
    sim_wait_us(sim, 4 * 1000000);
    cr_assert_eq(sim_log_stable(cluster, "out", 0), 0, "not before its time-out");
    sim_wait_us(sim, 16 * 1000000);
    cr_assert_eq(sim_log_stable(cluster, "out", 0), 2);
    cr_assert_eq(producer_commit(producer, 1000, &error), STATUS_FATAL);
    cr_assert_eq(error.code, ERROR_FENCED);
    producer_close(producer);
}

Test(sim_broker, a_stale_generation_is_refused_but_not_a_partition_of_somebody_else)
{
    uint32_t topic = 0;
    struct producer *producer = open_producer("t", &topic);
    struct consumer *first = join("a-0");
    cr_assert_eq(wait_assigned(first), 2);
    struct broker_offset foreign = {"out", 1, 3, ""};
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
    cr_assert_eq(producer_send_offsets(producer, first, &foreign, 1, &error), STATUS_OK);
    cr_assert_eq(producer_commit(producer, 1000, &error), STATUS_OK);
    struct consumer *second = join("b-0");
    struct consumer_event event;
    cr_assert_eq(poll(first, 5000, &event), CONSUMER_REVOKED);
    cr_assert(consumer_owns(first));
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
    cr_assert_eq(producer_send_offsets(producer, first, &foreign, 1, &error), STATUS_OK,
                 "the generation has not moved yet");
    cr_assert_eq(producer_abort(producer, 1000, &error), STATUS_OK);
    cr_assert_eq(consumer_unassign(first, &error), STATUS_OK);
    cr_assert_not(consumer_owns(first));
    cr_assert_eq(wait_assigned(second), 1);
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
    cr_assert_eq(producer_send_offsets(producer, first, &foreign, 1, &error), STATUS_ABORT);
    cr_assert_eq(error.code, ERROR_NOT_OWNER);
    cr_assert_eq(producer_abort(producer, 1000, &error), STATUS_OK);
    cr_assert_eq(wait_assigned(first), 1);
    consumer_close(first);
    consumer_close(second);
    producer_close(producer);
}

Test(sim_broker, a_static_member_that_comes_back_takes_its_partitions_and_fences_its_former_self)
{
    struct consumer *first = join("a-0");
    cr_assert_eq(wait_assigned(first), 2);
    struct consumer *second = join("a-0");
    int64_t before_us = sim_now_us(sim);
    cr_assert_eq(wait_assigned(second), 2);
    cr_assert_lt(sim_now_us(sim) - before_us, 100000, "no rebalance is waited for");
    struct consumer_event event;
    enum status status;
    do {
        status = consumer_poll(first, 1000, &event, &error);
    } while (status == STATUS_OK);
    cr_assert_eq(status, STATUS_FATAL);
    cr_assert_eq(error.code, ERROR_FENCED_INSTANCE);
    consumer_close(first);
    consumer_close(second);
}

Test(sim_broker, a_position_below_the_log_start_is_told_once)
{
    for (int i = 0; i < 5; i++) {
        sim_append(cluster, "in", 0, bytes_of("k"), bytes_of("v"), 1);
    }
    sim_retain(cluster, "in", 0, 3);
    int64_t start = 0;
    int64_t end = 0;
    cr_assert_eq(broker_log_range(broker, "in", 0, &start, &end, &error), STATUS_OK);
    cr_assert_eq(start, 3);
    cr_assert_eq(end, 5);
    struct consumer_event event;
    struct consumer *reader = open_reader("in", 0, 1, false);
    cr_assert_eq(poll(reader, 100, &event), CONSUMER_OFFSET_LOST);
    cr_assert_eq(event.offset, 1);
    cr_assert_eq(poll(reader, 100, &event), CONSUMER_NOTHING);
    consumer_close(reader);
    reader = open_reader("in", 0, 3, false);
    cr_assert_eq(poll(reader, 100, &event), CONSUMER_RECORD);
    cr_assert_eq(event.record.offset, 3);
    consumer_release(reader, &event.record);
    consumer_close(reader);
}

static bool count_record(void *context, const struct broker_record *record)
{
    (void)record;
    ++*(int *)context;
    return true;
}

Test(sim_broker, compaction_keeps_the_last_of_a_key_and_the_two_last_records)
{
    sim_append(cluster, "log", 0, bytes_of("k"), bytes_of("1"), 1);
    sim_append(cluster, "log", 0, bytes_of("k"), bytes_of("2"), 1);
    sim_append(cluster, "log", 0, bytes_of("x"), (struct bytes){NULL, 0}, 1);
    sim_append(cluster, "log", 0, bytes_of("y"), bytes_of("1"), 1);
    sim_append(cluster, "log", 0, bytes_of("y"), bytes_of("2"), 1);
    sim_compact(cluster, "log", true);
    int count = 0;
    sim_read(cluster, "log", 0, 0, count_record, &count);
    cr_assert_eq(count, 4, "%d", count);
    sim_compact(cluster, "log", false);
    count = 0;
    sim_read(cluster, "log", 0, 0, count_record, &count);
    cr_assert_eq(count, 3, "%d", count);
    count = 0;
    sim_read_history(cluster, "log", 0, count_record, &count);
    cr_assert_eq(count, 5, "%d", count);
}

Test(sim_broker, what_the_broker_refuses_comes_through_flush_with_its_origin)
{
    uint32_t topic = 0;
    struct producer *producer = open_producer("t", &topic);
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
    struct broker_output output = {.topic = topic,
                                   .key = bytes_of("k"),
                                   .value = bytes_of("v"),
                                   .timestamp_ms = sim_wall_ms(sim) + 2 * 3600 * 1000,
                                   .origin = 77};
    cr_assert_eq(producer_send(producer, &output, &error), STATUS_OK);
    cr_assert_eq(producer_flush(producer, 1000, &error), STATUS_BAD_RECORD);
    cr_assert_eq(error.code, ERROR_BAD_TIMESTAMP);
    uint64_t origin = 0;
    cr_assert(producer_refused(producer, &origin, &error));
    cr_assert_eq(origin, 77);
    cr_assert_not(producer_refused(producer, &origin, &error));
    cr_assert_eq(producer_abort(producer, 1000, &error), STATUS_OK);
    producer_close(producer);
}

Test(sim_broker, topics_are_made_listed_deleted_and_never_made_by_accident)
{
    struct broker_topic facts;
    cr_assert_eq(broker_topic_get(broker, "new", &facts, &error), STATUS_NOT_FOUND);
    struct broker_property property = {"cleanup.policy", "compact", false};
    cr_assert_eq(broker_topic_create(broker, "new", 3, -1, &property, 1, &error), STATUS_OK);
    cr_assert_eq(broker_topic_create(broker, "new", 3, -1, NULL, 0, &error), STATUS_FATAL);
    cr_assert_eq(error.code, ERROR_TOPIC_EXISTS);
    cr_assert_eq(broker_topic_get(broker, "new", &facts, &error), STATUS_OK);
    cr_assert_eq(facts.partition_count, 3);
    cr_assert(facts.compacted && !facts.deleted);
    char **names = NULL;
    size_t count = 0;
    cr_assert_eq(broker_topic_list(broker, &names, &count, &error), STATUS_OK);
    cr_assert_eq(count, 4);
    cr_assert_str_eq(names[0], "in");
    for (size_t i = 0; i < count; i++) {
        free(names[i]);
    }
    free(names);
    cr_assert_eq(broker_topic_delete(broker, "new", &error), STATUS_OK);
    cr_assert_eq(broker_topic_delete(broker, "new", &error), STATUS_NOT_FOUND);
}

Test(sim_broker, a_commit_without_an_answer_is_resumed_and_leaves_the_producer_suspect)
{
    uint32_t topic = 0;
    struct producer *producer = open_producer("t", &topic);
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
    send(producer, topic, 0, "a");
    cr_assert_eq(producer_flush(producer, 1000, &error), STATUS_OK);
    cr_assert_not(producer_suspect(producer));
    cluster->faults.broken = 10000;
    cr_assert_eq(producer_commit(producer, 5000, &error), STATUS_RETRY);
    cr_assert_eq(error.code, ERROR_TIMED_OUT);
    cr_assert(producer_suspect(producer));
    cluster->faults.broken = 0;
    enum status status;
    do {
        status = producer_commit(producer, 1000, &error);
    } while (status == STATUS_RETRY);
    cr_assert_eq(status, STATUS_OK);
    cr_assert(producer_suspect(producer));
    producer_close(producer);
}

/* A copy of EndTxn that arrives after its transaction ended ends the next one of the same epoch. */
Test(sim_broker, a_late_commit_tears_the_next_transaction_of_the_same_epoch_and_not_of_a_newer_one)
{
    int64_t torn[2] = {0, 0};
    for (int retire = 0; retire < 2; retire++) {
        uint32_t topic = 0;
        struct producer *producer = open_producer(retire ? "r" : "k", &topic);
        int64_t before = sim_cluster_statistics(cluster)->torn;
        for (int round = 0; round < 200; round++) {
            cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
            send(producer, topic, 0, "a");
            if (producer_flush(producer, 1000, &error) != STATUS_OK) {
                break; /* torn: the broker refuses what belongs to no transaction */
            }
            cluster->faults.broken = 5000;
            enum status status;
            do {
                status = producer_commit(producer, 1000, &error);
            } while (status == STATUS_RETRY);
            cluster->faults.broken = 0;
            if (status != STATUS_OK) {
                break;
            }
            if (retire && producer_suspect(producer)) {
                producer_close(producer);
                producer = open_producer("r", &topic);
            }
        }
        producer_close(producer);
        torn[retire] = sim_cluster_statistics(cluster)->torn - before;
    }
    cr_assert_gt(torn[0], 0);
    cr_assert_eq(torn[1], 0);
}
