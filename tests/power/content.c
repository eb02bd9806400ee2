/* SPDX-License-Identifier: Apache-2.0 */
#include "content.h"

#include "base/bytes.h"

#include <stdio.h>
#include <string.h>

enum {
    KEY_ROOM = 4096,
    VALUE_ROOM = 256 * 1024,
    SEED_EMPTY = 1, /* a value of no bytes */
    SEED_LEAST = 2,
    FEW = 6,
    MANY = 60
};

static const char layout_text[] = "counts:aggregate/state ";

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t x = a * 0x9E3779B97F4A7C15u ^ (b + 0x7F4A7C15u) * 0xD1B54A32D192ED03u;
    x ^= x >> 29;
    x *= 0xBF58476D1CE4E5B9u;
    return x ^ x >> 32;
}

/* ---- keys and values ---- */

/* The last three bytes say which. Some are links in the store (more than 400 bytes), and of those
 * some share their first segments. */
static struct bytes key_make(uint8_t room[KEY_ROOM], size_t index)
{
    static const size_t sizes[8] = {3, 7, 12, 40, 200, 397, 640, 2000};
    size_t size = sizes[index % 8] + (index % 8 > 4 ? index / 8 : 0);
    memset(room, 'a' + (int)(index % 3), size);
    char text[8];
    (void)snprintf(text, sizeof text, "%03zu", index);
    memcpy(room + size - 3, text, 3);
    return (struct bytes){room, size};
}

static size_t value_size(uint64_t seed)
{
    uint64_t kind = mix(seed, 1) % 64;
    uint64_t more = mix(seed, 2);
    return 8 + (kind < 52   ? more % 120
                : kind < 60 ? more % 1800
                : kind < 63 ? 3000 + more % 9000
                            : 20000 + more % 80000);
}

static struct bytes value_make(uint8_t room[VALUE_ROOM], uint64_t seed)
{
    size_t size = seed == SEED_EMPTY ? 0 : value_size(seed);
    ensure(size <= VALUE_ROOM);
    for (size_t i = 0; i < size; i += 8) {
        uint8_t word[8];
        put_u64(word, i == 0 ? seed : mix(seed, i));
        memcpy(room + i, word, size - i < 8 ? size - i : 8);
    }
    return (struct bytes){room, size};
}

uint64_t content_digest(const struct content *content)
{
    uint64_t sum = content->sequence == 0 ? 0 : mix(1000, content->sequence);
    sum += content->layout ? mix(1001, 1) : 0;
    for (size_t t = 0; t < TASK_STORE_TABLES; t++) {
        for (size_t k = 0; k < CONTENT_KEYS; k++) {
            uint64_t seed = content->seeds[t][k];
            sum += seed == 0 ? 0 : mix(mix(t, k), seed);
        }
    }
    return sum;
}

/* ---- reading ---- */

static enum status foreign(struct error *error, const char *what, size_t table)
{
    return error_set(error, STATUS_FATAL, ERROR_MISMATCH, "table %zu holds %s", table, what);
}

static enum status read_pair(struct content *content, size_t table, struct bytes key,
                             struct bytes value, struct error *error)
{
    static uint8_t room[VALUE_ROOM];
    uint8_t key_room[KEY_ROOM];
    size_t index = 0;
    const uint8_t *bytes = key.data;
    if (key.size < 3) {
        return foreign(error, "a key that nobody wrote", table);
    }
    for (size_t i = key.size - 3; i < key.size; i++) {
        index = index * 10 + (size_t)(bytes[i] - '0');
    }
    if (index >= CONTENT_KEYS || !bytes_equal(key, key_make(key_room, index)) ||
        content->seeds[table][index] != 0) {
        return foreign(error, "a key that nobody wrote, or one twice", table);
    }
    if (value.size > 0 && value.size < 8) {
        return foreign(error, "a value that nobody wrote", table);
    }
    uint64_t seed = value.size == 0 ? SEED_EMPTY : get_u64(value.data);
    if (seed == 0 || (seed != SEED_EMPTY && value.size != value_size(seed)) ||
        !bytes_equal(value, value_make(room, seed))) {
        return foreign(error, "a value that nobody wrote", table);
    }
    content->seeds[table][index] = seed;
    return STATUS_OK;
}

static enum status read_table(struct task_store *opened, struct content *content, size_t table,
                              struct error *error)
{
    struct store_cursor *cursor = NULL;
    uint64_t counted = 0;
    uint64_t count = 0;
    enum status status = store_scan(opened->tables[table], (struct bytes){NULL, 0},
                                    (struct bytes){NULL, 0}, 0, &cursor, error);
    struct bytes key;
    struct bytes value;
    while (status == STATUS_OK && (status = store_next(cursor, &key, &value, error)) == STATUS_OK) {
        status = read_pair(content, table, key, value, error);
        count++;
    }
    store_cursor_close(cursor);
    status = status == STATUS_NOT_FOUND ? STATUS_OK : status;
    status = status == STATUS_OK ? store_count(opened->tables[table], &counted, error) : status;
    if (status == STATUS_OK && counted != count) {
        return foreign(error, "another number of keys than it says", table);
    }
    return status;
}

