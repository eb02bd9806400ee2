/* SPDX-License-Identifier: Apache-2.0 */
/* Local process: starting and ending a local_actor (see local_actor.c) from a test. */
#ifndef LEAT_TESTS_LOCAL_PROCESS_H
#define LEAT_TESTS_LOCAL_PROCESS_H

#include "broker/broker.h"

#include <stdbool.h>
#include <sys/types.h>

struct local_process {
    pid_t pid;
    int output;
    char text[256]; /* read and not given yet */
    size_t size;
};

/** Words end with NULL; at most 7. */
struct local_process local_process_start(const char *const *words);
/** The next line it printed; false when it ended or patience did. */
bool local_process_line(struct local_process *process, int64_t patience_ms, char *line,
                        size_t size);
void local_process_signal(struct local_process *process, int signal);
/** SIGKILL, wait, close. */
void local_process_kill(struct local_process *process);

/** Settings of a test's broker: short times. */
struct broker_settings local_settings(const char *directory, int64_t session_ms,
                                      int64_t callback_ms);
struct broker *local_open(const char *directory);

#endif
