/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making, locking and marking a folder. Moving its content aside is in directory_aside.c.
 */
#include "state/directory.h"

#include "base/bytes.h"
#include "state/directory_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/vfs.h>
#endif

enum { MARKER_LIMIT = 128 };

static const char marker_pending[] = "boot.new";

enum status directory_failed(struct error *error, int code, const char *what, const char *path)
{
    ensure(code != 0);
    switch (code) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return error_set(error, STATUS_FATAL, ERROR_DISK_FULL,
                         "%s %s: %s; free some space on its file system", what, path,
                         strerror(code));
    case EACCES:
    case EPERM:
    case EROFS:
    case ELOOP:
        return error_set(error, STATUS_FATAL, ERROR_DENIED,
                         "%s %s: %s; it must be writable by this user and no symbolic link", what,
                         path, strerror(code));
    case EMFILE:
    case ENFILE:
        return error_set(error, STATUS_FATAL, ERROR_LIMIT, "%s %s: %s; raise ulimit -n", what, path,
                         strerror(code));
    default:
        return error_set(error, STATUS_FATAL, ERROR_IO, "%s %s: %s", what, path, strerror(code));
    }
}

/* mkdir with mode 0700 whatever the umask; an existing folder is left as it is. */
static enum status make_one(const char *path, struct error *error)
{
    ensure(path[0] != '\0');
    if (mkdir(path, 0700) == 0) {
        if (chmod(path, 0700) != 0) {
            return directory_failed(error, errno, "making folder", path);
        }
        return STATUS_OK;
    }
    int code = errno;
    struct stat found;
    if (code == EEXIST || code == EISDIR || code == EROFS) {
        if (stat(path, &found) != 0) {
            return directory_failed(error, errno, "making folder", path);
        }
        if (S_ISDIR(found.st_mode)) {
            return STATUS_OK;
        }
        code = ENOTDIR;
    }
    return directory_failed(error, code, "making folder", path);
}

enum status directory_make(const char *path, struct error *error)
{
    ensure(path != NULL && path[0] != '\0');
    if (strlen(path) >= PATH_MAX) {
        return directory_failed(error, ENAMETOOLONG, "making folder", path);
    }
    char *partial = memory_text(path);
    enum status status = STATUS_OK;
    for (char *at = partial + 1; status == STATUS_OK; at++) {
        if (*at == '/' && at[-1] != '/') {
            *at = '\0';
            status = make_one(partial, error);
            *at = '/';
        } else if (*at == '\0') {
            status = make_one(partial, error);
            break;
        }
    }
    free(partial);
    return status;
}

#ifdef __linux__
/* File systems of other machines: flock and mmap do not keep their promises there. */
static const char *network_file_system(long type)
{
    static const struct {
        unsigned long type;
        const char *name;
    } known[] = {{0x6969, "NFS"},      {0x517B, "SMB"},        {0xFF534D42, "CIFS"},
                 {0xFE534D42, "SMB2"}, {0x73757245, "Coda"},   {0x5346414F, "AFS"},
                 {0x564C, "NCP"},      {0x0BD00BD0, "Lustre"}, {0x00C36400, "Ceph"},
                 {0x47504653, "GPFS"}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if ((uint32_t)type == (uint32_t)known[i].type) {
            return known[i].name;
        }
    }
    return NULL;
}
#endif

static enum status refuse_network(int folder, const char *path, struct error *error)
{
    ensure(folder >= 0);
#ifdef __linux__
    struct statfs file_system;
    if (fstatfs(folder, &file_system) != 0) {
        return directory_failed(error, errno, "asking the file system of", path);
    }
    const char *name = network_file_system((long)file_system.f_type);
    if (name != NULL) {
        return error_set(error, STATUS_FATAL, ERROR_CONFIG,
                         "%s is on a network file system (%s), where locks and memory maps do not "
                         "hold; set state.directory to a local disk",
                         path, name);
    }
#else
    (void)path;
    (void)error;
#endif
    return STATUS_OK;
}

