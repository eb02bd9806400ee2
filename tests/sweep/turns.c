/* SPDX-License-Identifier: Apache-2.0 */
#include "turns.h"

#include "base/status.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

static _Atomic int64_t clock_us = INT64_C(1000000) * 3600 * 24 * 365; /* ahead of the system's */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t passed = PTHREAD_COND_INITIALIZER;
static int turn;
static bool second; /* there is another thread */
static bool paused; /* the first one sleeps until the other has ended */
static pthread_t thread;
static _Thread_local int self;
static _Thread_local int64_t standing_us; /* the clock of a broker's own thread */
static struct {
    void (*body)(void *argument);
    void *argument;
} start;

void turns_advance(int64_t us)
{
    atomic_fetch_add(&clock_us, us);
}

/* The broker's own thread, which renews leases, is not asked to take turns. Its clock stands still:
   then it has nothing to do, and two runs do not differ by when it woke up. */
static bool plays(void)
{
    static _Thread_local int known;
    if (known == 0) {
        known = self == 1 || gettid() == getpid() ? 1 : 2;
    }
    return known == 1;
}

int64_t turns_now_us(void)
{
    if (plays()) {
        return atomic_fetch_add(&clock_us, 1);
    }
    standing_us = standing_us == 0 ? atomic_load(&clock_us) : standing_us;
    return standing_us;
}

int turns_self(void)
{
    return self;
}

static void wait_for_turn(void)
{
    while (turn != self) {
        ensure(pthread_cond_wait(&passed, &mutex) == 0);
    }
}

static void *run(void *argument)
{
    (void)argument;
    self = 1;
    ensure(pthread_mutex_lock(&mutex) == 0);
    wait_for_turn();
    ensure(pthread_mutex_unlock(&mutex) == 0);
    start.body(start.argument);
    ensure(pthread_mutex_lock(&mutex) == 0);
    second = false;
    turn = 0;
    ensure(pthread_cond_broadcast(&passed) == 0);
    ensure(pthread_mutex_unlock(&mutex) == 0);
    return NULL;
}

void turns_start(void (*body)(void *argument), void *argument)
{
    ensure(self == 0 && !second);
    start.body = body;
    start.argument = argument;
    second = true;
    ensure(pthread_create(&thread, NULL, run, NULL) == 0);
}

void turns_pass(void)
{
    ensure(pthread_mutex_lock(&mutex) == 0);
    if (second && !paused && plays()) {
        turn = 1 - self;
        ensure(pthread_cond_broadcast(&passed) == 0);
        wait_for_turn();
    }
    ensure(pthread_mutex_unlock(&mutex) == 0);
}

void turns_pause(void)
{
    ensure(self == 0 && pthread_mutex_lock(&mutex) == 0);
    if (second) {
        paused = true;
        turn = 1;
        ensure(pthread_cond_broadcast(&passed) == 0);
        wait_for_turn();
        paused = false;
    }
    ensure(pthread_mutex_unlock(&mutex) == 0);
}

void turns_join(void)
{
    while (second) {
        turns_pass();
    }
    if (start.body != NULL) {
        ensure(pthread_join(thread, NULL) == 0);
        start.body = NULL;
    }
}
