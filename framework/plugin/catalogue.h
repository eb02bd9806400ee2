/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Catalogue: the folders that operators are looked for in, and the files in them. Loads nothing
 * itself but through plugin_load. Internal to the room.
 */
#ifndef LEAT_PLUGIN_CATALOGUE_H
#define LEAT_PLUGIN_CATALOGUE_H

#include "plugin/plugin.h"

/** All folders in the order of lookup, none twice; they need not exist. */
struct catalogue_directories {
    char **items;
    size_t count;
};

void catalogue_directories_init(struct catalogue_directories *directories,
                                const struct plugin_path *path);
void catalogue_directories_finish(struct catalogue_directories *directories);

/** The first `DIRECTORY/NAME.so` that exists, to be freed. STATUS_BAD_CONFIG lists where it was
 * looked for and the nearest name. */
enum status catalogue_find(const char *name, const struct plugin_path *path, char **file,
                           struct error *error);

#endif
