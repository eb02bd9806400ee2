/* SPDX-License-Identifier: Apache-2.0 */
/* Config rules: defaults that depend on other keys, and the rules that join several. See
 * config_read.h. */
#include "topology/config_read.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* The node of `a.b`, or the nearest one above it that is there. */
static const struct config_node *find(const struct config_reader *reader, const char *a,
                                      const char *b)
{
    const struct config_node *outer = config_node_child(reader->root, a);
    const struct config_node *inner = b == NULL ? NULL : config_node_child(outer, b);
    ensure(reader->root != NULL);
    return inner != NULL ? inner : outer != NULL ? outer : reader->root;
}

/* The host name, with what an instance name does not allow replaced. */
static enum status default_instance(const struct config_reader *reader, struct config *config,
                                    struct error *error)
{
    char name[256] = "";
    if (gethostname(name, sizeof name - 1) != 0) {
        *name = 0;
    }
    name[CONFIG_NAME_SIZE] = 0;
    for (char *at = name; *at != 0; at++) {
        if (!isascii(*at) || (!isalnum(*at) && strchr("._-", *at) == NULL)) {
            *at = '-';
        }
    }
    if (*name == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return config_node_error(reader, reader->root, error,
                                 "expected the key \"instance\", found none and no host name to "
                                 "take its place");
    }
    config->instance = config_copy(reader->arena, name, strlen(name));
    ensure(strlen(config->instance) <= CONFIG_NAME_SIZE);
    return STATUS_OK;
}

static enum status fill_defaults(const struct config_reader *reader, struct config *config,
                                 struct error *error)
{
    struct config_node in_file = {.line = 1};
    if (config->state.directory == NULL) {
        config->state.directory = config_join(
            reader, &in_file, config_format(reader->arena, "%s.state", config->application));
    }
    if (config->broker.directory == NULL) {
        config->broker.directory = config_join(
            reader, &in_file, config_format(reader->arena, "%s.data", config->application));
    }
    const struct config_node *operators = config_node_child(reader->root, "operators");
    const struct config_node *node = operators == NULL ? NULL : operators->first;
    for (; node != NULL; node = node->next) {
        ensure(node->index < config->operator_count);
        if (config_node_child(node, "on_error") == NULL) {
            config->operators[node->index].on_error = config->on_error;
        }
    }
    for (size_t i = 0; i < config->repartition_count; i++) {
        struct config_repartition *repartition = &config->repartitions[i];
        repartition->topic = config_format(reader->arena, "%s-%s-repartition", config->application,
                                           repartition->name);
        ensure(strlen(repartition->topic) <= CONFIG_TOPIC_SIZE);
    }
    return config->instance != NULL ? STATUS_OK : default_instance(reader, config, error);
}

/* `a.b` where it is written, else `c.d`, else the nearest one above. */
static const struct config_node *find_either(const struct config_reader *reader,
                                             const char *const first[2],
                                             const char *const second[2])
{
    const struct config_node *node = find(reader, first[0], first[1]);
    const char *wanted = first[1] != NULL ? first[1] : first[0];
    ensure(node != NULL);
    bool written = node->key != NULL && strcmp(node->key, wanted) == 0;
    return written ? node : find(reader, second[0], second[1]);
}

/* The group is not polled between the tries of a record. */
static enum status check_retries(const struct config_reader *reader, const struct config *config,
                                 struct error *error)
{
    ensure(config->callback_timeout_ms > 0);
    for (size_t i = 0; i < config->operator_count; i++) {
        const struct config_operator *tried = &config->operators[i];
        if (tried->retries > 0 &&
            tried->backoff_ms > config->callback_timeout_ms / 2 / tried->retries) {
            char limit[32];
            config_key_format(KEY_DURATION, config->callback_timeout_ms, limit, sizeof limit);
            return config_node_error(
                reader, find(reader, "operators", tried->name), error,
                "expected retries x backoff at most half of callback_timeout "
                "(%s), found %lld x %lld ms; the group would give the worker up",
                limit, (long long)tried->retries, (long long)tried->backoff_ms);
        }
    }
    return STATUS_OK;
}

