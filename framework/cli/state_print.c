/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/state_print.h"

#include "base/status.h"

#include <string.h>

/* The size of the UTF-8 character at the begin of `at`, 0 if there is none. No surrogates, no
 * overlong forms, nothing beyond U+10FFFF. */
static size_t character_size(const uint8_t *at, size_t room, uint32_t *point)
{
    ensure(room > 0);
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (at[0] < 0x80) {
        *point = at[0];
        return 1;
    }
    size_t size = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : at[0] >= 0xc0 ? 2 : 0;
    if (size == 0 || size > room || at[0] >= 0xf8) {
        return 0;
    }
    uint32_t value = at[0] & (0xffu >> (size + 1));
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
        value = value << 6 | (at[i] & 0x3fu);
    }
    if (value < least[size] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) {
        return 0;
    }
    *point = value;
    return size;
}

/* Controls could drive the terminal, and separators would break the line apart. */
static bool printable(uint32_t point)
{
    ensure(point <= 0x10ffff);
    return point >= 0x20 && point != 0x7f && !(point >= 0x80 && point < 0xa0) && point != 0x2028 &&
           point != 0x2029 && !(point >= 0x202a && point <= 0x202e) && point != 0xfeff;
}

void state_print_text(struct buffer *out, struct bytes bytes)
{
    const uint8_t *data = bytes.data;
    ensure(out != NULL && (data != NULL || bytes.size == 0));
    for (size_t i = 0; i < bytes.size;) {
        uint32_t point = 0;
        size_t size = character_size(data + i, bytes.size - i, &point);
        if (size > 0 && printable(point) && point != '\\') {
            buffer_append(out, data + i, size);
            i += size;
        } else {
            for (size_t end = i + (size > 0 ? size : 1); i < end; i++) {
                buffer_format(out, "\\x%02x", data[i]);
            }
        }
    }
}

static bool is_utf8(struct bytes bytes)
{
    const uint8_t *data = bytes.data;
    for (size_t i = 0; i < bytes.size;) {
        uint32_t point;
        size_t size = character_size(data + i, bytes.size - i, &point);
        if (size == 0) {
            return false;
        }
        ensure(size <= bytes.size - i);
        i += size;
    }
    return true;
}

static void append_json_string(struct buffer *out, struct bytes bytes)
{
    ensure(bytes.size == 0 || bytes.data != NULL);
    const uint8_t *data = bytes.data;
    for (size_t i = 0; i < bytes.size; i++) {
        if (data[i] == '"' || data[i] == '\\') {
            uint8_t pair[2] = {'\\', data[i]};
            buffer_append(out, pair, sizeof pair);
        } else if (data[i] < 0x20) {
            buffer_format(out, "\\u%04x", data[i]);
        } else {
            buffer_append(out, data + i, 1);
        }
    }
}

static void append_base64(struct buffer *out, struct bytes bytes)
{
    ensure(bytes.size > 0);
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *data = bytes.data;
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t rest = bytes.size - i;
        uint32_t three = (uint32_t)data[i] << 16 | (rest > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
                         (rest > 2 ? (uint32_t)data[i + 2] : 0);
        char four[4] = {digits[three >> 18], digits[three >> 12 & 63],
                        rest > 1 ? digits[three >> 6 & 63] : '=',
                        rest > 2 ? digits[three & 63] : '='};
        buffer_append(out, four, sizeof four);
    }
}

void state_print_json(struct buffer *out, const char *name, struct bytes bytes)
{
    ensure(out != NULL && name != NULL);
    bool text = is_utf8(bytes);
    buffer_format(out, "\"%s%s\":\"", name, text ? "" : "_base64");
    if (text) {
        append_json_string(out, bytes);
    } else {
        append_base64(out, bytes);
    }
    buffer_append_text(out, "\"");
}

static int hex_digit(char digit)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = digit == '\0' ? NULL : strchr(digits, digit | (digit > '9' ? 0x20 : 0));
    return at == NULL ? -1 : (int)(at - digits);
}

bool state_parse_key(const char *text, struct buffer *key)
{
    ensure(text != NULL && key != NULL);
    if (strncmp(text, "hex:", 4) != 0) {
        buffer_append_text(key, text);
        return true;
    }
    for (const char *at = text + 4; *at != '\0'; at += 2) {
        int high = hex_digit(at[0]);
        int low = high < 0 ? -1 : hex_digit(at[1]);
        if (low < 0) {
            return false;
        }
        uint8_t byte = (uint8_t)(high << 4 | low);
        buffer_append(key, &byte, 1);
    }
    return true;
}
