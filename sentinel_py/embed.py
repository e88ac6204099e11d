"""A sentinel inside another asyncio program.

    from sentinel_py import Sentinel

    async with Sentinel("/etc/sentinel.conf") as sentinel:
        async for notice in sentinel.notices("+switch-master"):
            print(notice.text)

It is the same sentinel as the one that `sentinel-py` runs: it listens on its port, keeps its state
in its config file, and is one of its peers' peers. What it leaves alone is what belongs to the
program: signals, the working directory (what ``dir`` names is used where it is), standard output
(log lines go to the logger ``sentinel_py``), pid file and background. A bug of ours ends the
sentinel and not the program: `wait` and `stop` raise SentinelError then, and streams end. To see
what fails in callbacks of ours, it looks into what comes to the loop's exception handler.

The rule guarded: what the program does with a notice never holds the sentinel up. The one thing
that a failover waits for is a before-hook, which has its time limit.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias

from sentinel_py import daemon, faults, tasks
from sentinel_py.config import config
from sentinel_py.config.settings import ServerSettings
from sentinel_py.core import members
from sentinel_py.core.messages import (
    AskConsent,
    Consent,
    FailOver,
    Level,
    Notice,
    Refused,
)
from sentinel_py.core.model import Master, Replica, State
from sentinel_py.logs import LogFile, LogOptions
from sentinel_py.node import Outcome
from sentinel_py.process import PidFile
from sentinel_py.storage import LocalDisk

if TYPE_CHECKING:
    from sentinel_py.config.state_file import StateFile

STREAM_MAX = 1_000
"""Notices that wait for a reader; beyond that the oldest are dropped, and counted."""

BEFORE_WITHIN_S = 1.0
"""What a failover waits for a before-hook, if the caller does not say otherwise."""

_LOG = logging.getLogger("sentinel_py")
_PYTHON_LEVELS = {
    Level.DEBUG: logging.DEBUG,
    Level.VERBOSE: logging.DEBUG,
    Level.NOTICE: logging.INFO,
    Level.WARNING: logging.WARNING,
}


class SentinelError(Exception):
    """It can't start, or an order can't be carried out; one clear text."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class MasterStatus:
    """A watched master, as this sentinel sees it now."""

    name: str
    endpoint: Endpoint
    is_down: bool
    is_agreed_down: bool  # enough sentinels say so
    is_failing_over: bool  # led by this sentinel
    replicas: tuple[Endpoint, ...]
    sentinels: int  # with this one
    quorum: int
    config_epoch: int


@dataclass(frozen=True, slots=True)
class Switch:
    """A failover's outcome."""

    master: str
    old: Endpoint
    new: Endpoint


class Verdict(Enum):
    """What a before-hook's silence means."""

    CONSENT = "consent"
    REFUSAL = "refusal"


_Prepared: TypeAlias = "tuple[config.Config, State, StateFile | None]"
BeforeHook = Callable[[MasterStatus], Awaitable[bool]]
AfterHook = Callable[[Switch], Awaitable[None]]


