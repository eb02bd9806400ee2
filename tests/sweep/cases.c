/* SPDX-License-Identifier: Apache-2.0 */
#include "cases.h"

#include "facts.h"
#include "folders.h"
#include "loss.h"
#include "seam.h"
#include "turns.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WATCHDOG_S = 30, ENDED_WITH_ERROR = 10, DIFFERS = 11, STORES_LAG = 12 };

static const int64_t second_us = 1000000;

/* How a child ended: status as of waitpid. */
typedef int (*child_body)(const struct sweep_case *given, struct plan *plan);

/* ---- Children ---- */

/* An orderly end: a sanitizer looks for leaks in exit. */
_Noreturn static void leave(int status)
{
    (void)fflush(stderr);
    exit(status);
}

static int run_child(child_body body, const struct sweep_case *given, struct plan *plan)
{
    int status = 0;
    (void)fflush(stdout);
    pid_t child = fork();
    ensure(child >= 0);
    if (child == 0) {
        char *log = memory_format("%s/log", plan->folder);
        int file = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        ensure(file >= 0 && dup2(file, STDERR_FILENO) >= 0 && dup2(file, STDOUT_FILENO) >= 0);
        free(log);
        (void)close(file);
        (void)alarm(WATCHDOG_S);
        leave(body(given, plan));
    }
    while (waitpid(child, &status, 0) < 0) {
        ensure(errno == EINTR);
    }
    return status;
}

static int prepare_body(const struct sweep_case *given, struct plan *plan)
{
    char *folder = memory_format("%s/case", plan->folder);
    seam_seed(1);
    ensure(mkdir(folder, 0700) == 0);
    given->script->prepare(given->script, folder);
    free(folder);
    return 0;
}

static int life_body(const struct sweep_case *given, struct plan *plan)
{
    struct error error = {0};
    char *state = memory_format("%s/case/state", plan->folder);
    char *folder = memory_format("%s/case", plan->folder);
    turns_advance(1000 * second_us);
    seam_seed(2);
    seam_watch(state);
    if (given->kind == KIND_DEATH && given->how == DEATH_POWER) {
        loss_watch(state,
                   (uint64_t)(given->seed * 1000003 + given->occurrence * 131 + given->point));
    }
    point_arm(plan);
    seam_memory_watch(given->kind == KIND_ALLOCATION);
    enum status status = given->script->run(given->script, folder, &error);
    seam_memory_watch(false);
    point_arm(NULL);
    free(state);
    free(folder);
    if (status != STATUS_OK) {
        (void)snprintf(plan->text, sizeof plan->text, "%s", error.text);
    }
    return status == STATUS_OK ? 0 : ENDED_WITH_ERROR;
}

/* After a failure a store may be behind its changelog, or another instance's: then a restart must
   mend it. Everything else must be right at once. */
static int compare(const char *folder, enum shape shape, struct plan *plan)
{
    struct facts expected = {0};
    struct facts found = {0};
    facts_expect(&expected, shape);
    facts_find(&found, folder, shape);
    int result = 0;
    if (!facts_equal(&expected, &found, plan->text, sizeof plan->text)) {
        facts_drop(&expected, "store ");
        facts_drop(&found, "store ");
        result =
            facts_equal(&expected, &found, plan->text, sizeof plan->text) ? STORES_LAG : DIFFERS;
    }
    facts_finish(&expected);
    facts_finish(&found);
    return result;
}

static int restart_body(const struct sweep_case *given, struct plan *plan)
{
    struct error error = {0};
    char *folder = memory_format("%s/case", plan->folder);
    turns_advance(100000 * second_us);
    seam_seed(3);
    enum status status = script_restart(given->script, folder, &error);
    int result = ENDED_WITH_ERROR;
    if (status == STATUS_OK) {
        result = compare(folder, given->script->shape, plan);
    } else {
        (void)snprintf(plan->text, sizeof plan->text, "the restart failed: %s", error.text);
    }
    free(folder);
    return result;
}

static int compare_body(const struct sweep_case *given, struct plan *plan)
{
    char *folder = memory_format("%s/case", plan->folder);
    turns_advance(100000 * second_us);
    int result = compare(folder, given->script->shape, plan);
    free(folder);
    return result;
}

/* ---- Judging ---- */

static void describe(int status, char *text, size_t size)
{
    if (WIFSIGNALED(status)) {
        (void)snprintf(text, size, "signal %s%s", sigabbrev_np(WTERMSIG(status)),
                       WTERMSIG(status) == SIGALRM ? " (a hang)" : "");
    } else {
        (void)snprintf(text, size, "exit %d", WEXITSTATUS(status));
    }
}

static void describe_end(int status, const char *error, char *text, size_t size)
{
    char how[64];
    describe(status, how, sizeof how);
    (void)snprintf(text, size, "%s%s%s", status == 0 ? "it went on" : how,
                   error[0] == '\0' ? "" : ", ", error);
}

static enum verdict wrong(struct plan *plan, const char *when, int status)
{
    char text[sizeof plan->text];
    char how[64];
    describe(status, how, sizeof how);
    (void)snprintf(text, sizeof text, "%s ended with %s: %s", when, how, plan->text);
    memcpy(plan->text, text, sizeof text);
    return VERDICT_WRONG;
}

/* What a process wrote before it aborted, if it says why: into the plan's text. */
static bool names_memory(struct plan *plan)
{
    char *log = memory_format("%s/log", plan->folder);
    FILE *file = fopen(log, "re");
    char line[1024];
    bool named = false;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        named =
            strstr(line, "topology: no memory") != NULL || strstr(line, "does not hold") != NULL;
        line[strcspn(line, "\n")] = '\0';
        (void)snprintf(plan->text, sizeof plan->text, "%s", line);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    free(log);
    return named;
}

