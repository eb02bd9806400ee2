/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include "base/random.h"

#include <criterion/criterion.h>
#include <string.h>

Test(hash, murmur2_is_that_of_kafkas_java_client)
{
    /* From org.apache.kafka.common.utils.UtilsTest. */
    static const struct {
        const char *text;
        int32_t hash;
    } cases[] = {{"21", -973932308},
                 {"foobar", -790332482},
                 {"a-little-bit-long-string", -985981536},
                 {"a-little-bit-longer-string", -1486304829},
                 {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
                 {"abc", 479470107}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_expect_eq((int32_t)hash_murmur2(cases[i].text, strlen(cases[i].text)), cases[i].hash,
                     "%s", cases[i].text);
    }
}

Test(hash, a_partition_is_the_positive_hash_modulo_their_number)
{
    cr_expect_eq(hash_partition("foobar", 6, 1), 0);
    cr_expect_eq(hash_partition("foobar", 6, 10), (-790332482 & 0x7fffffff) % 10);
    cr_expect_eq(hash_partition("abc", 3, 7), 479470107 % 7);
    cr_expect_geq(hash_partition("", 0, 3), 0);
}

Test(hash, crc32c_has_its_check_value_and_may_be_continued)
{
    cr_expect_eq(hash_crc32c(0, "123456789", 9), 0xe3069283u);
    cr_expect_eq(hash_crc32c(0, "", 0), 0u);
    uint8_t zeros[32] = {0};
    cr_expect_eq(hash_crc32c(0, zeros, sizeof zeros), 0x8a9136aau, "RFC 3720, B.4");
    memset(zeros, 0xff, sizeof zeros);
    cr_expect_eq(hash_crc32c(0, zeros, sizeof zeros), 0x62a8ab43u, "RFC 3720, B.4");
    struct random random;
    uint8_t data[200];
    random_init(&random, 1);
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)random_next(&random);
    }
    uint32_t whole = hash_crc32c(0, data, sizeof data);
    for (size_t cut = 0; cut <= sizeof data; cut++) {
        uint32_t first = hash_crc32c(0, data, cut);
        cr_expect_eq(hash_crc32c(first, data + cut, sizeof data - cut), whole, "cut at %zu", cut);
    }
}

Test(hash, the_table_hash_sees_every_byte_and_the_size)
{
    uint8_t data[40] = {0};
    uint64_t zero = hash_table(data, sizeof data);
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = 1;
        cr_expect_neq(hash_table(data, sizeof data), zero, "byte %zu", i);
        data[i] = 0;
    }
    for (size_t size = 0; size < sizeof data; size++) {
        cr_expect_neq(hash_table(data, size), hash_table(data, size + 1), "size %zu", size);
    }
    cr_expect_eq(hash_table(NULL, 0), hash_table(data, 0));
}
