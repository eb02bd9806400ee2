/* SPDX-License-Identifier: Apache-2.0 */
/* How records go through a topology: ports, topics, partitions, merged inputs, workers. */
#include "engine_run.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct run run;

static void set_up(void)
{
    run_init(&run);
}
static void clean_up(void)
{
    run_finish(&run);
}
TestSuite(engine_graph, .init = set_up, .fini = clean_up, .timeout = 60);

/* ---- Ports ---- */

Test(engine_graph, feeds_the_inputs_that_the_topology_names)
{
    run_topic(&run, "l", 1);
    run_topic(&run, "r", 1);
    run_topic(&run, "out", 1);
    run_topology(&run, "'sources': {'sl': {'topic': 'l'}, 'sr': {'topic': 'r'}}, 'operators': {"
                       "'n': {'use': 'script', 'from': {'left': ['sl'], 'right': ['sr']}}},"
                       "'sinks': {'k': {'topic': 'out', 'from': 'n'}}");
    run_send(&run, "l", 0, 100, "a", "input");
    run_send(&run, "r", 0, 200, "b", "input;where");
    run_all(&run, NULL);
    run_expect(&run, "out", "a=0\nb=1\nb=r/0@0\n");
}

Test(engine_graph, takes_outputs_by_their_names)
{
    run_topic(&run, "in", 1);
    run_topic(&run, "first", 1);
    run_topic(&run, "second", 1);
    run_topology(&run, "'sources': {'s': {'topic': 'in'}}, 'operators': {"
                       "'n': {'use': 'script', 'from': 's'},"
                       "'m': {'use': 'pure', 'from': 'n.other', 'params': {'do': 'pass'}}},"
                       "'sinks': {'k': {'topic': 'first', 'from': 'n.out'},"
                       "'k2': {'topic': 'second', 'from': ['m', 'n.other']}}");
    run_send(&run, "in", 0, 100, "k", "out 0 one;out 1 two;fwd three;out 2 nowhere");
    run_all(&run, NULL);
    run_expect(&run, "first", "k=one\nk=three\n");
    run_expect(&run, "second", "k=two\nk=two\n");
}

Test(engine_graph, feeds_a_sink_from_a_source_with_nothing_changed)
{
    run_topic(&run, "in", 1);
    run_topic(&run, "mid", 1);
    run_topic(&run, "out", 1);
    run_topology(&run, "'sources': {'s': {'topic': 'in'}},"
                       "'sinks': {'k': {'topic': 'mid', 'from': 's'}}");
    run_send(&run, "in", 0, 77, "k", "same");
    run_send(&run, "in", 0, 78, NULL, NULL);
    run_send(&run, "in", 0, 79, "", "");
    run_all(&run, NULL);
    run_expect(&run, "mid", "k=same\nnull=null\n=\n");
    run_topology(&run, "'sources': {'s2': {'topic': 'mid'}}, 'operators': {"
                       "'n': {'use': 'pure', 'from': 's2'}},"
                       "'sinks': {'k': {'topic': 'out', 'from': 'n'}}");
    run_send(&run, "in", 0, 77, "k", "same");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=same\n"); /* headers and timestamp too */
}

Test(engine_graph, feeds_several_nodes_from_one)
{
    run_topic(&run, "in", 1);
    run_topic(&run, "out", 1);
    run_topology(&run, "'sources': {'s': {'topic': 'in'}}, 'operators': {"
                       "'x': {'use': 'pure', 'from': 's'}, 'y': {'use': 'pure', 'from': ['s', 'x']}"
                       "}, 'sinks': {'k': {'topic': 'out', 'from': ['x', 'y']}}");
    run_send(&run, "in", 0, 100, "k", "part");
    run_all(&run, NULL);
    cr_assert_eq(run_count_log(&run, "skipped topic"), 0);
    run_send(&run, "in", 0, 100, "k", "where");
    run_all(&run, NULL);
    /* x forwards to y, where "x 0" is no statement, and to the sink; then s feeds y. */
    cr_assert_not_null(strstr(run_output(&run, "out"), "k=x 0\n"));
}

Test(engine_graph, gives_the_origin_of_the_record_to_every_node_below)
{
    run_topic(&run, "in", 2);
    run_topic(&run, "out", 1);
    run_topology(&run, "'sources': {'s': {'topic': 'in'}}, 'operators': {"
                       "'n': {'use': 'pure', 'from': 's'},"
                       "'m': {'use': 'pure', 'from': 'n', 'params': {'do': 'where;part'}}},"
                       "'sinks': {'k': {'topic': 'out', 'from': 'm'}}");
    run_send(&run, "in", 1, 100, "k", "on never;fwd x");
    run_send(&run, "in", 1, 100, "k", "fwd x");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=in/1@1\nk=m 1\n");
}

