/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static char lines[8][4200];
static int line_count;

static void keep(void *opaque, const char *line)
{
    cr_assert_eq(opaque, &line_count);
    if (line_count < 8) {
        (void)snprintf(lines[line_count], sizeof lines[0], "%s", line);
    }
    line_count++;
}

static void capture(void)
{
    line_count = 0;
    log_set_level(LOG_INFO);
    log_set_debug(NULL);
    log_set_sink(keep, &line_count);
}

Test(log, a_line_has_time_level_component_and_text, .init = capture)
{
    log_info("engine", "commit records=%d", 3);
    cr_assert_eq(line_count, 1);
    int year = 0;
    int end = 0;
    cr_expect_eq(sscanf(lines[0], "time=%d-%*2d-%*2dT%*2d:%*2d:%*2d.%*3dZ %n", &year, &end), 1);
    cr_expect_gt(year, 2020);
    cr_expect_str_eq(lines[0] + end, "level=info component=engine commit records=3");
}

Test(log, levels_below_the_set_one_are_hidden, .init = capture)
{
    log_debug("a", "hidden");
    cr_expect_eq(line_count, 0);
    log_set_level(LOG_WARN);
    log_info("a", "hidden");
    log_warn("a", "shown");
    log_error("a", "shown");
    cr_expect_eq(line_count, 2);
    log_set_level(LOG_DEBUG);
    log_debug("a", "shown");
    cr_expect_eq(line_count, 3);
}

Test(log, debug_components_are_shown_whatever_the_level, .init = capture)
{
    log_set_level(LOG_ERROR);
    log_set_debug("transaction,state");
    log_debug("transaction", "shown");
    log_debug("state", "shown");
    log_debug("trans", "hidden");
    log_debug("tasks", "hidden");
    cr_expect_eq(line_count, 2);
    cr_expect(log_enabled(LOG_DEBUG, "state"));
    cr_expect_not(log_enabled(LOG_DEBUG, "worker"));
    log_set_debug("all");
    log_debug("tasks", "shown");
    cr_expect_eq(line_count, 3);
    log_set_debug(NULL);
    log_debug("state", "hidden");
    cr_expect_eq(line_count, 3);
}

Test(log, level_names_are_parsed, .init = capture)
{
    enum log_level level = LOG_INFO;
    cr_expect(log_parse_level("error", &level) && level == LOG_ERROR);
    cr_expect(log_parse_level("warn", &level) && level == LOG_WARN);
    cr_expect(log_parse_level("info", &level) && level == LOG_INFO);
    cr_expect(log_parse_level("debug", &level) && level == LOG_DEBUG);
    cr_expect_not(log_parse_level("Debug", &level));
    cr_expect_not(log_parse_level("", &level));
}

Test(log, secrets_become_stars_everywhere, .init = capture)
{
    log_redact("tiger");
    log_redact("abc"); /* too short: it would hide half the words */
    log_info("a", "tiger tigertiger abc x=tige");
    cr_expect_not_null(strstr(lines[0], "***** ********** abc x=tige"), "%s", lines[0]);
}

Test(log, an_event_is_one_line_however_long, .init = capture)
{
    static char text[9000];
    memset(text, 'x', sizeof text - 1);
    log_info("a", "two\nlines\tand\x1b[31m %s", text);
    cr_assert_eq(line_count, 1);
    cr_expect_null(strpbrk(lines[0], "\n\t\x1b"));
    cr_expect_not_null(strstr(lines[0], "two lines and [31m xxx"));
    cr_expect_lt(strlen(lines[0]), 4096);
}
