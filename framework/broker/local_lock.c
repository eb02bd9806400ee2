/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/local_lock.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PAGE_SIZE = 4096, SLOW_MS = 1000 };

static const uint64_t page_magic = 0x6c65617400000001u;

struct local_page {
    _Atomic uint64_t magic;
    uint64_t size; /* of this struct: another build's page is refused, not misread */
    _Atomic uint32_t commits;
    _Atomic uint32_t waiters;
    _Atomic int32_t holder; /* pid, 0 = nobody */
    pthread_mutex_t mutex;
};

static enum status lock_error(const char *directory, const char *what, struct error *error)
{
    ensure(errno != 0);
    enum error_code code = errno == EACCES || errno == EPERM || errno == EROFS ? ERROR_DENIED
                           : errno == ENOSPC                                   ? ERROR_DISK_FULL
                                                                               : ERROR_IO;
    return error_set(error, STATUS_FATAL, code, "%s: cannot %s writers.lock: %s", directory, what,
                     strerror(errno));
}

/* Only under the exclusive file lock: nobody else has the page in use. */
static void page_make(struct local_page *page)
{
    atomic_store(&page->magic, 0);
    memset((char *)page + sizeof page->magic, 0, sizeof *page - sizeof page->magic);
    pthread_mutexattr_t attributes;
    ensure(pthread_mutexattr_init(&attributes) == 0);
    ensure(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0);
    ensure(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) == 0);
    ensure(pthread_mutex_init(&page->mutex, &attributes) == 0);
    (void)pthread_mutexattr_destroy(&attributes);
    page->size = sizeof *page;
    atomic_store(&page->magic, page_magic);
}

/* Ends with the shared file lock held over a page that somebody made. */
static enum status page_settle(struct local_lock *lock, const char *directory, struct error *error)
{
    ensure(lock->page != NULL);
    for (;;) {
        if (flock(lock->file, LOCK_EX | LOCK_NB) == 0) {
            page_make(lock->page);
        }
        if (flock(lock->file, LOCK_SH) != 0) {
            if (errno == EINTR) {
                continue;
            }
            return lock_error(directory, "lock", error);
        }
        if (atomic_load(&lock->page->magic) == page_magic) {
            break;
        }
        /* Its maker died before it was done: give it back and try to be the maker. */
        (void)flock(lock->file, LOCK_UN);
        clock_sleep_ms(clock_system(), 1);
    }
    if (lock->page->size != sizeof *lock->page) {
        return error_set(error, STATUS_FATAL, ERROR_LOCKED,
                         "%s: in use by a program of another version; stop it first", directory);
    }
    return STATUS_OK;
}

enum status local_lock_open(struct local_lock *lock, const char *directory, struct error *error)
{
    ensure(*directory != 0);
    *lock = (struct local_lock){.file = -1};
    char *path = memory_format("%s/writers.lock", directory);
    lock->file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    free(path);
    if (lock->file < 0) {
        return lock_error(directory, "open", error);
    }
    /* Allocated, not only truncated: a page without a block would be SIGBUS on a full disk. */
    int failed = posix_fallocate(lock->file, 0, PAGE_SIZE);
    if (failed != 0 && failed != EOPNOTSUPP) {
        errno = failed;
        enum status status = lock_error(directory, "allocate", error);
        local_lock_close(lock);
        return status;
    }
    void *page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, lock->file, 0);
    if (page == MAP_FAILED) {
        enum status status = lock_error(directory, "map", error);
        local_lock_close(lock);
        return status;
    }
    lock->page = page;
    enum status status = page_settle(lock, directory, error);
    if (status != STATUS_OK) {
        local_lock_close(lock);
    }
    return status;
}

void local_lock_close(struct local_lock *lock)
{
    ensure(lock->page == NULL || lock->file >= 0);
    if (lock->page != NULL) {
        (void)munmap(lock->page, PAGE_SIZE);
    }
    if (lock->file >= 0) {
        (void)close(lock->file);
    }
    *lock = (struct local_lock){.file = -1};
}

static int mutex_wait(pthread_mutex_t *mutex, int64_t wait_ms)
{
    ensure(wait_ms > 0);
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    int64_t ns = until.tv_nsec + wait_ms % 1000 * 1000000;
    until.tv_sec += (time_t)(wait_ms / 1000 + ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    return pthread_mutex_timedlock(mutex, &until);
}

enum status local_lock_take(struct local_lock *lock, int64_t timeout_ms, int64_t *waited_ms,
                            struct error *error)
{
    ensure(timeout_ms >= 0);
    struct local_page *page = lock->page;
    int64_t begun = clock_monotonic_ms(clock_system());
    bool told = false;
    int result = pthread_mutex_trylock(&page->mutex);
    while (result == EBUSY || result == ETIMEDOUT) {
        int64_t waited = clock_monotonic_ms(clock_system()) - begun;
        int32_t holder = atomic_load(&page->holder);
        if (waited >= SLOW_MS && !told) {
            log_warn("broker", "waiting to write: process holds the log pid=%d waited_ms=%lld",
                     holder, (long long)waited);
            told = true;
        }
        if (waited >= timeout_ms) {
            return error_set(error, STATUS_RETRY, ERROR_TIMED_OUT,
                             "process %d has held the local broker for more than %lld ms; if it is "
                             "stopped, continue or end it",
                             holder, (long long)waited);
        }
        int64_t slice = told ? timeout_ms - waited : SLOW_MS - waited;
        slice = slice < timeout_ms - waited ? slice : timeout_ms - waited;
        result = mutex_wait(&page->mutex, slice < 1 ? 1 : slice);
    }
    if (result == EOWNERDEAD) {
        /* LMDB rolls the dead writer's transaction back; it may have committed without saying so.
         */
        ensure(pthread_mutex_consistent(&page->mutex) == 0);
        local_lock_announce(lock);
        result = 0;
    }
    ensure(result == 0);
    atomic_store(&page->holder, (int32_t)getpid());
    *waited_ms = clock_monotonic_ms(clock_system()) - begun;
    return STATUS_OK;
}

void local_lock_release(struct local_lock *lock)
{
    ensure(atomic_load(&lock->page->holder) == (int32_t)getpid());
    atomic_store(&lock->page->holder, 0);
    ensure(pthread_mutex_unlock(&lock->page->mutex) == 0);
}

uint32_t local_lock_commits(const struct local_lock *lock)
{
    ensure(lock->page != NULL);
    return atomic_load_explicit(&lock->page->commits, memory_order_acquire);
}

void local_lock_announce(struct local_lock *lock)
{
    ensure(lock->page != NULL);
    (void)atomic_fetch_add(&lock->page->commits, 1);
    if (atomic_load(&lock->page->waiters) > 0) {
        (void)syscall(SYS_futex, &lock->page->commits, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
    }
}

void local_lock_wait(struct local_lock *lock, uint32_t seen, int64_t timeout_ms)
{
    ensure(timeout_ms >= 0);
    struct timespec timeout = {(time_t)(timeout_ms / 1000), (long)(timeout_ms % 1000 * 1000000)};
    (void)atomic_fetch_add(&lock->page->waiters, 1);
    if (local_lock_commits(lock) == seen) {
        (void)syscall(SYS_futex, &lock->page->commits, FUTEX_WAIT, seen, &timeout, NULL, 0);
    }
    (void)atomic_fetch_sub(&lock->page->waiters, 1);
}
