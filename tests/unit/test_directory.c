/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "state/directory.h"
#include "test_folder.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct error error;
static char *folder, *path;

#define ok(call) cr_assert((call) == STATUS_OK, "%s", error.text)

static void setup(void)
{
    folder = test_folder_make();
    path = memory_format("%s/app/instance/lines-0", folder);
}

static void teardown(void)
{
    free(path);
    test_folder_remove(folder);
}

TestSuite(directory, .init = setup, .fini = teardown);

static void write_text(const char *name, const char *text)
{
    char *full = memory_format("%s/%s", path, name);
    FILE *file = fopen(full, "w");
    cr_assert(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
    free(full);
}

static bool exists(const char *format, const char *base)
{
    char *full = memory_format("%s%s", base, format);
    bool found = access(full, F_OK) == 0;
    free(full);
    return found;
}

static mode_t mode_of(const char *name)
{
    struct stat found;
    cr_assert_eq(stat(name, &found), 0);
    return found.st_mode & 07777;
}

Test(directory, makes_parents_private_whatever_the_umask)
{
    static const mode_t masks[] = {0, 0777};
    for (int i = 0; i < 2; i++) {
        char *top = memory_format("%s/top%d", folder, i);
        char *deep = memory_format("%s//a/b/", top);
        mode_t old = umask(masks[i]);
        ok(directory_make(deep, &error));
        ok(directory_make(deep, &error));
        (void)umask(old);
        cr_assert_eq(mode_of(top), 0700);
        cr_assert_eq(mode_of(deep), 0700);
        free(top);
        free(deep);
    }
    cr_assert_eq(chmod(folder, 0755), 0);
    ok(directory_make(folder, &error));
    cr_assert_eq(mode_of(folder), 0755, "what was there keeps its mode");
}

Test(directory, a_file_in_the_way_is_an_error_that_names_it)
{
    char *file = memory_format("%s/app", folder);
    FILE *out = fopen(file, "w");
    cr_assert(out != NULL && fclose(out) == 0);
    cr_assert_eq(directory_make(path, &error), STATUS_FATAL);
    cr_assert_not_null(strstr(error.text, file), "%s", error.text);
    free(file);
}

Test(directory, has_one_owner_in_a_process)
{
    struct directory *first;
    struct directory *second;
    pid_t holder = -1;
    ok(directory_lock(path, &first, &holder, &error));
    cr_assert_eq(holder, 0);
    cr_assert_str_eq(directory_path(first), path);
    cr_assert_eq(directory_lock(path, &second, &holder, &error), STATUS_RETRY);
    cr_assert_eq(error.code, ERROR_LOCKED);
    cr_assert_eq(holder, getpid());
    cr_assert_eq(directory_lock(path, &second, NULL, &error), STATUS_RETRY);
    directory_unlock(first);
    directory_unlock(NULL);
    ok(directory_lock(path, &second, &holder, &error));
    char *lock = memory_format("%s/lock", path);
    cr_assert_eq(mode_of(lock), 0600);
    struct stat named;
    struct stat open_file;
    int held = 0;
    cr_assert_eq(stat(lock, &named), 0);
    for (int file = 3; file < 64; file++) {
        if (fstat(file, &open_file) == 0 && open_file.st_ino == named.st_ino) {
            cr_assert_neq(fcntl(file, F_GETFD) & FD_CLOEXEC, 0, "a child would keep the lock");
            held++;
        }
    }
    cr_assert_eq(held, 1);
    free(lock);
    directory_unlock(second);
}

Test(directory, names_the_process_that_holds_it_and_is_free_after_its_death)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    pid_t pid = test_fork();
    if (pid == 0) {
        struct directory *directory;
        if (directory_lock(path, &directory, NULL, &error) != STATUS_OK ||
            write(ends[1], "x", 1) != 1) {
            _exit(1);
        }
        for (;;) {
            (void)pause();
        }
    }
    char byte;
    cr_assert_eq(read(ends[0], &byte, 1), 1);
    struct directory *directory;
    pid_t holder = 0;
    cr_assert_eq(directory_lock(path, &directory, &holder, &error), STATUS_RETRY);
    cr_assert_eq(holder, pid);
    char number[32];
    (void)snprintf(number, sizeof number, " %ld", (long)pid);
    cr_assert_not_null(strstr(error.text, number), "%s", error.text);
    cr_assert_eq(kill(pid, SIGKILL), 0);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    ok(directory_lock(path, &directory, &holder, &error));
    directory_unlock(directory);
}

