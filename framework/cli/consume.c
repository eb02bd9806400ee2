/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command consume: prints the records of a topic. Knows the broker only by broker.h: a plain reader
 * without a group. The end of a partition is what the broker says by its END, never arithmetic.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/value.h"
#include "cli/cli.h"
#include "cli/record_format.h"
#include "cli/stop.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    OPEN_WAIT_MS = 3000,
    WAIT_MS = 100,
    WRITE_SIZE = 64 << 10,
    PIPE_SIZE = 4096,
    STOP_EVERY = 4096
};

static const struct option_spec options[] = {
    {"format", "FORMAT", "what a line is", "value,key-value,json"},
    {"key-separator", "TEXT", "what is between key and value (default TAB)", NULL},
    {"from", "WHERE", "beginning (default), end, or an offset", NULL},
    {"count", "N", "stop after N records", NULL},
    {"until-end", NULL, "stop at the end of what is there", NULL},
    {"uncommitted", NULL, "also records of transactions that are open or were aborted", NULL},
    {0}};

enum from { FROM_BEGINNING, FROM_END, FROM_OFFSET };

struct partition {
    int64_t target; /* the log's end when the command began, open transactions included */
    int64_t at;     /* of the last END */
    bool seen;      /* an END has come */
    bool ended;     /* one at the target or beyond */
};

struct consume {
    enum record_format format;
    const char *separator;
    const char *topic;
    enum from from;
    int64_t offset; /* FROM_OFFSET: nothing below it is printed */
    int64_t count;  /* -1: no limit */
    bool until_end, uncommitted;
    struct broker *broker;
    struct consumer *consumer;
    struct partition *partitions;
    int32_t partition_count, seen_count, ended_count;
    int64_t moved_ms; /* when nothing came any more (monotonic) */
    bool moved, given_up;
    struct buffer text;
    bool closed; /* nobody reads stdout any more */
    bool stopped;
};

static int parse_numbers(const struct command_line *line, struct consume *consume)
{
    const char *from = command_option(line, "from");
    const char *count = command_option(line, "count");
    consume->count = -1;
    if (count != NULL && (!value_parse_integer(count, &consume->count) || consume->count < 0)) {
        return command_usage(line, "--count expects a whole number, found \"%s\"", count);
    }
    if (from == NULL || strcmp(from, "beginning") == 0) {
        consume->from = FROM_BEGINNING;
    } else if (strcmp(from, "end") == 0) {
        consume->from = FROM_END;
    } else if (value_parse_integer(from, &consume->offset) && consume->offset >= 0) {
        consume->from = FROM_OFFSET;
    } else {
        return command_usage(line, "--from expects beginning, end or an offset, found \"%s\"",
                             from);
    }
    ensure(consume->count >= -1 && consume->offset >= 0);
    return EXIT_DONE;
}

static int parse_options(const struct command_line *line, struct consume *consume)
{
    const char *format = command_option(line, "format");
    const char *separator = command_option(line, "key-separator");
    bool known = record_format_parse(format != NULL ? format : "value", &consume->format);
    ensure(known);
    if (command_json(line)) {
        if (format != NULL && consume->format != RECORD_JSON) {
            return command_usage(line, "--json and --format %s exclude each other", format);
        }
        consume->format = RECORD_JSON;
    }
    if (separator != NULL && consume->format != RECORD_KEY_VALUE) {
        return command_usage(line, "--key-separator is for --format key-value");
    }
    consume->separator = separator != NULL ? separator : "\t";
    consume->topic = command_argument(line, 1);
    consume->until_end = command_flag(line, "until-end");
    consume->uncommitted = command_flag(line, "uncommitted");
    return parse_numbers(line, consume);
}

/* ---- Output ---- */

