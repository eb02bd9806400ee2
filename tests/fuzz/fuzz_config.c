/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The topology file, and --set values behind it (after a byte 0xff, one a line; one that begins
 * with @ is --broker). Every refusal says where and what; what is accepted, written out again from
 * the structs, is accepted with the same content; so is the file with each effective setting as a
 * --set. The graph of it is refused with a place, or keeps its invariants.
 */
#include "topology/config.h"
#include "topology/graph.h"

#include "fuzz_input.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

enum { SETS_MOST = 64 };

/* ---- Written out again ---- */

/* A text as the file writes it: ${ would be taken for a variable. */
static json_t *text_of(const char *text)
{
    struct buffer out = {0};
    for (const char *at = text; *at != 0; at++) {
        buffer_append(&out, "$", at[0] == '$' && at[1] == '{' ? 1 : 0);
        buffer_append(&out, at, 1);
    }
    json_t *value = json_string(buffer_text(&out));
    ensure(value != NULL);
    buffer_finish(&out);
    return value;
}

static json_t *names_of(char *const *names, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        ensure(json_array_append_new(list, text_of(names[i])) == 0);
    }
    return list;
}

static json_t *value_of(const struct value *value)
{
    switch (value->kind) {
    case VALUE_STRING:
        return text_of(value->text);
    case VALUE_INTEGER:
        return json_integer(value->integer);
    case VALUE_REAL:
        return json_real(value->real);
    case VALUE_BOOLEAN:
        return json_boolean(value->boolean);
    default:
        return names_of((char *const *)(uintptr_t)value->items, value->item_count);
    }
}

static json_t *values_of(const struct named_value *items, size_t count)
{
    json_t *object = json_object();
    for (size_t i = 0; i < count; i++) {
        ensure(json_object_get(object, items[i].name) == NULL);
        ensure(json_object_set_new(object, items[i].name, value_of(&items[i].value)) == 0);
    }
    return object;
}

static bool is_made_by_hand(const char *path)
{
    static const char *const prefixes[] = {"broker.properties", "broker.consumer",
                                           "broker.producer", "internal_topics.properties",
                                           "operator_directories"};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        if (strncmp(path, prefixes[i], strlen(prefixes[i])) == 0) {
            return true;
        }
    }
    return false;
}

static void put_setting(void *opaque, const struct config_setting *setting)
{
    json_t *object = opaque;
    if (is_made_by_hand(setting->path)) {
        return;
    }
    char *path = memory_text(setting->path);
    char *name = path;
    for (char *dot; (dot = strchr(name, '.')) != NULL; name = dot + 1) {
        *dot = 0;
        if (json_object_get(object, name) == NULL) {
            ensure(json_object_set_new(object, name, json_object()) == 0);
        }
        object = json_object_get(object, name);
    }
    json_t *value =
        setting->number ? json_integer(strtoll(setting->value, NULL, 10)) : text_of(setting->value);
    ensure(json_object_set_new(object, name, value) == 0);
    free(path);
}

static void put_nodes(json_t *root, const struct config *config)
{
    json_t *sources = json_object_get(root, "sources");
    for (size_t i = 0; i < config->source_count; i++) {
        const struct config_source *source = &config->sources[i];
        json_t *node = json_pack("{s:o,s:s,s:s,s:I}", "topics",
                                 names_of(source->topics, source->topic_count), "start",
                                 source->start == CONFIG_START_EARLIEST ? "earliest"
                                 : source->start == CONFIG_START_LATEST ? "latest"
                                                                        : "stop",
                                 "on_offset_lost",
                                 source->on_offset_lost == CONFIG_LOST_STOP       ? "stop"
                                 : source->on_offset_lost == CONFIG_LOST_EARLIEST ? "earliest"
                                                                                  : "latest",
                                 "idle", (json_int_t)source->idle_ms);
        ensure(node != NULL && json_object_set_new(sources, source->name, node) == 0);
    }
    for (size_t i = 0; i < config->sink_count; i++) {
        const struct config_sink *sink = &config->sinks[i];
        json_t *node = json_pack("{s:o,s:o}", "topic", text_of(sink->topic), "from",
                                 names_of(sink->from.names, sink->from.count));
        if (sink->source_partition) {
            ensure(json_object_set_new(node, "partition", json_string("source")) == 0);
        }
        ensure(json_object_set_new(json_object_get(root, "sinks"), sink->name, node) == 0);
    }
    for (size_t i = 0; i < config->repartition_count; i++) {
        const struct config_repartition *part = &config->repartitions[i];
        json_t *node = json_pack("{s:o}", "from", names_of(part->from.names, part->from.count));
        if (part->partitions > 0) {
            ensure(json_object_set_new(node, "partitions", json_integer(part->partitions)) == 0);
        }
        ensure(json_object_set_new(json_object_get(root, "repartitions"), part->name, node) == 0);
    }
}

