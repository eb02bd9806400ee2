/* SPDX-License-Identifier: Apache-2.0 */
#include "scenario.h"

#include "base/hash.h"
#include "base/log.h"
#include "sim_store.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FAULTS_MS = 40000,
    HEAL_MS = 180000,
    STOP_MS = 90000,    /* a dead instance first comes back */
    SETTLE_MS = 700000, /* a dead owner's records block readers for its time-out */
    SESSION_MS = 3000,
    CALLBACK_MS = 60000
};

static uint64_t below(struct scenario *scenario, uint64_t bound)
{
    return random_below(&scenario->random, bound);
}

static bool one_in(struct scenario *scenario, uint64_t n)
{
    return below(scenario, n) == 0;
}

static void fail(struct scenario *scenario, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void fail(struct scenario *scenario, const char *format, ...)
{
    if (scenario->failure[0] == '\0') {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(scenario->failure, sizeof scenario->failure, format, arguments);
        va_end(arguments);
    }
}

/* ---- The program of a process ---- */

static char *topology_text(struct scenario *scenario, const char *instance)
{
    struct buffer text = {0};
    buffer_format(
        &text,
        "{\"application\": \"app\", \"instance\": \"%s\", \"broker\": {\"kind\": \"local\", "
        "\"directory\": \"none\", \"session_timeout\": %d, \"transaction_timeout\": %d, "
        "\"membership\": \"%s\"}, \"callback_timeout\": %d, \"state\": {\"directory\": "
        "\"%s\", \"flush_interval\": %d}, \"commit\": {\"interval\": %d, \"records\": %d}, "
        "\"on_error\": \"skip\", \"sources\": {\"in\": {\"topics\": [\"in\"%s]}}, ",
        instance, (int)SESSION_MS, (int)scenario->transaction_ms,
        scenario->static_membership ? "static" : "dynamic", (int)CALLBACK_MS, scenario->directory,
        one_in(scenario, 4) ? 300 : 0, one_in(scenario, 2) ? 20 : 100,
        one_in(scenario, 2) ? 10 : 1000, scenario->topology == TOPOLOGY_JOIN ? ", \"in2\"" : "");
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
                                .timers = scenario->topology == TOPOLOGY_TIMERS};
    program->config = process->config;
    ensure(graph_build(process->config, &shape, &program->graph, &error) == STATUS_OK);
    program->plugins = memory_allocate(sizeof *program->plugins);
    program->parameters = memory_allocate(sizeof *program->parameters);
    program->plugins[0] = scenario->chain;
    ensure(parameters_check(scenario->chain, NULL, 0, "/simulation.json", "$.operators.chain", 1,
                            &program->parameters[0], &error) == STATUS_OK);
}

static void free_program(struct process *process)
{
    graph_destroy(process->program.graph);
    parameters_destroy(process->program.parameters[0]);
    free(process->program.parameters);
    free(process->program.plugins);
    config_destroy(process->config);
}

/* ---- The life of a process ---- */

static bool body(struct instance *instance)
{
    struct world *world = instance->world;
    struct scenario *scenario = world->options.context;
    struct process *process = &scenario->processes[instance->index];
    instance->broker = sim_broker_open(world->cluster, &world->options.settings);
    struct worker_options options = {.program = &process->program,
                                     .broker = instance->broker,
                                     .clock = &world->clock.clock,
                                     .seed = scenario->seed * 1000 + instance->index * 100 +
                                             instance->starts,
                                     .stop = &process->stop,
                                     .topics = scenario->facts,
                                     .topic_count = scenario->fact_count,
                                     .store_open = sim_store_open};
    struct worker *worker = NULL;
    struct error error = {0};
    worker_create(&options, &worker);
    enum status status = worker_run(worker, &error);
    worker_destroy(worker);
    bool asked = atomic_load(&process->stop) != 0;
    if (status == STATUS_OK && asked) {
        process->finished = true;
        return false;
    }
    if (status == STATUS_FATAL && error.code == ERROR_FENCED) {
        sim_note(world->sim, "exit 3: %s", error.text);
        process->fencings++;
        return true;
    }
    fail(scenario, "instance %s stopped: %s (%s, status %d, %s:%d)", instance->name,
         status == STATUS_OK ? "nobody asked it to" : error.text, error_code_name(error.code),
         (int)status, error.file == NULL ? "?" : error.file, error.line);
    return false;
}

/* ---- Set-up ---- */

/* A mark at the end of a value says what becomes of the record; see chain.c's part of scenario.h.
 */
