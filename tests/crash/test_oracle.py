#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The oracle of the kill tests must say yes to what is right and no to everything else: each topology's right
output is made from a made input, then spoilt in every way that exactly-once forbids."""
import random
import sys
import zlib

sys.dont_write_bytecode = True  # the clone stays as it is
from application import Failure
from kafka_log import CONTROL, TRANSACTIONAL, lost_markers
from topologies import TOPOLOGIES


def partition_of(key, count):
    return zlib.crc32(key.encode()) % count


def made_input(topology, source):
    """Inputs as the source topic would hold them: four partitions, each with a key's records in order."""
    rows, ends = [], [0] * 4
    records = [topology.record(source, number) for number in range(700)]
    for number, (key, value) in enumerate(records + topology.last_records()):
        partition = partition_of(key, 4)
        time_ms = 1000 + number + (100000 if value == "flush" else 0)
        rows.append((partition, ends[partition], key, value, time_ms))
        ends[partition] += 1
    return sorted(rows)


def right_output(topology, inputs, source):
    """Per output the lanes of each key, interleaved at random, in two partitions."""
    outputs = {}
    for output, lanes in topology.expected(inputs).items():
        records, ends = [], [0, 0]
        order = [lane for lane, values in lanes.items() for _ in values]
        source.shuffle(order)
        waiting = {lane: iter(values) for lane, values in lanes.items()}
        for lane in order:
            partition = partition_of(lane[0], 2)
            records.append((partition, ends[partition], lane[0], next(waiting[lane])))
            ends[partition] += 1
        outputs[output] = records
    return outputs


def renumbered(records):
    ends, result = [0, 0, 0], []
    for partition, _, key, value in records:
        result.append((partition, ends[partition], key, value))
        ends[partition] += 1
    return result


def lost(records, at, _):
    return renumbered(records[:at] + records[at + 1:])


def doubled(records, at, _):
    return renumbered(records[:at] + [records[at]] + records[at:])


def doubled_at_the_end(records, at, _):
    return renumbered(records + [records[at]])


def tail_lost(records, _at, _):
    return records[:-1]


def swapped_with_the_next_of_its_lane(records, at, lane):
    for later in range(at + 1, len(records)):
        if records[later][2] == records[at][2] and lane(records[later][3]) == lane(records[at][3]):
            one, two = records[at], records[later]
            changed = list(records)
            changed[at], changed[later] = (*one[:3], two[3]), (*two[:3], one[3])
            return changed
    return None


def of_another_key(records, at, _):
    partition, offset, _, value = records[at]
    return records[:at] + [(partition, offset, "k-nobody", value)] + records[at + 1:]


def altered(records, at, _):
    partition, offset, key, value = records[at]
    return records[:at] + [(partition, offset, key, "9" + value)] + records[at + 1:]


def in_another_partition(records, at, _):
    _, _, key, value = records[at]
    alone = sum(record[2] == key for record in records) == 1
    return None if alone else renumbered(records[:at] + [(2, 0, key, value)] + records[at + 1:])


def undone_and_done_again(records, at, _):
    """What a reader of aborted records would see."""
    return renumbered(records[:at] + records[max(0, at - 5):at] + records[at:])


SPOILERS = (lost, doubled, doubled_at_the_end, tail_lost, swapped_with_the_next_of_its_lane, of_another_key, altered,
            in_another_partition, undone_and_done_again)


def says_no(topology, inputs, outputs):
    try:
        topology.check(inputs, outputs, "the output")
    except Failure:
        return True
    return False


def check_lost_markers():
    """Of one partition's log: (hanging, swallowed)."""
    ongoing, prepared, complete = 1, 2, 4

    def log(*rows):
        return [(TRANSACTIONAL | (CONTROL if marker else 0), producer, epoch, b"", 1)
                for producer, epoch, marker in rows]
    cases = [
        (log((7, 0, False), (7, 0, True), (7, 1, False), (7, 1, True)), {7: ("a/b/0", 1, complete)}, [], []),
        (log((7, 0, False)), {7: ("a/b/0", 0, complete)}, [(7, 0)], []),
        (log((7, 0, False)), {7: ("a/b/0", 1, complete)}, [(7, 0)], []),
        (log((7, 0, False)), {7: ("a/b/0", 0, prepared)}, [], []),
        (log((7, 0, False)), {7: ("a/b/0", 0, ongoing)}, [], []),
        (log((7, 0, False), (8, 3, False), (7, 0, False), (8, 3, True), (7, 0, True)), {}, [], []),
        (log((7, 0, False), (8, 0, True), (7, 3, False), (7, 3, True)), {7: ("a/b/0", 3, complete)}, [], [(7, 0)]),
    ]
    for number, (batches, states, hanging, swallowed) in enumerate(cases):
        found = lost_markers(batches, states)
        assert found == (hanging, swallowed), f"log {number}: {found}"


def main():
    check_lost_markers()
    source = random.Random(1)
    tried = 0
    for name, kind in TOPOLOGIES.items():
        topology = kind()
        inputs = made_input(topology, source)
        outputs = right_output(topology, inputs, source)
        assert not says_no(topology, inputs, outputs), f"{name}: what is right is refused"
        assert says_no(topology, inputs, {output: [] for output in outputs}), f"{name}: nothing at all is accepted"
        for output, records in outputs.items():
            for spoil in SPOILERS:
                for at in source.sample(range(1, len(records)), 10):
                    spoilt = spoil(records, at, topology.lane)
                    if spoilt is None:
                        continue  # there is nothing to spoil in this way
                    tried += 1
                    assert says_no(topology, inputs, {**outputs, output: spoilt}), \
                        f"{name}: {spoil.__name__} at {at} of {output} is accepted"
    print(f"{tried} spoilt outputs refused, {len(TOPOLOGIES)} right ones accepted")


if __name__ == "__main__":
    main()
