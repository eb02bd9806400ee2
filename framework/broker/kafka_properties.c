/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka properties: which librdkafka properties a topology file may set. An allow list, so that
 * what a newer librdkafka brings is refused until somebody has thought about it; and for the
 * refused ones that people try, the reason and the key to use instead.
 */
#include "base/status.h"
#include "broker/broker.h"

#include <string.h>
#include <strings.h>

enum { IN_PROPERTIES = 1, IN_CONSUMER = 2, IN_PRODUCER = 4, ANYWHERE = 7 };

struct allowed {
    const char *name; /* a trailing * matches any rest */
    int where;
};

static const struct allowed allowed[] = {
    /* Where and who. Only in broker.properties: the three kinds of handle must agree. */
    {"bootstrap.servers", IN_PROPERTIES},
    {"metadata.broker.list", IN_PROPERTIES},
    {"client.id", IN_PROPERTIES},
    {"security.protocol", IN_PROPERTIES},
    {"sasl.mechanism", IN_PROPERTIES},
    {"sasl.mechanisms", IN_PROPERTIES},
    {"sasl.username", IN_PROPERTIES},
    {"sasl.password", IN_PROPERTIES},
    {"sasl.kerberos.service.name", IN_PROPERTIES},
    {"sasl.kerberos.principal", IN_PROPERTIES},
    {"sasl.kerberos.keytab", IN_PROPERTIES},
    {"sasl.kerberos.min.time.before.relogin", IN_PROPERTIES},
    {"sasl.oauthbearer.method", IN_PROPERTIES},
    {"sasl.oauthbearer.config", IN_PROPERTIES},
    {"sasl.oauthbearer.client.id", IN_PROPERTIES},
    {"sasl.oauthbearer.client.secret", IN_PROPERTIES},
    {"sasl.oauthbearer.scope", IN_PROPERTIES},
    {"sasl.oauthbearer.extensions", IN_PROPERTIES},
    {"sasl.oauthbearer.token.endpoint.url", IN_PROPERTIES},
    {"ssl.ca.location", IN_PROPERTIES},
    {"ssl.ca.pem", IN_PROPERTIES},
    {"ssl.certificate.location", IN_PROPERTIES},
    {"ssl.certificate.pem", IN_PROPERTIES},
    {"ssl.key.location", IN_PROPERTIES},
    {"ssl.key.pem", IN_PROPERTIES},
    {"ssl.key.password", IN_PROPERTIES},
    {"ssl.keystore.location", IN_PROPERTIES},
    {"ssl.keystore.password", IN_PROPERTIES},
    {"ssl.crl.location", IN_PROPERTIES},
    {"ssl.cipher.suites", IN_PROPERTIES},
    {"ssl.curves.list", IN_PROPERTIES},
    {"ssl.sigalgs.list", IN_PROPERTIES},
    /* Network. */
    {"broker.address.family", ANYWHERE},
    {"broker.address.ttl", ANYWHERE},
    {"client.rack", IN_PROPERTIES | IN_CONSUMER},
    {"socket.timeout.ms", ANYWHERE},
    {"socket.send.buffer.bytes", ANYWHERE},
    {"socket.receive.buffer.bytes", ANYWHERE},
    {"socket.keepalive.enable", ANYWHERE},
    {"socket.nagle.disable", ANYWHERE},
    {"socket.max.fails", ANYWHERE},
    {"socket.connection.setup.timeout.ms", ANYWHERE},
    {"connections.max.idle.ms", ANYWHERE},
    {"reconnect.backoff.ms", ANYWHERE},
    {"reconnect.backoff.max.ms", ANYWHERE},
    {"metadata.max.age.ms", ANYWHERE},
    {"topic.metadata.refresh.interval.ms", ANYWHERE},
    {"topic.metadata.refresh.fast.interval.ms", ANYWHERE},
    {"topic.metadata.refresh.sparse", ANYWHERE},
    {"max.in.flight", IN_PROPERTIES | IN_CONSUMER},
    {"receive.message.max.bytes", ANYWHERE},
    {"message.copy.max.bytes", ANYWHERE},
    {"api.version.request.timeout.ms", ANYWHERE},
    {"debug", ANYWHERE},
    {"log_level", ANYWHERE},
    {"log.connection.close", ANYWHERE},
    {"log.thread.name", ANYWHERE},
    /* Reading. */
    {"fetch.wait.max.ms", IN_PROPERTIES | IN_CONSUMER},
    {"fetch.min.bytes", IN_PROPERTIES | IN_CONSUMER},
    {"fetch.message.max.bytes", IN_PROPERTIES | IN_CONSUMER},
    {"max.partition.fetch.bytes", IN_PROPERTIES | IN_CONSUMER},
    {"fetch.error.backoff.ms", IN_PROPERTIES | IN_CONSUMER},
    {"fetch.queue.backoff.ms", IN_PROPERTIES | IN_CONSUMER},
    {"check.crcs", IN_PROPERTIES | IN_CONSUMER},
    /* Writing. */
    {"linger.ms", IN_PROPERTIES | IN_PRODUCER},
    {"queue.buffering.max.ms", IN_PROPERTIES | IN_PRODUCER},
    {"queue.buffering.max.messages", IN_PROPERTIES | IN_PRODUCER},
    {"queue.buffering.max.kbytes", IN_PROPERTIES | IN_PRODUCER},
    {"batch.size", IN_PROPERTIES | IN_PRODUCER},
    {"batch.num.messages", IN_PROPERTIES | IN_PRODUCER},
    {"compression.type", IN_PROPERTIES | IN_PRODUCER},
    {"compression.codec", IN_PROPERTIES | IN_PRODUCER},
    {"compression.level", IN_PROPERTIES | IN_PRODUCER},
};

