/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power log: everything that this process changes in the files below one directory, in order, and
 * from it the directory as a power loss at any moment may leave it.
 *
 * How it sees the changes: power_calls.c defines open, write, fsync, rename and their relatives in
 * the executable, where they take the place of libc's for our code and for liblmdb alike. The real
 * work is done by the system calls themselves, so it holds under AddressSanitizer too. While the
 * log runs, fsync and fdatasync below the directory are noted and not done: no disk is waited for.
 *
 * What it assumes of a file system (what ext4, XFS and btrfs promise, and nothing more):
 *  - fdatasync, fsync and a write through an O_DSYNC descriptor make the content and the size of
 *    that file durable (the last: of those bytes), when they return.
 *  - fsync of a folder makes the names in it durable, and fsync of a file or folder its own name
 *    and the folders above it. fdatasync promises nothing about names.
 *  - Whatever is not yet durable may be on the disk or not: each page of a file in any of the
 *    versions it had since (in half of the random images each sector of 512 bytes), the file in any
 *    of the sizes it had since, each made, renamed or removed name, but never the later one of two
 *    changes to one name or file without the earlier. A rename is all or nothing.
 *  - A sector is written or not; it is never half of each. What is durable is not damaged later.
 *
 * What it does not see: stdio, stores through a shared map (LMDB's lock file; its size is seen),
 * files below the directory that were deleted and are still written, symbolic links, other
 * processes. A child by fork goes on with a copy of the log.
 *
 * Any thread may change files while the log runs; start, stop, size, at and image may be called by
 * any thread, one at a time. A failure of the tool itself ends the process with a line.
 */
#ifndef LEAT_TESTS_POWER_LOG_H
#define LEAT_TESTS_POWER_LOG_H

#include "base/random.h"

#include <stddef.h>

/** Which of the changes that are not yet durable reach the disk. */
enum power_subset {
    POWER_RANDOM,      /* any */
    POWER_ALL,         /* all: what a SIGKILL leaves */
    POWER_NONE,        /* none */
    POWER_ONE,         /* of each file one page */
    POWER_ALL_BUT_ONE, /* of each file all pages but one */
    POWER_LYING        /* any, by a disk that did not do the last two syncs of each file's content:
                          for tests that must fail */
};

/** Begins a log of what happens below `directory`, which must exist; what is there is taken as
 * durable. Ends the log before it. */
void power_log_start(const char *directory);
/** Ends the log and forgets it. */
void power_log_stop(void);
/** How many changes and barriers were logged since the start. */
size_t power_log_size(void);
/** Calls `act` once, inside the call that makes the log `size` long, before that call returns; all
 * other changes wait meanwhile. It may build an image and _exit. Size 0: never. */
void power_log_at(size_t size, void (*act)(void *context), void *context);

/** Makes the folder `target` (its parent exists, it does not; outside of the logged directory) and
 * in it the tree as a power loss after the first `cut` entries of the log may leave it. */
void power_log_image(const char *target, size_t cut, struct random *random, enum power_subset how);

/** Makes every boot marker (framework/state/directory.c) below `directory` that of another boot. */
void power_reboot(const char *directory);

#endif
