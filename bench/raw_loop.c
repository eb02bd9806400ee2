/* SPDX-License-Identifier: Apache-2.0 */
/* See raw_loop.h. */
#include "raw_loop.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int64_t loop_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

_Noreturn void loop_fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

/* A transactional call's error; takes it. */
static void expect(const char *what, rd_kafka_error_t *error)
{
    if (error != NULL) {
        loop_fail(what, rd_kafka_error_string(error));
    }
}

static void expect_code(const char *what, rd_kafka_resp_err_t code)
{
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        loop_fail(what, rd_kafka_err2str(code));
    }
}

/* A report that is asked for makes flush return at once; without one each commit waits 10 ms. */
static void delivered(rd_kafka_t *producer, const rd_kafka_message_t *record, void *opaque)
{
    (void)producer;
    struct loop *loop = opaque;
    loop->undelivered += record->err != RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Any rebalance but the first is foreign to a benchmark. */
static void rebalanced(rd_kafka_t *consumer, rd_kafka_resp_err_t code,
                       rd_kafka_topic_partition_list_t *partitions, void *opaque)
{
    struct loop *loop = opaque;
    if (code != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        if (!loop_ended(loop)) {
            loop_fail("group", "the partitions were taken away");
        }
        rd_kafka_assign(consumer, NULL);
        return;
    }
    if (partitions->cnt != loop->partition_count) {
        loop_fail("group", "another member has partitions");
    }
    expect_code("assign", rd_kafka_assign(consumer, partitions));
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char why[256];
    if (rd_kafka_conf_set(conf, name, value, why, sizeof why) != RD_KAFKA_CONF_OK) {
        loop_fail(name, why);
    }
}

static rd_kafka_conf_t *conf_common(struct loop *loop)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", loop->brokers);
    set(conf, "socket.nagle.disable", "true");
    set(conf, "log_level", "3"); /* no warning that the consumer takes retry.backoff.ms */
    set(conf, "retry.backoff.ms", "5");
    rd_kafka_conf_set_opaque(conf, loop);
    return conf;
}

static rd_kafka_t *consumer_open(struct loop *loop)
{
    rd_kafka_conf_t *conf = conf_common(loop);
    set(conf, "group.id", loop->group);
    set(conf, "isolation.level", "read_committed");
    set(conf, "enable.auto.commit", "false");
    set(conf, "enable.auto.offset.store", "false");
    set(conf, "auto.offset.reset", "earliest");
    set(conf, "fetch.wait.max.ms", "20");
    set(conf, "queued.min.messages", "1000000");
    set(conf, "queued.max.messages.kbytes", "262144");
    rd_kafka_conf_set_rebalance_cb(conf, rebalanced);
    char why[256];
    rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (consumer == NULL) {
        loop_fail("consumer", why);
    }
    rd_kafka_poll_set_consumer(consumer);
    return consumer;
}

static rd_kafka_t *producer_open(struct loop *loop)
{
    rd_kafka_conf_t *conf = conf_common(loop);
    set(conf, "transactional.id", loop->group);
    set(conf, "linger.ms", "5");
    set(conf, "queue.buffering.max.messages", "1000000");
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    char why[256];
    rd_kafka_t *producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (producer == NULL) {
        loop_fail("producer", why);
    }
    expect("init_transactions", rd_kafka_init_transactions(producer, 30000));
    return producer;
}

/* A handle whose metadata is known: a topic met first in a transaction costs its commit a second.
 */
static rd_kafka_topic_t *topic_open(struct loop *loop, const char *name)
{
    rd_kafka_topic_t *topic = rd_kafka_topic_new(loop->producer, name, NULL);
    const struct rd_kafka_metadata *metadata;
    expect_code(name, rd_kafka_metadata(loop->producer, 0, topic, &metadata, 10000));
    rd_kafka_metadata_destroy(metadata);
    return topic;
}

