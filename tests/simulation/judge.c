/* SPDX-License-Identifier: Apache-2.0 */
#include "judge.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void judge_fail(struct judge *judge, const char *format, ...)
{
    char *text = judge->scenario->failure;
    if (text[0] == '\0') {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, SCENARIO_TEXT_SIZE, format, arguments);
        va_end(arguments);
    }
}

void judge_copy(char text[JUDGE_TEXT_SIZE], struct bytes bytes)
{
    snprintf(text, JUDGE_TEXT_SIZE, "%.*s", (int)bytes.size,
             bytes.data == NULL ? "" : (const char *)bytes.data);
}

bool judge_marked(struct bytes value, char mark)
{
    return value.size > 0 && ((const char *)value.data)[value.size - 1] == mark;
}

void judge_read(struct judge *judge, const char *topic,
                bool (*visit)(void *, const struct broker_record *), void *context)
{
    for (int32_t i = 0; i < sim_partition_count(judge->cluster, topic); i++) {
        judge->partition = i;
        sim_read_history(judge->cluster, topic, i, visit, context);
    }
}

/* ---- Lists ---- */

struct judge_lists *judge_lists_make(struct judge *judge)
{
    struct judge_lists *lists = memory_allocate(sizeof *lists);
    lists->judge = judge;
    return lists;
}

void judge_lists_free(struct judge_lists *lists)
{
    for (size_t i = 0; i < lists->count; i++) {
        free(lists->items[i].items);
    }
    free(lists->items);
    free(lists);
}

struct judge_list *judge_list_of(struct judge_lists *lists, const char *name)
{
    for (size_t i = 0; i < lists->count; i++) {
        if (strcmp(lists->items[i].name, name) == 0) {
            return &lists->items[i];
        }
    }
    if (lists->count == lists->capacity) {
        lists->capacity = lists->capacity == 0 ? 64 : lists->capacity * 2;
        lists->items = memory_resize(lists->items, lists->capacity * sizeof *lists->items);
    }
    struct judge_list *list = &lists->items[lists->count++];
    memset(list, 0, sizeof *list);
    snprintf(list->name, sizeof list->name, "%s", name);
    return list;
}

void judge_list_add(struct judge_list *list, struct bytes text)
{
    list->items = memory_resize(list->items, (list->count + 1) * sizeof *list->items);
    judge_copy(list->items[list->count++], text);
}

void judge_all_read(struct judge *judge, const struct judge_lists *lists)
{
    for (size_t i = 0; i < lists->count; i++) {
        const struct judge_list *list = &lists->items[i];
        size_t first = 0;
        while (first < list->count && list->items[first][0] == '\0') {
            first++; /* came, in whatever order */
        }
        if (list->read < list->count) {
            judge_fail(judge,
                       "%s: %zu of %zu records of %s are missing at the end; the first is %s",
                       judge->to, list->count - list->read, list->count, list->name,
                       list->items[first > list->read ? first : list->read]);
        }
    }
}

/* ---- Chains ---- */

bool judge_chain_expect(void *context, const struct broker_record *record)
{
    struct judge_lists *lists = context;
    char name[JUDGE_TEXT_SIZE];
    if (!judge_marked(record->value, CHAIN_BAD) && !judge_marked(record->value, CHAIN_REFUSED)) {
        judge_copy(name, record->key);
        judge_list_add(judge_list_of(lists, name), record->value);
    }
    return true;
}

bool judge_chain_check(void *context, const struct broker_record *record)
{
    struct judge_lists *lists = context;
    struct judge *judge = lists->judge;
    char name[JUDGE_TEXT_SIZE];
    char value[JUDGE_TEXT_SIZE];
    judge_copy(name, record->key);
    judge_copy(value, record->value);
    struct judge_list *list = judge_list_of(lists, name);
    char expected[CHAIN_TEXT_SIZE] = "nothing more";
    if (list->read < list->count) {
        chain_next(list->state, list->items[list->read], strlen(list->items[list->read]));
        memcpy(expected, list->state, sizeof expected);
        list->read++;
    }
    if (strcmp(expected, value) != 0) {
        judge_fail(judge, "%s/%d at offset %" PRId64 ": key %s is %s instead of %s", judge->to,
                   (int)judge->partition, record->offset, name, value, expected);
        return false;
    }
    return true;
}
