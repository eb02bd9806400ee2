/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command produce: a record per line of stdin. Knows the broker only by broker.h. Without
 * --transactional what was read is acknowledged whenever no more input waits; with it all or
 * nothing enters the topic.
 */
#include "base/clock.h"
#include "base/hash.h"
#include "base/random.h"
#include "cli/cli.h"
#include "cli/produce_input.h"
#include "cli/record_format.h"
#include "cli/stop.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { QUIET_MS = 5, WAIT_MS = 100, STOP_EVERY = 4096, ARENA_KEEP = 64 << 10 };

static const struct option_spec options[] = {
    {"format", "FORMAT", "what a line is", "value,key-value,json"},
    {"key-separator", "TEXT", "what is between key and value (default TAB)", NULL},
    {"transactional", NULL, "all records or none", NULL},
    {0}};

struct produce {
    enum record_format format;
    const char *separator;
    const char *topic_name;
    bool transactional;
    int64_t patience_ms; /* for an answer of the broker */
    struct broker *broker;
    struct producer *producer;
    uint32_t topic;
    int32_t partitions, next_partition;
    struct produce_input input;
    struct arena arena;
    uint64_t sent, acknowledged;
    bool stopped;
    const char *file_name; /* the topology file, as given */
};

static int parse_options(const struct command_line *line, struct produce *produce)
{
    const char *format = command_option(line, "format");
    const char *separator = command_option(line, "key-separator");
    bool known = record_format_parse(format != NULL ? format : "value", &produce->format);
    ensure(known);
    if (command_json(line)) {
        if (format != NULL && produce->format != RECORD_JSON) {
            return command_usage(line, "--json and --format %s exclude each other", format);
        }
        produce->format = RECORD_JSON;
    }
    if (separator != NULL && *separator == 0) {
        return command_usage(line, "--key-separator is empty");
    }
    if (separator != NULL && produce->format != RECORD_KEY_VALUE) {
        return command_usage(line, "--key-separator is for --format key-value");
    }
    produce->separator = separator != NULL ? separator : "\t";
    produce->topic_name = command_argument(line, 1);
    produce->transactional = command_flag(line, "transactional");
    return EXIT_DONE;
}

/* Repeats a call of the broker while it says "again". */
#define PATIENTLY(produce, status, call)                                                           \
    do {                                                                                           \
        int64_t until = clock_monotonic_ms(clock_system()) + (produce)->patience_ms;               \
        do {                                                                                       \
            (status) = (call);                                                                     \
        } while ((status) == STATUS_RETRY && clock_monotonic_ms(clock_system()) < until);          \
    } while (0)

static enum status produce_open(struct produce *produce, struct error *error)
{
    struct broker_topic facts;
    enum status status = broker_topic_get(produce->broker, produce->topic_name, &facts, error);
    if (status == STATUS_NOT_FOUND) {
        return error_set(error, STATUS_FATAL, ERROR_NO_TOPIC,
                         "topic %s does not exist; create it with: topology topics %s create %s "
                         "--partitions N",
                         produce->topic_name, produce->file_name, produce->topic_name);
    }
    if (status != STATUS_OK) {
        return status;
    }
    /* An id of its own: two of these commands must not fence each other. */
    char id[64];
    (void)snprintf(id, sizeof id, "topology-produce-%016" PRIx64, random_system_seed());
    status = producer_open(produce->broker, produce->transactional ? id : NULL, &produce->producer,
                           error);
    if (status == STATUS_OK) {
        PATIENTLY(produce, status, producer_ready(produce->producer, WAIT_MS, error));
    }
    if (status == STATUS_OK) {
        status = producer_topic(produce->producer, produce->topic_name, &produce->topic,
                                &produce->partitions, error);
    }
    if (status == STATUS_OK) {
        ensure(produce->partitions > 0);
        struct random random;
        random_init(&random, random_system_seed());
        produce->next_partition = (int32_t)random_below(&random, (uint64_t)produce->partitions);
    }
    return status;
}

static int32_t partition_for(struct produce *produce, const struct record_input *record)
{
    ensure(produce->partitions > 0);
    if (record->partition >= 0) {
        return record->partition;
    }
    if (record->key.data != NULL) {
        return hash_partition(record->key.data, record->key.size, produce->partitions);
    }
    produce->next_partition = (produce->next_partition + 1) % produce->partitions;
    return produce->next_partition;
}

static enum status send_line(struct produce *produce, struct bytes line, struct error *error)
{
    ensure(line.data != NULL);
    struct record_input record;
    arena_reset(&produce->arena);
    enum status status =
        record_parse(produce->format, produce->separator, line, &produce->arena, &record, error);
    if (status != STATUS_OK) {
        return status;
    }
    if (record.partition >= produce->partitions) {
        return error_set(error, STATUS_BAD_RECORD, ERROR_NO_TOPIC,
                         "partition %d asked for; topic %s has %d", record.partition,
                         produce->topic_name, produce->partitions);
    }
    struct broker_output output = {
        .topic = produce->topic,
        .partition = partition_for(produce, &record),
        .key = record.key,
        .value = record.value,
        .headers = record.headers,
        .header_count = record.header_count,
        .timestamp_ms = record.timestamp_ms,
        .origin = produce->input.line,
    };
    PATIENTLY(produce, status, producer_send(produce->producer, &output, error));
    produce->sent += status == STATUS_OK ? 1 : 0;
    return status;
}

