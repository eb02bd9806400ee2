/* SPDX-License-Identifier: Apache-2.0 */
/* The power log itself: what it saw is what happened, and images keep its promises. */
#include "../unit/test_folder.h"
#include "base/bytes.h"
#include "power_log.h"
#include "store_life.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { IMAGES = 300, PAGE = 4096 };

static char *folder;
static char *live;
static char *image;
static struct random dice;

static void begin(void)
{
    folder = test_folder_make();
    live = memory_format("%s/live", folder);
    image = memory_format("%s/image", folder);
    cr_assert_eq(mkdir(live, 0700), 0);
    random_init(&dice, 1);
}

static void end(void)
{
    power_log_stop();
    free(live);
    free(image);
    test_folder_remove(folder);
}

TestSuite(power_log, .init = begin, .fini = end);

static int open_live(const char *name, int flags)
{
    char *path = memory_format("%s/%s", live, name);
    int file = open(path, flags | O_CLOEXEC, 0600);
    cr_assert_geq(file, 0, "%s: %s", path, strerror(errno));
    free(path);
    return file;
}

static void put(int file, off_t offset, char letter, size_t size)
{
    char *data = memory_allocate(size);
    memset(data, letter, size);
    cr_assert_eq(pwrite(file, data, size, offset), (ssize_t)size);
    free(data);
}

/* Makes an image of all that was logged, or of less. */
static void lose(size_t cut, enum power_subset how)
{
    test_folder_remove(memory_text(image));
    power_log_image(image, cut, &dice, how);
}

/* A file of the image as text: a letter a page, "-" for a page of zeros, "?" for a mixture; NULL if
 * it is not there. */
static const char *pages(const char *name)
{
    static char text[64];
    char *path = memory_format("%s/%s", image, name);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    free(path);
    if (file < 0) {
        return NULL;
    }
    size_t count = 0;
    char page[PAGE];
    ssize_t got;
    while ((got = read(file, page, sizeof page)) > 0) {
        text[count] = page[0] == '\0' ? '-' : page[0];
        for (ssize_t i = 1; i < got; i++) {
            text[count] = page[i] == page[0] ? text[count] : '?';
        }
        count++;
    }
    (void)close(file);
    text[count] = '\0';
    return text;
}

/* Whether the images of this moment show this content, all of these, and no others. */
static void expect_all_of(const char *name, const char *const *texts, size_t count)
{
    size_t seen[8] = {0};
    for (int i = 0; i < IMAGES; i++) {
        lose(power_log_size(), POWER_RANDOM);
        const char *found = pages(name);
        size_t k = 0;
        while (k < count && (texts[k] == NULL || found == NULL ? texts[k] != found
                                                               : strcmp(texts[k], found) != 0)) {
            k++;
        }
        cr_assert_lt(k, count, "%s holds \"%s\"", name, found == NULL ? "nothing" : found);
        seen[k]++;
    }
    for (size_t k = 0; k < count; k++) {
        cr_assert_gt(seen[k], 0, "%s never holds \"%s\"", name,
                     texts[k] == NULL ? "nothing" : texts[k]);
    }
}

#define expect_images(name, ...)                                                                   \
    expect_all_of(name, (const char *const[]){__VA_ARGS__},                                        \
                  sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* The whole tree as text, without the content of the lock file of LMDB, which is written by a map.
 */
static void list(const char *path, struct buffer *text)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, NULL, alphasort);
    cr_assert_geq(count, 0);
    for (int i = 0; i < count; i++) {
        char *inner = memory_format("%s/%s", path, entries[i]->d_name);
        struct stat facts;
        cr_assert_eq(lstat(inner, &facts), 0);
        bool folder_self = entries[i]->d_name[0] == '.';
        if (!folder_self && S_ISDIR(facts.st_mode)) {
            buffer_format(text, "%s/\n", entries[i]->d_name);
            list(inner, text);
            buffer_append_text(text, "..\n");
        } else if (!folder_self) {
            buffer_format(text, "%s %lld ", entries[i]->d_name, (long long)facts.st_size);
            int file = open(inner, O_RDONLY | O_CLOEXEC);
            uint8_t *data = buffer_extend(text, (size_t)facts.st_size);
            cr_assert_eq(read(file, data, (size_t)facts.st_size), facts.st_size);
            if (strcmp(entries[i]->d_name, "lock.mdb") == 0) {
                memset(data, 0, (size_t)facts.st_size);
            }
            (void)close(file);
        }
        free(inner);
        free(entries[i]);
    }
    free(entries);
}

