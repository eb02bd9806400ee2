/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariants: not one byte is read beyond what the operator's struct_size and strides cover, and
 * nothing but struct_size and abi_version before the version guard has passed.
 */
#include "plugin/descriptor.h"

#include "base/bytes.h"
#include "plugin/parameter_text.h"

#include <stdlib.h>
#include <string.h>

enum { ELEMENT_LIMIT = 1000, NAME_LIMIT = 100 };

/* What the guards rely on, in this version of the header and in every later one. */
_Static_assert(sizeof(void *) == 8, "the operator ABI is for 64 bits");
_Static_assert(offsetof(leat_operator, struct_size) == 0, "the guard reads it first");
_Static_assert(offsetof(leat_operator, abi_version) == 4, "and this next");
_Static_assert(offsetof(leat_operator, process) < offsetof(leat_operator, timer), "tail of 0.1");
_Static_assert(offsetof(leat_param, name) == 0, "an element ends the array by its name");
_Static_assert(offsetof(leat_port, name) == 0, "an element ends the array by its name");
_Static_assert(offsetof(leat_store_spec, name) == 0, "an element ends the array by its name");
_Static_assert(sizeof(leat_bytes) == 16 && sizeof(leat_header) == 24, "frozen for a major");
_Static_assert(sizeof(leat_record) == 80 && sizeof(leat_timer) == 32, "frozen for a major");

#define REFUSE(plugin, error, ...) refuse((plugin), (error), __LINE__, __VA_ARGS__)

/* "FILE: why", one line, always a bad configuration. */
__attribute__((format(printf, 4, 5))) static enum status
refuse(const struct plugin *plugin, struct error *error, int line, const char *format, ...)
{
    ensure(plugin->file != NULL && line > 0);
    struct error why;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(why.text, sizeof why.text, format, arguments);
    va_end(arguments);
    return error_set_at(error, __FILE__, line, STATUS_BAD_CONFIG, ERROR_OPERATOR, "operator %s: %s",
                        plugin->file, why.text);
}

static enum status check_version(uint32_t version, const struct plugin *plugin, struct error *error)
{
    ensure(plugin->file != NULL);
    uint32_t major = version >> 16;
    uint32_t minor = version & 0xffff;
    bool same_major = major == LEAT_ABI_MAJOR;
    bool minor_fits =
        LEAT_ABI_MAJOR == 0 ? minor == LEAT_ABI_MINOR : minor <= (uint32_t)LEAT_ABI_MINOR;
    if (same_major && minor_fits) {
        return STATUS_OK;
    }
    bool newer = major > LEAT_ABI_MAJOR || (same_major && minor > LEAT_ABI_MINOR);
    return REFUSE(plugin, error,
                  "built for operator ABI %u.%u, but this topology command has %d.%d; %s", major,
                  minor, LEAT_ABI_MAJOR, LEAT_ABI_MINOR,
                  newer ? "use a newer Leat, or build it against this one's leat/operator.h"
                        : "build it again with this Leat's leat/operator.h");
}

static bool valid_name(const char *name)
{
    ensure(name != NULL);
    size_t size = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    return size > 0 && size <= NAME_LIMIT && name[size] == 0;
}

/* One of the four arrays: its name for errors, the operator's stride, ours at 0.1 and ours today.
 */
struct array {
    const char *what;
    const void *from;
    uint32_t stride;
    size_t size_first, size_now;
};

/* Copies an array up to its zero element. Every element begins with its name. */
static enum status copy_array(const struct array *array, void **copy, uint32_t *count,
                              const struct plugin *plugin, struct error *error)
{
    ensure(array->size_first <= array->size_now);
    *count = 0;
    if (array->from == NULL) {
        *copy = memory_allocate(array->size_now);
        return STATUS_OK;
    }
    if (array->stride < array->size_first || array->stride % _Alignof(void *) != 0) {
        return REFUSE(plugin, error,
                      "its elements of %s have %u bytes, at least %zu are needed; fill the "
                      "descriptor with LEAT_OPERATOR_SIZES",
                      array->what, array->stride, array->size_first);
    }
    size_t size = array->stride < array->size_now ? array->stride : array->size_now;
    const char *at = array->from;
    const char *name = NULL;
    for (;; at += array->stride) {
        memcpy(&name, at, sizeof name);
        if (name == NULL) {
            break;
        }
        if (++*count > ELEMENT_LIMIT) {
            return REFUSE(plugin, error, "more than %d %s; end the array with a zero element",
                          ELEMENT_LIMIT, array->what);
        }
    }
    char *made = memory_allocate((*count + 1) * array->size_now);
    for (uint32_t i = 0; i < *count; i++) {
        memcpy(made + i * array->size_now, (const char *)array->from + (size_t)i * array->stride,
               size);
    }
    *copy = made;
    return STATUS_OK;
}

