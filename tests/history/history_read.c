/* SPDX-License-Identifier: Apache-2.0 */
#include "history.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One line being read. After the first error nothing is looked at any more. */
struct line {
    struct history *history;
    json_t *object;
    const char *event;
    uint32_t file, number;
    enum status status;
    struct error *error;
};

static void refuse(struct line *line, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void refuse(struct line *line, const char *format, ...)
{
    if (line->status != STATUS_OK) {
        return;
    }
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    line->status = error_set(line->error, STATUS_BAD_CONFIG, ERROR_CONFIG, "%s:%u: %s",
                             line->history->files[line->file], line->number, text);
}

/* ---- Fields ---- */

static const json_t *field(struct line *line, const char *name, bool required)
{
    const json_t *value = json_object_get(line->object, name);
    if (value == NULL && required) {
        refuse(line, "\"%s\" has no \"%s\"", line->event, name);
    }
    return value;
}

static struct bytes string_bytes(const json_t *value)
{
    return (struct bytes){json_string_value(value), json_string_length(value)};
}

/** A name: not empty. TEXT_NONE if it is absent and may be. */
static uint32_t read_name(struct line *line, const char *name, bool required)
{
    const json_t *value = field(line, name, required);
    if (value == NULL) {
        return TEXT_NONE;
    }
    if (!json_is_string(value) || json_string_length(value) == 0) {
        refuse(line, "\"%s\" is no text", name);
        return TEXT_NONE;
    }
    return text_put(&line->history->texts, string_bytes(value));
}

static int64_t read_number(struct line *line, const char *name, bool required, int64_t limit)
{
    const json_t *value = field(line, name, required);
    if (value == NULL || (json_is_null(value) && !required)) {
        return -1;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > limit) {
        refuse(line, "\"%s\" is no number from 0 to %" PRId64, name, limit);
        return -1;
    }
    return json_integer_value(value);
}

static int digit_of(char letter)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = letter == '\0' ? NULL : strchr(digits, letter);
    return at == NULL ? -1 : (int)(at - digits);
}

/* False: not base64 with padding. */
static bool decode_base64(struct bytes text, struct buffer *out)
{
    const char *letters = text.data;
    if (text.size % 4 != 0) {
        return false;
    }
    (void)buffer_extend(out, 0);
    for (size_t i = 0; i < text.size; i += 4) {
        bool last = i + 4 == text.size;
        size_t padding = !last || letters[i + 3] != '=' ? 0 : letters[i + 2] != '=' ? 1 : 2;
        uint32_t group = 0;
        for (size_t j = 0; j < 4; j++) {
            int digit = j >= 4 - padding ? 0 : digit_of(letters[i + j]);
            if (digit < 0) {
                return false;
            }
            group = group << 6 | (uint32_t)digit;
        }
        uint8_t bytes[3] = {(uint8_t)(group >> 16), (uint8_t)(group >> 8), (uint8_t)group};
        buffer_append(out, bytes, 3 - padding);
    }
    return true;
}

static uint32_t read_base64(struct line *line, const char *name, const json_t *value)
{
    struct buffer out = {0};
    uint32_t text = TEXT_NONE;
    if (json_is_string(value) && decode_base64(string_bytes(value), &out)) {
        text = text_put(&line->history->texts,
                        (struct bytes){out.data == NULL ? (const void *)"" : out.data, out.size});
    } else {
        refuse(line, "\"%s\" is no base64", name);
    }
    buffer_finish(&out);
    return text;
}

/** A key or a value: text, null or base64. */
static uint32_t read_content(struct line *line, const char *name, const char *base64, bool required)
{
    const json_t *plain = json_object_get(line->object, name);
    const json_t *coded = json_object_get(line->object, base64);
    if (plain != NULL && coded != NULL) {
        refuse(line, "\"%s\" and \"%s\" exclude each other", name, base64);
    } else if (coded != NULL) {
        return read_base64(line, base64, coded);
    } else if (json_is_null(plain)) {
        return TEXT_NULL;
    } else if (json_is_string(plain)) {
        return text_put(&line->history->texts, string_bytes(plain));
    } else if (plain != NULL) {
        refuse(line, "\"%s\" is no text and not null", name);
    } else if (required) {
        refuse(line, "\"%s\" has no \"%s\" (null is said as null)", line->event, name);
    }
    return TEXT_NONE;
}

