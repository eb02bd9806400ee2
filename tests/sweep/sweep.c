/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sweep: for every script, every point and every occurrence of it a death; for every call every
 * failure it may have; every allocation. After each a restart, and the comparison with what must
 * be.
 */
#include "cases.h"
#include "folders.h"
#include "seam.h"
#include "turns.h"

#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PARALLEL_LIMIT = 16, SCRIPT_LIMIT = 12, WRONG_SHOWN = 20, SHOWN_LINES = 20 };

static const char help[] =
    "sweep [--list] [--script NAME] [--only deaths|failures|allocations] [--parallel N] "
    "[--endings]\n"
    "      [--canary early|keeping] [--folder DIR] [--seed N]\n"
    "sweep --script NAME --point POINT --occurrence N --kind exit|kill|power|pause\n"
    "sweep --script NAME --call CALL --occurrence N --fault N\n"
    "sweep --script NAME --allocation N\n"
    "\n"
    "  --list     the points, and how often each script reaches them\n"
    "  --endings  how each life ended, a line a case\n"
    "  --canary   a store that commits before its transaction is decided (early), or keeps what\n"
    "             was aborted (keeping): exits 0 only if something is found wrong\n"
    "  --seed     other images of power losses\n"
    "With a point, a call or an allocation: that case alone, with its log.\n";

struct options {
    bool list, endings, early, keeping;
    const char *script, *only, *folder, *point, *kind, *call;
    int64_t occurrence, allocation, seed;
    int fault, parallel;
};

/* In memory shared by all processes. */
struct shared {
    struct plan plans[PARALLEL_LIMIT];
    atomic_size_t next;
    atomic_long cases[SCRIPT_LIMIT][KIND_COUNT], wrong[SCRIPT_LIMIT];
    atomic_long shown;
};

struct sweep {
    const struct options *options;
    struct shared *shared;
    char folder[128];
    struct sweep_case *cases;
    size_t count, capacity;
    struct {
        int64_t counts[POINT_COUNT], allocations;
        int points;
        int64_t occurrences;
    } scripts[SCRIPT_LIMIT];
};

/* ---- The list of cases ---- */

static void add(struct sweep *sweep, struct sweep_case given)
{
    if (sweep->count == sweep->capacity) {
        sweep->capacity = sweep->capacity == 0 ? 4096 : sweep->capacity * 2;
        sweep->cases = memory_resize(sweep->cases, sweep->capacity * sizeof *sweep->cases);
    }
    given.seed = sweep->options->seed;
    given.early = sweep->options->early;
    given.keeping = sweep->options->keeping;
    sweep->cases[sweep->count++] = given;
}

static bool wanted(const struct sweep *sweep, const char *kind)
{
    return sweep->options->only == NULL || strcmp(sweep->options->only, kind) == 0;
}

static void add_deaths(struct sweep *sweep, size_t index)
{
    const struct script *script = &scripts[index];
    for (int point = 0; point < POINT_COUNT; point++) {
        int64_t count = point_exists(point) ? sweep->scripts[index].counts[point] : 0;
        struct sweep_case given = {.script = script, .point = point};
        for (given.occurrence = 1; given.occurrence <= count; given.occurrence++) {
            for (given.how = 0; given.how < DEATH_COUNT; given.how++) {
                if ((given.how == DEATH_PAUSE) == script->pauses) {
                    add(sweep, given);
                }
            }
        }
        given.how = script->pauses ? DEATH_PAUSE : DEATH_EXIT;
        given.beyond = true;
        if (point_exists(point)) {
            add(sweep, given);
        }
    }
}

static void add_faults(struct sweep *sweep, size_t index)
{
    for (int call = 0; call < CALL_COUNT; call++) {
        int64_t count = sweep->scripts[index].counts[2 * call];
        for (int64_t i = 1; i <= count; i++) {
            for (int how = 0; how < point_fault_count((enum call)call); how++) {
                add(sweep, (struct sweep_case){.script = &scripts[index],
                                               .kind = KIND_FAULT,
                                               .point = 2 * call,
                                               .occurrence = i,
                                               .how = how});
            }
        }
    }
}

static void add_allocations(struct sweep *sweep, size_t index)
{
    int64_t count = sweep->scripts[index].allocations;
    for (int64_t i = 1; seam_memory_possible() && i <= count; i++) {
        add(sweep, (struct sweep_case){
                       .script = &scripts[index], .kind = KIND_ALLOCATION, .occurrence = i});
    }
}

