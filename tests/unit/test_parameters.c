/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/plugin.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

static leat_status process(void *self, leat_context *ctx, const leat_record *record)
{
    (void)self;
    return leat_forward(ctx, 0, record);
}

static const leat_param all[] = {
    {"string", LEAT_PARAM_STRING, "text", ""},
    {"int", LEAT_PARAM_INT, "-7", ""},
    {"double", LEAT_PARAM_DOUBLE, "0.5", ""},
    {"bool", LEAT_PARAM_BOOL, "true", ""},
    {"duration", LEAT_PARAM_DURATION, "10s", ""},
    {"size", LEAT_PARAM_SIZE, "64MiB", ""},
    {"list", LEAT_PARAM_LIST, "a,b", ""},
    {"choice", LEAT_PARAM_ENUM, "value", "value|key: what"},
    {0},
};
static const leat_param required[] = {
    {"pattern", LEAT_PARAM_STRING, NULL, "what to look for"},
    {0},
};

static struct plugin *plugin;
static struct parameters *parameters;
static struct error error;

static void adopt(const leat_param *params)
{
    const leat_operator descriptor = {LEAT_OPERATOR_SIZES, .name = "probe", .params = params,
                                      .process = process};
    cr_assert_eq(plugin_adopt(&descriptor, "probe.so", &plugin, &error), STATUS_OK);
}

static void set_up(void)
{
    adopt(all);
}
static void clean_up(void)
{
    parameters_destroy(parameters);
    plugin_unload(plugin);
}
TestSuite(parameters, .init = set_up, .fini = clean_up);

static enum status check(const struct named_value *values, size_t count)
{
    return parameters_check(plugin, values, count, "t.json", "$.operators.x", 12, &parameters,
                            &error);
}

#define TEXT(given) ((struct value){.kind = VALUE_STRING, .text = (given)})
#define INTEGER(given) ((struct value){.kind = VALUE_INTEGER, .integer = (given)})
#define REAL(given) ((struct value){.kind = VALUE_REAL, .real = (given)})
#define BOOLEAN(given) ((struct value){.kind = VALUE_BOOLEAN, .boolean = (given)})

static void take(const char *name, struct value value)
{
    char path[64];
    (void)snprintf(path, sizeof path, "$.operators.x.params.%s", name);
    struct named_value given = {name, value, path, 14, false};
    parameters_destroy(parameters);
    cr_assert_eq(check(&given, 1), STATUS_OK, "%s", error.text);
}

static void refuse(const char *name, struct value value, const char *text)
{
    char path[64];
    (void)snprintf(path, sizeof path, "$.operators.x.params.%s", name);
    struct named_value given = {name, value, path, 14, false};
    cr_assert_eq(check(&given, 1), STATUS_BAD_CONFIG);
    cr_assert_null(parameters);
    cr_assert_str_eq(error.text, text);
}

Test(parameters, come_from_the_defaults)
{
    cr_assert_eq(check(NULL, 0), STATUS_OK);
    cr_assert_str_eq(parameters_string(parameters, "string"), "text");
    cr_assert_eq(parameters_int(parameters, "int"), -7);
    cr_assert_eq(parameters_double(parameters, "double"), 0.5);
    cr_assert(parameters_bool(parameters, "bool"));
    cr_assert_eq(parameters_int(parameters, "duration"), 10000);
    cr_assert_eq(parameters_int(parameters, "size"), 64 << 20);
    cr_assert_eq(parameters_count(parameters, "list"), 2);
    cr_assert_str_eq(parameters_item(parameters, "list", 1), "b");
    cr_assert_str_eq(parameters_string(parameters, "choice"), "value");
}

Test(parameters, take_values_of_their_own_kind)
{
    const char *items[] = {"x,y", "", "z"};
    take("int", INTEGER(INT64_MIN));
    cr_assert_eq(parameters_int(parameters, "int"), INT64_MIN);
    take("double", REAL(-2.25));
    cr_assert_eq(parameters_double(parameters, "double"), -2.25);
    take("double", INTEGER(3));
    cr_assert_eq(parameters_double(parameters, "double"), 3.0);
    take("bool", BOOLEAN(false));
    cr_assert_not(parameters_bool(parameters, "bool"));
    take("duration", INTEGER(250));
    cr_assert_eq(parameters_int(parameters, "duration"), 250);
    take("list", (struct value){.kind = VALUE_LIST, .items = items, .item_count = 3});
    cr_assert_eq(parameters_count(parameters, "list"), 3);
    cr_assert_str_eq(parameters_item(parameters, "list", 0), "x,y");
}

