/* SPDX-License-Identifier: Apache-2.0 */
/* Texts that are no topology: cut, changed, too large, too deep. The reader answers or refuses; it
 * never trusts, and its own scan and the parser never disagree (config_json.c would abort). */
#include "base/bytes.h"
#include "base/random.h"
#include "config_case.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const good =
    "{\n  \"application\": \"app\", \"x-\\u00e9\\ud83d\\ude00\": [1, -2.5e3, true, null, {}],\n"
    "  \"broker\": { \"properties\": { \"a\\\\b\\\"\\/\\t\": \"\\u0041\" } },\n"
    "  \"sources\": { \"in\": { \"topics\": [\"a\", \"b\"] } },\n"
    "  \"operators\": { \"o\": { \"use\": \"u\", \"from\": { \"l\": [\"in\"] },\n"
    "    \"params\": { \"s\": \"${HOME:-x}\", \"n\": 1.5, \"l\": [\"p\"] } } },\n"
    "  \"sinks\": { \"out\": { \"topic\": \"b\", \"from\": \"o\" } }\n}";

static enum status parse(const char *text, size_t size, struct error *error)
{
    struct config *config = NULL;
    enum status status = config_parse(text, size, "t.json", NULL, &config, error);
    cr_assert_eq(config != NULL, status == STATUS_OK);
    config_destroy(config);
    return status;
}

Test(config_text, the_text_that_is_cut_is_good_when_whole)
{
    struct error error = {0};
    cr_assert_eq(parse(good, strlen(good), &error), STATUS_OK, "%s", error.text);
}

Test(config_text, every_cut_is_refused_with_a_line)
{
    size_t size = strlen(good);
    for (size_t cut = 0; cut < size; cut++) {
        struct error error = {0};
        /* An exact copy, so that a read beyond its end is seen by the sanitizer. */
        char *text = memory_copy(good, cut);
        cr_assert_eq(parse(text, cut, &error), STATUS_BAD_CONFIG, "cut at %zu", cut);
        cr_assert(strncmp(error.text, "t.json:", 7) == 0 && error.text[7] >= '1' &&
                      error.text[7] <= '9',
                  "%s", error.text);
        free(text);
    }
}

Test(config_text, every_byte_may_be_any_other)
{
    static const char bytes[] = "\0\n\"\\{}[]:,$0-9eux\x80\xff";
    size_t size = strlen(good);
    size_t accepted = 0;
    for (size_t at = 0; at < size; at++) {
        for (size_t i = 0; i < sizeof bytes - 1; i++) {
            char *text = memory_copy(good, size);
            text[at] = bytes[i];
            struct error error = {0};
            enum status status = parse(text, size, &error);
            cr_assert(status == STATUS_OK || status == STATUS_BAD_CONFIG);
            accepted += status == STATUS_OK ? 1 : 0;
            free(text);
        }
    }
    cr_assert_gt(accepted, 0, "some changes are harmless");
}

Test(config_text, a_nul_byte_anywhere_is_refused_with_its_line)
{
    /* The parser alone takes the second for {"workers": 1}. */
    static const struct {
        const char *text;
        size_t size;
        const char *line;
    } bad[] = {{"\0", 1, "1"}, {"{\n\"workers\":1\0}", 14, "2"}, {"{}\n\n\0", 5, "3"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error error = {0};
        cr_assert_eq(parse(bad[i].text, bad[i].size, &error), STATUS_BAD_CONFIG);
        char *place = memory_format("t.json:%s: $: expected JSON", bad[i].line);
        cr_assert_eq(strncmp(error.text, place, strlen(place)), 0, "%s", error.text);
        free(place);
    }
}

Test(config_text, random_changes_never_break_the_reader)
{
    struct random random;
    random_init(&random, 20240229);
    size_t size = strlen(good);
    for (int round = 0; round < 4000; round++) {
        char *text = memory_copy(good, size);
        size_t changes = 1 + random_below(&random, 6);
        for (size_t i = 0; i < changes; i++) {
            size_t at = random_below(&random, size);
            size_t from = random_below(&random, size);
            size_t longest = size - (at > from ? at : from);
            memmove(text + at, text + from, random_below(&random, longest < 20 ? longest : 20));
        }
        struct error error = {0};
        enum status status = parse(text, size, &error);
        cr_assert(status == STATUS_OK || status == STATUS_BAD_CONFIG);
        cr_assert(status == STATUS_OK || *error.text != 0);
        free(text);
    }
}

/* The whole file is exactly `size` bytes long. */
static char *padded(size_t size)
{
    char *text = memory_allocate(size + 1);
    size_t used = (size_t)snprintf(text, size, "{ \"x-pad\": \"");
    size_t rest = (size_t)snprintf(NULL, 0, "\", %s", good + 1);
    memset(text + used, 'p', size - used - rest);
    (void)snprintf(text + size - rest, rest + 1, "\", %s", good + 1);
    return text;
}

Test(config_text, one_mebibyte_is_allowed_and_a_byte_more_is_not)
{
    struct error error = {0};
    char *text = padded(1 << 20);
    cr_expect_eq(parse(text, 1 << 20, &error), STATUS_OK, "%s", error.text);
    free(text);
    text = padded((1 << 20) + 1);
    cr_expect_eq(parse(text, (1 << 20) + 1, &error), STATUS_BAD_CONFIG);
    cr_expect_str_eq(error.text, "t.json:1: $: expected at most 1 MiB, found more");
    free(text);
}

static char *nested(int levels)
{
    struct buffer text = {0};
    buffer_append_text(&text, "{ \"x-deep\": ");
    for (int i = 1; i < levels; i++) {
        buffer_append_text(&text, "[");
    }
    for (int i = 1; i < levels; i++) {
        buffer_append_text(&text, "]");
    }
    buffer_format(&text, ", %s", good + 1);
    (void)buffer_text(&text);
    return (char *)text.data;
}

Test(config_text, thirty_two_levels_are_allowed_and_one_more_is_not)
{
    struct error error = {0};
    char *text = nested(32);
    cr_expect_eq(parse(text, strlen(text), &error), STATUS_OK, "%s", error.text);
    free(text);
    text = nested(33);
    cr_expect_eq(parse(text, strlen(text), &error), STATUS_BAD_CONFIG);
    cr_expect_not_null(strstr(error.text, "expected at most 32 levels of nesting, found more"));
    free(text);
}

Test(config_text, a_million_brackets_do_not_exhaust_the_stack)
{
    size_t size = 1 << 20;
    char *text = memory_allocate(size);
    struct error error = {0};
    memset(text, '[', size);
    cr_expect_eq(parse(text, size, &error), STATUS_BAD_CONFIG);
    free(text);
}

Test(config_text, many_keys_are_read_in_a_moment)
{
    struct buffer text = {0};
    buffer_append_text(&text, "{ \"x-many\": {");
    for (int i = 0; i < 60000; i++) {
        buffer_format(&text, "%s\"k%d\":%d", i == 0 ? "" : ",", i, i);
    }
    buffer_format(&text, "}, %s", good + 1);
    struct error error = {0};
    cr_expect_eq(parse((const char *)text.data, text.size, &error), STATUS_OK, "%s", error.text);
    buffer_finish(&text);
}

Test(config_text, lines_are_counted_over_all_kinds_of_space)
{
    cr_expect_str_eq(config_bad("\n\r\n\t{\r\n\"a\"\n:\n1}", NULL),
                     "topology.json:4: $.a: expected application, instance, broker, state, "
                     "operator_directories, workers, commit, callback_timeout, on_error, "
                     "internal_topics, sources, operators, repartitions or sinks, found an unknown "
                     "key");
}
