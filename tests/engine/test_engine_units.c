/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a record: clean, bad, retried, fatal, slow. */
#include "engine_run.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static struct run run;

static void set_up(void)
{
    run_init(&run);
    run_topic(&run, "in", 1);
    run_topic(&run, "out", 1);
    run_topology(&run, "'sources': {'s': {'topic': 'in'}},"
                       "'operators': {'n': {'use': 'script', 'from': 's'}},"
                       "'sinks': {'k': {'topic': 'out', 'from': 'n'}}");
}
static void clean_up(void)
{
    run_finish(&run);
}
TestSuite(engine_units, .init = set_up, .fini = clean_up, .timeout = 60);

static void say(const char *script)
{
    run_send(&run, "in", 0, 100, "k", script);
}

/* A diamond: "top" runs the value, "left" and "right" take what it forwards, "join" both. */
static void diamond(const char *left, const char *right, const char *join)
{
    char text[2048];
    (void)snprintf(text, sizeof text,
                   "'sources': {'s': {'topic': 'in'}}, 'operators': {"
                   "'top': {'use': 'script', 'from': 's'},"
                   "'lf': {'use': 'script', 'from': 'top', 'params': {'do': '%s'}},"
                   "'rt': {'use': 'script', 'from': 'top', 'params': {'do': '%s'}},"
                   "'join': {'use': 'script', 'from': ['lf', 'rt'], 'params': {'do': '%s'}}},"
                   "'sinks': {'k': {'topic': 'out', 'from': ['join', 'top']}}",
                   left, right, join);
    run_topology(&run, text);
}

/* ---- Undone as one ---- */

Test(engine_units, reach_a_node_once_by_each_way)
{
    diamond("out 0 lf", "out 0 rt", "mem;pass");
    say("fwd x");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=1\nk=lf\nk=2\nk=rt\nk=x\n");
}

Test(engine_units, that_fail_in_one_node_leave_no_trace_in_any)
{
    say("put a top 1;put b top 1");
    say("put a top 2;rm b top;put a new 1;fwd boom;put a after 1");
    say("scan a - - f;scan b - - f");
    run_topology(&run, "'sources': {'s': {'topic': 'in'}}, 'operators': {"
                       "'top': {'use': 'script', 'from': 's'},"
                       "'lf': {'use': 'script', 'from': 'top', 'params': {'do': "
                       "'scan a - - f;put a lf 1;set s 1 50 l;pass'}},"
                       "'rt': {'use': 'script', 'from': 'top', 'params': {'do': "
                       "'on boom;bad late;scan a - - f;put a rt 1'}}},"
                       "'sinks': {'k': {'topic': 'out', 'from': ['top', 'lf', 'rt']}}");
    run_all(&run, "--set on_error=skip");
    run_expect_log(&run, "skipped topic in partition 0 offset 1: node \"rt\": late");
    /* Of the third record alone: what lf and rt hold when it comes to them, and what top holds. */
    run_expect(&run, "out",
               "k=\nk=top=1\nk=\nk=top=1\nk=lf=1\nk=top=1\nk=rt=1\nk=top=1\n"
               "t=stream 1 50 l\n");
}

Test(engine_units, restore_every_kind_of_write_when_undone)
{
    say("put a x 1;put a y '';put a z *3000;put b q 1");
    say("put a x 2;put a x 3;rm a y;put a y 5;rm a z;put a z 1;put a w 1;rm a w;put a v 1;"
        "rm b q;bad no");
    say("scan a - - f;get a y;size a z;get b q;put a x 4;rm a y");
    say("rm a x;put a y 9;put a x 7;bad no");
    say("get a x;get a y");
    run_all(&run, "--set on_error=skip");
    run_delete_state(&run);
    say("get a x;get a y;size a z;scan b - - f;scan a - - r");
    run_all(&run, NULL);
    run_expect(&run, "out",
               "k=x=1,y=,z=xxxxxxxxxxxxxxxxxxxx\nk=y:empty\nk=3000\nk=q=1\n"
               "k=x=4\nk=y:null\nk=x=4\nk=y:null\nk=3000\nk=q=1\n"
               "k=z=xxxxxxxxxxxxxxxxxxxx,x=4\n");
}

