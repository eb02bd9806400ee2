/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/local_environment.h"

#include "base/clock.h"
#include "base/lmdb_check.h"
#include "base/log.h"
#include "broker/local_upkeep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    FORMAT_VERSION = 1,
    READERS = 2048,
    DATABASES = 8,
    FULL_DISK_SIZE = 1 << 20,
    WHOLE_SIZE = 64 << 20, /* up to here every page is looked at before the file is opened */
    SLOW_LOCK_MS = 500     /* longer: nobody is given up for silence until all had time to renew */
};

/* 64 GiB of address space fails under TSan; where it fails otherwise a smaller map is tried. */
#if defined(__SANITIZE_THREAD__)
#define LEAT_SMALL_MAP 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LEAT_SMALL_MAP 1
#endif
#endif
#ifdef LEAT_SMALL_MAP
static const size_t map_sizes[] = {(size_t)1 << 30};
#else
static const size_t map_sizes[] = {(size_t)64 << 30, (size_t)8 << 30, (size_t)1 << 30};
#endif

/* The one static: LMDB forbids opening an environment twice in one process. */
static struct {
    pthread_mutex_t mutex;
    struct local_environment *first;
} opened = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* LMDB answers EIO when a full disk took a part of a write. */
static bool disk_is_full(const struct local_environment *environment)
{
    ensure(environment->directory != NULL);
    struct statvfs facts;
    return statvfs(environment->directory, &facts) == 0 &&
           (uint64_t)facts.f_bavail * facts.f_frsize < FULL_DISK_SIZE;
}

enum status local_failed(struct local_environment *environment, int result, const char *what,
                         struct error *error)
{
    ensure(result != 0);
    const char *place = environment->directory;
    result = result == EIO && disk_is_full(environment) ? ENOSPC : result;
    switch (result) {
    case MDB_NOTFOUND:
        return STATUS_NOT_FOUND;
    case MDB_MAP_FULL:
        return error_set(error, STATUS_RETRY, ERROR_MAP_FULL, "%s: %s: map full", place, what);
    case ENOSPC:
    case EDQUOT:
        return error_set(error, STATUS_FATAL, ERROR_DISK_FULL,
                         "%s: %s: no space left on the disk; free some and start again", place,
                         what);
    case EACCES:
    case EPERM:
    case EROFS:
        return error_set(error, STATUS_FATAL, ERROR_DENIED, "%s: %s: %s", place, what,
                         mdb_strerror(result));
    case MDB_READERS_FULL:
        return error_set(error, STATUS_FATAL, ERROR_LIMIT,
                         "%s: %s: more than %d readers; run fewer workers on one local broker",
                         place, what, READERS);
    case MDB_PANIC:
        atomic_store(&environment->broken, true);
        break;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
        return error_set(error, STATUS_FATAL, ERROR_CORRUPT, "%s: %s: %s", place, what,
                         mdb_strerror(result));
    default:
        break;
    }
    return error_set(error, STATUS_FATAL, ERROR_IO, "%s: %s: %s", place, what,
                     mdb_strerror(result));
}

/* No transaction of this process runs while the map moves. Size 0 takes what another process made
 * it. */
static enum status map_resize(struct local_environment *environment, bool grow, struct error *error)
{
    ensure(pthread_rwlock_wrlock(&environment->gate) == 0);
    size_t size = 0;
    MDB_envinfo info;
    if (grow) {
        ensure(mdb_env_info(environment->env, &info) == 0);
        size = info.me_mapsize * 2;
    }
    int result = mdb_env_set_mapsize(environment->env, size);
    ensure(pthread_rwlock_unlock(&environment->gate) == 0);
    if (result != 0) {
        return error_set(error, STATUS_FATAL, ERROR_MAP_FULL,
                         "%s: cannot map %zu bytes: %s; raise the address space limit (ulimit -v)",
                         environment->directory, size, mdb_strerror(result));
    }
    return STATUS_OK;
}

