/* SPDX-License-Identifier: Apache-2.0 */
#include "topology/config.h"

#include "topology/config_read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Everything a config points to lives in its arena. */
struct owned_config {
    struct config config; /* first: config_destroy gets its address */
    struct arena arena;
};

static void wipe(const struct config_properties *properties)
{
    for (size_t i = 0; i < properties->count; i++) {
        if (properties->items[i].secret) {
            char *text = (char *)(uintptr_t)properties->items[i].value.text;
            ensure(text != NULL);
            explicit_bzero(text, strlen(text));
        }
    }
}

void config_destroy(struct config *config)
{
    if (config == NULL) {
        return;
    }
    struct owned_config *owned = (struct owned_config *)config;
    ensure(owned->arena.first != NULL);
    wipe(&config->broker.common);
    wipe(&config->broker.consumer);
    wipe(&config->broker.producer);
    arena_finish(&owned->arena);
    free(owned);
}

/* "" where paths of the file need no prefix. */
static char *directory_of(struct arena *arena, const char *file)
{
    const char *slash = strrchr(file, '/');
    ensure(arena != NULL);
    if (slash == NULL) {
        return config_copy(arena, "", 0);
    }
    return config_copy(arena, file, slash == file ? 1 : (size_t)(slash - file));
}

static enum status parse(struct config_reader *reader, const char *text, size_t size,
                         const struct config_overrides *overrides, struct config *config,
                         struct error *error)
{
    enum status status = config_read_json(reader, text, size, NULL, &reader->root, error);
    if (status == STATUS_OK) {
        status = config_expect(reader, reader->root, NODE_OBJECT, "an object", error);
    }
    if (status == STATUS_OK) {
        status = config_expand(reader, reader->root, error);
    }
    if (status == STATUS_OK) {
        status = config_apply(reader, overrides, error);
    }
    if (status == STATUS_OK) {
        status = config_read_keys(reader, reader->root, config_keys, config, error);
    }
    if (status == STATUS_OK) {
        status = config_check_rules(reader, config, error);
    }
    ensure(status == STATUS_OK || status == STATUS_BAD_CONFIG);
    return status;
}

enum status config_parse(const char *text, size_t size, const char *file,
                         const struct config_overrides *overrides, struct config **config,
                         struct error *error)
{
    struct owned_config *owned = memory_allocate(sizeof *owned);
    ensure(text != NULL && file != NULL);
    arena_init(&owned->arena, 0);
    owned->config.file = config_copy(&owned->arena, file, strlen(file));
    char *directory = directory_of(&owned->arena, file);
    struct config_reader reader = {
        .file = owned->config.file, .directory = directory, .arena = &owned->arena};
    owned->config.directory = *directory == 0 ? config_copy(&owned->arena, ".", 1) : directory;
    enum status status = parse(&reader, text, size, overrides, &owned->config, error);
    if (status != STATUS_OK) {
        config_destroy(&owned->config);
        return status;
    }
    *config = &owned->config;
    return STATUS_OK;
}

/* At most one byte more than a file may have, so that config_parse sees that it is too long. */
static bool read_all(int file, struct buffer *text)
{
    ssize_t got = 1;
    while (got > 0 && text->size <= CONFIG_SIZE) {
        uint8_t *at = buffer_extend(text, 64 * 1024);
        do {
            got = read(file, at, 64 * 1024);
        } while (got < 0 && errno == EINTR);
        text->size -= (size_t)(64 * 1024 - (got > 0 ? got : 0));
    }
    ensure(text->size <= CONFIG_SIZE + 64 * 1024);
    return got >= 0;
}

enum status config_load(const char *file, const struct config_overrides *overrides,
                        struct config **config, struct error *error)
{
    ensure(file != NULL && config != NULL);
    int descriptor = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (descriptor < 0) {
        return error_set(error, STATUS_BAD_CONFIG, ERROR_IO,
                         "%s: expected a topology file, found none that can be opened: %s", file,
                         strerror(errno));
    }
    struct buffer text = {0};
    bool good = read_all(descriptor, &text);
    int reason = errno;
    (void)close(descriptor);
    enum status status =
        good ? config_parse((const char *)text.data, text.size, file, overrides, config, error)
             : error_set(error, STATUS_BAD_CONFIG, ERROR_IO,
                         "%s: expected a topology file, found one that cannot be read: %s", file,
                         strerror(reason));
    buffer_finish(&text);
    return status;
}
