/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local batch: how records lie in the log. A batch is a header with a CRC-32C over everything after
 * it, then the records: varints for what is small, then key, value and headers as they are, so that
 * reading one is a handful of bytes and views into the batch. No LMDB here.
 *
 * Layout (little-endian; one batch = one LMDB value under topic id, partition, base offset):
 *   crc u32, format u8, flags u8, 0 u16, count u32, last_delta u32, base_ms i64, append_ms i64
 *   per record: [offset - base, sparse batches only] zigzag(timestamp - base_ms) key size + 1 (0 =
 *   null) value size + 1, header count, [u32 size of the headers if any, big-endian], key, value,
 * headers; per header: name size, name, NUL, value size + 1, value Invariant: offsets in a batch
 * ascend; last_delta is that of the last record; a batch is dense unless compaction rewrote it.
 */
#ifndef LEAT_BROKER_LOCAL_BATCH_H
#define LEAT_BROKER_LOCAL_BATCH_H

#include "base/arena.h"
#include "base/bytes.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    LOCAL_BATCH_SIZE = 64 * 1024, /* a batch is closed when it has grown to this */
    LOCAL_RECORD_OVERHEAD = 64    /* most bytes of a record that are not key, value or header */
};

struct local_batch_header {
    uint32_t crc;
    uint8_t format, flags;
    uint16_t zero;
    uint32_t count;
    uint32_t last_delta;
    int64_t base_ms;
    int64_t append_ms; /* wall clock when it was written; what retention counts from */
};

struct local_record {
    int64_t offset;
    int64_t timestamp_ms;
    struct bytes key, value;
    const struct header *headers; /* writing, unless packed_headers are given */
    struct bytes packed_headers;  /* reading: local_headers decodes them */
    uint32_t header_count;
};

/** One finished or growing batch in a builder's data. */
struct local_span {
    size_t at, size;
    int64_t base; /* offset of the first record; dense builders count from 0 */
    struct local_batch_header header;
};

/** Packs records into batches. One owner. */
struct local_builder {
    struct buffer data;
    struct local_span *spans;
    size_t count, capacity;
    int64_t records; /* added so far */
    bool sparse;     /* offsets are stored: compaction */
    bool open;       /* the last span still grows */
};

/** Adds a copy of the record (a dense builder ignores its offset) and returns the bytes it takes.
 */
size_t local_builder_add(struct local_builder *builder, const struct local_record *record,
                         int64_t append_ms);
/** Closes the last batch: its header and CRC are in place afterwards. */
void local_builder_seal(struct local_builder *builder);
/** Forgets the content; keeps at most `keep` bytes of memory. */
void local_builder_reset(struct local_builder *builder, size_t keep);
void local_builder_finish(struct local_builder *builder);
/** Upper bound of the bytes a record takes in a batch. */
size_t local_record_size(const struct local_record *record);

/** Walks through the records of one batch; views stay in the batch's bytes. */
struct local_reader {
    const uint8_t *at, *end;
    int64_t base_offset, base_ms;
    uint32_t left, index;
    bool sparse;
};

/** Header of a batch; false if it is too short or of an unknown format. */
bool local_batch_header(struct bytes batch, struct local_batch_header *header);
/** Begins to read; false if the batch is damaged (`check` also computes the CRC). */
bool local_reader_open(struct local_reader *reader, struct bytes batch, int64_t base_offset,
                       bool check);
/** False at the end or when the batch is damaged (then left > 0). */
bool local_reader_next(struct local_reader *reader, struct local_record *record);
/** Decodes the headers of a record into `arena`; NULL if damaged. header_count > 0. */
const struct header *local_headers(const struct local_record *record, struct arena *arena);

#endif