static void learn_input(struct loop *loop)
{
    rd_kafka_topic_t *topic = rd_kafka_topic_new(loop->consumer, loop->input, NULL);
    const struct rd_kafka_metadata *metadata;
    expect_code(loop->input, rd_kafka_metadata(loop->consumer, 0, topic, &metadata, 10000));
    loop->partition_count = metadata->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(topic);
    if (loop->partition_count < 1 || loop->partition_count > LOOP_PARTITIONS_MAX) {
        loop_fail(loop->input, "it does not exist, or has too many partitions");
    }
    for (int32_t p = 0; p < loop->partition_count; p++) {
        int64_t start;
        expect_code("watermarks", rd_kafka_query_watermark_offsets(loop->consumer, loop->input, p,
                                                                   &start, &loop->end[p], 10000));
        loop->next[p] = loop->committed[p] = start;
        loop->end[p] = loop->follow ? INT64_MAX : loop->end[p];
    }
}

static void usage(const char *program)
{
    fprintf(stderr,
            "usage: %s --brokers HOST:PORT --input TOPIC --output TOPIC --group NAME\n"
            "  [--changelog TOPIC --state DIRECTORY] [--interval MS] [--records MAX] [--follow]\n",
            program);
    exit(2);
}

static void read_options(struct loop *loop, int argc, char **argv)
{
    static const struct option options[] = {{"brokers", 1, NULL, 'b'},  {"input", 1, NULL, 'i'},
                                            {"output", 1, NULL, 'o'},   {"changelog", 1, NULL, 'c'},
                                            {"group", 1, NULL, 'g'},    {"state", 1, NULL, 's'},
                                            {"interval", 1, NULL, 't'}, {"records", 1, NULL, 'r'},
                                            {"follow", 0, NULL, 'f'},   {NULL, 0, NULL, 0}};
    loop->interval_us = 100000;
    loop->records_max = 100000;
    for (int letter; (letter = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (letter) {
        case 'b':
            loop->brokers = optarg;
            break;
        case 'i':
            loop->input = optarg;
            break;
        case 'o':
            loop->output = optarg;
            break;
        case 'c':
            loop->changelog = optarg;
            break;
        case 'g':
            loop->group = optarg;
            break;
        case 's':
            loop->state_directory = optarg;
            break;
        case 't':
            loop->interval_us = strtoll(optarg, NULL, 10) * 1000;
            break;
        case 'r':
            loop->records_max = strtoll(optarg, NULL, 10);
            break;
        case 'f':
            loop->follow = true;
            break;
        default:
            usage(argv[0]);
        }
    }
    if (loop->brokers == NULL || loop->input == NULL || loop->output == NULL ||
        loop->group == NULL || loop->interval_us <= 0 || loop->records_max <= 0 || optind != argc) {
        usage(argv[0]);
    }
}

void loop_open(struct loop *loop, int argc, char **argv)
{
    memset(loop, 0, sizeof *loop);
    loop->exec_us = loop_now_us();
    read_options(loop, argc, argv);
    loop->producer = producer_open(loop);
    loop->output_topic = topic_open(loop, loop->output);
    if (loop->changelog != NULL) {
        loop->changelog_topic = topic_open(loop, loop->changelog);
    }
    loop->consumer = consumer_open(loop);
    learn_input(loop);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, loop->input, RD_KAFKA_PARTITION_UA);
    expect_code("subscribe", rd_kafka_subscribe(loop->consumer, topics));
    rd_kafka_topic_partition_list_destroy(topics);
}

rd_kafka_message_t *loop_take(struct loop *loop)
{
    rd_kafka_message_t *record = rd_kafka_consumer_poll(loop->consumer, 5);
    loop->idle = record == NULL;
    if (record == NULL) {
        return NULL;
    }
    if (record->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        loop_fail("consume", rd_kafka_message_errstr(record));
    }
    if (loop->taken++ == 0) {
        expect("begin_transaction", rd_kafka_begin_transaction(loop->producer));
        loop->began_us = loop_now_us();
    }
    loop->next[record->partition] = record->offset + 1;
    return record;
}

