/* SPDX-License-Identifier: Apache-2.0 */
#include "topology/config.h"

#include "config_case.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Test(config, what_is_left_out_has_its_documented_default)
{
    struct config *config = config_good(CONFIG_WITH(""), NULL);
    cr_expect_str_eq(config->file, "topology.json");
    cr_expect_str_eq(config->directory, ".");
    cr_expect_eq(config->broker.kind, CONFIG_BROKER_LOCAL);
    cr_expect_str_eq(config->broker.directory, "app.data");
    cr_expect_eq(config->broker.session_timeout_ms, 10000);
    cr_expect_eq(config->broker.transaction_timeout_ms, 10000);
    cr_expect_eq(config->broker.connect_timeout_ms, 60000);
    cr_expect(config->broker.static_membership);
    cr_expect_eq(config->broker.prefetch_size, 64 << 20);
    cr_expect_eq(config->broker.common.count, 0);
    cr_expect_str_eq(config->state.directory, "app.state");
    cr_expect_not(config->state.fast);
    cr_expect_eq(config->state.flush_interval_ms, 0);
    cr_expect_eq(config->operator_directory_count, 0);
    cr_expect_eq(config->workers, 1);
    cr_expect_eq(config->commit.interval_ms, 100);
    cr_expect_eq(config->commit.records, 100000);
    cr_expect_eq(config->commit.size, 64 << 20);
    cr_expect_eq(config->callback_timeout_ms, 300000);
    cr_expect_eq(config->on_error, CONFIG_ON_ERROR_FAIL);
    cr_expect_eq(config->internal_topics.replication_factor, -1);
    cr_expect_eq(config->sources[0].start, CONFIG_START_EARLIEST);
    cr_expect_eq(config->sources[0].on_offset_lost, CONFIG_LOST_STOP);
    cr_expect_eq(config->sources[0].idle_ms, 0);
    cr_expect_not(config->sinks[0].source_partition);
    config_destroy(config);
}

Test(config, the_instance_is_the_host_name_when_left_out)
{
    char host[256] = "";
    cr_assert_eq(gethostname(host, sizeof host - 1), 0);
    host[100] = 0;
    for (char *at = host; *at != 0; at++) {
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *at) ==
            NULL) {
            *at = '-';
        }
    }
    struct config *config = config_good(CONFIG_WITH(""), NULL);
    cr_assert_str_eq(config->instance, host);
    config_destroy(config);
}

static const char *const all_keys =
    "{\n"
    "  \"application\": \"word_count\",\n"
    "  \"instance\": \"a-1.b\",\n"
    "  \"broker\": {\n"
    "    \"kind\": \"kafka\", \"directory\": \"data\", \"session_timeout\": \"6s\",\n"
    "    \"transaction_timeout\": 20000, \"connect_timeout\": \"1m\", \"membership\": "
    "\"dynamic\",\n"
    "    \"prefetch\": \"1MiB\",\n"
    "    \"properties\": { \"bootstrap.servers\": \"localhost:1,[::1]:2\", \"linger.ms\": 5,\n"
    "      \"enable.something\": true, \"x-note\": null },\n"
    "    \"consumer\": { \"fetch.min.bytes\": 1 },\n"
    "    \"producer\": { \"compression.type\": \"lz4\", \"ratio\": 0.5 }\n"
    "  },\n"
    "  \"state\": { \"directory\": \"/var/state\", \"durability\": \"fast\","
    " \"flush_interval\": \"2s\" },\n"
    "  \"operator_directories\": [\"ops\", \"/opt/ops\"],\n"
    "  \"workers\": 64,\n"
    "  \"commit\": { \"interval\": \"10s\", \"records\": 7, \"size\": 1024 },\n"
    "  \"callback_timeout\": \"1h\",\n"
    "  \"on_error\": \"skip\",\n"
    "  \"internal_topics\": { \"replication_factor\": 3, \"properties\": { \"segment.ms\": 100 } "
    "},\n"
    "  \"x-owner\": { \"anything\": [null, {}] },\n"
    "  \"sources\": {\n"
    "    \"lines\": { \"topic\": \"lines\", \"start\": \"latest\", \"on_offset_lost\": "
    "\"earliest\","
    " \"idle\": \"5ms\" },\n"
    "    \"more\": { \"topics\": [\"b\", \"c\"], \"start\": \"stop\" }\n"
    "  },\n"
    "  \"operators\": {\n"
    "    \"words\": { \"use\": \"split\", \"from\": \"lines\" },\n"
    "    \"join\": { \"use\": \"./ops/join.so\", \"from\": { \"left\": [\"words\", \"more\"],"
    " \"right\": \"words.late\" },\n"
    "      \"params\": { \"a\": \"text\", \"b\": -5, \"c\": 1.5, \"d\": false, \"e\": [\"x\", "
    "\"y\"],"
    " \"f\": [] },\n"
    "      \"on_error\": \"fail\", \"retries\": 3, \"backoff\": \"1s\" }\n"
    "  },\n"
    "  \"repartitions\": { \"by_word\": { \"from\": [\"words\"], \"partitions\": 4 } },\n"
    "  \"sinks\": { \"out\": { \"topic\": \"out\", \"from\": [\"join\", \"by_word\"],"
    " \"partition\": \"source\" } }\n"
    "}\n";

