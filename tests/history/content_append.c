/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists: every output of a key carries the ids of all its inputs so far. So each must be the one
 * before and exactly one id more; what was done twice, left out or undone shows in every later one.
 */
#include "content_case.h"

#include <stdlib.h>
#include <string.h>

/* A key in one output topic. */
struct state {
    struct bytes good, last; /* the newest list that followed; the newest at all */
};

struct lists {
    struct pair_map ids;   /* (key, id) -> input */
    uint8_t *listed;       /* by input: bit n = it is in a list of topic n */
    struct pair_map seen;  /* (key, value) -> 1, of the topic at hand; so are those below */
    struct pair_map ranks; /* (lane, key) -> the highest rank + 1 */
    struct pair_map keys;  /* (key, 0) -> state */
    struct state *states;
};

/* `text` begins with the whole list `list`, and goes on. */
static bool follows(struct bytes text, struct bytes list)
{
    const char *letters = text.data;
    return text.size > list.size &&
           (list.size == 0 ||
            (memcmp(letters, list.data, list.size) == 0 && letters[list.size] == ','));
}

/* An id that is new in a list of the key. */
static void judge_id(struct content_case *on, struct lists *lists, size_t topic,
                     const struct slot *slot, struct bytes id, bool last)
{
    const size_t *number =
        pair_map_find(&lists->ids, slot->key, text_find(&on->history->texts, id));
    if (id.size == 0 || number == NULL) {
        findings_add(on->findings, ANOMALY_WRONG_VALUE,
                     "no input of the key has the id \"%.*s\": %s",
                     (int)(id.size < 40 ? id.size : 40), (const char *)id.data,
                     label_slot(on->history, slot).text);
        return;
    }
    struct input *input = &on->inputs.items[*number];
    if ((lists->listed[*number] >> topic & 1) != 0) {
        findings_add(on->findings, ANOMALY_DUPLICATE, "%s is in the list once more: %s",
                     label_input(on->history, input).text, label_slot(on->history, slot).text);
        return;
    }
    lists->listed[*number] |= (uint8_t)(1U << topic);
    if (last) {
        (void)content_show(on, topic, *number, slot);
    } else if (input->outcome == OUTCOME_UNKNOWN) {
        input->outcome = OUTCOME_OK; /* it was there; now its own output is expected too */
    } else if (input->outcome == OUTCOME_FAILED) {
        findings_add(on->findings, ANOMALY_ABORTED_READ, "%s failed, and is in %s",
                     label_input(on->history, input).text, label_slot(on->history, slot).text);
    }
    size_t *rank = pair_map_at(&lists->ranks, input->lane, slot->key, 0);
    if (input->rank >= 0 && (size_t)input->rank < *rank) {
        findings_add(on->findings, ANOMALY_ORDER, "%s comes behind a later input: %s",
                     label_input(on->history, input).text, label_slot(on->history, slot).text);
    } else if (input->rank >= 0) {
        *rank = (size_t)input->rank + 1;
    }
}

/* The ids of `text` behind `list`: one, or the outputs between are missing. */
static void judge_new_ids(struct content_case *on, struct lists *lists, size_t topic,
                          const struct slot *slot, struct bytes text, struct bytes list)
{
    const char *at = (const char *)text.data + (list.size == 0 ? 0 : list.size + 1);
    const char *end = (const char *)text.data + text.size;
    for (;;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma == NULL ? end : comma;
        judge_id(on, lists, topic, slot, (struct bytes){at, (size_t)(stop - at)}, comma == NULL);
        if (comma == NULL) {
            return;
        }
        at = comma + 1;
    }
}

