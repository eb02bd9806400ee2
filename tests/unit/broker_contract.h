/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Broker contract: what broker.h promises, as cases that any broker must pass. Written against
 * broker.h alone; who runs them says how to open a broker. Two opened brokers of one contract reach
 * the same log.
 */
#ifndef LEAT_TESTS_BROKER_CONTRACT_H
#define LEAT_TESTS_BROKER_CONTRACT_H

#include "broker/broker.h"

struct broker_contract {
    enum status (*open)(struct broker_contract *contract, struct broker **broker,
                        struct error *error);
    void *opaque;        /* of the opener */
    const char *prefix;  /* of topics, groups and ids: unique to the run */
    int64_t patience_ms; /* after which something that must happen has not */
};

struct broker_contract_case {
    const char *name; /* a sentence */
    void (*run)(struct broker_contract *contract);
};

extern const struct broker_contract_case broker_contract_cases[];
extern const size_t broker_contract_case_count;

#endif
