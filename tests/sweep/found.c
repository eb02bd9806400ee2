/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Found: what is in the broker and in the stores after a run, through the seams' own readers and
 * the changelog's codec.
 */
#include "facts.h"
#include "life.h"
#include "tally.h"

#include "broker/broker.h"
#include "engine/changelog.h"
#include "state/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_SIZE = 512, ROWS = 256 };

/* The changelog's rows, as they are after its last record. */
struct fold {
    char *keys[ROWS], *values[ROWS];
    int count;
    struct arena arena;
    struct stamp stamps[TALLY_PARTITIONS];
};

struct tally_of_outputs {
    char key[32];
    int count;
};

struct finding {
    struct facts *facts;
    struct broker *broker;
    struct fold fold;
    struct tally_of_outputs outputs[32];
    const char *sub_topology; /* the stateful one */
    bool regrouped;
};

static int next_number(struct finding *finding, const char *topic, const char *key)
{
    char name[32];
    (void)snprintf(name, sizeof name, "%s %s", topic, key);
    int i = 0;
    while (finding->outputs[i].count > 0 && strcmp(finding->outputs[i].key, name) != 0) {
        i++;
    }
    (void)snprintf(finding->outputs[i].key, sizeof finding->outputs[i].key, "%s", name);
    return finding->outputs[i].count++;
}

static void take_output(struct finding *finding, const char *topic,
                        const struct broker_record *record)
{
    char key[TEXT_SIZE];
    (void)facts_printable(record->key, key, sizeof key);
    facts_add(finding->facts, "%s %s %d: %.*s", topic, key, next_number(finding, topic, key),
              (int)record->value.size, (const char *)record->value.data);
}

static void fold_put(struct fold *fold, const char *key, struct bytes value)
{
    int i = 0;
    while (i < fold->count && strcmp(fold->keys[i], key) != 0) {
        i++;
    }
    if (i == fold->count) {
        ensure(i < ROWS);
        fold->keys[fold->count++] = memory_text(key);
    }
    free(fold->values[i]);
    fold->values[i] = value.data == NULL
                          ? NULL
                          : memory_format("%.*s", (int)value.size, (const char *)value.data);
}

static void take_change(struct finding *finding, int partition, const struct broker_record *record)
{
    struct fold *fold = &finding->fold;
    const char *table = NULL;
    struct bytes key;
    struct error error;
    char text[TEXT_SIZE];
    char line[TEXT_SIZE * 2];
    if (stamp_is_key(record->key)) {
        struct stamp stamp;
        if (stamp_decode(record->value, &fold->arena, &stamp, &error) != STATUS_OK) {
            facts_add(finding->facts, "a stamp that cannot be read: %s", error.text);
        } else if (stamp.sequence != fold->stamps[partition].sequence + 1) {
            facts_add(finding->facts, "partition %d: stamp %" PRIu64 " after stamp %" PRIu64,
                      partition, stamp.sequence, fold->stamps[partition].sequence);
        }
        fold->stamps[partition] = stamp;
    } else if (changelog_split(record->key, &table, &key)) {
        (void)snprintf(line, sizeof line, "%s %s", table, facts_printable(key, text, sizeof text));
        fold_put(fold, line, record->value);
    } else {
        facts_add(finding->facts, "a record in the changelog that is none");
    }
}

static void read_topic(struct finding *finding, const char *topic, const char *name)
{
    const struct consumer_options options = {.group = NULL};
    struct consumer_assignment list[TALLY_PARTITIONS] = {{0}};
    struct consumer *consumer = NULL;
    struct consumer_event event;
    struct error error;
    int ended = 0;
    ensure(consumer_open(finding->broker, &options, &consumer, &error) == STATUS_OK);
    for (int i = 0; i < TALLY_PARTITIONS; i++) {
        list[i] = (struct consumer_assignment){topic, i, (uint32_t)i, 0, false, false};
    }
    if (consumer_assign(consumer, list, TALLY_PARTITIONS, &error) != STATUS_OK) {
        facts_add(finding->facts, "%s cannot be read: %s", topic, error.text);
        ended = TALLY_PARTITIONS;
    }
    while (ended < TALLY_PARTITIONS) {
        ensure(consumer_poll(consumer, 0, &event, &error) == STATUS_OK);
        ended += event.kind == CONSUMER_END;
        if (event.kind == CONSUMER_RECORD) {
            if (name == NULL) {
                take_change(finding, (int)event.record.slot, &event.record);
            } else {
                take_output(finding, name, &event.record);
            }
            consumer_release(consumer, &event.record);
        }
    }
    consumer_close(consumer);
}

/* The committed offset. */
static int64_t read_to(struct finding *finding, const char *topic, int partition)
{
    struct error error;
    struct broker_offset offset = {topic, partition, BROKER_NO_OFFSET, ""};
    ensure(broker_committed_unstable(finding->broker, LIFE_APPLICATION, &offset, 1, 0, &error) ==
           STATUS_OK);
    return offset.offset;
}

