/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_load: fills topics, checks outputs byte by byte, measures latency, watches committed
 * offsets. `bench/run` calls it; by hand: bench_load COMMAND --broker kafka:HOST:PORT --topic NAME
 * ...
 */
#include "load.h"

#include "base/hash.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

_Noreturn void access_fail(const char *what, const char *why)
{
    fprintf(stderr, "bench_load: %s: %s\n", what, why);
    exit(1);
}

struct access *access_open(const char *broker)
{
    if (strncmp(broker, "kafka:", 6) == 0) {
        return access_kafka_open(broker + 6);
    }
    if (strncmp(broker, "local:", 6) == 0) {
        return access_local_open(broker + 6);
    }
    access_fail(broker, "not kafka:HOST:PORT or local:DIRECTORY");
}

int64_t load_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void load_sleep_us(int64_t us)
{
    struct timespec duration = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&duration, NULL);
}

int load_fill(struct access *access, const struct load_options *options)
{
    int64_t began = load_now_us();
    int32_t partitions = access_partitions(access, options->topic);
    access_write(access, options->topic);
    for (uint64_t n = 0; n < options->records; n++) {
        char key[WORKLOAD_KEY_SIZE], value[WORKLOAD_VALUE_SIZE];
        workload_key(&options->workload, workload_key_index(&options->workload, n), key);
        workload_value(&options->workload, n, value);
        access_send(access, hash_partition(key, sizeof key, partitions), key, sizeof key, value,
                    sizeof value);
    }
    access_flush(access);
    printf("{\"records\": %llu, \"seconds\": %.3f}\n", (unsigned long long)options->records,
           (double)(load_now_us() - began) / 1e6);
    return 0;
}

static int load_create(struct access *access, const struct load_options *options)
{
    access_create(access, options->topic, (int32_t)options->partitions, options->properties,
                  options->property_count);
    return 0;
}

static int load_delete(struct access *access, const struct load_options *options)
{
    access_erase(access, options->topic);
    return 0;
}

static const struct command {
    const char *name, *does;
    bool output, group; /* what it needs beside --broker and --topic */
    int (*run)(struct access *, const struct load_options *);
} commands[] = {
    {"create", "a topic [--partitions N] [--set NAME=VALUE]...", false, false, load_create},
    {"delete", "a topic, if it is there", false, false, load_delete},
    {"fill", "a topic with --records of --keys and --seed", false, false, load_fill},
    {"verify-pass-through", "the topic holds each record of the fill once, in the fill's order",
     false, false, load_verify_pass_through},
    {"verify-count", "the topic holds 1, 2, 3... for each key of the fill", false, false,
     load_verify_count},
    {"probe", "latency from --topic to --output at --rate [--seconds N] [--warm-up N]", true, false,
     load_probe},
    {"watch", "the committed offsets of --group until --records or --seconds [--interval MS]",
     false, true, load_watch},
};

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: bench_load COMMAND --broker kafka:HOST:PORT|local:DIRECTORY "
                    "--topic NAME [options]\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        fprintf(stderr, "  %-20s %s\n", commands[i].name, commands[i].does);
    }
    exit(2);
}

static int64_t number_option(const char *text)
{
    char *end;
    long long number = strtoll(text, &end, 10);
    if (*end != '\0' || end == text || number < 0) {
        access_fail(text, "not a number");
    }
    return number;
}

static const char *read_options(struct load_options *load, int argc, char **argv)
{
    static const struct option options[] = {
        {"broker", 1, NULL, 'b'},   {"topic", 1, NULL, 't'},
        {"output", 1, NULL, 'o'},   {"group", 1, NULL, 'g'},
        {"records", 1, NULL, 'n'},  {"keys", 1, NULL, 'k'},
        {"seed", 1, NULL, 's'},     {"partitions", 1, NULL, 'p'},
        {"interval", 1, NULL, 'i'}, {"seconds", 1, NULL, 'd'},
        {"warm-up", 1, NULL, 'w'},  {"rate", 1, NULL, 'r'},
        {"set", 1, NULL, 'x'},      {NULL, 0, NULL, 0}};
    const char *broker = NULL;
    *load = (struct load_options){.workload = {1, 1000000},
                                  .records = 1000000,
                                  .partitions = 4,
                                  .interval_ms = 20,
                                  .seconds = 10,
                                  .warm_up_seconds = 3,
                                  .rate = 5000};
    for (int letter; (letter = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (letter) {
        case 'b':
            broker = optarg;
            break;
        case 't':
            load->topic = optarg;
            break;
        case 'o':
            load->output = optarg;
            break;
        case 'g':
            load->group = optarg;
            break;
        case 'n':
            load->records = (uint64_t)number_option(optarg);
            break;
        case 'k':
            load->workload.key_count = (uint64_t)number_option(optarg);
            break;
        case 's':
            load->workload.seed = (uint64_t)number_option(optarg);
            break;
        case 'p':
            load->partitions = number_option(optarg);
            break;
        case 'i':
            load->interval_ms = number_option(optarg);
            break;
        case 'd':
            load->seconds = number_option(optarg);
            break;
        case 'w':
            load->warm_up_seconds = number_option(optarg);
            break;
        case 'r':
            load->rate = number_option(optarg);
            break;
        case 'x':
            if (load->property_count == ACCESS_PROPERTIES_MAX) {
                access_fail("--set", "too many");
            }
            load->properties[load->property_count++] = optarg;
            break;
        default:
            usage();
        }
    }
    if (broker == NULL || load->topic == NULL || load->workload.key_count == 0 || load->rate == 0) {
        usage();
    }
    return broker;
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            struct load_options load;
            const char *broker = read_options(&load, argc - 1, argv + 1);
            if ((commands[i].output && load.output == NULL) ||
                (commands[i].group && load.group == NULL)) {
                usage();
            }
            struct access *access = access_open(broker);
            int code = commands[i].run(access, &load);
            access_close(access);
            return code;
        }
    }
    usage();
}
