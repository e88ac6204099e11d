"""The Unix process: background, pid file, signals, service manager, limits.

Nothing here knows of sentinels. The rule it guards: whatever of this fails is one log line, and
only what the operator cannot do without ends the start.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
from collections.abc import Callable

from sentinel_py.config.settings import ServerSettings

RESERVED_FILES = 32
"""Descriptors that are not clients: log, config file, listeners, as Redis counts them."""

_DEFAULT_PIDFILE = "/var/run/redis.pid"


def go_to_background() -> None:
    """Leave the terminal and the parent process behind."""
    if os.fork():
        os._exit(0)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    if null > 2:
        os.close(null)


def is_supervised(settings: ServerSettings) -> bool:
    """Whether a service manager started us, by directive or, with ``auto``, by its environment."""
    manager = settings.supervised
    if manager == "auto":
        return "NOTIFY_SOCKET" in os.environ or "UPSTART_JOB" in os.environ
    return manager in ("systemd", "upstart")


def tell_systemd(message: str) -> None:
    """Send a state such as ``READY=1`` to systemd (sd_notify protocol); nothing without it."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path[:1] not in ("/", "@"):
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
        try:
            notify.connect(address)
            notify.send(message.encode())
        except OSError as error:
            sys.stderr.write(f"systemd did not take {message}: {error.strerror}\n")


class PidFile:
    """Written at the start if asked for or in the background; removed at an orderly end."""

    def __init__(self, settings: ServerSettings) -> None:
        self._path = settings.pidfile or (_DEFAULT_PIDFILE if settings.daemonize else "")

    def write(self, warn: Callable[[str], None]) -> None:
        if not self._path:
            return
        try:
            with open(self._path, "w", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n")
        except OSError as error:
            warn(f"Failed to write PID file {self._path}: {error.strerror}")

    def remove(self) -> None:
        if self._path:
            try:
                os.unlink(self._path)
            except OSError:
                return


def allow_clients(wanted: int, warn: Callable[[str], None], reserved: int = RESERVED_FILES) -> int:
    """Raise the limit of open files for so many clients; returns how many there can be."""
    needed = wanted + reserved
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    reachable = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
    if reachable < needed:
        possible = max(1, reachable - reserved)
        warn(f"maxclients has been reduced to {possible}: only {reachable} files can be open")
        return possible
    return wanted