enum status local_read_begin(struct local_environment *environment, MDB_txn **txn,
                             struct error *error)
{
    for (;;) {
        ensure(pthread_rwlock_rdlock(&environment->gate) == 0);
        int result = *txn != NULL ? mdb_txn_renew(*txn)
                                  : mdb_txn_begin(environment->env, NULL, MDB_RDONLY, txn);
        if (result == 0) {
            return STATUS_OK;
        }
        if (*txn != NULL) {
            mdb_txn_abort(*txn);
            *txn = NULL;
        }
        ensure(pthread_rwlock_unlock(&environment->gate) == 0);
        enum status status = result == MDB_MAP_RESIZED
                                 ? map_resize(environment, false, error)
                                 : local_failed(environment, result, "begin to read", error);
        if (status != STATUS_OK) {
            return status;
        }
    }
}

void local_read_pause(struct local_environment *environment, MDB_txn *txn)
{
    mdb_txn_reset(txn);
    ensure(pthread_rwlock_unlock(&environment->gate) == 0);
}

void local_read_end(struct local_environment *environment, MDB_txn *txn)
{
    mdb_txn_abort(txn);
    ensure(pthread_rwlock_unlock(&environment->gate) == 0);
}

/* One try under the lock; the caller repeats it after MAP_RESIZED or MAP_FULL. */
static enum status write_once(struct local_environment *environment, int64_t waited_ms,
                              local_work *work, void *argument, int *result, struct error *error)
{
    ensure(waited_ms >= 0);
    MDB_txn *txn = NULL;
    *result = mdb_txn_begin(environment->env, NULL, 0, &txn);
    if (*result == MDB_MAP_RESIZED) {
        return STATUS_RETRY;
    }
    if (*result != 0) {
        return local_failed(environment, *result, "begin to write", error);
    }
    enum status status = STATUS_OK;
    if (waited_ms > SLOW_LOCK_MS && environment->facts != 0) {
        /* Everybody's renewals may have queued behind the same holder. */
        uint64_t until = (uint64_t)clock_monotonic_ms(clock_system()) + 2 * 1000;
        status = local_fact_put(environment, txn, "grace", until, error);
    }
    if (status == STATUS_OK) {
        status = work(environment, txn, argument, error);
    }
    if (status != STATUS_OK) {
        mdb_txn_abort(txn);
        return status;
    }
    *result = mdb_txn_commit(txn);
    return *result == 0 ? STATUS_OK : local_failed(environment, *result, "commit", error);
}