Test(engine_graph, gives_no_origin_to_what_a_timer_made)
{
    run_topic(&run, "in", 1);
    run_topic(&run, "out", 1);
    run_topology(&run, "'sources': {'s': {'topic': 'in'}}, 'operators': {"
                       "'n': {'use': 'script', 'from': 's'},"
                       "'m': {'use': 'pure', 'from': 'n', 'params': {'do': 'where'}}},"
                       "'sinks': {'k': {'topic': 'out', 'from': 'm'}}");
    run_send(&run, "in", 0, 100, "k", "set s 1 50 x");
    run_all(&run, NULL);
    run_expect(&run, "out", "t=made by a timer\n");
}

/* ---- Topics and partitions ---- */

Test(engine_graph, reads_several_topics_in_one_source_and_different_partition_counts)
{
    run_topic(&run, "one", 1);
    run_topic(&run, "three", 3);
    run_topic(&run, "out", 1);
    run_topology(&run, "'sources': {'s': {'topics': ['one', 'three']}}, 'operators': {"
                       "'n': {'use': 'pure', 'from': 's'}},"
                       "'sinks': {'k': {'topic': 'out', 'from': 'n'}}");
    run_send(&run, "one", 0, 100, "k", "where");
    run_send(&run, "three", 0, 200, "k", "where");
    run_send(&run, "three", 2, 300, "k", "where");
    run_all(&run, NULL);
    cr_assert_not_null(strstr(run_output(&run, "out"), "k=one/0@0\n"));
    cr_assert_not_null(strstr(run_output(&run, "out"), "k=three/0@0\n"));
    cr_assert_not_null(strstr(run_output(&run, "out"), "k=three/2@0\n"));
}

Test(engine_graph, refuses_different_partition_counts_where_state_is_kept)
{
    run_topic(&run, "one", 1);
    run_topic(&run, "three", 3);
    run_topic(&run, "out", 1);
    run_topology(&run, "'sources': {'s': {'topics': ['one', 'three']}}, 'operators': {"
                       "'n': {'use': 'script', 'from': 's'}},"
                       "'sinks': {'k': {'topic': 'out', 'from': 'n'}}");
    cr_assert_eq(run_to_end(&run, NULL), 1);
    run_expect_log(&run, "three has 3, one has 1");
}

Test(engine_graph, places_keys_as_java_does_and_null_keys_anywhere)
{
    run_topic(&run, "in", 1);
    run_topic(&run, "out", 10);
    run_topology(&run, "'sources': {'s': {'topic': 'in'}},"
                       "'sinks': {'k': {'topic': 'out', 'from': 's'}}");
    /* murmur2 of Kafka's own tests: "21" -973932308, "foobar" -790332482,
       "a-little-bit-long-string" -985981536, "a-little-bit-longer-string" -1486304829; toPositive,
       modulo 10. */
    run_send(&run, "in", 0, 1, "21", "1");
    run_send(&run, "in", 0, 1, "foobar", "2");
    run_send(&run, "in", 0, 1, "a-little-bit-long-string", "3");
    run_send(&run, "in", 0, 1, "a-little-bit-longer-string", "4");
    run_all(&run, NULL);
    char expected[512];
    const int hashes[] = {-973932308, -790332482, -985981536, -1486304829};
    const char *const keys[] = {"21", "foobar", "a-little-bit-long-string",
                                "a-little-bit-longer-string"};
    for (int i = 0; i < 4; i++) {
        (void)snprintf(expected, sizeof expected, "%d:%s=%d\n", (hashes[i] & 0x7fffffff) % 10,
                       keys[i], i + 1);
        cr_assert_not_null(strstr(run_output(&run, "out"), expected), "%s%s", expected,
                           run_output(&run, "out"));
    }
    for (int i = 0; i < 20; i++) {
        run_send(&run, "in", 0, 1, NULL, "x");
    }
    run_all(&run, NULL);
    int partitions = 0;
    for (int p = 0; p < 10; p++) {
        (void)snprintf(expected, sizeof expected, "%d:null=x\n", p);
        partitions += strstr(run_output(&run, "out"), expected) != NULL;
    }
    cr_assert_gt(partitions, 2); /* not all in one: 10^-18 */
}

