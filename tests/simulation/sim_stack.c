/* SPDX-License-Identifier: Apache-2.0 */
#include "sim_stack.h"

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN
#elif __has_feature(thread_sanitizer)
#define WITH_TSAN
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN
#elif defined(__SANITIZE_THREAD__)
#define WITH_TSAN
#endif

#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif
#ifdef WITH_TSAN
#include <sanitizer/tsan_interface.h>
#endif

/* swapcontext saves the signal mask with a system call, which is a third of a seed's time; a jump
   does not. The sanitizers know the former only. */
#if defined(WITH_ASAN) || defined(WITH_TSAN)
#define WITH_CONTEXTS
#endif

enum { STACK_SIZE = 1024 * 1024, GUARD_SIZE = 64 * 1024 };

static void *usable(const struct sim_stack *stack)
{
    return (uint8_t *)stack->memory + GUARD_SIZE;
}

/* makecontext passes ints only. */
static void begin(unsigned high, unsigned low)
{
    struct sim_stack *stack = (void *)(((uintptr_t)high << 32) | (uintptr_t)low);
#ifdef WITH_ASAN
    __sanitizer_finish_switch_fiber(NULL, &stack->scheduler->bottom, &stack->scheduler->size);
#endif
    stack->body(stack->argument);
    ensure(false && "a fiber returned instead of leaving");
}

void sim_stack_make(struct sim_stack *stack, void (*body)(void *), void *argument)
{
    stack->memory = mmap(NULL, STACK_SIZE + GUARD_SIZE, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ensure(stack->memory != MAP_FAILED);
    ensure(mprotect(stack->memory, GUARD_SIZE, PROT_NONE) == 0);
#ifdef WITH_TSAN
    stack->shadow = __tsan_create_fiber(0);
#endif
    stack->body = body;
    stack->argument = argument;
    stack->begun = false;
    ensure(getcontext(&stack->context) == 0);
    stack->context.uc_stack.ss_sp = usable(stack);
    stack->context.uc_stack.ss_size = STACK_SIZE;
    stack->context.uc_link = NULL;
    uintptr_t address = (uintptr_t)stack;
    makecontext(&stack->context, (void (*)(void))(uintptr_t)begin, 2, (unsigned)(address >> 32),
                (unsigned)address);
}

void sim_stack_free(struct sim_stack *stack)
{
    if (stack->memory == NULL) {
        return;
    }
#ifdef WITH_ASAN
    __asan_unpoison_memory_region(usable(stack), STACK_SIZE);
#endif
#ifdef WITH_TSAN
    __tsan_destroy_fiber(stack->shadow);
#endif
    munmap(stack->memory, STACK_SIZE + GUARD_SIZE);
    stack->memory = NULL;
}

static void switch_in(struct sim_scheduler *scheduler, struct sim_stack *stack)
{
#ifdef WITH_CONTEXTS
    ensure(swapcontext(&scheduler->context, &stack->context) == 0);
#else
    if (_setjmp(scheduler->point) == 0) {
        if (stack->begun) {
            _longjmp(stack->point, 1);
        }
        stack->begun = true;
        setcontext(&stack->context);
    }
#endif
}

static void switch_out(struct sim_stack *stack, struct sim_scheduler *scheduler)
{
#ifdef WITH_CONTEXTS
    ensure(swapcontext(&stack->context, &scheduler->context) == 0);
#else
    if (_setjmp(stack->point) == 0) {
        _longjmp(scheduler->point, 1);
    }
#endif
}

void sim_stack_enter(struct sim_scheduler *scheduler, struct sim_stack *stack)
{
    stack->scheduler = scheduler;
#ifdef WITH_ASAN
    __lsan_disable(); /* what a crash drops is lost on purpose */
    __sanitizer_start_switch_fiber(&scheduler->shadow, usable(stack), STACK_SIZE);
#endif
#ifdef WITH_TSAN
    scheduler->shadow = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(stack->shadow, 0);
#endif
    switch_in(scheduler, stack);
#ifdef WITH_ASAN
    __sanitizer_finish_switch_fiber(scheduler->shadow, NULL, NULL);
    __lsan_enable();
#endif
}

void sim_stack_yield(struct sim_stack *stack, struct sim_scheduler *scheduler)
{
#ifdef WITH_ASAN
    __sanitizer_start_switch_fiber(&stack->shadow, scheduler->bottom, scheduler->size);
#endif
#ifdef WITH_TSAN
    __tsan_switch_to_fiber(scheduler->shadow, 0);
#endif
    switch_out(stack, scheduler);
#ifdef WITH_ASAN
    __sanitizer_finish_switch_fiber(stack->shadow, &scheduler->bottom, &scheduler->size);
#endif
}

void sim_stack_leave(struct sim_scheduler *scheduler)
{
#ifdef WITH_ASAN
    __sanitizer_start_switch_fiber(NULL, scheduler->bottom, scheduler->size);
#endif
#ifdef WITH_TSAN
    __tsan_switch_to_fiber(scheduler->shadow, 0);
#endif
#ifdef WITH_CONTEXTS
    setcontext(&scheduler->context);
    ensure(false && "setcontext failed");
#else
    _longjmp(scheduler->point, 1);
#endif
    __builtin_unreachable();
}
