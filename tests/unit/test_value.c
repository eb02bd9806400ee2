/* SPDX-License-Identifier: Apache-2.0 */
#include "base/value.h"

#include <criterion/criterion.h>
#include <inttypes.h>

static void expect_duration(const char *text, int64_t expected)
{
    int64_t ms = -1;
    cr_expect(value_parse_duration(text, &ms), "%s", text);
    cr_expect_eq(ms, expected, "%s is %" PRId64, text, ms);
}

Test(value, durations_have_four_units_and_none)
{
    expect_duration("0", 0);
    expect_duration("250", 250);
    expect_duration("100ms", 100);
    expect_duration("10s", 10000);
    expect_duration("5m", 300000);
    expect_duration("1h", 3600000);
    expect_duration("0ms", 0);
    expect_duration("007s", 7000);
}

Test(value, what_is_no_duration_is_refused)
{
    static const char *const wrong[] = {"",
                                        "s",
                                        "-1s",
                                        "+1s",
                                        "1 s",
                                        " 1s",
                                        "1s ",
                                        "1.5s",
                                        "1S",
                                        "1d",
                                        "1sec",
                                        "0x1",
                                        "1ms2",
                                        "9223372036854775808",
                                        "9223372036854775807s"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int64_t ms;
        cr_expect_not(value_parse_duration(wrong[i], &ms), "%s", wrong[i]);
    }
}

Test(value, sizes_are_binary)
{
    static const struct {
        const char *text;
        int64_t size;
    } cases[] = {{"0", 0},         {"17", 17},         {"10B", 10},
                 {"64KiB", 65536}, {"16MiB", 1 << 24}, {"2GiB", INT64_C(1) << 31}};
    int64_t size;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_expect(value_parse_size(cases[i].text, &size), "%s", cases[i].text);
        cr_expect_eq(size, cases[i].size, "%s", cases[i].text);
    }
    static const char *const wrong[] = {"64KB", "64kib",  "1MB", "1TiB",
                                        "-1",   "1.5MiB", "",    "9999999999999GiB"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_expect_not(value_parse_size(wrong[i], &size), "%s", wrong[i]);
    }
}

Test(value, integers_are_decimal_and_whole)
{
    int64_t integer;
    cr_expect(value_parse_integer("-9223372036854775808", &integer));
    cr_expect_eq(integer, INT64_MIN);
    cr_expect(value_parse_integer("9223372036854775807", &integer));
    cr_expect_eq(integer, INT64_MAX);
    cr_expect(value_parse_integer("0", &integer));
    cr_expect_eq(integer, 0);
    static const char *const wrong[] = {
        "", "-", "+1", " 1", "1 ", "1.0", "0x10", "1e3", "9223372036854775808"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_expect_not(value_parse_integer(wrong[i], &integer), "%s", wrong[i]);
    }
}

Test(value, reals_are_decimal_and_finite)
{
    double real;
    cr_expect(value_parse_real("-2.5e3", &real));
    cr_expect_eq(real, -2500.0);
    cr_expect(value_parse_real("7", &real));
    cr_expect_eq(real, 7.0);
    cr_expect(value_parse_real(".5", &real));
    cr_expect_eq(real, 0.5);
    static const char *const wrong[] = {"",     ".",     "-",     "nan",  "inf",
                                        "-inf", "1e999", "0x1p3", "1.5x", " 1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_expect_not(value_parse_real(wrong[i], &real), "%s", wrong[i]);
    }
}

Test(value, the_nearest_name_is_near_or_none)
{
    static const char *const names[] = {"interval", "records", "size", "workers", "in"};
    cr_expect_str_eq(value_nearest("intervall", names, 5), "interval");
    cr_expect_str_eq(value_nearest("worker", names, 5), "workers");
    cr_expect_str_eq(value_nearest("sise", names, 5), "size");
    cr_expect_str_eq(value_nearest("inn", names, 5), "in");
    cr_expect_str_eq(value_nearest("size", names, 5), "size");
    cr_expect_null(value_nearest("frequency", names, 5));
    cr_expect_null(value_nearest("xy", names, 5), "two of two letters differ");
    cr_expect_null(value_nearest("anything", names, 0));
    cr_expect_null(value_nearest("", names, 4));
}
