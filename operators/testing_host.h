/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Testing host: runs one operator on stores in memory, for the tests of this folder. Real
 * descriptor and parameter checks; no undo, no timers. It speaks the names of leat/testing.h.
 */
#ifndef LEAT_OPERATORS_TESTING_HOST_H
#define LEAT_OPERATORS_TESTING_HOST_H

#include "base/arena.h"
#include "base/bytes.h"
#include "plugin/plugin.h"

#include <stdlib.h>
#include <string.h>

typedef struct leat_driver leat_driver;

struct leat_context {
    const leat_host *host;
    leat_driver *driver;
};
struct testing_pair {
    struct buffer key, value;
};
struct leat_store {
    const leat_host *host;
    leat_driver *driver;
    struct testing_pair *pairs;
    size_t count;
};
struct leat_cursor {
    const leat_host *host;
};

struct testing_output {
    uint32_t output;
    leat_record record;
};

struct leat_driver {
    struct leat_context context;
    struct plugin *plugin;
    struct parameters *parameters;
    struct leat_store *stores;
    void *self;
    bool open;
    struct arena scratch, kept;
    struct testing_output *outputs;
    size_t output_count, read[8];
    char error[1024];
    uint64_t gets, puts;
};

static inline const char *testing_param_string(leat_context *ctx, const char *name)
{
    return parameters_string(ctx->driver->parameters, name);
}
static inline int64_t testing_param_int(leat_context *ctx, const char *name)
{
    return parameters_int(ctx->driver->parameters, name);
}
static inline bool testing_param_bool(leat_context *ctx, const char *name)
{
    return parameters_bool(ctx->driver->parameters, name);
}
static inline leat_status testing_store_open(leat_context *ctx, const char *name, leat_store **out)
{
    for (uint32_t i = 0; i < ctx->driver->plugin->store_count; i++) {
        if (strcmp(ctx->driver->plugin->stores[i].name, name) == 0) {
            *out = &ctx->driver->stores[i];
            return LEAT_OK;
        }
    }
    return LEAT_ERR_FATAL;
}
static inline leat_bytes testing_keep(leat_driver *driver, leat_bytes bytes)
{
    if (bytes.data != NULL) {
        bytes.data = arena_copy(&driver->kept, bytes.data, bytes.size);
    }
    return bytes;
}
static inline leat_status testing_forward(leat_context *ctx, uint32_t output,
                                          const leat_record *record)
{
    leat_driver *driver = ctx->driver;
    leat_record kept = *record;
    kept.key = testing_keep(driver, record->key);
    kept.value = testing_keep(driver, record->value);
    driver->outputs = (struct testing_output *)memory_resize(
        driver->outputs, (driver->output_count + 1) * sizeof *driver->outputs);
    driver->outputs[driver->output_count].output = output;
    driver->outputs[driver->output_count++].record = kept;
    return LEAT_OK;
}
static inline struct testing_pair *testing_find(leat_store *store, leat_bytes key)
{
    for (size_t i = 0; i < store->count; i++) {
        struct buffer *held = &store->pairs[i].key;
        if (held->size == key.size && memcmp(held->data, key.data, key.size) == 0) {
            return &store->pairs[i];
        }
    }
    return NULL;
}
static inline leat_status testing_get(leat_store *store, leat_bytes key, leat_bytes *value)
{
    store->driver->gets++;
    const struct testing_pair *pair = testing_find(store, key);
    if (pair == NULL) {
        return LEAT_NOT_FOUND;
    }
    value->data = pair->value.data == NULL ? (const void *)"" : pair->value.data;
    value->size = pair->value.size;
    return LEAT_OK;
}
static inline leat_status testing_put(leat_store *store, leat_bytes key, leat_bytes value)
{
    store->driver->puts++;
    struct testing_pair *pair = testing_find(store, key);
    if (key.size < 1 || key.size > 64 * 1024 || value.size > 16 * 1024 * 1024) {
        return LEAT_ERR_RECORD;
    }
    if (pair == NULL) {
        store->pairs = (struct testing_pair *)memory_resize(store->pairs, (store->count + 1) *
                                                                              sizeof *store->pairs);
        pair = &store->pairs[store->count++];
        memset(pair, 0, sizeof *pair);
        buffer_append(&pair->key, key.data, key.size);
    }
    pair->value.size = 0;
    buffer_append(&pair->value, value.data, value.size);
    return LEAT_OK;
}
static inline void *testing_scratch(leat_context *ctx, size_t size)
{
    return arena_take(&ctx->driver->scratch, size);
}
static inline leat_status testing_fail(leat_context *ctx, leat_status status, const char *text)
{
    (void)snprintf(ctx->driver->error, sizeof ctx->driver->error, "%s", text);
    return status;
}

