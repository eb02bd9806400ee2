/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include "base/bytes.h"
#include "base/status.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_BLOCK_SIZE = 64 * 1024 };

struct arena_block {
    struct arena_block *next;
    size_t size;
    alignas(max_align_t) uint8_t data[];
};

void arena_init(struct arena *arena, size_t keep)
{
    *arena = (struct arena){.keep = keep};
}

void arena_finish(struct arena *arena)
{
    ensure(arena != NULL);
    for (struct arena_block *block = arena->first; block != NULL;) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
    *arena = (struct arena){.keep = arena->keep};
}

void arena_reset(struct arena *arena)
{
    size_t kept = 0;
    struct arena_block **link = &arena->first;
    while (*link != NULL) {
        struct arena_block *block = *link;
        if (kept + block->size > arena->keep) {
            *link = block->next;
            free(block);
        } else {
            kept += block->size;
            link = &block->next;
        }
    }
    ensure(kept <= arena->keep);
    arena->current = arena->first;
    arena->used = 0;
    arena->total = 0;
}

static void arena_add_block(struct arena *arena, size_t size)
{
    struct arena_block *next = arena->current == NULL ? arena->first : arena->current->next;
    if (next == NULL || next->size < size) {
        size_t block_size = size > ARENA_BLOCK_SIZE ? size : ARENA_BLOCK_SIZE;
        struct arena_block *block = memory_resize(NULL, sizeof(struct arena_block) + block_size);
        block->size = block_size;
        block->next = next;
        if (arena->current == NULL) {
            arena->first = block;
        } else {
            arena->current->next = block;
        }
        next = block;
    }
    arena->current = next;
    arena->used = 0;
    ensure(next->size >= size);
}

void *arena_take(struct arena *arena, size_t size)
{
    ensure(size <= SIZE_MAX / 2);
    size = size == 0 ? alignof(max_align_t)
                     : (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    if (arena->current == NULL || arena->current->size - arena->used < size) {
        arena_add_block(arena, size);
    }
    void *memory = arena->current->data + arena->used;
    arena->used += size;
    ensure(arena->used <= arena->current->size);
    arena->total += size;
    return memory;
}

void *arena_copy(struct arena *arena, const void *data, size_t size)
{
    ensure(data != NULL || size == 0);
    void *copy = arena_take(arena, size);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    return copy;
}
