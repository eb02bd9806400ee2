/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/runtime.h"

#include "base/log.h"
#include "engine/metrics.h"
#include "engine/prepare.h"
#include "state/directory.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { RUNTIME_WAIT_MS = 100, RUNTIME_LOCK_WAIT_MS = 1000 };

struct member {
    struct worker *worker;
    pthread_t thread;
    bool started;
    atomic_bool ended;
    enum status status;
    struct error error;
    atomic_int *stop;
};

static void *member_main(void *argument)
{
    ensure(argument != NULL);
    struct member *member = argument;
    member->status = worker_run(member->worker, &member->error);
    if (member->status != STATUS_OK) {
        int running = 0;
        (void)atomic_compare_exchange_strong(member->stop, &running, 1); /* one fails, all stop */
    }
    atomic_store(&member->ended, true);
    return NULL;
}

/* One process an instance and state directory; the holder is named. */
static enum status lock_instance(const struct config *config, struct directory **lock,
                                 struct error *error)
{
    ensure(*lock == NULL);
    char *path =
        memory_format("%s/%s/%s", config->state.directory, config->application, config->instance);
    struct clock *clock = clock_system();
    int64_t deadline_us = clock_monotonic_us(clock) + RUNTIME_LOCK_WAIT_MS * 1000;
    pid_t holder = 0;
    enum status status = directory_lock(path, lock, &holder, error);
    while (status == STATUS_RETRY && clock_monotonic_us(clock) < deadline_us) {
        clock_sleep_ms(clock, 20); /* a killed holder's lock ends with it */
        status = directory_lock(path, lock, &holder, error);
    }
    if (status == STATUS_RETRY) {
        status =
            error_set(error, STATUS_FATAL, ERROR_LOCKED,
                      "process %ld already runs instance \"%s\" of application \"%s\" on %s; give "
                      "this one another \"instance\", or stop that process",
                      (long)holder, config->instance, config->application, config->state.directory);
    }
    free(path);
    return status;
}

static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Records that the group has not committed yet, over all topics it reads; -1 = the broker does not
 * say. */
static long long group_lag(struct broker *broker, const char *group,
                           const struct prepared_topics *topics)
{
    ensure(topics->count == 0 || topics->items != NULL);
    long long lag = 0;
    struct error error;
    for (size_t i = 0; i < topics->count; i++) {
        const struct topic_facts *facts = &topics->items[i];
        for (int32_t p = 0; p < facts->partition_count; p++) {
            int64_t start = 0;
            int64_t end = 0;
            struct broker_offset offset = {facts->topic, p, BROKER_NO_OFFSET, ""};
            if (broker_log_range(broker, facts->topic, p, &start, &end, &error) != STATUS_OK ||
                broker_committed_unstable(broker, group, &offset, 1, 1000, &error) != STATUS_OK) {
                return -1;
            }
            if (offset.offset != BROKER_NO_OFFSET && end > offset.offset) {
                lag += end - offset.offset; /* changelogs have no committed offset */
            }
        }
    }
    return lag;
}

static void print_statistics(struct member *members, size_t count, long long lag)
{
    ensure(count > 0);
    long long in = 0;
    long long out = 0;
    long long commits = 0;
    long long aborts = 0;
    long long restores = 0;
    long long skipped = 0;
    struct metrics **metrics = memory_allocate(count * sizeof(struct metrics *));
    for (size_t i = 0; i < count; i++) {
        const struct worker_counters *counters = worker_counters(members[i].worker);
        in += atomic_load(&counters->records_in);
        out += atomic_load(&counters->records_out);
        commits += atomic_load(&counters->commits);
        aborts += atomic_load(&counters->aborts);
        restores += atomic_load(&counters->restores);
        skipped += atomic_load(&counters->skipped);
        metrics[i] = worker_metrics(members[i].worker);
    }
    struct buffer operators = {0};
    if (lag >= 0) {
        buffer_format(&operators, " lag=%lld", lag);
    }
    metrics_print(metrics, count, &operators);
    log_info(
        "statistics",
        "records_in=%lld records_out=%lld commits=%lld aborts=%lld restores=%lld skipped=%lld%s",
        in, out, commits, aborts, restores, skipped, buffer_text(&operators));
    buffer_finish(&operators);
    free(metrics);
}

static bool all_ended(struct member *members, size_t count)
{
    ensure(count > 0);
    for (size_t i = 0; i < count; i++) {
        if (!atomic_load(&members[i].ended)) {
            return false;
        }
    }
    return true;
}

