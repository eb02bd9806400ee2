/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/local_topic.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/value.h"
#include "broker/local_log.h"

#include <stdlib.h>
#include <string.h>

enum {
    PARTITIONS_MOST = 10000,
    BURY_BATCHES = 1000,
    BURY_BUDGET_MS = 5000,
    MAX_RECORD_SIZE = 1048588, /* Kafka's default */
    HARD_RECORD_SIZE = 1 << 30
};

static const int64_t day_ms = (int64_t)24 * 3600 * 1000;

bool local_topic_name_valid(const char *name)
{
    ensure(name != NULL);
    size_t size = strlen(name);
    size_t legal =
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return size >= 1 && size < BROKER_TOPIC_SIZE && legal == size && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

/* A row as it lies in the file; false when no version can have written it. */
static bool row_read(const MDB_val *value, struct local_topic *topic)
{
    ensure(topic != NULL);
    if (value->mv_size != sizeof *topic) {
        return false;
    }
    memcpy(topic, value->mv_data, sizeof *topic);
    return topic->id > 0 && topic->partition_count > 0 &&
           topic->partition_count <= PARTITIONS_MOST && topic->retention_ms >= -1 &&
           topic->retention_ms <= INT64_MAX / 2 && topic->retention_size >= -1 &&
           topic->retention_size <= INT64_MAX / 2 && topic->delete_retention_ms >= 0 &&
           topic->delete_retention_ms <= INT64_MAX / 2 && topic->max_record_size > 0;
}

static enum status row_damaged(const struct local_environment *environment, const char *name,
                               struct error *error)
{
    ensure(name != NULL);
    return error_set(error, STATUS_FATAL, ERROR_CORRUPT, "%s: the row of topic %s is damaged",
                     environment->directory, name);
}

enum status local_topic_find(struct local_environment *environment, MDB_txn *txn, const char *name,
                             struct local_topic *topic, struct error *error)
{
    if (!local_topic_name_valid(name)) {
        return STATUS_NOT_FOUND;
    }
    MDB_val key = local_val(name, strlen(name));
    MDB_val value;
    int result = mdb_get(txn, environment->topics, &key, &value);
    if (result != 0) {
        return local_failed(environment, result, "read a topic", error);
    }
    return row_read(&value, topic) ? STATUS_OK : row_damaged(environment, name, error);
}

enum status local_topic_each(struct local_environment *environment, MDB_txn *txn,
                             enum status (*each)(void *argument, const char *name,
                                                 const struct local_topic *topic),
                             void *argument, struct error *error)
{
    MDB_cursor *cursor = NULL;
    int result = mdb_cursor_open(txn, environment->topics, &cursor);
    if (result != 0) {
        return local_failed(environment, result, "list topics", error);
    }
    MDB_val key;
    MDB_val value;
    enum status status = STATUS_OK;
    result = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    while (result == 0 && status == STATUS_OK) {
        char name[BROKER_TOPIC_SIZE] = "";
        struct local_topic topic;
        memcpy(name, key.mv_data, key.mv_size < sizeof name ? key.mv_size : sizeof name - 1);
        status =
            strlen(name) == key.mv_size && local_topic_name_valid(name) && row_read(&value, &topic)
                ? each(argument, name, &topic)
                : row_damaged(environment, name, error);
        result = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    if (result != 0 && result != MDB_NOTFOUND) {
        return local_failed(environment, result, "list topics", error);
    }
    return status;
}

/* ---- Properties ---- */

struct property {
    const char *name;
    size_t offset; /* of an int64_t in struct local_topic */
    int64_t least, most;
};

static const struct property numbers[] = {
    {"retention.ms", offsetof(struct local_topic, retention_ms), -1, INT64_MAX / 2},
    {"retention.bytes", offsetof(struct local_topic, retention_size), -1, INT64_MAX / 2},
    {"delete.retention.ms", offsetof(struct local_topic, delete_retention_ms), 0, INT64_MAX / 2},
    {"max.message.bytes", offsetof(struct local_topic, max_record_size), 1, HARD_RECORD_SIZE},
};

/* Known to Kafka and without a counterpart here: what they tune (segments, replicas, compression,
 * which timestamps are refused) does not exist in this log, and no reader can tell. */
static const char *const ignored[] = {
    "compression.type",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "index.interval.bytes",
    "max.compaction.lag.ms",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.difference.max.ms",
};

static enum status policy_parse(const char *text, struct local_topic *topic, struct error *error)
{
    ensure(text != NULL);
    static const char *const policies[] = {"delete", "compact", "compact,delete", "delete,compact"};
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(text, policies[i]) == 0) {
            topic->deleted = i != 1;
            topic->compacted = i != 0;
            return STATUS_OK;
        }
    }
    return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                     "cleanup.policy: \"%s\" is none of delete, compact, compact,delete", text);
}

