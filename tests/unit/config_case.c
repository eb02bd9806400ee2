/* SPDX-License-Identifier: Apache-2.0 */
#include "config_case.h"

#include "base/bytes.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static size_t collect(va_list arguments, const char **sets)
{
    size_t count = 0;
    const char *set;
    while ((set = va_arg(arguments, const char *)) != NULL) {
        cr_assert(count < 32);
        sets[count++] = set;
    }
    return count;
}

struct config *config_good_in(const char *file, const char *broker, const char *text, ...)
{
    const char *sets[32];
    va_list arguments;
    va_start(arguments, text);
    struct config_overrides overrides = {broker, sets, collect(arguments, sets)};
    va_end(arguments);
    struct config *config = NULL;
    struct error error = {0};
    enum status status = config_parse(text, strlen(text), file, &overrides, &config, &error);
    cr_assert(status == STATUS_OK, "%s", error.text);
    return config;
}

struct config *config_good(const char *text, ...)
{
    const char *sets[32];
    va_list arguments;
    va_start(arguments, text);
    struct config_overrides overrides = {NULL, sets, collect(arguments, sets)};
    va_end(arguments);
    struct config *config = NULL;
    struct error error = {0};
    enum status status =
        config_parse(text, strlen(text), "topology.json", &overrides, &config, &error);
    cr_assert(status == STATUS_OK, "%s", error.text);
    return config;
}

const char *config_bad(const char *text, ...)
{
    static struct error error;
    const char *sets[32];
    va_list arguments;
    va_start(arguments, text);
    struct config_overrides overrides = {NULL, sets, collect(arguments, sets)};
    va_end(arguments);
    struct config *config = NULL;
    memset(&error, 0, sizeof error);
    enum status status =
        config_parse(text, strlen(text), "topology.json", &overrides, &config, &error);
    cr_assert(status == STATUS_BAD_CONFIG, "it was accepted: %s", text);
    cr_assert(error.status == STATUS_BAD_CONFIG);
    return error.text;
}

void config_write(const char *path, const char *text, unsigned mode)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file, "%s", path);
    cr_assert(fputs(text, file) >= 0);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(chmod(path, (mode_t)mode), 0);
}

char *config_slurp(const char *path)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return NULL;
    }
    struct buffer text = {0};
    char chunk[4096];
    size_t got;
    while ((got = fread(chunk, 1, sizeof chunk, file)) > 0) {
        buffer_append(&text, chunk, got);
    }
    cr_assert_eq(fclose(file), 0);
    (void)buffer_text(&text);
    return (char *)text.data;
}
