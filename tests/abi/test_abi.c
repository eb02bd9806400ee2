/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plugins of every age on hosts of every age. This file is built once per host: framework/plugin
 * compiled against the header of that host. HOST is its version, HOST_GROWN whether its structs
 * have longer tails.
 *
 *              plugin 0.1   0.2   1.0   1.1 (longer tails)
 *   host 0.1 (today's)  loads  no    no    no      at major 0 the minor must be the same
 *   host 1.0            no     no    loads no      a plugin may not be newer
 *   host 1.1 (longer)   no     no    loads loads   an older plugin gets zeroes at the tails
 */
#include "base/bytes.h"
#include "plugin/plugin.h"

#include <criterion/criterion.h>
#include <string.h>

static struct plugin *plugin;
static struct error error;

static void clean_up(void)
{
    plugin_unload(plugin);
}
TestSuite(abi, .fini = clean_up);

static void load(const char *name)
{
    char *file = memory_format("%s/%s.so", ABI_PLUGINS, name);
    cr_assert_eq(plugin_load(file, NULL, &plugin, &error), STATUS_OK, "%s", error.text);
    free(file);
}

static void refuse(const char *name, const char *part)
{
    char *file = memory_format("%s/%s.so", ABI_PLUGINS, name);
    cr_assert_eq(plugin_load(file, NULL, &plugin, &error), STATUS_BAD_CONFIG);
    cr_assert_null(plugin);
    cr_assert_neq(strstr(error.text, file), NULL, "\"%s\" does not name %s", error.text, file);
    cr_assert_neq(strstr(error.text, part), NULL, "\"%s\" lacks \"%s\"", error.text, part);
    cr_assert_null(strchr(error.text, '\n'));
    free(file);
}

/* Every member that version 0.1 has must have arrived, whatever the strides. */
static void expect_whole(void)
{
    const leat_operator *descriptor = &plugin->descriptor;
    cr_assert_str_eq(descriptor->version, "1.2.3");
    cr_assert_not_null(descriptor->init);
    cr_assert_not_null(descriptor->timer);
    cr_assert_not_null(descriptor->close);
    cr_assert_eq(descriptor->timer(NULL, NULL, &(leat_timer){.id = 7}), 7);
    cr_assert_eq(plugin->param_count, 2);
    cr_assert_str_eq(plugin->params[1].name, "mode");
    cr_assert_str_eq(plugin->params[1].summary, "a|b: a mode");
    cr_assert_eq(plugin->input_count, 2);
    cr_assert_str_eq(plugin->inputs[1].name, "right");
    cr_assert_eq(plugin->output_count, 2);
    cr_assert_str_eq(plugin->outputs[1].summary, "second");
    cr_assert_eq(plugin->store_count, 1);
    cr_assert_str_eq(plugin->stores[0].name, "state");
}

#ifdef HOST_GROWN
static void expect_tails(const char *tail)
{
    const char *const tails[] = {plugin->descriptor.tail, plugin->params[1].tail,
                                 plugin->inputs[1].tail, plugin->stores[0].tail};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        if (tail == NULL) {
            cr_assert_null(tails[i]);
        } else {
            cr_assert_str_eq(tails[i], tail);
        }
    }
}
#endif

#if HOST == 1 /* 0.1 */
#define SELF "but this topology command has 0.1; "
Test(abi, loads_plugins_built_from_the_frozen_header_0_1)
{
    load("abi_0_1");
    expect_whole();
    cr_assert_eq(plugin->descriptor.abi_version, 1);
}

Test(abi, refuses_every_other_version_and_names_both)
{
    refuse("abi_0_2", "built for operator ABI 0.2, " SELF "use a newer Leat");
    refuse("abi_1_0", "built for operator ABI 1.0, " SELF "use a newer Leat");
    refuse("abi_1_1", "built for operator ABI 1.1, " SELF "use a newer Leat");
}

Test(abi, refuses_files_that_are_no_operators)
{
    refuse("abi_no_entry", "it exports no leat_operator_entry");
    refuse("abi_null", "leat_operator_entry gave NULL");
    refuse("abi_undefined", "abi_absent");
}

/* The sizes that a descriptor claims, in place of a plugin for each. */
static leat_status process(void *self, leat_context *ctx, const leat_record *record)
{
    (void)self;
    return leat_forward(ctx, 0, record);
}
static leat_status timer(void *self, leat_context *ctx, const leat_timer *due)
{
    (void)self;
    (void)ctx;
    (void)due;
    return LEAT_OK;
}

static void adopt_refused(const leat_operator *descriptor, const char *part)
{
    cr_assert_eq(plugin_adopt(descriptor, "FILE", &plugin, &error), STATUS_BAD_CONFIG);
    cr_assert_neq(strstr(error.text, part), NULL, "\"%s\" lacks \"%s\"", error.text, part);
}

Test(abi, reads_nothing_beyond_the_struct_size)
{
    leat_operator descriptor = {LEAT_OPERATOR_SIZES, .name = "short", .process = process,
                                .timer = timer};
    descriptor.struct_size = offsetof(leat_operator, timer);
    cr_assert_eq(plugin_adopt(&descriptor, "FILE", &plugin, &error), STATUS_OK, "%s", error.text);
    cr_assert(plugin->descriptor.process == process);
    cr_assert(plugin->descriptor.timer == NULL);
    plugin_unload(plugin);
    plugin = NULL;
    descriptor.struct_size = offsetof(leat_operator, process);
    adopt_refused(&descriptor, "ends before \"process\"");
    descriptor.struct_size = 0;
    adopt_refused(&descriptor, "ends before \"process\"");
}

Test(abi, refuses_strides_that_cannot_hold_an_element)
{
    static const leat_param params[] = {{"p", LEAT_PARAM_INT, "1", ""}, {0}};
    leat_operator descriptor = {LEAT_OPERATOR_SIZES, .name = "narrow", .params = params,
                                .process = process};
    descriptor.param_size = sizeof(leat_param) - 8;
    adopt_refused(&descriptor, "its elements of parameters have 24 bytes, at least 32 are needed");
    descriptor.param_size = sizeof(leat_param) + 4;
    adopt_refused(&descriptor, "its elements of parameters have 36 bytes");
    descriptor.param_size = 0;
    adopt_refused(&descriptor, "its elements of parameters have 0 bytes");
    descriptor.params = NULL; /* then the stride does not matter */
    cr_assert_eq(plugin_adopt(&descriptor, "FILE", &plugin, &error), STATUS_OK, "%s", error.text);
}
#elif HOST == 65536 /* 1.0 */
Test(abi, loads_its_own_version_and_no_newer_one)
{
    load("abi_1_0");
    expect_whole();
    plugin_unload(plugin);
    plugin = NULL;
    refuse("abi_1_1", "built for operator ABI 1.1, but this topology command has 1.0; use a newer");
    refuse("abi_0_1",
           "built for operator ABI 0.1, but this topology command has 1.0; build it again");
    refuse("abi_0_2",
           "built for operator ABI 0.2, but this topology command has 1.0; build it again");
}
#else               /* 1.1 */
Test(abi, gives_an_older_plugin_zeroes_at_the_tails)
{
    load("abi_1_0");
    expect_whole();
    expect_tails(NULL);
}

Test(abi, takes_the_tails_of_its_own_version)
{
    load("abi_1_1");
    expect_whole();
    expect_tails("tail");
}

Test(abi, refuses_another_major)
{
    refuse("abi_0_1",
           "built for operator ABI 0.1, but this topology command has 1.1; build it again");
    refuse("abi_0_2",
           "built for operator ABI 0.2, but this topology command has 1.1; build it again");
}
#endif
