/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expected: the sequential recomputation. One partition after the other, records in their order,
 * with timers as docs/operators.md defines them: those that a record makes due before it, those set
 * in the past right after it, in order of time and then of key.
 */
#include "facts.h"
#include "tally.h"

#include "base/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { KEYS = 2, TIMERS = 16 };

struct sequence {
    char key[8];
    char chain[TALLY_TEXT]; /* empty: none */
    struct {
        int count, index; /* of the chain when it came, and of the record */
    } rows[TALLY_RECORDS];
    int row_count;
    int outputs, lates; /* so far */
};

struct partition {
    int number;
    int64_t stream_time;
    bool timed;
    struct sequence keys[KEYS];
    int key_count;
    struct {
        int64_t due_ms;
        struct sequence *of;
    } timers[TIMERS];
    int timer_count;
    struct facts *facts;
};

static struct sequence *sequence_of(struct partition *partition, const char *key)
{
    int i = 0;
    while (i < partition->key_count && strcmp(partition->keys[i].key, key) != 0) {
        i++;
    }
    if (i == partition->key_count) {
        ensure(i < KEYS);
        (void)snprintf(partition->keys[i].key, sizeof partition->keys[i].key, "%s", key);
        partition->key_count++;
    }
    return &partition->keys[i];
}

static void set_timer(struct partition *partition, struct sequence *of, int64_t due_ms)
{
    for (int i = 0; i < partition->timer_count; i++) {
        if (partition->timers[i].of == of && partition->timers[i].due_ms == due_ms) {
            return; /* its identity: set twice is set once */
        }
    }
    ensure(partition->timer_count < TIMERS);
    partition->timers[partition->timer_count].of = of;
    partition->timers[partition->timer_count++].due_ms = due_ms;
}

static void ring_due(struct partition *partition)
{
    for (;;) {
        int first = -1;
        for (int i = 0; i < partition->timer_count; i++) {
            bool due = partition->timers[i].due_ms <= partition->stream_time;
            bool earlier =
                first < 0 || partition->timers[i].due_ms < partition->timers[first].due_ms ||
                (partition->timers[i].due_ms == partition->timers[first].due_ms &&
                 strcmp(partition->timers[i].of->key, partition->timers[first].of->key) < 0);
            first = due && earlier ? i : first;
        }
        if (first < 0) {
            return;
        }
        struct sequence *of = partition->timers[first].of;
        partition->timers[first] = partition->timers[--partition->timer_count];
        if (of->chain[0] == '\0') {
            facts_add(partition->facts, "late %s %d: none", of->key, of->lates++);
            continue;
        }
        facts_add(partition->facts, "late %s %d: %s of %d rows", of->key, of->lates++, of->chain,
                  of->row_count);
        if (of->row_count > 0) {
            of->row_count--;
            memmove(of->rows, of->rows + 1, (size_t)of->row_count * sizeof *of->rows);
        }
    }
}

static void take(struct partition *partition, int index)
{
    struct tally_input input = tally_input(partition->number, index);
    struct sequence *of = sequence_of(partition, input.key);
    if (input.timestamp_ms > partition->stream_time) {
        partition->stream_time = input.timestamp_ms;
    }
    ring_due(partition);
    tally_add(of->chain, input.value, strlen(input.value));
    facts_add(partition->facts, "out %s %d: %s", of->key, of->outputs++, of->chain);
    if (input.value[strlen(input.value) - 1] == 'x') {
        of->chain[0] = '\0';
        of->row_count = 0;
    } else {
        of->rows[of->row_count].count = tally_count(of->chain);
        of->rows[of->row_count++].index = index;
        if (partition->timed) {
            set_timer(partition, of, tally_due_ms(input.timestamp_ms));
        }
    }
    ring_due(partition);
}

/* A row that the store and the changelog must both hold. */
static void expect_row(struct facts *facts, const char *table, const char *key, const char *value)
{
    facts_add(facts, "store %s %s: %s", table, key, value);
    facts_add(facts, "changelog %s %s: %s", table, key, value);
}

static void expect_state(const struct partition *partition)
{
    for (int i = 0; i < partition->key_count; i++) {
        const struct sequence *of = &partition->keys[i];
        if (of->chain[0] != '\0') {
            expect_row(partition->facts, "tally/chains", of->key, of->chain);
        }
        for (int r = 0; r < of->row_count; r++) {
            char key[32];
            (void)snprintf(key, sizeof key, "%s/%06d", of->key, of->rows[r].count);
            expect_row(partition->facts, "tally/rows", key,
                       tally_input(partition->number, of->rows[r].index).value);
        }
    }
    for (int i = 0; i < partition->timer_count; i++) {
        char key[64];
        char text[256];
        uint8_t *at = (uint8_t *)key;
        size_t size = strlen(partition->timers[i].of->key);
        at[0] = 0; /* stream time */
        put_u64(at + 1, (uint64_t)partition->timers[i].due_ms ^ (UINT64_C(1) << 63));
        memcpy(at + 9, "tally", 6);
        put_u32(at + 15, 1);
        at[19] = 1;
        memcpy(at + 20, partition->timers[i].of->key, size);
        expect_row(partition->facts, ".timers",
                   facts_printable((struct bytes){key, 20 + size}, text, sizeof text), "");
    }
}

/* Every record of a key as it is, in order. */
static void expect_copy(struct facts *facts, int partition)
{
    int counts[KEYS] = {0};
    for (int i = 0; i < TALLY_RECORDS; i++) {
        struct tally_input input = tally_input(partition, i);
        facts_add(facts, "out %s %d: %s", input.key, counts[input.key[0] == 'b']++, input.value);
    }
}

void facts_expect(struct facts *facts, enum shape shape)
{
    for (int p = 0; p < TALLY_PARTITIONS; p++) {
        struct partition partition = {
            .number = p, .stream_time = INT64_MIN, .timed = shape == SHAPE_TALLY, .facts = facts};
        facts_add(facts, "committed in %d: %d", p, TALLY_RECORDS);
        if (shape == SHAPE_COPY) {
            expect_copy(facts, p);
            continue;
        }
        for (int i = 0; i < TALLY_RECORDS; i++) {
            take(&partition, i);
        }
        expect_state(&partition);
        if (shape == SHAPE_TALLY) {
            facts_add(facts, "stamp in %d: %d", p, TALLY_RECORDS);
        }
    }
}
