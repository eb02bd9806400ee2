/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/record_format.h"

#include "base/value.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

bool record_format_parse(const char *name, enum record_format *format)
{
    ensure(name != NULL && format != NULL);
    static const char *const names[] = {"value", "key-value", "json"};
    _Static_assert(RECORD_JSON + 1 == sizeof names / sizeof *names, "a name for each format");
    for (int i = 0; i <= RECORD_JSON; i++) {
        if (strcmp(name, names[i]) == 0) {
            *format = (enum record_format)i;
            return true;
        }
    }
    return false;
}

/* ---- Base64 ---- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
_Static_assert(sizeof alphabet == 64 + 1, "a character for each six bits");

static void base64_print(struct bytes bytes, struct buffer *text)
{
    ensure(bytes.size == 0 || bytes.data != NULL);
    const uint8_t *at = bytes.data;
    for (size_t left = bytes.size; left > 0; at += 3) {
        uint32_t group =
            (uint32_t)at[0] << 16 | (left > 1 ? (uint32_t)at[1] << 8 : 0) | (left > 2 ? at[2] : 0);
        uint8_t *out = buffer_extend(text, 4);
        out[0] = (uint8_t)alphabet[group >> 18];
        out[1] = (uint8_t)alphabet[group >> 12 & 63];
        out[2] = left > 1 ? (uint8_t)alphabet[group >> 6 & 63] : '=';
        out[3] = left > 2 ? (uint8_t)alphabet[group & 63] : '=';
        left -= left < 3 ? left : 3;
    }
}

static int base64_digit(char digit)
{
    const char *at = digit == 0 ? NULL : strchr(alphabet, digit);
    return at == NULL ? -1 : (int)(at - alphabet);
}

/* Padding is needed, other characters and stray bits are refused: one text for one value. */
static bool base64_read(const char *text, size_t size, struct arena *arena, struct bytes *bytes)
{
    ensure(text != NULL);
    if (size % 4 != 0) {
        return false;
    }
    size_t pad = size > 0 && text[size - 1] == '=' ? (text[size - 2] == '=' ? 2 : 1) : 0;
    uint8_t *out = arena_take(arena, size / 4 * 3 + 1);
    size_t count = 0;
    for (size_t i = 0; i < size; i += 4) {
        uint32_t group = 0;
        for (size_t j = 0; j < 4; j++) {
            bool padded = i + j >= size - pad;
            int digit = padded ? 0 : base64_digit(text[i + j]);
            if (digit < 0) {
                return false;
            }
            group = group << 6 | (uint32_t)digit;
        }
        out[count++] = (uint8_t)(group >> 16);
        out[count++] = (uint8_t)(group >> 8);
        out[count++] = (uint8_t)group;
        bool last = i + 4 == size;
        if (last && ((pad == 1 && (group & 0xff) != 0) || (pad == 2 && (group & 0xffff) != 0))) {
            return false;
        }
    }
    *bytes = (struct bytes){out, count - pad};
    return true;
}

/* ---- Printing JSON ---- */

/* Bytes of the UTF-8 sequence at `at`, 0 if it is none (overlong, surrogate, too large, cut). */
static size_t utf8_size(const uint8_t *at, size_t left)
{
    ensure(left > 0);
    if (at[0] < 0x80) {
        return 1;
    }
    size_t size = at[0] >= 0xc2 && at[0] <= 0xdf   ? 2
                  : (at[0] & 0xf0) == 0xe0         ? 3
                  : at[0] >= 0xf0 && at[0] <= 0xf4 ? 4
                                                   : 0;
    if (size == 0 || size > left) {
        return 0;
    }
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
    bool surrogate = at[0] == 0xed && at[1] > 0x9f;
    bool large = at[0] == 0xf4 && at[1] > 0x8f;
    return overlong || surrogate || large ? 0 : size;
}

static bool is_utf8(struct bytes bytes)
{
    const uint8_t *at = bytes.data;
    for (size_t left = bytes.size; left > 0;) {
        size_t size = utf8_size(at, left);
        if (size == 0) {
            return false;
        }
        ensure(size <= left);
        at += size;
        left -= size;
    }
    return true;
}

/* A byte that is no UTF-8 becomes U+FFFD: only header names can have one here. */
static void string_print(struct bytes bytes, struct buffer *text)
{
    ensure(bytes.data != NULL);
    const uint8_t *at = bytes.data;
    const uint8_t *end = at + bytes.size;
    buffer_append(text, "\"", 1);
    while (at < end) {
        size_t run = 0;
        while (at + run < end && at[run] >= 0x20 && at[run] != '"' && at[run] != '\\' &&
               at[run] < 0x80) {
            run++;
        }
        buffer_append(text, at, run);
        at += run;
        if (at == end) {
            break;
        }
        size_t size = utf8_size(at, (size_t)(end - at));
        if (size > 1) {
            buffer_append(text, at, size);
        } else if (size == 0) {
            buffer_append_text(text, "\xef\xbf\xbd");
            size = 1;
        } else if (*at == '"' || *at == '\\') {
            buffer_format(text, "\\%c", *at);
        } else if (*at == '\n' || *at == '\t' || *at == '\r') {
            buffer_append_text(text, *at == '\n' ? "\\n" : *at == '\t' ? "\\t" : "\\r");
        } else {
            buffer_format(text, "\\u%04x", *at);
        }
        at += size;
    }
    buffer_append(text, "\"", 1);
}

