/* SPDX-License-Identifier: Apache-2.0 */
/* A record as a line of text, both ways. */
#include "cli/record_format.h"

#include "base/random.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct arena arena;

static void set_up(void)
{
    arena_init(&arena, 0);
}

static void tear_down(void)
{
    arena_finish(&arena);
}

TestSuite(record_format, .init = set_up, .fini = tear_down);

static struct record_input parsed(enum record_format format, const char *separator,
                                  const char *line)
{
    struct record_input input;
    struct error error = {0};
    cr_assert_eq(record_parse(format, separator, bytes_of(line), &arena, &input, &error), STATUS_OK,
                 "%s: %s", line, error.text);
    return input;
}

static void refused(enum record_format format, const char *line, const char *wanted)
{
    struct record_input input;
    struct error error = {0};
    cr_assert_eq(record_parse(format, "\t", bytes_of(line), &arena, &input, &error),
                 STATUS_BAD_RECORD, "%s was taken", line);
    cr_assert_not_null(strstr(error.text, wanted), "%s: \"%s\" is not in \"%s\"", line, wanted,
                       error.text);
}

static char *printed(enum record_format format, const struct broker_record *record)
{
    struct buffer text = {0};
    record_print(format, "\t", "topic", 3, record, &text);
    char *copy = memory_text(buffer_text(&text));
    buffer_finish(&text);
    return copy;
}

#define BYTES(text) ((struct bytes){(text), sizeof(text) - 1})

Test(record_format, a_value_line_is_the_value)
{
    struct record_input input = parsed(RECORD_VALUE, "\t", "a\tb");
    cr_assert(bytes_equal(input.value, BYTES("a\tb")));
    cr_assert_null(input.key.data);
    cr_assert_eq(input.timestamp_ms, -1);
    cr_assert_eq(input.partition, -1);
    input = parsed(RECORD_VALUE, "\t", "");
    cr_assert_not_null(input.value.data);
    cr_assert_eq(input.value.size, 0);
}

Test(record_format, key_and_value_split_at_the_first_separator)
{
    struct record_input input = parsed(RECORD_KEY_VALUE, "\t", "k\tv\tw");
    cr_assert(bytes_equal(input.key, BYTES("k")));
    cr_assert(bytes_equal(input.value, BYTES("v\tw")));
    input = parsed(RECORD_KEY_VALUE, "::", "a:b::");
    cr_assert(bytes_equal(input.key, BYTES("a:b")));
    cr_assert_not_null(input.value.data);
    cr_assert_eq(input.value.size, 0);
    refused(RECORD_KEY_VALUE, "no tab", "TAB");
}

Test(record_format, json_keeps_null_absent_and_empty_apart)
{
    struct record_input input = parsed(
        RECORD_JSON, NULL, "{\"key\":null,\"value\":\"\",\"timestamp_ms\":5,\"partition\":2}");
    cr_assert_null(input.key.data);
    cr_assert_not_null(input.value.data);
    cr_assert_eq(input.value.size, 0);
    cr_assert_eq(input.timestamp_ms, 5);
    cr_assert_eq(input.partition, 2);
    input = parsed(RECORD_JSON, NULL, "{}");
    cr_assert_null(input.value.data);
    cr_assert_eq(input.timestamp_ms, -1);
    input = parsed(RECORD_JSON, NULL,
                   " {\"value\":\"a\\u0000b\",\"headers\":[{\"name\":\"h\",\"value\":null},"
                   "{\"name\":\"\",\"value_base64\":\"/w==\"}],\"topic\":\"x\",\"offset\":9}");
    cr_assert(bytes_equal(input.value, BYTES("a\0b")));
    cr_assert_eq(input.header_count, 2);
    cr_assert_str_eq(input.headers[0].name, "h");
    cr_assert_null(input.headers[0].value.data);
    cr_assert_str_eq(input.headers[1].name, "");
    cr_assert(bytes_equal(input.headers[1].value, BYTES("\xff")));
}

