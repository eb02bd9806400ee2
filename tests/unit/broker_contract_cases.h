/* SPDX-License-Identifier: Apache-2.0 */
/* Broker contract cases: the part of the table that lies in another file, transactions and groups.
 */
#ifndef LEAT_TESTS_BROKER_CONTRACT_CASES_H
#define LEAT_TESTS_BROKER_CONTRACT_CASES_H

#include "broker_contract.h"

void contract_aborted_records_are_never_seen(struct broker_contract *contract);
void contract_last_offset_is_where_the_record_lies(struct broker_contract *contract);
void contract_records_and_offsets_commit_together(struct broker_contract *contract);
void contract_a_newer_producer_fences_the_older(struct broker_contract *contract);
void contract_a_takeover_fences(struct broker_contract *contract);
void contract_two_members_share_by_range(struct broker_contract *contract);
void contract_offsets_of_a_past_generation_are_refused(struct broker_contract *contract);
void contract_a_static_restart_disturbs_nobody(struct broker_contract *contract);
void contract_the_same_instance_fences_the_older_member(struct broker_contract *contract);

#endif
