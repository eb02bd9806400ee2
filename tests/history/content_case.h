/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content: what the output of a stage must be. One model a kind; each walks what was received,
 * marks the inputs that show in it, and then walks the inputs: what is decided must show.
 */
#ifndef LEAT_HISTORY_CONTENT_CASE_H
#define LEAT_HISTORY_CONTENT_CASE_H

#include "examine.h"

/** A stage under judgement. */
struct content_case {
    const struct stage *stage;
    const struct slots *slots;
    const struct history *history;
    struct findings *findings;
    struct inputs inputs;
    size_t side_count;     /* outputs each input has: one a topic, two for a transfer */
    uint8_t *shown;        /* by input: bit n = its output n shows */
    int64_t *last;         /* by side and lane: the highest rank that shows */
    struct pair_map homes; /* (topic number, key) -> the slot where the key was first */
    size_t output_count;
    struct error *error;
};

/** Judges the content of one stage. */
enum status content_examine(const struct stage *stage, struct slots *slots,
                            struct findings *findings, struct error *error);

/** The outputs that show in topic number `topic`, partition by partition, in order of offset. */
void content_each(struct content_case *on, size_t topic,
                  void (*visit)(struct content_case *on, size_t topic, const struct slot *slot,
                                void *context),
                  void *context);

/** The output `side` of input `number` shows in `slot`: finds out whether it may, and notes it.
 * False: it showed before. */
bool content_show(struct content_case *on, size_t side, size_t number, const struct slot *slot);
/** The same without asking: what is wrong with it was found already. */
void content_pass(struct content_case *on, size_t side, size_t number);
/** Finds what must show and does not. */
void content_expect(struct content_case *on);
/** A key lives in one partition of a topic. */
void content_home(struct content_case *on, size_t topic, const struct slot *slot);

/** A whole number in decimal as a program prints it, without zeros before it; else false. */
bool content_number(struct bytes text, int64_t *number);

/* ---- The models ---- */

enum status content_copy(struct content_case *on);
/** With `words`: of the words of the values. */
enum status content_count(struct content_case *on, bool words);
enum status content_append(struct content_case *on);
enum status content_chain(struct content_case *on);
enum status content_transfer(struct content_case *on);

#endif
