/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file operator.h
 * Everything an operator of Leat needs: values, the descriptor, and the calls into the host.
 *
 * **What is exactly once, and what is not.** Forwards, stores and timers take effect exactly once,
 * all together, for every input record, through crashes, restarts and rebalances. Every other side
 * effect of a callback (a file, a socket, a counter in memory) may happen more than once or be
 * undone in appearance only: a callback is run again when its transaction did not commit.
 *
 * **Caveats.**
 * - An instance (node x task) is called by one thread at a time; instances run in parallel, so no
 *   mutable statics.
 * - Memory of an instance is a cache. After an abort the instance may be closed and initialised
 *   again; what must survive lives in a store or in a timer.
 * - No exception, longjmp, exit or fork may leave a callback.
 * - A context is used only inside a callback, on that callback's thread.
 * - Keys are 1 byte to 64 KiB, values 0 bytes to 16 MiB.
 *
 * **Calling order.** init, then any number of process and timer calls, then close. `init` failed:
 * nothing to undo, no close. It succeeded: exactly one close, which neither forwards nor writes.
 *
 * **Threads.** Every function below is for the thread of the running callback only, unless it says
 * otherwise.
 *
 * **Linking.** An operator links against nothing: the host hands it a table of functions through
 * the context. It exports one symbol, leat_operator_entry. 64-bit platforms only.
 *
 * Compiles as C11 and as C++17. The change log of the ABI stands at the end of this file.
 */
#ifndef LEAT_OPERATOR_H
#define LEAT_OPERATOR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/** The operator ABI. Same major needed; at major 0 also the same minor; else the operator's minor
 *  may not be above the host's. A refusal names both versions. */
#define LEAT_ABI_MAJOR 0
#define LEAT_ABI_MINOR 1
#define LEAT_ABI_VERSION ((LEAT_ABI_MAJOR << 16) | LEAT_ABI_MINOR)

#if defined(__GNUC__) || defined(__clang__)
#define LEAT_VISIBLE __attribute__((visibility("default")))
#define LEAT_FORMAT(format_index, first) __attribute__((format(printf, format_index, first)))
#else
#define LEAT_VISIBLE
#define LEAT_FORMAT(format_index, first)
#endif

