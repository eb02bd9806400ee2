/* SPDX-License-Identifier: Apache-2.0 */
#include "history_maker.h"

#include "base/hash.h"
#include "base/random.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARTITIONS = 2, KEYS = 6, TEXT_SIZE = 64, PLACES = 2 * PARTITIONS };

struct made_input {
    char key[16], value[TEXT_SIZE];
    bool logged;
};

/* What the application keeps of a key. */
struct made_state {
    size_t count;
    uint32_t sum;
    struct buffer list;
};

struct made_output {
    int64_t offset;
    char key[16];
    char *value;
};

/* A partition of an output topic. */
struct made_place {
    struct made_output *items; /* committed ones */
    size_t count, capacity;
    int64_t end;
    size_t live; /* as far as the continuous reader is */
};

struct maker {
    const struct maker_options *options;
    struct random random;
    struct buffer *out;
    struct made_input *inputs[PARTITIONS]; /* by offset */
    size_t counts[PARTITIONS], done[PARTITIONS];
    struct made_state states[PARTITIONS * KEYS];
    struct made_place places[PLACES]; /* topic * PARTITIONS + partition */
    bool touched[PLACES];
    size_t transactions, now_ms;
};

static size_t below(struct maker *maker, size_t bound)
{
    return (size_t)random_below(&maker->random, bound);
}

static const char *kind_name(enum content content)
{
    static const char *const names[CONTENT_KINDS] = {"any",    "copy",  "count",   "regroup",
                                                     "append", "chain", "transfer"};
    return names[content];
}

struct maker_options maker_choose(uint64_t seed, size_t records)
{
    struct random random;
    random_init(&random, seed);
    struct maker_options options = {
        .content = (enum content)(1 + random_below(&random, CONTENT_KINDS - 1)),
        .seed = seed,
        .records = records,
        .topics = 1 + (size_t)random_below(&random, 2),
        .offsets = random_below(&random, 3) > 0,
        .writes = random_below(&random, 2) > 0,
        .doubtful = random_below(&random, 2) > 0};
    options.inputs_read = options.offsets && random_below(&random, 3) == 0;
    return options;
}

/* ---- The input ---- */

static void make_value(struct maker *maker, size_t number, char value[TEXT_SIZE])
{
    switch (maker->options->content) {
    case CONTENT_REGROUP:
        snprintf(value, TEXT_SIZE, "w%zu w%zu", below(maker, KEYS), below(maker, KEYS));
        break;
    case CONTENT_TRANSFER:
        snprintf(value, TEXT_SIZE, "t%zu a%zu b%zu %zu", number, below(maker, KEYS),
                 below(maker, KEYS), 1 + below(maker, 100));
        break;
    default:
        snprintf(value, TEXT_SIZE, "%zu", number);
    }
}

static void tell_send(struct maker *maker, const struct made_input *input, size_t partition,
                      const char *outcome)
{
    buffer_format(maker->out, "{\"event\":\"send\",\"topic\":\"in\",");
    if (maker->options->offsets) {
        buffer_format(maker->out, "\"partition\":%zu,", partition);
        if (strcmp(outcome, "ok") == 0) {
            buffer_format(maker->out, "\"offset\":%zu,", maker->counts[partition] - 1);
        }
    }
    buffer_format(maker->out,
                  "\"key\":\"%s\",\"value\":\"%s\",\"outcome\":\"%s\",\"time_ms\":%zu}\n",
                  input->key, input->value, outcome, maker->now_ms++);
}

static void send_one(struct maker *maker, size_t number)
{
    size_t partition = below(maker, PARTITIONS);
    struct made_input input = {.logged = true};
    snprintf(input.key, sizeof input.key, "k%zup%zu", below(maker, KEYS), partition);
    make_value(maker, number, input.value);
    const char *outcome = "ok";
    /* Where the order is all, and some say their offset, nothing may be without. */
    bool exact = maker->options->content == CONTENT_CHAIN && maker->options->offsets;
    if (maker->options->doubtful && !exact && below(maker, 8) == 0) {
        outcome = below(maker, 3) == 0 ? "failed" : "unknown";
        input.logged = outcome[0] == 'u' && below(maker, 2) == 0;
    }
    if (input.logged) {
        maker->inputs[partition][maker->counts[partition]++] = input;
    }
    tell_send(maker, &input, partition, outcome);
}

static void send_all(struct maker *maker)
{
    for (size_t i = 0; i < PARTITIONS; i++) {
        maker->inputs[i] = memory_allocate((maker->options->records + 1) * sizeof **maker->inputs);
    }
    for (size_t i = 0; i < maker->options->records; i++) {
        send_one(maker, i + 1);
    }
}

