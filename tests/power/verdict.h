/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verdict: opens an image of a life's store in a child process, by the engine's steps, reads all of
 * it, works on with it, and says whether that life may have left it.
 */
#ifndef LEAT_TESTS_VERDICT_H
#define LEAT_TESTS_VERDICT_H

#include "store_life.h"

enum verdict_kind {
    VERDICT_EXACT,  /* the last state that was reached, or the one that was being made */
    VERDICT_BEHIND, /* one commit before it, of a `durable` store */
    VERDICT_ASIDE,  /* moved aside, and there was a reason for it */
    VERDICT_WRONG,
    VERDICT_KINDS
};

struct verdict {
    enum verdict_kind kind;
    uint64_t digest; /* of what was found */
    char text[400];  /* what is wrong, or why it was moved aside */
};

struct verdict_options {
    bool fast;       /* how the image is opened */
    bool trust_boot; /* the boot marker is not read */
    bool hurt;       /* the image was damaged further: it may be moved aside, or empty */
    bool quiet;      /* it is meant to fail, and often: what a child says is not shown */
};

/** `cut` is the length of the log that `image` was made at. The image is changed by it. */
struct verdict verdict_of(const struct store_life *life, size_t cut, const char *image,
                          const struct verdict_options *options);

#endif