static enum status check_names(const void *elements, size_t size, uint32_t count, const char *what,
                               const struct plugin *plugin, struct error *error)
{
    const char *names[ELEMENT_LIMIT];
    ensure(count <= ELEMENT_LIMIT);
    for (uint32_t i = 0; i < count; i++) {
        memcpy(&names[i], (const char *)elements + i * size, sizeof names[i]);
        if (!valid_name(names[i])) {
            return REFUSE(plugin, error,
                          "element %u of its %s is called \"%.100s\"; a name is 1 to %d of a-z A-Z "
                          "0-9 _ -",
                          i, what, names[i], NAME_LIMIT);
        }
        for (uint32_t j = 0; j < i; j++) {
            if (strcmp(names[i], names[j]) == 0) {
                return REFUSE(plugin, error, "two of its %s are called \"%s\"; rename one", what,
                              names[i]);
            }
        }
    }
    return STATUS_OK;
}

static enum status check_param(const leat_param *param, const struct plugin *plugin,
                               struct error *error)
{
    ensure(param->name != NULL && param->summary != NULL);
    if (param->type < LEAT_PARAM_STRING || param->type > LEAT_PARAM_ENUM) {
        return REFUSE(plugin, error, "parameter \"%s\" has the unknown type %d", param->name,
                      param->type);
    }
    if (param->type == LEAT_PARAM_ENUM) {
        size_t count = 0;
        const char **choices = parameter_choices(param, &count);
        free(choices);
        if (count == 0) {
            return REFUSE(plugin, error,
                          "the summary of enum parameter \"%s\" must begin with its values, all "
                          "different, like \"a|b|c: what it does\"",
                          param->name);
        }
    }
    if (param->default_value == NULL) {
        return STATUS_OK;
    }
    struct parameter_value value;
    bool parsed = parameter_text_parse(param, param->default_value, &value);
    parameter_value_finish(&value);
    if (parsed) {
        return STATUS_OK;
    }
    struct buffer expected = {0};
    parameter_expectation(param, &expected);
    enum status status = REFUSE(plugin, error, "default \"%.100s\" of parameter \"%s\" is not %s",
                                param->default_value, param->name, buffer_text(&expected));
    buffer_finish(&expected);
    return status;
}

/* NULL texts become "", so that nobody has to ask again. */
static const char *filled(const char *text)
{
    return text == NULL ? "" : text;
}

static enum status take_params(struct plugin *plugin, struct error *error)
{
    ensure(plugin->params == NULL);
    const leat_operator *descriptor = &plugin->descriptor;
    const struct array array = {"parameters", descriptor->params, descriptor->param_size,
                                offsetof(leat_param, summary) + sizeof(char *), sizeof(leat_param)};
    void *copy = NULL;
    enum status status = copy_array(&array, &copy, &plugin->param_count, plugin, error);
    if (status != STATUS_OK) {
        return status;
    }
    plugin->params = copy;
    status =
        check_names(copy, sizeof(leat_param), plugin->param_count, "parameters", plugin, error);
    for (uint32_t i = 0; status == STATUS_OK && i < plugin->param_count; i++) {
        plugin->params[i].summary = filled(plugin->params[i].summary);
        status = check_param(&plugin->params[i], plugin, error);
    }
    return status;
}

