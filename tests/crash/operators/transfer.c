/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer: money from one account to another. The value is `ID FROM TO AMOUNT`; FROM's balance in
 * the store `from` sinks, TO's in the store `to` rises, and each side goes out once: `ID -AMOUNT`
 * under FROM, `ID AMOUNT` under TO. Over both stores, and over both outputs, the sum is always 0.
 */
#include <leat/operator.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE_FROM, SIDE_TO, SIDE_COUNT };

struct transfer {
    leat_store *accounts[SIDE_COUNT];
};

static leat_status transfer_init(leat_context *ctx, void **self)
{
    struct transfer *transfer = calloc(1, sizeof *transfer);
    if (transfer == NULL) {
        return leat_fail(ctx, LEAT_ERR_FATAL, "out of memory");
    }
    leat_status status = leat_store_open(ctx, "from", &transfer->accounts[SIDE_FROM]);
    if (status == LEAT_OK) {
        status = leat_store_open(ctx, "to", &transfer->accounts[SIDE_TO]);
    }
    if (status != LEAT_OK) {
        free(transfer);
        return status;
    }
    *self = transfer;
    return LEAT_OK;
}

static void transfer_close(void *self)
{
    free(self);
}

/* Books `amount` on `account` and sends it out. */
static leat_status book(const struct transfer *transfer, leat_context *ctx, uint32_t side,
                        const leat_record *record, const char *id, leat_bytes account,
                        int64_t amount)
{
    leat_bytes found;
    int64_t balance = 0;
    leat_status status = leat_get(transfer->accounts[side], account, &found);
    if (status == LEAT_OK) {
        char text[32];
        (void)snprintf(text, sizeof text, "%.*s", (int)found.size, (const char *)found.data);
        balance = strtoll(text, NULL, 10);
    } else if (status != LEAT_NOT_FOUND) {
        return status;
    }
    char text[32];
    int size = snprintf(text, sizeof text, "%" PRId64, balance + amount);
    status = leat_put(transfer->accounts[side], account, (leat_bytes){text, (size_t)size});
    if (status != LEAT_OK) {
        return status;
    }
    char value[64];
    size = snprintf(value, sizeof value, "%s %" PRId64, id, amount);
    leat_record out = *record;
    out.key = account;
    out.value = (leat_bytes){value, (size_t)size};
    return leat_forward(ctx, side, &out);
}

static leat_status transfer_process(void *self, leat_context *ctx, const leat_record *record)
{
    char text[128];
    char id[24];
    char from[24];
    char to[24];
    int64_t amount = 0;
    (void)snprintf(text, sizeof text, "%.*s", (int)record->value.size,
                   (const char *)record->value.data);
    if (sscanf(text, "%23s %23s %23s %" SCNd64, id, from, to, &amount) != 4) {
        return leat_fail(ctx, LEAT_ERR_RECORD, "not ID FROM TO AMOUNT: %s", text);
    }
    leat_status status =
        book(self, ctx, SIDE_FROM, record, id, (leat_bytes){from, strlen(from)}, -amount);
    return status == LEAT_OK
               ? book(self, ctx, SIDE_TO, record, id, (leat_bytes){to, strlen(to)}, amount)
               : status;
}

static const leat_port outputs[] = {{"debits", "ID -AMOUNT under the account it was taken from"},
                                    {"credits", "ID AMOUNT under the account it went to"},
                                    {NULL, NULL}};
static const leat_store_spec stores[] = {{"from", "account: the sum of what was taken from it"},
                                         {"to", "account: the sum of what it was given"},
                                         {NULL, NULL}};

static const leat_operator descriptor = {
    LEAT_OPERATOR_SIZES,    .name = "transfer",
    .version = "1",         .summary = "money between accounts; the sum is always 0",
    .outputs = outputs,     .stores = stores,
    .init = transfer_init,  .process = transfer_process,
    .close = transfer_close};

LEAT_EXPORT const leat_operator *leat_operator_entry(void)
{
    return &descriptor;
}