#ifdef __cplusplus
#define LEAT_EXPORT extern "C" LEAT_VISIBLE
#define LEAT_CAST(type, value) static_cast<type>(value)
extern "C" {
#else
#define LEAT_EXPORT LEAT_VISIBLE
#define LEAT_CAST(type, value) ((type)(value))
#endif

/* ---- Values: frozen for an ABI major, copied by value ---------------------------------------- */

typedef int32_t leat_status;
enum {
    LEAT_OK = 0,
    LEAT_NOT_FOUND = 1,   /**< absent or at the end; not an error. Only from leat_get, leat_next */
    LEAT_ERR_RECORD = -1, /**< this record is bad: the node's error policy decides */
    LEAT_ERR_RETRY = -2,  /**< abort the transaction, back off, replay */
    LEAT_ERR_FATAL = -3   /**< stop the run; any other value counts as this */
};

typedef int32_t leat_log_level;
enum { LEAT_LOG_ERROR = 0, LEAT_LOG_WARN = 1, LEAT_LOG_INFO = 2, LEAT_LOG_DEBUG = 3 };

/** A view; never owns. data NULL = null; data non-NULL with size 0 = empty. */
typedef struct leat_bytes {
    const void *data;
    size_t size;
} leat_bytes;

/** `name` is NUL-terminated. */
typedef struct leat_header {
    const char *name;
    leat_bytes value;
} leat_header;

/** One record. What a callback is given (pointers included) is valid until that callback returns;
 *  what a callback hands to leat_forward need live no longer than that call. */
typedef struct leat_record {
    leat_bytes key, value;
    const leat_header *headers;
    uint32_t header_count;
    uint32_t input;       /**< index into the operator's inputs */
    int64_t timestamp_ms; /**< Unix time, ms; < 0 = the record carries none */
    const char *topic;    /**< origin; NULL = made by a timer */
    int32_t partition;    /**< origin */
    uint32_t flags;       /**< 0 */
    int64_t offset;       /**< origin */
} leat_record;

typedef int32_t leat_time_kind;
enum { LEAT_STREAM_TIME = 0, LEAT_WALL_TIME = 1 };

/** A due timer. `key` is valid until the callback returns; null for schedules. For a durable timer
 *  time_ms is the time it was set for; for a schedule the tick that is due. */
typedef struct leat_timer {
    leat_time_kind kind;
    uint32_t id;
    int64_t time_ms;
    leat_bytes key;
} leat_timer;

/* ---- Host objects: opaque, each begins with a pointer to the host table ---------------------- */

typedef struct leat_context leat_context;
typedef struct leat_store leat_store;   /**< valid from leat_store_open until close */
typedef struct leat_cursor leat_cursor; /**< valid until leat_cursor_close, or the callback's end */

/** Flags of leat_scan. */
enum { LEAT_REVERSE = 1, LEAT_PREFIX = 2 };

/**
 * The host's table. Operators use the inline functions below; the table itself takes finished text
 * and no variable arguments, so that it can be called from other languages. Grows at the tail only:
 * a function beyond `struct_size` does not exist in this host.
 */
typedef struct leat_host {
    uint32_t struct_size, abi_version;
    const char *(*param_string)(leat_context *, const char *name);
    int64_t (*param_int)(leat_context *, const char *name);
    double (*param_double)(leat_context *, const char *name);
    bool (*param_bool)(leat_context *, const char *name);
    size_t (*param_count)(leat_context *, const char *name);
    const char *(*param_item)(leat_context *, const char *name, size_t index);
    leat_status (*store_open)(leat_context *, const char *name, leat_store **store);
    leat_status (*schedule)(leat_context *, leat_time_kind kind, int64_t interval_ms, uint32_t id);
    leat_status (*forward)(leat_context *, uint32_t output, const leat_record *record);
    leat_status (*get)(leat_store *, leat_bytes key, leat_bytes *value);
    leat_status (*put)(leat_store *, leat_bytes key, leat_bytes value);
    leat_status (*remove)(leat_store *, leat_bytes key);
    leat_status (*scan)(leat_store *, leat_bytes from, leat_bytes to, uint32_t flags,
                        leat_cursor **cursor);
    leat_status (*next)(leat_cursor *, leat_bytes *key, leat_bytes *value);
    void (*cursor_close)(leat_cursor *);
    leat_status (*timer_set)(leat_context *, leat_time_kind kind, uint32_t id, int64_t time_ms,
                             leat_bytes key);
    leat_status (*timer_cancel)(leat_context *, leat_time_kind kind, uint32_t id, int64_t time_ms,
                                leat_bytes key);
    int64_t (*stream_time)(leat_context *);
    int64_t (*wall_time)(leat_context *);
    void *(*scratch)(leat_context *, size_t size);
    leat_status (*fail)(leat_context *, leat_status status, const char *text);
    void (*log)(leat_context *, leat_log_level level, const char *text);
    void (*count)(leat_context *, const char *name, int64_t delta);
    void (*request_commit)(leat_context *);
    int32_t (*partition)(leat_context *);
    const char *(*node)(leat_context *);
    const void *(*extension)(leat_context *, const char *id);
} leat_host;

/** The public beginning of every leat_context, leat_store and leat_cursor. */
typedef struct leat_host_object {
    const leat_host *host;
} leat_host_object;

#define LEAT_HOST(object)                                                                          \
    (LEAT_CAST(const leat_host_object *, LEAT_CAST(const void *, object))->host)

/* ---- The descriptor: tables grow at the tail only -------------------------------------------- */

typedef int32_t leat_param_type;
enum {
    LEAT_PARAM_STRING = 0,
    LEAT_PARAM_INT = 1,
    LEAT_PARAM_DOUBLE = 2,
    LEAT_PARAM_BOOL = 3,
    LEAT_PARAM_DURATION = 4, /**< ms, "10s" in the file; read with leat_param_int */
    LEAT_PARAM_SIZE = 5,     /**< bytes, "64MiB" in the file; read with leat_param_int */
    LEAT_PARAM_LIST = 6,     /**< strings; read with leat_param_count and leat_param_item */
    LEAT_PARAM_ENUM = 7      /**< read with leat_param_string; summary begins "a|b|c: " */
};

/** A parameter. `default_value` is text ("a,b" for LIST, "true", "10s", "64MiB"; "" = empty);
 *  NULL = required. */
typedef struct leat_param {
    const char *name;
    leat_param_type type;
    const char *default_value;
    const char *summary;
} leat_param;

typedef struct leat_port {
    const char *name, *summary;
} leat_port;

typedef struct leat_store_spec {
    const char *name, *summary;
} leat_store_spec;

/** The descriptor. Static: it and all it points to live as long as the plugin is loaded. */
typedef struct leat_operator {
    uint32_t struct_size, abi_version, param_size, port_size, store_size, reserved;
    const char *name, *version, *summary;
    const leat_param *params;      /**< ends with a zero element; NULL = none */
    const leat_port *inputs;       /**< NULL = one input "in" that merges all it is given */
    const leat_port *outputs;      /**< NULL = one output "out" */
    const leat_store_spec *stores; /**< NULL = stateless */
    /** Prepares one instance. `*self` is handed to the other callbacks; it may stay NULL.
     *  NULL = nothing to do. */
    leat_status (*init)(leat_context *, void **self);
    /** Handles one record. Required. */
    leat_status (*process)(void *self, leat_context *, const leat_record *);
    /** Handles one due timer or tick. NULL = no timers. */
    leat_status (*timer)(void *self, leat_context *, const leat_timer *);
    /** Frees what init made. NULL = nothing to do. */
    void (*close)(void *self);
} leat_operator;

/** Fills the first six members of a leat_operator, as positional initialisers, in C and C++. */
#define LEAT_OPERATOR_SIZES                                                                        \
    LEAT_CAST(uint32_t, sizeof(leat_operator)), LEAT_ABI_VERSION,                                  \
        LEAT_CAST(uint32_t, sizeof(leat_param)), LEAT_CAST(uint32_t, sizeof(leat_port)),           \
        LEAT_CAST(uint32_t, sizeof(leat_store_spec)), 0u

/** The one symbol that a plugin exports. Any thread; always the same pointer. */
LEAT_EXPORT const leat_operator *leat_operator_entry(void);

/* ---- Parameters: in init only -------------------------------------------------------------- */

/* Checked before init, so they cannot fail: STRING serves ENUM too, INT serves DURATION (ms) and
 * SIZE (bytes). An unknown name is a bug: the host aborts with a line. Strings live until close. */

static inline const char *leat_param_string(leat_context *ctx, const char *name)
{
    return LEAT_HOST(ctx)->param_string(ctx, name);
}
static inline int64_t leat_param_int(leat_context *ctx, const char *name)
{
    return LEAT_HOST(ctx)->param_int(ctx, name);
}
static inline double leat_param_double(leat_context *ctx, const char *name)
{
    return LEAT_HOST(ctx)->param_double(ctx, name);
}
static inline bool leat_param_bool(leat_context *ctx, const char *name)
{
    return LEAT_HOST(ctx)->param_bool(ctx, name);
}
static inline size_t leat_param_count(leat_context *ctx, const char *name)
{
    return LEAT_HOST(ctx)->param_count(ctx, name);
}
static inline const char *leat_param_item(leat_context *ctx, const char *name, size_t i)
{
    return LEAT_HOST(ctx)->param_item(ctx, name, i);
}

/* ---- Set-up: in init only -------------------------------------------------------------------- */

/** Opens a declared store; valid until close. */
static inline leat_status leat_store_open(leat_context *ctx, const char *name, leat_store **store)
{
    return LEAT_HOST(ctx)->store_open(ctx, name, store);
}
/** A periodic timer with a null key, counted from the start (stream time: from the first record).
 *  Missed ticks are skipped; it is not durable. interval_ms > 0. */
static inline leat_status leat_schedule(leat_context *ctx, leat_time_kind kind, int64_t interval_ms,
                                        uint32_t id)
{
    return LEAT_HOST(ctx)->schedule(ctx, kind, interval_ms, id);
}

/* ---- Forwarding: in process and timer -------------------------------------------------------- */

/** Hands key, value, headers and timestamp to every node fed by `output` (index in descriptor
 *  order). Has finished with them on return; origin fields are ignored. A failure below comes back
 *  from here, and the record's fate is settled whatever the caller then returns. */
static inline leat_status leat_forward(leat_context *ctx, uint32_t output,
                                       const leat_record *record)
{
    return LEAT_HOST(ctx)->forward(ctx, output, record);
}

/* ---- Stores ---------------------------------------------------------------------------------- */

/** In init, process, timer. LEAT_NOT_FOUND if absent; the view lives until the next write to that
 *  store or the end of the callback. */
static inline leat_status leat_get(leat_store *store, leat_bytes key, leat_bytes *value)
{
    return LEAT_HOST(store)->get(store, key, value);
}
/** In process and timer. A null value removes. LEAT_ERR_RECORD if key or value exceed the limits;
 *  nothing is written then and the record stays alive: what the operator returns decides. */
static inline leat_status leat_put(leat_store *store, leat_bytes key, leat_bytes value)
{
    return LEAT_HOST(store)->put(store, key, value);
}
/** In process and timer. Removing the absent is LEAT_OK. */
static inline leat_status leat_remove(leat_store *store, leat_bytes key)
{
    return LEAT_HOST(store)->remove(store, key);
}
/** In init, process, timer. Byte order over [from, to), null = open end. LEAT_REVERSE walks the
 *  same range from its largest key down; LEAT_PREFIX: `from` is a prefix, `to` is ignored. Sees
 *  this transaction's own writes; stays valid across writes and sees those ahead of it. A cursor
 *  left open closes with the callback. */
static inline leat_status leat_scan(leat_store *store, leat_bytes from, leat_bytes to,
                                    uint32_t flags, leat_cursor **cursor)
{
    return LEAT_HOST(store)->scan(store, from, to, flags, cursor);
}
/** LEAT_NOT_FOUND at the end. The views live until the next leat_next on this cursor, the next
 *  write to its store, or the end of the callback. */
static inline leat_status leat_next(leat_cursor *cursor, leat_bytes *key, leat_bytes *value)
{
    return LEAT_HOST(cursor)->next(cursor, key, value);
}
/** NULL is allowed. */
static inline void leat_cursor_close(leat_cursor *cursor)
{
    if (cursor) {
        LEAT_HOST(cursor)->cursor_close(cursor);
    }
}

/* ---- Timers: in process and timer ------------------------------------------------------------ */

/** A durable keyed timer; its identity is (node, kind, id, time, key). Survives restart and machine
 *  loss, fires exactly once. `key` may be null. Set in the past: fires right
 *  after this callback. */
static inline leat_status leat_timer_set(leat_context *ctx, leat_time_kind kind, uint32_t id,
                                         int64_t time_ms, leat_bytes key)
{
    return LEAT_HOST(ctx)->timer_set(ctx, kind, id, time_ms, key);
}
/** Cancelling the absent is LEAT_OK. */
static inline leat_status leat_timer_cancel(leat_context *ctx, leat_time_kind kind, uint32_t id,
                                            int64_t time_ms, leat_bytes key)
{
    return LEAT_HOST(ctx)->timer_cancel(ctx, kind, id, time_ms, key);
}

/* ---- In any callback ------------------------------------------------------------------------- */

/** Largest timestamp this task has taken in, ms, the current record's included; INT64_MIN before
 *  the first. */
static inline int64_t leat_stream_time(leat_context *ctx)
{
    return LEAT_HOST(ctx)->stream_time(ctx);
}
/** Wall time at the callback's start, Unix ms. */
static inline int64_t leat_wall_time(leat_context *ctx)
{
    return LEAT_HOST(ctx)->wall_time(ctx);
}
/** In process and timer. Memory until the callback returns; never NULL, aligned for max_align_t. */
static inline void *leat_scratch(leat_context *ctx, size_t size)
{
    return LEAT_HOST(ctx)->scratch(ctx, size);
}
/** Sets the text of a failure, 1 KiB at most, and returns `status`: return leat_fail(...). */
LEAT_FORMAT(3, 4)
static inline leat_status leat_fail(leat_context *ctx, leat_status status, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return LEAT_HOST(ctx)->fail(ctx, status, text);
}
/** One log line that carries node and task; 1 KiB at most. */
LEAT_FORMAT(3, 4)
static inline void leat_log(leat_context *ctx, leat_log_level level, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    LEAT_HOST(ctx)->log(ctx, level, text);
}
/** Adds to a metric that carries node and task; shown in the statistics line of `run`. */
static inline void leat_count(leat_context *ctx, const char *name, int64_t delta)
{
    LEAT_HOST(ctx)->count(ctx, name, delta);
}
/** In process and timer. Asks for a commit after this record. */
static inline void leat_request_commit(leat_context *ctx)
{
    LEAT_HOST(ctx)->request_commit(ctx);
}
/** The task's partition number. */
static inline int32_t leat_partition(leat_context *ctx)
{
    return LEAT_HOST(ctx)->partition(ctx);
}
/** The node's name in the topology file; lives until close. */
static inline const char *leat_node(leat_context *ctx)
{
    return LEAT_HOST(ctx)->node(ctx);
}
/** An optional group of functions ("leat.name/1"); NULL if this host has none of that name. */
static inline const void *leat_extension(leat_context *ctx, const char *id)
{
    return LEAT_HOST(ctx)->extension(ctx, id);
}

#ifdef __cplusplus
} /* extern "C" */
#endif

/*
 * Change log of the ABI
 *   0.1  first version
 */
#endif
