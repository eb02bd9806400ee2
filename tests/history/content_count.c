/* SPDX-License-Identifier: Apache-2.0 */
/* Counts per key: 1, 2, 3, ... An output names no input, so each number of a key is looked at. */
#include "content_case.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What a key should be counted up to. */
struct tally {
    uint32_t key; /* in the case's own texts */
    size_t ok, unknown, failed, undecided;
    size_t first;                      /* of its numbers in `seen` */
    int64_t last[HISTORY_TOPIC_LIMIT]; /* by topic: the highest that shows */
};

struct tallies {
    struct text_table keys;
    struct pair_map numbers; /* (key, 0) -> tally */
    struct tally *items;
    uint8_t *seen; /* by tally and number: bit n = it shows in topic n */
};

static size_t most(const struct tally *tally)
{
    return tally->ok + tally->unknown + tally->undecided;
}

/* ---- What is expected ---- */

static void add_one(struct tallies *tallies, struct bytes key, const struct input *input)
{
    size_t count = tallies->numbers.count;
    uint32_t text = text_put(&tallies->keys, key);
    size_t number = *pair_map_at(&tallies->numbers, text, 0, count);
    if (number == count) {
        if ((count & (count - 1)) == 0) {
            size_t capacity = count == 0 ? 1 : count * 2;
            tallies->items = memory_resize(tallies->items, capacity * sizeof *tallies->items);
        }
        tallies->items[number] = (struct tally){.key = text};
    }
    struct tally *tally = &tallies->items[number];
    if (input->outcome == OUTCOME_FAILED) {
        tally->failed++;
    } else if (!input->decided) {
        tally->undecided++;
    } else if (input->outcome == OUTCOME_UNKNOWN) {
        tally->unknown++;
    } else {
        tally->ok++;
    }
}

static bool is_space(char letter)
{
    return letter != '\0' && strchr(" \t\n\v\f\r", letter) != NULL;
}

static void add_words(struct tallies *tallies, struct bytes text, const struct input *input)
{
    const char *letters = text.data;
    for (size_t i = 0, next = 0; i < text.size; i = next) {
        while (next < text.size && !is_space(letters[next])) {
            next++;
        }
        if (next > i) {
            add_one(tallies, (struct bytes){letters + i, next - i}, input);
        }
        next += next < text.size ? 1 : 0;
    }
}

static void add_inputs(struct content_case *on, struct tallies *tallies, bool words)
{
    const struct text_table *texts = &on->history->texts;
    for (size_t i = 0; i < on->inputs.count; i++) {
        const struct input *input = &on->inputs.items[i];
        if (input->ignored) {
            continue;
        }
        if (words) {
            add_words(tallies, text_get(texts, input->value), input);
        } else {
            add_one(tallies, text_get(texts, input->key), input);
        }
    }
    size_t total = 0;
    for (size_t i = 0; i < tallies->numbers.count; i++) {
        tallies->items[i].first = total;
        total += most(&tallies->items[i]);
    }
    tallies->seen = memory_allocate(total + 1);
}

/* ---- What was received ---- */

/* More than the inputs of the key explain. */
static void find_excess(struct content_case *on, const struct tally *tally, size_t topic,
                        int64_t number, const struct slot *slot)
{
    size_t limit = most(tally);
    enum anomaly anomaly = ANOMALY_WRONG_VALUE;
    if ((size_t)number <= limit + tally->failed) {
        anomaly = ANOMALY_ABORTED_READ;
    } else if (number == tally->last[topic] + 1 && tally->last[topic] > 0) {
        anomaly = ANOMALY_DUPLICATE;
    }
    findings_add(on->findings, anomaly, "%s: the key has %zu inputs (and %zu that failed)",
                 label_slot(on->history, slot).text, limit, tally->failed);
}

