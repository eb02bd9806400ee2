/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hello: greets whoever a record names in its value, and says how often it did. A first operator:
 * one parameter, one store, one output. docs/operators.md explains each line.
 */
#include <leat/operator.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct hello {
    const char *greeting;
    leat_store *visits; /* name -> how often, an int64_t */
};

static leat_status hello_init(leat_context *ctx, void **self)
{
    struct hello *hello = calloc(1, sizeof *hello);
    if (hello == NULL) {
        return leat_fail(ctx, LEAT_ERR_FATAL, "out of memory");
    }
    hello->greeting = leat_param_string(ctx, "greeting");
    leat_status status = leat_store_open(ctx, "visits", &hello->visits);
    if (status != LEAT_OK) {
        free(hello); /* a failed init leaves nothing behind: close is not called */
        return status;
    }
    *self = hello;
    return LEAT_OK;
}

static leat_status hello_process(void *self, leat_context *ctx, const leat_record *record)
{
    const struct hello *hello = self;
    int64_t visits = 0;
    leat_bytes before;
    if (record->value.size == 0) {
        return leat_fail(ctx, LEAT_ERR_RECORD, "nobody to greet: the value is empty");
    }
    leat_status status = leat_get(hello->visits, record->value, &before);
    if (status == LEAT_OK) {
        memcpy(&visits, before.data, sizeof visits);
    } else if (status != LEAT_NOT_FOUND) {
        return status;
    }
    visits++;
    status = leat_put(hello->visits, record->value, (leat_bytes){&visits, sizeof visits});
    if (status != LEAT_OK) {
        return status;
    }
    size_t size = strlen(hello->greeting) + record->value.size + 32;
    char *text = leat_scratch(ctx, size);
    int length = snprintf(text, size, "%s, %.*s! (%" PRId64 ")", hello->greeting,
                          (int)record->value.size, (const char *)record->value.data, visits);
    leat_record out = *record; /* headers and timestamp stay */
    out.key = record->value;
    out.value = (leat_bytes){text, (size_t)length};
    return leat_forward(ctx, 0, &out);
}

static const leat_param params[] = {
    {"greeting", LEAT_PARAM_STRING, "Hello", "the word in front of the name"},
    {0},
};

static const leat_store_spec stores[] = {
    {"visits", "a name -> how often it was greeted"},
    {0},
};

static const leat_operator hello = {
    LEAT_OPERATOR_SIZES, .name = "hello",
    .version = "1.0.0",  .summary = "greets whom a record names, and counts the greetings",
    .params = params,    .stores = stores,
    .init = hello_init,  .process = hello_process,
    .close = free,
};

const leat_operator *leat_operator_entry(void)
{
    return &hello;
}