Test(engine_units, that_fail_after_a_forward_take_it_back)
{
    say("fwd one");
    say("fwd two;put a x 1;bad after");
    say("get a x");
    run_all(&run, "--set on_error=skip");
    run_expect(&run, "out", "k=one\nk=x:null\n");
}

Test(engine_units, are_bad_when_a_node_below_says_so_whatever_the_caller_returns)
{
    run_topology(&run, "'sources': {'s': {'topic': 'in'}}, 'operators': {"
                       "'n': {'use': 'script', 'from': 's', 'on_error': 'fail'},"
                       "'m': {'use': 'script', 'from': 'n', 'on_error': 'skip', 'params': "
                       "{'do': 'on boom;bad below;pass'}}},"
                       "'sinks': {'k': {'topic': 'out', 'from': 'm'}}");
    say("put a x 1;try;fwd boom;put a y 1;fwd fine");
    say("get a x;get a y");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=x:null\nk=y:null\n");
    run_expect_log(&run, "skipped topic in partition 0 offset 0: node \"m\": below");
    run_expect_log(&run, "skipped=1");
}

/* ---- Policies ---- */

Test(engine_units, that_are_bad_stop_the_run_and_name_the_place)
{
    say("fwd one");
    say("fwd two;bad broken");
    say("fwd three");
    cr_assert_eq(run_to_end(&run, NULL), 1);
    run_expect_log(&run, "topology: topic in partition 0 offset 1: node \"n\": broken");
    run_expect(&run, "out", "k=one\n"); /* what came before is done */
    cr_assert_eq(run_to_end(&run, NULL), 1);
    run_all(&run, "--set operators.n.on_error=skip");
    run_expect(&run, "out", "k=one\nk=three\n");
}

Test(engine_units, are_skipped_counted_and_passed_for_good_under_skip)
{
    for (int i = 0; i < 5; i++) {
        say("bad broken");
    }
    run_all(&run, "--set on_error=skip");
    run_expect_log(&run, "skipped topic in partition 0 offset 4: node \"n\": broken");
    run_expect_log(&run, "skipped=5");
    run_all(&run, NULL);
    run_expect_log(&run, "records_in=0");
}

Test(engine_units, meet_the_policy_of_the_node_that_failed)
{
    run_topology(&run, "'on_error': 'skip', 'sources': {'s': {'topic': 'in'}}, 'operators': {"
                       "'n': {'use': 'script', 'from': 's'},"
                       "'m': {'use': 'script', 'from': 'n', 'on_error': 'fail', 'params': "
                       "{'do': 'on boom;bad below;pass'}}},"
                       "'sinks': {'k': {'topic': 'out', 'from': 'm'}}");
    say("bad above");
    say("fwd fine");
    say("fwd boom");
    cr_assert_eq(run_to_end(&run, NULL), 1);
    run_expect_log(&run, "skipped topic in partition 0 offset 0: node \"n\": above");
    run_expect_log(&run, "topology: topic in partition 0 offset 2: node \"m\": below");
    run_expect(&run, "out", "k=fine\n");
}

Test(engine_units, are_run_again_as_often_as_retries_say_with_what_came_before_committed)
{
    run_topology(&run, "'sources': {'s': {'topic': 'in'}}, 'operators': {"
                       "'n': {'use': 'script', 'from': 's', 'retries': 2, 'backoff': '20ms'}},"
                       "'sinks': {'k': {'topic': 'out', 'from': 'n'}}");
    say("mem");
    say("put a x 1;first two 2 bad;mem");
    say("first three 3 bad;fwd never");
    cr_assert_eq(run_to_end(&run, NULL), 1);
    run_expect(&run, "out", "k=1\nk=2\n");
    cr_assert_eq(run_marks(&run, "two"), 3);
    cr_assert_eq(run_marks(&run, "three"), 3);
    run_expect_log(&run, "retry 2 of 2: node \"n\": the script says so");
}