static void field_print(const char *name, struct bytes bytes, struct buffer *text)
{
    ensure(*name != 0);
    if (bytes.data == NULL) {
        buffer_format(text, "\"%s\":null", name);
    } else if (is_utf8(bytes)) {
        buffer_format(text, "\"%s\":", name);
        string_print(bytes, text);
    } else {
        buffer_format(text, "\"%s_base64\":\"", name);
        base64_print(bytes, text);
        buffer_append(text, "\"", 1);
    }
}

static void json_print(const char *topic, int32_t partition, const struct broker_record *record,
                       struct buffer *text)
{
    ensure(partition >= 0);
    buffer_format(text,
                  "{\"topic\":\"%s\",\"partition\":%d,\"offset\":%lld,\"timestamp_ms\":", topic,
                  partition, (long long)record->offset);
    if (record->timestamp_ms < 0) {
        buffer_append_text(text, "null,");
    } else {
        buffer_format(text, "%lld,", (long long)record->timestamp_ms);
    }
    field_print("key", record->key, text);
    buffer_append(text, ",", 1);
    field_print("value", record->value, text);
    buffer_append_text(text, ",\"headers\":[");
    for (uint32_t i = 0; i < record->header_count; i++) {
        buffer_append_text(text, i == 0 ? "{\"name\":" : ",{\"name\":");
        string_print(bytes_of(record->headers[i].name), text);
        buffer_append(text, ",", 1);
        field_print("value", record->headers[i].value, text);
        buffer_append(text, "}", 1);
    }
    buffer_append_text(text, "]}");
}

void record_print(enum record_format format, const char *separator, const char *topic,
                  int32_t partition, const struct broker_record *record, struct buffer *text)
{
    ensure(format != RECORD_KEY_VALUE || separator != NULL);
    switch (format) {
    case RECORD_JSON:
        json_print(topic, partition, record, text);
        break;
    case RECORD_KEY_VALUE:
        buffer_append(text, record->key.data, record->key.size);
        buffer_append_text(text, separator);
        buffer_append(text, record->value.data, record->value.size);
        break;
    case RECORD_VALUE:
        buffer_append(text, record->value.data, record->value.size);
        break;
    }
    buffer_append(text, "\n", 1);
}

/* ---- Reading JSON ---- */

static enum status bad(struct error *error, const char *name, const char *expected)
{
    ensure(*name != 0);
    return error_set(error, STATUS_BAD_RECORD, ERROR_OTHER, "\"%s\": expected %s", name, expected);
}

static void text_take(const json_t *value, struct arena *arena, struct bytes *bytes)
{
    ensure(json_is_string(value));
    size_t size = json_string_length(value);
    *bytes = (struct bytes){arena_copy(arena, json_string_value(value), size), size};
}

/* `name` or `name_base64` of an object; absent is null. */
static enum status field_read(const json_t *object, const char *name, struct arena *arena,
                              struct bytes *bytes, struct error *error)
{
    ensure(json_is_object(object));
    char encoded_name[32];
    (void)snprintf(encoded_name, sizeof encoded_name, "%s_base64", name);
    const json_t *plain = json_object_get(object, name);
    const json_t *encoded = json_object_get(object, encoded_name);
    *bytes = (struct bytes){0};
    if (plain != NULL && encoded != NULL) {
        return error_set(error, STATUS_BAD_RECORD, ERROR_OTHER, "both \"%s\" and \"%s\" are given",
                         name, encoded_name);
    }
    if (json_is_string(plain)) {
        text_take(plain, arena, bytes);
    } else if (plain != NULL && !json_is_null(plain)) {
        return bad(error, name, "a string or null");
    }
    if (json_is_string(encoded)) {
        if (!base64_read(json_string_value(encoded), json_string_length(encoded), arena, bytes)) {
            return bad(error, encoded_name, "base64 with its padding");
        }
    } else if (encoded != NULL && !json_is_null(encoded)) {
        return bad(error, encoded_name, "a string or null");
    }
    return STATUS_OK;
}

static enum status names_check(json_t *object, const char *const *known, size_t count,
                               struct error *error)
{
    ensure(json_is_object(object));
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach(object, name, value)
    {
        const char *nearest = value_nearest(name, known, count);
        if (nearest == NULL || strcmp(nearest, name) != 0) {
            return error_set(error, STATUS_BAD_RECORD, ERROR_OTHER, "unknown name \"%.60s\"%s%s%s",
                             name, nearest == NULL ? "" : "; did you mean \"",
                             nearest == NULL ? "" : nearest, nearest == NULL ? "" : "\"?");
        }
    }
    return STATUS_OK;
}

