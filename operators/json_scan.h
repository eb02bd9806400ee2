/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON scan: checks one JSON object (RFC 8259, UTF-8) from end to end and picks fields of its top
 * level. For the operators that read JSON; it builds no tree, allocates nothing and keeps only
 * views into the text.
 *
 * Invariants
 *  - A scan that succeeds has seen every byte: malformed anywhere is malformed.
 *  - Nesting is bounded by SCAN_DEPTH, so the stack is too.
 *  - Of a field that occurs more than once the last one counts.
 */
#ifndef LEAT_OPERATORS_JSON_SCAN_H
#define LEAT_OPERATORS_JSON_SCAN_H

#include "leat/operator.h"

#include <string.h>

enum { SCAN_DEPTH = 128 };

enum field_kind {
    FIELD_ABSENT,
    FIELD_STRING,
    FIELD_NUMBER,
    FIELD_TRUE,
    FIELD_FALSE,
    FIELD_NULL,
    FIELD_OBJECT,
    FIELD_ARRAY
};

/** A field to look for and, after the scan, what it holds. `text` is a view: the JSON text of the
 * value, of a string without its quotes, still escaped. */
struct json_field {
    const char *name;
    size_t name_size;
    enum field_kind kind;
    const char *text;
    size_t size;
    bool escaped; /* a string with escapes in it */
};

struct json_scan {
    const char *start, *at, *end;
    const char *error; /* what is wrong at `at`; static */
};

static inline bool scan_wrong(struct json_scan *scan, const char *error)
{
    scan->error = error;
    return false;
}

static inline bool scan_take(struct json_scan *scan, char wanted)
{
    if (scan->at < scan->end && *scan->at == wanted) {
        scan->at++;
        return true;
    }
    return false;
}

static inline void scan_space(struct json_scan *scan)
{
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\t' || *scan->at == '\r')) {
        scan->at++;
    }
}

/* ---- Strings --------------------------------------------------------------------------------- */

static inline bool scan_plain(unsigned char byte)
{
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

/* Whether any of eight bytes is not plain. */
static inline bool scan_special(const char *at)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t word = 0;
    memcpy(&word, at, sizeof word);
    uint64_t quote = word ^ (ones * '"');
    uint64_t backslash = word ^ (ones * '\\');
    uint64_t found = ((word - ones * 0x20) & ~word) | ((quote - ones) & ~quote) |
                     ((backslash - ones) & ~backslash) | word;
    return (found & (ones * 0x80)) != 0;
}

static inline int scan_hex(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    int lower = digit | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Four hexadecimal digits; -1 if they are not. */
static inline int32_t scan_unit(const char *at, const char *end)
{
    int32_t unit = 0;
    if (end - at < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        int digit = scan_hex(at[i]);
        if (digit < 0) {
            return -1;
        }
        unit = unit * 16 + digit;
    }
    return unit;
}

/* The code point of `\u....` (a pair of them for surrogates) whose first digit is at *at; -1 if
 * malformed. */
static inline int32_t scan_code_point(const char **at, const char *end)
{
    int32_t high = scan_unit(*at, end);
    if (high < 0 || (high >= 0xdc00 && high <= 0xdfff)) {
        return -1;
    }
    *at += 4;
    if (high < 0xd800 || high > 0xdbff) {
        return high;
    }
    if (end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u') {
        return -1;
    }
    int32_t low = scan_unit(*at + 2, end);
    if (low < 0xdc00 || low > 0xdfff) {
        return -1;
    }
    *at += 6;
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

static inline bool scan_escape(struct json_scan *scan)
{
    scan->at++; /* the backslash */
    if (scan->at == scan->end) {
        return scan_wrong(scan, "a string without end");
    }
    char kind = *scan->at;
    if (kind == 'u') {
        const char *digits = scan->at + 1;
        if (scan_code_point(&digits, scan->end) < 0) {
            return scan_wrong(scan, "a wrong \\u escape");
        }
        scan->at = digits;
        return true;
    }
    if (kind == 0 || strchr("\"\\/bfnrt", kind) == NULL) {
        return scan_wrong(scan, "an unknown escape");
    }
    scan->at++;
    return true;
}

/* One sequence of two to four bytes: no overlong form, no surrogate, nothing beyond U+10FFFF. */
static inline bool scan_utf8(struct json_scan *scan)
{
    const unsigned char *at = (const unsigned char *)scan->at;
    size_t left = (size_t)(scan->end - scan->at);
    size_t size = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4 || left < size) {
        return scan_wrong(scan, "not UTF-8");
    }
    unsigned lowest = at[0] == 0xe0 ? 0xa0 : at[0] == 0xf0 ? 0x90 : 0x80;
    unsigned highest = at[0] == 0xed ? 0x9f : at[0] == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < lowest || at[1] > highest) {
        return scan_wrong(scan, "not UTF-8");
    }
    for (size_t i = 2; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return scan_wrong(scan, "not UTF-8");
        }
    }
    scan->at += size;
    return true;
}

