/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/program.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct config *config;
static struct program *program;
static struct error error;

static void set_up(void)
{
    setenv("LEAT_OPERATOR_PATH", LEAT_BINARY_DIR "/operators", 1);
}
static void clean_up(void)
{
    program_destroy(program);
    config_destroy(config);
}
TestSuite(program, .init = set_up, .fini = clean_up);

/* A topology whose operators are `operators`, one a line from line 3 on; the sink takes node
 * "last". */
static enum status load(const char *operators)
{
    char text[2048];
    int size = snprintf(text, sizeof text,
                        "{\"application\": \"t\", \"sources\": {\"s\": {\"topic\": \"in\"}},\n"
                        "\"operators\": {\n%s\n},\n"
                        "\"sinks\": {\"k\": {\"topic\": \"out\", \"from\": \"last\"}}}",
                        operators);
    cr_assert_eq(config_parse(text, (size_t)size, "t.json", NULL, &config, &error), STATUS_OK, "%s",
                 error.text);
    return program_load(config, &program, &error);
}

static void expect_refused(const char *operators, const char *beginning)
{
    cr_assert_eq(load(operators), STATUS_BAD_CONFIG);
    cr_assert_eq(error.status, STATUS_BAD_CONFIG);
    cr_assert_null(program);
    cr_assert_eq(strncmp(error.text, beginning, strlen(beginning)), 0,
                 "\"%s\" does not begin \"%s\"", error.text, beginning);
}

Test(program, loads_each_file_once_and_parameters_for_each_node)
{
    const char *other =
        "\"last\": {\"use\": \"" LEAT_BINARY_DIR "/operators/../operators/filter.so\", "
        "\"from\": \"two\", \"params\": {\"pattern\": \"c\"}}";
    char *operators = memory_format(
        "\"one\": {\"use\": \"filter\", \"from\": \"s\", \"params\": {\"pattern\": \"a\"}},\n"
        "\"two\": {\"use\": \"filter\", \"from\": \"one\", \"params\": {\"pattern\": \"b\"}},\n%s",
        other);
    cr_assert_eq(load(operators), STATUS_OK, "%s", error.text);
    free(operators);
    cr_assert_eq(program->plugins[0], program->plugins[1]);
    cr_assert_eq(program->plugins[0], program->plugins[2]); /* another way to the same file */
    cr_assert_str_eq(parameters_string(program->parameters[0], "pattern"), "a");
    cr_assert_str_eq(parameters_string(program->parameters[2], "pattern"), "c");
    cr_assert_eq(program->graph->node_count, 5);
    cr_assert_eq(program_check(program, &error), STATUS_OK, "%s", error.text);
}

Test(program, says_where_an_operator_is_unknown)
{
    expect_refused(
        "\"last\": {\"use\": \"fliter\", \"from\": \"s\"}",
        "t.json:3: $.operators.last.use: no operator \"fliter\", did you mean \"filter\"?");
}

Test(program, says_where_a_parameter_is_wrong)
{
    expect_refused(
        "\"last\": {\"use\": \"filter\", \"from\": \"s\",\n\"params\": {\n\"patern\": \"a\"}}",
        "t.json:5: $.operators.last.params.patern: operator \"filter\" has no parameter "
        "\"patern\"; did you mean \"pattern\"?");
}

Test(program, says_where_a_required_parameter_is_missing)
{
    expect_refused("\"last\": {\"use\": \"filter\", \"from\": \"s\"}",
                   "t.json:3: $.operators.last.params.pattern: missing; operator \"filter\" needs");
}

Test(program, loads_a_second_operator_no_further_than_the_first_error)
{
    expect_refused(
        "\"a\": {\"use\": \"split\", \"from\": \"s\"},\n"
        "\"last\": {\"use\": \"split\", \"from\": \"a\", \"params\": {\"lowercase\": \"no\"}}",
        "t.json:4: $.operators.last.params.lowercase: expected true or false, found \"no\"");
}

Test(program, finds_in_a_check_what_only_init_refuses)
{
    cr_assert_eq(load("\"last\": {\"use\": \"filter\", \"from\": \"s\", \"params\": {\"match\": "
                      "\"regex\", \"pattern\": \"a(b\"}}"),
                 STATUS_OK, "%s", error.text);
    cr_assert_eq(program_check(program, &error), STATUS_BAD_CONFIG);
    cr_assert_eq(error.status, STATUS_BAD_CONFIG);
    cr_assert_not_null(strstr(error.text, "t.json: init of node \"last\" (operator filter) failed: "
                                          "pattern \"a(b\" is not a POSIX"),
                       "%s", error.text);
}