void loop_send(struct loop *loop, rd_kafka_topic_t *topic, int32_t partition, const void *key,
               size_t key_size, const void *value, size_t value_size)
{
    while (rd_kafka_produce(topic, partition, RD_KAFKA_MSG_F_COPY, (void *)(uintptr_t)value,
                            value_size, key, key_size, NULL) != 0) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            loop_fail("produce", rd_kafka_err2str(rd_kafka_last_error()));
        }
        rd_kafka_poll(loop->producer, 10);
    }
}

static bool at_end(const struct loop *loop, const int64_t *offsets)
{
    for (int32_t p = 0; p < loop->partition_count; p++) {
        if (offsets[p] < loop->end[p]) {
            return false;
        }
    }
    return true;
}

bool loop_due(struct loop *loop)
{
    /* The clock and the delivery reports are looked at now and then only. */
    bool look = loop->idle || loop->taken % 16 == 0 || loop->taken >= loop->records_max;
    if (loop->taken == 0 || !(look || at_end(loop, loop->next))) {
        return false;
    }
    rd_kafka_poll(loop->producer, 0);
    return loop->taken >= loop->records_max ||
           loop_now_us() - loop->began_us >= loop->interval_us || at_end(loop, loop->next);
}

void loop_commit(struct loop *loop)
{
    expect_code("flush", rd_kafka_flush(loop->producer, 30000));
    if (loop->undelivered > 0) {
        loop_fail("produce", "the broker refused records");
    }
    rd_kafka_topic_partition_list_t *offsets =
        rd_kafka_topic_partition_list_new(loop->partition_count);
    for (int32_t p = 0; p < loop->partition_count; p++) {
        if (loop->next[p] > loop->committed[p]) {
            rd_kafka_topic_partition_list_add(offsets, loop->input, p)->offset = loop->next[p];
        }
    }
    rd_kafka_consumer_group_metadata_t *member = rd_kafka_consumer_group_metadata(loop->consumer);
    expect("send_offsets",
           rd_kafka_send_offsets_to_transaction(loop->producer, offsets, member, 30000));
    rd_kafka_consumer_group_metadata_destroy(member);
    rd_kafka_topic_partition_list_destroy(offsets);
    expect("commit_transaction", rd_kafka_commit_transaction(loop->producer, -1));

    memcpy(loop->committed, loop->next, sizeof loop->next);
    loop->last_commit_us = loop_now_us();
    loop->records += loop->taken;
    loop->taken = 0;
    if (loop->transactions++ == 0) {
        loop->first_commit_us = loop->last_commit_us;
        loop->records_first = loop->records;
    }
}

bool loop_ended(const struct loop *loop)
{
    return at_end(loop, loop->committed);
}

void loop_close(struct loop *loop)
{
    printf("{\"records\": %lld, \"transactions\": %lld, \"seconds_from_exec\": %.6f, "
           "\"seconds_to_first_commit\": %.6f, \"seconds_from_first_commit\": %.6f, "
           "\"records_after_first_commit\": %lld}\n",
           (long long)loop->records, (long long)loop->transactions,
           (double)(loop->last_commit_us - loop->exec_us) / 1e6,
           (double)(loop->first_commit_us - loop->exec_us) / 1e6,
           (double)(loop->last_commit_us - loop->first_commit_us) / 1e6,
           (long long)(loop->records - loop->records_first));
    rd_kafka_consumer_close(loop->consumer);
    rd_kafka_destroy(loop->consumer);
    if (loop->changelog_topic != NULL) {
        rd_kafka_topic_destroy(loop->changelog_topic);
    }
    rd_kafka_topic_destroy(loop->output_topic);
    rd_kafka_destroy(loop->producer);
}
