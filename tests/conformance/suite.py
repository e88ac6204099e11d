"""One run of the suite: its folder, its processes, its verdicts.

The suite starts programs from the folder `src` beside it; what lies there decides what is tested.
The rule guarded: whatever the suite has started is ended with it, however the run ends.
"""

import contextlib
import fcntl
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from dataclasses import dataclass, field

import click

from .source import UnavailableError

RUN_WITHIN_S = 900  # four times what a run takes
LAST_LINES = 20
PROGRAMS = ("redis-server", "redis-cli", "redis-benchmark")
HOST = "127.0.0.1"
SENTINEL_PORTS = range(20000, 20005)  # where the suite starts its sentinels, if they are free
CLUSTER_PORT_OFFSET = 10000  # the suite takes no port whose bus port is in use

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_UNIT = re.compile(r"Testing unit: (.+)")
_TEST = re.compile(r"\d\d:\d\d:\d\d> (.+?): (.*)")
# Tests print what they do before the verdict, on its line or on lines of their own.
_VERDICT = re.compile(r"(?:.* )?(OK|FAILED: .*)")
_TROUBLE = ("FAILED: ", "ERROR: ", "WARNING: Aborting", "*** Crash report")


@contextlib.contextmanager
def alone(folder):
    """Wait for other runs: the ports of the suite are fixed, and its servers would meet."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            click.echo("Waiting for another run to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def raft_options():
    """What makes the suite's sentinels a Raft cluster that leaves each its own configuration."""
    require_free(SENTINEL_PORTS)
    return (
        *("--sentinel", "raft-peers", *(f"{HOST}:{port}" for port in SENTINEL_PORTS)),
        *("--sentinel", "raft-secret", secrets.token_hex()),
        *("--sentinel", "replicate-config", "no"),
    )


def require_free(ports):
    """Where a port is taken the suite goes on to another, and members would not be found."""
    for port in (it + beside for it in ports for beside in (0, CLUSTER_PORT_OFFSET)):
        try:
            socket.create_server((HOST, port)).close()
        except OSError as error:
            reason = f"port {port} is needed: {error.strerror}"
            raise UnavailableError(reason) from None


def prepare(source, folder, program, options=()):
    """A copy of the suite whose redis-sentinel is this program, with options behind its file."""
    shutil.copytree(source, folder, dirs_exist_ok=True)
    (folder / "tests/sentinel/tmp").mkdir(exist_ok=True)
    (folder / "src").mkdir()
    for name in PROGRAMS:
        if found := shutil.which(name):
            (folder / "src" / name).symlink_to(found)
    start = folder / "src" / "redis-sentinel"
    start.write_text(f'#!/bin/sh\nexec {shlex.join(program)} "$@" {shlex.join(options)}\n')
    start.chmod(0o755)


class Suite:
    """The running suite; it leads a process group that all it starts belongs to."""

    def __init__(self, folder, options):
        self._process = subprocess.Popen(
            ["sh", "./runtest-sentinel", *options],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self.last_lines = deque(maxlen=LAST_LINES)
        # Servers that outlive the suite keep its output open: reading would never end.
        threading.Thread(target=self._end_in_time, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self._end_all()
        self._process.wait()
        self._process.stdout.close()

    def lines(self):
        for line in self._process.stdout:
            self.last_lines.append(line.rstrip("\n"))
            yield line

    def status(self):
        return self._process.wait()

    def _end_in_time(self):
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(RUN_WITHIN_S)
        self._end_all()

    def _end_all(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


@dataclass
class Unit:
    """What the tests of one file came to."""

    name: str
    passed: int = 0
    failures: list[str] = field(default_factory=list)
    started_at: float = field(default_factory=time.monotonic)
    test: str = ""  # the one that has no verdict yet

    def read(self, text):
        if begun := _TEST.fullmatch(text):
            self.end()
            self.test, text = begun.groups()
        verdict = _VERDICT.fullmatch(text)
        if self.test and verdict:
            self._judge(verdict[1])
        elif text.startswith(_TROUBLE) and not self.failures:
            self.failures.append(text)

    def _judge(self, verdict):
        if verdict == "OK":
            self.passed += 1
        else:
            self.failures.append(f"{self.test}: {verdict}")
        self.test = ""

    def end(self):
        """Whatever comes next: a test that has said nothing until now has failed."""
        if self.test:
            self._judge("FAILED: no verdict")

    @property
    def seconds(self):
        return time.monotonic() - self.started_at


def units(lines):
    """The units in the suite's output, each as soon as it has ended."""
    unit = Unit("start")
    for line in lines:
        text = _COLOUR.sub("", line).rstrip("\n")
        if begun := _UNIT.fullmatch(text):
            yield from _ended(unit)
            unit = Unit(begun[1])
        else:
            unit.read(text)
    yield from _ended(unit)


def _ended(unit):
    unit.end()
    if unit.name != "start" or unit.failures:
        yield unit
