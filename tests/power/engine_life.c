/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_life.h"

#include "base/bytes.h"
#include "broker/broker.h"
#include "engine/program.h"
#include "engine/runtime.h"
#include "engine/settings.h"

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef LEAT_BINARY_DIR
#define LEAT_BINARY_DIR "." /* for a tool that reads this file alone */
#endif

enum { PARTITIONS = 2, KEYS = 17, PATIENCE_MS = 30000, SECONDS = 120, CODE_LOST = 77 };

static void must(enum status status, const char *what, const struct error *error)
{
    if (status != STATUS_OK) {
        (void)fprintf(stderr, "power: %s failed: %s\n", what, error->text);
        abort();
    }
}

/* ---- the application ---- */

static void write_topology(const struct engine_life *life, bool fast, int flush_ms)
{
    char *path = memory_format("%s/topology.json", life->folder);
    FILE *file = fopen(path, "w");
    ensure(file != NULL);
    (void)fprintf(file,
                  "{\"application\": \"power\", \"instance\": \"a\",\n"
                  "\"broker\": {\"kind\": \"local\", \"directory\": \"%s/broker\"},\n"
                  "\"state\": {\"directory\": \"%s\", \"durability\": \"%s\", "
                  "\"flush_interval\": %d},\n"
                  "\"commit\": {\"records\": 7},\n"
                  "\"operator_directories\": [\"" LEAT_BINARY_DIR "/operators\"],\n"
                  "\"sources\": {\"in\": {\"topic\": \"in\"}},\n"
                  "\"operators\": {\"count\": {\"use\": \"aggregate\", \"from\": \"in\"}},\n"
                  "\"sinks\": {\"out\": {\"topic\": \"out\", \"from\": \"count\"}}}\n",
                  life->folder, life->state, fast ? "fast" : "durable", flush_ms);
    ensure(fclose(file) == 0);
    free(path);
}

static struct broker *open_broker(const struct engine_life *life)
{
    char *directory = memory_format("%s/broker", life->folder);
    const struct broker_settings settings = {.directory = directory,
                                             .session_timeout_ms = 10000,
                                             .transaction_timeout_ms = 10000,
                                             .callback_timeout_ms = 60000,
                                             .prefetch_size = 1 << 20};
    struct broker *broker = NULL;
    struct error error;
    must(broker_local_open(&settings, &broker, &error), "opening the broker", &error);
    free(directory);
    return broker;
}

void engine_life_begin(struct engine_life *life, const char *folder, bool fast, int flush_ms)
{
    struct error error;
    *life = (struct engine_life){.folder = memory_text(folder),
                                 .state = memory_format("%s/state", folder),
                                 .log = memory_format("%s/log", folder)};
    ensure(mkdir(life->folder, 0700) == 0 && mkdir(life->state, 0700) == 0);
    write_topology(life, fast, flush_ms);
    struct broker *broker = open_broker(life);
    must(broker_topic_create(broker, "in", PARTITIONS, -1, NULL, 0, &error), "a topic", &error);
    must(broker_topic_create(broker, "out", PARTITIONS, -1, NULL, 0, &error), "a topic", &error);
    broker_close(broker);
}

static int remove_one(const char *path, const struct stat *facts, int type, struct FTW *place)
{
    (void)facts;
    (void)type;
    (void)place;
    return remove(path);
}

