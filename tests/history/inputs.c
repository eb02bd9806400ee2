/* SPDX-License-Identifier: Apache-2.0 */
#include "examine.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What is known while the inputs of a stage are put together. */
struct gathering {
    struct inputs *inputs;
    const struct stage *stage;
    struct slots *slots;
    const struct history *history;
    struct findings *findings;
    struct pair_map lanes;     /* (place, key or TEXT_NONE) -> lane */
    struct pair_map committed; /* (place, 0) -> entry */
    size_t capacity;
};

struct label label_input(const struct history *history, const struct input *input)
{
    struct label label;
    snprintf(label.text, sizeof label.text, "%.30s = %.60s (%s)",
             label_text(history, input->key).text, label_text(history, input->value).text,
             label_line(history, &history->entries[input->entry]).text);
    return label;
}

static bool ends_with(struct bytes text, struct bytes end)
{
    return text.data != NULL && text.size >= end.size &&
           memcmp((const char *)text.data + text.size - end.size, end.data, end.size) == 0;
}

static bool is_ignored(const struct gathering *on, uint32_t value)
{
    for (size_t i = 0; i < on->stage->ignored_count; i++) {
        if (ends_with(text_get(&on->history->texts, value),
                      text_get(&on->history->texts, on->stage->ignored[i]))) {
            return true;
        }
    }
    return false;
}

/* A partition is one sequence; where the partition is not known, a key is. */
static uint32_t lane_of(struct gathering *on, uint32_t place, uint32_t key)
{
    bool known = on->history->places[place].partition != NO_PARTITION;
    size_t count = on->lanes.count;
    return (uint32_t)*pair_map_at(&on->lanes, place, known ? TEXT_NONE : key, count);
}

static struct input *add_input(struct gathering *on, const struct input *input)
{
    struct inputs *inputs = on->inputs;
    if (inputs->count == on->capacity) {
        on->capacity = on->capacity == 0 ? 256 : on->capacity * 2;
        inputs->items = memory_resize(inputs->items, on->capacity * sizeof *inputs->items);
    }
    struct input *added = &inputs->items[inputs->count++];
    *added = *input;
    added->ignored = is_ignored(on, input->value);
    return added;
}

/* ---- From offsets ---- */

static enum outcome slot_outcome(const struct slot *slot)
{
    if (slot->written == OUTCOME_FAILED) {
        return OUTCOME_FAILED;
    }
    bool certain = slot->readers != 0 || slot->sent == OUTCOME_OK || slot->written == OUTCOME_OK;
    return certain ? OUTCOME_OK : OUTCOME_UNKNOWN;
}

static void gather_slots(struct gathering *on, uint32_t place)
{
    const size_t *committed = pair_map_find(&on->committed, place, 0);
    int64_t rank = 0;
    for (size_t i = on->slots->first[place]; i < on->slots->first[place + 1]; i++) {
        const struct slot *slot = &on->slots->items[i];
        if (slot->key == TEXT_NONE) {
            continue; /* a write of which only the offset is known, and which nobody read */
        }
        struct input input = {.outcome = slot_outcome(slot),
                              .decided = committed == NULL ||
                                         slot->offset < on->history->entries[*committed].offset,
                              .key = slot->key,
                              .value = slot->value,
                              .lane = lane_of(on, place, slot->key),
                              .entry = slot->content,
                              .rank = rank++};
        (void)add_input(on, &input);
    }
}

/* ---- From sends ---- */

/* Sends that do not say their offset, to a topic that nobody reads: they are the input. */
static void gather_sends(struct gathering *on, uint32_t topic)
{
    const struct history *history = on->history;
    struct pair_map ranks = {0}; /* (lane, 0) -> the next */
    for (size_t i = 0; i < history->entry_count; i++) {
        const struct entry *entry = &history->entries[i];
        if (entry->kind != ENTRY_SEND || entry->offset != NO_OFFSET ||
            history->places[entry->place].topic != topic) {
            continue;
        }
        uint32_t lane = lane_of(on, entry->place, entry->key);
        bool ranked = entry->outcome != OUTCOME_FAILED &&
                      on->slots->first[entry->place] == on->slots->first[entry->place + 1];
        struct input input = {.outcome = entry->outcome,
                              .decided = true,
                              .key = entry->key,
                              .value = entry->value,
                              .lane = lane,
                              .entry = (uint32_t)i,
                              .rank = -1};
        if (ranked) {
            input.rank = (int64_t)(*pair_map_at(&ranks, lane, 0, 0))++;
        }
        (void)add_input(on, &input);
    }
    pair_map_finish(&ranks);
}

