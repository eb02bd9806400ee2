# SPDX-License-Identifier: Apache-2.0
"""Writes what a trial saw as a history (docs/history.md), and has it judged by check-history, which shares
nothing with the oracle of topologies.py."""
import json
import os
import subprocess

from application import build_directory, expect


class History:
    """The history of one trial, in a file of its directory."""

    def __init__(self, path):
        self.path = path
        self.file = open(path, "w", encoding="utf-8")

    def write(self, event, **fields):
        json.dump({"event": event, **fields}, self.file, separators=(",", ":"))
        self.file.write("\n")

    def topology(self, kind, source, sinks, group):
        self.write("topology", kind=kind, input=[source], output=sinks, group=group)

    def sends(self, topic, fed):
        for key, value, outcome in fed:
            self.write("send", topic=topic, key=key, value=value, outcome=outcome)

    def reads(self, reader, topic, records):
        for partition, offset, key, value, *_ in records:
            self.write("read", reader=reader, topic=topic, partition=partition, offset=offset, key=key,
                       value=value)

    def ends(self, reader, topic, offsets):
        for partition, offset in offsets.items():
            self.write("end", reader=reader, topic=topic, partition=partition, offset=offset)

    def judge(self):
        """A Failure unless it is clean."""
        self.file.close()
        checker = build_directory() / "tests" / "check-history"
        expect(os.access(checker, os.X_OK), f"{checker} is missing: build the target check-history")
        done = subprocess.run([checker, self.path], capture_output=True, text=True, timeout=120, check=False)
        expect(done.returncode == 0, f"check-history {self.path}: exit code {done.returncode}:\n"
                                     f"{done.stdout[-3000:]}{done.stderr[-1000:]}")
