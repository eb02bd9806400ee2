/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How keys and values of a store are written: as text in which every byte can be told from every
 * other, or as JSON; and how a key on the command line is read.
 */
#ifndef LEAT_CLI_STATE_PRINT_H
#define LEAT_CLI_STATE_PRINT_H

#include "base/bytes.h"

/** Printable UTF-8 as it is; any other byte, and the backslash, as \xNN. */
void state_print_text(struct buffer *out, struct bytes bytes);
/** `"NAME":"..."`, or `"NAME_base64":"..."` for bytes that are no UTF-8. */
void state_print_json(struct buffer *out, const char *name, struct bytes bytes);
/** `hex:6b6579` or the text itself. False: hex digits are wrong or odd. */
bool state_parse_key(const char *text, struct buffer *key);

#endif
