/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"
#include "base/bytes.h"
#include "base/log.h"
#include "plugin/plugin.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPERATORS LEAT_BINARY_DIR "/operators"

static char folder[] = "/tmp/leat_plugin_XXXXXX"; /* each test is a process of its own */
static struct error error;
static struct plugin *plugin;
static struct arena paths;

static void set_up(void)
{
    cr_assert_not_null(mkdtemp(folder));
    arena_init(&paths, 0);
    unsetenv("LEAT_OPERATOR_PATH");
}

static void remove_folder(void)
{
    char *command = memory_format("rm -r %s", folder);
    FILE *shell = popen(command, "r");
    cr_assert_eq(pclose(shell), 0);
    free(command);
    plugin_unload(plugin);
    arena_finish(&paths);
}
TestSuite(plugin, .init = set_up, .fini = remove_folder);

/* `name` in the test's folder; lives as long as the test. */
static char *at(const char *name)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = arena_take(&paths, size);
    (void)snprintf(path, size, "%s/%s", folder, name);
    return path;
}

static char *copy_file(const char *from, const char *name)
{
    char *to = at(name);
    FILE *in = fopen(from, "rb");
    FILE *out = fopen(to, "wb");
    char block[65536];
    cr_assert(in != NULL && out != NULL, "cannot copy %s to %s", from, to);
    for (size_t size; (size = fread(block, 1, sizeof block, in)) > 0;) {
        cr_assert_eq(fwrite(block, 1, size, out), size);
    }
    cr_assert_eq(fclose(in) | fclose(out), 0);
    return to;
}

static char *write_file(const char *name, const char *text)
{
    char *to = at(name);
    FILE *out = fopen(to, "wb");
    cr_assert_eq(fwrite(text, 1, strlen(text), out), strlen(text));
    cr_assert_eq(fclose(out), 0);
    return to;
}

static void expect_loaded(const char *use, const struct plugin_path *path, const char *name)
{
    cr_assert_eq(plugin_load(use, path, &plugin, &error), STATUS_OK, "%s", error.text);
    cr_assert_str_eq(plugin->descriptor.name, name);
}

static void expect_text(const char *part)
{
    cr_assert_neq(strstr(error.text, part), NULL, "\"%s\" lacks \"%s\"", error.text, part);
    cr_assert_eq(strchr(error.text, '\n'), NULL);
}

static void expect_refused(const char *use, const struct plugin_path *path, const char *part)
{
    cr_assert_eq(plugin_load(use, path, &plugin, &error), STATUS_BAD_CONFIG);
    cr_assert_eq(error.status, STATUS_BAD_CONFIG);
    cr_assert_null(plugin);
    expect_text(part);
}

/* ---- Where it is looked for ---- */

Test(plugin, loads_a_name_from_a_configured_directory)
{
    const char *directories[] = {"/nonexistent", OPERATORS};
    expect_loaded("split", &(struct plugin_path){directories, 2}, "split");
    cr_assert_str_eq(plugin->file + strlen(plugin->file) - 9, "/split.so");
}

Test(plugin, loads_a_name_from_the_environment)
{
    setenv("LEAT_OPERATOR_PATH", "/nonexistent::" OPERATORS, 1);
    expect_loaded("filter", NULL, "filter");
}

Test(plugin, prefers_configured_directories_to_the_environment)
{
    const char *directories[] = {folder};
    copy_file(OPERATORS "/filter.so", "split.so");
    setenv("LEAT_OPERATOR_PATH", OPERATORS, 1);
    expect_loaded("split", &(struct plugin_path){directories, 1}, "filter");
}

Test(plugin, takes_a_value_with_a_slash_as_a_path)
{
    expect_loaded(OPERATORS "/split.so", NULL, "split");
}

Test(plugin, says_where_it_looked_and_which_name_is_near)
{
    const char *directories[] = {OPERATORS};
    setenv("LEAT_OPERATOR_PATH", "/a/b:/c", 1);
    struct plugin_path path = {directories, 1};
    expect_refused("agregate", &path, "no operator \"agregate\", did you mean \"aggregate\"?");
    expect_text("looked for agregate.so in " OPERATORS ", /a/b, /c, ");
    expect_text("/lib/leat/operators");
    expect_refused("", &path, "no operator \"\"");
}

/* ---- What is refused before it runs ---- */

Test(plugin, refuses_a_file_that_anybody_may_write)
{
    char *file = copy_file(OPERATORS "/split.so", "open.so");
    chmod(file, 0646);
    expect_refused(file, NULL, "anybody may write to it: chmod o-w ");
    chmod(file, 0644);
    expect_loaded(file, NULL, "split");
}

