/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/local_upkeep.h"

#include "base/clock.h"
#include "base/log.h"
#include "broker/local_compaction.h"
#include "broker/local_group.h"
#include "broker/local_log.h"
#include "broker/local_topic.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    BEAT_LEAST_MS = 300,
    BEAT_MOST_MS = 1000,
    DUTIES_MS = 10000,
    WRITE_TIMEOUT_MS = 5000,
    RETAIN_BATCHES = 1000,
    RETAIN_TOPICS = 64 /* a round */
};

struct lease {
    char group[LOCAL_GROUP_SIZE];
    char member[LOCAL_MEMBER_SIZE];
    int64_t session_ms;
};

struct owned {
    uint32_t topic;
    int32_t partition;
    struct local_compaction *compaction;
};

struct local_upkeep {
    struct local_environment *environment;
    pthread_t thread;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t changed;
    bool stop;
    struct lease *leases;
    size_t lease_count;
    struct owned *owned;
    size_t owned_count;
};

/* ---- Leases ---- */

struct beat {
    const char *group;
    const struct lease *leases; /* all of the process */
    size_t count;
};

static enum status beat_work(struct local_environment *environment, MDB_txn *txn, void *argument,
                             struct error *error)
{
    ensure(txn != NULL);
    const struct beat *beat = argument;
    struct local_group group;
    enum status status = local_group_load(environment, txn, beat->group, &group, error);
    for (size_t i = 0; status == STATUS_OK && i < beat->count; i++) {
        struct local_group_member *member = local_group_find(&group, beat->leases[i].member);
        if (member != NULL) {
            member->renewed_ms = clock_monotonic_ms(clock_system());
        }
    }
    bool changed = true;
    if (status == STATUS_OK) {
        status = local_group_tend(environment, txn, &group, &changed, error);
    }
    if (status == STATUS_OK) {
        status = local_group_save(environment, txn, beat->group, &group, error);
    }
    local_group_finish(&group);
    return status;
}

static void beat_all(struct local_upkeep *upkeep, const struct lease *leases, size_t count)
{
    ensure(count == 0 || leases != NULL);
    for (size_t i = 0; i < count; i++) {
        bool seen = false;
        for (size_t j = 0; j < i && !seen; j++) {
            seen = strcmp(leases[j].group, leases[i].group) == 0;
        }
        if (seen) {
            continue;
        }
        struct beat beat = {leases[i].group, leases, count};
        struct error error;
        enum status status =
            local_write(upkeep->environment, WRITE_TIMEOUT_MS, beat_work, &beat, &error);
        if (status != STATUS_OK) {
            log_warn("broker", "leases not renewed group=%s reason=\"%s\"", beat.group, error.text);
        }
    }
}

static int64_t beat_interval_ms(const struct local_upkeep *upkeep)
{
    int64_t interval = BEAT_MOST_MS;
    for (size_t i = 0; i < upkeep->lease_count; i++) {
        ensure(upkeep->leases[i].session_ms > 0);
        int64_t wanted = upkeep->leases[i].session_ms / 10;
        wanted = wanted < BEAT_LEAST_MS ? BEAT_LEAST_MS : wanted;
        /* A session shorter than three such beats (tests) needs faster ones. */
        wanted =
            wanted > upkeep->leases[i].session_ms / 3 ? upkeep->leases[i].session_ms / 3 : wanted;
        interval = wanted < interval ? wanted : interval;
    }
    return interval < 10 ? 10 : interval;
}

/* ---- Retention of topics nobody writes ---- */

struct idle_topics {
    struct local_topic topics[RETAIN_TOPICS];
    size_t count, skip;
};

static enum status idle_add(void *argument, const char *name, const struct local_topic *topic)
{
    ensure(((const struct idle_topics *)argument)->count < RETAIN_TOPICS);
    struct idle_topics *idle = argument;
    (void)name;
    if (!topic->deleted || (topic->retention_ms < 0 && topic->retention_size < 0)) {
        return STATUS_OK;
    }
    if (idle->skip > 0) {
        idle->skip -= 1;
        return STATUS_OK;
    }
    idle->topics[idle->count++] = *topic;
    return idle->count < RETAIN_TOPICS ? STATUS_OK : STATUS_NOT_FOUND;
}

