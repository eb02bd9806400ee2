/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Engine run: one application of a test, in a folder of its own: the `topology` program as a child
 * process on the embedded broker, with the operators of script.c. Not for several threads.
 */
#ifndef LEAT_TESTS_ENGINE_RUN_H
#define LEAT_TESTS_ENGINE_RUN_H

#include "base/bytes.h"
#include "broker/broker.h"

#include <sys/types.h>

struct run {
    char *folder;
    char *file; /* the topology */
    struct broker *broker;
    pid_t pid;            /* the child; 0 = none */
    char *log;            /* what the last child that ended wrote to stderr */
    const char *log_name; /* the file it is written to */
};

void run_init(struct run *run);
void run_finish(struct run *run);
/** A second process of the same application; run_finish of the first ends both after run_part. */
struct run run_other(const struct run *run);
/** Ends what is left of a second process. */
void run_part(struct run *other);

/** Writes the topology file: application "t", instance "a", and `nodes`, where ' stands for ". */
void run_topology(struct run *run, const char *nodes);
void run_topic(struct run *run, const char *topic, int32_t partitions);
/** The same with one property of the topic. */
void run_topic_with(struct run *run, const char *topic, int32_t partitions, const char *property,
                    const char *value);
/** Appends one record. Key and value NULL = null. */
void run_send(struct run *run, const char *topic, int32_t partition, int64_t timestamp_ms,
              const char *key, const char *value);
/** Appends `count` records key "k", timestamps from `timestamp_ms` on, `step_ms` apart. */
void run_send_many(struct run *run, const char *topic, int32_t partition, int64_t timestamp_ms,
                   int64_t step_ms, int count, const char *value);
/** Commits an offset of the application from outside, as a tool would. */
void run_commit_offset(struct run *run, const char *topic, int32_t partition, int64_t offset);

/** Starts `topology run` with these options (separated by spaces; NULL = none). */
void run_start(struct run *run, const char *options);
/** Waits for the child and answers its exit code (-signal if one ended it); fills run->log. */
int run_wait(struct run *run);
/** Sends the signal, and run_wait. */
int run_signal(struct run *run, int signal);
/** Runs with --until-end; its exit code. */
int run_to_end(struct run *run, const char *options);
/** run_to_end that must exit 0. */
void run_all(struct run *run, const char *options);

/** All committed records of a topic, partition after partition, a line each: key=value. "P:" in
 * front with several partitions. Valid until the next call. */
const char *run_output(struct run *run, const char *topic);
/** Waits until a topic holds `count` committed records. */
void run_await(struct run *run, const char *topic, int count);
/** Waits until the child's log holds the text. */
void run_await_log(struct run *run, const char *text);
/** Asserts what the topic holds. */
void run_expect(struct run *run, const char *topic, const char *expected);
/** Asserts that the last child's log holds the text (or that it does not). */
void run_expect_log(struct run *run, const char *text);
void run_expect_no_log(struct run *run, const char *text);
/** How often a text stands in the last child's log. */
int run_count_log(const struct run *run, const char *text);
/** A path in the folder; valid until run_finish. */
const char *run_path(struct run *run, const char *name);
/** Waits so many ms (less than a second), where nothing can be asked for. */
void run_pause(long ms);
/** Deletes the application's state. */
void run_delete_state(struct run *run);
/** Size of a file in the folder, 0 if it is not there: how often a script marked it. */
long run_marks(struct run *run, const char *name);

#endif
