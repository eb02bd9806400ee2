/* SPDX-License-Identifier: Apache-2.0 */
#include "marks.h"

#include "base/status.h"

#include <string.h>

/* A line counts for the first that it contains. */
static const struct {
    const char *name, *text;
} known[] = {
    {"blocked for long", "waits for the end of a transaction"},
    {"takeover in R4", "state=fetching"},
    {"takeover in R7", "state=restoring"},
    {"resumed after a suspension", "resumed ms="},
    {"aside: another boot", "the machine went down while"},
    {"aside: failed under way", "rebuild it: it cannot be trusted"},
    {"aside: does not open", "rebuild it: "},
    {"R6: position outside the log", "its position lies outside"},
    {"R6: another record at the stamp", "has another record where its stamp was"},
    {"R6: another stamp", "its last stamp is not the one"},
    {"R6: stamp no longer there", "no longer holds its stamp"},
    {"R6: position no longer there", "no longer holds its position"},
    {"R6: tombstones may be gone", "away for longer than deletions"},
    {"R8: stopped", "nothing was processed. To go on"},
    {"R8: continuing from state", "continuing from state"},
    {"R8: continuing from offsets", "continuing from offsets"},
    {"R8: continuing from empty", "continuing from empty"},
    {"offset lost", "is not in the log"},
    {"offset lost, gone on", "is lost, going on"},
    {"producer retired", "new producer id="},
    {"assignment lost in a commit", "the assignment was lost while a transaction was open"},
    {"assignment lost", "the assignment was lost"},
    {"map full at a commit", "map full at the commit"},
    {"map full at a put", "map full"},
    {"disk full", "no space left"},
    {"fenced", "a newer producer of"},
    {"fenced instance", "another member took instance"},
    {"stale group metadata", "the generation of the group is another"},
    {"a batch was lost", "a batch was lost"},
    {"output refused by the broker", "the broker refuses a batch"},
    {"bad record skipped", "skipped topic"},
    {"bad timer skipped", "skipped a timer"},
    {"restored", "restored records="},
    {"last transaction dropped at a stop", "the last transaction is dropped"},
    {"another recovery", "recovering: "},
};
_Static_assert(sizeof known / sizeof *known == MARK_COUNT, "one count a mark");

void marks_note(struct marks *marks, const char *line)
{
    for (size_t i = 0; i < MARK_COUNT; i++) {
        if (strstr(line, known[i].text) != NULL) {
            marks->counts[i]++;
            return;
        }
    }
}

void marks_add(struct marks *marks, struct marks *seeds, const struct marks *more)
{
    for (size_t i = 0; i < MARK_COUNT; i++) {
        marks->counts[i] += more->counts[i];
        seeds->counts[i] += more->counts[i] > 0 ? 1 : 0;
    }
}

const char *mark_name(size_t index)
{
    return known[index].name;
}

int64_t marks_count(const struct marks *marks, const char *name)
{
    size_t at = 0;
    while (at < MARK_COUNT && strcmp(known[at].name, name) != 0) {
        at++;
    }
    ensure(at < MARK_COUNT);
    return marks->counts[at];
}
