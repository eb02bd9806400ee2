/* SPDX-License-Identifier: Apache-2.0 */
#include "topology/config_keys.h"

#include "base/status.h"
#include "topology/config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MEMBER(type, member)                                                                       \
    .offset = offsetof(type, member), .width = sizeof(((type *)NULL)->member)
#define COUNTED(type, member, count) MEMBER(type, member), .count_offset = offsetof(type, count)
#define ENTRIES(member, count, type)                                                               \
    COUNTED(struct config, member, count), .entry_size = sizeof(struct type),                      \
                                           .line_offset = offsetof(struct type, line)

#define HOUR_MS (INT64_C(60) * 60 * 1000)
#define DAY_MS (24 * HOUR_MS)
#define GIB (INT64_C(1) << 30)

static const struct config_choice broker_kinds[] = {
    {"local", CONFIG_BROKER_LOCAL, NULL}, {"kafka", CONFIG_BROKER_KAFKA, NULL}, {0}};
static const struct config_choice memberships[] = {
    {"static", true, NULL}, {"dynamic", false, NULL}, {0}};
static const struct config_choice durabilities[] = {
    {"durable", false, NULL}, {"fast", true, NULL}, {0}};
static const struct config_choice starts[] = {{"earliest", CONFIG_START_EARLIEST, NULL},
                                              {"latest", CONFIG_START_LATEST, NULL},
                                              {"stop", CONFIG_START_STOP, NULL},
                                              {0}};
static const struct config_choice losses[] = {{"stop", CONFIG_LOST_STOP, NULL},
                                              {"earliest", CONFIG_LOST_EARLIEST, NULL},
                                              {"latest", CONFIG_LOST_LATEST, NULL},
                                              {0}};
static const struct config_choice policies[] = {
    {"fail", CONFIG_ON_ERROR_FAIL, NULL},
    {"skip", CONFIG_ON_ERROR_SKIP, NULL},
    {"dead_letter", 0, "dead letters come with a later version; until then use fail or skip"},
    {0}};
static const struct config_choice partitionings[] = {
    {"key", false, NULL}, {"source", true, NULL}, {0}};

static const struct config_key broker_keys[] = {
    {.name = "kind",
     .type = KEY_CHOICE,
     .choices = broker_kinds,
     .default_text = "local",
     MEMBER(struct config, broker.kind),
     .summary = "the embedded durable log in `broker.directory`, or Apache Kafka"},
    {.name = "directory",
     .type = KEY_PATH,
     MEMBER(struct config, broker.directory),
     .summary = "folder of the embedded log; `<application>.data` when absent"},
    {.name = "session_timeout",
     .type = KEY_DURATION,
     .default_text = "10s",
     .minimum = 10,
     .maximum = HOUR_MS,
     MEMBER(struct config, broker.session_timeout_ms),
     .summary = "when a silent member is given up; at most `callback_timeout`"},
    {.name = "transaction_timeout",
     .type = KEY_DURATION,
     .default_text = "10s",
     .minimum = 10,
     .maximum = DAY_MS,
     MEMBER(struct config, broker.transaction_timeout_ms),
     .summary = "when an unfinished transaction is aborted; at least twice `commit.interval`"},
    {.name = "connect_timeout",
     .type = KEY_DURATION,
     .default_text = "60s",
     .minimum = 1,
     .maximum = DAY_MS,
     MEMBER(struct config, broker.connect_timeout_ms),
     .summary = "how long `run` waits for a broker at the start"},
    {.name = "membership",
     .type = KEY_CHOICE,
     .choices = memberships,
     .default_text = "static",
     MEMBER(struct config, broker.static_membership),
     .summary = "static: a restart takes its partitions back at once; dynamic: a stop hands them "
                "over at once"},
    {.name = "prefetch",
     .type = KEY_SIZE,
     .default_text = "64MiB",
     .minimum = 1024,
     .maximum = INT64_C(2097151) * 1024,
     MEMBER(struct config, broker.prefetch_size),
     .summary = "payload fetched ahead, per worker"},
    {.name = "properties",
     .type = KEY_PROPERTIES,
     MEMBER(struct config, broker.common),
     .summary = "librdkafka properties of all clients, `bootstrap.servers` among them; a secret is "
                "`{\"env\": NAME}` or `{\"file\": PATH}`"},
    {.name = "consumer",
     .type = KEY_PROPERTIES,
     MEMBER(struct config, broker.consumer),
     .summary = "librdkafka properties of consumers alone"},
    {.name = "producer",
     .type = KEY_PROPERTIES,
     MEMBER(struct config, broker.producer),
     .summary = "librdkafka properties of producers alone"},
    {0}};

static const struct config_key state_keys[] = {
    {.name = "directory",
     .type = KEY_PATH,
     MEMBER(struct config, state.directory),
     .summary = "folder of the stores, mode 0700; `<application>.state` when absent"},
    {.name = "durability",
     .type = KEY_CHOICE,
     .choices = durabilities,
     .default_text = "durable",
     MEMBER(struct config, state.fast),
     .summary = "what power loss may cost: nothing, or a restore from the changelog"},
    {.name = "flush_interval",
     .type = KEY_DURATION,
     .default_text = "0ms",
     .minimum = 0,
     .maximum = HOUR_MS,
     MEMBER(struct config, state.flush_interval_ms),
     .summary = "how far the stores may lag behind the last commit; a kill replays that much"},
    {0}};

