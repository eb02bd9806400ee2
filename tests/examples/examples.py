#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every command of an example's README.md in a copy of its directory, on the embedded broker, and
compares the result with a recomputation from its input, and with its expected.txt.

    tests/examples/examples.py word_count|payments [--install]

--install: with the binary and the operators of an install tree, made for the test in a directory of
its own, instead of those of the build tree.
"""
import collections
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def word_count(text):
    return {word: str(count) for word, count in collections.Counter(text.split()).items()}


def payments(text):
    seen, balance = set(), collections.Counter()
    for line in text.splitlines():
        try:
            payment = json.loads(line)
        except ValueError:
            continue
        if "id" in payment and payment["id"] not in seen:
            seen.add(payment["id"])
            balance[payment["account"]] += payment["amount"]
    return {account: str(cents) for account, cents in balance.items()}


# Recomputation, input, store, output topic.
EXAMPLES = {
    "word_count": (word_count, "input.txt", "count/state", "counts"),
    "payments": (payments, "input.jsonl", "balance/state", "balances"),
}


def readme_commands(readme):
    return "".join(re.findall(r"^```sh\n(.*?)^```", readme.read_text(encoding="utf-8"), re.S | re.M))


def table(text):
    return dict(line.split("\t") for line in text.splitlines())


def check(name, binary, work):
    recompute, source, store, topic = EXAMPLES[name]
    example = work / name
    shutil.copytree(ROOT / "examples" / name, example)
    environment = {**os.environ, "PATH": f"{binary}:{os.environ['PATH']}", "LC_ALL": "C"}
    environment.pop("LEAT_OPERATOR_PATH", None)

    def shell(commands):
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", commands], cwd=example,
                              env=environment, capture_output=True, text=True, timeout=110, check=False)
        if done.returncode != 0:
            sys.exit(f"{name}: exit code {done.returncode} of\n{commands}\n{done.stdout}{done.stderr}")
        return done.stdout

    commands = readme_commands(example / "README.md")
    assert commands.count("topology ") >= 6, f"{name}: its README shows hardly any command"
    shell(commands)
    right = recompute((example / source).read_text(encoding="utf-8"))
    expected = table((example / "expected.txt").read_text(encoding="utf-8"))
    assert expected == right, f"{name}: expected.txt is {expected}, recomputed {right}"
    state = table(shell(f"topology state topology.json scan {store}"))
    assert state == right, f"{name}: the state is {state}, recomputed {right}"
    output = shell(f"topology consume topology.json {topic} --until-end --format key-value")
    assert table(output) == right, f"{name}: the last outputs are {table(output)}, recomputed {right}"
    # A second run finds nothing to do and changes nothing.
    shell("topology run topology.json --until-end")
    again = shell(f"topology consume topology.json {topic} --until-end --format key-value")
    assert again == output, f"{name}: a second run changed the output"


def main():
    name, build = sys.argv[1], pathlib.Path(os.environ.get("LEAT_BUILD", ROOT / "build" / "dev"))
    build = build.resolve()
    with tempfile.TemporaryDirectory(prefix=f"leat-example-{name}.") as directory:
        work = pathlib.Path(directory)
        binary = build
        if "--install" in sys.argv:
            subprocess.run(["cmake", "--install", str(build), "--prefix", str(work / "prefix")],
                           check=True, stdout=subprocess.DEVNULL)
            binary = work / "prefix" / "bin"
        check(name, binary, work)
    print(f"{name}: every command of its README works, and the result is right")


if __name__ == "__main__":
    main()