Test(engine_units, wait_for_their_backoff_without_being_judged_when_the_run_stops)
{
    run_topology(&run, "'sources': {'s': {'topic': 'in'}}, 'operators': {"
                       "'n': {'use': 'script', 'from': 's', 'retries': 3, 'backoff': '40s'}},"
                       "'sinks': {'k': {'topic': 'out', 'from': 'n'}}");
    say("fwd one");
    say("first two 2 bad;fwd two");
    run_start(&run, NULL);
    run_await_log(&run, "retry 1 of 3");
    run_await(&run, "out", 1);
    cr_assert_eq(run_signal(&run, SIGTERM), 0, "%s", run.log);
    run_all(&run, NULL);
    run_expect(&run, "out", "k=one\nk=two\n");
}

/* ---- Retry, fatal and what is no status ---- */

Test(engine_units, that_ask_for_a_retry_are_aborted_and_replayed_with_fresh_memory)
{
    say("put a x 1;mem");
    say("mem;get a x;put a x 2;first tries 2 retry;mem");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=1\nk=1\nk=x=1\nk=2\n");
    cr_assert_eq(run_marks(&run, "tries"), 3);
    run_expect_log(&run, "recovering: topic in partition 0 offset 1: node \"n\"");
}

/* Seconds and ms of the log line that holds `at`; answers 2. */
static int read_time(const char *at, int *seconds, int *ms)
{
    while (at > run.log && at[-1] != '\n') {
        at--;
    }
    return sscanf(at, "time=%*d-%*d-%*dT%*d:%*d:%d.%dZ", seconds, ms);
}

Test(engine_units, back_off_longer_each_time_they_are_retried)
{
    say("first tries 4 retry;fwd done");
    run_start(&run, "--until-end");
    cr_assert_eq(run_wait(&run), 0);
    run_expect(&run, "out", "k=done\n");
    /* 20 + 40 + 80 + 160 ms lie between the first and the last. */
    const char *first = strstr(run.log, "recovering:");
    const char *last = first;
    for (const char *at = first; at != NULL; at = strstr(at + 1, "recovering:")) {
        last = at;
    }
    cr_assert_eq(run_count_log(&run, "recovering:"), 4);
    int from = 0, from_ms = 0, to = 0, to_ms = 0;
    cr_assert_eq(read_time(first, &from, &from_ms), 2);
    cr_assert_eq(read_time(last, &to, &to_ms), 2);
    int took_ms = (to - from + 60) % 60 * 1000 + to_ms - from_ms;
    cr_assert_geq(took_ms, 140, "%d ms:\n%s", took_ms, run.log);
}

Test(engine_units, that_are_fatal_stop_the_run_under_any_policy)
{
    say("fatal worn_out");
    cr_assert_eq(run_to_end(&run, "--set on_error=skip"), 1);
    run_expect_log(&run, "topology: topic in partition 0 offset 0: node \"n\": worn_out");
}

Test(engine_units, that_return_not_found_stop_the_run_with_the_explanation)
{
    say("status 1");
    cr_assert_eq(run_to_end(&run, "--set on_error=skip"), 1);
    run_expect_log(&run,
                   "node \"n\": its callback returned LEAT_NOT_FOUND, which only leat_get and "
                   "leat_next answer");
}

Test(engine_units, that_return_no_status_stop_the_run_and_name_the_value)
{
    say("status 4711");
    cr_assert_eq(run_to_end(&run, "--set on_error=skip"), 1);
    run_expect_log(&run, "node \"n\": its callback returned 4711, which is no status");
    say("fwd x");
}

Test(engine_units, that_return_a_status_below_the_known_ones_stop_the_run)
{
    say("status -4");
    cr_assert_eq(run_to_end(&run, "--set on_error=skip"), 1);
    run_expect_log(&run, "its callback returned -4, which is no status");
}

Test(engine_units, that_ask_for_a_retry_for_ever_do_not_hinder_a_stop)
{
    say("fwd one");
    say("retry never");
    run_start(&run, NULL);
    run_await_log(&run, "recovering: topic in partition 0 offset 1: node \"n\": never");
    run_await(&run, "out", 1); /* what came before is done meanwhile */
    cr_assert_eq(run_signal(&run, SIGTERM), 0, "%s", run.log);
    run_expect(&run, "out", "k=one\n");
}

