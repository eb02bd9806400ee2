/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_run.h"

#include "../unit/test_folder.h"
#include "base/clock.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 30000, PATHS = 32, OPTIONS = 32 };

#define must(call)                                                                                 \
    do {                                                                                           \
        struct error must_error = {.text = ""};                                                    \
        struct error *error = &must_error;                                                         \
        enum status must_status = (call);                                                          \
        cr_assert_eq(must_status, STATUS_OK, "%s: %s", #call, must_error.text);                    \
    } while (0)

static struct buffer output;
static char *paths[PATHS];
static size_t path_count;

const char *run_path(struct run *run, const char *name)
{
    char *path = memory_format("%s/%s", run->folder, name);
    for (size_t i = 0; i < path_count; i++) {
        if (strcmp(paths[i], path) == 0) { /* asked for in a loop */
            free(path);
            return paths[i];
        }
    }
    cr_assert_lt(path_count, PATHS);
    return paths[path_count++] = path;
}

static char *read_file(const char *path)
{
    struct buffer text = {0};
    FILE *file = fopen(path, "r");
    for (int c = file == NULL ? EOF : fgetc(file); c != EOF; c = fgetc(file)) {
        *buffer_extend(&text, 1) = (uint8_t)c;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    char *copy = memory_text(buffer_text(&text));
    buffer_finish(&text);
    return copy;
}

long run_marks(struct run *run, const char *name)
{
    struct stat facts = {0};
    (void)stat(run_path(run, name), &facts);
    return (long)facts.st_size;
}

/* ---- Beginning and end ---- */

void run_init(struct run *run)
{
    *run = (struct run){.folder = test_folder_make(), .log_name = "run.log"};
    struct broker_settings settings = {.directory = run_path(run, "log"),
                                       .connect_timeout_ms = 10000,
                                       .session_timeout_ms = 10000,
                                       .transaction_timeout_ms = 10000,
                                       .callback_timeout_ms = 300000,
                                       .prefetch_size = 64 << 20};
    must(broker_local_open(&settings, &run->broker, error));
    run->file = memory_format("%s/topology.json", run->folder);
    cr_assert_eq(chdir(run->folder), 0);
}

struct run run_other(const struct run *run)
{
    struct run other = *run;
    other.pid = 0;
    other.log = NULL;
    other.log_name = "other.log";
    return other;
}

void run_part(struct run *other)
{
    if (other->pid > 0) {
        (void)kill(other->pid, SIGKILL);
        (void)waitpid(other->pid, NULL, 0);
    }
    other->pid = 0;
    free(other->log);
    other->log = NULL;
}

void run_finish(struct run *run)
{
    run_part(run);
    broker_close(run->broker);
    while (path_count > 0) {
        free(paths[--path_count]);
    }
    buffer_finish(&output);
    free(run->file);
    cr_assert_eq(chdir("/"), 0);
    test_folder_remove(run->folder);
}

void run_topology(struct run *run, const char *nodes)
{
    FILE *file = fopen(run->file, "w");
    cr_assert_not_null(file);
    (void)fprintf(file,
                  "{\"application\": \"t\", \"instance\": \"a\", \"broker\": {\"directory\": "
                  "\"log\"}, \"state\": {\"directory\": \"state\"}, \"operator_directories\": "
                  "[\"" LEAT_BINARY_DIR "/tests/engine_operators\", \"" LEAT_BINARY_DIR
                  "/operators\"],\n");
    for (const char *at = nodes; *at != 0; at++) {
        (void)fputc(*at == '\'' ? '"' : *at, file);
    }
    (void)fprintf(file, "}\n");
    cr_assert_eq(fclose(file), 0);
}

void run_topic_with(struct run *run, const char *topic, int32_t partitions, const char *property,
                    const char *value)
{
    struct broker_property properties[] = {{property, value, false}};
    must(broker_topic_create(run->broker, topic, partitions, -1, properties,
                             property == NULL ? 0 : 1, error));
}

void run_topic(struct run *run, const char *topic, int32_t partitions)
{
    run_topic_with(run, topic, partitions, NULL, NULL);
}

/* ---- Writing ---- */

static void send_all(struct run *run, const struct broker_output *record, const char *topic,
                     int64_t step_ms, int count)
{
    struct producer *producer = NULL;
    int32_t partitions = 0;
    struct broker_output each = *record;
    must(producer_open(run->broker, NULL, &producer, error));
    must(producer_ready(producer, PATIENCE_MS, error));
    must(producer_topic(producer, topic, &each.topic, &partitions, error));
    cr_assert_lt(record->partition, partitions);
    for (int i = 0; i < count; i++) {
        must(producer_send(producer, &each, error));
        each.timestamp_ms += step_ms;
    }
    must(producer_flush(producer, PATIENCE_MS, error));
    producer_close(producer);
}

void run_send(struct run *run, const char *topic, int32_t partition, int64_t timestamp_ms,
              const char *key, const char *value)
{
    static const struct header headers[] = {{"one", {"a\0b", 3}}, {"two", {NULL, 0}}};
    struct broker_output record = {.partition = partition,
                                   .key = bytes_of(key),
                                   .value = bytes_of(value),
                                   .headers = headers,
                                   .header_count = 2,
                                   .timestamp_ms = timestamp_ms};
    send_all(run, &record, topic, 0, 1);
}

void run_send_many(struct run *run, const char *topic, int32_t partition, int64_t timestamp_ms,
                   int64_t step_ms, int count, const char *value)
{
    struct broker_output record = {.partition = partition,
                                   .key = bytes_of("k"),
                                   .value = bytes_of(value),
                                   .timestamp_ms = timestamp_ms};
    send_all(run, &record, topic, step_ms, count);
}

void run_commit_offset(struct run *run, const char *topic, int32_t partition, int64_t offset)
{
    const char *topics[] = {topic};
    struct consumer_options options = {.group = "t", .topics = topics, .topic_count = 1};
    struct consumer *consumer = NULL;
    struct producer *producer = NULL;
    struct consumer_event event = {.kind = CONSUMER_NOTHING};
    must(consumer_open(run->broker, &options, &consumer, error));
    for (int i = 0; i < 300 && event.kind != CONSUMER_ASSIGNED; i++) {
        must(consumer_poll(consumer, 100, &event, error));
    }
    cr_assert_eq(event.kind, CONSUMER_ASSIGNED);
    struct consumer_assignment assignment = {
        .topic = topic, .partition = partition, .offset = offset};
    must(consumer_assign(consumer, &assignment, 1, error));
    must(producer_open(run->broker, "tool", &producer, error));
    must(producer_ready(producer, PATIENCE_MS, error));
    must(producer_begin(producer, error));
    struct broker_offset committed = {topic, partition, offset, ""};
    must(producer_send_offsets(producer, consumer, &committed, 1, error));
    must(producer_commit(producer, PATIENCE_MS, error));
    producer_close(producer);
    consumer_close(consumer);
}

/* ---- The child ---- */

void run_start(struct run *run, const char *options)
{
    cr_assert_eq(run->pid, 0);
    const char *under = getenv("LEAT_RUN_UNDER"); /* a command, as "valgrind -q" */
    char *copy =
        memory_format("%s " LEAT_BINARY_DIR "/topology run %s %s", under == NULL ? "" : under,
                      run->file, options == NULL ? "" : options);
    const char *arguments[OPTIONS + 4] = {NULL};
    size_t count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(copy, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        cr_assert_lt(count, OPTIONS);
        arguments[count++] = word;
    }
    run->pid = fork();
    cr_assert_geq(run->pid, 0);
    if (run->pid == 0) {
        int log = open(run->log_name, O_CREAT | O_TRUNC | O_WRONLY, 0600);
        (void)dup2(log, STDERR_FILENO);
        (void)execvp(arguments[0], (char **)(uintptr_t)arguments);
        _exit(127);
    }
    free(copy);
}

void run_pause(long ms)
{
    struct timespec wait = {.tv_sec = 0, .tv_nsec = ms * 1000000};
    (void)nanosleep(&wait, NULL);
}

int run_wait(struct run *run)
{
    int state = 0;
    int64_t deadline_ms = clock_monotonic_ms(clock_system()) + PATIENCE_MS;
    pid_t ended = 0;
    while ((ended = waitpid(run->pid, &state, WNOHANG)) == 0 &&
           clock_monotonic_ms(clock_system()) < deadline_ms) {
        run_pause(3);
    }
    if (ended == 0) {
        (void)kill(run->pid, SIGKILL);
        (void)waitpid(run->pid, NULL, 0);
    }
    run->pid = 0;
    free(run->log);
    run->log = read_file(run->log_name);
    cr_assert_neq(ended, 0, "the run does not end:\n%s", run->log);
    return WIFEXITED(state) ? WEXITSTATUS(state) : -WTERMSIG(state);
}

int run_signal(struct run *run, int signal)
{
    cr_assert_eq(kill(run->pid, signal), 0);
    return run_wait(run);
}

int run_to_end(struct run *run, const char *options)
{
    char *all = memory_format("--until-end %s", options == NULL ? "" : options);
    run_start(run, all);
    free(all);
    return run_wait(run);
}

void run_all(struct run *run, const char *options)
{
    int code = run_to_end(run, options);
    cr_assert_eq(code, 0, "exit code %d:\n%s", code, run->log);
}

/* ---- Reading ---- */

static void append_bytes(struct bytes bytes)
{
    if (bytes.data == NULL) {
        buffer_append_text(&output, "null");
    } else if (bytes.size > 200) {
        buffer_format(&output, "<%zu bytes>", bytes.size);
    } else {
        buffer_append(&output, bytes.data, bytes.size);
    }
}

static int read_partition(struct run *run, const char *topic, int32_t partition, bool prefix)
{
    struct consumer *consumer = NULL;
    struct consumer_options options = {0};
    struct consumer_event event = {.kind = CONSUMER_NOTHING};
    int64_t start = 0;
    int64_t end = 0;
    int count = 0;
    must(broker_log_range(run->broker, topic, partition, &start, &end, error));
    must(consumer_open(run->broker, &options, &consumer, error));
    struct consumer_assignment assignment = {
        .topic = topic, .partition = partition, .offset = start};
    must(consumer_assign(consumer, &assignment, 1, error));
    while (event.kind != CONSUMER_END) {
        must(consumer_poll(consumer, PATIENCE_MS, &event, error));
        cr_assert_neq(event.kind, CONSUMER_NOTHING);
        if (event.kind == CONSUMER_RECORD) {
            if (prefix) {
                buffer_format(&output, "%d:", partition);
            }
            append_bytes(event.record.key);
            buffer_append_text(&output, "=");
            append_bytes(event.record.value);
            buffer_append_text(&output, "\n");
            consumer_release(consumer, &event.record);
            count += 1;
        }
    }
    consumer_close(consumer);
    return count;
}

static int read_topic(struct run *run, const char *topic)
{
    struct broker_topic facts;
    int count = 0;
    output.size = 0;
    must(broker_topic_get(run->broker, topic, &facts, error));
    for (int32_t p = 0; p < facts.partition_count; p++) {
        count += read_partition(run, topic, p, facts.partition_count > 1);
    }
    return count;
}

const char *run_output(struct run *run, const char *topic)
{
    (void)read_topic(run, topic);
    return buffer_text(&output);
}

void run_await(struct run *run, const char *topic, int count)
{
    int64_t deadline_ms = clock_monotonic_ms(clock_system()) + PATIENCE_MS;
    int found = 0;
    while ((found = read_topic(run, topic)) < count &&
           clock_monotonic_ms(clock_system()) < deadline_ms) {
        run_pause(10);
    }
    if (found < count) {
        char *log = read_file(run->log_name);
        cr_assert_fail("topic %s has %d of %d records: %s\n%s", topic, found, count,
                       buffer_text(&output), log);
    }
}

void run_await_log(struct run *run, const char *text)
{
    int64_t deadline_ms = clock_monotonic_ms(clock_system()) + PATIENCE_MS;
    bool found = false;
    while (!found && clock_monotonic_ms(clock_system()) < deadline_ms) {
        char *log = read_file(run->log_name);
        found = strstr(log, text) != NULL;
        free(log);
        run_pause(10);
    }
    cr_assert(found, "the log does not say \"%s\"", text);
}

void run_expect(struct run *run, const char *topic, const char *expected)
{
    const char *found = run_output(run, topic);
    cr_assert_str_eq(found, expected, "topic %s holds\n%snot\n%s%s", topic, found, expected,
                     run->log == NULL ? "" : run->log);
}

void run_expect_log(struct run *run, const char *text)
{
    cr_assert_not_null(strstr(run->log, text), "the log does not say \"%s\":\n%s", text, run->log);
}

void run_expect_no_log(struct run *run, const char *text)
{
    cr_assert_null(strstr(run->log, text), "the log says \"%s\":\n%s", text, run->log);
}

int run_count_log(const struct run *run, const char *text)
{
    int count = 0;
    for (const char *at = run->log; (at = strstr(at, text)) != NULL; at++) {
        count += 1;
    }
    return count;
}

static int remove_one(const char *path, const struct stat *stat, int flag, struct FTW *walk)
{
    (void)stat;
    (void)flag;
    (void)walk;
    return remove(path);
}

void run_delete_state(struct run *run)
{
    (void)nftw(run_path(run, "state"), remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
