/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Epilogue: when a seed was judged, somebody harms the topics from outside. A run must then stop
 * with the diagnosis of R8 and have written nothing for the tasks concerned; `--continue-from` must
 * go on from what it says, for these tasks only, and from the state for all others.
 *
 * What is expected is recomputed from the input, for the topologies that are chains per key alone.
 */
#include "judge.h"

#include "engine/changelog.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LIMIT_MS = 180000,
    MORE = 40,
    GONE_US = 10000000,
    BLOCKED_MS = 100000,
    TAKEOVERS = 9 /* after 0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 63.5, 95.5 s */
};

struct epilogue_state {
    struct scenario *scenario;
    struct sim_cluster *cluster;
    const char *changelog; /* NULL: the topology keeps no state */
    const char *input;     /* what the stateful tasks read; of a join, the first */
    uint32_t chosen;       /* who runs it */
    int32_t partition;     /* that was harmed; -1 = all */
    int64_t offset;        /* committed there after the harm */
    int64_t out_ends[16], changelog_ends[16], offsets[16];
};

static bool is_harmed(const struct epilogue_state *self, int32_t partition)
{
    return self->partition < 0 || self->partition == partition;
}

static void note_ends(struct epilogue_state *self)
{
    for (int32_t p = 0; p < sim_partition_count(self->cluster, "out"); p++) {
        self->out_ends[p] = sim_log_end(self->cluster, "out", p);
    }
    for (int32_t p = 0; p < sim_partition_count(self->cluster, self->input); p++) {
        self->offsets[p] = sim_group_offset(self->cluster, "app", self->input, p);
        if (self->changelog != NULL) {
            self->changelog_ends[p] = sim_log_end(self->cluster, self->changelog, p);
        }
    }
}

/* ---- The harm ---- */

static void make_changelog_anew(struct epilogue_state *self)
{
    int32_t partitions = sim_partition_count(self->cluster, self->changelog);
    struct broker *broker =
        sim_broker_open(self->cluster, &self->scenario->world->options.settings);
    struct error error;
    ensure(broker_topic_delete(broker, self->changelog, &error) == STATUS_OK);
    broker_close(broker);
    sim_topic_make(self->cluster, self->changelog, partitions, true);
}

/* One transaction of somebody's, as long as the log was in each partition. */
static void write_strangers(struct epilogue_state *self, const int64_t *ends)
{
    struct broker *broker =
        sim_broker_open(self->cluster, &self->scenario->world->options.settings);
    struct producer *producer = NULL;
    struct error error;
    int32_t partitions = 0;
    struct broker_output output = {.key = {"chain/state\0~", 13}, .timestamp_ms = -1};
    ensure(producer_open(broker, "tool", &producer, &error) == STATUS_OK);
    while (producer_ready(producer, 1000, &error) != STATUS_OK) {
    }
    ensure(producer_topic(producer, self->changelog, &output.topic, &partitions, &error) ==
           STATUS_OK);
    ensure(producer_begin(producer, &error) == STATUS_OK);
    for (; output.partition < partitions; output.partition++) {
        for (int64_t i = 0; i < ends[output.partition] + 10; i++) {
            ensure(producer_send(producer, &output, &error) == STATUS_OK);
        }
    }
    while (producer_flush(producer, 1000, &error) == STATUS_RETRY) {
    }
    ensure(producer_commit(producer, 10000, &error) == STATUS_OK);
    producer_close(producer);
    broker_close(broker);
    (void)world_run(self->scenario->world, LIMIT_MS, scenario_settled);
}

/* In some seeds the new one is as long as the old: the stores' positions lie within it, but what is
   there is not theirs; or compaction has taken it. */
static void fill_changelog(struct epilogue_state *self, const int64_t *ends)
{
    uint64_t how = sim_below(self->scenario->world->sim, 3);
    if (how > 0) {
        write_strangers(self, ends);
    }
    if (how == 2) {
        sim_compact(self->cluster, self->changelog, false);
    }
}

/* Stamps that say all that ours would, but whose they are. */
static void write_foreign_stamps(struct epilogue_state *self)
{
    make_changelog_anew(self);
    for (int32_t p = 0; p < sim_partition_count(self->cluster, self->changelog); p++) {
        struct stamp_offset offsets[] = {
            {self->input, p, sim_group_offset(self->cluster, "app", self->input, p)},
            {"in2", p, sim_group_offset(self->cluster, "app", "in2", p)}};
        struct stamp stamp = {.application = "other",
                              .transactional_id = "other/a/0",
                              .incarnation = {1},
                              .sequence = 1,
                              .stream_time = INT64_MIN,
                              .offsets = offsets,
                              .offset_count = self->scenario->topology == TOPOLOGY_JOIN ? 2 : 1};
        struct buffer key = {0};
        struct buffer value = {0};
        stamp_key(&key, 1);
        stamp_encode(&value, &stamp);
        (void)sim_append(self->cluster, self->changelog, p, (struct bytes){key.data, key.size},
                         (struct bytes){value.data, value.size},
                         sim_wall_ms(self->scenario->world->sim));
        buffer_finish(&key);
        buffer_finish(&value);
    }
}