/* Writes what is collected. A pipe that is full must not keep a stop from being seen. */
static enum status text_write(struct consume *consume, struct error *error)
{
    ensure(consume->text.size == 0 || consume->text.data != NULL);
    size_t at = 0;
    while (at < consume->text.size && !consume->closed && !consume->stopped) {
        struct pollfd ready = {.fd = STDOUT_FILENO, .events = POLLOUT};
        if (poll(&ready, 1, WAIT_MS) <= 0) {
            consume->stopped = stop_asked();
            continue;
        }
        size_t size = consume->text.size - at;
        ssize_t written =
            write(STDOUT_FILENO, consume->text.data + at, size < PIPE_SIZE ? size : PIPE_SIZE);
        if (written < 0 && errno == EPIPE) {
            consume->closed = true;
        } else if (written < 0 && errno != EINTR && errno != EAGAIN) {
            return error_set(error, STATUS_FATAL, ERROR_IO, "stdout: %s", strerror(errno));
        }
        at += written > 0 ? (size_t)written : 0;
    }
    consume->text.size = 0;
    return STATUS_OK;
}

/* ---- Reading ---- */

static enum status start_of(struct consume *consume, int32_t partition, int64_t *offset,
                            struct error *error)
{
    ensure(partition >= 0);
    int64_t start = 0;
    int64_t end = 0;
    enum status status =
        broker_log_range(consume->broker, consume->topic, partition, &start, &end, error);
    *offset = consume->from == FROM_END      ? end
              : consume->from == FROM_OFFSET ? consume->offset
                                             : start;
    *offset = *offset < start ? start : *offset > end ? end : *offset;
    consume->partitions[partition].target = end;
    return status;
}