static const leat_host testing_host = {
    .struct_size = sizeof(leat_host),
    .abi_version = LEAT_ABI_VERSION,
    .param_string = testing_param_string,
    .param_int = testing_param_int,
    .param_bool = testing_param_bool,
    .store_open = testing_store_open,
    .forward = testing_forward,
    .get = testing_get,
    .put = testing_put,
    .scratch = testing_scratch,
    .fail = testing_fail,
};

static inline void testing_open(leat_driver *driver)
{
    const leat_operator *descriptor = &driver->plugin->descriptor;
    driver->self = NULL;
    driver->open =
        descriptor->init == NULL || descriptor->init(&driver->context, &driver->self) == LEAT_OK;
}
static inline void testing_close(leat_driver *driver)
{
    if (driver->open && driver->plugin->descriptor.close != NULL) {
        driver->plugin->descriptor.close(driver->self);
    }
    driver->open = false;
}

/** `params`: names and values in turn, ended by NULL; or NULL. Look at leat_driver_error. */
static inline leat_driver *leat_driver_create(const leat_operator *descriptor,
                                              const char *const *params)
{
    leat_driver *driver = (leat_driver *)memory_allocate(sizeof *driver);
    struct named_value values[16];
    size_t count = 0;
    struct error error = {0};
    memset(values, 0, sizeof values);
    for (; params != NULL && params[2 * count] != NULL; count++) {
        values[count].name = params[2 * count];
        values[count].path = params[2 * count];
        values[count].value.kind = VALUE_STRING;
        values[count].value.text = params[2 * count + 1];
    }
    driver->context.host = &testing_host;
    driver->context.driver = driver;
    arena_init(&driver->scratch, 1 << 16);
    arena_init(&driver->kept, 1 << 16);
    if (plugin_adopt(descriptor, "test", &driver->plugin, &error) == STATUS_OK) {
        driver->stores = (struct leat_store *)memory_allocate((driver->plugin->store_count + 1) *
                                                              sizeof *driver->stores);
        for (uint32_t i = 0; i < driver->plugin->store_count; i++) {
            driver->stores[i].host = &testing_host;
            driver->stores[i].driver = driver;
        }
        if (parameters_check(driver->plugin, values, count, "test", "$.operators.test", 1,
                             &driver->parameters, &error) == STATUS_OK) {
            testing_open(driver);
        }
    }
    if (error.status != STATUS_OK) {
        (void)snprintf(driver->error, sizeof driver->error, "%s", error.text);
    }
    return driver;
}
static inline const char *leat_driver_error(const leat_driver *driver)
{
    return driver->error;
}
static inline leat_status leat_driver_send(leat_driver *driver, const leat_record *record)
{
    driver->error[0] = 0;
    leat_status status =
        driver->open ? driver->plugin->descriptor.process(driver->self, &driver->context, record)
                     : LEAT_ERR_FATAL;
    arena_reset(&driver->scratch);
    return status;
}
static inline leat_bytes testing_bytes(const char *text)
{
    leat_bytes bytes = {text, text == NULL ? 0 : strlen(text)};
    return bytes;
}
static inline leat_status leat_driver_send_text(leat_driver *driver, const char *key,
                                                const char *value, int64_t timestamp_ms)
{
    leat_record record;
    memset(&record, 0, sizeof record);
    record.key = testing_bytes(key);
    record.value = testing_bytes(value);
    record.timestamp_ms = timestamp_ms;
    record.topic = "test";
    return leat_driver_send(driver, &record);
}
/** The next unread record of an output; false when there is none. Views live until destroy. */
static inline bool leat_driver_read(leat_driver *driver, uint32_t output, leat_record *record)
{
    size_t *next = &driver->read[output];
    while (*next < driver->output_count) {
        const struct testing_output *candidate = &driver->outputs[(*next)++];
        if (candidate->output == output) {
            *record = candidate->record;
            return true;
        }
    }
    return false;
}
static inline leat_status leat_driver_get(leat_driver *driver, const char *store, leat_bytes key,
                                          leat_bytes *value)
{
    leat_store *found = NULL;
    return testing_store_open(&driver->context, store, &found) == LEAT_OK
               ? testing_get(found, key, value)
               : LEAT_ERR_FATAL;
}
/** Closes the operator and initialises it again; stores stay. */
static inline void leat_driver_restart(leat_driver *driver)
{
    testing_close(driver);
    testing_open(driver);
}
static inline void leat_driver_destroy(leat_driver *driver)
{
    testing_close(driver);
    for (uint32_t i = 0; driver->plugin != NULL && i < driver->plugin->store_count; i++) {
        for (size_t j = 0; j < driver->stores[i].count; j++) {
            buffer_finish(&driver->stores[i].pairs[j].key);
            buffer_finish(&driver->stores[i].pairs[j].value);
        }
        free(driver->stores[i].pairs);
    }
    free(driver->stores);
    free(driver->outputs);
    parameters_destroy(driver->parameters);
    plugin_unload(driver->plugin);
    arena_finish(&driver->scratch);
    arena_finish(&driver->kept);
    free(driver);
}

#endif
