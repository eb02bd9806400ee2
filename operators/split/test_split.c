/* SPDX-License-Identifier: Apache-2.0 */
#include "../test_expect.h"

static void expect_tokens(leat_driver *driver, const char *value, const char *const *tokens)
{
    send_text(driver, "old key", value);
    for (; *tokens != NULL; tokens++) {
        expect_output(driver, *tokens, *tokens);
    }
    expect_nothing(driver);
}
#define TOKENS(...) ((const char *const[]){__VA_ARGS__, NULL})

Test(split, cuts_at_every_kind_of_white_space)
{
    leat_driver *driver = open_driver(NULL);
    expect_tokens(driver, "the quick\tbrown\n\n fox\v\f\rjumps ",
                  TOKENS("the", "quick", "brown", "fox", "jumps"));
    expect_tokens(driver, "Keeps, Case", TOKENS("Keeps,", "Case"));
    leat_driver_destroy(driver);
}

Test(split, gives_nothing_for_blank_empty_and_null)
{
    leat_driver *driver = open_driver(NULL);
    send_text(driver, "k", " \t\n ");
    send_text(driver, "k", "");
    send_text(driver, "k", NULL);
    expect_nothing(driver);
    leat_driver_destroy(driver);
}

Test(split, takes_words_of_letters_digits_and_bytes_beyond_ascii)
{
    leat_driver *driver = open_driver(PARAMS("by", "words"));
    expect_tokens(driver, "Don't @[`{ stop--42 \xc3\xa9t\xc3\xa9!",
                  TOKENS("Don", "t", "stop", "42", "\xc3\xa9t\xc3\xa9"));
    leat_driver_destroy(driver);
}

Test(split, makes_ascii_lower_case_and_leaves_the_rest)
{
    leat_driver *driver = open_driver(PARAMS("by", "words", "lowercase", "true"));
    expect_tokens(driver, "AZ @Mixed \xc3\x89T\xc3\x89",
                  TOKENS("az", "mixed", "\xc3\x89t\xc3\x89"));
    leat_driver_destroy(driver);
}

Test(split, cuts_at_a_separator_of_several_bytes_and_drops_empty_tokens)
{
    leat_driver *driver = open_driver(PARAMS("by", "separator", "separator", "::"));
    expect_tokens(driver, "a b::c:d::::e::", TOKENS("a b", "c:d", "e"));
    expect_tokens(driver, "::", TOKENS(NULL));
    leat_driver_destroy(driver);
}

Test(split, keeps_timestamp_and_headers)
{
    leat_driver *driver = open_driver(NULL);
    leat_header header = {"trace", {"1", 1}};
    leat_record record = {
        .value = {"a b", 3}, .headers = &header, .header_count = 1, .timestamp_ms = 77};
    cr_assert_eq(leat_driver_send(driver, NULL, &record), LEAT_OK);
    leat_record out;
    for (int i = 0; i < 2; i++) {
        cr_assert(leat_driver_read(driver, NULL, &out));
        cr_assert_eq(out.timestamp_ms, 77);
        cr_assert_eq(out.header_count, 1);
    }
    leat_driver_destroy(driver);
}

Test(split, takes_nul_bytes_as_part_of_a_token)
{
    leat_driver *driver = open_driver(NULL);
    leat_record record = {.value = {"a\0b c", 5}};
    leat_record out;
    cr_assert_eq(leat_driver_send(driver, NULL, &record), LEAT_OK);
    cr_assert(leat_driver_read(driver, NULL, &out));
    cr_assert_eq(out.key.size, 3);
    expect_output(driver, "c", "c");
    leat_driver_destroy(driver);
}

Test(split, refuses_a_separator_that_is_missing_or_without_effect)
{
    expect_refused(PARAMS("by", "separator"), "at least one byte");
    expect_refused(PARAMS("separator", ","), "only with \"by\": \"separator\"");
    expect_refused(PARAMS("by", "word"), "did you mean \"words\"?");
}
