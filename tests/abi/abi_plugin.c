/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plugin in the layout of whatever leat/operator.h comes first in the include path: built once
 * per header (ABI_NAME names it). What it says can be checked by whoever loads it.
 */
#include "leat/operator.h"

static leat_status abi_init(leat_context *ctx, void **self)
{
    *self = (void *)(uintptr_t)leat_param_int(ctx, "size");
    return LEAT_OK;
}

static leat_status abi_process(void *self, leat_context *ctx, const leat_record *record)
{
    (void)self;
    return leat_forward(ctx, 1, record);
}

static leat_status abi_timer(void *self, leat_context *ctx, const leat_timer *timer)
{
    (void)self;
    (void)ctx;
    return (leat_status)timer->id;
}

static void abi_close(void *self)
{
    (void)self;
}

#ifdef ABI_GROWN /* the header of the future has one more member at each tail */
#define TAIL , "tail"
#else
#define TAIL
#endif

static const leat_param params[] = {{"size", LEAT_PARAM_SIZE, "64MiB", "a size" TAIL},
                                    {"mode", LEAT_PARAM_ENUM, "a", "a|b: a mode" TAIL},
                                    {.name = NULL}};
static const leat_port inputs[] = {{"left", "one" TAIL}, {"right", "other" TAIL}, {.name = NULL}};
static const leat_port outputs[] = {{"out", "first" TAIL}, {"late", "second" TAIL}, {.name = NULL}};
static const leat_store_spec stores[] = {{"state", "all" TAIL}, {.name = NULL}};

static const leat_operator abi_operator = {LEAT_OPERATOR_SIZES,
                                           ABI_NAME,
                                           "1.2.3",
                                           "for the ABI tests",
                                           params,
                                           inputs,
                                           outputs,
                                           stores,
                                           abi_init,
                                           abi_process,
                                           abi_timer,
                                           abi_close TAIL};

LEAT_EXPORT const leat_operator *leat_operator_entry(void)
{
    return &abi_operator;
}
