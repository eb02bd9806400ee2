/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workload: the records of a benchmark, made again from their numbers alone. Record n of a seed has
 * one of key_count uniform keys (16 hexadecimal digits) and a value of 100 letters that begins with
 * n, so an output can be checked byte by byte without reading the input.
 */
#ifndef LEAT_BENCH_WORKLOAD_H
#define LEAT_BENCH_WORKLOAD_H

#include <stdbool.h>
#include <stdint.h>

enum { WORKLOAD_KEY_SIZE = 16, WORKLOAD_VALUE_SIZE = 100, WORKLOAD_NUMBER_SIZE = 16 };

struct workload {
    uint64_t seed, key_count;
};

/** Which of the keys record `number` has. */
uint64_t workload_key_index(const struct workload *workload, uint64_t number);
/** The text of a key; distinct for each index. */
void workload_key(const struct workload *workload, uint64_t index, char key[WORKLOAD_KEY_SIZE]);
/** The index of a key; false if the text is none of the keys. */
bool workload_index_of(const struct workload *workload, const void *key, uint64_t *index);
/** The value of record `number`: 16 digits, then letters. */
void workload_value(const struct workload *workload, uint64_t number,
                    char value[WORKLOAD_VALUE_SIZE]);
/** The number at the begin of a value; false if there is none. */
bool workload_number_of(const void *value, uint64_t *number);

#endif