static enum status check_times(const struct config_reader *reader, const struct config *config,
                               struct error *error)
{
    static const char *const interval[] = {"commit", "interval"};
    static const char *const transaction[] = {"broker", "transaction_timeout"};
    static const char *const session[] = {"broker", "session_timeout"};
    static const char *const callback[] = {"callback_timeout", NULL};
    const struct config_broker *broker = &config->broker;
    char limit[32];
    char given[32];
    ensure(broker->transaction_timeout_ms > 0 && config->callback_timeout_ms > 0);
    if (config->commit.interval_ms > broker->transaction_timeout_ms / 2) {
        config_key_format(KEY_DURATION, broker->transaction_timeout_ms, limit, sizeof limit);
        config_key_format(KEY_DURATION, config->commit.interval_ms, given, sizeof given);
        return config_node_error(reader, find_either(reader, interval, transaction), error,
                                 "expected commit.interval at most half of "
                                 "broker.transaction_timeout (%s), found %s; a transaction would "
                                 "be aborted before its commit",
                                 limit, given);
    }
    if (broker->session_timeout_ms > config->callback_timeout_ms) {
        config_key_format(KEY_DURATION, config->callback_timeout_ms, limit, sizeof limit);
        config_key_format(KEY_DURATION, broker->session_timeout_ms, given, sizeof given);
        return config_node_error(reader, find_either(reader, session, callback), error,
                                 "expected broker.session_timeout at most callback_timeout (%s), "
                                 "found %s",
                                 limit, given);
    }
    if (config->internal_topics.replication_factor == 0) {
        return config_node_error(reader, find(reader, "internal_topics", "replication_factor"),
                                 error,
                                 "expected 1 or more, or -1 for the broker's default, "
                                 "found 0");
    }
    return check_retries(reader, config, error);
}

static const struct named_value *find_property(const struct config_properties *properties,
                                               const char *name)
{
    ensure(name != NULL);
    for (size_t i = 0; i < properties->count; i++) {
        if (strcmp(properties->items[i].name, name) == 0) {
            return &properties->items[i];
        }
    }
    return NULL;
}

/* One of "host", "host:port", "[::1]:port", each perhaps behind "PROTOCOL://". */
static bool is_loopback(const char *server, size_t size)
{
    char host[256];
    if (size >= sizeof host) {
        return false;
    }
    memcpy(host, server, size);
    host[size] = 0;
    const char *scheme = strstr(host, "://");
    char *at = scheme == NULL ? host : host + (scheme - host) + 3;
    if (*at == '[') {
        return strncmp(at, "[::1]", 5) == 0 && (at[5] == 0 || at[5] == ':');
    }
    if (strcmp(at, "::1") == 0) {
        return true;
    }
    at[strcspn(at, ":")] = 0;
    ensure(strlen(at) < sizeof host);
    bool address = strncmp(at, "127.", 4) == 0 && strspn(at, "0123456789.") == strlen(at);
    return address || strcasecmp(at, "localhost") == 0;
}

static bool all_loopback(const char *servers)
{
    size_t count = 0;
    ensure(servers != NULL);
    for (const char *at = servers; *at != 0;) {
        at += strspn(at, " \t,");
        size_t size = strcspn(at, ",");
        size_t trimmed = size;
        while (trimmed > 0 && (at[trimmed - 1] == ' ' || at[trimmed - 1] == '\t')) {
            trimmed--;
        }
        if (trimmed > 0) {
            count++;
            if (!is_loopback(at, trimmed)) {
                return false;
            }
        }
        at += size;
    }
    return count > 0;
}

/* `name` may stand in none of the scopes from the first one given on. */
static enum status refuse_property(const struct config_reader *reader, const struct config *config,
                                   size_t first, const char *name, const char *expected,
                                   struct error *error)
{
    static const char *const scope_names[] = {"properties", "consumer", "producer"};
    const struct config_properties *const scopes[] = {
        &config->broker.common, &config->broker.consumer, &config->broker.producer};
    const struct config_node *broker = find(reader, "broker", NULL);
    ensure(first < 3);
    for (size_t i = first; i < 3; i++) {
        if (find_property(scopes[i], name) != NULL) {
            const struct config_node *scope = config_node_child(broker, scope_names[i]);
            return config_node_error(reader, config_node_child(scope, name), error,
                                     "expected %s, found it here", expected);
        }
    }
    return STATUS_OK;
}

