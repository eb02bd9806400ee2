/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Status and error: what a failing call says to its caller.
 *
 * A status says what to do next; it is set once, where librdkafka, LMDB or the system answers, and
 * passed on unchanged. The error carries the same status, a code that names the cause, and a text
 * that names the place and the remedy. Either return an error or log it, never both.
 */
#ifndef LEAT_BASE_STATUS_H
#define LEAT_BASE_STATUS_H

#include <stdarg.h>
#include <stddef.h>

enum status {
    STATUS_OK = 0,
    STATUS_NOT_FOUND, /* nothing there; not an error, error is left untouched */
    STATUS_RETRY,     /* the same call with the same arguments may succeed */
    STATUS_ABORT,     /* the transaction must be aborted; handles stay usable */
    STATUS_FATAL,     /* the handle is dead, or (without a handle) the run must stop */
    STATUS_BAD_RECORD,
    STATUS_BAD_CONFIG /* wrong usage, configuration or plugin: exit 2 */
};

enum error_code {
    ERROR_NONE = 0,
    ERROR_TIMED_OUT,       /* no definite answer in time */
    ERROR_FENCED,          /* a newer producer epoch of the same transactional.id exists */
    ERROR_FENCED_INSTANCE, /* another member took the group.instance.id */
    ERROR_NOT_OWNER,       /* the assignment was lost or its generation is stale */
    ERROR_NO_BROKER,       /* no broker answers */
    ERROR_NO_TOPIC,        /* topic or partition does not exist */
    ERROR_TOPIC_EXISTS,
    ERROR_DENIED,        /* authorisation or authentication refused, file permissions */
    ERROR_TOO_LARGE,     /* record larger than a limit */
    ERROR_BAD_TIMESTAMP, /* the broker refused the timestamp */
    ERROR_OFFSET_LOST,   /* the offset is not retained, or beyond the end */
    ERROR_MAP_FULL,      /* LMDB map full: store_grow, then again */
    ERROR_DISK_FULL,
    ERROR_CORRUPT, /* a store or file that cannot be trusted */
    ERROR_IO,
    ERROR_LOCKED,   /* held by another owner */
    ERROR_MISMATCH, /* two facts contradict each other (self-check, layout, topic settings) */
    ERROR_LIMIT,    /* a broker's or system's limit is exceeded by a setting */
    ERROR_CONFIG,
    ERROR_OPERATOR, /* an operator's callback failed */
    ERROR_SLOW,     /* a callback took longer than callback_timeout */
    ERROR_MEMORY,
    ERROR_STOPPED, /* given up because a stop was asked for */
    ERROR_OTHER
};

struct error {
    enum status status;
    enum error_code code;
    int line;         /* of the source file that set it */
    const char *file; /* static */
    char text[512];   /* one line without control characters */
};

/** Fills `error` (may be NULL) and returns `status`. Text beyond the buffer is cut, control
 * characters become spaces. */
enum status error_set_at(struct error *error, const char *file, int line, enum status status,
                         enum error_code code, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/** Puts "prefix: " before the text of `error` and returns its status. */
enum status error_prefix(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** A short lower-case name of a code ("timed out"); static. */
const char *error_code_name(enum error_code code);

#define error_set(error, status, code, ...)                                                        \
    error_set_at((error), __FILE__, __LINE__, (status), (code), __VA_ARGS__)

/** Assert that stays on in release builds: for bugs, never for the world. A crash is an abort. */
#define ensure(condition)                                                                          \
    ((condition) ? (void)0 : ensure_failed(#condition, __FILE__, __LINE__, __func__))
_Noreturn void ensure_failed(const char *condition, const char *file, int line,
                             const char *function);

#endif