Test(parameters, take_strings_that_parse_as_the_type)
{
    take("int", TEXT("42"));
    cr_assert_eq(parameters_int(parameters, "int"), 42);
    take("double", TEXT("1e3"));
    cr_assert_eq(parameters_double(parameters, "double"), 1000.0);
    take("bool", TEXT("false"));
    cr_assert_not(parameters_bool(parameters, "bool"));
    take("duration", TEXT("5m"));
    cr_assert_eq(parameters_int(parameters, "duration"), 300000);
    take("size", TEXT("1KiB"));
    cr_assert_eq(parameters_int(parameters, "size"), 1024);
    take("choice", TEXT("key"));
    cr_assert_str_eq(parameters_string(parameters, "choice"), "key");
    take("list", TEXT("a,,c"));
    cr_assert_eq(parameters_count(parameters, "list"), 3);
    cr_assert_str_eq(parameters_item(parameters, "list", 1), "");
    take("list", TEXT(""));
    cr_assert_eq(parameters_count(parameters, "list"), 0);
}

Test(parameters, refuse_other_kinds_with_place_and_expectation)
{
#define PLACE(name) "t.json:14: $.operators.x.params." name ": expected "
    refuse("string", INTEGER(5), PLACE("string") "a string, found 5");
    refuse("int", REAL(1.5), PLACE("int") "a whole number of 64 bits like 10, found 1.5");
    refuse("int", TEXT("99999999999999999999"),
           PLACE("int") "a whole number of 64 bits like 10, found \"99999999999999999999\"");
    refuse("double", BOOLEAN(true), PLACE("double") "a number like 0.5, found true");
    refuse("bool", INTEGER(1), PLACE("bool") "true or false, found 1");
    refuse("duration", TEXT("10sec"), PLACE("duration") "a duration like \"10s\", found \"10sec\"");
    refuse("duration", INTEGER(-1), PLACE("duration") "a duration like \"10s\", found -1");
    refuse("size", TEXT("10MB"), PLACE("size") "a size like \"64MiB\", found \"10MB\"");
    refuse("list", INTEGER(1), PLACE("list") "a list of strings like [\"a\", \"b\"], found 1");
    refuse("string", (struct value){.kind = VALUE_LIST},
           PLACE("string") "a string, found a list of 0");
    refuse("choice", TEXT("valeu"),
           PLACE("choice") "one of \"value\", \"key\", found \"valeu\"; "
                           "did you mean \"value\"?");
    refuse("choice", TEXT("zzz"), PLACE("choice") "one of \"value\", \"key\", found \"zzz\"");
}

Test(parameters, refuse_an_unknown_name_with_the_nearest)
{
    refuse("strin", TEXT("x"),
           "t.json:14: $.operators.x.params.strin: operator \"probe\" has no "
           "parameter \"strin\"; did you mean \"string\"?");
    refuse("zzzzzz", TEXT("x"),
           "t.json:14: $.operators.x.params.zzzzzz: operator \"probe\" has no parameter "
           "\"zzzzzz\"; it has string, int, double, bool, duration, size, list, choice");
}

Test(parameters, name_the_file_alone_for_the_command_line)
{
    struct named_value given = {"int", TEXT("x"), "$.operators.x.params.int", 0, false};
    cr_assert_eq(check(&given, 1), STATUS_BAD_CONFIG);
    cr_assert_str_eq(error.text,
                     "t.json: $.operators.x.params.int (command line): expected a whole "
                     "number of 64 bits like 10, found \"x\"");
}

Test(parameters, never_show_a_secret)
{
    struct named_value given = {"int", TEXT("hunter2"), "$.operators.x.params.int", 3, true};
    cr_assert_eq(check(&given, 1), STATUS_BAD_CONFIG);
    cr_assert_null(strstr(error.text, "hunter2"), "%s", error.text);
}

Test(parameters, must_be_given_when_they_have_no_default)
{
    plugin_unload(plugin);
    adopt(required);
    cr_assert_eq(check(NULL, 0), STATUS_BAD_CONFIG);
    cr_assert_str_eq(error.text, "t.json:12: $.operators.x.params.pattern: missing; operator "
                                 "\"probe\" needs a string (what to look for)");
}

Test(parameters, abort_a_getter_of_an_unknown_name, .signal = SIGABRT)
{
    cr_assert_eq(check(NULL, 0), STATUS_OK);
    (void)parameters_string(parameters, "absent");
}

Test(parameters, abort_a_getter_of_another_type, .signal = SIGABRT)
{
    cr_assert_eq(check(NULL, 0), STATUS_OK);
    (void)parameters_int(parameters, "string");
}

Test(parameters, abort_an_item_beyond_the_list, .signal = SIGABRT)
{
    cr_assert_eq(check(NULL, 0), STATUS_OK);
    (void)parameters_item(parameters, "list", 2);
}
