/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cases: one life of a script with one thing that happens in it, in a process of its own; then, in
 * another, a restart without faults and the comparison of all there is with what must be.
 */
#ifndef LEAT_SWEEP_CASES_H
#define LEAT_SWEEP_CASES_H

#include "scripts.h"

enum kind { KIND_DEATH, KIND_FAULT, KIND_ALLOCATION, KIND_COUNT };

struct sweep_case {
    const struct script *script;
    enum kind kind;
    int point;          /* deaths; faults: 2 * call */
    int64_t occurrence; /* allocations: which */
    int how;            /* enum death, or which fault of the call */
    int64_t seed;       /* of a loss of power */
    bool early, keeping;
    bool beyond; /* one more than was counted: must not be reached */
};

enum verdict { VERDICT_RIGHT, VERDICT_WRONG, VERDICT_NOT_REACHED };

/** Prepares `folder`/base of a script. Ends the program if that fails. */
void case_prepare(const struct script *script, const char *folder);
/** The script without anything happening: fills plan->counts and plan->allocations. */
enum verdict case_count(const struct script *script, const char *folder, struct plan *plan);
/** Runs one case in `folder`/case-`number`, whose log stays there. `plan` is memory shared with
 * children; its text says what is wrong, or how the life ended. */
enum verdict case_run(const struct sweep_case *given, const char *folder, int number,
                      struct plan *plan);
/** What this case is, as options of this program; static. */
const char *case_options(const struct sweep_case *given);

#endif
