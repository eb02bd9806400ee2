/* SPDX-License-Identifier: Apache-2.0 */
#include "verdict.h"

#include "base/bytes.h"
#include "power_log.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FURTHER = 3, SECONDS = 60 };

/* What the child found, in memory that both see. */
struct finding {
    bool opened, read, went_on;
    bool aside, marked; /* moved aside; the boot marker was another boot's */
    uint64_t digest;
    char text[360];
};

static void say(struct finding *finding, const char *where, const struct error *error)
{
    (void)snprintf(finding->text, sizeof finding->text, "%s: %s", where, error->text);
}

/* Whether the folder has a marker of another boot; a lock that is not there yet is no reason. */
static bool is_marked(const char *folder)
{
    struct directory *directory = NULL;
    struct error error;
    bool marked = directory_lock(folder, &directory, NULL, &error) == STATUS_OK &&
                  directory_boot_changed(directory);
    directory_unlock(directory);
    return marked;
}

/* Commits more, and reads all again, before and after an orderly close: damage that nothing has
 * touched yet, as in LMDB's list of free pages, shows here. */
static enum status go_on(struct task_store *opened, struct content *content, const char *folder,
                         struct error *error)
{
    struct random random;
    random_init(&random, content->sequence + 1);
    enum status status = content->layout ? STATUS_OK : content_write_layout(opened, content, error);
    for (int i = 0; i < FURTHER && status == STATUS_OK; i++) {
        status = content_commit(opened, content, &random, error);
    }
    struct content found;
    for (int i = 0; i < 2 && status == STATUS_OK; i++) {
        status = content_read(opened, &found, error);
        if (status == STATUS_OK && content_digest(&found) != content_digest(content)) {
            status = error_set(error, STATUS_FATAL, ERROR_MISMATCH, "it holds something else");
        }
        if (status == STATUS_OK && i == 0) {
            struct task_store_options options = {.fast = opened->fast};
            status = task_store_close(opened, error);
            status =
                status == STATUS_OK ? task_store_open(folder, &options, opened, error) : status;
        }
    }
    return status;
}

static void look(const char *image, const char *folder, const struct verdict_options *options,
                 struct finding *finding)
{
    struct error error = {.text = ""};
    struct task_store opened;
    struct content content;
    struct task_store_options how = {.fast = options->fast, .trust_boot = options->trust_boot};
    power_log_start(image); /* so that nothing waits for the disk */
    finding->marked = is_marked(folder);
    if (task_store_open(folder, &how, &opened, &error) != STATUS_OK) {
        say(finding, "opening", &error);
        return;
    }
    finding->opened = true;
    finding->aside = opened.aside;
    (void)snprintf(finding->text, sizeof finding->text, "%s", opened.text);
    if (content_read(&opened, &content, &error) != STATUS_OK) {
        say(finding, "reading", &error);
        return;
    }
    finding->digest = content_digest(&content);
    finding->read = true;
    if (go_on(&opened, &content, folder, &error) != STATUS_OK) {
        say(finding, "going on", &error);
        return;
    }
    task_store_drop(&opened);
    finding->went_on = true;
}

/* 0, or the signal that ended the child. */
static int in_child(const char *image, const char *folder, const struct verdict_options *options,
                    struct finding *finding)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit none = {0, 0};
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)alarm(SECONDS); /* a damaged tree may lead in a circle */
        if (options->quiet) {
            (void)!freopen("/dev/null", "w", stderr);
        }
        look(image, folder, options, finding);
        _exit(0);
    }
    int state = 0;
    ensure(pid > 0 && waitpid(pid, &state, 0) == pid);
    return WIFSIGNALED(state) ? WTERMSIG(state) : WEXITSTATUS(state);
}

static enum verdict_kind compare(const struct store_life *life, size_t cut,
                                 const struct finding *found, const struct verdict_options *options)
{
    size_t last = store_life_reached(life, cut);
    const struct store_state *state = &life->states[last];
    if (found->aside) {
        bool reason = options->hurt || store_life_making(life, cut) || found->marked;
        return reason && found->digest == 0 ? VERDICT_ASIDE : VERDICT_WRONG;
    }
    if (found->digest == state->digest ||
        (last + 1 < life->state_count && found->digest == life->states[last + 1].digest)) {
        return VERDICT_EXACT;
    }
    bool may_lack = last > 0 && !state->fast && cut < state->firm;
    if (may_lack && found->digest == life->states[last - 1].digest) {
        return VERDICT_BEHIND;
    }
    /* A file of no length is a new store. */
    return options->hurt && found->digest == 0 ? VERDICT_ASIDE : VERDICT_WRONG;
}

/* Which state it is, for a line about a wrong one. */
static void explain(const struct store_life *life, size_t cut, const struct finding *found,
                    struct verdict *verdict)
{
    size_t last = store_life_reached(life, cut);
    for (size_t i = 0; i < life->state_count; i++) {
        if (life->states[i].digest == found->digest) {
            (void)snprintf(verdict->text, sizeof verdict->text,
                           "%sstate %zu where %zu was acknowledged", found->aside ? "aside, " : "",
                           i, last);
        }
    }
    if (verdict->text[0] == '\0') {
        (void)snprintf(verdict->text, sizeof verdict->text,
                       "no state that there ever was (%zu was acknowledged)", last);
    }
    if (found->aside) {
        (void)snprintf(verdict->text, sizeof verdict->text, "moved aside without a reason: %s",
                       found->text);
    }
}

struct verdict verdict_of(const struct store_life *life, size_t cut, const char *image,
                          const struct verdict_options *options)
{
    struct verdict verdict = {.kind = VERDICT_WRONG, .text = ""};
    struct finding *found =
        mmap(NULL, sizeof *found, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ensure(found != MAP_FAILED);
    char *folder = memory_format("%s%s", image, life->folder + strlen(life->root));
    int code = in_child(image, folder, options, found);
    if (code != 0) {
        (void)snprintf(verdict.text, sizeof verdict.text, "ended by %s while %s", strsignal(code),
                       !found->opened ? "opening"
                       : !found->read ? "reading"
                                      : "going on");
    } else if (!found->went_on) {
        (void)snprintf(verdict.text, sizeof verdict.text, "%s", found->text);
    } else {
        verdict.kind = compare(life, cut, found, options);
        verdict.digest = found->digest;
        if (verdict.kind == VERDICT_WRONG) {
            explain(life, cut, found, &verdict);
        } else {
            (void)snprintf(verdict.text, sizeof verdict.text, "%s", found->text);
        }
    }
    free(folder);
    (void)munmap(found, sizeof *found);
    return verdict;
}
