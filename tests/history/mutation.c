/* SPDX-License-Identifier: Apache-2.0 */
#include "mutation.h"

#include "base/random.h"

#include <stdlib.h>
#include <string.h>

/* ---- Lines ---- */

static const char *text_in(const json_t *line, const char *field)
{
    const char *text = json_string_value(json_object_get(line, field));
    return text == NULL ? "" : text;
}

static json_int_t number_in(const json_t *line, const char *field)
{
    return json_integer_value(json_object_get(line, field));
}

static bool is_event(const json_t *line, const char *event)
{
    return strcmp(text_in(line, "event"), event) == 0;
}

static bool is_read_output(const json_t *line)
{
    return is_event(line, "read") && strncmp(text_in(line, "topic"), "out", 3) == 0;
}

static bool same_place(const json_t *a, const json_t *b)
{
    return strcmp(text_in(a, "topic"), text_in(b, "topic")) == 0 &&
           number_in(a, "partition") == number_in(b, "partition");
}

static bool same_slot(const json_t *a, const json_t *b)
{
    return same_place(a, b) && number_in(a, "offset") == number_in(b, "offset");
}

static size_t below(struct scene *scene, size_t bound)
{
    return (size_t)random_below(scene->random, bound);
}

/* A line at random that pleases, or the number of lines. */
static size_t choose(struct scene *scene, bool (*pleases)(struct scene *scene, const json_t *line))
{
    size_t count = json_array_size(scene->lines);
    size_t first = below(scene, count);
    for (size_t i = 0; i < count; i++) {
        size_t at = (first + i) % count;
        if (pleases(scene, json_array_get(scene->lines, at))) {
            return at;
        }
    }
    return count;
}

static json_t *chosen(struct scene *scene, bool (*pleases)(struct scene *scene, const json_t *line))
{
    return json_array_get(scene->lines, choose(scene, pleases));
}

/* Removes every read of the slot of `line`, at `line` and behind. */
static void remove_reads(struct scene *scene, const json_t *slot)
{
    json_t *copy = json_deep_copy(slot);
    for (size_t i = json_array_size(scene->lines); i-- > 0;) {
        json_t *line = json_array_get(scene->lines, i);
        if (is_event(line, "read") && same_slot(line, copy)) {
            json_array_remove(scene->lines, i);
        }
    }
    json_decref(copy);
}

static void set_value(struct scene *scene, const json_t *slot, const char *value)
{
    for (size_t i = 0; i < json_array_size(scene->lines); i++) {
        json_t *line = json_array_get(scene->lines, i);
        if (is_event(line, "read") && same_slot(line, slot)) {
            json_object_set_new(line, "value", json_string(value));
        }
    }
}

static json_t *end_of(struct scene *scene, const json_t *place)
{
    for (size_t i = 0; i < json_array_size(scene->lines); i++) {
        json_t *line = json_array_get(scene->lines, i);
        if (is_event(line, "end") && same_place(line, place)) {
            return line;
        }
    }
    return NULL;
}

/* ---- Which ---- */

static bool final_output(struct scene *scene, const json_t *line)
{
    (void)scene;
    return is_read_output(line) && strcmp(text_in(line, "reader"), "final") == 0;
}

/* Its input is certain, or its transaction is told: it must show. */
static bool due_output(struct scene *scene, const json_t *line)
{
    return final_output(scene, line) && (!scene->options->doubtful || scene->options->writes);
}

/* The last of its partition. */
static bool last_output(struct scene *scene, const json_t *line)
{
    if (!due_output(scene, line)) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(scene->lines); i++) {
        const json_t *other = json_array_get(scene->lines, i);
        if (is_read_output(other) && same_place(other, line) &&
            number_in(other, "offset") > number_in(line, "offset")) {
            return false;
        }
    }
    return true;
}

static size_t readers_of(struct scene *scene, const json_t *slot)
{
    size_t readers = 0;
    for (size_t i = 0; i < json_array_size(scene->lines); i++) {
        const json_t *line = json_array_get(scene->lines, i);
        readers += is_event(line, "read") && same_slot(line, slot) ? 1 : 0;
    }
    return readers;
}

static bool shared_output(struct scene *scene, const json_t *line)
{
    return final_output(scene, line) && readers_of(scene, line) == 2;
}

static bool shown_write(struct scene *scene, const json_t *line)
{
    return is_event(line, "write") && readers_of(scene, line) > 0;
}

static bool any_write(struct scene *scene, const json_t *line)
{
    (void)scene;
    return is_event(line, "write");
}

/* Its partition holds something. */
static bool any_end(struct scene *scene, const json_t *line)
{
    for (size_t i = 0; is_event(line, "end") && i < json_array_size(scene->lines); i++) {
        const json_t *other = json_array_get(scene->lines, i);
        if (is_read_output(other) && same_place(other, line)) {
            return true;
        }
    }
    return false;
}

/* The last records are known, so it must be behind them. */
static bool any_committed(struct scene *scene, const json_t *line)
{
    return !scene->options->doubtful && is_event(line, "committed") &&
           number_in(line, "offset") > 0;
}

