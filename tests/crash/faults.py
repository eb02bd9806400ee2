#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Single faults against the real binary, each a small named test.

    tests/crash/faults.py [--broker local|kafka|kafka:HOST:PORT] [--list] [--keep] NAME...|all

Each ends either in full recovery, proved by a recomputation from the input, or in a clear error that
names the thing and the remedy, with nothing lost. `--broker kafka` starts a Kafka of its own.
"""
import argparse
import collections
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # the clone stays as it is
from application import (Application, Failure, Kafka, build_directory, expect, wait_until)
from kafka_log import examine

FAULTS = {}


def fault(*brokers):
    def register(function):
        FAULTS[function.__name__] = (brokers, function)
        return function
    return register


class Counting:
    """An application that counts per key, with its input remembered."""

    def __init__(self, test, config=None, operator=None, topics=True, **more):
        base = {
            "broker": {"kind": "local", "directory": "data", "session_timeout": "4s",
                       "transaction_timeout": "8s"},
            "sources": {"in": {"topic": "?in"}},
            "operators": {"count": {"use": "aggregate", "from": "in", **(operator or {})}},
            "sinks": {"out": {"topic": "?out", "from": "count"}},
            **(config or {}),
        }
        self.application = test.application(base, **more)
        self.fed = []
        for part in ("sources", "sinks"):
            for node in base.get(part, {}).values():
                if node["topic"].startswith("?"):
                    node["topic"] = self.application.topic(node["topic"][1:])
        self.application.config.update(base)
        self.application.write()
        self.source, self.sink = self.application.topic("in"), self.application.topic("out")
        if topics:
            self.application.create_topic(self.source, 2)
            self.application.create_topic(self.sink, 2)

    def feed(self, count, keys=20, size=0, key_size=0):
        first = len(self.fed)
        lines = [(f"k{n % keys}".ljust(key_size, "-"), f"{n}{'x' * size}") for n in range(first, first + count)]
        self.application.produce(self.source, [f"{key}\t{value}" for key, value in lines])
        self.fed += [key for key, _ in lines]

    def check(self, state=True):
        """Every key's counts are 1, 2, 3, ... to the number of its inputs; the state says the same."""
        expected = collections.Counter(self.fed)
        seen = self.counts()
        # A transaction of a dead instance that does not come back hides a tail until its time is over.
        deadline = time.monotonic() + 30
        while expected - seen and not seen - expected and time.monotonic() < deadline:
            seen = self.counts()
        expect(seen == expected, f"the counts differ: {dict((seen - expected) + (expected - seen))}")
        if state:
            found = self.application.scan("count/state")
            expect(found == {key: str(count) for key, count in expected.items()}, "the state differs")

    def counts(self):
        seen = collections.Counter()
        for partition, offset, key, value in self.application.consume(self.sink):
            seen[key] += 1
            expect(value == str(seen[key]), f"partition {partition} offset {offset}: key {key} has "
                                            f"{value}, expected {seen[key]}")
        return seen


def expect_text(text, *words):
    for word in words:
        expect(word in text, f'"{word}" is not named in:\n{text[-3000:]}')


class Test:
    """What a fault is given."""

    def __init__(self, broker, kafka):
        self.broker, self.kafka = broker, kafka
        self.applications = []

    @property
    def on_kafka(self):
        return self.broker != "local"

    def application(self, config, name="fault"):
        application = Application(config, self.broker, name)
        self.applications.append(application)
        return application


# ---- Processes and state ----

@fault("local", "kafka")
def second_process_with_one_instance_name_names_the_pid(test):
    counting = Counting(test)
    counting.feed(500)
    application = counting.application
    first = application.start("a")
    wait_until(lambda: len(application.consume(counting.sink)) == 500, 30, "500 records are counted")
    second = application.start("a", "--set", "broker.connect_timeout=5s")
    code = second.wait(60)
    expect(code == 1, f"the second process: exit code {code}, not 1:\n{second.tail()}")
    expect_text(second.text(), str(first.process.pid))
    expect(first.alive(), "the first process ended")
    counting.feed(100)
    first.terminate()
    application.drain()
    counting.check()


