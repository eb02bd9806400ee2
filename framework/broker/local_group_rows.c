/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local group rows: how a group and its committed offsets lie in LMDB. Big-endian integers, texts
 * with their size before them; the version comes first so that it can be read alone.
 */
#include "broker/local_group.h"

#include <stdlib.h>
#include <string.h>

/* ---- Reading a row: a cursor that remembers when it ran over the end ---- */

struct row {
    const uint8_t *at, *end;
    bool bad;
};

static const uint8_t *row_take(struct row *row, size_t size)
{
    ensure(row->at <= row->end);
    static const uint8_t none[8] = {0};
    if (row->bad || size > (size_t)(row->end - row->at)) {
        row->bad = true;
        return none;
    }
    const uint8_t *at = row->at;
    row->at += size;
    return at;
}

static uint32_t row_u32(struct row *row)
{
    return get_u32(row_take(row, 4));
}

static int64_t row_i64(struct row *row)
{
    return (int64_t)get_u64(row_take(row, 8));
}

/* A count whose elements take at least four bytes each. */
static size_t row_count(struct row *row)
{
    ensure(row->at <= row->end);
    uint32_t count = row_u32(row);
    if (count > (size_t)(row->end - row->at) / 4) {
        row->bad = true;
        return 0;
    }
    return count;
}

static char *row_text(struct row *row)
{
    ensure(row->at <= row->end);
    uint32_t size = row_u32(row);
    const uint8_t *at = row_take(row, size);
    char *text = memory_allocate(row->bad ? 1 : (size_t)size + 1);
    if (!row->bad) {
        memcpy(text, at, size);
    }
    return text;
}

static void text_put(struct buffer *buffer, const char *text)
{
    ensure(text != NULL);
    size_t size = strlen(text);
    put_u32(buffer_extend(buffer, 4), (uint32_t)size);
    buffer_append(buffer, text, size);
}

static void member_read(struct row *row, struct local_group_member *member)
{
    ensure(row->at <= row->end);
    *member = (struct local_group_member){0};
    char *id = row_text(row);
    row->bad = row->bad || strlen(id) != LOCAL_MEMBER_SIZE - 1;
    if (!row->bad) {
        memcpy(member->id, id, LOCAL_MEMBER_SIZE);
    }
    free(id);
    member->instance = row_text(row);
    member->session_ms = row_i64(row);
    member->rebalance_ms = row_i64(row);
    member->renewed_ms = row_i64(row);
    row->bad =
        row->bad || member->session_ms <= 0 || member->rebalance_ms <= 0 || member->renewed_ms < 0;
    member->answered = row_u32(row) != 0;
    size_t topics = row_count(row);
    member->topics = memory_allocate(topics * sizeof *member->topics);
    for (size_t i = 0; i < topics; i++) {
        member->topics[member->topic_count++] = row_text(row);
    }
    size_t assigned = row_count(row);
    member->assigned = memory_allocate(assigned * sizeof *member->assigned);
    for (size_t i = 0; i < assigned; i++) {
        char *topic = row_text(row);
        member->assigned[member->assigned_count++] =
            (struct local_assigned){topic, (int32_t)row_u32(row)};
    }
}

static void member_write(struct buffer *buffer, const struct local_group_member *member)
{
    ensure(member->id[LOCAL_MEMBER_SIZE - 1] == 0 && *member->id != 0);
    text_put(buffer, member->id);
    text_put(buffer, member->instance);
    put_u64(buffer_extend(buffer, 8), (uint64_t)member->session_ms);
    put_u64(buffer_extend(buffer, 8), (uint64_t)member->rebalance_ms);
    put_u64(buffer_extend(buffer, 8), (uint64_t)member->renewed_ms);
    put_u32(buffer_extend(buffer, 4), member->answered);
    put_u32(buffer_extend(buffer, 4), (uint32_t)member->topic_count);
    for (size_t i = 0; i < member->topic_count; i++) {
        text_put(buffer, member->topics[i]);
    }
    put_u32(buffer_extend(buffer, 4), (uint32_t)member->assigned_count);
    for (size_t i = 0; i < member->assigned_count; i++) {
        text_put(buffer, member->assigned[i].topic);
        put_u32(buffer_extend(buffer, 4), (uint32_t)member->assigned[i].partition);
    }
}

enum status local_group_load(struct local_environment *environment, MDB_txn *txn, const char *name,
                             struct local_group *group, struct error *error)
{
    ensure(*name != 0);
    *group = (struct local_group){0};
    MDB_val key = local_val(name, strlen(name));
    MDB_val value;
    int result = mdb_get(txn, environment->groups, &key, &value);
    if (result == MDB_NOTFOUND) {
        return STATUS_OK;
    }
    if (result != 0) {
        return local_failed(environment, result, "read a group", error);
    }
    const uint8_t *data = value.mv_data;
    struct row row = {data, data + value.mv_size, false};
    group->version = (uint64_t)row_i64(&row);
    group->boot = (uint64_t)row_i64(&row);
    group->generation = (int32_t)row_u32(&row);
    group->preparing = row_u32(&row) != 0;
    group->since_ms = row_i64(&row);
    group->fingerprint = row_u32(&row);
    size_t count = row_count(&row);
    group->members = memory_allocate(count * sizeof *group->members);
    for (size_t i = 0; i < count; i++) {
        member_read(&row, &group->members[group->count++]);
    }
    if (row.bad || row.at != row.end || group->version == 0 || group->version > INT64_MAX ||
        group->generation < 0 || group->generation == INT32_MAX || group->since_ms < 0) {
        return error_set(error, STATUS_FATAL, ERROR_CORRUPT, "%s: the row of group %s is damaged",
                         environment->directory, name);
    }
    return STATUS_OK;
}