static void find_changelog(struct finding *finding)
{
    struct fold *fold = &finding->fold;
    char topic[TEXT_SIZE];
    (void)snprintf(topic, sizeof topic, "%s-%s-changelog", LIFE_APPLICATION, finding->sub_topology);
    read_topic(finding, topic, NULL);
    for (int i = 0; i < fold->count; i++) {
        if (fold->values[i] != NULL) {
            facts_add(finding->facts, "changelog %s: %s", fold->keys[i], fold->values[i]);
        }
        free(fold->keys[i]);
        free(fold->values[i]);
    }
    for (int p = 0; p < TALLY_PARTITIONS; p++) {
        for (uint32_t i = 0; i < fold->stamps[p].offset_count; i++) {
            const struct stamp_offset *offset = &fold->stamps[p].offsets[i];
            if (!finding->regrouped) {
                facts_add(finding->facts, "stamp %s %d: %" PRId64, offset->topic, offset->partition,
                          offset->offset);
            } else if (offset->offset != read_to(finding, offset->topic, offset->partition)) {
                facts_add(finding->facts, "stamp %s %d: %" PRId64 ", committed is another",
                          offset->topic, offset->partition, offset->offset);
            }
        }
    }
}

static void find_committed(struct finding *finding)
{
    struct error error;
    for (int p = 0; p < TALLY_PARTITIONS; p++) {
        int64_t start = 0;
        int64_t end = 0;
        facts_add(finding->facts, "committed in %d: %" PRId64, p, read_to(finding, "in", p));
        if (finding->regrouped && (broker_log_range(finding->broker, LIFE_REPARTITION, p, &start,
                                                    &end, &error) != STATUS_OK ||
                                   read_to(finding, LIFE_REPARTITION, p) != end)) {
            facts_add(finding->facts, "repartition %d is not read to its end %" PRId64, p, end);
        }
    }
}

static void find_table(struct finding *finding, struct store *store, const char *name)
{
    struct store_table *table = NULL;
    struct store_cursor *cursor = NULL;
    struct bytes key;
    struct bytes value;
    struct error error;
    char text[TEXT_SIZE];
    enum status status = store_table_open(store, name, &table, &error);
    if (status == STATUS_OK) {
        status = store_scan(table, (struct bytes){0}, (struct bytes){0}, 0, &cursor, &error);
    }
    while (status == STATUS_OK) {
        status = store_next(cursor, &key, &value, &error);
        if (status == STATUS_OK) {
            facts_add(finding->facts, "store %s %s: %.*s", name,
                      facts_printable(key, text, sizeof text), (int)value.size,
                      (const char *)value.data);
        }
    }
    store_cursor_close(cursor);
    if (status != STATUS_NOT_FOUND) {
        facts_add(finding->facts, "store table %s: %s", name, error.text);
    }
}

/* I2 at rest: the store holds the changelog's last stamp. */
static void compare_position(struct finding *finding, struct store *store, int partition)
{
    struct bytes value;
    struct position position = {0};
    struct stamp stamp = {0};
    struct error error;
    uint64_t last = finding->fold.stamps[partition].sequence;
    if (store_meta_get(store, "position", &value, &error) == STATUS_OK &&
        position_decode(value, &position, &error) == STATUS_OK && position.stamp.data != NULL) {
        (void)stamp_decode(position.stamp, &finding->fold.arena, &stamp, &error);
    }
    if (stamp.sequence != last) {
        facts_add(finding->facts,
                  "store %d holds stamp %" PRIu64 ", the last one of its changelog is %" PRIu64,
                  partition, stamp.sequence, last);
    }
}

static void find_store(struct finding *finding, const char *folder, int partition)
{
    const struct store_options options = {.read_only = true};
    static const char *const names[] = {".timers", "tally/chains", "tally/rows"};
    char path[TEXT_SIZE];
    struct store *store = NULL;
    struct error error;
    (void)snprintf(path, sizeof path, "%s/state/%s/a/%s-%d", folder, LIFE_APPLICATION,
                   finding->sub_topology, partition);
    enum status status = store_lmdb_open(path, &options, &store, &error);
    if (status != STATUS_OK) {
        facts_add(finding->facts, "store %d: %s", partition,
                  status == STATUS_NOT_FOUND ? "is not there" : error.text);
        return;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        find_table(finding, store, names[i]);
    }
    compare_position(finding, store, partition);
    store_close(store);
}

void facts_find(struct facts *facts, const char *folder, enum shape shape)
{
    struct finding *finding = memory_allocate(sizeof *finding);
    finding->facts = facts;
    finding->broker = life_open_broker(folder);
    finding->regrouped = shape == SHAPE_REGROUP;
    finding->sub_topology = finding->regrouped ? "by_key" : "in";
    arena_init(&finding->fold.arena, 0);
    read_topic(finding, "out", "out");
    read_topic(finding, "late", "late");
    find_committed(finding);
    if (shape != SHAPE_COPY) {
        find_changelog(finding);
    }
    broker_close(finding->broker);
    for (int p = 0; p < TALLY_PARTITIONS && shape != SHAPE_COPY; p++) {
        find_store(finding, folder, p);
    }
    arena_finish(&finding->fold.arena);
    free(finding);
}
