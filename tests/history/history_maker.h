/* SPDX-License-Identifier: Apache-2.0 */
/*
 * History maker: clean histories of an application that never was, of any kind and size, with
 * aborted transactions, readers and doubtful sends, to test the checker with; one seed decides.
 */
#ifndef LEAT_HISTORY_HISTORY_MAKER_H
#define LEAT_HISTORY_HISTORY_MAKER_H

#include "history.h"

struct maker_options {
    enum content content;
    uint64_t seed;
    size_t records;
    size_t topics;    /* 1 or 2 outputs */
    bool offsets;     /* sends say where they are */
    bool inputs_read; /* the final reader reads the input too; only with offsets */
    bool writes;      /* the transactions are told */
    bool doubtful;    /* some sends failed, of some it is not known */
};

/** Options for a seed, with that many records. */
struct maker_options maker_choose(uint64_t seed, size_t records);
/** Appends the lines to `out`. */
void maker_run(const struct maker_options *options, struct buffer *out);

#endif
