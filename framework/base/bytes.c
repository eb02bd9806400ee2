/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"

#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bytes bytes_of(const char *text)
{
    return (struct bytes){text, text == NULL ? 0 : strlen(text)};
}

bool bytes_equal(struct bytes a, struct bytes b)
{
    ensure((a.data != NULL || a.size == 0) && (b.data != NULL || b.size == 0));
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

int bytes_compare(struct bytes a, struct bytes b)
{
    ensure((a.data != NULL || a.size == 0) && (b.data != NULL || b.size == 0));
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    if (order != 0) {
        return order;
    }
    return (a.size > b.size) - (a.size < b.size);
}

void buffer_finish(struct buffer *buffer)
{
    ensure(buffer->size <= buffer->capacity);
    free(buffer->data);
    *buffer = (struct buffer){0};
}

uint8_t *buffer_extend(struct buffer *buffer, size_t size)
{
    ensure(buffer->size <= buffer->capacity);
    ensure(buffer->capacity == 0 || buffer->data != NULL);
    ensure(size <= SIZE_MAX / 4 && buffer->size <= SIZE_MAX / 4);
    size_t needed = buffer->size + size;
    if (needed > buffer->capacity || buffer->data == NULL) {
        size_t capacity = buffer->capacity == 0 ? 64 : buffer->capacity;
        while (capacity < needed) {
            capacity *= 2;
        }
        buffer->data = memory_resize(buffer->data, capacity);
        buffer->capacity = capacity;
    }
    uint8_t *at = buffer->data + buffer->size;
    buffer->size = needed;
    ensure(buffer->size <= buffer->capacity);
    return at;
}

void buffer_append(struct buffer *buffer, const void *data, size_t size)
{
    ensure(data != NULL || size == 0);
    uint8_t *at = buffer_extend(buffer, size);
    if (size > 0) {
        memcpy(at, data, size);
    }
}

void buffer_append_text(struct buffer *buffer, const char *text)
{
    ensure(text != NULL);
    buffer_append(buffer, text, strlen(text));
}

void buffer_format(struct buffer *buffer, const char *format, ...)
{
    ensure(format != NULL);
    va_list arguments;
    va_list again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    ensure(size >= 0);
    uint8_t *at = buffer_extend(buffer, (size_t)size + 1);
    (void)vsnprintf((char *)at, (size_t)size + 1, format, again);
    va_end(again);
    buffer->size -= 1; /* the NUL is not content */
}

const char *buffer_text(struct buffer *buffer)
{
    ensure(buffer->size <= buffer->capacity);
    *buffer_extend(buffer, 1) = 0;
    buffer->size -= 1;
    ensure(buffer->data[buffer->size] == 0);
    return (const char *)buffer->data;
}

void put_u16(uint8_t *at, uint16_t value)
{
    ensure(at != NULL);
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

void put_u32(uint8_t *at, uint32_t value)
{
    ensure(at != NULL);
    put_u16(at, (uint16_t)(value >> 16));
    put_u16(at + 2, (uint16_t)value);
}

void put_u64(uint8_t *at, uint64_t value)
{
    ensure(at != NULL);
    put_u32(at, (uint32_t)(value >> 32));
    put_u32(at + 4, (uint32_t)value);
}

uint16_t get_u16(const uint8_t *at)
{
    ensure(at != NULL);
    return (uint16_t)((at[0] << 8) | at[1]);
}

uint32_t get_u32(const uint8_t *at)
{
    ensure(at != NULL);
    return ((uint32_t)get_u16(at) << 16) | get_u16(at + 2);
}

uint64_t get_u64(const uint8_t *at)
{
    ensure(at != NULL);
    return ((uint64_t)get_u32(at) << 32) | get_u32(at + 4);
}

static void *memory_checked(void *memory, size_t size)
{
    if (memory == NULL) {
        (void)fprintf(stderr, "topology: no memory for %zu bytes\n", size);
        abort();
    }
    return memory;
}

void *memory_allocate(size_t size)
{
    ensure(size <= PTRDIFF_MAX);
    return memory_checked(calloc(1, size == 0 ? 1 : size), size);
}

void *memory_resize(void *old, size_t size)
{
    ensure(size <= PTRDIFF_MAX);
    return memory_checked(realloc(old, size == 0 ? 1 : size), size);
}

char *memory_text(const char *text)
{
    return text == NULL ? NULL : memory_checked(strdup(text), strlen(text));
}

char *memory_format(const char *format, ...)
{
    ensure(format != NULL);
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int size = vasprintf(&text, format, arguments);
    va_end(arguments);
    return memory_checked(size < 0 ? NULL : text, 0);
}

void *memory_copy(const void *data, size_t size)
{
    ensure(data != NULL || size == 0);
    void *copy = memory_checked(malloc(size == 0 ? 1 : size), size);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    return copy;
}
