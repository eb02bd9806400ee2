/* SPDX-License-Identifier: Apache-2.0 */
/*
 * simulate: runs scenarios by seed, each in a process of its own (so a failed assert or an endless
 * loop is a failing seed, not the end), prints those that fail and a summary.
 *
 *   simulate --seed N [--verbose]      one seed, in this process; --verbose shows every step
 *            [--history FILE]          writes what a reader saw, for check-history
 *   simulate --seeds A..B [--parallel N] [--seconds S] [--all] [--first]
 *                                      --first: until one fails; --all: print those that hold too
 *   simulate --twice A..B              each seed twice: the traces must be the same (I12)
 *
 * Exit 0: all hold. 1: some do not; each is printed with the command that replays it.
 */
#include "scenario.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHILD_LIMIT = 16, SEED_SECONDS = 60 };

struct child {
    pid_t pid; /* 0 = free */
    int result;
    uint64_t seed;
    char *directory;
};

struct totals {
    int64_t seeds, failed;
    struct verdict sums;
    struct marks reached; /* in how many seeds */
};

struct run {
    uint64_t first, last;
    int64_t parallel; /* processes at a time */
    int64_t seconds;
    bool one, twice, all, verbose, first_failure; /* ends the run */
    enum scenario_store store;
    const char *history; /* of the one seed; NULL = none */
    const char *program;
    struct totals totals;
};

/* The folder of a seed: on a memory file system where there is one. */
static char *make_directory(void)
{
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    char *path = memory_format("%s/leat-simulate-XXXXXX", base);
    if (mkdtemp(path) == NULL) {
        perror("mkdtemp");
        exit(2);
    }
    return path;
}

static int remove_one(const char *path, const struct stat *facts, int kind, struct FTW *place)
{
    (void)facts;
    (void)kind;
    (void)place;
    return remove(path);
}

static void remove_directory(const char *path)
{
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0) {
        fprintf(stderr, "%s is left behind\n", path);
    }
}

static int64_t count_faults(const struct verdict *verdict)
{
    const struct sim_disk_statistics *d = &verdict->disk;
    return verdict->crashes + verdict->pauses + verdict->stops + verdict->jumps +
           verdict->power_cuts + verdict->statistics.broken + verdict->statistics.rebalances +
           d->slow + d->damaged + d->full + d->torn + d->undone + d->map_full_at_commit;
}

static void print_counts(const struct verdict *verdict)
{
    const struct sim_statistics *s = &verdict->statistics;
    const struct sim_disk_statistics *d = &verdict->disk;
    printf("  transactions: %" PRId64 " committed, %" PRId64 " aborted, %" PRId64
           " fenced, %" PRId64 " timed out, %" PRId64 " takeovers\n",
           s->committed, s->aborted, s->fenced, s->timed_out, s->takeovers);
    printf("  faults: %" PRId64 " (%" PRId64 " crashes, %" PRId64 " pauses, %" PRId64
           " aimed, %" PRId64 " orderly stops, %" PRId64 " power cuts, %" PRId64
           " clock jumps; %" PRId64 " rebalances, %" PRId64 " broken connections, %" PRId64
           " late ends)\n",
           count_faults(verdict), verdict->crashes, verdict->pauses, verdict->aimed, verdict->stops,
           verdict->power_cuts, verdict->jumps, s->rebalances, s->broken, s->late_ends);
    printf("  disks: %" PRId64 " maps full, %" PRId64 " at a commit, %" PRId64
           " slow calls, %" PRId64 " damaged, %" PRId64 " times full, %" PRId64 " torn, %" PRId64
           " commits lost; %" PRId64 " exits 3\n",
           d->map_full, d->map_full_at_commit, d->slow, d->damaged, d->full, d->torn, d->undone,
           verdict->fencings);
}

static void print_verdict(const struct verdict *verdict)
{
    printf("seed %" PRIu64 ": %s\n", verdict->seed, verdict->setup);
    printf("  %.1f s virtual (%.1f after healing)\n", (double)verdict->virtual_ms / 1000.0,
           (double)verdict->heal_ms / 1000.0);
    print_counts(verdict);
    for (size_t i = 0; i < MARK_COUNT; i++) {
        if (verdict->marks.counts[i] > 0) {
            printf("  mark: %s %" PRId64 "\n", mark_name(i), verdict->marks.counts[i]);
        }
    }
    printf("  trace %016" PRIx64 ": %s\n", verdict->hash,
           verdict->failure[0] == '\0' ? "holds" : verdict->failure);
}

static int run_one(uint64_t seed, enum scenario_store store, bool verbose, const char *history)
{
    char *directory = make_directory();
    struct verdict verdict;
    scenario_run(seed, directory, store, verbose, history, &verdict);
    print_verdict(&verdict);
    remove_directory(directory);
    free(directory);
    return verdict.failure[0] == '\0' ? 0 : 1;
}