static bool ok_send(struct scene *scene, const json_t *line)
{
    (void)scene;
    return is_event(line, "send") && strcmp(text_in(line, "outcome"), "ok") == 0;
}

/* And one of unknown outcome cannot stand in for it. */
static bool certain_send(struct scene *scene, const json_t *line)
{
    bool counts =
        scene->options->content == CONTENT_COUNT || scene->options->content == CONTENT_REGROUP;
    return ok_send(scene, line) && !(counts && scene->options->doubtful);
}

static bool any_context(struct scene *scene, const json_t *line)
{
    (void)scene;
    return is_event(line, "fault") || is_event(line, "seek");
}

static bool live_output(struct scene *scene, const json_t *line)
{
    (void)scene;
    return is_read_output(line) && strcmp(text_in(line, "reader"), "live") == 0;
}

/* ---- What is done ---- */

static bool drop_read_of_one(struct scene *scene)
{
    size_t at = choose(scene, shared_output);
    return json_array_remove(scene->lines, at) == 0;
}

static bool drop_record(struct scene *scene)
{
    const json_t *line = chosen(scene, due_output);
    if (line == NULL) {
        return false;
    }
    remove_reads(scene, line);
    return true;
}

/* The last records of a partition are gone, and the log ends before them. */
static bool drop_tail(struct scene *scene)
{
    size_t count = 1 + below(scene, 3);
    size_t done = 0;
    json_t *place = json_deep_copy(chosen(scene, last_output));
    for (const json_t *line = place; line != NULL && done < count; done++) {
        json_t *end = end_of(scene, line);
        if (!scene->options->writes && end != NULL) {
            json_object_set_new(end, "offset", json_integer(number_in(line, "offset")));
        }
        remove_reads(scene, line);
        line = NULL;
        for (size_t i = json_array_size(scene->lines); line == NULL && i-- > 0;) {
            const json_t *other = json_array_get(scene->lines, i);
            line = same_place(other, place) && last_output(scene, other) ? other : NULL;
        }
    }
    json_decref(place);
    return done > 0;
}

static bool duplicate_record(struct scene *scene)
{
    json_t *line = chosen(scene, final_output);
    json_t *end = line == NULL ? NULL : end_of(scene, line);
    if (end == NULL) {
        return false;
    }
    json_t *copy = json_deep_copy(line);
    json_int_t offset = number_in(end, "offset");
    json_object_set_new(copy, "offset", json_integer(offset));
    json_object_set_new(end, "offset", json_integer(offset + 1));
    return json_array_append_new(scene->lines, copy) == 0;
}

/* Two outputs of one key changed places. */
static bool swap_records(struct scene *scene)
{
    const json_t *line = chosen(scene, final_output);
    const json_t *other = NULL;
    bool transfer = scene->options->content == CONTENT_TRANSFER; /* its keys are of many lanes */
    for (size_t i = 0; line != NULL && !transfer && i < json_array_size(scene->lines); i++) {
        const json_t *candidate = json_array_get(scene->lines, i);
        if (final_output(scene, candidate) && same_place(candidate, line) &&
            !same_slot(candidate, line) &&
            strcmp(text_in(candidate, "key"), text_in(line, "key")) == 0) {
            other = candidate;
        }
    }
    if (other == NULL) {
        return false;
    }
    char *value = strdup(text_in(line, "value"));
    char *second = strdup(text_in(other, "value"));
    set_value(scene, line, second);
    set_value(scene, other, value);
    free(value);
    free(second);
    return true;
}

static bool alter_record(struct scene *scene)
{
    const json_t *line = chosen(scene, final_output);
    if (line == NULL) {
        return false;
    }
    char *value = memory_format("%sx", text_in(line, "value"));
    set_value(scene, line, value);
    free(value);
    return true;
}

/* A count goes wrong, an id becomes another, an amount grows. */
static bool alter_number(struct scene *scene)
{
    const json_t *line = chosen(scene, final_output);
    if (line == NULL) {
        return false;
    }
    char *value = strdup(text_in(line, "value"));
    size_t last = strlen(value) - 1;
    value[last] = (char)(value[last] == '9' || value[last] == 'f' ? '1' : value[last] + 1);
    set_value(scene, line, value);
    free(value);
    return true;
}

static bool alter_one_reader(struct scene *scene)
{
    json_t *line = chosen(scene, shared_output);
    return line != NULL && json_object_set_new(line, "value", json_string("other")) == 0;
}

static bool swap_reads(struct scene *scene)
{
    size_t at = choose(scene, final_output);
    json_t *line = json_array_get(scene->lines, at);
    json_t *next = json_array_get(scene->lines, at + 1);
    if (line == NULL || next == NULL || !final_output(scene, next) || !same_place(line, next)) {
        return false;
    }
    json_t *copy = json_deep_copy(line);
    json_array_remove(scene->lines, at);
    return json_array_insert_new(scene->lines, at + 1, copy) == 0;
}

static bool abort_write(struct scene *scene)
{
    json_t *line = chosen(scene, shown_write);
    return line != NULL && json_object_set_new(line, "outcome", json_string("aborted")) == 0;
}

