/* SPDX-License-Identifier: Apache-2.0 */
/* A producer as its two units see it: sim_producer.c (epoch, records) and sim_producer_end.c
 * (offsets, the end of a transaction). */
#ifndef LEAT_SIMULATION_SIM_PRODUCER_H
#define LEAT_SIMULATION_SIM_PRODUCER_H

#include "sim_cluster.h"

struct sim_batch {
    char topic[SIM_NAME_SIZE];
    int32_t partition;
    struct sim_record **records;
    size_t count;
};

/** One partition that is produced to: what waits, what is under way, what was acknowledged. */
struct sim_lane {
    struct sim_batch waiting;
    bool under_way;
    bool added; /* in this transaction */
    int64_t last_offset;
};

struct sim_refusal {
    uint64_t origin;
    struct error error;
};

enum ending { ENDING_NOTHING, ENDING_COMMIT, ENDING_ABORT };

struct sim_producer {
    struct producer producer;
    struct sim_client client;
    struct sim_transaction *transaction; /* NULL: plain */
    int32_t epoch;
    bool ready, asking, fenced, invalid, suspect, in_transaction, failed, touched;
    char **topics;
    uint32_t topic_count;
    struct sim_lane *lanes;
    size_t lane_count, under_way;
    struct sim_refusal *refusals;
    size_t refusal_count, refusal_told;
    enum ending ending;
    uint64_t end_number; /* answers of older EndTxn are not ours */
    bool end_sent, end_answered;
    enum answer end_answer;
};

struct sim_producer *sim_producer_of(struct producer *producer);
/** NULL if it is gone. */
struct sim_producer *sim_producer_by_number(struct sim_cluster *cluster, uint64_t number);
int64_t sim_producer_now_us(const struct sim_producer *producer);
void sim_producer_fence(struct sim_producer *producer);
bool sim_producer_dead(const struct sim_producer *producer);
/** Why it is dead. */
enum status sim_producer_fatal(const struct sim_producer *producer, struct error *error);
void sim_batch_drop(struct sim_batch *batch);
/** Between two transactions. */
void sim_producer_forget(struct sim_producer *producer);

enum status sim_producer_flush(struct producer *producer, int64_t timeout_ms, struct error *error);
enum status sim_producer_send_offsets(struct producer *producer, struct consumer *consumer,
                                      const struct broker_offset *offsets, size_t count,
                                      struct error *error);
enum status sim_producer_commit(struct producer *producer, int64_t timeout_ms, struct error *error);
enum status sim_producer_abort(struct producer *producer, int64_t timeout_ms, struct error *error);

#endif
