/* SPDX-License-Identifier: Apache-2.0 */
#include "slots.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

bool slot_shows(const struct slot *slot)
{
    return slot->readers != 0 && slot->written != OUTCOME_FAILED;
}

struct label label_slot(const struct history *history, const struct slot *slot)
{
    struct label label;
    snprintf(label.text, sizeof label.text, "%s offset %" PRId64 " (%.30s = %.50s, %s)",
             label_place(history, slot->place).text, slot->offset,
             label_text(history, slot->key).text, label_text(history, slot->value).text,
             label_line(history, &history->entries[slot->content]).text);
    return label;
}

/* ---- Building ---- */

/* What is to be sorted: an entry with an offset. */
struct item {
    int64_t offset;
    uint32_t place, entry;
};

static int compare_items(const void *left, const void *right)
{
    const struct item *a = left;
    const struct item *b = right;
    if (a->place != b->place) {
        return a->place < b->place ? -1 : 1;
    }
    if (a->offset != b->offset) {
        return a->offset < b->offset ? -1 : 1;
    }
    return a->entry < b->entry ? -1 : 1;
}

static bool has_slot(const struct entry *entry)
{
    return entry->offset != NO_OFFSET &&
           (entry->kind == ENTRY_SEND || entry->kind == ENTRY_READ || entry->kind == ENTRY_WRITE);
}

static struct item *sort_items(const struct history *history, size_t *count)
{
    struct item *items = memory_allocate((history->entry_count + 1) * sizeof *items);
    *count = 0;
    for (size_t i = 0; i < history->entry_count; i++) {
        const struct entry *entry = &history->entries[i];
        if (has_slot(entry)) {
            items[(*count)++] = (struct item){entry->offset, entry->place, (uint32_t)i};
        }
    }
    qsort(items, *count, sizeof *items, compare_items);
    return items;
}

static enum status number_readers(struct slots *slots, struct error *error)
{
    const struct history *history = slots->history;
    for (size_t i = 0; i < history->entry_count; i++) {
        const struct entry *entry = &history->entries[i];
        if (entry->kind != ENTRY_READ) {
            continue;
        }
        size_t number = *pair_map_at(&slots->readers, entry->who, 0, slots->readers.count);
        if (number >= READER_LIMIT) {
            return error_set(error, STATUS_BAD_CONFIG, ERROR_LIMIT,
                             "%s: more than %d readers; give those that follow one another one "
                             "name, with a \"seek\" between",
                             label_line(history, entry).text, READER_LIMIT);
        }
    }
    return STATUS_OK;
}

uint64_t slots_reader(const struct slots *slots, uint32_t reader)
{
    const size_t *number = pair_map_find(&slots->readers, reader, 0);
    return number == NULL ? 0 : UINT64_C(1) << *number;
}

static void join_content(const struct history *history, struct slot *slot, uint32_t number,
                         struct findings *findings)
{
    const struct entry *entry = &history->entries[number];
    if (entry->key == TEXT_NONE) {
        return;
    }
    if (slot->key == TEXT_NONE) {
        slot->key = entry->key;
        slot->value = entry->value;
        slot->content = number;
    } else if (slot->key != entry->key || slot->value != entry->value) {
        findings_add(findings, ANOMALY_INCONSISTENT_OFFSET, "%s is also %.30s = %.50s (%s)",
                     label_slot(history, slot).text, label_text(history, entry->key).text,
                     label_text(history, entry->value).text, label_line(history, entry).text);
    }
}

static void join_write(const struct history *history, struct slot *slot, uint32_t number,
                       struct findings *findings)
{
    const struct entry *entry = &history->entries[number];
    if (slot->write == NO_ENTRY) {
        slot->write = number;
        slot->written = entry->outcome;
    } else if (history->entries[slot->write].who != entry->who || slot->written != entry->outcome) {
        findings_add(findings, ANOMALY_INCONSISTENT_OFFSET,
                     "%s was written by %s, and by %s (%s) or with another outcome",
                     label_slot(history, slot).text,
                     label_text(history, history->entries[slot->write].who).text,
                     label_text(history, entry->who).text, label_line(history, entry).text);
    }
}

static void join_entry(struct slots *slots, struct slot *slot, uint32_t number,
                       struct findings *findings)
{
    const struct history *history = slots->history;
    const struct entry *entry = &history->entries[number];
    join_content(history, slot, number, findings);
    switch (entry->kind) {
    case ENTRY_SEND:
        if (slot->send == NO_ENTRY) {
            slot->send = number;
            slot->sent = entry->outcome;
        } else {
            findings_add(findings, ANOMALY_INCONSISTENT_OFFSET, "%s was sent twice (%s)",
                         label_slot(history, slot).text, label_line(history, entry).text);
        }
        break;
    case ENTRY_READ:
        slot->read = slot->read == NO_ENTRY ? number : slot->read;
        slot->readers |= slots_reader(slots, entry->who);
        break;
    case ENTRY_WRITE:
        join_write(history, slot, number, findings);
        break;
    case ENTRY_SEEK:
    case ENTRY_COMMITTED:
    case ENTRY_END:
        break; /* has_slot leaves them out */
    }
}

