/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading. A file is refused before its first line runs when anybody may have written it: dlopen
 * runs constructors, so checking afterwards would be too late.
 */
#include "plugin/plugin.h"

#include "base/bytes.h"
#include "plugin/catalogue.h"
#include "plugin/descriptor.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static enum status refuse_system(const char *file, const char *what, struct error *error)
{
    ensure(errno != 0);
    return error_set(error, STATUS_BAD_CONFIG, errno == EACCES ? ERROR_DENIED : ERROR_CONFIG,
                     "operator %s: %s: %s", file, what, strerror(errno));
}

/* The sticky bit (as in /tmp) keeps others from replacing a file that is not theirs. */
static enum status check_folder_of(const char *file, struct error *error)
{
    char *folder = memory_text(file);
    char *slash = strrchr(folder, '/');
    ensure(slash != NULL);
    slash[slash == folder ? 1 : 0] = 0;
    struct stat facts;
    enum status status = STATUS_OK;
    if (stat(folder, &facts) != 0) {
        status = refuse_system(file, "its folder cannot be examined", error);
    } else if ((facts.st_mode & S_IWOTH) != 0 && (facts.st_mode & S_ISVTX) == 0) {
        status =
            error_set(error, STATUS_BAD_CONFIG, ERROR_DENIED,
                      "operator %s: anybody may write to its folder: chmod o-w %s", file, folder);
    }
    free(folder);
    return status;
}

static enum status check_file(const char *file, struct error *error)
{
    ensure(*file == '/'); /* realpath made it */
    struct stat facts;
    if (stat(file, &facts) != 0) {
        return refuse_system(file, "cannot be examined", error);
    }
    if (!S_ISREG(facts.st_mode)) {
        return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                         "operator %s: not a regular file; \"use\" takes a name or the path of a "
                         "shared object",
                         file);
    }
    if ((facts.st_mode & S_IWOTH) != 0) {
        return error_set(error, STATUS_BAD_CONFIG, ERROR_DENIED,
                         "operator %s: anybody may write to it: chmod o-w %s", file, file);
    }
    return check_folder_of(file, error);
}

/* Links are followed (packages make them): the folder of the link counts, and file and folder it
 * leads to. */
static enum status resolve(const char *given, char **file, struct error *error)
{
    ensure(strchr(given, '/') != NULL);
    *file = realpath(given, NULL);
    if (*file == NULL) {
        return refuse_system(
            given, errno == ENOENT ? "there is no such file" : "cannot be resolved", error);
    }
    enum status status = check_folder_of(given, error);
    if (status == STATUS_OK) {
        status = check_file(*file, error);
    }
    if (status != STATUS_OK) {
        free(*file);
        *file = NULL;
    }
    return status;
}

static char *name_of(const char *file)
{
    ensure(file != NULL && *file != 0);
    const char *slash = strrchr(file, '/');
    const char *name = slash == NULL ? file : slash + 1;
    const char *dot = strrchr(name, '.');
    return memory_format("%.*s", dot == NULL ? (int)strlen(name) : (int)(dot - name), name);
}

static enum status open_file(struct plugin *plugin, struct error *error)
{
    ensure(plugin->handle == NULL && plugin->file != NULL);
    plugin->handle = dlopen(plugin->file, RTLD_NOW | RTLD_LOCAL);
    if (plugin->handle == NULL) {
        const char *why = dlerror();
        return error_set(error, STATUS_BAD_CONFIG, ERROR_OPERATOR,
                         "operator %s: cannot be loaded: %s; build it for this machine, with "
                         "leat_add_operator",
                         plugin->file, why == NULL ? "unknown reason" : why);
    }
    void *symbol = dlsym(plugin->handle, "leat_operator_entry");
    if (symbol == NULL) {
        return error_set(error, STATUS_BAD_CONFIG, ERROR_OPERATOR,
                         "operator %s: not an operator: it exports no leat_operator_entry; define "
                         "that function with LEAT_EXPORT (leat/operator.h)",
                         plugin->file);
    }
    const leat_operator *(*entry)(void) = NULL;
    memcpy(&entry, &symbol, sizeof entry); /* C has no cast between the two kinds of pointers */
    return descriptor_take(entry(), plugin, error);
}

enum status plugin_load(const char *use, const struct plugin_path *path, struct plugin **plugin,
                        struct error *error)
{
    ensure(use != NULL);
    *plugin = NULL;
    char *found = NULL;
    if (strchr(use, '/') != NULL) {
        found = memory_text(use);
    } else {
        enum status status = catalogue_find(use, path, &found, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    struct plugin *made = memory_allocate(sizeof *made);
    made->name = name_of(found);
    enum status status = resolve(found, &made->file, error);
    free(found);
    if (status == STATUS_OK) {
        status = open_file(made, error);
    }
    if (status != STATUS_OK) {
        plugin_unload(made);
        made = NULL;
    }
    ensure(made == NULL || made->handle != NULL);
    *plugin = made;
    return status;
}

enum status plugin_adopt(const leat_operator *descriptor, const char *file, struct plugin **plugin,
                         struct error *error)
{
    ensure(file != NULL);
    struct plugin *made = memory_allocate(sizeof *made);
    made->name = name_of(file);
    made->file = memory_text(file);
    enum status status = descriptor_take(descriptor, made, error);
    if (status != STATUS_OK) {
        plugin_unload(made);
        made = NULL;
    }
    *plugin = made;
    return status;
}

void plugin_unload(struct plugin *plugin)
{
    if (plugin == NULL) {
        return;
    }
    free(plugin->params);
    free(plugin->inputs);
    free(plugin->outputs);
    free(plugin->stores);
    if (plugin->handle != NULL) {
        (void)dlclose(plugin->handle);
    }
    free(plugin->name);
    free(plugin->file);
    free(plugin);
}
