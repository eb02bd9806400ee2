/* SPDX-License-Identifier: Apache-2.0 */
#include "examine.h"

#include <inttypes.h>
#include <stdlib.h>

/* Where a reader is in a partition. */
struct cursor {
    int64_t first, position; /* where it began; where it is */
    size_t next;             /* slot */
};

struct examination {
    struct slots *slots;
    const struct history *history;
    struct findings *findings;
    struct pair_map numbers; /* (reader, place) -> cursor */
    struct cursor *cursors;
};

/* ---- What must be said ---- */

static enum status require_ends(const struct slots *slots, struct error *error)
{
    const struct history *history = slots->history;
    for (size_t i = 0; i < history->stage_count; i++) {
        for (size_t j = 0; j < history->stages[i].output_count; j++) {
            uint32_t topic = history->stages[i].outputs[j];
            bool said = false;
            for (size_t k = 0; k < history->place_count; k++) {
                said = said || (history->places[k].topic == topic && slots->ends[k] != NO_OFFSET);
            }
            if (!said) {
                return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                                 "no \"end\" of output topic %s; without it a lost tail cannot be "
                                 "seen",
                                 label_text(history, topic).text);
            }
        }
    }
    for (size_t i = 0; i < slots->count; i++) {
        uint32_t place = slots->items[i].place;
        if (slots->ends[place] == NO_OFFSET &&
            slots_is_output(history, history->places[place].topic)) {
            return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                             "no \"end\" of %s, which has records; without it a lost tail cannot "
                             "be seen",
                             label_place(history, place).text);
        }
    }
    return STATUS_OK;
}

/* ---- Absence ---- */

static void find_absent(struct examination *on, struct slot *slot, const char *what)
{
    bool later = slot_is_passed(on->slots, slot);
    slot->told = true;
    findings_add(on->findings, later ? ANOMALY_LOST : ANOMALY_UNSEEN,
                 "%s %s and nobody read it, %s", label_slot(on->history, slot).text, what,
                 later ? "but what lies behind it" : "nor anything behind it");
}

/* ---- Transactions ---- */

struct written {
    uint32_t transaction;
    size_t slot;
};

static int compare_written(const void *left, const void *right)
{
    const struct written *a = left;
    const struct written *b = right;
    if (a->transaction != b->transaction) {
        return a->transaction < b->transaction ? -1 : 1;
    }
    return a->slot < b->slot ? -1 : a->slot > b->slot;
}

/* It should be seen if it is committed: somebody read its partition to an end behind it. */
static bool is_missing(const struct slots *slots, const struct slot *slot)
{
    return slot->readers == 0 && slots->followed[slot->place] &&
           slot->offset < slots->ends[slot->place];
}

static void examine_transaction(struct examination *on, const struct written *first, size_t count)
{
    struct slot *items = on->slots->items;
    struct slot *shown = NULL;
    struct slot *missing = NULL;
    struct slot *committed = NULL;
    struct slot *aborted = NULL;
    for (size_t i = 0; i < count; i++) {
        struct slot *slot = &items[first[i].slot];
        committed = slot->written == OUTCOME_OK ? slot : committed;
        aborted = slot->written == OUTCOME_FAILED ? slot : aborted;
        shown = slot_shows(slot) ? slot : shown;
        missing = is_missing(on->slots, slot) && slot->written != OUTCOME_FAILED ? slot : missing;
    }
    const char *name = label_text(on->history, first->transaction).text;
    if (committed != NULL && aborted != NULL) {
        findings_add(
            on->findings, ANOMALY_TORN, "transaction %.60s: %s is committed, %s is aborted", name,
            label_slot(on->history, committed).text, label_slot(on->history, aborted).text);
    }
    if (shown != NULL && missing != NULL) {
        findings_add(on->findings, ANOMALY_TORN, "transaction %.60s: %s was read, %s never", name,
                     label_slot(on->history, shown).text, label_slot(on->history, missing).text);
    }
    for (size_t i = 0; i < count; i++) {
        struct slot *slot = &items[first[i].slot];
        if (slot->written == OUTCOME_OK && is_missing(on->slots, slot)) {
            find_absent(on, slot, "is committed");
        }
    }
}

static void examine_transactions(struct examination *on)
{
    struct slots *slots = on->slots;
    struct written *writes = memory_allocate((slots->count + 1) * sizeof *writes);
    size_t count = 0;
    for (size_t i = 0; i < slots->count; i++) {
        const struct slot *slot = &slots->items[i];
        if (slot->write == NO_ENTRY) {
            continue;
        }
        const struct entry *write = &on->history->entries[slot->write];
        writes[count++] = (struct written){write->who, i};
        if (slot->written == OUTCOME_FAILED && slot->readers != 0) {
            const struct entry *read = &on->history->entries[slot->read];
            findings_add(
                on->findings, ANOMALY_ABORTED_READ,
                "%s of aborted transaction %.60s was read by %.30s (%s)",
                label_slot(on->history, slot).text, label_text(on->history, write->who).text,
                label_text(on->history, read->who).text, label_line(on->history, read).text);
        }
    }
    qsort(writes, count, sizeof *writes, compare_written);
    for (size_t i = 0, next = 0; i < count; i = next) {
        while (next < count && writes[next].transaction == writes[i].transaction) {
            next++;
        }
        examine_transaction(on, &writes[i], next - i);
    }
    free(writes);
}

