"""Starting a sentinel: what the operator got wrong is told in one clear message."""

import os
import re
import socket
import subprocess
from pathlib import Path

import pytest
from redis import ResponseError

from sentinel_py.local import HOST, wait_ready

from .group import ask

START_WITHIN_S = 15
EXAMPLE = Path(__file__).parents[2] / "conf" / "sentinel.conf"


@pytest.fixture
def fails(program, tmp_path):
    """Run the sentinel with arguments that cannot work; what it printed."""

    def run(*arguments):
        done = subprocess.run(
            [*program, *map(str, arguments)],
            cwd=tmp_path,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_WITHIN_S,
        )
        assert done.returncode == 1, done
        assert "Traceback" not in done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


UNKNOWN = "Bad directive or wrong number of arguments"
NO_STATEMENT = "Unrecognized sentinel configuration statement."


@pytest.mark.parametrize(
    ("lines", "number", "reason"),
    [
        (["port 26379", "foo bar"], 2, UNKNOWN),
        (["port abc"], 1, "argument couldn't be parsed into an integer"),
        (["daemonize perhaps"], 1, "argument must be 'yes' or 'no'"),
        (["# first", "", "sentinel monitorr m 127.0.0.1 6379 2"], 3, NO_STATEMENT),
        (["sentinel monitor m 127.0.0.1 6379 0"], 1, "Quorum must be 1 or greater."),
        (["sentinel auth-pass other secret"], 1, "No such master with specified name."),
        (['port "26379'], 1, "Unbalanced quotes in configuration line"),
    ],
)
def test_a_wrong_line_is_named_with_its_number_and_reason(fails, tmp_path, lines, number, reason):
    """The report is the one that operators know from redis-sentinel."""
    conf = tmp_path / "sentinel.conf"
    conf.write_text("\n".join([*lines, ""]))
    printed = fails(conf)
    report = rf"""
\*\*\* FATAL CONFIG FILE ERROR \(.+\) \*\*\*
Reading the configuration file, at line {number}
>>> '{re.escape(lines[number - 1])}'
{re.escape(reason)}
"""
    assert re.search(report, printed), printed


def test_a_missing_file_is_named(fails, tmp_path):
    """The path and the system's reason, and nothing else."""
    missing = tmp_path / "missing.conf"
    expected = f"Fatal error, can't open config file '{missing}': No such file or directory"
    assert expected in fails(missing)


def test_without_a_file_there_is_no_sentinel(fails):
    """A sentinel must remember its votes."""
    assert "Sentinel needs config file on disk to save state." in fails()


def test_a_port_in_use_is_named(fails, tmp_path):
    """The port and the system's reason."""
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        conf = tmp_path / "sentinel.conf"
        conf.write_text(f"port {port}\nbind {HOST}\n")
        printed = fails(conf)
    assert re.search(rf"{port}.*Address already in use", printed), printed


def test_the_shipped_example_starts(sandbox, program):
    """Every line of it is valid without those of Raft mode; only the port is not ours to take."""
    left_out = ("port ", "sentinel raft-")
    lines = [line for line in EXAMPLE.read_text().splitlines() if not line.startswith(left_out)]
    sentinel = sandbox.sentinel(lines, program=program)
    wait_ready([sentinel])
    named = ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")
    assert named == ["192.0.2.10", "6379"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_cannot_be_written_is_named(fails, tmp_path):
    """Found at the start, not at the first vote."""
    conf = tmp_path / "sentinel.conf"
    conf.write_text(f"bind {HOST}\n")
    conf.chmod(0o400)
    assert f"Sentinel config file {conf} is not writable: Permission denied" in fails(conf)


def test_a_directory_that_goes_away_is_an_error_and_not_the_end(sandbox, program):
    """A sentinel that cannot save says so to the client, works on, and saves when it can again."""
    sentinel = sandbox.sentinel([], program=program)
    wait_ready([sentinel])
    elsewhere = sentinel.folder.with_name("elsewhere")
    sentinel.folder.rename(elsewhere)
    with pytest.raises(ResponseError, match=r"Failed to save config file\. Check server logs\."):
        ask(sentinel, "SENTINEL", "FLUSHCONFIG")
    assert len(ask(sentinel, "SENTINEL", "MYID")) == 40
    elsewhere.rename(sentinel.folder)
    assert ask(sentinel, "SENTINEL", "FLUSHCONFIG") == "OK"