/* What was sent and read of one content. */
struct balance {
    uint32_t entry; /* the first */
    size_t ok, unknown, failed, shown;
    bool placed; /* all that is acknowledged says its offset; its absence is found there */
};

static void judge_balance(struct gathering *on, const struct balance *balance)
{
    const struct history *history = on->history;
    const struct entry *entry = &history->entries[balance->entry];
    struct label key = label_text(history, entry->key);
    struct label value = label_text(history, entry->value);
    struct label line = label_line(history, entry);
    struct label place = label_place(history, entry->place);
    size_t most = balance->ok + balance->unknown;
    if (balance->shown < balance->ok && !balance->placed) {
        findings_add(on->findings, ANOMALY_LOST,
                     "%s: %.30s = %.50s (%s): %zu acknowledged, %zu read", place.text, key.text,
                     value.text, line.text, balance->ok, balance->shown);
    }
    if (balance->shown <= most) {
        return;
    }
    enum anomaly anomaly = balance->failed > 0 ? ANOMALY_ABORTED_READ
                           : most > 0          ? ANOMALY_DUPLICATE
                                               : ANOMALY_WRONG_VALUE;
    findings_add(
        on->findings, anomaly,
        "%s: %.30s = %.50s (%s): read %zu times; acknowledged %zu, unknown %zu, failed %zu",
        place.text, key.text, value.text, line.text, balance->shown, balance->ok, balance->unknown,
        balance->failed);
}

/* The sends of a topic that is read are held against what was read. */
static void compare_sends(struct gathering *on, uint32_t topic)
{
    const struct history *history = on->history;
    struct pair_map numbers = {0}; /* (key, value) -> balance */
    struct balance *balances = memory_allocate(sizeof *balances);
    bool sent = false;
    for (size_t i = 0; i < history->entry_count; i++) {
        const struct entry *entry = &history->entries[i];
        if ((entry->kind != ENTRY_SEND && entry->kind != ENTRY_READ) ||
            history->places[entry->place].topic != topic) {
            continue;
        }
        size_t count = numbers.count;
        size_t number = *pair_map_at(&numbers, entry->key, entry->value, count);
        if (number == count) {
            balances = memory_resize(balances, (count + 1) * sizeof *balances);
            balances[number] = (struct balance){.entry = (uint32_t)i, .placed = true};
        }
        struct balance *balance = &balances[number];
        if (entry->kind == ENTRY_READ) {
            const struct slot *slot =
                &on->slots->items[slots_at(on->slots, entry->place, entry->offset)];
            balance->shown += slot->read == i && slot_shows(slot) ? 1 : 0;
            continue;
        }
        sent = true;
        balance->ok += entry->outcome == OUTCOME_OK ? 1 : 0;
        balance->unknown += entry->outcome == OUTCOME_UNKNOWN ? 1 : 0;
        balance->failed += entry->outcome == OUTCOME_FAILED ? 1 : 0;
        bool placed = entry->offset != NO_OFFSET && on->slots->ends[entry->place] != NO_OFFSET;
        balance->placed = balance->placed && (entry->outcome != OUTCOME_OK || placed);
    }
    for (size_t i = 0; sent && i < numbers.count; i++) {
        judge_balance(on, &balances[i]);
    }
    pair_map_finish(&numbers);
    free(balances);
}

static void gather_topic(struct gathering *on, uint32_t topic)
{
    bool followed = false;
    for (uint32_t i = 0; i < on->history->place_count; i++) {
        if (on->history->places[i].topic == topic) {
            followed = followed || on->slots->followed[i];
            gather_slots(on, i);
        }
    }
    if (followed) {
        compare_sends(on, topic);
    } else {
        gather_sends(on, topic);
    }
}

/* ---- Committed offsets ---- */

