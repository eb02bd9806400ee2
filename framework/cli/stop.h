/* SPDX-License-Identifier: Apache-2.0 */
/* Stop: SIGINT and SIGTERM as something a command asks for where it can end well. */
#ifndef LEAT_CLI_STOP_H
#define LEAT_CLI_STOP_H

#include <stdbool.h>

/** Until they are blocked, these signals end the process at once, as done: for a command that has
 * begun nothing yet and may wait long before it does. */
void stop_at_once(void);
/** From now on these signals wait to be asked for, and a closed pipe is an error of write, not a
 * signal. Call it before the broker starts threads. */
void stop_prepare(void);
/** Whether one came since; a system call, so not once a record. Tells of each signal once. */
bool stop_asked(void);

#endif
