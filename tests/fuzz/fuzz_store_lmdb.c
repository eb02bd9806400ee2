/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Damages a store's file in every way and lets the check judge it: it may refuse or accept, but
 * neither crash nor read outside of a page. An input is a list of changes: where (4 bytes), what (8
 * bytes); the last 4 bytes say where the file is cut.
 */
#include "state/store_lmdb.h"

#include "../unit/test_folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *image;
static size_t image_size;
static int file;

/* A real store of several tables, large values, long keys and free pages. */
static void make_image(void)
{
    struct error error;
    struct store *store;
    struct store_table *table;
    struct store_options options = {.durable = false};
    static uint8_t value[9000];
    static char key[600];
    char *folder = test_folder_make();
    ensure(store_lmdb_open(folder, &options, &store, &error) == STATUS_OK);
    ensure(store_table_open(store, ".timers", &table, &error) == STATUS_OK);
    ensure(store_table_open(store, "count/words", &table, &error) == STATUS_OK);
    for (int i = 0; i < 300; i++) {
        ensure(store_begin(store, &error) == STATUS_OK);
        memset(key, 'k', sizeof key);
        int used = snprintf(key, 10, "%06d", i * 7 % 200);
        key[used] = 'k';
        ensure(store_put(table, (struct bytes){key, i % 5 == 0 ? sizeof key : 6},
                         (struct bytes){value, i % 50 == 0 ? sizeof value : 40},
                         &error) == STATUS_OK);
        ensure(store_meta_put(store, "sequence", bytes_of("12345678"), &error) == STATUS_OK);
        ensure(store_commit(store, &error) == STATUS_OK);
    }
    store_close(store);
    char *path = memory_format("%s/data.mdb", folder);
    FILE *in = fopen(path, "rb");
    image = malloc((size_t)8 << 20);
    ensure(in != NULL && image != NULL);
    image_size = fread(image, 1, (size_t)8 << 20, in);
    ensure(image_size > 20 * 4096);
    (void)fclose(in);
    free(path);
    test_folder_remove(folder);
    file = memfd_create("store", MFD_CLOEXEC);
    ensure(file >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lmdb_facts facts = {0};
    struct error error;
    if (image == NULL) {
        make_image();
    }
    size_t cut = image_size;
    if (size >= 4) {
        cut = get_u32(data) % 4 == 0 ? get_u32(data) / 4 % (image_size + 1) : image_size;
        data += 4;
        size -= 4;
    }
    ensure(ftruncate(file, 0) == 0 && pwrite(file, image, image_size, 0) == (ssize_t)image_size);
    for (; size >= 12; data += 12, size -= 12) {
        /* The page in the first two bytes, the place in it in the others: small numbers hit
         * headers. */
        size_t at = (size_t)get_u16(data) % (image_size / 4096) * 4096 + get_u16(data + 2) % 4096;
        size_t part = image_size - at < 8 ? image_size - at : 8;
        ensure(pwrite(file, data + 4, part, (off_t)at) == (ssize_t)part);
    }
    ensure(ftruncate(file, (off_t)cut) == 0);
    if (lmdb_check_meta(file, "store", &facts, &error) == STATUS_OK) {
        (void)lmdb_check_tree(file, "store", false, &facts, &error);
        (void)lmdb_check_tree(file, "store", true, &facts, &error);
    }
    return 0;
}
