/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_run.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct run run;

/* A node "n" with these parameters, between "in" and "out". */
static void topology(const char *params)
{
    char text[1024];
    (void)snprintf(text, sizeof text,
                   "'sources': {'s': {'topic': 'in'}},"
                   "'operators': {'n': {'use': 'script', 'from': 's'%s}},"
                   "'sinks': {'k': {'topic': 'out', 'from': 'n'}}",
                   params);
    run_topology(&run, text);
}

static void set_up(void)
{
    run_init(&run);
    run_topic(&run, "in", 1);
    run_topic(&run, "out", 1);
    topology("");
}
static void clean_up(void)
{
    run_finish(&run);
}
TestSuite(engine_timers, .init = set_up, .fini = clean_up, .timeout = 60);

static void say(int64_t timestamp_ms, const char *script)
{
    run_send(&run, "in", 0, timestamp_ms, "k", script);
}

Test(engine_timers, of_stream_time_fire_in_order_of_time)
{
    say(100, "set s 1 300 c;set s 2 200 b;set s 3 250 a;set s 4 900 z;fwd set");
    say(500, "fwd next");
    run_all(&run, NULL);
    run_expect(&run, "out",
               "k=set\nt=stream 2 200 b\nt=stream 3 250 a\nt=stream 1 300 c\nk=next\n");
}

Test(engine_timers, made_due_by_a_record_fire_before_it_and_see_its_time)
{
    topology(", 'params': {'on_timer': 'get a x;stream;where'}");
    say(100, "put a x old;set s 1 200 t");
    say(300, "put a x new");
    run_all(&run, NULL);
    run_expect(&run, "out", "t=x=old\nt=300\nt=made by a timer\n");
}

Test(engine_timers, set_in_the_past_fire_right_after_the_callback_that_set_them)
{
    say(1000, "set s 1 500 a;fwd one;set w 2 5 b;fwd two");
    say(1000, "fwd three");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=one\nk=two\nt=stream 1 500 a\nt=wall 2 b\nk=three\n");
}

Test(engine_timers, fire_before_the_record_that_made_them_due_also_around_a_stop)
{
    topology(", 'params': {'on_timer': 'mark fired;slow slept 1 500;get a x'}");
    say(100, "put a x old;set s 1 200 a;set s 1 210 b;set s 1 220 c");
    say(300, "put a x new;get a x");
    run_start(&run, NULL);
    while (run_marks(&run, "fired") == 0) {
        run_pause(5);
    }
    cr_assert_eq(run_signal(&run, SIGTERM), 0, "%s", run.log); /* while the first one runs */
    run_all(&run, NULL);
    run_expect(&run, "out", "t=x=old\nt=x=old\nt=x=old\nk=x=new\n");
}

Test(engine_timers, due_at_the_very_time_of_a_record_fire_before_it)
{
    say(100, "set s 1 200 a");
    say(200, "fwd after");
    run_all(&run, NULL);
    run_expect(&run, "out", "t=stream 1 200 a\nk=after\n");
}

Test(engine_timers, have_one_identity_by_node_kind_id_time_and_key)
{
    say(100, "set s 1 200 a;set s 1 200 a;set s 2 200 a;set s 1 201 a;set s 1 200 b;set s 1 200 a");
    say(300, "fwd end");
    run_all(&run, NULL);
    run_expect(&run, "out",
               "t=stream 1 200 a\nt=stream 1 200 b\nt=stream 2 200 a\nt=stream 1 201 a\nk=end\n");
}

Test(engine_timers, tell_a_null_key_from_an_empty_one)
{
    say(100, "set s 1 200 -;set s 1 200 '';set s 1 200 null");
    say(150, "cancel s 1 200 null");
    say(300, "fwd end");
    run_all(&run, NULL);
    run_expect(&run, "out", "t=stream 1 200 null\nt=stream 1 200 empty\nk=end\n");
}

