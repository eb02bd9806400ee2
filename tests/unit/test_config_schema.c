/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema that is shipped against the reader and the manual: what the schema says of a key is
 * tried on config_parse, and every key stands in docs/config.md with its values and meaning.
 */
#include "config_case.h"
#include "topology/config_keys.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A good file in which every object of the tables exists. */
static const char *const base =
    "{ \"application\": \"app\", \"broker\": {}, \"state\": {}, \"commit\": {},\n"
    "  \"internal_topics\": {}, \"callback_timeout\": \"1h\",\n"
    "  \"sources\": { \"n\": { \"topic\": \"a\" } },\n"
    "  \"operators\": { \"o\": { \"use\": \"u\", \"from\": \"n\" } },\n"
    "  \"repartitions\": { \"r\": { \"from\": \"n\" } },\n"
    "  \"sinks\": { \"s\": { \"topic\": \"b\", \"from\": \"n\" } } }";

static json_t *schema(void)
{
    char *text = config_schema();
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    cr_assert_not_null(json);
    free(text);
    return json;
}

/* The object of `document` that a table describes. */
static json_t *place(json_t *document, const char *section)
{
    if (section == NULL) {
        return document;
    }
    json_t *object = json_object_get(document, section);
    const char *entry = strcmp(section, "sources") == 0        ? "n"
                        : strcmp(section, "operators") == 0    ? "o"
                        : strcmp(section, "repartitions") == 0 ? "r"
                        : strcmp(section, "sinks") == 0        ? "s"
                                                               : NULL;
    return entry == NULL ? object : json_object_get(object, entry);
}

/* Puts `value` (taken) at section.key of the good file and reads it. */
static bool accepts(const char *section, const char *key, json_t *value)
{
    json_t *document = json_loads(base, 0, NULL);
    cr_assert_not_null(document);
    /* A long interval needs a long transaction. */
    (void)json_object_set_new(json_object_get(document, "broker"), "transaction_timeout",
                              json_string("24h"));
    (void)json_object_set_new(document, "callback_timeout", json_string("24h"));
    (void)json_object_set_new(json_object_get(document, "commit"), "interval", json_integer(1));
    (void)json_object_set_new(json_object_get(document, "broker"), "session_timeout",
                              json_integer(10));
    if (strcmp(key, "callback_timeout") == 0) {
        (void)json_object_set_new(json_object_get(document, "broker"), "session_timeout",
                                  json_integer(10));
    }
    cr_assert_eq(json_object_set_new(place(document, section), key, value), 0);
    char *text = json_dumps(document, 0);
    struct config *config = NULL;
    struct error error = {0};
    enum status status = config_parse(text, strlen(text), "t.json", NULL, &config, &error);
    config_destroy(config);
    free(text);
    json_decref(document);
    return status == STATUS_OK;
}

static void check_number(const char *section, const char *key, const json_t *number)
{
    int64_t minimum = json_integer_value(json_object_get(number, "minimum"));
    int64_t maximum = json_integer_value(json_object_get(number, "maximum"));
    cr_assert_lt(minimum, maximum);
    /* Rules between keys narrow some of the ranges; their own tests look at those. */
    bool ruled = strcmp(key, "callback_timeout") == 0 || strcmp(key, "transaction_timeout") == 0;
    bool tries = strcmp(key, "retries") == 0 || strcmp(key, "backoff") == 0;
    cr_expect(ruled || accepts(section, key, json_integer(minimum)), "%s %" PRId64, key, minimum);
    cr_expect(tries || accepts(section, key, json_integer(maximum)), "%s %" PRId64, key, maximum);
    cr_expect_not(accepts(section, key, json_integer(minimum - 1)), "%s", key);
    cr_expect_not(accepts(section, key, json_integer(maximum + 1)), "%s", key);
}

static void check_choice(const char *section, const char *key, const json_t *names)
{
    size_t index;
    json_t *name;
    cr_assert_gt(json_array_size(names), 1);
    json_array_foreach(names, index, name)
    {
        bool kafka = strcmp(json_string_value(name), "kafka") == 0; /* wants servers too */
        cr_expect_neq(accepts(section, key, json_incref(name)), kafka, "%s", key);
    }
    cr_expect_not(accepts(section, key, json_string("something else")), "%s", key);
    cr_expect_not(accepts(section, key, json_integer(1)), "%s", key);
}

