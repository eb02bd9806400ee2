/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local actor: another process at an embedded log, for tests to kill, stop and look at.
 *
 *   local_actor write DIR      transactions for ever: record n to a[0] and b[0], offset n + 1 of a;
 * prints n after each commit local_actor member DIR GROUP INSTANCE TOPIC SESSION_MS   joins, prints
 * what the group says, answers local_actor hold DIR       takes the log's write lock, prints
 * "held", stops itself inside
 */
#include "broker/broker.h"
#include "broker/local_lock.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if ((call) != STATUS_OK) {                                                                 \
            (void)fprintf(stderr, "%s: %s\n", #call, error.text);                                  \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static struct broker *open_broker(const char *directory, int64_t session_ms)
{
    struct error error;
    struct broker *broker = NULL;
    const struct broker_settings settings = {.directory = directory,
                                             .connect_timeout_ms = 1000,
                                             .session_timeout_ms = session_ms,
                                             .transaction_timeout_ms = 10000,
                                             .callback_timeout_ms = 10000,
                                             .prefetch_size = 1 << 20};
    MUST(broker_local_open(&settings, &broker, &error));
    return broker;
}

static void say(const char *text)
{
    (void)printf("%s\n", text);
    (void)fflush(stdout);
}

static void write_for_ever(const char *directory)
{
    struct error error;
    struct broker *broker = open_broker(directory, 10000);
    struct producer *producer = NULL;
    struct consumer *consumer = NULL;
    struct consumer_event event;
    const char *topics[] = {"a"};
    const struct consumer_options options = {
        .group = "writer", .instance_id = "w-0", .topics = topics, .topic_count = 1};
    const struct consumer_assignment assignment = {.topic = "a"};
    uint32_t a = 0;
    uint32_t b = 0;
    int32_t count = 0;
    MUST(producer_open(broker, "writer/w/0", &producer, &error));
    MUST(producer_topic(producer, "a", &a, &count, &error));
    MUST(producer_topic(producer, "b", &b, &count, &error));
    MUST(consumer_open(broker, &options, &consumer, &error));
    do {
        MUST(consumer_poll(consumer, 1000, &event, &error));
    } while (event.kind != CONSUMER_ASSIGNED);
    MUST(consumer_assign(consumer, &assignment, 1, &error));
    struct broker_offset offset = {.topic = "a"};
    MUST(consumer_committed(consumer, &offset, 1, 1000, &error));
    for (int64_t n = offset.offset < 0 ? 0 : offset.offset;; n++) {
        char text[24];
        (void)snprintf(text, sizeof text, "%lld", (long long)n);
        struct broker_output output = {.topic = a, .value = bytes_of(text), .timestamp_ms = -1};
        MUST(producer_begin(producer, &error));
        MUST(producer_send(producer, &output, &error));
        output.topic = b;
        MUST(producer_send(producer, &output, &error));
        MUST(producer_flush(producer, 1000, &error));
        offset.offset = n + 1;
        MUST(producer_send_offsets(producer, consumer, &offset, 1, &error));
        MUST(producer_commit(producer, 10000, &error));
        say(text);
    }
}

static void be_member(char **words)
{
    struct error error;
    struct broker *broker = open_broker(words[0], strtol(words[4], NULL, 10));
    struct consumer *consumer = NULL;
    const char *topics[] = {words[3]};
    const struct consumer_options options = {.group = words[1],
                                             .instance_id = *words[2] == 0 ? NULL : words[2],
                                             .topics = topics,
                                             .topic_count = 1};
    MUST(consumer_open(broker, &options, &consumer, &error));
    for (;;) {
        struct consumer_event event;
        MUST(consumer_poll(consumer, 1000, &event, &error));
        if (event.kind == CONSUMER_ASSIGNED) {
            (void)printf("assigned %zu\n", event.partition_count);
            say("ready");
            MUST(consumer_assign(consumer, NULL, 0, &error));
        } else if (event.kind == CONSUMER_REVOKED || event.kind == CONSUMER_LOST) {
            say(event.kind == CONSUMER_LOST ? "lost" : "revoked");
            MUST(consumer_unassign(consumer, &error));
        }
    }
}

static void hold(const char *directory)
{
    struct error error;
    struct local_lock lock;
    int64_t waited = 0;
    MUST(local_lock_open(&lock, directory, &error));
    MUST(local_lock_take(&lock, 10000, &waited, &error));
    say("held");
    (void)raise(SIGSTOP);
    local_lock_release(&lock);
    say("released");
    local_lock_close(&lock);
}

int main(int argc, char **argv)
{
    if (argc >= 3 && strcmp(argv[1], "write") == 0) {
        write_for_ever(argv[2]);
    } else if (argc >= 7 && strcmp(argv[1], "member") == 0) {
        be_member(argv + 2);
    } else if (argc >= 3 && strcmp(argv[1], "hold") == 0) {
        hold(argv[2]);
    }
    return 0;
}
