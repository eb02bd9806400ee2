/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content: what a task's store holds, as numbers: for each key of each table the seed that its
 * value is made from. So it can be compared by a digest, and read back out of any store that it was
 * written to, value by value.
 *
 * What it is not: a second store; sizes and contents of keys and values follow from the numbers.
 */
#ifndef LEAT_TESTS_CONTENT_H
#define LEAT_TESTS_CONTENT_H

#include "base/random.h"
#include "task_store.h"

enum { CONTENT_KEYS = 96 };

struct content {
    uint64_t seeds[TASK_STORE_TABLES][CONTENT_KEYS]; /* 0 = no such key */
    uint64_t sequence;                               /* of the last commit; 0 = none */
    bool layout;
};

/** Equal for equal contents; 0 for the empty one. */
uint64_t content_digest(const struct content *content);
/** Reads all of it, by scan and by get. STATUS_FATAL/ERROR_MISMATCH: a key or value that nobody
 * wrote. */
enum status content_read(struct task_store *opened, struct content *content, struct error *error);
/** The layout, as the engine writes it when it opens a store without one. */
enum status content_write_layout(struct task_store *opened, struct content *content,
                                 struct error *error);
/** One transaction of random changes with a position, committed. `content` follows it. */
enum status content_commit(struct task_store *opened, struct content *content,
                           struct random *random, struct error *error);
/** The same, aborted. */
enum status content_abort(struct task_store *opened, const struct content *content,
                          struct random *random, struct error *error);

#endif