struct refused {
    const char *name; /* a trailing * matches any rest */
    const char *reason;
};

#define DECIDES "decides exactly-once: Leat sets it"

static const struct refused refused[] = {
    {"enable.auto.commit", DECIDES " (offsets go with the transaction)"},
    {"enable.auto.offset.store", DECIDES},
    {"auto.commit.*", DECIDES " (\"commit.interval\" says how often)"},
    {"isolation.level", DECIDES " (read_committed)"},
    {"enable.idempotence", DECIDES " (true)"},
    {"enable.gapless.guarantee", DECIDES},
    {"acks", DECIDES " (all)"},
    {"request.required.acks", DECIDES " (all)"},
    {"max.in.flight.requests.per.connection", DECIDES},
    {"retries", DECIDES},
    {"message.send.max.retries", DECIDES},
    {"retry.backoff.*", "decides how long a commit takes: Leat sets it (5 ms)"},
    {"queuing.strategy", DECIDES},
    {"delivery.report.only.error", DECIDES},
    {"allow.auto.create.topics", "nothing may create a topic by accident: Leat sets it (false)"},
    {"enable.partition.eof", DECIDES},
    {"auto.offset.reset", "use \"sources.NAME.start\" and \"sources.NAME.on_offset_lost\""},
    {"group.id", "use \"application\""},
    {"group.instance.id", "use \"instance\" and \"broker.membership\""},
    {"transactional.id", "use \"application\" and \"instance\": it is made of them"},
    {"session.timeout.ms", "use \"broker.session_timeout\""},
    {"heartbeat.interval.ms", "follows \"broker.session_timeout\""},
    {"max.poll.interval.ms", "use \"callback_timeout\""},
    {"transaction.timeout.ms", "use \"broker.transaction_timeout\""},
    {"message.timeout.ms", "use \"broker.transaction_timeout\""},
    {"delivery.timeout.ms", "use \"broker.transaction_timeout\""},
    {"request.timeout.ms", "use \"broker.transaction_timeout\""},
    {"queued.min.messages", "use \"broker.prefetch\""},
    {"queued.max.messages.kbytes", "use \"broker.prefetch\""},
    {"fetch.max.bytes", "use \"broker.prefetch\""},
    {"message.max.bytes", "Leat sets it, so that values of 16 MiB fit"},
    {"partition.assignment.strategy", "Leat sets it (range): tasks need their partitions together"},
    {"group.protocol*", "Leat speaks the classic protocol alone"},
    {"group.remote.assignor", "Leat speaks the classic protocol alone"},
    {"partitioner", "sinks partition as Java's default does; see \"sinks.NAME.partition\""},
    {"partitioner_cb", "sinks partition as Java's default does; see \"sinks.NAME.partition\""},
    {"statistics.interval.ms", "Leat has its own metrics"},
    {"enable.metrics.push", "Leat has its own metrics"},
    {"builtin.features", "it only tells what librdkafka can do"},
    {"plugin.library.paths", "it would load code into this process"},
    {"sasl.kerberos.kinit.cmd", "it would run a shell command"},
    {"ssl.engine.*", "it would load code into this process"},
    {"ssl.providers", "it would load code into this process"},
    {"enable.ssl.certificate.verification", "the broker's certificate is always verified: give its "
                                            "authority in \"ssl.ca.location\""},
    {"ssl.endpoint.identification.algorithm", "the broker's name is always verified (https)"},
    {"enable.sasl.oauthbearer.unsecure.jwt", "unsigned tokens are not for use"},
    {"api.version.request", "every supported broker answers it"},
    {"api.version.fallback.ms", "every supported broker answers it"},
    {"broker.version.fallback", "every supported broker tells its version"},
    {"test.*", "it is for librdkafka's own tests"},
    {"*_cb", "a callback cannot be written in a file"},
    {"opaque", "a callback cannot be written in a file"},
    {"offset.store.*", DECIDES},
    {"consume.callback.max.messages", "it has no effect here"},
    {"produce.offset.report", DECIDES},
    {"log.queue", "Leat writes librdkafka's lines into its own log"},
};

/* `pattern` with one * at its beginning or end, or none. */
static bool matches(const char *pattern, const char *name)
{
    size_t size = strlen(pattern);
    ensure(size > 0);
    if (pattern[size - 1] == '*') {
        return strncasecmp(pattern, name, size - 1) == 0;
    }
    if (pattern[0] == '*') {
        size_t length = strlen(name);
        return length >= size - 1 && strcasecmp(name + length - (size - 1), pattern + 1) == 0;
    }
    return strcasecmp(pattern, name) == 0;
}

const char *kafka_property_refusal(const char *scope, const char *name)
{
    ensure(scope != NULL && name != NULL);
    int where = strcmp(scope, "consumer") == 0   ? IN_CONSUMER
                : strcmp(scope, "producer") == 0 ? IN_PRODUCER
                                                 : IN_PROPERTIES;
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) {
        if (strcmp(allowed[i].name, name) != 0) {
            continue;
        }
        if ((allowed[i].where & where) != 0) {
            return NULL;
        }
        return (allowed[i].where & IN_PROPERTIES) != 0 && allowed[i].where == IN_PROPERTIES
                   ? "is one for all: set it in \"broker.properties\""
               : where == IN_CONSUMER ? "is for writing: set it in \"broker.producer\""
                                      : "is for reading: set it in \"broker.consumer\"";
    }
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (matches(refused[i].name, name)) {
            return refused[i].reason;
        }
    }
    return "is not in the list of properties that may be set (docs/kafka.md)";
}