def damaged_store(test, damage):
    counting = Counting(test)
    counting.feed(3000)
    application = counting.application
    application.drain()
    files = sorted(application.state_directory("a").rglob("data.mdb"))
    expect(files, f"no data.mdb below {application.state_directory('a')}")
    for file in files:
        damage(file)
    counting.feed(1000)
    application.drain()
    counting.check()


def handover(instance, what):
    """After a rebalance: which tasks went on and how long they paused; those must not have restored."""
    last = instance.text().rpartition("component=group revoked")[2]
    paused = {task: int(ms) for ms, task in re.findall(r"resumed ms=(\d+) task=(\S+)", last)}
    restored = set(re.findall(r"restored records=.* task=(\S+)", last))
    expect(paused, f"{what}: no task of {instance.name} went on")
    expect(not restored & set(paused), f"{what}: {instance.name} restored {restored & set(paused)}")
    return list(paused.values())


@fault("local", "kafka")
def tasks_that_stay_go_on_when_others_join_leave_and_die(test):
    counting = Counting(test, {"broker": {"kind": "local", "directory": "data", "session_timeout": "3s",
                                          "membership": "dynamic"}}, topics=False)
    application = counting.application
    for topic in (counting.source, counting.sink):
        application.create_topic(topic, 6)

    def tasks(instance):
        return {event[2] for event in re.findall(r"task (running|resumed) ms=(\d+) task=(\S+)",
                                                 instance.text().rpartition("group revoked")[2])}

    def settled(*sizes):
        counting.feed(120, keys=60)
        return [len(tasks(instance)) for instance in living] == list(sizes)

    living = [application.start("a")]
    wait_until(lambda: settled(6), 30, "one instance runs six tasks")
    pauses = []
    for step, sizes in (("b joins", (3, 3)), ("c joins", (2, 2, 2)), ("b leaves", (3, 3)), ("c dies", (6,))):
        name, act = step.split()
        if act == "joins":
            living.append(application.start(name))
        else:
            gone = next(instance for instance in living if instance.name == name)
            living.remove(gone)
            gone.terminate() if act == "leaves" else gone.kill()
        wait_until(lambda: sorted(len(tasks(x)) for x in living) == sorted(sizes) and settled(*sizes), 30,
                   f"{step}: the tasks are shared again")
        pauses += handover(living[0], step)
    expect(statistics.median(pauses) <= 100, f"tasks that stayed paused for {pauses} ms")
    living[0].terminate()
    application.drain()
    counting.check(state=False)
    application.run_command("state", "count", "count/state")