Test(engine_graph, keeps_the_partition_where_the_sink_says_so)
{
    run_topic(&run, "in", 3);
    run_topic(&run, "out", 3);
    run_topology(&run, "'sources': {'s': {'topic': 'in'}}, 'sinks': {'k': {'topic': 'out', "
                       "'from': 's', 'partition': 'source'}}");
    run_send(&run, "in", 0, 1, "same", "a");
    run_send(&run, "in", 1, 1, "same", "b");
    run_send(&run, "in", 2, 1, NULL, "c");
    run_all(&run, NULL);
    run_expect(&run, "out", "0:same=a\n1:same=b\n2:null=c\n");
}

Test(engine_graph, needs_as_many_partitions_in_a_sink_that_keeps_them)
{
    run_topic(&run, "in", 3);
    run_topic(&run, "out", 2);
    run_topology(&run, "'sources': {'s': {'topic': 'in'}}, 'sinks': {'k': {'topic': 'out', "
                       "'from': 's', 'partition': 'source'}}");
    cr_assert_eq(run_to_end(&run, NULL), 1);
    run_expect_log(&run, "topic out has 2 partitions and its input in has 3");
}

Test(engine_graph, names_a_missing_topic_and_how_to_create_it)
{
    run_topic(&run, "in", 1);
    run_topology(&run, "'sources': {'s': {'topic': 'in'}}, 'sinks': {'k': {'topic': 'out', "
                       "'from': 's'}}");
    cr_assert_eq(run_to_end(&run, NULL), 1);
    run_expect_log(&run, "topic out of sink \"k\" does not exist; create it with: topology topics");
    run_topology(&run, "'sources': {'s': {'topic': 'no'}}, 'sinks': {'k': {'topic': 'in', "
                       "'from': 's'}}");
    cr_assert_eq(run_to_end(&run, NULL), 1);
    run_expect_log(&run, "topic no of source \"s\" does not exist");
}

/* ---- Merged inputs ---- */

static void two_inputs(const char *idle)
{
    char text[1024];
    run_topic(&run, "l", 1);
    run_topic(&run, "r", 1);
    run_topic(&run, "out", 1);
    (void)snprintf(text, sizeof text,
                   "'sources': {'sl': {'topic': 'l', 'idle': '%s'}, 'sr': {'topic': 'r', 'idle': "
                   "'%s'}}, 'operators': {'n': {'use': 'pure', 'from': {'left': 'sl', "
                   "'right': 'sr'}}}, 'sinks': {'k': {'topic': 'out', 'from': 'n'}}",
                   idle, idle);
    run_topology(&run, text);
}

Test(engine_graph, merges_two_inputs_in_order_of_time)
{
    two_inputs("0ms");
    for (int i = 0; i < 5; i++) {
        char value[32];
        (void)snprintf(value, sizeof value, "fwd l%d", i);
        run_send(&run, "l", 0, 100 + i * 20, "k", value);
        (void)snprintf(value, sizeof value, "fwd r%d", i);
        run_send(&run, "r", 0, 110 + i * 20, "k", value);
    }
    run_send(&run, "l", 0, 95, "k", "fwd back"); /* one partition is never reordered */
    run_all(&run, NULL);
    run_expect(&run, "out", "k=l0\nk=r0\nk=l1\nk=r1\nk=l2\nk=r2\nk=l3\nk=r3\nk=l4\nk=back\nk=r4\n");
}

Test(engine_graph, goes_on_with_one_input_when_the_other_is_at_its_end)
{
    two_inputs("0ms");
    run_send(&run, "l", 0, 500, "k", "fwd one");
    run_send(&run, "l", 0, 600, "k", "fwd two");
    run_start(&run, NULL);
    run_await(&run, "out", 2);
    run_send(&run, "r", 0, 100, "k", "fwd late");
    run_await(&run, "out", 3);
    cr_assert_eq(run_signal(&run, SIGTERM), 0);
    run_expect(&run, "out", "k=one\nk=two\nk=late\n");
}

Test(engine_graph, waits_for_an_input_at_its_end_as_long_as_idle_says)
{
    two_inputs("600ms");
    run_send(&run, "l", 0, 500, "k", "fwd one");
    run_start(&run, NULL);
    run_await_log(&run, "running");
    run_send(&run, "r", 0, 100, "k", "fwd earlier");
    run_await(&run, "out", 2);
    cr_assert_eq(run_signal(&run, SIGTERM), 0);
    run_expect(&run, "out", "k=earlier\nk=one\n");
}

