/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folders: copying and removing trees of small files, quickly. Lock files are left out of a copy:
 * their owners make them anew.
 */
#ifndef LEAT_SWEEP_FOLDERS_H
#define LEAT_SWEEP_FOLDERS_H

/** `to` is made. Any failure ends the program: a test without its files proves nothing. */
void folders_copy(const char *from, const char *to);
/** Nothing there: nothing done. */
void folders_remove(const char *path);

#endif
