/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/prepare.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { INTERNAL_PROPERTIES = 8 };

void prepare_finish(struct prepared_topics *topics)
{
    ensure(topics->count == 0 || topics->items != NULL);
    for (size_t i = 0; i < topics->count; i++) {
        free((void *)(uintptr_t)topics->items[i].ends);
    }
    free(topics->items);
    *topics = (struct prepared_topics){0};
}

static struct topic_facts *find(struct prepared_topics *topics, const char *topic)
{
    ensure(topic != NULL);
    for (size_t i = 0; i < topics->count; i++) {
        if (strcmp(topics->items[i].topic, topic) == 0) {
            return &topics->items[i];
        }
    }
    return NULL;
}

static void add(struct prepared_topics *topics, const char *topic, const struct broker_topic *facts)
{
    ensure(facts->partition_count > 0);
    topics->items = memory_resize(topics->items, (topics->count + 1) * sizeof *topics->items);
    topics->items[topics->count++] = (struct topic_facts){topic, facts->partition_count,
                                                          facts->delete_retention_ms, false, NULL};
}

static enum status missing(const struct program *program, const char *kind, const char *node,
                           const char *topic, struct error *error)
{
    ensure(program->config->file != NULL && topic != NULL);
    return error_set(
        error, STATUS_FATAL, ERROR_NO_TOPIC,
        "topic %s of %s \"%s\" does not exist; create it with: topology topics %s create "
        "%s --partitions N",
        topic, kind, node, program->config->file, topic);
}

/* ---- Sources and sinks ---- */