static enum status number_parse(const struct property *property, const char *text,
                                struct local_topic *topic, struct error *error)
{
    ensure(property->least <= property->most && text != NULL);
    int64_t number = 0;
    if (!value_parse_integer(text, &number) || number < property->least ||
        number > property->most) {
        return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                         "%s: \"%s\" is not a whole number from %lld to %lld", property->name, text,
                         (long long)property->least, (long long)property->most);
    }
    memcpy((char *)topic + property->offset, &number, sizeof number);
    return STATUS_OK;
}

static enum status property_parse(const struct broker_property *given, struct local_topic *topic,
                                  struct error *error)
{
    ensure(given->name != NULL && given->value != NULL);
    if (strcmp(given->name, "cleanup.policy") == 0) {
        return policy_parse(given->value, topic, error);
    }
    if (strcmp(given->name, "message.timestamp.type") == 0) {
        return strcmp(given->value, "CreateTime") == 0
                   ? STATUS_OK
                   : error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                               "message.timestamp.type: the local broker knows CreateTime only");
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (strcmp(given->name, numbers[i].name) == 0) {
            return number_parse(&numbers[i], given->value, topic, error);
        }
    }
    size_t count = sizeof ignored / sizeof *ignored;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(given->name, ignored[i]) == 0) {
            log_debug("broker", "property has no meaning on the local broker name=%s", given->name);
            return STATUS_OK;
        }
    }
    static const char *const known[] = {"retention.ms", "retention.bytes", "delete.retention.ms",
                                        "max.message.bytes", "cleanup.policy"};
    const char *near = value_nearest(given->name, known, sizeof known / sizeof *known);
    return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG, "unknown topic property \"%s\"%s%s%s",
                     given->name, near == NULL ? "" : "; did you mean \"", near == NULL ? "" : near,
                     near == NULL ? "" : "\"?");
}