static void expect_image_is_live(void)
{
    struct buffer one = {0};
    struct buffer other = {0};
    list(live, &one);
    list(image, &other);
    cr_assert(
        bytes_equal((struct bytes){one.data, one.size}, (struct bytes){other.data, other.size}));
    buffer_finish(&one);
    buffer_finish(&other);
}

Test(power_log, all_that_was_logged_is_the_folder_itself)
{
    for (uint64_t seed = 0; seed < 12; seed++) {
        struct store_life life;
        store_life_run(&life, live, seed, 8, 0);
        lose(life.size, POWER_ALL);
        expect_image_is_live();
        store_life_finish(&life);
        test_folder_remove(memory_text(live));
        cr_assert_eq(mkdir(live, 0700), 0);
    }
}

Test(power_log, what_was_there_at_the_start_is_durable)
{
    int file = open_live("old", O_RDWR | O_CREAT);
    put(file, 0, 'a', (size_t)2 * PAGE);
    power_log_start(live);
    lose(0, POWER_NONE);
    expect_image_is_live();
    cr_assert_eq(ftruncate(file, PAGE), 0);
    expect_images("old", "aa", "a", "a-", "a?");
    (void)close(file);
}

Test(power_log, a_page_is_there_in_any_version_since_the_barrier)
{
    power_log_start(live);
    int file = open_live("file", O_RDWR | O_CREAT);
    put(file, 0, 'a', (size_t)2 * PAGE);
    cr_assert_eq(fsync(file), 0);
    expect_images("file", "aa");
    put(file, 0, 'b', PAGE);
    put(file, 0, 'c', PAGE);
    lose(power_log_size(), POWER_NONE);
    cr_assert_str_eq(pages("file"), "aa");
    lose(power_log_size(), POWER_ALL);
    cr_assert_str_eq(pages("file"), "ca");
    for (int i = 0; i < IMAGES; i++) {
        lose(power_log_size(), POWER_RANDOM);
        cr_assert_not_null(strchr("abc?", pages("file")[0]));
        cr_assert_eq(pages("file")[1], 'a');
    }
    size_t before = power_log_size();
    cr_assert_eq(fdatasync(file), 0);
    expect_images("file", "ca");
    lose(before, POWER_NONE);
    cr_assert_str_eq(pages("file"), "aa", "a cut before the barrier is a loss before it");
    (void)close(file);
}

Test(power_log, one_page_alone_and_all_but_one_are_that)
{
    power_log_start(live);
    int file = open_live("file", O_RDWR | O_CREAT);
    put(file, 0, 'a', (size_t)3 * PAGE);
    cr_assert_eq(fsync(file), 0);
    put(file, 0, 'b', (size_t)3 * PAGE);
    for (int i = 0; i < IMAGES; i++) {
        size_t changed = 0;
        lose(power_log_size(), i % 2 == 0 ? POWER_ONE : POWER_ALL_BUT_ONE);
        for (const char *at = pages("file"); *at != '\0'; at++) {
            changed += *at == 'b';
        }
        cr_assert_eq(changed, i % 2 == 0 ? 1 : 2);
    }
    (void)close(file);
}

Test(power_log, a_synchronous_descriptor_makes_its_own_bytes_durable)
{
    power_log_start(live);
    int file = open_live("file", O_RDWR | O_CREAT);
    int through = open_live("file", O_WRONLY | O_DSYNC);
    put(file, 0, 'a', (size_t)2 * PAGE);
    cr_assert_eq(fsync(file), 0);
    put(file, PAGE, 'b', PAGE);
    put(through, 0, 'c', PAGE);
    lose(power_log_size(), POWER_NONE);
    cr_assert_str_eq(pages("file"), "ca");
    lose(power_log_size() - 1, POWER_NONE);
    cr_assert_str_eq(pages("file"), "aa");
    (void)close(file);
    (void)close(through);
}

