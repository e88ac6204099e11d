"""Notification and reconfiguration scripts of the operator: queue, retries, limits.

Which script runs, and with what, is the core's decision. The rule guarded here: scripts run beside
the sentinel and never hold it up; they are few at a time, end in bounded time, and are left to
themselves when the sentinel ends.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from sentinel_py.core.messages import Level, Notice
from sentinel_py.core.model import Constants
from sentinel_py.values import dataclass

MAX_QUEUE = 256
"""Jobs kept, as in Sentinel: a storm of notices must not grow without end."""

MAX_RUNNING = 16
"""Scripts at once, as in Sentinel."""

MAX_ATTEMPTS = 10
"""Runs of a job that asks for another one, as in Sentinel."""

TICK_MS = 100
"""When to try again what the system has no means for right now, as often as Sentinel does."""

_RETRY_EXIT: Final = 1
_EXEC_FAILED_EXIT: Final = 2
_FORK_FAILED_SIGNAL: Final = 99
_FORK_ERRORS: Final = {errno.EAGAIN, errno.ENOMEM}


@dataclass(frozen=True, slots=True)
class PendingScript:
    """A job as SENTINEL PENDING-SCRIPTS shows it."""

    argv: tuple[str, ...]
    is_running: bool
    pid: int  # 0 when it waits
    time_ms: int  # how long it runs, or has still to wait
    attempt: int


@dataclass(slots=True, eq=False)
class _Job:
    argv: tuple[str, ...]
    is_ready: bool = True
    pid: int = 0
    changed_at: int = 0  # when it was started, or is to be
    attempt: int = 0
    pidfd: int = -1
    overdue: asyncio.TimerHandle | None = None
    again: asyncio.TimerHandle | None = None  # the next poll or the next attempt


class Scripts:
    """The queue. Its own notices (``-script-error``, ...) go to ``notice``."""

    def __init__(self, constants: Constants, notice: Callable[[Notice], None]) -> None:
        self._constants = constants
        self._notice = notice
        self._jobs: list[_Job] = []
        self._pause: asyncio.TimerHandle | None = None

    def run(self, argv: tuple[str, ...]) -> None:
        """Queue a job; it starts at once unless too many others run."""
        self._jobs.append(_Job(argv, changed_at=_now()))
        if len(self._jobs) > MAX_QUEUE:
            oldest = next(job for job in self._jobs if not job.pid)
            self._jobs.remove(oldest)
            _release(oldest)
        self._start_ready()

    def pending(self) -> list[PendingScript]:
        now = _now()
        return [
            PendingScript(
                job.argv,
                is_running=job.pid != 0,
                pid=job.pid,
                time_ms=max(0, now - job.changed_at if job.pid else job.changed_at - now),
                attempt=job.attempt,
            )
            for job in self._jobs
        ]

    @property
    def running(self) -> int:
        return sum(1 for job in self._jobs if job.pid)

    @property
    def queued(self) -> int:
        return len(self._jobs)

    def close(self) -> None:
        """Forget all jobs; what runs is left running, as Sentinel does."""
        if self._pause:
            self._pause.cancel()
        for job in self._jobs:
            _release(job)
        self._jobs.clear()

    def _start_ready(self) -> None:
        for job in [job for job in self._jobs if job.is_ready]:
            if self._pause or self.running == MAX_RUNNING:
                return
            self._start(job)

    def _start(self, job: _Job) -> None:
        try:
            job.pid = _spawn(job.argv)
        except (OSError, ValueError) as error:  # ValueError: a NUL, which no argument can hold
            if isinstance(error, OSError) and error.errno in _FORK_ERRORS:
                self._report(job, _FORK_FAILED_SIGNAL, 0)
                self._pause = _after(TICK_MS, self._resume)
            else:
                self._settle(job, 0, _EXEC_FAILED_EXIT)
            return
        job.is_ready = False
        job.changed_at = _now()
        job.attempt += 1
        self._tell(Level.DEBUG, "+script-child", f"{job.pid}")
        job.overdue = _after(self._constants.script_max_runtime, self._kill, job)
        self._watch(job)

    def _resume(self) -> None:
        self._pause = None
        self._start_ready()

    def _watch(self, job: _Job) -> None:
        try:
            job.pidfd = os.pidfd_open(job.pid)
        except OSError:  # no descriptor free, or a kernel that has none of this kind
            job.again = _after(TICK_MS, self._poll, job)
        else:
            asyncio.get_running_loop().add_reader(job.pidfd, self._poll, job)

    def _poll(self, job: _Job) -> None:
        try:
            pid, status = os.waitpid(job.pid, os.WNOHANG)
        except ChildProcessError:  # reaped by the system: how it ended will never be known
            pid, status = job.pid, 0
        if not pid:
            job.again = _after(TICK_MS, self._poll, job)
            return
        code = os.waitstatus_to_exitcode(status)
        self._ended(job, by_signal=max(0, -code), exit_code=max(0, code))

    def _kill(self, job: _Job) -> None:
        self._tell(Level.WARNING, "-script-timeout", f"{job.argv[0]} {job.pid}")
        with suppress(ProcessLookupError):
            os.kill(job.pid, signal.SIGKILL)

    def _ended(self, job: _Job, by_signal: int, exit_code: int) -> None:
        self._tell(Level.DEBUG, "-script-child", f"{job.pid} {exit_code} {by_signal}")
        _release(job)
        job.pid = 0
        self._settle(job, by_signal, exit_code)
        self._start_ready()

    def _settle(self, job: _Job, by_signal: int, exit_code: int) -> None:
        """Have the job run again if it may, else let it go."""
        if (by_signal or exit_code == _RETRY_EXIT) and job.attempt < MAX_ATTEMPTS:
            delay_ms = self._constants.script_retry_delay * 2 ** (job.attempt - 1)
            job.changed_at = _now() + delay_ms
            job.again = _after(delay_ms, self._ready, job)
            return
        self._jobs.remove(job)
        if by_signal or exit_code:
            self._report(job, by_signal, exit_code)

    def _ready(self, job: _Job) -> None:
        job.is_ready = True
        self._start_ready()

    def _report(self, job: _Job, by_signal: int, exit_code: int) -> None:
        self._tell(Level.WARNING, "-script-error", f"{job.argv[0]} {by_signal} {exit_code}")

    def _tell(self, level: Level, name: str, text: str) -> None:
        self._notice(Notice(level, name, text))


def _spawn(argv: tuple[str, ...]) -> int:
    # Python ignores these two signals, and a child would inherit that.
    return os.posix_spawn(
        argv[0], argv, os.environ, setsigdef=(signal.SIGPIPE, signal.SIGXFSZ), setsigmask=()
    )


def _release(job: _Job) -> None:
    for timer in (job.overdue, job.again):
        if timer:
            timer.cancel()
    if job.pidfd >= 0:
        asyncio.get_running_loop().remove_reader(job.pidfd)
        os.close(job.pidfd)
        job.pidfd = -1


def _after(delay_ms: int, action: Callable[..., None], *args: object) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(delay_ms / 1000, action, *args)


def _now() -> int:
    return int(asyncio.get_running_loop().time() * 1000)
