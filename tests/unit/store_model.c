/* SPDX-License-Identifier: Apache-2.0 */
#include "store_model.h"

#include "state/store.h"

#include <stdlib.h>
#include <string.h>

static void release(struct model_entry *entry)
{
    if (--entry->shares == 0) {
        free(entry);
    }
}

void model_finish(struct store_model *model)
{
    for (size_t i = 0; i < model->count; i++) {
        release(model->items[i]);
    }
    free(model->items);
    *model = (struct store_model){0};
}

void model_copy(const struct store_model *from, struct store_model *to)
{
    *to = (struct store_model){.count = from->count, .capacity = from->count};
    to->items = memory_copy(from->items, from->count * sizeof(*from->items));
    for (size_t i = 0; i < to->count; i++) {
        to->items[i]->shares++;
    }
}

/* The number of keys smaller than `key`. */
static size_t rank(const struct store_model *model, struct bytes key)
{
    size_t low = 0;
    size_t high = model->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (bytes_compare(model->items[middle]->key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct model_entry *entry_create(struct bytes key, struct bytes value)
{
    struct model_entry *entry = malloc(sizeof *entry + key.size + value.size);
    uint8_t *data = (uint8_t *)(entry + 1);
    memcpy(data, key.data, key.size);
    if (value.size > 0) {
        memcpy(data + key.size, value.data, value.size);
    }
    entry->key = (struct bytes){data, key.size};
    entry->value = (struct bytes){data + key.size, value.size};
    entry->shares = 1;
    return entry;
}

void model_put(struct store_model *model, struct bytes key, struct bytes value)
{
    size_t at = rank(model, key);
    struct model_entry *entry = entry_create(key, value);
    if (at < model->count && bytes_equal(model->items[at]->key, key)) {
        release(model->items[at]);
        model->items[at] = entry;
        return;
    }
    if (model->count == model->capacity) {
        model->capacity = model->capacity * 2 + 16;
        model->items = memory_resize(model->items, model->capacity * sizeof *model->items);
    }
    memmove(model->items + at + 1, model->items + at, (model->count - at) * sizeof *model->items);
    model->items[at] = entry;
    model->count++;
}

void model_remove(struct store_model *model, struct bytes key)
{
    size_t at = rank(model, key);
    if (at < model->count && bytes_equal(model->items[at]->key, key)) {
        release(model->items[at]);
        model->count--;
        memmove(model->items + at, model->items + at + 1,
                (model->count - at) * sizeof *model->items);
    }
}

const struct model_entry *model_get(const struct store_model *model, struct bytes key)
{
    size_t at = rank(model, key);
    return at < model->count && bytes_equal(model->items[at]->key, key) ? model->items[at] : NULL;
}

static bool within(const struct model_entry *entry, struct bytes from, struct bytes to,
                   uint32_t flags)
{
    if ((flags & STORE_PREFIX) != 0) {
        return entry->key.size >= from.size &&
               (from.size == 0 || memcmp(entry->key.data, from.data, from.size) == 0);
    }
    return (from.data == NULL || bytes_compare(entry->key, from) >= 0) &&
           (to.data == NULL || bytes_compare(entry->key, to) < 0);
}

const struct model_entry *model_next(const struct store_model *model, struct bytes from,
                                     struct bytes to, uint32_t flags, const struct bytes *last)
{
    /* Plain on purpose: it looks at every key. */
    const struct model_entry *found = NULL;
    for (size_t i = 0; i < model->count; i++) {
        const struct model_entry *entry = model->items[i];
        int order = last == NULL ? 0 : bytes_compare(entry->key, *last);
        if (!within(entry, from, to, flags)) {
            continue;
        }
        if ((flags & STORE_REVERSE) != 0) {
            if (last == NULL || order < 0) {
                found = entry;
            }
        } else if (last == NULL || order > 0) {
            return entry;
        }
    }
    return found;
}