/* False: nothing is there to be harmed. */
static bool set_offset_back(struct epilogue_state *self)
{
    struct sim *sim = self->scenario->world->sim;
    self->partition =
        (int32_t)sim_below(sim, (uint64_t)sim_partition_count(self->cluster, self->input));
    int64_t committed = sim_group_offset(self->cluster, "app", self->input, self->partition);
    if (committed <= 0) {
        return false;
    }
    self->offset = (int64_t)sim_below(sim, (uint64_t)committed);
    sim_group_set_offset(self->cluster, "app", self->input, self->partition, self->offset, "tool");
    return true;
}

static bool is_fed(struct world *world)
{
    struct scenario *scenario = world->options.context;
    return scenario->fed == scenario->records;
}

static bool delete_unread(struct epilogue_state *self)
{
    struct scenario *scenario = self->scenario;
    scenario_feed_more(scenario, MORE);
    (void)world_run(scenario->world, LIMIT_MS, is_fed);
    for (int32_t p = 0; p < sim_partition_count(self->cluster, "in"); p++) {
        int64_t end = sim_log_end(self->cluster, "in", p);
        if (end - sim_group_offset(self->cluster, "app", "in", p) >= 2) {
            self->partition = p;
            self->offset = end - 1;
            sim_retain(self->cluster, "in", p, end - 1);
            return true;
        }
    }
    return false;
}

static bool harm(struct epilogue_state *self)
{
    switch (self->scenario->epilogue) {
    case EPILOGUE_CHANGELOG:
        note_ends(self);
        make_changelog_anew(self);
        fill_changelog(self, self->changelog_ends);
        return true;
    case EPILOGUE_FOREIGN:
        write_foreign_stamps(self);
        return true;
    case EPILOGUE_OFFSETS:
        return set_offset_back(self);
    case EPILOGUE_RETENTION:
        return delete_unread(self);
    case EPILOGUE_NONE:
    case EPILOGUE_MARKER:
    case EPILOGUE_KINDS:
        break;
    }
    return false;
}

/* ---- The diagnosis ---- */

static void expect_nothing_written(struct epilogue_state *self)
{
    struct scenario *scenario = self->scenario;
    bool ticks = scenario->topology == TOPOLOGY_WALL; /* tasks that are whole go on */
    for (int32_t p = 0; p < sim_partition_count(self->cluster, "out"); p++) {
        if (!ticks && scenario->epilogue != EPILOGUE_RETENTION &&
            sim_log_end(self->cluster, "out", p) != self->out_ends[p]) {
            scenario_fail(scenario, "a run that stops at the self-check wrote to out/%d", (int)p);
        }
    }
    for (int32_t p = 0; p < sim_partition_count(self->cluster, self->input); p++) {
        if (!is_harmed(self, p)) {
            continue;
        }
        if (sim_group_offset(self->cluster, "app", self->input, p) != self->offsets[p]) {
            scenario_fail(scenario, "a run that must stop moved the offset of %s/%d", self->input,
                          (int)p);
        }
        if (self->changelog != NULL && scenario->epilogue != EPILOGUE_RETENTION &&
            sim_log_end(self->cluster, self->changelog, p) != self->changelog_ends[p]) {
            scenario_fail(scenario, "a run that stops at the self-check wrote to %s/%d",
                          self->changelog, (int)p);
        }
    }
}

static void expect_stop(struct epilogue_state *self, enum continue_from from)
{
    struct scenario *scenario = self->scenario;
    struct process *process = &scenario->processes[self->chosen];
    enum error_code code =
        scenario->epilogue == EPILOGUE_RETENTION ? ERROR_OFFSET_LOST : ERROR_MISMATCH;
    note_ends(self);
    process->continue_from = from;
    bool chosen[WORLD_INSTANCE_LIMIT] = {false};
    chosen[self->chosen] = true;
    if (!scenario_probe(scenario, chosen, LIMIT_MS)) {
        scenario_fail(scenario, "epilogue %d: the run does not stop", (int)scenario->epilogue);
        return;
    }
    marks_note(&scenario->marks, process->error.text);
    if (process->status != STATUS_FATAL || process->error.code != code) {
        scenario_fail(scenario, "epilogue %d: the run ends with %s (%s) instead of %s",
                      (int)scenario->epilogue, process->error.text,
                      error_code_name(process->error.code), error_code_name(code));
        return;
    }
    expect_nothing_written(self);
}

