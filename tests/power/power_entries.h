/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the power log share: its entries, and how power_calls.c adds them.
 *
 * Invariants: an object is one file or folder for as long as it exists, whatever its name; object 0
 * is the logged directory. The first `base` entries rebuild what was there at the start, durable.
 */
#ifndef LEAT_TESTS_POWER_ENTRIES_H
#define LEAT_TESTS_POWER_ENTRIES_H

#include "power_log.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum power_kind {
    POWER_WRITE,     /* `size` bytes of `data` at `offset` */
    POWER_SIZE,      /* the file is `size` bytes long from now on */
    POWER_SYNC_PART, /* `size` bytes at `offset` are durable, and the size of the file */
    POWER_SYNC_DATA, /* content and size are durable */
    POWER_SYNC,      /* and so is the name, or what a folder holds */
    POWER_LINK,      /* `name` in `parent` is `object` */
    POWER_UNLINK,    /* `name` in `parent`, which was `object`, is gone */
    POWER_RENAME     /* `name` in `parent` became `new_name` in `new_parent` */
};

struct power_entry {
    enum power_kind kind;
    size_t object;
    size_t parent, new_parent;
    char *name, *new_name;
    uint64_t offset, size;
    uint8_t *data;
};

struct power_object {
    dev_t device;
    ino_t number;
    bool folder;
    bool gone; /* its last name was removed: its number may become another file's */
};

struct power_log {
    struct power_object *objects;
    size_t object_count;
    struct power_entry *entries;
    size_t count, capacity, base;
    size_t act_size; /* counted with the base; 0 = never */
    void (*act)(void *context);
    void *context;
};

#define POWER_NOTHING SIZE_MAX

/** All of these between lock and unlock (recursive). */
void power_lock(void);
void power_unlock(void);
/** Whether a log runs: read without the lock, so that all else stays as quick as it was. */
bool power_active(void);
const struct power_log *power_log_current(void);

/** The object that an open file is, or POWER_NOTHING. */
size_t power_object_of(int file);
/** The object at a path, links not followed, or POWER_NOTHING. `folder` as in openat. */
size_t power_object_at(int folder, const char *path);
/** The folder that a path lies in, or POWER_NOTHING; the name in it, to be freed, in `name`. */
size_t power_parent_of(int folder, const char *path, char **name);

/** A new object; an open file or a path, whichever is given. */
size_t power_object_add(int file, int folder, const char *path);
void power_object_end(size_t object);
/** Appends an entry; takes its name, new_name and data. */
void power_append_take(struct power_entry entry);

/** Prints what could not be done to `path`, with errno, and aborts. */
void power_fail(const char *what, const char *path) __attribute__((noreturn));

/** Makes the linker take power_calls.c along. */
void power_calls_link(void);

#endif
