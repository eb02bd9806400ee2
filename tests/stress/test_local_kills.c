/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded broker under SIGKILL and SIGSTOP: workers are processes that are killed, or stopped
 * for longer than their session, at random moments, inside commits too; every record must come
 * through once and in order.
 */
#include "local_chain.h"

#include "base/clock.h"
#include "base/random.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SOURCES = 2, WORKERS = 3, PATIENCE_MS = 30000 };

static char directory[] = "/tmp/leat-stress-XXXXXX";
static int64_t records = 200000; /* a source */
static atomic_bool done;

static void *source_run(void *argument)
{
    int number = *(int *)argument;
    chain_write(directory, number, records, (uint64_t)number + 1);
    return NULL;
}

static void *check_run(void *argument)
{
    chain_check(argument, SOURCES, records, PATIENCE_MS);
    atomic_store(&done, true);
    return NULL;
}

/* This program again, as one worker. */
static pid_t worker_start(const char *program, int number, uint64_t seed)
{
    char words[2][32];
    (void)snprintf(words[0], sizeof words[0], "%d", number);
    (void)snprintf(words[1], sizeof words[1], "%llu", (unsigned long long)seed);
    char *arguments[] = {(char *)(uintptr_t)program, directory, words[0], words[1], NULL};
    pid_t child = fork();
    if (child == 0) {
        (void)execv(program, arguments);
        _exit(127);
    }
    if (child < 0) {
        chain_fail("fork");
    }
    return child;
}

static void kill_for_ever(const char *program, pid_t *workers, struct random *random, int *kills)
{
    while (!atomic_load(&done)) {
        clock_system()->sleep_us(clock_system(), (int64_t)random_below(random, 50000));
        int which = (int)random_below(random, WORKERS);
        int status = 0;
        if (random_below(random, 12) == 0) {
            (void)kill(workers[which], SIGSTOP);
            clock_sleep_ms(clock_system(), (int64_t)random_below(random, 2500));
            (void)kill(workers[which], SIGCONT);
        }
        if (waitpid(workers[which], &status, WNOHANG) != 0) {
            chain_fail("worker %d ended by itself, status %d", which, status);
        }
        (void)kill(workers[which], SIGKILL);
        (void)waitpid(workers[which], &status, 0);
        workers[which] = worker_start(program, which, random_next(random));
        *kills += 1;
    }
}

int main(int argc, char **argv)
{
    if (argc == 4) {
        static const atomic_bool never;
        chain_work(argv[1], (int)strtol(argv[2], NULL, 10), strtoull(argv[3], NULL, 10), &never);
        return 0;
    }
    records = argc > 1 ? strtoll(argv[1], NULL, 10) : records;
    if (mkdtemp(directory) == NULL) {
        chain_fail("mkdtemp");
    }
    struct random random;
    random_init(&random, 5);
    struct broker *broker = chain_open(directory);
    chain_topics(broker);
    pthread_t threads[SOURCES + 1];
    int numbers[SOURCES];
    pid_t workers[WORKERS];
    int kills = 0;
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = worker_start(argv[0], i, random_next(&random));
    }
    for (int i = 0; i < SOURCES; i++) {
        numbers[i] = i;
        if (pthread_create(&threads[i], NULL, source_run, &numbers[i]) != 0) {
            chain_fail("pthread_create");
        }
    }
    if (pthread_create(&threads[SOURCES], NULL, check_run, broker) != 0) {
        chain_fail("pthread_create");
    }
    kill_for_ever(argv[0], workers, &random, &kills);
    for (int i = 0; i < WORKERS; i++) {
        (void)kill(workers[i], SIGKILL);
        (void)waitpid(workers[i], NULL, 0);
    }
    for (int i = 0; i <= SOURCES; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    broker_close(broker);
    static const char *const files[] = {"data.mdb", "lock.mdb", "writers.lock"};
    for (size_t i = 0; i < 3; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "%s/%s", directory, files[i]);
        (void)remove(path);
    }
    (void)remove(directory);
    (void)printf("%lld records, each once and in order, over %d kills\n",
                 (long long)(records * SOURCES), kills);
    return 0;
}
