/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/kafka_handle.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* How long a destroy may hang before the process is ended instead. */
enum { DESTROY_LIMIT_MS = 20000, FETCH_SIZE_MAX = 52428800, TROUBLE_AGAIN_MS = 5000 };

int kafka_timeout(int64_t ms)
{
    return ms < 0 ? 0 : ms > INT_MAX ? INT_MAX : (int)ms;
}

/* ---- Configuration ---- */

enum { ON_READERS = 1, ON_MEMBER = 2, ON_PRODUCER = 4, ON_ALL = 7 };

struct setting {
    const char *name, *value;
    int roles;
    int since; /* rd_kafka_version() that knows it; 0 = always */
};

/* May be overridden by broker.properties; reasons in the protocol's section on librdkafka. */
static const struct setting defaults[] = {
    {"client.id", "leat", ON_ALL, 0},
    {"socket.nagle.disable", "true", ON_ALL, 0},
    {"reconnect.backoff.max.ms", "500", ON_ALL, 0},
    {"message.max.bytes", "17825792", ON_ALL, 0},
    {"log.connection.close", "false", ON_ALL, 0},
    {"socket.timeout.ms", "10000", ON_READERS | ON_MEMBER, 0},
    {"fetch.wait.max.ms", "20", ON_READERS | ON_MEMBER, 0},
    {"fetch.error.backoff.ms", "50", ON_READERS | ON_MEMBER, 0},
    {"fetch.queue.backoff.ms", "10", ON_READERS | ON_MEMBER, 0x020200ff},
    {"check.crcs", "true", ON_READERS | ON_MEMBER, 0},
    {"linger.ms", "5", ON_PRODUCER, 0},
    {"queue.buffering.max.messages", "1000000", ON_PRODUCER, 0},
    {"queue.buffering.max.kbytes", "131072", ON_PRODUCER, 0},
    {"enable.metrics.push", "false", ON_ALL, 0x020500ff},
};

/* Refused in broker.properties, so these always hold. */
static const struct setting fixed[] = {
    {"retry.backoff.ms", "5", ON_ALL, 0},
    {"log.queue", "false", ON_ALL, 0},
    {"allow.auto.create.topics", "false", ON_READERS | ON_MEMBER, 0},
    {"enable.auto.commit", "false", ON_READERS | ON_MEMBER, 0},
    {"enable.auto.offset.store", "false", ON_READERS | ON_MEMBER, 0},
    {"auto.offset.reset", "error", ON_READERS | ON_MEMBER, 0},
    {"enable.partition.eof", "true", ON_READERS | ON_MEMBER, 0},
    {"queued.min.messages", "10000000", ON_READERS | ON_MEMBER, 0},
    {"partition.assignment.strategy", "range", ON_MEMBER, 0},
    {"enable.idempotence", "true", ON_PRODUCER, 0},
};

static int role_bit(enum kafka_role role)
{
    ensure(role <= KAFKA_PRODUCER);
    return role == KAFKA_PRODUCER ? ON_PRODUCER : role == KAFKA_MEMBER ? ON_MEMBER : ON_READERS;
}

enum status kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value,
                           struct error *error)
{
    ensure(conf != NULL && name != NULL && value != NULL);
    char words[256];
    if (rd_kafka_conf_set(conf, name, value, words, sizeof words) == RD_KAFKA_CONF_OK) {
        return STATUS_OK;
    }
    return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG, "librdkafka %s refuses %s: %s",
                     rd_kafka_version_str(), name, words);
}

enum status kafka_conf_set_integer(rd_kafka_conf_t *conf, const char *name, int64_t value,
                                   struct error *error)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%lld", (long long)value);
    return kafka_conf_set(conf, name, text, error);
}

static enum status set_table(rd_kafka_conf_t *conf, const struct setting *table, size_t count,
                             enum kafka_role role, struct error *error)
{
    ensure(conf != NULL && table != NULL);
    for (size_t i = 0; i < count; i++) {
        if ((table[i].roles & role_bit(role)) == 0 || rd_kafka_version() < table[i].since) {
            continue;
        }
        if (kafka_conf_set(conf, table[i].name, table[i].value, error) != STATUS_OK) {
            return error->status;
        }
    }
    return STATUS_OK;
}

static enum status set_properties(rd_kafka_conf_t *conf, const char *scope,
                                  const struct kafka_property_list *list, struct error *error)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct broker_property *property = &list->items[i];
        ensure(property->name != NULL && property->value != NULL);
        char words[256];
        if (rd_kafka_conf_set(conf, property->name, property->value, words, sizeof words) ==
            RD_KAFKA_CONF_OK) {
            continue;
        }
        /* librdkafka's words repeat the value. */
        return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                         "broker.%s: librdkafka %s refuses \"%s\": %s", scope,
                         rd_kafka_version_str(), property->name,
                         property->secret ? "its value is not legal" : words);
    }
    return STATUS_OK;
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    ensure(low <= high);
    return value < low ? low : value > high ? high : value;
}

