/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a seed decides, before anything runs: topology, input, instances, faults. The choices of a
 * kind of fault are a swarm's: each is off in some seeds, so that none hides another.
 */
#include "scenario.h"

#include "sim_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t below(struct scenario *scenario, uint64_t bound)
{
    return random_below(&scenario->random, bound);
}

static bool one_in(struct scenario *scenario, uint64_t n)
{
    return below(scenario, n) == 0;
}

/* ---- The program of a process ---- */

/* Now and then so long that a transaction outlives a session. */
static int commit_interval_ms(struct scenario *scenario)
{
    if (one_in(scenario, 5)) {
        return scenario->transaction_ms > 5000 ? 15000 : 2400;
    }
    return one_in(scenario, 2) ? 20 : 100;
}

static char *topology_text(struct scenario *scenario, const char *instance)
{
    struct buffer text = {0};
    buffer_format(
        &text,
        "{\"application\": \"app\", \"instance\": \"%s\", \"broker\": {\"kind\": \"local\", "
        "\"directory\": \"none\", \"session_timeout\": %d, \"transaction_timeout\": %d, "
        "\"membership\": \"%s\"}, \"callback_timeout\": %d, \"state\": {\"directory\": "
        "\"%s\", \"flush_interval\": %d, \"durability\": \"%s\"}, \"workers\": %u, \"commit\": "
        "{\"interval\": %d, \"records\": %d}, "
        "\"on_error\": \"skip\", \"sources\": {\"in\": {\"topics\": [\"in\"%s], "
        "\"on_offset_lost\": \"%s\"}}, ",
        instance, (int)SCENARIO_SESSION_MS, (int)scenario->transaction_ms,
        scenario->static_membership ? "static" : "dynamic", (int)SCENARIO_CALLBACK_MS,
        scenario->directory, one_in(scenario, 4) ? 300 : 0, scenario->fast ? "fast" : "durable",
        scenario->workers, commit_interval_ms(scenario), one_in(scenario, 2) ? 10 : 1000,
        scenario->topology == TOPOLOGY_JOIN ? ", \"in2\"" : "",
        scenario->goes_on ? "earliest" : "stop");
    const char *last = "in";
    if (scenario->topology == TOPOLOGY_REGROUP) {
        buffer_append_text(&text, "\"repartitions\": {\"by_key\": {\"from\": [\"in\"]}}, ");
        last = "by_key";
    }
    if (scenario->topology != TOPOLOGY_COPY) {
        buffer_format(
            &text, "\"operators\": {\"chain\": {\"use\": \"chain\", \"from\": [\"%s\"]}}, ", last);
        last = "chain";
    }
    buffer_format(&text, "\"sinks\": {\"out\": {\"topic\": \"out\", \"from\": [\"%s\"]}}}", last);
    char *result = memory_text(buffer_text(&text));
    buffer_finish(&text);
    return result;
}

static void make_program(struct scenario *scenario, struct process *process, const char *instance)
{
    struct error error;
    char *text = topology_text(scenario, instance);
    if (config_parse(text, strlen(text), "/simulation.json", NULL, &process->config, &error) !=
        STATUS_OK) {
        fprintf(stderr, "%s\n%s\n", error.text, text);
        abort();
    }
    free(text);
    struct program *program = &process->program;
    static const char *const ports[] = {"in"};
    static const char *const outputs[] = {"out"};
    struct graph_shape shape = {.inputs = ports,
                                .input_count = 1,
                                .outputs = outputs,
                                .output_count = 1,
                                .store_count = 1,
                                .timers = scenario->topology == TOPOLOGY_TIMERS ||
                                          scenario->topology == TOPOLOGY_WALL};
    program->config = process->config;
    ensure(graph_build(process->config, &shape, &program->graph, &error) == STATUS_OK);
    program->plugins = memory_allocate(sizeof *program->plugins);
    program->parameters = memory_allocate(sizeof *program->parameters);
    program->plugins[0] = scenario->chain;
    ensure(parameters_check(scenario->chain, NULL, 0, "/simulation.json", "$.operators.chain", 1,
                            &program->parameters[0], &error) == STATUS_OK);
}

void scenario_free_program(struct process *process)
{
    graph_destroy(process->program.graph);
    parameters_destroy(process->program.parameters[0]);
    free(process->program.parameters);
    free(process->program.plugins);
    config_destroy(process->config);
}

/* ---- The input ---- */

/* A mark at the end of a value says what becomes of the record; see chain.c's part of scenario.h.
 */
