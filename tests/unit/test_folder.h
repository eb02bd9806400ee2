/* SPDX-License-Identifier: Apache-2.0 */
/* A folder of its own for a test, and processes that do not outlive it. */
#ifndef LEAT_TESTS_TEST_FOLDER_H
#define LEAT_TESTS_TEST_FOLDER_H

#include <sys/types.h>

/** A new empty folder under $TMPDIR or /tmp; aborts when it cannot be made. */
char *test_folder_make(void);
/** Removes the folder and all in it, and frees the name. */
void test_folder_remove(char *folder);
/** fork; the child is killed when this process ends, so that a failing test leaves none behind. */
pid_t test_fork(void);

#endif