static enum status consume_open(struct consume *consume, struct error *error)
{
    struct broker_topic facts;
    enum status status = broker_topic_get(consume->broker, consume->topic, &facts, error);
    if (status == STATUS_NOT_FOUND) {
        return error_set(error, STATUS_FATAL, ERROR_NO_TOPIC,
                         "topic %s does not exist; the command topics lists those that do",
                         consume->topic);
    }
    const struct consumer_options plain = {.uncommitted = consume->uncommitted};
    if (status == STATUS_OK) {
        status = consumer_open(consume->broker, &plain, &consume->consumer, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    ensure(facts.partition_count > 0);
    size_t count = (size_t)facts.partition_count;
    consume->partition_count = facts.partition_count;
    consume->partitions = memory_allocate(count * sizeof *consume->partitions);
    struct consumer_assignment *assignment = memory_allocate(count * sizeof *assignment);
    for (int32_t i = 0; i < facts.partition_count && status == STATUS_OK; i++) {
        assignment[i] = (struct consumer_assignment){
            .topic = consume->topic, .partition = i, .slot = (uint32_t)i};
        status = start_of(consume, i, &assignment[i].offset, error);
    }
    if (status == STATUS_OK) {
        status = consumer_assign(consume->consumer, assignment, count, error);
    }
    free(assignment);
    return status;
}

static void record_take(struct consume *consume, struct consumer_event *event)
{
    ensure(event->kind == CONSUMER_RECORD);
    bool wanted = consume->from != FROM_OFFSET || event->record.offset >= consume->offset;
    if (wanted && consume->count != 0) {
        record_print(consume->format, consume->separator, consume->topic, (int32_t)event->slot,
                     &event->record, &consume->text);
        consume->count -= consume->count > 0 ? 1 : 0;
    }
    consumer_release(consume->consumer, &event->record);
}

/* A commit is answered before its records can be read (Kafka writes its markers after that), so an
   END below what was there at the start is not the end yet. */
static void end_take(struct consume *consume, struct partition *partition, int64_t offset)
{
    bool ended = consume->uncommitted || offset >= partition->target;
    ensure(offset >= 0);
    consume->seen_count += partition->seen ? 0 : 1;
    partition->at = offset;
    consume->ended_count += ended && !partition->ended ? 1 : 0;
    partition->seen = true;
    partition->ended = partition->ended || ended;
}

static enum status event_take(struct consume *consume, struct consumer_event *event,
                              struct error *error)
{
    switch (event->kind) {
    case CONSUMER_RECORD:
        record_take(consume, event);
        return STATUS_OK;
    case CONSUMER_END:
        ensure(event->slot < (uint32_t)consume->partition_count);
        end_take(consume, &consume->partitions[event->slot], event->offset);
        return STATUS_OK;
    case CONSUMER_OFFSET_LOST:
        return error_set(error, STATUS_FATAL, ERROR_OFFSET_LOST,
                         "%s[%u]: offset %lld is not retained any more", consume->topic,
                         event->slot, (long long)event->offset);
    default:
        return STATUS_OK;
    }
}

/* An open transaction whose owner is gone is waited for, but not for ever. */
static void note_idle(struct consume *consume, bool idle)
{
    ensure(consume->ended_count <= consume->seen_count);
    if (!idle) {
        consume->moved = true;
        return;
    }
    int64_t now_ms = clock_monotonic_ms(clock_system());
    if (consume->moved) {
        consume->moved = false;
        consume->moved_ms = now_ms;
    }
    consume->given_up = consume->seen_count == consume->partition_count &&
                        now_ms - consume->moved_ms > OPEN_WAIT_MS;
}

static bool consume_done(const struct consume *consume)
{
    ensure(consume->ended_count <= consume->partition_count);
    bool ended = consume->ended_count == consume->partition_count || consume->given_up;
    return consume->count == 0 || consume->closed || consume->stopped ||
           (consume->until_end && ended);
}

static void tell_hidden(const struct consume *consume)
{
    for (int32_t i = 0; i < consume->partition_count; i++) {
        const struct partition *partition = &consume->partitions[i];
        ensure(partition->seen && partition->at >= 0);
        if (!partition->ended) {
            log_warn("consume",
                     "%s[%d]: a transaction is open that hides everything from offset %lld on; its "
                     "owner or its time-out ends it: run this again then",
                     consume->topic, (int)i, (long long)partition->at);
        }
    }
}

/* What is printed is written before anything is waited for. */
static enum status consume_all(struct consume *consume, struct error *error)
{
    ensure(consume->consumer != NULL);
    enum status status = STATUS_OK;
    for (uint64_t polls = 1; status == STATUS_OK && !consume_done(consume); polls++) {
        struct consumer_event event = {.kind = CONSUMER_NOTHING};
        bool wait = consume->text.size == 0;
        status = consumer_poll(consume->consumer, wait ? WAIT_MS : 0, &event, error);
        if (status == STATUS_RETRY) {
            status = STATUS_OK; /* a passing trouble */
            event.kind = CONSUMER_NOTHING;
        }
        if (status == STATUS_OK) {
            status = event_take(consume, &event, error);
        }
        bool idle = event.kind == CONSUMER_NOTHING;
        note_idle(consume, idle);
        if (status == STATUS_OK && (idle || consume->text.size >= WRITE_SIZE)) {
            status = text_write(consume, error);
        }
        if (idle || polls % STOP_EVERY == 0) {
            consume->stopped = consume->stopped || stop_asked();
        }
    }
    if (status == STATUS_OK && consume->until_end && consume->given_up) {
        tell_hidden(consume);
    }
    enum status written = text_write(consume, status == STATUS_OK ? error : NULL);
    return status == STATUS_OK ? written : status;
}

static int run_consume(const struct command_line *line)
{
    struct error error = {0};
    struct config *config = NULL;
    struct consume consume = {0};
    int code = parse_options(line, &consume);
    if (code != EXIT_DONE) {
        return code;
    }
    stop_prepare();
    enum status status = command_config(line, 0, &config, &error);
    if (status == STATUS_OK) {
        status = command_broker(config, &consume.broker, &error);
    }
    if (status == STATUS_OK) {
        ensure(consume.broker != NULL);
        status = consume_open(&consume, &error);
    }
    if (status == STATUS_OK) {
        status = consume_all(&consume, &error);
    }
    if (status != STATUS_OK) {
        code = command_failed(&error);
    }
    consumer_close(consume.consumer);
    broker_close(consume.broker);
    config_destroy(config);
    buffer_finish(&consume.text);
    free(consume.partitions);
    return code;
}

const struct command command_consume = {
    .name = "consume",
    .arguments = "FILE TOPIC",
    .summary = "Prints the records of a topic, committed ones only.",
    .options = options,
    .argument_min = 2,
    .argument_max = 2,
    .run = run_consume,
};
