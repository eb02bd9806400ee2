/* SPDX-License-Identifier: Apache-2.0 */
/* The test of hello: no broker, no topology file, in the engine's own task (leat/testing.h). */
#include <leat/testing.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(bool good, const char *what, const leat_driver *driver)
{
    if (!good) {
        (void)fprintf(stderr, "test_hello: %s; %s\n", what, leat_driver_error(driver));
        exit(1);
    }
}

static void expect(leat_driver *driver, const char *text)
{
    leat_record out;
    check(leat_driver_read(driver, NULL, &out), "nothing came out", driver);
    check(out.value.size == strlen(text) && memcmp(out.value.data, text, out.value.size) == 0, text,
          driver);
}

int main(void)
{
    const char *const params[] = {"greeting", "Hi", NULL};
    leat_driver *driver = leat_driver_create(leat_operator_entry(), params);
    check(leat_driver_error(driver)[0] == 0, "refused", driver);

    check(leat_driver_send_text(driver, NULL, NULL, "Ada", 1) == LEAT_OK, "Ada", driver);
    expect(driver, "Hi, Ada! (1)");

    /* A bad record leaves no trace. */
    check(leat_driver_send_text(driver, NULL, NULL, "", 2) == LEAT_ERR_RECORD, "empty", driver);
    check(leat_driver_count(driver, "visits") == 1, "one visitor", driver);

    /* Memory is a cache; the store is not. */
    check(leat_driver_restart(driver) == LEAT_OK, "restart", driver);
    check(leat_driver_send_text(driver, NULL, NULL, "Ada", 3) == LEAT_OK, "Ada again", driver);
    expect(driver, "Hi, Ada! (2)");

    leat_driver_destroy(driver);
    (void)puts("hello is as it should be");
    return 0;
}
