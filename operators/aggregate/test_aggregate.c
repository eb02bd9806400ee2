/* SPDX-License-Identifier: Apache-2.0 */
#include "../test_expect.h"

#include <stdlib.h>

Test(aggregate, counts_per_key_whatever_the_value)
{
    leat_driver *driver = open_driver(NULL);
    send_text(driver, "a", "x");
    send_text(driver, "b", NULL);
    send_text(driver, "a", "");
    expect_output(driver, "a", "1");
    expect_output(driver, "b", "1");
    expect_output(driver, "a", "2");
    expect_nothing(driver);
    expect_stored(driver, "state", "a", "2");
    expect_stored(driver, "state", "b", "1");
    leat_driver_destroy(driver);
}

Test(aggregate, keeps_its_state_through_a_restart)
{
    leat_driver *driver = open_driver(NULL);
    for (int i = 0; i < 12; i++) {
        send_text(driver, "a", "x");
    }
    cr_assert_eq(leat_driver_restart(driver), LEAT_OK);
    send_text(driver, "a", "x");
    expect_stored(driver, "state", "a", "13");
    leat_driver_destroy(driver);
}

Test(aggregate, sums_exactly_up_to_the_ends_of_64_bits)
{
    leat_driver *driver = open_driver(PARAMS("function", "sum"));
    send_text(driver, "a", "10");
    send_text(driver, "a", "-25");
    send_text(driver, "a", "007");
    expect_output(driver, "a", "10");
    expect_output(driver, "a", "-15");
    expect_output(driver, "a", "-8");
    send_text(driver, "max", "9223372036854775807");
    expect_output(driver, "max", "9223372036854775807");
    send_text(driver, "max", "-9223372036854775808");
    expect_output(driver, "max", "-1");
    send_text(driver, "min", "-9223372036854775808");
    expect_output(driver, "min", "-9223372036854775808");
    send_text(driver, "min", "0");
    expect_output(driver, "min", "-9223372036854775808");
    send_text(driver, "zero", "-0");
    expect_output(driver, "zero", "0");
    leat_driver_destroy(driver);
}

Test(aggregate, refuses_an_overflow_and_keeps_the_result)
{
    leat_driver *driver = open_driver(PARAMS("function", "sum"));
    send_text(driver, "a", "9223372036854775807");
    expect_output(driver, "a", "9223372036854775807");
    expect_bad_record(driver, "a", "1", "9223372036854775807 + 1");
    expect_stored(driver, "state", "a", "9223372036854775807");
    leat_driver_destroy(driver);
}

Test(aggregate, refuses_what_is_no_whole_number)
{
    leat_driver *driver = open_driver(PARAMS("function", "sum"));
    const char *const wrong[] = {"",
                                 "-",
                                 "+1",
                                 " 1",
                                 "1 ",
                                 "1.0",
                                 "1e3",
                                 "0x1",
                                 "abc",
                                 "--1",
                                 "9223372036854775808",
                                 "-9223372036854775809"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        expect_bad_record(driver, "a", wrong[i], "is not a whole number of 64 bits");
    }
    expect_bad_record(driver, "a", NULL, "the value is null");
    expect_stored(driver, "state", "a", NULL);
    leat_driver_destroy(driver);
}

Test(aggregate, refuses_keys_that_no_store_takes)
{
    leat_driver *driver = open_driver(NULL);
    char *large = malloc(65537 + 1);
    memset(large, 'a', 65537);
    large[65537] = 0;
    expect_bad_record(driver, NULL, "x", "the key is null");
    expect_bad_record(driver, "", "x", "the key has 0 bytes");
    expect_bad_record(driver, large, "x", "the key has 65537 bytes");
    large[65536] = 0;
    send_text(driver, large, "x");
    expect_output(driver, large, "1");
    free(large);
    leat_driver_destroy(driver);
}

Test(aggregate, keeps_headers_and_timestamp)
{
    leat_driver *driver = open_driver(NULL);
    leat_header header = {"trace", {"1", 1}};
    leat_record record = {
        .key = {"a", 1}, .headers = &header, .header_count = 1, .timestamp_ms = 77};
    leat_record out;
    cr_assert_eq(leat_driver_send(driver, NULL, &record), LEAT_OK);
    cr_assert(leat_driver_read(driver, NULL, &out));
    cr_assert_eq(out.timestamp_ms, 77);
    cr_assert_eq(out.header_count, 1);
    leat_driver_destroy(driver);
}
