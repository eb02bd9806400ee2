# SPDX-License-Identifier: Apache-2.0
"""The topologies of the kill tests: what they are, what they are fed, and what must come out.

The oracle of each is a sequential recomputation, from the records that lie in the source topic, of every
output and of the state: (partition, offset, key, value, timestamp), in the order of partition and offset. It knows nothing of the engine but what docs/operators.md promises.
"""
import collections

from application import expect

KEYS = 40


class Topology:
    """One source, one node that matters, one or two sinks."""
    name = ""
    outputs = ("out",)
    stamped = False  # its records carry timestamps of ours

    def config(self):
        """The nodes of the topology file; a topic `?x` becomes the application's own."""
        raise NotImplementedError

    def record(self, source, number):
        """(key, value) of the number-th input; its value is unique."""
        return self.key(source), str(number)

    @staticmethod
    def key(source):
        """Some keys are hot, most are cold."""
        return f"k{int(source.triangular(0, KEYS, 0))}"

    def last_records(self):
        """(key, value) of what is fed when everything else is."""
        return []

    def expected(self, inputs):
        """{output: {(key, lane): [value, ...]}}: a lane is what has an order of its own within a key."""
        raise NotImplementedError

    def lane(self, value):  # pylint: disable=unused-argument
        return ""

    def state(self, inputs):
        """{store: {key: value}} in the end."""
        raise NotImplementedError

    def check(self, inputs, outputs, what):
        """Fails unless `outputs` ({output: records}) is what `inputs` must become."""
        expected = self.expected(inputs)
        for output, records in outputs.items():
            lanes = expected[output]
            seen = collections.Counter()
            places = {}
            for partition, offset, key, value in sorted(records, key=lambda record: record[:2]):
                lane = (key, self.lane(value))
                number = seen[lane]
                wanted = lanes.get(lane, [])
                right = wanted[number] if number < len(wanted) else "nothing more"
                expect(value == right, f"{what}: {output} partition {partition} offset {offset}: key {key} "
                                       f"has {value}, expected {right} (its number {number})")
                expect(places.setdefault(key, partition) == partition,
                       f"{what}: {output}: key {key} is in partitions {places[key]} and {partition}")
                seen[lane] += 1
            for lane, wanted in lanes.items():
                expect(seen[lane] == len(wanted), f"{what}: {output}: {lane} has {seen[lane]} records, "
                                                  f"expected {len(wanted)}; missing: {wanted[seen[lane]:][:3]}")


class Copy(Topology):
    name = "copy"

    def config(self):
        return {"sources": {"in": {"topic": "?in"}}, "sinks": {"out": {"topic": "?out", "from": "in"}}}

    def expected(self, inputs):
        lanes = collections.defaultdict(list)
        for _, _, key, value, _ in inputs:
            lanes[key, ""].append(value)
        return {"out": lanes}

    def state(self, inputs):
        return {}


class Count(Topology):
    name = "count"

    def config(self):
        return {"sources": {"in": {"topic": "?in"}},
                "operators": {"count": {"use": "aggregate", "from": "in"}},
                "sinks": {"out": {"topic": "?out", "from": "count"}}}

    @staticmethod
    def totals(inputs):
        return collections.Counter(key for _, _, key, _, _ in inputs)

    def expected(self, inputs):
        return {"out": {(key, ""): [str(number) for number in range(1, count + 1)]
                        for key, count in self.totals(inputs).items()}}

    def state(self, inputs):
        return {"count/state": {key: str(count) for key, count in self.totals(inputs).items()}}


class Regroup(Count):
    """Words through a repartition; the first word of a record is its alone."""
    name = "regroup"

    def config(self):
        return {"sources": {"in": {"topic": "?in"}},
                "operators": {"words": {"use": "split", "from": "in"},
                              "count": {"use": "aggregate", "from": "by_word"}},
                "repartitions": {"by_word": {"from": "words", "partitions": 3}},
                "sinks": {"out": {"topic": "?out", "from": "count"}}}

    def record(self, source, number):
        words = [f"w{int(source.triangular(0, KEYS, 0))}" for _ in range(source.randrange(3))]
        return self.key(source), " ".join([f"u{number}", *words])

    @staticmethod
    def totals(inputs):
        return collections.Counter(word for _, _, _, value, _ in inputs for word in value.split())