/* ---- The output ---- */

static void put(struct maker *maker, size_t topic, const char *key, const char *value, bool commit)
{
    size_t partition = hash_table(key, strlen(key)) % PARTITIONS;
    struct made_place *place = &maker->places[topic * PARTITIONS + partition];
    int64_t offset = place->end++;
    maker->touched[topic * PARTITIONS + partition] = true;
    if (maker->options->writes) {
        buffer_format(maker->out,
                      "{\"event\":\"write\",\"topic\":\"out%zu\",\"partition\":%zu,"
                      "\"offset\":%" PRId64
                      ",\"transaction\":\"app/%zu\",\"outcome\":\"%s\",\"writer\":\"a\"}\n",
                      topic, partition, offset, maker->transactions,
                      commit ? "committed" : "aborted");
    }
    if (!commit) {
        return;
    }
    if (place->count == place->capacity) {
        place->capacity = place->capacity == 0 ? 16 : place->capacity * 2;
        place->items = memory_resize(place->items, place->capacity * sizeof *place->items);
    }
    struct made_output *output = &place->items[place->count++];
    *output = (struct made_output){.offset = offset, .value = memory_text(value)};
    snprintf(output->key, sizeof output->key, "%s", key);
}

static void put_all(struct maker *maker, const char *key, const char *value, bool commit)
{
    for (size_t i = 0; i < maker->options->topics; i++) {
        put(maker, i, key, value, commit);
    }
}

static void put_transfer(struct maker *maker, const char *value, bool commit)
{
    char id[16];
    char from[16];
    char to[16];
    char text[TEXT_SIZE];
    int amount = 0;
    ensure(sscanf(value, "%15s %15s %15s %d", id, from, to, &amount) == 4);
    snprintf(text, sizeof text, "%s %d", id, -amount);
    put(maker, 0, from, text, commit);
    snprintf(text, sizeof text, "%s %d", id, amount);
    put(maker, maker->options->topics - 1, to, text, commit);
}

static struct made_state *state_of(struct maker *maker, const char *key)
{
    size_t number = (size_t)(key[1] - '0') * PARTITIONS;
    return &maker->states[number + (key[2] == 'p' ? (size_t)(key[3] - '0') : 0)];
}

static void put_count(struct maker *maker, const char *key, bool commit)
{
    char text[TEXT_SIZE];
    snprintf(text, sizeof text, "%zu", ++state_of(maker, key)->count);
    put_all(maker, key, text, commit);
}

static void process(struct maker *maker, const struct made_input *input, bool commit)
{
    char text[TEXT_SIZE];
    struct made_state *state = state_of(maker, input->key);
    switch (maker->options->content) {
    case CONTENT_COUNT:
        put_count(maker, input->key, commit);
        break;
    case CONTENT_REGROUP:
        snprintf(text, sizeof text, "%.2s", input->value);
        put_count(maker, text, commit);
        snprintf(text, sizeof text, "%.2s", input->value + 3);
        put_count(maker, text, commit);
        break;
    case CONTENT_APPEND:
        buffer_format(&state->list, "%s%s", state->list.size > 0 ? "," : "", input->value);
        put_all(maker, input->key, buffer_text(&state->list), commit);
        break;
    case CONTENT_CHAIN:
        state->sum = hash_crc32c(state->sum, input->value, strlen(input->value));
        snprintf(text, sizeof text, "%zu:%08" PRIx32, ++state->count, state->sum);
        put_all(maker, input->key, text, commit);
        break;
    case CONTENT_TRANSFER:
        put_transfer(maker, input->value, commit);
        break;
    default:
        put_all(maker, input->key, input->value, commit);
    }
}

/* ---- Readers ---- */

static void tell_read(struct maker *maker, const char *reader, size_t number,
                      const struct made_output *output)
{
    buffer_format(maker->out,
                  "{\"event\":\"read\",\"reader\":\"%s\",\"topic\":\"out%zu\",\"partition\":%zu,"
                  "\"offset\":%" PRId64 ",\"key\":\"%s\",\"value\":\"%s\",\"time_ms\":%zu}\n",
                  reader, number / PARTITIONS, number % PARTITIONS, output->offset, output->key,
                  output->value, maker->now_ms++);
}

static void read_live(struct maker *maker)
{
    for (size_t i = 0; i < PLACES; i++) {
        struct made_place *place = &maker->places[i];
        while (place->live < place->count && below(maker, 8) > 0) {
            tell_read(maker, "live", i, &place->items[place->live++]);
        }
    }
}

