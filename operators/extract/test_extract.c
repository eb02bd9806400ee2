/* SPDX-License-Identifier: Apache-2.0 */
#include "../test_expect.h"

Test(extract, takes_key_and_value_from_fields)
{
    leat_driver *driver = open_driver(PARAMS("key", "account", "value", "amount"));
    send_text(driver, NULL,
              " { \"amount\" : -12.50, \"x\":{\"account\":\"no\"},\"account\":\"a1\" } ");
    expect_output(driver, "a1", "-12.50");
    leat_driver_destroy(driver);
}

Test(extract, leaves_what_is_not_named)
{
    leat_driver *driver = open_driver(PARAMS("key", "id"));
    send_text(driver, "old", "{\"id\":7}");
    expect_output(driver, "7", "{\"id\":7}");
    leat_driver_destroy(driver);
    driver = open_driver(PARAMS("value", "id"));
    send_text(driver, "old", "{\"id\":7}");
    expect_output(driver, "old", "7");
    leat_driver_destroy(driver);
    driver = open_driver(NULL);
    send_text(driver, "old", "not JSON");
    expect_output(driver, "old", "not JSON");
    leat_driver_destroy(driver);
}

Test(extract, gives_each_kind_its_text)
{
    leat_driver *driver = open_driver(PARAMS("key", "k", "value", "v"));
    send_text(driver, NULL, "{\"k\":true,\"v\":false}");
    expect_output(driver, "true", "false");
    send_text(driver, NULL, "{\"k\":null,\"v\":null}");
    expect_output(driver, NULL, NULL);
    send_text(driver, NULL, "{\"k\":{\"a\": [1 ,2]},\"v\":[ ]}");
    expect_output(driver, "{\"a\": [1 ,2]}", "[ ]");
    send_text(driver, NULL, "{\"k\":\"\",\"v\":1e-3}");
    expect_output(driver, "", "1e-3");
    leat_driver_destroy(driver);
}

Test(extract, unescapes_strings)
{
    leat_driver *driver = open_driver(PARAMS("key", "k", "value", "v"));
    send_text(
        driver, NULL,
        "{\"k\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\",\"v\":\"\\u0041\\u00e9\\u20AC\\uD83D\\uDE00!\"}");
    expect_output(driver, "\"\\/\b\f\n\r\t", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80!");
    leat_driver_destroy(driver);
}

Test(extract, takes_the_last_of_a_doubled_field)
{
    leat_driver *driver = open_driver(PARAMS("key", "k"));
    send_text(driver, NULL, "{\"k\":1,\"k\":2}");
    expect_output(driver, "2", "{\"k\":1,\"k\":2}");
    leat_driver_destroy(driver);
}

Test(extract, may_take_one_field_twice)
{
    leat_driver *driver = open_driver(PARAMS("key", "k", "value", "k"));
    send_text(driver, NULL, "{\"k\":\"a\\tb\"}");
    expect_output(driver, "a\tb", "a\tb");
    leat_driver_destroy(driver);
}

Test(extract, refuses_a_missing_field_and_what_is_no_object)
{
    leat_driver *driver = open_driver(PARAMS("key", "k"));
    expect_bad_record(driver, "a", "{\"K\":1,\"kk\":2}", "has no field \"k\"");
    expect_bad_record(driver, "a", "{}", "has no field \"k\"");
    expect_bad_record(driver, "a", NULL, "the value is null");
    expect_bad_record(driver, "a", "", "expected \"{\" at byte 0");
    expect_bad_record(driver, "a", "[1]", "expected \"{\"");
    expect_bad_record(driver, "a", "{\"k\":1", "expected \",\" or \"}\" at byte 6");
    expect_bad_record(driver, "a", "{\"k\":1,\"z\":[1,]}", "expected a value at byte 14");
    expect_bad_record(driver, "a", "{\"k\":1} x", "something behind the object at byte 8");
    leat_driver_destroy(driver);
}