static const char *choose_mark(struct scenario *scenario)
{
    struct sim *sim = scenario->world->sim;
    if (!scenario->bad_records || !sim_chance(sim, 800)) {
        return "";
    }
    if (scenario->topology == TOPOLOGY_WALL && sim_chance(sim, 3000)) {
        return "~";
    }
    /* A refused record moves stream time too; with timers the oracle would have to know how. */
    bool operated = scenario->topology != TOPOLOGY_COPY;
    bool refusable = scenario->topology != TOPOLOGY_TIMERS;
    return operated && (!refusable || sim_chance(sim, 5000)) ? "!" : "?";
}

static void feed_one(struct scenario *scenario)
{
    struct sim *sim = scenario->world->sim;
    int32_t partition = (int32_t)sim_below(sim, (uint64_t)scenario->partitions);
    if (partition == scenario->empty_partition) {
        partition = (partition + 1) % scenario->partitions;
    }
    bool second = scenario->topology == TOPOLOGY_JOIN && sim_chance(sim, 5000);
    const char *mark = choose_mark(scenario);
    int64_t timestamp_ms = sim_wall_ms(sim) - sim_between(sim, 0, 2000);
    char key[32];
    char value[32];
    int length = snprintf(key, sizeof key, "%c%d", second ? 'j' : 'k',
                          (int)sim_below(sim, (uint64_t)scenario->keys));
    if (scenario->topology != TOPOLOGY_REGROUP) {
        snprintf(key + length, sizeof key - (size_t)length, "p%d", (int)partition);
    }
    snprintf(value, sizeof value, "%d-%06d%s", (int)partition, (int)scenario->fed, mark);
    if (mark[0] == CHAIN_REFUSED) {
        timestamp_ms += 24 * 3600 * 1000;
    }
    (void)sim_append(scenario->world->cluster, second ? "in2" : "in", partition, bytes_of(key),
                     bytes_of(value), timestamp_ms);
    scenario->fed++;
}

static void feed(void *subject, uint64_t number)
{
    (void)number;
    struct scenario *scenario = subject;
    struct sim *sim = scenario->world->sim;
    int64_t burst = sim_between(sim, 1, scenario->burst);
    for (int64_t i = 0; i < burst && scenario->fed < scenario->records; i++) {
        feed_one(scenario);
    }
    if (scenario->fed < scenario->records) {
        int64_t mean_us = (int64_t)scenario->faults_ms * 400 * scenario->burst / scenario->records;
        sim_at(sim, sim_now_us(sim) + sim_between(sim, 0, 2 * mean_us), feed, scenario, 0);
    }
}

void scenario_feed_more(struct scenario *scenario, int32_t count)
{
    scenario->records += count;
    sim_at(scenario->world->sim, sim_now_us(scenario->world->sim), feed, scenario, 0);
}

void scenario_note_ends(struct scenario *scenario)
{
    static const char *const sources[] = {"in", "in2"};
    for (size_t i = 0; i < scenario->fact_count; i++) {
        struct topic_facts *facts = &scenario->facts[i];
        for (size_t s = 0; s < 2; s++) {
            if (strcmp(facts->topic, sources[s]) != 0) {
                continue;
            }
            for (int32_t p = 0; p < facts->partition_count; p++) {
                scenario->ends[s][p] = sim_log_end(scenario->world->cluster, sources[s], p);
            }
            facts->ends = scenario->ends[s];
        }
    }
}

/* ---- The choices ---- */

static void add_topic(struct scenario *scenario, const char *name, int32_t partitions,
                      bool compacted)
{
    sim_topic_make(scenario->world->cluster, name, partitions, compacted);
    ensure(scenario->fact_count < sizeof scenario->facts / sizeof *scenario->facts);
    scenario->facts[scenario->fact_count++] = (struct topic_facts){
        .topic = name,
        .partition_count = partitions,
        .retention_delete_ms =
            scenario->tombstone_ms > 0 ? scenario->tombstone_ms : INT64_C(604800000)};
}

static struct sim_faults choose_faults(struct scenario *scenario)
{
    bool broken = !one_in(scenario, 3);
    return (struct sim_faults){
        .slow = one_in(scenario, 2) ? (uint32_t)below(scenario, 200) : 0,
        .broken = broken ? (uint32_t)below(scenario, 400) : 0,
        .late_init = one_in(scenario, 3) ? (uint32_t)below(scenario, 500) : 0,
        .refused = one_in(scenario, 3) ? (uint32_t)below(scenario, 50) : 0,
        .late_ms = 1 + (int64_t)below(scenario, 8000),
        .marker_ms = one_in(scenario, 2) ? (int64_t)below(scenario, 2000) : 0,
        .fence_ms = one_in(scenario, 3) ? 3000 + (int64_t)below(scenario, 10000) : 0,
        .rebalance_ms = one_in(scenario, 3) ? 2000 + (int64_t)below(scenario, 10000) : 0,
        .compact_ms = one_in(scenario, 2) ? 1000 + (int64_t)below(scenario, 10000) : 0,
        .cut_ms = one_in(scenario, 4) ? 3000 + (int64_t)below(scenario, 15000) : 0,
        .scan_ms = 500,
        .shuffle = one_in(scenario, 2)};
}

