/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded broker under threads: sources, workers that restart and abort, and a reader that
 * counts, all in one process. Meant for ThreadSanitizer too.
 */
#include "local_chain.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { SOURCES = 2, WORKERS = 3, PATIENCE_MS = 30000 };

static char directory[] = "/tmp/leat-stress-XXXXXX";
static atomic_bool stop;
static int64_t records = 100000; /* a source */

static void *source_run(void *argument)
{
    int number = *(int *)argument;
    chain_write(directory, number, records, (uint64_t)number + 1);
    return NULL;
}

static void *worker_run(void *argument)
{
    int number = *(int *)argument;
    chain_work(directory, number, (uint64_t)number + 100, &stop);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[SOURCES + WORKERS];
    int numbers[SOURCES + WORKERS];
    records = argc > 1 ? strtoll(argv[1], NULL, 10) : records;
    if (mkdtemp(directory) == NULL) {
        chain_fail("mkdtemp");
    }
    struct broker *broker = chain_open(directory);
    chain_topics(broker);
    for (int i = 0; i < SOURCES + WORKERS; i++) {
        numbers[i] = i < SOURCES ? i : i - SOURCES;
        if (pthread_create(&threads[i], NULL, i < SOURCES ? source_run : worker_run, &numbers[i]) !=
            0) {
            chain_fail("pthread_create");
        }
    }
    chain_check(broker, SOURCES, records, PATIENCE_MS);
    atomic_store(&stop, true);
    for (int i = 0; i < SOURCES + WORKERS; i++) {
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
    (void)printf("%lld records, each once and in order\n", (long long)(records * SOURCES));
    return 0;
}
