/* SPDX-License-Identifier: Apache-2.0 */
/* Config schema: the tables of config_keys.h as a JSON Schema (2020-12). */
#include "topology/config_read.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* Takes `value`. */
static void put(json_t *object, const char *key, json_t *value)
{
    int failed = json_object_set_new(object, key, value);
    ensure(failed == 0);
}

static void add(json_t *list, json_t *value)
{
    int failed = json_array_append_new(list, value);
    ensure(failed == 0);
}

static json_t *reference(const char *name)
{
    char text[64];
    ensure(*name != 0);
    (void)snprintf(text, sizeof text, "#/$defs/%s", name);
    json_t *object = json_object();
    put(object, "$ref", json_string(text));
    return object;
}

static json_t *string_with(const char *keyword, const char *value)
{
    json_t *object = json_object();
    ensure(object != NULL && value != NULL);
    put(object, "type", json_string("string"));
    put(object, keyword, json_string(value));
    return object;
}

/* `schema`, or a text that ${NAME} makes one. */
static json_t *or_variable(json_t *schema)
{
    json_t *choices = json_array();
    ensure(schema != NULL);
    add(choices, schema);
    add(choices, reference("variable"));
    json_t *object = json_object();
    put(object, "anyOf", choices);
    return object;
}

static json_t *object_schema(const struct config_key *keys);

static json_t *open_object(json_t *values)
{
    ensure(values != NULL);
    json_t *object = json_object();
    put(object, "type", json_string("object"));
    json_t *foreign = json_object();
    put(foreign, "^x-", json_true());
    put(object, "patternProperties", foreign);
    put(object, "additionalProperties", values);
    return object;
}

static json_t *list_schema(json_t *items, int minimum)
{
    json_t *object = json_object();
    ensure(items != NULL);
    put(object, "type", json_string("array"));
    put(object, "items", items);
    if (minimum > 0) {
        put(object, "minItems", json_integer(minimum));
    }
    return object;
}

static json_t *text_schema(const char *extra, int64_t maximum)
{
    char pattern[64];
    ensure(extra != NULL && maximum > 0);
    (void)snprintf(pattern, sizeof pattern, "^[a-zA-Z0-9%s]{1,%" PRId64 "}$", extra, maximum);
    return or_variable(string_with("pattern", pattern));
}

static json_t *number_schema(const struct config_key *key)
{
    json_t *number = json_object();
    ensure(key->minimum < key->maximum);
    put(number, "type", json_string("integer"));
    put(number, "minimum", json_integer(key->minimum));
    put(number, "maximum", json_integer(key->maximum));
    json_t *schema = or_variable(number);
    if (key->type != KEY_INTEGER) {
        add(json_object_get(schema, "anyOf"),
            reference(key->type == KEY_DURATION ? "duration" : "size"));
    }
    return schema;
}

static json_t *choice_schema(const struct config_key *key)
{
    json_t *names = json_array();
    ensure(key->choices != NULL);
    for (const struct config_choice *choice = key->choices; choice->name != NULL; choice++) {
        if (choice->refusal == NULL) {
            add(names, json_string(choice->name));
        }
    }
    json_t *object = json_object();
    put(object, "enum", names);
    return or_variable(object);
}

static json_t *entries_schema(const struct config_key *key)
{
    json_t *object = open_object(object_schema(key->keys));
    json_t *names = json_object();
    ensure(key->keys != NULL);
    put(names, "pattern", json_string("^(x-.*|[a-zA-Z0-9_]{1,100})$"));
    put(object, "propertyNames", names);
    if (key->minimum > 0) {
        put(object, "minProperties", json_integer(key->minimum));
    }
    return object;
}

static json_t *inputs_schema(void)
{
    json_t *ports = open_object(reference("from"));
    put(ports, "minProperties", json_integer(1));
    json_t *choices = json_array();
    ensure(choices != NULL);
    add(choices, reference("from"));
    add(choices, ports);
    json_t *object = json_object();
    put(object, "anyOf", choices);
    return object;
}

static json_t *key_schema(const struct config_key *key)
{
    switch (key->type) {
    case KEY_TEXT:
        return text_schema(key->extra, key->maximum);
    case KEY_PATH:
    case KEY_USE:
        return reference("path");
    case KEY_INTEGER:
    case KEY_DURATION:
    case KEY_SIZE:
        return number_schema(key);
    case KEY_CHOICE:
        return choice_schema(key);
    case KEY_OBJECT:
        return object_schema(key->keys);
    case KEY_ENTRIES:
        return entries_schema(key);
    case KEY_PATHS:
        return list_schema(reference("path"), 0);
    case KEY_TOPIC:
        return reference("topic");
    case KEY_TOPICS:
        return list_schema(reference("topic"), 1);
    case KEY_FROM:
        return reference("from");
    case KEY_INPUTS:
        return inputs_schema();
    case KEY_PARAMS:
        return open_object(reference("parameter"));
    case KEY_PROPERTIES:
        return open_object(reference("property"));
    case KEY_SETTINGS:
        return open_object(reference("setting"));
    }
    ensure_failed("a key type without a schema", __FILE__, __LINE__, __func__);
}