/* Each key by itself, as an operator would. */
static enum status look_up(struct task_store *opened, const struct content *content, size_t table,
                           size_t index, struct error *error)
{
    static uint8_t room[VALUE_ROOM];
    uint8_t key_room[KEY_ROOM];
    struct bytes value;
    uint64_t seed = content->seeds[table][index];
    enum status status = store_get(opened->tables[table], key_make(key_room, index), &value, error);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        return status;
    }
    if ((status == STATUS_OK) != (seed != 0) ||
        (status == STATUS_OK && !bytes_equal(value, value_make(room, seed)))) {
        return foreign(error, "another value by get than by scan", table);
    }
    return STATUS_OK;
}

static enum status read_meta(struct task_store *opened, struct content *content,
                             struct error *error)
{
    static uint8_t room[VALUE_ROOM];
    struct bytes value;
    enum status status = store_meta_get(opened->store, "layout", &value, error);
    if (status == STATUS_OK && !bytes_equal(value, bytes_of(layout_text))) {
        return foreign(error, "another layout", 0);
    }
    content->layout = status == STATUS_OK;
    if (status == STATUS_OK || status == STATUS_NOT_FOUND) {
        status = store_meta_get(opened->store, "sequence", &value, error);
    }
    if (status == STATUS_OK) {
        content->sequence = value.size == 8 ? get_u64(value.data) : 0;
        status = store_meta_get(opened->store, "position", &value, error);
        if (status == STATUS_NOT_FOUND ||
            (status == STATUS_OK &&
             !bytes_equal(value, value_make(room, content->sequence + SEED_LEAST)))) {
            return foreign(error, "the position of another transaction", 0);
        }
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status content_read(struct task_store *opened, struct content *content, struct error *error)
{
    *content = (struct content){.sequence = 0};
    enum status status = read_meta(opened, content, error);
    for (size_t t = 0; t < TASK_STORE_TABLES && status == STATUS_OK; t++) {
        status = read_table(opened, content, t, error);
        for (size_t k = 0; k < CONTENT_KEYS && status == STATUS_OK; k++) {
            status = look_up(opened, content, t, k, error);
        }
    }
    return status;
}

/* ---- writing ---- */

static enum status change_one(struct task_store *opened, struct content *content,
                              struct random *random, struct error *error)
{
    static uint8_t room[VALUE_ROOM];
    uint8_t key_room[KEY_ROOM];
    size_t table = random_below(random, TASK_STORE_TABLES);
    size_t index = random_below(random, CONTENT_KEYS);
    uint64_t *seed = &content->seeds[table][index];
    enum status status =
        random_below(random, 2) == 0 ? look_up(opened, content, table, index, error) : STATUS_OK;
    if (status != STATUS_OK) {
        return status;
    }
    struct bytes key = key_make(key_room, index);
    if (random_below(random, 4) == 0) {
        *seed = 0;
        return store_remove(opened->tables[table], key, error);
    }
    *seed = random_below(random, 16) == 0 ? SEED_EMPTY : random_next(random) >> 1 | SEED_LEAST;
    return store_put(opened->tables[table], key, value_make(room, *seed), error);
}

static enum status change(struct task_store *opened, struct content *content, struct random *random,
                          struct error *error)
{
    static uint8_t room[VALUE_ROOM];
    enum status status = STATUS_OK;
    if (random_below(random, 40) == 0) {
        uint64_t sequence = content->sequence;
        status = store_clear(opened->store, error);
        *content = (struct content){.sequence = sequence};
    }
    size_t count = 1 + random_below(random, random_below(random, 10) == 0 ? MANY : FEW);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        status = change_one(opened, content, random, error);
    }
    content->sequence++;
    uint8_t sequence[8];
    put_u64(sequence, content->sequence);
    if (status == STATUS_OK) {
        status = store_meta_put(opened->store, "position",
                                value_make(room, content->sequence + SEED_LEAST), error);
    }
    return status == STATUS_OK
               ? store_meta_put(opened->store, "sequence", (struct bytes){sequence, 8}, error)
               : status;
}

enum status content_commit(struct task_store *opened, struct content *content,
                           struct random *random, struct error *error)
{
    struct content next = *content;
    enum status status = store_begin(opened->store, error);
    if (status != STATUS_OK) {
        return status;
    }
    status = change(opened, &next, random, error);
    if (status != STATUS_OK) {
        store_abort(opened->store);
        return status;
    }
    status = store_commit(opened->store, error);
    if (status == STATUS_OK) {
        *content = next;
    }
    return status;
}

enum status content_abort(struct task_store *opened, const struct content *content,
                          struct random *random, struct error *error)
{
    struct content next = *content;
    enum status status = store_begin(opened->store, error);
    if (status == STATUS_OK) {
        status = change(opened, &next, random, error);
        store_abort(opened->store);
    }
    return status;
}

enum status content_write_layout(struct task_store *opened, struct content *content,
                                 struct error *error)
{
    enum status status = store_begin(opened->store, error);
    if (status != STATUS_OK) {
        return status;
    }
    status = store_meta_put(opened->store, "layout", bytes_of(layout_text), error);
    if (status != STATUS_OK) {
        store_abort(opened->store);
        return status;
    }
    status = store_commit(opened->store, error);
    content->layout = content->layout || status == STATUS_OK;
    return status;
}