Test(engine_timers, do_not_fire_when_cancelled)
{
    say(100, "cancel s 9 999 never;set s 1 200 a;set s 1 200 b;set s 1 210 a");
    say(110, "cancel s 1 200 a;cancel s 1 200 a;cancel s 1 210 a;cancel w 1 200 b");
    say(300, "fwd end");
    run_all(&run, NULL);
    run_expect(&run, "out", "t=stream 1 200 b\nk=end\n");
}

Test(engine_timers, may_be_set_and_cancelled_by_timers)
{
    topology(", 'params': {'on_timer': 'fired;set s 2 +100 b;cancel s 3 260 c'}");
    say(100, "set s 1 200 a;set s 3 260 c");
    say(240, "fwd one");
    say(400, "fwd two");
    say(499, "fwd three");
    run_all(&run, NULL);
    run_expect(&run, "out", "t=stream 1 200 a\nk=one\nt=stream 2 340 b\nk=two\nk=three\n");
}

Test(engine_timers, take_keys_up_to_64_kib_and_refuse_longer_ones)
{
    say(100, "set s 1 200 *65536;set s 2 200 *65000;set s 1 200 *65535:y;fwd set;try;"
             "set s 3 200 *65537;fwd alive");
    say(150, "cancel s 2 200 *65000");
    run_all(&run, NULL);
    run_delete_state(&run);
    say(300, "fwd end");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=set\nk=alive\nt=stream 1 200 long\nt=stream 1 200 long\nk=end\n");
}

Test(engine_timers, of_wall_time_fire_when_it_comes_without_any_record)
{
    say(100, "set w 1 +300 late;set w 2 +150 early;fwd set");
    run_start(&run, NULL);
    run_await(&run, "out", 3);
    cr_assert_eq(run_signal(&run, SIGTERM), 0);
    run_expect(&run, "out", "k=set\nt=wall 2 early\nt=wall 1 late\n");
}

Test(engine_timers, are_not_waited_for_by_until_end)
{
    say(100, "set w 1 +3600000 a;set s 1 5000 b;fwd set");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=set\n");
}

Test(engine_timers, survive_a_kill_and_fire_once)
{
    bool slow = getenv("LEAT_RUN_UNDER") != NULL; /* the next start must come before the timer */
    say(100,
        slow ? "set s 1 200 a;set w 2 +15000 w;fwd set" : "set s 1 200 a;set w 2 +1000 w;fwd set");
    run_start(&run, NULL);
    run_await(&run, "out", 1);
    cr_assert_eq(run_signal(&run, SIGKILL), -SIGKILL);
    say(300, "fwd end");
    run_start(&run, NULL);
    run_await(&run, "out", 4);
    cr_assert_eq(run_signal(&run, SIGKILL), -SIGKILL);
    say(400, "fwd more");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=set\nt=stream 1 200 a\nk=end\nt=wall 2 w\nk=more\n");
}

Test(engine_timers, survive_the_loss_of_the_state_directory)
{
    say(100, "set s 1 200 a;set s 2 210 -;set s 3 220 '';set s 4 230 gone;set w 5 +1 w;fwd set");
    say(110, "cancel s 4 230 gone");
    run_start(&run, NULL);
    run_await(&run, "out", 2);
    cr_assert_eq(run_signal(&run, SIGKILL), -SIGKILL);
    run_delete_state(&run);
    say(300, "fwd end");
    run_all(&run, NULL);
    run_expect(&run, "out",
               "k=set\nt=wall 5 w\nt=stream 1 200 a\nt=stream 2 210 null\nt=stream 3 220 empty\n"
               "k=end\n");
}

Test(engine_timers, whose_time_came_while_the_application_was_down_fire_at_its_start)
{
    say(100, "set w 1 +1 a;set w 2 +2 b;kill once;fwd set");
    cr_assert_eq(run_to_end(&run, NULL), -SIGKILL);
    run_expect(&run, "out", "");
    run_start(&run, NULL);
    run_await(&run, "out", 3);
    cr_assert_eq(run_signal(&run, SIGTERM), 0);
    run_expect(&run, "out", "k=set\nt=wall 1 a\nt=wall 2 b\n");
}