@fault("local", "kafka")
def a_truncated_store_is_restored(test):
    damaged_store(test, lambda file: os.truncate(file, file.stat().st_size // 2))


@fault("local")
def an_empty_store_file_is_restored(test):
    damaged_store(test, lambda file: os.truncate(file, 0))


@fault("local")
def a_garbage_store_is_restored(test):
    damaged_store(test, lambda file: file.write_bytes(os.urandom(file.stat().st_size)))


@fault("local", "kafka")
def a_deleted_state_directory_is_restored(test):
    counting = Counting(test)
    counting.feed(3000)
    counting.application.drain()
    counting.application.delete_state("a")
    counting.feed(1000)
    counting.application.drain()
    counting.check()


@fault("local")
def a_full_disk_stops_and_nothing_is_lost(test):
    """The state directory is a small tmpfs (in a mount namespace of this test alone)."""
    counting = Counting(test)
    application = counting.application
    state = application.directory / "state"
    state.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "leat-test", str(state)]
    subprocess.run(mount, check=True)
    try:
        counting.feed(20000, keys=20000, key_size=100)
        text = application.run_to_failure(1)
        expect_text(text, str(state))
        expect("full" in text.lower() or "space" in text.lower(), f"a full disk is not named:\n{text}")
        subprocess.run(["mount", "-o", "remount,size=256m", str(state)], check=True)
        application.drain()
        counting.check()
    finally:
        for instance in application.instances:
            if instance.alive():
                instance.kill()
        subprocess.run(["umount", "-l", str(state)], check=False)


@fault("local")
def a_changelog_is_compacted_while_instances_die(test):
    """Each kill may find the embedded broker rewriting the log that the next start restores from."""
    counting = Counting(test, {"commit": {"interval": "20ms", "records": 2000}}, topics=False)
    application = counting.application
    for topic in (counting.source, counting.sink):
        application.create_topic(topic, 1)
    passes = 0
    for number in range(6):
        counting.feed(40000, keys=4000, key_size=400)
        instance = application.start("a", "--debug", "broker")
        time.sleep(0.8 + 0.2 * number)
        instance.kill()
        passes += instance.text().count("compacted topic=")
        if number % 3 == 2:
            application.delete_state("a")
    application.drain(("a",), 90, "--debug", "broker")
    passes += application.instances[-1].text().count("compacted topic=")
    expect(passes > 0, "the changelog was never compacted")
    application.delete_state("a")
    application.drain()
    counting.check()


# ---- Topics ----

@fault("local", "kafka")
def a_missing_output_topic_is_named_and_not_created(test):
    counting = Counting(test, topics=False)
    application = counting.application
    application.create_topic(counting.source, 2)
    counting.feed(10)
    text = application.run_to_failure(1)
    expect_text(text, counting.sink, "topics", f"create {counting.sink}")
    expect(counting.sink not in application.run_command("topics", "list"), "it was created")
    application.create_topic(counting.sink, 2)
    application.drain()
    counting.check()


@fault("local", "kafka")
def a_missing_input_topic_is_named_and_not_created(test):
    counting = Counting(test, topics=False)
    application = counting.application
    application.create_topic(counting.sink, 2)
    text = application.run_to_failure(1)
    expect_text(text, counting.source, f"create {counting.source}")
    expect(counting.source not in application.run_command("topics", "list"), "it was created")


@fault("local", "kafka")
def a_deleted_changelog_stops_with_the_way_on(test):
    counting = Counting(test)
    application = counting.application
    counting.feed(1000)
    application.drain()
    changelog = f"{application.name}-in-changelog"
    expect_text(application.run_command("topics", "list"), changelog)
    application.run_command("topics", "delete", changelog)
    counting.feed(500)
    text = application.run_to_failure(1)
    expect_text(text, changelog, "--continue-from")
    before = len(application.consume(counting.sink))
    expect(before == 1000, f"{before} results, though it must not process")
    # The state is gone with its changelog: the way on is an empty one, and only the new input counts.
    application.drain(("a",), 90, "--continue-from", "empty")
    after = application.consume(counting.sink)[0:]
    expect(len(after) == 1500, f"{len(after)} results, expected 1500")
    state = application.scan("count/state")
    expect(sum(map(int, state.values())) == 500, "the state does not hold the new input alone")


@fault("local", "kafka")
def a_renamed_source_stops_with_the_way_on(test):
    counting = Counting(test)
    application = counting.application
    counting.feed(1000)
    application.drain()
    application.config["sources"] = {"renamed": {"topic": counting.source}}
    application.config["operators"]["count"]["from"] = "renamed"
    application.write()
    counting.feed(500)
    text = application.run_to_failure(1)
    expect_text(text, counting.source, "--continue-from")
    application.config["sources"] = {"in": {"topic": counting.source}}
    application.config["operators"]["count"]["from"] = "in"
    application.write()
    application.drain()
    counting.check()


@fault("local")
def an_added_store_starts_empty_with_a_warning(test):
    counting = Counting(test)
    application = counting.application
    counting.feed(1000)
    application.drain()
    application.config["operators"]["seen"] = {"use": "distinct", "from": "in"}
    application.config["sinks"]["firsts"] = {"topic": counting.sink + "-firsts", "from": "seen"}
    application.write()
    application.create_topic(counting.sink + "-firsts", 2)
    counting.feed(500)
    application.drain()
    counting.check()
    expect_text(application.instances[-1].text(), "seen")
    firsts = application.consume(counting.sink + "-firsts")
    expect(len(firsts) == 20, f"{len(firsts)} first sights of 20 keys")


@fault("local", "kafka")
def a_committed_offset_out_of_retention_stops(test):
    counting = Counting(test, topics=False)
    application = counting.application
    settings = ["retention.ms=1000"]
    if test.on_kafka:
        settings += ["segment.bytes=1048576", "file.delete.delay.ms=100"]
    application.create_topic(counting.source, 1, *settings)
    application.create_topic(counting.sink, 2)
    counting.feed(10)
    application.drain()
    counting.feed(2000, size=1000)

    def first_offset():
        application.produce(counting.source, ["late\t1"])  # retention looks at what is closed
        try:
            first = application.run_command("consume", counting.source, "--count", "1",
                                            "--until-end", "--format", "json")
        except Failure:
            return 0  # it was dropped between being found and being read
        return json.loads(first)["offset"]
    wait_until(lambda: first_offset() > 10, 60, "the broker dropped records beyond their retention")
    text = application.run_to_failure(1)
    expect_text(text, counting.source, "on_offset_lost", "10")
    application.config["sources"]["in"]["on_offset_lost"] = "earliest"
    application.write()
    application.produce(counting.source, ["fresh\t1"])
    application.drain()
    expect(application.scan("count/state").get("fresh") == "1", "the new record was not counted")


# ---- Records ----

@fault("local", "kafka")
def a_bad_record_stops_or_is_skipped(test):
    counting = Counting(test, operator={"params": {"function": "sum"}})
    application = counting.application
    application.produce(counting.source, ["k\t1", "k\tten", "k\t2"])
    text = application.run_to_failure(1)
    expect_text(text, counting.source, "count", "on_error")
    expect(len(application.consume(counting.sink)) <= 1, "it went on behind a bad record")
    application.config["operators"]["count"]["on_error"] = "skip"
    application.write()
    application.drain()
    values = [value for _, _, _, value in application.consume(counting.sink)]
    expect(values == ["1", "3"], f"the sums are {values}, expected 1 and 3")


@fault("kafka")
def a_record_too_large_for_the_output_stops_or_is_skipped(test):
    config = {"operators": {"pass": {"use": "filter", "from": "in",
                                     "params": {"pattern": "", "match": "contains"}}},
              "sinks": {"out": {"topic": "?out", "from": "pass"}}}
    counting = Counting(test, config, topics=False)
    application = counting.application
    application.create_topic(counting.source, 1)
    application.create_topic(counting.sink, 1, "max.message.bytes=2000")
    large = "y" * 10000
    application.produce(counting.source, ["a\t1", f"b\t{large}", "c\t3"])
    text = application.run_to_failure(1)
    expect_text(text, counting.sink, counting.source)
    application.config["on_error"] = "skip"
    application.write()
    application.drain()
    keys = [key for _, _, key, _ in application.consume(counting.sink)]
    expect(keys == ["a", "c"], f"the keys are {keys}, expected a and c")


@fault("kafka")
def a_tail_behind_an_open_transaction_is_told(test):
    counting = Counting(test, {"commit": {"interval": "4s", "records": 100000}})
    application = counting.application
    argv = application.argv("consume", str(application.file), counting.sink, "--until-end")

    def consumed(*arguments):
        return subprocess.run([*argv, *arguments], capture_output=True, timeout=60, check=True, encoding="utf-8")
    for tails in range(20, 220, 20):  # until a kill finds a transaction open
        counting.feed(100000)
        before = consumed("--uncommitted").stdout
        instance = application.start("a")
        wait_until(lambda: consumed("--uncommitted").stdout != before, 30, "a result is sent")
        instance.kill()
        application.produce(counting.sink, [f"k{n}\ttail" for n in range(20)])
        told = consumed()
        if told.stdout.count("tail") < tails:
            break
        application.drain()
    expect_text(told.stderr, f"{counting.sink}[", "a transaction is open")
    application.drain()
    told = consumed()
    expect(told.stdout.count("tail") == tails and told.stderr == "", f"{told.stdout.count('tail')}; {told.stderr}")
    expect(len(told.stdout.splitlines()) == len(counting.fed) + tails, "results are missing")


# ---- The broker ----

def broker_outage(test, outage):
    counting = Counting(test)
    application = counting.application
    counting.feed(2000)
    reader = application.read(counting.sink)
    instance = application.start("a")
    wait_until(lambda: len(reader.records) == 2000, 60, "2000 records are counted")
    counting.feed(2000)
    outage()
    wait_until(lambda: len(reader.records) >= 4000, 90, "the records fed before the outage are counted")
    counting.feed(2000)
    wait_until(lambda: len(reader.records) >= 6000, 60, "the records fed after the outage are counted")
    expect(instance.alive(), f"the run ended:\n{instance.tail()}")
    instance.terminate()
    counting.check()


@fault("kafka-own")
def a_broker_away_for_30_seconds_is_waited_for(test):
    def outage():
        os.kill(test.kafka.pid(), signal.SIGSTOP)
        time.sleep(30)
        os.kill(test.kafka.pid(), signal.SIGCONT)
    broker_outage(test, outage)


@fault("kafka-own")
def a_killed_broker_is_survived(test):
    def outage():
        test.kafka.kill()
        time.sleep(2)
        test.kafka.up()
    broker_outage(test, outage)


@fault("kafka-own")
def no_broker_at_the_start_is_named(test):
    counting = Counting(test, topics=False)
    counting.application.broker = "kafka:127.0.0.1:9"
    text = counting.application.run_to_failure(1, "--set", "broker.connect_timeout=2s")
    expect_text(text, "127.0.0.1:9")


@fault("local", "kafka")
def a_stop_before_the_broker_answers_is_a_stop(test):
    application = Counting(test, topics=False).application
    application.broker = "kafka:127.0.0.1:9"
    instance = application.start("a")
    wait_until(lambda: "127.0.0.1:9" in instance.text(), 30, "it tries to connect")
    instance.terminate(2)


# ---- Operators and files ----

def refused(test, make, *words):
    counting = Counting(test, topics=False)
    application = counting.application
    plugin = application.directory / "broken.so"
    make(plugin)
    application.config["operators"]["count"] = {"use": "./broken.so", "from": "in"}
    application.write()
    text = application.run_command("check", code=2)
    expect_text(text, "broken.so", *words)
    expect_text(application.run_to_failure(2), "broken.so", *words)


@fault("local")
def an_operator_that_is_no_library_is_refused(test):
    refused(test, lambda plugin: plugin.write_text("not a library"))


@fault("local")
def an_operator_that_is_missing_is_refused(test):
    refused(test, lambda plugin: None)


def compile_c(plugin, source):
    code = plugin.with_suffix(".c")
    code.write_text(source, encoding="utf-8")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(plugin), str(code)], check=True)