static struct sim_disk_faults choose_disk(struct scenario *scenario)
{
    return (struct sim_disk_faults){
        .map_size = one_in(scenario, 2) ? 0 : 200,
        .map_full = one_in(scenario, 4) ? (uint32_t)below(scenario, 100) : 0,
        .slow = one_in(scenario, 4) ? (uint32_t)below(scenario, 10) : 0,
        .damaged = one_in(scenario, 4) ? (uint32_t)below(scenario, 20) : 0,
        .full = one_in(scenario, 5) ? (uint32_t)below(scenario, 60) : 0,
        .torn = one_in(scenario, 2)};
}

/* The call in which faults strike by preference. */
static const char *choose_aim(struct scenario *scenario)
{
    static const char *const calls[] = {
        "unassign",        "assign",      "begin",         "flush",         "send_offsets",
        "commit",          "committed",   "open producer", "open consumer", "ready",
        "log_range",       "abort",       "take_over",     "store open",    "store commit",
        "blocking_header", "store table", "store meta"};
    if (!one_in(scenario, 2)) {
        return NULL;
    }
    return one_in(scenario, 3) ? calls[below(scenario, 3)]
                               : calls[below(scenario, sizeof calls / sizeof *calls)];
}

static struct world_faults choose_instance_faults(struct scenario *scenario)
{
    bool crash = !one_in(scenario, 4);
    bool pause = !one_in(scenario, 3);
    static const uint32_t chances[] = {300, 2000, 10000};
    struct world_faults faults = {
        .points = 300 + below(scenario, 1 << (9 + below(scenario, 6))),
        .crash = crash ? 4 : 0,
        .pause = pause ? 4 : 0,
        .power = crash && one_in(scenario, 3) ? 2 : 0,
        .stop = one_in(scenario, 3) ? 1 : 0,
        .jump = one_in(scenario, 4) ? 1 : 0,
        .jump_ms = INT64_C(3) * 3600 * 1000,
        .pause_ms = one_in(scenario, 2) ? 1000 : 9000,
        .restart_ms = one_in(scenario, 2)   ? 100
                      : one_in(scenario, 2) ? 5000
                                            : 40000,
        .aim = choose_aim(scenario),
        .aim_chance = chances[below(scenario, 3)],
        .aim_pause_ms = one_in(scenario, 2) ? SCENARIO_SESSION_MS + 500 : 0,
    };
    if (faults.aim != NULL && one_in(scenario, 2)) {
        faults.crash = faults.crash > 0 ? 1 : 0; /* a zombie is the rarer guest */
        faults.pause = 4;
    }
    return faults;
}

/* Deletions vanish from the changelog while a store is away: long absences, time that passes, and
   clocks that are right, since they measure both. */
static void age_tombstones(struct scenario *scenario, struct world_options *options)
{
    options->faults.tombstone_ms = scenario->tombstone_ms;
    options->faults.compact_ms = 500 + (int64_t)below(scenario, 3000);
    options->faults.rebalance_ms =
        one_in(scenario, 2) ? 15000 + (int64_t)below(scenario, 30000) : 0;
    options->faults.shuffle = true;
    options->instance_faults.jump = 0;
    options->instance_faults.crash = 4;
    options->instance_faults.restart_ms = 80000;
    options->instance_faults.points *= 3;
}

static struct world_options choose_world(struct scenario *scenario, bool verbose)
{
    struct world_options options = {.seed = scenario->seed,
                                    .instance_count =
                                        1 + (uint32_t)below(scenario, one_in(scenario, 3) ? 4 : 3),
                                    .faults = choose_faults(scenario),
                                    .instance_faults = choose_instance_faults(scenario),
                                    .settings = {.session_timeout_ms = SCENARIO_SESSION_MS,
                                                 .transaction_timeout_ms = scenario->transaction_ms,
                                                 .callback_timeout_ms = SCENARIO_CALLBACK_MS},
                                    .directory = scenario->directory,
                                    .body = scenario_body,
                                    .stop = scenario_interrupt,
                                    .died = scenario_died,
                                    .context = scenario,
                                    .verbose = verbose};
    if (scenario->lmdb) {
        options.instance_faults.power = 0; /* what the kernel lost is the power-loss images' */
    }
    if (scenario->tombstone_ms > 0) {
        age_tombstones(scenario, &options);
    } else if (scenario->topology == TOPOLOGY_WALL && one_in(scenario, 2)) {
        options.faults.rebalance_ms = 1000 + (int64_t)below(scenario, 4000);
        options.faults.shuffle = !one_in(scenario, 4);
    }
    return options;
}

