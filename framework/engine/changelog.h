/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changelog: what a task writes to its changelog partition, and how it is read back.
 *
 *   changes   the keys that the running transaction changed, each with its newest value
 *   stamp     the proof that ends a transaction's records in the changelog
 *   position  how much of the changelog a store holds: the last stamp applied, and where it lies
 *
 * Invariants
 *  - A changelog record carries an absolute value (put or delete), at most one a key and
 * transaction.
 *  - Record key = table name, NUL, key. Table names hold no NUL; names that begin with a dot are
 *    Leat's own (a node's name cannot).
 *  - Stamp key = ".stamp", NUL, u16 (sequence mod 1024): compaction keeps the newest 1024.
 *  - Integers are big-endian; the first byte of a stamp and of a position is its format version,
 * and an unknown version is refused, never guessed at.
 */
#ifndef LEAT_ENGINE_CHANGELOG_H
#define LEAT_ENGINE_CHANGELOG_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/status.h"

#define CHANGELOG_TIMERS ".timers"
#define CHANGELOG_HEADER "leat.transactional_id" /* on the first record of a transaction */
enum { CHANGELOG_STAMPS = 1024 };

/* ---- Changes ---- */

struct change {
    struct bytes key, value; /* in the arena; value.data NULL = removed */
    size_t capacity;         /* of the memory behind value */
    uint64_t hash;
    uint32_t table;
    bool dirty; /* false: every write to it in this transaction was undone */
};

struct changes {
    struct change *items; /* in order of first change: the order they are sent in */
    size_t count, capacity;
    uint32_t *slots; /* open addressing; 0 = free, else index + 1 */
    size_t slot_count;
    struct arena arena;
};

void changes_init(struct changes *changes);
void changes_finish(struct changes *changes);
void changes_reset(struct changes *changes);
/** The entry of a key, made when new (then not dirty, value null). Index, since items may move. */
size_t changes_at(struct changes *changes, uint32_t table, struct bytes key);
/** Copies the value (data NULL = removed) and sets `dirty`. */
void changes_set(struct changes *changes, size_t index, struct bytes value, bool dirty);

/** Appends the changelog key of (table name, key). */
void changelog_key(struct buffer *buffer, const char *table, struct bytes key);
/** Splits a changelog key; false if it has no NUL. Views into `record_key`; `table` is
 * NUL-terminated. */
bool changelog_split(struct bytes record_key, const char **table, struct bytes *key);
/** Feeds one changelog record to a transaction's checksum. */
uint32_t changelog_checksum(uint32_t checksum, struct bytes key, struct bytes value);

/* ---- Stamp ---- */

struct stamp_offset {
    const char *topic;
    int32_t partition;
    int64_t offset;
};

struct stamp {
    const char *application, *transactional_id;
    uint8_t incarnation[16];
    uint64_t sequence; /* from 1 */
    int64_t stream_time;
    uint32_t record_count, checksum; /* of this transaction's other changelog records */
    const struct stamp_offset *offsets;
    uint32_t offset_count;
};

void stamp_key(struct buffer *buffer, uint64_t sequence);
bool stamp_is_key(struct bytes record_key);
void stamp_encode(struct buffer *buffer, const struct stamp *stamp);
/** Text and offsets are taken from `arena`. STATUS_FATAL/ERROR_CORRUPT for anything malformed or of
 * an unknown version. */
enum status stamp_decode(struct bytes value, struct arena *arena, struct stamp *stamp,
                         struct error *error);

/* ---- Position: what a store keeps in its metadata as "position" ---- */

struct position {
    int64_t next;       /* offset of the last stamp applied + 1; 0 = nothing applied */
    int64_t head_ms;    /* wall clock when the store was last known to be at the head */
    struct bytes stamp; /* value of that stamp; null = none yet */
};

void position_encode(struct buffer *buffer, const struct position *position);
/** `position->stamp` is a view into `value`. */
enum status position_decode(struct bytes value, struct position *position, struct error *error);

#endif
