/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runtime: one process of an application: its instance lock, topics, workers (threads), signals and
 * statistics line.
 */
#ifndef LEAT_ENGINE_RUNTIME_H
#define LEAT_ENGINE_RUNTIME_H

#include "engine/worker.h"

struct runtime_options {
    bool until_end;
    enum continue_from continue_from;
    int64_t stats_interval_ms; /* 0 = never */
};

/** Runs until SIGTERM or SIGINT (a second one: at once), until the end, or until a worker fails;
 * that failure stops all. Blocks these signals in the calling thread and every thread it starts.
 * STATUS_OK: done. ERROR_FENCED, ERROR_FENCED_INSTANCE: exit 3. The caller keeps `broker`. */
enum status runtime_run(const struct program *program, struct broker *broker,
                        const struct runtime_options *options, struct error *error);

#endif
