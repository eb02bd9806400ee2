/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of broker.h, kept by the embedded broker. */
#include "broker_contract.h"

#include "test_folder.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>

static enum status open_local(struct broker_contract *contract, struct broker **broker,
                              struct error *error)
{
    const struct broker_settings settings = {.directory = contract->opaque,
                                             .connect_timeout_ms = 1000,
                                             .session_timeout_ms = 10000,
                                             .transaction_timeout_ms = 10000,
                                             .callback_timeout_ms = 60000,
                                             .prefetch_size = 1 << 20};
    return broker_local_open(&settings, broker, error);
}

/* Each case by its number: it runs in a process of its own, where pointers of another mean nothing.
 */
ParameterizedTestParameters(broker_local, keeps_the_contract)
{
    static size_t numbers[64];
    for (size_t i = 0; i < broker_contract_case_count; i++) {
        numbers[i] = i;
    }
    return cr_make_param_array(size_t, numbers, broker_contract_case_count);
}

ParameterizedTest(const size_t *number, broker_local, keeps_the_contract)
{
    const struct broker_contract_case *each = &broker_contract_cases[*number];
    struct broker_contract contract = {
        .open = open_local, .opaque = test_folder_make(), .prefix = "t", .patience_ms = 5000};
    cr_log_info("%s", each->name);
    each->run(&contract);
    test_folder_remove(contract.opaque);
}
