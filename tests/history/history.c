/* SPDX-License-Identifier: Apache-2.0 */
#include "history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void history_init(struct history *history)
{
    *history = (struct history){0};
    text_table_init(&history->texts);
}

void history_finish(struct history *history)
{
    text_table_finish(&history->texts);
    pair_map_finish(&history->place_numbers);
    free(history->places);
    free(history->entries);
    for (size_t i = 0; i < history->file_count; i++) {
        free(history->files[i]);
    }
}

bool content_parse(const char *name, enum content *content)
{
    static const char *const names[CONTENT_KINDS] = {"any",    "copy",  "count",   "regroup",
                                                     "append", "chain", "transfer"};
    for (size_t i = 0; i < CONTENT_KINDS; i++) {
        if (strcmp(name, names[i]) == 0) {
            *content = (enum content)i;
            return true;
        }
    }
    return false;
}

/* ---- Labels ---- */

struct label label_line(const struct history *history, const struct entry *entry)
{
    struct label label;
    snprintf(label.text, sizeof label.text, "%s:%u", history->files[entry->file], entry->line);
    return label;
}

struct label label_place(const struct history *history, uint32_t place)
{
    struct label label;
    struct bytes topic = text_get(&history->texts, history->places[place].topic);
    snprintf(label.text, sizeof label.text, "%.*s/%d", (int)topic.size, (const char *)topic.data,
             (int)history->places[place].partition);
    return label;
}

struct label label_text(const struct history *history, uint32_t text)
{
    struct label label = {"null"};
    if (text < TEXT_FIRST) {
        return label;
    }
    struct bytes bytes = text_get(&history->texts, text);
    const unsigned char *letters = bytes.data;
    size_t at = 0;
    size_t cut = sizeof label.text - 8;
    for (size_t i = 0; i < bytes.size && at < cut; i++) {
        bool plain = letters[i] >= ' ' && letters[i] != 0x7f;
        char *to = label.text + at;
        size_t room = sizeof label.text - at;
        at += (size_t)(plain ? snprintf(to, room, "%c", letters[i])
                             : snprintf(to, room, "\\x%02x", letters[i]));
    }
    snprintf(label.text + at, sizeof label.text - at, "%s", at < cut ? "" : "...");
    return label;
}
