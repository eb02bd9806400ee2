/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Config properties: librdkafka and topic properties as texts, and the secrets among them, read
 * from an environment variable or a private file and hidden from the log. Which property may be set
 * is not known here. Invariant: the value of a property never appears in an error.
 */
#include "base/log.h"
#include "topology/config_read.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECRET_SIZE = 64 * 1024 };

/* Nobody but its owner may read it, and the owner is us or root. */
static enum status check_secret_file(const struct config_reader *reader,
                                     const struct config_node *node, const char *path, int file,
                                     struct error *error)
{
    struct stat facts;
    ensure(file >= 0);
    if (fstat(file, &facts) != 0) {
        return config_node_error(reader, node, error, "expected a readable file, found %s: %s",
                                 path, strerror(errno));
    }
    if (!S_ISREG(facts.st_mode)) {
        return config_node_error(reader, node, error,
                                 "expected a regular file, found %s, which is none", path);
    }
    if ((facts.st_mode & 077) != 0) {
        return config_node_error(reader, node, error,
                                 "expected mode 0600, found %04o at %s; run: chmod 600 %s",
                                 (unsigned)(facts.st_mode & 07777), path, path);
    }
    if (facts.st_uid != geteuid() && facts.st_uid != 0) {
        return config_node_error(reader, node, error,
                                 "expected a file of this user or of root, found %s, owned by "
                                 "user %u",
                                 path, (unsigned)facts.st_uid);
    }
    if (facts.st_size > SECRET_SIZE) {
        return config_node_error(reader, node, error, "expected at most 64 KiB, found %s with more",
                                 path);
    }
    return STATUS_OK;
}

static enum status read_secret_file(const struct config_reader *reader,
                                    const struct config_node *node, char **secret,
                                    struct error *error)
{
    ensure(node->kind == NODE_TEXT);
    const char *path = config_join(reader, node, node->text);
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file < 0) {
        return config_node_error(reader, node, error, "expected a readable file, found %s: %s",
                                 path, strerror(errno));
    }
    enum status status = check_secret_file(reader, node, path, file, error);
    char *text = config_take(reader->arena, SECRET_SIZE + 1);
    size_t size = 0;
    ssize_t got = status == STATUS_OK ? 1 : 0;
    while (got > 0 && size < SECRET_SIZE) {
        got = read(file, text + size, SECRET_SIZE - size);
        size += got > 0 ? (size_t)got : 0;
    }
    if (got < 0) {
        status = config_node_error(reader, node, error, "expected a readable file, found %s: %s",
                                   path, strerror(errno));
    }
    (void)close(file);
    if (status == STATUS_OK && memchr(text, 0, size) != NULL) {
        status =
            config_node_error(reader, node, error, "expected text, found a NUL byte in %s", path);
    }
    if (size > 0 && text[size - 1] == '\n') {
        text[size - 1] = 0;
    }
    *secret = text;
    return status;
}

static enum status read_secret(const struct config_reader *reader, const struct config_node *node,
                               char **secret, struct error *error)
{
    static const char *const names[] = {"env", "file"};
    const struct config_node *from = node->first;
    ensure(node->kind == NODE_OBJECT);
    if (node->count != 1 || (strcmp(from->key, "env") != 0 && strcmp(from->key, "file") != 0)) {
        const char *hint =
            node->count != 1 ? "" : config_suggestion(reader->arena, from->key, names, 2);
        return config_node_error(reader, from != NULL && node->count == 1 ? from : node, error,
                                 "expected {\"env\": NAME} or {\"file\": PATH}, found %s%s",
                                 node->count == 1 ? "another key" : "not exactly one key", hint);
    }
    enum status status = config_expect(
        reader, from, NODE_TEXT, *from->key == 'e' ? "the name of a variable" : "a path", error);
    if (status != STATUS_OK) {
        return status;
    }
    if (*from->key == 'f') {
        status = read_secret_file(reader, from, secret, error);
    } else {
        const char *value = getenv(from->text);
        if (value == NULL) {
            return config_node_error(reader, from, error,
                                     "expected the environment variable %s, found none",
                                     from->text);
        }
        *secret = config_copy(reader->arena, value, strlen(value));
    }
    if (status == STATUS_OK) {
        log_redact(*secret);
    }
    return status;
}

/* Files that librdkafka opens: relative to the topology file like every path in it. */
static bool is_path(const char *name, const char *value)
{
    static const char *const names[] = {"ssl.ca.location",     "ssl.certificate.location",
                                        "ssl.crl.location",    "ssl.engine.location",
                                        "ssl.key.location",    "ssl.keystore.location",
                                        "sasl.kerberos.keytab"};
    ensure(name != NULL && value != NULL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            return *value != 0 && strcmp(value, "probe") != 0;
        }
    }
    return false;
}

/* Written out in the file it is still one. */
static bool is_secret(const char *name)
{
    size_t size = strlen(name);
    ensure(size > 0 || *name == 0);
    return strstr(name, "password") != NULL || strstr(name, "secret") != NULL ||
           strcmp(name, "sasl.oauthbearer.config") == 0 ||
           (size > 4 && strcmp(name + size - 4, ".pem") == 0);
}

static enum status read_property(const struct config_reader *reader, const struct config_node *node,
                                 bool secrets, struct named_value *property, struct error *error)
{
    char *text = NULL;
    enum status status = STATUS_OK;
    if (node->kind == NODE_TEXT) {
        text = is_path(node->key, node->text)
                   ? config_join(reader, node, node->text)
                   : config_copy(reader->arena, node->text, strlen(node->text));
    } else if (node->kind == NODE_INTEGER) {
        text = config_format(reader->arena, "%" PRId64, node->integer);
    } else if (node->kind == NODE_REAL) {
        text = config_format(reader->arena, "%.15g", node->real);
    } else if (node->kind == NODE_BOOLEAN) {
        text = config_format(reader->arena, "%s", node->boolean ? "true" : "false");
    } else if (node->kind == NODE_OBJECT && secrets) {
        property->secret = true;
        status = read_secret(reader, node, &text, error);
    } else {
        return config_node_error(reader, node, error, "expected a string, a number%s, found %s",
                                 secrets ? ", true, false, {\"env\": NAME} or {\"file\": PATH}"
                                         : ", true or false",
                                 config_node_kind_name(node));
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (secrets && !property->secret && is_secret(node->key)) {
        property->secret = true;
        log_redact(text);
    }
    ensure(text != NULL);
    property->name = config_copy(reader->arena, node->key, strlen(node->key));
    property->path = config_node_path(reader->arena, node);
    property->line = config_node_line(node);
    property->value = (struct value){.kind = VALUE_STRING, .text = text};
    return status;
}

enum status config_read_properties(const struct config_reader *reader,
                                   const struct config_node *node, const struct config_key *key,
                                   void *base, struct error *error)
{
    enum status status = config_expect(reader, node, NODE_OBJECT, "an object", error);
    if (status != STATUS_OK) {
        return status;
    }
    struct config_properties properties = {
        .items = config_take(reader->arena, node->count * sizeof *properties.items)};
    for (const struct config_node *child = node->first; child != NULL; child = child->next) {
        status = read_property(reader, child, key->type == KEY_PROPERTIES,
                               &properties.items[properties.count++], error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    ensure(key->width == sizeof properties && properties.count == node->count);
    memcpy((uint8_t *)base + key->offset, &properties, sizeof properties);
    return STATUS_OK;
}
