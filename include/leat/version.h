/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file version.h
 * The version of Leat. CMake reads LEAT_VERSION_* from this file; there is no other place.
 * The version of the operator ABI stands in operator.h.
 */
#ifndef LEAT_VERSION_H
#define LEAT_VERSION_H

#define LEAT_VERSION_MAJOR 0
#define LEAT_VERSION_MINOR 1
#define LEAT_VERSION_PATCH 0
#define LEAT_VERSION "0.1.0"

#endif