static void judge_number(struct content_case *on, struct tallies *tallies, struct tally *tally,
                         size_t topic, int64_t number, const struct slot *slot)
{
    uint8_t *seen = &tallies->seen[tally->first + (size_t)number - 1];
    if ((*seen >> topic & 1) != 0) {
        findings_add(on->findings, ANOMALY_DUPLICATE, "the number shows once more: %s",
                     label_slot(on->history, slot).text);
        return;
    }
    *seen |= (uint8_t)(1U << topic);
    if (number < tally->last[topic]) {
        findings_add(on->findings, ANOMALY_ORDER, "%s comes behind %" PRId64,
                     label_slot(on->history, slot).text, tally->last[topic]);
        return;
    }
    tally->last[topic] = number;
    if ((size_t)number > tally->ok + tally->unknown) {
        findings_add(on->findings, ANOMALY_TORN,
                     "%s: only %zu inputs of the key have a committed offset",
                     label_slot(on->history, slot).text, tally->ok + tally->unknown);
    }
}

static void visit_number(struct content_case *on, size_t topic, const struct slot *slot,
                         void *context)
{
    struct tallies *tallies = context;
    const struct text_table *texts = &on->history->texts;
    struct bytes key = text_get(texts, slot->key);
    uint32_t text = key.data == NULL ? TEXT_NULL : text_find(&tallies->keys, key);
    const size_t *found = pair_map_find(&tallies->numbers, text, 0);
    int64_t number = 0;
    content_home(on, topic, slot);
    if (found == NULL || !content_number(text_get(texts, slot->value), &number) || number < 1) {
        findings_add(on->findings, ANOMALY_WRONG_VALUE, "%s: %s",
                     label_slot(on->history, slot).text,
                     found == NULL ? "no input has the key" : "no count");
        return;
    }
    struct tally *tally = &tallies->items[*found];
    if ((size_t)number > most(tally)) {
        find_excess(on, tally, topic, number, slot);
        tally->last[topic] = number == tally->last[topic] + 1 ? number : tally->last[topic];
    } else {
        judge_number(on, tallies, tally, topic, number, slot);
    }
}

/* ---- What is missing ---- */

static void expect_numbers(struct content_case *on, const struct tallies *tallies,
                           const struct tally *tally)
{
    uint8_t all = (uint8_t)((1U << on->stage->output_count) - 1);
    int64_t last = 0;
    for (size_t i = 0; i < on->stage->output_count; i++) {
        last = tally->last[i] > last ? tally->last[i] : last;
    }
    struct label key;
    struct bytes text = text_get(&tallies->keys, tally->key);
    snprintf(key.text, sizeof key.text, "%.*s", (int)(text.size < 60 ? text.size : 60),
             text.data == NULL ? "" : (const char *)text.data);
    for (size_t i = 0; i < most(tally); i++) {
        uint8_t seen = tallies->seen[tally->first + i];
        bool later = last > (int64_t)i + 1;
        if (seen == all || (seen == 0 && i >= tally->ok && !later)) {
            continue;
        }
        if (seen != 0) {
            findings_add(on->findings, ANOMALY_TORN, "key %s: %zu shows in one output topic only",
                         key.text, i + 1);
        } else {
            findings_add(on->findings, later ? ANOMALY_LOST : ANOMALY_UNSEEN,
                         "key %s: %zu of %zu never shows, %s", key.text, i + 1, tally->ok,
                         later ? "later ones do" : "nor any later");
        }
    }
}

enum status content_count(struct content_case *on, bool words)
{
    struct tallies tallies = {0};
    text_table_init(&tallies.keys);
    add_inputs(on, &tallies, words);
    for (size_t i = 0; i < on->stage->output_count; i++) {
        content_each(on, i, visit_number, &tallies);
    }
    for (size_t i = 0; i < tallies.numbers.count; i++) {
        expect_numbers(on, &tallies, &tallies.items[i]);
    }
    text_table_finish(&tallies.keys);
    pair_map_finish(&tallies.numbers);
    free(tallies.items);
    free(tallies.seen);
    return STATUS_OK;
}
