/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The oracles: what the outputs must be follows from the seed alone, so nothing that was measured
 * judges itself. Both read committed records only, to the end of every partition.
 */
#include "load.h"

#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct verdict {
    uint64_t records, wrong, missing, surplus;
    int64_t first_ms, last_ms; /* timestamps of the log */
};

/* Shows the first few: one is a lead, a thousand are noise. */
static void blame(struct verdict *verdict, const struct access_record *record, const char *what)
{
    if (verdict->wrong++ < 5) {
        fprintf(stderr, "bench_load: partition %d offset %lld: %s\n", (int)record->partition,
                (long long)record->offset, what);
    }
}

/* The next record, or false when every partition was read to its end. */
static bool next_record(struct access *access, struct access_record *record, bool *ended,
                        int32_t partitions, struct verdict *verdict)
{
    for (int idle = 0; idle < 300;) {
        switch (access_next(access, 100, record)) {
        case ACCESS_NOTHING:
            idle++;
            break;
        case ACCESS_END: {
            ended[record->partition] = true;
            int32_t left = partitions;
            for (int32_t p = 0; p < partitions; p++) {
                left -= ended[p];
            }
            if (left == 0) {
                return false;
            }
            break;
        }
        case ACCESS_RECORD:
            ended[record->partition] = false;
            if (verdict->records++ == 0 || record->timestamp_ms < verdict->first_ms) {
                verdict->first_ms = record->timestamp_ms;
            }
            if (record->timestamp_ms > verdict->last_ms) {
                verdict->last_ms = record->timestamp_ms;
            }
            return true;
        }
    }
    access_fail("verify", "the topic's end does not come within 30 s");
}

static int finish(const struct verdict *verdict)
{
    bool exact = verdict->wrong == 0 && verdict->missing == 0 && verdict->surplus == 0;
    printf("{\"exact\": %s, \"records\": %llu, \"wrong\": %llu, \"missing\": %llu, "
           "\"surplus\": %llu, \"seconds_of_appends\": %.3f}\n",
           exact ? "true" : "false", (unsigned long long)verdict->records,
           (unsigned long long)verdict->wrong, (unsigned long long)verdict->missing,
           (unsigned long long)verdict->surplus,
           (double)(verdict->last_ms - verdict->first_ms) / 1e3);
    return exact ? 0 : 1;
}

static void *table_of(uint64_t count, size_t size)
{
    void *table = calloc(count > 0 ? count : 1, size);
    if (table == NULL) {
        access_fail("verify", "no memory");
    }
    return table;
}

int load_verify_pass_through(struct access *access, const struct load_options *options)
{
    struct verdict verdict = {0};
    struct access_record record;
    bool ended[ACCESS_PARTITIONS_MAX] = {0};
    int64_t last[ACCESS_PARTITIONS_MAX];
    memset(last, -1, sizeof last);
    int32_t partitions = access_partitions(access, options->topic);
    uint8_t *seen = table_of(options->records, 1);
    access_read(access, options->topic, false);
    while (next_record(access, &record, ended, partitions, &verdict)) {
        char key[WORKLOAD_KEY_SIZE], value[WORKLOAD_VALUE_SIZE];
        uint64_t number;
        if (record.key_size != sizeof key || record.value_size != sizeof value ||
            !workload_number_of(record.value, &number) || number >= options->records) {
            blame(&verdict, &record, "not a record of this fill");
            continue;
        }
        workload_key(&options->workload, workload_key_index(&options->workload, number), key);
        workload_value(&options->workload, number, value);
        if (memcmp(key, record.key, sizeof key) != 0 ||
            memcmp(value, record.value, sizeof value) != 0) {
            blame(&verdict, &record, "its bytes are not those of the fill");
        } else if (record.partition != hash_partition(key, sizeof key, partitions)) {
            blame(&verdict, &record, "in another partition than in the fill");
        } else if (seen[number]) {
            verdict.surplus++;
        } else if ((int64_t)number < last[record.partition]) {
            blame(&verdict, &record, "behind a later record of the fill");
        }
        seen[number] = 1;
        last[record.partition] = (int64_t)number;
    }
    for (uint64_t n = 0; n < options->records; n++) {
        verdict.missing += seen[n] == 0;
    }
    free(seen);
    return finish(&verdict);
}

uint64_t load_count_of(const void *text, size_t size)
{
    uint64_t number = 0;
    for (size_t i = 0; i < size; i++) {
        char digit = ((const char *)text)[i];
        if (digit < (i == 0 ? '1' : '0') || digit > '9' || size > 15) {
            return 0;
        }
        number = number * 10 + (uint64_t)(digit - '0');
    }
    return number;
}

int load_verify_count(struct access *access, const struct load_options *options)
{
    struct verdict verdict = {0};
    struct access_record record;
    bool ended[ACCESS_PARTITIONS_MAX] = {0};
    int32_t partitions = access_partitions(access, options->topic);
    uint32_t *counted = table_of(options->workload.key_count, sizeof *counted);
    access_read(access, options->topic, false);
    while (next_record(access, &record, ended, partitions, &verdict)) {
        uint64_t index;
        if (record.key_size != WORKLOAD_KEY_SIZE ||
            !workload_index_of(&options->workload, record.key, &index)) {
            blame(&verdict, &record, "not a key of this fill");
            continue;
        }
        uint64_t count = load_count_of(record.value, record.value_size);
        if (record.partition != hash_partition(record.key, record.key_size, partitions)) {
            blame(&verdict, &record, "in another partition than in the fill");
        } else if (count != (uint64_t)counted[index] + 1) {
            blame(&verdict, &record, "not the next count of its key");
        }
        counted[index]++;
    }
    for (uint64_t n = 0; n < options->records; n++) {
        counted[workload_key_index(&options->workload, n)]--;
    }
    for (uint64_t k = 0; k < options->workload.key_count; k++) {
        int32_t difference = (int32_t)counted[k]; /* wraps below zero */
        verdict.surplus += difference > 0 ? (uint64_t)difference : 0;
        verdict.missing += difference < 0 ? (uint64_t)-difference : 0;
    }
    free(counted);
    return finish(&verdict);
}
