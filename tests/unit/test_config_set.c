/* SPDX-License-Identifier: Apache-2.0 */
#include "config_case.h"

#include <criterion/criterion.h>
#include <string.h>

static const char *const file =
    "{ \"application\": \"app\", \"workers\": 2,\n"
    "  \"broker\": { \"kind\": \"kafka\", \"properties\": { \"bootstrap.servers\": \"far:1\",\n"
    "    \"security.protocol\": \"ssl\", \"sasl.password\": { \"env\": \"HOME\" } } },\n"
    "  \"sources\": { \"in\": { \"topics\": [\"a\", \"b\"] } },\n"
    "  \"operators\": { \"count\": { \"use\": \"aggregate\", \"from\": \"in\",\n"
    "    \"params\": { \"function\": \"count\" } } },\n"
    "  \"sinks\": { \"out\": { \"topic\": \"b\", \"from\": \"count\" } } }";

Test(config_set, scalars_follow_the_type_of_the_key)
{
    struct config *config = config_good(file, "application=123", "workers=3", "commit.interval=2s",
                                        "commit.size=1MiB", "sources.in.start=latest",
                                        "operators.count.retries=7", "sinks.out.topic=c", NULL);
    cr_expect_str_eq(config->application, "123", "text stays text");
    cr_expect_eq(config->workers, 3);
    cr_expect_eq(config->commit.interval_ms, 2000);
    cr_expect_eq(config->commit.size, 1 << 20);
    cr_expect_eq(config->sources[0].start, CONFIG_START_LATEST);
    cr_expect_eq(config->operators[0].retries, 7);
    cr_expect_str_eq(config->sinks[0].topic, "c");
    config_destroy(config);
}

Test(config_set, what_the_file_leaves_out_is_made)
{
    struct config *config =
        config_good(CONFIG_WITH(""), "state.durability=fast",
                    "internal_topics.properties.\"segment.ms\"=9", "instance=i", NULL);
    cr_expect(config->state.fast);
    cr_expect_str_eq(config->instance, "i");
    cr_assert_eq(config->internal_topics.properties.count, 1);
    cr_expect_str_eq(config->internal_topics.properties.items[0].value.text, "9");
    cr_expect_eq(config->internal_topics.properties.items[0].line, 0, "from the command line");
    config_destroy(config);
}

Test(config_set, the_last_one_counts)
{
    struct config *config = config_good(file, "workers=3", "workers=4", NULL);
    cr_expect_eq(config->workers, 4);
    config_destroy(config);
}

Test(config_set, names_with_dots_are_quoted)
{
    struct config *config = config_good(file, "broker.properties.\"bootstrap.servers\"=localhost:7",
                                        "$.broker.properties.\"client.id\"=x=y.z",
                                        "broker.\"consumer\".\"a\\\"b\"=1", NULL);
    cr_expect_str_eq(config->broker.common.items[0].value.text, "localhost:7");
    cr_expect_str_eq(config->broker.common.items[3].name, "client.id");
    cr_expect_str_eq(config->broker.common.items[3].value.text, "x=y.z");
    cr_expect_str_eq(config->broker.consumer.items[0].name, "a\"b");
    config_destroy(config);
}

Test(config_set, parameters_stay_text_and_secrets_may_be_set)
{
    (void)setenv("LEAT_SECRET", "s3cret-text", 1);
    struct config *config =
        config_good(file, "operators.count.params.function=sum", "operators.count.params.list=[a]",
                    "broker.properties.\"sasl.password\".env=LEAT_SECRET",
                    "broker.properties.\"ssl.key.password\"={\"env\":\"LEAT_SECRET\"}", NULL);
    cr_expect_eq(config->operators[0].params[0].value.kind, VALUE_STRING);
    cr_expect_str_eq(config->operators[0].params[0].value.text, "sum");
    cr_expect_str_eq(config->operators[0].params[1].value.text, "[a]");
    cr_expect_str_eq(config->broker.common.items[2].value.text, "s3cret-text");
    cr_expect(config->broker.common.items[2].secret);
    cr_expect_str_eq(config->broker.common.items[3].value.text, "s3cret-text");
    config_destroy(config);
}

Test(config_set, lists_are_split_at_commas_or_given_as_json)
{
    struct config *config = config_good(file, "sources.in.topics=x,y,z", "sinks.out.from=[\"in\"]",
                                        "operators.count.from={\"left\":[\"in\"]}", NULL);
    cr_assert_eq(config->sources[0].topic_count, 3);
    cr_expect_str_eq(config->sources[0].topics[2], "z");
    cr_assert_eq(config->sinks[0].from.count, 1);
    cr_expect_str_eq(config->sinks[0].from.names[0], "in");
    cr_expect_eq(config->sinks[0].from.line, 0);
    cr_expect_str_eq(config->operators[0].inputs[0].port, "left");
    config_destroy(config);
}

