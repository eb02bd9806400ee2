/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prepare: what a run needs to exist before it starts. Sources and sinks must be there and are
 * never created; internal topics (repartitions, changelogs) are created when missing and compared
 * when not.
 */
#ifndef LEAT_ENGINE_PREPARE_H
#define LEAT_ENGINE_PREPARE_H

#include "engine/worker.h"

/** Facts of every topic that is read, and of every changelog. Names are the program's. */
struct prepared_topics {
    struct topic_facts *items;
    size_t count;
};

/** STATUS_FATAL with ERROR_NO_TOPIC (and the command that creates it) or ERROR_MISMATCH (both
 * numbers named). `create`: make internal topics; else a missing one is left out (check --online).
 *  `ends`: note where sources end now. */
enum status prepare_topics(const struct program *program, struct broker *broker, bool create,
                           bool ends, struct prepared_topics *topics, struct error *error);
void prepare_finish(struct prepared_topics *topics);

#endif
