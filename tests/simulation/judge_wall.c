/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the oracle says of chain_wall.c's timers and ticks: one firing a record, in whatever order,
 * and a count that has no gap.
 */
#include "judge.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool add_timer(void *context, const struct broker_record *record)
{
    struct judge_lists *lists = context;
    char name[JUDGE_TEXT_SIZE];
    if (!judge_marked(record->value, CHAIN_BAD) && !judge_marked(record->value, CHAIN_REFUSED) &&
        !judge_marked(record->value, CHAIN_DUD)) {
        name[0] = '#';
        snprintf(name + 1, sizeof name - 1, "%.*s", (int)record->key.size,
                 (const char *)record->key.data);
        judge_list_add(judge_list_of(lists, name), record->value);
    }
    return true;
}

void judge_wall_expect(struct judge_lists *lists, const char *topic)
{
    judge_read(lists->judge, topic, add_timer, lists);
}

static void check_tick(struct judge_lists *lists, const char *key, const char *value)
{
    struct judge_list *list = judge_list_of(lists, key);
    char expected[CHAIN_TEXT_SIZE];
    long long count = list->state[0] == '\0' ? 0 : strtoll(list->state, NULL, 10);
    snprintf(expected, sizeof expected, "%lld", count + 1);
    if (strcmp(expected, value) != 0) {
        judge_fail(lists->judge, "tick %s is %s instead of %s", key, value, expected);
    }
    memcpy(list->state, expected, sizeof expected);
}

static void check_timer(struct judge_lists *lists, const char *key, const char *value)
{
    struct judge_list *list = judge_list_of(lists, key);
    const char *space = strchr(value, ' ');
    const char *which = space == NULL ? "?" : space + 1;
    size_t at = 0;
    while (at < list->count && strcmp(list->items[at], which) != 0) {
        at++;
    }
    char expected[JUDGE_TEXT_SIZE];
    if (at == list->count) {
        judge_fail(lists->judge, "%s: a timer fired twice or was never set: %s", key, value);
        return;
    }
    chain_fire(list->state, which);
    snprintf(expected, sizeof expected, "%s %s", list->state, which);
    if (strcmp(expected, value) != 0) {
        judge_fail(lists->judge, "%s is %s instead of %s", key, value, expected);
    }
    list->items[at][0] = '\0';
    list->read++;
}

bool judge_wall_check(struct judge_lists *lists, const struct broker_record *record)
{
    char key[JUDGE_TEXT_SIZE];
    char value[JUDGE_TEXT_SIZE];
    judge_copy(key, record->key);
    judge_copy(value, record->value);
    if (key[0] == '!') {
        check_tick(lists, key, value);
    } else if (key[0] == '#') {
        check_timer(lists, key, value);
    }
    return key[0] == '!' || key[0] == '#';
}
