/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Config: the topology file as checked structs. Reads JSON, applies ${NAME}, --set and --broker,
 * checks names, types and ranges; knows nothing of plugins (their parameters stay named values), of
 * the graph (graph.h) or of librdkafka's properties.
 *
 * Invariants: every string lives until config_destroy; every number is within its documented range;
 * every error is STATUS_BAD_CONFIG and says FILE:LINE, the JSON path, what was expected, and the
 * nearest known name where a name is wrong. Read-only after config_load: any thread may read.
 */
#ifndef LEAT_TOPOLOGY_CONFIG_H
#define LEAT_TOPOLOGY_CONFIG_H

#include "base/status.h"
#include "base/value.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum config_broker_kind { CONFIG_BROKER_LOCAL, CONFIG_BROKER_KAFKA };
enum config_start { CONFIG_START_EARLIEST, CONFIG_START_LATEST, CONFIG_START_STOP };
enum config_offset_lost { CONFIG_LOST_STOP, CONFIG_LOST_EARLIEST, CONFIG_LOST_LATEST };
enum config_on_error { CONFIG_ON_ERROR_FAIL, CONFIG_ON_ERROR_SKIP };

/** librdkafka properties: every value is VALUE_STRING, secrets already read. */
struct config_properties {
    struct named_value *items;
    size_t count;
};

struct config_broker {
    enum config_broker_kind kind;
    char *directory; /* local; absolute or relative to the working directory */
    int64_t session_timeout_ms, transaction_timeout_ms, connect_timeout_ms;
    bool static_membership;
    int64_t prefetch_size;
    struct config_properties common, consumer, producer;
};

/** Feeds: node names or "node.port". */
struct config_feeds {
    char **names;
    size_t count;
    const char *path; /* JSON path of the list */
    int line;         /* of the list; 0 = from the command line */
    int *lines;       /* of each name */
    bool list;        /* written as a list: the path of a name is path[index] */
};

/** An entry of an object form `"from": {"left": [...]}`; port NULL for the list form. */
struct config_input {
    char *port;
    struct config_feeds from;
};

struct config_source {
    char *name;
    char **topics;
    size_t topic_count;
    enum config_start start;
    enum config_offset_lost on_offset_lost;
    int64_t idle_ms;
    int line;
};

struct config_operator {
    char *name;
    char *use;
    struct config_input *inputs;
    size_t input_count;
    struct named_value *params;
    size_t param_count;
    enum config_on_error on_error; /* its own or the file's */
    int64_t retries, backoff_ms;
    int line;
};

struct config_repartition {
    char *name;
    char *topic; /* <application>-<name>-repartition */
    struct config_feeds from;
    int32_t partitions; /* 0 = as many as the largest source above it */
    int line;
};

struct config_sink {
    char *name;
    char *topic;
    struct config_feeds from;
    bool source_partition; /* "partition": "source" */
    int line;
};

struct config {
    char *file;      /* as given */
    char *directory; /* of the file; relative paths in the file are already joined to it */
    char *application, *instance;
    struct config_broker broker;
    struct {
        char *directory;
        bool fast;
        int64_t flush_interval_ms;
    } state;
    char **operator_directories;
    size_t operator_directory_count;
    uint32_t workers;
    struct {
        int64_t interval_ms, records, size;
    } commit;
    int64_t callback_timeout_ms;
    enum config_on_error on_error;
    struct {
        int32_t replication_factor;
        struct config_properties properties;
    } internal_topics;
    struct config_source *sources;
    struct config_operator *operators;
    struct config_repartition *repartitions;
    struct config_sink *sinks;
    size_t source_count, operator_count, repartition_count, sink_count; /* in file order */
};

/** A `--set PATH=VALUE` each; `broker` is the value of --broker or NULL. */
struct config_overrides {
    const char *broker;
    const char *const *sets;
    size_t set_count;
};

/** Reads and checks `file`. `overrides` may be NULL. */
enum status config_load(const char *file, const struct config_overrides *overrides,
                        struct config **config, struct error *error);
/** The same from text; `file` is what errors call it and what paths are relative to. */
enum status config_parse(const char *text, size_t size, const char *file,
                         const struct config_overrides *overrides, struct config **config,
                         struct error *error);
/** Takes NULL. */
void config_destroy(struct config *config);

/** One effective setting. */
struct config_setting {
    const char *path;  /* as --set takes it: "commit.interval" */
    const char *value; /* as the file would write it; of a secret "(secret)" */
    bool number;       /* it is a bare number */
};

/** Calls `visit` with every setting outside the nodes, defaults included, in the order of the
 * tables. */
void config_visit_settings(const struct config *config,
                           void (*visit)(void *opaque, const struct config_setting *setting),
                           void *opaque);

/** The JSON Schema of the file, made from the same tables that config_parse checks with; free it.
 */
char *config_schema(void);

#endif
