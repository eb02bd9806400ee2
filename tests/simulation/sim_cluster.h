/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the simulated cluster: sim_log.c (topics), sim_transaction.c (coordinator of
 * transactions), sim_group.c (coordinator of groups), sim_consumer.c and sim_producer.c (the client
 * libraries), sim_broker.c (handles and administration).
 *
 * Invariants: client structures are found by number by requests under way, never by pointer;
 * records and transactions belong to the cluster; the coordinators never wait.
 */
#ifndef LEAT_SIMULATION_SIM_CLUSTER_H
#define LEAT_SIMULATION_SIM_CLUSTER_H

#include "sim_broker.h"

enum { SIM_NAME_SIZE = 256 };

/* ---- Logs ---- */

enum record_kind { RECORD_DATA, RECORD_MARKER };
enum record_state { RECORD_OPEN, RECORD_COMMITTED, RECORD_ABORTED };

struct sim_transaction;

/** One allocation with everything in it. */
struct sim_record {
    enum record_kind kind;
    enum record_state state;
    bool hidden; /* compacted away or below the log start: kept for the oracle only */
    struct sim_transaction *owner; /* NULL: not transactional */
    int64_t offset, timestamp_ms;
    uint64_t origin;
    int64_t horizon_us; /* of a deletion: compaction takes it after this; 0 = none came by yet */
    uint64_t serial;    /* of the owner's transaction that it belongs to */
    struct bytes key, value;
    struct header *headers;
    uint32_t header_count;
};

/** The first open record of a transaction in a partition. */
struct sim_open {
    struct sim_transaction *owner;
    int64_t first;
};

/** The newest epoch a partition has seen of a transactional id. */
struct sim_epoch {
    struct sim_transaction *owner;
    int32_t epoch;
};

struct sim_partition {
    struct sim_record **records; /* by offset; gaps where compaction or retention took some */
    size_t count, capacity;
    int64_t start, end;
    struct sim_open *opens;
    size_t open_count;
    struct sim_epoch *epochs;
    size_t epoch_count;
};

struct sim_topic {
    char *name;
    struct broker_topic facts;
    struct sim_partition *partitions;
};

struct sim_topic *sim_topic_find(struct sim_cluster *cluster, const char *name);
struct sim_topic *sim_topic_add(struct sim_cluster *cluster, const char *name, int32_t partitions,
                                bool compacted);
void sim_topic_free(struct sim_topic *topic);
/** NULL if there is no such partition. */
struct sim_partition *sim_partition_find(struct sim_cluster *cluster, const char *topic,
                                         int32_t partition);
struct sim_record *sim_record_make(struct bytes key, struct bytes value,
                                   const struct header *headers, uint32_t header_count,
                                   int64_t timestamp_ms);
struct sim_record *sim_record_copy(const struct sim_record *record);
/** Takes the record. */
int64_t sim_partition_append(struct sim_partition *partition, struct sim_record *record);
int64_t sim_partition_stable(const struct sim_partition *partition);
bool sim_partition_open_for(const struct sim_partition *partition,
                            const struct sim_transaction *owner);
int32_t *sim_partition_epoch(struct sim_partition *partition, struct sim_transaction *owner);
/** Decides the open records of `owner` and appends its marker. */
void sim_partition_mark(struct sim_partition *partition, struct sim_transaction *owner,
                        bool commit);
/** Index of the first record at or after `offset`. */
size_t sim_partition_index(const struct sim_partition *partition, int64_t offset);

/* ---- Transactions ---- */

enum transaction_state {
    TRANSACTION_EMPTY,
    TRANSACTION_ONGOING,
    TRANSACTION_COMMITTING, /* decided; markers still to be written */
    TRANSACTION_ABORTING,
    TRANSACTION_COMMITTED,
    TRANSACTION_ABORTED
};

struct sim_place {
    char topic[SIM_NAME_SIZE];
    int32_t partition;
    bool marked;
};

