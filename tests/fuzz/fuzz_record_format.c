/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of produce and consume, in the three formats: any line is read or refused, and what was
 * read is printed as a line that reads as the same record, in JSON down to null and empty, to bytes
 * that are no UTF-8 and to the headers. The other way round too: a record made of any bytes comes
 * back from its line. The first byte chooses the format and the way.
 */
#include "cli/record_format.h"

#include "fuzz_input.h"

#include <stdlib.h>

static const char *const separators[] = {"\t", ":", "=>", "aa"};

static bool same_bytes(struct bytes a, struct bytes b)
{
    return (a.data == NULL) == (b.data == NULL) && bytes_equal(a, b);
}

static void ensure_same(const struct record_input *a, const struct record_input *b)
{
    ensure(same_bytes(a->key, b->key) && same_bytes(a->value, b->value));
    ensure(a->timestamp_ms == b->timestamp_ms && a->header_count == b->header_count);
    for (uint32_t i = 0; i < a->header_count; i++) {
        ensure(strcmp(a->headers[i].name, b->headers[i].name) == 0);
        ensure(same_bytes(a->headers[i].value, b->headers[i].value));
    }
}

static struct broker_record record_of(const struct record_input *input)
{
    return (struct broker_record){
        .key = input->key,
        .value = input->value,
        .timestamp_ms = input->timestamp_ms,
        .offset = 7,
        .headers = input->headers,
        .header_count = input->header_count,
    };
}

/* Prints, and gives the line without its newline as an exact copy. */
static struct bytes print(enum record_format format, const char *separator,
                          const struct record_input *input)
{
    struct buffer text = {0};
    struct broker_record record = record_of(input);
    record_print(format, separator, "topic", 3, &record, &text);
    ensure(text.size > 0 && text.data[text.size - 1] == '\n');
    struct bytes line = {text.data, text.size - 1};
    line.data = fuzz_exact(line);
    buffer_finish(&text);
    return line;
}

static void check_json(const struct record_input *first, struct arena *arena)
{
    struct record_input again;
    struct error error = {0};
    struct bytes line = print(RECORD_JSON, NULL, first);
    ensure(memchr(line.data, '\n', line.size) == NULL);
    enum status status = record_parse(RECORD_JSON, NULL, line, arena, &again, &error);
    ensure(status == STATUS_OK && again.partition == 3);
    ensure_same(first, &again);
    struct bytes twice = print(RECORD_JSON, NULL, &again);
    ensure(bytes_equal(line, twice));
    free((void *)(uintptr_t)line.data);
    free((void *)(uintptr_t)twice.data);
}

static void check_text(enum record_format format, const char *separator, struct bytes line,
                       const struct record_input *input)
{
    struct bytes again = print(format, separator, input);
    ensure(bytes_equal(line, again));
    ensure(input->timestamp_ms == -1 && input->partition == -1 && input->header_count == 0);
    if (format == RECORD_KEY_VALUE) {
        size_t size = strlen(separator);
        ensure(input->key.size + size + input->value.size == line.size);
        ensure(memmem(input->key.data, input->key.size, separator, size) == NULL);
    }
    free((void *)(uintptr_t)again.data);
}

static void from_line(enum record_format format, const char *separator, struct bytes line,
                      struct arena *arena)
{
    struct record_input input;
    struct error error = {0};
    enum status status = record_parse(format, separator, line, arena, &input, &error);
    if (status != STATUS_OK) {
        fuzz_check_refusal(status, &error);
        ensure(status == STATUS_BAD_RECORD && format != RECORD_VALUE);
    } else if (format == RECORD_JSON) {
        ensure(input.timestamp_ms >= -1 && input.partition >= -1);
        check_json(&input, arena);
    } else {
        check_text(format, separator, line, &input);
    }
}

static struct bytes piece(struct fuzz_input *input)
{
    size_t size = fuzz_byte(input);
    return size == 0 ? (struct bytes){0} : fuzz_bytes(input, size - 1);
}

/* Names are texts: UTF-8 of one byte, since others come back as U+FFFD. */
static void from_record(struct fuzz_input *input, struct arena *arena)
{
    struct header headers[4];
    struct record_input record = {.timestamp_ms = (int64_t)(fuzz_number(input, 5)) - 1,
                                  .partition = -1};
    record.key = piece(input);
    record.value = piece(input);
    record.headers = headers;
    record.header_count = fuzz_byte(input) % 5;
    for (uint32_t i = 0; i < record.header_count; i++) {
        struct bytes name = piece(input);
        char *text = arena_take(arena, name.size + 1);
        for (size_t at = 0; at < name.size; at++) {
            text[at] = (char)(((const uint8_t *)name.data)[at] % 127 + 1);
        }
        text[name.size] = 0;
        headers[i] = (struct header){text, piece(input)};
    }
    check_json(&record, arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size > FUZZ_INPUT_MOST ? FUZZ_INPUT_MOST : size};
    uint8_t kind = fuzz_byte(&input);
    struct bytes rest = {input.at, input.left};
    struct bytes line = {fuzz_exact(rest), rest.size};
    struct arena arena;
    arena_init(&arena, 0);
    if (kind % 4 == 3) {
        input.at = line.data;
        from_record(&input, &arena);
    } else {
        from_line((enum record_format)(kind % 4), separators[kind / 4 % 4], line, &arena);
    }
    arena_finish(&arena);
    free((void *)(uintptr_t)line.data);
    return 0;
}