static void choose_shape(struct scenario *scenario)
{
    static const enum topology topologies[] = {TOPOLOGY_COPY, TOPOLOGY_COUNT,  TOPOLOGY_REGROUP,
                                               TOPOLOGY_JOIN, TOPOLOGY_TIMERS, TOPOLOGY_WALL,
                                               TOPOLOGY_WALL, TOPOLOGY_WALL};
    random_init(&scenario->random, scenario->seed ^ 0x5eed);
    scenario->topology = topologies[below(scenario, sizeof topologies / sizeof *topologies)];
    scenario->partitions = 1 + (int32_t)below(scenario, 4);
    scenario->regrouped = scenario->partitions;
    scenario->keys = 1 + (int32_t)below(scenario, 12);
    scenario->records = 200 + (int32_t)below(scenario, 600);
    scenario->burst = one_in(scenario, 3) ? 100 : 20;
    scenario->faults_ms = 40000;
    if (scenario->topology == TOPOLOGY_WALL && one_in(scenario, 6)) {
        scenario->tombstone_ms = 40000;
        scenario->faults_ms = 150000;
    }
    scenario->static_membership = one_in(scenario, 2);
    scenario->bad_records = one_in(scenario, 3);
    scenario->empty_partition = scenario->partitions > 1 && one_in(scenario, 4)
                                    ? (int32_t)below(scenario, (uint64_t)scenario->partitions)
                                    : -1;
    scenario->lonely = one_in(scenario, 3);
    scenario->until_end = one_in(scenario, 5);
    scenario->epilogue =
        one_in(scenario, 3) ? (enum epilogue)below(scenario, EPILOGUE_KINDS) : EPILOGUE_NONE;
    scenario->restore_batch = one_in(scenario, 2) ? 0 : 1 + (int64_t)below(scenario, 30);
    scenario->goes_on = one_in(scenario, 2);
    scenario->fast = one_in(scenario, 3);
    scenario->schedules = one_in(scenario, 2);
    scenario->workers = one_in(scenario, 2) ? 1 : 1 + (uint32_t)below(scenario, 3);
    /* Nobody may wait for a dead owner's transaction, but the successor of a stateless claim. */
    bool stateful = scenario->topology != TOPOLOGY_COPY && scenario->topology != TOPOLOGY_REGROUP;
    scenario->transaction_ms = one_in(scenario, 2) ? 5000 : stateful ? 600000 : 30000;
}

static const leat_operator *choose_operator(const struct scenario *scenario)
{
    return scenario->topology == TOPOLOGY_TIMERS ? timer_chain_operator()
           : scenario->topology == TOPOLOGY_WALL ? wall_chain_operator(scenario->schedules)
                                                 : chain_operator();
}

void scenario_set_up(struct scenario *scenario, enum scenario_store store, bool verbose)
{
    choose_shape(scenario);
    scenario->lmdb = store == STORE_LMDB || (store == STORE_CHOSEN && one_in(scenario, 32));
    struct world_options options = choose_world(scenario, verbose);
    scenario->compacts = options.faults.compact_ms > 0;
    scenario->world = world_create(&options);
    struct sim_disk_faults disk = choose_disk(scenario);
    sim_store_attach(scenario->world->sim, &disk);
    struct error error;
    ensure(plugin_adopt(choose_operator(scenario), "chain", &scenario->chain, &error) == STATUS_OK);
    for (uint32_t i = 0; i < options.instance_count; i++) {
        make_program(scenario, &scenario->processes[i], scenario->world->instances[i].name);
    }
    add_topic(scenario, "in", scenario->partitions, false);
    add_topic(scenario, "out", scenario->partitions, false);
    if (scenario->topology == TOPOLOGY_JOIN) {
        add_topic(scenario, "in2", scenario->partitions, false);
    }
    if (scenario->topology != TOPOLOGY_COPY && scenario->topology != TOPOLOGY_REGROUP) {
        add_topic(scenario, "app-in-changelog", scenario->partitions, true);
    }
    if (scenario->topology == TOPOLOGY_REGROUP) {
        add_topic(scenario, "app-by_key-repartition", scenario->regrouped, false);
        add_topic(scenario, "app-by_key-changelog", scenario->regrouped, true);
    }
    sim_at(scenario->world->sim, 0, feed, scenario, 0);
}
