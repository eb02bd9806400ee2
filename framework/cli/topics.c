/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command topics: lists, creates and deletes topics on the file's broker. `--set` names a key of
 * the file as everywhere, or, with create, a property of the topic: what begins with a key of the
 * file is one of the file, no topic property does.
 */
#include "base/value.h"
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option_spec options[] = {
    {"partitions", "N", "create: how many", NULL},
    {"set", "NAME=VALUE",
     "create: a property of the topic, as in retention.ms=3600000; else a key of the file; "
     "repeatable",
     NULL},
    {0}};

struct sets {
    const char **file; /* of the topology file */
    size_t file_count;
    struct broker_property *topic; /* names are owned */
    size_t topic_count;
};

static bool of_file(const char *set)
{
    ensure(set != NULL);
    static const char *const keys[] = {"application",
                                       "instance",
                                       "broker",
                                       "state",
                                       "workers",
                                       "commit",
                                       "sources",
                                       "operators",
                                       "repartitions",
                                       "sinks",
                                       "operator_directories",
                                       "callback_timeout",
                                       "on_error",
                                       "internal_topics"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        size_t size = strlen(keys[i]);
        if (strncmp(set, keys[i], size) == 0 && (set[size] == '.' || set[size] == '=')) {
            return true;
        }
    }
    return false;
}

static void sets_finish(struct sets *sets)
{
    ensure(sets->topic_count == 0 || sets->topic != NULL);
    for (size_t i = 0; i < sets->topic_count; i++) {
        free((void *)(uintptr_t)sets->topic[i].name);
    }
    free(sets->topic);
    free(sets->file);
}

/* Sorts the --set options. Not EXIT_DONE: a property without value, or without a topic to have it.
 */
static int sets_read(const struct command_line *line, bool creating, struct sets *sets)
{
    size_t count = 0;
    while (command_option_at(line, "set", count) != NULL) {
        count++;
    }
    sets->file = memory_allocate(count * sizeof *sets->file);
    sets->topic = memory_allocate(count * sizeof *sets->topic);
    for (size_t i = 0; i < count; i++) {
        const char *set = command_option_at(line, "set", i);
        const char *equals = strchr(set, '=');
        if (of_file(set) || !creating) {
            sets->file[sets->file_count++] = set;
            continue;
        }
        if (equals == NULL || equals == set) {
            return command_usage(line, "--set expects NAME=VALUE, found \"%s\"", set);
        }
        char *name = memory_text(set);
        name[equals - set] = 0;
        sets->topic[sets->topic_count++] = (struct broker_property){name, equals + 1, false};
    }
    ensure(sets->file_count + sets->topic_count == count);
    return EXIT_DONE;
}

static enum status topics_list(struct broker *broker, bool json, struct error *error)
{
    ensure(broker != NULL);
    char **names = NULL;
    size_t count = 0;
    enum status status = broker_topic_list(broker, &names, &count, error);
    if (status != STATUS_OK) {
        return status;
    }
    for (size_t i = 0; i < count; i++) {
        struct broker_topic topic;
        if (!json) {
            (void)printf("%s\n", names[i]);
        } else if (status == STATUS_OK) {
            status = broker_topic_get(broker, names[i], &topic, error);
            if (status == STATUS_OK) {
                (void)printf("{\"topic\":\"%s\",\"partitions\":%d,\"cleanup_policy\":\"%s%s%s\","
                             "\"retention_ms\":%lld,\"max_message_bytes\":%lld}\n",
                             names[i], topic.partition_count, topic.compacted ? "compact" : "",
                             topic.compacted && topic.deleted ? "," : "",
                             topic.deleted ? "delete" : "", (long long)topic.retention_ms,
                             (long long)topic.max_message_size);
            }
            status = status == STATUS_NOT_FOUND ? STATUS_OK : status; /* deleted meanwhile */
        }
        free(names[i]);
    }
    free(names);
    return status;
}