/* From behind the opening quote to behind the closing one. */
static inline bool scan_string(struct json_scan *scan, bool *escaped)
{
    *escaped = false;
    for (;;) {
        while (scan->end - scan->at >= 8 && !scan_special(scan->at)) {
            scan->at += 8;
        }
        while (scan->at < scan->end && scan_plain((unsigned char)*scan->at)) {
            scan->at++;
        }
        if (scan->at == scan->end) {
            return scan_wrong(scan, "a string without end");
        }
        unsigned char byte = (unsigned char)*scan->at;
        if (byte == '"') {
            scan->at++;
            return true;
        }
        if (byte < 0x20) {
            return scan_wrong(scan, "a control character in a string");
        }
        if (byte == '\\') {
            *escaped = true;
            if (!scan_escape(scan)) {
                return false;
            }
        } else if (!scan_utf8(scan)) {
            return false;
        }
    }
}

static inline char *scan_put_utf8(char *to, int32_t point)
{
    uint32_t code = (uint32_t)point;
    if (code < 0x80) {
        *to++ = (char)code;
        return to;
    }
    int tail = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned lead[] = {0, 0xc0, 0xe0, 0xf0};
    *to++ = (char)(lead[tail] | code >> (6 * tail));
    while (tail-- > 0) {
        *to++ = (char)(0x80 | (code >> (6 * tail) & 0x3f));
    }
    return to;
}

/** Writes the text of a scanned string, at most `size` bytes; returns how many. */
static inline size_t scan_unescape(const char *text, size_t size, char *to)
{
    static const char codes[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    const char *at = text, *end = text + size;
    char *start = to;
    while (at < end) {
        if (*at != '\\') {
            *to++ = *at++;
        } else if (at[1] == 'u') {
            at += 2;
            to = scan_put_utf8(to, scan_code_point(&at, end));
        } else {
            *to++ = bytes[strchr(codes, at[1]) - codes];
            at += 2;
        }
    }
    return (size_t)(to - start);
}

/* Whether a scanned string is `name`, whatever escapes it is written with. */
static inline bool scan_equal(const char *text, size_t size, bool escaped, const char *name,
                              size_t name_size)
{
    if (!escaped) {
        return size == name_size && memcmp(text, name, size) == 0;
    }
    const char *at = text, *end = text + size, *name_end = name + name_size;
    while (at < end) {
        char piece[4];
        const char *next = at + 1;
        if (*at == '\\') {
            next = at + 2;
            if (at[1] == 'u') {
                (void)scan_code_point(&next, end);
            }
        }
        size_t piece_size = scan_unescape(at, (size_t)(next - at), piece);
        if ((size_t)(name_end - name) < piece_size || memcmp(piece, name, piece_size) != 0) {
            return false;
        }
        name += piece_size;
        at = next;
    }
    return name == name_end;
}

/* ---- Values ---------------------------------------------------------------------------------- */

static inline bool scan_digits(struct json_scan *scan)
{
    const char *start = scan->at;
    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9') {
        scan->at++;
    }
    return scan->at > start || scan_wrong(scan, "a malformed number");
}

static inline bool scan_number(struct json_scan *scan)
{
    (void)scan_take(scan, '-');
    if (!scan_take(scan, '0') && !scan_digits(scan)) {
        return false;
    }
    if (scan_take(scan, '.') && !scan_digits(scan)) {
        return false;
    }
    if (scan_take(scan, 'e') || scan_take(scan, 'E')) {
        if (!scan_take(scan, '+')) {
            (void)scan_take(scan, '-');
        }
        return scan_digits(scan);
    }
    return true;
}

static inline bool scan_literal(struct json_scan *scan, const char *literal, size_t size)
{
    if ((size_t)(scan->end - scan->at) < size || memcmp(scan->at, literal, size) != 0) {
        return scan_wrong(scan, "expected a value");
    }
    scan->at += size;
    return true;
}

static inline bool scan_object(struct json_scan *scan, int depth, struct json_field *fields,
                               size_t count);
static inline bool scan_array(struct json_scan *scan, int depth);

/* Fills kind and text of `field`. */
static inline bool scan_value(struct json_scan *scan, int depth, struct json_field *field)
{
    field->text = scan->at;
    field->escaped = false;
    bool valid = false;
    switch (scan->at == scan->end ? 0 : *scan->at) {
    case '"':
        field->kind = FIELD_STRING;
        field->text = ++scan->at;
        valid = scan_string(scan, &field->escaped);
        field->size = valid ? (size_t)(scan->at - field->text) - 1 : 0;
        return valid;
    case '{':
        field->kind = FIELD_OBJECT;
        valid = scan_object(scan, depth + 1, NULL, 0);
        break;
    case '[':
        field->kind = FIELD_ARRAY;
        valid = scan_array(scan, depth + 1);
        break;
    case 't':
        field->kind = FIELD_TRUE;
        valid = scan_literal(scan, "true", 4);
        break;
    case 'f':
        field->kind = FIELD_FALSE;
        valid = scan_literal(scan, "false", 5);
        break;
    case 'n':
        field->kind = FIELD_NULL;
        valid = scan_literal(scan, "null", 4);
        break;
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        field->kind = FIELD_NUMBER;
        valid = scan_number(scan);
        break;
    default:
        return scan_wrong(scan, "expected a value");
    }
    field->size = (size_t)(scan->at - field->text);
    return valid;
}

