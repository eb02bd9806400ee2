/* SPDX-License-Identifier: Apache-2.0 */
#include "history_writer.h"

#include "scenario.h"
#include "sim_cluster.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK_US = 50000, PARTITION_LIMIT = 16 };

static const char *const followed[] = {"app-by_key-repartition", "out"};
enum { FOLLOWED = sizeof followed / sizeof *followed };

struct history_writer {
    struct scenario *scenario;
    struct sim *sim;
    struct sim_cluster *cluster;
    FILE *file;
    int64_t positions[FOLLOWED][PARTITION_LIMIT];
    /* Of the log that is being read: */
    const char *topic;
    int32_t partition;
    const char *reader;
    int64_t position;
};

static int64_t now_ms(const struct history_writer *writer)
{
    return sim_now_us(writer->sim) / 1000;
}

/* Simulated keys and values are plain text. */
static void write_text(struct history_writer *writer, const char *name, struct bytes text)
{
    const char *letters = text.data;
    if (letters == NULL) {
        fprintf(writer->file, ",\"%s\":null", name);
        return;
    }
    for (size_t i = 0; i < text.size; i++) {
        ensure(letters[i] >= ' ' && letters[i] < 0x7f && letters[i] != '"' && letters[i] != '\\');
    }
    fprintf(writer->file, ",\"%s\":\"%.*s\"", name, (int)text.size, letters);
}

static void write_place(struct history_writer *writer, const char *event, const char *topic,
                        int32_t partition, int64_t offset)
{
    fprintf(writer->file, "{\"event\":\"%s\",\"topic\":\"%s\",\"partition\":%d,\"offset\":%" PRId64,
            event, topic, (int)partition, offset);
}

/* ---- Readers ---- */

static bool write_read(void *context, const struct broker_record *record)
{
    struct history_writer *writer = context;
    write_place(writer, "read", writer->topic, writer->partition, record->offset);
    write_text(writer, "key", record->key);
    write_text(writer, "value", record->value);
    fprintf(writer->file, ",\"reader\":\"%s\",\"time_ms\":%" PRId64 "}\n", writer->reader,
            now_ms(writer));
    writer->position = record->offset + 1;
    return true;
}

/* All that is committed and stable from `position` on; answers where the reader then is. */
static int64_t read_on(struct history_writer *writer, const char *reader, const char *topic,
                       int32_t partition, int64_t position)
{
    writer->reader = reader;
    writer->topic = topic;
    writer->partition = partition;
    writer->position = position;
    sim_read(writer->cluster, topic, partition, position, write_read, writer);
    return writer->position;
}

static void look(void *subject, uint64_t number)
{
    struct history_writer *writer = subject;
    for (size_t i = 0; i < FOLLOWED; i++) {
        for (int32_t p = 0; p < sim_partition_count(writer->cluster, followed[i]); p++) {
            writer->positions[i][p] =
                read_on(writer, "live", followed[i], p, writer->positions[i][p]);
        }
    }
    sim_at(writer->sim, sim_now_us(writer->sim) + LOOK_US, look, writer, number);
}

/* ---- What it is ---- */

static void write_stage(struct history_writer *writer, const char *kind, const char *inputs,
                        const char *output, const char *ignored)
{
    fprintf(writer->file,
            "{\"event\":\"topology\",\"kind\":\"%s\",\"input\":[%s],\"output\":[\"%s\"],"
            "\"group\":\"app\"%s}\n",
            kind, inputs, output, ignored);
}

static void write_stages(struct history_writer *writer)
{
    switch (writer->scenario->topology) {
    case TOPOLOGY_COPY:
        write_stage(writer, "copy", "\"in\"", "out", ",\"ignored\":[\"?\"]");
        break;
    case TOPOLOGY_COUNT:
        write_stage(writer, "chain", "\"in\"", "out", ",\"ignored\":[\"!\",\"?\"]");
        break;
    case TOPOLOGY_REGROUP:
        write_stage(writer, "copy", "\"in\"", followed[0], ",\"ignored\":[\"?\"]");
        write_stage(writer, "chain", "\"app-by_key-repartition\"", "out",
                    ",\"ignored\":[\"!\",\"?\"]");
        break;
    case TOPOLOGY_JOIN:
        write_stage(writer, "chain", "\"in\",\"in2\"", "out", ",\"ignored\":[\"!\",\"?\"]");
        break;
    case TOPOLOGY_TIMERS:
        write_stage(writer, "chain", "\"in\"", "out",
                    ",\"ignored\":[\"!\",\"?\"],\"timer\":\"" CHAIN_TIMER "\"");
        break;
    default: /* what a timer adds depends on time; the oracle knows */
        write_stage(writer, "any", "\"in\"", "out", "");
    }
}

