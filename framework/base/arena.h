/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arena: scratch memory that is freed all at once. One owner, one thread.
 * Invariant: pointers stay valid until the next arena_reset or arena_finish; a reset keeps at most
 * `keep` bytes of blocks for reuse, so that one huge record does not stay resident for ever.
 */
#ifndef LEAT_BASE_ARENA_H
#define LEAT_BASE_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *first, *current;
    size_t used;  /* in the current block */
    size_t total; /* bytes handed out since the last reset */
    size_t keep;
};

void arena_init(struct arena *arena, size_t keep);
void arena_finish(struct arena *arena);
void arena_reset(struct arena *arena);
/** Uninitialised memory aligned for max_align_t; never NULL; size 0 gives a valid pointer. */
void *arena_take(struct arena *arena, size_t size);
void *arena_copy(struct arena *arena, const void *data, size_t size);

#endif
