/* SPDX-License-Identifier: Apache-2.0 */
#include "command_paint.h"

#include <criterion/criterion.h>
#include <string.h>

static struct command_line *good(int argc, const char *const *argv)
{
    struct command_line *line;
    struct error error = {0};
    enum status status = command_line_parse(commands, argc, argv, &line, &error);
    cr_assert(status == STATUS_OK, "%s", error.text);
    return line;
}

static const char *bad(int argc, const char *const *argv)
{
    static struct error error;
    struct command_line *line;
    cr_assert_eq(command_line_parse(commands, argc, argv, &line, &error), STATUS_BAD_CONFIG);
    cr_assert_null(line);
    return error.text;
}

#define WORDS(...)                                                                                 \
    (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *)), (const char *const[])     \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

Test(command_line, words_become_arguments_and_options)
{
    struct command_line *line =
        good(WORDS("paint", "--color", "green", "a.json", "--coats=2", "--quick", "north"));
    cr_expect_str_eq(command_line_command(line)->name, "paint");
    cr_expect_eq(command_argument_count(line), 2);
    cr_expect_str_eq(command_argument(line, 0), "a.json");
    cr_expect_str_eq(command_argument(line, 1), "north");
    cr_expect_null(command_argument(line, 2));
    cr_expect_str_eq(command_option(line, "color"), "green");
    cr_expect_str_eq(command_option(line, "coats"), "2");
    cr_expect(command_flag(line, "quick"));
    cr_expect_not(command_json(line));
    cr_expect_null(command_option(line, "broker"));
    command_line_destroy(line);
}

Test(command_line, the_last_value_counts_and_all_can_be_asked_for)
{
    struct command_line *line = good(WORDS("paint", "f", "--coats", "1", "--set=a=1", "--coats=2",
                                           "--set", "b=2=3", "--json", "--coats="));
    cr_expect_str_eq(command_option(line, "coats"), "", "an empty value is a value");
    cr_expect_str_eq(command_option_at(line, "set", 0), "a=1");
    cr_expect_str_eq(command_option_at(line, "set", 1), "b=2=3");
    cr_expect_null(command_option_at(line, "set", 2));
    cr_expect(command_json(line));
    command_line_destroy(line);
}

Test(command_line, behind_two_dashes_all_are_arguments)
{
    struct command_line *line = good(WORDS("paint", "--quick", "--", "--color", "-x"));
    cr_expect_str_eq(command_argument(line, 0), "--color");
    cr_expect_str_eq(command_argument(line, 1), "-x");
    command_line_destroy(line);
    line = good(WORDS("paint", "-", "-5"));
    cr_expect_str_eq(command_argument(line, 0), "-", "a lone dash is an argument");
    cr_expect_str_eq(command_argument(line, 1), "-5", "so is a number");
    command_line_destroy(line);
}

Test(command_line, a_value_may_look_like_an_option)
{
    struct command_line *line = good(WORDS("paint", "f", "--coats", "--quick"));
    cr_expect_str_eq(command_option(line, "coats"), "--quick");
    cr_expect_not(command_flag(line, "quick"));
    command_line_destroy(line);
}

Test(command_line, unknown_commands_and_options_bring_the_nearest_one)
{
    cr_expect_str_eq(bad(WORDS("piant")),
                     "expected a command, found \"piant\"; did you mean \"paint\"?");
    cr_expect_str_eq(bad(WORDS("xyzzy")), "expected a command, found \"xyzzy\"");
    cr_expect_str_eq(bad(0, NULL), "expected a command, found none");
    cr_expect_str_eq(bad(WORDS("paint", "f", "--colour", "red")),
                     "paint: expected an option of this command, found \"--colour\"; did you mean "
                     "\"--color\"?");
    cr_expect_str_eq(bad(WORDS("paint", "f", "--log-levle=warn")),
                     "paint: expected an option of this command, found \"--log-levle\"; did you "
                     "mean \"--log-level\"?");
    cr_expect_str_eq(bad(WORDS("paint", "f", "-q")),
                     "paint: expected options with two dashes, found \"-q\" (what begins with a "
                     "dash and is no option goes behind --)");
}

Test(command_line, values_are_checked_against_the_table)
{
    cr_expect_str_eq(bad(WORDS("paint", "f", "--color=gren")),
                     "paint: expected one of red,green,blue for --color, found \"gren\"; did you "
                     "mean \"green\"?");
    cr_expect_str_eq(
        bad(WORDS("paint", "f", "--color=re")),
        "paint: expected one of red,green,blue for --color, found \"re\"; did you mean "
        "\"red\"?");
    cr_expect_str_eq(bad(WORDS("paint", "f", "--coats")),
                     "paint: expected N after --coats, found nothing");
    cr_expect_str_eq(bad(WORDS("paint", "f", "--quick=yes")),
                     "paint: expected --quick alone, found a value after it");
    cr_expect_str_eq(
        bad(WORDS("paint", "f", "--log-level", "loud")),
        "paint: expected one of info,error,warn,debug for --log-level, found \"loud\"");
}