Test(config, every_key_arrives)
{
    struct config *config = config_good_in("conf/t.json", NULL, all_keys, NULL);
    cr_expect_str_eq(config->application, "word_count");
    cr_expect_str_eq(config->instance, "a-1.b");
    cr_expect_eq(config->broker.kind, CONFIG_BROKER_KAFKA);
    cr_expect_str_eq(config->broker.directory, "conf/data");
    cr_expect_eq(config->broker.session_timeout_ms, 6000);
    cr_expect_eq(config->broker.transaction_timeout_ms, 20000);
    cr_expect_eq(config->broker.connect_timeout_ms, 60000);
    cr_expect_not(config->broker.static_membership);
    cr_expect_eq(config->broker.prefetch_size, 1 << 20);
    cr_expect_str_eq(config->state.directory, "/var/state");
    cr_expect(config->state.fast);
    cr_expect_eq(config->state.flush_interval_ms, 2000);
    cr_assert_eq(config->operator_directory_count, 2);
    cr_expect_str_eq(config->operator_directories[0], "conf/ops");
    cr_expect_str_eq(config->operator_directories[1], "/opt/ops");
    cr_expect_eq(config->workers, 64);
    cr_expect_eq(config->commit.interval_ms, 10000);
    cr_expect_eq(config->commit.records, 7);
    cr_expect_eq(config->commit.size, 1024);
    cr_expect_eq(config->callback_timeout_ms, 3600000);
    cr_expect_eq(config->on_error, CONFIG_ON_ERROR_SKIP);
    cr_expect_eq(config->internal_topics.replication_factor, 3);
    cr_assert_eq(config->internal_topics.properties.count, 1);
    cr_expect_str_eq(config->internal_topics.properties.items[0].value.text, "100");
    config_destroy(config);
}

Test(config, properties_are_texts_with_their_place)
{
    struct config *config = config_good(all_keys, NULL);
    const struct config_properties *common = &config->broker.common;
    cr_assert_eq(common->count, 3);
    cr_expect_str_eq(common->items[0].name, "bootstrap.servers");
    cr_expect_str_eq(common->items[0].value.text, "localhost:1,[::1]:2");
    cr_expect_str_eq(common->items[0].path, "$.broker.properties.\"bootstrap.servers\"");
    cr_expect_eq(common->items[0].line, 8);
    cr_expect_str_eq(common->items[1].value.text, "5");
    cr_expect_str_eq(common->items[2].value.text, "true");
    cr_expect_eq(common->items[2].line, 9);
    cr_expect_eq(config->broker.consumer.count, 1);
    cr_expect_str_eq(config->broker.producer.items[1].value.text, "0.5");
    config_destroy(config);
}

Test(config, nodes_keep_their_order_lines_and_feeds)
{
    struct config *config = config_good_in("conf/t.json", NULL, all_keys, NULL);
    cr_assert_eq(config->source_count, 2);
    cr_expect_str_eq(config->sources[0].name, "lines");
    cr_expect_eq(config->sources[0].line, 22);
    cr_expect_eq(config->sources[0].start, CONFIG_START_LATEST);
    cr_expect_eq(config->sources[0].on_offset_lost, CONFIG_LOST_EARLIEST);
    cr_expect_eq(config->sources[0].idle_ms, 5);
    cr_assert_eq(config->sources[1].topic_count, 2);
    cr_expect_str_eq(config->sources[1].topics[1], "c");
    cr_expect_eq(config->sources[1].start, CONFIG_START_STOP);
    cr_assert_eq(config->operator_count, 2);
    cr_expect_str_eq(config->operators[0].use, "split");
    cr_expect_eq(config->operators[0].on_error, CONFIG_ON_ERROR_SKIP, "the file's");
    cr_expect_null(config->operators[0].inputs[0].port);
    cr_expect_not(config->operators[0].inputs[0].from.list);
    cr_expect_eq(config->operators[0].backoff_ms, 100);
    const struct config_operator *join = &config->operators[1];
    cr_expect_str_eq(join->use, "conf/./ops/join.so");
    cr_expect_eq(join->on_error, CONFIG_ON_ERROR_FAIL, "its own");
    cr_expect_eq(join->retries, 3);
    cr_expect_eq(join->backoff_ms, 1000);
    cr_assert_eq(join->input_count, 2);
    cr_expect_str_eq(join->inputs[0].port, "left");
    cr_expect_str_eq(join->inputs[0].from.names[1], "more");
    cr_expect_str_eq(join->inputs[0].from.path, "$.operators.join.from.left");
    cr_expect(join->inputs[0].from.list);
    cr_expect_str_eq(join->inputs[1].from.names[0], "words.late");
    cr_assert_eq(config->repartition_count, 1);
    cr_expect_str_eq(config->repartitions[0].topic, "word_count-by_word-repartition");
    cr_expect_eq(config->repartitions[0].partitions, 4);
    cr_assert_eq(config->sink_count, 1);
    cr_expect(config->sinks[0].source_partition);
    cr_expect_eq(config->sinks[0].from.count, 2);
    cr_expect_eq(config->sinks[0].line, 32);
    config_destroy(config);
}

