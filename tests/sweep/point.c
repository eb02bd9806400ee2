/* SPDX-License-Identifier: Apache-2.0 */
#include "point.h"

#include "loss.h"
#include "turns.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FAULT_LIMIT = 5 };

static struct plan *armed;

#define POINT_TEXT(name, text, points) text,
static const char *const call_names[] = {POINT_CALLS(POINT_TEXT)};
#undef POINT_TEXT
#define POINT_FLAGS(name, text, points) points,
static const int call_points[] = {POINT_CALLS(POINT_FLAGS)};
#undef POINT_FLAGS

/* What broker.h, store.h and the system document for each call. */
static const struct fault faults[CALL_COUNT][FAULT_LIMIT] = {
    [CALL_TOPIC_GET] = {{STATUS_RETRY, ERROR_TIMED_OUT, 0, false},
                        {STATUS_FATAL, ERROR_NO_BROKER, 0, false}},
    [CALL_TOPIC_CREATE] = {{STATUS_RETRY, ERROR_TIMED_OUT, 0, false},
                           {STATUS_FATAL, ERROR_NO_BROKER, 0, true},
                           {STATUS_FATAL, ERROR_DENIED, 0, false}},
    [CALL_LOG_RANGE] = {{STATUS_RETRY, ERROR_TIMED_OUT, 0, false},
                        {STATUS_FATAL, ERROR_NO_BROKER, 0, false}},
    [CALL_UNSTABLE] = {{STATUS_RETRY, ERROR_TIMED_OUT, 0, false},
                       {STATUS_FATAL, ERROR_NO_BROKER, 0, false}},
    [CALL_CONSUMER_OPEN] = {{STATUS_RETRY, ERROR_NO_BROKER, 0, false},
                            {STATUS_FATAL, ERROR_DENIED, 0, false}},
    [CALL_POLL] = {{STATUS_RETRY, ERROR_TIMED_OUT, 0, false},
                   {STATUS_FATAL, ERROR_FENCED_INSTANCE, 0, false},
                   {STATUS_FATAL, ERROR_IO, 0, false}},
    [CALL_RESTORE] = {{STATUS_RETRY, ERROR_TIMED_OUT, 0, false},
                      {STATUS_FATAL, ERROR_FENCED_INSTANCE, 0, false}},
    [CALL_ASSIGN] = {{STATUS_RETRY, ERROR_TIMED_OUT, 0, false},
                     {STATUS_FATAL, ERROR_FENCED_INSTANCE, 0, false}},
    [CALL_UNASSIGN] = {{STATUS_RETRY, ERROR_TIMED_OUT, 0, false},
                       {STATUS_RETRY, ERROR_TIMED_OUT, 0, true}},
    [CALL_COMMITTED] = {{STATUS_RETRY, ERROR_TIMED_OUT, 0, false},
                        {STATUS_FATAL, ERROR_FENCED_INSTANCE, 0, false}},
    [CALL_OWNS] = {{STATUS_ABORT, ERROR_NOT_OWNER, 0, false}},
    [CALL_PRODUCER_OPEN] = {{STATUS_RETRY, ERROR_NO_BROKER, 0, false},
                            {STATUS_FATAL, ERROR_DENIED, 0, false}},
    [CALL_READY] = {{STATUS_RETRY, ERROR_TIMED_OUT, 0, false},
                    {STATUS_FATAL, ERROR_FENCED, 0, false},
                    {STATUS_FATAL, ERROR_LIMIT, 0, false}},
    [CALL_PRODUCER_TOPIC] = {{STATUS_RETRY, ERROR_TIMED_OUT, 0, false},
                             {STATUS_FATAL, ERROR_NO_TOPIC, 0, false}},
    [CALL_BEGIN] = {{STATUS_FATAL, ERROR_FENCED, 0, false}},
    [CALL_SEND] = {{STATUS_ABORT, ERROR_TIMED_OUT, 0, false},
                   {STATUS_FATAL, ERROR_FENCED, 0, false},
                   {STATUS_BAD_RECORD, ERROR_TOO_LARGE, 0, false}},
    [CALL_FLUSH] = {{STATUS_RETRY, ERROR_TIMED_OUT, 0, false},
                    {STATUS_ABORT, ERROR_TIMED_OUT, 0, false},
                    {STATUS_FATAL, ERROR_FENCED, 0, false}},
    [CALL_SEND_OFFSETS] = {{STATUS_RETRY, ERROR_TIMED_OUT, 0, false},
                           {STATUS_ABORT, ERROR_NOT_OWNER, 0, false},
                           {STATUS_FATAL, ERROR_FENCED, 0, true}},
    [CALL_COMMIT] = {{STATUS_RETRY, ERROR_TIMED_OUT, 0, false},
                     {STATUS_RETRY, ERROR_TIMED_OUT, 0, true},
                     {STATUS_ABORT, ERROR_NOT_OWNER, 0, false},
                     {STATUS_FATAL, ERROR_FENCED, 0, true},
                     {STATUS_FATAL, ERROR_FENCED, 0, false}},
    [CALL_ABORT] = {{STATUS_RETRY, ERROR_TIMED_OUT, 0, false},
                    {STATUS_FATAL, ERROR_FENCED, 0, true}},
    [CALL_SUSPECT] = {{STATUS_RETRY, ERROR_TIMED_OUT, 0, false}},
    [CALL_STORE_OPEN] = {{STATUS_FATAL, ERROR_CORRUPT, 0, false},
                         {STATUS_FATAL, ERROR_DISK_FULL, 0, false},
                         {STATUS_FATAL, ERROR_DENIED, 0, false}},
    [CALL_TABLE_OPEN] = {{STATUS_FATAL, ERROR_CORRUPT, 0, false},
                         {STATUS_FATAL, ERROR_DISK_FULL, 0, false}},
    [CALL_STORE_BEGIN] = {{STATUS_FATAL, ERROR_CORRUPT, 0, false},
                          {STATUS_FATAL, ERROR_DISK_FULL, 0, false}},
    [CALL_STORE_COMMIT] = {{STATUS_FATAL, ERROR_CORRUPT, 0, false},
                           {STATUS_FATAL, ERROR_DISK_FULL, 0, false},
                           {STATUS_RETRY, ERROR_MAP_FULL, 0, false}},
    [CALL_STORE_SYNC] = {{STATUS_FATAL, ERROR_CORRUPT, 0, false},
                         {STATUS_FATAL, ERROR_DISK_FULL, 0, false}},
    [CALL_META_GET] = {{STATUS_FATAL, ERROR_CORRUPT, 0, false}},
    [CALL_META_PUT] = {{STATUS_FATAL, ERROR_CORRUPT, 0, false},
                       {STATUS_RETRY, ERROR_MAP_FULL, 0, false}},
    [CALL_STORE_CLEAR] = {{STATUS_FATAL, ERROR_CORRUPT, 0, false},
                          {STATUS_RETRY, ERROR_MAP_FULL, 0, false}},
    [CALL_GET] = {{STATUS_FATAL, ERROR_CORRUPT, 0, false}},
    [CALL_PUT] = {{STATUS_FATAL, ERROR_CORRUPT, 0, false},
                  {STATUS_RETRY, ERROR_MAP_FULL, 0, false}},
    [CALL_REMOVE] = {{STATUS_FATAL, ERROR_CORRUPT, 0, false},
                     {STATUS_RETRY, ERROR_MAP_FULL, 0, false}},
    [CALL_SCAN] = {{STATUS_FATAL, ERROR_CORRUPT, 0, false}},
    [CALL_NEXT] = {{STATUS_FATAL, ERROR_CORRUPT, 0, false}},
    [CALL_FILE_OPEN] = {{.system = 24 /* EMFILE */}, {.system = 28 /* ENOSPC */}},
    [CALL_FILE_MKDIR] = {{.system = 28}, {.system = 13 /* EACCES */}},
    [CALL_FILE_RENAME] = {{.system = 5 /* EIO */}, {.system = 13}},
    [CALL_FILE_UNLINK] = {{.system = 5}, {.system = 13}},
    [CALL_FILE_RMDIR] = {{.system = 5}},
    [CALL_FILE_TRUNCATE] = {{.system = 5}, {.system = 28}},
    [CALL_FILE_WRITE] = {{.system = 5}, {.system = 28}},
    [CALL_FILE_SYNC] = {{.system = 5}, {.system = 28}},
    [CALL_OPERATOR_INIT] = {{STATUS_RETRY, ERROR_OPERATOR, 0, false},
                            {STATUS_FATAL, ERROR_OPERATOR, 0, false}},
    [CALL_OPERATOR_PROCESS] = {{STATUS_RETRY, ERROR_OPERATOR, 0, false},
                               {STATUS_BAD_RECORD, ERROR_OPERATOR, 0, false},
                               {STATUS_FATAL, ERROR_OPERATOR, 0, true}},
    [CALL_OPERATOR_TIMER] = {{STATUS_RETRY, ERROR_OPERATOR, 0, false},
                             {STATUS_BAD_RECORD, ERROR_OPERATOR, 0, false},
                             {STATUS_FATAL, ERROR_OPERATOR, 0, true}},
};