@fault("local")
def an_operator_without_its_entry_is_refused(test):
    refused(test, lambda plugin: compile_c(plugin, "int nothing;\n"), "leat_operator_entry")


@fault("local")
def an_operator_of_another_abi_is_refused(test):
    source = """
#include <stdint.h>
static const uint32_t descriptor[64] = {256, 99u << 16, 40, 16, 16, 0};
__attribute__((visibility("default"))) const void *leat_operator_entry(void) { return descriptor; }
"""
    refused(test, lambda plugin: compile_c(plugin, source), "99")


@fault("local")
def a_world_writable_operator_is_refused(test):
    def make(plugin):
        shutil.copy(build_directory() / "operators" / "aggregate.so", plugin)
        plugin.chmod(0o777)
    refused(test, make, "chmod o-w")


@fault("local")
def a_crashing_operator_loses_nothing(test):
    counting = Counting(test, {
        "operators": {"count": {"use": "aggregate", "from": "in"},
                      "crash": {"use": "./crash.so", "from": "count"}},
        "sinks": {"out": {"topic": "?out", "from": "crash"}}})
    application = counting.application
    include = pathlib.Path(__file__).resolve().parent.parent.parent / "include"
    code = application.directory / "crash.c"
    code.write_text(f"""
#include <leat/operator.h>
#include <stdio.h>
#include <stdlib.h>
/* Aborts the process at the 300th record, unless the file "healed" is there. */
static leat_status process(void *self, leat_context *context, const leat_record *record)
{{
    static int seen;
    (void)self;
    FILE *healed = fopen("{application.directory}/healed", "r");
    if (healed != NULL) {{
        fclose(healed);
    }} else if (++seen == 300) {{
        abort();
    }}
    return leat_forward(context, 0, record);
}}
static const leat_operator descriptor = {{LEAT_OPERATOR_SIZES, .name = "crash", .version = "1",
                                         .summary = "crashes", .process = process}};
LEAT_EXPORT const leat_operator *leat_operator_entry(void);
const leat_operator *leat_operator_entry(void)
{{
    return &descriptor;
}}
""", encoding="utf-8")
    subprocess.run(["gcc", "-std=c11", "-shared", "-fPIC", f"-I{include}", "-o",
                    str(application.directory / "crash.so"), str(code)], check=True)
    counting.feed(1000)
    for _ in range(2):
        instance = application.start("a", "--until-end", "--set", "commit.records=100")
        code = instance.wait(60)
        expect(code in (-signal.SIGABRT, 128 + signal.SIGABRT), f"exit code {code}:\n{instance.tail()}")
    (application.directory / "healed").touch()
    application.drain()
    counting.check()


