/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "base/log.h"
#include "config_case.h"
#include "test_folder.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const text =
    CONFIG_WITH("\"broker\": { \"properties\": { \"sasl.password\": { \"file\": \"key\" } } },\n");

/* A folder with the topology file's name and a secret beside it. */
static char *prepare(char *topology, char *key, size_t size, const char *secret, unsigned mode)
{
    char *folder = test_folder_make();
    (void)snprintf(topology, size, "%s/t.json", folder);
    (void)snprintf(key, size, "%s/key", folder);
    config_write(key, secret, mode);
    return folder;
}

static const char *refusal(const char *topology)
{
    static struct error error;
    struct config *config = NULL;
    enum status status = config_parse(text, strlen(text), topology, NULL, &config, &error);
    cr_assert(status == STATUS_BAD_CONFIG, "the secret was accepted");
    return error.text;
}

Test(config_secrets, a_private_file_is_read_without_its_last_newline)
{
    char topology[128];
    char key[128];
    char *folder = prepare(topology, key, sizeof key, "hunter-2\n\n", 0600);
    struct config *config = config_good_in(topology, NULL, text, NULL);
    cr_assert_eq(config->broker.common.count, 1);
    cr_expect_str_eq(config->broker.common.items[0].value.text, "hunter-2\n");
    cr_expect(config->broker.common.items[0].secret);
    config_destroy(config);
    config_write(key, "no newline", 0400);
    config = config_good_in(topology, NULL, text, NULL);
    cr_expect_str_eq(config->broker.common.items[0].value.text, "no newline");
    config_destroy(config);
    test_folder_remove(folder);
}

Test(config_secrets, a_file_that_others_may_read_is_refused)
{
    char topology[128];
    char key[128];
    char *folder = prepare(topology, key, sizeof key, "hunter-2", 0640);
    char expected[512];
    (void)snprintf(expected, sizeof expected,
                   "%s:3: $.broker.properties.\"sasl.password\".file: expected mode 0600, found "
                   "0640 at %s; run: chmod 600 %s",
                   topology, key, key);
    cr_expect_str_eq(refusal(topology), expected);
    cr_assert_eq(chmod(key, 0604), 0);
    cr_expect_not_null(strstr(refusal(topology), "found 0604"));
    test_folder_remove(folder);
}

Test(config_secrets, a_file_of_another_user_is_refused)
{
    char topology[128];
    char key[128];
    char *folder = prepare(topology, key, sizeof key, "hunter-2", 0600);
    bool given = chown(key, 12345, 12345) == 0; /* only root can give a file away */
    struct config *config = NULL;
    struct error error = {0};
    enum status status = config_parse(text, strlen(text), topology, NULL, &config, &error);
    cr_expect_eq(status, given ? STATUS_BAD_CONFIG : STATUS_OK);
    cr_expect_eq(strstr(error.text, "owned by user 12345") != NULL, given, "%s", error.text);
    config_destroy(config);
    test_folder_remove(folder);
}

Test(config_secrets, folders_queues_and_huge_files_are_refused)
{
    char topology[128];
    char key[128];
    char *folder = prepare(topology, key, sizeof key, "", 0600);
    cr_assert_eq(unlink(key), 0);
    cr_assert_eq(mkdir(key, 0700), 0);
    cr_expect_not_null(strstr(refusal(topology), "expected a regular file"));
    cr_assert_eq(rmdir(key), 0);
    cr_assert_eq(mkfifo(key, 0600), 0);
    cr_expect_not_null(strstr(refusal(topology), "expected a regular file"));
    cr_assert_eq(unlink(key), 0);
    char *huge = memory_allocate(70000);
    memset(huge, 'x', 69999);
    config_write(key, huge, 0600);
    free(huge);
    cr_expect_not_null(strstr(refusal(topology), "expected at most 64 KiB"));
    test_folder_remove(folder);
}

Test(config_secrets, a_nul_byte_is_refused)
{
    char topology[128];
    char key[128];
    char *folder = prepare(topology, key, sizeof key, "", 0600);
    FILE *file = fopen(key, "w");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite("a\0b", 1, 3, file), 3);
    cr_assert_eq(fclose(file), 0);
    cr_expect_not_null(strstr(refusal(topology), "found a NUL byte"));
    test_folder_remove(folder);
}

static char last_line[512];

static void keep_line(void *opaque, const char *line)
{
    (void)opaque;
    (void)snprintf(last_line, sizeof last_line, "%s", line);
}

Test(config_secrets, secrets_do_not_reach_the_log_or_the_settings)
{
    (void)setenv("LEAT_SECRET", "tiger-tiger", 1);
    struct config *config = config_good(
        CONFIG_WITH("\"broker\": { \"properties\": { \"sasl.password\": { \"env\": \"LEAT_SECRET\" "
                    "}, \"ssl.key.password\": \"written-out\" } },\n"),
        NULL);
    cr_expect(config->broker.common.items[1].secret, "a password is one however it is given");
    log_set_sink(keep_line, NULL);
    log_error("test", "got tiger-tiger and written-out");
    log_set_sink(NULL, NULL);
    cr_expect_not_null(strstr(last_line, "got *********** and ***********"), "%s", last_line);
    config_destroy(config);
}

static void no_secret(void *opaque, const struct config_setting *setting)
{
    int *seen = opaque;
    cr_expect_null(strstr(setting->value, "tiger"), "%s", setting->path);
    if (strcmp(setting->path, "broker.properties.\"sasl.password\"") == 0) {
        cr_expect_str_eq(setting->value, "(secret)");
        (*seen)++;
    }
}

Test(config_secrets, effective_settings_hide_them)
{
    (void)setenv("LEAT_SECRET", "tiger-tiger", 1);
    struct config *config = config_good(
        CONFIG_WITH(
            "\"broker\": { \"producer\": { \"sasl.password\": { \"env\": \"LEAT_SECRET\" } },\n"
            "\"properties\": { \"sasl.password\": { \"env\": \"LEAT_SECRET\" } } },\n"),
        NULL);
    int seen = 0;
    config_visit_settings(config, no_secret, &seen);
    cr_expect_eq(seen, 1);
    config_destroy(config);
}