Test(config_set, one_topic_replaces_several_and_the_other_way_round)
{
    struct config *config = config_good(file, "sources.in.topic=x", NULL);
    cr_assert_eq(config->sources[0].topic_count, 1);
    cr_expect_str_eq(config->sources[0].topics[0], "x");
    config_destroy(config);
    config = config_good(CONFIG_WITH(""), "sources.in.topics=x,y", NULL);
    cr_assert_eq(config->sources[0].topic_count, 2);
    config_destroy(config);
}

Test(config_set, whole_objects_are_given_as_json)
{
    struct config *config =
        config_good(file, "commit={\"interval\": \"1s\", \"x-why\": 1}",
                    "operators.count={\"use\": \"distinct\", \"from\": [\"in\"]}",
                    "sinks={\"other\": {\"topic\": \"t\", \"from\": \"count\"}}", NULL);
    cr_expect_eq(config->commit.interval_ms, 1000);
    cr_expect_str_eq(config->operators[0].use, "distinct");
    cr_expect_eq(config->operators[0].param_count, 0);
    cr_assert_eq(config->sink_count, 1);
    cr_expect_str_eq(config->sinks[0].name, "other");
    config_destroy(config);
}

Test(config_set, variables_are_left_to_the_shell)
{
    struct config *config = config_good(file, "operators.count.params.pattern=${HOME}", NULL);
    cr_expect_str_eq(config->operators[0].params[1].value.text, "${HOME}");
    config_destroy(config);
}

Test(config_set, broker_replaces_that_of_the_file)
{
    struct config *config = config_good_in("x/t.json", "local:/d", file, NULL);
    cr_expect_eq(config->broker.kind, CONFIG_BROKER_LOCAL);
    cr_expect_str_eq(config->broker.directory, "/d");
    config_destroy(config);
    config = config_good_in("x/t.json", "kafka:127.0.0.1:9092", CONFIG_WITH(""), NULL);
    cr_expect_eq(config->broker.kind, CONFIG_BROKER_KAFKA);
    cr_assert_eq(config->broker.common.count, 1);
    cr_expect_str_eq(config->broker.common.items[0].value.text, "127.0.0.1:9092");
    config_destroy(config);
    config = config_good_in("x/t.json", "kafka:near:1", file, NULL);
    cr_expect_str_eq(config->broker.common.items[0].value.text, "near:1");
    cr_expect_str_eq(config->broker.common.items[1].value.text, "ssl", "the others stay");
    config_destroy(config);
}

Test(config_set, loopback_has_many_spellings)
{
    static const char *const brokers[] = {"kafka:localhost:1",
                                          "kafka:127.8.9.1:1",
                                          "kafka:[::1]:1",
                                          "kafka:LocalHost:1",
                                          "kafka:PLAINTEXT://127.0.0.1:1",
                                          "kafka:localhost:1, 127.0.0.1:2"};
    for (size_t i = 0; i < sizeof brokers / sizeof *brokers; i++) {
        struct config *config = config_good_in("t.json", brokers[i], CONFIG_WITH(""), NULL);
        cr_expect_eq(config->broker.kind, CONFIG_BROKER_KAFKA);
        config_destroy(config);
    }
}

Test(config_set, a_rule_broken_by_a_set_names_it)
{
    cr_expect_str_eq(config_bad(file, "commit.interval=9s", NULL),
                     "--set commit.interval: $.commit.interval: expected commit.interval at most "
                     "half of broker.transaction_timeout (10s), found 9s; a transaction would be "
                     "aborted before its commit");
    cr_expect_str_eq(config_bad(file, "sources.in.start=lastest", NULL),
                     "--set sources.in.start: $.sources.in.start: expected \"earliest\" or "
                     "\"latest\" or \"stop\", found \"lastest\"; did you mean \"latest\"?");
}

Test(config_set, a_long_path_leaves_room_for_what_is_wrong)
{
    char set[800];
    memset(set, 'y', sizeof set);
    memcpy(set, "sinks.out.", 10);
    memcpy(set + sizeof set - 3, "=1", 3);
    const char *text = config_bad(file, set, NULL);
    cr_expect_not_null(strstr(text, "...: "), "%s", text);
    cr_expect_not_null(strstr(text, "expected topic, from or partition"), "%s", text);
}