Test(engine_units, come_after_an_init_that_asked_for_a_retry)
{
    run_topology(&run, "'sources': {'s': {'topic': 'in'}}, 'operators': {'n': {'use': 'script', "
                       "'from': 's', 'params': {'init': 'closing closed;first inits 2 retry'}}},"
                       "'sinks': {'k': {'topic': 'out', 'from': 'n'}}");
    say("fwd one");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=one\n");
    cr_assert_eq(run_marks(&run, "inits"), 3);
    cr_assert_eq(run_marks(&run, "closed"), 1); /* no close after an init that failed */
}

Test(engine_units, have_one_close_for_each_init)
{
    run_topology(&run, "'sources': {'s': {'topic': 'in'}}, 'operators': {'n': {'use': 'script', "
                       "'from': 's', 'params': {'init': 'mark inits;closing closed'}}},"
                       "'sinks': {'k': {'topic': 'out', 'from': 'n'}}");
    say("first tries 3 retry;fwd one");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=one\n");
    cr_assert_eq(run_marks(&run, "inits"), 4);
    cr_assert_eq(run_marks(&run, "closed"), 4);
    say("fatal now");
    cr_assert_eq(run_to_end(&run, NULL), 1);
    cr_assert_eq(run_marks(&run, "closed"), 5);
}

/* ---- Forwards ---- */

Test(engine_units, may_forward_to_an_output_that_nobody_takes)
{
    say("out 2 lost;out 1 lost;fwd kept");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=kept\n");
}

Test(engine_units, that_forward_to_an_unknown_output_stop_the_run)
{
    say("try;out 3 lost;fwd kept");
    cr_assert_eq(run_to_end(&run, "--set on_error=skip"), 1);
    run_expect_log(&run,
                   "topic in partition 0 offset 0: node \"n\": forwards to output 3, but has 3");
}

Test(engine_units, that_forward_a_timestamp_below_0_are_bad)
{
    say("at -1;fwd x");
    say("at 0;fwd y");
    run_all(&run, "--set on_error=skip");
    run_expect(&run, "out", "k=y\n");
    run_expect_log(&run,
                   "skipped topic in partition 0 offset 0: node \"n\": forwards a record with a "
                   "timestamp below 0");
}

Test(engine_units, that_do_what_is_allowed_in_init_alone_stop_the_run)
{
    say("try;every s 10 1;fwd x");
    cr_assert_eq(run_to_end(&run, "--set on_error=skip"), 1);
    run_expect_log(&run, "leat_schedule is not allowed here");
}

Test(engine_units, of_an_operator_without_timers_may_not_set_one)
{
    run_topology(&run, "'sources': {'s': {'topic': 'in'}}, 'operators': {'n': {'use': 'pure', "
                       "'from': 's'}}, 'sinks': {'k': {'topic': 'out', 'from': 'n'}}");
    say("set s 1 100 x");
    cr_assert_eq(run_to_end(&run, NULL), 1);
    run_expect_log(&run, "the operator sets a timer but has no timer callback");
}

/* ---- Commits and counts ---- */

Test(engine_units, are_committed_at_once_when_they_ask_for_it)
{
    say("fwd one;commit");
    say("sleep 60000");
    run_start(&run, "--set commit.interval=5s");
    run_await(&run, "out", 1);
    cr_assert_eq(run_signal(&run, SIGKILL), -SIGKILL);
}

Test(engine_units, are_committed_by_count_before_the_interval_is_over)
{
    say("fwd one");
    say("fwd two");
    say("sleep 60000");
    run_start(&run, "--set commit.interval=5s --set commit.records=2");
    run_await(&run, "out", 2);
    cr_assert_eq(run_signal(&run, SIGKILL), -SIGKILL);
}

Test(engine_units, are_committed_by_size_before_the_interval_is_over)
{
    say("fwd *3000");
    say("sleep 60000");
    run_start(&run, "--set commit.interval=5s --set commit.size=2KiB");
    run_await(&run, "out", 1);
    cr_assert_eq(run_signal(&run, SIGKILL), -SIGKILL);
}