/* ---- Running ---- */

/* The last lines of a case's log. */
static void show_log(const struct plan *plan, int most)
{
    char *log = memory_format("%s/log", plan->folder);
    char line[512];
    int count = 0;
    for (int pass = 0; pass < 2; pass++) {
        FILE *file = fopen(log, "re");
        for (int i = 0; file != NULL && fgets(line, sizeof line, file) != NULL; i++) {
            if (pass == 0) {
                count++;
            } else if (i >= count - most) {
                (void)fputs(line, stdout);
            }
        }
        if (file != NULL) {
            (void)fclose(file);
        }
    }
    free(log);
}

static void run_case(struct sweep *sweep, const struct sweep_case *given, int number)
{
    struct shared *shared = sweep->shared;
    struct plan *plan = &shared->plans[number];
    size_t index = (size_t)(given->script - scripts);
    enum verdict verdict = case_run(given, sweep->folder, number, plan);
    if (given->beyond) {
        if (verdict == VERDICT_NOT_REACHED) {
            return;
        }
        (void)snprintf(plan->text, sizeof plan->text, "reached more often than was counted");
        verdict = VERDICT_WRONG;
    } else if (verdict == VERDICT_NOT_REACHED) {
        verdict = given->early || given->keeping ? VERDICT_RIGHT : VERDICT_WRONG;
        (void)snprintf(plan->text, sizeof plan->text, "not reached: the script was another one");
    }
    atomic_fetch_add(&shared->cases[index][given->kind], 1);
    if (sweep->options->endings) {
        (void)printf("%s: %s\n", case_options(given), plan->text);
    }
    if (verdict == VERDICT_WRONG) {
        atomic_fetch_add(&shared->wrong[index], 1);
        if (atomic_fetch_add(&shared->shown, 1) < WRONG_SHOWN || sweep->options->endings) {
            (void)printf("wrong: sweep %s\n       %s\n", case_options(given), plan->text);
            show_log(plan, SHOWN_LINES);
            (void)fflush(stdout);
        }
    }
}

static void run_all(struct sweep *sweep)
{
    pid_t children[PARALLEL_LIMIT];
    int count = sweep->options->parallel;
    for (int i = 0; i < count; i++) {
        children[i] = fork();
        ensure(children[i] >= 0);
        if (children[i] == 0) {
            size_t next;
            while ((next = atomic_fetch_add(&sweep->shared->next, 1)) < sweep->count) {
                run_case(sweep, &sweep->cases[next], i);
            }
            (void)fflush(stdout);
            _exit(0);
        }
    }
    for (int i = 0; i < count; i++) {
        int status = 0;
        ensure(waitpid(children[i], &status, 0) == children[i]);
        if (status != 0) {
            (void)printf("wrong: a process of the sweep itself died\n");
            atomic_fetch_add(&sweep->shared->wrong[0], 1);
        }
    }
}

/* ---- Printing ---- */

static long finish(const struct sweep *sweep)
{
    long totals[KIND_COUNT] = {0};
    long wrong = 0;
    int points = 0;
    (void)printf("%-10s %7s %12s %8s %9s %12s %6s\n", "script", "points", "occurrences", "deaths",
                 "failures", "allocations", "wrong");
    for (size_t i = 0; i < script_count; i++) {
        const atomic_long *cases = sweep->shared->cases[i];
        (void)printf("%-10s %7d %12" PRId64 " %8ld %9ld %12ld %6ld\n", scripts[i].name,
                     sweep->scripts[i].points, sweep->scripts[i].occurrences, cases[KIND_DEATH],
                     cases[KIND_FAULT], cases[KIND_ALLOCATION], sweep->shared->wrong[i]);
        for (int kind = 0; kind < KIND_COUNT; kind++) {
            totals[kind] += cases[kind];
        }
        wrong += sweep->shared->wrong[i];
    }
    for (int point = 0; point < POINT_COUNT; point++) {
        bool reached = false;
        for (size_t i = 0; i < script_count; i++) {
            reached = reached || (point_exists(point) && sweep->scripts[i].counts[point] > 0);
        }
        points += reached;
    }
    (void)printf("sweep: points=%d cases=%ld failures=%ld allocations=%ld wrong=%ld\n", points,
                 totals[KIND_DEATH], totals[KIND_FAULT], totals[KIND_ALLOCATION], wrong);
    return wrong;
}

