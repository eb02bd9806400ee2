/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/broker.h"

#include <criterion/criterion.h>
#include <string.h>

static void refuses(const char *name, const char *word)
{
    const char *reason = kafka_property_refusal("properties", name);
    cr_assert_not_null(reason, "%s is allowed", name);
    cr_assert(strstr(reason, word) != NULL, "%s: \"%s\" lacks \"%s\"", name, reason, word);
}

Test(kafka_properties, what_connects_and_secures_is_allowed_for_all_handles_together)
{
    const char *const names[] = {"bootstrap.servers", "security.protocol", "sasl.mechanism",
                                 "sasl.password",     "ssl.ca.location",   "client.id"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cr_assert_null(kafka_property_refusal("properties", names[i]), "%s", names[i]);
        const char *reason = kafka_property_refusal("consumer", names[i]);
        cr_assert_not_null(reason, "%s", names[i]);
        cr_assert(strstr(reason, "broker.properties") != NULL, "%s", reason);
    }
}

Test(kafka_properties, what_tunes_is_allowed_where_it_has_an_effect)
{
    cr_assert_null(kafka_property_refusal("producer", "linger.ms"));
    cr_assert_null(kafka_property_refusal("producer", "compression.type"));
    cr_assert_null(kafka_property_refusal("properties", "linger.ms"));
    cr_assert_null(kafka_property_refusal("consumer", "fetch.wait.max.ms"));
    cr_assert_null(kafka_property_refusal("consumer", "socket.timeout.ms"));
    const char *reason = kafka_property_refusal("consumer", "linger.ms");
    cr_assert(reason != NULL && strstr(reason, "broker.producer") != NULL, "%s", reason);
    reason = kafka_property_refusal("producer", "fetch.min.bytes");
    cr_assert(reason != NULL && strstr(reason, "broker.consumer") != NULL, "%s", reason);
}

Test(kafka_properties, what_decides_exactly_once_is_refused)
{
    const char *const names[] = {"enable.auto.commit",
                                 "isolation.level",
                                 "enable.idempotence",
                                 "acks",
                                 "retries",
                                 "enable.auto.offset.store",
                                 "max.in.flight.requests.per.connection",
                                 "auto.commit.interval.ms",
                                 "request.required.acks"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        refuses(names[i], "decides exactly-once");
    }
}

Test(kafka_properties, what_has_a_key_of_its_own_names_it)
{
    refuses("group.id", "\"application\"");
    refuses("group.instance.id", "\"instance\"");
    refuses("transactional.id", "\"application\"");
    refuses("session.timeout.ms", "\"broker.session_timeout\"");
    refuses("transaction.timeout.ms", "\"broker.transaction_timeout\"");
    refuses("max.poll.interval.ms", "\"callback_timeout\"");
    refuses("queued.max.messages.kbytes", "\"broker.prefetch\"");
    refuses("auto.offset.reset", "\"sources.NAME.start\"");
}

Test(kafka_properties, what_loads_or_runs_code_or_trusts_anybody_is_refused)
{
    refuses("plugin.library.paths", "load code");
    refuses("ssl.engine.location", "load code");
    refuses("ssl.engine.id", "load code");
    refuses("ssl.providers", "load code");
    refuses("sasl.kerberos.kinit.cmd", "shell");
    refuses("enable.ssl.certificate.verification", "always verified");
    refuses("ssl.endpoint.identification.algorithm", "always verified");
}

Test(kafka_properties, what_nobody_thought_about_is_refused)
{
    refuses("some.new.property", "docs/kafka.md");
    refuses("Linger.ms", "docs/kafka.md"); /* names are exact */
    refuses("Enable.Auto.Commit", "decides exactly-once");
    refuses("test.mock.num.brokers", "tests");
    refuses("error_cb", "callback");
}