void point_arm(struct plan *plan)
{
    armed = plan;
}

struct plan *point_plan(void)
{
    return armed;
}

void (*point_pause)(void);

static void die(void)
{
    armed->reached = true;
    switch (armed->death) {
    case DEATH_PAUSE:
        point_pause();
        return;
    case DEATH_POWER:
        loss_strike();
        (void)kill(getpid(), SIGKILL);
        break;
    case DEATH_KILL:
        (void)kill(getpid(), SIGKILL);
        break;
    default:
        break;
    }
    _exit(POINT_DIED);
}

static void reach(int point)
{
    int64_t occurrence = ++armed->counts[point];
    if (point == armed->point && occurrence == armed->occurrence) {
        die();
    }
}

static bool counts(void)
{
    return armed != NULL && (!armed->first_only || turns_self() == 0);
}

const struct fault *point_enter(enum call call)
{
    struct plan *plan = armed;
    if (!counts()) {
        return NULL;
    }
    reach(2 * (int)call);
    int64_t occurrence = plan->counts[2 * call];
    if (plan->call == (int)call && plan->occurrence == occurrence) {
        plan->reached = true;
        return &faults[call][plan->fault];
    }
    for (int i = 0; i < plan->standing_count; i++) {
        if (plan->standing[i].call == call && plan->standing[i].occurrence == occurrence) {
            return &faults[call][plan->standing[i].fault];
        }
    }
    return NULL;
}

