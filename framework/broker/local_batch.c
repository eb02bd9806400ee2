/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/local_batch.h"

#include "base/hash.h"
#include "base/status.h"

#include <stdlib.h>
#include <string.h>

enum { FORMAT = 1, FLAG_SPARSE = 1, HEADER_SIZE = 32, HEADER_OVERHEAD = 12, VARINT_MOST = 10 };

_Static_assert(sizeof(struct local_batch_header) == HEADER_SIZE, "the header has no padding");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "batches are stored little-endian");
_Static_assert(5 * VARINT_MOST + 4 <= LOCAL_RECORD_OVERHEAD,
               "five varints and the size of the headers");

static uint8_t *varint_put(uint8_t *at, uint64_t value)
{
    while (value >= 0x80) {
        *at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *at++ = (uint8_t)value;
    return at;
}

/* NULL at the end or when too long. */
static const uint8_t *varint_get_slow(const uint8_t *at, const uint8_t *end, uint64_t *value)
{
    uint64_t result = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (at == end) {
            return NULL;
        }
        uint8_t byte = *at++;
        result |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = result;
            return at;
        }
    }
    return NULL;
}

static inline const uint8_t *varint_get(const uint8_t *at, const uint8_t *end, uint64_t *value)
{
    if (at < end && *at < 0x80) {
        *value = *at;
        return at + 1;
    }
    return varint_get_slow(at, end, value);
}

static uint64_t zigzag(int64_t value)
{
    return ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
}