/* A life that was not killed as planned: what may become of it. */
static bool life_is_right(const struct sweep_case *given, struct plan *plan, int status)
{
    if (given->kind == KIND_DEATH && given->how == DEATH_PAUSE) {
        return status == 0;
    }
    if (given->kind == KIND_DEATH) {
        bool killed = given->how != DEATH_EXIT;
        return killed ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL
                      : WIFEXITED(status) && WEXITSTATUS(status) == POINT_DIED;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return true;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == ENDED_WITH_ERROR) {
        if (given->kind == KIND_FAULT) {
            return !point_fault_recoverable((enum call)(given->point / 2), given->how) &&
                   strlen(plan->text) > 10;
        }
        return strstr(plan->text, "memory") != NULL || strstr(plan->text, "address space") != NULL;
    }
    return given->kind == KIND_ALLOCATION && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT &&
           names_memory(plan);
}

static void make_plan(const struct sweep_case *given, const char *folder, int number,
                      struct plan *plan)
{
    *plan = (struct plan){.point = POINT_NONE, .call = POINT_NONE};
    (void)snprintf(plan->folder, sizeof plan->folder, "%s/case-%d", folder, number);
    plan->occurrence = given->occurrence;
    plan->early = given->early;
    plan->keeping = given->keeping;
    plan->first_only = given->script->pauses;
    plan->standing_count = given->script->standing_count;
    memcpy(plan->standing, given->script->standing, sizeof plan->standing);
    switch (given->kind) {
    case KIND_DEATH:
        plan->point = given->point;
        plan->death = (enum death)given->how;
        break;
    case KIND_FAULT:
        plan->call = given->point / 2;
        plan->fault = given->how;
        break;
    default:
        plan->allocation = given->occurrence;
        break;
    }
}

static void make_folder(const struct script *script, const char *folder, const struct plan *plan)
{
    char *base = memory_format("%s/base-%s/case", folder, script->name);
    char *target = memory_format("%s/case", plan->folder);
    folders_remove(plan->folder);
    ensure(mkdir(plan->folder, 0700) == 0);
    folders_copy(base, target);
    free(base);
    free(target);
}

static void adopt_image(const struct plan *plan)
{
    char *state = memory_format("%s/case/state", plan->folder);
    loss_adopt(state);
    free(state);
}

enum verdict case_run(const struct sweep_case *given, const char *folder, int number,
                      struct plan *plan)
{
    make_plan(given, folder, number, plan);
    make_folder(given->script, folder, plan);
    int status = run_child(life_body, given, plan);
    if (!plan->reached) {
        return status == 0 || (given->early || given->keeping) ? VERDICT_NOT_REACHED
                                                               : wrong(plan, "the life", status);
    }
    if (!life_is_right(given, plan, status)) {
        return wrong(plan, "the life", status);
    }
    if (given->kind == KIND_DEATH && given->how == DEATH_POWER) {
        adopt_image(plan);
    }
    char ended[sizeof plan->text];
    describe_end(status, plan->text, ended, sizeof ended);
    plan->text[0] = '\0';
    int result = -1;
    if (status == 0 && given->script->complete) {
        result = run_child(compare_body, given, plan);
        if (result != 0 && !(WIFEXITED(result) && WEXITSTATUS(result) == STORES_LAG)) {
            return wrong(plan, "the comparison", result);
        }
    }
    result = result == 0 ? 0 : run_child(restart_body, given, plan);
    if (result != 0) {
        return wrong(plan, "the restart", result);
    }
    memcpy(plan->text, ended, sizeof ended);
    return VERDICT_RIGHT;
}

void case_prepare(const struct script *script, const char *folder)
{
    struct plan plan = {0};
    const struct sweep_case given = {.script = script};
    (void)snprintf(plan.folder, sizeof plan.folder, "%s/base-%s", folder, script->name);
    ensure(mkdir(plan.folder, 0700) == 0);
    int status = run_child(prepare_body, &given, &plan);
    if (status != 0) {
        (void)fprintf(stderr, "sweep: preparing %s failed; see %s/log\n", script->name,
                      plan.folder);
        abort();
    }
}

enum verdict case_count(const struct script *script, const char *folder, struct plan *plan)
{
    const struct sweep_case given = {.script = script, .kind = KIND_ALLOCATION, .occurrence = -1};
    make_plan(&given, folder, 0, plan);
    make_folder(script, folder, plan);
    int status = run_child(life_body, &given, plan);
    if (status != 0) {
        return wrong(plan, "the life", status);
    }
    status = run_child(script->complete ? compare_body : restart_body, &given, plan);
    return status == 0 ? VERDICT_RIGHT : wrong(plan, "the restart", status);
}

const char *case_options(const struct sweep_case *given)
{
    static char text[200];
    static const char *const deaths[] = {"exit", "kill", "power", "pause"};
    const char *canary = given->early     ? " --canary early"
                         : given->keeping ? " --canary keeping"
                                          : "";
    switch (given->kind) {
    case KIND_DEATH:
        (void)snprintf(text, sizeof text,
                       "--script %s --point %s --occurrence %" PRId64 " --kind %s --seed %" PRId64
                       "%s",
                       given->script->name, point_name(given->point), given->occurrence,
                       deaths[given->how], given->seed, canary);
        break;
    case KIND_FAULT:
        (void)snprintf(text, sizeof text,
                       "--script %s --call %s --occurrence %" PRId64 " --fault %d%s",
                       given->script->name, point_call_name((enum call)(given->point / 2)),
                       given->occurrence, given->how, canary);
        break;
    default:
        (void)snprintf(text, sizeof text, "--script %s --allocation %" PRId64, given->script->name,
                       given->occurrence);
        break;
    }
    return text;
}
