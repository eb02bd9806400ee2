/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The probes of a running topology or loop.
 *
 * probe: an open loop. Records are sent at a fixed rate whatever comes back; each carries the time
 * at which it was meant to be sent, so a stall counts for every record that it delays. A
 * read_committed reader of the output takes the time of arrival.
 *
 * watch: polls the group's committed offsets from outside, the same for everything that is
 * measured, and notes when the first and the last new one appeared. Times are those of the
 * monotonic clock.
 */
#include "load.h"

#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>

enum { TICK_US = 1000, LATE_US = 10000000 };

struct probe {
    struct access *access;
    const struct load_options *options;
    int32_t partitions;
    int64_t began_us;
    uint64_t count; /* to be sent in all */
    uint64_t sent, received, wrong, measured;
    uint8_t *seen;
    int64_t *latencies;
};

static int64_t due_us(const struct probe *probe, uint64_t number)
{
    return probe->began_us + (int64_t)(number * 1000000 / (uint64_t)probe->options->rate);
}

static void send_due(struct probe *probe)
{
    uint64_t before = probe->sent;
    int64_t now = load_now_us();
    for (; probe->sent < probe->count && due_us(probe, probe->sent) <= now; probe->sent++) {
        char key[WORKLOAD_KEY_SIZE], value[WORKLOAD_VALUE_SIZE];
        const struct workload *workload = &probe->options->workload;
        workload_key(workload, probe->sent % workload->key_count, key);
        workload_value(workload, probe->sent, value);
        access_send(probe->access, hash_partition(key, sizeof key, probe->partitions), key,
                    sizeof key, value, sizeof value);
    }
    if (probe->sent > before) {
        access_push(probe->access);
    }
}

/* Which record was sent for this one: it says so, or it is the nth count of a key, whose nth record
 * is known because the keys are sent in turn. */
static bool number_of(const struct probe *probe, const struct access_record *record,
                      uint64_t *number)
{
    const struct workload *workload = &probe->options->workload;
    uint64_t index;
    if (record->key_size != WORKLOAD_KEY_SIZE ||
        !workload_index_of(workload, record->key, &index)) {
        return false;
    }
    if (record->value_size == WORKLOAD_VALUE_SIZE) {
        return workload_number_of(record->value, number) && *number % workload->key_count == index;
    }
    uint64_t count = load_count_of(record->value, record->value_size);
    *number = (count - 1) * workload->key_count + index;
    return count > 0;
}

static void take(struct probe *probe, const struct access_record *record)
{
    uint64_t number;
    int64_t now = load_now_us();
    if (!number_of(probe, record, &number) || number >= probe->sent || probe->seen[number]) {
        probe->wrong++;
        return;
    }
    probe->seen[number] = 1;
    probe->received++;
    int64_t due = due_us(probe, number);
    if (due - probe->began_us >= probe->options->warm_up_seconds * 1000000) {
        probe->latencies[probe->measured++] = now - due;
    }
}

static int ascending(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static double quantile_ms(const struct probe *probe, double share)
{
    if (probe->measured == 0) {
        return -1;
    }
    uint64_t at = (uint64_t)(share * (double)probe->measured);
    return (double)probe->latencies[at < probe->measured ? at : probe->measured - 1] / 1e3;
}

int load_probe(struct access *access, const struct load_options *options)
{
    int64_t seconds = options->warm_up_seconds + options->seconds;
    struct probe probe = {
        .access = access, .options = options, .count = (uint64_t)(options->rate * seconds)};
    probe.partitions = access_partitions(access, options->topic);
    probe.seen = calloc(probe.count + 1, 1);
    probe.latencies = calloc(probe.count + 1, sizeof *probe.latencies);
    if (probe.seen == NULL || probe.latencies == NULL) {
        access_fail("probe", "no memory");
    }
    access_read(access, options->output, true);
    access_write(access, options->topic);
    probe.began_us = load_now_us() + 100000;
    int64_t give_up = probe.began_us + seconds * 1000000 + LATE_US;
    while (probe.received < probe.count && load_now_us() < give_up) {
        struct access_record record;
        send_due(&probe);
        int64_t wake = load_now_us() + TICK_US;
        do {
            if (access_next(access, 1, &record) == ACCESS_RECORD) {
                take(&probe, &record);
            }
        } while (load_now_us() < wake);
    }
    qsort(probe.latencies, probe.measured, sizeof *probe.latencies, ascending);
    bool exact = probe.received == probe.count && probe.wrong == 0;
    printf("{\"exact\": %s, \"sent\": %llu, \"received\": %llu, \"wrong\": %llu, \"p50_ms\": %.2f, "
           "\"p90_ms\": %.2f, \"p99_ms\": %.2f, \"p99_9_ms\": %.2f, \"max_ms\": %.2f}\n",
           exact ? "true" : "false", (unsigned long long)probe.sent,
           (unsigned long long)probe.received, (unsigned long long)probe.wrong,
           quantile_ms(&probe, 0.5), quantile_ms(&probe, 0.9), quantile_ms(&probe, 0.99),
           quantile_ms(&probe, 0.999), quantile_ms(&probe, 1));
    free(probe.seen);
    free(probe.latencies);
    return exact ? 0 : 1;
}

static int64_t committed_sum(struct access *access, const struct load_options *options,
                             int32_t partitions)
{
    int64_t offsets[ACCESS_PARTITIONS_MAX], sum = 0;
    access_committed(access, options->topic, options->group, offsets);
    for (int32_t p = 0; p < partitions; p++) {
        sum += offsets[p];
    }
    return sum;
}

int load_watch(struct access *access, const struct load_options *options)
{
    int32_t partitions = access_partitions(access, options->topic);
    int64_t last = committed_sum(access, options, partitions);
    int64_t goal = (int64_t)options->records;
    int64_t give_up = load_now_us() + options->seconds * 1000000;
    for (int64_t sum = -1;;) {
        if (sum != last) {
            sum = last;
            printf("{\"at_us\": %lld, \"committed\": %lld}\n", (long long)load_now_us(),
                   (long long)sum);
            fflush(stdout);
        }
        if (sum >= goal || load_now_us() >= give_up) {
            return sum >= goal ? 0 : 1;
        }
        load_sleep_us(options->interval_ms * 1000);
        last = committed_sum(access, options, partitions);
    }
}
