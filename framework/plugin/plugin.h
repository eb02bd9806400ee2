/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plugin: a loaded operator and its descriptor, checked and copied into this host's layout.
 *
 * Invariants: `descriptor` is zero-filled beyond what the plugin's own struct_size covers; the
 * arrays are copies in this host's strides, so they may be indexed; what the entry function
 * returned is never read again. A plugin is not unloaded while a callback can run; once loaded it
 * is read-only: any thread. Errors are STATUS_BAD_CONFIG and name the file and the remedy.
 */
#ifndef LEAT_PLUGIN_PLUGIN_H
#define LEAT_PLUGIN_PLUGIN_H

#include "base/status.h"
#include "base/value.h"
#include "leat/operator.h"

struct plugin {
    char *name;               /* what "use" calls it: the name of the file without .so */
    char *file;               /* links resolved */
    leat_operator descriptor; /* params, inputs, outputs, stores point to the arrays below */
    leat_param *params;
    uint32_t param_count;
    leat_port *inputs; /* never NULL: the default ports are filled in */
    uint32_t input_count;
    leat_port *outputs;
    uint32_t output_count;
    leat_store_spec *stores;
    uint32_t store_count;
    void *handle;
};

/** Where names are looked up: `directories`, then LEAT_OPERATOR_PATH (colon-separated), then the
 * installed directory relative to the running binary (../lib/leat/operators, and ./operators beside
 * it). */
struct plugin_path {
    const char *const *directories;
    size_t directory_count;
};

/** Loads operator `use`: a name, or a path when it holds a slash. */
enum status plugin_load(const char *use, const struct plugin_path *path, struct plugin **plugin,
                        struct error *error);
/** Checks a descriptor that was obtained otherwise (tests, the testing driver); `file` names it in
 * errors. */
enum status plugin_adopt(const leat_operator *descriptor, const char *file, struct plugin **plugin,
                         struct error *error);
void plugin_unload(struct plugin *plugin);

/** All operators that plugin_load would find, in byte order of their names, the first of a name
 * only. Unloadable files become a warning in the log. Unload each; free the array. */
enum status plugin_catalogue(const struct plugin_path *path, struct plugin ***plugins,
                             size_t *count, struct error *error);

/* ---- Parameters: the values of one node, checked against its plugin's table. Getters cannot fail:
   an unknown name is a bug and aborts with a line. Read-only: any thread. ---- */

struct parameters;

/** `values` may be in any order; each must be known and of its type (a string that parses as the
 * type is taken too); defaults fill the rest. Errors name value->path and line. `file` names the
 * topology file; `node_path` ("$.operators.count") is named where a required one is missing. */
enum status parameters_check(const struct plugin *plugin, const struct named_value *values,
                             size_t count, const char *file, const char *node_path, int line,
                             struct parameters **parameters, struct error *error);
void parameters_destroy(struct parameters *parameters);
const char *parameters_string(const struct parameters *parameters, const char *name);
int64_t parameters_int(const struct parameters *parameters, const char *name);
double parameters_double(const struct parameters *parameters, const char *name);
bool parameters_bool(const struct parameters *parameters, const char *name);
size_t parameters_count(const struct parameters *parameters, const char *name);
const char *parameters_item(const struct parameters *parameters, const char *name, size_t index);
const char *parameter_type_name(leat_param_type type);

#endif