static bool drop_send(struct scene *scene)
{
    return json_array_remove(scene->lines, choose(scene, certain_send)) == 0;
}

static bool fail_send(struct scene *scene)
{
    json_t *line = chosen(scene, certain_send);
    if (line == NULL) {
        return false;
    }
    (void)json_object_del(line, "offset");
    return json_object_set_new(line, "outcome", json_string("failed")) == 0;
}

/* Acknowledged, and never there. */
static bool invent_send(struct scene *scene)
{
    json_t *line = chosen(scene, certain_send);
    if (line == NULL) {
        return false;
    }
    json_t *copy = json_deep_copy(line);
    if (scene->options->offsets) { /* the next one, below the committed offset */
        for (size_t i = 0; i < json_array_size(scene->lines); i++) {
            json_t *other = json_array_get(scene->lines, i);
            bool ends = is_event(other, "end") || is_event(other, "committed");
            if (ends && same_place(other, line)) {
                json_int_t offset = number_in(other, "offset");
                json_object_set_new(copy, "offset", json_integer(offset));
                json_object_set_new(other, "offset", json_integer(offset + 1));
            }
        }
    }
    bool transfer = scene->options->content == CONTENT_TRANSFER;
    json_object_set_new(copy, "value", json_string(transfer ? "t9999 a1 b1 5" : "9999 w1"));
    return json_array_append_new(scene->lines, copy) == 0;
}

static bool lower_committed(struct scene *scene)
{
    json_t *line = chosen(scene, any_committed);
    return line != NULL &&
           json_object_set_new(line, "offset", json_integer(number_in(line, "offset") - 1)) == 0;
}

static bool raise_committed(struct scene *scene)
{
    json_t *line = chosen(scene, any_committed);
    return line != NULL &&
           json_object_set_new(line, "offset", json_integer(number_in(line, "offset") + 3)) == 0;
}

static bool drop_end(struct scene *scene)
{
    size_t at = choose(scene, any_end);
    return json_array_remove(scene->lines, at) == 0;
}

static bool lower_end(struct scene *scene)
{
    json_t *end = NULL;
    const json_t *line = chosen(scene, final_output);
    end = line == NULL ? NULL : end_of(scene, line);
    return end != NULL &&
           json_object_set_new(end, "offset", json_integer(number_in(line, "offset"))) == 0;
}

static bool drop_write(struct scene *scene)
{
    return json_array_remove(scene->lines, choose(scene, any_write)) == 0;
}

static bool drop_context(struct scene *scene)
{
    return json_array_remove(scene->lines, choose(scene, any_context)) == 0;
}

/* A continuous reader that ends early saw nothing wrong. */
static bool drop_live_tail(struct scene *scene)
{
    json_t *place = json_deep_copy(chosen(scene, live_output));
    for (size_t i = json_array_size(scene->lines); place != NULL && i-- > 0;) {
        const json_t *line = json_array_get(scene->lines, i);
        if (live_output(scene, line) && same_place(line, place) &&
            number_in(line, "offset") >= number_in(place, "offset")) {
            json_array_remove(scene->lines, i);
        }
    }
    json_decref(place);
    return place != NULL;
}

/* ---- The list ---- */

#define CLASS(name) (1 << ANOMALY_##name)
#define MISSING (CLASS(LOST) | CLASS(UNSEEN) | CLASS(TORN))

const struct mutation mutations[] = {
    {"one reader passes over a record", CLASS(SKIPPED) | CLASS(UNSEEN), drop_read_of_one},
    {"a record is lost", MISSING, drop_record},
    {"the tail is lost", MISSING, drop_tail},
    {"a record is there twice", CLASS(DUPLICATE), duplicate_record},
    {"two records of a key change places", CLASS(ORDER), swap_records},
    {"a value is altered", CLASS(WRONG_VALUE), alter_record},
    {"a number is altered",
     CLASS(WRONG_VALUE) | CLASS(DUPLICATE) | CLASS(ORDER) | CLASS(ABORTED_READ) | MISSING,
     alter_number},
    {"one reader sees another value", CLASS(INCONSISTENT_OFFSET), alter_one_reader},
    {"a reader goes back", CLASS(NONMONOTONIC), swap_reads},
    {"a record that was read is aborted", CLASS(ABORTED_READ), abort_write},
    {"an input was never sent", CLASS(WRONG_VALUE) | CLASS(DUPLICATE) | CLASS(ABORTED_READ),
     drop_send},
    {"an input failed", CLASS(ABORTED_READ) | CLASS(WRONG_VALUE), fail_send},
    {"an input has no output", MISSING, invent_send},
    {"a committed offset is behind", CLASS(POSITION), lower_committed},
    {"a committed offset is ahead", CLASS(POSITION), raise_committed},
    {"an end is not said", MUTATION_REFUSED, drop_end},
    {"an end is before a record", CLASS(LOST), lower_end},
    {"a write is not told", 0, drop_write},
    {"context is not told", 0, drop_context},
    {"the continuous reader ends early", 0, drop_live_tail},
};
const size_t mutation_count = sizeof mutations / sizeof *mutations;