/* ---- Readers ---- */

static void follow_read(struct examination *on, const struct entry *entry, struct cursor *cursor)
{
    struct slots *slots = on->slots;
    uint64_t bit = slots_reader(slots, entry->who);
    if (entry->offset < cursor->position) {
        findings_add(on->findings, ANOMALY_NONMONOTONIC,
                     "reader %.30s at %s: offset %" PRId64 " of %s, where %" PRId64 " comes next",
                     label_text(on->history, entry->who).text, label_line(on->history, entry).text,
                     entry->offset, label_place(on->history, entry->place).text, cursor->position);
        return;
    }
    for (; slots->items[cursor->next].offset < entry->offset; cursor->next++) {
        struct slot *slot = &slots->items[cursor->next];
        if (slot_shows(slot)) {
            slot->passed |= bit;
            findings_add(on->findings, ANOMALY_SKIPPED,
                         "reader %.30s at %s: from offset %" PRId64 " to %" PRId64
                         ", over %s, which %.30s read",
                         label_text(on->history, entry->who).text,
                         label_line(on->history, entry).text, cursor->position, entry->offset,
                         label_slot(on->history, slot).text,
                         label_text(on->history, on->history->entries[slot->read].who).text);
        }
    }
    cursor->position = entry->offset + 1;
    cursor->next++;
}

static void examine_readers(struct examination *on)
{
    const struct history *history = on->history;
    for (size_t i = 0; i < history->entry_count; i++) {
        const struct entry *entry = &history->entries[i];
        if (entry->kind != ENTRY_READ && entry->kind != ENTRY_SEEK) {
            continue;
        }
        size_t count = on->numbers.count;
        size_t number = *pair_map_at(&on->numbers, entry->who, entry->place, count);
        if (number == count) {
            on->cursors = memory_resize(on->cursors, (count + 1) * sizeof *on->cursors);
            int64_t first = entry->kind == ENTRY_SEEK ? entry->offset : 0;
            on->cursors[number] = (struct cursor){first, 0, on->slots->first[entry->place]};
        }
        struct cursor *cursor = &on->cursors[number];
        if (entry->kind == ENTRY_READ) {
            follow_read(on, entry, cursor);
        } else {
            cursor->position = entry->offset;
            cursor->next = slots_at(on->slots, entry->place, entry->offset);
        }
    }
}

/* ---- Ends ---- */

static void examine_end(struct examination *on, const struct entry *end)
{
    struct slots *slots = on->slots;
    uint64_t bit = slots_reader(slots, end->who);
    const size_t *number = pair_map_find(&on->numbers, end->who, end->place);
    ensure(number == NULL || on->cursors != NULL);
    int64_t first = number == NULL ? 0 : on->cursors[*number].first;
    for (size_t i = slots->first[end->place]; i < slots->first[end->place + 1]; i++) {
        struct slot *slot = &slots->items[i];
        if (slot->offset >= end->offset) {
            if (slot_shows(slot) && !slot->told) {
                slot->told = true;
                findings_add(on->findings, ANOMALY_LOST,
                             "%s was read, but the end is %" PRId64 " (%s)",
                             label_slot(on->history, slot).text, end->offset,
                             label_line(on->history, end).text);
            }
        } else if (slot_shows(slot)) {
            if (slot->offset >= first && ((slot->readers | slot->passed) & bit) == 0) {
                findings_add(on->findings, ANOMALY_UNSEEN,
                             "%s was read by %.30s, not by %.30s, which read to the end (%s)",
                             label_slot(on->history, slot).text,
                             label_text(on->history, on->history->entries[slot->read].who).text,
                             label_text(on->history, end->who).text,
                             label_line(on->history, end).text);
            }
        } else if (slot->sent == OUTCOME_OK && slot->write == NO_ENTRY && !slot->told) {
            find_absent(on, slot, "was acknowledged");
        }
    }
}

enum status examine_log(struct slots *slots, struct findings *findings, struct error *error)
{
    struct examination on = {.slots = slots, .history = slots->history, .findings = findings};
    enum status status = require_ends(slots, error);
    if (status != STATUS_OK) {
        return status;
    }
    examine_transactions(&on);
    examine_readers(&on);
    for (size_t i = 0; i < slots->history->entry_count; i++) {
        const struct entry *entry = &slots->history->entries[i];
        if (entry->kind == ENTRY_END && slots->followed[entry->place]) {
            examine_end(&on, entry);
        }
    }
    pair_map_finish(&on.numbers);
    free(on.cursors);
    return STATUS_OK;
}
