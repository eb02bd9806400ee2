# SPDX-License-Identifier: Apache-2.0
"""Namespaces of their own: nothing of a campaign outlives it, and cables that can be cut.

`confine` runs a program again in new mount, pid and network namespaces: when it ends, however it ends, every
process in them ends and every interface is gone; ports on its loopback are its alone. A Network gives an
instance a network namespace within, joined by a veth pair, and drops what comes in or goes out by iptables.
Works for root and, where users may make namespaces, for users.
"""
import os
import shutil
import signal
import subprocess
import tempfile

from application import Failure

INSIDE = "LEAT_CRASH_INSIDE"
BROKER_ADDRESS = "10.77.255.1"  # on the loopback of the campaign's own network


def unshare():
    flags = ["--mount", "--pid", "--fork", "--kill-child", "--net", "--mount-proc"]
    return ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), *flags]


def obstacle():
    """Why there are no namespaces of our own here; None if there are."""
    for program in ("unshare", "nsenter", "ip", "iptables"):
        if shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None:
            return f"no program {program}"
    trial = "ip link set lo up && iptables -A INPUT -i nothing -j DROP"
    done = subprocess.run([*unshare(), "sh", "-c", trial], capture_output=True, text=True, check=False)
    lines = done.stderr.strip().splitlines()
    return None if done.returncode == 0 else (lines[-1] if lines else f"exit code {done.returncode}")


def inside():
    return os.environ.get(INSIDE)


def confine(argv, keep):
    """Runs argv in namespaces and a temporary directory of its own; its exit code. What it leaves in the
    directory when it fails stays, or always if `keep`."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    reason = obstacle()
    if reason:
        print(f"crash: SKIPPED network cuts: no namespaces of our own here: {reason}", flush=True)
    base = tempfile.mkdtemp(prefix="leat-crash.")
    os.chmod(base, 0o755)
    environment = {**os.environ, INSIDE: "no" if reason else "yes", "TMPDIR": base}
    child = subprocess.Popen([*([] if reason else unshare()), *argv], env=environment)

    def end(*_):
        child.send_signal(signal.SIGTERM if reason else signal.SIGKILL)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    code = child.wait()
    if code < 0 or (code == 0 and not keep):  # interrupted, or all is well
        shutil.rmtree(base, ignore_errors=True)
    return code if code >= 0 else 128 - code


class Network:
    """Cables between instances and the broker, of which each can be cut in either direction."""

    def __init__(self):
        self.cables = {}  # instance: the process that holds its namespace
        self.run("ip", "link", "set", "lo", "up")
        addresses = subprocess.run(["ip", "-o", "address", "show", "dev", "lo"], capture_output=True, text=True,
                                   check=True).stdout
        if BROKER_ADDRESS not in addresses:
            subprocess.run(["ip", "address", "add", f"{BROKER_ADDRESS}/32", "dev", "lo"], check=False,
                           stderr=subprocess.DEVNULL)  # another lane may be quicker

    @staticmethod
    def run(*argv):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failure(f"{' '.join(argv)}: {done.stderr.strip()}")

    def enter(self, name):
        """What to put before a command, so that it runs at the far end of the cable of `name`."""
        if name not in self.cables:
            self.lay(name)
        return ["nsenter", f"--net=/proc/{self.cables[name].pid}/ns/net"]

    def lay(self, name):
        holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo ready; exec sleep infinity"],
                                  stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.cables[name] = holder
        holder.stdout.readline()
        number = holder.pid  # unique in our pid namespace
        near, far = f"n{number}", f"f{number}"
        base = f"10.{78 + number // 16384 % 100}.{number // 64 % 256}"
        one, two = (f"{base}.{number % 64 * 4 + end}" for end in (1, 2))
        self.run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", str(holder.pid))
        self.run("ip", "address", "add", f"{one}/30", "dev", near)
        self.run("ip", "link", "set", near, "up")
        for argv in (["ip", "link", "set", "lo", "up"], ["ip", "address", "add", f"{two}/30", "dev", far],
                     ["ip", "link", "set", far, "up"], ["ip", "route", "add", "default", "via", one]):
            self.run(*self.enter(name), *argv)

    def cut(self, name, direction):
        """`in`: nothing comes in any more; `out`: nothing goes out; or `both`."""
        for chain in {"in": ["INPUT"], "out": ["OUTPUT"], "both": ["INPUT", "OUTPUT"]}[direction]:
            self.run(*self.enter(name), "iptables", "-w", "-A", chain, "-j", "DROP")

    def mend(self, name):
        self.run(*self.enter(name), "iptables", "-w", "-F")

    def close(self):
        for holder in self.cables.values():
            holder.kill()
            holder.wait()