/* Sizes and times that come from keys of the topology file. */
static enum status set_derived(rd_kafka_conf_t *conf, struct broker_kafka *broker,
                               enum kafka_role role, struct error *error)
{
    ensure(broker->prefetch_size >= 0 && broker->session_timeout_ms >= 0);
    if (role == KAFKA_PRODUCER) {
        return STATUS_OK;
    }
    /* A reader's limit holds for each of its queues, a member's for all partitions together. */
    int64_t prefetch = role == KAFKA_MEMBER ? broker->prefetch_size : broker->prefetch_size / 4;
    int64_t fetch = clamp(prefetch, KAFKA_RECORD_MAX + 1024, FETCH_SIZE_MAX);
    if (kafka_conf_set_integer(conf, "queued.max.messages.kbytes",
                               clamp(prefetch / 1024, 1, 2097151), error) != STATUS_OK ||
        kafka_conf_set_integer(conf, "fetch.max.bytes", fetch, error) != STATUS_OK) {
        return error->status;
    }
    if (role != KAFKA_MEMBER) {
        return STATUS_OK;
    }
    int64_t session = broker->session_timeout_ms;
    int64_t callback =
        broker->callback_timeout_ms < session ? session : broker->callback_timeout_ms;
    if (kafka_conf_set_integer(conf, "session.timeout.ms", session, error) != STATUS_OK ||
        kafka_conf_set_integer(conf, "heartbeat.interval.ms", clamp(session / 4, 1, 300), error) !=
            STATUS_OK ||
        kafka_conf_set_integer(conf, "max.poll.interval.ms", callback, error) != STATUS_OK) {
        return error->status;
    }
    return STATUS_OK;
}

rd_kafka_conf_t *kafka_conf(struct broker_kafka *broker, enum kafka_role role,
                            bool read_uncommitted, struct error *error)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    const struct kafka_property_list *own =
        role == KAFKA_PRODUCER ? &broker->producer : &broker->consumer;
    const char *scope = role == KAFKA_PRODUCER ? "producer" : "consumer";
    bool uncommitted = role == KAFKA_PROBE || read_uncommitted;
    if (set_table(conf, defaults, sizeof defaults / sizeof *defaults, role, error) == STATUS_OK &&
        set_properties(conf, "properties", &broker->common, error) == STATUS_OK &&
        set_properties(conf, scope, own, error) == STATUS_OK &&
        set_table(conf, fixed, sizeof fixed / sizeof *fixed, role, error) == STATUS_OK &&
        set_derived(conf, broker, role, error) == STATUS_OK &&
        (role == KAFKA_PRODUCER ||
         kafka_conf_set(conf, "isolation.level",
                        uncommitted ? "read_uncommitted" : "read_committed", error) == STATUS_OK)) {
        return conf;
    }
    rd_kafka_conf_destroy(conf);
    return NULL;
}

/* ---- Log ---- */

/* Remembers why the brokers do not answer: connection failures reach nobody otherwise. Whether it
   is news: each handle meets the same trouble, again and again. */
static bool remember_trouble(struct broker_kafka *broker, const char *text)
{
    const char *begin = strstr(text, "]: "); /* "[thrd:NAME]: NAME: TROUBLE (after 3ms in ...)" */
    begin = begin == NULL ? text : begin + 3;
    for (const char *name; (name = strstr(begin, ": ")) != NULL &&
                           memchr(begin, ' ', (size_t)(name - begin)) == NULL;) {
        begin = name + 2;
    }
    const char *end = strstr(begin, " (after ");
    size_t size = end == NULL ? strlen(begin) : (size_t)(end - begin);
    size = size < sizeof broker->trouble ? size : sizeof broker->trouble - 1;
    ensure(size < sizeof broker->trouble);
    int64_t now = clock_monotonic_ms(clock_system());
    ensure(pthread_mutex_lock(&broker->lock) == 0);
    bool news = strncmp(broker->trouble, begin, size) != 0 || broker->trouble[size] != 0 ||
                now - broker->trouble_ms >= TROUBLE_AGAIN_MS;
    if (news) {
        broker->trouble_ms = now;
    }
    (void)snprintf(broker->trouble, sizeof broker->trouble, "%.*s", (int)size, begin);
    broker->denied = strstr(text, "uthentication") != NULL || strstr(text, "SSL") != NULL ||
                     strstr(text, "uthoriz") != NULL;
    ensure(pthread_mutex_unlock(&broker->lock) == 0);
    return news;
}

/* Lines about what a call answers too, or what librdkafka asks again for. */
static bool is_answered(const char *facility)
{
    return strcmp(facility, "TXNERR") == 0 || strcmp(facility, "ERROR") == 0 ||
           strcmp(facility, "MAXPOLL") == 0 || strcmp(facility, "GETPID") == 0;
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    const struct kafka_handle *handle = rd_kafka_opaque(rk);
    if (strcmp(facility, "CONFWARN") == 0) { /* one set of properties serves both kinds */
        return;
    }
    if (level <= 4 && !is_answered(facility)) { /* syslog's warning */
        bool failed = strcmp(facility, "FAIL") == 0;
        if (failed && handle != NULL && !remember_trouble(handle->broker, text)) {
            return;
        }
        log_warn("librdkafka", "%s: %s", facility, text);
    } else {
        log_debug("librdkafka", "%s: %s", facility, text);
    }
}

