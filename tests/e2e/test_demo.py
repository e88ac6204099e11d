"""The demo ends well, says in one line why when it does not, and leaves nothing behind."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sentinel_py.local import eventually, sentinel_program

DEMO_WITHIN_S = 100


class Demo:
    """A running demo whose temporary files lie in a directory of the test."""

    def __init__(self, folder, *options):
        self.folder = folder / "tmp"
        self.folder.mkdir()
        self._output = folder / "printed"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sentinel_py.demo", *options],
                env={**os.environ, "TMPDIR": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def printed(self):
        return self._output.read_text()

    def says(self, pattern):
        eventually(lambda: re.search(pattern, self.printed), DEMO_WITHIN_S * 1000, pattern)

    def ends(self):
        return self.process.wait(DEMO_WITHIN_S)

    def left_behind(self):
        return [*self.folder.iterdir(), *self.processes()]

    def processes(self):
        """The ids of all processes that run in a directory of the demo."""
        return [pid for pid in process_ids() if str(self.folder) in working_dir(pid)]

    def end(self):
        self.process.kill()
        self.process.wait()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)


def process_ids():
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def working_dir(pid):
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return ""


@pytest.fixture
def demo(tmp_path, program):
    """Start a demo; it is killed with the test if it still runs."""
    started = []
    other = [] if program == sentinel_program() else ["--sentinel", shlex.join(program)]

    def start(*options, sentinel=None):
        named = ["--sentinel", sentinel] if sentinel else other
        started.append(Demo(tmp_path, "--down-after", "500", *named, *options))
        return started[-1]

    yield start
    for running in started:
        running.end()


@pytest.mark.parametrize(
    ("options", "kind"), [((), "a Raft cluster"), (("--classic",), "in classic mode")]
)
def test_one_failover_from_beginning_to_end(demo, program, options, kind):
    """Status 0 means: the writer wrote again, all agree, the old master follows the new one."""
    running = demo("--once", *options)
    assert running.ends() == 0, running.printed
    if program == sentinel_program():
        assert kind in running.printed
    for line in (r"kill -9 +the master", r"\+switch-master +clients", r"first write +taken by"):
        assert re.search(rf"^ +\d+  {line}", running.printed, re.MULTILINE), running.printed
    assert re.search(r"is a replica of 127\.0\.0\.1:\d+, \d+ ms after its start", running.printed)
    assert not running.left_behind()


@pytest.mark.parametrize(
    ("moment", "number", "options", "status"),
    [
        ("quorum 2", signal.SIGTERM, (), 0),
        (r"\+sdown master", signal.SIGINT, (), 0),
        (r"\+sdown master", signal.SIGTERM, ("--once",), 130),
    ],
    ids=["at the start", "in the failover", "of one failover"],
)
def test_a_signal_ends_everything(demo, moment, number, options, status):
    """Whenever it comes, no process and no file is left."""
    running = demo(*options)
    running.says(moment)
    assert running.left_behind()
    running.process.send_signal(number)
    assert running.ends() == status, running.printed
    assert "Traceback" not in running.printed
    assert not running.left_behind()


@pytest.mark.parametrize(
    ("sentinel", "line"),
    [
        ("/no/such/program", "demo: cannot run /no/such/program: No such file or directory"),
        ("false", r"demo: sentinel on port \d+ ended with status 1: it printed nothing"),
        ("echo no, not", r"demo: sentinel on port \d+ ended with status 0: no, not .+\.conf"),
    ],
)
def test_an_error_is_one_line(demo, sentinel, line):
    """Status 1 and the reason; what ran already is ended."""
    running = demo("--once", sentinel=sentinel)
    assert running.ends() == 1
    assert re.search(rf"^{line}$", running.printed, re.MULTILINE), running.printed
    assert "Traceback" not in running.printed
    assert not running.left_behind()
