"""The story of each failover, put together from the notices about it: what came when, and phases.

Pure: times come in. A sentinel that does not lead a failover sees its beginning and the switch; the
history that it shares with the leader tells it the rest. The rule it guards: what the picture of a
past failover and the histograms say comes from here alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, field

from sentinel_py.core import chronicle
from sentinel_py.core.model import History

MAX_KEPT = 50
"""Failovers that have ended; each is up to MAX_MARKS notices."""

MAX_OPEN = 1_000
"""Masters that are down at once; of more, only the first are told of."""

MAX_MARKS = 100
"""Notices of one failover: a dozen, and three for each replica."""

SAME_WITHIN_MS = 5_000
"""Between what two sentinels say of one failover's beginning; the next one takes longer to come."""

SWITCHED = "switched"
_BEGIN = {"+sdown", "+odown", "+try-failover", "+switch-master"}
_END = {"+failover-end", "+failover-end-for-timeout"}
_DROP = {"-monitor", "+reset-master"}
_MARKS = {
    *_BEGIN,
    *_END,
    "+elected-leader",
    "+failover-state-select-slave",
    "+selected-slave",
    "+failover-state-send-slaveof-noone",
    "+failover-state-wait-promotion",
    "+promoted-slave",
    "+failover-state-reconf-slaves",
    "+slave-reconf-sent",
    "+slave-reconf-inprog",
    "+slave-reconf-done",
    "-promotion-refused",
    "+failover-detected",
}

_DOWN = {"+sdown", "+odown"}
"""The others may have found it down before this sentinel did, which acts on their word then."""

LED = (
    ("detection", _DOWN, {"+try-failover"}),
    ("election", {"+try-failover"}, {"+elected-leader"}),
    ("choice", {"+elected-leader"}, {"+selected-slave"}),
    ("promotion", {"+selected-slave"}, {"+switch-master"}),
    ("reconfiguration", {"+switch-master"}, _END),
)
"""The phases of a failover that was led here, each with the notices that begin and end it."""

SEEN = (("observed", _DOWN, {"+switch-master"}),)
"""All that another sentinel's failover shows."""


@dataclass(frozen=True, slots=True)
class Phase:
    """From and till when a phase was, in ms since the failover's first notice."""

    name: str
    from_ms: int
    till_ms: int


@dataclass(slots=True, eq=False)
class Failover:
    """One failover or attempt: ``marks`` are its notices with their ms since the first one."""

    master: str
    started_at: int  # Unix ms
    outcome: str = ""  # empty while it goes on
    old: str = ""
    new: str = ""
    marks: list[tuple[str, int]] = field(default_factory=list)

    @property
    def is_led(self) -> bool:
        return self._at({"+try-failover"}) is not None

    @property
    def phases(self) -> list[Phase]:
        return [
            Phase(name, begun, ended)
            for name, begins, ends in (LED if self.is_led else SEEN)
            if (begun := self._at(begins)) is not None
            and (ended := self._at(ends)) is not None
            and begun <= ended
        ]

    @property
    def took_ms(self) -> int:
        return self.marks[-1][1] if self.marks else 0

    def is_same(self, other: Failover) -> bool:
        """Whether both are the same one, seen by two sentinels."""
        apart_ms = abs(self.started_at - other.started_at)
        return self.master == other.master and self.new == other.new and apart_ms < SAME_WITHIN_MS

    def _at(self, names: Set[str]) -> int | None:
        return next((at for name, at in self.marks if name in names), None)


class Timeline:
    """Takes notices; ``ended`` is called with each failover that is over."""

    def __init__(self, ended: Callable[[Failover], None]) -> None:
        self.past: deque[Failover] = deque(maxlen=MAX_KEPT)
        self.open: dict[str, Failover] = {}
        self._ended = ended

    def notice(self, at: int, name: str, text: str) -> None:
        """Book a notice that came at this time, in Unix ms."""
        master = master_of(name, text)
        if not master:
            return
        if name in _MARKS or name.startswith("-failover-abort"):
            self._mark(at, name, text, master)
        elif name in _DROP or (name == "-sdown" and text.startswith("master ")):
            self._forget(master)

    def told(self, shared: Iterable[Failover]) -> list[Failover]:
        """What goes on and then what is over, the latest first.

        ``shared`` has what others led, and what was before our start; what was led here is known
        better here.
        """
        known: list[Failover] = []
        led = [each for each in self.past if each.is_led]
        seen = [each for each in self.past if not each.is_led]
        for each in (*led, *shared, *seen):
            if not any(map(each.is_same, known)):
                known.append(each)
        past = sorted(known, key=lambda each: each.started_at, reverse=True)
        return [*self.open.values(), *past[:MAX_KEPT]]

    def _mark(self, at: int, name: str, text: str, master: str) -> None:
        if name == "+sdown" and not text.startswith("master "):
            return
        attempt = self.open.get(master)
        if attempt is None:
            if name not in _BEGIN or len(self.open) >= MAX_OPEN:
                return
            attempt = self.open[master] = Failover(master, at)
        if len(attempt.marks) < MAX_MARKS or name in _END:
            attempt.marks.append((name, max(0, at - attempt.started_at)))
        if name == "+switch-master":
            _, old_host, old_port, new_host, new_port = text.split()
            attempt.old, attempt.new = f"{old_host}:{old_port}", f"{new_host}:{new_port}"
        if outcome := _outcome(name, attempt):
            attempt.outcome = outcome
            del self.open[master]
            self.past.append(attempt)
            self._ended(attempt)

    def _forget(self, master: str) -> None:
        """The master is well again, or not watched any more: unless it was led, it was nothing."""
        attempt = self.open.get(master)
        if attempt is not None and not attempt.is_led:
            del self.open[master]


class SharedPast:
    """The failovers in the history that the members of a Raft cluster share."""

    def __init__(self) -> None:
        self._timeline = Timeline(lambda _: None)
        self._last_id = 0

    def read(self, history: History) -> Iterable[Failover]:
        """All of them; each event is looked at once."""
        if history.is_shared and history.last_id > self._last_id:
            for event in chronicle.since(history, self._last_id):
                self._timeline.notice(event.at, event.name, event.text)
            self._last_id = history.last_id
        return self._timeline.past


def _outcome(name: str, attempt: Failover) -> str:
    if name.startswith("-failover-abort"):
        return name.removeprefix("-failover-abort-").replace("-", " ")
    is_over = name in _END or (name == "+switch-master" and not attempt.is_led)
    return SWITCHED if is_over else ""


def master_of(name: str, text: str) -> str:
    """The master that a notice is about, if it names one."""
    words = text.split(" ")
    if name == "+switch-master":
        return words[0] if len(words) == 5 else ""
    if words[0] == "master":
        return words[1] if len(words) > 1 else ""
    at = words.index("@") if "@" in words else len(words)
    return words[at + 1] if at + 1 < len(words) else ""
