/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/kafka_version.h"
#include "base/status.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>

/* RD_KAFKA_VERSION is 0xMMmmrrxx; xx is 0xff for a release. */
void kafka_library_version(char *built, char *running, size_t size)
{
    ensure(size >= 16);
    unsigned version = RD_KAFKA_VERSION;
    (void)snprintf(built, size, "%u.%u.%u", version >> 24, (version >> 16) & 0xff,
                   (version >> 8) & 0xff);
    (void)snprintf(running, size, "%s", rd_kafka_version_str());
}