# ---- Running them ----

def in_own_mount_namespace():
    """Runs this program again in a mount namespace of its own, so that no mount is left behind. False
    where the system allows none."""
    if os.environ.get("LEAT_FAULTS_UNSHARED"):
        return True
    flags = ["-m"] if os.geteuid() == 0 else ["-r", "-m"]
    if subprocess.run(["unshare", *flags, "true"], check=False, stderr=subprocess.DEVNULL).returncode != 0:
        return False
    os.environ["LEAT_FAULTS_UNSHARED"] = "1"
    os.execvp("unshare", ["unshare", *flags, sys.executable, *sys.argv])


def run_one(name, broker, kafka, keep):
    """passed, FAILED, or VOID: the broker, ill-treated by this fault, lost a marker (docs/kafka.md)."""
    brokers, function = FAULTS[name]
    test = Test(broker, kafka)
    begin = time.monotonic()
    failure, outcome, lost = None, "passed", []
    try:
        function(test)
    except Failure as error:
        failure, outcome = error, "FAILED"
    finally:
        for application in test.applications:
            application.close(keep or failure is not None)
    if failure and "kafka-own" in brokers:
        for application in test.applications:
            lost += sum(examine(kafka, application.name, application.directory), [])
        outcome = "VOID" if lost else "FAILED"
    print(f"{outcome}  {name} ({time.monotonic() - begin:.1f} s)", flush=True)
    if failure:
        print(f"    {failure}\n    left in {', '.join(str(a.directory) for a in test.applications)}")
        print("".join(f"    lost marker: {text}\n" for text in lost), end="", flush=True)
    return outcome