Test(engine_timers, do_their_work_once_through_a_kill_inside_the_callback)
{
    topology(", 'params': {'on_timer': 'put a x 1;fwd timer;set s 2 900 z;kill once'}");
    say(100, "set s 1 200 a;fwd set");
    say(300, "scan a - - f");
    cr_assert_eq(run_to_end(&run, NULL), -SIGKILL);
    run_all(&run, NULL);
    run_expect(&run, "out", "k=set\nt=timer\nk=x=1\n");
    cr_assert_eq(run_marks(&run, "once"), 2);
}

Test(engine_timers, fire_once_each_and_in_order_through_many_kills)
{
    enum { ROUNDS = 6, EACH = 8 };
    char expected[ROUNDS * EACH * 64];
    char script[64];
    size_t used = 0;
    for (int round = 0; round < ROUNDS; round++) {
        run_start(&run, round % 2 == 0 ? "--set state.flush_interval=1h" : NULL);
        for (int i = round * EACH; i < (round + 1) * EACH; i++) {
            (void)snprintf(script, sizeof script, "set s %d %d t;fwd set%s", i, 1010 + i * 10,
                           i % 3 == 0 ? ";commit" : "");
            say(1000 + i * 10, script);
            if (i > 0) { /* the one set before is due with this record */
                used += (size_t)snprintf(expected + used, sizeof expected - used,
                                         "t=stream %d %d t\n", i - 1, 1000 + i * 10);
            }
            used += (size_t)snprintf(expected + used, sizeof expected - used, "k=set\n");
        }
        /* Killed somewhere on the way, later each time; the last round ends in order. */
        run_await(&run, "out", round * EACH * 2 + round);
        cr_assert_eq(run_signal(&run, SIGKILL), -SIGKILL);
        if (round == 3) {
            run_delete_state(&run);
        }
    }
    run_all(&run, NULL);
    run_expect(&run, "out", expected);
}

Test(engine_timers, of_a_bad_record_are_undone)
{
    say(100, "set s 1 200 keep");
    say(110, "set s 2 200 gone;cancel s 1 200 keep;set s 3 50 past;bad no");
    say(300, "fwd end");
    run_all(&run, "--set on_error=skip");
    run_expect(&run, "out", "t=stream 1 200 keep\nk=end\n");
    run_expect_log(&run, "skipped topic in partition 0 offset 1: node \"n\": no");
}

Test(engine_timers, that_are_bad_leave_no_trace_but_their_line_under_skip)
{
    topology(", 'params': {'on_timer': 'put a x 1;fwd gone;set s 9 205 more;bad broken'}");
    say(100, "set s 1 200 a;set s 1 201 b");
    say(300, "get a x");
    run_all(&run, "--set on_error=skip");
    run_expect(&run, "out", "k=x:null\n");
    cr_assert_eq(run_count_log(&run, "skipped a timer of task s-0: node \"n\": broken"), 2);
    run_expect_log(&run, "skipped=2");
    say(400, "get a x");
    run_all(&run, NULL); /* they do not come back */
}

Test(engine_timers, that_are_bad_stop_the_run_under_fail_and_stay)
{
    topology(", 'params': {'on_timer': 'first tries 1 bad;fired'}");
    say(100, "set s 1 200 a;fwd set");
    say(300, "fwd end");
    cr_assert_eq(run_to_end(&run, NULL), 1);
    run_expect_log(&run, "a timer of task s-0: node \"n\"");
    run_expect(&run, "out", "k=set\n");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=set\nt=stream 1 200 a\nk=end\n");
}

Test(engine_timers, that_are_bad_are_retried_first)
{
    topology(", 'retries': 2, 'backoff': '1ms', 'params': {'on_timer': 'first tries 2 bad;fired'}");
    say(100, "set s 1 200 a;fwd set");
    say(300, "fwd end");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=set\nt=stream 1 200 a\nk=end\n");
    cr_assert_eq(run_marks(&run, "tries"), 3);
}

