/* SPDX-License-Identifier: Apache-2.0 */
#include "life.h"

#include "seam.h"
#include "tally.h"

#include "engine/prepare.h"
#include "engine/program.h"
#include "engine/settings.h"
#include "engine/worker.h"

#include <stdlib.h>
#include <string.h>

enum { PREPARE_TRIES = 10 };

static char *topology_text(const struct life *life)
{
    static const char *const nodes[] = {
        [SHAPE_TALLY] = "\"operators\": {\"tally\": {\"use\": \"tally\", \"from\": \"in\"}}, "
                        "\"sinks\": {\"out\": {\"topic\": \"out\", \"from\": \"tally\"}, "
                        "\"late\": {\"topic\": \"late\", \"from\": \"tally.late\"}}",
        [SHAPE_REGROUP] = "\"repartitions\": {\"by_key\": {\"from\": \"in\"}}, "
                          "\"operators\": {\"tally\": {\"use\": \"tally\", \"from\": \"by_key\"}}, "
                          "\"sinks\": {\"out\": {\"topic\": \"out\", \"from\": \"tally\"}}",
        [SHAPE_COPY] = "\"sinks\": {\"out\": {\"topic\": \"out\", \"from\": \"in\"}}"};
    return memory_format(
        "{\"application\": \"" LIFE_APPLICATION "\", \"instance\": \"%s\", "
        "\"broker\": {\"kind\": \"local\", \"directory\": \"%s/broker\", "
        "\"membership\": \"dynamic\", \"session_timeout\": \"%ds\", "
        "\"transaction_timeout\": \"600s\"}, "
        "\"state\": {\"directory\": \"%s/state\", \"durability\": \"%s\", "
        "\"flush_interval\": %d}, \"commit\": {\"interval\": \"1s\", \"records\": 4}, "
        "\"sources\": {\"in\": {\"topic\": \"in\"}}, %s}",
        life->instance, life->folder, (int)LIFE_SESSION_S, life->folder,
        life->fast ? "fast" : "durable", life->flush_ms, nodes[life->shape]);
}

static enum status run_worker(struct life *life, const struct program *program,
                              struct broker *broker, struct error *error)
{
    struct prepared_topics topics = {0};
    enum status status = prepare_topics(program, broker, true, life->until_end, &topics, error);
    for (int i = 0; i < PREPARE_TRIES && status == STATUS_RETRY; i++) { /* as runtime.c does */
        clock_sleep_ms(clock_system(), 100);
        status = prepare_topics(program, broker, true, life->until_end, &topics, error);
    }
    if (status == STATUS_OK) {
        const struct worker_options options = {
            .program = program,
            .broker = broker,
            .clock = clock_system(),
            .seed = 1,
            .until_end = life->until_end,
            .stop = &life->stop,
            .topics = topics.items,
            .topic_count = topics.count,
            .store_open = seam_store_open,
        };
        struct worker *worker = NULL;
        worker_create(&options, &worker);
        status = worker_run(worker, error);
        worker_destroy(worker);
    }
    prepare_finish(&topics);
    return status;
}

enum status life_run(struct life *life, struct error *error)
{
    struct config *config = NULL;
    struct program *program = NULL;
    struct broker *broker = NULL;
    char *text = topology_text(life);
    enum status status = config_parse(text, strlen(text), "/sweep.json", NULL, &config, error);
    free(text);
    if (status != STATUS_OK) {
        return status;
    }
    status = program_adopt(config, tally_operator(life->shape == SHAPE_TALLY), &program, error);
    if (status == STATUS_OK) {
        status = settings_open_broker(config, &broker, error);
    }
    if (status == STATUS_OK) {
        broker = seam_broker_take(broker);
        status = run_worker(life, program, broker, error);
        broker_close(broker);
    }
    program_destroy(program);
    config_destroy(config);
    return status;
}

/* ---- The broker ---- */

struct broker *life_open_broker(const char *folder)
{
    char *directory = memory_format("%s/broker", folder);
    const struct broker_settings settings = {.directory = directory,
                                             .session_timeout_ms = LIFE_SESSION_S * 1000,
                                             .transaction_timeout_ms = 60000,
                                             .callback_timeout_ms = 60000,
                                             .prefetch_size = 1 << 20};
    struct broker *broker = NULL;
    struct error error;
    ensure(broker_local_open(&settings, &broker, &error) == STATUS_OK);
    free(directory);
    return broker;
}

void life_make_topics(const char *folder)
{
    static const char *const names[] = {"in", "out", "late"};
    struct broker *broker = life_open_broker(folder);
    struct error error;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        ensure(broker_topic_create(broker, names[i], TALLY_PARTITIONS, -1, NULL, 0, &error) ==
               STATUS_OK);
    }
    broker_close(broker);
}

void life_feed(const char *folder, int from, int to)
{
    struct broker *broker = life_open_broker(folder);
    struct producer *producer = NULL;
    struct error error;
    uint32_t topic = 0;
    int32_t partitions = 0;
    ensure(producer_open(broker, NULL, &producer, &error) == STATUS_OK);
    ensure(producer_topic(producer, "in", &topic, &partitions, &error) == STATUS_OK);
    for (int p = 0; p < TALLY_PARTITIONS; p++) {
        for (int i = from; i < to; i++) {
            struct tally_input input = tally_input(p, i);
            const struct broker_output output = {.topic = topic,
                                                 .partition = p,
                                                 .key = bytes_of(input.key),
                                                 .value = bytes_of(input.value),
                                                 .timestamp_ms = input.timestamp_ms};
            ensure(producer_send(producer, &output, &error) == STATUS_OK);
        }
    }
    ensure(producer_flush(producer, 1000, &error) == STATUS_OK);
    producer_close(producer);
    broker_close(broker);
}
