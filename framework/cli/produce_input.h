/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Produce input: lines of a file descriptor with bounded memory. One owner. Invariant: a line's
 * view lives until the next call.
 */
#ifndef LEAT_CLI_PRODUCE_INPUT_H
#define LEAT_CLI_PRODUCE_INPUT_H

#include "base/bytes.h"
#include "base/status.h"

struct produce_input {
    int file;
    struct buffer data;
    size_t at;      /* of the next line */
    size_t scanned; /* no newline before it */
    bool ended;
    uint64_t line; /* number of the last line given, from 1 */
};

void produce_input_init(struct produce_input *input, int file);
void produce_input_finish(struct produce_input *input);
/** The next line without its newline; the last one may lack it. STATUS_NOT_FOUND: the input has
 * ended; STATUS_RETRY: none within timeout_ms; STATUS_BAD_RECORD: longer than RECORD_LINE_MOST;
 * STATUS_FATAL/ERROR_IO. */
enum status produce_input_line(struct produce_input *input, int timeout_ms, struct bytes *line,
                               struct error *error);
/** Reads all of `file` into a file without a name, to be read from its start: what is all or
 * nothing must not wait for its input while a transaction is open. STATUS_RETRY: a stop was asked
 * for. */
enum status produce_input_spool(int file, int *spooled, struct error *error);

#endif
