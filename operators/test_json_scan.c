/* SPDX-License-Identifier: Apache-2.0 */
/* The scanner that extract and distinct share, on its own: what is JSON, what is not, and what a
 * field holds. */
#include "json_scan.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* A host that remembers the text of the failure and gives scratch memory for one call. */
static char failure[1024];
static void *scratch_memory;

static leat_status host_fail(leat_context *ctx, leat_status status, const char *text)
{
    (void)ctx;
    (void)snprintf(failure, sizeof failure, "%s", text);
    return status;
}
static void *host_scratch(leat_context *ctx, size_t size)
{
    (void)ctx;
    free(scratch_memory);
    scratch_memory = malloc(size + 1);
    return scratch_memory;
}
static const leat_host host = {.fail = host_fail, .scratch = host_scratch};
static leat_host_object object = {&host};
static leat_context *const ctx = (leat_context *)(void *)&object;

/* Scans an exact copy, so that a sanitizer sees a read beyond the end. */
static leat_status scan(const char *text, size_t size, struct json_field *fields, size_t count)
{
    static char *copy;
    free(copy);
    copy = malloc(size == 0 ? 1 : size);
    memcpy(copy, text, size);
    failure[0] = 0;
    return json_scan_fields(ctx, (leat_bytes){copy, size}, fields, count);
}

Test(json_scan, takes_what_is_json)
{
    static const char *const good[] = {
        "{}",
        " \t\r\n{ \t\r\n} \t\r\n",
        "{\"a\":1}",
        "{\"a\":-0}",
        "{\"a\":0.5}",
        "{\"a\":10E+2}",
        "{\"a\":1e-9}",
        "{\"a\":123456789012345678901234567890}",
        "{\"a\":true,\"b\":false,\"c\":null}",
        "{\"a\":[]}",
        "{\"a\":[ ]}",
        "{\"a\":[1,[2,[3]],{\"b\":[{}]}]}",
        "{\"\":\"\"}",
        "{\"a\":\"\\u0000\\ud83d\\ude00\"}",
        "{\"a\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f\"}",
        "{\"a\":\"long enough for a word of 8\"}",
        "{\"a\" : { \"b\" : { \"c\" : 1 } } , \"d\" : 2 }",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cr_assert_eq(scan(good[i], strlen(good[i]), NULL, 0), LEAT_OK, "%s: %s", good[i], failure);
    }
}

Test(json_scan, refuses_what_is_not_and_says_where)
{
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"", "expected \"{\" at byte 0"},
        {"1", "expected \"{\" at byte 0"},
        {"\xef\xbb\xbf{}", "expected \"{\" at byte 0"},
        {"{", "expected a field name in quotes at byte 1"},
        {"{a:1}", "expected a field name in quotes at byte 1"},
        {"{\"a\"}", "expected \":\" at byte 4"},
        {"{\"a\":}", "expected a value at byte 5"},
        {"{\"a\":1,}", "expected a field name in quotes at byte 7"},
        {"{\"a\":1 \"b\":2}", "expected \",\" or \"}\" at byte 7"},
        {"{\"a\":[1 2]}", "expected \",\" or \"]\" at byte 8"},
        {"{\"a\":[1", "expected \",\" or \"]\" at byte 7"},
        {"{\"a\":01}", "expected \",\" or \"}\" at byte 6"},
        {"{\"a\":+1}", "expected a value at byte 5"},
        {"{\"a\":-}", "a malformed number at byte 6"},
        {"{\"a\":1.}", "a malformed number at byte 7"},
        {"{\"a\":.5}", "expected a value at byte 5"},
        {"{\"a\":1e}", "a malformed number at byte 7"},
        {"{\"a\":1e+}", "a malformed number at byte 8"},
        {"{\"a\":NaN}", "expected a value at byte 5"},
        {"{\"a\":tru}", "expected a value at byte 5"},
        {"{\"a\":nul", "expected a value at byte 5"},
        {"{\"a\":True}", "expected a value at byte 5"},
        {"{\"a\":\"x", "a string without end at byte 7"},
        {"{\"a\":\"x\\", "a string without end at byte 8"},
        {"{\"a\":\"\n\"}", "a control character in a string at byte 6"},
        {"{\"a\":\"12345678\x1f\"}", "a control character in a string at byte 14"},
        {"{\"a\":\"\\x\"}", "an unknown escape at byte 7"},
        {"{\"a\":\"\\u12g4\"}", "a wrong \\u escape at byte 7"},
        {"{\"a\":\"\\u12", "a wrong \\u escape at byte 7"},
        {"{\"a\":\"\\ud800\"}", "a wrong \\u escape at byte 7"},
        {"{\"a\":\"\\ud800\\u0041\"}", "a wrong \\u escape at byte 7"},
        {"{\"a\":\"\\udc00\"}", "a wrong \\u escape at byte 7"},
        {"{\"a\":\"\x80\"}", "not UTF-8 at byte 6"},
        {"{\"a\":\"\xc1\x80\"}", "not UTF-8 at byte 6"},
        {"{\"a\":\"\xe0\x9f\xbf\"}", "not UTF-8 at byte 6"},
        {"{\"a\":\"\xed\xa0\x80\"}", "not UTF-8 at byte 6"},
        {"{\"a\":\"\xf0\x8f\xbf\xbf\"}", "not UTF-8 at byte 6"},
        {"{\"a\":\"\xf4\x90\x80\x80\"}", "not UTF-8 at byte 6"},
        {"{\"a\":\"\xe2\x82\"}", "not UTF-8 at byte 6"},
        {"{\"a\":\"\xc3", "not UTF-8 at byte 6"},
        {"{} {}", "something behind the object at byte 3"},
        {"{}}", "something behind the object at byte 2"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(scan(bad[i].text, strlen(bad[i].text), NULL, 0), LEAT_ERR_RECORD, "%s",
                     bad[i].text);
        cr_assert_str_eq(failure + strlen("the value is not a JSON object: "), bad[i].why, "%s: %s",
                         bad[i].text, failure);
    }
}