static void remove_tree(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void engine_life_finish(struct engine_life *life)
{
    remove_tree(life->folder);
    free(life->folder);
    free(life->state);
    free(life->log);
}

/* ---- input ---- */

static uint64_t key_of(int32_t partition, uint64_t index)
{
    uint64_t mixed = (index + (uint64_t)partition) * 0x9E3779B97F4A7C15u;
    return (mixed >> 33) % KEYS;
}

void engine_life_feed(struct engine_life *life, uint64_t count)
{
    struct broker *broker = open_broker(life);
    struct producer *producer = NULL;
    struct error error;
    struct broker_output record = {.timestamp_ms = -1};
    int32_t partitions = 0;
    must(producer_open(broker, NULL, &producer, &error), "a producer", &error);
    must(producer_ready(producer, PATIENCE_MS, &error), "a producer", &error);
    must(producer_topic(producer, "in", &record.topic, &partitions, &error), "a topic", &error);
    ensure(partitions == PARTITIONS);
    for (record.partition = 0; record.partition < PARTITIONS; record.partition++) {
        for (uint64_t i = life->fed; i < life->fed + count; i++) {
            char key[32];
            (void)snprintf(key, sizeof key, "%d-%02" PRIu64, record.partition,
                           key_of(record.partition, i));
            record.key = record.value = bytes_of(key);
            must(producer_send(producer, &record, &error), "sending", &error);
        }
    }
    must(producer_flush(producer, PATIENCE_MS, &error), "sending", &error);
    life->fed += count;
    producer_close(producer);
    broker_close(broker);
}

/* ---- a start ---- */

struct start {
    const struct engine_life *life;
    char *image;
    struct random *random;
    enum power_subset how;
};

/* In the thread whose call made the log this long; the others wait at their next change. */
static void lose_power(void *context)
{
    const struct start *start = context;
    power_log_image(start->image, power_log_size(), start->random, start->how);
    _exit(CODE_LOST);
}

static int run_engine(const struct engine_life *life)
{
    struct config *config = NULL;
    struct program *program = NULL;
    struct broker *broker = NULL;
    struct config_overrides overrides = {.broker = NULL};
    struct runtime_options options = {.until_end = true};
    struct error error = {.text = ""};
    char *file = memory_format("%s/topology.json", life->folder);
    enum status status = config_load(file, &overrides, &config, &error);
    status = status == STATUS_OK ? program_load(config, &program, &error) : status;
    status = status == STATUS_OK ? settings_open_broker(config, &broker, &error) : status;
    status = status == STATUS_OK ? runtime_run(program, broker, &options, &error) : status;
    if (status != STATUS_OK) {
        (void)fprintf(stderr, "topology: %s\n", error.text);
    }
    broker_close(broker);
    program_destroy(program);
    config_destroy(config);
    free(file);
    return status == STATUS_OK ? 0 : 1;
}

static void run_child(const struct engine_life *life, size_t loss, struct start *start,
                      size_t *size)
{
    int log = open(life->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    struct rlimit none = {0, 0};
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)dup2(log, STDERR_FILENO);
    (void)alarm(SECONDS);
    power_log_start(life->state);
    power_log_at(loss, lose_power, start);
    int code = run_engine(life);
    *size = power_log_size();
    _exit(code);
}

enum engine_end engine_life_run(struct engine_life *life, size_t loss, struct random *random,
                                enum power_subset how, size_t *size)
{
    size_t *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ensure(shared != MAP_FAILED);
    struct start start = {.life = life,
                          .image = memory_format("%s/image", life->folder),
                          .random = random,
                          .how = how};
    pid_t pid = fork();
    if (pid == 0) {
        run_child(life, loss, &start, shared);
    }
    int state = 0;
    ensure(pid > 0 && waitpid(pid, &state, 0) == pid);
    enum engine_end end = ENGINE_FAILED;
    if (WIFEXITED(state) && WEXITSTATUS(state) == CODE_LOST) {
        remove_tree(life->state);
        ensure(rename(start.image, life->state) == 0);
        if (!life->trust_boot) {
            power_reboot(life->state);
        }
        end = ENGINE_LOST;
    } else if (WIFEXITED(state) && WEXITSTATUS(state) == 0) {
        end = ENGINE_DONE;
    }
    *size = *shared;
    (void)munmap(shared, sizeof *shared);
    free(start.image);
    return end;
}

uint64_t engine_life_asides(const struct engine_life *life)
{
    FILE *file = fopen(life->log, "r");
    uint64_t count = 0;
    char *line = NULL;
    size_t room = 0;
    while (file != NULL && getline(&line, &room, file) > 0) {
        count += strstr(line, "store moved aside") != NULL;
    }
    free(line);
    if (file != NULL) {
        (void)fclose(file);
    }
    return count;
}

/* ---- output ---- */

struct counts {
    uint64_t of[PARTITIONS][KEYS];
};

/* Takes one record of the output: the next count of its key. */
static bool take(struct counts *counts, const struct broker_record *record, char text[200])
{
    char key[8] = "";
    char value[24] = "";
    if (record->key.size >= sizeof key || record->value.size >= sizeof value) {
        (void)snprintf(text, 200, "a record that nobody sent");
        return false;
    }
    memcpy(key, record->key.data, record->key.size);
    memcpy(value, record->value.data, record->value.size);
    long partition = strtol(key, NULL, 10);
    long index = strlen(key) == 4 ? strtol(key + 2, NULL, 10) : -1;
    if (partition < 0 || partition >= PARTITIONS || index < 0 || index >= KEYS) {
        (void)snprintf(text, 200, "key \"%s\", which nobody sent", key);
        return false;
    }
    uint64_t expected = ++counts->of[partition][index];
    if (strtoull(value, NULL, 10) != expected) {
        (void)snprintf(text, 200, "key %s: %s where %" PRIu64 " is next", key, value, expected);
        return false;
    }
    return true;
}

static bool read_partition(struct broker *broker, int32_t partition, struct counts *counts,
                           char text[200])
{
    struct consumer *consumer = NULL;
    struct consumer_options options = {0};
    struct consumer_event event = {.kind = CONSUMER_NOTHING};
    struct error error;
    struct consumer_assignment assignment = {.topic = "out", .partition = partition};
    bool right = true;
    must(consumer_open(broker, &options, &consumer, &error), "a consumer", &error);
    must(consumer_assign(consumer, &assignment, 1, &error), "assigning", &error);
    while (event.kind != CONSUMER_END) {
        must(consumer_poll(consumer, PATIENCE_MS, &event, &error), "reading", &error);
        if (event.kind == CONSUMER_RECORD) {
            right = right && take(counts, &event.record, text);
            consumer_release(consumer, &event.record);
        }
    }
    consumer_close(consumer);
    return right;
}

bool engine_life_right(const struct engine_life *life, char text[200])
{
    struct counts counts = {0};
    struct counts expected = {0};
    struct broker *broker = open_broker(life);
    bool right = true;
    for (int32_t p = 0; p < PARTITIONS; p++) {
        right = read_partition(broker, p, &counts, text) && right;
        for (uint64_t i = 0; i < life->fed; i++) {
            expected.of[p][key_of(p, i)]++;
        }
    }
    broker_close(broker);
    for (int32_t p = 0; p < PARTITIONS && right; p++) {
        for (size_t k = 0; k < KEYS && right; k++) {
            if (counts.of[p][k] != expected.of[p][k]) {
                (void)snprintf(text, 200, "key %d-%02zu: counted to %" PRIu64 " of %" PRIu64, p, k,
                               counts.of[p][k], expected.of[p][k]);
                right = false;
            }
        }
    }
    return right;
}
