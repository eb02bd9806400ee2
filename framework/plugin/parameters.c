/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/parameter_text.h"
#include "plugin/plugin.h"

#include "base/bytes.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct parameters {
    const struct plugin *plugin;
    struct parameter_value *values; /* by index of plugin->params */
};

/* What is being checked, for the texts of errors. */
struct check {
    const struct plugin *plugin;
    const char *file, *node_path;
    struct error *error;
};

const char *parameter_type_name(leat_param_type type)
{
    static const char *const names[] = {
        [LEAT_PARAM_STRING] = "string",     [LEAT_PARAM_INT] = "int",
        [LEAT_PARAM_DOUBLE] = "double",     [LEAT_PARAM_BOOL] = "bool",
        [LEAT_PARAM_DURATION] = "duration", [LEAT_PARAM_SIZE] = "size",
        [LEAT_PARAM_LIST] = "list",         [LEAT_PARAM_ENUM] = "enum",
    };
    ensure(type >= 0 && (size_t)type < sizeof names / sizeof *names);
    return names[type];
}

/* "FILE:12: $.a.b", or without a line for what the command line gave. */
static void append_place(struct buffer *text, const char *file, int line, const char *path)
{
    ensure(file != NULL && path != NULL && line >= 0);
    if (line > 0) {
        buffer_format(text, "%s:%d: %s: ", file, line, path);
    } else {
        buffer_format(text, "%s: %s (command line): ", file, path);
    }
}

static void append_found(struct buffer *text, const struct named_value *given)
{
    ensure(given->value.kind <= VALUE_LIST);
    const struct value *value = &given->value;
    buffer_append_text(text, ", found ");
    if (given->secret) {
        buffer_append_text(text, "a secret of another form");
    } else if (value->kind == VALUE_STRING) {
        buffer_format(text, "\"%.100s\"", value->text);
    } else if (value->kind == VALUE_INTEGER) {
        buffer_format(text, "%" PRId64, value->integer);
    } else if (value->kind == VALUE_REAL) {
        buffer_format(text, "%g", value->real);
    } else if (value->kind == VALUE_BOOLEAN) {
        buffer_append_text(text, value->boolean ? "true" : "false");
    } else {
        buffer_format(text, "a list of %zu", value->item_count);
    }
}

static void append_nearest_choice(struct buffer *text, const leat_param *param, const char *given)
{
    ensure(param->type == LEAT_PARAM_ENUM && given != NULL);
    size_t count = 0;
    const char **choices = parameter_choices(param, &count);
    const char *nearest = value_nearest(given, choices, count);
    if (nearest != NULL) {
        buffer_format(text, "; did you mean \"%s\"?", nearest);
    }
    free(choices);
}

static enum status bad_config(struct error *error, struct buffer *text)
{
    ensure(text->size > 0);
    enum status status = error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG, "%s", buffer_text(text));
    buffer_finish(text);
    return status;
}

static enum status refuse_value(const struct check *check, const leat_param *param,
                                const struct named_value *given)
{
    ensure(given->path != NULL);
    struct buffer text = {0};
    append_place(&text, check->file, given->line, given->path);
    buffer_append_text(&text, "expected ");
    parameter_expectation(param, &text);
    append_found(&text, given);
    if (param->type == LEAT_PARAM_ENUM && given->value.kind == VALUE_STRING && !given->secret) {
        append_nearest_choice(&text, param, given->value.text);
    }
    return bad_config(check->error, &text);
}

static enum status refuse_name(const struct check *check, const struct named_value *given)
{
    ensure(given->name != NULL && given->path != NULL);
    const struct plugin *plugin = check->plugin;
    const char **names = memory_allocate((plugin->param_count + 1) * sizeof *names);
    for (uint32_t i = 0; i < plugin->param_count; i++) {
        names[i] = plugin->params[i].name;
    }
    const char *nearest = value_nearest(given->name, names, plugin->param_count);
    struct buffer text = {0};
    append_place(&text, check->file, given->line, given->path);
    buffer_format(&text, "operator \"%s\" has no parameter \"%.100s\"", plugin->descriptor.name,
                  given->name);
    if (nearest != NULL) {
        buffer_format(&text, "; did you mean \"%s\"?", nearest);
    } else {
        buffer_append_text(&text, plugin->param_count == 0 ? "; it has none" : "; it has ");
        for (uint32_t i = 0; i < plugin->param_count; i++) {
            buffer_format(&text, "%s%s", i == 0 ? "" : ", ", names[i]);
        }
    }
    free(names);
    return bad_config(check->error, &text);
}

static enum status refuse_missing(const struct check *check, const leat_param *param, int line)
{
    ensure(param->default_value == NULL);
    struct buffer text = {0};
    struct buffer path = {0};
    buffer_format(&path, "%s.params.%s", check->node_path, param->name);
    append_place(&text, check->file, line, buffer_text(&path));
    buffer_finish(&path);
    buffer_format(&text, "missing; operator \"%s\" needs ", check->plugin->descriptor.name);
    parameter_expectation(param, &text);
    if (param->summary[0] != 0) {
        buffer_format(&text, " (%s)", param->summary);
    }
    return bad_config(check->error, &text);
}

static void take_items(const struct value *from, struct parameter_value *value)
{
    ensure(value->items == NULL);
    value->items = memory_allocate((from->item_count + 1) * sizeof *value->items);
    for (size_t i = 0; i < from->item_count; i++) {
        value->items[i] = memory_text(from->items[i]);
    }
    value->item_count = from->item_count;
}

