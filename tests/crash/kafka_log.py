# SPDX-License-Identifier: Apache-2.0
"""Reads Kafka's own logs, for one question: did the broker lose the marker of a transaction?

A broker that is killed between the decision of a transaction and its markers may, after its restart, write the
decision's completion without the markers (4.3.1, where a partition has no leader: docs/kafka.md). Either the
transaction hangs: its records stay invisible, and its partition's last stable offset stays for ever. Or the same
producer goes on, and its next marker covers the old records too: what was aborted becomes visible with a commit, what
was committed is dropped with an abort. No client can see or repair that, so a trial that meets it proves nothing
either way. Nothing here is taken from Leat: only files of the broker are read.
"""
import os
import pathlib
import signal
import struct
import subprocess
import time

COMPLETE = {0, 4, 5}  # Empty, CompleteCommit, CompleteAbort
TRANSACTIONAL, CONTROL = 16, 32


def batches(path):
    """(attributes, producer id, epoch, records as bytes, their count) of each batch of a log file."""
    data, at = path.read_bytes(), 0
    while at + 61 <= len(data):
        size, = struct.unpack_from(">i", data, at + 8)
        if size <= 0:
            return
        attributes, = struct.unpack_from(">h", data, at + 21)
        producer, epoch = struct.unpack_from(">qh", data, at + 43)
        count, = struct.unpack_from(">i", data, at + 57)
        yield attributes, producer, epoch, data[at + 61:at + 12 + size], count
        at += 12 + size


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return (value >> 1) ^ -(value & 1), at


def rows(records, count):
    """(key, value) of uncompressed records; b"" stands for none."""
    at = 0
    for _ in range(count):
        size, at = varint(records, at)
        end = at + size
        at += 1
        for _ in range(2):
            _, at = varint(records, at)
        row = []
        for _ in range(2):
            length, at = varint(records, at)
            row.append(records[at:at + max(length, 0)])
            at += max(length, 0)
        yield tuple(row)
        at = end


def transaction_states(data_directory):
    """{producer id: (transactional id, epoch, state)} as the coordinator last wrote it."""
    states = {}
    for path in sorted(pathlib.Path(data_directory).glob("__transaction_state-*/*.log")):
        for _, _, _, records, count in batches(path):
            for key, value in rows(records, count):
                if value:  # else the id was removed
                    _, producer, epoch, _, state = struct.unpack_from(">hqhib", value)
                    states[producer] = (key[4:].decode(), epoch, state)
    return states


def lost_markers(batches_in_order, states):
    """(hanging, swallowed) of one partition: producers with the epoch of a transaction that has no marker although
    the coordinator calls it complete; "swallowed" where a later epoch of the producer wrote after it. A new
    epoch is given out only when all markers of the one before are written."""
    pending, swallowed = {}, []
    for attributes, producer, epoch, *_ in batches_in_order:
        if attributes & CONTROL:
            pending.pop(producer, None)
        elif attributes & TRANSACTIONAL:
            if epoch > pending.get(producer, epoch):
                swallowed.append((producer, pending[producer]))
            pending[producer] = epoch
    hanging = [(producer, epoch) for producer, epoch in pending.items()
               if producer in states and states[producer][2] in COMPLETE and states[producer][1] >= epoch]
    return hanging, swallowed


def find_lost_markers(kafka_directory, application):
    """(hanging, swallowed), as text, over the application's partitions and its transactions' offsets."""
    data = pathlib.Path(kafka_directory, "data")
    states = transaction_states(data)
    own = {producer for producer, (name, *_) in states.items() if name.startswith(f"{application}/")}
    found = ([], [])
    for directory in sorted([*data.glob(f"{application}-*"), *data.glob("__consumer_offsets-*")]):
        known = own if directory.name.startswith("__") else states  # also of who feeds the source
        log = (batch for path in sorted(directory.glob("*.log")) for batch in batches(path) if batch[1] in known)
        for texts, producers in zip(found, lost_markers(log, states)):
            texts += [f"{directory.name}: producer {producer} epoch {epoch}" for producer, epoch in producers]
    return found


def examine(kafka, application, directory):
    """Keeps what a broker of one's own has (its index files are sparse) in directory/kafka, and finds the lost
    markers there: (hanging, swallowed)."""
    time.sleep(2)  # the last markers
    os.kill(kafka.pid(), signal.SIGSTOP)  # so that all files are of one moment
    subprocess.run(["cp", "-r", "--sparse=always", kafka.directory, str(directory / "kafka")], check=False)
    os.kill(kafka.pid(), signal.SIGCONT)
    return find_lost_markers(directory / "kafka", application)
