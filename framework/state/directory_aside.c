/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving a folder's content aside, and deleting what was moved.
 *
 * Invariant: the boot marker moves last, so that a crash in between never leaves a store that the
 * marker distrusts without its marker.
 */
#include "base/bytes.h"
#include "state/directory_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ASIDE_LIMIT = 10000 };

struct names {
    char **items;
    size_t count;
};

static void names_finish(struct names *names)
{
    ensure(names->count == 0 || names->items != NULL);
    for (size_t i = 0; i < names->count; i++) {
        free(names->items[i]);
    }
    free(names->items);
}

/* All names in a folder, without "." and ".."; 0 or an errno. Reads before anything is renamed,
 * since a folder that changes under readdir may show a name twice or not at all. */
static int names_read(const char *path, struct names *names)
{
    ensure(path != NULL && names != NULL);
    *names = (struct names){0};
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return errno;
    }
    struct dirent *entry;
    errno = 0;
    while ((entry = readdir(folder)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            names->items = memory_resize(names->items, (names->count + 1) * sizeof *names->items);
            names->items[names->count++] = memory_text(entry->d_name);
        }
        errno = 0;
    }
    int code = errno;
    (void)closedir(folder);
    return code;
}

/* The path without trailing slashes: what the names of the folders beside it begin with. */
static char *path_base(const char *path)
{
    char *base = memory_text(path);
    size_t size = strlen(base);
    while (size > 1 && base[size - 1] == '/') {
        base[--size] = '\0';
    }
    ensure(size > 0);
    return base;
}

/* Makes the first free NAME.aside-N and gives its path; 0 or an errno. */
static int make_aside(const char *path, char **aside)
{
    ensure(path[0] != '\0');
    char *base = path_base(path);
    int code = EEXIST;
    *aside = NULL;
    for (int i = 1; i < ASIDE_LIMIT && code == EEXIST; i++) {
        free(*aside);
        *aside = memory_format("%s.aside-%d", base, i);
        code = mkdir(*aside, 0700) == 0 ? 0 : errno;
    }
    if (code == 0 && chmod(*aside, 0700) != 0) {
        code = errno;
    }
    free(base);
    return code;
}

static int move_all(const struct directory *directory, const char *aside, const struct names *names)
{
    ensure(directory->folder >= 0 && directory->lock >= 0);
    int target = open(aside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (target < 0) {
        return errno;
    }
    int code = 0;
    for (int last = 0; last < 2; last++) {
        for (size_t i = 0; i < names->count && code == 0; i++) {
            const char *name = names->items[i];
            bool marker = strcmp(name, DIRECTORY_MARKER) == 0;
            if (strcmp(name, DIRECTORY_LOCK) != 0 && marker == (last == 1) &&
                renameat(directory->folder, name, target, name) != 0) {
                code = errno;
            }
        }
        if (code == 0 && fsync(directory->folder) != 0) {
            code = errno;
        }
    }
    (void)close(target);
    return code;
}

enum status directory_move_aside(struct directory *directory, struct error *error)
{
    ensure(directory != NULL && directory->lock >= 0);
    struct names names;
    char *aside = NULL;
    int code = names_read(directory->path, &names);
    if (code == 0) {
        code = make_aside(directory->path, &aside);
    }
    if (code == 0) {
        code = move_all(directory, aside, &names);
    }
    names_finish(&names);
    free(aside);
    return code == 0 ? STATUS_OK
                     : directory_failed(error, code, "moving aside the files of", directory->path);
}

/* Whether `name` is `base`.aside-N. */
static bool is_aside(const char *name, const char *base)
{
    ensure(base[0] != '\0');
    size_t size = strlen(base);
    if (strncmp(name, base, size) != 0 || strncmp(name + size, ".aside-", 7) != 0) {
        return false;
    }
    const char *number = name + size + 7;
    return number[0] != '\0' && number[strspn(number, "0123456789")] == '\0';
}

/* Deletes a folder of plain files; 0 or an errno. */
static int delete_folder(const char *path)
{
    ensure(strstr(path, ".aside-") != NULL);
    struct names names;
    int code = names_read(path, &names);
    for (size_t i = 0; i < names.count && code == 0; i++) {
        char *file = memory_format("%s/%s", path, names.items[i]);
        code = unlink(file) == 0 ? 0 : errno;
        free(file);
    }
    names_finish(&names);
    if (code == 0 && rmdir(path) != 0) {
        code = errno;
    }
    return code;
}

enum status directory_delete_aside(struct directory *directory, struct error *error)
{
    ensure(directory != NULL && directory->lock >= 0);
    char *path = path_base(directory->path);
    char *slash = strrchr(path, '/');
    char *parent = slash == NULL   ? memory_text(".")
                   : slash == path ? memory_text("/")
                                   : strndup(path, (size_t)(slash - path));
    ensure(parent != NULL);
    const char *base = slash == NULL ? path : slash + 1;
    struct names names;
    enum status status = STATUS_OK;
    int code = names_read(parent, &names);
    if (code != 0) {
        status = directory_failed(error, code, "reading folder", parent);
    }
    for (size_t i = 0; i < names.count && status == STATUS_OK; i++) {
        if (is_aside(names.items[i], base)) {
            char *aside = memory_format("%s/%s", parent, names.items[i]);
            code = delete_folder(aside);
            if (code != 0) {
                status = directory_failed(error, code, "deleting", aside);
            }
            free(aside);
        }
    }
    names_finish(&names);
    free(parent);
    free(path);
    return status;
}
