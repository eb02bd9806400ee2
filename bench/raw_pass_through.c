/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raw_pass_through: every input record to the output, unchanged, on the same partition number,
 * exactly once. The yardstick of a topology with one sink that is fed by a source.
 */
#include "raw_loop.h"

int main(int argc, char **argv)
{
    struct loop loop;
    loop_open(&loop, argc, argv);
    while (!loop_ended(&loop)) {
        rd_kafka_message_t *record = loop_take(&loop);
        if (record != NULL) {
            loop_send(&loop, loop.output_topic, record->partition, record->key, record->key_len,
                      record->payload, record->len);
            rd_kafka_message_destroy(record);
        }
        if (loop_due(&loop)) {
            loop_commit(&loop);
        }
    }
    loop_close(&loop);
    return 0;
}
