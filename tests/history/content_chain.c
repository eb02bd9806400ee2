/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chains: every output of a key carries the count of its inputs so far and a checksum over all of
 * them in order. An output that does not follow is compared with what a left out, doubled or late
 * input would have made, so that it gets its right name.
 */
#include "content_case.h"

#include "base/hash.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The chain after some inputs. */
struct link {
    uint64_t count;
    uint32_t sum;
};

/* A key: its inputs are order[first], order[first + 1], ... */
struct chain {
    size_t first, count;
    size_t timers;    /* links that timers added; at most one an input */
    size_t next;      /* of the inputs, to show in the topic at hand */
    struct link good; /* after those before `next` */
    struct link last; /* what the newest output said */
};

struct chains {
    size_t *order;
    size_t count;
    struct pair_map keys; /* (key, 0) -> chain */
    struct chain *items;
};

static const struct input *input_at(const struct content_case *on, const struct chains *chains,
                                    const struct chain *chain, size_t index)
{
    return &on->inputs.items[chains->order[chain->first + index]];
}

static struct link add_link(struct link from, struct bytes value)
{
    return (struct link){from.count + 1, hash_crc32c(from.sum, value.data, value.size)};
}

/* The link after one more input; past the last input there is none. */
static bool next_link(const struct content_case *on, const struct chains *chains,
                      const struct chain *chain, struct link from, size_t index, struct link *next)
{
    if (index >= chain->count) {
        return false;
    }
    *next =
        add_link(from, text_get(&on->history->texts, input_at(on, chains, chain, index)->value));
    return true;
}

static bool equal(struct link a, struct link b)
{
    return a.count == b.count && a.sum == b.sum;
}

static bool parse_link(struct bytes text, struct link *link)
{
    char letters[40];
    char again[40];
    if (text.data == NULL || text.size >= sizeof letters) {
        return false;
    }
    memcpy(letters, text.data, text.size);
    letters[text.size] = '\0';
    if (sscanf(letters, "%" SCNu64 ":%" SCNx32, &link->count, &link->sum) != 2) {
        return false;
    }
    snprintf(again, sizeof again, "%" PRIu64 ":%08" PRIx32, link->count, link->sum);
    return strcmp(letters, again) == 0;
}

/* ---- What is expected ---- */

struct sorting {
    uint32_t key;
    size_t input; /* inputs are sorted by lane and rank already */
};

static int compare_sorting(const void *left, const void *right)
{
    const struct sorting *a = left;
    const struct sorting *b = right;
    if (a->key != b->key) {
        return a->key < b->key ? -1 : 1;
    }
    return a->input < b->input ? -1 : a->input > b->input;
}

static enum status add_chain_input(struct content_case *on, struct chains *chains, size_t number)
{
    const struct input *input = &on->inputs.items[number];
    size_t count = chains->keys.count;
    size_t at = *pair_map_at(&chains->keys, input->key, 0, count);
    if (at == count) {
        chains->items = memory_resize(chains->items, (count + 1) * sizeof *chains->items);
        chains->items[at] = (struct chain){.first = chains->count};
    }
    struct chain *chain = &chains->items[at];
    if (input->rank < 0 ||
        (chain->count > 0 && input_at(on, chains, chain, 0)->lane != input->lane)) {
        return error_set(on->error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                         "%s: its place in the order of its key is not known; in this kind every "
                         "input has an offset, or none has, and a key lives in one partition",
                         label_input(on->history, input).text);
    }
    chains->order[chains->count++] = number;
    chain->count++;
    return STATUS_OK;
}

static enum status add_chains(struct content_case *on, struct chains *chains)
{
    struct sorting *sorted = memory_allocate((on->inputs.count + 1) * sizeof *sorted);
    size_t count = 0;
    for (size_t i = 0; i < on->inputs.count; i++) {
        const struct input *input = &on->inputs.items[i];
        if (input->outcome != OUTCOME_FAILED && !input->ignored) {
            sorted[count++] = (struct sorting){input->key, i};
        }
    }
    qsort(sorted, count, sizeof *sorted, compare_sorting);
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        status = add_chain_input(on, chains, sorted[i].input);
    }
    free(sorted);
    return status;
}

/* ---- What was received ---- */

/* Links from `from` on, input by input, until one is `wanted`. False: none is. `skip`: inputs of
 * unknown outcome may have been none. */
static bool search_ahead(struct content_case *on, const struct chains *chains,
                         const struct chain *chain, struct link wanted, bool skip, size_t *found)
{
    struct link link = chain->good;
    for (size_t i = chain->next; i < chain->count; i++) {
        struct link next;
        (void)next_link(on, chains, chain, link, i, &next);
        if (equal(next, wanted)) {
            *found = i;
            return true;
        }
        bool unknown = input_at(on, chains, chain, i)->outcome == OUTCOME_UNKNOWN;
        if (skip && !unknown) {
            return false;
        }
        link = skip ? link : next;
    }
    return false;
}

static bool search_behind(struct content_case *on, const struct chains *chains,
                          const struct chain *chain, struct link wanted, size_t *found)
{
    struct link link = {0, 0};
    for (size_t i = 0; i < chain->next; i++) {
        (void)next_link(on, chains, chain, link, i, &link);
        if (equal(link, wanted)) {
            *found = i;
            return true;
        }
    }
    return false;
}

static void advance(struct content_case *on, struct chains *chains, struct chain *chain,
                    size_t topic, size_t index, struct link good, const struct slot *slot)
{
    (void)content_show(on, topic, chains->order[chain->first + index], slot);
    chain->next = index + 1;
    chain->good = good;
}

