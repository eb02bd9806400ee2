/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls that change files, in the place of libc's: each does the system call and, if the file
 * lies below the logged directory, notes it in the log. Call and note are one step under the lock,
 * so the order of the log is the order of the disk.
 *
 * A barrier is noted when it is done and a write through O_DSYNC is a write and a barrier, so that
 * a cut between two entries is also a cut inside of the second.
 */
#undef _FORTIFY_SOURCE /* its inline definitions of these calls would be ours */

#include "base/bytes.h"
#include "base/status.h"
#include "power_entries.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))

enum { AT_POSITION = -1 };

void power_calls_link(void)
{
}

/* ---- opening ---- */

/* What an open did: made a file, or emptied one. */
static void note_open(int file, int flags, size_t parent, bool existed, char *name)
{
    if (parent != POWER_NOTHING && !existed) {
        power_append_take((struct power_entry){.kind = POWER_LINK,
                                               .object = power_object_add(file, AT_FDCWD, NULL),
                                               .parent = parent,
                                               .name = name});
        return;
    }
    free(name);
    size_t object = (flags & O_TRUNC) != 0 ? power_object_of(file) : POWER_NOTHING;
    if (object != POWER_NOTHING) {
        power_append_take((struct power_entry){.kind = POWER_SIZE, .object = object});
    }
}

static int open_at(int folder, const char *path, int flags, mode_t mode)
{
    if (!power_active() || (flags & (O_CREAT | O_TRUNC)) == 0) {
        return (int)syscall(SYS_openat, folder, path, flags, mode);
    }
    power_lock();
    char *name = NULL;
    size_t parent = (flags & O_CREAT) != 0 ? power_parent_of(folder, path, &name) : POWER_NOTHING;
    struct stat facts;
    bool existed = parent != POWER_NOTHING && fstatat(folder, path, &facts, 0) == 0;
    int file = (int)syscall(SYS_openat, folder, path, flags, mode);
    int code = errno;
    if (file >= 0) {
        note_open(file, flags, parent, existed, name);
    } else {
        free(name);
    }
    power_unlock();
    errno = code;
    return file;
}

/* Whether open has a mode. */
static bool makes(int flags)
{
    return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
}

PUBLIC int open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = makes(flags) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_at(AT_FDCWD, path, flags, mode);
}

PUBLIC int open64(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = makes(flags) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_at(AT_FDCWD, path, flags, mode);
}

PUBLIC int openat(int folder, const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = makes(flags) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_at(folder, path, flags, mode);
}

PUBLIC int openat64(int folder, const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = makes(flags) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_at(folder, path, flags, mode);
}

