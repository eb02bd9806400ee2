/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/describe.h"

#include "config_case.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static leat_status process_nothing(void *self, leat_context *context, const leat_record *record)
{
    (void)self;
    (void)context;
    (void)record;
    return LEAT_OK;
}

static const leat_store_spec counts_spec[] = {{"state", "key -> count"}, {NULL, NULL}};
static const leat_param counts_params[] = {{"function", LEAT_PARAM_STRING, "count", "what it does"},
                                           {"wait", LEAT_PARAM_DURATION, "1s", "how long"},
                                           {"names", LEAT_PARAM_LIST, "a,b", "which"},
                                           {NULL, 0, NULL, NULL}};
static const leat_operator counts_operator = {
    LEAT_OPERATOR_SIZES,     .name = "counts",      .version = "1.2",          .summary = "counts",
    .params = counts_params, .stores = counts_spec, .process = process_nothing};
static const leat_operator plain_operator = {LEAT_OPERATOR_SIZES, .name = "plain", .version = "0.1",
                                             .summary = "nothing", .process = process_nothing};

static const char *const text =
    "{ \"application\": \"app\", \"instance\": \"i\",\n"
    "  \"sources\": { \"lines\": { \"topic\": \"lines\", \"start\": \"latest\" } },\n"
    "  \"operators\": {\n"
    "    \"words\": { \"use\": \"plain\", \"from\": \"lines\" },\n"
    "    \"count\": { \"use\": \"counts\", \"from\": [\"by_word\"], \"on_error\": \"skip\","
    " \"retries\": 2,\n"
    "      \"params\": { \"function\": \"sum\" } } },\n"
    "  \"repartitions\": { \"by_word\": { \"from\": \"words\", \"partitions\": 4 },\n"
    "    \"again\": { \"from\": \"words\" } },\n"
    "  \"sinks\": { \"out\": { \"topic\": \"out\", \"from\": \"count\" },\n"
    "    \"copy\": { \"topic\": \"copy\", \"from\": \"again\", \"partition\": \"source\" } } }";

/* A program of plugins that were never loaded from a file. */
static void make_program(struct program *program)
{
    static const char *const in[] = {"in"};
    static const char *const out[] = {"out"};
    static const struct graph_shape shapes[] = {{in, 1, out, 1, 0, false},
                                                {in, 1, out, 1, 1, false}};
    struct error error = {0};
    struct config *config = config_good(text, NULL);
    program->config = config;
    program->plugins = memory_allocate(2 * sizeof *program->plugins);
    program->parameters = memory_allocate(2 * sizeof *program->parameters);
    const leat_operator *const descriptors[] = {&plain_operator, &counts_operator};
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(plugin_adopt(descriptors[i], "test.so", &program->plugins[i], &error),
                     STATUS_OK, "%s", error.text);
        cr_assert_eq(parameters_check(program->plugins[i], config->operators[i].params,
                                      config->operators[i].param_count, "t.json", "$", 1,
                                      &program->parameters[i], &error),
                     STATUS_OK, "%s", error.text);
    }
    cr_assert_eq(graph_build(config, shapes, &program->graph, &error), STATUS_OK, "%s", error.text);
}

static void drop_program(struct program *program)
{
    graph_destroy(program->graph);
    for (size_t i = 0; i < 2; i++) {
        parameters_destroy(program->parameters[i]);
        plugin_unload(program->plugins[i]);
    }
    free(program->plugins);
    free(program->parameters);
    config_destroy((struct config *)(uintptr_t)program->config);
}

Test(describe, text_shows_parts_nodes_stores_topics_and_settings)
{
    struct program program = {0};
    make_program(&program);
    struct buffer out = {0};
    describe_text(&program, &out);
    const char *expected[] = {
        "application app, instance i, file topology.json\n",
        "\nsub-topology again: stateless, tasks: one per partition of app-again-repartition\n",
        "  reads        app-again-repartition (repartition again)\n",
        "  sink         copy: topic copy, from again, keeps the partition of the source\n",
        "\nsub-topology by_word: stateful, tasks: one per partition of app-by_word-repartition\n",
        "  operator     count: counts 1.2, from by_word, on_error skip, retries 2, backoff 100ms\n"
        "    parameter  function = \"sum\"\n"
        "    parameter  wait = 1000\n"
        "    parameter  names = [\"a\", \"b\"]\n"
        "    store      count/state: key -> count\n",
        "  changelog    app-by_word-changelog\n"
        "  directory    app.state/app/i/by_word-N\n",
        "\nsub-topology lines: stateless, tasks: one per partition of lines\n",
        "  reads        lines (source lines, start latest)\n",
        "  operator     words: plain 0.1, from lines, on_error fail\n",
        "  repartition  by_word: topic app-by_word-repartition, from words\n",
        "\ninternal topics\n"
        "  app-again-repartition: as many partitions as the largest source above it\n"
        "  app-by_word-repartition: 4 partitions\n"
        "  app-by_word-changelog: 4 partitions, compacted\n",
        "\nsettings\n  application = app\n",
        "  commit.interval = 100ms\n"};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        cr_expect_not_null(strstr(buffer_text(&out), expected[i]), "lacks %s in\n%s", expected[i],
                           buffer_text(&out));
    }
    buffer_finish(&out);
    drop_program(&program);
}

Test(describe, json_is_one_line_with_the_same)
{
    struct program program = {0};
    make_program(&program);
    struct buffer out = {0};
    describe_json(&program, &out);
    cr_assert_null(strchr(buffer_text(&out), '\n'));
    json_t *all = json_loads(buffer_text(&out), JSON_REJECT_DUPLICATES, NULL);
    cr_assert_not_null(all);
    const json_t *part = json_array_get(json_object_get(all, "sub_topologies"), 1);
    cr_expect_str_eq(json_string_value(json_object_get(part, "name")), "by_word");
    cr_expect(json_is_true(json_object_get(part, "stateful")));
    cr_expect_str_eq(json_string_value(json_object_get(part, "changelog")),
                     "app-by_word-changelog");
    const json_t *count = json_array_get(json_object_get(part, "nodes"), 0);
    cr_expect_str_eq(json_string_value(json_object_get(count, "use")), "counts");
    const json_t *params = json_object_get(count, "params");
    cr_expect_str_eq(json_string_value(json_object_get(params, "function")), "sum");
    cr_expect_eq(json_integer_value(json_object_get(params, "wait")), 1000);
    cr_expect_eq(json_array_size(json_object_get(params, "names")), 2);
    cr_expect_str_eq(json_string_value(json_array_get(json_object_get(count, "stores"), 0)),
                     "state");
    const json_t *topics = json_object_get(all, "internal_topics");
    cr_assert_eq(json_array_size(topics), 3);
    cr_expect(json_is_null(json_object_get(json_array_get(topics, 0), "partitions")));
    cr_expect_eq(json_integer_value(json_object_get(json_array_get(topics, 2), "partitions")), 4);
    const json_t *settings = json_object_get(all, "settings");
    cr_expect_eq(json_integer_value(json_object_get(settings, "workers")), 1);
    cr_expect_str_eq(json_string_value(json_object_get(settings, "broker.kind")), "local");
    json_decref(all);
    buffer_finish(&out);
    drop_program(&program);
}
