/* SPDX-License-Identifier: Apache-2.0 */
#include "base/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Names and values of users get into a text, line ends and terminal codes among them. */
static void make_one_line(char *text)
{
    ensure(text != NULL);
    for (; *text != 0; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) {
            *text = ' ';
        }
    }
}

enum status error_set_at(struct error *error, const char *file, int line, enum status status,
                         enum error_code code, const char *format, ...)
{
    ensure(status != STATUS_OK && format != NULL);
    if (error == NULL) {
        return status;
    }
    error->status = status;
    error->code = code;
    error->file = file;
    error->line = line;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    make_one_line(error->text);
    return status;
}

enum status error_prefix(struct error *error, const char *format, ...)
{
    ensure(error->status != STATUS_OK && format != NULL);
    ensure(error != NULL);
    char text[sizeof error->text];
    va_list arguments;
    va_start(arguments, format);
    int used = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (used > 0 && (size_t)used < sizeof text) {
        (void)snprintf(text + used, sizeof text - (size_t)used, ": %s", error->text);
    }
    make_one_line(text);
    memcpy(error->text, text, sizeof text);
    return error->status;
}

const char *error_code_name(enum error_code code)
{
    switch (code) {
    case ERROR_NONE:
        return "none";
    case ERROR_TIMED_OUT:
        return "timed out";
    case ERROR_FENCED:
        return "fenced";
    case ERROR_FENCED_INSTANCE:
        return "fenced instance";
    case ERROR_NOT_OWNER:
        return "not the owner";
    case ERROR_NO_BROKER:
        return "no broker";
    case ERROR_NO_TOPIC:
        return "no such topic";
    case ERROR_TOPIC_EXISTS:
        return "topic exists";
    case ERROR_DENIED:
        return "denied";
    case ERROR_TOO_LARGE:
        return "too large";
    case ERROR_BAD_TIMESTAMP:
        return "bad timestamp";
    case ERROR_OFFSET_LOST:
        return "offset lost";
    case ERROR_MAP_FULL:
        return "map full";
    case ERROR_DISK_FULL:
        return "disk full";
    case ERROR_CORRUPT:
        return "corrupt";
    case ERROR_IO:
        return "input/output";
    case ERROR_LOCKED:
        return "locked";
    case ERROR_MISMATCH:
        return "mismatch";
    case ERROR_LIMIT:
        return "limit";
    case ERROR_CONFIG:
        return "configuration";
    case ERROR_OPERATOR:
        return "operator";
    case ERROR_SLOW:
        return "slow";
    case ERROR_MEMORY:
        return "memory";
    case ERROR_STOPPED:
        return "stopped";
    case ERROR_OTHER:
        return "other";
    }
    return "unknown";
}

void ensure_failed(const char *condition, const char *file, int line, const char *function)
{
    (void)fprintf(stderr, "topology: bug: %s:%d: %s: %s does not hold\n", file, line, function,
                  condition);
    (void)fflush(stderr);
    abort();
}
