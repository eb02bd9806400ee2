/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of the embedded broker: leases, silent members, rebalances among several, transactions
 * that are too old. */
#include "broker_steps.h"
#include "local_process.h"
#include "test_folder.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE_MS = 10000 };

static struct broker *open_short(const char *folder, int64_t session_ms, int64_t callback_ms)
{
    struct broker_settings settings = local_settings(folder, session_ms, callback_ms);
    struct error error = {0};
    struct broker *broker = NULL;
    must(broker_local_open(&settings, &broker, &error));
    return broker;
}

static void must_assign(struct consumer *member, const char *wanted)
{
    char *text = step_assigned(member, PATIENCE_MS);
    cr_assert_str_eq(text, wanted);
    free(text);
    step_assign(member, "t", 0, -1);
}

static void answer_revoked(struct consumer *member)
{
    struct error error = {0};
    struct consumer_event event;
    step_until(member, CONSUMER_REVOKED, PATIENCE_MS, &event);
    must(consumer_unassign(member, &error));
}

static void must_say(struct local_process *process, const char *wanted)
{
    char line[64] = "";
    (void)local_process_line(process, PATIENCE_MS, line, sizeof line);
    cr_assert_str_eq(line, wanted);
}

Test(broker_local_group, three_members_get_contiguous_ranges)
{
    char *folder = test_folder_make();
    struct broker *broker = local_open(folder);
    step_topic(broker, "t", 7);
    struct consumer *a = step_member(broker, "g", "a", "t");
    must_assign(a, "0,1,2,3,4,5,6");
    struct consumer *b = step_member(broker, "g", "b", "t");
    answer_revoked(a);
    must_assign(a, "0,1,2,3");
    must_assign(b, "4,5,6");
    struct consumer *c = step_member(broker, "g", NULL, "t");
    answer_revoked(b);
    answer_revoked(a);
    must_assign(c, "5,6");
    must_assign(b, "3,4");
    must_assign(a, "0,1,2");
    consumer_close(c);
    answer_revoked(a);
    answer_revoked(b);
    must_assign(a, "0,1,2,3");
    must_assign(b, "4,5,6");
    consumer_close(a);
    consumer_close(b);
    broker_close(broker);
    test_folder_remove(folder);
}

Test(broker_local_group, more_members_than_partitions_get_empty_lists)
{
    char *folder = test_folder_make();
    struct broker *broker = local_open(folder);
    step_topic(broker, "t", 1);
    struct consumer *a = step_member(broker, "g", "a", "t");
    must_assign(a, "0");
    struct consumer *b = step_member(broker, "g", "b", "t");
    answer_revoked(a);
    must_assign(b, "");
    must_assign(a, "0");
    consumer_close(a);
    consumer_close(b);
    broker_close(broker);
    test_folder_remove(folder);
}

Test(broker_local_group, topics_that_appear_and_vanish_rebalance)
{
    char *folder = test_folder_make();
    struct error error = {0};
    struct broker *broker = local_open(folder);
    struct consumer *a = step_member(broker, "g", "a", "t");
    must_assign(a, "");
    int64_t begun = clock_monotonic_ms(clock_system());
    step_topic(broker, "t", 2);
    answer_revoked(a);
    must_assign(a, "0,1");
    cr_assert_lt(clock_monotonic_ms(clock_system()) - begun, 2000);
    must(broker_topic_delete(broker, "t", &error));
    answer_revoked(a);
    must_assign(a, "");
    consumer_close(a);
    broker_close(broker);
    test_folder_remove(folder);
}

Test(broker_local_group, a_killed_member_is_given_up_after_its_session)
{
    char *folder = test_folder_make();
    const char *words[] = {"member", folder, "g", "z", "t", "600", NULL};
    struct broker *broker = local_open(folder);
    step_topic(broker, "t", 2);
    struct local_process other = local_process_start(words);
    must_say(&other, "assigned 2");
    must_say(&other, "ready");
    struct consumer *a = step_member(broker, "g", "a", "t");
    must_say(&other, "revoked");
    must_assign(a, "0");
    must_say(&other, "assigned 1");
    local_process_kill(&other);
    answer_revoked(a);
    must_assign(a, "0,1");
    consumer_close(a);
    broker_close(broker);
    test_folder_remove(folder);
}