/* An older list of the key: seen before, or late. */
static void judge_older(struct content_case *on, struct lists *lists, size_t topic,
                        const struct slot *slot, struct bytes text)
{
    if (pair_map_find(&lists->seen, slot->key, slot->value) != NULL) {
        findings_add(on->findings, ANOMALY_DUPLICATE, "the list shows once more: %s",
                     label_slot(on->history, slot).text);
        return;
    }
    findings_add(on->findings, ANOMALY_ORDER, "an older list comes behind a newer: %s",
                 label_slot(on->history, slot).text);
    const char *letters = text.data;
    size_t begin = text.size;
    while (begin > 0 && letters[begin - 1] != ',') {
        begin--;
    }
    struct bytes id = {letters + begin, text.size - begin};
    const size_t *number =
        pair_map_find(&lists->ids, slot->key, text_find(&on->history->texts, id));
    if (number != NULL) {
        content_pass(on, topic, *number);
    }
}

static struct state *state_of(struct lists *lists, uint32_t key)
{
    size_t count = lists->keys.count;
    size_t number = *pair_map_at(&lists->keys, key, 0, count);
    if (number == count) {
        if ((count & (count - 1)) == 0) {
            size_t capacity = count == 0 ? 1 : count * 2;
            lists->states = memory_resize(lists->states, capacity * sizeof *lists->states);
        }
        lists->states[number] = (struct state){0};
    }
    return &lists->states[number];
}

static void visit_list(struct content_case *on, size_t topic, const struct slot *slot,
                       void *context)
{
    struct lists *lists = context;
    struct bytes text = text_get(&on->history->texts, slot->value);
    struct state *state = state_of(lists, slot->key);
    content_home(on, topic, slot);
    if (follows(text, state->good)) {
        judge_new_ids(on, lists, topic, slot, text, state->good);
        state->good = text;
    } else if (follows(text, state->last)) { /* from what was wrong already */
        judge_new_ids(on, lists, topic, slot, text, state->last);
    } else if (bytes_equal(text, state->good) || follows(state->good, text) ||
               pair_map_find(&lists->seen, slot->key, slot->value) != NULL) {
        judge_older(on, lists, topic, slot, text);
    } else {
        findings_add(on->findings, ANOMALY_WRONG_VALUE, "the list does not go on from %.*s: %s",
                     (int)(state->good.size < 60 ? state->good.size : 60),
                     state->good.data == NULL ? "" : (const char *)state->good.data,
                     label_slot(on->history, slot).text);
    }
    state->last = text;
    (void)pair_map_at(&lists->seen, slot->key, slot->value, 1);
}

static enum status add_ids(struct content_case *on, struct lists *lists)
{
    for (size_t i = 0; i < on->inputs.count; i++) {
        const struct input *input = &on->inputs.items[i];
        struct bytes id = text_get(&on->history->texts, input->value);
        if (input->ignored) {
            continue;
        }
        if (id.size == 0 || memchr(id.data, ',', id.size) != NULL) {
            return error_set(on->error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                             "%s is no id: it is empty or has a comma",
                             label_input(on->history, input).text);
        }
        size_t *there = pair_map_at(&lists->ids, input->key, input->value, i);
        if (*there != i && on->inputs.items[*there].outcome == OUTCOME_FAILED) {
            *there = i;
        } else if (*there != i && input->outcome != OUTCOME_FAILED) {
            return error_set(on->error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                             "%s and %s are the same: in this kind every id of a key is unique",
                             label_input(on->history, &on->inputs.items[*there]).text,
                             label_input(on->history, input).text);
        }
    }
    return STATUS_OK;
}

static void finish_topic(struct lists *lists)
{
    pair_map_finish(&lists->seen);
    pair_map_finish(&lists->ranks);
    pair_map_finish(&lists->keys);
    free(lists->states);
    lists->states = NULL;
}

enum status content_append(struct content_case *on)
{
    struct lists lists = {.listed = memory_allocate(on->inputs.count + 1)};
    enum status status = add_ids(on, &lists);
    for (size_t i = 0; status == STATUS_OK && i < on->stage->output_count; i++) {
        content_each(on, i, visit_list, &lists);
        finish_topic(&lists);
    }
    if (status == STATUS_OK) {
        content_expect(on);
    }
    pair_map_finish(&lists.ids);
    free(lists.listed);
    return status;
}
