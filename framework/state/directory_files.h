/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What directory.c and directory_aside.c share: the struct and the names of the files in a folder.
 */
#ifndef LEAT_STATE_DIRECTORY_FILES_H
#define LEAT_STATE_DIRECTORY_FILES_H

#include "state/directory.h"

#define DIRECTORY_LOCK "lock"
#define DIRECTORY_MARKER "boot"

struct directory {
    char *path;
    int folder; /* open for the whole life: renames and syncs go through it */
    int lock;   /* holds the flock */
};

/** Fills `error` from an errno: ERROR_DISK_FULL, ERROR_DENIED, ERROR_LIMIT or ERROR_IO. */
enum status directory_failed(struct error *error, int code, const char *what, const char *path);

#endif
