/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life: an instance of the application from its start to its end, in this process, as
 * `topology run` lives it but for signals and threads: the broker opened, topics prepared, one
 * worker run.
 */
#ifndef LEAT_SWEEP_LIFE_H
#define LEAT_SWEEP_LIFE_H

#include "tally.h"

#include "base/status.h"
#include "broker/broker.h"

#include <stdatomic.h>
#include <stdbool.h>

/* Longer than a buffer of the JSON parser: a letter of it that gets lost shows. */
#define LIFE_APPLICATION "application_of_the_sweep"
#define LIFE_REPARTITION LIFE_APPLICATION "-by_key-repartition"

enum { LIFE_SESSION_S = 60 };

struct life {
    const char *folder;   /* holds broker/ and state/ */
    const char *instance; /* "a" or "b" */
    bool until_end, fast;
    int flush_ms;
    enum shape shape;
    atomic_int stop;
};

/** STATUS_OK: it ended as it was asked to. */
enum status life_run(struct life *life, struct error *error);

/** The embedded broker of a case, not wrapped. */
struct broker *life_open_broker(const char *folder);
/** Makes the topics. */
void life_make_topics(const char *folder);
/** Appends the records [from, to) of every partition. */
void life_feed(const char *folder, int from, int to);

#endif
