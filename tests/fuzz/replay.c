/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main of a fuzz target outside of libFuzzer: every file of the folders on the command line,
 * each once, in the order of the names, after the empty input. A broken promise ends it with a
 * signal after the name of the file. A folder that is not there or holds nothing is a failure: a
 * corpus that was lost must not pass.
 */
#include "fuzz_input.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static bool replay_file(const char *path)
{
    uint8_t *data = memory_allocate(FUZZ_INPUT_MOST + 1);
    FILE *file = fopen(path, "rb");
    size_t size = file == NULL ? 0 : fread(data, 1, FUZZ_INPUT_MOST + 1, file);
    bool good = file != NULL && ferror(file) == 0 && size <= FUZZ_INPUT_MOST;
    if (file != NULL) {
        (void)fclose(file);
    }
    if (!good) {
        (void)fprintf(stderr, "replay: %s cannot be read or is too large\n", path);
    } else {
        uint8_t *exact = fuzz_exact((struct bytes){data, size});
        good = LLVMFuzzerTestOneInput(exact, size) == 0;
        free(exact);
    }
    free(data);
    return good;
}

static bool replay_folder(const char *folder, size_t *count)
{
    struct dirent **entries = NULL;
    int found = scandir(folder, &entries, visible, alphasort);
    if (found <= 0) {
        (void)fprintf(stderr, "replay: no inputs in %s\n", folder);
    }
    bool good = found > 0;
    for (int i = 0; i < found; i++) {
        char *path = memory_format("%s/%s", folder, entries[i]->d_name);
        (void)printf("%s\n", path); /* the last line tells which one it was */
        (void)fflush(stdout);
        good = replay_file(path) && good;
        free(path);
        free(entries[i]);
        *count += 1;
    }
    free(entries);
    return good;
}

int main(int argc, char **argv)
{
    size_t count = 0;
    bool good = argc > 1 && LLVMFuzzerTestOneInput((const uint8_t *)"", 0) == 0;
    for (int i = 1; i < argc; i++) {
        good = replay_folder(argv[i], &count) && good;
    }
    (void)printf("replay: inputs=%zu %s\n", count, good ? "passed" : "FAILED");
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