/* The pid in the lock file if that process lives, else 0: a text may be a dead holder's. */
static pid_t read_holder(int lock)
{
    ensure(lock >= 0);
    char text[32] = {0};
    if (pread(lock, text, sizeof text - 1, 0) <= 0) {
        return 0;
    }
    char *end = NULL;
    long pid = strtol(text, &end, 10);
    if (end == text || pid <= 0 || pid > INT_MAX || (kill((pid_t)pid, 0) != 0 && errno == ESRCH)) {
        return 0;
    }
    return (pid_t)pid;
}

static enum status write_holder(int lock, const char *path, struct error *error)
{
    char text[32];
    int size = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    ensure(size > 0 && (size_t)size < sizeof text);
    if (ftruncate(lock, 0) != 0) {
        return directory_failed(error, errno, "writing the lock of", path);
    }
    ssize_t written = pwrite(lock, text, (size_t)size, 0);
    if (written != size) {
        return directory_failed(error, written < 0 ? errno : ENOSPC, "writing the lock of", path);
    }
    return STATUS_OK;
}

/* Opens and locks the file `lock`; RETRY/LOCKED when held. Whoever waits between open and flock may
 * lock a file that was deleted meanwhile: then it is not the one in the folder, and we go again. */
static enum status take_lock(struct directory *directory, pid_t *holder, struct error *error)
{
    ensure(directory->folder >= 0 && directory->lock < 0);
    for (;;) {
        int lock = openat(directory->folder, DIRECTORY_LOCK,
                          O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
        if (lock < 0) {
            return directory_failed(error, errno, "opening the lock of", directory->path);
        }
        struct stat opened;
        struct stat named;
        if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
            int code = errno;
            pid_t pid = code == EWOULDBLOCK ? read_holder(lock) : 0;
            (void)close(lock);
            if (code != EWOULDBLOCK) {
                return directory_failed(error, code, "locking", directory->path);
            }
            if (holder != NULL) {
                *holder = pid;
            }
            return error_set(error, STATUS_RETRY, ERROR_LOCKED,
                             "%s is locked by %s %ld; two instances may not share it",
                             directory->path, pid == getpid() ? "this process" : "process",
                             (long)pid);
        }
        if (fstat(lock, &opened) == 0 && S_ISREG(opened.st_mode) &&
            fstatat(directory->folder, DIRECTORY_LOCK, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
            opened.st_ino == named.st_ino && opened.st_dev == named.st_dev) {
            directory->lock = lock;
            (void)fchmod(lock, 0600);
            return write_holder(lock, directory->path, error);
        }
        (void)close(lock);
        if (!S_ISREG(opened.st_mode)) {
            return directory_failed(error, ELOOP, "opening the lock of", directory->path);
        }
    }
}

enum status directory_lock(const char *path, struct directory **directory, pid_t *holder,
                           struct error *error)
{
    ensure(path != NULL && directory != NULL);
    if (holder != NULL) {
        *holder = 0;
    }
    enum status status = directory_make(path, error);
    if (status != STATUS_OK) {
        return status;
    }
    struct directory *made = memory_allocate(sizeof *made);
    made->path = memory_text(path);
    made->lock = -1;
    made->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (made->folder < 0) {
        status = directory_failed(error, errno, "opening folder", path);
    }
    if (status == STATUS_OK) {
        status = refuse_network(made->folder, path, error);
    }
    if (status == STATUS_OK) {
        status = take_lock(made, holder, error);
    }
    if (status != STATUS_OK) {
        directory_unlock(made);
        return status;
    }
    *directory = made;
    return STATUS_OK;
}

void directory_unlock(struct directory *directory)
{
    if (directory == NULL) {
        return;
    }
    ensure(directory->path != NULL);
    if (directory->lock >= 0) {
        (void)!ftruncate(directory->lock, 0); /* a pid left behind would only mislead */
        (void)close(directory->lock);
    }
    if (directory->folder >= 0) {
        (void)close(directory->folder);
    }
    free(directory->path);
    free(directory);
}

const char *directory_path(const struct directory *directory)
{
    ensure(directory != NULL);
    return directory->path;
}

/* One line of a small file, without the newline; false if it is not there or empty. */
static bool read_line(int folder, const char *name, char line[MARKER_LIMIT])
{
    ensure(strchr(name, '\n') == NULL);
    int file = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) {
        return false;
    }
    ssize_t size = read(file, line, MARKER_LIMIT - 1);
    (void)close(file);
    if (size < 0) {
        return false;
    }
    line[size] = '\0';
    line[strcspn(line, "\n")] = '\0';
    return line[0] != '\0';
}