/* ---- Going on ---- */

struct expectation {
    struct judge_lists *lists;
    int64_t offset;    /* where the run goes on in this partition */
    bool empty;        /* with an empty state */
    bool before;       /* now come the records that made the state */
    int64_t committed; /* the state holds what lies below */
};

static bool expect_record(void *context, const struct broker_record *record)
{
    struct expectation *expectation = context;
    if (judge_marked(record->value, CHAIN_BAD) || judge_marked(record->value, CHAIN_REFUSED)) {
        return true;
    }
    char name[JUDGE_TEXT_SIZE];
    judge_copy(name, record->key);
    struct judge_list *list = judge_list_of(expectation->lists, name);
    if (expectation->before) {
        if (!expectation->empty && record->offset < expectation->committed) {
            chain_next(list->state, record->value.data, record->value.size);
        }
    } else if (record->offset >= expectation->offset) {
        judge_list_add(list, record->value);
    }
    return true;
}

static void expect_partition(struct epilogue_state *self, struct judge_lists *lists,
                             const char *topic, int32_t partition, int64_t held,
                             enum continue_from from)
{
    bool harmed = is_harmed(self, partition);
    bool first = strcmp(topic, self->input) == 0;
    struct expectation expectation = {
        .lists = lists,
        .committed = held,
        .offset =
            harmed && first && from != CONTINUE_STATE && self->partition >= 0 ? self->offset : held,
        .empty = harmed && (from == CONTINUE_EMPTY || self->partition < 0)};
    for (int i = 0; i < 2; i++) {
        expectation.before = i == 0;
        sim_read_history(self->cluster, topic, partition, expect_record, &expectation);
    }
}

static void judge_going_on(struct epilogue_state *self, enum continue_from from,
                           const int64_t (*held)[16])
{
    struct judge *judge = &(struct judge){
        .scenario = self->scenario, .cluster = self->cluster, .from = "in", .to = "out"};
    struct judge_lists *lists = judge_lists_make(judge);
    bool join = self->scenario->topology == TOPOLOGY_JOIN;
    for (int32_t p = 0; p < sim_partition_count(self->cluster, "in"); p++) {
        expect_partition(self, lists, "in", p, held[0][p], from);
        if (join) {
            expect_partition(self, lists, "in2", p, held[1][p], from);
        }
    }
    for (int32_t p = 0; p < sim_partition_count(self->cluster, "out"); p++) {
        judge->partition = p;
        sim_read(self->cluster, "out", p, self->out_ends[p], judge_chain_check, lists);
    }
    judge_all_read(judge, lists);
    judge_changelog(judge, self->changelog, lists);
    judge_lists_free(lists);
}

static void process_more(struct epilogue_state *self, uint32_t index, enum continue_from from)
{
    struct scenario *scenario = self->scenario;
    struct world *world = scenario->world;
    scenario->processes[index].continue_from = from;
    scenario_feed_more(scenario, MORE + (int32_t)sim_below(world->sim, 8 * MORE));
    scenario_start(scenario, index);
    if (!world_run(world, LIMIT_MS, scenario_processed)) {
        scenario_fail(scenario, "continuing from %d: not all is processed", (int)from);
    }
    scenario_stop(scenario);
    (void)world_run(world, LIMIT_MS, scenario_settled);
}

static void go_on(struct epilogue_state *self, enum continue_from from, const int64_t (*held)[16])
{
    struct scenario *scenario = self->scenario;
    uint32_t count = scenario->world->options.instance_count;
    bool lost = scenario->epilogue == EPILOGUE_RETENTION; /* the source says how to go on */
    process_more(self, self->chosen, lost ? CONTINUE_NOTHING : from);
    if (count > 1 && scenario->failure[0] == '\0') {
        sim_wait_us(scenario->world->sim, GONE_US);
        process_more(self, (self->chosen + 1) % count, CONTINUE_NOTHING); /* its stores are old */
    }
    if (scenario->failure[0] == '\0') {
        judge_going_on(self, from, held);
    }
}

/* ---- A broker that loses a marker ---- */

static bool never(struct world *world)
{
    return ((struct scenario *)world->options.context)->failure[0] != '\0';
}

