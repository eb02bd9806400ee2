/* SPDX-License-Identifier: Apache-2.0 */
/* Where a run begins: start, lost offsets, flushed or not, changed topologies, the self-check. */
#include "engine_run.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct run run;

static const char *const plain = "'sources': {'s': {'topic': 'in'}},"
                                 "'operators': {'n': {'use': 'script', 'from': 's'}},"
                                 "'sinks': {'k': {'topic': 'out', 'from': 'n'}}";
static const char *const stateless = "'sources': {'s': {'topic': 'in'}},"
                                     "'operators': {'n': {'use': 'pure', 'from': 's'}},"
                                     "'sinks': {'k': {'topic': 'out', 'from': 'n'}}";

static void set_up(void)
{
    run_init(&run);
    run_topic(&run, "in", 1);
    run_topic(&run, "out", 1);
    run_topology(&run, plain);
}
static void clean_up(void)
{
    run_finish(&run);
}
TestSuite(engine_restart, .init = set_up, .fini = clean_up, .timeout = 60);

static void say(const char *script)
{
    run_send(&run, "in", 0, 100, "k", script);
}

static void delete_before(const char *topic, int64_t before)
{
    struct error error;
    cr_assert_eq(broker_delete_records(run.broker, topic, 0, before, &error), STATUS_OK, "%s",
                 error.text);
}

/* ---- start ---- */

Test(engine_restart, begins_at_the_start_of_the_log_by_default)
{
    say("fwd one");
    say("fwd two");
    delete_before("in", 1);
    run_all(&run, NULL);
    run_expect(&run, "out", "k=two\n");
}

Test(engine_restart, begins_at_the_end_where_start_is_latest_and_only_once)
{
    say("fwd one");
    run_all(&run, "--set sources.s.start=latest");
    say("fwd two");
    run_all(&run, "--set sources.s.start=latest");
    say("fwd three");
    run_all(&run, "--set sources.s.start=earliest");
    run_expect(&run, "out", "k=two\nk=three\n");
}

Test(engine_restart, does_not_begin_where_start_is_stop_and_nothing_was_committed)
{
    say("fwd one");
    cr_assert_eq(run_to_end(&run, "--set sources.s.start=stop"), 1);
    run_expect_log(&run, "topic in has no committed offset and \"start\" is \"stop\"");
    run_all(&run, NULL);
    say("fwd two");
    run_all(&run, "--set sources.s.start=stop");
    run_expect(&run, "out", "k=one\nk=two\n");
}

/* ---- on_offset_lost ---- */

static void lose_offsets(void)
{
    say("put a x 1;fwd one");
    run_all(&run, NULL);
    say("fwd lost");
    say("fwd lost");
    say("fwd kept;get a x");
    delete_before("in", 3);
}

Test(engine_restart, stops_where_the_committed_offset_is_no_longer_in_the_log)
{
    lose_offsets();
    cr_assert_eq(run_to_end(&run, NULL), 1);
    run_expect_log(&run, "topic in partition 0: the next offset 1 is not in the log (3 to 4)");
    run_expect_log(&run, "\"on_offset_lost\" of source \"s\"");
    run_expect(&run, "out", "k=one\n");
}

Test(engine_restart, goes_on_at_the_log_s_start_where_on_offset_lost_is_earliest)
{
    lose_offsets();
    run_all(&run, "--set sources.s.on_offset_lost=earliest");
    run_expect(&run, "out", "k=one\nk=kept\nk=x=1\n");
    run_all(&run, NULL);
}

Test(engine_restart, goes_on_at_the_log_s_end_where_on_offset_lost_is_latest)
{
    lose_offsets();
    run_all(&run, "--set sources.s.on_offset_lost=latest");
    say("fwd new");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=one\nk=new\n");
}

Test(engine_restart, takes_an_offset_beyond_the_end_for_lost)
{
    run_topology(&run, stateless);
    say("fwd one");
    run_all(&run, "--set broker.session_timeout=1s");
    run_commit_offset(&run, "in", 0, 99);
    run_start(&run, NULL);
    cr_assert_eq(run_wait(&run), 1);
    run_expect_log(&run, "topic in partition 0: the next offset 99 is not in the log (0 to 1)");
    run_all(&run, "--set sources.s.on_offset_lost=earliest");
    run_expect(&run, "out", "k=one\nk=one\n");
}

/* ---- Durability ---- */

static void count_through_kills(const char *options)
{
    for (int round = 0; round < 3; round++) {
        run_start(&run, options);
        run_await_log(&run, "running");
        for (int i = 0; i < 5; i++) {
            say("put a x *1;copy a x y;fwd done;commit");
            run_await(&run, "out", round * 5 + i + 1);
        }
        cr_assert_eq(run_signal(&run, SIGKILL), -SIGKILL);
    }
    say("scan a - - f");
    char *all = memory_format("--until-end %s", options);
    run_start(&run, all);
    free(all);
    cr_assert_eq(run_wait(&run), 0, "%s", run.log);
    cr_assert_not_null(strstr(run_output(&run, "out"), "k=x=x,y=x\n"), "%s", run.log);
}

