/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/local_assign.h"

#include "base/hash.h"
#include "broker/local_topic.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The names somebody subscribed to, in byte order, each once; borrowed from the members. */
static const char **subscribed(const struct local_group *group, size_t *count)
{
    size_t most = 0;
    for (size_t i = 0; i < group->count; i++) {
        most += group->members[i].topic_count;
    }
    const char **names = memory_allocate(most * sizeof *names);
    ensure(most == 0 || names != NULL);
    *count = 0;
    for (size_t i = 0; i < group->count; i++) {
        for (size_t j = 0; j < group->members[i].topic_count; j++) {
            const char *name = group->members[i].topics[j];
            size_t at = 0;
            while (at < *count && strcmp(names[at], name) < 0) {
                at++;
            }
            if (at < *count && strcmp(names[at], name) == 0) {
                continue;
            }
            memmove(&names[at + 1], &names[at], (*count - at) * sizeof *names);
            names[at] = name;
            *count += 1;
            ensure(*count <= most);
        }
    }
    return names;
}

static bool subscribes(const struct local_group_member *member, const char *topic)
{
    ensure(*topic != 0);
    for (size_t i = 0; i < member->topic_count; i++) {
        if (strcmp(member->topics[i], topic) == 0) {
            return true;
        }
    }
    return false;
}

static void give(struct local_group_member *member, const char *topic, int32_t first, int32_t count)
{
    ensure(first >= 0 && count >= 0);
    size_t total = member->assigned_count + (size_t)count;
    member->assigned = memory_resize(member->assigned, total * sizeof *member->assigned);
    for (int32_t i = 0; i < count; i++) {
        member->assigned[member->assigned_count++] =
            (struct local_assigned){memory_text(topic), first + i};
    }
}

static void assign_topic(struct local_group *group, const char *topic, int32_t partitions)
{
    int32_t members = 0;
    for (size_t i = 0; i < group->count; i++) {
        members += subscribes(&group->members[i], topic) ? 1 : 0;
    }
    ensure(members > 0);
    int32_t each = partitions / members;
    int32_t more = partitions % members;
    int32_t next = 0;
    int32_t rank = 0;
    for (size_t i = 0; i < group->count; i++) {
        if (subscribes(&group->members[i], topic)) {
            int32_t count = each + (rank < more ? 1 : 0);
            give(&group->members[i], topic, next, count);
            next += count;
            rank++;
        }
    }
    ensure(next == partitions);
}

enum status local_assign(struct local_environment *environment, MDB_txn *txn,
                         struct local_group *group, struct error *error)
{
    ensure(group->preparing);
    for (size_t i = 0; i < group->count; i++) {
        local_assigned_clear(&group->members[i]);
    }
    size_t count = 0;
    const char **names = subscribed(group, &count);
    enum status status = STATUS_OK;
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        struct local_topic topic;
        status = local_topic_find(environment, txn, names[i], &topic, error);
        if (status == STATUS_OK) {
            assign_topic(group, names[i], topic.partition_count);
        }
        status = status == STATUS_NOT_FOUND ? STATUS_OK : status;
    }
    free(names);
    return status;
}

enum status local_fingerprint(struct local_environment *environment, MDB_txn *txn,
                              const struct local_group *group, uint32_t *fingerprint,
                              struct error *error)
{
    ensure(group->count == 0 || group->members != NULL);
    size_t count = 0;
    const char **names = subscribed(group, &count);
    enum status status = STATUS_OK;
    *fingerprint = 0;
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        struct local_topic topic = {0};
        status = local_topic_find(environment, txn, names[i], &topic, error);
        uint8_t facts[8];
        put_u32(facts, topic.id);
        put_u32(facts + 4, (uint32_t)topic.partition_count);
        *fingerprint = hash_crc32c(*fingerprint, names[i], strlen(names[i]) + 1);
        *fingerprint = hash_crc32c(*fingerprint, facts, sizeof facts);
        status = status == STATUS_NOT_FOUND ? STATUS_OK : status;
    }
    free(names);
    return status;
}

uint64_t local_boot(void)
{
    char text[64] = "";
    int file = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? 0 : read(file, text, sizeof text);
    if (file >= 0) {
        (void)close(file);
    }
    return 1 + hash_crc32c(0, text, size < 0 ? 0 : (size_t)size);
}
