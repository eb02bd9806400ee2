/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the config share: parsing a text with overrides, files. */
#ifndef LEAT_TEST_CONFIG_CASE_H
#define LEAT_TEST_CONFIG_CASE_H

#include "topology/config.h"

/** Parses `text` as "topology.json" with the `--set`s up to NULL; the test fails if that does. */
struct config *config_good(const char *text, ...) __attribute__((sentinel));
/** The same in another file, with --broker. */
struct config *config_good_in(const char *file, const char *broker, const char *text, ...)
    __attribute__((sentinel));
/** Expects STATUS_BAD_CONFIG and gives its text; static. */
const char *config_bad(const char *text, ...) __attribute__((sentinel));
void config_write(const char *path, const char *text, unsigned mode);
/** The whole file; free it. NULL if there is none. */
char *config_slurp(const char *path);

/** A small good file; the macro's argument is put in front of "sources". */
#define CONFIG_WITH(keys)                                                                          \
    "{\n  \"application\": \"app\",\n" keys "  \"sources\": { \"in\": { \"topic\": \"a\" } },\n"   \
    "  \"sinks\": { \"out\": { \"topic\": \"b\", \"from\": \"in\" } }\n}\n"

#endif