Test(power_log, writes_at_the_position_and_in_parts_are_seen)
{
    power_log_start(live);
    int file = open_live("file", O_WRONLY | O_CREAT);
    int append = open_live("file", O_WRONLY | O_APPEND);
    char one[] = "one ";
    char two[] = "two ";
    struct iovec parts[] = {{one, 4}, {two, 4}};
    cr_assert_eq(write(file, "zero ", 5), 5);
    cr_assert_eq(writev(file, parts, 2), 8);
    cr_assert_eq(pwritev(file, parts + 1, 1, 1), 4);
    cr_assert_eq(write(append, "end", 3), 3);
    lose(power_log_size(), POWER_ALL);
    expect_image_is_live();
    (void)close(file);
    (void)close(append);
}

Test(power_log, a_name_is_durable_with_its_folder_or_its_file)
{
    power_log_start(live);
    int folder_self = open_live(".", O_RDONLY | O_DIRECTORY);
    int one = open_live("one", O_RDWR | O_CREAT);
    put(one, 0, 'a', PAGE);
    cr_assert_eq(fdatasync(one), 0);
    expect_images("one", NULL, "a");
    cr_assert_eq(fsync(one), 0);
    expect_images("one", "a");
    int two = open_live("two", O_RDWR | O_CREAT);
    put(two, 0, 'b', PAGE);
    cr_assert_eq(fsync(folder_self), 0);
    lose(power_log_size(), POWER_NONE);
    cr_assert_str_eq(pages("two"), "", "the name is there, the content not");
    (void)close(one);
    (void)close(two);
    (void)close(folder_self);
}

Test(power_log, a_rename_is_all_or_nothing_and_a_removal_may_be_undone)
{
    power_log_start(live);
    int folder_self = open_live(".", O_RDONLY | O_DIRECTORY);
    int file = open_live("new", O_RDWR | O_CREAT);
    put(file, 0, 'n', PAGE);
    cr_assert_eq(fsync(file), 0);
    int old = open_live("name", O_RDWR | O_CREAT);
    put(old, 0, 'o', PAGE);
    cr_assert_eq(fsync(old), 0);
    cr_assert_eq(renameat(folder_self, "new", folder_self, "name"), 0);
    for (int i = 0; i < IMAGES; i++) {
        lose(power_log_size(), POWER_RANDOM);
        bool done = pages("new") == NULL;
        cr_assert_str_eq(pages("name"), done ? "n" : "o");
    }
    cr_assert_eq(fsync(folder_self), 0);
    expect_images("name", "n");
    cr_assert_eq(unlinkat(folder_self, "name", 0), 0);
    expect_images("name", NULL, "n");
    cr_assert_eq(fsync(folder_self), 0);
    lose(power_log_size(), POWER_NONE);
    cr_assert_null(pages("name"));
    (void)close(file);
    (void)close(old);
    (void)close(folder_self);
}

Test(power_log, what_is_beside_the_folder_is_not_logged)
{
    power_log_start(live);
    char *path = memory_format("%s/beside", folder);
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    put(file, 0, 'x', PAGE);
    cr_assert_eq(fsync(file), 0);
    cr_assert_eq(ftruncate(file, 0), 0);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(power_log_size(), 0);
    (void)close(file);
    free(path);
}

static void count_call(void *context)
{
    cr_assert_eq(power_log_size(), 3);
    ++*(int *)context;
}

Test(power_log, acts_once_where_it_was_asked_to)
{
    int calls = 0;
    power_log_start(live);
    power_log_at(3, count_call, &calls);
    int file = open_live("file", O_RDWR | O_CREAT);
    put(file, 0, 'a', PAGE);
    cr_assert_eq(calls, 0);
    for (int i = 0; i < 5; i++) {
        put(file, 0, 'b', PAGE);
    }
    cr_assert_eq(calls, 1);
    (void)close(file);
}

Test(power_log, a_reboot_changes_the_boot_marker)
{
    struct directory *directory = NULL;
    struct error error;
    cr_assert_eq(directory_lock(live, &directory, NULL, &error), STATUS_OK);
    cr_assert_eq(directory_mark_boot(directory, &error), STATUS_OK);
    cr_assert_not(directory_boot_changed(directory));
    power_reboot(live);
    cr_assert(directory_boot_changed(directory));
    directory_unlock(directory);
}