/* The inputs up to `found` are in a state that shows; their own outputs are missing. */
static void expect_between(struct content_case *on, const struct chains *chains,
                           const struct chain *chain, size_t found)
{
    for (size_t i = chain->next; i < found; i++) {
        on->inputs.items[chains->order[chain->first + i]].outcome = OUTCOME_OK;
    }
}

/* A link that is not of the chain: made of the last one and a wrong input, or of nothing. */
static void judge_foreign(struct content_case *on, struct chains *chains, struct chain *chain,
                          size_t topic, struct link link, const struct slot *slot)
{
    struct link right = {0, 0};
    struct link other = {0, 0};
    size_t next = chain->next;
    bool has_next = next_link(on, chains, chain, chain->good, next, &right);
    struct label where = label_slot(on->history, slot);
    if (next_link(on, chains, chain, chain->good, next + 1, &other) && equal(other, link)) {
        findings_add(on->findings, ANOMALY_LOST, "%s was left out: %s",
                     label_input(on->history, input_at(on, chains, chain, next)).text, where.text);
        (void)next_link(on, chains, chain, right, next + 1, &right);
        content_pass(on, topic, chains->order[chain->first + next]);
        advance(on, chains, chain, topic, next + 1, right, slot);
    } else if (next > 0 && next_link(on, chains, chain, chain->good, next - 1, &other) &&
               equal(other, link)) {
        findings_add(on->findings, ANOMALY_DUPLICATE, "%s was taken twice: %s",
                     label_input(on->history, input_at(on, chains, chain, next - 1)).text,
                     where.text);
    } else {
        char text[40] = "nothing more";
        if (has_next) {
            snprintf(text, sizeof text, "%" PRIu64 ":%08" PRIx32, right.count, right.sum);
            content_pass(on, topic, chains->order[chain->first + next]);
            chain->next++;
            chain->good = right;
        }
        findings_add(on->findings, ANOMALY_WRONG_VALUE, "%s instead of %s", where.text, text);
    }
}

/* A timer's link goes on from the chain (or from what was wrong already), and takes no input. */
static bool judge_timer(struct content_case *on, struct chain *chain, struct link link,
                        const struct slot *slot)
{
    if (on->stage->timer == TEXT_NONE) {
        return false;
    }
    struct bytes text = text_get(&on->history->texts, on->stage->timer);
    struct link good = add_link(chain->good, text);
    bool follows = equal(good, link);
    if (!follows && !equal(add_link(chain->last, text), link)) {
        return false;
    }
    if (++chain->timers > chain->next) {
        findings_add(on->findings, ANOMALY_DUPLICATE, "more timers than inputs: %s",
                     label_slot(on->history, slot).text);
    }
    chain->good = good;
    return true;
}

static void judge_link(struct content_case *on, struct chains *chains, struct chain *chain,
                       size_t topic, struct link link, const struct slot *slot)
{
    struct link next = {0, 0};
    struct link last = {0, 0};
    size_t found = 0;
    bool more = next_link(on, chains, chain, chain->good, chain->next, &next);
    (void)next_link(on, chains, chain, chain->last, chain->next, &last);
    if ((more && equal(next, link)) || search_ahead(on, chains, chain, link, true, &found)) {
        advance(on, chains, chain, topic, more && equal(next, link) ? chain->next : found, link,
                slot);
    } else if (judge_timer(on, chain, link, slot)) {
        chain->last = link;
        return;
    } else if (search_ahead(on, chains, chain, link, false, &found)) {
        expect_between(on, chains, chain, found);
        advance(on, chains, chain, topic, found, link, slot);
    } else if (search_behind(on, chains, chain, link, &found)) {
        size_t number = chains->order[chain->first + found];
        if (content_show(on, topic, number, slot)) {
            findings_add(on->findings, ANOMALY_ORDER, "an older state comes behind a newer: %s",
                         label_slot(on->history, slot).text);
        }
    } else if (more && equal(last, link)) { /* from what was wrong already */
        advance(on, chains, chain, topic, chain->next, next, slot);
    } else {
        judge_foreign(on, chains, chain, topic, link, slot);
    }
    chain->last = link;
}

static void visit_link(struct content_case *on, size_t topic, const struct slot *slot,
                       void *context)
{
    struct chains *chains = context;
    const size_t *number = pair_map_find(&chains->keys, slot->key, 0);
    struct link link = {0, 0};
    content_home(on, topic, slot);
    if (number == NULL || !parse_link(text_get(&on->history->texts, slot->value), &link)) {
        findings_add(on->findings, ANOMALY_WRONG_VALUE, "%s: %s",
                     label_slot(on->history, slot).text,
                     number == NULL ? "no input has the key" : "no COUNT:CRC");
        return;
    }
    judge_link(on, chains, &chains->items[*number], topic, link, slot);
}

enum status content_chain(struct content_case *on)
{
    struct chains chains = {.order =
                                memory_allocate((on->inputs.count + 1) * sizeof *chains.order)};
    enum status status = add_chains(on, &chains);
    for (size_t i = 0; status == STATUS_OK && i < on->stage->output_count; i++) {
        for (size_t j = 0; j < chains.keys.count; j++) {
            chains.items[j].next = 0;
            chains.items[j].timers = 0;
            chains.items[j].good = (struct link){0, 0};
            chains.items[j].last = (struct link){0, 0};
        }
        content_each(on, i, visit_link, &chains);
    }
    if (status == STATUS_OK) {
        content_expect(on);
    }
    pair_map_finish(&chains.keys);
    free(chains.order);
    free(chains.items);
    return status;
}
