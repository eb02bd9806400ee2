/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store as a whole against a sorted array (tests/unit/store_steps.h): the bytes of an input
 * choose the operations. One byte a choice below 256, two where it has more.
 */
#include "../unit/store_steps.h"

#include "fuzz_input.h"

static bool next_number(void *opaque, uint64_t bound, uint64_t *number)
{
    struct fuzz_input *input = opaque;
    bool more = input->left > 0;
    *number = fuzz_number(input, bound <= 256 ? 1 : 2);
    return more;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size > FUZZ_INPUT_MOST ? FUZZ_INPUT_MOST : size};
    bool durable = fuzz_byte(&input) == 0xff;
    store_steps_run(next_number, &input, UINT64_MAX, durable);
    return 0;
}