Test(record_format, wrong_json_is_refused_with_what_was_expected)
{
    refused(RECORD_JSON, "{", "JSON");
    refused(RECORD_JSON, "[]", "JSON object");
    refused(RECORD_JSON, "", "JSON");
    refused(RECORD_JSON, "{\"value\":1}", "\"value\": expected a string");
    refused(RECORD_JSON, "{\"valeu\":\"x\"}", "did you mean \"value\"");
    refused(RECORD_JSON, "{\"value\":\"x\",\"value\":\"y\"}", "duplicate");
    refused(RECORD_JSON, "{\"value\":\"x\",\"value_base64\":\"eA==\"}", "both");
    refused(RECORD_JSON, "{\"value_base64\":\"eA=\"}", "base64");
    refused(RECORD_JSON, "{\"value_base64\":\"eA\"}", "base64");
    refused(RECORD_JSON, "{\"value_base64\":\"eB==\"}", "base64"); /* stray bits */
    refused(RECORD_JSON, "{\"value_base64\":\"=\"}", "base64");
    refused(RECORD_JSON, "{\"value_base64\":\"e===\"}", "base64");
    refused(RECORD_JSON, "{\"timestamp_ms\":-1}", "timestamp_ms");
    refused(RECORD_JSON, "{\"timestamp_ms\":1.5}", "timestamp_ms");
    refused(RECORD_JSON, "{\"partition\":3000000000}", "partition");
    refused(RECORD_JSON, "{\"headers\":{}}", "headers");
    refused(RECORD_JSON, "{\"headers\":[{\"value\":\"x\"}]}", "name");
    refused(RECORD_JSON, "{\"headers\":[{\"name\":\"a\\u0000\"}]}", "NUL");
    refused(RECORD_JSON, "{\"headers\":[{\"name\":\"a\",\"x\":1}]}", "unknown name");
    refused(RECORD_JSON, "{\"value\":\"\xff\"}", "JSON");
}

Test(record_format, printing_escapes_in_json_only)
{
    const struct header headers[] = {{"h\"", BYTES("\x80")}, {"n", {NULL, 0}}};
    struct broker_record record = {.key = BYTES("k\n"),
                                   .value = BYTES("\"\\\x01\xc3\xa4"),
                                   .timestamp_ms = 12,
                                   .offset = 34,
                                   .headers = headers,
                                   .header_count = 2};
    char *text = printed(RECORD_JSON, &record);
    cr_assert_str_eq(text, "{\"topic\":\"topic\",\"partition\":3,\"offset\":34,\"timestamp_ms\":12,"
                           "\"key\":\"k\\n\",\"value\":\"\\\"\\\\\\u0001\xc3\xa4\",\"headers\":["
                           "{\"name\":\"h\\\"\",\"value_base64\":\"gA==\"},"
                           "{\"name\":\"n\",\"value\":null}]}\n");
    free(text);
    text = printed(RECORD_KEY_VALUE, &record);
    cr_assert_str_eq(text, "k\n\t\"\\\x01\xc3\xa4\n");
    free(text);
    record = (struct broker_record){.timestamp_ms = -1};
    text = printed(RECORD_VALUE, &record);
    cr_assert_str_eq(text, "\n");
    free(text);
    text = printed(RECORD_JSON, &record);
    cr_assert_not_null(strstr(text, "\"timestamp_ms\":null,\"key\":null,\"value\":null"));
    free(text);
}

Test(record_format, overlong_and_cut_utf8_is_base64)
{
    static const char *const bad[] = {
        "\xc0\x80",         "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
        "\xf0\x80\x80\x80", "\xe2\x82",     "\x80",         "\xf5\x80\x80\x80"};
    static const char *const good[] = {"\x7f", "\xc2\x80", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                                       "\xf4\x8f\xbf\xbf"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *text = printed(RECORD_JSON, &(struct broker_record){.value = bytes_of(bad[i])});
        cr_assert_not_null(strstr(text, "\"value_base64\""), "%zu", i);
        free(text);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char *text = printed(RECORD_JSON, &(struct broker_record){.value = bytes_of(good[i])});
        cr_assert_null(strstr(text, "base64"), "%zu", i);
        free(text);
    }
}

/* What consume prints produce reads: the same bytes, whatever they are. */
Test(record_format, json_comes_back_the_same)
{
    struct random random;
    random_init(&random, 11);
    for (int round = 0; round < 2000; round++) {
        uint8_t bytes[2][24];
        size_t sizes[2];
        for (int i = 0; i < 2; i++) {
            sizes[i] = random_below(&random, sizeof bytes[i]);
            bool ascii = random_below(&random, 2) == 0;
            for (size_t j = 0; j < sizes[i]; j++) {
                bytes[i][j] = (uint8_t)random_below(&random, ascii ? 128 : 256);
            }
        }
        const struct header header = {"name", {bytes[1], sizes[1]}};
        struct broker_record record = {.key = {bytes[0], sizes[0]},
                                       .value = {bytes[1], sizes[1]},
                                       .timestamp_ms = round,
                                       .headers = &header,
                                       .header_count = 1};
        char *text = printed(RECORD_JSON, &record);
        struct record_input input;
        struct error error = {0};
        struct bytes line = {text, strlen(text) - 1};
        cr_assert_eq(record_parse(RECORD_JSON, NULL, line, &arena, &input, &error), STATUS_OK,
                     "%s: %s", text, error.text);
        cr_assert(bytes_equal(input.key, record.key));
        cr_assert(bytes_equal(input.value, record.value));
        cr_assert(bytes_equal(input.headers[0].value, record.value));
        cr_assert_eq(input.timestamp_ms, round);
        cr_assert_eq(input.partition, 3);
        free(text);
        arena_reset(&arena);
    }
}