/* ---- The rest, from the cluster's own books ---- */

static void write_sends(struct history_writer *writer, const char *topic, int32_t partition)
{
    const struct sim_partition *log = sim_partition_find(writer->cluster, topic, partition);
    for (size_t i = 0; i < log->count; i++) {
        const struct sim_record *record = log->records[i];
        if (record->kind == RECORD_DATA && record->owner == NULL) {
            write_place(writer, "send", topic, partition, record->offset);
            write_text(writer, "key", record->key);
            write_text(writer, "value", record->value);
            fprintf(writer->file, ",\"outcome\":\"ok\"}\n");
        }
    }
}

static void write_writes(struct history_writer *writer, const char *topic, int32_t partition)
{
    static const char *const outcomes[] = {
        [RECORD_OPEN] = "unknown", [RECORD_COMMITTED] = "committed", [RECORD_ABORTED] = "aborted"};
    const struct sim_partition *log = sim_partition_find(writer->cluster, topic, partition);
    for (size_t i = 0; i < log->count; i++) {
        const struct sim_record *record = log->records[i];
        if (record->kind == RECORD_DATA && record->owner != NULL) {
            write_place(writer, "write", topic, partition, record->offset);
            fprintf(writer->file, ",\"transaction\":\"%s/%" PRIu64 "\",\"outcome\":\"%s\"}\n",
                    record->owner->id, record->serial, outcomes[record->state]);
        }
    }
}

static void write_end(struct history_writer *writer, const char *reader, const char *topic,
                      int32_t partition)
{
    write_place(writer, "end", topic, partition, sim_log_end(writer->cluster, topic, partition));
    fprintf(writer->file, ",\"reader\":\"%s\"}\n", reader);
}

/* One more reader, of what is not deleted. */
static void write_final(struct history_writer *writer, const char *topic, int32_t partition)
{
    int64_t start = sim_partition_find(writer->cluster, topic, partition)->start;
    write_place(writer, "seek", topic, partition, start);
    fprintf(writer->file, ",\"reader\":\"final\"}\n");
    (void)read_on(writer, "final", topic, partition, start);
}

static void write_partition(struct history_writer *writer, const char *topic, int32_t partition)
{
    int64_t committed = sim_group_offset(writer->cluster, "app", topic, partition);
    write_sends(writer, topic, partition);
    write_writes(writer, topic, partition);
    if (committed != BROKER_NO_OFFSET) {
        write_place(writer, "committed", topic, partition, committed);
        fprintf(writer->file, ",\"group\":\"app\"}\n");
    }
    for (size_t i = 0; i < FOLLOWED; i++) {
        if (strcmp(topic, followed[i]) == 0) {
            write_end(writer, "live", topic, partition);
            write_final(writer, topic, partition);
        }
    }
    if (strstr(topic, "changelog") == NULL) {
        write_end(writer, "final", topic, partition);
    }
}

struct history_writer *history_writer_open(struct scenario *scenario, const char *path)
{
    if (path == NULL) {
        return NULL;
    }
    struct history_writer *writer = memory_allocate(sizeof *writer);
    writer->scenario = scenario;
    writer->sim = scenario->world->sim;
    writer->cluster = scenario->world->cluster;
    writer->file = fopen(path, "w");
    if (writer->file == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    write_stages(writer);
    sim_at(writer->sim, 0, look, writer, 0);
    return writer;
}

void history_writer_close(struct history_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    look(writer, 0);
    sim_cancel(writer->sim, writer);
    for (size_t i = 0; i < writer->scenario->fact_count; i++) {
        const char *topic = writer->scenario->facts[i].topic;
        for (int32_t p = 0; p < sim_partition_count(writer->cluster, topic); p++) {
            write_partition(writer, topic, p);
        }
    }
    if (fclose(writer->file) != 0) {
        perror("history");
        exit(2);
    }
    free(writer);
}