/* ---- Rule 8 ---- */

static rd_kafka_resp_err_t on_response(rd_kafka_t *rk, int fd, const char *name, int32_t id,
                                       int16_t key, int16_t version, int32_t correlation,
                                       size_t size, int64_t rtt, rd_kafka_resp_err_t code,
                                       void *opaque)
{
    (void)rk, (void)fd, (void)name, (void)id, (void)version, (void)correlation;
    (void)size, (void)rtt;
    struct kafka_handle *handle = opaque;
    ensure(handle != NULL);
    enum { PRODUCE = 0, ADD_PARTITIONS = 24, ADD_OFFSETS = 25, END = 26, COMMIT_OFFSETS = 28 };
    bool ours = key == PRODUCE || key == ADD_PARTITIONS || key == ADD_OFFSETS || key == END ||
                key == COMMIT_OFFSETS;
    if (ours && code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        atomic_store_explicit(&handle->suspect, true, memory_order_relaxed);
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_new(rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *opaque,
                                  char *words, size_t size)
{
    ensure(opaque != NULL);
    (void)conf, (void)words, (void)size;
    return rd_kafka_interceptor_add_on_response_received(rk, "leat", on_response, opaque);
}

/* ---- Life ---- */

enum status kafka_handle_open(struct kafka_handle *handle, struct broker_kafka *broker,
                              enum kafka_role role, rd_kafka_conf_t *conf, struct error *error)
{
    ensure(handle->rk == NULL);
    handle->broker = broker;
    atomic_store(&handle->suspect, false);
    rd_kafka_conf_set_opaque(conf, handle);
    rd_kafka_conf_set_log_cb(conf, on_log);
    if (role == KAFKA_PRODUCER) {
        rd_kafka_resp_err_t code =
            rd_kafka_conf_interceptor_add_on_new(conf, "leat", on_new, handle);
        ensure(code == RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    char words[256];
    rd_kafka_type_t type = role == KAFKA_PRODUCER ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER;
    handle->rk = rd_kafka_new(type, conf, words, sizeof words);
    if (handle->rk == NULL) {
        rd_kafka_conf_destroy(conf);
        return error_set(error, STATUS_BAD_CONFIG, ERROR_CONFIG,
                         "librdkafka %s refuses the settings together: %s", rd_kafka_version_str(),
                         words);
    }
    return STATUS_OK;
}

struct watchdog {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool done;
    const char *name;
};

static void *watch(void *opaque)
{
    struct watchdog *watchdog = opaque;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += DESTROY_LIMIT_MS / 1000;
    ensure(pthread_mutex_lock(&watchdog->lock) == 0);
    int code = 0;
    while (!watchdog->done && code != ETIMEDOUT) {
        code = pthread_cond_timedwait(&watchdog->ended, &watchdog->lock, &until);
        ensure(code == 0 || code == ETIMEDOUT);
    }
    if (!watchdog->done) {
        log_error("librdkafka",
                  "closing handle %s hangs for %d s: the process ends here; its "
                  "next start recovers",
                  watchdog->name, DESTROY_LIMIT_MS / 1000);
        _exit(1);
    }
    ensure(pthread_mutex_unlock(&watchdog->lock) == 0);
    return NULL;
}

void kafka_handle_close(struct kafka_handle *handle)
{
    if (handle->rk == NULL) {
        return;
    }
    struct watchdog watchdog = {.lock = PTHREAD_MUTEX_INITIALIZER,
                                .name = rd_kafka_name(handle->rk)};
    char name[64];
    (void)snprintf(name, sizeof name, "%s", watchdog.name);
    watchdog.name = name;
    pthread_condattr_t attributes;
    ensure(pthread_condattr_init(&attributes) == 0);
    ensure(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    ensure(pthread_cond_init(&watchdog.ended, &attributes) == 0);
    (void)pthread_condattr_destroy(&attributes);
    pthread_t thread;
    bool watched = pthread_create(&thread, NULL, watch, &watchdog) == 0;

    rd_kafka_destroy(handle->rk); /* closes a member too */
    handle->rk = NULL;

    if (watched) {
        ensure(pthread_mutex_lock(&watchdog.lock) == 0);
        watchdog.done = true;
        ensure(pthread_cond_signal(&watchdog.ended) == 0);
        ensure(pthread_mutex_unlock(&watchdog.lock) == 0);
        ensure(pthread_join(thread, NULL) == 0);
    }
    ensure(pthread_cond_destroy(&watchdog.ended) == 0);
    ensure(pthread_mutex_destroy(&watchdog.lock) == 0);
}
