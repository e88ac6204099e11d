"""What a transcript shows: effects as compact lines, routine traffic only when asked for."""

from __future__ import annotations

from sentinel_py.core.messages import (
    Answer,
    Ask,
    Close,
    Crash,
    DownAnswer,
    Effect,
    GiveLead,
    Level,
    Log,
    Notice,
    Open,
    Propose,
    Refused,
    Request,
    Resolve,
    RunScript,
    Save,
    SaveSoon,
    Send,
    Tell,
)
from sentinel_py.core.model import Master, State

TOPICS = {Ask.PING: "ping", Ask.INFO: "info", Ask.HELLO: "hello", Ask.DOWN: "asks"}


class Playbill:
    """Gathers the lines of what was to be seen since the last ``take``."""

    def __init__(self, aliases: dict[str, str]) -> None:
        self.aliases = aliases  # ids that stand for names
        self.topics = {"asks", "orders", "log"}
        self._lines: list[str] = []

    def take(self) -> list[str]:
        lines, self._lines = self._lines, []
        return lines

    def show(self, now: int, effect: Effect, name: str) -> None:
        if text := self._line(effect, name):
            self._put(now, text)

    def state(self, now: int, state: State, master: Master) -> None:
        failover = master.failover.phase.value if master.failover else "none"
        vote = f"{master.leader or '*'}@{master.leader_epoch}"
        self._put(
            now,
            f"{master.name} is {master.address.host} {master.address.port}, "
            f"config-epoch {master.config_epoch}, epoch {state.current_epoch}, vote {vote}, "
            f"failover {failover}, waits for {master.wait.name.lower()}",
        )

    def _put(self, now: int, text: str) -> None:
        for run_id, alias in self.aliases.items():
            text = text.replace(run_id, alias)
        self._lines.append(f"{now:6} {text}")

    def _line(self, effect: Effect, name: str) -> str | None:
        match effect:
            case Notice():
                return f"{effect.name} {effect.text}"
            case Save():
                return "save"
            case SaveSoon():
                return "save soon"
            case Send():
                return self._send(name, effect.requests)
            case GiveLead():
                return f"let {effect.run_id} lead"
            case Tell():
                sees = "down" if effect.down else "up"
                replica = "a replica" if effect.has_replica else "no replica"
                return f"tell {effect.run_id}: {effect.master} is {sees}, {replica} to promote"
            case Open():
                return f"open {name} {effect.kind.value}" if "links" in self.topics else None
            case Close():
                return f"close {name}" if "links" in self.topics else None
            case Answer():
                return f"answer {_outcome(effect)}"
            case Log():
                wanted = effect.level >= Level.NOTICE and "log" in self.topics
                return f"log {effect.text}" if wanted else None
            case RunScript():
                return f"run {' '.join(effect.argv)}"
            case Resolve():
                return f"resolve {effect.host}"
            case Propose():
                return f"propose {type(effect.entry).__name__.lower()}"
            case Crash():
                return "crash"

    def _send(self, name: str, requests: tuple[Request, ...]) -> str | None:
        shown = [r for r in requests if _topic(r) in self.topics]
        if not shown:
            return None
        words = [" ".join(request.args) for request in shown]
        if len(words) > 3 and "words" not in self.topics:
            words[2:-1] = ["…"]
        return f"send {name}: {' | '.join(words)}"


def _topic(request: Request) -> str:
    if request.args[:2] == ("CLIENT", "SETNAME") or request.args[0] in ("AUTH", "SUBSCRIBE"):
        return "links"
    return TOPICS.get(request.ask, "orders")


def _outcome(answer: Answer) -> str:
    match answer.value:
        case None:
            return "OK"
        case Refused():
            return f"{answer.value.code} {answer.value.text}"
        case DownAnswer(down, leader, epoch):
            return f"{'down' if down else 'up'}, vote {leader or '*'}@{epoch}"
        case value:
            return str(value)