Test(plugin, refuses_a_folder_that_anybody_may_write_unless_it_is_sticky)
{
    char *file = copy_file(OPERATORS "/split.so", "split.so");
    chmod(folder, 0777);
    expect_refused(file, NULL, "anybody may write to its folder: chmod o-w ");
    chmod(folder, 01777);
    expect_loaded(file, NULL, "split");
}

Test(plugin, follows_links_and_looks_at_both_ends)
{
    cr_assert_eq(mkdir(at("real"), 0700), 0);
    char *file = copy_file(OPERATORS "/split.so", "real/split.so");
    char *link = at("link.so");
    cr_assert_eq(symlink(file, link), 0);
    chmod(at("real"), 0777);
    expect_refused(link, NULL, "real/split.so: anybody may write to its folder");
    chmod(at("real"), 0700);
    chmod(folder, 0777);
    expect_refused(link, NULL, "link.so: anybody may write to its folder");
    chmod(folder, 0700);
    expect_loaded(link, NULL, "split");
    cr_assert_str_eq(plugin->file, file);
}

Test(plugin, refuses_what_is_not_there_and_what_is_no_file)
{
    expect_refused(at("absent.so"), NULL, "absent.so: there is no such file");
    cr_assert_eq(mkdir(at("folder.so"), 0700), 0);
    expect_refused(at("folder.so"), NULL, "not a regular file");
    const char *directories[] = {folder};
    cr_assert_eq(symlink("/nonexistent/x.so", at("dangling.so")), 0);
    expect_refused("dangling", &(struct plugin_path){directories, 1}, "there is no such file");
}

Test(plugin, refuses_what_is_no_shared_object)
{
    expect_refused(write_file("text.so", "no ELF at all, but long enough to hold a header......"),
                   NULL, "cannot be loaded: ");
}

/* ---- The catalogue ---- */

static char *warning;
static void keep_line(void *opaque, const char *line)
{
    (void)opaque;
    free(warning);
    warning = memory_text(line);
}

Test(plugin, lists_all_operators_in_byte_order_and_warns_of_the_rest)
{
    const char *directories[] = {folder, OPERATORS};
    struct plugin **plugins = NULL;
    size_t count = 0;
    copy_file(OPERATORS "/split.so", "zz.so");
    copy_file(OPERATORS "/filter.so", "aggregate.so");
    write_file("broken.so", "text");
    write_file("README.md", "text");
    log_set_sink(keep_line, NULL);
    cr_assert_eq(plugin_catalogue(&(struct plugin_path){directories, 2}, &plugins, &count, &error),
                 STATUS_OK);
    log_set_sink(NULL, NULL);
    const char *const uses[] = {"aggregate", "distinct", "extract", "filter", "split", "zz"};
    const char *const names[] = {"filter", "distinct", "extract", "filter", "split", "split"};
    cr_assert_eq(count, sizeof names / sizeof *names);
    for (size_t i = 0; i < count; i++) {
        cr_assert_str_eq(plugins[i]->name, uses[i]);
        cr_assert_str_eq(plugins[i]->descriptor.name, names[i]);
        plugin_unload(plugins[i]);
    }
    free(plugins);
    cr_assert_not_null(warning);
    cr_assert_not_null(strstr(warning, "broken.so"), "%s", warning);
    free(warning);
}

/* ---- What a descriptor may say ---- */

static leat_status process(void *self, leat_context *ctx, const leat_record *record)
{
    (void)self;
    return leat_forward(ctx, 0, record);
}

static leat_operator good(void)
{
    return (leat_operator){LEAT_OPERATOR_SIZES, .name = "good", .version = "1",
                           .summary = "does well", .process = process};
}

static void adopt_refused(const leat_operator *descriptor, const char *part)
{
    cr_assert_eq(plugin_adopt(descriptor, "FILE.so", &plugin, &error), STATUS_BAD_CONFIG);
    cr_assert_null(plugin);
    expect_text("operator FILE.so: ");
    expect_text(part);
}

