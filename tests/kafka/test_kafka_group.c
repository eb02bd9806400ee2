/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of a real Kafka: assignment, rebalances, stable offsets, restore queues, restarts. */
#include "kafka_cluster.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct error error;

struct scene {
    struct broker *broker;
    char topic[NAME_SIZE], group[NAME_SIZE], id[NAME_SIZE];
};

static struct scene set_scene(int32_t partitions)
{
    struct scene scene = {.broker = cluster_open()};
    cluster_topic(scene.broker, scene.topic, partitions, NULL, 0);
    cluster_name(scene.group, "group");
    (void)snprintf(scene.id, sizeof scene.id, "%s/a/0", scene.group);
    return scene;
}

static struct broker_offset offset_of(const struct scene *scene, int32_t partition, int64_t offset,
                                      const char *metadata)
{
    struct broker_offset item = {.topic = scene->topic, .partition = partition, .offset = offset};
    (void)snprintf(item.metadata, sizeof item.metadata, "%s", metadata);
    return item;
}

Test(kafka_group, offsets_and_their_metadata_go_with_the_transaction)
{
    struct scene scene = set_scene(2);
    struct consumer *member = cluster_member(scene.broker, scene.group, "a-0", scene.topic);
    struct consumer_event event = cluster_await(member, CONSUMER_ASSIGNED);
    cr_assert_eq(event.partition_count, 2);
    struct broker_offset asked[2] = {offset_of(&scene, 0, 7, "x"), offset_of(&scene, 1, 7, "x")};
    cr_assert_eq(consumer_committed(member, asked, 2, 5000, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(asked[0].offset, BROKER_NO_OFFSET);
    cr_assert_str_eq(asked[0].metadata, "");
    cluster_take(member, &event, NULL);
    cr_assert(consumer_owns(member));

    struct producer *producer = cluster_producer(scene.broker, scene.id);
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
    struct broker_offset sent = offset_of(&scene, 1, 5, scene.id);
    cr_assert_eq(producer_send_offsets(producer, member, &sent, 1, &error), STATUS_OK, "%s",
                 error.text);
    cluster_commit(producer);
    cr_assert_eq(consumer_committed(member, asked, 2, 5000, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(asked[0].offset, BROKER_NO_OFFSET);
    cr_assert_eq(asked[1].offset, 5);
    cr_assert_str_eq(asked[1].metadata, scene.id);
    cr_assert_not(producer_suspect(producer));
    producer_close(producer);
    consumer_close(member);
    broker_close(scene.broker);
}

Test(kafka_group, stable_offsets_wait_for_an_open_transaction_until_it_is_taken_over)
{
    struct scene scene = set_scene(1);
    struct header header = {"leat-id", {scene.id, strlen(scene.id)}};
    struct consumer *member = cluster_member(scene.broker, scene.group, "a-0", scene.topic);
    struct consumer_event event = cluster_await(member, CONSUMER_ASSIGNED);
    cluster_take(member, &event, NULL);
    struct producer *producer = cluster_producer(scene.broker, scene.id);
    char value[BROKER_METADATA_SIZE] = "";
    cr_assert_eq(broker_blocking_header(scene.broker, scene.topic, 0, "leat-id", value,
                                        sizeof value, &error),
                 STATUS_NOT_FOUND);

    cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
    uint32_t number;
    int32_t partitions;
    cr_assert_eq(producer_topic(producer, scene.topic, &number, &partitions, &error), STATUS_OK);
    struct broker_output output = {.topic = number,
                                   .key = bytes_of("k"),
                                   .timestamp_ms = -1,
                                   .headers = &header,
                                   .header_count = 1};
    cr_assert_eq(producer_send(producer, &output, &error), STATUS_OK);
    cluster_send(producer, scene.topic, 0, "second", 0);
    cr_assert_eq(producer_flush(producer, 5000, &error), STATUS_OK);
    struct broker_offset sent = offset_of(&scene, 0, 3, scene.id);
    cr_assert_eq(producer_send_offsets(producer, member, &sent, 1, &error), STATUS_OK, "%s",
                 error.text);

    struct broker_offset asked = offset_of(&scene, 0, 0, "");
    cr_assert_eq(consumer_committed(member, &asked, 1, 300, &error), STATUS_RETRY);
    cr_assert_eq(error.code, ERROR_TIMED_OUT, "%s", error.text);
    cr_assert_eq(broker_committed_unstable(scene.broker, scene.group, &asked, 1, 5000, &error),
                 STATUS_OK, "%s", error.text);
    cr_assert_eq(asked.offset, BROKER_NO_OFFSET);
    cr_assert_eq(broker_blocking_header(scene.broker, scene.topic, 0, "leat-id", value,
                                        sizeof value, &error),
                 STATUS_OK, "%s", error.text);
    cr_assert_str_eq(value, scene.id);
    cr_assert_eq(
        broker_blocking_header(scene.broker, scene.topic, 0, "other", value, sizeof value, &error),
        STATUS_NOT_FOUND);

    int64_t begin = cluster_now_ms();
    cr_assert_eq(broker_take_over(scene.broker, scene.id, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(consumer_committed(member, &asked, 1, 2000, &error), STATUS_OK, "%s", error.text);
    cr_assert_lt(cluster_now_ms() - begin, 400);
    cr_assert_eq(asked.offset, BROKER_NO_OFFSET);
    cr_assert_eq(producer_commit(producer, 5000, &error), STATUS_FATAL);
    cr_assert_eq(error.code, ERROR_FENCED, "%s", error.text);
    producer_close(producer);
    consumer_close(member);
    broker_close(scene.broker);
}

Test(kafka_group, unstable_offsets_carry_their_metadata)
{
    struct scene scene = set_scene(1);
    struct consumer *member = cluster_member(scene.broker, scene.group, NULL, scene.topic);
    struct consumer_event event = cluster_await(member, CONSUMER_ASSIGNED);
    cluster_take(member, &event, NULL);
    struct producer *producer = cluster_producer(scene.broker, scene.id);
    struct broker_offset sent = offset_of(&scene, 0, 3, scene.id), asked = sent;
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
    cr_assert_eq(producer_send_offsets(producer, member, &sent, 1, &error), STATUS_OK);
    cluster_commit(producer);
    cr_assert_eq(consumer_committed(member, &asked, 1, 2000, &error), STATUS_OK);
    memset(asked.metadata, 0, sizeof asked.metadata);
    cr_assert_eq(broker_committed_unstable(scene.broker, scene.group, &asked, 1, 5000, &error),
                 STATUS_OK);
    cr_assert_eq(asked.offset, 3);
    cr_assert_str_eq(asked.metadata, scene.id);
    producer_close(producer);
    consumer_close(member);
    broker_close(scene.broker);
}

Test(kafka_group, reading_begins_where_the_assignment_says_and_can_be_rewound)
{
    struct scene scene = set_scene(2);
    cluster_write(scene.broker, scene.topic, 0, "a,b,c,d"); /* marker 4 */
    struct consumer *member = cluster_member(scene.broker, scene.group, "a-0", scene.topic);
    struct consumer_event assigned = cluster_await(member, CONSUMER_ASSIGNED);
    cluster_take(member, &assigned, (int64_t[]){2, 0});
    struct consumer_event event = cluster_await(member, CONSUMER_RECORD);
    cr_assert_eq(event.offset, 2);
    cr_assert_eq(event.slot, 0);
    struct broker_record kept = event.record;
    struct consumer_assignment again[] = {
        {.topic = scene.topic, .partition = 0, .slot = 5, .offset = 1},
        {.topic = scene.topic, .partition = 1, .slot = 6, .offset = 0}};
    cr_assert_eq(consumer_assign(member, again, 2, &error), STATUS_OK, "%s", error.text);
    bool ended[2] = {false, false};
    int64_t next = 1, until = cluster_now_ms() + 15000;
    while (!ended[0] || !ended[1]) {
        cr_assert_lt(cluster_now_ms(), until);
        cr_assert_eq(consumer_poll(member, 100, &event, &error), STATUS_OK, "%s", error.text);
        if (event.kind == CONSUMER_RECORD) {
            cr_assert_eq(event.offset, next++);
            cr_assert_eq(event.slot, 5);
            consumer_release(member, &event.record);
        } else if (event.kind == CONSUMER_END) {
            ended[event.slot - 5] = true;
            cr_assert_eq(event.offset, event.slot == 5 ? 5 : 0);
        }
    }
    cr_assert_eq(next, 4);
    cr_assert(bytes_equal(kept.value, bytes_of("c")), "a record outlives the next assignment");
    consumer_release(member, &kept);
    consumer_close(member);
    broker_close(scene.broker);
}

Test(kafka_group, changelogs_are_restored_beside_the_inputs)
{
    struct scene scene = set_scene(1);
    char changelog[NAME_SIZE], text[256];
    cluster_topic(scene.broker, changelog, 2, NULL, 0);
    cluster_write(scene.broker, scene.topic, 0, "i,j");
    cluster_write(scene.broker, changelog, 0, "p,q,r");
    cluster_write(scene.broker, changelog, 1, "s,t");
    struct consumer *member = cluster_member(scene.broker, scene.group, "a-0", scene.topic);
    struct consumer_event event = cluster_await(member, CONSUMER_ASSIGNED);
    struct consumer_assignment assignment[] = {
        {.topic = changelog, .partition = 1, .slot = 2, .offset = 1, .restore = true},
        {.topic = scene.topic, .partition = 0, .slot = 1, .offset = 0},
        {.topic = changelog, .partition = 0, .slot = 0, .offset = 0, .restore = true}};
    cr_assert_eq(consumer_assign(member, assignment, 3, &error), STATUS_OK, "%s", error.text);
    int64_t begin = cluster_now_ms(), end = -1;
    cluster_restore_to_end(member, 0, text, sizeof text, &end);
    cr_assert_str_eq(text, "p,q,r");
    cr_assert_eq(end, 4);
    cluster_restore_to_end(member, 2, text, sizeof text, &end);
    cr_assert_str_eq(text, "t");
    cr_assert_eq(end, 3);
    cr_assert_lt(cluster_now_ms() - begin, 1000);
    for (int64_t offset = 0; offset < 2; offset++) {
        event = cluster_await(member, CONSUMER_RECORD);
        cr_assert_eq(event.slot, 1);
        cr_assert_eq(event.offset, offset);
        consumer_release(member, &event.record);
    }
    /* One restored, the other goes on; the input too, from where it is. */
    struct consumer_assignment rest[] = {
        {.topic = changelog, .partition = 1, .slot = 2, .offset = 3, .restore = true},
        {.topic = scene.topic, .partition = 0, .slot = 1, .offset = 2}};
    cr_assert_eq(consumer_assign(member, rest, 2, &error), STATUS_OK, "%s", error.text);
    cluster_write(scene.broker, changelog, 1, "u");
    cluster_write(scene.broker, scene.topic, 0, "k");
    cluster_restore_to_end(member, 2, text, sizeof text, &end);
    cr_assert_str_eq(text, "u");
    event = cluster_await(member, CONSUMER_RECORD);
    cr_assert_eq(event.offset, 3, "%lld", (long long)event.offset);
    consumer_release(member, &event.record);
    cr_assert_eq(consumer_assign(member, &rest[1], 1, &error), STATUS_OK, "%s", error.text);
    consumer_close(member);
    broker_close(scene.broker);
}

Test(kafka_group, a_second_member_takes_over_half_and_nothing_comes_before_the_answer)
{
    struct scene scene = set_scene(2);
    cluster_write(scene.broker, scene.topic, 0, "a");
    cluster_write(scene.broker, scene.topic, 1, "b");
    struct consumer *first = cluster_member(scene.broker, scene.group, "a-0", scene.topic);
    struct consumer_event event = cluster_await(first, CONSUMER_ASSIGNED);
    cr_assert_eq(event.partition_count, 2);
    cr_assert_eq(consumer_poll(first, 100, &event, &error), STATUS_OK);
    cr_assert_eq(event.kind, CONSUMER_NOTHING, "no record before the answer");
    struct consumer_assignment both[] = {{.topic = scene.topic, .partition = 0, .slot = 0},
                                         {.topic = scene.topic, .partition = 1, .slot = 1}};
    cr_assert_eq(consumer_assign(first, both, 2, &error), STATUS_OK);
    event = cluster_await(first, CONSUMER_RECORD);
    consumer_release(first, &event.record);

    struct consumer *second = cluster_member(scene.broker, scene.group, "a-1", scene.topic);
    struct consumer_event none = {0};
    cr_assert_eq(consumer_poll(second, 10, &none, &error), STATUS_OK);
    event = cluster_await(first, CONSUMER_REVOKED);
    cr_assert(consumer_owns(first), "until the answer the partitions are still its own");
    cr_assert_eq(consumer_unassign(first, &error), STATUS_OK, "%s", error.text);
    cr_assert_not(consumer_owns(first));
    int64_t begin = cluster_now_ms();
    struct consumer_event of_first = cluster_await(first, CONSUMER_ASSIGNED);
    cr_assert_eq(of_first.partition_count, 1);
    int32_t mine = of_first.partitions[0].partition;
    cluster_take(first, &of_first, NULL);
    struct consumer_event of_second = cluster_await(second, CONSUMER_ASSIGNED);
    cr_assert_lt(cluster_now_ms() - begin, 2000);
    cr_assert_eq(of_second.partition_count, 1);
    cr_assert_neq(of_second.partitions[0].partition, mine);
    cluster_take(second, &of_second, NULL);
    event = cluster_await(second, CONSUMER_RECORD);
    cr_assert_eq((int32_t)event.slot, 1 - mine);
    consumer_release(second, &event.record);
    consumer_close(second);
    consumer_close(first);
    broker_close(scene.broker);
}

Test(kafka_group, an_unanswered_assignment_is_revoked_all_the_same)
{
    struct scene scene = set_scene(2);
    struct consumer *first = cluster_member(scene.broker, scene.group, "a-0", scene.topic);
    (void)cluster_await(first, CONSUMER_ASSIGNED);
    struct consumer *second = cluster_member(scene.broker, scene.group, "a-1", scene.topic);
    struct consumer_event event = {0};
    cr_assert_eq(consumer_poll(second, 10, &event, &error), STATUS_OK);
    (void)cluster_await(first, CONSUMER_REVOKED);
    struct consumer_assignment one = {.topic = scene.topic};
    cr_assert_eq(consumer_assign(first, &one, 1, &error), STATUS_ABORT);
    cr_assert_eq(error.code, ERROR_NOT_OWNER);
    cr_assert_eq(consumer_unassign(first, &error), STATUS_OK);
    event = cluster_await(first, CONSUMER_ASSIGNED);
    cr_assert_eq(event.partition_count, 1);
    consumer_close(second);
    consumer_close(first);
    broker_close(scene.broker);
}

Test(kafka_group, a_static_member_gets_its_partitions_back_at_once)
{
    struct scene scene = set_scene(2);
    struct consumer *member = cluster_member(scene.broker, scene.group, "a-0", scene.topic);
    struct consumer_event event = cluster_await(member, CONSUMER_ASSIGNED);
    cluster_take(member, &event, NULL);
    consumer_close(member);
    int64_t begin = cluster_now_ms();
    member = cluster_member(scene.broker, scene.group, "a-0", scene.topic);
    event = cluster_await(member, CONSUMER_ASSIGNED);
    cr_assert_eq(event.partition_count, 2);
    cr_assert_lt(cluster_now_ms() - begin, 2000, "session time-out is 6 s");
    consumer_close(member);
    broker_close(scene.broker);
}

Test(kafka_group, a_second_process_with_the_same_instance_fences_the_first)
{
    struct scene scene = set_scene(1);
    struct consumer *first = cluster_member(scene.broker, scene.group, "a-0", scene.topic);
    struct consumer_event event = cluster_await(first, CONSUMER_ASSIGNED);
    cluster_take(first, &event, NULL);
    struct producer *producer = cluster_producer(scene.broker, scene.id);
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK);

    struct consumer *second = cluster_member(scene.broker, scene.group, "a-0", scene.topic);
    event = cluster_await(second, CONSUMER_ASSIGNED);
    cluster_take(second, &event, NULL);
    struct broker_offset sent = offset_of(&scene, 0, 1, scene.id);
    cr_assert_eq(producer_send_offsets(producer, first, &sent, 1, &error), STATUS_ABORT, "%s",
                 error.text);
    cr_assert_eq(error.code, ERROR_NOT_OWNER, "%s", error.text);
    cr_assert_eq(producer_abort(producer, 5000, &error), STATUS_OK, "%s", error.text);
    enum status status = STATUS_OK;
    for (int64_t end = cluster_now_ms() + 10000;
         status != STATUS_FATAL && cluster_now_ms() < end;) {
        status = consumer_poll(first, 100, &event, &error);
    }
    cr_assert_eq(status, STATUS_FATAL);
    cr_assert_eq(error.code, ERROR_FENCED_INSTANCE, "%s", error.text);
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK, "the producer lives on");
    producer_close(producer);
    consumer_close(first);
    consumer_close(second);
    broker_close(scene.broker);
}

Test(kafka_group, a_member_that_polls_too_seldom_has_lost_everything)
{
    struct broker_settings settings = cluster_settings();
    settings.session_timeout_ms = settings.callback_timeout_ms = 1000;
    struct scene scene = {.broker = cluster_open_with(&settings)};
    cluster_topic(scene.broker, scene.topic, 1, NULL, 0);
    cluster_name(scene.group, "group");
    (void)snprintf(scene.id, sizeof scene.id, "%s/a/0", scene.group);
    struct consumer *member = cluster_member(scene.broker, scene.group, NULL, scene.topic);
    struct consumer_event event = cluster_await(member, CONSUMER_ASSIGNED);
    cluster_take(member, &event, NULL);
    struct producer *producer = cluster_producer(scene.broker, scene.id);
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
    cr_assert(consumer_owns(member));
    int64_t begin = cluster_now_ms(); /* the one thing here that only real time can bring about */
    while (consumer_owns(member) && cluster_now_ms() - begin < 10000) {
        clock_sleep_ms(clock_system(), 100);
    }
    cr_assert_not(consumer_owns(member));
    struct broker_offset sent = offset_of(&scene, 0, 1, scene.id);
    cr_assert_eq(producer_send_offsets(producer, member, &sent, 1, &error), STATUS_ABORT);
    cr_assert_eq(error.code, ERROR_NOT_OWNER);
    (void)cluster_await(member, CONSUMER_LOST);
    cr_assert_eq(consumer_unassign(member, &error), STATUS_OK);
    event = cluster_await(member, CONSUMER_ASSIGNED);
    cluster_take(member, &event, NULL);
    cr_assert(consumer_owns(member));
    producer_close(producer);
    consumer_close(member);
    broker_close(scene.broker);
}

Test(kafka_group, a_session_timeout_that_the_broker_refuses_names_its_setting)
{
    struct broker_settings settings = cluster_settings();
    settings.session_timeout_ms = settings.callback_timeout_ms = 3600000;
    struct scene scene = {.broker = cluster_open_with(&settings)};
    cluster_topic(scene.broker, scene.topic, 1, NULL, 0);
    cluster_name(scene.group, "group");
    struct consumer *member = cluster_member(scene.broker, scene.group, NULL, scene.topic);
    struct consumer_event event = {0};
    enum status status = STATUS_OK;
    for (int64_t end = cluster_now_ms() + 10000;
         status != STATUS_FATAL && cluster_now_ms() < end;) {
        status = consumer_poll(member, 100, &event, &error);
    }
    cr_assert_eq(status, STATUS_FATAL);
    cr_assert_eq(error.code, ERROR_LIMIT);
    cr_assert(strstr(error.text, "group.max.session.timeout.ms") != NULL, "%s", error.text);
    consumer_close(member);
    broker_close(scene.broker);
}