Test(config, parameters_keep_their_kinds)
{
    struct config *config = config_good(all_keys, NULL);
    const struct named_value *params = config->operators[1].params;
    cr_assert_eq(config->operators[1].param_count, 6);
    cr_expect_eq(params[0].value.kind, VALUE_STRING);
    cr_expect_str_eq(params[0].value.text, "text");
    cr_expect_str_eq(params[0].path, "$.operators.join.params.a");
    cr_expect_eq(params[0].line, 28);
    cr_expect_eq(params[1].value.kind, VALUE_INTEGER);
    cr_expect_eq(params[1].value.integer, -5);
    cr_expect_eq(params[2].value.kind, VALUE_REAL);
    cr_expect_eq(params[2].value.real, 1.5);
    cr_expect_eq(params[3].value.kind, VALUE_BOOLEAN);
    cr_expect_not(params[3].value.boolean);
    cr_expect_eq(params[4].value.kind, VALUE_LIST);
    cr_assert_eq(params[4].value.item_count, 2);
    cr_expect_str_eq(params[4].value.items[1], "y");
    cr_expect_eq(params[5].value.item_count, 0);
    config_destroy(config);
}

Test(config, relative_paths_are_relative_to_the_file)
{
    const char *text = CONFIG_WITH("\"broker\": { \"directory\": \"d\" },\n"
                                   "\"state\": { \"directory\": \"../s\" },\n");
    struct config *config = config_good_in("/etc/leat/t.json", NULL, text, NULL);
    cr_expect_str_eq(config->directory, "/etc/leat");
    cr_expect_str_eq(config->broker.directory, "/etc/leat/d");
    cr_expect_str_eq(config->state.directory, "/etc/leat/../s");
    config_destroy(config);
    config = config_good_in("/t.json", NULL, text, NULL);
    cr_expect_str_eq(config->broker.directory, "/d");
    config_destroy(config);
    config = config_good_in("x/t.json", NULL, CONFIG_WITH(""), NULL);
    cr_expect_str_eq(config->broker.directory, "x/app.data");
    cr_expect_str_eq(config->state.directory, "x/app.state");
    config_destroy(config);
}

Test(config, paths_of_the_command_line_are_relative_to_the_working_directory)
{
    struct config *config = config_good_in("x/t.json", "local:here", CONFIG_WITH(""),
                                           "state.directory=s", "operator_directories=o,p", NULL);
    cr_expect_str_eq(config->broker.directory, "here");
    cr_expect_str_eq(config->state.directory, "s");
    cr_assert_eq(config->operator_directory_count, 2);
    cr_expect_str_eq(config->operator_directories[1], "p");
    config_destroy(config);
}

Test(config, paths_among_kafka_properties_are_relative_to_the_file_too)
{
    struct config *config = config_good_in(
        "x/t.json", NULL,
        CONFIG_WITH("\"broker\": { \"kind\": \"kafka\", \"properties\": {\n"
                    "\"bootstrap.servers\": \"b:1\", \"security.protocol\": \"ssl\",\n"
                    "\"ssl.ca.location\": \"ca.crt\", \"ssl.key.location\": \"/k\" } },\n"),
        NULL);
    cr_expect_str_eq(config->broker.common.items[2].value.text, "x/ca.crt");
    cr_expect_str_eq(config->broker.common.items[3].value.text, "/k");
    config_destroy(config);
    config = config_good_in("x/t.json", NULL,
                            CONFIG_WITH("\"broker\": { \"properties\": {\n"
                                        "\"ssl.ca.location\": \"probe\" } },\n"),
                            NULL);
    cr_expect_str_eq(config->broker.common.items[0].value.text, "probe");
    config_destroy(config);
}