static const char *choose_mark(struct scenario *scenario)
{
    struct sim *sim = scenario->world->sim;
    if (!scenario->bad_records || !sim_chance(sim, 800)) {
        return "";
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
    int64_t burst = sim_between(sim, 1, 20);
    for (int64_t i = 0; i < burst && scenario->fed < scenario->records; i++) {
        feed_one(scenario);
    }
    if (scenario->fed < scenario->records) {
        int64_t mean_us = (int64_t)FAULTS_MS * 8000 / scenario->records;
        sim_at(sim, sim_now_us(sim) + sim_between(sim, 0, 2 * mean_us), feed, scenario, 0);
    }
}

static void add_topic(struct scenario *scenario, const char *name, int32_t partitions,
                      bool compacted)
{
    sim_topic_make(scenario->world->cluster, name, partitions, compacted);
    ensure(scenario->fact_count < sizeof scenario->facts / sizeof *scenario->facts);
    scenario->facts[scenario->fact_count++] = (struct topic_facts){
        .topic = name, .partition_count = partitions, .retention_delete_ms = INT64_C(604800000)};
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
        .scan_ms = 500,
        .shuffle = one_in(scenario, 2)};
}

static struct world_options choose_world(struct scenario *scenario, bool verbose)
{
    bool crash = !one_in(scenario, 4);
    bool pause = !one_in(scenario, 3);
    return (struct world_options){
        .seed = scenario->seed,
        .instance_count = 1 + (uint32_t)below(scenario, 3),
        .faults = choose_faults(scenario),
        .instance_faults = {.points = 300 + below(scenario, 1 << (9 + below(scenario, 6))),
                            .crash = crash,
                            .pause = pause,
                            .pause_ms = one_in(scenario, 2) ? 1000 : 9000,
                            .restart_ms = one_in(scenario, 2)   ? 100
                                          : one_in(scenario, 2) ? 5000
                                                                : 40000},
        .settings = {.session_timeout_ms = SESSION_MS,
                     .transaction_timeout_ms = scenario->transaction_ms,
                     .callback_timeout_ms = CALLBACK_MS},
        .directory = scenario->directory,
        .body = body,
        .context = scenario,
        .verbose = verbose};
}

