/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Record format: a record as one line of text, in both directions, as produce and consume share it.
 *
 *   value      the line is the value; no key
 *   key-value  key, separator, value; split at the first separator
 *   json       {"topic", "partition", "offset", "timestamp_ms", "key" or "key_base64", "value" or
 *              "value_base64", "headers": [{"name", "value" or "value_base64"}]}
 *
 * Text formats escape nothing and print null as nothing; JSON keeps both apart, and prints bytes
 * that are not UTF-8 as base64. Lines are without their newline.
 */
#ifndef LEAT_CLI_RECORD_FORMAT_H
#define LEAT_CLI_RECORD_FORMAT_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/status.h"
#include "broker/broker.h"

enum record_format { RECORD_VALUE, RECORD_KEY_VALUE, RECORD_JSON };

enum { RECORD_LINE_MOST = 48 << 20 }; /* a 16 MiB value in JSON, every byte escaped to three */

struct record_input {
    struct bytes key, value;
    const struct header *headers;
    uint32_t header_count;
    int64_t timestamp_ms; /* -1: none given */
    int32_t partition;    /* -1: none given */
};

/** "value", "key-value" or "json". */
bool record_format_parse(const char *name, enum record_format *format);
/** Reads one line. Views point into `line` or `arena`. STATUS_BAD_RECORD says what is wrong with
 * it. JSON's topic and offset are read over: the command line names the topic, the broker gives the
 * offset. */
enum status record_parse(enum record_format format, const char *separator, struct bytes line,
                         struct arena *arena, struct record_input *input, struct error *error);
/** Appends the record and a newline. */
void record_print(enum record_format format, const char *separator, const char *topic,
                  int32_t partition, const struct broker_record *record, struct buffer *text);

#endif
