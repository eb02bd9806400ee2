#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills the real binary at random and proves that nothing was lost or done twice.

    tests/crash/crash.py [--broker local|kafka|kafka:HOST:PORT] [--topology all|copy|count|regroup]
                         [--kills N] [--zombies N] [--instances K] [--minutes M] [--seed S] [--keep]

Instances are killed with SIGKILL, stopped for longer than the session time-out and woken up again,
stopped orderly, started again, some without their state directory, while input flows and an
independent reader follows the committed output. Then all input is drained and compared: the output with a
recomputation from the input, per key and in order; the state with the output; the reader's view with
a second read. The seed decides what is done and when (not how the system's threads interleave); it
is printed, and --seed repeats the plan. `--broker kafka` starts a Kafka of its own.
"""
import argparse
import collections
import random
import sys
import threading
import time

sys.dont_write_bytecode = True  # the clone stays as it is
from application import Application, Failure, Kafka, build_directory, expect, wait_until

PARTITIONS = 4
KEYS = 40


def topology_copy(config):
    config["sources"] = {"in": {"topic": "?in"}}
    config["sinks"] = {"out": {"topic": "?out", "from": "in"}}


def topology_count(config):
    config["sources"] = {"in": {"topic": "?in"}}
    config["operators"] = {"count": {"use": "aggregate", "from": "in"}}
    config["sinks"] = {"out": {"topic": "?out", "from": "count"}}


def topology_regroup(config):
    config["sources"] = {"in": {"topic": "?in"}}
    config["operators"] = {"words": {"use": "split", "from": "in"},
                           "count": {"use": "aggregate", "from": "by_word"}}
    config["repartitions"] = {"by_word": {"from": "words", "partitions": 3}}
    config["sinks"] = {"out": {"topic": "?out", "from": "count"}}


TOPOLOGIES = {"copy": topology_copy, "count": topology_count, "regroup": topology_regroup}


class Trial:
    """One topology under fire."""

    def __init__(self, options, kind, kills, zombies):
        self.options, self.kind = options, kind
        self.kills_left, self.zombies_left = kills, zombies
        self.random = random.Random(f"{options.seed}/{kind}")
        kafka = options.broker != "local"
        self.session_s = 6 if kafka else 2
        config = {
            "broker": {"kind": "local", "directory": "data", "session_timeout": f"{self.session_s}s",
                       "transaction_timeout": f"{self.session_s}s",
                       "membership": self.random.choice(["static", "static", "dynamic"])},
            "workers": self.random.choice([1, 1, 2]),
            "commit": {"interval": self.random.choice(["20ms", "50ms", "100ms"])},
            "state": {"directory": "state", "durability": self.random.choice(["durable", "fast"]),
                      "flush_interval": self.random.choice(["0ms", "0ms", "200ms"])},
        }
        TOPOLOGIES[kind](config)
        self.application = Application(config, options.broker, f"crash-{kind}")
        for part in ("sources", "sinks"):
            for node in self.application.config[part].values():
                node["topic"] = self.application.topic(node["topic"][1:])
        self.application.write()
        self.source, self.sink = self.application.topic("in"), self.application.topic("out")
        self.names = ["a", "b", "c", "d", "e", "f", "g", "h"][:options.instances]
        self.running = {}
        self.fed = []  # (key, value) in the order of production
        self.feeding = True
        self.feed_failure = None
        self.done = collections.Counter()

    # ---- Input ----

    def feed(self):
        """Produces batches, each with a process of its own, until told to end."""
        source = random.Random(f"{self.options.seed}/{self.kind}/feed")
        try:
            while self.feeding:
                batch = []
                for _ in range(source.randrange(1, 800)):
                    key = f"k{int(source.triangular(0, KEYS, 0))}"
                    value = str(len(self.fed) + len(batch))
                    if self.kind == "regroup":
                        value = " ".join(f"w{int(source.triangular(0, KEYS, 0))}"
                                         for _ in range(source.randrange(0, 4))) or "w0"
                    batch.append((key, value))
                self.application.produce(self.source, [f"{key}\t{value}" for key, value in batch])
                self.fed += batch
                time.sleep(source.uniform(0, 0.2))
        except Exception as error:  # pylint: disable=broad-except
            self.feed_failure = error

    def expected_counts(self):
        if self.kind == "regroup":
            return collections.Counter(word for _, value in self.fed for word in value.split())
        return collections.Counter(key for key, _ in self.fed)

    # ---- Faults ----

    def start(self, name):
        self.running[name] = self.application.start(name)

    def check_alive(self):
        if self.feed_failure:
            raise self.feed_failure
        for instance in self.running.values():
            expect(instance.alive(), f"instance {instance.name} ended by itself with exit code "
                                     f"{instance.process.poll()}:\n{instance.tail()}")

    def kill(self):
        name = self.random.choice(sorted(self.running))
        self.running.pop(name).kill()
        self.kills_left -= 1
        self.done["kills"] += 1
        if self.random.random() < 0.25:
            self.application.delete_state(name)
            self.done["state directories deleted"] += 1

    def zombie(self):
        """Stopped for longer than the session time-out, so that the others take over; then it wakes."""
        instance = self.running[self.random.choice(sorted(self.running))]
        instance.stop()
        time.sleep(self.session_s + self.random.uniform(0.5, 2))
        instance.resume()
        self.zombies_left -= 1
        self.done["zombies"] += 1

    def leave(self):
        name = self.random.choice(sorted(self.running))
        self.running.pop(name).terminate()
        self.done["orderly stops"] += 1

    def faults(self):
        deadline = time.monotonic() + self.options.minutes * 60 if self.options.minutes else None
        while self.kills_left > 0 or self.zombies_left > 0:
            if deadline and time.monotonic() > deadline:
                break
            # Mostly all instances run; sometimes some are missing for a while.
            absent = [name for name in self.names if name not in self.running]
            for name in absent:
                if not self.running or self.random.random() < 0.8:
                    self.start(name)
            # A third of the kills hits the start and the recovery, the others the steady state.
            fresh = self.random.random() < 0.33
            time.sleep(self.random.uniform(0, 0.25) if fresh else self.random.uniform(0.2, 1.5))
            self.check_alive()
            chance = self.random.random()
            if self.zombies_left > 0 and (self.kills_left == 0 or chance < 0.12):
                self.zombie()
            elif chance > 0.9:
                self.leave()
            elif self.kills_left > 0:
                self.kill()

    # ---- The proof ----

    def check_order(self, records, what):
        """Per key: counts are 1, 2, 3, ... in order; copies are the input of that key in order."""
        last = collections.Counter()
        wanted = collections.defaultdict(list)
        if self.kind == "copy":
            for key, value in self.fed:
                wanted[key].append(value)
        for partition, offset, key, value in records:
            last[key] += 1
            number = last[key]
            if self.kind == "copy":
                right = wanted[key][number - 1] if number <= len(wanted[key]) else "nothing more"
            else:
                right = str(number)
            expect(value == right, f"{what}: partition {partition} offset {offset}: key {key} has "
                                   f"{value}, expected {right}")
        expected = self.expected_counts()
        for key in expected.keys() | last.keys():
            expect(last[key] == expected[key], f"{what}: key {key} has {last[key]} records, expected "
                                               f"{expected[key]}")

    def finish(self, reader):
        self.feeding = False
        self.feeder.join()
        self.check_alive()
        for instance in self.running.values():
            instance.terminate()
        self.application.drain(self.names)
        again = self.application.consume(self.sink)
        wait_until(lambda: len(reader.records) >= len(again) or reader.process.poll() is not None, 15,
                   f"the reader sees all {len(again)} records (it saw {len(reader.records)})")
        seen = list(reader.records)
        self.check_order(seen, "the continuous reader")
        self.check_order(again, "the output")
        expect(sorted(seen) == sorted(again), "the continuous reader saw other records than a second read")
        if self.kind != "copy":
            state = self.application.scan("count/state")
            expected = {key: str(count) for key, count in self.expected_counts().items()}
            expect(state == expected, f"the state differs: {sorted(set(state.items()) ^ set(expected.items()))[:6]}")
        return len(again)

    def run(self):
        begin = time.monotonic()
        self.application.create_topic(self.source, PARTITIONS)
        self.application.create_topic(self.sink, 2)
        reader = self.application.read(self.sink)
        self.feeder = threading.Thread(target=self.feed, daemon=True)
        self.feeder.start()
        self.faults()
        count = self.finish(reader)
        expect(count > 0, "there was no output at all")
        what = ", ".join(f"{number} {name}" for name, number in self.done.items())
        config = self.application.config
        print(f"crash: {self.kind} on {self.options.broker.split(':')[0]}, {len(self.names)} instances, "
              f"{config['workers']} workers, {config['broker']['membership']}, "
              f"{config['state']['durability']}: {what}; {len(self.fed)} records in, {count} out, exact "
              f"({time.monotonic() - begin:.0f} s)", flush=True)


def share(total, parts, index):
    return total // parts + (1 if index < total % parts else 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--broker", default="local")
    parser.add_argument("--topology", default="all", choices=["all", *TOPOLOGIES])
    parser.add_argument("--kills", type=int, default=50, help="over all topologies")
    parser.add_argument("--zombies", type=int, default=5, help="over all topologies")
    parser.add_argument("--instances", type=int, default=2, choices=range(1, 9), metavar="1-8")
    parser.add_argument("--minutes", type=float, default=0, help="end earlier, per topology")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--keep", action="store_true", help="keep the directory")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 31)
    print(f"crash: {build_directory()}/topology, --seed {options.seed}", flush=True)
    kafka = None
    trial = None
    failed = False
    try:
        if options.broker == "kafka":
            kafka = Kafka()
            options.broker = kafka.spec
        kinds = list(TOPOLOGIES) if options.topology == "all" else [options.topology]
        for index, kind in enumerate(kinds):
            trial = Trial(options, kind, share(options.kills, len(kinds), index),
                          share(options.zombies, len(kinds), index))
            trial.run()
            trial.feeding = False
            trial.application.close(options.keep)
            trial = None
    except Failure as failure:
        failed = True
        print(f"crash: FAILED (--seed {options.seed}): {failure}", file=sys.stderr)
    finally:
        if trial is not None:
            trial.feeding = False
            trial.application.close(True)
            print(f"crash: everything is left in {trial.application.directory}", file=sys.stderr)
        if kafka is not None:
            kafka.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
