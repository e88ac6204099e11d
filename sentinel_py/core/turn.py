"""One step's working set: the time, the state, and the effects gathered so far.

Every function of the core that changes something takes a ``Turn`` first. A turn knows how to say
things (notices, sends, saves, answers); what to say is decided by its callers.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from sentinel_py.core import own_scripts
from sentinel_py.core.messages import (
    Answer,
    Close,
    Crash,
    DownAnswer,
    Effect,
    Level,
    Log,
    Notice,
    Refused,
    Request,
    Resolve,
    RunScript,
    Save,
    SaveSoon,
    Send,
    Tell,
)
from sentinel_py.core.model import (
    Address,
    DataNode,
    Instance,
    Link,
    LinkKind,
    LinkState,
    Master,
    Peer,
    Replica,
    SimulatedFailure,
    State,
)

NEVER = 2**62
"""When to look again where only something that happens can make it necessary."""


class Turn:
    """What one ``step`` works with; its effects are handed out when the step ends."""

    __slots__ = (
        "_saved",
        "effects",
        "is_executable",
        "is_from_log",
        "now",
        "opens",
        "rng",
        "state",
        "touched",
    )

    def __init__(
        self, now: int, state: State, rng: Random, is_executable: Callable[[str], bool]
    ) -> None:
        self.now = now
        self.state = state
        self.rng = rng
        self.is_executable = is_executable
        self.is_from_log = False
        self.opens = 0  # links that it was time to open
        self.effects: list[Effect] = []
        self.touched: dict[Instance, None] = {}
        self._saved = False

    def touch(self, instance: Instance) -> None:
        """Have the detector look at the instance before this step ends."""
        self.touched[instance] = None

    def save(self) -> None:
        """Save the state as it is when the step ends, before any other effect of the step.

        What comes out of the Raft log is on disk there already, and may be saved later.
        """
        self._save_by(SaveSoon() if self.is_from_log else Save())

    def save_soon(self) -> None:
        """Have the state saved soon: nothing rests on it, it can be learnt again."""
        self._save_by(SaveSoon())

    def save_early(self) -> None:
        """Have the state saved at once, and what follows done meanwhile."""
        self._save_by(SaveSoon(is_urgent=True))

    def _save_by(self, effect: Save | SaveSoon) -> None:
        if self._saved:
            return
        self._saved = isinstance(effect, Save)
        first = self.effects[0] if self.effects else None
        if isinstance(first, SaveSoon):
            is_less = isinstance(effect, SaveSoon) and first.is_urgent
            self.effects[0] = first if is_less else effect
        else:
            self.effects.insert(0, effect)

    def answer(
        self,
        ticket: int,
        value: int | list[str] | DownAnswer | Refused | None = None,
        *,
        is_done: bool = False,
    ) -> None:
        if ticket:
            self.effects.append(Answer(ticket, value, is_done))

    def resolve(self, host: str) -> None:
        self.effects.append(Resolve(host))

    def run_script(self, *argv: str) -> None:
        self.effects.append(RunScript(argv))

    def log(self, level: Level, text: str) -> None:
        self.effects.append(Log(level, text))

    def notice(
        self,
        level: Level,
        name: str,
        instance: Instance | None = None,
        text: str = "",
        *,
        cause: Master | None = None,
    ) -> None:
        """Emit an event about ``instance``, whose description comes before ``text``.

        Warnings run the notification-script of the instance's master, or of the master that is the
        ``cause`` of an event with no description in it.
        """
        script = None
        if instance is not None:
            subject = describe(self.state, instance)
            text = f"{subject} {text}" if text else subject
            cause = master_of(instance)
        if cause is not None and level is Level.WARNING:
            script = own_scripts.to_run(self.state, cause, "notification_script")
        about = cause.name if cause is not None else ""
        self.effects.append(Notice(level, name, text, script, about))

    def send(self, link: Link, *requests: Request) -> None:
        link.pending += len(requests)
        self.effects.append(Send(link.id, requests))

    def tell(self, effect: Tell) -> None:
        self.effects.append(effect)

    def close(self, link: Link, *, is_hung: bool = False) -> None:
        """Drop the link's connection; the detector opens it again while it has owners."""
        if link.state is not LinkState.DOWN:
            self.effects.append(Close(link.id, is_hung))
            mark_down(link)
        for owner in link.owners:
            self.touch(owner)

    def close_links(self, instance: Instance) -> None:
        """Drop an instance's connections, so that they log in anew."""
        for link in links_of(instance):
            link.tried_at = None
            self.close(link)
            link.fruitless = 0

    def crash_if_told(self, failure: SimulatedFailure) -> None:
        if failure in self.state.simulated_failures:
            self.effects.append(Crash())


def mark_down(link: Link) -> None:
    """Book a lost connection: everything asked on it stays unanswered."""
    if link.is_up:
        good_at = link.heard_at if link.kind is LinkKind.CHANNEL else link.ok_at
        link.fruitless = link.fruitless + 1 if good_at < link.up_at else 0
    link.state = LinkState.DOWN
    link.pending = 0
    if link.kind is LinkKind.CHANNEL:
        return
    for owner in link.owners:
        owner.hello_asked_at = None
        if isinstance(owner, DataNode):
            owner.info_asked_at = None
        elif isinstance(owner, Peer):
            owner.asked_at = None


def links_of(instance: Instance) -> tuple[Link, ...]:
    return instance.links() if isinstance(instance, DataNode) else (instance.command,)


def master_of(instance: Instance) -> Master:
    if isinstance(instance, Master):
        return instance
    assert isinstance(instance, Replica | Peer)
    return instance.master


def describe(state: State, instance: Instance) -> str:
    """An instance as events name it: ``<kind> <name> <ip> <port>[ @ <master> <ip> <port>]``."""
    master = master_of(instance)
    where = f"{master.name} {_endpoint(state, master.address)}"
    match instance:
        case Replica():
            kind = "slave"
            name = instance.name
        case Peer():
            kind = "sentinel"
            name = instance.run_id
        case _:
            return f"master {where}"
    return f"{kind} {name} {_endpoint(state, instance.address)} @ {where}"


def _endpoint(state: State, address: Address) -> str:
    return f"{state.shown(address)} {address.port}"
