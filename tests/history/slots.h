/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots: everything a history says about one offset, joined: what was sent there, who read it, the
 * transaction that wrote it. Sorted by place and offset.
 */
#ifndef LEAT_HISTORY_SLOTS_H
#define LEAT_HISTORY_SLOTS_H

#include "findings.h"
#include "history.h"

enum { READER_LIMIT = 64 };
#define NO_ENTRY UINT32_MAX
#define NO_SLOT SIZE_MAX

struct slot {
    uint32_t place;
    uint32_t key, value;        /* TEXT_NONE while nobody said it */
    uint32_t content;           /* the entry that said it */
    uint32_t send, read, write; /* the first entry of each kind, or NO_ENTRY */
    enum outcome sent, written; /* OUTCOME_NONE: there is no such entry */
    int64_t offset;
    uint64_t readers, passed; /* bits: who read it; who passed over it */
    bool told;                /* an anomaly of its absence was already found */
};

struct slots {
    const struct history *history;
    struct slot *items;
    size_t count;
    size_t *first;           /* by place, one more at the end */
    int64_t *ends;           /* by place; NO_OFFSET: not said */
    int64_t *last;           /* by place: the last offset that shows; NO_OFFSET: none */
    bool *followed;          /* by place: somebody read the topic, or it is an output */
    struct pair_map readers; /* (reader, 0) -> bit number */
};

/** Also finds offsets with two contents. STATUS_BAD_CONFIG: the history contradicts itself. */
enum status slots_init(struct slots *slots, const struct history *history,
                       struct findings *findings, struct error *error);
void slots_finish(struct slots *slots);
/** The first slot of the place at or behind `offset`; slots->first[place + 1] if there is none. */
size_t slots_at(const struct slots *slots, uint32_t place, int64_t offset);
/** 0 for a reader that never read. */
uint64_t slots_reader(const struct slots *slots, uint32_t reader);
/** It was read and not aborted: it shows. */
bool slot_shows(const struct slot *slot);
/** Something behind it in its partition shows. */
bool slot_is_passed(const struct slots *slots, const struct slot *slot);
bool slots_is_output(const struct history *history, uint32_t topic);
/** "out/0 offset 12 (k = v, FILE:LINE)" */
struct label label_slot(const struct history *history, const struct slot *slot);

#endif
