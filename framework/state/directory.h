/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directory: the folder of a task or of an instance: made with mode 0700, locked for life by one
 * owner, moved aside when its content cannot be trusted, with the boot-id marker of `fast` stores.
 *
 * Invariants: the lock is an flock on the file `lock` in the folder, whose text is the holder's
 * pid; it ends with the process. What was moved aside keeps its place beside the folder
 * (`NAME.aside-N`) until directory_delete_aside.
 */
#ifndef LEAT_STATE_DIRECTORY_H
#define LEAT_STATE_DIRECTORY_H

#include "base/status.h"

#include <stdbool.h>
#include <sys/types.h>

struct directory;

/** Makes `path` and missing parents, 0700 each whatever the umask. ERROR_DENIED, ERROR_DISK_FULL,
 * ERROR_IO. */
enum status directory_make(const char *path, struct error *error);

/** Locks `path` (made when missing). STATUS_RETRY/ERROR_LOCKED when held: `holder` (may be NULL)
 * gets the pid of the holder, which may be this process; 0 = unknown. Never waits. */
enum status directory_lock(const char *path, struct directory **directory, pid_t *holder,
                           struct error *error);
/** Gives the lock back; takes NULL. */
void directory_unlock(struct directory *directory);
const char *directory_path(const struct directory *directory);

/** Whether a boot-id marker of another kernel boot is there: a `fast` store that a crash of the
 * machine may have damaged. */
bool directory_boot_changed(const struct directory *directory);
/** Writes and syncs the boot-id marker; before the first commit of a `fast` store. */
enum status directory_mark_boot(struct directory *directory, struct error *error);
/** Removes the marker: after the store was synced, or for a `durable` one. */
enum status directory_clear_boot(struct directory *directory, struct error *error);

/** Moves the store's files aside (the lock stays held); the folder is empty after. Close the store
 * before. */
enum status directory_move_aside(struct directory *directory, struct error *error);
/** Deletes all that was moved aside; a failure is the caller's to log. */
enum status directory_delete_aside(struct directory *directory, struct error *error);

#endif
