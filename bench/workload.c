/* SPDX-License-Identifier: Apache-2.0 */
/* See workload.h. Keys and values come from splitmix64's mixing step, which can be turned back. */
#include "workload.h"

#include <stddef.h>

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t unmix(uint64_t z)
{
    z = (z ^ z >> 31 ^ z >> 62) * 0x319642b2d24d8ec3u;
    z = (z ^ z >> 27 ^ z >> 54) * 0x96de1b173f119089u;
    return z ^ z >> 30 ^ z >> 60;
}

uint64_t workload_key_index(const struct workload *workload, uint64_t number)
{
    return mix(number + workload->seed * 0x9e3779b97f4a7c15u + 1) % workload->key_count;
}

void workload_key(const struct workload *workload, uint64_t index, char key[WORKLOAD_KEY_SIZE])
{
    uint64_t bits = mix(index + (workload->seed << 40) + 1);
    for (int i = WORKLOAD_KEY_SIZE - 1; i >= 0; i--, bits >>= 4) {
        key[i] = "0123456789abcdef"[bits & 15];
    }
}

bool workload_index_of(const struct workload *workload, const void *key, uint64_t *index)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < WORKLOAD_KEY_SIZE; i++) {
        char digit = ((const char *)key)[i];
        if ((digit < '0' || digit > '9') && (digit < 'a' || digit > 'f')) {
            return false;
        }
        bits = bits << 4 | (uint64_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
    }
    *index = unmix(bits) - (workload->seed << 40) - 1;
    return *index < workload->key_count;
}

void workload_value(const struct workload *workload, uint64_t number,
                    char value[WORKLOAD_VALUE_SIZE])
{
    uint64_t rest = number;
    for (int i = WORKLOAD_NUMBER_SIZE - 1; i >= 0; i--, rest /= 10) {
        value[i] = (char)('0' + rest % 10);
    }
    uint64_t bits = 0;
    for (size_t i = WORKLOAD_NUMBER_SIZE; i < WORKLOAD_VALUE_SIZE; i++, bits >>= 4) {
        if ((i - WORKLOAD_NUMBER_SIZE) % 16 == 0) {
            bits = mix(number ^ workload->seed << 32 ^ i << 56);
        }
        value[i] = (char)('a' + (bits & 15));
    }
}

bool workload_number_of(const void *value, uint64_t *number)
{
    *number = 0;
    for (size_t i = 0; i < WORKLOAD_NUMBER_SIZE; i++) {
        char digit = ((const char *)value)[i];
        if (digit < '0' || digit > '9') {
            return false;
        }
        *number = *number * 10 + (uint64_t)(digit - '0');
    }
    return true;
}