/* ---- Many seeds ---- */

static void start_child(struct child *child, enum scenario_store store, uint64_t seed)
{
    int ends[2];
    if (pipe(ends) != 0) {
        perror("pipe");
        exit(2);
    }
    child->seed = seed;
    child->result = ends[0];
    child->directory = make_directory();
    child->pid = fork();
    if (child->pid == 0) {
        close(ends[0]);
        alarm(SEED_SECONDS);
        struct verdict verdict;
        scenario_run(seed, child->directory, store, false, NULL, &verdict);
        ssize_t written = write(ends[1], &verdict, sizeof verdict);
        _exit(written == (ssize_t)sizeof verdict ? 0 : 2);
    }
    close(ends[1]);
}

static bool read_verdict(int result, struct verdict *verdict)
{
    size_t size = 0;
    while (size < sizeof *verdict) {
        ssize_t more = read(result, (char *)verdict + size, sizeof *verdict - size);
        if (more <= 0) {
            return false;
        }
        size += (size_t)more;
    }
    return true;
}

static void add_up(struct totals *totals, const struct verdict *verdict)
{
    struct verdict *sums = &totals->sums;
    sums->virtual_ms += verdict->virtual_ms;
    sums->crashes += verdict->crashes;
    sums->pauses += verdict->pauses;
    sums->stops += verdict->stops;
    sums->jumps += verdict->jumps;
    sums->power_cuts += verdict->power_cuts;
    sums->aimed += verdict->aimed;
    sums->fencings += verdict->fencings;
    struct sim_statistics *s = &sums->statistics;
    s->committed += verdict->statistics.committed;
    s->aborted += verdict->statistics.aborted;
    s->fenced += verdict->statistics.fenced;
    s->timed_out += verdict->statistics.timed_out;
    s->takeovers += verdict->statistics.takeovers;
    s->rebalances += verdict->statistics.rebalances;
    s->broken += verdict->statistics.broken;
    s->late_ends += verdict->statistics.late_ends;
    struct sim_disk_statistics *d = &sums->disk;
    d->map_full += verdict->disk.map_full;
    d->map_full_at_commit += verdict->disk.map_full_at_commit;
    d->slow += verdict->disk.slow;
    d->damaged += verdict->disk.damaged;
    d->full += verdict->disk.full;
    d->torn += verdict->disk.torn;
    d->undone += verdict->disk.undone;
    marks_add(&sums->marks, &totals->reached, &verdict->marks);
}

static void print_totals(const struct totals *totals, int64_t seconds)
{
    printf("%" PRId64 " seeds, %" PRId64 " failed; %.1f h of virtual time in %" PRId64 " s\n",
           totals->seeds, totals->failed, (double)totals->sums.virtual_ms / 3.6e6, seconds);
    print_counts(&totals->sums);
    if (totals->seeds > 0) {
        printf("  a seed: %.1f faults, %.1f transactions\n",
               (double)count_faults(&totals->sums) / (double)totals->seeds,
               (double)totals->sums.statistics.committed / (double)totals->seeds);
    }
    for (size_t i = 0; i < MARK_COUNT; i++) {
        printf("  mark: %-40s %8" PRId64 " times, in %" PRId64 " seeds\n", mark_name(i),
               totals->sums.marks.counts[i], totals->reached.counts[i]);
    }
}

/* Whether it lived to say what it saw. */
static bool end_child(struct child *child, struct verdict *verdict, int *status)
{
    bool answered = read_verdict(child->result, verdict);
    close(child->result);
    waitpid(child->pid, status, 0);
    child->pid = 0;
    remove_directory(child->directory);
    free(child->directory);
    return answered;
}

