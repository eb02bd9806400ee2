/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operators: the catalogue, told by the descriptors alone. No topology file is read, so it knows
 * LEAT_OPERATOR_PATH and the installed directory, not the file's operator_directories.
 */
#include "base/bytes.h"
#include "cli/cli.h"
#include "plugin/parameter_text.h"
#include "plugin/plugin.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- JSON ---- */

/* Takes `value`; a text that is not UTF-8 becomes null. */
static void put(json_t *object, const char *key, json_t *value)
{
    int failed = json_object_set_new(object, key, value == NULL ? json_null() : value);
    ensure(failed == 0);
}

static json_t *named_json(const char *name, const char *summary)
{
    ensure(name != NULL && summary != NULL);
    json_t *object = json_object();
    put(object, "name", json_string(name));
    put(object, "summary", json_string(summary));
    return object;
}

static json_t *param_json(const leat_param *param)
{
    json_t *object = named_json(param->name, param->summary);
    put(object, "type", json_string(parameter_type_name(param->type)));
    put(object, "required", json_boolean(param->default_value == NULL));
    put(object, "default",
        param->default_value == NULL ? json_null() : json_string(param->default_value));
    if (param->type == LEAT_PARAM_ENUM) {
        size_t count = 0;
        const char **choices = parameter_choices(param, &count);
        json_t *values = json_array();
        for (size_t i = 0; i < count; i++) {
            int failed = json_array_append_new(values, json_string(choices[i]));
            ensure(failed == 0);
        }
        free(choices);
        put(object, "values", values);
    }
    return object;
}

static json_t *ports_json(const leat_port *ports, uint32_t count)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++) {
        int failed = json_array_append_new(list, named_json(ports[i].name, ports[i].summary));
        ensure(failed == 0);
    }
    return list;
}

static void print_json(const struct plugin *plugin)
{
    const leat_operator *descriptor = &plugin->descriptor;
    json_t *object = named_json(plugin->name, descriptor->summary);
    json_t *params = json_array();
    json_t *stores = json_array();
    for (uint32_t i = 0; i < plugin->param_count; i++) {
        int failed = json_array_append_new(params, param_json(&plugin->params[i]));
        ensure(failed == 0);
    }
    for (uint32_t i = 0; i < plugin->store_count; i++) {
        int failed = json_array_append_new(
            stores, named_json(plugin->stores[i].name, plugin->stores[i].summary));
        ensure(failed == 0);
    }
    put(object, "operator", json_string(descriptor->name));
    put(object, "version", json_string(descriptor->version));
    put(object, "abi",
        json_sprintf("%u.%u", descriptor->abi_version >> 16, descriptor->abi_version & 0xffff));
    put(object, "file", json_string(plugin->file));
    put(object, "params", params);
    put(object, "inputs", ports_json(plugin->inputs, plugin->input_count));
    put(object, "outputs", ports_json(plugin->outputs, plugin->output_count));
    put(object, "stores", stores);
    put(object, "timers", json_boolean(descriptor->timer != NULL));
    char *text = json_dumps(object, JSON_COMPACT);
    ensure(text != NULL);
    (void)puts(text);
    free(text);
    json_decref(object);
}

/* ---- Text ---- */

/* "title      name  summary", the title on the first line only. */
static void print_row(const char *title, const char *name, const char *summary)
{
    ensure(title != NULL && name != NULL && summary != NULL);
    (void)printf("%-11s%s%s%s\n", title, name, summary[0] == 0 ? "" : "  ", summary);
}

static void print_params(const struct plugin *plugin)
{
    ensure(plugin->param_count == 0 || plugin->params != NULL);
    int width = 0;
    for (uint32_t i = 0; i < plugin->param_count; i++) {
        int size = (int)strlen(plugin->params[i].name);
        width = size > width ? size : width;
    }
    for (uint32_t i = 0; i < plugin->param_count; i++) {
        const leat_param *param = &plugin->params[i];
        char *value = param->default_value == NULL
                          ? memory_text("required")
                          : memory_format("default \"%s\"", param->default_value);
        (void)printf("%-11s%-*s  %-8s  %s\n", i == 0 ? "parameters" : "", width, param->name,
                     parameter_type_name(param->type), value);
        (void)printf("%-11s%-*s  %s\n", "", width, "", param->summary);
        free(value);
    }
}

static void print_text(const struct plugin *plugin)
{
    const leat_operator *descriptor = &plugin->descriptor;
    ensure(plugin->input_count > 0);
    (void)printf("%s %s\n%s\n\n", plugin->name, descriptor->version, descriptor->summary);
    if (strcmp(plugin->name, descriptor->name) != 0) {
        print_row("operator", descriptor->name, "");
    }
    print_row("file", plugin->file, "");
    for (uint32_t i = 0; i < plugin->input_count; i++) {
        print_row(i == 0 ? "inputs" : "", plugin->inputs[i].name, plugin->inputs[i].summary);
    }
    for (uint32_t i = 0; i < plugin->output_count; i++) {
        print_row(i == 0 ? "outputs" : "", plugin->outputs[i].name, plugin->outputs[i].summary);
    }
    for (uint32_t i = 0; i < plugin->store_count; i++) {
        print_row(i == 0 ? "stores" : "", plugin->stores[i].name, plugin->stores[i].summary);
    }
    if (descriptor->timer != NULL) {
        print_row("timers", "yes", "");
    }
    print_params(plugin);
}

/* ---- The command ---- */

static int show_one(const struct command_line *line, const char *name)
{
    ensure(name != NULL);
    struct error error = {0};
    struct plugin *plugin = NULL;
    if (plugin_load(name, NULL, &plugin, &error) != STATUS_OK) {
        return command_failed(&error);
    }
    if (command_json(line)) {
        print_json(plugin);
    } else {
        print_text(plugin);
    }
    plugin_unload(plugin);
    return EXIT_DONE;
}

static int show_all(const struct command_line *line)
{
    struct error error = {0};
    struct plugin **plugins = NULL;
    size_t count = 0;
    if (plugin_catalogue(NULL, &plugins, &count, &error) != STATUS_OK) {
        return command_failed(&error);
    }
    int width = 0;
    ensure(count == 0 || plugins != NULL);
    for (size_t i = 0; i < count; i++) {
        int size = (int)strlen(plugins[i]->name);
        width = size > width ? size : width;
    }
    for (size_t i = 0; i < count; i++) {
        const leat_operator *descriptor = &plugins[i]->descriptor;
        if (command_json(line)) {
            print_json(plugins[i]);
        } else {
            (void)printf("%-*s  %-8s  %s\n", width, plugins[i]->name, descriptor->version,
                         descriptor->summary);
        }
        plugin_unload(plugins[i]);
    }
    free(plugins);
    if (count == 0) {
        (void)fprintf(stderr, "topology: no operator found; set LEAT_OPERATOR_PATH to the folders "
                              "that hold some\n");
    }
    return EXIT_DONE;
}

static int run_operators(const struct command_line *line)
{
    const char *name = command_argument(line, 0);
    ensure(command_argument_count(line) <= 1);
    return name == NULL ? show_all(line) : show_one(line, name);
}

const struct command command_operators = {
    .name = "operators",
    .arguments = "[NAME]",
    .summary =
        "Lists the operators that are found, or tells all of one: parameters, ports, stores.",
    .argument_max = 1,
    .run = run_operators,
};