Test(engine_graph, pauses_an_input_that_is_far_ahead_and_loses_nothing_of_it)
{
    two_inputs("0ms");
    run_send_many(&run, "l", 0, 1000000, 1, 25000, "on never;fwd x");
    run_send_many(&run, "r", 0, 1000, 1, 12000, "on never;fwd x");
    run_send(&run, "r", 0, 1010000, "k", "fwd r");
    run_send(&run, "l", 0, 1030000, "k", "fwd l");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=r\nk=l\n");
    run_expect_log(&run, "records_in=37002");
}

/* ---- Sub-topologies and workers ---- */

static const char *const grouped =
    "'sources': {'s': {'topic': 'in'}}, 'operators': {"
    "'rekey': {'use': 'pure', 'from': 's', 'params': {'do': 'key one;pass;key two;pass'}},"
    "'sum': {'use': 'aggregate', 'from': 'g', 'params': {'function': 'count'}}},"
    "'repartitions': {'g': {'from': 'rekey', 'partitions': 4}},"
    "'sinks': {'k': {'topic': 'out', 'from': 'sum'}}";

Test(engine_graph, regroups_by_key_with_several_workers)
{
    run_topic(&run, "in", 4);
    run_topic(&run, "out", 1);
    run_topology(&run, grouped);
    for (int p = 0; p < 4; p++) {
        run_send_many(&run, "in", p, 1000, 1, 500, "x");
    }
    run_all(&run, "--set workers=4");
    const char *found = run_output(&run, "out");
    cr_assert_not_null(strstr(found, "k=4000\n"), "%s", run.log); /* pass keeps the record's key */
    cr_assert_null(strstr(found, "k=4001\n"));
    cr_assert_eq(run_count_log(&run, "created topic=t-g-repartition partitions=4"), 1);
    run_send_many(&run, "in", 1, 1000, 1, 10, "x");
    run_all(&run, "--set workers=2");
    cr_assert_not_null(strstr(run_output(&run, "out"), "k=4020\n"), "%s", run.log);
}

Test(engine_graph, makes_a_repartition_as_large_as_the_largest_source_above)
{
    run_topic(&run, "in", 3);
    run_topic(&run, "out", 1);
    run_topology(&run, "'sources': {'s': {'topic': 'in'}}, 'operators': {"
                       "'n': {'use': 'script', 'from': 'g', 'params': {'do': 'pass'}}},"
                       "'repartitions': {'g': {'from': 's'}},"
                       "'sinks': {'k': {'topic': 'out', 'from': 'n'}}");
    run_send(&run, "in", 2, 1000, "k", "x");
    run_all(&run, NULL);
    run_expect_log(&run, "created topic=t-g-repartition partitions=3");
    run_expect_log(&run, "created topic=t-g-changelog partitions=3");
    run_expect(&run, "out", "k=x\n");
}

Test(engine_graph, deletes_what_was_read_of_a_repartition)
{
    run_topic(&run, "in", 1);
    run_topic(&run, "out", 1);
    run_topology(&run, grouped);
    run_send_many(&run, "in", 0, 1000, 1, 100, "x");
    run_all(&run, NULL);
    run_start(&run, NULL); /* the first look of a run is at its first commit */
    run_await_log(&run, "running");
    run_send(&run, "in", 0, 5000, "k", "x");
    run_await(&run, "out", 202);
    int64_t start = 0;
    int64_t end = 0;
    int64_t left = 0;
    for (int i = 0; i < 300; i++) {
        left = 0;
        for (int32_t p = 0; p < 4; p++) {
            struct error error;
            cr_assert_eq(broker_log_range(run.broker, "t-g-repartition", p, &start, &end, &error),
                         STATUS_OK);
            left += end - start;
        }
        if (left <= 4) {
            break;
        }
        run_pause(10);
    }
    cr_assert_eq(run_signal(&run, SIGTERM), 0);
    cr_assert_leq(left, 4);
}

Test(engine_graph, stops_every_worker_when_one_meets_a_bad_record)
{
    run_topic(&run, "in", 2);
    run_topic(&run, "out", 2);
    run_topology(&run, "'sources': {'s': {'topic': 'in'}}, 'operators': {"
                       "'n': {'use': 'pure', 'from': 's'}}, 'sinks': {'k': {'topic': 'out', "
                       "'from': 'n', 'partition': 'source'}}");
    run_send(&run, "in", 0, 100, "k", "fwd one");
    run_start(&run, "--set workers=2");
    run_await(&run, "out", 1);
    run_send(&run, "in", 1, 100, "k", "bad broken");
    cr_assert_eq(run_wait(&run), 1);
    run_expect_log(&run, "topology: topic in partition 1 offset 0: node \"n\": broken");
    run_expect(&run, "out", "0:k=one\n");
}
