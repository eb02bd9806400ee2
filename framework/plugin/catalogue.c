/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/catalogue.h"

#include "base/bytes.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char suffix[] = ".so";

/* Operator files by name: `name` is what "use" calls them. */
struct entry {
    char *name, *file;
};
struct entries {
    struct entry *items;
    size_t count;
};

static void add_directory(struct catalogue_directories *directories, char *directory)
{
    ensure(directory != NULL);
    for (size_t i = 0; i < directories->count; i++) {
        if (strcmp(directories->items[i], directory) == 0) {
            free(directory);
            return;
        }
    }
    directories->items =
        memory_resize(directories->items, (directories->count + 1) * sizeof *directories->items);
    directories->items[directories->count++] = directory;
}

static void add_environment(struct catalogue_directories *directories)
{
    const char *at = getenv("LEAT_OPERATOR_PATH");
    while (at != NULL) {
        const char *colon = strchr(at, ':');
        size_t size = colon == NULL ? strlen(at) : (size_t)(colon - at);
        if (size > 0) { /* an empty part is no folder, not even the working directory */
            add_directory(directories, memory_format("%.*s", (int)size, at));
        }
        at = colon == NULL ? NULL : colon + 1;
    }
}

static void add_installed(struct catalogue_directories *directories)
{
    char binary[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", binary, sizeof binary - 1);
    if (size <= 0) {
        return;
    }
    binary[size] = 0;
    ensure(binary[0] == '/');
    *strrchr(binary, '/') = 0; /* the folder; the kernel's path is absolute */
    char *parent = memory_text(binary);
    char *slash = strrchr(parent, '/');
    if (slash != NULL) {
        *slash = 0;
    }
    if (LEAT_LIBDIR[0] == '/') {
        add_directory(directories, memory_text(LEAT_LIBDIR "/leat/operators"));
    } else {
        add_directory(directories, memory_format("%s/%s/leat/operators", parent, LEAT_LIBDIR));
    }
    add_directory(directories, memory_format("%s/lib/leat/operators", parent));
    add_directory(directories, memory_format("%s/operators", binary));
    free(parent);
}

void catalogue_directories_init(struct catalogue_directories *directories,
                                const struct plugin_path *path)
{
    *directories = (struct catalogue_directories){0};
    for (size_t i = 0; path != NULL && i < path->directory_count; i++) {
        ensure(path->directories[i] != NULL);
        add_directory(directories, memory_text(path->directories[i]));
    }
    add_environment(directories);
    add_installed(directories);
}

void catalogue_directories_finish(struct catalogue_directories *directories)
{
    for (size_t i = 0; i < directories->count; i++) {
        free(directories->items[i]);
    }
    free(directories->items);
    *directories = (struct catalogue_directories){0};
}

static void entries_finish(struct entries *entries)
{
    for (size_t i = 0; i < entries->count; i++) {
        free(entries->items[i].name);
        free(entries->items[i].file);
    }
    free(entries->items);
    *entries = (struct entries){0};
}

static bool entries_have(const struct entries *entries, const char *name)
{
    ensure(name != NULL && *name != 0);
    for (size_t i = 0; i < entries->count; i++) {
        if (strcmp(entries->items[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void scan_directory(struct entries *entries, const char *directory)
{
    ensure(directory != NULL);
    DIR *open = opendir(directory);
    if (open == NULL) {
        if (errno != ENOENT && errno != ENOTDIR) {
            log_warn("plugin", "a folder of operators cannot be read directory=\"%s\" error=\"%s\"",
                     directory, strerror(errno));
        }
        return;
    }
    const struct dirent *file = NULL;
    while ((file = readdir(open)) != NULL) {
        size_t size = strlen(file->d_name);
        if (size <= sizeof suffix - 1 || file->d_name[0] == '.' ||
            strcmp(file->d_name + size - (sizeof suffix - 1), suffix) != 0) {
            continue;
        }
        char *name = memory_format("%.*s", (int)(size - (sizeof suffix - 1)), file->d_name);
        if (entries_have(entries, name)) { /* an earlier folder wins, as in the lookup */
            free(name);
            continue;
        }
        entries->items =
            memory_resize(entries->items, (entries->count + 1) * sizeof *entries->items);
        entries->items[entries->count++] =
            (struct entry){name, memory_format("%s/%s", directory, file->d_name)};
    }
    (void)closedir(open);
}

static int compare_entries(const void *a, const void *b)
{
    ensure(a != NULL && b != NULL);
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static void entries_init(struct entries *entries, const struct catalogue_directories *directories)
{
    *entries = (struct entries){0};
    for (size_t i = 0; i < directories->count; i++) {
        scan_directory(entries, directories->items[i]);
    }
    if (entries->count > 0) {
        qsort(entries->items, entries->count, sizeof *entries->items, compare_entries);
    }
}

static enum status refuse_unknown(const char *name, const struct catalogue_directories *directories,
                                  struct error *error)
{
    ensure(name != NULL && directories != NULL);
    struct entries entries;
    entries_init(&entries, directories);
    const char **names = memory_allocate((entries.count + 1) * sizeof *names);
    for (size_t i = 0; i < entries.count; i++) {
        names[i] = entries.items[i].name;
    }
    const char *nearest = value_nearest(name, names, entries.count);
    struct buffer text = {0};
    buffer_format(&text, "no operator \"%.100s\"", name);
    if (nearest != NULL) {
        buffer_format(&text, ", did you mean \"%s\"?", nearest);
    }
    buffer_append_text(
        &text,
        " (add its folder to LEAT_OPERATOR_PATH, or in a topology file to operator_directories;"
        " looked for");
    buffer_format(&text, " %.100s%s in", name, suffix);
    for (size_t i = 0; i < directories->count; i++) {
        buffer_format(&text, "%s %s", i == 0 ? "" : ",", directories->items[i]);
    }
    buffer_append_text(&text, ")");
    enum status status =
        error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG, "%s", buffer_text(&text));
    buffer_finish(&text);
    free(names);
    entries_finish(&entries);
    return status;
}

enum status catalogue_find(const char *name, const struct plugin_path *path, char **file,
                           struct error *error)
{
    ensure(strchr(name, '/') == NULL);
    struct catalogue_directories directories;
    catalogue_directories_init(&directories, path);
    enum status status = STATUS_NOT_FOUND;
    *file = NULL;
    for (size_t i = 0; *name != 0 && *file == NULL && i < directories.count; i++) {
        struct stat facts;
        char *candidate = memory_format("%s/%s%s", directories.items[i], name, suffix);
        /* lstat: a dangling link is found, and refused with its own text, not passed over. */
        if (lstat(candidate, &facts) == 0) {
            *file = candidate;
            status = STATUS_OK;
        } else {
            free(candidate);
        }
    }
    if (status != STATUS_OK) {
        status = refuse_unknown(name, &directories, error);
    }
    catalogue_directories_finish(&directories);
    ensure((status == STATUS_OK) == (*file != NULL));
    return status;
}

enum status plugin_catalogue(const struct plugin_path *path, struct plugin ***plugins,
                             size_t *count, struct error *error)
{
    (void)error; /* what cannot be loaded is a warning, an unreadable folder too */
    struct catalogue_directories directories;
    struct entries entries;
    catalogue_directories_init(&directories, path);
    entries_init(&entries, &directories);
    catalogue_directories_finish(&directories);
    *plugins = memory_allocate((entries.count + 1) * sizeof **plugins);
    *count = 0;
    for (size_t i = 0; i < entries.count; i++) {
        struct error why;
        if (plugin_load(entries.items[i].file, NULL, &(*plugins)[*count], &why) == STATUS_OK) {
            (*count)++;
        } else {
            log_warn("plugin", "not an operator that can be loaded: %s", why.text);
        }
    }
    ensure(*count <= entries.count);
    entries_finish(&entries);
    return STATUS_OK;
}
