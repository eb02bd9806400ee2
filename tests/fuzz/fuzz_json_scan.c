/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scanner of the operators that read JSON, against jansson: both take the same objects and
 * refuse the same, and a field that was found has the kind and the text that jansson gives it. Left
 * out is what jansson limits (the size of numbers, NUL in names) and what the scanner limits
 * (depth). The first line of an input is the name of a field.
 */
#include "../../operators/json_scan.h"

#include "fuzz_input.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static char failure[1024];
static void *scratch_memory;

static leat_status host_fail(leat_context *ctx, leat_status status, const char *text)
{
    (void)ctx;
    (void)snprintf(failure, sizeof failure, "%s", text);
    return status;
}

/* One byte less would be seen by the sanitizer. */
static void *host_scratch(leat_context *ctx, size_t size)
{
    (void)ctx;
    free(scratch_memory);
    scratch_memory = memory_resize(NULL, size == 0 ? 1 : size);
    return scratch_memory;
}

static const leat_host host = {.fail = host_fail, .scratch = host_scratch};
static leat_host_object object = {&host};
static leat_context *const context = (leat_context *)(void *)&object;

static enum field_kind kind_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        return FIELD_STRING;
    case JSON_INTEGER:
    case JSON_REAL:
        return FIELD_NUMBER;
    case JSON_TRUE:
        return FIELD_TRUE;
    case JSON_FALSE:
        return FIELD_FALSE;
    case JSON_NULL:
        return FIELD_NULL;
    case JSON_OBJECT:
        return FIELD_OBJECT;
    default:
        return FIELD_ARRAY;
    }
}

static void compare_field(const json_t *wanted, const struct json_field *field)
{
    ensure((wanted == NULL) == (field->kind == FIELD_ABSENT));
    if (wanted == NULL) {
        return;
    }
    ensure(field->kind == kind_of(wanted));
    leat_bytes bytes = json_field_bytes(context, field);
    if (field->kind == FIELD_STRING) {
        ensure(bytes.size == json_string_length(wanted));
        ensure(memcmp(bytes.data, json_string_value(wanted), bytes.size) == 0);
        return;
    }
    ensure((bytes.data == NULL) == (field->kind == FIELD_NULL));
    if (bytes.data != NULL) {
        json_t *again = json_loadb((const char *)bytes.data, bytes.size,
                                   JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
        ensure(json_equal(again, wanted) == 1);
        json_decref(again);
    }
}

static bool only_limits(const json_error_t *reason)
{
    enum json_error_code code = json_error_code(reason);
    return code == json_error_numeric_overflow || code == json_error_stack_overflow ||
           code == json_error_null_byte_in_key;
}

static void check(const char *name, const char *text, size_t size)
{
    struct json_field fields[2] = {{.name = name, .name_size = strlen(name)},
                                   {.name = "n", .name_size = 1}};
    json_error_t reason;
    json_t *wanted = json_loadb(text, size, JSON_ALLOW_NUL, &reason);
    failure[0] = 0;
    leat_status status = json_scan_fields(context, (leat_bytes){text, size}, NULL, 0);
    ensure(status == LEAT_OK || status == LEAT_ERR_RECORD);
    ensure((status == LEAT_OK) == (failure[0] == 0));
    ensure(status != LEAT_OK || memchr(text, 0, size) == NULL); /* jansson may overlook one */
    if (memchr(text, 0, size) == NULL && strstr(failure, "nested too deeply") == NULL &&
        (wanted != NULL || !only_limits(&reason))) {
        ensure((status == LEAT_OK) == json_is_object(wanted));
        status = json_scan_fields(context, (leat_bytes){text, size}, fields, 2);
        ensure(status == LEAT_OK || status == LEAT_ERR_RECORD);
        if (json_is_object(wanted)) {
            compare_field(json_object_get(wanted, name), &fields[0]);
            compare_field(json_object_get(wanted, "n"), &fields[1]);
            ensure((status == LEAT_OK) ==
                   (fields[0].kind != FIELD_ABSENT && fields[1].kind != FIELD_ABSENT));
        }
    }
    json_decref(wanted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size > FUZZ_INPUT_MOST ? FUZZ_INPUT_MOST : size};
    char *name = fuzz_line(&input);
    struct bytes rest = {input.at, input.left};
    char *text = fuzz_exact(rest);
    check(name, text, rest.size);
    free(text);
    free(name);
    free(scratch_memory);
    scratch_memory = NULL;
    return 0;
}
