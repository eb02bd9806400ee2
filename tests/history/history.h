/* SPDX-License-Identifier: Apache-2.0 */
/*
 * History: what happened to an application as seen from outside, in JSON lines; docs/history.md is
 * the format. Being written; the format comes first, because others write it.
 */
#ifndef LEAT_HISTORY_HISTORY_H
#define LEAT_HISTORY_HISTORY_H

#endif
