/* SPDX-License-Identifier: Apache-2.0 */
#include "store_steps.h"

#include "state/store.h"
#include "store_model.h"
#include "test_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TABLES = 2, SCANS = 4, RECENT = 6, GROWN_MOST = 2, KEY_ROOM = STORE_KEY_LIMIT + 1 };

struct scan {
    struct store_cursor *cursor;
    int table;
    uint32_t flags;
    bool has_from, has_to, started, ended;
    struct buffer from, to, last;
};

struct run {
    store_steps_source *source;
    void *opaque;
    char *folder;
    bool durable, open, dry; /* dry: the source has ended */
    int grown;
    struct store *store;
    struct store_table *tables[TABLES];
    struct store_model now[TABLES], committed[TABLES];
    uint64_t meta_now, meta_committed; /* 0 = absent */
    struct scan scans[SCANS];
    struct buffer recent[RECENT]; /* keys that come again soon, as a get and its put do */
    uint8_t *key, *value;
    uint64_t step;
};

static uint64_t below(struct run *run, uint64_t bound)
{
    uint64_t number = 0;
    ensure(bound > 0);
    run->dry = run->dry || !run->source(run->opaque, bound, &number);
    return run->dry ? 0 : number % bound;
}

static void expect(const struct run *run, bool holds, const char *what)
{
    if (!holds) {
        (void)fprintf(stderr, "store: %s (step %llu)\n", what, (unsigned long long)run->step);
        abort();
    }
}

static void expect_ok(const struct run *run, enum status status, const struct error *error)
{
    expect(run, status == STATUS_OK, status == STATUS_OK ? "" : error->text);
}

/* A map that was made larger is not so any more. */
static void store_reopen(struct run *run)
{
    struct error error = {0};
    struct store_options options = {.durable = run->durable};
    run->grown = 0;
    expect_ok(run, store_lmdb_open(run->folder, &options, &run->store, &error), &error);
    expect_ok(run, store_table_open(run->store, "count/words", &run->tables[0], &error), &error);
    expect_ok(run, store_table_open(run->store, ".timers", &run->tables[1], &error), &error);
}

/* Few distinct bytes and many sizes around the limits, so that keys meet, nest and share segments.
 */
static struct bytes new_key(struct run *run)
{
    static const size_t sizes[] = {1,   2,   3,   16,  399, 400,  401,  402,  409,  510, 511,
                                   512, 799, 800, 801, 802, 1199, 1200, 1201, 2000, 4001};
    size_t size = sizes[below(run, sizeof sizes / sizeof sizes[0])];
    uint64_t kind = below(run, 100);
    if (kind == 0) {
        size = STORE_KEY_LIMIT - below(run, 3) * 100;
    } else if (kind < 30) {
        size = 1 + below(run, 12);
    }
    memset(run->key, "aab\xff"[below(run, 4)], size);
    for (uint64_t i = below(run, 4); i > 0; i--) {
        /* A change early, near a limit, or in the last bytes. */
        static const size_t places[] = {0, 1, 398, 399, 400, 401, 799, 800, 801, 1200};
        size_t place = below(run, 2) == 0 ? places[below(run, 10)] : size - 1 - below(run, 3);
        if (place < size) {
            run->key[place] = (uint8_t) "\0\x01\xff"
                                        "abcdef"[below(run, 9)];
        }
    }
    return (struct bytes){run->key, size};
}

static struct bytes random_key(struct run *run)
{
    struct buffer *recent = &run->recent[below(run, RECENT)];
    if (below(run, 2) == 0 && recent->size > 0) {
        memcpy(run->key, recent->data, recent->size);
        return (struct bytes){run->key, recent->size};
    }
    struct bytes key = new_key(run);
    if (below(run, 8) == 0) {
        recent->size = 0;
        buffer_append(recent, key.data, key.size);
    }
    return key;
}

static struct bytes random_value(struct run *run)
{
    size_t size = below(run, 120);
    uint64_t kind = below(run, 1000);
    if (kind == 0) {
        size = (size_t)1 << (10 + below(run, 11));
    } else if (kind < 30) {
        size = below(run, 6000);
    } else if (kind < 500) {
        size = 100; /* often the same size: replaced in place */
    }
    uint64_t fill = below(run, UINT64_MAX);
    for (size_t i = 0; i < size && i < 64; i++) {
        run->value[i] = (uint8_t)(fill >> (i % 8 * 8));
    }
    return (struct bytes){run->value, size};
}

