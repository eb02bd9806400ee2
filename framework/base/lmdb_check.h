/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LMDB check: judges an LMDB file without LMDB, which trusts its pages: a damaged or truncated one
 * would end the process with a signal. Reads through the descriptor and never through a map, so
 * that no damage can crash it. For the stores and for the local broker, before they map a file.
 *
 * What it is not: a proof of the values, for which LMDB 0.9 keeps no checksums. It covers LMDB's
 * data version 1 (all of 0.9) in the machine's own byte order; another version is refused, as LMDB
 * does.
 */
#ifndef LEAT_BASE_LMDB_CHECK_H
#define LEAT_BASE_LMDB_CHECK_H

#include "base/bytes.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

#define LMDB_METADATA "=metadata"
#define LMDB_SIZE "=size" /* a row of it */
#define LMDB_FILE "data.mdb"

/** An open file and what errors call it: "KIND PATH cannot be trusted: ...". */
struct lmdb_file {
    int file;
    const char *kind, *path;
};

/** The size and root facts of a file that was found sound. */
struct lmdb_facts {
    uint64_t file_size;
    uint64_t claimed_size; /* what the meta page says the pages reach to */
    uint64_t stored_size;  /* what LMDB_SIZE says; 0 if there is none */
    uint32_t page_size;
};

/** Both meta pages. STATUS_NOT_FOUND: the file is empty. ERROR_CORRUPT. */
enum status lmdb_check_meta(const struct lmdb_file *file, struct lmdb_facts *facts,
                            struct error *error);
/** The tree of databases, and of each database every page that can be reached, or only the root's
 * header where `whole` (NULL: all) answers false for its name. ERROR_CORRUPT. */
enum status lmdb_check_tree(const struct lmdb_file *file, bool (*whole)(struct bytes name),
                            struct lmdb_facts *facts, struct error *error);

#endif
