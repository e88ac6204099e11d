"""The loop around the core: inputs in, effects carried out in order, the next wake-up set.

What carries effects out (connections, the disk, subscribers, scripts, host names) is handed in, so
that the simulator runs this very loop in its own world. The rules it guards: nothing leaves before
the state behind it is on disk; while the disk fails, no vote is asked for or told, unless it is in
the Raft log; and whatever fails, no effect is lost.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import replace
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
    GiveLead,
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
    SaveOutcome,
    SaveSoon,
    Send,
    Tell,
    Wake,
)
from sentinel_py.core.model import State
from sentinel_py.core.sentinel import Sentinel
from sentinel_py.storage import SaveError

LATE_MS = 20
"""A wake-up that is later than this lets replies that have arrived meanwhile be read first."""

SAVE_RETRY_MS = 1_000, 10_000
"""A save that failed is tried again after this, doubled each time, and at most after that; what has
to be saved before it is told is tried at once."""

SAVE_SOON_MS = 500
"""Entries of the Raft log come in bursts; the file is written once behind them."""

SAVE_PAUSE = 20
"""Times as long as a save took, the next one that can wait does. A file of 1,000 masters takes from
25 ms to 100 ms, and changes for seconds when they are discovered."""

SAVE_LATEST_MS = 10_000
"""However slow the disk is, nothing waits longer for such a save to begin."""

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
    def save(self, state: State) -> None:
        """Put the state on disk, or raise SaveError."""

    def save_aside(self, state: State, done: Callable[[SaveError | None], None]) -> None:
        """Put the state as it is now on disk, and tell when it is done; nothing waits for it."""

    def resolve(self, host: str) -> None: ...
    def propose(self, effect: Propose) -> None: ...
    def tell(self, effect: Tell) -> None: ...
    def give_lead(self, effect: GiveLead) -> None: ...
    def ask_consent(self, effect: AskConsent) -> None: ...
    def crash(self) -> None: ...
    def fail(self, error: BaseException, *, is_sound: bool) -> None:
        """End for a bug; ``is_sound``: it is not in the state, which may be saved before."""


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
        self._saves = 0  # that the loop has waited for
        self._is_saving = False  # aside
        self._is_changed = self._is_urgent = False  # since that began
        self._held: list[tuple[bool, list[Effect]]] = []
        self._closing: set[int] = set()  # links that the core has closed, in an effect that is held
        self._trouble = ""  # why the state is not on disk; empty if it is
        self._step_saves = False
        self._save_due_at = 0
        self._save_retry_ms = 0
        self._save_took_ms = 0
        self._stopped = False
        self._has_failed = False
        self.on_step: Callable[[], None] | None = None
        self.before_step: Callable[[], None] = _nothing
        """Called before each input, for what must not be older than that: whether we still lead."""

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

    def save(self) -> bool:
        """Save now; whether the state is on disk."""
        self._save()
        return not self._trouble

    def stop(self) -> None:
        """End; what was to be saved soon is saved now."""
        if self._has_failed:
            return
        self._stopped = True
        self._release()
        if self._saver or self._is_changed:
            self._save()
        if self._timer:
            self._timer.cancel()

    # Inputs ---------------------------------------------------------------------------------------

    def feed(self, event: Input) -> None:
        """Tell the core what happened, and do what it answers."""
        if self._closing and getattr(event, "link", None) in self._closing:
            return
        if self._stopped:
            return
        self.before_step()
        try:
            effects = self.core.step(self._world.now(), event)
        except Exception as error:
            self._fail(error, is_sound=False)
        else:
            self._carry_out(effects)

    def held_up(self, ms: int) -> None:
        """Take note that the loop has just waited so long for a disk."""
        self.core.held_up(ms)

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

    def halt(self) -> None:
        """End for a bug: nothing is done any more that could follow from it."""
        self._stopped = self._has_failed = True
        for timer in (self._timer, self._saver):
            if timer:
                timer.cancel()
        self._held.clear()

    def _fail(self, error: BaseException, *, is_sound: bool) -> None:
        self.halt()
        self._world.fail(error, is_sound=is_sound)

    # Effects --------------------------------------------------------------------------------------

    def _carry_out(self, effects: list[Effect]) -> None:
        try:
            if self.on_step is not None:
                self.on_step()
            saves = bool(effects) and isinstance(effects[0], Save)
            if saves or self._held:
                self._hold(saves, effects)
            elif effects or self._trouble:
                if self._trouble and self._world.now() >= self._save_due_at:
                    self._save()
                self._do_all(saves, effects)
            self._set_timer()
        except Exception as error:
            self._fail(error, is_sound=True)

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
        try:
            try:
                if held:
                    self._save()
            finally:
                for saves, effects in held:
                    self._do_all(saves, effects)
                self._closing.clear()
        except Exception as error:
            self._fail(error, is_sound=True)

    def _do_all(self, saves: bool, effects: list[Effect]) -> None:
        self._step_saves = saves
        links = self._world.links
        for effect in effects:
            if type(effect) is Send and not self._trouble:
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
                self._save_soon(is_urgent=effect.is_urgent)
            case Propose():
                world.propose(effect)
            case Tell():
                world.tell(effect)
            case GiveLead():
                world.give_lead(effect)
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
        began_at = self._world.now()
        self._saves += 1
        # Until it is known better, and if something is raised that nobody expected.
        before, self._trouble = self._trouble, "it could not be written"
        try:
            self._world.save(self.state)
        except SaveError as error:
            self._saved(began_at, before, error)
        else:
            self._saved(began_at, before, None)
        self.held_up(self._save_took_ms)

    def _saved(self, began_at: int, before: str, error: SaveError | None) -> None:
        self._trouble = error.reason if error else ""
        if error:
            shortest_ms, longest_ms = SAVE_RETRY_MS
            self._save_retry_ms = min(max(shortest_ms, 2 * self._save_retry_ms), longest_ms)
            self._save_due_at = began_at + self._save_retry_ms
        else:
            self._save_retry_ms = 0
        self._save_took_ms = self._world.now() - began_at
        if self._trouble != before:
            self._loop.call_soon(self.feed, SaveOutcome(self._trouble))

    def _save_soon(self, *, is_urgent: bool = False) -> None:
        if self._is_saving:
            self._is_changed, self._is_urgent = True, self._is_urgent or is_urgent
        elif is_urgent:
            if self._saver is not None:
                self._saver.cancel()
            self._save_aside()
        elif self._saver is None:
            wait_ms = max(SAVE_SOON_MS, SAVE_PAUSE * self._save_took_ms)
            self._saver = self._loop.call_later(
                min(wait_ms, SAVE_LATEST_MS) / 1000, self._save_aside
            )

    def _save_aside(self) -> None:
        self._saver = None
        self._is_saving, self._is_changed, self._is_urgent = True, False, False
        began_at, saves = self._world.now(), self._saves

        def done(error: SaveError | None) -> None:
            self._is_saving = False
            if saves == self._saves:  # else what was saved here since then counts
                self._saved(began_at, self._trouble, error)
            if self._is_changed and not self._stopped:
                self._save_soon(is_urgent=self._is_urgent)

        self._world.save_aside(self.state, done)

    @property
    def _hides_votes(self) -> bool:
        """Whether a vote of ours may not be on disk; those of a member are in its log."""
        return bool(self._trouble) and self.state.raft is None

    def _send(self, effect: Send) -> None:
        if self._hides_votes:
            effect = replace(effect, requests=tuple(map(_without_vote, effect.requests)))
        self._world.links.send(effect)

    def _answer(self, answer: Answer) -> None:
        outcome = self._as_saved(answer)
        settle = self._waiting.pop(answer.ticket, None)
        if settle is None:
            self._outcomes[answer.ticket] = outcome
        else:
            settle(outcome)

    def _as_saved(self, answer: Answer) -> Outcome:
        """What may be told while the state is not on disk: no vote, and no change as if it stayed.

        What is done and stays done, such as a failover, is not told as if nothing had happened.
        """
        outcome = answer.value
        if not self._trouble or isinstance(outcome, Refused):
            return outcome
        if isinstance(outcome, DownAnswer):
            return DownAnswer(outcome.down, None, 0) if self._hides_votes else outcome
        return _NOT_SAVED if self._step_saves and not answer.is_done else outcome

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


def _nothing() -> None:
    pass


def _without_vote(request: Request) -> Request:
    """The same question without the request for a vote, since our own is not saved."""
    if request.ask is not Ask.DOWN or request.args[-1] == "*":
        return request
    return replace(request, args=(*request.args[:-1], "*"))
