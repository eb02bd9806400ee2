/* SPDX-License-Identifier: Apache-2.0 */
/* Plugins that no host may run; ABI_BROKEN says which fault. */
#include "leat/operator.h"

#if ABI_BROKEN == 1 /* exports nothing */
extern int abi_nothing;
int abi_nothing = 1;
#elif ABI_BROKEN == 2 /* gives NULL */
LEAT_EXPORT const leat_operator *leat_operator_entry(void)
{
    return NULL;
}
#elif ABI_BROKEN == 3 /* a function that nobody has */
leat_status abi_absent(void *self, leat_context *ctx, const leat_record *record);

static const leat_operator broken = {LEAT_OPERATOR_SIZES, .name = "broken", .process = abi_absent};

LEAT_EXPORT const leat_operator *leat_operator_entry(void)
{
    return &broken;
}
#endif
