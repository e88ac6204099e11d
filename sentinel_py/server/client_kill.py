"""CLIENT KILL: which clients its words choose.

Clients are closed only through `Session.kill`, so that a client that kills itself gets its reply.
"""

# ruff: noqa: ARG001 (handlers share one signature)
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from sentinel_py.resp import OK, SYNTAX_ERROR, Error, parse_integer, to_text
from sentinel_py.server.client_list import CLIENT_TYPES, client_type, unknown_type
from sentinel_py.server.commands import Answer

if TYPE_CHECKING:
    from sentinel_py.server.session import Session

_Filter: TypeAlias = "Callable[[Session], bool]"


def client_kill(session: Session, args: list[bytes]) -> Answer:
    if len(args) == 3:
        # The old form may kill the caller.
        chosen = [
            it for it in session.server.clients.values() if it.endpoint.address == to_text(args[2])
        ]
        return OK if _kill(chosen) else Error("ERR No such client")
    filters = _kill_filters(session, args[2:])
    if isinstance(filters, Error):
        return filters
    return _kill([it for it in session.server.clients.values() if all(f(it) for f in filters)])


def _kill(sessions: list[Session]) -> int:
    for session in sessions:
        session.kill()
    return len(sessions)


def _kill_filters(session: Session, words: list[bytes]) -> list[_Filter] | Error:
    """Read the options of CLIENT KILL; a later one of a kind replaces the earlier."""
    filters: dict[bytes, _Filter] = {b"skipme": lambda it: it is not session}
    for option, value in zip(words[::2], words[1::2], strict=False):
        make = _KILL_OPTIONS.get(option.lower())
        if make is None:
            return SYNTAX_ERROR
        made = make(session, value)
        if isinstance(made, Error):
            return made
        filters[option.lower()] = made
    return SYNTAX_ERROR if len(words) % 2 else list(filters.values())


def _by_id(session: Session, value: bytes) -> _Filter | Error:
    wanted = parse_integer(value)
    if wanted is None or wanted < 1:
        return Error("ERR client-id should be greater than 0")
    return lambda it: it.client_id == wanted


def _by_address(session: Session, value: bytes) -> _Filter | Error:
    return lambda it: it.endpoint.address == to_text(value)


def _by_local_address(session: Session, value: bytes) -> _Filter | Error:
    return lambda it: it.endpoint.local_address == to_text(value)


def _by_type(session: Session, value: bytes) -> _Filter | Error:
    wanted = CLIENT_TYPES.get(value.lower())
    if wanted is None:
        return unknown_type(value)
    return lambda it: client_type(it) == wanted


def _by_user(session: Session, value: bytes) -> _Filter | Error:
    user = session.server.acl.users.get(to_text(value))
    if user is None:
        return Error(f"ERR No such user '{to_text(value)}'")
    return lambda it: it.user is user


def _by_skipme(session: Session, value: bytes) -> _Filter | Error:
    match value.lower():
        case b"yes":
            return lambda it: it is not session
        case b"no":
            return lambda _it: True
    return SYNTAX_ERROR


def _by_age(session: Session, value: bytes) -> _Filter | Error:
    seconds = parse_integer(value)
    if seconds is None:
        return Error("ERR maxage is not an integer or out of range")
    if seconds < 1:
        return Error("ERR maxage should be greater than 0")
    now = session.server.now()
    return lambda it: (now - it.created_at) // 1000 >= seconds


_KILL_OPTIONS: dict[bytes, Callable[[Session, bytes], _Filter | Error]] = {
    b"id": _by_id,
    b"addr": _by_address,
    b"laddr": _by_local_address,
    b"type": _by_type,
    b"user": _by_user,
    b"skipme": _by_skipme,
    b"maxage": _by_age,
}