Test(json_scan, bounds_the_depth)
{
    char text[2 * SCAN_DEPTH + 8];
    for (int depth = SCAN_DEPTH; depth <= SCAN_DEPTH + 1; depth++) {
        int size = snprintf(text, sizeof text, "{\"a\":");
        memset(text + size, '[', (size_t)depth - 1);
        memset(text + size + depth - 1, ']', (size_t)depth - 1);
        text[size + 2 * (depth - 1)] = '}';
        leat_status status = scan(text, (size_t)size + 2 * ((size_t)depth - 1) + 1, NULL, 0);
        cr_assert_eq(status, depth == SCAN_DEPTH ? LEAT_OK : LEAT_ERR_RECORD, "%d: %s", depth,
                     failure);
    }
    cr_assert_not_null(strstr(failure, "nested too deeply at byte 132"), "%s", failure);
}

Test(json_scan, takes_nul_bytes_for_what_they_are)
{
    cr_assert_eq(scan("{\"a\":1}\0", 8, NULL, 0), LEAT_ERR_RECORD);
    cr_assert_eq(scan("{\"a\":\"\0\"}", 9, NULL, 0), LEAT_ERR_RECORD);
    cr_assert_eq(scan("{\"a\":\"\\\0\"}", 10, NULL, 0), LEAT_ERR_RECORD);
    struct json_field field = {.name = "a", .name_size = 1};
    cr_assert_eq(scan("{\"a\":\"x\\u0000y\"}", 16, &field, 1), LEAT_OK);
    leat_bytes bytes = json_field_bytes(ctx, &field);
    cr_assert(bytes.size == 3 && memcmp(bytes.data, "x\0y", 3) == 0);
}

Test(json_scan, finds_names_whatever_escapes_they_are_written_with)
{
    const char *text = "{\"n\\u0061me\":1,\"\\u00e9\":2,\"\\\"\\\\\":3,\"nam\":4,\"name2\":5}";
    struct json_field fields[] = {{.name = "name", .name_size = 4},
                                  {.name = "\xc3\xa9", .name_size = 2},
                                  {.name = "\"\\", .name_size = 2},
                                  {.name = "nam", .name_size = 3}};
    cr_assert_eq(scan(text, strlen(text), fields, 4), LEAT_OK, "%s", failure);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(fields[i].kind, FIELD_NUMBER);
        cr_assert_eq(fields[i].text[0], (char)('1' + i));
    }
}

Test(json_scan, reads_nothing_beyond_any_cut)
{
    const char *text = "{\"key\": \"v\\u00e9\\ud83d\\ude00\xc3\xa9 12345678\", \"n\": -1.5e+3, "
                       "\"list\": [true, false, null, {}]}";
    for (size_t size = 0; size < strlen(text); size++) {
        cr_assert_eq(scan(text, size, NULL, 0), LEAT_ERR_RECORD, "%zu", size);
    }
    cr_assert_eq(scan(text, strlen(text), NULL, 0), LEAT_OK);
}
