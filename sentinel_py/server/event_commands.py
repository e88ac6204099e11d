"""SENTINEL EVENTS: the history, by ids that only grow.

What is kept is the core's (`core/chronicle.py`). An added subcommand: nothing that a client of
redis-sentinel can see is changed by it.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from sentinel_py.core import chronicle
from sentinel_py.core.model import Event
from sentinel_py.resp import NOT_AN_INTEGER, Error, Reply, parse_integer
from sentinel_py.server.commands import READS_MASTERS, Answer, Command, Docs

if TYPE_CHECKING:
    from sentinel_py.server.sentinel_commands import SentinelHost
    from sentinel_py.server.session import Session

_DOCS = Docs(
    "Shows what has happened, behind an event that is known already.",
    "7.2.0",
    "sentinel",
    "O(N) where N is the number of events",
    "[since-id:integer [count:integer]]",
)
_OFF = Error("ERR No events are kept: sentinel event-history is 0")
_NEGATIVE = Error("ERR since-id and count can't be negative")
_WRONG_NUMBER = Error("ERR wrong number of arguments for 'sentinel|events' command")


def build(host: SentinelHost) -> Command:
    """The EVENTS subcommand of SENTINEL, bound to a node."""

    def handler(_session: Session, args: list[bytes]) -> Answer:
        return _events(host, args[2:])

    return Command(
        "sentinel|events",
        -2,
        handler,
        ("admin",),
        docs=_DOCS,
        is_listed=False,
        also_needs=lambda _args: READS_MASTERS,
    )


def _events(host: SentinelHost, words: list[bytes]) -> Reply:
    if len(words) > 2:
        return _WRONG_NUMBER
    limit = host.state.settings.event_history
    if not limit:
        return _OFF
    defaults: list[int | None] = [0, limit]
    since, count = [parse_integer(word) for word in words] + defaults[len(words) :]
    if since is None or count is None:
        return NOT_AN_INTEGER
    if since < 0 or count < 0:
        return _NEGATIVE
    return [_row(event) for event in islice(chronicle.since(host.state.history, since), count)]


def _row(event: Event) -> Reply:
    return [event.id, event.at, event.name, event.text]
