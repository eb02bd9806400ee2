/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka_own.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void own_script(const struct kafka_own *own, const char *command)
{
    char line[2048];
    (void)snprintf(line, sizeof line, "%s/scripts/kafka %s --port %d --directory %s >/dev/null",
                   LEAT_SOURCE_DIR, command, own->port, own->directory);
    cr_assert_eq(system(line), 0, "%s", line);
}

void own_start(struct kafka_own *own, int number, const char *options)
{
    own->port = LEAT_KAFKA_OWN_PORT + 2 * number;
    (void)snprintf(own->directory, sizeof own->directory, "%s/kafka_own_%d", LEAT_BINARY_DIR,
                   number);
    (void)snprintf(own->address, sizeof own->address, "127.0.0.1:%d", own->port);
    own->servers = (struct broker_property){.name = "bootstrap.servers", .value = own->address};
    own_script(own, "down --remove"); /* of a run that was killed */
    char command[1536];
    (void)snprintf(command, sizeof command, "up %s", options);
    own_script(own, command);
}

/* Each thread stops when it is told, not when kill returns. */
static bool is_stopped(int pid)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    cr_assert_not_null(tasks, "%s", path);
    bool stopped = true;
    for (struct dirent *entry; stopped && (entry = readdir(tasks)) != NULL;) {
        char line[512] = "";
        char name[400];
        (void)snprintf(name, sizeof name, "%s/%s/stat", path, entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(name, "r");
        if (file != NULL) {
            const char *end = fgets(line, sizeof line, file) == NULL ? NULL : strrchr(line, ')');
            stopped = end == NULL || end[2] == 'T';
            (void)fclose(file);
        }
    }
    (void)closedir(tasks);
    return stopped;
}

/* The pid is the one that scripts/kafka noted. */
void own_signal(const struct kafka_own *own, int number)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s/pid", own->directory);
    FILE *file = fopen(path, "r");
    int pid = 0;
    cr_assert(file != NULL && fscanf(file, "%d", &pid) == 1 && pid > 1);
    (void)fclose(file);
    cr_assert_eq(kill(pid, number), 0);
    while (number == SIGSTOP && !is_stopped(pid)) {
        clock_sleep_ms(clock_system(), 1);
    }
}

void own_stop(const struct kafka_own *own)
{
    own_script(own, "down --remove");
}