class Append(Topology):
    """Every output carries the ids of all inputs of its key so far. A key lives for some thousand
    records of the whole input, so that its list stays short."""
    name = "append"

    def config(self):
        return {"sources": {"in": {"topic": "?in"}},
                "operators": {"append": {"use": "append", "from": "in"}},
                "sinks": {"out": {"topic": "?out", "from": "append"}}}

    def record(self, source, number):
        return f"{self.key(source)}.{number // 800}", str(number)

    def expected(self, inputs):
        lanes = collections.defaultdict(list)
        for _, _, key, value, _ in inputs:
            lists = lanes[key, ""]
            lists.append(f"{lists[-1]},{value}" if lists else value)
        return {"out": lanes}

    def state(self, inputs):
        return {"append/lists": {key: lists[-1] for (key, _), lists in self.expected(inputs)["out"].items()}}


class Transfer(Topology):
    """Both sides of each transfer or none, and not a penny made or lost."""
    name = "transfer"
    outputs = ("debits", "credits")

    def __init__(self):
        self.partitions = {}  # of a transfer: the order of a credited account is per input partition

    def config(self):
        return {"sources": {"in": {"topic": "?in"}},
                "operators": {"transfer": {"use": "transfer", "from": "in"}},
                "sinks": {"debits": {"topic": "?debits", "from": "transfer.debits"},
                          "credits": {"topic": "?credits", "from": "transfer.credits"}}}

    def record(self, source, number):
        sender, receiver = self.key(source), self.key(source)
        return sender, f"{number} {sender} {receiver} {source.randrange(1, 1000)}"

    def lane(self, value):
        return self.partitions.get(value.split()[0])

    def expected(self, inputs):
        debits, credits = collections.defaultdict(list), collections.defaultdict(list)
        for partition, _, _, value, _ in inputs:
            number, sender, receiver, amount = value.split()
            self.partitions[number] = partition
            debits[sender, partition].append(f"{number} -{amount}")
            credits[receiver, partition].append(f"{number} {amount}")
        return {"debits": debits, "credits": credits}

    def check(self, inputs, outputs, what):
        super().check(inputs, outputs, what)
        if len(outputs) == 2:
            total = sum(int(value.split()[1]) for records in outputs.values() for *_, value in records)
            expect(total == 0, f"{what}: the transfers sum up to {total}, not 0")

    def state(self, inputs):
        sides = collections.Counter(), collections.Counter()
        for _, _, _, value, _ in inputs:
            _, sender, receiver, amount = value.split()
            sides[0][sender] -= int(amount)
            sides[1][receiver] += int(amount)
        return {f"transfer/{store}": {account: str(total) for account, total in side.items()}
                for store, side in zip(("from", "to"), sides)}


class Timers(Topology):
    """Each timer fires once: the stream-time ones in the very order of the recomputation, those of the
    wall clock in any."""
    name = "timers"
    stamped = True

    def config(self):
        return {"sources": {"in": {"topic": "?in"}},
                "operators": {"timers": {"use": "timers", "from": "in"}},
                "sinks": {"out": {"topic": "?out", "from": "timers"}}}

    def record(self, source, number):
        if number > 100 and source.random() < 0.1:
            return f"k{(number - 40) % KEYS}", f"cancel {number - 40 * source.randrange(1, 3)} {number}"
        return f"k{number % KEYS}", f"set {number} {source.randrange(0, 600)} {source.randrange(0, 1500)}"

    def last_records(self):
        return [(f"k{number}", "flush") for number in range(KEYS)]

    def lane(self, value):
        return value if value.endswith(" wall") else ""

    def expected(self, inputs):
        lanes = collections.defaultdict(list)
        tasks = collections.defaultdict(dict)  # partition: {id: (due, id, key)}
        for partition, _, key, value, time_ms in inputs:
            pending = tasks[partition]
            for due, number, owner in sorted(t for t in pending.values() if t[0] <= time_ms):
                lanes[owner, ""].append(f"{number} stream")
                del pending[number]
            words = value.split()
            if words[0] == "cancel":
                gone = pending.pop(words[1], None) is None
                lanes[key, ""].append(f"{words[1]} {'late' if gone else 'cancelled'}")
            elif words[0] == "set":
                due = time_ms + int(words[2])
                if due <= time_ms:
                    lanes[key, ""].append(f"{words[1]} stream")
                else:
                    pending[words[1]] = (due, words[1], key)
                lanes[key, f"{words[1]} wall"].append(f"{words[1]} wall")
        expect(not any(tasks.values()), "the last records must come after every timer")
        return {"out": lanes}

    def state(self, inputs):
        return {"timers/pending": {}}


TOPOLOGIES = {kind.name: kind for kind in (Copy, Count, Regroup, Append, Transfer, Timers)}