Test(engine_timers, have_their_own_count_of_retries_each)
{
    topology(", 'retries': 1, 'backoff': '1ms', 'params': {'on_timer': "
             "'first one 1 bad;mark two;fired'}");
    say(100, "set s 1 200 a;fwd set");
    say(300, "first three 1 bad;fwd end");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=set\nt=stream 1 200 a\nk=end\n");
}

/* ---- Schedules ---- */

Test(engine_timers, of_a_stream_schedule_count_from_the_first_record_and_skip_missed_ticks)
{
    topology(", 'params': {'init': 'every s 100 7'}");
    say(1000, "fwd first");
    say(1050, "fwd second");
    say(1100, "fwd third");
    say(1450, "fwd fourth");
    say(1499, "fwd fifth");
    say(1500, "fwd sixth");
    run_all(&run, NULL);
    run_expect(&run, "out",
               "k=first\nk=second\nt=stream 7 1100 null\nk=third\nt=stream 7 1400 null\nk=fourth\n"
               "k=fifth\nt=stream 7 1500 null\nk=sixth\n");
}

Test(engine_timers, of_a_wall_schedule_fire_again_and_again_without_records)
{
    topology(", 'params': {'init': 'every w 40 7'}");
    run_start(&run, NULL);
    run_await(&run, "out", 3);
    cr_assert_eq(run_signal(&run, SIGTERM), 0);
    cr_assert_eq(strncmp(run_output(&run, "out"), "t=wall 7 \nt=wall 7 \nt=wall 7 \n", 30), 0);
}

Test(engine_timers, and_ticks_fire_in_order_of_time_durable_ones_first)
{
    topology(", 'params': {'init': 'every s 100 7'}");
    say(1000, "set s 1 1090 a;set s 2 1100 b;set s 3 1110 c");
    say(1150, "fwd end");
    run_all(&run, NULL);
    run_expect(&run, "out",
               "t=stream 1 1090 a\nt=stream 2 1100 b\nt=stream 7 1100 null\nt=stream 3 1110 c\n"
               "k=end\n");
}

Test(engine_timers, of_a_schedule_that_are_bad_are_retried_and_then_skipped_once)
{
    topology(", 'retries': 2, 'backoff': '1ms', 'on_error': 'skip', 'params': "
             "{'init': 'every s 100 7', 'on_timer': 'first tries 4 bad;fired'}");
    say(1000, "fwd first");
    say(1100, "fwd second"); /* its tick: three times bad */
    say(1200, "fwd third");  /* its tick: bad, then good */
    run_all(&run, NULL);
    run_expect(&run, "out", "k=first\nk=second\nt=stream 7 1200 null\nk=third\n");
    cr_assert_eq(run_marks(&run, "tries"), 5);
    run_expect_log(&run, "skipped=1");
}

/* ---- Stream time ---- */

Test(engine_timers, know_the_largest_timestamp_and_keep_it_through_a_restart)
{
    say(500, "stream");
    say(400, "stream");
    run_send(&run, "in", 0, 600, "k", "stream");
    run_all(&run, NULL);
    say(100, "stream");
    run_all(&run, NULL);
    run_delete_state(&run);
    say(100, "stream");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=500\nk=500\nk=600\nk=600\nk=600\n");
}

Test(engine_timers, know_no_stream_time_before_the_first_record)
{
    topology(", 'params': {'init': 'every w 20 1', 'on_timer': 'stream'}");
    run_start(&run, NULL);
    run_await(&run, "out", 1);
    say(70, "fwd x");
    run_await(&run, "out", 5);
    cr_assert_eq(run_signal(&run, SIGTERM), 0);
    cr_assert_eq(strncmp(run_output(&run, "out"), "t=min\n", 6), 0);
    cr_assert_not_null(strstr(run_output(&run, "out"), "t=70\n"));
}
