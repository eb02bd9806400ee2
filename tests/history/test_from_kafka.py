#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What from-kafka reads of a broker (local or kafka) is judged as it is: clean, then with one wrong record.

    tests/history/test_from_kafka.py local|kafka
"""
import pathlib
import re
import subprocess
import sys

sys.dont_write_bytecode = True  # the clone stays as it is
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "crash"))
from application import Application, Failure, Kafka, build_directory, expect  # pylint: disable=wrong-import-position

CONFIG = {"sources": {"in": {"topic": "in"}}, "operators": {"count": {"use": "aggregate", "from": "in"}},
          "sinks": {"out": {"topic": "out", "from": "count"}}}
RECORDS = [f"k{i % 7}\tvalue {i} \u00e9\U0001f512" for i in range(300)]


def judge(application, code, wanted):
    """The last lines of check-history; they must match."""
    kafka = application.broker.startswith("kafka:")
    source = ["--servers", application.broker[len("kafka:"):], "--group", application.name] if kafka \
        else ["--file", str(application.file), "--topology", str(build_directory() / "topology")]
    made = subprocess.run([HERE / "from-kafka", "--kind", "count", "--input", "in", "--output", "out", *source],
                          capture_output=True, check=False)
    expect(made.returncode == 0, f"from-kafka: exit code {made.returncode}: {made.stderr.decode()}")
    done = subprocess.run([build_directory() / "tests" / "check-history", "-"], input=made.stdout,
                          capture_output=True, check=False)
    text = done.stdout.decode() + done.stderr.decode()
    expect(done.returncode == code and re.search(wanted, text),
           f"check-history: exit code {done.returncode}, not {code} with {wanted}:\n{text}")
    return text.splitlines()[-1]


def trial(broker):
    application = Application(CONFIG, broker, "history")
    try:
        for topic in ("in", "out"):
            application.create_topic(topic, 3)
        for begin in range(0, len(RECORDS), 100):
            application.produce("in", RECORDS[begin:begin + 100])
            application.drain()
        last = judge(application, 0, r"inputs=300 outputs=300 anomalies=0")
        # Not yet counted: its key has no output at the tail; a Kafka's group says that it is behind.
        application.produce("in", ["k1\tmore"])
        judge(application, 1, r"position +1" if broker != "local" else r"unseen +1")
        application.drain()
        application.produce("out", ["k2\t17"])
        judge(application, 1, r"duplicate +1")
        return last
    finally:
        application.close(False)


def main():
    if sys.argv[1:] not in (["local"], ["kafka"]):
        print(__doc__, file=sys.stderr)
        return 2
    kafka = Kafka() if sys.argv[1] == "kafka" else None
    try:
        print(f"from-kafka, {sys.argv[1]}: {trial(kafka.spec if kafka else 'local')}")
        return 0
    except Failure as failure:
        print(f"test_from_kafka: {failure}", file=sys.stderr)
        return 1
    finally:
        if kafka:
            kafka.close()


if __name__ == "__main__":
    sys.exit(main())
