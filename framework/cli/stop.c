/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/stop.h"

#include "base/status.h"
#include "cli/cli.h"

#include <signal.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

static void stop_signals(sigset_t *signals)
{
    ensure(sigemptyset(signals) == 0);
    ensure(sigaddset(signals, SIGINT) == 0);
    ensure(sigaddset(signals, SIGTERM) == 0);
}

static void end_now(int number)
{
    (void)number;
    _exit(EXIT_DONE);
}

void stop_at_once(void)
{
    ensure(signal(SIGINT, end_now) != SIG_ERR);
    ensure(signal(SIGTERM, end_now) != SIG_ERR);
}

void stop_prepare(void)
{
    sigset_t signals;
    stop_signals(&signals);
    ensure(sigprocmask(SIG_BLOCK, &signals, NULL) == 0);
    ensure(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
}

bool stop_asked(void)
{
    sigset_t signals;
    const struct timespec now = {0, 0};
    stop_signals(&signals);
    return sigtimedwait(&signals, NULL, &now) > 0;
}
