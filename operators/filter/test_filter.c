/* SPDX-License-Identifier: Apache-2.0 */
#include "../test_expect.h"

static void expect_pass(leat_driver *driver, const char *key, const char *value, bool passes)
{
    send_text(driver, key, value);
    if (passes) {
        expect_output(driver, key, value);
    }
    expect_nothing(driver);
}

Test(filter, passes_values_that_contain_the_pattern_by_default)
{
    leat_driver *driver = open_driver(PARAMS("pattern", "err"));
    expect_pass(driver, "k", "an error", true);
    expect_pass(driver, NULL, "err", true);
    expect_pass(driver, "err", "fine", false);
    expect_pass(driver, "k", "er", false);
    leat_driver_destroy(driver);
}

Test(filter, looks_at_the_key_when_told)
{
    leat_driver *driver = open_driver(PARAMS("on", "key", "match", "equals", "pattern", "a"));
    expect_pass(driver, "a", "x", true);
    expect_pass(driver, "ab", "a", false);
    expect_pass(driver, NULL, "a", false);
    leat_driver_destroy(driver);
}

Test(filter, compares_prefix_and_suffix)
{
    leat_driver *driver = open_driver(PARAMS("match", "prefix", "pattern", "ab"));
    expect_pass(driver, "k", "abc", true);
    expect_pass(driver, "k", "cab", false);
    expect_pass(driver, "k", "a", false);
    leat_driver_destroy(driver);
    driver = open_driver(PARAMS("match", "suffix", "pattern", "ab"));
    expect_pass(driver, "k", "cab", true);
    expect_pass(driver, "k", "abc", false);
    expect_pass(driver, "k", "b", false);
    leat_driver_destroy(driver);
}

Test(filter, inverts_and_then_passes_null)
{
    leat_driver *driver = open_driver(PARAMS("pattern", "a", "invert", "true"));
    expect_pass(driver, "k", "abc", false);
    expect_pass(driver, "k", "xyz", true);
    expect_pass(driver, "k", NULL, true);
    leat_driver_destroy(driver);
}

Test(filter, matches_an_empty_pattern_with_all_but_null)
{
    leat_driver *driver = open_driver(PARAMS("pattern", ""));
    expect_pass(driver, "k", "", true);
    expect_pass(driver, "k", "a", true);
    expect_pass(driver, "k", NULL, false);
    leat_driver_destroy(driver);
}

Test(filter, matches_extended_regular_expressions)
{
    leat_driver *driver = open_driver(PARAMS("match", "regex", "pattern", "^(GET|PUT) /[a-z]+$"));
    expect_pass(driver, "k", "GET /index", true);
    expect_pass(driver, "k", "POST /index", false);
    expect_pass(driver, "k", "GET /index ", false);
    expect_pass(driver, "k", "", false);
    leat_driver_destroy(driver);
}

Test(filter, matches_a_regular_expression_across_nul_bytes_and_not_beyond_the_end)
{
    leat_driver *driver = open_driver(PARAMS("match", "regex", "pattern", "tail$"));
    leat_record record = {.value = {"a\0tail and more", 6}};
    leat_record out;
    cr_assert_eq(leat_driver_send(driver, NULL, &record), LEAT_OK);
    cr_assert(leat_driver_read(driver, NULL, &out));
    record.value.size = 8;
    cr_assert_eq(leat_driver_send(driver, NULL, &record), LEAT_OK);
    expect_nothing(driver);
    leat_driver_destroy(driver);
}

Test(filter, refuses_a_bad_pattern_and_a_missing_one)
{
    expect_refused(PARAMS("match", "regex", "pattern", "a(b"), "pattern \"a(b\" is not a POSIX");
    expect_refused(NULL, "$.operators.test.params.pattern: missing");
}
