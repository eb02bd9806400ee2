/* SPDX-License-Identifier: Apache-2.0 */
/* The commands topics, produce and consume from outside, on an embedded broker. */
#include "base/bytes.h"
#include "base/clock.h"
#include "config_case.h"
#include "test_folder.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS_MOST = 16, PATIENCE_MS = 10000 };

static struct {
    char *folder;
    char *out, *err;
} here;

static const char *const topology =
    "{ \"application\": \"app\", \"instance\": \"i\",\n"
    "  \"broker\": { \"kind\": \"local\", \"directory\": \"log\" },\n"
    "  \"sources\": { \"in\": { \"topic\": \"a\" } },\n"
    "  \"sinks\": { \"out\": { \"topic\": \"b\", \"from\": \"in\" } } }\n";

static void set_up(void)
{
    here.folder = test_folder_make();
    cr_assert_eq(chdir(here.folder), 0);
    config_write("t.json", topology, 0600);
    config_write("stdin", "", 0600);
}

static void tear_down(void)
{
    cr_assert_eq(chdir("/"), 0);
    free(here.out);
    free(here.err);
    test_folder_remove(here.folder);
}

TestSuite(record_commands, .init = set_up, .fini = tear_down);

static pid_t start(int from, int to, const char *const *words)
{
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        char *argv[WORDS_MOST + 2] = {(char *)(uintptr_t) "topology"};
        for (size_t i = 0; words[i] != NULL && i < WORDS_MOST; i++) {
            argv[i + 1] = (char *)(uintptr_t)words[i];
        }
        int errors = open("stderr", O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (dup2(from, STDIN_FILENO) < 0 || dup2(to, STDOUT_FILENO) < 0 ||
            dup2(errors, STDERR_FILENO) < 0) {
            _exit(99);
        }
        for (int i = 3; i < 64; i++) {
            (void)close(i);
        }
        (void)execv(LEAT_BINARY_DIR "/topology", argv);
        _exit(98);
    }
    return child;
}