/* Waits until everything sent is acknowledged. */
static enum status acknowledge(struct produce *produce, struct error *error)
{
    ensure(produce->acknowledged <= produce->sent);
    enum status status = STATUS_OK;
    uint64_t line = 0;
    if (produce->acknowledged == produce->sent) {
        return STATUS_OK;
    }
    PATIENTLY(produce, status, producer_flush(produce->producer, WAIT_MS, error));
    if (status == STATUS_BAD_RECORD && producer_refused(produce->producer, &line, error)) {
        return error_prefix(error, "line %" PRIu64, line);
    }
    produce->acknowledged = status == STATUS_OK ? produce->sent : produce->acknowledged;
    return status;
}

static enum status send_all(struct produce *produce, struct error *error)
{
    ensure(produce->producer != NULL);
    for (uint64_t count = 0;; count++) {
        if (count % STOP_EVERY == 0 && stop_asked()) {
            produce->stopped = true;
            return STATUS_OK;
        }
        struct bytes line;
        bool quiet = produce->acknowledged == produce->sent;
        enum status status =
            produce_input_line(&produce->input, quiet ? WAIT_MS : QUIET_MS, &line, error);
        if (status == STATUS_NOT_FOUND) {
            return STATUS_OK;
        }
        if (status == STATUS_RETRY) {
            /* Nobody types now: what was typed should be in the topic. */
            count = UINT64_MAX;
            status = produce->transactional ? STATUS_OK : acknowledge(produce, error);
        } else if (status == STATUS_OK) {
            status = send_line(produce, line, error);
            if (status == STATUS_BAD_RECORD) {
                return error_prefix(error, "line %" PRIu64, produce->input.line);
            }
        } else if (status == STATUS_BAD_RECORD) {
            return error_prefix(error, "line %" PRIu64, produce->input.line + 1);
        }
        if (status != STATUS_OK) {
            return status;
        }
    }
}

static enum status send_transaction(struct produce *produce, struct error *error)
{
    ensure(produce->transactional);
    enum status status = producer_begin(produce->producer, error);
    if (status != STATUS_OK) {
        return status;
    }
    status = send_all(produce, error);
    if (status == STATUS_OK) {
        status = acknowledge(produce, error);
    }
    if (status == STATUS_OK && !produce->stopped) {
        PATIENTLY(produce, status, producer_commit(produce->producer, WAIT_MS, error));
        if (status == STATUS_RETRY) {
            (void)error_prefix(error, "whether the records were written is not known");
        }
        return status;
    }
    enum status aborted = STATUS_OK;
    struct error ignored; /* what matters is why */
    PATIENTLY(produce, aborted, producer_abort(produce->producer, WAIT_MS, &ignored));
    return status == STATUS_OK ? error_set(error, STATUS_FATAL, ERROR_STOPPED,
                                           "stopped before the end: nothing was written")
                               : status;
}

static enum status produce_run(struct produce *produce, struct error *error)
{
    ensure(produce->broker != NULL);
    int file = STDIN_FILENO;
    if (produce->transactional) {
        enum status status = produce_input_spool(STDIN_FILENO, &file, error);
        if (status != STATUS_OK) {
            return status == STATUS_RETRY ? error_set(error, STATUS_FATAL, ERROR_STOPPED,
                                                      "stopped before the end: nothing was written")
                                          : status;
        }
    }
    produce_input_init(&produce->input, file);
    arena_init(&produce->arena, ARENA_KEEP);
    enum status status = produce_open(produce, error);
    if (status == STATUS_OK && produce->transactional) {
        status = send_transaction(produce, error);
    } else if (status == STATUS_OK) {
        status = send_all(produce, error);
        struct error late; /* what was read before the bad line is not lost */
        enum status flushed = acknowledge(produce, status == STATUS_OK ? error : &late);
        status = status == STATUS_OK ? flushed : status;
    }
    producer_close(produce->producer);
    produce_input_finish(&produce->input);
    arena_finish(&produce->arena);
    if (file != STDIN_FILENO) {
        (void)close(file);
    }
    return status;
}

static int run_produce(const struct command_line *line)
{
    struct error error = {0};
    struct config *config = NULL;
    struct produce produce = {0};
    int code = parse_options(line, &produce);
    if (code != EXIT_DONE) {
        return code;
    }
    stop_prepare();
    enum status status = command_config(line, 0, &config, &error);
    if (status == STATUS_OK) {
        status = command_broker(config, &produce.broker, &error);
    }
    if (status == STATUS_OK) {
        ensure(produce.broker != NULL);
        produce.patience_ms = config->broker.connect_timeout_ms;
        produce.file_name = config->file;
        status = produce_run(&produce, &error);
    }
    if (status != STATUS_OK) {
        code = command_failed(&error);
        if (!produce.transactional && produce.acknowledged > 0) {
            (void)fprintf(stderr, "topology: %" PRIu64 " records were written\n",
                          produce.acknowledged);
        }
    }
    broker_close(produce.broker);
    config_destroy(config);
    return code;
}

const struct command command_produce = {
    .name = "produce",
    .arguments = "FILE TOPIC",
    .summary = "Writes a record per line of stdin to a topic.",
    .options = options,
    .argument_min = 2,
    .argument_max = 2,
    .run = run_produce,
};