Test(config, variables_take_their_place_in_strings)
{
    (void)setenv("LEAT_A", "one", 1);
    (void)setenv("LEAT_EMPTY", "", 1);
    (void)setenv("LEAT_N", "12", 1);
    (void)unsetenv("LEAT_ABSENT");
    struct config *config =
        config_good("{ \"application\": \"${LEAT_A}-${LEAT_ABSENT:-two}${LEAT_EMPTY}\",\n"
                    "  \"instance\": \"${LEAT_EMPTY:-three}\", \"workers\": \"${LEAT_N}\",\n"
                    "  \"commit\": { \"interval\": \"${LEAT_N}ms\" },\n"
                    "  \"x-ignored\": \"${LEAT_ABSENT}\",\n"
                    "  \"sources\": { \"in\": { \"topics\": [\"${LEAT_A}\", \"b\"] } },\n"
                    "  \"operators\": { \"o\": { \"use\": \"u\", \"from\": \"in\", \"params\": {\n"
                    "    \"literal\": \"$${LEAT_A} $ $$ $LEAT_A }\", \"list\": [\"${LEAT_A}\"],\n"
                    "    \"empty\": \"${LEAT_ABSENT:-}\" } } } }",
                    NULL);
    cr_expect_str_eq(config->application, "one-two");
    cr_expect_str_eq(config->instance, "three");
    cr_expect_eq(config->workers, 12);
    cr_expect_eq(config->commit.interval_ms, 12);
    cr_expect_str_eq(config->sources[0].topics[0], "one");
    cr_expect_str_eq(config->operators[0].params[0].value.text, "${LEAT_A} $ $$ $LEAT_A }");
    cr_expect_str_eq(config->operators[0].params[1].value.items[0], "one");
    cr_expect_str_eq(config->operators[0].params[2].value.text, "");
    config_destroy(config);
}

Test(config, foreign_keys_are_ignored_everywhere)
{
    struct config *config = config_good(
        "{ \"x-a\": 1, \"application\": \"app\",\n"
        "  \"broker\": { \"x-b\": 1, \"properties\": { \"x-c\": {} } },\n"
        "  \"sources\": { \"x-d\": 1, \"in\": { \"x-e\": [], \"topic\": \"a\" } },\n"
        "  \"operators\": { \"o\": { \"use\": \"u\", \"x-f\": 1,\n"
        "    \"from\": { \"x-g\": 1, \"left\": \"in\" }, \"params\": { \"x-h\": null } } } }",
        NULL);
    cr_expect_eq(config->source_count, 1);
    cr_expect_eq(config->broker.common.count, 0);
    cr_expect_eq(config->operators[0].param_count, 0);
    cr_assert_eq(config->operators[0].input_count, 1);
    cr_expect_str_eq(config->operators[0].inputs[0].port, "left");
    config_destroy(config);
}

Test(config, numbers_are_accepted_at_their_bounds)
{
    struct config *config = config_good(
        CONFIG_WITH("\"workers\": 64, \"commit\": { \"interval\": \"5s\", \"records\": 1 },\n"
                    "\"callback_timeout\": 10000, \"state\": { \"flush_interval\": \"60m\" },\n"),
        NULL);
    cr_expect_eq(config->workers, 64);
    cr_expect_eq(config->commit.interval_ms, 5000, "half of the transaction timeout is allowed");
    cr_expect_eq(config->callback_timeout_ms, 10000, "as long as the session is allowed");
    cr_expect_eq(config->state.flush_interval_ms, 3600000);
    config_destroy(config);
}

static void count_setting(void *opaque, const struct config_setting *setting)
{
    char *seen = opaque;
    size_t used = strlen(seen);
    (void)snprintf(seen + used, 4096 - used, "%s=%s\n", setting->path, setting->value);
}

Test(config, effective_settings_read_like_the_file)
{
    static char seen[4096];
    struct config *config = config_good(all_keys, NULL);
    config_visit_settings(config, count_setting, seen);
    cr_expect_not_null(strstr(seen, "application=word_count\n"));
    cr_expect_not_null(strstr(seen, "broker.kind=kafka\n"));
    cr_expect_not_null(strstr(seen, "broker.membership=dynamic\n"));
    cr_expect_not_null(strstr(seen, "broker.transaction_timeout=20s\n"));
    cr_expect_not_null(strstr(seen, "broker.properties.\"linger.ms\"=5\n"));
    cr_expect_not_null(strstr(seen, "state.durability=fast\n"));
    cr_expect_not_null(strstr(seen, "commit.size=1KiB\n"));
    cr_expect_not_null(strstr(seen, "operator_directories=ops,/opt/ops\n"));
    cr_expect_not_null(strstr(seen, "on_error=skip\n"));
    config_destroy(config);
}

Test(config, destroying_nothing_is_allowed)
{
    config_destroy(NULL);
    struct config *config = config_good(CONFIG_WITH(""), NULL);
    cr_assert_not_null(config);
    config_destroy(config);
}
