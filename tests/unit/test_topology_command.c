/* SPDX-License-Identifier: Apache-2.0 */
/* The frame of the command from outside: exit codes, what goes to stdout and what to stderr. */
#include "base/bytes.h"
#include "config_case.h"
#include "test_folder.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS_MOST = 16 };

/* A folder with a topology file and what the last command wrote. */
static struct {
    char *folder;
    char *out, *err;
} here;

static const char *const topology =
    "{ \"application\": \"app\", \"instance\": \"i\",\n"
    "  \"sources\": { \"in\": { \"topic\": \"a\" } },\n"
    "  \"operators\": { \"words\": { \"use\": \"split\", \"from\": \"in\" } },\n"
    "  \"sinks\": { \"out\": { \"topic\": \"b\", \"from\": \"words\" } } }\n";

static void set_up(void)
{
    here.folder = test_folder_make();
    cr_assert_eq(chdir(here.folder), 0);
    config_write("t.json", topology, 0600);
    (void)setenv("LEAT_OPERATOR_PATH", LEAT_BINARY_DIR "/operators", 1);
}

static void tear_down(void)
{
    cr_assert_eq(chdir("/"), 0);
    free(here.out);
    free(here.err);
    test_folder_remove(here.folder);
}

TestSuite(topology_command, .init = set_up, .fini = tear_down);

/* Runs topology with the words up to NULL, its stdout in `out` (a file of the folder, or a device).
 */
static int run_to(const char *out, const char *const *words)
{
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        char *argv[WORDS_MOST + 2] = {(char *)(uintptr_t) "topology"};
        for (size_t i = 0; words[i] != NULL && i < WORDS_MOST; i++) {
            argv[i + 1] = (char *)(uintptr_t)words[i];
        }
        int to = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        int errors = open("stderr", O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (dup2(to, STDOUT_FILENO) < 0 || dup2(errors, STDERR_FILENO) < 0) {
            _exit(99);
        }
        (void)execv(LEAT_BINARY_DIR "/topology", argv);
        _exit(98);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0) {
        cr_assert_eq(errno, EINTR);
    }
    free(here.out);
    free(here.err);
    here.out = strncmp(out, "/dev/", 5) == 0 ? NULL : config_slurp(out);
    here.err = config_slurp("stderr");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#define RUN(...) run_to("stdout", (const char *const[]){__VA_ARGS__, NULL})

Test(topology_command, help_is_a_result)
{
    cr_expect_eq(RUN("--help"), 0);
    cr_expect(strncmp(here.out, "usage: topology COMMAND", 23) == 0);
    cr_expect_str_eq(here.err, "");
    static const char *const commands[] = {"run",    "check",   "describe", "operators",
                                           "topics", "produce", "consume",  "state",
                                           "schema", "version"};
    char expected[64];
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        (void)snprintf(expected, sizeof expected, "usage: topology %s ", commands[i]);
        cr_expect_eq(RUN(commands[i], "--help"), 0);
        cr_expect(strncmp(here.out, expected, strlen(expected)) == 0, "%s", here.out);
    }
}

Test(topology_command, wrong_usage_is_two_and_goes_to_stderr)
{
    cr_expect_eq(run_to("stdout", (const char *const[]){NULL}), 2);
    cr_expect_str_eq(here.out, "");
    cr_expect_str_eq(here.err, "topology: expected a command, found none (see topology --help)\n");
    cr_expect_eq(RUN("chek", "t.json"), 2);
    cr_expect_str_eq(here.err, "topology: expected a command, found \"chek\"; did you mean "
                               "\"check\"? (see topology --help)\n");
    cr_expect_eq(RUN("check"), 2);
    cr_expect_str_eq(here.err,
                     "topology: check: expected FILE, found 0 arguments (see topology check "
                     "--help)\n");
    cr_expect_eq(RUN("check", "t.json", "--onlin"), 2);
    cr_expect_not_null(strstr(here.err, "did you mean \"--online\"?"));
    cr_expect_str_eq(here.out, "");
}

Test(topology_command, version_tells_all_libraries)
{
    cr_expect_eq(RUN("version"), 0);
    cr_expect(strncmp(here.out, "topology ", 9) == 0);
    cr_expect_not_null(strstr(here.out, "\nlibrdkafka "));
    cr_expect_not_null(strstr(here.out, "\nlmdb "));
    cr_expect_not_null(strstr(here.out, "\njansson "));
    cr_expect_eq(RUN("version", "--json"), 0);
    json_t *all = json_loads(here.out, 0, NULL);
    cr_assert_not_null(all);
    const json_t *lmdb = json_object_get(all, "lmdb");
    cr_expect_gt(json_string_length(json_object_get(lmdb, "built")), 4);
    cr_expect_gt(json_string_length(json_object_get(lmdb, "running")), 4);
    cr_expect_not_null(json_object_get(json_object_get(all, "abi"), "major"));
    json_decref(all);
}

Test(topology_command, schema_is_json)
{
    cr_expect_eq(RUN("schema"), 0);
    char *schema = config_schema();
    cr_expect_eq(strncmp(here.out, schema, strlen(schema)), 0);
    free(schema);
}

