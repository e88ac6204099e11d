"""Whether the sentinel's user may run what a failover needs, asked of the server itself.

``ACL DRYRUN`` tells it without doing anything, where the user may ask that (Redis 7). Elsewhere the
commands are queued in a transaction: the server checks the rights to each as it is queued, and the
transaction is discarded.

The rule guarded: nothing here changes a server. So nothing is queued before the server has shown
that it opens transactions, and what would do harm outside of one has arguments that it refuses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeGuard

from sentinel_py.console.findings import Finding, Severity
from sentinel_py.console.wire import Answer, Connection, ErrorText, Place

HELLO_CHANNEL = "__sentinel__:hello"


@dataclass(frozen=True, slots=True)
class Lack:
    """How bad it is to be without a right, and what follows from it."""

    severity: Severity
    consequence: str


_NO_FAILOVER = Lack(Severity.ERROR, "a failover needs that")
_IN_PARTS = Lack(
    Severity.WARNING,
    "a failover goes without it: a restart may undo the new role, and clients stay where they are",
)
_LOSS = Lack(Severity.WARNING, "without it writes may be lost in a failover on order")


@dataclass(frozen=True, slots=True)
class Right:
    """A command that a sentinel sends, with arguments that do no harm, and what its lack means."""

    words: tuple[str, ...]
    lack: Lack

    @property
    def name(self) -> str:
        """As ACL rules name it."""
        first = self.words[0].lower()
        has_sub = first in ("client", "config", "script")
        return f"{first}|{self.words[1].lower()}" if has_sub else first


def _rights(lack: Lack, *lines: str) -> tuple[Right, ...]:
    return tuple(Right(tuple(line.split()), lack) for line in lines)


# SLAVEOF goes out in one transaction with CONFIG and CLIENT. Where one of them is refused, it is
# repeated by itself.
RIGHTS = (
    *_rights(
        _NO_FAILOVER,
        "PING",
        "INFO",
        f"PUBLISH {HELLO_CHANNEL} x",
        f"SUBSCRIBE {HELLO_CHANNEL}",
        "SLAVEOF NO PORT",
    ),
    *_rights(_IN_PARTS, "MULTI", "CONFIG REWRITE", "CLIENT KILL TYPE nobody", "EXEC"),
    *_rights(
        _LOSS,
        "CLIENT SETNAME x",
        "SCRIPT KILL",
        "CLIENT PAUSE never WRITE",
        "CLIENT UNPAUSE",
        "FAILOVER TIMEOUT never",
    ),
)
# Transactions do not take these; they are tried in other ways.
_APART = ("multi", "exec", "subscribe")


async def missing(place: Place, renamed: Mapping[str, str]) -> list[Finding]:
    """What the user of this connection may not do there."""
    async with Connection(place) as connection:
        who = await connection.ask("ACL", "WHOAMI")
        user = who if isinstance(who, str) else place.login.user or "default"
        answers = await _by_dry_run(connection, user, renamed)
    if answers is None:
        answers = await _by_transaction(place, renamed)
    return list(_findings(place, user, answers))


def _renamed(right: Right, renamed: Mapping[str, str]) -> tuple[str, ...]:
    first, *rest = right.words
    return (renamed.get(first.lower(), first), *rest)


async def _by_dry_run(
    connection: Connection, user: str, renamed: Mapping[str, str]
) -> dict[Right, str] | None:
    """What is refused, with the server's words; None when it may not be asked so."""
    requests = [("ACL", "DRYRUN", user, *_renamed(right, renamed)) for right in RIGHTS]
    answers = await connection.ask_all(requests)
    if isinstance(answers[0], ErrorText):
        return None
    said = zip(RIGHTS, answers, strict=True)
    return {right: str(answer) for right, answer in said if answer != "OK"}


async def _by_transaction(place: Place, renamed: Mapping[str, str]) -> dict[Right, str]:
    words = {right.name: _renamed(right, renamed) for right in RIGHTS}
    async with Connection(place) as connection:
        opened, carried_out, _ = await connection.ask_all(
            [words["multi"], words["exec"], ("DISCARD",)]
        )
        said = {"multi": opened}
        if opened == "OK":
            said["exec"] = carried_out
            queued = [name for name in words if name not in _APART]
            requests = [words["multi"], *(words[name] for name in queued), ("DISCARD",)]
            answers = await connection.ask_all(requests)
            said |= dict(zip(queued, answers[1:-1], strict=True))
    async with Connection(place) as connection:
        said["subscribe"] = await connection.ask(*words["subscribe"])
    refused = {name: answer.text for name, answer in said.items() if _is_refusal(answer)}
    return {right: refused[right.name] for right in RIGHTS if right.name in refused}


def _is_refusal(answer: Answer) -> TypeGuard[ErrorText]:
    return isinstance(answer, ErrorText) and (answer.is_denied or _is_unknown(answer.text))


def _is_unknown(text: str) -> bool:
    """Whether the server has no such command, rather than a user who may not run it."""
    return "unknown command" in text or "unknown subcommand" in text or "not found" in text


def _findings(place: Place, user: str, refused: Mapping[Right, str]) -> Iterator[Finding]:
    for lack in (_NO_FAILOVER, _IN_PARTS, _LOSS):
        these = {right: text for right, text in refused.items() if right.lack is lack}
        unknown = [right.name for right, text in these.items() if _is_unknown(text)]
        denied = {right: text for right, text in these.items() if not _is_unknown(text)}
        if unknown:
            what = f"no command {', '.join(unknown)} there: {lack.consequence}"
            yield Finding(lack.severity, what, str(place), _NO_COMMAND)
        if denied:
            names = ", ".join(right.name for right in denied)
            what = f"user {user} may not run {names}: {lack.consequence}"
            yield Finding(lack.severity, what, str(place), way_to(user, denied))


_NO_COMMAND = "sentinel rename-command says how it is called there; or Redis 6.2 and newer"


def way_to(user: str, refused: Mapping[Right, str]) -> str:
    """The line that gives what is refused; a channel is refused in words of its own."""
    rules = [
        f"&{HELLO_CHANNEL}" if "channel" in text else f"+{right.name}"
        for right, text in refused.items()
    ]
    return f"there: ACL SETUSER {user} {' '.join(dict.fromkeys(rules))}"