Test(engine_units, are_committed_by_the_size_of_what_they_put_too)
{
    say("put a x *3000000;fwd one");
    say("sleep 60000");
    run_start(&run, "--set commit.interval=5s --set commit.size=2MiB");
    run_await(&run, "out", 1);
    cr_assert_eq(run_signal(&run, SIGKILL), -SIGKILL);
}

Test(engine_units, show_their_counts_in_the_statistics_line)
{
    say("count apples 3;count pears 1");
    say("count apples 4");
    run_all(&run, NULL);
    run_expect_log(&run, "records_in=2");
    run_expect_log(&run, "n.apples=7");
    run_expect_log(&run, "n.pears=1");
}

/* ---- Slow callbacks ---- */

Test(engine_units, that_are_too_slow_three_times_are_bad_without_a_fourth)
{
    say("fwd one");
    say("mark calls;sleep 130;fwd slow");
    say("fwd three");
    run_all(&run, "--set on_error=skip --set broker.session_timeout=100ms "
                  "--set callback_timeout=100ms");
    run_expect(&run, "out", "k=one\nk=three\n");
    cr_assert_eq(run_marks(&run, "calls"), 3);
    run_expect_log(&run, "skipped topic in partition 0 offset 1: a callback of task s-0 took");
}

Test(engine_units, that_were_slow_twice_are_done_when_they_are_fast_again)
{
    say("slow calls 2 130;fwd slow");
    run_all(&run, "--set broker.session_timeout=100ms --set callback_timeout=100ms");
    run_expect(&run, "out", "k=slow\n");
    cr_assert_eq(run_marks(&run, "calls"), 3);
}

Test(engine_units, of_timers_that_are_too_slow_three_times_are_bad_without_a_fourth)
{
    run_topology(&run, "'sources': {'s': {'topic': 'in'}}, 'operators': {'n': {'use': 'script', "
                       "'from': 's', 'params': {'on_timer': 'mark calls;sleep 130;fired'}}},"
                       "'sinks': {'k': {'topic': 'out', 'from': 'n'}}");
    say("set s 1 150 a;fwd set");
    run_send(&run, "in", 0, 200, "k", "fwd end");
    run_all(&run, "--set on_error=skip --set broker.session_timeout=100ms "
                  "--set callback_timeout=100ms");
    run_expect(&run, "out", "k=set\nk=end\n");
    cr_assert_eq(run_marks(&run, "calls"), 3);
    run_expect_log(&run, "skipped a timer of task s-0: a callback of task s-0 took");
}

Test(engine_units, of_several_slow_timers_are_counted_apart)
{
    run_topology(&run, "'sources': {'s': {'topic': 'in'}}, 'operators': {'n': {'use': 'script', "
                       "'from': 's', 'params': {'on_timer': 'slow calls 2 130;fired'}}},"
                       "'sinks': {'k': {'topic': 'out', 'from': 'n'}}");
    say("set s 1 150 a;set s 2 160 b;fwd set");
    run_send(&run, "in", 0, 200, "k", "fwd end");
    run_all(&run, "--set broker.session_timeout=100ms --set callback_timeout=100ms");
    run_expect(&run, "out", "k=set\nt=stream 1 150 a\nt=stream 2 160 b\nk=end\n");
}

Test(engine_units, of_a_slow_schedule_are_skipped_after_three_and_stop_nothing)
{
    run_topology(&run, "'sources': {'s': {'topic': 'in'}}, 'operators': {'n': {'use': 'script', "
                       "'from': 's', 'params': {'init': 'every s 10 1', 'on_timer': "
                       "'slow calls 3 130;fired'}}},"
                       "'sinks': {'k': {'topic': 'out', 'from': 'n'}}");
    run_send(&run, "in", 0, 100, "k", "fwd one");
    run_send(&run, "in", 0, 110, "k", "fwd two");
    run_send(&run, "in", 0, 120, "k", "fwd three");
    run_send(&run, "in", 0, 130, "k", "fwd four");
    run_send(&run, "in", 0, 140, "k", "fwd five");
    run_all(&run, "--set on_error=skip --set broker.session_timeout=100ms "
                  "--set callback_timeout=100ms");
    cr_assert_not_null(strstr(run_output(&run, "out"), "k=five\n"), "%s", run.log);
    cr_assert_not_null(strstr(run_output(&run, "out"), "t=stream 1 140 null\n"), "%s", run.log);
}

