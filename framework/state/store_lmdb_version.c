/* SPDX-License-Identifier: Apache-2.0 */
#include "base/status.h"
#include "state/store_version.h"

#include <lmdb.h>
#include <stdio.h>

void store_library_version(char *built, char *running, size_t size)
{
    ensure(size >= 16);
    int major = 0;
    int minor = 0;
    int patch = 0;
    (void)mdb_version(&major, &minor, &patch);
    (void)snprintf(built, size, "%d.%d.%d", MDB_VERSION_MAJOR, MDB_VERSION_MINOR,
                   MDB_VERSION_PATCH);
    (void)snprintf(running, size, "%d.%d.%d", major, minor, patch);
}
