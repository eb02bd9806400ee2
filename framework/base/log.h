/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log: one line an event to stderr, logfmt: time, level, component, text, then key=value.
 * The sink is the only global of the framework. Any thread. Nothing per record above debug.
 */
#ifndef LEAT_BASE_LOG_H
#define LEAT_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_ERROR = 0, LOG_WARN = 1, LOG_INFO = 2, LOG_DEBUG = 3 };

/** Level shown (default LOG_INFO); debug components ("transaction,state") are shown whatever it is.
 */
void log_set_level(enum log_level level);
/** `components`: comma-separated, "all" = every one; NULL = none. Copied. */
void log_set_debug(const char *components);
bool log_parse_level(const char *text, enum log_level *level);
bool log_enabled(enum log_level level, const char *component);
/** Replaces stderr; `write_line` gets one finished line without newline. NULL restores stderr. */
void log_set_sink(void (*write_line)(void *opaque, const char *line), void *opaque);
/** Hides `secret` in every later line (copied; at most 64 of them, of at least 4 bytes). */
void log_redact(const char *secret);

/** `format` may hold key=value pairs at its end; values with spaces belong in "". */
void log_write(enum log_level level, const char *component, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(component, ...) log_write(LOG_ERROR, component, __VA_ARGS__)
#define log_warn(component, ...) log_write(LOG_WARN, component, __VA_ARGS__)
#define log_info(component, ...) log_write(LOG_INFO, component, __VA_ARGS__)
#define log_debug(component, ...)                                                                  \
    (log_enabled(LOG_DEBUG, component) ? log_write(LOG_DEBUG, component, __VA_ARGS__) : (void)0)

#endif