static enum status check_kafka(const struct config_reader *reader, const struct config *config,
                               struct error *error)
{
    static const char *const shared = "it in broker.properties, where all clients share it";
    enum status status = refuse_property(reader, config, 1, "bootstrap.servers", shared, error);
    if (status == STATUS_OK) {
        status = refuse_property(reader, config, 1, "security.protocol", shared, error);
    }
    if (status == STATUS_OK) {
        status = refuse_property(reader, config, 0, "metadata.broker.list",
                                 "the brokers in bootstrap.servers alone", error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    const struct named_value *servers = find_property(&config->broker.common, "bootstrap.servers");
    const struct config_node *properties = find(reader, "broker", "properties");
    if (servers == NULL || servers->value.text[strspn(servers->value.text, " ,")] == 0) {
        return config_node_error(reader, properties, error,
                                 "expected the property \"bootstrap.servers\" (broker.kind is "
                                 "kafka), found none");
    }
    ensure(servers->value.kind == VALUE_STRING);
    if (find_property(&config->broker.common, "security.protocol") == NULL &&
        !all_loopback(servers->value.text)) {
        return config_node_error(reader, properties, error,
                                 "expected the property \"security.protocol\", found none; write "
                                 "it out (ssl, sasl_ssl, plaintext, sasl_plaintext) unless every "
                                 "bootstrap server is on loopback");
    }
    return STATUS_OK;
}

static enum status check_sources(const struct config_reader *reader, struct error *error)
{
    const struct config_node *sources = config_node_child(reader->root, "sources");
    ensure(sources != NULL);
    for (const struct config_node *node = sources->first; node != NULL; node = node->next) {
        const struct config_node *topic = config_node_child(node, "topic");
        const struct config_node *topics = config_node_child(node, "topics");
        if (topic == NULL && topics == NULL) {
            return config_node_error(reader, node, error,
                                     "expected the key \"topic\" or \"topics\", found none");
        }
        if (topic != NULL && topics != NULL) {
            return config_node_error(reader, topics, error,
                                     "expected either \"topic\" or \"topics\", found both");
        }
    }
    return STATUS_OK;
}

struct named_node {
    const char *name;
    const struct config_node *node;
    size_t place; /* in the file's order of sections */
};

static int compare_named(const void *a, const void *b)
{
    const struct named_node *left = a;
    const struct named_node *right = b;
    ensure(left->name != NULL && right->name != NULL);
    int order = strcmp(left->name, right->name);
    return order != 0 ? order : (left->place > right->place) - (left->place < right->place);
}

/* Sources, operators, repartitions and sinks share one space of names. */
static enum status check_names(const struct config_reader *reader, const struct config *config,
                               struct error *error)
{
    static const char *const sections[] = {"sources", "operators", "repartitions", "sinks"};
    size_t size = config->source_count + config->operator_count + config->repartition_count +
                  config->sink_count;
    struct named_node *all = config_take(reader->arena, size * sizeof *all);
    size_t count = 0;
    for (size_t i = 0; i < 4; i++) {
        const struct config_node *section = config_node_child(reader->root, sections[i]);
        for (const struct config_node *node = section == NULL ? NULL : section->first; node != NULL;
             node = node->next, count++) {
            ensure(count < size);
            all[count] = (struct named_node){node->key, node, count};
        }
    }
    ensure(count == size);
    qsort(all, count, sizeof *all, compare_named);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(all[i - 1].name, all[i].name) == 0) {
            const struct config_node *first = all[i - 1].node;
            return config_node_error(reader, all[i].node, error,
                                     "expected a name of its own, found that of %s on line %d",
                                     config_node_path(reader->arena, first),
                                     config_node_line(first));
        }
    }
    return STATUS_OK;
}