struct sim_transaction {
    struct sim_cluster *cluster;
    char id[SIM_NAME_SIZE];
    int32_t epoch;
    enum transaction_state state;
    uint64_t serial; /* of the transaction under way; to notice one torn by a late request */
    int64_t started_us, timeout_us;
    struct sim_place *places;
    size_t place_count;
    char group[SIM_NAME_SIZE]; /* "" = no offsets */
    bool group_marked;
};

enum answer { ANSWER_OK, ANSWER_AGAIN, ANSWER_FENCED, ANSWER_INVALID, ANSWER_NOT_OWNER };

struct sim_transaction *sim_transaction_get(struct sim_cluster *cluster, const char *id);
/** InitProducerId. ANSWER_AGAIN: CONCURRENT_TRANSACTIONS. */
enum answer sim_transaction_init(struct sim_transaction *transaction, int64_t timeout_ms,
                                 int32_t *epoch);
enum answer sim_transaction_add(struct sim_transaction *transaction, int32_t epoch,
                                const char *topic, int32_t partition);
enum answer sim_transaction_add_group(struct sim_transaction *transaction, int32_t epoch,
                                      const char *group);
enum answer sim_transaction_end(struct sim_transaction *transaction, int32_t epoch, bool commit);
bool sim_transaction_holds(const struct sim_transaction *transaction, const char *topic,
                           int32_t partition);
void sim_transaction_scan(void *cluster, uint64_t number);
void sim_transaction_fence_any(void *cluster, uint64_t number);

/* ---- Groups ---- */

struct sim_pending {
    struct sim_transaction *owner;
    int64_t offset;
    char metadata[BROKER_METADATA_SIZE];
};

struct sim_offset {
    char topic[SIM_NAME_SIZE];
    int32_t partition;
    int64_t offset;
    char metadata[BROKER_METADATA_SIZE];
    struct sim_pending *pending;
    size_t pending_count;
};

struct sim_member {
    char id[SIM_NAME_SIZE];
    char instance[SIM_NAME_SIZE]; /* "" = dynamic */
    uint64_t consumer;            /* number of the client */
    char **topics;
    size_t topic_count;
    int64_t seen_us, session_us, rebalance_us;
    bool joined; /* in the round under way */
};

struct sim_group {
    struct sim_cluster *cluster;
    char name[SIM_NAME_SIZE];
    int32_t generation;
    bool preparing; /* a round is under way: all must join again */
    int64_t round_us;
    uint64_t rotation;
    uint64_t joins; /* for member ids */
    struct sim_member *members;
    size_t member_count;
    struct sim_offset *offsets;
    size_t offset_count;
};

struct sim_consumer;
enum beat { BEAT_OK, BEAT_REBALANCE, BEAT_UNKNOWN, BEAT_FENCED };

struct sim_group *sim_group_get(struct sim_cluster *cluster, const char *name);
void sim_group_free(struct sim_group *group);
/** JoinGroup; the answer comes to sim_consumer_joined. ANSWER_FENCED: the instance id went to
 * another. */
enum answer sim_group_join(struct sim_group *group, struct sim_consumer *consumer);
enum beat sim_group_beat(struct sim_group *group, const char *member, const char *instance,
                         int32_t generation);
void sim_group_leave(struct sim_group *group, const char *member);
/** Whether a transaction may commit offsets under this metadata. */
bool sim_group_admits(struct sim_group *group, const char *member, const char *instance,
                      int32_t generation);
struct sim_offset *sim_group_offset_get(struct sim_group *group, const char *topic,
                                        int32_t partition);
void sim_group_put_pending(struct sim_group *group, struct sim_transaction *owner,
                           const struct broker_offset *offset);
void sim_group_mark(struct sim_group *group, struct sim_transaction *owner, bool commit);
void sim_group_tick(void *group, uint64_t number);
void sim_group_disturb(void *group, uint64_t number);

/* ---- Clients ---- */

