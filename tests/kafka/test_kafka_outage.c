/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A broker that stops, hangs and comes back, under this test's own hands: it starts one beside that
 * of the other tests. Real time passes here; nothing else can show these time-outs.
 */
#include "kafka_cluster.h"
#include "kafka_own.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static struct error error;

struct outage {
    struct kafka_own own;
    struct broker *broker;
    char topic[NAME_SIZE], id[NAME_SIZE], group[NAME_SIZE];
};

static void begin_outage(struct outage *outage, int number, int64_t transaction_timeout_ms)
{
    own_start(&outage->own, number, "");
    struct broker_settings settings = cluster_settings();
    settings.common = &outage->own.servers;
    settings.transaction_timeout_ms = transaction_timeout_ms;
    outage->broker = cluster_open_with(&settings);
    cluster_topic(outage->broker, outage->topic, 1, NULL, 0);
    cluster_name(outage->group, "group");
    (void)snprintf(outage->id, sizeof outage->id, "%s/a/0", outage->group);
    cluster_write(outage->broker, outage->topic, 0, "warm"); /* 0, marker 1 */
}

static void end_outage(struct outage *outage)
{
    broker_close(outage->broker);
    own_stop(&outage->own);
}

static struct broker_offset offset_of(const struct outage *outage, int64_t offset)
{
    struct broker_offset item = {.topic = outage->topic, .offset = offset};
    (void)snprintf(item.metadata, sizeof item.metadata, "%s", outage->id);
    return item;
}

static int64_t stable_offset(const struct outage *outage, struct consumer *member)
{
    struct broker_offset asked = offset_of(outage, 0);
    enum status status = STATUS_RETRY;
    for (int64_t end = cluster_now_ms() + 40000;
         status == STATUS_RETRY && cluster_now_ms() < end;) {
        struct consumer_event event;
        struct error passing;
        if (consumer_poll(member, 10, &event, &passing) == STATUS_OK &&
            event.kind == CONSUMER_RECORD) {
            consumer_release(member, &event.record);
        }
        status = consumer_committed(member, &asked, 1, 1000, &error);
    }
    cr_assert_eq(status, STATUS_OK, "%s", error.text);
    return asked.offset;
}

Test(kafka_outage, a_commit_into_a_hanging_broker_stays_open_and_then_is_definite)
{
    struct outage outage = {0};
    begin_outage(&outage, 0, 3000);
    struct consumer *member = cluster_member(outage.broker, outage.group, "a-0", outage.topic);
    struct consumer_event event = cluster_await(member, CONSUMER_ASSIGNED);
    cluster_take(member, &event, NULL);
    struct producer *producer = cluster_producer(outage.broker, outage.id);
    uint32_t number;
    int32_t partitions;
    cr_assert_eq(producer_topic(producer, outage.topic, &number, &partitions, &error), STATUS_OK);
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
    cluster_send(producer, outage.topic, 0, "in doubt", 0);
    cr_assert_eq(producer_flush(producer, 5000, &error), STATUS_OK, "%s", error.text);
    struct broker_offset sent = offset_of(&outage, 1);
    cr_assert_eq(producer_send_offsets(producer, member, &sent, 1, &error), STATUS_OK, "%s",
                 error.text);
    cr_assert_not(producer_suspect(producer));

    own_signal(&outage.own, SIGSTOP);
    int64_t begin = cluster_now_ms();
    enum status status = producer_commit(producer, 500, &error);
    cr_assert_eq(status, STATUS_RETRY, "%s", error.text);
    cr_assert_eq(error.code, ERROR_TIMED_OUT);
    cr_assert_lt(cluster_now_ms() - begin, 2000, "a slice keeps its time");
    while (!producer_suspect(producer) && cluster_now_ms() - begin < 15000) {
        status = producer_commit(producer, 200, &error);
        cr_assert_eq(status, STATUS_RETRY, "%s", error.text);
    }
    cr_assert(producer_suspect(producer), "rule 8: EndTxn was answered by a time-out");
    own_signal(&outage.own, SIGCONT);
    for (begin = cluster_now_ms(); status == STATUS_RETRY && cluster_now_ms() - begin < 40000;) {
        status = producer_commit(producer, 1000, &error);
    }
    cr_assert(status == STATUS_OK || status == STATUS_FATAL, "%d %s", (int)status, error.text);
    producer_close(producer);
    /* Whatever it says, the offsets tell, once a successor has fenced. */
    producer = cluster_producer(outage.broker, outage.id);
    int64_t stable = stable_offset(&outage, member);
    cluster_settle(outage.broker, outage.topic, 0);
    char text[64];
    int64_t end = 0;
    struct consumer *reader = cluster_reader(outage.broker, outage.topic, 0, 0, false);
    cluster_read_to_end(reader, text, sizeof text, &end);
    cr_assert_str_eq(text, stable == 1 ? "warm,in doubt" : "warm",
                     "records and offsets end together");
    cr_assert(status != STATUS_OK || stable == 1, "a definite yes");
    consumer_close(reader);
    producer_close(producer);
    consumer_close(member);
    end_outage(&outage);
}

