/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes: views (struct bytes, by value, never owning) and a growable buffer (owning).
 * A view with data NULL is null; a view with size 0 and data non-NULL is empty.
 */
#ifndef LEAT_BASE_BYTES_H
#define LEAT_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
    const void *data;
    size_t size;
};

struct header {
    const char *name; /* NUL-terminated */
    struct bytes value;
};

struct buffer {
    uint8_t *data;
    size_t size, capacity;
};

/** View of a NUL-terminated string (NULL gives the null view). */
struct bytes bytes_of(const char *text);
bool bytes_equal(struct bytes a, struct bytes b);
/** Byte order; a prefix sorts before what it begins. Null sorts as empty. */
int bytes_compare(struct bytes a, struct bytes b);

void buffer_finish(struct buffer *buffer);
/** Grows by `size` bytes and returns where they begin; never NULL (no memory = abort). */
uint8_t *buffer_extend(struct buffer *buffer, size_t size);
void buffer_append(struct buffer *buffer, const void *data, size_t size);
void buffer_append_text(struct buffer *buffer, const char *text);
void buffer_format(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/** Makes the content NUL-terminated (the NUL is not counted) and returns it. */
const char *buffer_text(struct buffer *buffer);

/** Big-endian fixed-width integers: byte order of the encoding = numeric order. */
void put_u16(uint8_t *at, uint16_t value);
void put_u32(uint8_t *at, uint32_t value);
void put_u64(uint8_t *at, uint64_t value);
uint16_t get_u16(const uint8_t *at);
uint32_t get_u32(const uint8_t *at);
uint64_t get_u64(const uint8_t *at);

/** malloc family that aborts with a line when there is no memory: a crash is an abort. */
void *memory_allocate(size_t size); /* zeroed */
void *memory_resize(void *old, size_t size);
char *memory_text(const char *text); /* strdup; NULL gives NULL */
char *memory_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *memory_copy(const void *data, size_t size);

#endif
