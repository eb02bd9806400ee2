/* SPDX-License-Identifier: Apache-2.0 */
#include "local_process.h"

#include "base/clock.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct local_process local_process_start(const char *const *words)
{
    int ends[2];
    char *arguments[9] = {(char *)(uintptr_t)LEAT_BINARY_DIR "/tests/local_actor"};
    for (size_t i = 0; words[i] != NULL && i < 7; i++) {
        arguments[i + 1] = (char *)(uintptr_t)words[i];
    }
    ensure(pipe(ends) == 0);
    struct local_process process = {.pid = fork(), .output = ends[0]};
    ensure(process.pid >= 0);
    if (process.pid == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)close(ends[0]);
        (void)close(ends[1]);
        (void)execv(arguments[0], arguments);
        _exit(127);
    }
    (void)close(ends[1]);
    return process;
}

bool local_process_line(struct local_process *process, int64_t patience_ms, char *line, size_t size)
{
    int64_t until = clock_monotonic_ms(clock_system()) + patience_ms;
    for (;;) {
        char *end = memchr(process->text, '\n', process->size);
        if (end != NULL) {
            size_t length = (size_t)(end - process->text);
            (void)snprintf(line, size, "%.*s", (int)length, process->text);
            process->size -= length + 1;
            memmove(process->text, end + 1, process->size);
            return true;
        }
        int64_t left = until - clock_monotonic_ms(clock_system());
        struct pollfd ready = {.fd = process->output, .events = POLLIN};
        if (left <= 0 || poll(&ready, 1, (int)left) <= 0) {
            return false;
        }
        ssize_t got = read(process->output, process->text + process->size,
                           sizeof process->text - process->size);
        if (got <= 0) {
            return false;
        }
        process->size += (size_t)got;
    }
}

void local_process_signal(struct local_process *process, int signal)
{
    ensure(kill(process->pid, signal) == 0);
}

void local_process_kill(struct local_process *process)
{
    local_process_signal(process, SIGKILL);
    ensure(waitpid(process->pid, NULL, 0) == process->pid);
    (void)close(process->output);
}

struct broker_settings local_settings(const char *directory, int64_t session_ms,
                                      int64_t callback_ms)
{
    return (struct broker_settings){.directory = directory,
                                    .connect_timeout_ms = 1000,
                                    .session_timeout_ms = session_ms,
                                    .transaction_timeout_ms = 10000,
                                    .callback_timeout_ms = callback_ms,
                                    .prefetch_size = 1 << 20};
}

struct broker *local_open(const char *directory)
{
    struct broker_settings settings = local_settings(directory, 10000, 60000);
    struct error error = {0};
    struct broker *broker = NULL;
    if (broker_local_open(&settings, &broker, &error) != STATUS_OK) {
        (void)fprintf(stderr, "%s\n", error.text);
        abort();
    }
    return broker;
}
