/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz image: an LMDB file that a target made once, and damages anew for each input.
 *
 * An input: where the file is cut (4 bytes), then changes: the page and the place in it (2 bytes
 * each), what is put there (8 bytes).
 */
#ifndef LEAT_TESTS_FUZZ_IMAGE_H
#define LEAT_TESTS_FUZZ_IMAGE_H

#include "base/lmdb_check.h"

#include "../unit/test_folder.h"
#include "fuzz_input.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { FUZZ_IMAGE_MOST = 1 << 20, FUZZ_PAGE = 4096 };

/** All zero at first. One thread. */
struct fuzz_image {
    char *folder; /* holds the file; the target makes it */
    uint8_t *data;
    size_t size;
    int file;
};

/** Reads the file that now lies in the folder; it must be longer than `least_pages`. */
static inline void fuzz_image_take(struct fuzz_image *image, size_t least_pages)
{
    char *path = memory_format("%s/%s", image->folder, LMDB_FILE);
    image->file = open(path, O_RDWR | O_CLOEXEC);
    image->data = memory_allocate(FUZZ_IMAGE_MOST);
    ssize_t got = pread(image->file, image->data, FUZZ_IMAGE_MOST, 0);
    ensure(got > (ssize_t)(least_pages * FUZZ_PAGE) && got < FUZZ_IMAGE_MOST);
    image->size = (size_t)got;
    free(path);
}

/** Removes the folder too. */
static inline void fuzz_image_finish(struct fuzz_image *image)
{
    (void)close(image->file);
    free(image->data);
    test_folder_remove(image->folder);
}

/** Writes the image, damaged as the input says. */
static inline void fuzz_image_damage(const struct fuzz_image *image, struct fuzz_input *input)
{
    uint64_t number = fuzz_number(input, 4);
    size_t cut = number % 4 == 3 ? number / 4 % (image->size + 1) : image->size;
    ensure(ftruncate(image->file, 0) == 0 &&
           pwrite(image->file, image->data, image->size, 0) == (ssize_t)image->size);
    while (input->left >= 5) {
        size_t page = fuzz_number(input, 2) % (image->size / FUZZ_PAGE);
        size_t at = page * FUZZ_PAGE + fuzz_number(input, 2) % FUZZ_PAGE;
        struct bytes bytes = fuzz_bytes(input, image->size - at < 8 ? image->size - at : 8);
        ensure(pwrite(image->file, bytes.data, bytes.size, (off_t)at) == (ssize_t)bytes.size);
    }
    ensure(ftruncate(image->file, (off_t)cut) == 0);
}

#endif
