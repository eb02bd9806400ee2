/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/produce_input.h"

#include "cli/record_format.h"
#include "cli/stop.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_SIZE = 256 << 10, WAIT_MS = 100 };

void produce_input_init(struct produce_input *input, int file)
{
    ensure(file >= 0);
    *input = (struct produce_input){.file = file};
}

void produce_input_finish(struct produce_input *input)
{
    buffer_finish(&input->data);
}

static enum status broken(struct error *error)
{
    ensure(errno != 0);
    return error_set(error, STATUS_FATAL, ERROR_IO, "stdin: %s", strerror(errno));
}

/* Makes room by dropping what was given, then reads once. */
static enum status input_read(struct produce_input *input, int timeout_ms, struct error *error)
{
    struct pollfd ready = {.fd = input->file, .events = POLLIN};
    int found = poll(&ready, 1, timeout_ms);
    if (found == 0 || (found < 0 && errno == EINTR)) {
        return STATUS_RETRY;
    }
    struct buffer *data = &input->data;
    if (input->at > 0) {
        ensure(data->data != NULL && input->at <= data->size);
        data->size -= input->at;
        memmove(data->data, data->data + input->at, data->size);
        input->scanned -= input->at;
        input->at = 0;
    }
    size_t before = data->size;
    uint8_t *at = buffer_extend(data, READ_SIZE);
    ssize_t size = found < 0 ? -1 : read(input->file, at, READ_SIZE);
    data->size = before + (size > 0 ? (size_t)size : 0);
    if (size < 0) {
        return errno == EINTR || errno == EAGAIN ? STATUS_RETRY : broken(error);
    }
    input->ended = size == 0;
    return STATUS_OK;
}

static void line_take(struct produce_input *input, size_t end, struct bytes *line)
{
    ensure(end >= input->at && end <= input->data.size);
    *line = (struct bytes){input->data.data + input->at, end - input->at};
    input->line += 1;
    input->at = end + 1 < input->data.size ? end + 1 : input->data.size;
    input->scanned = input->at;
}

enum status produce_input_line(struct produce_input *input, int timeout_ms, struct bytes *line,
                               struct error *error)
{
    ensure(input->at <= input->scanned && input->scanned <= input->data.size);
    for (;;) {
        const struct buffer *data = &input->data;
        const uint8_t *from = data->data == NULL ? NULL : data->data + input->scanned;
        const uint8_t *newline =
            from == NULL ? NULL : memchr(from, '\n', data->size - input->scanned);
        if (newline != NULL) {
            line_take(input, (size_t)(newline - data->data), line);
            return STATUS_OK;
        }
        input->scanned = data->size;
        if (input->ended && input->at == data->size) {
            return STATUS_NOT_FOUND;
        }
        if (input->ended) {
            line_take(input, data->size, line);
            return STATUS_OK;
        }
        if (data->size - input->at > RECORD_LINE_MOST) {
            return error_set(error, STATUS_BAD_RECORD, ERROR_TOO_LARGE, "longer than %d bytes",
                             RECORD_LINE_MOST);
        }
        enum status status = input_read(input, timeout_ms, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
}

enum status produce_input_spool(int file, int *spooled, struct error *error)
{
    ensure(file >= 0);
    FILE *spool = tmpfile();
    enum status status = STATUS_OK;
    *spooled = -1;
    if (spool == NULL) {
        return error_set(error, STATUS_FATAL, ERROR_IO, "cannot make a temporary file: %s",
                         strerror(errno));
    }
    static const size_t chunk = 64 << 10;
    uint8_t *bytes = memory_allocate(chunk);
    for (bool ended = false; !ended && status == STATUS_OK;) {
        struct pollfd ready = {.fd = file, .events = POLLIN};
        int found = poll(&ready, 1, WAIT_MS);
        if (found <= 0) {
            status = found < 0 && errno != EINTR ? broken(error) : STATUS_OK;
            status = status == STATUS_OK && stop_asked() ? STATUS_RETRY : status;
            continue;
        }
        ssize_t size = read(file, bytes, chunk);
        ended = size == 0;
        if (size < 0 && errno != EINTR && errno != EAGAIN) {
            status = broken(error);
        } else if (size > 0 && fwrite(bytes, 1, (size_t)size, spool) != (size_t)size) {
            status =
                error_set(error, STATUS_FATAL, ERROR_IO, "temporary file: %s", strerror(errno));
        }
    }
    free(bytes);
    if (status == STATUS_OK && fflush(spool) != 0) {
        status = error_set(error, STATUS_FATAL, ERROR_IO, "temporary file: %s", strerror(errno));
    }
    if (status == STATUS_OK) {
        *spooled = dup(fileno(spool));
        if (*spooled < 0 || lseek(*spooled, 0, SEEK_SET) != 0) {
            status = broken(error);
        }
    }
    (void)fclose(spool);
    return status;
}
