/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/metrics.h"

#include "base/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void metrics_init(struct metrics *metrics)
{
    ensure(metrics != NULL);
    metrics->items = memory_allocate((METRICS_LIMIT + 1) * sizeof *metrics->items);
    (void)snprintf(metrics->items[METRICS_LIMIT].name, METRICS_NAME_SIZE, "other");
    atomic_init(&metrics->count, 0);
}

void metrics_finish(struct metrics *metrics)
{
    ensure(atomic_load(&metrics->count) <= METRICS_LIMIT);
    free(metrics->items);
    metrics->items = NULL;
}

void metrics_add(struct metrics *metrics, const char *node, const char *name, int64_t delta)
{
    ensure(metrics->items != NULL && node != NULL);
    char full[METRICS_NAME_SIZE];
    (void)snprintf(full, sizeof full, "%s.%s", node, name);
    size_t count = atomic_load_explicit(&metrics->count, memory_order_relaxed);
    size_t index = 0;
    while (index < count && strcmp(metrics->items[index].name, full) != 0) {
        index++;
    }
    if (index == count && count < METRICS_LIMIT) {
        memcpy(metrics->items[index].name, full, sizeof full);
        /* The name is complete before a reader can see it. */
        atomic_store_explicit(&metrics->count, count + 1, memory_order_release);
    }
    ensure(index <= METRICS_LIMIT);
    atomic_fetch_add_explicit(&metrics->items[index].value, delta, memory_order_relaxed);
}

static long long metrics_value(struct metrics *metrics, const char *name)
{
    ensure(metrics->items != NULL && name != NULL);
    size_t count = atomic_load_explicit(&metrics->count, memory_order_acquire);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(metrics->items[i].name, name) == 0) {
            return atomic_load_explicit(&metrics->items[i].value, memory_order_relaxed);
        }
    }
    return 0;
}

static bool metrics_seen(struct metrics *const *metrics, size_t before, const char *name)
{
    ensure(name != NULL);
    for (size_t m = 0; m < before; m++) {
        size_t count = atomic_load_explicit(&metrics[m]->count, memory_order_acquire);
        for (size_t i = 0; i < count; i++) {
            if (strcmp(metrics[m]->items[i].name, name) == 0) {
                return true;
            }
        }
    }
    return false;
}

void metrics_print(struct metrics *const *metrics, size_t count, struct buffer *buffer)
{
    ensure(count == 0 || metrics != NULL);
    long long other = 0;
    for (size_t m = 0; m < count; m++) {
        size_t names = atomic_load_explicit(&metrics[m]->count, memory_order_acquire);
        for (size_t i = 0; i < names; i++) {
            const char *name = metrics[m]->items[i].name;
            if (metrics_seen(metrics, m, name)) {
                continue; /* summed when its first worker was printed */
            }
            long long sum = 0;
            for (size_t k = m; k < count; k++) {
                sum += metrics_value(metrics[k], name);
            }
            buffer_format(buffer, " %s=%lld", name, sum);
        }
        other +=
            atomic_load_explicit(&metrics[m]->items[METRICS_LIMIT].value, memory_order_relaxed);
    }
    if (other != 0) {
        buffer_format(buffer, " other=%lld", other);
    }
}
