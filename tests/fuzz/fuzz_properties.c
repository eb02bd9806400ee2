/* SPDX-License-Identifier: Apache-2.0 */
/*
 * librdkafka properties of a topology file, as lines "scope name=value". Whatever passes the filter
 * is given to librdkafka as the brokers do it, for every role, and then no property that decides
 * exactly-once may differ from what it is without them: so an alias, another spelling or a property
 * that drags another along is found, not only a name on a list. A refusal names a reason, and a
 * refusal by librdkafka is one that says so.
 */
#include "broker/kafka_handle.h"

#include "fuzz_input.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

enum { LINES_MOST = 8 };

/* What must be as Leat set it. Not from the tables that are under test. */
static const char *const deciding[] = {
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.commit.interval.ms",
    "isolation.level",
    "enable.idempotence",
    "enable.gapless.guarantee",
    "acks",
    "request.required.acks",
    "retries",
    "message.send.max.retries",
    "retry.backoff.ms",
    "queuing.strategy",
    "delivery.report.only.error",
    "allow.auto.create.topics",
    "enable.partition.eof",
    "auto.offset.reset",
    "group.id",
    "group.instance.id",
    "group.protocol.type",
    "transactional.id",
    "transaction.timeout.ms",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "request.timeout.ms",
    "partition.assignment.strategy",
    "partitioner",
    "queued.min.messages",
    "queued.max.messages.kbytes",
    "fetch.max.bytes",
    "message.max.bytes",
    "offset.store.method",
    "plugin.library.paths",
    "ssl.engine.location",
    "ssl.engine.id",
    "ssl.providers",
    "sasl.kerberos.kinit.cmd",
    "enable.ssl.certificate.verification",
    "ssl.endpoint.identification.algorithm",
    "enable.sasl.oauthbearer.unsecure.jwt",
    "api.version.request",
    "broker.version.fallback",
    "test.mock.num.brokers",
    "statistics.interval.ms",
};

/* More than five and the order of an idempotent producer is lost; librdkafka refuses such a
 * producer, but only when it is made. */
static const char in_flight[] = "max.in.flight.requests.per.connection";

enum { DECIDING = sizeof deciding / sizeof *deciding };

static bool value_of(const rd_kafka_conf_t *conf, const char *name, char *value, size_t size)
{
    value[0] = 0;
    return rd_kafka_conf_get(conf, name, value, &size) == RD_KAFKA_CONF_OK;
}

static void compare(const rd_kafka_conf_t *plain, const rd_kafka_conf_t *conf)
{
    char wanted[512];
    char found[512];
    for (size_t i = 0; i < DECIDING; i++) {
        bool known = value_of(plain, deciding[i], wanted, sizeof wanted);
        if (!value_of(conf, deciding[i], found, sizeof found)) {
            continue; /* a topic's, or of a newer librdkafka */
        }
        ensure(known);
        if (strcmp(wanted, found) != 0) {
            (void)fprintf(stderr, "%s is \"%s\", not \"%s\"\n", deciding[i], found, wanted);
        }
        ensure(strcmp(wanted, found) == 0);
    }
}

/* A producer with more requests in flight must never come to life. Left alone, librdkafka lowers
 * its default by itself. */
static void check_in_flight(const rd_kafka_conf_t *plain, rd_kafka_conf_t *conf)
{
    char usual[64];
    char value[64];
    ensure(value_of(plain, in_flight, usual, sizeof usual));
    ensure(value_of(conf, in_flight, value, sizeof value));
    if (strcmp(usual, value) == 0 || strtol(value, NULL, 10) <= 5) {
        return;
    }
    char words[256];
    rd_kafka_conf_t *copy = rd_kafka_conf_dup(conf);
    ensure(rd_kafka_conf_set(copy, "transactional.id", "t", words, sizeof words) ==
           RD_KAFKA_CONF_OK);
    ensure(rd_kafka_new(RD_KAFKA_PRODUCER, copy, words, sizeof words) == NULL);
    ensure(words[0] != 0);
    rd_kafka_conf_destroy(copy);
}