Test(directory, a_lock_that_is_a_symbolic_link_or_a_pipe_is_refused)
{
    ok(directory_make(path, &error));
    char *lock = memory_format("%s/lock", path);
    char *target = memory_format("%s/target", folder);
    struct directory *directory;
    cr_assert_eq(symlink(target, lock), 0);
    cr_assert_eq(directory_lock(path, &directory, NULL, &error), STATUS_FATAL);
    cr_assert_eq(error.code, ERROR_DENIED, "%s", error.text);
    cr_assert_neq(access(target, F_OK), 0, "the link was followed");
    cr_assert_eq(unlink(lock), 0);
    cr_assert_eq(mkfifo(lock, 0600), 0);
    cr_assert_eq(directory_lock(path, &directory, NULL, &error), STATUS_FATAL);
    cr_assert_eq(error.code, ERROR_DENIED, "%s", error.text);
    free(lock);
    free(target);
}

Test(directory, a_marker_of_another_boot_or_one_that_cannot_be_read_is_noticed)
{
    struct directory *directory;
    ok(directory_lock(path, &directory, NULL, &error));
    cr_assert_not(directory_boot_changed(directory), "without a marker all is well");
    ok(directory_mark_boot(directory, &error));
    ok(directory_mark_boot(directory, &error));
    cr_assert_not(directory_boot_changed(directory));
    char *marker = memory_format("%s/boot", path);
    cr_assert_eq(mode_of(marker), 0600);
    write_text("boot", "01234567-89ab-cdef-0123-456789abcdef\n");
    cr_assert(directory_boot_changed(directory));
    write_text("boot", "");
    cr_assert(directory_boot_changed(directory));
    ok(directory_mark_boot(directory, &error));
    cr_assert_not(directory_boot_changed(directory));
    ok(directory_clear_boot(directory, &error));
    ok(directory_clear_boot(directory, &error));
    cr_assert_neq(access(marker, F_OK), 0);
    free(marker);
    directory_unlock(directory);
}

Test(directory, moves_all_but_the_lock_aside_and_deletes_that_only)
{
    struct directory *directory;
    struct directory *other;
    pid_t holder;
    char *neighbour = memory_format("%s/app/instance/lines-01.aside-1", folder);
    ok(directory_make(neighbour, &error));
    ok(directory_lock(path, &directory, NULL, &error));
    for (int round = 1; round <= 2; round++) {
        write_text("data.mdb", "1");
        write_text("lock.mdb", "2");
        ok(directory_mark_boot(directory, &error));
        ok(directory_move_aside(directory, &error));
        cr_assert_not(exists("/data.mdb", path));
        cr_assert_not(exists("/lock.mdb", path));
        cr_assert_not(exists("/boot", path));
        cr_assert_eq(directory_lock(path, &other, &holder, &error), STATUS_RETRY);
    }
    cr_assert(exists(".aside-1/data.mdb", path));
    cr_assert(exists(".aside-2/lock.mdb", path));
    cr_assert(exists(".aside-2/boot", path));
    ok(directory_delete_aside(directory, &error));
    cr_assert_not(exists(".aside-1", path));
    cr_assert_not(exists(".aside-2", path));
    cr_assert(exists("", neighbour), "another task's folder");
    cr_assert(exists("/lock", path));
    ok(directory_delete_aside(directory, &error));
    free(neighbour);
    directory_unlock(directory);
}

Test(directory, a_relative_path_with_a_slash_at_its_end_works_alike)
{
    cr_assert_eq(chdir(folder), 0);
    struct directory *directory;
    ok(directory_lock("task-0/", &directory, NULL, &error));
    ok(directory_move_aside(directory, &error));
    cr_assert_eq(access("task-0.aside-1", F_OK), 0);
    ok(directory_delete_aside(directory, &error));
    cr_assert_neq(access("task-0.aside-1", F_OK), 0);
    directory_unlock(directory);
}

/* A full file system in `folder` for this process alone; where that needs rights this process has
 * not, no file may grow, which must be answered alike. */
static void fill_disk(void)
{
    if (unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
        mount("tmpfs", folder, "tmpfs", 0, "size=16k,mode=700") == 0) {
        char *fill = memory_format("%s/fill", folder);
        FILE *file = fopen(fill, "w");
        for (int i = 0; i < 100000 && fputc('x', file) != EOF; i++) {
        }
        (void)fclose(file);
        free(fill);
        return;
    }
    struct rlimit none = {0, 0};
    (void)signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &none) != 0) {
        _exit(0);
    }
}

Test(directory, a_full_disk_is_named)
{
    pid_t pid = test_fork();
    if (pid == 0) {
        struct directory *directory;
        fill_disk();
        enum status status = directory_lock(path, &directory, NULL, &error);
        _exit(status == STATUS_FATAL ? (int)error.code : 0);
    }
    int how;
    cr_assert_eq(waitpid(pid, &how, 0), pid);
    cr_assert(WIFEXITED(how));
    cr_assert_eq(WEXITSTATUS(how), ERROR_DISK_FULL);
}
