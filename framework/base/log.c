/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "base/bytes.h"
#include "base/status.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LOG_LINE_SIZE = 4096, LOG_SECRET_COUNT = 64 };

/* The one global of the framework; `lock` guards all but `level`. */
static struct {
    pthread_mutex_t lock;
    atomic_int level;
    char *debug; /* ",transaction,state," or NULL */
    void (*write_line)(void *, const char *);
    void *opaque;
    char *secrets[LOG_SECRET_COUNT];
    size_t secret_count;
    atomic_bool any_debug;
} sink = {.lock = PTHREAD_MUTEX_INITIALIZER, .level = LOG_INFO};

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void log_set_level(enum log_level level)
{
    ensure(level >= LOG_ERROR && level <= LOG_DEBUG);
    atomic_store(&sink.level, (int)level);
}

void log_set_debug(const char *components)
{
    pthread_mutex_lock(&sink.lock);
    free(sink.debug);
    sink.debug = components == NULL ? NULL : memory_format(",%s,", components);
    atomic_store(&sink.any_debug, components != NULL);
    pthread_mutex_unlock(&sink.lock);
}

bool log_parse_level(const char *text, enum log_level *level)
{
    ensure(text != NULL && level != NULL);
    for (int i = 0; i < 4; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

bool log_enabled(enum log_level level, const char *component)
{
    ensure(component != NULL);
    if ((int)level <= atomic_load_explicit(&sink.level, memory_order_relaxed)) {
        return true;
    }
    if (!atomic_load_explicit(&sink.any_debug, memory_order_relaxed)) {
        return false;
    }
    char pattern[64];
    (void)snprintf(pattern, sizeof pattern, ",%s,", component);
    pthread_mutex_lock(&sink.lock);
    bool shown = sink.debug != NULL &&
                 (strstr(sink.debug, pattern) != NULL || strcmp(sink.debug, ",all,") == 0);
    pthread_mutex_unlock(&sink.lock);
    return shown;
}

void log_set_sink(void (*write_line)(void *opaque, const char *line), void *opaque)
{
    pthread_mutex_lock(&sink.lock);
    sink.write_line = write_line;
    sink.opaque = opaque;
    pthread_mutex_unlock(&sink.lock);
}

void log_redact(const char *secret)
{
    ensure(secret != NULL);
    if (strlen(secret) < 4) {
        return;
    }
    pthread_mutex_lock(&sink.lock);
    if (sink.secret_count < LOG_SECRET_COUNT) {
        sink.secrets[sink.secret_count++] = memory_text(secret);
    }
    pthread_mutex_unlock(&sink.lock);
}

/* Overwrites every secret in the line with stars, and control characters with spaces. */
static void clean_line(char *line)
{
    ensure(sink.secret_count <= LOG_SECRET_COUNT);
    for (size_t i = 0; i < sink.secret_count; i++) {
        for (char *at = line; (at = strstr(at, sink.secrets[i])) != NULL;) {
            memset(at, '*', strlen(sink.secrets[i]));
        }
    }
    for (char *at = line; *at != 0; at++) {
        if ((unsigned char)*at < 0x20) {
            *at = ' ';
        }
    }
}

void log_write(enum log_level level, const char *component, const char *format, ...)
{
    ensure(level >= LOG_ERROR && level <= LOG_DEBUG && format != NULL);
    if (!log_enabled(level, component)) {
        return;
    }
    char line[LOG_LINE_SIZE];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct tm utc;
    gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(line, sizeof line, "time=%Y-%m-%dT%H:%M:%S", &utc);
    used += (size_t)snprintf(line + used, sizeof line - used, ".%03ldZ level=%s component=%s ",
                             now.tv_nsec / 1000000, level_names[level], component);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line + used, sizeof line - used - 1, format, arguments);
    va_end(arguments);

    pthread_mutex_lock(&sink.lock);
    clean_line(line);
    if (sink.write_line != NULL) {
        sink.write_line(sink.opaque, line);
    } else {
        size_t size = strlen(line);
        line[size] = '\n'; /* one write a line: lines of several processes do not mix */
        ssize_t written = write(STDERR_FILENO, line, size + 1);
        (void)written;
    }
    pthread_mutex_unlock(&sink.lock);
}
