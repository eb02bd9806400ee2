# SPDX-License-Identifier: Apache-2.0
"""What the crash and fault tests share: an application under test, its instances, a reader.

Everything goes through the real `topology` binary, as a user would do it; on Kafka the output is read by
kcat, which shares no code with Leat but librdkafka. An Application owns a temporary directory, and every process
it started ends with it. Nothing here decides what is right; that is for the tests.
"""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


class Failure(Exception):
    """The system under test did something wrong."""


class Stuck(Failure):
    """Something did not happen in time: there was no progress."""


def build_directory():
    return pathlib.Path(os.environ.get("LEAT_BUILD", ROOT / "build" / "dev")).resolve()


def expect(condition, text):
    if not condition:
        raise Failure(text)


def wait_until(condition, seconds, what):
    """Polls; a Failure that says what did not happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            raise Stuck(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def wait_while_moving(condition, position, seconds, what):
    """The same, but the seconds begin anew whenever position() has changed: slow is not stuck."""
    last, deadline = None, 0
    while not condition():
        now = position()
        if now != last:
            last, deadline = now, time.monotonic() + seconds
        if time.monotonic() >= deadline:
            raise Stuck(f"for {seconds} s no step towards: {what}")
        time.sleep(0.02)


class Kafka:
    """A Kafka of this test alone, on a free port, in a directory of its own. With an `address` it has a
    second listener there, for clients whose network can be cut."""

    def __init__(self, settings=(), address=None):
        self.directory = tempfile.mkdtemp(prefix="leat-kafka.")
        self.settings = list(settings)
        self.port = self.free_port()
        self.address = address
        if address:
            both = f"PLAINTEXT://127.0.0.1:{self.port},FAR://{address}:{self.port + 2}"
            self.settings += [f"listeners={both},CONTROLLER://127.0.0.1:{self.port + 1}",
                              f"advertised.listeners={both}",
                              "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
                              "FAR:PLAINTEXT"]
        self.up()

    @staticmethod
    def fetch():
        """What needs a network of the outside: its jars, once."""
        subprocess.run([str(ROOT / "scripts" / "kafka"), "fetch"], check=True, stdout=subprocess.DEVNULL)

    @staticmethod
    def free_port():
        """A port below the ephemeral range, so that no client's socket takes it, with the next two free."""
        for port in range(21000 + os.getpid() * 4 % 8000, 30000, 4):
            try:
                for offset in (0, 1, 2):
                    with socket.socket() as probe:
                        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        probe.bind(("127.0.0.1", port + offset))
                return port
            except OSError:
                continue
        raise Failure("no free port")

    def script(self, *arguments):
        subprocess.run([str(ROOT / "scripts" / "kafka"), *arguments, "--port", str(self.port),
                        "--directory", self.directory], check=True, stdout=subprocess.DEVNULL,
                       timeout=180)

    def up(self):
        settings = [word for setting in self.settings for word in ("--set", setting)]
        self.script("up", *settings)

    def down(self):
        self.script("down")

    def kill(self):
        self.script("kill")

    def pid(self):
        return int(pathlib.Path(self.directory, "pid").read_text())

    def close(self):
        self.script("down", "--remove")

    @property
    def spec(self):
        return f"kafka:127.0.0.1:{self.port}"

    @property
    def far_spec(self):
        return f"kafka:{self.address}:{self.port + 2}"


class Instance:
    """One `topology run`, behind `prefix` (nsenter, say) and with another broker than its application
    where given."""

    def __init__(self, application, name, arguments, prefix=(), broker=None):
        self.name = name
        self.log = application.directory / f"run-{name}.log"
        self.phase_now = "start"
        self.unread = b""
        with open(self.log, "ab") as log:
            self.log_start = self.log_read = log.tell()
            self.process = subprocess.Popen(
                [*prefix, *application.argv("run", str(application.file), "--set", f"instance={name}",
                                            *arguments, broker=broker)],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def alive(self):
        return self.process.poll() is None

    def phase(self):
        """What its log says it is doing (with --debug transaction): start, recovery, rebalance,
        spare (without a task), idle, or the state of a transaction: open, flushed, offered, decided."""
        with open(self.log, "rb") as log:
            log.seek(self.log_read)
            news = log.read()
        self.log_read += len(news)
        *lines, self.unread = (self.unread + news).split(b"\n")
        for line in lines:
            _, _, text = line.partition(b" component=")
            if text.startswith(b"group assigned partitions=0"):
                self.phase_now = "spare"
            elif text.startswith((b"group assigned", b"recovery recovering")):
                self.phase_now = "recovery"
            elif text.startswith((b"group revoked", b"group the assignment was lost")):
                self.phase_now = "rebalance"
            elif text.startswith((b"task running ms=", b"task resumed ms=")):
                self.phase_now = "idle"
            elif text.startswith(b"transaction ") and b" -> " in text:
                if self.phase_now not in ("start", "recovery", "rebalance"):  # there it is a claim
                    self.phase_now = text.rpartition(b" -> ")[2].split()[0].decode()
        return self.phase_now

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGSTOP: it is a zombie to the others from now on."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def terminate(self, seconds=30):
        """SIGTERM, which must end it with 0 (unless it came before main did)."""
        self.process.send_signal(signal.SIGTERM)
        code = self.wait(seconds)
        expect(code == 0 or (code == -signal.SIGTERM and not self.text()),
               f"SIGTERM of {self.name}: exit code {code}:\n{self.tail()}")

    def wait(self, seconds):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Stuck(f"instance {self.name} did not end within {seconds} s:\n{self.tail()}") from None

    def text(self):
        """What this process logged."""
        return self.log.read_bytes()[self.log_start:].decode(errors="replace")

    def tail(self, lines=15):
        return "\n".join(self.text().split("\n")[-lines:])


class Reader:
    """Follows a topic, committed records only, in a process and a thread of its own."""

    def __init__(self, application, topic):
        if application.broker.startswith("kafka:"):
            argv = ["kcat", "-C", "-E", "-q", "-u", "-b", application.broker[len("kafka:"):], "-t", topic,
                    "-o", "beginning", "-X", "isolation.level=read_committed", "-K", "\t",
                    "-X", "fetch.wait.max.ms=50", "-f", "%p\t%o\t%k\t%s\n"]
        else:
            argv = application.argv("consume", str(application.file), topic, "--format", "json")
        self.json = not application.broker.startswith("kafka:")
        self.records = []  # (partition, offset, key, value)
        self.log = open(application.directory / f"reader-{topic}.log", "ab")
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=self.log,
                                        stdin=subprocess.DEVNULL)
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def follow(self):
        for line in self.process.stdout:
            self.records.append(parse_json(line) if self.json else parse_kcat(line))

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.thread.join()
        self.log.close()