Test(engine_restart, replays_what_a_kill_left_unflushed)
{
    count_through_kills("--set state.flush_interval=1h");
    run_expect_log(&run, "restored records=");
    run_expect_no_log(&run, "restored records=0");
    run_expect_no_log(&run, "aside");
}

Test(engine_restart, flushes_all_at_an_orderly_stop)
{
    say("put a x 1");
    run_all(&run, "--set state.flush_interval=1h");
    say("put a x 2;fwd done");
    run_all(&run, "--set state.flush_interval=1h");
    run_all(&run, "--set state.flush_interval=1h");
    run_expect_log(&run, "restored records=0");
}

Test(engine_restart, aborts_with_an_unflushed_store_lose_nothing)
{
    say("put a x 1;fwd one;commit");
    say("put a x 2;fwd two;commit");
    say("first tries 1 retry;get a x;fwd three");
    run_all(&run, "--set state.flush_interval=1h");
    run_expect(&run, "out", "k=one\nk=two\nk=x=2\nk=three\n");
}

Test(engine_restart, loses_nothing_by_kills_where_durability_is_fast)
{
    count_through_kills("--set state.durability=fast");
    run_expect_no_log(&run, "aside");
}

/* ---- Changed topologies ---- */

Test(engine_restart, warns_of_a_new_stateful_node_and_begins_it_empty)
{
    say("put a x 1;fwd one");
    run_all(&run, NULL);
    run_topology(&run,
                 "'sources': {'s': {'topic': 'in'}}, 'operators': {"
                 "'n': {'use': 'script', 'from': 's'}, 'new': {'use': 'script', 'from': 's'}},"
                 "'sinks': {'k': {'topic': 'out', 'from': ['n', 'new']}}");
    say("get a x");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=one\nk=x=1\nk=x:null\n");
    run_expect_log(&run, "the stateful nodes changed from \"n:script/a/b \" to \"n:script/a/b "
                         "new:script/a/b \"");
    run_all(&run, NULL);
    run_expect_no_log(&run, "the stateful nodes changed");
}

Test(engine_restart, keeps_the_data_and_timers_of_a_node_that_is_gone_for_its_return)
{
    const char *both = "'sources': {'s': {'topic': 'in'}}, 'operators': {"
                       "'n': {'use': 'script', 'from': 's'}, 'm': {'use': 'script', 'from': 's'}},"
                       "'sinks': {'k': {'topic': 'out', 'from': ['n', 'm']}}";
    run_topology(&run, both);
    say("put a x 1;set s 1 200 t");
    run_all(&run, NULL);
    run_topology(&run, plain);
    run_send(&run, "in", 0, 300, "k", "fwd alone");
    run_all(&run, NULL);
    run_expect_log(&run, "the stateful nodes changed");
    run_delete_state(&run);
    run_send(&run, "in", 0, 310, "k", "fwd still");
    run_all(&run, NULL);
    run_topology(&run, both);
    run_send(&run, "in", 0, 320, "k", "get a x");
    run_all(&run, NULL);
    run_expect(&run, "out", "t=stream 1 200 t\nk=alone\nk=still\nt=stream 1 200 t\nk=x=1\nk=x=1\n");
}

Test(engine_restart, stops_where_the_source_of_a_stateful_part_has_other_partitions)
{
    say("put a x 1");
    run_all(&run, NULL);
    struct error error;
    cr_assert_eq(broker_topic_delete(run.broker, "in", &error), STATUS_OK);
    run_topic(&run, "in", 2);
    cr_assert_eq(run_to_end(&run, NULL), 1);
    run_expect_log(&run, "internal topic t-s-changelog has 1 partitions, but 2 are needed");
}

/* ---- The self-check ---- */

/* State that holds three records, and a committed offset of 1. */
static void set_offsets_back(void)
{
    say("put a x 1;set s 1 900 t;fwd one");
    say("put a x 2;fwd two");
    say("put a x 3;fwd three");
    run_all(&run, "--set broker.session_timeout=1s");
    run_commit_offset(&run, "in", 0, 1);
}

Test(engine_restart, stops_where_the_offsets_were_changed_behind_its_back)
{
    set_offsets_back();
    cr_assert_eq(run_to_end(&run, NULL), 1);
    run_expect_log(&run, "task s-0: the state holds topic in partition 0 up to offset 3, but the "
                         "group's committed offset is 1; nothing was processed");
    run_expect_log(&run, "--continue-from");
    run_expect(&run, "out", "k=one\nk=two\nk=three\n");
    cr_assert_eq(run_to_end(&run, NULL), 1); /* it stays so */
}