def run_until_told(name, broker, kafka, keep):
    """A VOID run says nothing: it is done again, twice at most."""
    for _ in range(3):
        outcome = run_one(name, broker, kafka, keep)
        if outcome != "VOID":
            break
    return outcome == "passed"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--broker", default="local")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    kind = options.broker.split(":")[0]
    own = options.broker == "kafka"
    known = [name for name, (brokers, _) in FAULTS.items()
             if kind in brokers or (own and "kafka-own" in brokers)]
    names = known if options.names == ["all"] else options.names
    if options.list or not names:
        print("\n".join(known))
        return 0
    for name in set(names) - set(known):
        print(f"faults: no fault {name} on {options.broker}; see --list", file=sys.stderr)
        return 2
    full_disk = "a_full_disk_stops_and_nothing_is_lost"
    if full_disk in names and not in_own_mount_namespace():
        print(f"SKIPPED {full_disk}: it needs a mount namespace (root, or user namespaces)", flush=True)
        names = [name for name in names if name != full_disk]
    kafka = Kafka(["log.retention.check.interval.ms=500"]) if own else None
    try:
        broker = kafka.spec if own else options.broker
        results = [run_until_told(name, broker, kafka, options.keep) for name in names]
    finally:
        if kafka is not None:
            kafka.close()
    print(f"{sum(results)} of {len(results)} faults passed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