enum status local_write(struct local_environment *environment, int64_t timeout_ms, local_work *work,
                        void *argument, struct error *error)
{
    struct error own;
    error = error == NULL ? &own : error;
    for (;;) {
        if (atomic_load(&environment->broken)) {
            return error_set(error, STATUS_FATAL, ERROR_IO,
                             "%s: an earlier write failed badly; restart the program",
                             environment->directory);
        }
        int64_t waited_ms = 0;
        error->code = ERROR_NONE;
        enum status status = local_lock_take(&environment->lock, timeout_ms, &waited_ms, error);
        if (status != STATUS_OK) {
            return status;
        }
        int result = 0;
        ensure(pthread_rwlock_rdlock(&environment->gate) == 0);
        status = write_once(environment, waited_ms, work, argument, &result, error);
        ensure(pthread_rwlock_unlock(&environment->gate) == 0);
        bool full = status == STATUS_RETRY && error->code == ERROR_MAP_FULL;
        bool resized = result == MDB_MAP_RESIZED;
        if (status == STATUS_OK) {
            local_lock_announce(&environment->lock);
        }
        local_lock_release(&environment->lock);
        if (!full && !resized) {
            return status;
        }
        status = map_resize(environment, full, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
}

enum status local_fact(struct local_environment *environment, MDB_txn *txn, const char *name,
                       uint64_t fallback, uint64_t *number, struct error *error)
{
    ensure(*name != 0);
    MDB_val key = local_val(name, strlen(name));
    MDB_val value;
    int result = mdb_get(txn, environment->facts, &key, &value);
    *number = fallback;
    if (result == MDB_NOTFOUND) {
        return STATUS_OK;
    }
    if (result != 0) {
        return local_failed(environment, result, "read a fact", error);
    }
    if (value.mv_size != 8) {
        return error_set(error, STATUS_FATAL, ERROR_CORRUPT, "%s: fact %s has %zu bytes",
                         environment->directory, name, value.mv_size);
    }
    *number = get_u64(value.mv_data);
    return STATUS_OK;
}

enum status local_fact_put(struct local_environment *environment, MDB_txn *txn, const char *name,
                           uint64_t number, struct error *error)
{
    ensure(*name != 0 && environment->facts != 0);
    uint8_t bytes[8];
    put_u64(bytes, number);
    MDB_val key = local_val(name, strlen(name));
    MDB_val value = local_val(bytes, sizeof bytes);
    int result = mdb_put(txn, environment->facts, &key, &value, 0);
    return result == 0 ? STATUS_OK : local_failed(environment, result, "write a fact", error);
}

/* ---- Opening ---- */

static enum status databases_open(struct local_environment *environment, MDB_txn *txn,
                                  void *argument, struct error *error)
{
    (void)argument;
    const struct {
        const char *name;
        MDB_dbi *dbi;
    } databases[DATABASES] = {
        {"topics", &environment->topics}, {"partitions", &environment->partitions},
        {"log", &environment->log},       {"producers", &environment->producers},
        {"groups", &environment->groups}, {"offsets", &environment->offsets},
        {"facts", &environment->facts},   {"graves", &environment->graves},
    };
    for (size_t i = 0; i < DATABASES; i++) {
        ensure(databases[i].name != NULL && databases[i].dbi != NULL);
        int result = mdb_dbi_open(txn, databases[i].name, MDB_CREATE, databases[i].dbi);
        if (result != 0) {
            return local_failed(environment, result, "open a database", error);
        }
    }
    uint64_t format = 0;
    enum status status = local_fact(environment, txn, "format", 0, &format, error);
    if (status != STATUS_OK) {
        return status;
    }
    if (format == 0) {
        return local_fact_put(environment, txn, "format", FORMAT_VERSION, error);
    }
    if (format != FORMAT_VERSION) {
        return error_set(error, STATUS_FATAL, ERROR_MISMATCH,
                         "%s: written by another version (format %llu, this one knows %d)",
                         environment->directory, (unsigned long long)format, FORMAT_VERSION);
    }
    return STATUS_OK;
}

/* The records are the bulk of a large log, and their batches have checksums. */
static bool is_small(struct bytes name)
{
    return !bytes_equal(name, bytes_of("log"));
}

static enum status file_check(const struct local_environment *environment, int file,
                              struct error *error)
{
    ensure(file >= 0);
    struct lmdb_facts facts = {0};
    const struct lmdb_file judged = {file, "local broker", environment->directory};
    enum status status = lmdb_check_meta(&judged, &facts, error);
    if (status == STATUS_OK) {
        bool whole = facts.file_size <= WHOLE_SIZE || facts.file_size < facts.claimed_size;
        status = lmdb_check_tree(&judged, whole ? NULL : is_small, &facts, error);
    }
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        struct error own = *error;
        return error_set(error, status, own.code,
                         "%s; put back a copy of the directory, or delete it to begin with an "
                         "empty log",
                         own.text);
    }
    return STATUS_OK;
}

/* LMDB maps the file and trusts it, so a damaged one would end the process with a signal. Judged
 * under the writers' lock: no page changes meanwhile. */
static enum status file_admit(struct local_environment *environment, struct error *error)
{
    ensure(environment->env == NULL);
    char *path = memory_format("%s/%s", environment->directory, LMDB_FILE);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    int reason = errno;
    free(path);
    if (file < 0) {
        return reason == ENOENT ? STATUS_OK : local_failed(environment, reason, "open", error);
    }
    enum status status = file_check(environment, file, error);
    (void)close(file);
    return status;
}

static enum status map_open(struct local_environment *environment, struct error *error)
{
    int result = 0;
    for (size_t i = 0; i < sizeof map_sizes / sizeof *map_sizes; i++) {
        ensure(mdb_env_create(&environment->env) == 0);
        ensure(mdb_env_set_maxdbs(environment->env, DATABASES) == 0);
        ensure(mdb_env_set_maxreaders(environment->env, READERS) == 0);
        ensure(mdb_env_set_mapsize(environment->env, map_sizes[i]) == 0);
        result =
            mdb_env_open(environment->env, environment->directory, MDB_NOTLS | MDB_NORDAHEAD, 0600);
        if (result == 0) {
            return STATUS_OK;
        }
        mdb_env_close(environment->env);
        environment->env = NULL;
        if (result != ENOMEM && result != EINVAL) { /* EINVAL: Valgrind's word for it */
            break;
        }
    }
    return local_failed(environment, result, "open", error);
}

/* The last reference is gone, or opening failed half-way. */
static void environment_destroy(struct local_environment *environment)
{
    ensure(environment->next == NULL || environment->references == 0);
    if (environment->upkeep != NULL) {
        local_upkeep_stop(environment->upkeep);
    }
    if (environment->env != NULL) {
        mdb_env_close(environment->env);
    }
    local_lock_close(&environment->lock);
    (void)pthread_rwlock_destroy(&environment->gate);
    free(environment->directory);
    free(environment);
}

static enum status environment_create(const char *directory, const struct stat *facts,
                                      struct local_environment **result, struct error *error)
{
    struct local_environment *environment = memory_allocate(sizeof *environment);
    environment->device = facts->st_dev;
    environment->inode = facts->st_ino;
    environment->references = 1;
    environment->lock.file = -1;
    environment->directory = memory_text(directory);
    ensure(pthread_rwlock_init(&environment->gate, NULL) == 0);
    int64_t waited_ms = 0;
    enum status status = local_lock_open(&environment->lock, directory, error);
    if (status == STATUS_OK) {
        status = local_lock_take(&environment->lock, LOCAL_WRITE_TIMEOUT_MS, &waited_ms, error);
    }
    if (status == STATUS_OK) {
        /* Under the lock, lest another process be seen while it makes the file. */
        status = file_admit(environment, error);
        status = status == STATUS_OK ? map_open(environment, error) : status;
        local_lock_release(&environment->lock);
    }
    if (status == STATUS_OK) {
        int dead = 0;
        (void)mdb_reader_check(environment->env, &dead);
        status = local_write(environment, LOCAL_WRITE_TIMEOUT_MS, databases_open, NULL, error);
    }
    if (status == STATUS_OK) {
        environment->upkeep = local_upkeep_start(environment);
        *result = environment;
    } else {
        environment_destroy(environment);
    }
    return status;
}

static enum status directory_make(const char *directory, struct stat *facts, struct error *error)
{
    ensure(*directory != 0);
    if (mkdir(directory, 0700) == 0) {
        (void)chmod(directory, 0700); /* whatever the umask */
    } else if (errno != EEXIST) {
        int reason = errno;
        return error_set(
            error, STATUS_FATAL, reason == EACCES || reason == EROFS ? ERROR_DENIED : ERROR_IO,
            "cannot make the local broker's directory %s: %s", directory, strerror(reason));
    }
    if (stat(directory, facts) != 0 || !S_ISDIR(facts->st_mode)) {
        return error_set(error, STATUS_FATAL, ERROR_IO, "%s is not a directory", directory);
    }
    return STATUS_OK;
}

enum status local_environment_open(const char *directory, struct local_environment **environment,
                                   struct error *error)
{
    *environment = NULL;
    struct stat facts = {0};
    enum status status = directory_make(directory, &facts, error);
    if (status != STATUS_OK) {
        return status;
    }
    ensure(pthread_mutex_lock(&opened.mutex) == 0);
    struct local_environment *each = opened.first;
    while (each != NULL && (each->device != facts.st_dev || each->inode != facts.st_ino)) {
        each = each->next;
    }
    if (each != NULL) {
        each->references += 1;
        *environment = each;
    } else {
        status = environment_create(directory, &facts, environment, error);
        if (status == STATUS_OK) {
            (*environment)->next = opened.first;
            opened.first = *environment;
        }
    }
    ensure(pthread_mutex_unlock(&opened.mutex) == 0);
    return status;
}

void local_environment_close(struct local_environment *environment)
{
    if (environment == NULL) {
        return;
    }
    ensure(pthread_mutex_lock(&opened.mutex) == 0);
    ensure(environment->references > 0);
    environment->references -= 1;
    if (environment->references == 0) {
        struct local_environment **link = &opened.first;
        while (*link != environment) {
            ensure(*link != NULL);
            link = &(*link)->next;
        }
        *link = environment->next;
        environment_destroy(environment);
    }
    ensure(pthread_mutex_unlock(&opened.mutex) == 0);
}