Test(plugin, fills_in_one_input_and_one_output)
{
    leat_operator descriptor = good();
    cr_assert_eq(plugin_adopt(&descriptor, "FILE.so", &plugin, &error), STATUS_OK);
    cr_assert_eq(plugin->input_count, 1);
    cr_assert_str_eq(plugin->inputs[0].name, "in");
    cr_assert_eq(plugin->output_count, 1);
    cr_assert_str_eq(plugin->outputs[0].name, "out");
    cr_assert_eq(plugin->param_count + plugin->store_count, 0);
    cr_assert_eq(plugin->descriptor.inputs, plugin->inputs);
    plugin_unload(plugin);
    const leat_port none[] = {{0}};
    descriptor.outputs = none;
    cr_assert_eq(plugin_adopt(&descriptor, "FILE.so", &plugin, &error), STATUS_OK);
    cr_assert_eq(plugin->output_count, 0);
    plugin_unload(plugin);
    plugin = NULL;
    descriptor.inputs = none;
    adopt_refused(&descriptor, "array of inputs is empty");
}

Test(plugin, refuses_a_descriptor_that_is_none)
{
    leat_operator descriptor = good();
    adopt_refused(NULL, "leat_operator_entry gave NULL");
    descriptor.process = NULL;
    adopt_refused(&descriptor, "\"process\" is NULL");
    descriptor = good();
    descriptor.name = "";
    adopt_refused(&descriptor, "it is called \"\"");
    descriptor.name = NULL;
    adopt_refused(&descriptor, "it is called \"\"");
    descriptor.name = "with space";
    adopt_refused(&descriptor, "it is called \"with space\"");
}

Test(plugin, refuses_names_that_are_empty_wrong_or_twice)
{
    leat_operator descriptor = good();
    const leat_port twice[] = {{"a", ""}, {"b", ""}, {"a", ""}, {0}};
    const leat_port dotted[] = {{"a.b", ""}, {0}};
    const leat_store_spec empty[] = {{"", ""}, {0}};
    descriptor.outputs = twice;
    adopt_refused(&descriptor, "two of its outputs are called \"a\"; rename one");
    descriptor.outputs = dotted;
    adopt_refused(&descriptor, "element 0 of its outputs is called \"a.b\"");
    descriptor.outputs = NULL;
    descriptor.stores = empty;
    adopt_refused(&descriptor, "element 0 of its stores is called \"\"");
}

Test(plugin, refuses_parameters_that_contradict_themselves)
{
    static const struct {
        leat_param param;
        const char *part;
    } wrong[] = {
        {{"p", LEAT_PARAM_ENUM, "a", "no values here"}, "must begin with its values"},
        {{"p", LEAT_PARAM_ENUM, "a", NULL}, "must begin with its values"},
        {{"p", LEAT_PARAM_ENUM, "a", "a||b: x"}, "must begin with its values"},
        {{"p", LEAT_PARAM_ENUM, "a", "a|a: x"}, "must begin with its values"},
        {{"p", LEAT_PARAM_ENUM, "c", "a|b: x"}, "default \"c\" of parameter \"p\" is not one of"},
        {{"p", LEAT_PARAM_INT, "ten", ""}, "default \"ten\" of parameter \"p\" is not a whole"},
        {{"p", LEAT_PARAM_INT, "", ""}, "default \"\""},
        {{"p", LEAT_PARAM_DOUBLE, "1x", ""}, "is not a number"},
        {{"p", LEAT_PARAM_BOOL, "yes", ""}, "is not true or false"},
        {{"p", LEAT_PARAM_DURATION, "10", ""}, NULL},
        {{"p", LEAT_PARAM_DURATION, "10 s", ""}, "is not a duration like \"10s\""},
        {{"p", LEAT_PARAM_SIZE, "1MB", ""}, "is not a size like \"64MiB\""},
        {{"p", 8, "x", ""}, "has the unknown type 8"},
        {{"p", -1, "x", ""}, "has the unknown type -1"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        leat_param params[] = {wrong[i].param, {0}};
        leat_operator descriptor = good();
        descriptor.params = params;
        if (wrong[i].part != NULL) {
            adopt_refused(&descriptor, wrong[i].part);
        } else {
            cr_assert_eq(plugin_adopt(&descriptor, "FILE.so", &plugin, &error), STATUS_OK);
            plugin_unload(plugin);
            plugin = NULL;
        }
    }
}

Test(plugin, refuses_an_array_without_an_end)
{
    static leat_port ports[1002];
    leat_operator descriptor = good();
    for (size_t i = 0; i < sizeof ports / sizeof *ports; i++) {
        ports[i].name = memory_format("p%zu", i);
    }
    descriptor.inputs = ports;
    adopt_refused(&descriptor, "end the array with a zero element");
    for (size_t i = 0; i < sizeof ports / sizeof *ports; i++) {
        free((char *)(uintptr_t)ports[i].name);
    }
}