static enum outcome read_outcome(struct line *line, const char *good, const char *bad)
{
    const json_t *value = field(line, "outcome", true);
    const char *text = json_is_string(value) ? json_string_value(value) : "";
    if (strcmp(text, good) == 0) {
        return OUTCOME_OK;
    }
    if (strcmp(text, bad) == 0) {
        return OUTCOME_FAILED;
    }
    if (strcmp(text, "unknown") != 0) {
        refuse(line, "\"outcome\" is none of \"%s\", \"%s\" and \"unknown\"", good, bad);
    }
    return OUTCOME_UNKNOWN;
}

static uint32_t read_place(struct line *line, bool required)
{
    struct history *history = line->history;
    uint32_t topic = read_name(line, "topic", true);
    int64_t partition = read_number(line, "partition", required, INT32_MAX);
    size_t *number =
        pair_map_at(&history->place_numbers, topic, (uint32_t)partition, history->place_count);
    if (*number == history->place_count) {
        history->places =
            memory_resize(history->places, (history->place_count + 1) * sizeof *history->places);
        history->places[history->place_count++] = (struct place){topic, (int32_t)partition};
    }
    return (uint32_t)*number;
}

static void add_entry(struct line *line, const struct entry *entry)
{
    struct history *history = line->history;
    if (line->status != STATUS_OK) {
        return;
    }
    if (history->entry_count == history->entry_capacity) {
        history->entry_capacity = history->entry_capacity == 0 ? 256 : history->entry_capacity * 2;
        history->entries =
            memory_resize(history->entries, history->entry_capacity * sizeof *history->entries);
    }
    struct entry *added = &history->entries[history->entry_count++];
    *added = *entry;
    added->file = line->file;
    added->line = line->number;
}

/* ---- Events ---- */

static size_t read_names(struct line *line, const char *name, bool required,
                         uint32_t texts[HISTORY_TOPIC_LIMIT])
{
    const json_t *list = field(line, name, required);
    if (list == NULL) {
        return 0;
    }
    size_t count = json_array_size(list);
    if (count == 0 || count > HISTORY_TOPIC_LIMIT) {
        refuse(line, "\"%s\" is no list of 1 to %d texts", name, HISTORY_TOPIC_LIMIT);
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        if (!json_is_string(item) || json_string_length(item) == 0) {
            refuse(line, "\"%s\" holds something that is no text", name);
            return 0;
        }
        texts[i] = text_put(&line->history->texts, string_bytes(item));
    }
    return count;
}

static void read_topology(struct line *line)
{
    struct history *history = line->history;
    if (history->entry_count > 0 || history->stage_count == HISTORY_STAGE_LIMIT) {
        refuse(line, "\"topology\" comes before anything else, at most %d times",
               HISTORY_STAGE_LIMIT);
        return;
    }
    struct stage *stage = &history->stages[history->stage_count];
    *stage = (struct stage){.group = read_name(line, "group", false),
                            .timer = read_name(line, "timer", false)};
    const json_t *kind = field(line, "kind", true);
    if (kind != NULL &&
        (!json_is_string(kind) || !content_parse(json_string_value(kind), &stage->content))) {
        refuse(line, "\"kind\" is none of any, copy, count, regroup, append, chain, transfer");
    }
    stage->input_count = read_names(line, "input", true, stage->inputs);
    stage->output_count = read_names(line, "output", true, stage->outputs);
    stage->ignored_count = read_names(line, "ignored", false, stage->ignored);
    if (stage->timer != TEXT_NONE && stage->content != CONTENT_CHAIN) {
        refuse(line, "only a chain has a \"timer\"");
    }
    if (stage->content == CONTENT_TRANSFER && stage->output_count > 2) {
        refuse(line, "a transfer has one output topic or two");
    }
    history->stage_count++;
}