static bool read_boot(char line[MARKER_LIMIT])
{
    return read_line(AT_FDCWD, "/proc/sys/kernel/random/boot_id", line);
}

bool directory_boot_changed(const struct directory *directory)
{
    ensure(directory != NULL && directory->folder >= 0);
    struct stat found;
    if (fstatat(directory->folder, DIRECTORY_MARKER, &found, AT_SYMLINK_NOFOLLOW) != 0) {
        return false;
    }
    char marked[MARKER_LIMIT];
    char current[MARKER_LIMIT];
    /* A marker that cannot be read proves nothing, so it counts as another boot's. */
    return !read_line(directory->folder, DIRECTORY_MARKER, marked) || !read_boot(current) ||
           strcmp(marked, current) != 0;
}

/* The file is complete on disk before it has its name, and has its name before we return. */
static int write_marker(int folder, const char *line)
{
    ensure(folder >= 0 && line[0] != '\0');
    int file =
        openat(folder, marker_pending, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0) {
        return errno;
    }
    int code = 0;
    size_t size = strlen(line);
    ssize_t written = write(file, line, size);
    if (written < 0 || (size_t)written != size) {
        code = written < 0 ? errno : ENOSPC;
    } else if (fchmod(file, 0600) != 0 || fsync(file) != 0) {
        code = errno;
    }
    (void)close(file);
    if (code == 0 &&
        (renameat(folder, marker_pending, folder, DIRECTORY_MARKER) != 0 || fsync(folder) != 0)) {
        code = errno;
    }
    if (code != 0) {
        (void)unlinkat(folder, marker_pending, 0);
    }
    return code;
}

enum status directory_mark_boot(struct directory *directory, struct error *error)
{
    ensure(directory != NULL && directory->lock >= 0);
    char current[MARKER_LIMIT];
    if (!read_boot(current)) {
        return error_set(error, STATUS_FATAL, ERROR_IO,
                         "the kernel's boot id cannot be read, which state.durability \"fast\" "
                         "needs; set it to \"durable\"");
    }
    char marked[MARKER_LIMIT];
    if (read_line(directory->folder, DIRECTORY_MARKER, marked) && strcmp(marked, current) == 0) {
        return STATUS_OK;
    }
    char line[MARKER_LIMIT + 1];
    (void)snprintf(line, sizeof line, "%s\n", current);
    int code = write_marker(directory->folder, line);
    return code == 0 ? STATUS_OK
                     : directory_failed(error, code, "writing the boot marker of", directory->path);
}

enum status directory_clear_boot(struct directory *directory, struct error *error)
{
    ensure(directory != NULL && directory->lock >= 0);
    if (unlinkat(directory->folder, DIRECTORY_MARKER, 0) != 0) {
        return errno == ENOENT
                   ? STATUS_OK
                   : directory_failed(error, errno, "removing the boot marker of", directory->path);
    }
    return fsync(directory->folder) == 0
               ? STATUS_OK
               : directory_failed(error, errno, "syncing folder", directory->path);
}
