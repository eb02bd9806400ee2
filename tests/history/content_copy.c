/* SPDX-License-Identifier: Apache-2.0 */
/* Copies and transfers: outputs that name the one input they came from. */
#include "content_case.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { AMOUNT_LIMIT = 1000000000 };

/* Inputs by what identifies them; and how far each lane came in each output partition. */
struct origins {
    struct pair_map inputs;
    struct pair_map ranks; /* (lane, output place) -> the highest rank + 1 */
};

/* Gives a pair its input. What failed makes room for what was sent again. */
static enum status add_origin(struct content_case *on, struct origins *origins, uint32_t first,
                              uint32_t second, size_t number)
{
    const struct input *items = on->inputs.items;
    size_t *there = pair_map_at(&origins->inputs, first, second, number);
    if (*there == number || items[number].outcome == OUTCOME_FAILED) {
        return STATUS_OK;
    }
    if (items[*there].outcome == OUTCOME_FAILED) {
        *there = number;
        return STATUS_OK;
    }
    return error_set(on->error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                     "%s and %s are the same: in this kind every input must be unique",
                     label_input(on->history, &items[*there]).text,
                     label_input(on->history, &items[number]).text);
}

/* What comes from one lane into one partition keeps its order. */
static void judge_order(struct content_case *on, struct origins *origins, size_t number,
                        const struct slot *slot)
{
    const struct input *input = &on->inputs.items[number];
    if (input->rank < 0) {
        return;
    }
    size_t *rank = pair_map_at(&origins->ranks, input->lane, slot->place, 0);
    if ((size_t)input->rank + 1 < *rank) { /* equal: the other side of a transfer */
        findings_add(on->findings, ANOMALY_ORDER, "%s comes behind a later input: %s",
                     label_input(on->history, input).text, label_slot(on->history, slot).text);
        return;
    }
    *rank = (size_t)input->rank + 1;
}

/* ---- Copy ---- */

static void visit_copy(struct content_case *on, size_t topic, const struct slot *slot,
                       void *context)
{
    struct origins *origins = context;
    const size_t *number = pair_map_find(&origins->inputs, slot->key, slot->value);
    if (number == NULL) {
        findings_add(on->findings, ANOMALY_WRONG_VALUE, "no input is like %s",
                     label_slot(on->history, slot).text);
    } else if (content_show(on, topic, *number, slot)) {
        judge_order(on, origins, *number, slot);
    }
}

enum status content_copy(struct content_case *on)
{
    struct origins origins = {0};
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < on->inputs.count; i++) {
        const struct input *input = &on->inputs.items[i];
        status = add_origin(on, &origins, input->key, input->value, i);
    }
    for (size_t i = 0; status == STATUS_OK && i < on->stage->output_count; i++) {
        content_each(on, i, visit_copy, &origins);
    }
    if (status == STATUS_OK) {
        content_expect(on);
    }
    pair_map_finish(&origins.inputs);
    pair_map_finish(&origins.ranks);
    return status;
}

/* ---- Transfer ---- */

struct transfer {
    struct bytes id, from, to;
    int64_t amount;
};

struct transfers {
    struct text_table ids;
    struct origins origins; /* (id, 0) -> input */
    struct transfer *items; /* by input */
    int64_t sum;
};

/* The next word; nothing at the end, or where two blanks follow one another. */
static struct bytes next_word(struct bytes *text)
{
    const char *begin = text->data;
    const char *blank = text->size == 0 ? NULL : memchr(begin, ' ', text->size);
    struct bytes word = {begin, blank == NULL ? text->size : (size_t)(blank - begin)};
    size_t taken = blank == NULL ? text->size : word.size + 1;
    *text = (struct bytes){begin == NULL ? NULL : begin + taken, text->size - taken};
    return word;
}

static bool parse_transfer(struct bytes text, struct transfer *transfer)
{
    transfer->id = next_word(&text);
    transfer->from = next_word(&text);
    transfer->to = next_word(&text);
    return transfer->id.size > 0 && transfer->from.size > 0 && transfer->to.size > 0 &&
           content_number(text, &transfer->amount) && transfer->amount > 0 &&
           transfer->amount <= AMOUNT_LIMIT;
}

static void visit_side(struct content_case *on, size_t topic, const struct slot *slot,
                       void *context)
{
    struct transfers *transfers = context;
    struct bytes text = text_get(&on->history->texts, slot->value);
    struct bytes id = next_word(&text);
    int64_t amount = 0;
    const size_t *number =
        pair_map_find(&transfers->origins.inputs, text_find(&transfers->ids, id), TEXT_NONE);
    if (id.size == 0 || number == NULL || !content_number(text, &amount)) {
        findings_add(on->findings, ANOMALY_WRONG_VALUE, "no input explains %s",
                     label_slot(on->history, slot).text);
        return;
    }
    const struct transfer *transfer = &transfers->items[*number];
    size_t side = amount < 0 ? 0 : 1;
    struct bytes account = side == 0 ? transfer->from : transfer->to;
    transfers->sum += amount;
    if (amount != (side == 0 ? -transfer->amount : transfer->amount) ||
        !bytes_equal(text_get(&on->history->texts, slot->key), account) ||
        (on->stage->output_count == 2 && topic != side)) {
        findings_add(on->findings, ANOMALY_WRONG_VALUE, "%s does not follow from %s",
                     label_slot(on->history, slot).text,
                     label_input(on->history, &on->inputs.items[*number]).text);
    }
    if (content_show(on, side, *number, slot)) {
        judge_order(on, &transfers->origins, *number, slot);
    }
}

static enum status add_transfer(struct content_case *on, struct transfers *transfers, size_t number)
{
    struct input *input = &on->inputs.items[number];
    struct transfer *transfer = &transfers->items[number];
    if (input->ignored) {
        return STATUS_OK;
    }
    if (!parse_transfer(text_get(&on->history->texts, input->value), transfer)) {
        return error_set(on->error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                         "%s is no transfer: ID FROM TO AMOUNT",
                         label_input(on->history, input).text);
    }
    return add_origin(on, &transfers->origins, text_put(&transfers->ids, transfer->id), TEXT_NONE,
                      number);
}

enum status content_transfer(struct content_case *on)
{
    struct transfers transfers = {
        .items = memory_allocate((on->inputs.count + 1) * sizeof *transfers.items)};
    enum status status = STATUS_OK;
    text_table_init(&transfers.ids);
    for (size_t i = 0; status == STATUS_OK && i < on->inputs.count; i++) {
        status = add_transfer(on, &transfers, i);
    }
    for (size_t i = 0; status == STATUS_OK && i < on->stage->output_count; i++) {
        content_each(on, i, visit_side, &transfers);
    }
    if (status == STATUS_OK) {
        content_expect(on);
        if (transfers.sum != 0) {
            findings_add(on->findings, ANOMALY_TORN, "the amounts add up to %" PRId64 ", not 0",
                         transfers.sum);
        }
    }
    pair_map_finish(&transfers.origins.inputs);
    pair_map_finish(&transfers.origins.ranks);
    text_table_finish(&transfers.ids);
    free(transfers.items);
    return status;
}
