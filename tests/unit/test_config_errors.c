/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every folder of tests/config/bad holds a topology.json, perhaps `overrides` (words of the command
 * line, one a line), and the `error` that must come of them: line, path, expectation, finding,
 * suggestion. An error that ends in "..." goes on with words that are the parser's own.
 */
#include "config_case.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CASES_LEAST = 140 };

static size_t split_lines(char *text, const char **lines, size_t size)
{
    size_t count = 0;
    char *rest = NULL;
    for (char *at = strtok_r(text, "\n", &rest); at != NULL; at = strtok_r(NULL, "\n", &rest)) {
        cr_assert(count < size);
        lines[count++] = at;
    }
    return count;
}

static bool matches(const char *found, const char *expected)
{
    size_t size = strlen(expected);
    if (size > 3 && strcmp(expected + size - 3, "...") == 0 &&
        strstr(expected, "mistake") != NULL) {
        return strncmp(found, expected, size - 3) == 0;
    }
    return strcmp(found, expected) == 0;
}

static bool run_case(const char *name)
{
    char folder[512];
    (void)snprintf(folder, sizeof folder, LEAT_SOURCE_DIR "/tests/config/bad/%s", name);
    cr_assert_eq(chdir(folder), 0, "%s", folder);
    char *expected = config_slurp("error");
    char *words = config_slurp("overrides");
    cr_assert_not_null(expected, "%s has no error", name);
    expected[strcspn(expected, "\n")] = 0;
    const char *lines[16];
    const char *sets[8];
    struct config_overrides overrides = {.sets = sets};
    size_t count = words == NULL ? 0 : split_lines(words, lines, 16);
    for (size_t i = 0; i + 1 < count; i += 2) {
        if (strcmp(lines[i], "--broker") == 0) {
            overrides.broker = lines[i + 1];
        } else {
            sets[overrides.set_count++] = lines[i + 1];
        }
    }
    struct config *config = NULL;
    struct error error = {0};
    enum status status = config_load("topology.json", &overrides, &config, &error);
    bool good = status == STATUS_BAD_CONFIG && error.code == ERROR_CONFIG && config == NULL &&
                matches(error.text, expected);
    if (!good) {
        cr_log_error("%s:\n  expected %s\n  found    %s", name, expected,
                     status == STATUS_OK ? "no error" : error.text);
    }
    config_destroy(config);
    free(words);
    free(expected);
    return good;
}

Test(config_errors, every_bad_file_gives_its_error)
{
    DIR *folder = opendir(LEAT_SOURCE_DIR "/tests/config/bad");
    cr_assert_not_null(folder);
    (void)setenv("LEAT_TEST_NAME", "a_name", 1);
    (void)unsetenv("LEAT_TEST_ABSENT");
    int count = 0;
    int wrong = 0;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] != '.') {
            count++;
            wrong += run_case(entry->d_name) ? 0 : 1;
        }
    }
    (void)closedir(folder);
    cr_assert_eq(wrong, 0, "%d of %d cases are wrong", wrong, count);
    cr_assert_geq(count, CASES_LEAST);
}

Test(config_errors, a_missing_file_and_a_folder_are_named)
{
    struct config *config = NULL;
    struct error error = {0};
    cr_assert_eq(config_load("/nowhere/t.json", NULL, &config, &error), STATUS_BAD_CONFIG);
    cr_assert_str_eq(error.text,
                     "/nowhere/t.json: expected a topology file, found none that can be "
                     "opened: No such file or directory");
    cr_assert_eq(config_load("/tmp", NULL, &config, &error), STATUS_BAD_CONFIG);
    cr_assert_str_eq(error.text,
                     "/tmp: expected a topology file, found one that cannot be read: Is "
                     "a directory");
}

Test(config_errors, an_error_shows_at_most_forty_bytes_and_no_control_characters)
{
    cr_assert_str_eq(
        config_bad(CONFIG_WITH("\"instance\": \"a\\u0007\\u001b[31mb\",\n"), NULL),
        "topology.json:3: $.instance: expected 1 to 100 characters of a-z A-Z 0-9 . _ -, found "
        "\"a??[31mb\"");
    cr_assert_str_eq(
        config_bad(CONFIG_WITH("\"workers\": \"0123456789012345678901234567890123456789\",\n"),
                   NULL),
        "topology.json:3: $.workers: expected an integer from 1 to 64, found "
        "\"0123456789012345678901234567890123456789\"");
    /* The cut does not fall within a character of several bytes. */
    cr_assert_str_eq(
        config_bad(CONFIG_WITH("\"workers\": \"012345678901234567890123456789012345678\u00e9\",\n"),
                   NULL),
        "topology.json:3: $.workers: expected an integer from 1 to 64, found "
        "\"012345678901234567890123456789012345678...\"");
}

Test(config_errors, a_value_of_a_property_is_never_shown)
{
    const char *text = config_bad(
        CONFIG_WITH("\"broker\": { \"properties\": { \"sasl.password\": [\"hunter2\"] } },\n"),
        NULL);
    cr_assert_null(strstr(text, "hunter2"), "%s", text);
    text = config_bad(CONFIG_WITH(""), "broker.properties.sasl.password=hunter2", NULL);
    cr_assert_null(strstr(text, "hunter2"), "%s", text);
}