Test(engine_restart, continues_from_the_state_s_offsets)
{
    set_offsets_back();
    say("get a x");
    run_all(&run, "--continue-from state");
    run_expect(&run, "out", "k=one\nk=two\nk=three\nk=x=3\n");
    run_all(&run, NULL);
    run_expect_no_log(&run, "self-check");
}

Test(engine_restart, continues_from_the_committed_offsets_with_the_state_as_it_is)
{
    set_offsets_back();
    say("get a x;fwd four");
    run_all(&run, "--continue-from offsets");
    run_expect(&run, "out", "k=one\nk=two\nk=three\nk=two\nk=three\nk=x=3\nk=four\n");
    run_all(&run, NULL);
}

Test(engine_restart, continues_from_the_committed_offsets_with_an_empty_state)
{
    set_offsets_back();
    run_send(&run, "in", 0, 100, "k", "scan a - - f;stream");
    run_send(&run, "in", 0, 1000, "k", "fwd end"); /* the timer is gone too */
    run_all(&run, "--continue-from empty");
    run_expect(&run, "out", "k=one\nk=two\nk=three\nk=two\nk=three\nk=x=3\nk=100\nk=end\n");
    run_delete_state(&run);
    say("scan a - - f");
    run_all(&run, NULL);
    cr_assert_not_null(strstr(run_output(&run, "out"), "k=end\nk=x=3\n"));
}

Test(engine_restart, leaves_tasks_that_agree_alone_when_it_continues)
{
    say("put a x 1;fwd one");
    run_all(&run, NULL);
    say("get a x");
    run_all(&run, "--continue-from empty");
    run_expect(&run, "out", "k=one\nk=x=1\n");
    run_expect_no_log(&run, "self-check");
}

Test(engine_restart, stops_where_the_changelog_is_gone)
{
    say("put a x 1;fwd one");
    run_all(&run, NULL);
    struct error error;
    cr_assert_eq(broker_topic_delete(run.broker, "t-s-changelog", &error), STATUS_OK);
    cr_assert_eq(run_to_end(&run, NULL), 1);
    run_expect_log(&run, "the changelog t-s-changelog holds no state for it");
    cr_assert_eq(run_to_end(&run, "--continue-from state"), 1);
    run_expect_log(&run, "there is no state to continue from");
    say("get a x");
    run_all(&run, "--continue-from offsets");
    run_expect(&run, "out", "k=one\nk=x:null\n");
}

Test(engine_restart, stops_where_something_else_wrote_to_the_changelog)
{
    say("put a x 1;fwd one");
    run_all(&run, NULL);
    run_send(&run, "t-s-changelog", 0, 1, "foreign", "x");
    cr_assert_eq(run_to_end(&run, NULL), 1);
    run_expect_log(&run, "is no changelog record: does something else write to this topic?");
}

Test(engine_restart, rebuilds_a_damaged_store_from_the_changelog)
{
    say("put a x 1;fwd one");
    run_all(&run, NULL);
    FILE *file = fopen(run_path(&run, "state/t/a/s-0/data.mdb"), "r+");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite("damaged damaged damaged damaged damaged", 1, 39, file), 39);
    cr_assert_eq(fclose(file), 0);
    say("get a x");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=one\nk=x=1\n");
}

/* ---- Several processes ---- */

Test(engine_restart, names_the_process_that_runs_this_instance)
{
    run_start(&run, NULL);
    run_await_log(&run, "running");
    struct run other = run_other(&run);
    run_start(&other, NULL);
    int code = run_wait(&other);
    bool named = strstr(other.log, "already runs instance \"a\"") != NULL;
    run_part(&other);
    cr_assert_eq(code, 1);
    cr_assert(named);
    cr_assert_eq(run_signal(&run, SIGTERM), 0);
}

Test(engine_restart, hands_tasks_over_and_takes_them_back_with_their_state)
{
    struct run other = run_other(&run);
    run_start(&run, "--set broker.membership=dynamic");
    say("put a x 1;fwd one");
    run_await(&run, "out", 1);
    /* "b" comes and goes: whoever holds the task has all of its state. */
    run_start(&other, "--set broker.membership=dynamic --set instance=0");
    run_await_log(&other, "assigned");
    say("get a x;put a x 2");
    run_await(&run, "out", 2);
    cr_assert_eq(run_signal(&other, SIGTERM), 0, "%s", other.log);
    say("get a x;put a x 3");
    run_await(&run, "out", 3);
    run_part(&other);
    cr_assert_eq(run_signal(&run, SIGTERM), 0);
    run_expect(&run, "out", "k=one\nk=x=1\nk=x=2\n");
}