static enum status retain_work(struct local_environment *environment, MDB_txn *txn, void *argument,
                               struct error *error)
{
    const struct local_topic *topic = argument;
    /* idle_add leaves the others out. */
    ensure(topic->deleted && (topic->retention_ms >= 0 || topic->retention_size >= 0));
    int64_t now_ms = clock_wall_ms(clock_system());
    bool any = false;
    enum status status = STATUS_OK;
    for (int32_t i = 0; status == STATUS_OK && i < topic->partition_count; i++) {
        struct local_partition row;
        bool changed = false;
        status = local_partition_get(environment, txn, topic->id, i, &row, error);
        if (status == STATUS_OK) {
            status = local_log_retain(environment, txn, topic, i, &row, now_ms, RETAIN_BATCHES,
                                      &changed, error);
        }
        if (status == STATUS_OK && changed) {
            status = local_partition_put(environment, txn, topic->id, i, &row, error);
            any = true;
        }
    }
    return status == STATUS_OK && !any ? STATUS_NOT_FOUND : status; /* no commit for nothing */
}

static void retain_all(struct local_upkeep *upkeep)
{
    struct local_environment *environment = upkeep->environment;
    struct idle_topics *idle = memory_allocate(sizeof *idle);
    size_t done = 0;
    do {
        MDB_txn *txn = NULL;
        struct error error;
        idle->count = 0;
        idle->skip = done;
        if (local_read_begin(environment, &txn, &error) != STATUS_OK) {
            break;
        }
        (void)local_topic_each(environment, txn, idle_add, idle, &error);
        local_read_end(environment, txn);
        ensure(idle->count <= RETAIN_TOPICS);
        for (size_t i = 0; i < idle->count; i++) {
            enum status status =
                local_write(environment, WRITE_TIMEOUT_MS, retain_work, &idle->topics[i], &error);
            if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
                log_warn("broker", "retention failed reason=\"%s\"", error.text);
            }
        }
        done += idle->count;
    } while (idle->count == RETAIN_TOPICS);
    free(idle);
}

static void duties(struct local_upkeep *upkeep)
{
    int dead = 0;
    struct error error;
    ensure(pthread_rwlock_rdlock(&upkeep->environment->gate) == 0);
    (void)mdb_reader_check(upkeep->environment->env, &dead);
    ensure(pthread_rwlock_unlock(&upkeep->environment->gate) == 0);
    enum status status = local_topic_bury(upkeep->environment, &error);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        log_warn("broker", "removing a deleted topic failed reason=\"%s\"", error.text);
    }
    retain_all(upkeep);
}

/* ---- Compaction ---- */

/* One step for each partition this process writes; whether one wants more soon. */
static bool compact(struct local_upkeep *upkeep)
{
    bool any = false;
    ensure(pthread_mutex_lock(&upkeep->mutex) == 0);
    size_t count = upkeep->owned_count;
    for (size_t i = 0; i < count; i++) {
        /* Only this thread removes, the others append: what `i` names stays while unlocked. */
        struct local_compaction *compaction = upkeep->owned[i].compaction;
        ensure(pthread_mutex_unlock(&upkeep->mutex) == 0);
        bool more = false;
        struct error error;
        enum status status = local_compaction_step(compaction, &more, &error);
        if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
            log_warn("broker", "compaction failed reason=\"%s\"", error.text);
        }
        any = any || (status == STATUS_OK && more);
        ensure(pthread_mutex_lock(&upkeep->mutex) == 0);
        if (status == STATUS_NOT_FOUND) {
            local_compaction_destroy(compaction);
            upkeep->owned[i] = upkeep->owned[--upkeep->owned_count];
            break;
        }
    }
    ensure(pthread_mutex_unlock(&upkeep->mutex) == 0);
    return any;
}

void local_upkeep_wrote(struct local_upkeep *upkeep, uint32_t topic, int32_t partition,
                        int64_t delete_retention_ms)
{
    ensure(partition >= 0);
    ensure(pthread_mutex_lock(&upkeep->mutex) == 0);
    size_t at = 0;
    while (at < upkeep->owned_count &&
           (upkeep->owned[at].topic != topic || upkeep->owned[at].partition != partition)) {
        at++;
    }
    if (at == upkeep->owned_count) {
        upkeep->owned = memory_resize(upkeep->owned, (at + 1) * sizeof *upkeep->owned);
        upkeep->owned[at] = (struct owned){
            topic, partition,
            local_compaction_create(upkeep->environment, topic, partition, delete_retention_ms)};
        upkeep->owned_count += 1;
    }
    ensure(pthread_mutex_unlock(&upkeep->mutex) == 0);
}

/* ---- The thread ---- */