static struct bytes view(const struct buffer *buffer)
{
    return (struct bytes){buffer->data, buffer->size};
}

static void scan_close(struct scan *scan)
{
    store_cursor_close(scan->cursor);
    buffer_finish(&scan->from);
    buffer_finish(&scan->to);
    buffer_finish(&scan->last);
    *scan = (struct scan){0};
}

static void scans_close(struct run *run)
{
    for (int i = 0; i < SCANS; i++) {
        scan_close(&run->scans[i]);
    }
}

static void scan_open(struct run *run, struct scan *scan)
{
    struct error error = {0};
    scan_close(scan);
    scan->table = (int)below(run, TABLES);
    scan->flags = (uint32_t)below(run, 4);
    scan->has_from = below(run, 3) > 0;
    scan->has_to = below(run, 3) > 0;
    struct bytes key = random_key(run);
    /* A short prefix finds more; a cut bound lies between keys. */
    size_t from_size = below(run, 2) == 0 ? key.size : 1 + below(run, key.size);
    buffer_append(&scan->from, key.data, from_size);
    key = random_key(run);
    buffer_append(&scan->to, key.data, key.size);
    struct bytes from = scan->has_from ? view(&scan->from) : (struct bytes){0};
    struct bytes to = scan->has_to ? view(&scan->to) : (struct bytes){0};
    expect_ok(run,
              store_scan(run->tables[scan->table], from, to, scan->flags, &scan->cursor, &error),
              &error);
}

static void scan_step(struct run *run, struct scan *scan)
{
    struct error error = {0};
    struct bytes key;
    struct bytes value;
    struct bytes last = view(&scan->last);
    struct bytes from = scan->has_from ? view(&scan->from) : (struct bytes){0};
    struct bytes to = scan->has_to ? view(&scan->to) : (struct bytes){0};
    const struct model_entry *wanted = scan->ended
                                           ? NULL
                                           : model_next(&run->now[scan->table], from, to,
                                                        scan->flags, scan->started ? &last : NULL);
    enum status status = store_next(scan->cursor, &key, &value, &error);
    if (wanted == NULL) {
        expect(run, status == STATUS_NOT_FOUND, "a scan went beyond its end");
        scan->ended = true;
        return;
    }
    expect_ok(run, status, &error);
    expect(run, bytes_equal(key, wanted->key), "a scan gave another key");
    expect(run, bytes_equal(value, wanted->value), "a scan gave another value");
    scan->started = true;
    scan->last.size = 0;
    buffer_append(&scan->last, key.data, key.size);
}

static void begin(struct run *run)
{
    struct error error = {0};
    expect_ok(run, store_begin(run->store, &error), &error);
    run->open = true;
}

static void end(struct run *run, bool keep)
{
    struct error error = {0};
    scans_close(run);
    if (keep) {
        expect_ok(run, store_commit(run->store, &error), &error);
        run->meta_committed = run->meta_now;
    } else {
        store_abort(run->store);
        run->meta_now = run->meta_committed;
    }
    for (int i = 0; i < TABLES; i++) {
        struct store_model *stale = keep ? &run->committed[i] : &run->now[i];
        model_finish(stale);
        model_copy(keep ? &run->now[i] : &run->committed[i], stale);
    }
    run->open = false;
}

static void check_get(struct run *run, int table, struct bytes key)
{
    struct error error = {0};
    struct bytes value;
    const struct model_entry *wanted = model_get(&run->now[table], key);
    enum status status = store_get(run->tables[table], key, &value, &error);
    if (wanted == NULL) {
        expect(run, status == STATUS_NOT_FOUND, "an absent key was found");
        return;
    }
    expect_ok(run, status, &error);
    expect(run, bytes_equal(value, wanted->value), "a get gave another value");
}

static void change(struct run *run)
{
    struct error error = {0};
    int table = (int)below(run, TABLES);
    struct bytes key = random_key(run);
    if (below(run, 3) == 0 && run->now[table].count > 0) { /* one that is there */
        key = run->now[table].items[below(run, run->now[table].count)]->key;
        memcpy(run->key, key.data, key.size);
        key.data = run->key;
    }
    if (below(run, 2) == 0) {
        check_get(run, table, key);
    }
    if (below(run, 10) < 6) {
        struct bytes value = random_value(run);
        expect_ok(run, store_put(run->tables[table], key, value, &error), &error);
        model_put(&run->now[table], key, value);
    } else {
        expect_ok(run, store_remove(run->tables[table], key, &error), &error);
        model_remove(&run->now[table], key);
    }
}