void point_leave(enum call call)
{
    if (counts()) {
        reach(2 * (int)call + 1);
    }
}

enum status point_refuse(enum call call, const struct fault *fault, struct error *error)
{
    ensure(fault->status != STATUS_OK);
    return error_set(error, fault->status, fault->code, "%s was made to fail: %s", call_names[call],
                     error_code_name(fault->code));
}

const char *point_call_name(enum call call)
{
    return call_names[call];
}

bool point_exists(int point)
{
    return (call_points[point / 2] & (point % 2 == 0 ? POINT_BEFORE : POINT_AFTER)) != 0;
}

const char *point_name(int point)
{
    static char name[64];
    (void)snprintf(name, sizeof name, "%s.%s", call_names[point / 2],
                   point % 2 == 0 ? "before" : "after");
    return name;
}

int point_fault_count(enum call call)
{
    int count = 0;
    while (count < FAULT_LIMIT &&
           (faults[call][count].status != STATUS_OK || faults[call][count].system != 0)) {
        count++;
    }
    return count;
}

bool point_fault_recoverable(enum call call, int fault)
{
    enum status status = faults[call][fault].status;
    return call < CALL_FILE_OPEN && (status == STATUS_RETRY || status == STATUS_ABORT);
}

const char *point_fault_name(enum call call, int fault)
{
    static char name[80];
    static const char *const classes[] = {"ok",    "not found",  "retry",     "abort",
                                          "fatal", "bad record", "bad config"};
    const struct fault *found = &faults[call][fault];
    if (found->system != 0) {
        (void)snprintf(name, sizeof name, "%s", strerrorname_np(found->system));
    } else {
        (void)snprintf(name, sizeof name, "%s, %s%s", classes[found->status],
                       error_code_name(found->code), found->applied ? ", but done" : "");
    }
    return name;
}