/* The value as it stands in the file, of its own JSON type; strings are parsed. */
static bool take_value(const leat_param *param, const struct value *from,
                       struct parameter_value *value)
{
    ensure(from->kind != VALUE_STRING || from->text != NULL);
    leat_param_type type = param->type;
    *value = (struct parameter_value){0};
    switch (from->kind) {
    case VALUE_STRING:
        return parameter_text_parse(param, from->text, value);
    case VALUE_INTEGER:
        value->integer = from->integer;
        value->real = (double)from->integer;
        return type == LEAT_PARAM_INT || type == LEAT_PARAM_DOUBLE ||
               ((type == LEAT_PARAM_DURATION || type == LEAT_PARAM_SIZE) && from->integer >= 0);
    case VALUE_REAL:
        value->real = from->real;
        return type == LEAT_PARAM_DOUBLE;
    case VALUE_BOOLEAN:
        value->boolean = from->boolean;
        return type == LEAT_PARAM_BOOL;
    case VALUE_LIST:
        if (type == LEAT_PARAM_LIST) {
            take_items(from, value);
        }
        return type == LEAT_PARAM_LIST;
    }
    return false;
}

static enum status check_given(const struct check *check, const struct named_value *given,
                               struct parameter_value *values, bool *set)
{
    ensure(given->name != NULL);
    const struct plugin *plugin = check->plugin;
    for (uint32_t i = 0; i < plugin->param_count; i++) {
        if (strcmp(plugin->params[i].name, given->name) != 0) {
            continue;
        }
        ensure(!set[i]); /* the reader of the file refuses a name that is given twice */
        set[i] = true;
        return take_value(&plugin->params[i], &given->value, &values[i])
                   ? STATUS_OK
                   : refuse_value(check, &plugin->params[i], given);
    }
    return refuse_name(check, given);
}

static enum status fill_defaults(const struct check *check, int line,
                                 struct parameter_value *values, const bool *set)
{
    const struct plugin *plugin = check->plugin;
    for (uint32_t i = 0; i < plugin->param_count; i++) {
        const leat_param *param = &plugin->params[i];
        if (set[i]) {
            continue;
        }
        if (param->default_value == NULL) {
            return refuse_missing(check, param, line);
        }
        bool parsed = parameter_text_parse(param, param->default_value, &values[i]);
        ensure(parsed); /* plugin_adopt has tried it */
    }
    return STATUS_OK;
}

enum status parameters_check(const struct plugin *plugin, const struct named_value *values,
                             size_t count, const char *file, const char *node_path, int line,
                             struct parameters **parameters, struct error *error)
{
    ensure(count == 0 || values != NULL);
    const struct check check = {plugin, file, node_path, error};
    struct parameters *made = memory_allocate(sizeof *made);
    made->plugin = plugin;
    made->values = memory_allocate((plugin->param_count + 1) * sizeof *made->values);
    bool *set = memory_allocate((plugin->param_count + 1) * sizeof *set);
    enum status status = STATUS_OK;
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        status = check_given(&check, &values[i], made->values, set);
    }
    if (status == STATUS_OK) {
        status = fill_defaults(&check, line, made->values, set);
    }
    free(set);
    if (status != STATUS_OK) {
        parameters_destroy(made);
        made = NULL;
    }
    ensure((status == STATUS_OK) == (made != NULL));
    *parameters = made;
    return status;
}

void parameters_destroy(struct parameters *parameters)
{
    if (parameters == NULL) {
        return;
    }
    for (uint32_t i = 0; i < parameters->plugin->param_count; i++) {
        parameter_value_finish(&parameters->values[i]);
    }
    free(parameters->values);
    free(parameters);
}

_Noreturn static void getter_failed(const struct parameters *parameters, const char *name,
                                    const char *why)
{
    log_error("plugin",
              "operator asks for a parameter wrongly: %s operator=\"%s\" parameter=\"%s\"", why,
              parameters->plugin->descriptor.name, name == NULL ? "(null)" : name);
    abort();
}

/* `types`: a bit for each type that the getter serves. */
static const struct parameter_value *find(const struct parameters *parameters, const char *name,
                                          unsigned types)
{
    ensure(parameters != NULL && types != 0);
    const struct plugin *plugin = parameters->plugin;
    for (uint32_t i = 0; name != NULL && i < plugin->param_count; i++) {
        if (strcmp(plugin->params[i].name, name) != 0) {
            continue;
        }
        if ((types & 1U << plugin->params[i].type) == 0) {
            getter_failed(parameters, name, "the getter is of another type than the parameter");
        }
        return &parameters->values[i];
    }
    getter_failed(parameters, name, "its descriptor declares none of that name");
}

const char *parameters_string(const struct parameters *parameters, const char *name)
{
    const char *text =
        find(parameters, name, 1U << LEAT_PARAM_STRING | 1U << LEAT_PARAM_ENUM)->text;
    ensure(text != NULL);
    return text;
}

int64_t parameters_int(const struct parameters *parameters, const char *name)
{
    unsigned types = 1U << LEAT_PARAM_INT | 1U << LEAT_PARAM_DURATION | 1U << LEAT_PARAM_SIZE;
    return find(parameters, name, types)->integer;
}

double parameters_double(const struct parameters *parameters, const char *name)
{
    return find(parameters, name, 1U << LEAT_PARAM_DOUBLE)->real;
}

bool parameters_bool(const struct parameters *parameters, const char *name)
{
    return find(parameters, name, 1U << LEAT_PARAM_BOOL)->boolean;
}

size_t parameters_count(const struct parameters *parameters, const char *name)
{
    return find(parameters, name, 1U << LEAT_PARAM_LIST)->item_count;
}

const char *parameters_item(const struct parameters *parameters, const char *name, size_t index)
{
    const struct parameter_value *value = find(parameters, name, 1U << LEAT_PARAM_LIST);
    if (index >= value->item_count) {
        getter_failed(parameters, name, "the list has fewer items");
    }
    return value->items[index];
}