Test(topology_command, check_says_that_a_good_file_is_good)
{
    cr_expect_eq(RUN("check", "t.json"), 0, "%s", here.err);
    cr_expect_str_eq(here.out, "t.json: good: application app, 3 nodes, 1 sub-topology\n");
    cr_expect_eq(RUN("check", "t.json", "--json"), 0);
    cr_expect_str_eq(here.out,
                     "{\"file\":\"t.json\",\"good\":true,\"application\":\"app\",\"nodes\":3,"
                     "\"sub_topologies\":1,\"online\":false}\n");
}

Test(topology_command, check_finds_faults_of_every_kind)
{
    cr_expect_eq(RUN("check", "absent.json"), 2);
    cr_expect_eq(RUN("check", "t.json", "--set", "workers=0"), 2);
    cr_expect_str_eq(here.err, "topology: --set workers: $.workers: expected an integer from 1 to "
                               "64, found \"0\"\n");
    cr_expect_eq(RUN("check", "t.json", "--set", "sinks.out.from=word"), 2);
    cr_expect_not_null(strstr(here.err, "did you mean \"words\"?"), "%s", here.err);
    cr_expect_eq(RUN("check", "t.json", "--set", "operators.words.use=splitt"), 2);
    cr_expect_not_null(strstr(here.err, "splitt"), "%s", here.err);
    cr_expect_eq(RUN("check", "t.json", "--set", "operators.words.params.bye=words"), 2);
    cr_expect_not_null(strstr(here.err, "did you mean \"by\"?"), "%s", here.err);
    cr_expect_eq(RUN("check", "t.json", "--broker", "kafka:localhost:1", "--set",
                     "broker.properties.\"enable.idempotence\"=false"),
                 2);
    cr_expect_not_null(strstr(here.err, "enable.idempotence"), "%s", here.err);
    cr_expect_str_eq(here.out, "");
}

Test(topology_command, check_online_asks_for_the_topics)
{
    cr_expect_eq(RUN("check", "t.json", "--online"), 1);
    cr_expect_str_eq(here.err,
                     "topology: topic a of source \"in\" does not exist; create it with: topology "
                     "topics t.json create a --partitions N\n");
    cr_expect_eq(RUN("topics", "t.json", "create", "a", "--partitions", "2"), 0, "%s", here.err);
    cr_expect_eq(RUN("check", "t.json", "--online"), 1);
    cr_expect_not_null(strstr(here.err, "topic b of sink \"out\" does not exist"), "%s", here.err);
    cr_expect_eq(RUN("topics", "t.json", "create", "b", "--partitions", "2"), 0, "%s", here.err);
    cr_expect_eq(RUN("check", "t.json", "--online"), 0, "%s", here.err);
    cr_expect_not_null(strstr(here.out, ", topics as they must be\n"));
}

Test(topology_command, check_online_wants_one_partition_count_for_a_stateful_part)
{
    config_write(
        "t.json",
        "{ \"application\": \"app\", \"instance\": \"i\",\n"
        "  \"sources\": { \"in\": { \"topic\": \"a\" }, \"too\": { \"topic\": \"c\" } },\n"
        "  \"operators\": { \"n\": { \"use\": \"aggregate\", \"from\": [\"in\", \"too\"] } },\n"
        "  \"sinks\": { \"out\": { \"topic\": \"b\", \"from\": \"n\" } } }\n",
        0600);
    cr_expect_eq(RUN("topics", "t.json", "create", "a", "--partitions", "2"), 0, "%s", here.err);
    cr_expect_eq(RUN("topics", "t.json", "create", "c", "--partitions", "3"), 0, "%s", here.err);
    cr_expect_eq(RUN("topics", "t.json", "create", "b", "--partitions", "1"), 0, "%s", here.err);
    cr_expect_eq(RUN("check", "t.json", "--online"), 1);
    cr_expect_str_eq(
        here.err, "topology: sub-topology \"in\" keeps state, so the topics it reads must have one "
                  "partition count: c has 3, a has 2; put a repartition between\n");
}

Test(topology_command, describe_has_two_formats)
{
    cr_expect_eq(RUN("describe", "t.json"), 0, "%s", here.err);
    cr_expect_not_null(strstr(here.out, "\nsub-topology in: stateless"));
    cr_expect_eq(RUN("describe", "t.json", "--format", "json"), 0);
    char *json = memory_text(here.out);
    cr_expect_eq(strchr(json, '\n'), json + strlen(json) - 1, "one line");
    cr_expect_eq(RUN("describe", "t.json", "--json"), 0);
    cr_expect_str_eq(here.out, json);
    free(json);
    cr_expect_eq(RUN("describe", "t.json", "--format", "dot"), 2);
    cr_expect_str_eq(here.err, "topology: describe: expected one of text,json for --format, found "
                               "\"dot\" (see topology describe --help)\n");
}

Test(topology_command, results_that_cannot_be_written_are_a_failure)
{
    cr_expect_eq(run_to("/dev/full", (const char *const[]){"version", NULL}), 1);
    cr_expect_str_eq(here.err, "topology: stdout: not all results could be written\n");
    cr_expect_eq(run_to("/dev/full", (const char *const[]){"--help", NULL}), 1);
}
