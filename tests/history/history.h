/* SPDX-License-Identifier: Apache-2.0 */
/*
 * History: what happened to an application as seen from outside, read from JSON lines. The format
 * is docs/history.md; it is read strictly: what is not understood is an error.
 *
 * Invariants: entries are in the order of the lines; every number in them is of this history's
 * texts and places; a history is judged only as a whole (examine.h).
 */
#ifndef LEAT_HISTORY_HISTORY_H
#define LEAT_HISTORY_HISTORY_H

#include "base/status.h"
#include "text_table.h"

enum { HISTORY_TOPIC_LIMIT = 8, HISTORY_STAGE_LIMIT = 8, HISTORY_FILE_LIMIT = 256 };
enum { NO_PARTITION = -1, NO_OFFSET = -1 };

enum content {
    CONTENT_ANY,
    CONTENT_COPY,
    CONTENT_COUNT,
    CONTENT_REGROUP,
    CONTENT_APPEND,
    CONTENT_CHAIN,
    CONTENT_TRANSFER,
    CONTENT_KINDS
};

/** What the application does between topics. */
struct stage {
    enum content content;
    uint32_t inputs[HISTORY_TOPIC_LIMIT], outputs[HISTORY_TOPIC_LIMIT]; /* texts */
    uint32_t ignored[HISTORY_TOPIC_LIMIT];                              /* texts */
    size_t input_count, output_count, ignored_count;
    uint32_t group; /* TEXT_NONE: not said */
    uint32_t timer; /* of a chain: the link that a timer adds; TEXT_NONE: there are none */
};

enum entry_kind { ENTRY_SEND, ENTRY_READ, ENTRY_SEEK, ENTRY_WRITE, ENTRY_COMMITTED, ENTRY_END };

enum outcome {
    OUTCOME_NONE,
    OUTCOME_OK,     /* of a send: acknowledged; of a write: committed */
    OUTCOME_FAILED, /* failed; aborted */
    OUTCOME_UNKNOWN
};

struct entry {
    enum entry_kind kind;
    enum outcome outcome;
    uint32_t place;
    uint32_t who; /* text: reader, transaction or group */
    uint32_t key, value;
    uint32_t file, line;
    int64_t offset;
};

struct place {
    uint32_t topic;    /* text */
    int32_t partition; /* NO_PARTITION: of a send that does not say it */
};

struct history {
    struct text_table texts;
    struct pair_map place_numbers; /* (topic, partition) -> place */
    struct place *places;
    size_t place_count;
    struct entry *entries;
    size_t entry_count, entry_capacity;
    struct stage stages[HISTORY_STAGE_LIMIT];
    size_t stage_count;
    char *files[HISTORY_FILE_LIMIT];
    size_t file_count;
    size_t event_count; /* lines, those included that decide nothing */
};

void history_init(struct history *history);
void history_finish(struct history *history);
/** Adds a file ("-": standard input). STATUS_BAD_CONFIG: not a history; the text names the line. */
enum status history_read(struct history *history, const char *path, struct error *error);
/** Adds lines that are in memory; `name` stands for them in texts. */
enum status history_read_text(struct history *history, const char *name, struct bytes text,
                              struct error *error);
/** False: there is no such kind. */
bool content_parse(const char *name, enum content *content);

/** A short text for people: a record, a line. */
struct label {
    char text[160];
};

/** "FILE:LINE" */
struct label label_line(const struct history *history, const struct entry *entry);
/** "out/3" */
struct label label_place(const struct history *history, uint32_t place);
/** A key or value, cut and with everything unprintable escaped. */
struct label label_text(const struct history *history, uint32_t text);

#endif
