#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every command of an example's README.md in a copy of its directory, on the embedded broker, and
compares the result with a recomputation from its input, and with its expected.txt.

    tests/examples/examples.py word_count|payments [--install]
    tests/examples/examples.py readme|getting_started

The other two run the commands of README.md (the tour) and docs/getting-started.md the same way.
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


def run_shell(commands, directory, binary=None):
    environment = {**os.environ, "LC_ALL": "C"}
    environment.pop("LEAT_OPERATOR_PATH", None)
    if binary is not None:
        environment["PATH"] = f"{binary}:{environment['PATH']}"
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", commands], cwd=directory,
                          env=environment, capture_output=True, text=True, timeout=110, check=False)
    if done.returncode != 0:
        sys.exit(f"exit code {done.returncode} of\n{commands}\n{done.stdout}{done.stderr}")
    return done.stdout


def check(name, binary, work):
    recompute, source, store, topic = EXAMPLES[name]
    example = work / name
    shutil.copytree(ROOT / "examples" / name, example)

    def shell(commands):
        return run_shell(commands, example, binary)

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


def check_readme(work):
    """The tour as it stands, in a tree that looks like a clone with a release build."""
    tour = (ROOT / "README.md").read_text(encoding="utf-8").split("## Five minutes with it")[1]
    commands = "".join(re.findall(r"^```sh\n(.*?)^```", tour, re.S | re.M))
    shutil.copytree(ROOT / "examples", work / "examples")
    # The state follows the output by a moment, and a script is faster than a reader of the tour.
    get = next(line for line in commands.split("\n") if " state topology.json get " in line)
    patient = f"for i in $(seq 100); do {get} && break; sleep 0.05; done"
    assert "kill -9 %1" in commands
    out = run_shell(commands.replace(get, patient), work)
    assert "\nbe\t2\n" in out, f"README.md: the state does not show 2 for be:\n{out}"
    assert "\nbe\t3\n" in out, f"README.md: the state does not show 3 for be:\n{out}"


def check_getting_started(work):
    text = (ROOT / "docs" / "getting-started.md").read_text(encoding="utf-8")
    (work / "orders.json").write_text(re.search(r"^```json\n(.*?)^```", text, re.S | re.M)[1],
                                      encoding="utf-8")
    out = run_shell("".join(re.findall(r"^```sh\n(.*?)^```", text, re.S | re.M)), work)
    assert out.endswith("ann\t2\n"), f"getting-started.md: ann is not 2:\n{out}"


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
        if name in EXAMPLES:
            check(name, binary, work)
        else:
            (work / "build").mkdir()
            (work / "build" / "release").symlink_to(build)
            {"readme": check_readme, "getting_started": check_getting_started}[name](work)
    print(f"{name}: every command shown works, and the result is right")


if __name__ == "__main__":
    main()
