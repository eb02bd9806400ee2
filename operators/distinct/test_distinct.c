/* SPDX-License-Identifier: Apache-2.0 */
#include "../test_expect.h"

Test(distinct, passes_the_first_of_each_key_unchanged)
{
    leat_driver *driver = open_driver(NULL);
    send_text(driver, "a", "1");
    send_text(driver, "b", NULL);
    send_text(driver, "a", "2");
    send_text(driver, "b", "3");
    expect_output(driver, "a", "1");
    expect_output(driver, "b", NULL);
    expect_nothing(driver);
    expect_stored(driver, "seen", "a", "");
    expect_stored(driver, "seen", "c", NULL);
    leat_driver_destroy(driver);
}

Test(distinct, remembers_through_a_restart)
{
    leat_driver *driver = open_driver(NULL);
    send_text(driver, "a", "1");
    expect_output(driver, "a", "1");
    cr_assert_eq(leat_driver_restart(driver), LEAT_OK);
    send_text(driver, "a", "2");
    expect_nothing(driver);
    leat_driver_destroy(driver);
}

Test(distinct, tells_records_by_a_field_whatever_their_key)
{
    leat_driver *driver = open_driver(PARAMS("field", "id"));
    send_text(driver, "x", "{\"id\":\"p\\u0031\"}");
    send_text(driver, "y", "{\"id\": \"p1\", \"more\": 2}");
    send_text(driver, NULL, "{\"id\":\"p2\"}");
    expect_output(driver, "x", "{\"id\":\"p\\u0031\"}");
    expect_output(driver, NULL, "{\"id\":\"p2\"}");
    expect_nothing(driver);
    expect_stored(driver, "seen", "p1", "");
    leat_driver_destroy(driver);
}

Test(distinct, refuses_records_without_an_identity)
{
    leat_driver *driver = open_driver(NULL);
    expect_bad_record(driver, NULL, "x", "the key is null");
    expect_bad_record(driver, "", "x", "the key has 0 bytes");
    leat_driver_destroy(driver);
    driver = open_driver(PARAMS("field", "id"));
    expect_bad_record(driver, "a", "{\"id\":null}", "the field is null");
    expect_bad_record(driver, "a", "{\"id\":\"\"}", "the field has 0 bytes");
    expect_bad_record(driver, "a", "{\"other\":1}", "has no field \"id\"");
    expect_bad_record(driver, "a", "{\"id\":1", "not a JSON object");
    leat_driver_destroy(driver);
}
