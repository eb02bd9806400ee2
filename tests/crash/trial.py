# SPDX-License-Identifier: Apache-2.0
"""One trial: a topology whose instances and broker are ill-treated while input flows, and the proof that nothing
was lost or done twice. The seed decides what is done and when, not how the system's processes interleave."""
import collections
import json
import random
import shutil
import signal
import subprocess
import threading
import time

from application import Application, Failure, build_directory, expect, wait_until, wait_while_moving
from history import History
from topologies import TOPOLOGIES

PARTITIONS = 4
NAMES = ["a", "b", "c", "d", "e", "f", "g", "h"]

# What is done next, by weight, as long as its budget lasts (kills, zombies, cuts, broker_kills); what has none
# lasts as long as the kills.
FAULTS = {
    "kill": (8, "kills"), "kill_two": (1, "kills"), "kill_all": (0.7, "kills"),
    "kill_again_and_again": (1.5, "kills"), "kill_in_rebalance": (2, "kills"),
    "zombie": (2, "zombies"), "pause": (0.7, None), "leave": (1, None), "kill_producer": (0.5, None),
    "broker_kill": (1, "broker_kills"), "broker_restart": (0.4, "broker"), "broker_pause": (0.6, "broker"),
    "cut": (2, "cuts"),
}
# Where a single kill wants to find its instance; it waits for that AIM_S at most. None = wherever it is.
AIMS = [None, "start", "recovery", "recovery", "rebalance", "open", "open", "flushed", "offered", "decided"]
AIM_S = 0.5
WORKING = ["idle", "open", "flushed", "offered", "decided"]  # the phases of one that has tasks