static int64_t unzigzag(uint64_t value)
{
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

/* ---- Writing ---- */

static size_t headers_size(const struct local_record *record)
{
    ensure(record->header_count == 0 || record->headers != NULL ||
           record->packed_headers.data != NULL);
    if (record->packed_headers.data != NULL) { /* it was read */
        return record->packed_headers.size;
    }
    size_t size = 0;
    for (uint32_t i = 0; i < record->header_count; i++) {
        size += strlen(record->headers[i].name) + record->headers[i].value.size + HEADER_OVERHEAD;
    }
    return size;
}

size_t local_record_size(const struct local_record *record)
{
    return record->key.size + record->value.size + headers_size(record) + LOCAL_RECORD_OVERHEAD;
}

static uint8_t *bytes_put(uint8_t *at, struct bytes bytes)
{
    if (bytes.size > 0) {
        ensure(bytes.data != NULL);
        memcpy(at, bytes.data, bytes.size);
    }
    return at + bytes.size;
}

static uint8_t *headers_put(uint8_t *at, const struct local_record *record)
{
    ensure(record->headers != NULL);
    for (uint32_t i = 0; i < record->header_count; i++) {
        const struct header *header = &record->headers[i];
        struct bytes name = bytes_of(header->name);
        at = varint_put(at, name.size);
        at = bytes_put(at, name);
        *at++ = 0;
        at = varint_put(at, header->value.data == NULL ? 0 : header->value.size + 1);
        at = bytes_put(at, header->value);
    }
    return at;
}

static struct local_span *span_open(struct local_builder *builder,
                                    const struct local_record *record, int64_t append_ms)
{
    ensure(!builder->open);
    if (builder->count == builder->capacity) {
        builder->capacity = builder->capacity == 0 ? 8 : builder->capacity * 2;
        builder->spans = memory_resize(builder->spans, builder->capacity * sizeof *builder->spans);
    }
    struct local_span *span = &builder->spans[builder->count++];
    *span = (struct local_span){
        .at = builder->data.size,
        .base = builder->sparse ? record->offset : builder->records,
        .header = {.format = FORMAT,
                   .flags = builder->sparse ? FLAG_SPARSE : 0,
                   .base_ms = record->timestamp_ms,
                   .append_ms = append_ms},
    };
    (void)buffer_extend(&builder->data, HEADER_SIZE);
    builder->open = true;
    return span;
}

/* Closes the last batch where this record does not belong into it, and opens one if none is. */
static struct local_span *span_for(struct local_builder *builder, const struct local_record *record,
                                   size_t most, int64_t append_ms)
{
    ensure(most >= LOCAL_RECORD_OVERHEAD);
    if (builder->open) {
        struct local_span *last = &builder->spans[builder->count - 1];
        bool full = builder->data.size - last->at + most > LOCAL_BATCH_SIZE;
        if (!full && (!builder->sparse || record->offset - last->base <= UINT32_MAX)) {
            return last;
        }
        local_builder_seal(builder);
    }
    return span_open(builder, record, append_ms);
}

static uint8_t *record_put(uint8_t *at, const struct local_record *record, int64_t base_ms)
{
    ensure(record->packed_headers.data == NULL || record->header_count > 0);
    at = varint_put(at, zigzag(record->timestamp_ms - base_ms));
    at = varint_put(at, record->key.data == NULL ? 0 : record->key.size + 1);
    at = varint_put(at, record->value.data == NULL ? 0 : record->value.size + 1);
    at = varint_put(at, record->header_count);
    uint8_t *size_at = at;
    at += record->header_count > 0 ? 4 : 0;
    at = bytes_put(bytes_put(at, record->key), record->value);
    if (record->header_count > 0) {
        uint8_t *headers_at = at;
        at = record->packed_headers.data != NULL ? bytes_put(at, record->packed_headers)
                                                 : headers_put(at, record);
        put_u32(size_at, (uint32_t)(at - headers_at));
    }
    return at;
}

size_t local_builder_add(struct local_builder *builder, const struct local_record *record,
                         int64_t append_ms)
{
    ensure(record->packed_headers.data == NULL || record->headers == NULL);
    size_t most = local_record_size(record);
    struct local_span *span = span_for(builder, record, most, append_ms);
    struct local_batch_header *header = &span->header;
    size_t before = builder->data.size;
    uint8_t *begin = buffer_extend(&builder->data, most);
    uint8_t *at = begin;
    uint32_t delta = header->count;
    if (builder->sparse) {
        delta = (uint32_t)(record->offset - span->base);
        at = varint_put(at, delta);
    }
    at = record_put(at, record, header->base_ms);
    ensure((size_t)(at - begin) <= most);
    builder->data.size = before + (size_t)(at - begin);
    header->count += 1;
    header->last_delta = delta;
    header->append_ms = append_ms > header->append_ms ? append_ms : header->append_ms;
    builder->records += 1;
    return builder->data.size - before;
}

void local_builder_seal(struct local_builder *builder)
{
    if (!builder->open) {
        return;
    }
    ensure(builder->count > 0);
    struct local_span *span = &builder->spans[builder->count - 1];
    span->size = builder->data.size - span->at;
    uint8_t *at = builder->data.data + span->at;
    memcpy(at, &span->header, HEADER_SIZE);
    span->header.crc = hash_crc32c(0, at + 4, span->size - 4);
    memcpy(at, &span->header.crc, 4);
    builder->open = false;
}

void local_builder_reset(struct local_builder *builder, size_t keep)
{
    ensure(builder->count <= builder->capacity);
    builder->data.size = 0;
    if (builder->data.capacity > keep) {
        buffer_finish(&builder->data);
    }
    builder->count = 0;
    builder->records = 0;
    builder->open = false;
}

void local_builder_finish(struct local_builder *builder)
{
    ensure(builder->count <= builder->capacity);
    buffer_finish(&builder->data);
    free(builder->spans);
    *builder = (struct local_builder){0};
}

/* ---- Reading ---- */

bool local_batch_header(struct bytes batch, struct local_batch_header *header)
{
    ensure(batch.data != NULL || batch.size == 0);
    if (batch.size < HEADER_SIZE) {
        return false;
    }
    memcpy(header, batch.data, HEADER_SIZE);
    return header->format == FORMAT && header->count > 0 && header->last_delta >= header->count - 1;
}

bool local_reader_open(struct local_reader *reader, struct bytes batch, int64_t base_offset,
                       bool check)
{
    ensure(base_offset >= 0);
    struct local_batch_header header;
    *reader = (struct local_reader){0};
    if (!local_batch_header(batch, &header)) {
        return false;
    }
    const uint8_t *data = batch.data;
    if (check && hash_crc32c(0, data + 4, batch.size - 4) != header.crc) {
        return false;
    }
    *reader = (struct local_reader){
        .at = data + HEADER_SIZE,
        .end = data + batch.size,
        .base_offset = base_offset,
        .base_ms = header.base_ms,
        .left = header.count,
        .sparse = (header.flags & FLAG_SPARSE) != 0,
    };
    return true;
}

/* Size + 1 as stored, 0 = null; NULL if it does not fit into what is left. */
static inline const uint8_t *view_get(const uint8_t *at, const uint8_t *end, uint64_t stored,
                                      struct bytes *view)
{
    ensure(at <= end);
    if (stored == 0) {
        *view = (struct bytes){0};
        return at;
    }
    if (stored - 1 > (uint64_t)(end - at)) {
        return NULL;
    }
    *view = (struct bytes){at, stored - 1};
    return at + (stored - 1);
}

bool local_reader_next(struct local_reader *reader, struct local_record *record)
{
    ensure(reader->at <= reader->end);
    if (reader->left == 0) {
        return false;
    }
    const uint8_t *at = reader->at;
    const uint8_t *end = reader->end;
    uint64_t delta = reader->index;
    uint64_t time = 0;
    uint64_t key = 0;
    uint64_t value = 0;
    uint64_t headers = 0;
    if ((reader->sparse && (at = varint_get(at, end, &delta)) == NULL) ||
        (at = varint_get(at, end, &time)) == NULL || (at = varint_get(at, end, &key)) == NULL ||
        (at = varint_get(at, end, &value)) == NULL ||
        (at = varint_get(at, end, &headers)) == NULL || headers > UINT32_MAX) {
        return false;
    }
    uint32_t packed = 0;
    if (headers > 0) {
        if (end - at < 4) {
            return false;
        }
        packed = get_u32(at);
        at += 4;
    }
    if ((at = view_get(at, end, key, &record->key)) == NULL ||
        (at = view_get(at, end, value, &record->value)) == NULL || packed > (size_t)(end - at)) {
        return false;
    }
    if (delta > UINT32_MAX ||
        __builtin_add_overflow(reader->base_ms, unzigzag(time), &record->timestamp_ms)) {
        return false;
    }
    record->offset = reader->base_offset + (int64_t)delta;
    record->headers = NULL;
    record->header_count = (uint32_t)headers;
    record->packed_headers = headers > 0 ? (struct bytes){at, packed} : (struct bytes){0};
    reader->at = at + packed;
    reader->index += 1;
    reader->left -= 1;
    return true;
}

const struct header *local_headers(const struct local_record *record, struct arena *arena)
{
    ensure(record->header_count > 0);
    const uint8_t *at = record->packed_headers.data;
    const uint8_t *end = at + record->packed_headers.size;
    /* A header takes at least three bytes: a damaged count cannot ask for more memory than that. */
    if (record->header_count > record->packed_headers.size / 3) {
        return NULL;
    }
    struct header *headers = arena_take(arena, record->header_count * sizeof *headers);
    for (uint32_t i = 0; i < record->header_count; i++) {
        uint64_t size = 0;
        at = varint_get(at, end, &size);
        if (at == NULL || size >= (uint64_t)(end - at) || at[size] != 0) {
            return NULL;
        }
        headers[i].name = (const char *)at;
        at += size + 1;
        at = varint_get(at, end, &size);
        if (at == NULL || (at = view_get(at, end, size, &headers[i].value)) == NULL) {
            return NULL;
        }
    }
    return headers;
}