static void read_inputs(struct maker *maker)
{
    for (size_t i = 0; i < PARTITIONS; i++) {
        for (size_t j = 0; j < maker->counts[i]; j++) {
            const struct made_input *input = &maker->inputs[i][j];
            buffer_format(maker->out,
                          "{\"event\":\"read\",\"reader\":\"final\",\"topic\":\"in\","
                          "\"partition\":%zu,\"offset\":%zu,\"key\":\"%s\",\"value\":\"%s\"}\n",
                          i, j, input->key, input->value);
        }
    }
}

static void read_final(struct maker *maker)
{
    for (size_t i = 0; i < maker->options->topics * PARTITIONS; i++) {
        struct made_place *place = &maker->places[i];
        buffer_format(maker->out,
                      "{\"event\":\"seek\",\"reader\":\"final\",\"topic\":\"out%zu\","
                      "\"partition\":%zu,\"offset\":0}\n",
                      i / PARTITIONS, i % PARTITIONS);
        for (size_t j = 0; j < place->count; j++) {
            tell_read(maker, "final", i, &place->items[j]);
        }
        buffer_format(maker->out,
                      "{\"event\":\"end\",\"topic\":\"out%zu\",\"partition\":%zu,"
                      "\"offset\":%" PRId64 "}\n",
                      i / PARTITIONS, i % PARTITIONS, place->end);
    }
    for (size_t i = 0; maker->options->offsets && i < PARTITIONS; i++) {
        buffer_format(maker->out,
                      "{\"event\":\"end\",\"topic\":\"in\",\"partition\":%zu,\"offset\":%zu}\n"
                      "{\"event\":\"committed\",\"group\":\"app\",\"topic\":\"in\","
                      "\"partition\":%zu,\"offset\":%zu}\n",
                      i, maker->counts[i], i, maker->counts[i]);
    }
}

/* ---- Transactions ---- */

static void copy_states(struct made_state *to, const struct made_state *from)
{
    for (size_t i = 0; i < PARTITIONS * KEYS; i++) {
        to[i] = (struct made_state){.count = from[i].count, .sum = from[i].sum};
        buffer_append(&to[i].list, from[i].list.data, from[i].list.size);
    }
}

static void finish_states(struct made_state *states)
{
    for (size_t i = 0; i < PARTITIONS * KEYS; i++) {
        buffer_finish(&states[i].list);
    }
}

static void run_transaction(struct maker *maker, size_t partition, size_t count, bool commit)
{
    struct made_state before[PARTITIONS * KEYS];
    copy_states(before, maker->states);
    memset(maker->touched, 0, sizeof maker->touched);
    for (size_t i = 0; i < count; i++) {
        process(maker, &maker->inputs[partition][maker->done[partition] + i], commit);
    }
    for (size_t i = 0; i < PLACES; i++) {
        maker->places[i].end += maker->touched[i] ? 1 : 0; /* the marker */
    }
    if (commit) {
        maker->done[partition] += count;
        finish_states(before);
    } else {
        buffer_format(maker->out, "{\"event\":\"fault\",\"kind\":\"kill\",\"target\":\"a\"}\n");
        finish_states(maker->states);
        memcpy(maker->states, before, sizeof before);
    }
    maker->transactions++;
}

static void run_transactions(struct maker *maker)
{
    for (;;) {
        size_t partition = below(maker, PARTITIONS);
        for (size_t i = 0; i < PARTITIONS; i++) {
            partition = maker->done[partition] < maker->counts[partition]
                            ? partition
                            : (partition + 1) % PARTITIONS;
        }
        size_t left = maker->counts[partition] - maker->done[partition];
        if (left == 0) {
            return;
        }
        size_t count = 1 + below(maker, left < 6 ? left : 6);
        run_transaction(maker, partition, count, below(maker, 6) > 0);
        read_live(maker);
    }
}

void maker_run(const struct maker_options *options, struct buffer *out)
{
    struct maker *maker = memory_allocate(sizeof *maker);
    maker->options = options;
    maker->out = out;
    random_init(&maker->random, options->seed);
    buffer_format(out,
                  "{\"event\":\"topology\",\"kind\":\"%s\",\"input\":[\"in\"],"
                  "\"output\":[\"out0\"%s],\"group\":\"app\"}\n",
                  kind_name(options->content), options->topics == 2 ? ",\"out1\"" : "");
    send_all(maker);
    run_transactions(maker);
    if (options->inputs_read) {
        read_inputs(maker);
    }
    read_final(maker);
    for (size_t i = 0; i < PLACES; i++) {
        for (size_t j = 0; j < maker->places[i].count; j++) {
            free(maker->places[i].items[j].value);
        }
        free(maker->places[i].items);
    }
    for (size_t i = 0; i < PARTITIONS; i++) {
        free(maker->inputs[i]);
    }
    finish_states(maker->states);
    free(maker);
}