static void read_send(struct line *line)
{
    struct entry entry = {.kind = ENTRY_SEND,
                          .outcome = read_outcome(line, "ok", "failed"),
                          .place = read_place(line, false),
                          .key = read_content(line, "key", "key_base64", true),
                          .value = read_content(line, "value", "value_base64", true),
                          .offset = read_number(line, "offset", false, INT64_MAX)};
    if (line->status == STATUS_OK && entry.offset != NO_OFFSET &&
        line->history->places[entry.place].partition == NO_PARTITION) {
        refuse(line, "an \"offset\" without a \"partition\"");
    }
    if (entry.offset != NO_OFFSET && entry.outcome == OUTCOME_FAILED) {
        refuse(line, "what failed has no \"offset\"");
    }
    add_entry(line, &entry);
}

static void read_read(struct line *line)
{
    struct entry entry = {.kind = ENTRY_READ,
                          .place = read_place(line, true),
                          .who = read_name(line, "reader", true),
                          .key = read_content(line, "key", "key_base64", true),
                          .value = read_content(line, "value", "value_base64", true),
                          .offset = read_number(line, "offset", true, INT64_MAX)};
    add_entry(line, &entry);
}

static void read_seek(struct line *line)
{
    struct entry entry = {.kind = ENTRY_SEEK,
                          .place = read_place(line, true),
                          .who = read_name(line, "reader", true),
                          .offset = read_number(line, "offset", true, INT64_MAX)};
    add_entry(line, &entry);
}

static void read_write(struct line *line)
{
    struct entry entry = {.kind = ENTRY_WRITE,
                          .outcome = read_outcome(line, "committed", "aborted"),
                          .place = read_place(line, true),
                          .who = read_name(line, "transaction", true),
                          .key = read_content(line, "key", "key_base64", false),
                          .value = read_content(line, "value", "value_base64", false),
                          .offset = read_number(line, "offset", true, INT64_MAX)};
    (void)read_name(line, "writer", false);
    if ((entry.key == TEXT_NONE) != (entry.value == TEXT_NONE)) {
        refuse(line, "\"key\" and \"value\" go together");
    }
    add_entry(line, &entry);
}

static void read_committed(struct line *line)
{
    struct entry entry = {.kind = ENTRY_COMMITTED,
                          .place = read_place(line, true),
                          .who = read_name(line, "group", true),
                          .offset = read_number(line, "offset", true, INT64_MAX)};
    add_entry(line, &entry);
}

static void read_end(struct line *line)
{
    struct entry entry = {.kind = ENTRY_END,
                          .place = read_place(line, true),
                          .who = read_name(line, "reader", false),
                          .offset = read_number(line, "offset", true, INT64_MAX)};
    if (entry.who == TEXT_NONE) {
        entry.who = text_put(&line->history->texts, bytes_of("final"));
    }
    add_entry(line, &entry);
}

static void read_fault(struct line *line)
{
    (void)read_name(line, "kind", true);
    (void)read_name(line, "target", false);
}

static void read_comment(struct line *line)
{
    (void)read_name(line, "text", true);
}

static const struct event {
    const char *name;
    void (*read)(struct line *line);
    const char *fields; /* each between blanks */
} events[] = {
    {"read", read_read, " reader topic partition offset key key_base64 value value_base64 "},
    {"send", read_send, " topic partition offset key key_base64 value value_base64 outcome "},
    {"write", read_write,
     " topic partition offset transaction outcome writer key key_base64 value value_base64 "},
    {"seek", read_seek, " reader topic partition offset "},
    {"committed", read_committed, " group topic partition offset "},
    {"end", read_end, " reader topic partition offset "},
    {"topology", read_topology, " kind input output group ignored timer "},
    {"fault", read_fault, " kind target "},
    {"comment", read_comment, " text "},
};

