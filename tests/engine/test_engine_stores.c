/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_run.h"

#include <criterion/criterion.h>
#include <signal.h>
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
TestSuite(engine_stores, .init = set_up, .fini = clean_up, .timeout = 60);

/* One record with a script. */
static void say(const char *script)
{
    run_send(&run, "in", 0, 100, "k", script);
}

Test(engine_stores, hold_what_was_put_until_it_is_removed)
{
    say("get a x;put a x 1;get a x;put a x 2;get a x;rm a x;get a x;get b x");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=x:null\nk=x=1\nk=x=2\nk=x:null\nk=x:null\n");
}

Test(engine_stores, tell_an_empty_value_from_none)
{
    say("put a x '';get a x;put a x -;get a x");
    say("put a y ''");
    run_all(&run, NULL);
    run_delete_state(&run);
    say("get a y;get a x");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=x:empty\nk=x:null\nk=y:empty\nk=x:null\n");
}

Test(engine_stores, answer_ok_when_the_absent_is_removed)
{
    say("rm a x;put a x 1;rm a x;rm a x;scan a - - f");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=\n");
}

Test(engine_stores, keep_the_tables_of_a_node_apart)
{
    say("put a x 1;put b x 2;get a x;get b x;rm a x;get b x");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=x=1\nk=x=2\nk=x=2\n");
}

Test(engine_stores, scan_forward_from_including_to_excluding)
{
    say("put a b 2;put a a 1;put a d 4;put a c 3");
    say("scan a b d f;scan a - c f;scan a c - f;scan a - - f;scan a d b f;scan a bb bz f");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=b=2,c=3\nk=a=1,b=2\nk=c=3,d=4\nk=a=1,b=2,c=3,d=4\nk=\nk=\n");
}

Test(engine_stores, scan_the_same_range_from_its_largest_key_down)
{
    say("put a b 2;put a a 1;put a d 4;put a c 3");
    say("scan a b d r;scan a - c r;scan a c - r;scan a - - r;scan a d b r");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=c=3,b=2\nk=b=2,a=1\nk=d=4,c=3\nk=d=4,c=3,b=2,a=1\nk=\n");
}

Test(engine_stores, scan_a_prefix_and_ignore_the_upper_bound)
{
    say("put a ab 1;put a a 0;put a ac 2;put a b 3;put a abc 4");
    say("scan a a b p;scan a ab zz p;scan a ab - rp;scan a x - p;scan a - - p;scan a - - rp");
    run_all(&run, NULL);
    run_expect(&run, "out",
               "k=a=0,ab=1,abc=4,ac=2\nk=ab=1,abc=4\nk=abc=4,ab=1\nk=\n"
               "k=a=0,ab=1,abc=4,ac=2,b=3\nk=b=3,ac=2,abc=4,ab=1,a=0\n");
}

Test(engine_stores, let_a_cursor_see_the_writes_ahead_of_it)
{
    say("put a b 1;put a d 1;put a f 1");
    say("open a - - f;next;put a a 0;put a c 2;next;rm a d;next;put a g 3;next;next;next");
    say("open a - - r;next;put a e 9;next;rm a c;next;next");
    run_all(&run, NULL);
    run_expect(&run, "out",
               "k=b=1\nk=c=2\nk=f=1\nk=g=3\nk=end\nk=end\n"
               "k=g=3\nk=f=1\nk=e=9\nk=b=1\n");
}

Test(engine_stores, keep_a_cursor_whose_own_record_is_removed_or_overwritten)
{
    say("put a a 1;put a b 2;put a c 3");
    say("open a - - f;next;rm a a;next;put a b *3000;next;next");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=a=1\nk=b=2\nk=c=3\nk=end\n");
}

Test(engine_stores, close_the_cursors_that_a_callback_leaves_open)
{
    for (int i = 0; i < 300; i++) { /* more than any table of readers holds */
        say("put a x 1;open a x xy f;next");
    }
    say("open a x - f;next;close;put a y 2;scan a - - f");
    run_all(&run, NULL);
    run_await(&run, "out", 302);
    cr_assert_not_null(strstr(run_output(&run, "out"), "k=x=1,y=2\n"));
}

Test(engine_stores, close_the_cursors_that_init_leaves_open)
{
    say("put a x 1;get a x");
    run_all(&run, NULL);
    run_topology(&run, "'sources': {'s': {'topic': 'in'}}, 'operators': {'n': {'use': 'script', "
                       "'params': {'init': 'open a - - f'}, 'from': 's'}},"
                       "'sinks': {'k': {'topic': 'out', 'from': 'n'}}");
    say("get a x");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=x=1\nk=x=1\n");
}

