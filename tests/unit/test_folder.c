/* SPDX-License-Identifier: Apache-2.0 */
#include "test_folder.h"

#include "base/bytes.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

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