static void put_operators(json_t *root, const struct config *config)
{
    json_t *operators = json_object_get(root, "operators");
    for (size_t i = 0; i < config->operator_count; i++) {
        const struct config_operator *each = &config->operators[i];
        json_t *from = json_object();
        for (size_t j = 0; j < each->input_count; j++) {
            const struct config_input *input = &each->inputs[j];
            json_t *names = names_of(input->from.names, input->from.count);
            if (input->port == NULL) {
                json_decref(from);
                from = names;
            } else {
                ensure(json_object_set_new(from, input->port, names) == 0);
            }
        }
        json_t *node =
            json_pack("{s:o,s:o,s:o,s:s,s:I,s:I}", "use", text_of(each->use), "from", from,
                      "params", values_of(each->params, each->param_count), "on_error",
                      each->on_error == CONFIG_ON_ERROR_FAIL ? "fail" : "skip", "retries",
                      (json_int_t)each->retries, "backoff", (json_int_t)each->backoff_ms);
        ensure(node != NULL && json_object_set_new(operators, each->name, node) == 0);
    }
}

static void put_properties(json_t *root, const char *object, const char *name,
                           const struct config_properties *properties)
{
    json_t *parent = json_object_get(root, object);
    ensure(parent != NULL);
    ensure(json_object_set_new(parent, name, values_of(properties->items, properties->count)) == 0);
}

static char *write_out(const struct config *config)
{
    json_t *root =
        json_pack("{s:{},s:{},s:{},s:{}}", "sources", "operators", "repartitions", "sinks");
    config_visit_settings(config, put_setting, root);
    put_properties(root, "broker", "properties", &config->broker.common);
    put_properties(root, "broker", "consumer", &config->broker.consumer);
    put_properties(root, "broker", "producer", &config->broker.producer);
    put_properties(root, "internal_topics", "properties", &config->internal_topics.properties);
    if (config->operator_directory_count > 0) {
        ensure(json_object_set_new(
                   root, "operator_directories",
                   names_of(config->operator_directories, config->operator_directory_count)) == 0);
    }
    put_nodes(root, config);
    put_operators(root, config);
    static const char *const kinds[] = {"sources", "operators", "repartitions", "sinks"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (json_object_size(json_object_get(root, kinds[i])) == 0) {
            ensure(json_object_del(root, kinds[i]) == 0);
        }
    }
    char *text = json_dumps(root, JSON_INDENT(1));
    ensure(text != NULL);
    json_decref(root);
    return text;
}

/* ---- Checks ---- */

/* "fuzz.json:12: $.path: text", or from the command line "--set PATH: ..." */
static void check_place(const struct error *error)
{
    const char *text = error->text;
    fuzz_check_refusal(STATUS_BAD_CONFIG, error);
    if (strncmp(text, "--set", 5) == 0 || strncmp(text, "--broker", 8) == 0) {
        ensure(strstr(text, ": ") != NULL);
        return;
    }
    ensure(strncmp(text, "fuzz.json:", 10) == 0);
    ensure(isdigit((unsigned char)text[10]) != 0 && text[10] != '0');
    const char *path = strstr(text, ": $");
    ensure(path != NULL && strstr(path + 2, ": ") != NULL);
}

static struct config *parse_good(const char *text, const struct config_overrides *overrides)
{
    struct config *config = NULL;
    struct error error = {0};
    enum status status = config_parse(text, strlen(text), "fuzz.json", overrides, &config, &error);
    if (status != STATUS_OK) {
        (void)fprintf(stderr, "%s\n%s\n", error.text, text);
    }
    ensure(status == STATUS_OK);
    return config;
}

static void check_round_trip(const struct config *config)
{
    char *first = write_out(config);
    struct config *again = parse_good(first, NULL);
    char *second = write_out(again);
    if (strcmp(first, second) != 0) {
        (void)fprintf(stderr, "%s\n%s\n", first, second);
    }
    ensure(strcmp(first, second) == 0);
    config_destroy(again);
    free(first);
    free(second);
}

struct sets {
    char *texts[SETS_MOST];
    size_t count;
};

static void put_set(void *opaque, const struct config_setting *setting)
{
    struct sets *sets = opaque;
    if (!is_made_by_hand(setting->path) && sets->count < SETS_MOST) {
        sets->texts[sets->count++] = memory_format("%s=%s", setting->path, setting->value);
    }
}