class Notices:
    """Notices as they come: an async iterator that ends with the sentinel, or by `close`."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.missed = 0  # dropped because nobody read in time
        self._names = frozenset(names)
        self._waiting: deque[Notice] = deque()
        self.is_closed = False
        self._changed = asyncio.Event()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Notice:
        while not self._waiting:
            if self.is_closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._waiting.popleft()

    def close(self) -> None:
        self.is_closed = True
        self._changed.set()

    def put(self, notice: Notice) -> None:
        if self.is_closed or (self._names and notice.name not in self._names):
            return
        if len(self._waiting) == STREAM_MAX:
            self._waiting.popleft()
            self.missed += 1
        self._waiting.append(notice)
        self._changed.set()


@dataclass(frozen=True, slots=True)
class _Before:
    hook: BeforeHook
    within_s: float
    on_timeout: Verdict

    async def verdict(self, status: MasterStatus) -> bool:
        """What the hook says; in time, whatever it does about its cancellation."""
        call = tasks.begin(self._call(status), lambda _: None)
        done, _ = await asyncio.wait({call}, timeout=self.within_s)
        if done and not call.cancelled() and call.exception() is None:
            return call.result()
        call.cancel()
        why = call.exception() if done and not call.cancelled() else None
        _LOG.warning(
            "A before-hook for %s %s, which is taken as %s",
            status.name,
            "failed" if done else f"gave no answer in {self.within_s:g} s",
            self.on_timeout.value,
            exc_info=why,
        )
        return self.on_timeout is Verdict.CONSENT

    async def _call(self, status: MasterStatus) -> bool:
        return bool(await self.hook(status))  # here, where it may fail as the hook itself may


class Sentinel:
    """One sentinel; started and stopped once.

    ``options`` are those of the command line: ``"--port", "26380"``. Paths in the config file that
    are not absolute begin at the program's working directory.
    """

    def __init__(self, config_file: str | os.PathLike[str], *options: str) -> None:
        self._path = os.fspath(config_file)
        self._options = options
        self._guest: _Guest | None = None
        self._serving: asyncio.Task[int] | None = None
        self._streams: list[Notices] = []
        self._before: list[_Before] = []
        self._after: list[AfterHook] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._handler: Callable[..., object] | None = None
        self._handler_before: Callable[..., object] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.stop()
        except SentinelError:
            if error is None:
                raise

    async def start(self) -> None:
        """Read the config file, listen, and begin to watch; SentinelError if that can't be."""
        if self._guest is not None:
            raise SentinelError("This Sentinel was started already; make another one")
        try:
            # Files and host names take their time, which is the program's.
            guest = _Guest(await asyncio.to_thread(self._read), self._ask)
            guest.state.asks_leave = bool(self._before)
            await guest.open_or_end()
        except daemon.START_ERRORS as error:
            raise SentinelError(str(error).strip()) from error
        self._guest = guest
        self._watch(asyncio.get_running_loop(), guest)
        guest.publisher.listeners.append(self._heard)
        for hook in self._after:
            self._spawn(self._follow(hook))
        self._serving = tasks.begin(guest.serve(), lambda _: self._end())

    async def stop(self) -> None:
        """End in order: in a Raft cluster, another one leads first. Streams end, too."""
        if self._guest is not None:
            self._guest.shutdown()
            await self.wait()

    async def wait(self) -> None:
        """Until it has ended, by `stop` or by a client's SHUTDOWN.

        SentinelError if a bug has ended it; another `Sentinel` may be started in its place.
        """
        if self._serving is not None:
            await asyncio.shield(self._serving)
        # A hook that stops the sentinel is no task to wait for.
        others = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        self._check_fault()

    def _check_fault(self) -> None:
        if self._guest is not None and (fault := self._guest.fault) is not None:
            raise SentinelError(f"It has ended for a bug: {fault!r}") from fault

    # What happens

    def notices(self, *names: str) -> Notices:
        """Notices from now on: those of these names, or all. Each stream gets its own."""
        stream = Notices(names)
        self._streams.append(stream)
        return stream

    def before_failover(
        self,
        hook: BeforeHook,
        *,
        within_s: float = BEFORE_WITHIN_S,
        on_timeout: Verdict = Verdict.CONSENT,
    ) -> None:
        """Have a hook asked before this sentinel starts a failover by itself; False is a veto.

        After ``within_s``, and when the hook fails, the answer is ``on_timeout``. A veto holds for
        failover-timeout, then the hook is asked again; it is no other sentinel's: without a Raft
        cluster, or after the Raft leader's end, another one may start the failover. An operator's
        order (SENTINEL FAILOVER) is not asked about.
        """
        self._before.append(_Before(hook, within_s, on_timeout))
        if self._guest is not None:
            self._guest.state.asks_leave = True

    def after_failover(self, hook: AfterHook) -> None:
        """Have a hook called for each switch that this sentinel sees, whoever led it.

        One call at a time, in order. What it raises is logged.
        """
        self._after.append(hook)
        if self._guest is not None:
            self._spawn(self._follow(hook))

    # What is watched, and orders

    @property
    def myid(self) -> str:
        return self._running.myid

    def masters(self) -> list[MasterStatus]:
        """All watched masters, as this sentinel sees them now."""
        state = self._running.settled()
        return [_status(state, master) for master in state.masters.values()]

    def master(self, name: str) -> MasterStatus:
        """The master of this name; KeyError if none is watched."""
        state = self._running.settled()
        return _status(state, state.masters[name])

    async def failover(self, name: str, *, coordinated: bool = False) -> None:
        """What SENTINEL FAILOVER orders; SentinelError with its text if that can't be."""
        outcome = await self._running.fail_over(name, coordinated)
        if isinstance(outcome, Refused):
            raise SentinelError(str(outcome))

    # Inside

    @property
    def _running(self) -> _Guest:
        if self._guest is None:
            raise SentinelError("This Sentinel was not started")
        self._check_fault()
        return self._guest

    def _read(self) -> _Prepared:
        loaded = config.load(self._path, self._options, None, _DiskElsewhere())
        return loaded, *daemon.prepare(loaded)

    def _heard(self, notice: Notice) -> None:
        self._streams = [stream for stream in self._streams if not stream.is_closed]
        for stream in self._streams:
            stream.put(notice)

    def _watch(self, loop: asyncio.AbstractEventLoop, guest: _Guest) -> None:
        """See what fails of our own in the program's loop; all of it goes on to the program."""
        before = self._handler_before = loop.get_exception_handler()

        def handle(loop: asyncio.AbstractEventLoop, context: faults.Context) -> None:
            if faults.is_our_work(context):
                guest.fail(context["exception"])
            if before is not None:
                before(loop, context)
            else:
                loop.default_exception_handler(context)

        self._handler = handle
        loop.set_exception_handler(handle)

    def _end(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.get_exception_handler() is self._handler:
            loop.set_exception_handler(self._handler_before)
        for stream in self._streams:
            stream.close()

    def _ask(self, name: str) -> None:
        self._spawn(self._consult(name))

    async def _consult(self, name: str) -> None:
        """Answer the guest, which does not hear it any more once it has ended."""
        guest = self._guest
        assert guest is not None
        verdicts: list[bool] = []
        if master := guest.state.masters.get(name):
            status = _status(guest.state, master)
            verdicts = await asyncio.gather(*(it.verdict(status) for it in self._before))
        guest.feed(Consent(name, is_given=all(verdicts)))

    async def _follow(self, hook: AfterHook) -> None:
        async for notice in self.notices("+switch-master"):
            try:
                await hook(_switch(notice))
            except Exception:
                _LOG.exception("An after-hook for %s failed", notice.master)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        tasks.spawn(work, self._tasks)


class _Guest(daemon.Daemon):
    """A daemon that leaves alone what belongs to the program around it."""

    def __init__(self, prepared: _Prepared, ask: Callable[[str], None]) -> None:
        super().__init__(*prepared, supervised=False)
        self._log = _ProgramLog(prepared[0].settings.loglevel)
        self._pidfile = PidFile(ServerSettings())
        self._ask = ask
        self.fault: BaseException | None = None

    async def open_or_end(self) -> None:
        try:
            await self.open()
        except BaseException:
            if self._is_assembled:
                await self.close()
            raise

    async def serve(self) -> int:
        try:
            return await super().serve()
        except Exception as error:
            self.fail(error)
            await self.close()
            return faults.EXIT

    def settled(self) -> State:
        return self._node.settled()

    def ask_consent(self, effect: AskConsent) -> None:
        self._ask(effect.master)

    async def fail_over(self, name: str, coordinated: bool) -> Outcome:
        made = self._node.order(lambda ticket: FailOver(ticket, name, coordinated), _as_it_is)
        return await made if isinstance(made, asyncio.Future) else made

    def crash(self) -> None:
        """SENTINEL SIMULATE-FAILURE ends the sentinel, and not the program."""
        self.shutdown()

    def fail(self, error: BaseException, *, is_sound: bool = True) -> None:
        """A bug ends the sentinel, and not the program, which `Sentinel.wait` tells.

        It does nothing more: neither is its lead handed over, nor anything saved that may be wrong.
        """
        if self.fault is None:
            self.fault = error
            self._tell_bug(error)
            self._node.halt()
            if is_sound:
                with suppress(Exception):
                    self.save(self.state)
            self.shutdown()

    async def close(self) -> None:
        if self.fault is None:
            await super().close()
            return
        try:
            self._member.close()  # at once: whoever leads for a bug must not wait for an heir
            await super().close()
        except Exception:
            _LOG.exception("While the sentinel ended for a bug")


class _ProgramLog(LogFile):
    """Log lines for the program's own logging."""

    def __init__(self, level: str) -> None:
        super().__init__(LogOptions(level=level))

    def write(self, level: Level, text: str) -> None:
        if level >= self._lowest:
            _LOG.log(_PYTHON_LEVELS[level], "%s", text)


class _DiskElsewhere(LocalDisk):
    """Reads a config file whose ``dir`` is not to become the program's."""

    def __init__(self) -> None:
        super().__init__()
        self._dir = os.getcwd()

    def change_dir(self, path: str) -> None:
        wanted = os.path.normpath(os.path.join(self._dir, path))
        os.close(os.open(wanted, os.O_RDONLY | os.O_DIRECTORY))
        self._dir = wanted

    def current_dir(self) -> str:
        return self._dir


def _as_it_is(outcome: Outcome) -> Outcome:
    return outcome


def _status(state: State, master: Master) -> MasterStatus:
    def endpoint(of: Master | Replica) -> Endpoint:
        return Endpoint(state.shown(of.address), of.address.port)

    return MasterStatus(
        name=master.name,
        endpoint=endpoint(master),
        is_down=master.is_down,
        is_agreed_down=master.is_odown,
        is_failing_over=master.failover is not None,
        replicas=tuple(endpoint(replica) for replica in master.replicas.values()),
        sentinels=members.voters(state, master),
        quorum=master.options.quorum,
        config_epoch=master.config_epoch,
    )


def _switch(notice: Notice) -> Switch:
    """Read +switch-master, whose text ends in two addresses, and begins with a name."""
    *_, old_host, old_port, new_host, new_port = notice.text.split(" ")
    old, new = Endpoint(old_host, int(old_port)), Endpoint(new_host, int(new_port))
    return Switch(notice.master, old, new)
