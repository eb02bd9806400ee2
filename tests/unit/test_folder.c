/* SPDX-License-Identifier: Apache-2.0 */
#include "test_folder.h"

#include "base/bytes.h"

#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

char *test_folder_make(void)
{
    const char *root = getenv("TMPDIR");
    char *folder = memory_format("%s/leat-test-XXXXXX", root == NULL ? "/tmp" : root);
    if (mkdtemp(folder) == NULL) {
        perror("mkdtemp");
        abort();
    }
    return folder;
}

static int remove_one(const char *path, const struct stat *stat, int flag, struct FTW *walk)
{
    (void)stat;
    (void)flag;
    (void)walk;
    return remove(path);
}

void test_folder_remove(char *folder)
{
    (void)nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(folder);
}

pid_t test_fork(void)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)) {
        _exit(125);
    }
    return pid;
}