static void check_role(struct broker_kafka *broker, enum kafka_role role)
{
    static rd_kafka_conf_t *plain[KAFKA_PRODUCER + 1];
    struct error error = {0};
    if (plain[role] == NULL) {
        struct broker_kafka none = *broker;
        none.common.count = none.consumer.count = none.producer.count = 0;
        plain[role] = kafka_conf(&none, role, false, &error);
        ensure(plain[role] != NULL);
        /* A topic's property, as it is anyhow: with the first of them the others are there too. */
        ensure(kafka_conf_set(plain[role], "compression.level", "-1", &error) == STATUS_OK);
    }
    rd_kafka_conf_t *conf = kafka_conf(broker, role, false, &error);
    if (conf == NULL) {
        fuzz_check_refusal(STATUS_BAD_CONFIG, &error);
        ensure(strstr(error.text, "librdkafka") != NULL);
        return;
    }
    compare(plain[role], conf);
    if (role == KAFKA_PRODUCER) {
        check_in_flight(plain[role], conf);
    }
    rd_kafka_conf_destroy(conf);
}

/* A deciding name in any letters, with blanks around it, is refused. */
static void check_name(const char *scope, const char *name)
{
    const char *reason = kafka_property_refusal(scope, name);
    ensure(reason == NULL || reason[0] != 0);
    char lower[256];
    size_t size = 0;
    for (const char *at = name; *at != 0 && size < sizeof lower - 1; at++) {
        if (isspace((unsigned char)*at) == 0) {
            lower[size++] = (char)tolower((unsigned char)*at);
        }
    }
    lower[size] = 0;
    for (size_t i = 0; i < DECIDING; i++) {
        ensure(strcmp(lower, deciding[i]) != 0 || reason != NULL);
    }
    ensure(strcmp(lower, in_flight) != 0 || reason != NULL);
}

/* Files that librdkafka opens and brokers that it would connect to are no matter of this. */
static bool is_safe(const char *name)
{
    return strstr(name, "location") == NULL && strstr(name, "keytab") == NULL &&
           strstr(name, "debug") == NULL;
}

static void take_line(struct broker_kafka *broker, char *line)
{
    static const char *const scopes[] = {"properties", "consumer", "producer"};
    struct kafka_property_list *lists[] = {&broker->common, &broker->consumer, &broker->producer};
    int which = line[0] == 'c' ? 1 : line[0] == 'w' ? 2 : 0;
    char *name = line[0] == 0 ? line : line + 1;
    char *equals = strchr(name, '=');
    char *value = equals == NULL ? line + strlen(line) : equals + 1;
    if (equals != NULL) {
        *equals = 0;
    }
    check_name(scopes[which], name);
    if (kafka_property_refusal(scopes[which], name) == NULL && is_safe(name)) {
        struct kafka_property_list *list = lists[which];
        list->items[list->count++] = (struct broker_property){name, value, false};
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size > 4096 ? 4096 : size};
    struct broker_property items[3][LINES_MOST];
    struct broker_kafka broker = {
        .session_timeout_ms = 10000,
        .transaction_timeout_ms = 10000,
        .callback_timeout_ms = 300000,
        .prefetch_size = 64 << 20,
        .common = {items[0], 0},
        .consumer = {items[1], 0},
        .producer = {items[2], 0},
    };
    char *lines[LINES_MOST];
    size_t count = 0;
    while (count < LINES_MOST && (input.left > 0 || count == 0)) {
        lines[count] = fuzz_line(&input);
        take_line(&broker, lines[count++]);
    }
    for (int role = KAFKA_PROBE; role <= KAFKA_PRODUCER; role++) {
        check_role(&broker, (enum kafka_role)role);
    }
    while (count > 0) {
        free(lines[--count]);
    }
    return 0;
}
