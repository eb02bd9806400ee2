/* SPDX-License-Identifier: Apache-2.0 */
#include "scripts.h"

#include "folders.h"
#include "life.h"
#include "seam.h"
#include "tally.h"
#include "turns.h"

#include "base/bytes.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { START_STOPS_AFTER = 9, JOIN_AFTER = 4, LEAVE_AFTER = 3, FIRST_PART = 3, SECOND_PART = 5 };

static struct life life_of(const struct script *script, const char *folder, const char *instance)
{
    return (struct life){.folder = folder,
                         .instance = instance,
                         .until_end = true,
                         .fast = script->fast,
                         .flush_ms = script->flush_ms,
                         .shape = script->shape};
}

enum status script_restart(const struct script *script, const char *folder, struct error *error)
{
    struct life life = life_of(script, folder, "a");
    return life_run(&life, error);
}

static void live(const struct script *script, const char *folder)
{
    struct error error;
    if (script_restart(script, folder, &error) != STATUS_OK) {
        (void)fprintf(stderr, "sweep: %s: %s\n", script->name, error.text);
        abort();
    }
}

static void prepare_input(const struct script *script, const char *folder)
{
    (void)script;
    life_make_topics(folder);
    life_feed(folder, 0, TALLY_RECORDS);
}

/* ---- start: everything is made, some records run, an orderly stop in the midst ---- */

static struct life *current; /* of the thread whose records are counted */
static int counted;

static void stop_after(void)
{
    if (++counted == START_STOPS_AFTER) {
        atomic_store(&current->stop, 1);
    }
}

static enum status run_start(const struct script *script, const char *folder, struct error *error)
{
    struct life life = life_of(script, folder, "a");
    life.until_end = false;
    current = &life;
    tally_processed = stop_after;
    return life_run(&life, error);
}

/* ---- end, recovery: from nothing to the end ---- */

static enum status run_to_end(const struct script *script, const char *folder, struct error *error)
{
    struct life life = life_of(script, folder, "a");
    return life_run(&life, error);
}

/* ---- restore: the stores are older than their changelog ---- */

static void prepare_lag(const struct script *script, const char *folder)
{
    char *state = memory_format("%s/state", folder);
    char *kept = memory_format("%s/kept", folder);
    life_make_topics(folder);
    life_feed(folder, 0, FIRST_PART);
    live(script, folder);
    folders_copy(state, kept);
    life_feed(folder, FIRST_PART, SECOND_PART);
    live(script, folder);
    folders_remove(state);
    ensure(rename(kept, state) == 0);
    life_feed(folder, SECOND_PART, TALLY_RECORDS);
    free(state);
    free(kept);
}

/* ---- damaged: one store is cut off, the other was left by another boot of the machine ---- */

static void prepare_damage(const struct script *script, const char *folder)
{
    prepare_lag(script, folder);
    char *data = memory_format("%s/state/%s/a/in-0/data.mdb", folder, LIFE_APPLICATION);
    char *marker = memory_format("%s/state/%s/a/in-1/boot", folder, LIFE_APPLICATION);
    struct stat found;
    ensure(stat(data, &found) == 0 && truncate(data, found.st_size / 2) == 0);
    int file = open(marker, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ensure(file >= 0 && write(file, "another\n", 8) == 8 && close(file) == 0);
    free(data);
    free(marker);
}

/* ---- rebalance: a second instance joins, takes one task, and leaves again ---- */

static struct life second;
static enum status second_status;
static struct error second_error;
static bool joined;
static int second_counted;

static void live_second(void *argument)
{
    (void)argument;
    seam_memory_watch(point_plan() != NULL && point_plan()->allocation != 0);
    second_status = life_run(&second, &second_error);
    if (second_status != STATUS_OK) { /* as in a process of its own: the first one goes on */
        (void)fprintf(stderr, "instance b: %s\n", second_error.text);
    }
}

static void join_and_leave(void)
{
    if (turns_self() == 1) {
        if (++second_counted == LEAVE_AFTER) {
            atomic_store(&second.stop, 1);
        }
    } else if (++counted >= JOIN_AFTER && !joined) {
        joined = true;
        turns_start(live_second, NULL);
    }
}

static enum status run_rebalance(const struct script *script, const char *folder,
                                 struct error *error)
{
    struct life life = life_of(script, folder, "a");
    second = life_of(script, folder, "b");
    second.until_end = false;
    tally_processed = join_and_leave;
    enum status status = life_run(&life, error);
    atomic_store(&second.stop, 1);
    turns_join();
    return status;
}

/* ---- zombie: an instance sleeps, another does all of its work, then it wakes up ---- */

/* The leases of both run out, which somebody who joins notices; the one that is awake joins again.
 */
static void sleep_long(void)
{
    static const char *const topics[] = {"in"};
    const struct consumer_options options = {
        .group = LIFE_APPLICATION, .topics = topics, .topic_count = 1};
    struct consumer *consumer = NULL;
    struct error error;
    turns_advance(INT64_C(1000000) * 2 * LIFE_SESSION_S);
    struct broker *broker = life_open_broker(second.folder);
    ensure(consumer_open(broker, &options, &consumer, &error) == STATUS_OK);
    consumer_close(consumer);
    broker_close(broker);
    turns_pause();
}

static enum status run_zombie(const struct script *script, const char *folder, struct error *error)
{
    struct life life = life_of(script, folder, "a");
    second = life_of(script, folder, "b");
    point_pause = sleep_long;
    turns_start(live_second, NULL);
    enum status status = life_run(&life, error);
    turns_join();
    if (status == STATUS_OK && second_status != STATUS_OK) {
        *error = second_error;
        status = second_status;
    }
    return status;
}

const struct script scripts[] = {
    {.name = "start",
     .summary = "from nothing: topics and stores are made, records run, an orderly stop",
     .prepare = prepare_input,
     .run = run_start},
    {.name = "restore",
     .summary = "stores that lag their changelog are restored; until the end",
     .complete = true,
     .prepare = prepare_lag,
     .run = run_to_end},
    {.name = "damaged",
     .summary = "a truncated store and one of another boot are moved aside; durability fast",
     .fast = true,
     .complete = true,
     .prepare = prepare_damage,
     .run = run_to_end},
    {.name = "rebalance",
     .summary = "a second instance joins, takes a task over and leaves; suspend and resume",
     .complete = true,
     .prepare = prepare_input,
     .run = run_rebalance},
    {.name = "end",
     .summary = "from nothing until the end; durability fast, flush_interval 50ms",
     .fast = true,
     .flush_ms = 50,
     .complete = true,
     .prepare = prepare_input,
     .run = run_to_end},
    {.name = "recovery",
     .summary = "an answer to a commit is lost, a later commit is refused; until the end",
     .complete = true,
     .standing = {{CALL_COMMIT, 2, 3}, {CALL_COMMIT, 5, 2}},
     .standing_count = 2,
     .prepare = prepare_input,
     .run = run_to_end},
    {.name = "regroup",
     .summary = "a repartition between two sub-topologies; from nothing until the end",
     .shape = SHAPE_REGROUP,
     .complete = true,
     .prepare = prepare_input,
     .run = run_to_end},
    {.name = "copy",
     .summary = "source to sink, no state; from nothing until the end",
     .shape = SHAPE_COPY,
     .complete = true,
     .prepare = prepare_input,
     .run = run_to_end},
    {.name = "zombie",
     .summary = "two instances; one sleeps for longer than its session, the other does its work",
     .pauses = true,
     .complete = true,
     .prepare = prepare_input,
     .run = run_zombie},
};
const size_t script_count = sizeof scripts / sizeof *scripts;