static enum status topic_delete(struct broker *broker, const char *name, struct error *error)
{
    ensure(name != NULL);
    enum status status = broker_topic_delete(broker, name, error);
    return status == STATUS_NOT_FOUND
               ? error_set(error, STATUS_FATAL, ERROR_NO_TOPIC, "topic %s does not exist", name)
               : status;
}

enum act { ACT_LIST, ACT_CREATE, ACT_DELETE };

/* Which of the three, with what else it needs. */
static int act_read(const struct command_line *line, enum act *act, int64_t *partitions)
{
    ensure(command_argument(line, 1) != NULL);
    static const char *const acts[] = {"list", "create", "delete"};
    const char *word = command_argument(line, 1);
    const char *count = command_option(line, "partitions");
    const char *nearest = value_nearest(word, acts, 3);
    for (int i = 0; i < 3; i++) {
        if (strcmp(word, acts[i]) == 0) {
            *act = (enum act)i;
            bool named = command_argument(line, 2) != NULL;
            if (named != (*act != ACT_LIST)) {
                return command_usage(
                    line, named ? "list takes no topic" : "%s needs a topic's name", word);
            }
            if ((count != NULL) != (*act == ACT_CREATE)) {
                return command_usage(line, "--partitions N is needed by create and for it only");
            }
            if (count != NULL && (!value_parse_integer(count, partitions) || *partitions < 1 ||
                                  *partitions > INT32_MAX)) {
                return command_usage(line,
                                     "--partitions expects a whole number from 1 on, found "
                                     "\"%s\"",
                                     count);
            }
            return EXIT_DONE;
        }
    }
    return command_usage(line, "expected list, create or delete, found \"%s\"%s%s%s", word,
                         nearest == NULL ? "" : "; did you mean \"", nearest == NULL ? "" : nearest,
                         nearest == NULL ? "" : "\"?");
}

static enum status topics_act(const struct command_line *line, enum act act, int64_t partitions,
                              const struct sets *sets, struct error *error)
{
    ensure(act == ACT_LIST || command_argument(line, 2) != NULL);
    struct config_overrides overrides = {command_option(line, "broker"), sets->file,
                                         sets->file_count};
    struct config *config = NULL;
    struct broker *broker = NULL;
    const char *name = command_argument(line, 2);
    enum status status = config_load(command_argument(line, 0), &overrides, &config, error);
    if (status == STATUS_OK) {
        status = command_broker(config, &broker, error);
    }
    if (status == STATUS_OK) {
        switch (act) {
        case ACT_LIST:
            status = topics_list(broker, command_json(line), error);
            break;
        case ACT_CREATE:
            status = broker_topic_create(broker, name, (int32_t)partitions, -1, sets->topic,
                                         sets->topic_count, error);
            break;
        case ACT_DELETE:
            status = topic_delete(broker, name, error);
            break;
        }
    }
    broker_close(broker);
    config_destroy(config);
    return status;
}

static int run_topics(const struct command_line *line)
{
    enum act act = ACT_LIST;
    int64_t partitions = 0;
    struct sets sets = {0};
    struct error error = {0};
    int code = act_read(line, &act, &partitions);
    if (code == EXIT_DONE) {
        code = sets_read(line, act == ACT_CREATE, &sets);
    }
    ensure(code != EXIT_DONE || act == ACT_CREATE || sets.topic_count == 0);
    if (code == EXIT_DONE && topics_act(line, act, partitions, &sets, &error) != STATUS_OK) {
        code = command_failed(&error);
    }
    sets_finish(&sets);
    return code;
}

const struct command command_topics = {
    .name = "topics",
    .arguments = "FILE list|create|delete [NAME]",
    .summary = "Lists, creates and deletes topics on the file's broker.",
    .options = options,
    .argument_min = 2,
    .argument_max = 3,
    .run = run_topics,
};
