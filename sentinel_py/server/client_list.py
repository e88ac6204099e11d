"""CLIENT LIST and CLIENT INFO: the line that describes a client.

The rule guarded: fields and their order are those of redis-sentinel, and no value breaks the line.
"""

# ruff: noqa: ARG001 (handlers share one signature)
from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sentinel_py.resp import SYNTAX_ERROR, Error, Verbatim, parse_integer, to_text
from sentinel_py.server.commands import Answer

if TYPE_CHECKING:
    from sentinel_py.server.session import Session

# The types a client can be asked for by; a Sentinel has only normal and pubsub ones.
CLIENT_TYPES = {
    b"normal": "normal",
    b"master": "master",
    b"replica": "replica",
    b"slave": "replica",
    b"pubsub": "pubsub",
}


def describe_client(session: Session) -> str:
    """The line of CLIENT LIST, without its end."""
    now = session.server.ticked_at
    waiting, command = session.output_bytes, session.last_command
    fields: dict[str, object] = {
        "id": session.client_id,
        "addr": session.endpoint.address,
        "laddr": session.endpoint.local_address,
        "fd": session.endpoint.file_descriptor,
        "name": to_text(session.name),
        "age": (now - session.created_at) // 1000,
        "idle": (now - session.active_at) // 1000,
        "flags": _flags(session),
        "db": 0,
        "sub": len(session.channels),
        "psub": len(session.patterns),
        "ssub": 0,
        "multi": -1,
        "watch": 0,
        "qbuf": session.input_bytes,
        "qbuf-free": 0,
        "argv-mem": 0,
        "multi-mem": 0,
        "rbs": 0,
        "rbp": 0,
        "obl": 0,
        "oll": 0,
        "omem": waiting,
        "tot-mem": session.input_bytes + waiting,
        "events": "rw" if waiting else "r",
        "cmd": command.name if command else "NULL",
        "user": session.user.name,
        "redir": session.tracking.redirect if session.tracking else -1,
        "resp": session.protocol,
        "lib-name": to_text(session.lib_name),
        "lib-ver": to_text(session.lib_ver),
    }
    return " ".join(f"{name}={value}" for name, value in fields.items())


def _flags(session: Session) -> str:
    flags = {
        "P": session.subscription_count > 0,
        "t": session.tracking is not None,
        "B": session.tracking is not None and b"bcast" in session.tracking.modes,
        "U": session.endpoint.is_unix,
        "e": session.no_evict,
    }
    return "".join(letter for letter, is_set in flags.items() if is_set) or "N"


def client_type(session: Session) -> str:
    return "pubsub" if session.subscription_count else "normal"


def _lines(sessions: Iterable[Session]) -> Verbatim:
    return Verbatim("".join(f"{describe_client(session)}\n" for session in sessions))


def unknown_type(word: bytes) -> Error:
    return Error(f"ERR Unknown client type '{to_text(word)}'")


def client_info(session: Session, args: list[bytes]) -> Answer:
    return _lines([session])


def client_list(session: Session, args: list[bytes]) -> Answer:
    clients = session.server.clients
    match [args[2].lower() if len(args) > 2 else b"", *args[3:]]:
        case [b""] if len(args) == 2:
            return _lines(clients.values())
        case [b"type", word]:
            wanted = CLIENT_TYPES.get(word.lower())
            if wanted is None:
                return unknown_type(word)
            return _lines(it for it in clients.values() if client_type(it) == wanted)
        case [b"id", _, *_]:
            ids = [parse_integer(word) for word in args[3:]]
            if None in ids:
                return Error("ERR Invalid client ID")
            return _lines(clients[it] for it in ids if it in clients)
    return SYNTAX_ERROR
