/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of broker.h, kept by Kafka: the cases that every broker must pass. */
#include "broker_contract.h"
#include "kafka_cluster.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>

static enum status open_kafka(struct broker_contract *contract, struct broker **broker,
                              struct error *error)
{
    (void)contract;
    struct broker_settings settings = cluster_settings();
    return broker_kafka_open(&settings, broker, error);
}

/* Each case by its number: it runs in a process of its own, where pointers of another mean nothing.
 */
ParameterizedTestParameters(broker_kafka, keeps_the_contract)
{
    static size_t numbers[64];
    for (size_t i = 0; i < broker_contract_case_count; i++) {
        numbers[i] = i;
    }
    return cr_make_param_array(size_t, numbers, broker_contract_case_count);
}

ParameterizedTest(const size_t *number, broker_kafka, keeps_the_contract)
{
    const struct broker_contract_case *each = &broker_contract_cases[*number];
    char prefix[NAME_SIZE];
    cluster_name(prefix, "contract");
    struct broker_contract contract = {.open = open_kafka, .prefix = prefix, .patience_ms = 15000};
    cr_log_info("%s", each->name);
    each->run(&contract);
}