static void check_meta(struct run *run)
{
    struct error error = {0};
    struct bytes value;
    enum status status = store_meta_get(run->store, "position", &value, &error);
    if (run->meta_now == 0) {
        expect(run, status == STATUS_NOT_FOUND, "metadata that was never written");
        return;
    }
    expect_ok(run, status, &error);
    expect(run, value.size == 8 && get_u64(value.data) == run->meta_now, "other metadata");
}

static void check_whole(struct run *run)
{
    struct error error = {0};
    for (int table = 0; table < TABLES; table++) {
        const struct store_model *model = &run->now[table];
        uint64_t count;
        expect_ok(run, store_count(run->tables[table], &count, &error), &error);
        expect(run, count == model->count, "another count");
        for (uint32_t flags = 0; flags <= STORE_REVERSE; flags++) {
            struct store_cursor *cursor;
            struct bytes none = {0};
            struct bytes key;
            struct bytes value;
            expect_ok(run, store_scan(run->tables[table], none, none, flags, &cursor, &error),
                      &error);
            for (size_t i = 0; i < model->count; i++) {
                const struct model_entry *wanted =
                    model->items[flags == STORE_REVERSE ? model->count - 1 - i : i];
                expect_ok(run, store_next(cursor, &key, &value, &error), &error);
                expect(run, bytes_equal(key, wanted->key) && bytes_equal(value, wanted->value),
                       "a full scan gave another entry");
            }
            expect(run, store_next(cursor, &key, &value, &error) == STATUS_NOT_FOUND,
                   "a full scan gave more");
            store_cursor_close(cursor);
        }
    }
}

static void step(struct run *run)
{
    struct error error = {0};
    uint64_t what = below(run, 1000);
    if (what < 560 && run->open) {
        change(run);
    } else if (what < 660) {
        check_get(run, (int)below(run, TABLES), random_key(run));
    } else if (what < 700) {
        scan_open(run, &run->scans[below(run, SCANS)]);
    } else if (what < 900) {
        struct scan *scan = &run->scans[below(run, SCANS)];
        if (scan->cursor != NULL) {
            scan_step(run, scan);
        }
    } else if (what < 930) {
        check_meta(run);
        if (run->open) {
            uint8_t number[8];
            put_u64(number, run->step);
            expect_ok(run,
                      store_meta_put(run->store, "position", (struct bytes){number, 8}, &error),
                      &error);
            run->meta_now = run->step;
        }
    } else if (what < 990) {
        if (!run->open) {
            begin(run);
        } else if (below(run, 4) == 0) {
            end(run, below(run, 3) > 0);
        }
    } else if (what < 994) {
        check_whole(run);
    } else if (what == 994 && run->open && below(run, 30) == 0) {
        expect_ok(run, store_clear(run->store, &error), &error);
        for (int i = 0; i < TABLES; i++) {
            model_finish(&run->now[i]);
        }
        run->meta_now = 0;
    } else if (what == 996 && !run->open && run->grown < GROWN_MOST) {
        run->grown++;
        expect_ok(run, store_grow(run->store, &error), &error);
        expect(run, !store_nearly_full(run->store), "a map is nearly full after it grew");
    } else if (what == 995 && below(run, 4) == 0) {
        if (run->open) {
            end(run, false); /* what closing does with an open transaction */
            begin(run);
        }
        scans_close(run);
        store_close(run->store);
        run->open = false;
        store_reopen(run);
    }
}

/* What is at the end must be there after another opening. */
static void finish(struct run *run)
{
    if (run->open) {
        end(run, true);
    }
    scans_close(run);
    check_whole(run);
    store_close(run->store);
    store_reopen(run);
    check_whole(run);
    check_meta(run);
    store_close(run->store);
    for (int i = 0; i < TABLES; i++) {
        model_finish(&run->now[i]);
        model_finish(&run->committed[i]);
    }
    for (int i = 0; i < RECENT; i++) {
        buffer_finish(&run->recent[i]);
    }
    test_folder_remove(run->folder);
}

void store_steps_run(store_steps_source *source, void *opaque, uint64_t steps, bool durable)
{
    struct run run = {
        .source = source, .opaque = opaque, .durable = durable, .folder = test_folder_make()};
    static uint8_t key_room[KEY_ROOM], value_room[4 << 20]; /* too slow to make for each input */
    run.key = key_room;
    run.value = value_room;
    store_reopen(&run);
    for (run.step = 1; run.step <= steps && !run.dry; run.step++) {
        step(&run);
    }
    finish(&run);
}