PUBLIC int creat(const char *path, mode_t mode)
{
    return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

PUBLIC int creat64(const char *path, mode_t mode)
{
    return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

/* ---- content ---- */

static ssize_t write_parts(int file, const struct iovec *parts, int count, off_t offset)
{
    return offset == AT_POSITION ? syscall(SYS_writev, file, parts, count)
                                 : syscall(SYS_pwritev, file, parts, count, offset, 0L);
}

/* Where a write without an offset goes. */
static off_t position_of(int file, int flags)
{
    struct stat facts;
    if ((flags & O_APPEND) != 0 && fstat(file, &facts) == 0) {
        return facts.st_size;
    }
    off_t position = lseek(file, 0, SEEK_CUR);
    ensure(position >= 0);
    return position;
}

static void note_write(size_t object, const struct iovec *parts, size_t size, off_t offset,
                       bool durable)
{
    ensure(offset >= 0);
    struct power_entry entry = {.kind = POWER_WRITE,
                                .object = object,
                                .offset = (uint64_t)offset,
                                .size = size,
                                .data = memory_allocate(size + 1)};
    size_t done = 0;
    for (; done < size; parts++) {
        size_t part = parts->iov_len < size - done ? parts->iov_len : size - done;
        memcpy(entry.data + done, parts->iov_base, part);
        done += part;
    }
    power_append_take(entry);
    if (durable) {
        entry.kind = POWER_SYNC_PART;
        entry.data = NULL;
        power_append_take(entry);
    }
}

static ssize_t write_at(int file, const struct iovec *parts, int count, off_t offset)
{
    if (!power_active()) {
        return write_parts(file, parts, count, offset);
    }
    power_lock();
    size_t object = power_object_of(file);
    if (object == POWER_NOTHING) {
        power_unlock(); /* it may block: a pipe, a socket */
        return write_parts(file, parts, count, offset);
    }
    int flags = fcntl(file, F_GETFL);
    off_t at = offset == AT_POSITION || (flags & O_APPEND) != 0 ? position_of(file, flags) : offset;
    ssize_t written = write_parts(file, parts, count, offset);
    int code = errno;
    if (written > 0) {
        note_write(object, parts, (size_t)written, at, (flags & O_DSYNC) != 0);
    }
    power_unlock();
    errno = code;
    return written;
}

PUBLIC ssize_t write(int file, const void *data, size_t size)
{
    struct iovec part = {(void *)(uintptr_t)data, size};
    return write_at(file, &part, 1, AT_POSITION);
}

PUBLIC ssize_t pwrite(int file, const void *data, size_t size, off_t offset)
{
    struct iovec part = {(void *)(uintptr_t)data, size};
    return write_at(file, &part, 1, offset);
}

PUBLIC ssize_t pwrite64(int file, const void *data, size_t size, off64_t offset)
{
    return pwrite(file, data, size, offset);
}

PUBLIC ssize_t writev(int file, const struct iovec *parts, int count)
{
    return write_at(file, parts, count, AT_POSITION);
}

PUBLIC ssize_t pwritev(int file, const struct iovec *parts, int count, off_t offset)
{
    return write_at(file, parts, count, offset);
}

PUBLIC ssize_t pwritev64(int file, const struct iovec *parts, int count, off64_t offset)
{
    return write_at(file, parts, count, offset);
}

static int note_size(int file, long result)
{
    int code = errno;
    struct stat facts;
    if (result == 0 && fstat(file, &facts) == 0) {
        size_t object = power_object_of(file);
        if (object != POWER_NOTHING) {
            power_append_take((struct power_entry){
                .kind = POWER_SIZE, .object = object, .size = (uint64_t)facts.st_size});
        }
    }
    errno = code;
    return (int)result;
}

PUBLIC int ftruncate(int file, off_t size)
{
    if (!power_active()) {
        return (int)syscall(SYS_ftruncate, file, size);
    }
    power_lock();
    int result = note_size(file, syscall(SYS_ftruncate, file, size));
    power_unlock();
    return result;
}

PUBLIC int ftruncate64(int file, off64_t size)
{
    return ftruncate(file, size);
}

PUBLIC int fallocate(int file, int mode, off_t offset, off_t size)
{
    if (!power_active()) {
        return (int)syscall(SYS_fallocate, file, mode, offset, size);
    }
    power_lock();
    ensure(mode == 0 || power_object_of(file) == POWER_NOTHING); /* not modelled */
    int result = note_size(file, syscall(SYS_fallocate, file, mode, offset, size));
    power_unlock();
    return result;
}

PUBLIC int fallocate64(int file, int mode, off64_t offset, off64_t size)
{
    return fallocate(file, mode, offset, size);
}

PUBLIC int posix_fallocate(int file, off_t offset, off_t size)
{
    int before = errno;
    int code = fallocate(file, 0, offset, size) == 0 ? 0 : errno;
    errno = before;
    return code;
}

/* ---- barriers ---- */

static int sync_file(int file, long number, enum power_kind kind)
{
    if (!power_active()) {
        return (int)syscall(number, file);
    }
    power_lock();
    size_t object = power_object_of(file);
    if (object != POWER_NOTHING) {
        power_append_take((struct power_entry){.kind = kind, .object = object});
    }
    power_unlock();
    return object != POWER_NOTHING ? 0 : (int)syscall(number, file);
}

PUBLIC int fsync(int file)
{
    return sync_file(file, SYS_fsync, POWER_SYNC);
}

PUBLIC int fdatasync(int file)
{
    return sync_file(file, SYS_fdatasync, POWER_SYNC_DATA);
}

/* ---- names ---- */

static int unlink_at(int folder, const char *path, int flags)
{
    if (!power_active()) {
        return (int)syscall(SYS_unlinkat, folder, path, flags);
    }
    power_lock();
    char *name = NULL;
    size_t parent = power_parent_of(folder, path, &name);
    size_t object = parent == POWER_NOTHING ? parent : power_object_at(folder, path);
    struct stat facts;
    bool last = fstatat(folder, path, &facts, AT_SYMLINK_NOFOLLOW) == 0 &&
                (S_ISDIR(facts.st_mode) || facts.st_nlink == 1);
    int result = (int)syscall(SYS_unlinkat, folder, path, flags);
    int code = errno;
    if (result == 0 && object != POWER_NOTHING) {
        if (last) {
            power_object_end(object);
        }
        power_append_take((struct power_entry){
            .kind = POWER_UNLINK, .object = object, .parent = parent, .name = name});
        name = NULL;
    }
    free(name);
    power_unlock();
    errno = code;
    return result;
}

PUBLIC int unlink(const char *path)
{
    return unlink_at(AT_FDCWD, path, 0);
}

PUBLIC int unlinkat(int folder, const char *path, int flags)
{
    return unlink_at(folder, path, flags);
}

PUBLIC int rmdir(const char *path)
{
    return unlink_at(AT_FDCWD, path, AT_REMOVEDIR);
}

PUBLIC int remove(const char *path)
{
    struct stat facts;
    bool folder = lstat(path, &facts) == 0 && S_ISDIR(facts.st_mode);
    return unlink_at(AT_FDCWD, path, folder ? AT_REMOVEDIR : 0);
}

static int rename_at(int folder, const char *path, int new_folder, const char *new_path)
{
    if (!power_active()) {
        return (int)syscall(SYS_renameat, folder, path, new_folder, new_path);
    }
    power_lock();
    char *name = NULL;
    char *new_name = NULL;
    size_t parent = power_parent_of(folder, path, &name);
    size_t new_parent = power_parent_of(new_folder, new_path, &new_name);
    size_t replaced = power_object_at(new_folder, new_path);
    size_t object = power_object_at(folder, path);
    ensure((parent == POWER_NOTHING) == (new_parent == POWER_NOTHING)); /* not modelled */
    int result = (int)syscall(SYS_renameat, folder, path, new_folder, new_path);
    int code = errno;
    if (result == 0 && object != POWER_NOTHING) {
        if (replaced != POWER_NOTHING && replaced != object) {
            power_object_end(replaced);
        }
        power_append_take((struct power_entry){.kind = POWER_RENAME,
                                               .object = object,
                                               .parent = parent,
                                               .name = name,
                                               .new_parent = new_parent,
                                               .new_name = new_name});
    } else {
        free(name);
        free(new_name);
    }
    power_unlock();
    errno = code;
    return result;
}

PUBLIC int rename(const char *path, const char *new_path)
{
    return rename_at(AT_FDCWD, path, AT_FDCWD, new_path);
}

PUBLIC int renameat(int folder, const char *path, int new_folder, const char *new_path)
{
    return rename_at(folder, path, new_folder, new_path);
}

/* A new name for a folder that was made, or for a file that was there. */
static int note_name(int folder, const char *path, bool made, long result)
{
    int code = errno;
    char *name = NULL;
    size_t parent = result == 0 ? power_parent_of(folder, path, &name) : POWER_NOTHING;
    if (parent != POWER_NOTHING) {
        power_append_take((struct power_entry){.kind = POWER_LINK,
                                               .object = made ? power_object_add(-1, folder, path)
                                                              : power_object_at(folder, path),
                                               .parent = parent,
                                               .name = name});
        name = NULL;
    }
    free(name);
    errno = code;
    return (int)result;
}

PUBLIC int mkdirat(int folder, const char *path, mode_t mode)
{
    if (!power_active()) {
        return (int)syscall(SYS_mkdirat, folder, path, mode);
    }
    power_lock();
    int result = note_name(folder, path, true, syscall(SYS_mkdirat, folder, path, mode));
    power_unlock();
    return result;
}

PUBLIC int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

PUBLIC int linkat(int folder, const char *path, int new_folder, const char *new_path, int flags)
{
    if (!power_active()) {
        return (int)syscall(SYS_linkat, folder, path, new_folder, new_path, flags);
    }
    power_lock();
    int result = note_name(new_folder, new_path, false,
                           syscall(SYS_linkat, folder, path, new_folder, new_path, flags));
    power_unlock();
    return result;
}

PUBLIC int link(const char *path, const char *new_path)
{
    return linkat(AT_FDCWD, path, AT_FDCWD, new_path, 0);
}
