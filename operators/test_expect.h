/* SPDX-License-Identifier: Apache-2.0 */
/* Testing expectations: what the tests of the operators share: sends text, compares what came out.
 */
#ifndef LEAT_OPERATORS_TEST_EXPECT_H
#define LEAT_OPERATORS_TEST_EXPECT_H

#include "leat/testing.h"

#include <criterion/criterion.h>
#include <string.h>

/* PARAMS("name", "value", ...) or NULL. */
#define PARAMS(...) ((const char *const[]){__VA_ARGS__, NULL})

static inline leat_driver *open_driver(const char *const *params)
{
    leat_driver *driver = leat_driver_create(leat_operator_entry(), params);
    cr_assert_str_empty(leat_driver_error(driver));
    return driver;
}

/* The parameters must be refused with a text that holds `part`. */
static inline void expect_refused(const char *const *params, const char *part)
{
    leat_driver *driver = leat_driver_create(leat_operator_entry(), params);
    cr_assert_neq(strstr(leat_driver_error(driver), part), NULL, "\"%s\" lacks \"%s\"",
                  leat_driver_error(driver), part);
    leat_driver_destroy(driver);
}

static inline void expect_bytes(leat_bytes bytes, const char *text)
{
    if (text == NULL) {
        cr_assert_null(bytes.data);
        return;
    }
    cr_assert_not_null(bytes.data, "expected \"%s\", found null", text);
    cr_assert(bytes.size == strlen(text) && memcmp(bytes.data, text, bytes.size) == 0,
              "expected \"%s\", found \"%.*s\"", text, (int)bytes.size, (const char *)bytes.data);
}

static inline void expect_output(leat_driver *driver, const char *key, const char *value)
{
    leat_record record;
    cr_assert(leat_driver_read(driver, NULL, &record), "nothing came out, expected \"%s\"",
              value == NULL ? "null" : value);
    expect_bytes(record.key, key);
    expect_bytes(record.value, value);
}

static inline void expect_nothing(leat_driver *driver)
{
    leat_record record;
    cr_assert_not(leat_driver_read(driver, NULL, &record));
}

static inline void send_text(leat_driver *driver, const char *key, const char *value)
{
    cr_assert_eq(leat_driver_send_text(driver, NULL, key, value, 1000), LEAT_OK, "%s",
                 leat_driver_error(driver));
}

/* A bad record whose text holds `part`, and nothing comes out. */
static inline void expect_bad_record(leat_driver *driver, const char *key, const char *value,
                                     const char *part)
{
    cr_assert_eq(leat_driver_send_text(driver, NULL, key, value, 1000), LEAT_ERR_RECORD);
    cr_assert_neq(strstr(leat_driver_error(driver), part), NULL, "\"%s\" lacks \"%s\"",
                  leat_driver_error(driver), part);
    expect_nothing(driver);
}

static inline void expect_stored(leat_driver *driver, const char *store, const char *key,
                                 const char *value)
{
    leat_bytes found = {NULL, 0};
    leat_bytes wanted = {key, strlen(key)};
    leat_status status = leat_driver_get(driver, store, wanted, &found);
    cr_assert_eq(status, value == NULL ? LEAT_NOT_FOUND : LEAT_OK);
    expect_bytes(found, value);
}

#endif