static const struct config_key commit_keys[] = {
    {.name = "interval",
     .type = KEY_DURATION,
     .default_text = "100ms",
     .minimum = 1,
     .maximum = HOUR_MS,
     MEMBER(struct config, commit.interval_ms),
     .summary = "commit at the latest after this time; at most half of "
                "`broker.transaction_timeout`"},
    {.name = "records",
     .type = KEY_INTEGER,
     .default_text = "100000",
     .minimum = 1,
     .maximum = 1000000000,
     MEMBER(struct config, commit.records),
     .summary = "or after so many input records"},
    {.name = "size",
     .type = KEY_SIZE,
     .default_text = "64MiB",
     .minimum = 1,
     .maximum = 4 * GIB,
     MEMBER(struct config, commit.size),
     .summary = "or after so much input"},
    {0}};

static const struct config_key internal_keys[] = {
    {.name = "replication_factor",
     .type = KEY_INTEGER,
     .default_text = "-1",
     .minimum = -1,
     .maximum = INT16_MAX,
     MEMBER(struct config, internal_topics.replication_factor),
     .summary = "of changelogs and repartitions when they are created; -1 = the broker's default"},
    {.name = "properties",
     .type = KEY_SETTINGS,
     MEMBER(struct config, internal_topics.properties),
     .summary = "topic settings of changelogs and repartitions when they are created"},
    {0}};

static const struct config_key source_keys[] = {
    {.name = "topic",
     .type = KEY_TOPIC,
     COUNTED(struct config_source, topics, topic_count),
     .summary = "the topic it reads; either this or `topics`"},
    {.name = "topics",
     .type = KEY_TOPICS,
     COUNTED(struct config_source, topics, topic_count),
     .summary = "the topics it reads"},
    {.name = "start",
     .type = KEY_CHOICE,
     .choices = starts,
     .default_text = "earliest",
     MEMBER(struct config_source, start),
     .summary = "where a partition begins that this application never committed; stop = exit 1"},
    {.name = "on_offset_lost",
     .type = KEY_CHOICE,
     .choices = losses,
     .default_text = "stop",
     MEMBER(struct config_source, on_offset_lost),
     .summary = "the committed offset is no longer retained, or lies beyond the end"},
    {.name = "idle",
     .type = KEY_DURATION,
     .default_text = "0ms",
     .minimum = 0,
     .maximum = HOUR_MS,
     MEMBER(struct config_source, idle_ms),
     .summary = "how long a partition that reached its end is waited for before others go on"},
    {0}};

static const struct config_key operator_keys[] = {
    {.name = "use",
     .type = KEY_USE,
     .required = true,
     MEMBER(struct config_operator, use),
     .summary = "the operator: a name, or with a slash the path of its file"},
    {.name = "from",
     .type = KEY_INPUTS,
     .required = true,
     COUNTED(struct config_operator, inputs, input_count),
     .summary = "what feeds it: `\"a\"`, `[\"a\", \"b.port\"]` or `{\"input\": [...]}`"},
    {.name = "params",
     .type = KEY_PARAMS,
     COUNTED(struct config_operator, params, param_count),
     .summary = "parameters of the operator: strings, numbers, true, false, lists of strings"},
    {.name = "on_error",
     .type = KEY_CHOICE,
     .choices = policies,
     MEMBER(struct config_operator, on_error),
     .summary = "policy for a bad record here; the file's `on_error` when absent"},
    {.name = "retries",
     .type = KEY_INTEGER,
     .default_text = "0",
     .minimum = 0,
     .maximum = 1000000,
     MEMBER(struct config_operator, retries),
     .summary = "how often a bad record is tried again before the policy applies"},
    {.name = "backoff",
     .type = KEY_DURATION,
     .default_text = "100ms",
     .minimum = 0,
     .maximum = HOUR_MS,
     MEMBER(struct config_operator, backoff_ms),
     .summary = "pause before each of these retries"},
    {0}};

static const struct config_key repartition_keys[] = {
    {.name = "from",
     .type = KEY_FROM,
     .required = true,
     MEMBER(struct config_repartition, from),
     .summary = "what feeds it"},
    {.name = "partitions",
     .type = KEY_INTEGER,
     .minimum = 1,
     .maximum = 10000,
     MEMBER(struct config_repartition, partitions),
     .summary = "of the internal topic; as many as the largest source above it when absent"},
    {0}};