/* The main thread: signals, the statistics line, the end. */
static void supervise(struct member *members, size_t count, const struct runtime_options *options,
                      const struct worker_options *worker, atomic_int *stop,
                      const sigset_t *signals)
{
    ensure(atomic_load(stop) >= 0);
    struct clock *clock = clock_system();
    int64_t printed_ms = clock_monotonic_ms(clock);
    int64_t wait_ms = 5; /* short runs end at once */
    while (!all_ended(members, count)) {
        struct timespec wait = {.tv_nsec = wait_ms * 1000000};
        wait_ms = wait_ms * 2 < RUNTIME_WAIT_MS ? wait_ms * 2 : RUNTIME_WAIT_MS;
        if (options->until_end) {
            wait_ms = wait_ms < 20 ? wait_ms : 20;
        }
        int signal = sigtimedwait(signals, NULL, &wait);
        if (signal > 0) {
            int before = atomic_fetch_add(stop, 1);
            log_info("runtime", "%s", before == 0 ? "stopping" : "stopping now");
        }
        int64_t now_ms = clock_monotonic_ms(clock);
        if (options->stats_interval_ms > 0 && now_ms - printed_ms >= options->stats_interval_ms) {
            printed_ms = now_ms;
            const struct prepared_topics topics = {(struct topic_facts *)(uintptr_t)worker->topics,
                                                   worker->topic_count};
            print_statistics(
                members, count,
                group_lag(worker->broker, worker->program->config->application, &topics));
        }
    }
}

static enum status run_members(const struct program *program, struct broker *broker,
                               const struct runtime_options *options, const sigset_t *signals,
                               const struct prepared_topics *topics, struct error *error)
{
    ensure(program->config->workers > 0);
    size_t count = program->config->workers;
    struct member *members = memory_allocate(count * sizeof *members);
    atomic_int stop = 0;
    struct worker_options worker = {
        .program = program,
        .broker = broker,
        .clock = clock_system(),
        .until_end = options->until_end,
        .continue_from = options->continue_from,
        .stop = &stop,
        .topics = topics->items,
        .topic_count = topics->count,
        .store_open = store_lmdb_open,
    };
    for (size_t i = 0; i < count; i++) {
        worker.seed = random_system_seed();
        worker.index = (uint32_t)i;
        members[i].stop = &stop;
        worker_create(&worker, &members[i].worker);
        members[i].started =
            pthread_create(&members[i].thread, NULL, member_main, &members[i]) == 0;
        ensure(members[i].started);
    }
    supervise(members, count, options, &worker, &stop, signals);
    enum status status = STATUS_OK;
    for (size_t i = 0; i < count; i++) {
        pthread_join(members[i].thread, NULL);
        if (members[i].status != STATUS_OK && status == STATUS_OK) {
            status = members[i].status;
            *error = members[i].error;
        }
    }
    print_statistics(members, count, -1);
    for (size_t i = 0; i < count; i++) {
        worker_destroy(members[i].worker);
    }
    free(members);
    return status;
}

/* A broker that has just come up does not know all of its topics at once. */
static enum status prepare_in_time(const struct program *program, struct broker *broker, bool ends,
                                   const sigset_t *signals, struct prepared_topics *topics,
                                   struct error *error)
{
    ensure(topics->count == 0);
    struct clock *clock = clock_system();
    int64_t until_ms = clock_monotonic_ms(clock) + program->config->broker.connect_timeout_ms;
    enum status status = prepare_topics(program, broker, true, ends, topics, error);
    while (status == STATUS_RETRY && clock_monotonic_ms(clock) < until_ms) {
        const struct timespec wait = {.tv_nsec = 100000000};
        if (sigtimedwait(signals, NULL, &wait) > 0) {
            return error_set(error, STATUS_RETRY, ERROR_STOPPED,
                             "stopped while waiting for topics");
        }
        status = prepare_topics(program, broker, true, ends, topics, error);
    }
    return status;
}

enum status runtime_run(const struct program *program, struct broker *broker,
                        const struct runtime_options *options, struct error *error)
{
    ensure(program->graph != NULL && broker != NULL);
    struct directory *lock = NULL;
    struct prepared_topics topics = {0};
    sigset_t signals; /* from here on they wait for supervise */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    (void)signal(SIGTERM, SIG_DFL); /* a thread of a plugin may have them open: it dies, not done */
    (void)signal(SIGINT, SIG_DFL);
    raise_file_limit();
    enum status status = lock_instance(program->config, &lock, error);
    if (status == STATUS_OK) {
        status = prepare_in_time(program, broker, options->until_end, &signals, &topics, error);
    }
    if (status == STATUS_OK) {
        log_info("runtime", "starting application=%s instance=%s workers=%" PRIu32,
                 program->config->application, program->config->instance, program->config->workers);
        status = run_members(program, broker, options, &signals, &topics, error);
    }
    prepare_finish(&topics);
    directory_unlock(lock);
    return status == STATUS_RETRY && error->code == ERROR_STOPPED ? STATUS_OK : status;
}
