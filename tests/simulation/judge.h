/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judge: what the oracle's parts share: the lists of what is expected of each key or route, and the
 * first thing that is wrong.
 */
#ifndef LEAT_SIMULATION_JUDGE_H
#define LEAT_SIMULATION_JUDGE_H

#include "scenario.h"

enum { JUDGE_TEXT_SIZE = 64, JUDGE_KEY_LIMIT = 4096, JUDGE_PARTITION_LIMIT = 16 };

struct judge {
    struct scenario *scenario;
    struct sim_cluster *cluster;
    const char *from, *to;
    int32_t partition; /* that is being read */
};

/** Texts of one key or route, in order. */
struct judge_list {
    char name[JUDGE_TEXT_SIZE];
    char (*items)[JUDGE_TEXT_SIZE];
    size_t count, read;
    char state[CHAIN_TEXT_SIZE]; /* what the outputs read so far leave behind; "" = nothing */
};

struct judge_lists {
    struct judge *judge;
    struct judge_list *items;
    size_t count, capacity;
};

/** Notes what is wrong; the first counts. */
void judge_fail(struct judge *judge, const char *format, ...) __attribute__((format(printf, 2, 3)));
void judge_copy(char text[JUDGE_TEXT_SIZE], struct bytes bytes);
bool judge_marked(struct bytes value, char mark);
/** Visits the whole history of a topic. */
void judge_read(struct judge *judge, const char *topic,
                bool (*visit)(void *, const struct broker_record *), void *context);

struct judge_lists *judge_lists_make(struct judge *judge);
void judge_lists_free(struct judge_lists *lists);
/** Made when new; valid until the next is made. */
struct judge_list *judge_list_of(struct judge_lists *lists, const char *name);
void judge_list_add(struct judge_list *list, struct bytes text);
/** Whether everything expected has come. */
void judge_all_read(struct judge *judge, const struct judge_lists *lists);

/** Visitors of an input and of the output: each record is a link of its key's chain; the lists are
 * the context. */
bool judge_chain_expect(void *lists, const struct broker_record *record);
bool judge_chain_check(void *lists, const struct broker_record *record);

/* ---- judge_wall.c ---- */

/** Expects the outputs of wall_chain_operator for the records of `topic`, beside the chains. */
void judge_wall_expect(struct judge_lists *fired, const char *topic);
/** Whether the record is an output of a timer or tick; it is checked then. */
bool judge_wall_check(struct judge_lists *fired, const struct broker_record *record);

/* ---- judge_state.c ---- */

/** The changelog folds to the states of the lists; its last stamps say the committed offsets. */
void judge_changelog(struct judge *judge, const char *changelog, struct judge_lists *lists);
/** Every store is the fold of the changelog below its position (I2). */
void judge_stores(struct judge *judge, const char *changelog);

#endif