/* One partition is blocked for good, by an owner that lives: it must not be fenced again and again
   (K2), nobody gives up, and the log says what blocks. */
static void live_with_lost_marker(struct epilogue_state *self)
{
    struct scenario *scenario = self->scenario;
    struct world *world = scenario->world;
    uint32_t count = world->options.instance_count;
    int32_t partition =
        (int32_t)sim_below(world->sim, (uint64_t)sim_partition_count(self->cluster, self->input));
    if (self->changelog == NULL || sim_below(world->sim, 2) == 0) {
        sim_lose_offset_marker(self->cluster, "app", self->input, partition);
        sim_note(world->sim, "==== epilogue: a marker of the offsets is lost");
    } else {
        char id[32];
        snprintf(id, sizeof id, "app/%s/0", world->instances[self->chosen].name);
        sim_lose_marker(self->cluster, self->changelog, partition, id, CHANGELOG_HEADER);
        sim_note(world->sim, "==== epilogue: a marker of %s is lost", id);
    }
    int64_t before = sim_cluster_statistics(self->cluster)->takeovers;
    int64_t said = marks_count(&scenario->marks, "blocked for long");
    scenario_feed_more(scenario, MORE);
    for (uint32_t i = 0; i < count; i++) {
        scenario_start(scenario, i);
    }
    (void)world_run(world, BLOCKED_MS, never);
    if (marks_count(&scenario->marks, "blocked for long") == said) {
        scenario_fail(scenario, "a task was blocked for %d s without a word", BLOCKED_MS / 1000);
    }
    int64_t takeovers = sim_cluster_statistics(self->cluster)->takeovers - before;
    if (takeovers > (int64_t)TAKEOVERS * count * scenario->workers) {
        scenario_fail(scenario, "%" PRId64 " takeovers in %d s of a transaction that stays",
                      takeovers, BLOCKED_MS / 1000);
    }
    scenario_stop(scenario);
}

void epilogue_run(struct scenario *scenario)
{
    bool regroup = scenario->topology == TOPOLOGY_REGROUP;
    bool chains = scenario->topology == TOPOLOGY_COUNT || scenario->topology == TOPOLOGY_JOIN;
    bool copy = scenario->topology == TOPOLOGY_COPY;
    struct sim *sim = scenario->world->sim;
    struct epilogue_state self = {
        .scenario = scenario,
        .cluster = scenario->world->cluster,
        .changelog = copy      ? NULL
                     : regroup ? "app-by_key-changelog"
                               : "app-in-changelog",
        .input = regroup ? "app-by_key-repartition" : "in",
        .chosen = (uint32_t)sim_below(sim, scenario->world->options.instance_count),
        .partition = -1};
    bool retention = scenario->epilogue == EPILOGUE_RETENTION;
    bool marker = scenario->epilogue == EPILOGUE_MARKER;
    if ((regroup && !marker) || (copy && !retention && !marker)) {
        return;
    }
    /* Those who died leave the group first: a share that comes later is no longer what
       --continue-from was said for. */
    sim_wait_us(sim, GONE_US);
    /* An open transaction of the dead ends by its time-out: its abort marker moves the ends that
       are noted. */
    while (!sim_cluster_settled(self.cluster)) {
        sim_wait_us(sim, GONE_US);
    }
    if (marker) {
        live_with_lost_marker(&self);
        return;
    }
    int64_t held[2][16] = {0};
    for (int32_t p = 0; p < scenario->partitions; p++) {
        held[0][p] = sim_group_offset(self.cluster, "app", "in", p);
        held[1][p] = sim_group_offset(self.cluster, "app", "in2", p);
    }
    if (!harm(&self)) {
        return;
    }
    sim_note(sim, "==== epilogue %d, partition %d", (int)scenario->epilogue, (int)self.partition);
    if (retention && scenario->goes_on) {
        note_ends(&self);
        if (chains) {
            go_on(&self, CONTINUE_OFFSETS, (const int64_t(*)[16])held);
        }
        return;
    }
    expect_stop(&self, CONTINUE_NOTHING);
    if (!chains || retention || scenario->epilogue == EPILOGUE_FOREIGN ||
        scenario->failure[0] != '\0') {
        return;
    }
    enum continue_from from = CONTINUE_STATE + (enum continue_from)sim_below(sim, 3);
    if (from == CONTINUE_STATE && scenario->epilogue == EPILOGUE_CHANGELOG) {
        expect_stop(&self, from); /* there is none */
        from = CONTINUE_EMPTY;
    }
    go_on(&self, from, (const int64_t(*)[16])held);
}