Test(command_line, arguments_are_counted)
{
    cr_expect_str_eq(bad(WORDS("paint")), "paint: expected FILE [WALL], found 0 arguments");
    cr_expect_str_eq(bad(WORDS("paint", "a", "b", "c")),
                     "paint: expected FILE [WALL], found \"c\" after it");
    cr_expect_str_eq(bad(WORDS("rest", "a")), "rest: expected no argument, found \"a\" after it");
}

Test(command_line, a_command_without_a_file_takes_no_broker)
{
    cr_expect_str_eq(bad(WORDS("rest", "--broker", "local:d")),
                     "rest: expected an option of this command, found \"--broker\"");
    cr_expect_null(command_option_spec(&rest, "set"));
    cr_expect_not_null(command_option_spec(&rest, "json"));
}

Test(command_line, an_own_option_hides_the_common_one)
{
    struct command_line *line = good(WORDS("topic", "f", "--set", "retention.ms=1"));
    cr_expect_eq(command_option_spec(&topic, "set"), own_set);
    cr_expect_str_eq(command_option_at(line, "set", 0), "retention.ms=1");
    command_line_destroy(line);
    struct buffer text = {0};
    command_help(&topic, &text);
    cr_expect_not_null(strstr(buffer_text(&text), "a setting of its own"));
    cr_expect_null(strstr(buffer_text(&text), "another value for a key"));
    buffer_finish(&text);
}

static const struct command *help_about(int argc, const char *const *argv)
{
    struct command_line *line;
    struct error error = {0};
    cr_assert_eq(command_line_parse(commands, argc, argv, &line, &error), STATUS_NOT_FOUND);
    const struct command *command = command_line_command(line);
    command_line_destroy(line);
    return command;
}

Test(command_line, help_wins_over_mistakes)
{
    cr_expect_null(help_about(WORDS("--help")));
    cr_expect_null(help_about(WORDS("-h")));
    cr_expect_null(help_about(WORDS("help")));
    cr_expect_eq(help_about(WORDS("help", "paint")), &paint);
    cr_expect_eq(help_about(WORDS("paint", "--help")), &paint);
    cr_expect_eq(help_about(WORDS("paint", "--colour", "-h")), &paint);
    struct command_line *line = good(WORDS("paint", "--", "--help"));
    cr_expect_str_eq(command_argument(line, 0), "--help");
    command_line_destroy(line);
}

Test(command_line, help_shows_every_option_within_the_width)
{
    struct buffer text = {0};
    command_help(&paint, &text);
    char *help = (char *)(uintptr_t)buffer_text(&text);
    cr_expect(
        strncmp(help, "usage: topology paint FILE [WALL] [options]\n\nPaints a wall.\n", 60) == 0);
    cr_expect_not_null(strstr(help, "  --color COLOR "));
    cr_expect_not_null(strstr(help, "what color: red,green,blue\n"));
    cr_expect_not_null(strstr(help, "  --quick "));
    cr_expect_not_null(strstr(help, "  --broker BROKER"));
    char *rest_of_it = NULL;
    for (char *at = strtok_r(help, "\n", &rest_of_it); at != NULL;
         at = strtok_r(NULL, "\n", &rest_of_it)) {
        cr_expect_leq(strlen(at), 100, "%s", at);
    }
    buffer_finish(&text);
    command_help_all(commands, &text);
    cr_expect_not_null(strstr(buffer_text(&text), "  paint FILE [WALL] "));
    cr_expect_not_null(strstr(buffer_text(&text), "exit codes: 0 done"));
    buffer_finish(&text);
}

Test(command_line, failures_have_the_documented_exit_codes)
{
    struct error error = {.status = STATUS_BAD_CONFIG, .code = ERROR_CONFIG};
    cr_expect_eq(command_failed(&error), EXIT_USAGE);
    error = (struct error){.status = STATUS_FATAL, .code = ERROR_FENCED};
    cr_expect_eq(command_failed(&error), EXIT_FENCED);
    error = (struct error){.status = STATUS_FATAL, .code = ERROR_FENCED_INSTANCE};
    cr_expect_eq(command_failed(&error), EXIT_FENCED);
    error = (struct error){.status = STATUS_FATAL, .code = ERROR_NO_BROKER};
    cr_expect_eq(command_failed(&error), EXIT_FAILED);
    error = (struct error){.status = STATUS_RETRY, .code = ERROR_LOCKED};
    cr_expect_eq(command_failed(&error), EXIT_FAILED);
    struct command_line *line = good(WORDS("rest"));
    cr_expect_eq(command_usage(line, "expected %s", "sleep"), EXIT_USAGE);
    command_line_destroy(line);
}
