/* SPDX-License-Identifier: Apache-2.0 */
/* A folder of its own for a test. */
#ifndef LEAT_TESTS_TEST_FOLDER_H
#define LEAT_TESTS_TEST_FOLDER_H

/** A new empty folder under $TMPDIR or /tmp; aborts when it cannot be made. */
char *test_folder_make(void);
/** Removes the folder and all in it, and frees the name. */
void test_folder_remove(char *folder);

#endif