static const struct config_key sink_keys[] = {
    {.name = "topic",
     .type = KEY_TEXT,
     .required = true,
     .extra = "._-",
     .maximum = CONFIG_TOPIC_SIZE,
     MEMBER(struct config_sink, topic),
     .summary = "the topic it writes"},
    {.name = "from",
     .type = KEY_FROM,
     .required = true,
     MEMBER(struct config_sink, from),
     .summary = "what feeds it"},
    {.name = "partition",
     .type = KEY_CHOICE,
     .choices = partitionings,
     .default_text = "key",
     MEMBER(struct config_sink, source_partition),
     .summary = "by murmur2 of the key as Java's default partitioner does, or the number that the "
                "record came from"},
    {0}};

const struct config_key config_keys[] = {
    {.name = "application",
     .type = KEY_TEXT,
     .required = true,
     .extra = "._-",
     .maximum = CONFIG_NAME_SIZE,
     MEMBER(struct config, application),
     .summary = "consumer group, prefix of transactional ids and of internal topics"},
    {.name = "instance",
     .type = KEY_TEXT,
     .extra = "._-",
     .maximum = CONFIG_NAME_SIZE,
     MEMBER(struct config, instance),
     .summary = "stable identity of this process; the host name when absent"},
    {.name = "broker", .type = KEY_OBJECT, .keys = broker_keys, .summary = "the log"},
    {.name = "state", .type = KEY_OBJECT, .keys = state_keys, .summary = "the stores"},
    {.name = "operator_directories",
     .type = KEY_PATHS,
     COUNTED(struct config, operator_directories, operator_directory_count),
     .summary = "where operators are looked up first"},
    {.name = "workers",
     .type = KEY_INTEGER,
     .default_text = "1",
     .minimum = 1,
     .maximum = 64,
     MEMBER(struct config, workers),
     .summary = "threads, each with its own consumer and transactional producer"},
    {.name = "commit",
     .type = KEY_OBJECT,
     .keys = commit_keys,
     .summary = "when a transaction is committed: whichever comes first"},
    {.name = "callback_timeout",
     .type = KEY_DURATION,
     .default_text = "5m",
     .minimum = 1,
     .maximum = DAY_MS,
     MEMBER(struct config, callback_timeout_ms),
     .summary = "how long one callback may take; longer three times on one record = a bad record"},
    {.name = "on_error",
     .type = KEY_CHOICE,
     .choices = policies,
     .default_text = "fail",
     MEMBER(struct config, on_error),
     .summary = "policy for a bad record"},
    {.name = "internal_topics",
     .type = KEY_OBJECT,
     .keys = internal_keys,
     .summary = "changelogs and repartitions"},
    {.name = "sources",
     .type = KEY_ENTRIES,
     .required = true,
     .keys = source_keys,
     .minimum = 1,
     ENTRIES(sources, source_count, config_source),
     .summary = "nodes that read topics"},
    {.name = "operators",
     .type = KEY_ENTRIES,
     .keys = operator_keys,
     ENTRIES(operators, operator_count, config_operator),
     .summary = "nodes that run operators"},
    {.name = "repartitions",
     .type = KEY_ENTRIES,
     .keys = repartition_keys,
     ENTRIES(repartitions, repartition_count, config_repartition),
     .summary = "nodes that regroup by key through an internal topic "
                "`<application>-<name>-repartition`"},
    {.name = "sinks",
     .type = KEY_ENTRIES,
     .keys = sink_keys,
     ENTRIES(sinks, sink_count, config_sink),
     .summary = "nodes that write topics"},
    {0}};

const struct config_key *config_key_find(const struct config_key *keys, const char *name)
{
    ensure(keys != NULL && name != NULL);
    for (; keys->name != NULL; keys++) {
        if (strcmp(keys->name, name) == 0) {
            return keys;
        }
    }
    return NULL;
}

size_t config_key_names(const struct config_key *keys, const char **names, size_t size)
{
    size_t count = 0;
    for (; keys->name != NULL; keys++) {
        ensure(count < size);
        names[count++] = keys->name;
    }
    return count;
}

void config_key_list(const struct config_key *keys, char *text, size_t size)
{
    ensure(size > 0 && keys->name != NULL);
    size_t used = 0;
    *text = 0;
    for (; keys->name != NULL && used < size; keys++) {
        const char *between = used == 0 ? "" : keys[1].name == NULL ? " or " : ", ";
        used += (size_t)snprintf(text + used, size - used, "%s%s", between, keys->name);
    }
}

void config_key_format(enum config_key_type type, int64_t number, char *text, size_t size)
{
    static const struct {
        int64_t factor;
        const char *name;
    } durations[] = {{3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}},
      sizes[] = {{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}, {1, "B"}};
    ensure(type == KEY_INTEGER || number >= 0);
    if (type == KEY_INTEGER) {
        (void)snprintf(text, size, "%" PRId64, number);
        return;
    }
    for (size_t i = 0; i < 4; i++) {
        int64_t factor = type == KEY_DURATION ? durations[i].factor : sizes[i].factor;
        const char *unit = type == KEY_DURATION ? durations[i].name : sizes[i].name;
        if (factor == 1 || (number > 0 && number % factor == 0)) {
            (void)snprintf(text, size, "%" PRId64 "%s", number / factor, unit);
            return;
        }
    }
}
