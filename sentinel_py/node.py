"""The loop around the core: inputs in, effects carried out in order, the next wake-up set.

What carries effects out (connections, the disk, subscribers, scripts, host names) is handed in, so
that the simulator runs this very loop in its own world. The rule it guards: nothing leaves before
the state behind it is on disk, and while the disk fails, no vote is told.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Protocol, TypeAlias, TypeVar

from sentinel_py.core.messages import (
    Answer,
    Ask,
    AskConsent,
    Close,
    Crash,
    DirectHello,
    DownAnswer,
    DownQuestion,
    Effect,
    Input,
    Log,
    Notice,
    Open,
    Order,
    Propose,
    Refused,
    Request,
    Resolve,
    RunScript,
    Save,
    SaveSoon,
    Send,
    Wake,
)
from sentinel_py.core.model import State
from sentinel_py.core.sentinel import Sentinel

LATE_MS = 20
"""A wake-up that is later than this lets replies that have arrived meanwhile be read first."""

SAVE_RETRY_MS = 1_000

SAVE_SOON_MS = 500
"""Entries of the Raft log come in bursts; the file is written once behind them."""

SAVE_PAUSE = 20
"""Times as long as a save took, the next one that can wait does. A file of 1,000 masters takes from
25 ms to 100 ms, and changes for seconds when they are discovered."""

Outcome: TypeAlias = int | list[str] | DownAnswer | Refused | None
T = TypeVar("T")

_NOT_SAVED = Refused("Failed to save config file. Check server logs.")


class Connections(Protocol):
    """Outgoing links; what happens on them comes back through ``Node.feed``, never at once."""

    def open(self, effect: Open) -> None: ...
    def close(self, link_id: int, *, is_hung: bool = False) -> None: ...
    def send(self, effect: Send) -> None: ...
    def flush(self) -> None: ...


class Publisher(Protocol):
    """Where notices, log lines and script runs go."""

    def notice(self, notice: Notice) -> None: ...
    def log(self, line: Log) -> None: ...
    def run_script(self, effect: RunScript) -> None: ...


class World(Protocol):
    """Everything outside: a clock (ms, monotonic), the disk, and who carries effects out."""

    @property
    def links(self) -> Connections: ...
    @property
    def publisher(self) -> Publisher: ...

    def now(self) -> int: ...
    def save(self, state: State) -> bool: ...
    def resolve(self, host: str) -> None: ...
    def propose(self, effect: Propose) -> None: ...
    def ask_consent(self, effect: AskConsent) -> None: ...
    def crash(self) -> None: ...


class Node:
    """One sentinel at work."""

    def __init__(self, core: Sentinel, world: World, loop: asyncio.AbstractEventLoop) -> None:
        self.core = core
        self._world = world
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0
        self._tickets = itertools.count(1)
        self._outcomes: dict[int, Outcome] = {}
        self._waiting: dict[int, Callable[[Outcome], None]] = {}
        self._saver: asyncio.TimerHandle | None = None
        self._held: list[tuple[bool, list[Effect]]] = []
        self._closing: set[int] = set()  # links that the core has closed, in an effect that is held
        self._is_unsaved = False
        self._step_saves = False
        self._save_tried_at = 0
        self._save_took_ms = 0
        self._stopped = False
        self.on_step: Callable[[], None] | None = None

    @property
    def state(self) -> State:
        return self.core.state

    def settled(self) -> State:
        """The state for somebody who asks: nothing in it is lost by a crash that comes now."""
        self._release()
        return self.state

    def now(self) -> int:
        return self._world.now()

    def start(self) -> None:
        self._carry_out(self.core.start(self._world.now()))

    def stop(self) -> None:
        """End; what was to be saved soon is saved now."""
        self._stopped = True
        self._release()
        if self._saver:
            self._save()
        if self._timer:
            self._timer.cancel()

    # Inputs ---------------------------------------------------------------------------------------

    def feed(self, event: Input) -> None:
        """Tell the core what happened, and do what it answers."""
        if self._closing and getattr(event, "link", None) in self._closing:
            return
        if not self._stopped:
            self._carry_out(self.core.step(self._world.now(), event))

    def hello(self, payload: str) -> None:
        self.feed(DirectHello(payload))

    def order(
        self, make: Callable[[int], Order | DownQuestion], render: Callable[[Outcome], T]
    ) -> T | asyncio.Future[T]:
        """Give an order or a question; its outcome, rendered, at once or when it is known.

        Rendered here and not behind a second future: each costs the waiting client a round of the
        loop, in which other members' messages go first.
        """
        ticket = next(self._tickets)
        self.feed(make(ticket))
        if ticket in self._outcomes:
            return render(self._outcomes.pop(ticket))
        reply: asyncio.Future[T] = self._loop.create_future()

        def settle(outcome: Outcome) -> None:
            if not reply.done():
                reply.set_result(render(outcome))

        self._waiting[ticket] = settle
        return reply

    # Effects --------------------------------------------------------------------------------------

    def _carry_out(self, effects: list[Effect]) -> None:
        if self.on_step is not None:
            self.on_step()
        saves = bool(effects) and isinstance(effects[0], Save)
        if saves or self._held:
            self._hold(saves, effects)
        elif effects or self._is_unsaved:
            if self._is_unsaved and self._save_is_due():
                self._save()
            self._do_all(saves, effects)
        self._set_timer()

    def _hold(self, saves: bool, effects: list[Effect]) -> None:
        """Keep effects back until the inputs that have arrived by now can share one save.

        A save of 300 masters takes 15 ms. One for each vote and switch held the loop up for so long
        when half of them died that living servers were taken for dead.
        """
        if not self._held:
            self._loop.call_soon(self._release)
        self._held.append((saves, effects))
        self._closing.update(effect.link for effect in effects if isinstance(effect, Close))

    def _release(self) -> None:
        held, self._held = self._held, []
        if held:
            self._save()
        for saves, effects in held:
            self._do_all(saves, effects)
        self._closing.clear()

    def _do_all(self, saves: bool, effects: list[Effect]) -> None:
        self._step_saves = saves
        links = self._world.links
        for effect in effects:
            if type(effect) is Send and not self._is_unsaved:
                links.send(effect)
            else:
                self._do(effect)
        links.flush()

    def _do(self, effect: Effect) -> None:
        world = self._world
        match effect:
            case Send():
                self._send(effect)
            case Open():
                world.links.open(effect)
            case Close():
                world.links.close(effect.link, is_hung=effect.is_hung)
            case Notice():
                world.publisher.notice(effect)
            case Log():
                world.publisher.log(effect)
            case SaveSoon():
                self._save_soon()
            case Propose():
                world.propose(effect)
            case Answer():
                self._answer(effect)
            case RunScript():
                world.publisher.run_script(effect)
            case Resolve():
                world.resolve(effect.host)
            case AskConsent():
                world.ask_consent(effect)
            case Crash():
                world.crash()

    def _save(self) -> None:
        if self._saver is not None:
            self._saver.cancel()
            self._saver = None
        self._save_tried_at = self._world.now()
        self._is_unsaved = not self._world.save(self.state)
        self._save_took_ms = self._world.now() - self._save_tried_at

    def _save_soon(self) -> None:
        if self._saver is None:
            wait_ms = max(SAVE_SOON_MS, SAVE_PAUSE * self._save_took_ms)
            self._saver = self._loop.call_later(wait_ms / 1000, self._save)

    def _save_is_due(self) -> bool:
        return self._world.now() >= self._save_tried_at + SAVE_RETRY_MS

    def _send(self, effect: Send) -> None:
        if self._is_unsaved and any(map(_asks_for_vote, effect.requests)):
            return
        self._world.links.send(effect)

    def _answer(self, answer: Answer) -> None:
        outcome = self._as_saved(answer.value)
        settle = self._waiting.pop(answer.ticket, None)
        if settle is None:
            self._outcomes[answer.ticket] = outcome
        else:
            settle(outcome)

    def _as_saved(self, outcome: Outcome) -> Outcome:
        """What may be told while the state is not on disk: no success, and no vote."""
        if not self._is_unsaved or isinstance(outcome, Refused):
            return outcome
        if isinstance(outcome, DownAnswer):
            return DownAnswer(outcome.down, None, 0)
        return _NOT_SAVED if self._step_saves else outcome

    # Time -----------------------------------------------------------------------------------------

    def _set_timer(self) -> None:
        wake_at = self.core.wake_at
        if self._timer is not None:
            if self._timer_at <= wake_at:
                return
            self._timer.cancel()
        self._timer_at = wake_at
        # Half a millisecond more: the clock's milliseconds are cut off, not rounded.
        delay_s = max(0, wake_at - self._world.now()) / 1000 + 0.0005
        self._timer = self._loop.call_later(delay_s, self._timer_rang)

    def _timer_rang(self) -> None:
        if self._world.now() > self._timer_at + LATE_MS:
            # The loop was held up, and may run timers before it reads what has arrived.
            self._timer = self._loop.call_later(0.001, self._wake)
        else:
            self._wake()

    def _wake(self) -> None:
        self._timer = None
        self.feed(Wake())


def _asks_for_vote(request: Request) -> bool:
    return request.ask is Ask.DOWN and request.args[-1] != "*"