static void set_up(struct scenario *scenario, bool verbose)
{
    random_init(&scenario->random, scenario->seed ^ 0x5eed);
    scenario->topology = (enum topology)below(scenario, TOPOLOGY_KINDS);
    scenario->partitions = 1 + (int32_t)below(scenario, 4);
    scenario->regrouped = scenario->partitions;
    scenario->keys = 1 + (int32_t)below(scenario, 12);
    scenario->records = 200 + (int32_t)below(scenario, 600);
    scenario->static_membership = one_in(scenario, 2);
    scenario->bad_records = one_in(scenario, 3);
    scenario->lonely = one_in(scenario, 3);
    /* Nobody may wait for a dead owner's transaction, but the successor of a stateless claim. */
    bool stateful = scenario->topology != TOPOLOGY_COPY && scenario->topology != TOPOLOGY_REGROUP;
    scenario->transaction_ms = one_in(scenario, 2) ? 5000 : stateful ? 600000 : 30000;
    struct world_options options = choose_world(scenario, verbose);
    scenario->world = world_create(&options);
    sim_store_attach(scenario->world->sim, one_in(scenario, 2) ? 0 : 200);
    struct error error;
    const leat_operator *descriptor =
        scenario->topology == TOPOLOGY_TIMERS ? timer_chain_operator() : chain_operator();
    ensure(plugin_adopt(descriptor, "chain", &scenario->chain, &error) == STATUS_OK);
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

/* ---- The run ---- */

static bool note_offset(void *context, const struct broker_record *record)
{
    *(int64_t *)context = record->offset;
    return true;
}

static bool read_to_end(struct scenario *scenario, const char *topic)
{
    struct sim_cluster *cluster = scenario->world->cluster;
    for (int32_t i = 0; i < sim_partition_count(cluster, topic); i++) {
        int64_t last = -1; /* markers behind it need not be passed */
        sim_read_history(cluster, topic, i, note_offset, &last);
        if (sim_group_offset(cluster, "app", topic, i) <= last) {
            return false;
        }
    }
    return true;
}

static bool settled(struct world *world)
{
    return sim_cluster_settled(world->cluster);
}

static bool processed(struct world *world)
{
    struct scenario *scenario = world->options.context;
    if (scenario->failure[0] != '\0') {
        return true;
    }
    return scenario->fed == scenario->records && read_to_end(scenario, "in") &&
           (scenario->topology != TOPOLOGY_JOIN || read_to_end(scenario, "in2")) &&
           (scenario->topology != TOPOLOGY_REGROUP ||
            (settled(world) && read_to_end(scenario, "app-by_key-repartition")));
}

static bool never(struct world *world)
{
    struct scenario *scenario = world->options.context;
    return scenario->failure[0] != '\0';
}

static bool all_stopped(struct world *world)
{
    struct scenario *scenario = world->options.context;
    for (uint32_t i = 0; i < world->options.instance_count; i++) {
        if (!scenario->processes[i].finished) {
            return scenario->failure[0] != '\0';
        }
    }
    return true;
}

/* I5: one healthy instance is enough, whatever the others left behind when they died. */
static void leave_one(struct scenario *scenario)
{
    struct world *world = scenario->world;
    uint32_t count = world->options.instance_count;
    uint32_t left = (uint32_t)sim_below(world->sim, count);
    sim_group_rebalance(world->cluster, "app"); /* so that some die in their claim */
    for (uint32_t i = 0; i < count; i++) {
        if (i != left) {
            sim_wait_us(world->sim, sim_between(world->sim, 0, 600000));
            world_retire(&world->instances[i]);
            scenario->processes[i].finished = true;
        }
    }
}

static void run_phases(struct scenario *scenario, struct verdict *verdict)
{
    struct world *world = scenario->world;
    world_start(world);
    (void)world_run(world, FAULTS_MS, never);
    if (scenario->lonely) {
        leave_one(scenario);
    }
    world_heal(world);
    int64_t healed_us = sim_now_us(world->sim);
    if (!world_run(world, HEAL_MS, processed)) {
        fail(scenario,
             "no progress: %d of %d records fed, not all processed %d s after everything "
             "healed",
             (int)scenario->fed, (int)scenario->records, HEAL_MS / 1000);
    }
    verdict->heal_ms = (sim_now_us(world->sim) - healed_us) / 1000;
    for (uint32_t i = 0; i < world->options.instance_count; i++) {
        atomic_store(&scenario->processes[i].stop, 1);
    }
    if (!world_run(world, STOP_MS, all_stopped)) {
        fail(scenario, "an instance does not stop");
    }
    if (!world_run(world, SETTLE_MS, settled)) {
        fail(scenario, "a transaction never ends");
    }
    if (scenario->failure[0] == '\0') {
        oracle_judge(scenario);
    }
}

static void describe(struct scenario *scenario, struct verdict *verdict)
{
    static const char *const names[] = {"copy", "count", "regroup", "join", "timers"};
    const struct world_options *options = &scenario->world->options;
    const struct sim_faults *faults = &options->faults;
    snprintf(
        verdict->setup, sizeof verdict->setup,
        "%s, %u instances (%s%s), %d partitions, %d records, transactions %" PRId64
        " s%s; slow %u broken %u late %" PRId64 " refused %u init %u markers %" PRId64
        " fence %" PRId64 " rebalance %" PRId64 " compact %" PRId64 " points %" PRIu64
        " crash %u pause %u",
        names[scenario->topology], options->instance_count,
        scenario->static_membership ? "static" : "dynamic", scenario->lonely ? ", one left" : "",
        (int)scenario->partitions, (int)scenario->records, scenario->transaction_ms / 1000,
        scenario->bad_records ? ", bad records" : "", faults->slow, faults->broken, faults->late_ms,
        faults->refused, faults->late_init, faults->marker_ms, faults->fence_ms,
        faults->rebalance_ms, faults->compact_ms, options->instance_faults.points,
        options->instance_faults.crash, options->instance_faults.pause);
}

static void show_log(void *opaque, const char *line)
{
    struct sim *sim = opaque;
    const char *text = strchr(line, ' ');
    sim_note(sim, "  log: %s", text == NULL ? line : text + 1);
}

static void drop_log(void *opaque, const char *line)
{
    (void)opaque;
    (void)line;
}

void scenario_run(uint64_t seed, const char *directory, bool verbose, struct verdict *verdict)
{
    struct scenario scenario = {.seed = seed, .directory = directory};
    memset(verdict, 0, sizeof *verdict);
    verdict->seed = seed;
    set_up(&scenario, verbose);
    struct world *world = scenario.world;
    log_set_sink(verbose ? show_log : drop_log, world->sim);
    if (verbose) {
        log_set_level(LOG_DEBUG);
        log_set_debug("all");
    }
    describe(&scenario, verdict);
    run_phases(&scenario, verdict);
    verdict->hash = sim_trace_hash(world->sim);
    verdict->virtual_ms = sim_now_us(world->sim) / 1000;
    verdict->crashes = world->crashes;
    verdict->pauses = world->pauses;
    verdict->restarts = world->restarts;
    verdict->statistics = *sim_cluster_statistics(world->cluster);
    for (uint32_t i = 0; i < world->options.instance_count; i++) {
        verdict->fencings += scenario.processes[i].fencings;
    }
    memcpy(verdict->failure, scenario.failure, sizeof verdict->failure);
    log_set_sink(NULL, NULL);
    uint32_t count = world->options.instance_count;
    world_destroy(world);
    for (uint32_t i = 0; i < count; i++) {
        free_program(&scenario.processes[i]);
    }
    plugin_unload(scenario.chain);
    sim_store_attach(NULL, 0);
    sim_store_reset();
}