static int ended(pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0) {
        cr_assert_eq(errno, EINTR);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run(const char *const *words)
{
    int from = open("stdin", O_RDONLY);
    int to = open("stdout", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int code = ended(start(from, to, words));
    (void)close(from);
    (void)close(to);
    free(here.out);
    free(here.err);
    here.out = config_slurp("stdout");
    here.err = config_slurp("stderr");
    return code;
}

#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

static int produce(const char *input, const char *format, const char *extra)
{
    config_write("stdin", input, 0600);
    return RUN("produce", "t.json", "a", "--format", format, extra);
}

Test(record_commands, topics_are_created_listed_and_deleted)
{
    cr_assert_eq(RUN("topics", "t.json", "list"), 0);
    cr_assert_str_eq(here.out, "");
    cr_assert_eq(RUN("topics", "t.json", "create", "b", "--partitions", "2"), 0);
    cr_assert_eq(RUN("topics", "t.json", "create", "a", "--partitions", "1", "--set",
                     "retention.ms=3600000", "--set", "cleanup.policy=compact,delete"),
                 0);
    cr_assert_eq(RUN("topics", "t.json", "list"), 0);
    cr_assert_str_eq(here.out, "a\nb\n");
    cr_assert_eq(RUN("topics", "t.json", "list", "--json"), 0);
    cr_assert_not_null(strstr(here.out, "{\"topic\":\"a\",\"partitions\":1,\"cleanup_policy\":"
                                        "\"compact,delete\",\"retention_ms\":3600000,"));
    cr_assert_eq(RUN("topics", "t.json", "create", "a", "--partitions", "1"), 1);
    cr_assert_not_null(strstr(here.err, "exists"));
    cr_assert_eq(RUN("topics", "t.json", "delete", "a"), 0);
    cr_assert_eq(RUN("topics", "t.json", "delete", "a"), 1);
    cr_assert_eq(RUN("topics", "t.json", "list"), 0);
    cr_assert_str_eq(here.out, "b\n");
}

Test(record_commands, set_goes_to_the_topic_or_to_the_file)
{
    cr_assert_eq(RUN("topics", "t.json", "create", "a", "--partitions", "1", "--set",
                     "broker.directory=other"),
                 0);
    cr_assert_eq(access("other/data.mdb", F_OK), 0);
    cr_assert_neq(access("log/data.mdb", F_OK), 0);
    cr_assert_eq(
        RUN("topics", "t.json", "create", "a", "--partitions", "1", "--set", "retention.mss=1"), 2);
    cr_assert_not_null(strstr(here.err, "did you mean \"retention.ms\""));
    cr_assert_eq(RUN("topics", "t.json", "list", "--set", "retention.ms=1"), 2);
}

Test(record_commands, wrong_usage_is_exit_2)
{
    cr_assert_eq(RUN("topics", "t.json", "create", "a"), 2);
    cr_assert_eq(RUN("topics", "t.json", "create", "--partitions", "1"), 2);
    cr_assert_eq(RUN("topics", "t.json", "list", "a"), 2);
    cr_assert_eq(RUN("topics", "t.json", "lst"), 2);
    cr_assert_not_null(strstr(here.err, "did you mean \"list\""));
    cr_assert_eq(RUN("topics", "t.json", "create", "a", "--partitions", "0"), 2);
    cr_assert_eq(RUN("consume", "t.json", "a", "--from", "start"), 2);
    cr_assert_eq(RUN("consume", "t.json", "a", "--count", "-1"), 2);
    cr_assert_eq(RUN("consume", "t.json", "a", "--json", "--format", "value"), 2);
    cr_assert_eq(RUN("produce", "t.json", "a", "--key-separator", ","), 2);
    cr_assert_eq(RUN("produce", "t.json", "a"), 1); /* a missing topic */
    cr_assert_not_null(strstr(here.err, "topics t.json create a --partitions N"));
    cr_assert_eq(RUN("consume", "t.json", "a"), 1);
}

Test(record_commands, lines_go_in_and_come_out)
{
    cr_assert_eq(RUN("topics", "t.json", "create", "a", "--partitions", "1"), 0);
    cr_assert_eq(produce("one\n\nthree", "value", NULL), 0);
    cr_assert_eq(RUN("consume", "t.json", "a", "--until-end"), 0);
    cr_assert_str_eq(here.out, "one\n\nthree\n");
    cr_assert_eq(RUN("consume", "t.json", "a", "--count", "1", "--from", "2"), 0);
    cr_assert_str_eq(here.out, "three\n");
    cr_assert_eq(RUN("consume", "t.json", "a", "--until-end", "--from", "end"), 0);
    cr_assert_str_eq(here.out, "");
    cr_assert_eq(RUN("consume", "t.json", "a", "--until-end", "--from", "100"), 0);
    cr_assert_str_eq(here.out, "");
    config_write("stdin", "k=v=w\n", 0600);
    cr_assert_eq(RUN("produce", "t.json", "a", "--format", "key-value", "--key-separator", "="), 0);
    cr_assert_eq(RUN("consume", "t.json", "a", "--until-end", "--from", "3", "--format",
                     "key-value", "--key-separator", "->"),
                 0);
    cr_assert_str_eq(here.out, "k->v=w\n");
}

Test(record_commands, json_goes_round)
{
    cr_assert_eq(RUN("topics", "t.json", "create", "a", "--partitions", "2"), 0);
    cr_assert_eq(produce("{\"partition\":1,\"timestamp_ms\":77,\"key\":null,\"value_base64\":"
                         "\"gA==\",\"headers\":[{\"name\":\"h\",\"value\":\"x\"}]}\n",
                         "json", NULL),
                 0);
    cr_assert_eq(RUN("consume", "t.json", "a", "--until-end", "--json"), 0);
    cr_assert_str_eq(here.out,
                     "{\"topic\":\"a\",\"partition\":1,\"offset\":0,\"timestamp_ms\":77,\"key\":"
                     "null,\"value_base64\":\"gA==\",\"headers\":[{\"name\":\"h\",\"value\":\"x\"}"
                     "]}\n");
    char *line = memory_text(here.out);
    cr_assert_eq(produce(line, "json", NULL), 0);
    cr_assert_eq(RUN("consume", "t.json", "a", "--until-end", "--json", "--from", "1"), 0);
    cr_assert_not_null(strstr(here.out, "\"offset\":1,\"timestamp_ms\":77"));
    free(line);
    cr_assert_eq(produce("{\"partition\":2,\"value\":\"x\"}\n", "json", NULL), 1);
    cr_assert_not_null(strstr(here.err, "line 1: partition 2"));
}

Test(record_commands, keys_choose_the_partition_and_null_keys_spread)
{
    cr_assert_eq(RUN("topics", "t.json", "create", "a", "--partitions", "4"), 0);
    cr_assert_eq(produce("x\n1\n2\n3\n", "value", NULL), 0);
    cr_assert_eq(RUN("consume", "t.json", "a", "--until-end", "--json"), 0);
    for (int i = 0; i < 4; i++) {
        char wanted[32];
        (void)snprintf(wanted, sizeof wanted, "\"partition\":%d,\"offset\":0", i);
        cr_assert_not_null(strstr(here.out, wanted), "%s: %s", wanted, here.out);
    }
    cr_assert_eq(produce("k\t1\nk\t2\n", "key-value", NULL), 0);
    cr_assert_eq(RUN("consume", "t.json", "a", "--until-end", "--json", "--from", "1"), 0);
    /* murmur2("k") of Java, positive, modulo 4 */
    const char *first = strstr(here.out, "\"partition\":");
    const char *second = strstr(first + 1, "\"partition\":");
    cr_assert_not_null(second);
    cr_assert_eq(strncmp(first, second, strlen("\"partition\":0")), 0);
}

Test(record_commands, transactional_is_all_or_nothing)
{
    cr_assert_eq(RUN("topics", "t.json", "create", "a", "--partitions", "2"), 0);
    cr_assert_eq(produce("k\tv\nno separator\n", "key-value", "--transactional"), 1);
    cr_assert_not_null(strstr(here.err, "line 2"));
    cr_assert_eq(RUN("consume", "t.json", "a", "--until-end"), 0);
    cr_assert_str_eq(here.out, "");
    cr_assert_eq(produce("k\tv\nno separator\n", "key-value", NULL), 1);
    cr_assert_not_null(strstr(here.err, "1 records were written"));
    cr_assert_eq(produce("k\tw\n", "key-value", "--transactional"), 0);
    cr_assert_eq(RUN("consume", "t.json", "a", "--until-end"), 0);
    cr_assert_str_eq(here.out, "v\nw\n");
}

Test(record_commands, large_lines_pass_and_too_large_ones_are_named)
{
    size_t size = 16 << 20;
    char *line = memory_allocate(size + 2);
    memset(line, 'x', size);
    line[size] = '\n';
    cr_assert_eq(RUN("topics", "t.json", "create", "a", "--partitions", "1", "--set",
                     "max.message.bytes=17825792"),
                 0);
    cr_assert_eq(produce(line, "value", NULL), 0);
    cr_assert_eq(RUN("consume", "t.json", "a", "--until-end"), 0);
    cr_assert_eq(strlen(here.out), size + 1);
    cr_assert_eq(memcmp(here.out, line, size + 1), 0);
    cr_assert_eq(RUN("topics", "t.json", "delete", "a"), 0);
    cr_assert_eq(RUN("topics", "t.json", "create", "a", "--partitions", "1"), 0);
    cr_assert_eq(produce(line, "value", NULL), 1);
    cr_assert_not_null(strstr(here.err, "line 1"));
    cr_assert_not_null(strstr(here.err, "max.message.bytes"));
    free(line);
}

/* Reads from the pipe until the text is there. */
static bool arrives(int from, const char *wanted)
{
    char text[256] = "";
    size_t size = 0;
    int64_t until = clock_monotonic_ms(clock_system()) + PATIENCE_MS;
    while (strstr(text, wanted) == NULL && size + 1 < sizeof text) {
        struct pollfd ready = {.fd = from, .events = POLLIN};
        int64_t left = until - clock_monotonic_ms(clock_system());
        if (left <= 0 || poll(&ready, 1, (int)left) <= 0) {
            return false;
        }
        ssize_t got = read(from, text + size, sizeof text - 1 - size);
        if (got <= 0) {
            return false;
        }
        size += (size_t)got;
        text[size] = 0;
    }
    return true;
}

Test(record_commands, consume_follows_and_ends_well)
{
    int out[2];
    int in[2];
    cr_assert_eq(RUN("topics", "t.json", "create", "a", "--partitions", "1"), 0);
    cr_assert_eq(pipe(out), 0);
    cr_assert_eq(pipe(in), 0);
    (void)fcntl(in[1], F_SETFD, FD_CLOEXEC);
    int nothing = open("/dev/null", O_RDWR);
    pid_t reader = start(nothing, out[1], (const char *const[]){"consume", "t.json", "a", NULL});
    pid_t writer = start(in[0], nothing, (const char *const[]){"produce", "t.json", "a", NULL});
    cr_assert_eq(write(in[1], "first\n", 6), 6);
    cr_assert(arrives(out[0], "first\n")); /* though the writer's input is still open */
    int64_t begun = clock_monotonic_ms(clock_system());
    cr_assert_eq(write(in[1], "second\n", 7), 7);
    cr_assert(arrives(out[0], "second\n"));
    cr_assert_lt(clock_monotonic_ms(clock_system()) - begun, 1000);
    cr_assert_eq(kill(writer, SIGTERM), 0);
    cr_assert_eq(ended(writer), 0);
    cr_assert_eq(kill(reader, SIGINT), 0);
    cr_assert_eq(ended(reader), 0);
    reader = start(nothing, out[1], (const char *const[]){"consume", "t.json", "a", NULL});
    cr_assert(arrives(out[0], "first\nsecond\n"));
    (void)close(out[0]);
    (void)close(out[1]);
    cr_assert_eq(produce("third\n", "value", NULL), 0); /* nobody reads it any more */
    cr_assert_eq(ended(reader), 0);
    (void)close(in[0]);
    (void)close(in[1]);
    (void)close(nothing);
}