static void wait_until(struct local_upkeep *upkeep, int64_t until_ms)
{
    ensure(until_ms > 0);
    struct timespec until = {(time_t)(until_ms / 1000), (long)(until_ms % 1000 * 1000000)};
    (void)pthread_cond_timedwait(&upkeep->changed, &upkeep->mutex, &until);
}

static void *upkeep_run(void *argument)
{
    struct local_upkeep *upkeep = argument;
    int64_t now = clock_monotonic_ms(clock_system());
    int64_t last_beat = now;
    int64_t last_duties = now;
    bool busy = false;
    ensure(pthread_mutex_lock(&upkeep->mutex) == 0);
    while (!upkeep->stop) {
        now = clock_monotonic_ms(clock_system());
        int64_t next = last_beat + beat_interval_ms(upkeep);
        if (now < next && !busy) {
            wait_until(upkeep, next);
            continue;
        }
        struct lease *leases = NULL;
        size_t count = 0;
        if (now >= next) {
            last_beat = now;
            count = upkeep->lease_count;
            leases = memory_copy(upkeep->leases, count * sizeof *leases);
        }
        ensure(pthread_mutex_unlock(&upkeep->mutex) == 0);
        beat_all(upkeep, leases, count);
        free(leases);
        busy = compact(upkeep);
        if (now - last_duties >= DUTIES_MS) {
            last_duties = now;
            duties(upkeep);
        }
        ensure(pthread_mutex_lock(&upkeep->mutex) == 0);
    }
    ensure(pthread_mutex_unlock(&upkeep->mutex) == 0);
    return NULL;
}

struct local_upkeep *local_upkeep_start(struct local_environment *environment)
{
    ensure(environment != NULL);
    struct local_upkeep *upkeep = memory_allocate(sizeof *upkeep);
    upkeep->environment = environment;
    pthread_condattr_t attributes;
    ensure(pthread_condattr_init(&attributes) == 0);
    ensure(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    ensure(pthread_cond_init(&upkeep->changed, &attributes) == 0);
    (void)pthread_condattr_destroy(&attributes);
    ensure(pthread_mutex_init(&upkeep->mutex, NULL) == 0);
    /* Signals are the program's: one that is handled here would end it without its last commit. */
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    ensure(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    ensure(pthread_create(&upkeep->thread, NULL, upkeep_run, upkeep) == 0);
    ensure(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    return upkeep;
}

void local_upkeep_stop(struct local_upkeep *upkeep)
{
    ensure(pthread_mutex_lock(&upkeep->mutex) == 0);
    upkeep->stop = true;
    ensure(pthread_cond_signal(&upkeep->changed) == 0);
    ensure(pthread_mutex_unlock(&upkeep->mutex) == 0);
    ensure(pthread_join(upkeep->thread, NULL) == 0);
    ensure(upkeep->owned_count == 0 || upkeep->owned != NULL);
    for (size_t i = 0; i < upkeep->owned_count; i++) {
        local_compaction_destroy(upkeep->owned[i].compaction);
    }
    (void)pthread_cond_destroy(&upkeep->changed);
    (void)pthread_mutex_destroy(&upkeep->mutex);
    free(upkeep->owned);
    free(upkeep->leases);
    free(upkeep);
}

void local_upkeep_enlist(struct local_upkeep *upkeep, const char *group, const char *member,
                         int64_t session_ms)
{
    struct lease lease = {.session_ms = session_ms};
    ensure(strlen(group) < sizeof lease.group && strlen(member) < sizeof lease.member);
    ensure(session_ms > 0);
    memcpy(lease.group, group, strlen(group));
    memcpy(lease.member, member, strlen(member));
    ensure(pthread_mutex_lock(&upkeep->mutex) == 0);
    upkeep->leases =
        memory_resize(upkeep->leases, (upkeep->lease_count + 1) * sizeof *upkeep->leases);
    upkeep->leases[upkeep->lease_count++] = lease;
    ensure(pthread_cond_signal(&upkeep->changed) == 0);
    ensure(pthread_mutex_unlock(&upkeep->mutex) == 0);
}

void local_upkeep_discharge(struct local_upkeep *upkeep, const char *member)
{
    ensure(pthread_mutex_lock(&upkeep->mutex) == 0);
    for (size_t i = upkeep->lease_count; i-- > 0;) {
        if (strcmp(upkeep->leases[i].member, member) == 0) {
            upkeep->leases[i] = upkeep->leases[--upkeep->lease_count];
        }
    }
    ensure(pthread_mutex_unlock(&upkeep->mutex) == 0);
}