static inline bool scan_array(struct json_scan *scan, int depth)
{
    if (depth > SCAN_DEPTH) {
        return scan_wrong(scan, "nested too deeply");
    }
    scan->at++; /* the bracket */
    scan_space(scan);
    if (scan_take(scan, ']')) {
        return true;
    }
    for (;;) {
        struct json_field element = {0};
        scan_space(scan);
        if (!scan_value(scan, depth, &element)) {
            return false;
        }
        scan_space(scan);
        if (scan_take(scan, ']')) {
            return true;
        }
        if (!scan_take(scan, ',')) {
            return scan_wrong(scan, "expected \",\" or \"]\"");
        }
    }
}

/* `"name": value`; the wanted fields of that name take it. */
static inline bool scan_member(struct json_scan *scan, int depth, struct json_field *fields,
                               size_t count)
{
    bool escaped = false;
    if (!scan_take(scan, '"')) {
        return scan_wrong(scan, "expected a field name in quotes");
    }
    const char *name = scan->at;
    if (!scan_string(scan, &escaped)) {
        return false;
    }
    size_t name_size = (size_t)(scan->at - name) - 1;
    scan_space(scan);
    if (!scan_take(scan, ':')) {
        return scan_wrong(scan, "expected \":\"");
    }
    scan_space(scan);
    struct json_field value = {0};
    if (!scan_value(scan, depth, &value)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (scan_equal(name, name_size, escaped, fields[i].name, fields[i].name_size)) {
            value.name = fields[i].name;
            value.name_size = fields[i].name_size;
            fields[i] = value;
        }
    }
    return true;
}

static inline bool scan_object(struct json_scan *scan, int depth, struct json_field *fields,
                               size_t count)
{
    if (depth > SCAN_DEPTH) {
        return scan_wrong(scan, "nested too deeply");
    }
    scan->at++; /* the brace */
    scan_space(scan);
    if (scan_take(scan, '}')) {
        return true;
    }
    for (;;) {
        scan_space(scan);
        if (!scan_member(scan, depth, fields, count)) {
            return false;
        }
        scan_space(scan);
        if (scan_take(scan, '}')) {
            return true;
        }
        if (!scan_take(scan, ',')) {
            return scan_wrong(scan, "expected \",\" or \"}\"");
        }
    }
}

/* ---- For operators --------------------------------------------------------------------------- */

/** Scans a record's value for `fields` (their names set). LEAT_ERR_RECORD with a text when it is no
 * JSON object, is malformed, or lacks one of them. */
static inline leat_status json_scan_fields(leat_context *ctx, leat_bytes value,
                                           struct json_field *fields, size_t count)
{
    struct json_scan scan = {.start = (const char *)value.data, .at = (const char *)value.data};
    if (value.data == NULL) {
        return leat_fail(ctx, LEAT_ERR_RECORD, "the value is null, not a JSON object");
    }
    scan.end = scan.start + value.size;
    for (size_t i = 0; i < count; i++) {
        fields[i].kind = FIELD_ABSENT;
    }
    scan_space(&scan);
    bool valid = scan.at < scan.end && *scan.at == '{' ? scan_object(&scan, 1, fields, count)
                                                       : scan_wrong(&scan, "expected \"{\"");
    if (valid) {
        scan_space(&scan);
        valid = scan.at == scan.end || scan_wrong(&scan, "something behind the object");
    }
    if (!valid) {
        return leat_fail(ctx, LEAT_ERR_RECORD, "the value is not a JSON object: %s at byte %zu",
                         scan.error, (size_t)(scan.at - scan.start));
    }
    for (size_t i = 0; i < count; i++) {
        if (fields[i].kind == FIELD_ABSENT) {
            return leat_fail(ctx, LEAT_ERR_RECORD, "the JSON object has no field \"%s\"",
                             fields[i].name);
        }
    }
    return LEAT_OK;
}

/** A scanned field as bytes: a string's text, null for null, the JSON text of all else. Valid until
 * the callback returns. */
static inline leat_bytes json_field_bytes(leat_context *ctx, const struct json_field *field)
{
    leat_bytes bytes = {field->text, field->size};
    if (field->kind == FIELD_NULL) {
        bytes.data = NULL;
        bytes.size = 0;
    } else if (field->escaped) {
        char *text = (char *)leat_scratch(ctx, field->size);
        bytes.size = scan_unescape(field->text, field->size, text);
        bytes.data = text;
    }
    return bytes;
}

#endif
