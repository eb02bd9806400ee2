/* SPDX-License-Identifier: Apache-2.0 */
#include "folders.h"

#include "base/status.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_lock(const char *name)
{
    return strcmp(name, "lock.mdb") == 0 || strcmp(name, "writers.lock") == 0;
}

static void copy_file(const char *from, const char *to)
{
    struct stat found;
    int source = open(from, O_RDONLY | O_CLOEXEC);
    int target = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ensure(source >= 0 && target >= 0 && fstat(source, &found) == 0);
    for (off_t done = 0; done < found.st_size;) {
        ensure(sendfile(target, source, &done, (size_t)(found.st_size - done)) > 0);
    }
    ensure(close(source) == 0 && close(target) == 0);
}

/* Calls `visit` for each entry, with both paths below each other. */
static void each(const char *path, const char *other,
                 void (*visit)(const char *path, const char *other, bool folder))
{
    DIR *folder = opendir(path);
    if (folder == NULL) {
        ensure(errno == ENOENT);
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            char from[PATH_MAX];
            char to[PATH_MAX];
            (void)snprintf(from, sizeof from, "%s/%s", path, entry->d_name);
            (void)snprintf(to, sizeof to, "%s/%s", other, entry->d_name);
            visit(from, to, entry->d_type == DT_DIR);
        }
    }
    (void)closedir(folder);
}

static void copy_entry(const char *path, const char *other, bool folder)
{
    if (folder) {
        folders_copy(path, other);
    } else if (!is_lock(strrchr(path, '/') + 1)) {
        copy_file(path, other);
    }
}

static void remove_entry(const char *path, const char *other, bool folder)
{
    (void)other;
    if (folder) {
        folders_remove(path);
    } else {
        ensure(unlink(path) == 0);
    }
}

void folders_copy(const char *from, const char *to)
{
    ensure(mkdir(to, 0700) == 0);
    each(from, to, copy_entry);
}

void folders_remove(const char *path)
{
    each(path, "", remove_entry);
    ensure(rmdir(path) == 0 || errno == ENOENT);
}