Test(engine_stores, take_keys_up_to_64_kib_in_byte_order)
{
    say("put a *65536 1;put a *65535:y 2;put a *65535:w 3;put a *400 4;put a *65000 5");
    say("get a *65536;size a *65536;scan a *65536 - f;open a - - f;try;next;scan a - - f");
    run_all(&run, NULL);
    run_delete_state(&run);
    say("scan a - - f;rm a *65536;get a *65536");
    run_all(&run, NULL);
    const char *all = "k=xxxxxxxxxxxxxxxxxxxx=4,xxxxxxxxxxxxxxxxxxxx=5,wxxxxxxxxxxxxxxxxxxx=3,";
    cr_assert_null(strstr(run_output(&run, "out"), all)); /* w sorts before x */
    cr_assert_not_null(strstr(run_output(&run, "out"),
                              "k=wxxxxxxxxxxxxxxxxxxx=3,xxxxxxxxxxxxxxxxxxxx=4,"
                              "xxxxxxxxxxxxxxxxxxxx=5,xxxxxxxxxxxxxxxxxxxx=1,"
                              "yxxxxxxxxxxxxxxxxxxx=2\n"));
    cr_assert_not_null(strstr(run_output(&run, "out"), "k=*65536:null\n"));
}

Test(engine_stores, take_values_up_to_16_mib_and_restore_them)
{
    say("put a x *16777216;size a x");
    run_all(&run, NULL);
    run_delete_state(&run);
    say("size a x");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=16777216\nk=16777216\n");
}

Test(engine_stores, refuse_a_put_for_its_size_and_leave_the_record_alive)
{
    say("put a y 1;try;put a x *16777217;get a x;try;put a *65537 1;try;put a '' 1;try;put a - 1;"
        "get a *65537;scan a - - f");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=x:null\nk=*65537:null\nk=y=1\n");
    run_expect_no_log(&run, "skipped topic");
}

Test(engine_stores, name_the_limit_when_the_operator_passes_the_refusal_on)
{
    say("put a *65537 1");
    cr_assert_eq(run_to_end(&run, NULL), 1);
    run_expect_log(&run, "topic in partition 0 offset 0: node \"n\": a key of 65537 bytes: a store "
                         "takes 1 to 65536");
    cr_assert_eq(run_to_end(&run, "--set on_error=skip"), 0);
}

Test(engine_stores, may_be_given_back_a_view_of_what_they_hold)
{
    say("put a b 1;put a a *200:head;copy a a b;size a b;copy a b c;rm a a;put a b *90;size a c");
    say("put a d *5000:tail;put a e 1;copy a d e;size a e;copy a e d;size a d;scan a d - f");
    run_all(&run, NULL);
    run_expect(&run, "out",
               "k=204\nk=204\nk=5004\nk=5004\nk=d=tailxxxxxxxxxxxxxxxx,e=tailxxxxxxxxxxxxxxxx\n");
}

Test(engine_stores, are_the_same_after_a_kill_a_restart_and_without_their_directory)
{
    say("put a x 1;put a y 2;put b z 3");
    run_start(&run, NULL);
    run_await_log(&run, "running");
    say("rm a x;put a y 4;fwd done");
    run_await(&run, "out", 1);
    cr_assert_eq(run_signal(&run, SIGKILL), -SIGKILL);
    say("scan a - - f;scan b - - f");
    run_all(&run, NULL);
    say("scan a - - f");
    run_all(&run, NULL);
    run_expect_log(&run, "restored records=0");
    run_delete_state(&run);
    say("scan a - - f;scan b - - f");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=done\nk=y=4\nk=z=3\nk=y=4\nk=y=4\nk=z=3\n");
    run_expect_no_log(&run, "restored records=0");
}

Test(engine_stores, take_data_of_null_for_null_whatever_the_size_says)
{
    say("put a x 1;put a y 2;put a x -!;get a x;scan a -! -! f;get a -!;try;put a -! 3;fwd -!");
    say("key -!;fwd z;set s 1 50 -!");
    run_all(&run, NULL);
    run_expect(&run, "out", "k=x:null\nk=y=2\nk=-!:null\nk=null\nnull=z\nt=stream 1 50 null\n");
}

Test(engine_stores, can_be_read_in_init)
{
    say("put a x 1");
    run_all(&run, NULL);
    run_topology(&run, "'sources': {'s': {'topic': 'in'}}, 'operators': {'n': {'use': 'script', "
                       "'params': {'init': 'peek a x;peek a y'}, 'from': 's'}},"
                       "'sinks': {'k': {'topic': 'out', 'from': 'n'}}");
    cr_assert_eq(run_to_end(&run, NULL), 2);
    run_expect_log(&run, "init of node \"n\" (operator script) failed: no y");
}

Test(engine_stores, are_not_written_in_init)
{
    run_topology(&run, "'sources': {'s': {'topic': 'in'}}, 'operators': {'n': {'use': 'script', "
                       "'params': {'init': 'put a x 1'}, 'from': 's'}},"
                       "'sinks': {'k': {'topic': 'out', 'from': 'n'}}");
    cr_assert_eq(run_to_end(&run, NULL), 2);
    run_expect_log(&run, "init of node \"n\" (operator script) failed");
    run_expect_log(&run, "leat_put and leat_remove is not allowed here");
}