/* The next record of the member. Rule 12: a broker that came back may fence the only member. */
static struct consumer_event next_record(const struct outage *outage, struct consumer **member)
{
    struct consumer_event event = {0};
    for (int64_t end = cluster_now_ms() + 60000; cluster_now_ms() < end;) {
        enum status status = consumer_poll(*member, 100, &event, &error);
        if (status == STATUS_FATAL) {
            cr_assert_eq(error.code, ERROR_FENCED_INSTANCE, "%s", error.text);
            consumer_close(*member);
            *member = cluster_member(outage->broker, outage->group, "a-0", outage->topic);
        } else if (status != STATUS_OK) {
            cr_assert_eq(status, STATUS_RETRY, "%s", error.text);
        } else if (event.kind == CONSUMER_ASSIGNED) {
            cluster_take(*member, &event, (int64_t[]){2});
        } else if (event.kind == CONSUMER_REVOKED || event.kind == CONSUMER_LOST) {
            cr_assert_eq(consumer_unassign(*member, &error), STATUS_OK);
        } else if (event.kind == CONSUMER_RECORD) {
            return event;
        }
    }
    cr_assert_fail("no record after the outage");
    return event;
}

Test(kafka_outage, everything_goes_on_after_a_broker_was_killed_and_came_back)
{
    struct outage outage = {0};
    begin_outage(&outage, 1, 20000);
    struct consumer *member = cluster_member(outage.broker, outage.group, "a-0", outage.topic);
    struct consumer_event event = cluster_await(member, CONSUMER_ASSIGNED);
    cluster_take(member, &event, (int64_t[]){2});
    struct producer *producer = cluster_producer(outage.broker, outage.id);
    own_script(&outage.own, "kill");
    for (int i = 0; i < 10; i++) { /* passing trouble, never the end of the consumer */
        enum status status = consumer_poll(member, 100, &event, &error);
        cr_assert(status == STATUS_OK || status == STATUS_RETRY, "%d %s", (int)status, error.text);
    }
    struct broker_offset asked = offset_of(&outage, 0);
    cr_assert_eq(consumer_committed(member, &asked, 1, 300, &error), STATUS_RETRY, "%s",
                 error.text);
    struct broker_topic topic;
    int64_t begin = cluster_now_ms();
    cr_assert_eq(broker_topic_get(outage.broker, outage.topic, &topic, &error), STATUS_RETRY, "%s",
                 error.text);
    cr_assert_lt(cluster_now_ms() - begin, 12000);
    own_script(&outage.own, "up");
    producer_close(producer);
    cluster_write(outage.broker, outage.topic, 0, "again");
    event = next_record(&outage, &member);
    cr_assert(bytes_equal(event.record.value, bytes_of("again")));
    consumer_release(member, &event.record);
    consumer_close(member);
    end_outage(&outage);
}

/* With a heartbeat only every 4 s and a session of 1 s, the controller counts its one broker out
 * most of the time: it leads no partition then and coordinates nothing. */
static struct broker *open_flapping(struct kafka_own *own, int number)
{
    own_start(own, number,
              "--set broker.session.timeout.ms=1000 --set broker.heartbeat.interval.ms=4000");
    struct broker_settings settings = cluster_settings();
    settings.common = &own->servers;
    return cluster_open_with(&settings);
}

Test(kafka_outage, a_topic_is_not_refused_for_a_broker_that_is_counted_out_just_now)
{
    struct kafka_own own;
    struct broker *broker = open_flapping(&own, 3);
    int made = 0, not_now = 0;
    int64_t end = cluster_now_ms() + 20000;
    while ((made == 0 || not_now == 0) && cluster_now_ms() < end) {
        char name[NAME_SIZE];
        cluster_name(name, "t");
        enum status status = broker_topic_create(broker, name, 1, 1, NULL, 0, &error);
        cr_assert(status == STATUS_OK || status == STATUS_RETRY, "%d %s", (int)status, error.text);
        made += status == STATUS_OK;
        not_now += status == STATUS_RETRY;
    }
    cr_assert(made > 0 && not_now > 0, "%d made, %d not now", made, not_now);
    broker_close(broker);
    own_stop(&own);
}

Test(kafka_outage, a_group_can_be_asked_for_while_nobody_coordinates_it)
{
    struct kafka_own own;
    struct broker *broker = open_flapping(&own, 4);
    int answered = 0, not_now = 0, lost = 0; /* how often answers were followed by none */
    enum status before = STATUS_RETRY;
    int64_t end = cluster_now_ms() + 60000;
    while (lost < 2 && cluster_now_ms() < end) {
        struct broker_offset asked = {.topic = "some"};
        enum status status = broker_committed_unstable(broker, "group", &asked, 1, 300, &error);
        cr_assert(status == STATUS_OK || status == STATUS_RETRY, "%d %s", (int)status, error.text);
        answered += status == STATUS_OK;
        not_now += status == STATUS_RETRY;
        lost += before == STATUS_OK && status == STATUS_RETRY;
        before = status;
    }
    cr_assert(lost > 0, "%d answered, %d not now", answered, not_now);
    broker_close(broker);
    own_stop(&own);
}

Test(kafka_outage, closing_is_bounded_while_nobody_answers)
{
    struct outage outage = {0};
    begin_outage(&outage, 2, 10000);
    struct consumer *member = cluster_member(outage.broker, outage.group, NULL, outage.topic);
    struct consumer_event event = cluster_await(member, CONSUMER_ASSIGNED);
    cluster_take(member, &event, NULL);
    struct producer *producer = cluster_producer(outage.broker, outage.id);
    cr_assert_eq(producer_begin(producer, &error), STATUS_OK);
    cluster_send(producer, outage.topic, 0, "open", 0);
    own_signal(&outage.own, SIGSTOP);
    int64_t begin = cluster_now_ms();
    producer_close(producer);
    consumer_close(member);
    broker_close(outage.broker);
    outage.broker = NULL;
    int64_t took = cluster_now_ms() - begin;
    own_signal(&outage.own, SIGCONT);
    own_stop(&outage.own);
    cr_assert_lt(took, 15000, "%lld ms", (long long)took);
}