static void check_sets(const struct config *config)
{
    struct sets sets = {.count = 0};
    char *first = write_out(config);
    config_visit_settings(config, put_set, &sets);
    struct config_overrides overrides = {NULL, (const char *const *)(uintptr_t)sets.texts,
                                         sets.count};
    struct config *again = parse_good(first, &overrides);
    char *second = write_out(again);
    ensure(strcmp(first, second) == 0);
    config_destroy(again);
    free(first);
    free(second);
    while (sets.count > 0) {
        free(sets.texts[--sets.count]);
    }
}

static void check_graph(const struct graph *graph)
{
    bool *done = memory_allocate(graph->node_count * sizeof *done);
    for (uint32_t i = 0; i < graph->node_count; i++) {
        uint32_t index = graph->order[i];
        const struct graph_node *node = &graph->nodes[index];
        ensure(index < graph->node_count && !done[index]);
        ensure(graph_find(graph, node->name) == index);
        ensure(node->sub_topology < graph->sub_topology_count);
        ensure(node->kind != GRAPH_REPARTITION || node->reader < graph->sub_topology_count);
        done[index] = true;
        uint32_t readers = 0;
        for (uint32_t o = 0; o < node->output_count; o++) {
            readers += node->outputs[o].edge_count;
            for (uint32_t e = 0; e < node->outputs[o].edge_count; e++) {
                ensure(!done[node->outputs[o].edges[e].node]);
            }
        }
        ensure(readers > 0 || (node->kind != GRAPH_SOURCE && node->kind != GRAPH_REPARTITION));
    }
    for (uint32_t i = 0; i < graph->sub_topology_count; i++) {
        const struct graph_sub_topology *part = &graph->sub_topologies[i];
        ensure(part->input_count > 0 && (part->changelog != NULL) == part->stateful);
        ensure(i == 0 || strcmp(part[-1].name, part->name) < 0);
    }
    free(done);
}

/* Shapes of four kinds, by the name of what is used. */
static void check_build(const struct config *config)
{
    static const char *const one[] = {"in"};
    static const char *const two[] = {"left", "right"};
    static const char *const outputs[] = {"out", "rest"};
    static const struct graph_shape kinds[] = {{one, 1, outputs, 1, 0, false},
                                               {one, 1, outputs, 2, 1, false},
                                               {two, 2, outputs, 1, 2, true},
                                               {one, 1, outputs, 1, 0, true}};
    struct graph_shape *shapes = memory_allocate((config->operator_count + 1) * sizeof *shapes);
    for (size_t i = 0; i < config->operator_count; i++) {
        shapes[i] = kinds[(unsigned char)config->operators[i].use[0] % 4];
    }
    struct graph *graph = NULL;
    struct error error = {0};
    if (graph_build(config, shapes, &graph, &error) == STATUS_OK) {
        check_graph(graph);
        graph_destroy(graph);
    } else {
        check_place(&error);
    }
    free(shapes);
}

/* A path of the command line may be any bytes; JSON cannot write them. */
static bool is_ascii(const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (const char *at = texts[i]; at != NULL && *at != 0; at++) {
            if ((unsigned char)*at >= 0x80) {
                return false;
            }
        }
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size > FUZZ_INPUT_MOST ? FUZZ_INPUT_MOST : size};
    const uint8_t *end = input.left == 0 ? NULL : memchr(data, 0xff, input.left);
    struct bytes file = fuzz_bytes(&input, end == NULL ? input.left : (size_t)(end - data));
    char *text = fuzz_exact(file);
    char *lines[SETS_MOST];
    const char *sets[SETS_MOST];
    struct config_overrides overrides = {NULL, sets, 0};
    size_t count = 0;
    (void)fuzz_bytes(&input, 1);
    while (input.left > 0 && count < SETS_MOST) {
        char *line = lines[count++] = fuzz_line(&input);
        if (line[0] == '@') {
            overrides.broker = line + 1;
        } else {
            sets[overrides.set_count++] = line;
        }
    }
    struct config *config = NULL;
    struct error error = {0};
    enum status status = config_parse(text, file.size, "fuzz.json", &overrides, &config, &error);
    if (status == STATUS_OK) {
        if (is_ascii(sets, overrides.set_count) && is_ascii(&overrides.broker, 1)) {
            check_round_trip(config);
            check_sets(config);
        }
        check_build(config);
        config_destroy(config);
    } else {
        check_place(&error);
    }
    free(text);
    while (count > 0) {
        free(lines[--count]);
    }
    return 0;
}
