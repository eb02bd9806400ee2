/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include "base/status.h"

#include <string.h>

uint32_t hash_murmur2(const void *data, size_t size)
{
    ensure(data != NULL || size == 0);
    ensure(size <= INT32_MAX);
    const uint32_t m = 0x5bd1e995;
    const uint8_t *at = data;
    uint32_t h = 0x9747b28cu ^ (uint32_t)size;
    size_t left = size;
    for (; left >= 4; at += 4, left -= 4) {
        uint32_t k =
            (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
        k *= m;
        k ^= k >> 24;
        k *= m;
        h = (h * m) ^ k;
    }
    if (left >= 3) {
        h ^= (uint32_t)at[2] << 16;
    }
    if (left >= 2) {
        h ^= (uint32_t)at[1] << 8;
    }
    if (left >= 1) {
        h = (h ^ at[0]) * m;
    }
    h ^= h >> 13;
    h *= m;
    return h ^ (h >> 15);
}

int32_t hash_partition(const void *key, size_t size, int32_t partition_count)
{
    ensure(key != NULL || size == 0);
    ensure(partition_count > 0);
    ensure(partition_count > 0);
    return (int32_t)((hash_murmur2(key, size) & 0x7fffffffu) % (uint32_t)partition_count);
}

static uint32_t crc32c_bytewise(uint32_t crc, const uint8_t *at, size_t size)
{
    ensure(at != NULL || size == 0);
    for (; size > 0; at++, size--) {
        crc ^= *at;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (0x82f63b78u & (0u - (crc & 1u)));
        }
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const uint8_t *at,
                                                               size_t size)
{
    uint64_t wide = crc;
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t chunk;
        memcpy(&chunk, at, 8);
        wide = __builtin_ia32_crc32di(wide, chunk);
    }
    crc = (uint32_t)wide;
    for (; size > 0; at++, size--) {
        crc = __builtin_ia32_crc32qi(crc, *at);
    }
    return crc;
}
#endif

uint32_t hash_crc32c(uint32_t crc, const void *data, size_t size)
{
    ensure(data != NULL || size == 0);
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) {
        return ~crc32c_sse42(~crc, data, size);
    }
#endif
    return ~crc32c_bytewise(~crc, data, size);
}

uint64_t hash_table(const void *data, size_t size)
{
    ensure(data != NULL || size == 0);
    const uint8_t *at = data;
    uint64_t h = 0x9e3779b97f4a7c15u ^ (size * 0xff51afd7ed558ccdu);
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t chunk;
        memcpy(&chunk, at, 8);
        h = (h ^ chunk) * 0x9fb21c651e98df25u;
        h ^= h >> 32;
    }
    uint64_t tail = 0;
    if (size > 0) {
        memcpy(&tail, at, size);
    }
    h = (h ^ tail) * 0xd6e8feb86659fd93u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return h ^ (h >> 29);
}