static void list(const struct sweep *sweep)
{
    (void)printf("%-32s", "point");
    for (size_t i = 0; i < script_count; i++) {
        (void)printf(" %9s", scripts[i].name);
    }
    (void)printf("\n");
    for (int point = 0; point < POINT_COUNT; point++) {
        if (!point_exists(point)) {
            continue;
        }
        (void)printf("%-32s", point_name(point));
        for (size_t i = 0; i < script_count; i++) {
            (void)printf(" %9" PRId64, sweep->scripts[i].counts[point]);
        }
        (void)printf("\n");
    }
    (void)printf("\n");
    for (size_t i = 0; i < script_count; i++) {
        (void)printf("%-10s %s\n", scripts[i].name, scripts[i].summary);
    }
}

/* ---- Set-up ---- */

static bool selected(const struct sweep *sweep, size_t index)
{
    const char *name = sweep->options->script;
    return name == NULL || strcmp(name, scripts[index].name) == 0;
}

static void prepare(struct sweep *sweep)
{
    ensure(script_count <= SCRIPT_LIMIT);
    for (size_t i = 0; i < script_count; i++) {
        if (!selected(sweep, i)) {
            continue;
        }
        case_prepare(&scripts[i], sweep->folder);
        struct plan *plan = &sweep->shared->plans[0];
        if (case_count(&scripts[i], sweep->folder, plan) != VERDICT_RIGHT) {
            (void)printf("wrong: script %s without any fault: %s\n", scripts[i].name, plan->text);
            atomic_fetch_add(&sweep->shared->wrong[i], 1);
            continue;
        }
        memcpy(sweep->scripts[i].counts, plan->counts, sizeof plan->counts);
        sweep->scripts[i].allocations = plan->allocations;
        for (int point = 0; point < POINT_COUNT; point++) {
            if (point_exists(point)) {
                sweep->scripts[i].points += plan->counts[point] > 0;
                sweep->scripts[i].occurrences += plan->counts[point];
            }
        }
    }
}

static void fill(struct sweep *sweep)
{
    for (size_t i = 0; i < script_count; i++) {
        if (!selected(sweep, i)) {
            continue;
        }
        if (wanted(sweep, "deaths")) {
            add_deaths(sweep, i);
        }
        if (wanted(sweep, "failures") && !scripts[i].pauses) {
            add_faults(sweep, i);
        }
        if (wanted(sweep, "allocations") && !scripts[i].pauses) {
            add_allocations(sweep, i);
        }
    }
}

static _Noreturn void misused(const char *what)
{
    (void)fprintf(stderr, "sweep: %s\n%s", what, help);
    exit(2);
}

static int index_of(const char *name, int count, const char *(*name_of)(int))
{
    for (int i = 0; i < count; i++) {
        if (strcmp(name, name_of(i)) == 0) {
            return i;
        }
    }
    misused("unknown point or call; see --list");
}

static const char *name_of_point(int point)
{
    return point_name(point);
}

static const char *name_of_call(int call)
{
    return point_call_name((enum call)call);
}

static const char *name_of_death(int death)
{
    static const char *const names[] = {"exit", "kill", "power", "pause"};
    return names[death];
}

/* The one case that the options name. */
static struct sweep_case named_case(const struct options *options)
{
    struct sweep_case given = {
        .occurrence = options->occurrence, .early = options->early, .keeping = options->keeping};
    for (size_t i = 0; i < script_count; i++) {
        if (options->script != NULL && strcmp(options->script, scripts[i].name) == 0) {
            given.script = &scripts[i];
        }
    }
    if (given.script == NULL) {
        misused("one case needs --script");
    }
    if (options->point != NULL) {
        given.point = index_of(options->point, POINT_COUNT, name_of_point);
        given.how = options->kind == NULL ? DEATH_KILL
                                          : index_of(options->kind, DEATH_COUNT, name_of_death);
    } else if (options->call != NULL) {
        given.kind = KIND_FAULT;
        given.point = 2 * index_of(options->call, CALL_COUNT, name_of_call);
        given.how = options->fault;
        if (given.how < 0 || given.how >= point_fault_count((enum call)(given.point / 2))) {
            misused("that call has no such fault");
        }
    } else {
        given.kind = KIND_ALLOCATION;
        given.occurrence = options->allocation;
    }
    return given;
}

