/* SPDX-License-Identifier: Apache-2.0 */
/* Version: that of LMDB, told without its header. */
#ifndef LEAT_STATE_STORE_VERSION_H
#define LEAT_STATE_STORE_VERSION_H

#include <stddef.h>

/** Fills two texts of `size` bytes: the version compiled with and the version that runs. */
void store_library_version(char *built, char *running, size_t size);

#endif