static enum status headers_read(const json_t *list, struct arena *arena, struct record_input *input,
                                struct error *error)
{
    static const char *const known[] = {"name", "value", "value_base64"};
    if (list == NULL || json_is_null(list)) {
        return STATUS_OK;
    }
    if (!json_is_array(list)) {
        return bad(error, "headers", "a list");
    }
    size_t count = json_array_size(list);
    struct header *headers = arena_take(arena, count * sizeof *headers);
    for (size_t i = 0; i < count; i++) {
        json_t *object = json_array_get(list, i);
        if (!json_is_object(object) || !json_is_string(json_object_get(object, "name"))) {
            return bad(error, "headers", "objects with a \"name\"");
        }
        struct bytes name;
        text_take(json_object_get(object, "name"), arena, &name);
        if (memchr(name.data, 0, name.size) != NULL) {
            return bad(error, "name", "no NUL in a header's name");
        }
        headers[i].name = memcpy(arena_take(arena, name.size + 1), name.data, name.size);
        ((char *)(uintptr_t)headers[i].name)[name.size] = 0;
        enum status status = names_check(object, known, 3, error);
        if (status == STATUS_OK) {
            status = field_read(object, "value", arena, &headers[i].value, error);
        }
        if (status != STATUS_OK) {
            return status;
        }
    }
    input->headers = headers;
    input->header_count = (uint32_t)count;
    return STATUS_OK;
}

static enum status number_read(const json_t *object, const char *name, int64_t most,
                               int64_t *number, struct error *error)
{
    ensure(json_is_object(object) && most > 0);
    const json_t *value = json_object_get(object, name);
    if (value == NULL || json_is_null(value)) {
        return STATUS_OK;
    }
    int64_t found = json_is_integer(value) ? json_integer_value(value) : -1;
    if (found < 0 || found > most) {
        return bad(error, name, "a whole number from 0 on, or null");
    }
    *number = found;
    return STATUS_OK;
}

static enum status json_read(json_t *object, struct arena *arena, struct record_input *input,
                             struct error *error)
{
    ensure(json_is_object(object));
    static const char *const known[] = {"topic", "partition",    "offset",  "timestamp_ms", "key",
                                        "value", "value_base64", "headers", "key_base64"};
    int64_t partition = -1;
    enum status status = names_check(object, known, sizeof known / sizeof *known, error);
    if (status == STATUS_OK) {
        status = field_read(object, "key", arena, &input->key, error);
    }
    if (status == STATUS_OK) {
        status = field_read(object, "value", arena, &input->value, error);
    }
    if (status == STATUS_OK) {
        status = number_read(object, "timestamp_ms", INT64_MAX, &input->timestamp_ms, error);
    }
    if (status == STATUS_OK) {
        status = number_read(object, "partition", INT32_MAX, &partition, error);
        input->partition = (int32_t)partition;
    }
    if (status == STATUS_OK) {
        status = headers_read(json_object_get(object, "headers"), arena, input, error);
    }
    return status;
}

static enum status json_parse(struct bytes line, struct arena *arena, struct record_input *input,
                              struct error *error)
{
    ensure(line.size == 0 || line.data != NULL);
    json_error_t reason;
    json_t *object =
        json_loadb(line.data, line.size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &reason);
    if (object == NULL) {
        return error_set(error, STATUS_BAD_RECORD, ERROR_OTHER, "not a JSON object: %s (column %d)",
                         reason.text, reason.column);
    }
    enum status status = json_is_object(object) ? json_read(object, arena, input, error)
                                                : error_set(error, STATUS_BAD_RECORD, ERROR_OTHER,
                                                            "expected a JSON object");
    json_decref(object);
    return status;
}

enum status record_parse(enum record_format format, const char *separator, struct bytes line,
                         struct arena *arena, struct record_input *input, struct error *error)
{
    ensure(line.data != NULL);
    *input = (struct record_input){.timestamp_ms = -1, .partition = -1};
    if (format == RECORD_JSON) {
        return json_parse(line, arena, input, error);
    }
    input->value = line;
    if (format == RECORD_VALUE) {
        return STATUS_OK;
    }
    size_t size = strlen(separator);
    ensure(size > 0);
    const char *at = memmem(line.data, line.size, separator, size);
    if (at == NULL) {
        return error_set(error, STATUS_BAD_RECORD, ERROR_OTHER,
                         "no separator in it (--key-separator is %s)",
                         strcmp(separator, "\t") == 0 ? "TAB" : separator);
    }
    size_t key = (size_t)(at - (const char *)line.data);
    input->key = (struct bytes){line.data, key};
    input->value = (struct bytes){at + size, line.size - key - size};
    return STATUS_OK;
}