static int replay(struct sweep *sweep)
{
    struct sweep_case given = named_case(sweep->options);
    struct plan *plan = &sweep->shared->plans[0];
    static const char *const verdicts[] = {"right", "wrong", "not reached"};
    case_prepare(given.script, sweep->folder);
    enum verdict verdict = case_run(&given, sweep->folder, 0, plan);
    show_log(plan, INT_MAX);
    if (given.kind == KIND_FAULT) {
        (void)printf("%s %s\n", case_options(&given),
                     point_fault_name((enum call)(given.point / 2), given.how));
    }
    (void)printf("%s: %s\n", verdicts[verdict], plan->text);
    return verdict == VERDICT_RIGHT ? 0 : 1;
}

static int64_t number(const char *text)
{
    char *end = NULL;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || value < 0) {
        misused("a number is none");
    }
    return value;
}

/* A name that nothing has would be a sweep of nothing, with nothing wrong. */
static void check(const struct options *options)
{
    bool known = options->script == NULL;
    for (size_t i = 0; i < script_count && !known; i++) {
        known = strcmp(scripts[i].name, options->script) == 0;
    }
    if (!known) {
        misused("no script has that name; --list shows them");
    }
    if (options->only != NULL && strcmp(options->only, "deaths") != 0 &&
        strcmp(options->only, "failures") != 0 && strcmp(options->only, "allocations") != 0) {
        misused("--only is deaths, failures or allocations");
    }
}

static void parse(int count, char **arguments, struct options *options)
{
    static const struct option known[] = {
        {"list", no_argument, NULL, 'l'},           {"endings", no_argument, NULL, 'e'},
        {"script", required_argument, NULL, 's'},   {"only", required_argument, NULL, 'o'},
        {"folder", required_argument, NULL, 'd'},   {"point", required_argument, NULL, 'p'},
        {"kind", required_argument, NULL, 'k'},     {"call", required_argument, NULL, 'c'},
        {"seed", required_argument, NULL, 'r'},     {"occurrence", required_argument, NULL, 'n'},
        {"fault", required_argument, NULL, 'f'},    {"allocation", required_argument, NULL, 'm'},
        {"parallel", required_argument, NULL, 'j'}, {"canary", required_argument, NULL, 'y'},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(count, arguments, "", known, NULL)) != -1;) {
        switch (option) {
        case 'l':
            options->list = true;
            break;
        case 'e':
            options->endings = true;
            break;
        case 's':
            options->script = optarg;
            break;
        case 'o':
            options->only = optarg;
            break;
        case 'd':
            options->folder = optarg;
            break;
        case 'p':
            options->point = optarg;
            break;
        case 'k':
            options->kind = optarg;
            break;
        case 'c':
            options->call = optarg;
            break;
        case 'r':
            options->seed = number(optarg);
            break;
        case 'n':
            options->occurrence = number(optarg);
            break;
        case 'f':
            options->fault = (int)number(optarg);
            break;
        case 'm':
            options->allocation = number(optarg);
            break;
        case 'j':
            options->parallel = (int)number(optarg);
            break;
        case 'y':
            options->early = strcmp(optarg, "early") == 0;
            options->keeping = strcmp(optarg, "keeping") == 0;
            break;
        case 'h':
            (void)fputs(help, stdout);
            exit(0);
        default:
            misused("see above");
        }
    }
    if (options->parallel < 1 || options->parallel > PARALLEL_LIMIT) {
        misused("--parallel is 1 to 16");
    }
}

int main(int count, char **arguments)
{
    struct options options = {.parallel = 2, .occurrence = 1};
    parse(count, arguments, &options);
    check(&options);
    struct sweep sweep = {.options = &options};
    const char *place = options.folder != NULL          ? options.folder
                        : access("/dev/shm", W_OK) == 0 ? "/dev/shm"
                                                        : "/tmp";
    (void)snprintf(sweep.folder, sizeof sweep.folder, "%s/leat-sweep-XXXXXX", place);
    ensure(mkdtemp(sweep.folder) != NULL);
    sweep.shared =
        mmap(NULL, sizeof *sweep.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ensure(sweep.shared != MAP_FAILED);
    int result = 0;
    if (options.point != NULL || options.call != NULL || options.allocation > 0) {
        result = replay(&sweep);
    } else {
        prepare(&sweep);
        if (options.list) {
            list(&sweep);
        } else {
            fill(&sweep);
            run_all(&sweep);
        }
        bool canary = options.early || options.keeping;
        result = options.list || (finish(&sweep) == 0) != canary ? 0 : 1;
    }
    free(sweep.cases);
    folders_remove(sweep.folder);
    return result;
}