static void join_entries(struct slots *slots, struct findings *findings)
{
    const struct history *history = slots->history;
    size_t count = 0;
    struct item *items = sort_items(history, &count);
    slots->items = memory_allocate((count + 1) * sizeof *slots->items);
    uint32_t place = 0;
    for (size_t i = 0; i < count; i++) {
        bool same =
            i > 0 && items[i - 1].place == items[i].place && items[i - 1].offset == items[i].offset;
        if (!same) {
            for (; place <= items[i].place; place++) {
                slots->first[place] = slots->count;
            }
            slots->items[slots->count++] = (struct slot){.place = items[i].place,
                                                         .offset = items[i].offset,
                                                         .content = items[i].entry,
                                                         .send = NO_ENTRY,
                                                         .read = NO_ENTRY,
                                                         .write = NO_ENTRY};
        }
        join_entry(slots, &slots->items[slots->count - 1], items[i].entry, findings);
    }
    for (; place <= history->place_count; place++) {
        slots->first[place] = slots->count;
    }
    free(items);
}

static enum status note_ends(struct slots *slots, struct error *error)
{
    const struct history *history = slots->history;
    for (size_t i = 0; i < history->place_count; i++) {
        slots->ends[i] = NO_OFFSET;
    }
    for (size_t i = 0; i < history->entry_count; i++) {
        const struct entry *entry = &history->entries[i];
        if (entry->kind != ENTRY_END) {
            continue;
        }
        int64_t *end = &slots->ends[entry->place];
        if (*end != NO_OFFSET && *end != entry->offset) {
            return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                             "%s: the end of %s is %" PRId64 ", and was %" PRId64 " before",
                             label_line(history, entry).text,
                             label_place(history, entry->place).text, entry->offset, *end);
        }
        *end = entry->offset;
    }
    return STATUS_OK;
}

bool slots_is_output(const struct history *history, uint32_t topic)
{
    for (size_t i = 0; i < history->stage_count; i++) {
        for (size_t j = 0; j < history->stages[i].output_count; j++) {
            if (history->stages[i].outputs[j] == topic) {
                return true;
            }
        }
    }
    return false;
}

bool slot_is_passed(const struct slots *slots, const struct slot *slot)
{
    return slots->last[slot->place] > slot->offset;
}

static void note_readings(struct slots *slots)
{
    const struct history *history = slots->history;
    struct pair_map topics = {0};
    for (size_t i = 0; i < history->place_count; i++) {
        slots->last[i] = NO_OFFSET;
    }
    for (size_t i = 0; i < slots->count; i++) {
        const struct slot *slot = &slots->items[i];
        if (slot->readers != 0) {
            (void)pair_map_at(&topics, history->places[slot->place].topic, 0, 1);
        }
        if (slot_shows(slot)) {
            slots->last[slot->place] = slot->offset;
        }
    }
    for (size_t i = 0; i < history->place_count; i++) {
        uint32_t topic = history->places[i].topic;
        slots->followed[i] =
            pair_map_find(&topics, topic, 0) != NULL || slots_is_output(history, topic);
    }
    pair_map_finish(&topics);
}

enum status slots_init(struct slots *slots, const struct history *history,
                       struct findings *findings, struct error *error)
{
    ensure(history->entry_count < NO_ENTRY);
    size_t places = history->place_count + 1;
    *slots = (struct slots){.history = history,
                            .first = memory_allocate((places + 1) * sizeof *slots->first),
                            .ends = memory_allocate(places * sizeof *slots->ends),
                            .last = memory_allocate(places * sizeof *slots->last),
                            .followed = memory_allocate(places * sizeof *slots->followed)};
    enum status status = number_readers(slots, error);
    if (status == STATUS_OK) {
        status = note_ends(slots, error);
    }
    if (status == STATUS_OK) {
        join_entries(slots, findings);
        note_readings(slots);
    }
    return status;
}

void slots_finish(struct slots *slots)
{
    free(slots->items);
    free(slots->first);
    free(slots->ends);
    free(slots->last);
    free(slots->followed);
    pair_map_finish(&slots->readers);
}

size_t slots_at(const struct slots *slots, uint32_t place, int64_t offset)
{
    size_t low = slots->first[place];
    size_t high = slots->first[place + 1];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slots->items[middle].offset < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}
