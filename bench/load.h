/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load: bench_load's commands. Each reads what it needs from the options, prints one line of JSON
 * and returns the exit code: 0 done, 1 the output is not exact or something did not come in time.
 */
#ifndef LEAT_BENCH_LOAD_H
#define LEAT_BENCH_LOAD_H

#include "access.h"
#include "workload.h"

struct load_options {
    const char *topic, *output, *group; /* NULL when not given */
    struct workload workload;
    uint64_t records;
    int64_t partitions, interval_ms, seconds, warm_up_seconds, rate;
    const char *properties[ACCESS_PROPERTIES_MAX];
    size_t property_count;
};

int load_fill(struct access *access, const struct load_options *options);
int load_verify_pass_through(struct access *access, const struct load_options *options);
int load_verify_count(struct access *access, const struct load_options *options);
int load_probe(struct access *access, const struct load_options *options);
int load_watch(struct access *access, const struct load_options *options);

/** A count as decimal text without sign or leading zeros; 0 for anything else. */
uint64_t load_count_of(const void *text, size_t size);
int64_t load_now_us(void); /* monotonic, the same clock in every process */
void load_sleep_us(int64_t us);

#endif
