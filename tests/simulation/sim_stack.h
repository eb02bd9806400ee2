/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stacks of the fibers, by ucontext, with the notes that AddressSanitizer and ThreadSanitizer need.
 * One scheduler enters a stack; the stack yields to it or leaves for ever. Whatever the dropped
 * stack owned is lost, as in a crash.
 */
#ifndef LEAT_SIMULATION_SIM_STACK_H
#define LEAT_SIMULATION_SIM_STACK_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <ucontext.h>

struct sim_stack {
    jmp_buf point; /* where it goes on, once it has begun */
    bool begun;
    ucontext_t context;
    void *memory;
    void *shadow; /* AddressSanitizer's fake stack, ThreadSanitizer's fiber */
    void (*body)(void *);
    void *argument;
    struct sim_scheduler *scheduler;
};

struct sim_scheduler {
    jmp_buf point;
    ucontext_t context;
    void *shadow;
    const void *bottom;
    size_t size;
};

/** `body` must end with sim_stack_leave. */
void sim_stack_make(struct sim_stack *stack, void (*body)(void *), void *argument);
void sim_stack_free(struct sim_stack *stack);
/** Runs the stack until it yields or leaves. */
void sim_stack_enter(struct sim_scheduler *scheduler, struct sim_stack *stack);
void sim_stack_yield(struct sim_stack *stack, struct sim_scheduler *scheduler);
_Noreturn void sim_stack_leave(struct sim_scheduler *scheduler);

#endif
