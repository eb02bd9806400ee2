/* SPDX-License-Identifier: Apache-2.0 */
#include "base/status.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

Test(status, an_error_says_status_code_place_and_text)
{
    struct error error;
    int line = __LINE__ + 1;
    enum status status = error_set(&error, STATUS_RETRY, ERROR_TIMED_OUT, "topic %s", "a");
    cr_expect_eq(status, STATUS_RETRY);
    cr_expect_eq(error.status, STATUS_RETRY);
    cr_expect_eq(error.code, ERROR_TIMED_OUT);
    cr_expect_eq(error.line, line);
    cr_expect_not_null(strstr(error.file, "test_status.c"));
    cr_expect_str_eq(error.text, "topic a");
}

Test(status, who_wants_no_error_gets_the_status)
{
    cr_expect_eq(error_set(NULL, STATUS_FATAL, ERROR_IO, "x"), STATUS_FATAL);
}

Test(status, a_prefix_keeps_the_rest)
{
    struct error error;
    (void)error_set(&error, STATUS_FATAL, ERROR_IO, "no space");
    cr_expect_eq(error_prefix(&error, "store %d", 3), STATUS_FATAL);
    cr_expect_str_eq(error.text, "store 3: no space");
    cr_expect_eq(error.code, ERROR_IO);
}

Test(status, long_texts_are_cut_not_overrun)
{
    struct error error;
    char text[1000];
    memset(text, 'x', sizeof text);
    text[999] = 0;
    (void)error_set(&error, STATUS_FATAL, ERROR_IO, "%s", text);
    cr_expect_eq(strlen(error.text), sizeof error.text - 1);
    (void)error_prefix(&error, "front");
    cr_expect(strncmp(error.text, "front: xxx", 10) == 0);
    cr_expect_eq(strlen(error.text), sizeof error.text - 1);
    (void)error_prefix(&error, "%s", text);
    cr_expect_eq(strlen(error.text), sizeof error.text - 1);
}

Test(status, every_code_has_a_name_of_its_own)
{
    for (int i = ERROR_NONE; i <= ERROR_OTHER; i++) {
        const char *name = error_code_name((enum error_code)i);
        cr_expect_gt(strlen(name), 1);
        for (int j = ERROR_NONE; j < i; j++) {
            cr_expect_str_neq(name, error_code_name((enum error_code)j));
        }
    }
}

Test(status, ensure_stays_on_in_every_build, .signal = SIGABRT)
{
    ensure(1 + 1 == 2);
    ensure(1 + 1 == 3);
    cr_assert_fail("it went on");
}

Test(status, a_text_is_one_line_whatever_was_put_into_it)
{
    struct error error;
    (void)error_set(&error, STATUS_FATAL, ERROR_IO, "near \"%s\"", "a\nb\r\t\x1b[2J\x7f\xc3\xa9");
    cr_assert_str_eq(error.text, "near \"a b   [2J \xc3\xa9\"");
    (void)error_prefix(&error, "in %s", "x\ny");
    cr_assert_str_eq(error.text, "in x y: near \"a b   [2J \xc3\xa9\"");
}
