/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns: two threads of which one runs at a time, and the clock that both live by.
 *
 * The turn is passed where a call may wait (a poll, a sleep), never elsewhere; time passes by
 * a little with every look at the clock and by the whole of every wait. So what the two do, and
 * when, is the same in every run. Leases are not renewed meanwhile: a session lasts longer than a
 * script, unless it lets time pass.
 */
#ifndef LEAT_SWEEP_TURNS_H
#define LEAT_SWEEP_TURNS_H

#include <stdint.h>

/** Sets the virtual clock ahead of all that was; it never goes back. */
void turns_advance(int64_t us);
int64_t turns_now_us(void);

/** 0 in the thread that came first, 1 in the other. */
int turns_self(void);
/** Starts the other thread; it runs when the turn is passed. */
void turns_start(void (*body)(void *argument), void *argument);
/** Lets the other thread run, if there is one, until it passes the turn back. */
void turns_pass(void);
/** Sleeps until the other thread, if there is one, has come to its end. */
void turns_pause(void);
/** Waits for the end of the other thread, if there is one. */
void turns_join(void);

#endif
