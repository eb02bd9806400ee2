/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seam, memory: the allocations of our code, LMDB and jansson, of which one is made to fail. A
 * sanitizer brings an allocator of its own, so there none can be.
 */
#include "seam.h"

#include "point.h"

#include <errno.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAVE_OWN_ALLOCATOR 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAVE_OWN_ALLOCATOR 1
#endif
#endif

#ifdef HAVE_OWN_ALLOCATOR

bool seam_memory_possible(void)
{
    return false;
}

void seam_memory_watch(bool on)
{
    (void)on;
}

#else

#define EXPORTED __attribute__((visibility("default")))

/* The C library's own, under the names it keeps for this. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static _Thread_local bool watched;

bool seam_memory_possible(void)
{
    return true;
}

void seam_memory_watch(bool on)
{
    watched = on;
}

static bool fails(void)
{
    struct plan *plan = point_plan();
    if (!watched || plan == NULL || ++plan->allocations != plan->allocation) {
        return false;
    }
    plan->reached = true;
    errno = ENOMEM;
    return true;
}

EXPORTED void *malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

EXPORTED void *calloc(size_t count, size_t size)
{
    return fails() ? NULL : __libc_calloc(count, size);
}

EXPORTED void *realloc(void *old, size_t size)
{
    return fails() ? NULL : __libc_realloc(old, size);
}

EXPORTED int posix_memalign(void **memory, size_t alignment, size_t size)
{
    void *made = fails() ? NULL : __libc_memalign(alignment, size);
    if (made == NULL) {
        return ENOMEM;
    }
    *memory = made;
    return 0;
}

#endif
