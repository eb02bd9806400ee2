/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store's table must answer, as a sorted array: the oracle of the store's tests.
 * Entries are shared between copies, so that a copy at each begin is cheap.
 */
#ifndef LEAT_TESTS_STORE_MODEL_H
#define LEAT_TESTS_STORE_MODEL_H

#include "base/bytes.h"

struct model_entry {
    struct bytes key, value;
    int shares;
};

struct store_model {
    struct model_entry **items;
    size_t count, capacity;
};

void model_finish(struct store_model *model);
void model_copy(const struct store_model *from, struct store_model *to);
void model_put(struct store_model *model, struct bytes key, struct bytes value);
void model_remove(struct store_model *model, struct bytes key);
/** NULL if absent. */
const struct model_entry *model_get(const struct store_model *model, struct bytes key);
/** What a scan with these bounds and flags (store.h) gives after `last`, or first when `last` is
 * NULL. */
const struct model_entry *model_next(const struct store_model *model, struct bytes from,
                                     struct bytes to, uint32_t flags, const struct bytes *last);

#endif