enum status local_topic_properties(const struct broker_property *properties, size_t count,
                                   struct local_topic *topic, struct error *error)
{
    topic->retention_ms = 7 * day_ms;
    topic->retention_size = -1;
    topic->delete_retention_ms = day_ms;
    topic->max_record_size = MAX_RECORD_SIZE;
    topic->deleted = 1;
    topic->compacted = 0;
    for (size_t i = 0; i < count; i++) {
        enum status status = property_parse(&properties[i], topic, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    ensure(topic->deleted || topic->compacted);
    return STATUS_OK;
}

/* ---- Creating ---- */

struct creation {
    const char *name;
    struct local_topic *topic;
};

static enum status create_work(struct local_environment *environment, MDB_txn *txn, void *argument,
                               struct error *error)
{
    struct creation *creation = argument;
    struct local_topic found;
    enum status status = local_topic_find(environment, txn, creation->name, &found, error);
    if (status == STATUS_OK) {
        return error_set(error, STATUS_FATAL, ERROR_TOPIC_EXISTS, "topic %s exists already",
                         creation->name);
    }
    uint64_t id = 0;
    if (status != STATUS_NOT_FOUND ||
        (status = local_fact(environment, txn, "next topic", 1, &id, error)) != STATUS_OK ||
        (status = local_fact_put(environment, txn, "next topic", id + 1, error)) != STATUS_OK) {
        return status;
    }
    if (id == 0 || id >= UINT32_MAX) {
        return error_set(error, STATUS_FATAL, ERROR_CORRUPT,
                         "%s: the number of the next topic is damaged", environment->directory);
    }
    creation->topic->id = (uint32_t)id;
    MDB_val key = local_val(creation->name, strlen(creation->name));
    MDB_val value = local_val(creation->topic, sizeof *creation->topic);
    int result = mdb_put(txn, environment->topics, &key, &value, MDB_NOOVERWRITE);
    if (result != 0) {
        return local_failed(environment, result, "create a topic", error);
    }
    for (int32_t i = 0; i < creation->topic->partition_count && status == STATUS_OK; i++) {
        struct local_partition row = {0};
        status = local_partition_put(environment, txn, creation->topic->id, i, &row, error);
    }
    return status;
}

enum status local_topic_create(struct local_environment *environment, const char *name,
                               struct local_topic *topic, struct error *error)
{
    ensure(topic->id == 0);
    if (!local_topic_name_valid(name)) {
        return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                         "\"%s\" is not a topic name: 1 to 249 of a-z A-Z 0-9 . _ -", name);
    }
    if (topic->partition_count < 1 || topic->partition_count > PARTITIONS_MOST) {
        return error_set(error, STATUS_BAD_CONFIG, ERROR_LIMIT,
                         "topic %s: %d partitions asked for; 1 to %d are possible", name,
                         topic->partition_count, PARTITIONS_MOST);
    }
    struct creation creation = {name, topic};
    return local_write(environment, LOCAL_WRITE_TIMEOUT_MS, create_work, &creation, error);
}

/* ---- Deleting ---- */

/* Offset rows are group NUL topic NUL partition: those of one topic are found by looking at all. */
static enum status offsets_forget(struct local_environment *environment, MDB_txn *txn,
                                  const char *name, struct error *error)
{
    MDB_cursor *cursor = NULL;
    int result = mdb_cursor_open(txn, environment->offsets, &cursor);
    if (result != 0) {
        return local_failed(environment, result, "forget offsets", error);
    }
    MDB_val key;
    MDB_val value;
    struct buffer seen = {0};
    result = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    while (result == 0) {
        const char *text = key.mv_data;
        size_t group = strnlen(text, key.mv_size);
        /* A damaged key belongs to nobody. */
        bool same = group + 1 < key.mv_size &&
                    strncmp(text + group + 1, name, key.mv_size - group - 1) == 0;
        seen.size = 0;
        buffer_append(&seen, key.mv_data, key.mv_size);
        result = same ? mdb_cursor_del(cursor, 0) : 0;
        if (result == 0 && same) {
            key = local_val(seen.data, seen.size);
            result = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
        } else if (result == 0) {
            result = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        }
    }
    mdb_cursor_close(cursor);
    buffer_finish(&seen);
    return result == MDB_NOTFOUND ? STATUS_OK
                                  : local_failed(environment, result, "forget offsets", error);
}

static enum status delete_work(struct local_environment *environment, MDB_txn *txn, void *argument,
                               struct error *error)
{
    ensure(argument != NULL);
    const char *name = argument;
    struct local_topic topic = {0};
    enum status status = local_topic_find(environment, txn, name, &topic, error);
    if (status != STATUS_OK) {
        return status;
    }
    MDB_val key = local_val(name, strlen(name));
    int result = mdb_del(txn, environment->topics, &key, NULL);
    uint8_t bytes[8];
    put_u32(bytes, topic.id);
    MDB_val value = local_val("", 0);
    MDB_val grave = local_val(bytes, 4);
    result = result != 0 ? result : mdb_put(txn, environment->graves, &grave, &value, 0);
    for (int32_t i = 0; i < topic.partition_count && result == 0; i++) {
        put_u32(bytes + 4, (uint32_t)i);
        MDB_val partition = local_val(bytes, sizeof bytes);
        result = mdb_del(txn, environment->partitions, &partition, NULL);
    }
    if (result != 0) {
        return local_failed(environment, result, "delete a topic", error);
    }
    return offsets_forget(environment, txn, name, error);
}

enum status local_topic_delete(struct local_environment *environment, const char *name,
                               struct error *error)
{
    ensure(name != NULL);
    enum status status = local_write(environment, LOCAL_WRITE_TIMEOUT_MS, delete_work,
                                     (void *)(uintptr_t)name, error);
    if (status != STATUS_OK) {
        return status;
    }
    /* What takes longer than this is left to upkeep. */
    int64_t until = clock_monotonic_ms(clock_system()) + BURY_BUDGET_MS;
    while (status == STATUS_OK && clock_monotonic_ms(clock_system()) < until) {
        status = local_topic_bury(environment, error);
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status bury_work(struct local_environment *environment, MDB_txn *txn, void *argument,
                             struct error *error)
{
    (void)argument;
    MDB_cursor *cursor = NULL;
    int result = mdb_cursor_open(txn, environment->graves, &cursor);
    if (result != 0) {
        return local_failed(environment, result, "remove records", error);
    }
    MDB_val grave;
    MDB_val value;
    result = mdb_cursor_get(cursor, &grave, &value, MDB_FIRST);
    uint8_t id[4];
    if (result == 0 && grave.mv_size != sizeof id) {
        result = MDB_CORRUPTED;
    }
    if (result == 0) {
        memcpy(id, grave.mv_data, sizeof id);
    }
    mdb_cursor_close(cursor);
    if (result != 0) {
        return local_failed(environment, result, "remove records", error);
    }
    cursor = NULL;
    result = mdb_cursor_open(txn, environment->log, &cursor);
    bool done = false;
    for (size_t i = 0; result == 0 && i < BURY_BATCHES && !done; i++) {
        MDB_val key = local_val(id, sizeof id);
        result = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
        done = result == MDB_NOTFOUND || (result == 0 && memcmp(key.mv_data, id, sizeof id) != 0);
        result = result == MDB_NOTFOUND ? 0 : result;
        if (result == 0 && !done) {
            result = mdb_cursor_del(cursor, 0);
        }
    }
    if (cursor != NULL) {
        mdb_cursor_close(cursor);
    }
    if (result == 0 && done) {
        grave = local_val(id, sizeof id);
        result = mdb_del(txn, environment->graves, &grave, NULL);
    }
    return result == 0 ? STATUS_OK : local_failed(environment, result, "remove records", error);
}

enum status local_topic_bury(struct local_environment *environment, struct error *error)
{
    return local_write(environment, LOCAL_WRITE_TIMEOUT_MS, bury_work, NULL, error);
}
