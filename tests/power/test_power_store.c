/* SPDX-License-Identifier: Apache-2.0 */
/* What power_images found, each by itself. */
#include "../unit/test_folder.h"
#include "base/bytes.h"
#include "content.h"
#include "power_log.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IMAGES = 60 };

static char *folder;
static char *live;
static char *image;

static void begin(void)
{
    folder = test_folder_make();
    live = memory_format("%s/live", folder);
    image = memory_format("%s/image", folder);
    cr_assert_eq(mkdir(live, 0700), 0);
}

static void end(void)
{
    power_log_stop();
    free(live);
    free(image);
    test_folder_remove(folder);
}

TestSuite(power_store, .init = begin, .fini = end);

static bool image_has(const char *name)
{
    char *path = memory_format("%s/%s", image, name);
    bool has = access(path, F_OK) == 0;
    free(path);
    return has;
}

/* power_images --mode fast --seed 1 --chain 13: between the removal of the marker and the sync of
 * the folder, the store's own name was nowhere synced. */
Test(power_store, a_fast_store_without_its_marker_is_there)
{
    struct task_store opened;
    struct content content = {.sequence = 0};
    struct error error = {.text = ""};
    struct random random;
    struct task_store_options fast = {.fast = true};
    random_init(&random, 1);
    power_log_start(live);
    cr_assert_eq(task_store_open(live, &fast, &opened, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(content_commit(&opened, &content, &random, &error), STATUS_OK, "%s", error.text);
    size_t from = power_log_size();
    cr_assert_eq(task_store_close(&opened, &error), STATUS_OK, "%s", error.text);
    size_t unmarked = 0;
    for (size_t cut = from; cut <= power_log_size(); cut++) {
        for (int i = 0; i < IMAGES; i++) {
            power_log_image(image, cut, &random, POWER_RANDOM);
            if (!image_has("boot")) {
                unmarked++;
                cr_assert(image_has("data.mdb"), "cut %zu", cut);
            }
            test_folder_remove(memory_text(image));
        }
    }
    cr_assert_gt(unmarked, 0);
}
