#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills the real binary at random and proves that nothing was lost or done twice.

    tests/crash/crash.py [--broker local|kafka|kafka:HOST:PORT] [--topology all|copy|count|regroup|...]
                         [--kills N] [--zombies N] [--cuts N] [--broker-kills N] [--instances K]
                         [--minutes M] [--parallel N] [--seed S] [--trial I] [--keep]

A campaign is a row of trials, N at a time. In each, instances are killed with SIGKILL (anywhere; in a state of
their transaction; while they start, recover, rebalance; several at once; again in the recovery), stopped for
longer than the session time-out and woken up, stopped orderly, started again, some with their state directory
gone, old or swapped, while input flows and an independent reader follows the committed output. On a Kafka of its
own the broker is killed, restarted and stopped too, and cables between an instance and the broker are cut. Then
all input is drained and compared: the output with a recomputation from the input, per key and in order; the state;
the reader's view with a second read; and check-history judges the same. --seed and --trial repeat a plan (not how
the system's processes interleave). With --minutes and no --kills it goes on for that long.
The last line is for machines: crash: kills=N zombies=N cuts=N broker_kills=N records=N trials=N void=N wrong=N
"""
import argparse
import collections
import multiprocessing
import os
import random
import signal
import sys
import time
import traceback

sys.dont_write_bytecode = True  # the clone stays as it is
from application import Failure, Kafka, Stuck, build_directory
from isolation import BROKER_ADDRESS, Network, confine, inside
from kafka_log import examine
from topologies import TOPOLOGIES
from trial import Trial

BUDGETS = ("kills", "zombies", "cuts", "broker_kills")
DEFAULTS = {"kills": 50, "zombies": 5, "cuts": 4, "broker_kills": 1}
PER_TRIAL = {"kills": 14, "zombies": 2, "cuts": 2, "broker_kills": 1}  # of a campaign that time ends


def share(total, parts, index):
    return total // parts + (1 if index < total % parts else 0)


class Campaign:
    """Which trials there are; what came of them is collected by the lanes' queue."""

    def __init__(self, options):
        self.options = options
        self.kinds = list(TOPOLOGIES) if options.topology == "all" else [options.topology]
        self.endless = options.minutes > 0 and options.kills is None
        self.deadline = time.monotonic() + options.minutes * 60 if options.minutes else None
        wanted = DEFAULTS if options.kills is None else {**dict.fromkeys(BUDGETS, 0), "kills": options.kills}
        self.total = {name: wanted[name] if getattr(options, name) is None else getattr(options, name)
                      for name in BUDGETS}
        self.trials = max(1, len(self.kinds), -(-self.total["kills"] // PER_TRIAL["kills"]))

    def plan(self, number):
        """(kind, budget) of a trial; None when there is no such trial any more."""
        if self.endless:
            if time.monotonic() > self.deadline:
                return None
            budget = dict(PER_TRIAL)
            budget["broker_kills"] = number % 2
        elif number >= self.trials or (self.deadline and time.monotonic() > self.deadline):
            return None
        else:
            budget = {name: share(self.total[name], self.trials, number) for name in BUDGETS}
        return self.kinds[number % len(self.kinds)], budget

    def attempt(self, number, kafka, network):
        """One trial; (exact, wrong or void; text, done, hits, records)."""
        kind, budget = self.plan(number)
        trial, outcome, text, stuck, content = None, "exact", "", False, False
        try:
            trial = Trial(self.options, number, kind, budget, self.deadline, kafka, network)
            text = trial.run()
        except Failure as failure:
            outcome, text = "wrong", str(failure)
            stuck = isinstance(failure, Stuck) or "missing: " in text or "exit code 3" in text
            content = "exit code" not in text
        except Exception:  # pylint: disable=broad-except
            outcome, text = "wrong", traceback.format_exc()
        if trial is None:
            return "wrong", text, {}, {}, 0
        trial.close(self.options.keep or outcome == "wrong")
        if outcome == "wrong":
            directory = trial.application.directory
            hanging, swallowed = examine(kafka, trial.application.name, directory) if kafka else ([], [])
            text = (f"FAILED ({kind}, --seed {self.options.seed} --trial {number}): {text}\n"
                    f"    everything is left in {directory}")
            # A marker that is lost hides a tail; one that another stands for changes what is read, or stored.
            hurt = any(trial.done[f"broker {what}"] for what in ("kills", "restarts", "pauses"))
            if hurt and ((hanging and stuck) or (swallowed and (stuck or content))):
                outcome = "void"
                text += f"\n    VOID: the broker lost markers of decided transactions: {'; '.join(hanging + swallowed)}"
        return outcome, text, dict(trial.done), dict(trial.hits), trial.records

    def lane(self, counter, results):
        """Runs trials one after the other, on a Kafka of its own if that is wanted."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        kafka = network = None
        try:
            if inside() == "yes":
                Network.run("ip", "link", "set", "lo", "up")
            if self.options.broker == "kafka":
                network = Network() if inside() == "yes" else None
                kafka = Kafka(address=BROKER_ADDRESS if network else None)
            while True:
                with counter.get_lock():
                    number = counter.value
                    counter.value += 1
                if self.options.trial is not None:
                    if number > 0:
                        return
                    number = self.options.trial
                if self.plan(number) is None:
                    return
                results.put(self.attempt(number, kafka, network))
        except Exception:  # pylint: disable=broad-except
            results.put(("wrong", f"FAILED: a lane ended: {traceback.format_exc()}", {}, {}, 0))
        finally:
            if kafka is not None:
                kafka.close()
            if network is not None:
                network.close()
            results.put(None)

    def run(self):
        """Exit code; prints as it goes."""
        counter, results = multiprocessing.Value("i", 0), multiprocessing.Queue()
        lanes = [multiprocessing.Process(target=self.lane, args=(counter, results))
                 for _ in range(self.options.parallel)]
        for lane in lanes:
            lane.start()
        done, hits = collections.Counter(), collections.Counter()
        outcomes, records = collections.Counter(), 0
        left = len(lanes)
        while left > 0:
            result = results.get()
            if result is None:
                left -= 1
                continue
            outcome, text, what, where, count = result
            print(f"crash: {text}", file=sys.stdout if outcome == "exact" else sys.stderr, flush=True)
            outcomes[outcome] += 1
            if outcome != "void":
                done.update(what)
                hits.update(where)
                records += count
        for lane in lanes:
            lane.join()
        for title, counts in (("done", done), ("hits", hits)):
            print(f"crash: {title}: " + ", ".join(f"{n} {name}" for name, n in counts.most_common()), flush=True)
        if outcomes["void"]:
            print(f"crash: {outcomes['void']} trials are VOID and not counted: the broker lost markers", flush=True)
        trials, wrong = outcomes["exact"] + outcomes["wrong"], outcomes["wrong"]
        print(f"crash: kills={done['kills']} zombies={done['zombies']} cuts={done['cuts']} "
              f"broker_kills={done['broker kills']} records={records} trials={trials} void={outcomes['void']} "
              f"wrong={wrong}", flush=True)
        if outcomes["void"] > trials:
            print("crash: too many trials are VOID to say anything", file=sys.stderr, flush=True)
            return 1
        return 1 if wrong or trials == 0 else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--broker", default="local")
    parser.add_argument("--topology", default="all", choices=["all", *TOPOLOGIES])
    for name in BUDGETS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=f"{name} in all ({DEFAULTS[name]})")
    parser.add_argument("--instances", type=int, default=3, choices=range(1, 9), metavar="1-8", help="at most")
    parser.add_argument("--minutes", type=float, default=0, help="no new trial after that")
    parser.add_argument("--parallel", type=int, default=1, help="trials at a time")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--trial", type=int, default=None, help="only this one of the campaign")
    parser.add_argument("--keep", action="store_true", help="keep the directories")
    options = parser.parse_args()
    if options.broker not in ("local", "kafka") and not options.broker.startswith("kafka:"):
        parser.error(f"--broker is local, kafka or kafka:HOST:PORT, not {options.broker}")
    if options.broker != "kafka" and (options.cuts or options.broker_kills):
        parser.error("--cuts and --broker-kills need a Kafka of its own: --broker kafka")
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 31)
    if not inside():
        print(f"crash: {build_directory()}/topology, --seed {options.seed}", flush=True)
        if options.broker == "kafka":
            Kafka.fetch()
        argv = [word for word in sys.argv[1:]] + ["--seed", str(options.seed)]
        os.environ["LEAT_BUILD"] = str(build_directory())
        if options.broker in ("local", "kafka"):
            return confine([sys.executable, os.path.abspath(__file__), *argv], options.keep)
    return Campaign(options).run()


if __name__ == "__main__":
    sys.exit(main())
