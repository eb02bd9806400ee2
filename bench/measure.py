# SPDX-License-Identifier: Apache-2.0
"""Processes and brokers of a benchmark: start, watch, account, end. Used by bench/run."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """Something the benchmark needs did not work; the text says what."""


def now():
    """Seconds of the monotonic clock, the one that bench_load prints too."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def cpu_seconds(pid):
    """User and system seconds of a living process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mib(pid, field):
    """VmHWM (peak RSS) or VmRSS of a living process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


class Process:
    """A measured program. Its CPU comes from wait4, so nothing of it is missed."""

    living = set()

    def __init__(self, argv, log):
        self.log = Path(log)
        self.argv = [str(a) for a in argv]
        self.peak_mib = 0.0
        self.cpu = None
        self.code = None
        with open(self.log, "w") as out:
            self.began = now()
            try:
                self.child = subprocess.Popen(self.argv, stdout=out, stderr=subprocess.STDOUT,
                                              stdin=subprocess.DEVNULL)
            except OSError as error:
                raise Failure(f"{self.argv[0]}: {error}") from error
        self.pid = self.child.pid
        Process.living.add(self)

    def poll(self):
        """True once it has ended. Peak RSS is sampled: wait4's also counts the forked runner."""
        if self.code is not None:
            return True
        try:
            self.peak_mib = max(self.peak_mib, memory_mib(self.pid, "VmHWM"))
        except OSError:
            pass
        pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        if pid == 0:
            return False
        Process.living.discard(self)
        self.ended = now()
        self.cpu = usage.ru_utime + usage.ru_stime
        self.code = self.child.returncode = os.waitstatus_to_exitcode(status)
        return True

    def wait(self, seconds):
        limit = now() + seconds
        while not self.poll():
            if now() > limit:
                self.kill()
                raise Failure(f"{self.argv[0]} did not end within {seconds} s:\n{self.tail()}")
            time.sleep(0.01)
        return self.code

    def expect(self, seconds):
        if self.wait(seconds) != 0:
            raise Failure(f"exit {self.code}: {' '.join(self.argv)}\n{self.tail()}")

    def kill(self, number=signal.SIGKILL):
        if not self.poll():
            self.child.send_signal(number)
            limit = now() + 20
            while not self.poll():
                if now() > limit:
                    self.child.send_signal(signal.SIGKILL)
                time.sleep(0.002)

    def tail(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


class Broker:
    """The log that both sides work on: own Kafka, or a directory of the embedded one."""

    def __init__(self, kind, directory, programs, port):
        self.kind = kind
        self.directory = Path(directory)
        self.load = programs / "bench_load"
        self.port = port
        self.pid = None
        self.live = []
        if kind == "kafka":
            self.up()
        else:
            self.place = f"local:{self.directory / 'local'}"

    def kafka(self, command, *more):
        environment = dict(os.environ)
        environment.setdefault("KAFKA_HEAP_OPTS", "-Xms1g -Xmx1g")
        argv = [ROOT / "scripts/kafka", command, "--directory", self.directory / "kafka", *more]
        done = subprocess.run([str(a) for a in argv], env=environment, text=True,
                              capture_output=True)
        if done.returncode != 0:
            raise Failure(f"scripts/kafka {command}: {done.stderr}")
        return done.stdout.strip()

    def up(self):
        self.address = self.kafka("up", "--port", str(self.port)).splitlines()[-1]
        self.place = f"kafka:{self.address}"
        self.pid = int((self.directory / "kafka/pid").read_text())

    def down(self):
        for name in list(self.live):
            self.delete(name)
        if self.kind == "kafka":
            self.kafka("down", "--remove")

    def cpu(self):
        return cpu_seconds(self.pid) if self.pid else 0.0

    def call(self, command, topic, *options, check=True):
        """One bench_load command: its JSON line, or None."""
        argv = [self.load, command, "--broker", self.place, "--topic", topic, *options]
        done = subprocess.run([str(a) for a in argv], text=True, capture_output=True)
        if done.returncode != 0 and (check or not done.stdout):
            raise Failure(f"bench_load {command} {topic}: {done.stderr}{done.stdout}")
        line = done.stdout.strip()
        return json.loads(line.splitlines()[-1]) if line else None

    def create(self, topic, partitions=4, **properties):
        options = []
        for name, value in properties.items():
            options += ["--set", f"{name.replace('_', '.')}={value}"]
        self.call("create", topic, "--partitions", partitions, *options)
        self.live.append(topic)

    def delete(self, topic):
        self.call("delete", topic)
        self.live.remove(topic)

    def watch(self, topic, group, log, records=1 << 62, interval_ms=20, seconds=600):
        """A running watch; it has read the offsets once when this returns."""
        watch = Process([self.load, "watch", "--broker", self.place, "--topic", topic, "--group",
                         group, "--records", records, "--interval", interval_ms, "--seconds",
                         seconds], log)
        while not watch.log.read_text():
            if watch.poll():
                raise Failure(f"watch: {watch.tail()}")
            time.sleep(0.01)
        return watch


def timeline(watch):
    """(seconds, committed offsets in sum) at every change that the watch saw."""
    points = []
    for line in watch.log.read_text().splitlines():
        if line.startswith("{") and line.endswith("}"):
            point = json.loads(line)
            points.append((point["at_us"] / 1e6, point["committed"]))
    return points


def transactions_of(process):
    """The loops print their result as the one line of JSON."""
    for line in process.log.read_text(errors="replace").splitlines():
        if line.startswith("{") and '"transactions"' in line:
            return json.loads(line)["transactions"]
    return None