struct topic_place {
    const char *topic;
    const struct config_node *node;
    size_t place;
};

static int compare_topics(const void *a, const void *b)
{
    const struct topic_place *left = a;
    const struct topic_place *right = b;
    ensure(left->node != NULL && right->node != NULL);
    int order = strcmp(left->topic, right->topic);
    return order != 0 ? order : (left->place > right->place) - (left->place < right->place);
}

static const char *internal_owner(const struct config *config, const char *topic)
{
    ensure(topic != NULL);
    for (size_t i = 0; i < config->repartition_count; i++) {
        if (strcmp(config->repartitions[i].topic, topic) == 0) {
            return config->repartitions[i].name;
        }
    }
    return NULL;
}

/* A topic is read by one source: its committed offset is one, so two readers would share it. */
static enum status check_topics(const struct config_reader *reader, const struct config *config,
                                struct error *error)
{
    const struct config_node *sources = config_node_child(reader->root, "sources");
    size_t size = 0;
    for (size_t i = 0; i < config->source_count; i++) {
        size += config->sources[i].topic_count;
    }
    struct topic_place *all = config_take(reader->arena, size * sizeof *all);
    size_t count = 0;
    for (const struct config_node *node = sources->first; node != NULL; node = node->next) {
        const struct config_source *source = &config->sources[node->index];
        ensure(strcmp(source->name, node->key) == 0);
        const struct config_node *topic = config_node_child(node, "topic");
        const struct config_node *item = config_node_child(node, "topics");
        item = item == NULL ? NULL : item->first;
        for (size_t i = 0; i < source->topic_count; i++, count++) {
            const struct config_node *place = topic != NULL ? topic : item;
            all[count] = (struct topic_place){source->topics[i], place, count};
            const char *owner = internal_owner(config, source->topics[i]);
            if (owner != NULL) {
                return config_node_error(reader, place, error,
                                         "expected a topic of others, found the internal one of "
                                         "the repartition \"%s\"; feed from \"%s\" instead",
                                         owner, owner);
            }
            item = item == NULL ? NULL : item->next;
        }
    }
    ensure(count == size);
    qsort(all, count, sizeof *all, compare_topics);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(all[i - 1].topic, all[i].topic) == 0) {
            return config_node_error(reader, all[i].node, error,
                                     "expected a topic that no other source reads, found \"%s\" "
                                     "of %s; let one source read it and feed all from that",
                                     all[i].topic,
                                     config_node_path(reader->arena, all[i - 1].node));
        }
    }
    return STATUS_OK;
}

static enum status check_sinks(const struct config_reader *reader, const struct config *config,
                               struct error *error)
{
    const struct config_node *sinks = config_node_child(reader->root, "sinks");
    const struct config_node *node = sinks == NULL ? NULL : sinks->first;
    for (; node != NULL; node = node->next) {
        ensure(node->index < config->sink_count);
        const char *owner = internal_owner(config, config->sinks[node->index].topic);
        if (owner != NULL) {
            return config_node_error(reader, config_node_child(node, "topic"), error,
                                     "expected a topic of others, found the internal one of the "
                                     "repartition \"%s\"; feed that instead",
                                     owner);
        }
    }
    return STATUS_OK;
}

enum status config_check_rules(const struct config_reader *reader, struct config *config,
                               struct error *error)
{
    ensure(config->application != NULL);
    enum status status = fill_defaults(reader, config, error);
    if (status == STATUS_OK) {
        status = check_times(reader, config, error);
    }
    if (status == STATUS_OK && config->broker.kind == CONFIG_BROKER_KAFKA) {
        status = check_kafka(reader, config, error);
    }
    if (status == STATUS_OK) {
        status = check_names(reader, config, error);
    }
    if (status == STATUS_OK) {
        status = check_sources(reader, error);
    }
    if (status == STATUS_OK) {
        status = check_topics(reader, config, error);
    }
    return status == STATUS_OK ? check_sinks(reader, config, error) : status;
}