def parse_json(line):
    record = json.loads(line)
    return record["partition"], record["offset"], record["key"], record["value"]


def parse_kcat(line):
    partition, offset, key, value = line.decode().rstrip("\n").split("\t", 3)
    return int(partition), int(offset), key, value


class Application:
    """A topology file with its broker, topics and state, in a temporary directory."""

    def __init__(self, config, broker="local", name="crash"):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"leat-{name}."))
        self.broker = f"local:{self.directory}/data" if broker == "local" else broker
        self.file = self.directory / "topology.json"
        self.config = {
            "application": self.directory.name.replace("leat-", ""),
            "broker": {"kind": "local", "directory": "data"},
            "state": {"directory": "state"},
            "operator_directories": [str(build_directory() / "operators"),
                                     str(build_directory() / "tests" / "crash_operators")],
            **config,
        }
        self.write()
        self.instances = []
        self.readers = []

    def write(self):
        self.file.write_text(json.dumps(self.config, indent=2), encoding="utf-8")

    @property
    def name(self):
        return self.config["application"]

    def topic(self, node):
        """The topic of a source or sink: unique, so that tests may share a Kafka."""
        return f"{self.name}-{node}"

    def argv(self, command, *arguments, broker=None):
        return [str(build_directory() / "topology"), command, *arguments, "--broker", broker or self.broker]

    def run_command(self, command, *arguments, text=None, code=0, seconds=60):
        """Runs a command to its end; stdout, or with another `code` expected stderr."""
        done = subprocess.run(self.argv(command, str(self.file), *arguments), input=text,
                              capture_output=True, timeout=seconds, check=False, encoding="utf-8",
                              errors="surrogateescape")
        expect(done.returncode == code,
               f"topology {command} {' '.join(arguments)}: exit code {done.returncode}, not {code}: "
               f"{done.stderr[-2000:]}")
        return done.stdout if code == 0 else done.stderr

    def create_topic(self, topic, partitions, *settings):
        extra = [word for setting in settings for word in ("--set", setting)]
        self.run_command("topics", "create", topic, "--partitions", str(partitions), *extra)

    def produce(self, topic, lines, form="key-value"):
        self.run_command("produce", topic, "--format", form, text="".join(f"{x}\n" for x in lines))

    def consume(self, topic):
        """All committed records, as a list of (partition, offset, key, value)."""
        out = self.run_command("consume", topic, "--until-end", "--format", "json")
        return [parse_json(line) for line in out.splitlines()]

    def scan(self, store):
        """The committed content of a store over all tasks, as a dict."""
        out = self.run_command("state", "scan", store, "--json")
        return {row["key"]: row["value"] for row in map(json.loads, out.splitlines())}

    def start(self, name="a", *arguments, prefix=(), broker=None):
        instance = Instance(self, name, arguments, prefix, broker)
        self.instances.append(instance)
        return instance

    def drain(self, names=("a",), seconds=90, *arguments):
        """Runs instances until all input is processed; they must all end with 0."""
        for instance in [self.start(name, "--until-end", *arguments) for name in names]:
            code = instance.wait(seconds)
            expect(code == 0, f"run --until-end of {instance.name}: exit code {code}\n{instance.tail()}")

    def run_to_failure(self, code, *arguments, seconds=90, name="a"):
        """A run that must end by itself with `code`; what it wrote."""
        instance = self.start(name, *arguments)
        got = instance.wait(seconds)
        expect(got == code, f"exit code {got}, not {code}:\n{instance.tail()}")
        return instance.text()

    def read(self, topic):
        reader = Reader(self, topic)
        self.readers.append(reader)
        return reader

    def state_directory(self, name):
        return self.directory / "state" / self.name / name

    def delete_state(self, name):
        shutil.rmtree(self.state_directory(name), ignore_errors=True)

    def close(self, keep):
        """Ends every process; removes the directory unless `keep`."""
        for instance in self.instances:
            if instance.alive():
                instance.kill()
        for reader in self.readers:
            reader.close()
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)
