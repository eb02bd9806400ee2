/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz input: what a target reads its choices from. A target is one function that takes any bytes,
 * does with them what a user's bytes could do, and ends the process (ensure) when a promise does
 * not hold. libFuzzer calls it in the preset `fuzz`; replay.c calls it with the files of the corpus
 * everywhere else. Invariant: an input that has ended reads as zeros.
 */
#ifndef LEAT_TESTS_FUZZ_INPUT_H
#define LEAT_TESTS_FUZZ_INPUT_H

#include "base/bytes.h"
#include "base/status.h"

#include <string.h>

enum { FUZZ_INPUT_MOST = 60000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_input {
    const uint8_t *at;
    size_t left;
};

/** At most `size` bytes of it, fewer at the end. A view. */
static inline struct bytes fuzz_bytes(struct fuzz_input *input, size_t size)
{
    struct bytes bytes = {input->at, size < input->left ? size : input->left};
    input->at += bytes.size;
    input->left -= bytes.size;
    return bytes;
}

static inline uint64_t fuzz_number(struct fuzz_input *input, size_t size)
{
    uint64_t number = 0;
    struct bytes bytes = fuzz_bytes(input, size);
    for (size_t i = 0; i < bytes.size; i++) {
        number = number << 8 | ((const uint8_t *)bytes.data)[i];
    }
    return number;
}

static inline uint8_t fuzz_byte(struct fuzz_input *input)
{
    return (uint8_t)fuzz_number(input, 1);
}

/** Up to the next newline, which is dropped; a copy without NUL bytes to be freed. */
static inline char *fuzz_line(struct fuzz_input *input)
{
    const uint8_t *end = input->left == 0 ? NULL : memchr(input->at, '\n', input->left);
    struct bytes bytes = fuzz_bytes(input, end == NULL ? input->left : (size_t)(end - input->at));
    (void)fuzz_bytes(input, 1);
    char *line = memory_allocate(bytes.size + 1);
    size_t size = 0;
    for (size_t i = 0; i < bytes.size; i++) {
        char byte = ((const char *)bytes.data)[i];
        if (byte != 0) {
            line[size++] = byte;
        }
    }
    return line;
}

/** A copy of exactly this size, so that a sanitizer sees each read beyond it; to be freed. */
static inline void *fuzz_exact(struct bytes bytes)
{
    void *copy = memory_resize(NULL, bytes.size == 0 ? 1 : bytes.size);
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    return copy;
}

/** What every refusal must be: the status it was answered with and one line of text. */
static inline void fuzz_check_refusal(enum status status, const struct error *error)
{
    ensure(status != STATUS_OK && error->status == status && error->code != ERROR_NONE);
    ensure(error->text[0] != 0 && strchr(error->text, '\n') == NULL);
}

#endif
