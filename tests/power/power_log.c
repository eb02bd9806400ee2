/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log itself: objects, entries, and the tree at the start. The calls that fill it are in
 * power_calls.c, the images in power_image.c.
 */
#include "power_log.h"

#include "base/bytes.h"
#include "base/status.h"
#include "power_entries.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FOLDERS_OPEN = 16 };

static pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static atomic_bool active;
static struct power_log current;

void power_lock(void)
{
    ensure(pthread_mutex_lock(&mutex) == 0);
}

void power_unlock(void)
{
    ensure(pthread_mutex_unlock(&mutex) == 0);
}

bool power_active(void)
{
    return atomic_load_explicit(&active, memory_order_acquire);
}

const struct power_log *power_log_current(void)
{
    return &current;
}

void power_fail(const char *what, const char *path)
{
    (void)fprintf(stderr, "power log: %s %s: %s\n", what, path, strerror(errno));
    abort();
}

/* ---- objects ---- */

static size_t find(const struct stat *facts)
{
    for (size_t i = current.object_count; i > 0; i--) {
        const struct power_object *object = &current.objects[i - 1];
        if (object->number == facts->st_ino && object->device == facts->st_dev && !object->gone) {
            return i - 1;
        }
    }
    return POWER_NOTHING;
}

size_t power_object_of(int file)
{
    struct stat facts;
    return fstat(file, &facts) == 0 ? find(&facts) : POWER_NOTHING;
}

size_t power_object_at(int folder, const char *path)
{
    struct stat facts;
    return fstatat(folder, path, &facts, AT_SYMLINK_NOFOLLOW) == 0 ? find(&facts) : POWER_NOTHING;
}

size_t power_parent_of(int folder, const char *path, char **name)
{
    char *copy = memory_text(path);
    size_t size = strlen(copy);
    while (size > 1 && copy[size - 1] == '/') {
        copy[--size] = '\0';
    }
    char *slash = strrchr(copy, '/');
    *name = memory_text(slash == NULL ? copy : slash + 1);
    if (slash != NULL) {
        slash[slash == copy ? 1 : 0] = '\0';
    }
    struct stat facts;
    bool found = fstatat(folder, slash == NULL ? "." : copy, &facts, 0) == 0;
    free(copy);
    return found ? find(&facts) : POWER_NOTHING;
}

size_t power_object_add(int file, int folder, const char *path)
{
    struct stat facts;
    if ((path == NULL ? fstat(file, &facts) : fstatat(folder, path, &facts, AT_SYMLINK_NOFOLLOW)) !=
        0) {
        power_fail("looking at", path == NULL ? "an open file" : path);
    }
    current.objects =
        memory_resize(current.objects, (current.object_count + 1) * sizeof *current.objects);
    current.objects[current.object_count] = (struct power_object){
        .device = facts.st_dev, .number = facts.st_ino, .folder = S_ISDIR(facts.st_mode)};
    return current.object_count++;
}

void power_object_end(size_t object)
{
    ensure(object < current.object_count);
    current.objects[object].gone = true;
}

/* ---- entries ---- */

void power_append_take(struct power_entry entry)
{
    ensure(entry.object < current.object_count);
    if (current.count == current.capacity) {
        current.capacity = current.capacity == 0 ? 1024 : current.capacity * 2;
        current.entries =
            memory_resize(current.entries, current.capacity * sizeof *current.entries);
    }
    current.entries[current.count++] = entry;
    if (current.act != NULL && current.count >= current.act_size) {
        void (*act)(void *) = current.act;
        current.act = NULL;
        act(current.context);
    }
}

static void forget(void)
{
    for (size_t i = 0; i < current.count; i++) {
        free(current.entries[i].name);
        free(current.entries[i].new_name);
        free(current.entries[i].data);
    }
    free(current.entries);
    free(current.objects);
    current = (struct power_log){0};
}

/* ---- the tree at the start ---- */

static void take_content(int folder, const char *name, size_t object)
{
    int file = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat facts;
    if (file < 0 || fstat(file, &facts) != 0) {
        power_fail("reading", name);
    }
    size_t size = (size_t)facts.st_size;
    uint8_t *data = memory_allocate(size + 1);
    for (size_t done = 0; done < size;) {
        ssize_t got = pread(file, data + done, size - done, (off_t)done);
        if (got <= 0) {
            power_fail("reading", name);
        }
        done += (size_t)got;
    }
    (void)close(file);
    power_append_take(
        (struct power_entry){.kind = POWER_WRITE, .object = object, .size = size, .data = data});
}

static void take_folder(int folder, size_t object)
{
    DIR *stream = fdopendir(folder);
    if (stream == NULL) {
        power_fail("reading", "a folder");
    }
    struct dirent *entry;
    while ((entry = readdir(stream)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        size_t found = power_object_add(-1, folder, entry->d_name);
        power_append_take((struct power_entry){.kind = POWER_LINK,
                                               .object = found,
                                               .parent = object,
                                               .name = memory_text(entry->d_name)});
        if (current.objects[found].folder) {
            int inner = openat(folder, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (inner < 0) {
                power_fail("reading", entry->d_name);
            }
            take_folder(inner, found);
        } else {
            take_content(folder, entry->d_name, found);
        }
    }
    (void)closedir(stream);
}

void power_log_start(const char *directory)
{
    power_calls_link();
    power_log_stop();
    power_lock();
    int folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        power_fail("opening", directory);
    }
    take_folder(folder, power_object_add(folder, AT_FDCWD, NULL));
    current.base = current.count;
    atomic_store_explicit(&active, true, memory_order_release);
    power_unlock();
}

void power_log_stop(void)
{
    power_lock();
    atomic_store_explicit(&active, false, memory_order_release);
    forget();
    power_unlock();
}

size_t power_log_size(void)
{
    power_lock();
    size_t size = current.count - current.base;
    power_unlock();
    return size;
}

void power_log_at(size_t size, void (*act)(void *context), void *context)
{
    power_lock();
    ensure(size == 0 || act != NULL);
    current.act = size == 0 ? NULL : act;
    current.act_size = current.base + size;
    current.context = context;
    power_unlock();
}

/* ---- reboot ---- */

static int reboot_one(const char *path, const struct stat *facts, int type, struct FTW *place)
{
    static const char other[] = "00000000-0000-4000-8000-000000000000\n";
    if (type != FTW_F || strcmp(path + place->base, "boot") != 0 || facts->st_size == 0) {
        return 0; /* an empty marker stays so: it counts as another boot's as it is */
    }
    int file = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0 || write(file, other, sizeof other - 1) != (ssize_t)(sizeof other - 1)) {
        power_fail("writing", path);
    }
    (void)close(file);
    return 0;
}

void power_reboot(const char *directory)
{
    if (nftw(directory, reboot_one, FOLDERS_OPEN, FTW_PHYS) != 0) {
        power_fail("walking", directory);
    }
}