/** Which way the network between a process and the brokers is cut. */
enum sim_cut { CUT_NOTHING, CUT_OUT, CUT_IN, CUT_BOTH };

struct sim_handle {
    struct broker broker;
    struct sim_cluster *cluster;
    int64_t session_us, transaction_us, callback_us;
    enum sim_cut cut;
    int64_t cut_until_us;
};

/** The cut that the handle suffers now. */
enum sim_cut sim_cut_of(const struct sim_handle *handle);
void sim_cut_any(void *cluster, uint64_t number);

enum client_kind { CLIENT_CONSUMER, CLIENT_PRODUCER };

struct sim_client {
    enum client_kind kind;
    uint64_t number;
    struct sim_handle *handle;
    struct sim_cluster *cluster;
    struct sim *sim;
    struct sim_fiber *fiber; /* the process is paused when this is */
};

/** Gives it its number and its place in the cluster's list. */
void sim_client_add(struct sim_client *client, enum client_kind kind, struct sim_handle *handle);
void sim_client_remove(struct sim_client *client);
/** NULL if it is gone. */
struct sim_client *sim_client_find(struct sim_cluster *cluster, uint64_t number);

/** The group's answer to a join. `partitions` is the consumer's from now on; names inside are its
 * topics'. */
struct sim_assigned {
    struct broker_partition *partitions;
    size_t count;
    char member[SIM_NAME_SIZE];
    int32_t generation;
};
void sim_consumer_joined(struct sim_cluster *cluster, uint64_t number, struct sim_assigned *answer);

/** What a transactional offset commit shows the group. */
struct sim_metadata {
    char group[SIM_NAME_SIZE], member[SIM_NAME_SIZE], instance[SIM_NAME_SIZE];
    int32_t generation;
};
/** False: nothing is owned as far as the client knows. */
bool sim_consumer_metadata(struct consumer *consumer, struct sim_metadata *metadata);
const char *sim_consumer_instance(const struct sim_consumer *consumer);
const char *sim_consumer_member(const struct sim_consumer *consumer);
void sim_consumer_topics(const struct sim_consumer *consumer, char ***topics, size_t *count);
const struct sim_client *sim_consumer_client(const struct sim_consumer *consumer);

enum status sim_consumer_open(struct broker *broker, const struct consumer_options *options,
                              struct consumer **consumer, struct error *error);
enum status sim_producer_open(struct broker *broker, const char *transactional_id,
                              struct producer **producer, struct error *error);
/** A reader without a group, or a member that owns its assignment as far as it knows. */
bool sim_consumer_may_take_over(struct sim_client *client);
bool sim_producer_is(struct sim_client *client, const char *transactional_id);
void sim_consumer_drop(struct sim_client *client);
void sim_producer_drop(struct sim_client *client);

/* ---- Requests ---- */

enum fate {
    FATE_FINE,
    FATE_SLOW,       /* arrives late, answered */
    FATE_LOST,       /* never arrives; the connection breaks */
    FATE_UNANSWERED, /* arrives, the connection breaks */
    FATE_LATE        /* the connection breaks; it arrives long after */
};

enum fate sim_fate(const struct sim_handle *handle);
/** How long a request of that fate takes to arrive, us. */
int64_t sim_arrival_us(struct sim_cluster *cluster, enum fate fate);
int64_t sim_latency_us(struct sim_cluster *cluster);
/** A point, and now and then another goes first. */
void sim_enter(struct sim_cluster *cluster, const char *call);
/** A plain request of an administrator: takes its time; STATUS_RETRY when its connection breaks. */
enum status sim_request(const struct sim_handle *handle, const char *call, struct error *error);

struct sim_cluster {
    struct sim *sim;
    struct sim_faults faults;
    struct sim_statistics statistics;
    struct sim_topic **topics;
    size_t topic_count;
    struct sim_transaction **transactions;
    size_t transaction_count;
    struct sim_group **groups;
    size_t group_count;
    struct sim_client **clients;
    size_t client_count;
    uint64_t client_number, serial;
};

#endif