/* The default as JSON: a number where the key is one. */
static json_t *default_value(const struct config_key *key)
{
    long long number;
    ensure(key->default_text != NULL);
    if (key->type == KEY_INTEGER && sscanf(key->default_text, "%lld", &number) == 1) {
        return json_integer(number);
    }
    return json_string(key->default_text);
}

static json_t *object_schema(const struct config_key *keys)
{
    json_t *properties = json_object();
    json_t *required = json_array();
    for (; keys->name != NULL; keys++) {
        json_t *schema = key_schema(keys);
        ensure(schema != NULL);
        put(schema, "description", json_string(keys->summary));
        if (keys->default_text != NULL) {
            put(schema, "default", default_value(keys));
        }
        put(properties, keys->name, schema);
        if (keys->required) {
            add(required, json_string(keys->name));
        }
    }
    json_t *object = open_object(json_false());
    put(object, "properties", properties);
    if (json_array_size(required) > 0) {
        put(object, "required", required);
        return object;
    }
    json_decref(required);
    return object;
}

static json_t *type_list(const char *const *types)
{
    json_t *list = json_array();
    for (; *types != NULL; types++) {
        add(list, json_string(*types));
    }
    ensure(json_array_size(list) > 0);
    json_t *object = json_object();
    put(object, "type", list);
    return object;
}

static json_t *either(json_t *first, json_t *second)
{
    ensure(first != NULL && second != NULL && first != second);
    json_t *choices = json_array();
    add(choices, first);
    add(choices, second);
    json_t *object = json_object();
    put(object, "anyOf", choices);
    return object;
}

static json_t *secret_schema(void)
{
    json_t *properties = json_object();
    ensure(properties != NULL);
    put(properties, "env", string_with("description", "name of an environment variable"));
    put(properties, "file", string_with("description", "path of a file with mode 0600"));
    json_t *object = json_object();
    put(object, "type", json_string("object"));
    put(object, "properties", properties);
    put(object, "additionalProperties", json_false());
    put(object, "minProperties", json_integer(1));
    put(object, "maxProperties", json_integer(1));
    return object;
}

static json_t *definitions(void)
{
    static const char *const scalars[] = {"string", "number", "boolean", NULL};
    json_t *all = json_object();
    ensure(all != NULL);
    put(all, "variable", string_with("pattern", "\\$\\{"));
    put(all, "duration", string_with("pattern", "^[0-9]+(ms|s|m|h)?$"));
    put(all, "size", string_with("pattern", "^[0-9]+(B|KiB|MiB|GiB)?$"));
    put(all, "topic", text_schema("._-", CONFIG_TOPIC_SIZE));
    json_t *path = json_object();
    put(path, "type", json_string("string"));
    put(path, "minLength", json_integer(1));
    put(all, "path", path);
    json_t *feed = or_variable(string_with("pattern", "^[a-zA-Z0-9_]{1,100}([.][a-zA-Z0-9_-]+)?$"));
    put(all, "feed", feed);
    put(all, "from", either(reference("feed"), list_schema(reference("feed"), 1)));
    json_t *text = json_object();
    put(text, "type", json_string("string"));
    put(all, "parameter", either(type_list(scalars), list_schema(text, 0)));
    put(all, "setting", type_list(scalars));
    put(all, "property", either(reference("setting"), secret_schema()));
    return all;
}

char *config_schema(void)
{
    json_t *schema = object_schema(config_keys);
    ensure(json_object_get(schema, "required") != NULL);
    json_t *one_of =
        json_loads("[{\"required\":[\"topic\"]},{\"required\":[\"topics\"]}]", 0, NULL);
    json_t *source = json_object_get(
        json_object_get(json_object_get(schema, "properties"), "sources"), "additionalProperties");
    ensure(source != NULL && one_of != NULL);
    put(source, "oneOf", one_of);
    put(schema, "$schema", json_string("https://json-schema.org/draft/2020-12/schema"));
    put(schema, "title", json_string("Leat topology file"));
    put(schema, "$defs", definitions());
    char *text = json_dumps(schema, JSON_INDENT(2));
    ensure(text != NULL);
    json_decref(schema);
    return text;
}