/* Every event may have these. */
static void check_common(struct line *line)
{
    const json_t *time = json_object_get(line->object, "time_ms");
    const json_t *note = json_object_get(line->object, "note");
    if (time != NULL && !json_is_integer(time)) {
        refuse(line, "\"time_ms\" is no whole number");
    }
    if (note != NULL && !json_is_string(note)) {
        refuse(line, "\"note\" is no text");
    }
}

static void check_fields(struct line *line, const struct event *event)
{
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach(line->object, name, value)
    {
        char word[32];
        int size = snprintf(word, sizeof word, " %s ", name);
        bool known = size > 0 && (size_t)size < sizeof word && strchr(name, ' ') == NULL &&
                     (strstr(event->fields, word) != NULL || strcmp(name, "event") == 0 ||
                      strcmp(name, "time_ms") == 0 || strcmp(name, "note") == 0);
        if (!known) {
            refuse(line, "\"%s\" has no field \"%.40s\"", event->name, name);
        }
    }
}

static void read_event(struct line *line)
{
    const json_t *name = json_object_get(line->object, "event");
    line->event = json_is_string(name) ? json_string_value(name) : "";
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        if (strcmp(events[i].name, line->event) == 0) {
            check_fields(line, &events[i]);
            check_common(line);
            if (line->status == STATUS_OK) {
                events[i].read(line);
            }
            if (line->status == STATUS_OK && line->history->stage_count == 0 &&
                line->history->entry_count > 0) {
                refuse(line, "before anything else comes a \"topology\"");
            }
            return;
        }
    }
    refuse(line, "no event \"%.40s\"", line->event);
}

static enum status read_line(struct history *history, uint32_t number, struct bytes text,
                             struct error *error)
{
    struct line line = {.history = history,
                        .file = (uint32_t)history->file_count - 1,
                        .number = number,
                        .error = error};
    json_error_t cause;
    line.object = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, &cause);
    if (!json_is_object(line.object)) {
        refuse(&line, "no JSON object: %s", line.object == NULL ? cause.text : "another value");
    } else {
        read_event(&line);
    }
    json_decref(line.object);
    history->event_count++;
    return line.status;
}

static bool is_blank(struct bytes text)
{
    const char *letters = text.data;
    for (size_t i = 0; i < text.size; i++) {
        if (strchr(" \t\r\n", letters[i]) == NULL) {
            return false;
        }
    }
    return true;
}

static enum status add_file(struct history *history, const char *name, struct error *error)
{
    if (history->file_count == HISTORY_FILE_LIMIT) {
        return error_set(error, STATUS_BAD_CONFIG, ERROR_LIMIT, "%s: more than %d files; join some",
                         name, HISTORY_FILE_LIMIT);
    }
    history->files[history->file_count++] = memory_text(name);
    return STATUS_OK;
}

enum status history_read(struct history *history, const char *path, struct error *error)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "r");
    if (file == NULL) {
        return error_set(error, STATUS_BAD_CONFIG, ERROR_IO, "%s: %s", path, strerror(errno));
    }
    enum status status = add_file(history, path, error);
    char *text = NULL;
    size_t capacity = 0;
    uint32_t number = 0;
    while (status == STATUS_OK) {
        ssize_t size = getline(&text, &capacity, file);
        if (size < 0) {
            break;
        }
        struct bytes line = {text, (size_t)size};
        number++;
        status = is_blank(line) ? STATUS_OK : read_line(history, number, line, error);
    }
    if (status == STATUS_OK && ferror(file)) {
        status = error_set(error, STATUS_BAD_CONFIG, ERROR_IO, "%s: cannot be read", path);
    }
    free(text);
    if (!standard) {
        (void)fclose(file);
    }
    return status;
}

enum status history_read_text(struct history *history, const char *name, struct bytes text,
                              struct error *error)
{
    enum status status = add_file(history, name, error);
    const char *at = text.data;
    const char *end = at + text.size;
    for (uint32_t number = 1; status == STATUS_OK && at < end; number++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *next = newline == NULL ? end : newline + 1;
        struct bytes line = {at, (size_t)(next - at)};
        status = is_blank(line) ? STATUS_OK : read_line(history, number, line, error);
        at = next;
    }
    return status;
}
