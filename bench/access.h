/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Access: the benchmark's own way to a log, apart from what it measures. Kafka through librdkafka
 * alone (access_kafka.c), the embedded log through broker.h (access_local.c).
 *
 * Every failure ends the program with a line. One thread. At most one writer and one reader each.
 */
#ifndef LEAT_BENCH_ACCESS_H
#define LEAT_BENCH_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ACCESS_PARTITIONS_MAX = 64, ACCESS_PROPERTIES_MAX = 16 };

struct access_record {
    int32_t partition;
    int64_t offset, timestamp_ms;
    const void *key, *value; /* until the next access_next */
    size_t key_size, value_size;
};

enum access_answer {
    ACCESS_NOTHING, /* the time-out passed */
    ACCESS_RECORD,
    ACCESS_END /* record->partition is read to its end, or is at its end again */
};

struct access {
    const struct access_ops *ops;
};

struct access_ops {
    void (*close)(struct access *);
    void (*create)(struct access *, const char *topic, int32_t partitions,
                   const char *const *properties, size_t count);
    void (*erase)(struct access *, const char *topic);
    int32_t (*partitions)(struct access *, const char *topic);
    void (*write)(struct access *, const char *topic);
    void (*send)(struct access *, int32_t partition, const void *key, size_t key_size,
                 const void *value, size_t value_size);
    void (*push)(struct access *);
    void (*flush)(struct access *);
    void (*read)(struct access *, const char *topic, bool from_end);
    enum access_answer (*next)(struct access *, int timeout_ms, struct access_record *);
    void (*committed)(struct access *, const char *topic, const char *group, int64_t *offsets);
};

struct access *access_kafka_open(const char *address);
struct access *access_local_open(const char *directory);

/** `broker`: kafka:HOST:PORT or local:DIRECTORY. */
struct access *access_open(const char *broker);
_Noreturn void access_fail(const char *what, const char *why);

static inline void access_close(struct access *access)
{
    access->ops->close(access);
}
/** `properties`: "name=value" texts. */
static inline void access_create(struct access *access, const char *topic, int32_t partitions,
                                 const char *const *properties, size_t count)
{
    access->ops->create(access, topic, partitions, properties, count);
}
/** Deletes a topic; one that is not there is no error. */
static inline void access_erase(struct access *access, const char *topic)
{
    access->ops->erase(access, topic);
}
static inline int32_t access_partitions(struct access *access, const char *topic)
{
    return access->ops->partitions(access, topic);
}
/** The topic that access_send writes to. */
static inline void access_write(struct access *access, const char *topic)
{
    access->ops->write(access, topic);
}
static inline void access_send(struct access *access, int32_t partition, const void *key,
                               size_t key_size, const void *value, size_t value_size)
{
    access->ops->send(access, partition, key, key_size, value, value_size);
}
/** What was sent leaves now; Kafka's client does that by itself, the embedded log waits for this.
 */
static inline void access_push(struct access *access)
{
    access->ops->push(access);
}
/** Waits until all that was sent is acknowledged. */
static inline void access_flush(struct access *access)
{
    access->ops->flush(access);
}
/** Reads all partitions of a topic, committed records only, from the begin or from the present end.
 */
static inline void access_read(struct access *access, const char *topic, bool from_end)
{
    access->ops->read(access, topic, from_end);
}
static inline enum access_answer access_next(struct access *access, int timeout_ms,
                                             struct access_record *record)
{
    return access->ops->next(access, timeout_ms, record);
}
/** The committed offset of every partition, 0 where there is none. Does not wait for transactions.
 */
static inline void access_committed(struct access *access, const char *topic, const char *group,
                                    int64_t *offsets)
{
    access->ops->committed(access, topic, group, offsets);
}

#endif