enum status local_group_version(struct local_environment *environment, MDB_txn *txn,
                                const char *name, uint64_t *version, struct error *error)
{
    ensure(*name != 0);
    MDB_val key = local_val(name, strlen(name));
    MDB_val value;
    int result = mdb_get(txn, environment->groups, &key, &value);
    *version = 0;
    if (result != 0 && result != MDB_NOTFOUND) {
        return local_failed(environment, result, "read a group", error);
    }
    if (result == 0 && value.mv_size < 8) {
        return error_set(error, STATUS_FATAL, ERROR_CORRUPT, "%s: the row of group %s is damaged",
                         environment->directory, name);
    }
    *version = result == 0 ? get_u64(value.mv_data) : 0;
    return STATUS_OK;
}

enum status local_group_save(struct local_environment *environment, MDB_txn *txn, const char *name,
                             const struct local_group *group, struct error *error)
{
    ensure(group->version > 0);
    struct buffer buffer = {0};
    put_u64(buffer_extend(&buffer, 8), group->version);
    put_u64(buffer_extend(&buffer, 8), group->boot);
    put_u32(buffer_extend(&buffer, 4), (uint32_t)group->generation);
    put_u32(buffer_extend(&buffer, 4), group->preparing);
    put_u64(buffer_extend(&buffer, 8), (uint64_t)group->since_ms);
    put_u32(buffer_extend(&buffer, 4), group->fingerprint);
    put_u32(buffer_extend(&buffer, 4), (uint32_t)group->count);
    for (size_t i = 0; i < group->count; i++) {
        member_write(&buffer, &group->members[i]);
    }
    MDB_val key = local_val(name, strlen(name));
    MDB_val value = local_val(buffer.data, buffer.size);
    int result = mdb_put(txn, environment->groups, &key, &value, 0);
    buffer_finish(&buffer);
    return result == 0 ? STATUS_OK : local_failed(environment, result, "write a group", error);
}

/* ---- Offsets: group NUL topic NUL partition -> offset, metadata ---- */

enum { OFFSET_KEY_SIZE = LOCAL_GROUP_SIZE + BROKER_TOPIC_SIZE + 4 };

/* The size, or 0 when the names cannot be any that were stored. */
static size_t offset_key(uint8_t key[OFFSET_KEY_SIZE], const char *group,
                         const struct broker_offset *offset)
{
    ensure(offset->partition >= 0);
    size_t group_size = strlen(group) + 1;
    size_t topic_size = strlen(offset->topic) + 1;
    if (group_size > LOCAL_GROUP_SIZE || topic_size > BROKER_TOPIC_SIZE) {
        return 0;
    }
    memcpy(key, group, group_size);
    memcpy(key + group_size, offset->topic, topic_size);
    put_u32(key + group_size + topic_size, (uint32_t)offset->partition);
    return group_size + topic_size + 4;
}

enum status local_offset_get(struct local_environment *environment, MDB_txn *txn, const char *group,
                             struct broker_offset *offset, struct error *error)
{
    ensure(offset->topic != NULL);
    uint8_t bytes[OFFSET_KEY_SIZE];
    MDB_val key = local_val(bytes, offset_key(bytes, group, offset));
    MDB_val value;
    offset->offset = BROKER_NO_OFFSET;
    offset->metadata[0] = 0;
    int result = key.mv_size == 0 ? MDB_NOTFOUND : mdb_get(txn, environment->offsets, &key, &value);
    if (result == MDB_NOTFOUND) {
        return STATUS_OK;
    }
    if (result != 0) {
        return local_failed(environment, result, "read an offset", error);
    }
    if (value.mv_size < 8 || value.mv_size - 8 >= BROKER_METADATA_SIZE ||
        get_u64(value.mv_data) > INT64_MAX) {
        return error_set(error, STATUS_FATAL, ERROR_CORRUPT,
                         "%s: the committed offset of group %s for %s[%d] is damaged",
                         environment->directory, group, offset->topic, offset->partition);
    }
    const uint8_t *data = value.mv_data;
    offset->offset = (int64_t)get_u64(data);
    memcpy(offset->metadata, data + 8, value.mv_size - 8);
    offset->metadata[value.mv_size - 8] = 0;
    return STATUS_OK;
}

enum status local_offset_put(struct local_environment *environment, MDB_txn *txn, const char *group,
                             const struct broker_offset *offset, struct error *error)
{
    uint8_t bytes[OFFSET_KEY_SIZE];
    uint8_t data[8 + BROKER_METADATA_SIZE];
    MDB_val key = local_val(bytes, offset_key(bytes, group, offset));
    ensure(key.mv_size > 0 && offset->offset >= 0);
    size_t metadata = strnlen(offset->metadata, BROKER_METADATA_SIZE - 1);
    put_u64(data, (uint64_t)offset->offset);
    memcpy(data + 8, offset->metadata, metadata);
    MDB_val value = local_val(data, 8 + metadata);
    int result = mdb_put(txn, environment->offsets, &key, &value, 0);
    return result == 0 ? STATUS_OK : local_failed(environment, result, "write an offset", error);
}