class Trial:
    """`budget`: {kills, zombies, cuts, broker_kills}; `deadline`: faults end by then (monotonic), or None;
    `kafka`: its own Kafka or None; `network`: a Network, or None."""

    def __init__(self, options, number, kind, budget, deadline=None, kafka=None, network=None):
        self.options, self.budget, self.deadline = options, collections.Counter(budget), deadline
        self.kafka, self.network = kafka, network
        self.random = random.Random(f"{options.seed}/{number}")
        self.topology = TOPOLOGIES[kind]()
        self.on_kafka = options.broker != "local"
        self.session_s = self.random.choice([2, 3, 4] if self.on_kafka else [0.4, 0.7, 1])
        self.names = NAMES[:self.random.randint(min(2, options.instances), options.instances)]
        self.application = Application(self.config(), kafka.spec if kafka else options.broker, f"crash-{kind}")
        self.source = self.own_topics()
        self.running = {}
        self.fed = []  # (key, value, outcome) in the order of production
        self.feeding = threading.Event()
        self.feeding.set()
        self.producer = None
        self.background, self.failures = [], []  # threads, and what they raised
        self.later = []  # (when, function): what ends a fault
        self.stopped, self.cut_off, self.copies = set(), set(), {}
        self.done, self.hits = collections.Counter(), collections.Counter()
        self.records = self.inputs = 0

    def config(self):
        choose = self.random.choice
        session = f"{int(self.session_s * 1000)}ms"
        return {
            **self.topology.config(),
            "broker": {"kind": "local", "directory": "data", "session_timeout": session,
                       "transaction_timeout": f"{int(self.session_s * choose([1, 3]) * 1000)}ms",
                       "connect_timeout": "5m",  # a broker may be killed again while it starts
                       "properties": {"security.protocol": "PLAINTEXT"} if self.on_kafka else {},
                       "membership": choose(["static", "static", "dynamic"])},
            "workers": choose([1, 1, 2]),
            "commit": {"interval": choose(["20ms", "50ms", "100ms"]),
                       "records": choose([10, 20, 50, 100, 100000])},
            "state": {"directory": "state", "durability": choose(["durable", "fast"]),
                      "flush_interval": choose(["0ms", "0ms", "200ms"])},
        }

    def own_topics(self):
        """Names for the topics of source and sinks; the source's."""
        for part in ("sources", "sinks"):
            for node in self.application.config[part].values():
                node["topic"] = self.application.topic(node["topic"][1:])
        self.application.write()
        self.sinks = {name: self.application.topic(name) for name in self.topology.outputs}
        return self.application.topic("in")

    # ---- Input ----

    def produce(self, records, transactional=False):
        """One batch by a process of its own; what came of it."""
        now = int(time.time() * 1000)
        stamp = (lambda n: {"timestamp_ms": now + n}) if self.topology.stamped else lambda n: {}
        lines = "".join(json.dumps({"key": key, "value": value, **stamp(n)}) + "\n"
                        for n, (key, value) in enumerate(records))
        argv = self.application.argv("produce", str(self.application.file), self.source, "--format", "json",
                                     *(["--transactional"] if transactional else []))
        with open(self.application.directory / "produce.log", "ab") as log:
            self.producer = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=log, stderr=log)
            try:
                self.producer.communicate(lines.encode(), timeout=120)
            except subprocess.TimeoutExpired:
                self.producer.kill()
                raise Failure("produce did not end within 120 s") from None
            finally:
                self.producer.wait()
        return "ok" if self.producer.returncode == 0 else "unknown"

    def feed(self):
        """A backlog first, then batches, until told to end."""
        source = random.Random(f"{self.random.random()}")
        sizes = [source.choice([100, 3000])]
        while self.feeding.is_set():
            size = sizes.pop() if sizes else source.choice([1, 20, 200, 400, 800])
            self.feed_batch(source, size, transactional=source.random() < 0.15)
            if self.topology.stamped:
                time.sleep(size / 1000)  # so that timestamps go on rising
            time.sleep(source.choice([0, 0, 0.05, 0.1]))

    def feed_batch(self, source, size, transactional=False):
        batch = [self.topology.record(source, len(self.fed) + n) for n in range(size)]
        outcome = self.produce(batch, transactional)
        self.fed += [(key, value, outcome) for key, value in batch]

    def in_background(self, function):
        def run():
            try:
                function()
            except Exception as error:  # pylint: disable=broad-except
                self.failures.append(error)
        thread = threading.Thread(target=run, daemon=True)
        self.background.append(thread)
        thread.start()
        return thread

    # ---- Instances ----

    def start(self, name, *arguments):
        far = self.network is not None
        return self.application.start(name, *arguments, "--debug", "transaction",
                                      prefix=self.network.enter(name) if far else (),
                                      broker=self.kafka.far_spec if far else None)

    def pick(self):
        return self.random.choice(sorted(self.running))

    def check_alive(self):
        if self.failures:
            raise self.failures[0]
        for instance in self.running.values():
            expect(instance.alive(), f"instance {instance.name} ended by itself with exit code "
                                     f"{instance.process.poll()}:\n{instance.tail()}")

    def start_absent(self, chance):
        for name in self.names:
            if name not in self.running and (not self.running or self.random.random() < chance):
                self.running[name] = self.start(name)

    def slay(self, *names):
        """SIGKILL to all of them at once."""
        instances = [self.running.pop(name) for name in names]
        for instance in instances:
            instance.process.kill()
        for name, instance in zip(names, instances):
            instance.process.wait()
            phase = "stopped" if name in self.stopped else "cut off" if name in self.cut_off else instance.phase()
            self.stopped.discard(name)
            self.hits[phase] += 1
            self.budget["kills"] -= 1
            self.done["kills"] += 1
        for name in names:
            self.ill_treat_state(name)

    def ill_treat_state(self, name):
        """A dead instance may find its directory gone, old, or another's when it comes back."""
        directory = self.application.state_directory(name)
        if not directory.exists() or self.random.random() > 0.35:
            return
        dead = [other for other in self.names if other != name and other not in self.running and
                self.application.state_directory(other).exists()]
        act = self.random.choice(["delete", "copy", "copy", "put back", "put back", "swap", "take"])
        if act == "delete":
            self.application.delete_state(name)
            self.done["states deleted"] += 1
        elif act == "copy":
            self.copies[name] = self.application.directory / f"copy-{name}"
            shutil.rmtree(self.copies[name], ignore_errors=True)
            shutil.copytree(directory, self.copies[name])
        elif act == "put back" and self.copies:
            # Its own of some time ago, or another's of some time ago.
            shutil.rmtree(directory)
            shutil.copytree(self.copies.get(name) or self.random.choice(list(self.copies.values())), directory)
            self.done["old states put back"] += 1
        elif act == "swap" and dead:
            other = self.application.state_directory(self.random.choice(dead))
            aside = self.application.directory / "aside"
            directory.rename(aside)
            other.rename(directory)
            aside.rename(other)
            self.done["states swapped"] += 1
        elif act == "take" and dead:
            shutil.rmtree(directory)
            shutil.copytree(self.application.state_directory(self.random.choice(dead)), directory)
            self.done["states copied"] += 1

    # ---- Faults ----

    def kill(self):
        """One instance: anywhere, or the first that is seen in a certain phase."""
        name, aim = self.pick(), self.random.choice(AIMS)
        if aim in ("start", "recovery") and len(self.running) > 1:
            self.slay(name)
            self.running[name] = self.start(name)
        if aim == "start":
            time.sleep(self.random.uniform(0, 0.03))
        elif aim:
            name = self.first_seen([aim]) or name
        else:
            time.sleep(self.random.uniform(0, 0.3))
        self.slay(name)

    def first_seen(self, phases, seconds=AIM_S):
        """An instance that is in one of them now; None if none is for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for name, instance in self.running.items():
                if name not in self.stopped and instance.phase() in phases:
                    return name
            time.sleep(0.0003)
        return None

    def kill_two(self):
        time.sleep(self.random.uniform(0, 0.3))
        self.slay(*self.random.sample(sorted(self.running), min(2, len(self.running))))

    def kill_all(self):
        time.sleep(self.random.uniform(0, 0.3))
        self.slay(*sorted(self.running))

    def kill_again_and_again(self):
        """A crash in the recovery of a crash, in the recovery of a crash."""
        name = self.pick()
        for _ in range(self.random.randint(2, 4)):
            self.slay(name)
            self.running[name] = self.start(name)
            time.sleep(self.random.uniform(0, 0.15))
        self.slay(name)

    def kill_in_rebalance(self):
        """Somebody comes or goes, and a moment later somebody is killed."""
        absent = [name for name in self.names if name not in self.running]
        if absent:
            name = self.random.choice(absent)
            self.running[name] = self.start(name)
        else:
            name = self.pick()
            self.running[name].process.send_signal(signal.SIGTERM)
        time.sleep(self.random.uniform(0, 0.15))
        self.slay(self.pick())
        if not absent and name in self.running:
            self.leave(name)

    def leave(self, name=None):
        name = name or self.pick()
        instance = self.running.pop(name)
        self.end_stop(name, instance)
        self.mend(name)
        instance.terminate(60)
        self.done["orderly stops"] += 1

    def end_stop(self, name, instance):
        if name in self.stopped and instance.alive():
            instance.resume()
        self.stopped.discard(name)

    def stop_for(self, seconds):
        """SIGSTOP to one that has work; False if none has."""
        name = self.first_seen(WORKING, 5)
        if name is None:
            return False
        instance = self.running[name]
        self.hits[f"stopped in {instance.phase()}"] += 1
        instance.stop()
        self.stopped.add(name)
        self.later.append((time.monotonic() + seconds,
                           lambda: self.running.get(name) is instance and self.end_stop(name, instance)))
        return True

    def zombie(self):
        """Stopped for longer than the session lasts, so that the others take over; then it wakes up."""
        if self.stop_for(self.session_s + self.random.uniform(0.3, 1.5)):
            self.budget["zombies"] -= 1
            self.done["zombies"] += 1

    def pause(self):
        if self.stop_for(self.random.uniform(0.05, 0.9) * self.session_s):
            self.done["pauses"] += 1

    def kill_producer(self):
        if self.producer is not None and self.producer.poll() is None:
            self.producer.kill()
            self.done["producers killed"] += 1

    def cut(self):
        """An instance and the broker cannot hear each other, or one not the other."""
        name = self.pick()
        if name in self.cut_off:
            return
        self.network.cut(name, self.random.choice(["in", "out", "both"]))
        self.cut_off.add(name)
        short = self.random.random() < 0.4
        seconds = self.random.uniform(0.1, 0.8) * self.session_s if short else \
            self.session_s + self.random.uniform(0.5, 4)
        self.later.append((time.monotonic() + seconds, lambda: self.mend(name)))
        self.budget["cuts"] -= 1
        self.done["cuts"] += 1

    def mend(self, name):
        if name in self.cut_off:
            self.network.mend(name)
            self.cut_off.discard(name)

    def broker_is_busy(self):
        return any(thread.name == "broker" and thread.is_alive() for thread in self.background)

    def ill_treat_broker(self, function):
        self.in_background(function).name = "broker"

    def broker_kill(self):
        if self.broker_is_busy():
            return

        def act():
            self.kafka.kill()
            time.sleep(pause)
            self.kafka.up()
        pause = self.random.uniform(0, 2)
        self.ill_treat_broker(act)
        self.budget["broker_kills"] -= 1
        self.done["broker kills"] += 1

    def broker_restart(self):
        if self.broker_is_busy():
            return

        def act():
            self.kafka.down()
            self.kafka.up()
        self.ill_treat_broker(act)
        self.budget["broker"] -= 1
        self.done["broker restarts"] += 1

    def broker_pause(self):
        if self.broker_is_busy():
            return

        def act():
            subprocess.run(["kill", "-STOP", str(pid)], check=True)
            time.sleep(pause)
            subprocess.run(["kill", "-CONT", str(pid)], check=True)
        pid = self.kafka.pid()  # longer than 4 s: its own controller takes the leadership from it
        pause = self.random.choice([self.random.uniform(0.5, 4), self.random.uniform(5, 14)])
        self.ill_treat_broker(act)
        self.budget["broker"] -= 1
        self.done["broker pauses"] += 1

    def possible(self):
        """The faults of this trial and their weights: some are not for this broker, some not for this seed."""
        chosen = {}
        for name, (weight, budget) in FAULTS.items():
            wanted = budget in ("kills", "zombies", "cuts", "broker_kills") or self.random.random() < 0.7
            able = self.network is not None if name == "cut" else \
                self.kafka is not None or not name.startswith("broker")
            if wanted and able:
                chosen[name] = (weight, budget)
        return chosen

    def faults(self):
        possible = self.possible()
        self.budget = collections.Counter({name: left for name, left in self.budget.items()
                                           if any(name == budget for _, budget in possible.values())})
        self.budget["broker"] = 2 * self.budget["broker_kills"]
        counted = [name for name in self.budget if name != "broker"]
        while any(self.budget[name] > 0 for name in counted):
            if self.deadline and time.monotonic() > self.deadline:
                break
            self.end_what_is_due()
            self.start_absent(0.8)
            if not self.later and self.random.random() < 0.5:  # else most die young: on Kafka a member needs its time
                self.first_seen(WORKING, 2 * self.session_s)
            time.sleep(self.random.choice([0, 0.02, 0.1, 0.3]))
            self.check_alive()
            able = [name for name, (_, budget) in possible.items() if self.budget[budget] > 0 or
                    (budget is None and self.budget["kills"] > 0)]
            fault = self.random.choices(able, [possible[name][0] for name in able])[0]
            getattr(self, fault)()
        self.heal()

    def end_what_is_due(self, everything=False):
        due = [one for one in self.later if everything or one[0] <= time.monotonic()]
        self.later = [one for one in self.later if one not in due]
        for _, function in due:
            function()

    def heal(self):
        self.end_what_is_due(everything=True)
        for thread in self.background:
            if thread.name == "broker":
                thread.join()
        self.feeding.clear()
        for thread in self.background:
            thread.join()

    # ---- The proof ----

    def input(self):
        """What lies in the source in the end, in order: (partition, offset, key, value, timestamp)."""
        out = self.application.run_command("consume", self.source, "--until-end", "--format", "json")
        rows = [json.loads(line) for line in out.splitlines()]
        return sorted((row["partition"], row["offset"], row["key"], row["value"], row["timestamp_ms"])
                      for row in rows)

    def check_input(self, inputs):
        """What was acknowledged is there, once; nothing else but what may be."""
        order = {(key, value): number for number, (key, value, _) in enumerate(self.fed) if value != "flush"}
        seen, last = set(), collections.defaultdict(lambda: -1)
        for partition, offset, key, value, _ in inputs:
            if value == "flush":
                continue
            number = order.get((key, value))
            expect(number is not None, f"the input: partition {partition} offset {offset}: {value} was not sent")
            expect(number > last[partition], f"the input: partition {partition} offset {offset}: {value} is "
                                             "there twice or out of order")
            last[partition] = number
            seen.add(number)
        for (key, value), number in order.items():
            expect(number in seen or self.fed[number][2] != "ok", f"the input: {key} {value} is lost")

    def settle(self, readers):
        """Everything is processed and every timer has fired; the input."""
        def seen():
            return sum(len(reader.records) for reader in readers.values())
        if not any(outcome == "ok" for *_, outcome in self.fed):  # the broker was away all the time
            self.feed_batch(self.random, 100)
            expect(self.fed[-1][2] == "ok", "the broker is back, but a batch cannot be produced")
        last = self.topology.last_records()
        if last:
            time.sleep(1)  # later than every timer
            expect(self.produce(last) == "ok", "the last records cannot be produced")
            self.fed += [(key, value, "ok") for key, value in last]
        self.start_absent(1)
        self.check_alive()
        if last:
            wanted = {output: sum(map(len, lanes.values()))
                      for output, lanes in self.topology.expected(self.input()).items()}
            wait_while_moving(lambda: all(len(readers[output].records) >= wanted[output] for output in wanted),
                              seen, 60, f"every timer fires: {wanted} outputs")
        self.check_alive()
        for instance in self.running.values():
            instance.terminate(60)
        drains = [self.start(name, "--until-end") for name in self.names]
        wait_while_moving(lambda: not any(instance.alive() for instance in drains), seen, 120,
                          f"run --until-end of {', '.join(self.names)} ends (see run-*.log)")
        for instance in drains:
            code = instance.wait(1)
            expect(code == 0, f"run --until-end of {instance.name}: exit code {code}\n{instance.tail()}")
        return self.input()

    def prove(self, readers):
        inputs = self.settle(readers)
        self.inputs = len(inputs)
        again = {output: self.application.consume(topic) for output, topic in self.sinks.items()}
        for output, reader in readers.items():
            wait_until(lambda reader=reader, output=output: len(reader.records) >= len(again[output]) or
                       reader.process.poll() is not None, 15, f"the reader sees all {len(again[output])} "
                       f"records of {output}")
        seen = {output: list(reader.records) for output, reader in readers.items()}
        self.records = sum(map(len, again.values()))
        self.write_history(inputs, seen, again)
        self.check_input(inputs)
        self.topology.check(inputs, seen, "the continuous reader")
        self.topology.check(inputs, again, "the output")
        for output in again:
            expect(sorted(seen[output]) == sorted(again[output]),
                   f"the continuous reader of {output} saw other records than a second read")
        for store, expected in self.topology.state(inputs).items():
            found = self.state(store)
            expect(found == expected, f"the state {store} differs: "
                                      f"{sorted(set(found.items()) ^ set(expected.items()))[:6]}")
        self.history.judge()
        expect(self.records > 0, "there was no output at all")

    def state(self, store):
        """Its content; what several tasks have of one account is added up."""
        if not store.startswith("transfer/"):
            return self.application.scan(store)
        out = self.application.run_command("state", "scan", store, "--json")
        sums = collections.Counter()
        for row in map(json.loads, out.splitlines()):
            sums[row["key"]] += int(row["value"])
        return {account: str(total) for account, total in sums.items()}

    def write_history(self, inputs, seen, again):
        self.history = History(self.application.directory / "history.jsonl")
        kind = self.topology.name if self.topology.name != "timers" else "any"
        self.history.topology(kind, self.source, list(self.sinks.values()), self.application.name)
        self.history.sends(self.source, self.fed)
        self.history.reads("final", self.source, inputs)
        for output, topic in self.sinks.items():
            self.history.reads("live", topic, seen[output])
            self.history.reads("final", topic, again[output])
            ends = {partition: 0 for partition in range(2)}
            ends.update({partition: offset + 1 for partition, offset, *_ in sorted(again[output])})
            self.history.ends("final", topic, ends)

    def run(self):
        begin = time.monotonic()
        self.application.create_topic(self.source, PARTITIONS)
        for topic in self.sinks.values():
            self.application.create_topic(topic, 2)
        readers = {output: self.application.read(topic) for output, topic in self.sinks.items()}
        self.in_background(self.feed)
        self.faults()
        self.check_alive()
        healed = time.monotonic()
        self.prove(readers)
        config = self.application.config
        what = ", ".join(f"{number} {name}" for name, number in self.done.items())
        return (f"{self.topology.name} on {self.options.broker.split(':')[0]}, {len(self.names)} instances, "
                f"{config['workers']} workers, {config['broker']['membership']}, "
                f"{config['state']['durability']}: {what}; {self.inputs} records in, {self.records} out, "
                f"exact ({healed - begin:.0f} + {time.monotonic() - healed:.0f} s)")

    def close(self, keep):
        self.feeding.clear()
        for instance in self.running.values():
            if instance.alive():
                instance.resume()
        if self.producer is not None and self.producer.poll() is None:
            self.producer.kill()
        for thread in self.background:
            thread.join(150)
        self.application.close(keep)
        for name in list(self.cut_off):
            self.mend(name)