static bool is_input(const struct gathering *on, uint32_t place)
{
    for (size_t i = 0; i < on->stage->input_count; i++) {
        if (on->history->places[place].topic == on->stage->inputs[i]) {
            return true;
        }
    }
    return false;
}

static enum status note_committed(struct gathering *on, struct error *error)
{
    const struct history *history = on->history;
    uint32_t group = on->stage->group;
    for (size_t i = 0; i < history->entry_count; i++) {
        const struct entry *entry = &history->entries[i];
        if (entry->kind != ENTRY_COMMITTED || !is_input(on, entry->place) ||
            (group != TEXT_NONE && entry->who != group)) {
            continue;
        }
        size_t first = *pair_map_at(&on->committed, entry->place, 0, i);
        if (first != i && history->entries[first].offset != entry->offset) {
            return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                             "%s: a second committed offset of %s, %" PRId64 " and %" PRId64
                             "; only the final one belongs here",
                             label_line(history, entry).text,
                             label_place(history, entry->place).text,
                             history->entries[first].offset, entry->offset);
        }
    }
    return STATUS_OK;
}

static void judge_committed(struct gathering *on, uint32_t place)
{
    const struct history *history = on->history;
    const size_t *number = pair_map_find(&on->committed, place, 0);
    const struct slot *last = NULL;
    for (size_t i = on->slots->first[place]; i < on->slots->first[place + 1]; i++) {
        const struct slot *slot = &on->slots->items[i];
        last = slot->key != TEXT_NONE && slot_outcome(slot) == OUTCOME_OK ? slot : last;
    }
    struct label name = label_place(history, place);
    if (number == NULL) {
        if (last != NULL) {
            findings_add(on->findings, ANOMALY_POSITION, "%s has no committed offset, but %s",
                         name.text, label_slot(history, last).text);
        }
        return;
    }
    const struct entry *committed = &history->entries[*number];
    int64_t end = on->slots->ends[place];
    if (last != NULL && committed->offset <= last->offset) {
        findings_add(on->findings, ANOMALY_POSITION,
                     "%s is committed to %" PRId64 " (%s), before %s", name.text, committed->offset,
                     label_line(history, committed).text, label_slot(history, last).text);
    } else if (end != NO_OFFSET &&
               (committed->offset > end || (last == NULL && committed->offset != end))) {
        findings_add(on->findings, ANOMALY_POSITION,
                     "%s is committed to %" PRId64 " (%s), and its end is %" PRId64, name.text,
                     committed->offset, label_line(history, committed).text, end);
    }
}

/* ---- All together ---- */

/* Ranked ones by lane and rank; what has no rank comes first in its lane. */
static int compare_inputs(const void *left, const void *right)
{
    const struct input *a = left;
    const struct input *b = right;
    if (a->lane != b->lane) {
        return a->lane < b->lane ? -1 : 1;
    }
    if (a->rank != b->rank) {
        return a->rank < b->rank ? -1 : 1;
    }
    return a->entry < b->entry ? -1 : 1;
}

enum status inputs_init(struct inputs *inputs, const struct stage *stage, struct slots *slots,
                        struct findings *findings, struct error *error)
{
    *inputs = (struct inputs){0};
    struct gathering on = {.inputs = inputs,
                           .stage = stage,
                           .slots = slots,
                           .history = slots->history,
                           .findings = findings};
    enum status status = note_committed(&on, error);
    if (status == STATUS_OK) {
        for (size_t i = 0; i < stage->input_count; i++) {
            gather_topic(&on, stage->inputs[i]);
        }
        for (uint32_t i = 0; on.committed.count > 0 && i < slots->history->place_count; i++) {
            if (is_input(&on, i) && slots->history->places[i].partition != NO_PARTITION) {
                judge_committed(&on, i);
            }
        }
        inputs->lane_count = on.lanes.count;
        if (inputs->count > 0) {
            qsort(inputs->items, inputs->count, sizeof *inputs->items, compare_inputs);
        }
    }
    pair_map_finish(&on.lanes);
    pair_map_finish(&on.committed);
    return status;
}

void inputs_finish(struct inputs *inputs)
{
    free(inputs->items);
}
