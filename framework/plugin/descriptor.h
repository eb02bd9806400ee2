/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptor: what an operator says of itself, guarded by size and version and copied into this
 * host's layout. Internal to the room; plugin_adopt is its face.
 */
#ifndef LEAT_PLUGIN_DESCRIPTOR_H
#define LEAT_PLUGIN_DESCRIPTOR_H

#include "plugin/plugin.h"

/** Fills descriptor and arrays of `plugin`, whose `file` is set. On failure what was filled stays
 * the caller's to free (plugin_unload). */
enum status descriptor_take(const leat_operator *from, struct plugin *plugin, struct error *error);

#endif