static enum status read_ends(struct broker *broker, struct topic_facts *facts, struct error *error)
{
    ensure(facts->ends == NULL && facts->partition_count > 0);
    int64_t *ends = memory_allocate((size_t)facts->partition_count * sizeof *ends);
    facts->ends = ends;
    for (int32_t p = 0; p < facts->partition_count; p++) {
        int64_t start = 0;
        enum status status = broker_log_range(broker, facts->topic, p, &start, &ends[p], error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

/* Whether this is the application's first start on a topic: only then `start` counts (R10). Asked
   before any member of this process claims, so that its tasks all get the same answer. */
static enum status read_committed(struct broker *broker, const char *group,
                                  struct topic_facts *facts, struct error *error)
{
    ensure(facts->partition_count > 0);
    size_t count = (size_t)facts->partition_count;
    struct broker_offset *offsets = memory_allocate(count * sizeof *offsets);
    for (size_t p = 0; p < count; p++) {
        offsets[p] = (struct broker_offset){facts->topic, (int32_t)p, BROKER_NO_OFFSET, ""};
    }
    enum status status = broker_committed_unstable(broker, group, offsets, count, 5000, error);
    for (size_t p = 0; p < count; p++) {
        facts->committed = facts->committed || offsets[p].offset != BROKER_NO_OFFSET;
    }
    free(offsets);
    return status;
}

static enum status check_sources(const struct program *program, struct broker *broker, bool ends,
                                 struct prepared_topics *topics, struct error *error)
{
    ensure(program->config->source_count > 0);
    const struct config *config = program->config;
    for (size_t i = 0; i < config->source_count; i++) {
        const struct config_source *source = &config->sources[i];
        for (size_t t = 0; t < source->topic_count; t++) {
            struct broker_topic facts;
            enum status status = broker_topic_get(broker, source->topics[t], &facts, error);
            if (status == STATUS_NOT_FOUND) {
                return missing(program, "source", source->name, source->topics[t], error);
            }
            if (status != STATUS_OK) {
                return status;
            }
            add(topics, source->topics[t], &facts);
            struct topic_facts *added = &topics->items[topics->count - 1];
            status = ends ? read_ends(broker, added, error) : STATUS_OK;
            if (status == STATUS_OK && source->start != CONFIG_START_EARLIEST) {
                status = read_committed(broker, config->application, added, error);
            }
            if (status != STATUS_OK) {
                return status;
            }
        }
    }
    return STATUS_OK;
}

/* The largest partition count among the inputs of a sub-topology, and the topic that has it. */
static int32_t largest_input(const struct program *program, struct prepared_topics *topics,
                             uint32_t sub, const char **topic)
{
    ensure(sub < program->graph->sub_topology_count);
    const struct graph_sub_topology *part = &program->graph->sub_topologies[sub];
    int32_t largest = 0;
    for (uint32_t i = 0; i < part->input_count; i++) {
        const struct topic_facts *facts = find(topics, part->inputs[i].topic);
        if (facts != NULL && facts->partition_count > largest) {
            largest = facts->partition_count;
            *topic = facts->topic;
        }
    }
    return largest;
}

static enum status check_sinks(const struct program *program, struct broker *broker,
                               struct prepared_topics *topics, struct error *error)
{
    ensure(broker != NULL && topics->count > 0);
    const struct config *config = program->config;
    for (size_t i = 0; i < config->sink_count; i++) {
        const struct config_sink *sink = &config->sinks[i];
        struct broker_topic facts;
        enum status status = broker_topic_get(broker, sink->topic, &facts, error);
        if (status == STATUS_NOT_FOUND) {
            return missing(program, "sink", sink->name, sink->topic, error);
        }
        if (status != STATUS_OK) {
            return status;
        }
        uint32_t node = graph_find(program->graph, sink->name);
        const char *topic = "";
        int32_t largest =
            largest_input(program, topics, program->graph->nodes[node].sub_topology, &topic);
        if (sink->source_partition && facts.partition_count < largest) {
            return error_set(error, STATUS_FATAL, ERROR_MISMATCH,
                             "sink \"%s\" keeps the source's partition, but topic %s has %" PRId32
                             " partitions and its input %s has %" PRId32,
                             sink->name, sink->topic, facts.partition_count, topic, largest);
        }
    }
    return STATUS_OK;
}

/* ---- Internal topics ---- */

static enum status create(const struct program *program, struct broker *broker, const char *topic,
                          int32_t partitions, bool changelog, struct error *error)
{
    ensure(partitions > 0);
    const struct config *config = program->config;
    const struct config_properties *own = &config->internal_topics.properties;
    const struct broker_property fixed[INTERNAL_PROPERTIES] = {
        {"cleanup.policy", changelog ? "compact" : "delete", false},
        {changelog ? "delete.retention.ms" : "retention.ms", changelog ? "604800000" : "-1", false},
        {"max.message.bytes", "17825792", false},
        {"message.timestamp.type", "CreateTime", false},
        {"message.timestamp.before.max.ms", "9223372036854775807", false},
        {"message.timestamp.after.max.ms", "9223372036854775807", false},
        {"retention.bytes", "-1", false},
    };
    size_t fixed_count = 7;
    struct broker_property *all = memory_allocate((fixed_count + own->count) * sizeof *all);
    size_t count = 0;
    for (size_t i = 0; i < fixed_count; i++) {
        bool replaced = false;
        for (size_t k = 0; k < own->count; k++) {
            replaced = replaced || strcmp(own->items[k].name, fixed[i].name) == 0;
        }
        if (!replaced) {
            all[count++] = fixed[i];
        }
    }
    for (size_t k = 0; k < own->count; k++) {
        all[count++] = (struct broker_property){own->items[k].name, own->items[k].value.text,
                                                own->items[k].secret};
    }
    enum status status = broker_topic_create(
        broker, topic, partitions, config->internal_topics.replication_factor, all, count, error);
    free(all);
    if (status == STATUS_OK) {
        log_info("topics", "created topic=%s partitions=%" PRId32, topic, partitions);
    }
    return status != STATUS_OK && error->code == ERROR_TOPIC_EXISTS ? STATUS_OK : status;
}

/* Creates or compares one internal topic; partitions 0 = any. Adds its facts. */
static enum status prepare_internal(const struct program *program, struct broker *broker,
                                    const char *topic, int32_t partitions, int32_t at_creation,
                                    bool changelog, bool make, struct prepared_topics *topics,
                                    struct error *error)
{
    ensure(partitions >= 0 && (!changelog || partitions > 0));
    struct broker_topic facts;
    enum status status = broker_topic_get(broker, topic, &facts, error);
    if (status == STATUS_NOT_FOUND && make) {
        status = create(program, broker, topic, at_creation, changelog, error);
        status = status == STATUS_OK ? broker_topic_get(broker, topic, &facts, error) : status;
    }
    if (status == STATUS_NOT_FOUND) {
        return make ? error_set(error, STATUS_RETRY, ERROR_NO_TOPIC,
                                "internal topic %s was created but is not there", topic)
                    : STATUS_OK;
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (partitions != 0 && facts.partition_count != partitions) {
        return error_set(error, STATUS_FATAL, ERROR_MISMATCH,
                         "internal topic %s has %" PRId32 " partitions, but %" PRId32
                         " are needed: %s. Use a new application id, or bring the partition counts "
                         "together",
                         topic, facts.partition_count, partitions,
                         changelog ? "as many as the topics its sub-topology reads"
                                   : "\"partitions\" of the repartition says so");
    }
    bool known = facts.compacted || facts.deleted; /* a broker may refuse to describe it */
    if (known && (facts.compacted != changelog || (changelog && facts.deleted))) {
        return error_set(error, STATUS_FATAL, ERROR_MISMATCH,
                         "internal topic %s needs cleanup.policy=%s: with another one records that "
                         "are still needed would be deleted",
                         topic, changelog ? "compact" : "delete");
    }
    add(topics, topic, &facts);
    return STATUS_OK;
}

/* From sources down: how many partitions the largest source above each node has. */
static enum status prepare_repartitions(const struct program *program, struct broker *broker,
                                        bool make, struct prepared_topics *topics,
                                        struct error *error)
{
    ensure(topics->count > 0);
    const struct graph *graph = program->graph;
    int32_t *above = memory_allocate(graph->node_count * sizeof *above);
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < graph->node_count && status == STATUS_OK; i++) {
        uint32_t n = graph->order[i];
        const struct graph_node *node = &graph->nodes[n];
        if (node->kind == GRAPH_SOURCE) {
            const struct config_source *source = &program->config->sources[node->config_index];
            for (size_t t = 0; t < source->topic_count; t++) {
                int32_t count = find(topics, source->topics[t])->partition_count;
                above[n] = count > above[n] ? count : above[n];
            }
        } else if (node->kind == GRAPH_REPARTITION) {
            const struct config_repartition *repartition =
                &program->config->repartitions[node->config_index];
            int32_t wanted = repartition->partitions;
            status = prepare_internal(program, broker, repartition->topic, wanted,
                                      wanted != 0 ? wanted : above[n], false, make, topics, error);
        }
        for (uint32_t o = 0; o < node->output_count; o++) {
            for (uint32_t e = 0; e < node->outputs[o].edge_count; e++) {
                uint32_t reader = node->outputs[o].edges[e].node;
                above[reader] = above[n] > above[reader] ? above[n] : above[reader];
            }
        }
    }
    free(above);
    return status;
}

static enum status prepare_changelogs(const struct program *program, struct broker *broker,
                                      bool make, struct prepared_topics *topics,
                                      struct error *error)
{
    ensure(topics->count > 0);
    for (uint32_t s = 0; s < program->graph->sub_topology_count; s++) {
        const struct graph_sub_topology *sub = &program->graph->sub_topologies[s];
        const char *topic = "";
        int32_t largest = largest_input(program, topics, s, &topic);
        for (uint32_t i = 0; sub->stateful && i < sub->input_count; i++) {
            const struct topic_facts *facts = find(topics, sub->inputs[i].topic);
            if (facts != NULL && facts->partition_count != largest) {
                return error_set(
                    error, STATUS_FATAL, ERROR_MISMATCH,
                    "sub-topology \"%s\" keeps state, so the topics it reads must have "
                    "one partition count: %s has %" PRId32 ", %s has %" PRId32
                    "; put a repartition between",
                    sub->name, topic, largest, facts->topic, facts->partition_count);
            }
        }
        if (sub->stateful && largest > 0) {
            enum status status = prepare_internal(program, broker, sub->changelog, largest, largest,
                                                  true, make, topics, error);
            if (status != STATUS_OK) {
                return status;
            }
        }
    }
    return STATUS_OK;
}

enum status prepare_topics(const struct program *program, struct broker *broker, bool make,
                           bool ends, struct prepared_topics *topics, struct error *error)
{
    ensure(program->graph != NULL && broker != NULL);
    *topics = (struct prepared_topics){0};
    enum status status = check_sources(program, broker, ends, topics, error);
    if (status == STATUS_OK) {
        status = prepare_repartitions(program, broker, make, topics, error);
    }
    status = status == STATUS_OK ? check_sinks(program, broker, topics, error) : status;
    if (status == STATUS_OK) {
        status = prepare_changelogs(program, broker, make, topics, error);
    }
    if (status != STATUS_OK) {
        prepare_finish(topics);
    }
    return status;
}
