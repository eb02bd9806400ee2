/* SPDX-License-Identifier: Apache-2.0 */
#include "content_case.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int64_t *last_rank(struct content_case *on, size_t side, uint32_t lane)
{
    return &on->last[side * on->inputs.lane_count + lane];
}

void content_each(struct content_case *on, size_t topic,
                  void (*visit)(struct content_case *on, size_t topic, const struct slot *slot,
                                void *context),
                  void *context)
{
    for (uint32_t i = 0; i < on->history->place_count; i++) {
        if (on->history->places[i].topic != on->stage->outputs[topic]) {
            continue;
        }
        for (size_t j = on->slots->first[i]; j < on->slots->first[i + 1]; j++) {
            const struct slot *slot = &on->slots->items[j];
            if (slot_shows(slot)) {
                on->output_count++;
                visit(on, topic, slot, context);
            }
        }
    }
}

/* It must not show, and does. */
static void find_shown(struct content_case *on, const struct input *input, const struct slot *slot)
{
    struct label label = label_input(on->history, input);
    struct label where = label_slot(on->history, slot);
    if (input->outcome == OUTCOME_FAILED) {
        findings_add(on->findings, ANOMALY_ABORTED_READ, "%s failed, and shows: %s", label.text,
                     where.text);
    } else if (input->ignored) {
        findings_add(on->findings, ANOMALY_WRONG_VALUE, "%s is to be passed over, and shows: %s",
                     label.text, where.text);
    } else {
        findings_add(on->findings, ANOMALY_TORN, "%s shows: %s, and its offset is not committed",
                     label.text, where.text);
    }
}

bool content_show(struct content_case *on, size_t side, size_t number, const struct slot *slot)
{
    const struct input *input = &on->inputs.items[number];
    if ((on->shown[number] >> side & 1) != 0) {
        findings_add(on->findings, ANOMALY_DUPLICATE, "%s shows once more: %s",
                     label_input(on->history, input).text, label_slot(on->history, slot).text);
        return false;
    }
    if (input->outcome == OUTCOME_FAILED || input->ignored || !input->decided) {
        find_shown(on, input, slot);
    }
    content_pass(on, side, number);
    return true;
}

void content_pass(struct content_case *on, size_t side, size_t number)
{
    const struct input *input = &on->inputs.items[number];
    on->shown[number] |= (uint8_t)(1U << side);
    if (input->rank > *last_rank(on, side, input->lane)) {
        *last_rank(on, side, input->lane) = input->rank;
    }
}

static void find_missing(struct content_case *on, size_t number)
{
    const struct input *input = &on->inputs.items[number];
    struct label label = label_input(on->history, input);
    if (on->shown[number] != 0) {
        size_t side = 0;
        while ((on->shown[number] >> side & 1) != 0) {
            side++;
        }
        findings_add(on->findings, ANOMALY_TORN,
                     "%s: a part of its outputs shows, number %zu never", label.text, side + 1);
        return;
    }
    bool later = false;
    for (size_t side = 0; side < on->side_count; side++) {
        later = later || *last_rank(on, side, input->lane) > input->rank;
    }
    findings_add(on->findings, later ? ANOMALY_LOST : ANOMALY_UNSEEN, "%s never shows, %s",
                 label.text, later ? "what follows it does" : "nor what follows it");
}

void content_expect(struct content_case *on)
{
    uint8_t all = (uint8_t)((1U << on->side_count) - 1);
    for (size_t i = 0; i < on->inputs.count; i++) {
        const struct input *input = &on->inputs.items[i];
        bool expected = on->shown[i] != 0 ||
                        (input->outcome == OUTCOME_OK && input->decided && !input->ignored);
        if (expected && on->shown[i] != all) {
            find_missing(on, i);
        }
    }
}

void content_home(struct content_case *on, size_t topic, const struct slot *slot)
{
    size_t here = (size_t)(slot - on->slots->items);
    size_t first = *pair_map_at(&on->homes, (uint32_t)topic, slot->key, here);
    const struct slot *home = &on->slots->items[first];
    if (slot->key != TEXT_NULL && home->place != slot->place) {
        findings_add(on->findings, ANOMALY_ORDER, "one key in two partitions: %s and %s",
                     label_slot(on->history, home).text, label_slot(on->history, slot).text);
    }
}

bool content_number(struct bytes text, int64_t *number)
{
    char digits[24];
    char again[24];
    if (text.data == NULL || text.size >= sizeof digits) {
        return false;
    }
    memcpy(digits, text.data, text.size);
    digits[text.size] = '\0';
    errno = 0;
    *number = strtoll(digits, NULL, 10);
    snprintf(again, sizeof again, "%" PRId64, *number);
    return errno == 0 && strlen(digits) == text.size && strcmp(digits, again) == 0;
}

static enum status examine_kind(struct content_case *on)
{
    switch (on->stage->content) {
    case CONTENT_COPY:
        return content_copy(on);
    case CONTENT_COUNT:
        return content_count(on, false);
    case CONTENT_REGROUP:
        return content_count(on, true);
    case CONTENT_APPEND:
        return content_append(on);
    case CONTENT_CHAIN:
        return content_chain(on);
    case CONTENT_TRANSFER:
        return content_transfer(on);
    case CONTENT_ANY:
    case CONTENT_KINDS:
        break;
    }
    return STATUS_OK;
}

static void count_outputs(struct content_case *on, size_t topic, const struct slot *slot,
                          void *context)
{
    (void)on;
    (void)topic;
    (void)slot;
    (void)context;
}

enum status content_examine(const struct stage *stage, struct slots *slots,
                            struct findings *findings, struct error *error)
{
    struct content_case on = {.stage = stage,
                              .slots = slots,
                              .history = slots->history,
                              .findings = findings,
                              .side_count =
                                  stage->content == CONTENT_TRANSFER ? 2 : stage->output_count,
                              .error = error};
    enum status status = inputs_init(&on.inputs, stage, slots, findings, error);
    if (status == STATUS_OK) {
        size_t lanes = on.side_count * on.inputs.lane_count + 1;
        on.shown = memory_allocate(on.inputs.count + 1);
        on.last = memory_allocate(lanes * sizeof *on.last);
        for (size_t i = 0; i < lanes; i++) {
            on.last[i] = -1;
        }
        status = examine_kind(&on);
        findings->inputs += on.inputs.count;
        for (size_t i = 0; stage->content == CONTENT_ANY && i < stage->output_count; i++) {
            content_each(&on, i, count_outputs, NULL);
        }
        findings->outputs += on.output_count;
        free(on.shown);
        free(on.last);
    }
    pair_map_finish(&on.homes);
    inputs_finish(&on.inputs);
    return status;
}

enum status examine(const struct history *history, struct findings *findings, struct error *error)
{
    *findings = (struct findings){0};
    if (history->stage_count == 0) {
        return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                         "a history begins with a \"topology\"; there is none");
    }
    struct slots slots;
    enum status status = slots_init(&slots, history, findings, error);
    if (status == STATUS_OK) {
        status = examine_log(&slots, findings, error);
    }
    for (size_t i = 0; status == STATUS_OK && i < history->stage_count; i++) {
        status = content_examine(&history->stages[i], &slots, findings, error);
    }
    slots_finish(&slots);
    return status;
}