/* `only` is the name of the one port that NULL stands for. */
static enum status take_ports(const leat_port *from, const char *what, const char *only,
                              leat_port **ports, uint32_t *count, const struct plugin *plugin,
                              struct error *error)
{
    ensure(*ports == NULL && only != NULL);
    const leat_port standard[] = {{.name = only, .summary = ""}, {.name = NULL}};
    struct array array = {what, from, plugin->descriptor.port_size,
                          offsetof(leat_port, summary) + sizeof(char *), sizeof(leat_port)};
    if (from == NULL) {
        array.from = standard;
        array.stride = (uint32_t)sizeof(leat_port);
    }
    void *copy = NULL;
    enum status status = copy_array(&array, &copy, count, plugin, error);
    if (status != STATUS_OK) {
        return status;
    }
    *ports = copy;
    for (uint32_t i = 0; i < *count; i++) {
        (*ports)[i].summary = filled((*ports)[i].summary);
    }
    return check_names(copy, sizeof(leat_port), *count, what, plugin, error);
}

static enum status take_stores(struct plugin *plugin, struct error *error)
{
    ensure(plugin->stores == NULL);
    const leat_operator *descriptor = &plugin->descriptor;
    const struct array array = {"stores", descriptor->stores, descriptor->store_size,
                                offsetof(leat_store_spec, summary) + sizeof(char *),
                                sizeof(leat_store_spec)};
    void *copy = NULL;
    enum status status = copy_array(&array, &copy, &plugin->store_count, plugin, error);
    if (status != STATUS_OK) {
        return status;
    }
    plugin->stores = copy;
    for (uint32_t i = 0; i < plugin->store_count; i++) {
        plugin->stores[i].summary = filled(plugin->stores[i].summary);
    }
    return check_names(copy, sizeof(leat_store_spec), plugin->store_count, "stores", plugin, error);
}

static enum status take_arrays(struct plugin *plugin, struct error *error)
{
    leat_operator *descriptor = &plugin->descriptor;
    enum status status = take_params(plugin, error);
    if (status == STATUS_OK) {
        status = take_ports(descriptor->inputs, "inputs", "in", &plugin->inputs,
                            &plugin->input_count, plugin, error);
    }
    if (status == STATUS_OK) {
        status = take_ports(descriptor->outputs, "outputs", "out", &plugin->outputs,
                            &plugin->output_count, plugin, error);
    }
    if (status == STATUS_OK) {
        status = take_stores(plugin, error);
    }
    if (status == STATUS_OK && plugin->input_count == 0) {
        status = REFUSE(plugin, error,
                        "its array of inputs is empty; inputs = NULL gives one input \"in\"");
    }
    descriptor->params = plugin->params;
    descriptor->inputs = plugin->inputs;
    descriptor->outputs = plugin->outputs;
    descriptor->stores = plugin->stores;
    return status;
}

enum status descriptor_take(const leat_operator *from, struct plugin *plugin, struct error *error)
{
    ensure(plugin->file != NULL);
    if (from == NULL) {
        return REFUSE(plugin, error,
                      "leat_operator_entry gave NULL; it must return its leat_operator");
    }
    uint32_t struct_size = from->struct_size;
    enum status status = check_version(from->abi_version, plugin, error);
    if (status != STATUS_OK) {
        return status;
    }
    size_t least = offsetof(leat_operator, process) + sizeof from->process;
    if (struct_size < least) {
        return REFUSE(
            plugin, error,
            "its descriptor of %u bytes ends before \"process\" (%zu are needed); fill it "
            "with LEAT_OPERATOR_SIZES",
            struct_size, least);
    }
    leat_operator *descriptor = &plugin->descriptor;
    memset(descriptor, 0, sizeof *descriptor);
    memcpy(descriptor, from, struct_size < sizeof *descriptor ? struct_size : sizeof *descriptor);
    if (descriptor->process == NULL) {
        return REFUSE(plugin, error, "\"process\" is NULL; every operator needs one");
    }
    if (descriptor->name == NULL || !valid_name(descriptor->name)) {
        return REFUSE(plugin, error,
                      "it is called \"%.100s\"; a name is 1 to %d of a-z A-Z 0-9 _ -",
                      filled(descriptor->name), NAME_LIMIT);
    }
    descriptor->version = filled(descriptor->version);
    descriptor->summary = filled(descriptor->summary);
    return take_arrays(plugin, error);
}
