/* SPDX-License-Identifier: Apache-2.0 */
/* Hash: murmur2 as Kafka's Java client computes it, CRC-32C, and a fast 64-bit table hash. */
#ifndef LEAT_BASE_HASH_H
#define LEAT_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint32_t hash_murmur2(const void *data, size_t size);
/** The partition that Java's default partitioner gives a non-null key; partition_count > 0. */
int32_t hash_partition(const void *key, size_t size, int32_t partition_count);
/** CRC-32C; start with crc 0, feed the previous result to continue. */
uint32_t hash_crc32c(uint32_t crc, const void *data, size_t size);
/** For hash tables in memory only; never stored. */
uint64_t hash_table(const void *data, size_t size);

#endif