static void finish_child(struct run *run, struct child *child)
{
    struct verdict verdict;
    int status = 0;
    bool answered = end_child(child, &verdict, &status);
    run->totals.seeds++;
    if (!answered) {
        run->totals.failed++;
        printf("seed %" PRIu64 ": %s (signal %d)\n", child->seed,
               WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? "takes for ever" : "crashed",
               WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    } else {
        add_up(&run->totals, &verdict);
        run->totals.failed += verdict.failure[0] != '\0' ? 1 : 0;
        if (run->all || verdict.failure[0] != '\0') {
            print_verdict(&verdict);
        }
    }
    if (!answered || verdict.failure[0] != '\0') {
        static const char *const stores[] = {"", " --store memory", " --store lmdb"};
        printf("  replay: %s --seed %" PRIu64 "%s --verbose\n", run->program, child->seed,
               stores[run->store]);
    }
    fflush(stdout);
}

static int run_many(struct run *run)
{
    struct child children[CHILD_LIMIT] = {0};
    time_t began = time(NULL);
    uint64_t next = run->first;
    int busy = 0;
    while (busy > 0 || next <= run->last) {
        bool time_left = run->seconds == 0 || time(NULL) - began < run->seconds;
        bool enough = run->first_failure && run->totals.failed > 0;
        if (busy < run->parallel && next <= run->last && time_left && !enough) {
            int free_child = 0;
            while (children[free_child].pid != 0) {
                free_child++;
            }
            start_child(&children[free_child], run->store, next++);
            busy++;
            continue;
        }
        if (busy == 0) {
            break;
        }
        int oldest = -1;
        for (int i = 0; i < run->parallel; i++) {
            if (children[i].pid != 0 && (oldest < 0 || children[i].seed < children[oldest].seed)) {
                oldest = i;
            }
        }
        finish_child(run, &children[oldest]);
        busy--;
    }
    print_totals(&run->totals, (int64_t)(time(NULL) - began));
    return run->totals.failed == 0 ? 0 : 1;
}

static void run_in_child(enum scenario_store store, uint64_t seed, struct verdict *verdict)
{
    struct child child;
    start_child(&child, store, seed);
    int status = 0;
    if (!end_child(&child, verdict, &status)) {
        memset(verdict, 0, sizeof *verdict); /* crashed: the same way twice */
    }
}

static int run_twice(const struct run *run)
{
    int64_t different = 0;
    for (uint64_t seed = run->first; seed <= run->last; seed++) {
        struct verdict one;
        struct verdict two;
        run_in_child(run->store, seed, &one);
        run_in_child(run->store, seed, &two);
        if (one.hash != two.hash) {
            different++;
            printf("seed %" PRIu64 ": traces %016" PRIx64 " and %016" PRIx64 "\n", seed, one.hash,
                   two.hash);
        }
    }
    printf("%" PRIu64 " seeds twice, %" PRId64 " differ\n", run->last - run->first + 1, different);
    return different == 0 ? 0 : 1;
}

static _Noreturn void usage(void)
{
    fputs("usage: simulate --seed N [--verbose] [--history FILE]\n"
          "       simulate --seeds A..B [--parallel N] [--seconds S] [--all] [--first]\n"
          "       simulate --twice A..B\n"
          "       with --store memory|lmdb: that one in every seed\n",
          stderr);
    exit(2);
}

static int64_t read_number(const char *text)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < 0) {
        usage();
    }
    return number;
}

static enum scenario_store read_store(const char *text)
{
    if (strcmp(text, "lmdb") == 0) {
        return STORE_LMDB;
    }
    if (strcmp(text, "memory") != 0) {
        usage();
    }
    return STORE_MEMORY;
}

/* An option that takes a value. */
static void read_option(struct run *run, const char *name, const char *value)
{
    if (strcmp(name, "--seed") == 0) {
        run->one = true;
        run->first = strtoull(value, NULL, 10);
    } else if (strcmp(name, "--seeds") == 0 || strcmp(name, "--twice") == 0) {
        run->twice = strcmp(name, "--twice") == 0;
        if (sscanf(value, "%" SCNu64 "..%" SCNu64, &run->first, &run->last) != 2) {
            usage();
        }
    } else if (strcmp(name, "--history") == 0) {
        run->history = value;
    } else if (strcmp(name, "--store") == 0) {
        run->store = read_store(value);
    } else if (strcmp(name, "--parallel") == 0) {
        run->parallel = read_number(value);
    } else if (strcmp(name, "--seconds") == 0) {
        run->seconds = read_number(value);
    } else {
        usage();
    }
}

int main(int argc, char **argv)
{
    struct run run = {.first = 1, .last = 0, .parallel = 1, .program = argv[0]};
#ifdef __GLIBC__
    /* Instances come and go: memory is kept, not given back and faulted in again. */
    (void)mallopt(M_MMAP_THRESHOLD, 64 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 256 << 20);
    (void)mallopt(M_TOP_PAD, 1 << 20);
#endif
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0) {
            run.verbose = true;
        } else if (strcmp(argv[i], "--all") == 0) {
            run.all = true;
        } else if (strcmp(argv[i], "--first") == 0) {
            run.first_failure = true;
        } else {
            read_option(&run, argv[i], i + 1 < argc ? argv[i + 1] : "");
            i++;
        }
    }
    if (run.one) {
        return run_one(run.first, run.store, run.verbose, run.history);
    }
    if (run.last < run.first || run.parallel < 1 || run.parallel > CHILD_LIMIT) {
        usage();
    }
    return run.twice ? run_twice(&run) : run_many(&run);
}