/* Every key of the table is in the schema, no other is, and what it says holds. */
static int check_table(const char *section, const struct config_key *keys, const json_t *object)
{
    const json_t *properties = json_object_get(object, "properties");
    int count = 0;
    cr_expect(json_is_false(json_object_get(object, "additionalProperties")), "%s", section);
    for (const struct config_key *key = keys; key->name != NULL; key++, count++) {
        const json_t *said = json_object_get(properties, key->name);
        cr_assert_not_null(said, "%s", key->name);
        cr_expect_str_eq(json_string_value(json_object_get(said, "description")), key->summary);
        const json_t *first = json_array_get(json_object_get(said, "anyOf"), 0);
        if (key->type == KEY_INTEGER || key->type == KEY_DURATION || key->type == KEY_SIZE) {
            cr_expect_eq(json_integer_value(json_object_get(first, "minimum")), key->minimum);
            check_number(section, key->name, first);
        } else if (key->type == KEY_CHOICE) {
            check_choice(section, key->name, json_object_get(first, "enum"));
        }
        const json_t *value = json_object_get(said, "default");
        cr_expect_eq(value != NULL, key->default_text != NULL, "%s", key->name);
        if (value != NULL) {
            cr_expect(accepts(section, key->name, json_deep_copy(value)), "%s", key->name);
        }
    }
    cr_expect_eq(json_object_size(properties), (size_t)count, "%s", section);
    cr_expect_not(accepts(section, "no_such_key", json_integer(1)), "%s", section);
    cr_expect(accepts(section, "x-key", json_integer(1)), "%s", section);
    return count;
}

Test(config_schema, what_it_says_of_every_key_is_what_the_reader_does)
{
    json_t *all = schema();
    const json_t *properties = json_object_get(all, "properties");
    int count = check_table(NULL, config_keys, all);
    for (const struct config_key *key = config_keys; key->name != NULL; key++) {
        const json_t *said = json_object_get(properties, key->name);
        if (key->type == KEY_OBJECT) {
            count += check_table(key->name, key->keys, said);
        } else if (key->type == KEY_ENTRIES) {
            count +=
                check_table(key->name, key->keys, json_object_get(said, "additionalProperties"));
        }
    }
    cr_expect_geq(count, 45);
    json_decref(all);
}

Test(config_schema, required_keys_are_required_by_the_reader)
{
    json_t *all = schema();
    const json_t *required = json_object_get(all, "required");
    size_t index;
    json_t *name;
    cr_assert_eq(json_array_size(required), 2);
    json_array_foreach(required, index, name)
    {
        json_t *document = json_loads(base, 0, NULL);
        cr_assert_eq(json_object_del(document, json_string_value(name)), 0);
        char *text = json_dumps(document, 0);
        cr_expect_not_null(strstr(config_bad(text, NULL), json_string_value(name)));
        free(text);
        json_decref(document);
    }
    json_decref(all);
}

Test(config_schema, every_reference_leads_somewhere)
{
    json_t *all = schema();
    char *text = json_dumps(all, JSON_COMPACT);
    int count = 0;
    for (const char *at = text; (at = strstr(at, "\"#/$defs/")) != NULL; count++) {
        char name[64];
        at += strlen("\"#/$defs/");
        (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(at, "\""), at);
        cr_expect_not_null(json_object_get(json_object_get(all, "$defs"), name), "%s", name);
    }
    cr_expect_gt(count, 20);
    free(text);
    json_decref(all);
}

/* The middle column of the manual: the choices, or default and range. */
static void manual_values(const struct config_key *key, char *text, size_t size)
{
    char from[32];
    char to[32];
    size_t used = 0;
    *text = 0;
    if (key->choices != NULL) {
        for (const struct config_choice *choice = key->choices; choice->name != NULL; choice++) {
            if (choice->refusal == NULL) {
                used += (size_t)snprintf(text + used, size - used, "%s`%s`", used == 0 ? "" : ", ",
                                         choice->name);
            }
        }
    } else if (key->type == KEY_INTEGER || key->type == KEY_DURATION || key->type == KEY_SIZE) {
        config_key_format(key->type, key->minimum, from, sizeof from);
        config_key_format(key->type, key->maximum, to, sizeof to);
        const char *standard = key->default_text;
        (void)snprintf(text, size, "%s%s%s%s to %s", standard == NULL ? "" : "`",
                       standard == NULL ? "" : standard, standard == NULL ? "" : "`; ", from, to);
    } else if (key->required) {
        (void)snprintf(text, size, "required");
    }
}

/* "| `workers` | `1`; 1 to 64 | threads, ... |" */
static void expect_rows(const char *manual, const struct config_key *keys)
{
    for (const struct config_key *key = keys; key->name != NULL; key++) {
        char values[256];
        char row[768];
        manual_values(key, values, sizeof values);
        (void)snprintf(row, sizeof row, "\n| `%s` | %s | %s |\n", key->name, values, key->summary);
        cr_expect_not_null(strstr(manual, row), "docs/config.md lacks: %s", row);
        if (key->keys != NULL) {
            expect_rows(manual, key->keys);
        }
    }
}

Test(config_schema, the_manual_has_every_key_with_default_and_meaning)
{
    char *manual = config_slurp(LEAT_SOURCE_DIR "/docs/config.md");
    cr_assert_not_null(manual);
    expect_rows(manual, config_keys);
    free(manual);
}
