/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Config expand: ${NAME}, ${NAME:-default} and $${ in the texts of the file. Keys and values of the
 * command line are left alone. As in a shell the default also stands in for an empty variable.
 */
#include "topology/config_tree.h"

#include <stdlib.h>
#include <string.h>

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* `*at` stands behind "${"; it ends behind "}". */
static enum status expand_one(const struct config_reader *reader, const struct config_node *node,
                              const char **at, struct buffer *out, struct error *error)
{
    ensure((*at)[-1] == '{' && (*at)[-2] == '$');
    const char *close = strchr(*at, '}');
    size_t name_size = 0;
    while (is_name_char((*at)[name_size])) {
        name_size++;
    }
    if (close == NULL) {
        return config_node_error(reader, node, error,
                                 "expected } after ${, found the end of the text ($${ is a "
                                 "literal ${)");
    }
    const char *name = config_copy(reader->arena, *at, name_size);
    const char *rest = *at + name_size;
    bool with_default = rest[0] == ':' && rest[1] == '-';
    if (name_size == 0 || (*name >= '0' && *name <= '9') || (rest != close && !with_default)) {
        return config_node_error(reader, node, error,
                                 "expected ${NAME} or ${NAME:-default}, found \"${%.*s\" ($${ is "
                                 "a literal ${)",
                                 (int)(close - *at < 40 ? close - *at + 1 : 40), *at);
    }
    const char *value = getenv(name);
    *at = close + 1;
    if (!with_default) {
        if (value == NULL) {
            return config_node_error(reader, node, error,
                                     "expected the environment variable %s, found none; set it or "
                                     "write ${%s:-default}",
                                     name, name);
        }
        buffer_append_text(out, value);
        return STATUS_OK;
    }
    const char *nested = strstr(rest, "${");
    if (nested != NULL && nested < close) {
        return config_node_error(reader, node, error,
                                 "expected a plain default in ${%s:-...}, found a nested ${", name);
    }
    if (value != NULL && *value != 0) {
        buffer_append_text(out, value);
    } else {
        buffer_append(out, rest + 2, (size_t)(close - rest - 2));
    }
    return STATUS_OK;
}

static enum status expand_text(const struct config_reader *reader, struct config_node *node,
                               struct error *error)
{
    ensure(node->kind == NODE_TEXT && node->text != NULL);
    if (strstr(node->text, "${") == NULL) {
        return STATUS_OK;
    }
    struct buffer out = {0};
    enum status status = STATUS_OK;
    for (const char *at = node->text; *at != 0 && status == STATUS_OK;) {
        if (strncmp(at, "$${", 3) == 0) {
            buffer_append_text(&out, "${");
            at += 3;
        } else if (strncmp(at, "${", 2) == 0) {
            at += 2;
            status = expand_one(reader, node, &at, &out, error);
            node->loose = true;
        } else {
            buffer_append(&out, at++, 1);
        }
    }
    node->text = config_copy(reader->arena, (const char *)out.data, out.size);
    buffer_finish(&out);
    return status;
}

enum status config_expand(const struct config_reader *reader, struct config_node *node,
                          struct error *error)
{
    ensure(node != NULL && node->origin == NULL);
    if (node->kind == NODE_TEXT) {
        return expand_text(reader, node, error);
    }
    enum status status = STATUS_OK;
    for (struct config_node *child = node->first; child != NULL && status == STATUS_OK;
         child = child->next) {
        status = config_expand(reader, child, error);
    }
    return status;
}
