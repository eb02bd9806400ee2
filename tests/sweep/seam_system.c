/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seam, system: the file calls, clocks and random bytes of this program. The definitions here come
 * before those of the C library, for our code and for LMDB alike; all end there.
 *
 * Only files of the state directory have points; those of the embedded broker are another system's
 * as far as the engine knows. Writes through a memory map do not occur (never MDB_WRITEMAP).
 */
#include "point.h"
#include "seam.h"
#include "turns.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

enum { FILE_LIMIT = 1024 };

static char state[256]; /* with a slash at its end */
static bool state_files[FILE_LIMIT];
static uint64_t random_state;

/* The C library's own, found at the first call. */
#define NEXT(function)                                                                             \
    static __typeof__(function) *next;                                                             \
    if (next == NULL) {                                                                            \
        next = (__typeof__(function) *)dlsym(RTLD_NEXT, #function);                                \
    }

void seam_watch(const char *directory)
{
    ensure(strlen(directory) + 2 <= sizeof state);
    (void)snprintf(state, sizeof state, "%s/", directory);
}

void seam_seed(uint64_t seed)
{
    random_state = seed;
}

static bool is_state_file(int file)
{
    return file >= 0 && file < FILE_LIMIT && state_files[file];
}

static bool is_state_path(int folder, const char *path)
{
    if (state[0] == '\0' || path == NULL) {
        return false;
    }
    return path[0] == '/' ? strncmp(path, state, strlen(state)) == 0 : is_state_file(folder);
}

/* Whether the call is to fail, with errno set. */
static bool fails(bool watched, enum call call)
{
    const struct fault *fault = watched ? point_enter(call) : NULL;
    if (fault == NULL) {
        return false;
    }
    errno = fault->system;
    return true;
}

/* errno survives the point. */
static void done(bool watched, enum call call)
{
    int code = errno;
    if (watched) {
        point_leave(call);
    }
    errno = code;
}

/* ---- Files ---- */

EXPORTED int openat(int folder, const char *path, int flags, ...)
{
    NEXT(openat)
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    bool watched = is_state_path(folder, path);
    bool creates = watched && (flags & O_CREAT) != 0;
    if (fails(creates, CALL_FILE_OPEN)) {
        return -1;
    }
    int file = next(folder, path, flags, mode);
    if (file >= 0 && file < FILE_LIMIT) {
        state_files[file] = watched;
    }
    done(creates, CALL_FILE_OPEN);
    return file;
}

EXPORTED int open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return openat(AT_FDCWD, path, flags, mode);
}

EXPORTED int mkdir(const char *path, mode_t mode)
{
    NEXT(mkdir)
    struct stat found;
    bool watched =
        is_state_path(AT_FDCWD, path) && stat(path, &found) != 0; /* else it changes nothing */
    if (fails(watched, CALL_FILE_MKDIR)) {
        return -1;
    }
    int result = next(path, mode);
    done(watched, CALL_FILE_MKDIR);
    return result;
}

EXPORTED int renameat(int from, const char *old, int to, const char *new)
{
    NEXT(renameat)
    bool watched = is_state_path(from, old);
    if (fails(watched, CALL_FILE_RENAME)) {
        return -1;
    }
    int result = next(from, old, to, new);
    done(watched, CALL_FILE_RENAME);
    return result;
}

EXPORTED int rename(const char *old, const char *new)
{
    return renameat(AT_FDCWD, old, AT_FDCWD, new);
}

EXPORTED int unlinkat(int folder, const char *path, int flags)
{
    NEXT(unlinkat)
    bool watched = is_state_path(folder, path);
    enum call call = (flags & AT_REMOVEDIR) != 0 ? CALL_FILE_RMDIR : CALL_FILE_UNLINK;
    struct stat found;
    watched = watched && fstatat(folder, path, &found, AT_SYMLINK_NOFOLLOW) == 0;
    if (fails(watched, call)) {
        return -1;
    }
    int result = next(folder, path, flags);
    done(watched, call);
    return result;
}

EXPORTED int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

EXPORTED int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

EXPORTED int ftruncate(int file, off_t size)
{
    NEXT(ftruncate)
    bool watched = is_state_file(file);
    if (fails(watched, CALL_FILE_TRUNCATE)) {
        return -1;
    }
    int result = next(file, size);
    done(watched, CALL_FILE_TRUNCATE);
    return result;
}

EXPORTED ssize_t write(int file, const void *data, size_t size)
{
    NEXT(write)
    bool watched = is_state_file(file);
    if (fails(watched, CALL_FILE_WRITE)) {
        return -1;
    }
    ssize_t result = next(file, data, size);
    done(watched, CALL_FILE_WRITE);
    return result;
}

EXPORTED ssize_t pwrite(int file, const void *data, size_t size, off_t offset)
{
    NEXT(pwrite)
    bool watched = is_state_file(file);
    if (fails(watched, CALL_FILE_WRITE)) {
        return -1;
    }
    ssize_t result = next(file, data, size, offset);
    done(watched, CALL_FILE_WRITE);
    return result;
}

EXPORTED ssize_t writev(int file, const struct iovec *parts, int count)
{
    NEXT(writev)
    bool watched = is_state_file(file);
    if (fails(watched, CALL_FILE_WRITE)) {
        return -1;
    }
    ssize_t result = next(file, parts, count);
    done(watched, CALL_FILE_WRITE);
    return result;
}

EXPORTED int fsync(int file)
{
    NEXT(fsync)
    bool watched = is_state_file(file);
    if (fails(watched, CALL_FILE_SYNC)) {
        return -1;
    }
    int result = next(file);
    done(watched, CALL_FILE_SYNC);
    return result;
}

EXPORTED int fdatasync(int file)
{
    NEXT(fdatasync)
    bool watched = is_state_file(file);
    if (fails(watched, CALL_FILE_SYNC)) {
        return -1;
    }
    int result = next(file);
    done(watched, CALL_FILE_SYNC);
    return result;
}

/* ---- Time and chance ---- */

EXPORTED int clock_gettime(clockid_t clock, struct timespec *now)
{
    enum { EPOCH_S = 1900000000 };
    int64_t us = turns_now_us();
    now->tv_sec = (time_t)(us / 1000000 + (clock == CLOCK_REALTIME ? EPOCH_S : 0));
    now->tv_nsec = (long)(us % 1000000 * 1000);
    return 0;
}

EXPORTED int nanosleep(const struct timespec *wait, struct timespec *left)
{
    (void)left;
    turns_advance((int64_t)wait->tv_sec * 1000000 + wait->tv_nsec / 1000);
    turns_pass();
    return 0;
}

EXPORTED ssize_t getrandom(void *data, size_t size, unsigned flags)
{
    (void)flags;
    uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) {
        random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        bytes[i] = (uint8_t)(random_state >> 56);
    }
    return (ssize_t)size;
}
