"""A sentinel as a process among others: background, pid file, log, service manager."""

import os
import re
import signal
import socket

import pytest

from sentinel_py.local import HOST, READY_WITHIN_MS, eventually, wait_ready

from .group import NAME, ask

A_LINE = r"\d+:X \d{2} \w{3} \d{4} \d{2}:\d{2}:\d{2}\.\d{3} [.*#-] \S.*"


@pytest.fixture
def pidfile(sandbox):
    """Where a process in the background leaves its id; it is ended with the test."""
    path = sandbox.folder / "sentinel.pid"
    yield path
    if path.exists():
        os.kill(int(path.read_text()), signal.SIGKILL)


def test_a_daemon_leaves_its_pid_and_its_log(sandbox, program, pidfile):
    """What was started returns at once; SIGTERM to the pid in the file ends the rest in order."""
    logfile = sandbox.folder / "sentinel.log"
    lines = ["daemonize yes", f"pidfile {pidfile}", f"logfile {logfile}"]
    started = sandbox.sentinel([*lines, f"sentinel monitor {NAME} {HOST} 1 2"], program=program)
    pid = started.pid
    assert started.wait() == 0
    daemon = eventually(lambda: pidfile.exists() and int(pidfile.read_text() or 0))
    assert daemon != pid
    assert eventually(lambda: ask(started, "INFO", "server"))["process_id"] == daemon
    assert os.getsid(daemon) != os.getsid(0)
    assert not started.log

    os.kill(daemon, signal.SIGTERM)
    eventually(lambda: not pidfile.exists())
    written = logfile.read_text().splitlines()
    assert all(re.fullmatch(A_LINE, line) for line in written)
    assert f"+monitor master {NAME} {HOST} 1 quorum 2" in "\n".join(written)
    assert written[-1].endswith("# Sentinel is now ready to exit, bye bye...")


def test_a_log_that_is_moved_away_is_begun_anew(sandbox, program):
    """As logrotate does it, without a signal."""
    logfile = sandbox.folder / "sentinel.log"
    lines = [f"logfile {logfile}", f"sentinel monitor {NAME} {HOST} 1 2"]
    sentinel = sandbox.sentinel(lines, program=program)
    wait_ready([sentinel])
    logfile.rename(logfile.with_suffix(".1"))
    ask(sentinel, "SENTINEL", "RESET", NAME)
    assert f"+reset-master master {NAME}" in logfile.read_text()


@pytest.mark.parametrize(("loglevel", "marks"), [("warning", "#"), ("notice", "#*")])
def test_loglevel_says_what_is_written(sandbox, program, loglevel, marks):
    """Lines below the level are left out; those that are there carry their mark."""
    lines = [f"loglevel {loglevel}", f"sentinel monitor {NAME} {HOST} 1 2"]
    sentinel = sandbox.sentinel(lines, program=program)
    wait_ready([sentinel])
    found = set(re.findall(r"\d\.\d{3} ([.*#-]) ", sentinel.log))
    assert found == set(marks)


def test_syslog_is_accepted(sandbox, program):
    """Lines go to the log as before, whether somebody takes those for syslog or not."""
    lines = ["syslog-enabled yes", "syslog-ident sentinel-py", "syslog-facility local3"]
    sentinel = sandbox.sentinel(lines, program=program)
    wait_ready([sentinel])
    assert "Sentinel ID is " in sentinel.log


@pytest.mark.parametrize("word", ["systemd", "auto"])
def test_systemd_is_told_when_we_are_ready(sandbox, program, monkeypatch, word):
    """READY=1 comes when clients are answered; in spite of `daemonize` we stay where we are."""
    path = sandbox.folder / "notify.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(READY_WITHIN_MS / 1000)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        sentinel = sandbox.sentinel([f"supervised {word}", "daemonize yes"], program=program)
        said = b""
        while b"READY=1" not in said:
            said += manager.recv(4096)
    assert ask(sentinel, "INFO", "server")["process_id"] == sentinel.pid


def test_a_notify_socket_is_none_of_our_business_unless_supervised(sandbox, program, monkeypatch):
    """The variable may be inherited from a service that runs us for its own purposes."""
    path = sandbox.folder / "notify.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        sentinel = sandbox.sentinel([], program=program)
        wait_ready([sentinel])
        with pytest.raises(BlockingIOError):
            manager.recv(1)