Test(broker_local_group, a_killed_static_member_that_returns_has_its_partitions_at_once)
{
    char *folder = test_folder_make();
    const char *words[] = {"member", folder, "g", "z", "t", "10000", NULL};
    struct broker *broker = local_open(folder);
    step_topic(broker, "t", 3);
    struct local_process other = local_process_start(words);
    must_say(&other, "assigned 3");
    must_say(&other, "ready");
    local_process_kill(&other);
    int64_t begun = clock_monotonic_ms(clock_system());
    other = local_process_start(words);
    must_say(&other, "assigned 3");
    cr_assert_lt(clock_monotonic_ms(clock_system()) - begun, 1000);
    local_process_kill(&other);
    broker_close(broker);
    test_folder_remove(folder);
}

Test(broker_local_group, a_stopped_member_learns_that_it_lost)
{
    char *folder = test_folder_make();
    const char *words[] = {"member", folder, "g", "z", "t", "600", NULL};
    struct broker *broker = local_open(folder);
    step_topic(broker, "t", 2);
    struct local_process other = local_process_start(words);
    must_say(&other, "assigned 2");
    must_say(&other, "ready");
    struct consumer *a = step_member(broker, "g", "a", "t");
    must_say(&other, "revoked");
    must_assign(a, "0");
    must_say(&other, "assigned 1");
    must_say(&other, "ready");
    local_process_signal(&other, SIGSTOP);
    answer_revoked(a);
    must_assign(a, "0,1");
    local_process_signal(&other, SIGCONT);
    must_say(&other, "lost");
    answer_revoked(a); /* it joins again */
    must_assign(a, "0");
    must_say(&other, "assigned 1");
    local_process_kill(&other);
    consumer_close(a);
    broker_close(broker);
    test_folder_remove(folder);
}

Test(broker_local_group, who_does_not_answer_in_time_is_given_up)
{
    char *folder = test_folder_make();
    struct error error = {0};
    struct consumer_event event;
    struct broker *slow = open_short(folder, 10000, 700); /* 700 ms to answer */
    struct broker *broker = local_open(folder);
    step_topic(broker, "t", 2);
    struct consumer *a = step_member(slow, "g", NULL, "t");
    must_assign(a, "0,1");
    int64_t begun = clock_monotonic_ms(clock_system());
    struct consumer *b = step_member(broker, "g", NULL, "t");
    step_until(a, CONSUMER_REVOKED, PATIENCE_MS, &event);
    must_assign(b, "0,1");
    cr_assert_geq(clock_monotonic_ms(clock_system()) - begun, 700);
    cr_assert_not(consumer_owns(a));
    step_until(a, CONSUMER_LOST, PATIENCE_MS, &event);
    must(consumer_unassign(a, &error)); /* joins anew */
    answer_revoked(b);
    free(step_assigned(a, PATIENCE_MS));
    free(step_assigned(b, PATIENCE_MS));
    consumer_close(a);
    consumer_close(b);
    broker_close(broker);
    broker_close(slow);
    test_folder_remove(folder);
}

Test(broker_local_group, a_rebalance_nobody_was_told_of_is_answered_for_the_member)
{
    char *folder = test_folder_make();
    struct broker *broker = local_open(folder);
    step_topic(broker, "t", 2);
    struct consumer *a = step_member(broker, "g", "a", "t"); /* not polled yet */
    struct consumer *b = step_member(broker, "g", "b", "t");
    must_assign(a, "0");
    must_assign(b, "1");
    consumer_close(a);
    consumer_close(b);
    broker_close(broker);
    test_folder_remove(folder);
}

Test(broker_local_group, a_transaction_that_is_too_old_is_refused)
{
    char *folder = test_folder_make();
    struct error error = {0};
    struct broker_settings settings = local_settings(folder, 10000, 60000);
    settings.transaction_timeout_ms = 50;
    struct broker *broker = NULL;
    must(broker_local_open(&settings, &broker, &error));
    step_topic(broker, "t", 1);
    struct producer *producer = step_producer(broker, "id", PATIENCE_MS);
    must(producer_begin(producer, &error));
    step_send(producer, "t", 0, NULL, "x");
    step_flush(producer, PATIENCE_MS);
    clock_sleep_ms(clock_system(), 60);
    must_be(STATUS_FATAL, producer_commit(producer, 1000, &error));
    cr_assert_eq(error.code, ERROR_FENCED);
    must_be(STATUS_FATAL, producer_abort(producer, 1000, &error));
    must_be(STATUS_FATAL, producer_begin(producer, &error));
    producer_close(producer);
    int64_t start = 0;
    int64_t end = -1;
    must(broker_log_range(broker, "t", 0, &start, &end, &error));
    cr_assert_eq(end, 0);
    broker_close(broker);
    test_folder_remove(folder);
}