Test(engine_units, longer_than_session_and_transaction_time_out_are_done_once)
{
    say("fwd one");
    say("mark calls;sleep 900;fwd two");
    say("mark calls;sleep 900;fwd three");
    run_all(&run, "--set broker.session_timeout=300ms --set broker.transaction_timeout=400ms "
                  "--set callback_timeout=5s");
    run_expect(&run, "out", "k=one\nk=two\nk=three\n");
    cr_assert_leq(run_marks(&run, "calls"), 4, "%s",
                  run.log); /* once, and once more after a death */
}

/* ---- Refused by the output ---- */

static void small_output(void)
{
    run_topic_with(&run, "small", 1, "max.message.bytes", "1000");
    run_topology(&run, "'sources': {'s': {'topic': 'in'}},"
                       "'operators': {'n': {'use': 'script', 'from': 's'}},"
                       "'sinks': {'k': {'topic': 'small', 'from': 'n'}}");
    say("put a x 1;fwd one");
    say("put a x 2;fwd *2000");
    say("get a x");
}

Test(engine_units, whose_output_is_refused_stop_the_run_and_name_the_place)
{
    small_output();
    cr_assert_eq(run_to_end(&run, NULL), 1);
    run_expect_log(&run, "topology: topic in partition 0 offset 1: ");
    run_expect(&run, "small", "k=one\n");
    cr_assert_eq(run_to_end(&run, NULL), 1);
    run_expect(&run, "small", "k=one\n");
}

Test(engine_units, whose_output_is_refused_are_skipped_and_leave_no_trace)
{
    small_output();
    run_all(&run, "--set on_error=skip");
    run_expect(&run, "small", "k=one\nk=x=1\n");
    run_expect_log(&run, "skipped topic in partition 0 offset 1: ");
}

Test(engine_units, of_timers_whose_output_is_refused_are_skipped_and_leave_no_trace)
{
    run_topic_with(&run, "small", 1, "max.message.bytes", "1000");
    run_topology(&run, "'sources': {'s': {'topic': 'in'}}, 'operators': {'n': {'use': 'script', "
                       "'from': 's', 'params': {'on_timer': 'mark calls;put a x 2;fwd *2000'}}},"
                       "'sinks': {'k': {'topic': 'small', 'from': 'n'}}");
    say("put a x 1;set s 1 50 a;fwd one");
    say("get a x");
    run_all(&run, "--set on_error=skip");
    run_expect(&run, "small", "k=one\nk=x=1\n");
    cr_assert_eq(run_marks(&run, "calls"), 1);
    run_expect_log(&run, "skipped a timer of task s-0: ");
}

Test(engine_units, that_are_refused_in_several_partitions_do_not_hinder_each_other)
{
    run_topic(&run, "many", 3);
    run_topic_with(&run, "small", 3, "max.message.bytes", "1000");
    run_topology(&run, "'sources': {'s': {'topic': 'many'}},"
                       "'operators': {'n': {'use': 'pure', 'from': 's'}},"
                       "'sinks': {'k': {'topic': 'small', 'from': 'n', 'partition': 'source'}}");
    for (int32_t p = 0; p < 3; p++) {
        for (int i = 0; i < 3; i++) {
            run_send(&run, "many", p, 100, "k", "fwd *2000");
            run_send(&run, "many", p, 100, "k", "fwd one");
        }
    }
    run_all(&run, "--set on_error=skip");
    run_expect(&run, "small",
               "0:k=one\n0:k=one\n0:k=one\n1:k=one\n1:k=one\n1:k=one\n"
               "2:k=one\n2:k=one\n2:k=one\n");
    run_expect_log(&run, "skipped=9");
}
